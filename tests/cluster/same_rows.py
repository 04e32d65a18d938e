"""A cluster makes the tables of one machine, row for row, on disk and on an S3 server.

usage: same_rows.py path/to/lookback [WORD]...

The program has to be built with the feature `cluster`. One machine backfills a demo world, then a
night follows on which late rows land, a rate changes, nothing changes, and all is made again. Two
and four workers do the same, with pieces of the default size and with the smallest ones, and after
each step all tables have to be equal. So have those of companies with views, structs, nested lines
and Delta tables of their own. On the S3 server (moto) all lies in the store; driver and workers reach
it by lines of their own, which take their time and note each request: the driver must read no rows
of a table. Its memory must not grow with the world.

With words, only the claims whose names hold one of them. Prints a line per claim; ends with exit
code 1 if any does not hold, after all were tried.
"""

import json
import os
import pathlib
import re
import shutil
import sys
import tempfile
import threading
import urllib.request

TESTS = pathlib.Path(__file__).resolve().parents[1]
# Before this folder, for it has a same_rows.py as well.
sys.path[:0] = [str(TESTS / folder) for folder in ("readers", "writers", "stores")]

try:
    import boto3
    import deltalake
    import pyarrow
    import pyarrow.parquet

    import same_rows as readers
    import world as plain
    from companies import COMPANIES
    from program import Program, ensure, holds
    from servers import start_s3, start_slow, stop_all
    from tried import Claims

    sys.path.append(str(pathlib.Path(__file__).resolve().parent))
    from workers import Fleet
except ImportError as missing:
    sys.exit(f"{missing}; install it with: pip install deltalake pyarrow boto3 'moto[server]'")

SHAPES = ("structs", "page views", "order lines within an order", "Delta tables", "two click sources")
REGION = "us-east-1"
# Seconds to the first byte of the store's answers.
DISTANCE = 0.005
# So much of a file's end is asked for, to learn what is in it.
FOOTER = 128 * 1024
# The largest world of these tests has so many times the rows of the smaller one.
GROWTH = 6
# Clicks of a landing date of the smaller one.
LARGE = 20_000
COPIES = {
    "disk": [(2, "smallest"), (4, "default")],
    "S3": [(4, "smallest"), (2, "default")],
}
SMALLEST = "\n[cluster]\npiece_mb = 0\n"


class Demo:
    """A demo world; what its owner does, step by step; and the tables after each step."""

    def __init__(self, program, temp):
        self.folder = temp / "demo"
        size = ("--days", 6, "--clicks-per-day", 400, "--orders-per-day", 60)
        Program(program, {})("demo", self.folder, "--no-run", *size)
        self.landed = sorted(path.name[3:] for path in (self.folder / "raw/clicks").iterdir())
        self.job = (self.folder / "job.toml").read_text()
        # Steps change the inputs of a copy; each copy then has the same.
        self.path, self.temp = program, temp
        here = Copy(self, temp / "one-machine", program)
        self.tables = {name: here.step(name) for name in STEPS}

    def inputs(self):
        for path in sorted(self.folder.rglob("*")):
            if path.is_file() and path.name != "job.toml":
                yield str(path.relative_to(self.folder)), path.read_bytes()

    def late_rows(self):
        """Some clicks and orders of three days before, as new ones that land on the last date."""
        for log, id_column, time in (
            ("clicks", "click_id", "clicked_at"),
            ("orders", "event_id", "event_at"),
        ):
            [first, *_] = sorted((self.folder / f"raw/{log}/dt={self.landed[-4]}").iterdir())
            rows = pyarrow.parquet.read_table(first)
            rows = rows.slice(0, len(rows) // 4)
            place = rows.column_names.index(id_column)
            new = pyarrow.array([f"late-{number}" for number in range(len(rows))])
            rows = rows.set_column(place, id_column, new)
            if log == "orders":
                place = rows.column_names.index("order_id")
                orders = [f"late-{one}" for one in rows.column("order_id").to_pylist()]
                rows = rows.set_column(place, "order_id", pyarrow.array(orders))
            file = plain.stored(rows)
            yield f"raw/{log}/dt={self.landed[-3]}/late.parquet", file


def backfill(copy):
    return ["backfill", "--from", copy.demo.landed[0], "--to", copy.demo.landed[-3]]


def night(copy):
    return ["run", "--date", copy.demo.landed[-2]]


def late_rows(copy):
    for name, content in copy.demo.late_rows():
        copy.put(name, content)
    return night(copy)


def another_rate(copy):
    rates = (copy.demo.folder / "reference/rates.csv").read_text()
    changed = re.sub(r"^(category,\w+,,)0\.0\d+,,$", r"\g<1>0.2,,", rates, count=6, flags=re.M)
    ensure(changed != rates, "no rate to change")
    copy.put("reference/rates.csv", changed.encode())
    return ["backfill", "--stale"]


def force(copy):
    return [*night(copy), "--force"]


STEPS = {
    "backfill": backfill,
    "night": night,
    "late rows": late_rows,
    "another rate": another_rate,
    "nothing new": night,
    "all again": force,
}


class Copy:
    """The demo world once more, on disk, for one machine or for a cluster."""

    def __init__(self, demo, folder, program, workers="", more=""):
        self.demo, self.folder, self.workers = demo, folder, workers
        self.program = Program(program, {})
        shutil.copytree(demo.folder, folder)
        self.job = folder / "job.toml"
        self.job.write_text(demo.job + more)

    def put(self, name, content):
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)

    def run(self, name):
        verb, *arguments = STEPS[name](self)
        if self.workers:
            arguments += ["--workers", self.workers]
        return self.program(verb, self.job, *arguments)

    def step(self, name):
        before = self.versions() if name == "nothing new" else None
        self.run(name)
        if before:
            ensure(self.versions() == before, "a night without news made new versions")
        return self.tables()

    def opened(self):
        root = self.folder / "warehouse"
        return {name: deltalake.DeltaTable(str(root / name)) for name in readers.TABLES}

    def tables(self):
        opened = self.opened().items()
        return {name: readers.counted(one.to_pyarrow_table().to_pylist()) for name, one in opened}

    def versions(self):
        return {name: one.version() for name, one in self.opened().items()}


