"""Which step of a run used whose CPU time: the driver's log says when steps began and ended, and
samples of /proc say who worked meanwhile."""

import collections
import datetime
import os
import re
import threading
import time

TICKS = os.sysconf("SC_CLK_TCK")
EVERY = 0.05
# These are part of other steps.
PLANNING = ("logical plan", "physical plan")


def cpu_of(pid):
    """User and system seconds of a process that has not been waited for."""
    with open(f"/proc/{pid}/stat") as stat:
        fields = stat.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def peak_of(pid):
    with open(f"/proc/{pid}/status") as status:
        return int(re.search(r"VmHWM:\s+(\d+) kB", status.read())[1]) * 1024


class Sampler(threading.Thread):
    """Seconds of CPU of processes, every twentieth of a second."""

    def __init__(self, pids):
        super().__init__(daemon=True)
        self.pids, self.samples, self.is_over = pids, [], threading.Event()
        self.start()

    def run(self):
        while True:
            try:
                self.samples.append((time.time(), [cpu_of(pid) for pid in self.pids]))
            except (OSError, IndexError):
                return
            if self.is_over.wait(EVERY):
                return

    def end(self):
        self.is_over.set()
        self.join()
        return self.samples


LINE = re.compile(
    r'^(?P<at>\S+Z) +DEBUG (?P<kind>done|ran elsewhere) what="(?P<what>.*?)" '
    r'seconds="?(?P<seconds>[0-9.]+)"?', re.MULTILINE)


def read_log(text):
    """(intervals of steps as (begin, end, name), seconds of planning, queries that workers ran)"""
    intervals, planning, queries = [], 0.0, 0
    for found in LINE.finditer(text):
        seconds = float(found["seconds"])
        if found["kind"] == "ran elsewhere":
            queries += 1
        elif found["what"] in PLANNING:
            planning += seconds
        else:
            end = datetime.datetime.fromisoformat(found["at"].replace("Z", "+00:00")).timestamp()
            intervals.append((end - seconds, end, found["what"]))
    return intervals, planning, queries


def by_step(intervals, samples):
    """{step: {"count", "seconds", "cpu": [of each process]}}; steps side by side share what was used.
    What falls between steps is that of the step ''."""
    steps = collections.defaultdict(lambda: {"count": 0, "seconds": 0.0, "cpu": None})
    count = len(samples[0][1]) if samples else 0
    for begin, end, name in intervals:
        step = steps[name]
        step["count"] += 1
        step["seconds"] += end - begin
    for (begin, before), (end, after) in zip(samples, samples[1:]):
        used = [max(0.0, new - old) for old, new in zip(before, after)]
        shares = collections.Counter()
        for first, last, name in intervals:
            overlap = min(end, last) - max(begin, first)
            if overlap > 0:
                shares[name] += overlap
        whole = max(sum(shares.values()), 1e-9)
        for name, share in (shares or {"": whole}).items():
            step = steps[name]
            step["cpu"] = step["cpu"] or [0.0] * count
            for at, seconds in enumerate(used):
                step["cpu"][at] += seconds * share / whole
    for step in steps.values():
        step["seconds"] = round(step["seconds"], 3)
        step["cpu"] = [round(seconds, 3) for seconds in step["cpu"] or [0.0] * count]
    return dict(steps)
