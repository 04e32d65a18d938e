"""Logs as they are: companies with shapes of their own give the tables of our own shape.

usage: own_shapes.py path/to/lookback [WORD]...

The rows of a tiny world (world.py) lie there as other companies keep them (companies.py): under
other names, in structs, by hour, as Delta tables, as page views, as wide order tables. Told how to
read them, the job has to make the tables that it makes of the plain files. Also: what has landed,
what is told of as unread (folders.py), and what is refused (refused.py). Some companies keep their
logs on an S3 server; it is moto.

Prints a line per claim; ends with exit code 1 if any does not hold, after all were tried.
"""

import collections
import json
import pathlib
import sys
import tempfile

try:
    import boto3
    import deltalake

    import documented
    import folders
    import refused
    import wide_tables
    from companies import COMPANIES
    from program import Program
    from servers import start_s3, stop_all
    from tried import Claims
    from world import SCHEMAS, World, dt, ensure, ensure_same
except ImportError as missing:
    sys.exit(
        f"{missing}; install it with: pip install deltalake pyarrow fastparquet 'moto[server]'"
    )

ON_S3 = ("structs", "Kafka Connect, by hour", "page views", "markers", "Delta tables")


def without(expected, reasons):
    """The tables of a company whose view leaves out what is rejected for these reasons."""
    kept = {
        row: n for row, n in expected["clean/rejects"].items() if not rejected_for(row, reasons)
    }
    return expected | {"clean/rejects": collections.Counter(kept)}


def rejected_for(row, reasons):
    return dict(row)["reason"] in reasons


def gives_the_plain_tables(company):
    def claim(world, expected):
        company.move_in(world)
        checked = world.program("check", world.job_file)
        for word in company.says:
            ensure(word in checked.out, f"check does not say {word!r}\n{checked.out}")
        first = world.backfill()
        for word in company.summary:
            ensure(word in first.err, f"the summary does not say {word!r}\n{first.err}")
        ensure_same(world.tables(), without(expected, company.left_out), company.inputs)
        ensure_own_names(world, company)
        again = world.backfill()
        ensure("nothing" in again.err or "up to date" in again.err, f"made again\n{again.err}")

    return claim


def ensure_own_names(world, company):
    """Rejected rows keep the names of the log."""
    rejects = deltalake.DeltaTable(f"{world.folder}/warehouse/clean/rejects")
    for row in rejects.to_pyarrow_table().to_pylist():
        record = json.loads(row["record"])
        for name in company.own_names.get(row["log"], ()):
            ensure(name in record, f"a record without {name}: {row['record']}")


class Bucket:
    """A bucket of the S3 server."""

    def __init__(self, server, name):
        self.name, self.url = name, f"s3://{name}"
        self.options = {
            "AWS_ENDPOINT_URL": server,
            "AWS_ALLOW_HTTP": "true",
            "AWS_REGION": "us-east-1",
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
        }
        self.client = boto3.client(
            "s3",
            endpoint_url=server,
            region_name="us-east-1",
            aws_access_key_id="test",
            aws_secret_access_key="test",
        )
        self.client.create_bucket(Bucket=name)

    def put(self, key, content=b""):
        self.client.put_object(Bucket=self.name, Key=key, Body=content)

    def take_over(self, world, inputs):
        """All that lies in the world goes into the bucket, but the job file and its views."""
        for path in sorted(world.folder.rglob("*")):
            key = str(path.relative_to(world.folder))
            if path.is_file() and key.startswith(("raw/", "reference/")):
                self.put(key, path.read_bytes())
        inputs = inputs.replace('"raw/', f'"{self.url}/raw/')
        world.job(inputs, f"{self.url}/reference", f"{self.url}/warehouse")
        world.program = Program(world.program.path, self.options)
        return world

    def tables(self, world):
        return world.tables(f"{self.url}/warehouse", self.options)


def on_s3(server, name):
    def claim(world, expected):
        company = COMPANIES[name]
        bucket = Bucket(server(), "company-" + "".join(c for c in name.lower() if c.isalnum()))
        company.put(world)
        for file, text in company.views.items():
            world.put(file, text.encode())
        bucket.take_over(world, company.inputs).backfill()
        ensure_same(bucket.tables(world), without(expected, company.left_out), f"S3: {name}")

    return claim


def strays_on_s3(server):
    """Keys that are folders, and keys that no folder could have, are no data."""

    def claim(world, expected):
        bucket = Bucket(server(), "strays")
        bucket.take_over(world.plain(), '\nclicks = "raw/clicks"\norders = "raw/orders"\n')
        for log in SCHEMAS:
            bucket.put(f"raw/{log}/")
            bucket.put(f"raw/{log}/dt={dt(2)}/")
            bucket.put(f"raw/{log}//dt={dt(2)}/part-1.parquet", b"x")
            bucket.put(f"raw/{log}/dt={dt(2)}//part-1.parquet", b"x")
            bucket.put(f"raw/{log}/dt={dt(2)}/../part-1.parquet", b"x")
            bucket.put(f"raw/{log}/./part-1.parquet", b"x")
            # The folder of a date that has not come yet.
            bucket.put(f"raw/{log}/dt={dt(4)}/")
        world.backfill()
        ensure_same(bucket.tables(world), expected, "S3: strays")
        world.backfill(last=4, codes=(3,))

    return claim


def main(program, words):
    claims = Claims(words)
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        temp = pathlib.Path(folder)
        plain = World(temp, program).plain()
        plain.backfill()
        expected = plain.tables()
        started = []

        def server():
            return started[0]

        tried = {name: gives_the_plain_tables(company) for name, company in COMPANIES.items()}
        tried |= {f"S3: {name}": on_s3(server, name) for name in ON_S3}
        tried["S3: strays"] = strays_on_s3(server)
        tried |= folders.CLAIMS | refused.CLAIMS
        for name, claim in wide_tables.CLAIMS.items():
            tried[name] = lambda world, _, claim=claim: claim(world)
        for name, claim in documented.CLAIMS.items():
            tried[name] = lambda world, _, claim=claim: claim(world)
        for name, claim in tried.items():
            claims.add(name, lambda claim=claim: claim(World(temp, program), expected))
        try:
            if any(name.startswith("S3: ") for name in claims.all):
                started.append(start_s3("s3", temp))
            claims.end("logs as they are")
        finally:
            stop_all()


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    main(sys.argv[1], sys.argv[2:])
