"""A world to run over and over: half of it is made once, and each case makes the other half in a copy."""

import dataclasses
import json
import pathlib
import re
import shutil
import time
import urllib.parse

import pyarrow.parquet

from workers import DEBUG

from program import Program, ensure  # noqa: E402, workers.py says where it lies
from world import Tables  # noqa: E402


@dataclasses.dataclass
class Case:
    """A warehouse of its own, in which the second half is to be run."""

    job: pathlib.Path
    root: pathlib.Path
    before: Tables

    def tables(self):
        return Tables.read(self.root, {})

    def scratch(self):
        """Files, also those that are being written."""
        return [path for path in (self.root / "_lookback/scratch").rglob("*") if path.is_file()]

    def ensure_reports_unchanged(self, what):
        after = self.tables()
        for name in after.versions:
            if name.startswith("report/"):
                ensure(
                    after.versions[name] == self.before.versions[name]
                    and after.rows["deltalake", name] == self.before.rows["deltalake", name],
                    f"{what}: it failed, and {name} has changed",
                )


class World:
    """Logs, a warehouse with the first half of its dates, and the tables of all dates by a local run."""

    def __init__(self, program, folder, clicks=300, orders=40, days=6):
        self.program = Program(program, {})
        self.folder, self.number = folder, 0
        scale = ["--days", days, "--clicks-per-day", clicks, "--orders-per-day", orders]
        self.program("demo", folder, "--no-run", *scale)
        self.inputs = [path for path in folder.rglob("*") if path.is_file() and path.suffix != ".toml"]
        self.job = folder / "job.toml"
        landed = sorted(path.name[3:] for path in (folder / "raw/clicks").iterdir())
        self.first, self.middle, self.next, self.last = landed[0], landed[1], landed[2], landed[-2]
        # So later ones are cleaned in the second half.
        self.known = landed[3]
        self.program(*self.backfill(self.job))
        self.base = folder / "base"
        shutil.copytree(folder / "warehouse", self.base)
        self.backfilled = Tables.read(self.base, {})
        begun = time.monotonic()
        self.program(*self.second_half(self.job))
        self.local_seconds = time.monotonic() - begun
        self.expected = Tables.read(folder / "warehouse", {})

    def backfill(self, job):
        return ["backfill", job, "--from", self.first, "--to", self.middle, "--as-of", self.known]

    def second_half(self, job):
        return ["backfill", job, "--from", self.next, "--to", self.last]

    def case(self, more="", raw=None):
        """A copy of the warehouse with the first half. With `more` lines of the job file's table
        `[cluster]`, and perhaps other raw logs."""
        self.number += 1
        root = self.folder / f"warehouse-{self.number}"
        shutil.copytree(self.base, root)
        text = self.job.read_text().replace('"warehouse"', f'"{root}"')
        if raw:
            text = re.sub(r'"raw/', f'"{raw}/', text)
        job = self.folder / f"job-{self.number}.toml"
        job.write_text(f"{text}\n[cluster]\npiece_mb = 0\n{more}")
        return Case(job, root, self.backfilled)

    def start_half(self, case, workers, *more, program=None, log_level=DEBUG):
        """On workers, or addresses."""
        addresses = [getattr(worker, "address", worker) for worker in workers]
        arguments = [*self.second_half(case.job), "--workers", ",".join(addresses), *more]
        return (program or self.program).start(*arguments, LOOKBACK_LOG=log_level)

    def ensure_right(self, case, what):
        case.tables().ensure_same_rows(self.expected, what)


def ensure_only_whole_files(root):
    """Every file that any version of any table names is there and has the rows that the log says.
    Returns how many there are, and how many files lie in tables that no version names."""
    named, strays = 0, []
    for log in sorted(root.rglob("_delta_log")):
        table = log.parent
        known = set()
        for commit in sorted(log.glob("*.json")):
            for line in commit.read_text().splitlines():
                added = json.loads(line).get("add")
                if added:
                    path = urllib.parse.unquote(added["path"])
                    known.add(path)
                    rows = json.loads(added["stats"])["numRecords"]
                    footer = pyarrow.parquet.ParquetFile(table / path).metadata
                    size = (table / path).stat().st_size
                    ensure(
                        footer.num_rows == rows and size == added["size"],
                        f"{table}: {path} has {footer.num_rows} rows and {size} bytes, and "
                        f"the log says {rows} and {added['size']}",
                    )
        named += len(known)
        files = [path for path in table.rglob("*") if path.is_file() and "_delta_log" not in path.parts]
        strays += [path for path in files if str(path.relative_to(table)) not in known]
    return named, strays
