"""Workers, each a process of its own, with what a fault does to them; and a world to run over and over."""

import dataclasses
import json
import os
import pathlib
import re
import shutil
import signal
import sys
import time
import urllib.parse

import pyarrow.parquet

# Before this folder, for it has a same_rows.py as well.
TESTS = pathlib.Path(__file__).resolve().parents[1]
sys.path[:0] = [str(TESTS / folder) for folder in ("readers", "stores")]
from program import TIME_LIMIT, Broken, Program, ensure  # noqa: E402, they lie in other folders
from servers import free_port  # noqa: E402
from world import Tables  # noqa: E402

VICTIM = 1
DEBUG = "lookback=debug"
MANY = 4


class Worker:
    """A worker on a port that stays its own, however often it is started."""

    def __init__(self, program, port=None, credentials=None, log_level=DEBUG, cores=2):
        self.program = Program(program, credentials or {})
        self.port = port or free_port()
        self.cores, self.log_level = cores, log_level
        self.address = f"127.0.0.1:{self.port}"
        self.starts = 0
        self.start()

    def start(self, *arguments):
        self.starts += 1
        self.process = self.program.start(
            "worker", "--listen", self.address, "--cores", self.cores, *arguments, LOOKBACK_LOG=self.log_level
        )
        wait_until(lambda: "listening on" in self.log(), f"{self.address} does not listen", self)

    def log(self):
        return said_by(self.process)

    def send(self, sign):
        os.kill(self.process.pid, sign)

    def kill(self):
        self.process.kill()
        self.process.wait()

    def is_alive(self):
        return self.process.poll() is None

    def restart(self):
        """Unless it is there and well."""
        if not self.is_alive():
            self.start()

    def starve(self):
        """It gets no more than 2 MB of memory from here on, and is ended by the system when it wants more.
        Returns the control group that says so, or nothing where there are none."""
        group, limit = memory_group(f"lookback-faults-{self.process.pid}")
        if group:
            (group / limit).write_text(str(2 << 20))
            (group / "cgroup.procs").write_text(str(self.process.pid))
        return group

    def cpu_seconds(self):
        fields = pathlib.Path(f"/proc/{self.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class Fleet:
    """So many workers of one core each, with the credentials of one store."""

    def __init__(self, program, credentials, count=MANY):
        self.workers = [Worker(program, credentials=credentials, cores=1) for _ in range(count)]

    def first(self, count):
        """As `--workers` wants so many of them."""
        return ",".join(worker.address for worker in self.workers[:count])


def complaint(ended):
    """What a run that failed says last, with the hint."""
    return re.split(r"(?m)^error: ", ended.err)[-1]


def memory_group(name):
    """A new control group, and its file that limits memory; or nothing, where none can be made."""
    for root, limit in (("/sys/fs/cgroup/memory", "memory.limit_in_bytes"), ("/sys/fs/cgroup", "memory.max")):
        group = pathlib.Path(root) / name
        try:
            group.mkdir()
        except OSError:
            continue
        if (group / limit).exists():
            return group, limit
        group.rmdir()
    return None, None


def said_by(process):
    """What a process said on stderr so far, while it may still run."""
    descriptor = process.pipes["stderr"].fileno()
    return os.pread(descriptor, os.fstat(descriptor).st_size, 0).decode()


class Ear:
    """Waits for words in what a process says on stderr, and reads each byte once."""

    def __init__(self, process):
        self.process, self.read, self.rest = process, 0, b""

    def has_heard(self, word):
        descriptor = self.process.pipes["stderr"].fileno()
        new = os.pread(descriptor, os.fstat(descriptor).st_size - self.read, self.read)
        self.read += len(new)
        self.rest += new
        heard = word.encode() in self.rest
        self.rest = self.rest[-1000:]
        return heard


def wait_until(is_so, trouble, worker=None, seconds=TIME_LIMIT):
    deadline = time.monotonic() + seconds
    while not is_so():
        if worker and not worker.is_alive():
            raise Broken(f"{trouble}: it ended\n{worker.log()[-2000:]}")
        if time.monotonic() > deadline:
            raise Broken(trouble)
        time.sleep(0.005)


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


def steps_of(driver):
    """The steps that a run sent to workers so far, by name; a step that is sent again counts again."""
    return re.findall(r'goes elsewhere.* what="([^"]+)"|what="([^"]+)".*goes elsewhere', said_by(driver))


def names_of_steps(driver):
    return [one or other for one, other in steps_of(driver)]


def wait_for_step(driver, is_it, what):
    """Until a run begins a step: `is_it` is asked of the names of all so far."""
    while not is_it(names_of_steps(driver)):
        if driver.poll() is not None:
            return False
        time.sleep(0.002)
    return True


def times_again(text):
    return len(re.findall(r" runs again on ", text))


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


def stop_and_go(worker, until, stopped, going):
    """Lets a worker work only now and then, until `until` is set."""
    while not until.is_set():
        worker.send(signal.SIGSTOP)
        until.wait(stopped)
        worker.send(signal.SIGCONT)
        time.sleep(going)
