"""A demo world on disk, what a local run makes of it, and stores that hold the same inputs."""

import collections
import dataclasses
import json
import pathlib
import re
import sys
import tempfile
import time
import urllib.request

import deltalake
import pyarrow.fs

from program import TIME_LIMIT, Broken, Program, ensure

sys.path.append(str(pathlib.Path(__file__).parents[1] / "readers"))
import same_rows  # noqa: E402, lies in another folder

REGION = "us-east-1"


class World:
    """A demo world on disk, and the tables that a local run makes of it."""

    def __init__(self, program, folder):
        self.program = Program(program, {})
        self.folder = folder
        scale = ["--days", 6, "--clicks-per-day", 300, "--orders-per-day", 40]
        self.program("demo", folder, "--no-run", *scale)
        self.job = folder / "job.toml"
        landed = sorted(path.name[3:] for path in (folder / "raw/clicks").iterdir())
        self.first, self.before_last, self.last = landed[0], landed[-3], landed[-2]
        self.inputs = [path for path in folder.rglob("*") if path.is_file() and path != self.job]
        self.program(*self.backfill(self.job))
        self.backfilled = Tables.read(folder / "warehouse", {}).and_query(self.program, self.job)
        self.program(*self.night(self.job))
        self.after_night = Tables.read(folder / "warehouse", {}).and_query(self.program, self.job)

    def backfill(self, job):
        return ["backfill", job, "--from", self.first, "--to", self.before_last]

    def night(self, job):
        return ["run", job, "--date", self.last]


@dataclasses.dataclass
class Tables:
    """All tables at one moment: how often each row is there, for each reader and table."""

    rows: dict
    versions: dict

    @staticmethod
    def read(root, options):
        tables = Tables({}, {})
        for name in same_rows.TABLES:
            table = deltalake.DeltaTable(f"{root}/{name}", storage_options=options)
            rows = same_rows.counted(table.to_pyarrow_table().to_pylist())
            tables.rows["deltalake", name] = rows
            tables.versions[name] = table.version()
        return tables

    def and_query(self, program, job):
        """Also as lookback itself prints them."""
        for name in same_rows.TABLES:
            sql = f"select * from {name.replace('/', '.')}"
            printed = program("query", job, sql, "--format", "csv").out
            self.rows["lookback query", name] = collections.Counter(printed.splitlines())
        return self

    def ensure_same_rows(self, other, what):
        for (reader, name), rows in self.rows.items():
            expected = other.rows[reader, name]
            ensure(
                rows == expected,
                f"{what}: {name} has other rows, as {reader} reads it\n"
                f"only here  {list((rows - expected).items())[:2]}\n"
                f"only there {list((expected - rows).items())[:2]}",
            )


@dataclasses.dataclass
class Store:
    """A bucket with the world's inputs in it, and what is needed to get at it."""

    label: str
    url: str
    credentials: dict
    files: pyarrow.fs.FileSystem
    world: World
    temp: pathlib.Path
    server: str = ""

    @property
    def bucket(self):
        return self.url.split("/")[2]

    @property
    def program(self):
        return Program(self.world.program.path, self.credentials)

    def with_credentials(self, **others):
        return dataclasses.replace(self, credentials=self.credentials | others)

    def fill(self):
        self.files.create_dir(self.bucket)
        for path in self.world.inputs:
            key = f"{self.bucket}/{path.relative_to(self.world.folder)}"
            with self.files.open_output_stream(key) as stream:
                stream.write(path.read_bytes())
        return self

    def job(self, root, inputs=None):
        """A job file like the local one, with everything in the store."""
        text = self.world.job.read_text()
        text = re.sub(r'"((?:raw|reference)/)', rf'"{inputs or self.url}/\1', text)
        text = text.replace('"warehouse"', f'"{root}"')
        job = pathlib.Path(tempfile.mkdtemp(dir=self.temp)) / "job.toml"
        job.write_text(text)
        return job

    def below(self, root):
        folder = root.split("://")[1]
        selector = pyarrow.fs.FileSelector(folder, recursive=True, allow_not_found=True)
        found = self.files.get_file_info(selector)
        return [info.path for info in found if info.type == pyarrow.fs.FileType.File]

    def tables(self, root):
        return Tables.read(root, self.credentials)

    def faults(self, **faults):
        """Sets what is wrong with the bucket; returns the counts up to here."""
        url = f"{self.server}/_faults/{self.bucket}"
        request = urllib.request.Request(url, json.dumps(faults).encode(), method="PUT")
        with urllib.request.urlopen(request, timeout=TIME_LIMIT) as answer:
            return json.load(answer)

    def counts(self):
        url = f"{self.server}/_faults/{self.bucket}"
        with urllib.request.urlopen(url, timeout=TIME_LIMIT) as answer:
            return json.load(answer)

    def set_pace(self, **pace):
        """Of a line before the store (slow_store.py); returns what came of the one before."""
        before = self.ask_line("GET")
        self.ask_line("PUT", json.dumps(pace).encode())
        return before["met"]

    def ask_line(self, method, body=None):
        request = urllib.request.Request(f"{self.server}/_pace", body, method=method)
        with urllib.request.urlopen(request, timeout=TIME_LIMIT) as answer:
            return json.load(answer)

    def wait_until_held(self, run):
        """Until a write of this run waits in the store."""
        deadline = time.monotonic() + TIME_LIMIT
        while run.poll() is None and time.monotonic() < deadline:
            if self.counts()["waiting"]:
                return
            time.sleep(0.1)
        if run.poll() is not None:
            self.program.end(run, codes=())
        raise Broken(f"{self.label}: no write was held back")

    def wait_until_idle(self):
        """Until the store has answered all requests that it was sent, those that it held as well."""
        deadline = time.monotonic() + TIME_LIMIT
        while self.counts()["open"] and time.monotonic() < deadline:
            time.sleep(0.1)
        ensure(not self.counts()["open"], f"{self.label}: a request has no answer")


def s3_credentials(server, key="test", secret="test"):
    return {
        "AWS_ENDPOINT_URL": server,
        "AWS_ALLOW_HTTP": "true",
        "AWS_REGION": REGION,
        "AWS_ACCESS_KEY_ID": key,
        "AWS_SECRET_ACCESS_KEY": secret,
    }


def s3_files(server, key="test", secret="test"):
    return pyarrow.fs.S3FileSystem(
        endpoint_override=server,
        region=REGION,
        access_key=key,
        secret_key=secret,
        allow_bucket_creation=True,
        request_timeout=TIME_LIMIT,
    )


def s3_store(label, server, bucket, world, temp):
    credentials, files = s3_credentials(server), s3_files(server)
    return Store(label, f"s3://{bucket}", credentials, files, world, temp, server).fill()