class Bucket:
    """A bucket of the S3 server."""

    def __init__(self, server, name):
        self.name, self.url = name, f"s3://{name}"
        key = {"aws_access_key_id": "test", "aws_secret_access_key": "test"}
        self.options = {name.upper(): value for name, value in key.items()} | {
            "AWS_ENDPOINT_URL": server,
            "AWS_ALLOW_HTTP": "true",
            "AWS_REGION": REGION,
        }
        self.client = boto3.client("s3", endpoint_url=server, region_name=REGION, **key)
        self.client.create_bucket(Bucket=name)

    def put(self, key, content):
        self.client.put_object(Bucket=self.name, Key=key, Body=content)

    def sizes(self):
        pages = self.client.get_paginator("list_objects_v2").paginate(Bucket=self.name)
        return {one["Key"]: one["Size"] for page in pages for one in page.get("Contents", ())}


class CopyOnS3(Copy):
    """The same in a bucket. `line` is the driver's way to the store."""

    def __init__(self, demo, name, program, server, line, workers, more):
        self.demo, self.workers = demo, workers
        self.bucket = Bucket(server, name)
        self.program = Program(program, self.bucket.options | {"AWS_ENDPOINT_URL": line})
        for key, content in demo.inputs():
            self.bucket.put(key, content)
        text = re.sub(r'"((?:raw|reference)/)', rf'"{self.bucket.url}/\1', demo.job)
        text = text.replace('"warehouse"', f'"{self.bucket.url}/warehouse"')
        self.job = demo.temp / f"{name}.toml"
        self.job.write_text(text + more)

    def put(self, name, content):
        self.bucket.put(name, content)

    def opened(self):
        root, options = f"{self.bucket.url}/warehouse", self.bucket.options
        return {
            name: deltalake.DeltaTable(f"{root}/{name}", storage_options=options)
            for name in readers.TABLES
        }


def follows_each_step(demo, copy, claim):
    for name, expected in demo.tables.items():
        plain.ensure_same(copy.step(name), expected, f"{claim}, {name}")


def on_disk(demo, fleet, count, more):
    def claim():
        what = f"{count}-{'small' if more else 'default'}"
        workers = fleet().first(count)
        copy = Copy(demo(), demo().temp / what, demo().path, workers, more)
        follows_each_step(demo(), copy, what)
        left = list((copy.folder / "warehouse/_lookback").glob("scratch/*/*"))
        ensure(not left, f"left behind: {left[:3]}")

    return claim


def on_s3(demo, store, count, more):
    def claim():
        name = f"rows-{count}-{'small' if more else 'default'}"
        line = store().line(name)
        workers = store().fleet.first(count)
        copy = CopyOnS3(demo(), name, demo().path, store().server, line, workers, more)
        follows_each_step(demo(), copy, f"S3, {count} workers")

    return claim


class Store:
    """An S3 server, and workers with a line of their own to it."""

    def __init__(self, program, temp):
        self.temp = temp
        self.server = start_s3("s3", temp)
        self.of_workers = self.line("workers")
        credentials = Bucket(self.server, "of-no-use").options
        self.fleet = Fleet(program, credentials | {"AWS_ENDPOINT_URL": self.of_workers})

    def line(self, name):
        """A way to the store that takes its time."""
        line = start_slow(f"line-of-{name}", self.temp, self.server)
        pace = json.dumps({"delay": DISTANCE}).encode()
        urllib.request.urlopen(
            urllib.request.Request(f"{line}/_pace", pace, method="PUT"), timeout=60
        ).close()
        return line


def asked(line):
    with urllib.request.urlopen(f"{line}/_requests", timeout=60) as answer:
        return json.load(answer)


