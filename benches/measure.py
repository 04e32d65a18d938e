"""Measures commands and functions, and keeps every measurement under a name."""

import dataclasses
import multiprocessing
import os
import pathlib
import shutil
import statistics
import subprocess
import sys
import time

HERE = pathlib.Path(__file__).resolve().parent


@dataclasses.dataclass
class Line:
    """One line of the table: lookback against something else, and the target if there is one."""

    work: str
    lookback: str
    other: str
    ratio: float
    target: str = ""
    met: bool | None = None


class Bench:
    def __init__(self, arguments, world):
        self.arguments = arguments
        self.world = world
        self.measurements = {}
        self.scratch = arguments.cache / "scratch"
        shutil.rmtree(self.scratch, ignore_errors=True)
        self.scratch.mkdir(parents=True)

    def lookback(self, job, command, *options, binary=None):
        binary = binary or self.arguments.binary
        return measured([binary, command, job, *options, "--quiet"], self.scratch / "log")

    def duckdb(self, first, last, out):
        command = [sys.executable, HERE / "peer.py", self.world.folder, first, last, out,
                   "--threads", self.arguments.threads,
                   "--memory-limit", self.arguments.memory_limit]
        return measured(command, self.scratch / "log")

    def fresh_job(self, name, world=None, copy_of=None):
        """A job file whose warehouse is empty, or a copy of another."""
        root = self.scratch / name
        shutil.rmtree(root, ignore_errors=True)
        if copy_of:
            # Linked: a copy would still be on its way to the disk while the job runs. Files of a
            # warehouse are replaced, never written to.
            shutil.copytree(copy_of, root, copy_function=os.link)
        return (world or self.world).write_job(root, self.scratch / f"{name}.toml")

    def keep(self, name, measurement):
        self.measurements.setdefault(name, []).append(measurement)
        figures = ", ".join(f"{figure} {shown(value, figure)}"
                            for figure, value in measurement.items())
        say(f"{name:<24} {figures}")

    def all(self, name, figure):
        return [measurement[figure] for measurement in self.measurements[name]]

    def median(self, name, figure):
        return statistics.median(self.all(name, figure))

    def shown(self, name, figure):
        """The median, and each measurement if there are several."""
        values = self.all(name, figure)
        each = ", ".join(shown(value, figure).split()[0] for value in values)
        median = shown(statistics.median(values), figure)
        return f"{median} ({each})" if len(values) > 1 else median

    def line(self, work, figure, ours, other, times=None, below=None, target=None):
        """A line of two measurements. The target is at most so many times the other one, or a
        value that ours stays below."""
        value = self.median(ours, figure)
        ratio = value / self.median(other, figure)
        met = None
        if times is not None:
            target, met = target or f"{times} ×", ratio <= times
        if below is not None:
            target, met = target or shown(below, figure), met is not False and value <= below
        return Line(work, self.shown(ours, figure), self.shown(other, figure), ratio,
                    target or "", met)


def measured(command, log, environment=None):
    """Wall and CPU seconds and peak bytes of a command. Ends everything when it fails."""
    with open(log, "wb") as output:
        started = time.perf_counter()
        process = subprocess.Popen(list(map(str, command)), stdout=output, stderr=output,
                                   env=environment)
        _, status, usage = os.wait4(process.pid, 0)
        wall = time.perf_counter() - started
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        print(log.read_text(errors="replace")[-2000:], file=sys.stderr)
        sys.exit(f"exit code {process.returncode}: {' '.join(map(str, command))}")
    return {
        "wall": round(wall, 3),
        "cpu": round(usage.ru_utime + usage.ru_stime, 3),
        "memory": usage.ru_maxrss * 1024,
    }


def apart(function, *arguments):
    """Calls a function in a fresh process."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(function, arguments)


def shown(value, figure):
    if figure == "memory":
        return f"{value / 1e9:.2f} GB"
    return f"{value:.1f} s" if value >= 10 else f"{value:.2f} s"


def say(text):
    print(text, file=sys.stderr, flush=True)