def the_driver_reads_no_rows(program, store, temp):
    """Of raw logs, stored tables and temporary ones it asks for the files' ends, if anything."""

    def claim():
        demo = Large(program, temp() / "large-on-s3", LARGE)
        line = store().line("large")
        copy = CopyOnS3(demo, "large", program, store().server, line, store().fleet.first(2), "")
        copy.run("backfill")
        sizes = copy.bucket.sizes()
        rows = 0
        for request in asked(line):
            key = request["path"].partition("/large/")[2]
            if request["method"] != "GET" or not is_table_file(key):
                continue
            start = re.match(r"bytes=(\d+)-", request["range"] or "bytes=0-")
            of_rows = max(0, sizes.get(key, 0) - FOOTER - int(start[1]))
            rows += min(of_rows, request["received"])
            ensure(not rows, f"the driver reads {request['range']} of {key}")
        by_workers = sum(
            request["received"]
            for request in asked(store().of_workers)
            if request["path"].startswith("/large/raw/")
        )
        raw = sum(size for key, size in sizes.items() if key.startswith("raw/"))
        ensure(by_workers > raw / 2, f"the workers read {by_workers} bytes of {raw}")

    return claim


def is_table_file(key):
    of_table = key.startswith(("raw/", "warehouse/")) and "/reference/" not in key
    return of_table and key.endswith(".parquet") and "_delta_log" not in key


class Large:
    """A demo world of few dates with many rows."""

    def __init__(self, program, folder, clicks):
        self.path, self.folder, self.temp = program, folder, folder.parent
        size = ("--days", 4, "--clicks-per-day", clicks, "--orders-per-day", clicks // 10)
        Program(program, {})("demo", folder, "--no-run", *size)
        self.landed = sorted(path.name[3:] for path in (folder / "raw/clicks").iterdir())
        self.job = (folder / "job.toml").read_text()

    inputs = Demo.inputs


def the_driver_does_not_grow(program, fleet, temp):
    """Peak memory of the driver, of a small world and of one that is several times as large."""

    def claim():
        peaks = {}
        for clicks in (LARGE, LARGE * GROWTH):
            demo = Large(program, temp() / f"grows-{clicks}", clicks)
            copy = Copy(demo, temp() / f"grows-{clicks}-there", program, fleet().first(2))
            verb, *arguments = backfill(copy)
            run = copy.program.start(verb, copy.job, *arguments, "--workers", copy.workers)
            _, status, usage = os.wait4(run.pid, 0)
            run.returncode = os.waitstatus_to_exitcode(status)
            copy.program.end(run, codes=(0,))
            peaks[clicks] = usage.ru_maxrss // 1024
        small, large = peaks.values()
        ensure(large < small * 1.3 + 30, f"megabytes of the driver, by clicks a date: {peaks}")
        holds(f"megabytes of the driver, by clicks a date: {peaks}")

    return claim


def shapes(name, program, fleet, temp):
    """A company's logs, by one machine and by four workers."""

    def claim():
        company = COMPANIES[name]
        one, many = (company_world(company, program, temp()) for _ in range(2))
        one.backfill()
        with open(many.job_file, "a") as job:
            job.write(SMALLEST)
        many.backfill("--workers", fleet().first(4))
        plain.ensure_same(rows_of(many), rows_of(one), name)
        again = many.backfill()
        ensure("nothing" in again.err or "up to date" in again.err, f"made again\n{again.err}")

    return claim


def company_world(company, program, temp):
    world = plain.World(temp, program)
    company.move_in(world)
    return world


def rows_of(world):
    """With the records as they are."""
    root = world.folder / "warehouse"
    opened = {name: deltalake.DeltaTable(str(root / name)) for name in plain.TABLES}
    return {
        name: readers.counted(table.to_pyarrow_table().to_pylist())
        for name, table in opened.items()
    }


def main(program, words):
    claims = Claims(words)
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        temp = pathlib.Path(folder)
        demo = once(lambda: Demo(program, temp))
        fleet = once(lambda: Fleet(program, {}))
        store = once(lambda: Store(program, temp))
        # Each number of workers and each size of pieces, on disk and on S3.
        for place, copies in COPIES.items():
            on = on_disk if place == "disk" else on_s3
            known = fleet if place == "disk" else store
            for count, pieces in copies:
                claims.add(
                    f"{place}, {count} workers, {pieces} pieces: the rows of one machine, each step",
                    on(demo, known, count, SMALLEST if pieces == "smallest" else ""),
                )
        for name in SHAPES:
            claims.add(
                f"{name}: four workers give the rows of one machine",
                shapes(name, program, fleet, lambda: temp),
            )
        claims.add(
            "S3: the driver reads no rows, workers read the raw logs",
            the_driver_reads_no_rows(program, store, lambda: temp),
        )
        claims.add(
            f"the driver's memory does not grow with a world of {GROWTH} times the rows",
            the_driver_does_not_grow(program, fleet, lambda: temp),
        )
        try:
            claims.end("a cluster and one machine")
        finally:
            stop_all()


def once(make):
    """What is made when it is first asked for, by whichever claim."""
    lock, made = threading.Lock(), []

    def get():
        with lock:
            if not made:
                made.append(make())
        return made[0]

    return get


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    main(sys.argv[1], sys.argv[2:])
