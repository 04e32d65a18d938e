"""A driver and its workers, each on its share of the cores, and what they used."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time

from steps import Sampler, by_step, cpu_of, peak_of, read_log

FIRST_PORT = 7300


class Failed(Exception):
    """A run that ended with another code than 0, or that lost a worker."""


class Fleet:
    """Runs commands on so many workers; 0: in the driver's own process. `hosts` may be None: then all
    share the loopback of this machine, and nobody counts what they say to each other."""

    def __init__(self, binary, scratch, cores, count, hosts=None, environment=None):
        self.binary, self.scratch, self.cores, self.count = binary, scratch, cores, count
        self.hosts = hosts
        self.environment = without_credentials() | (environment or {})
        self.round_trip = None

    def within(self, host, cores):
        words = self.hosts.within(host) if self.hosts else []
        return [*words, "taskset", "-c", ",".join(map(str, cores))]

    def share_of(self, number):
        """A worker's cores. There may be more workers than cores."""
        each = max(1, len(self.cores) // self.count)
        first = number * each % len(self.cores)
        return self.cores[first : first + each]

    def start_workers(self):
        started = []
        for number in range(self.count):
            cores = self.share_of(number)
            host = f"w{number + 1}"
            address = self.hosts.addresses[host] if self.hosts else "127.0.0.1"
            address = f"{address}:{FIRST_PORT + number + 1}"
            command = [*self.within(host, cores), self.binary, "worker", "--listen", address,
                       "--cores", len(cores)]
            log = open(self.scratch / f"worker{number + 1}.log", "wb")
            process = subprocess.Popen(list(map(str, command)), stdout=log, stderr=log,
                                       env=self.environment)
            started.append((process, address))
        for number, (_, address) in enumerate(started):
            self.wait_for(address, self.scratch / f"worker{number + 1}.log")
        return started

    def wait_for(self, address, log):
        deadline = time.monotonic() + 30
        while "listening" not in log.read_text(errors="replace"):
            if time.monotonic() > deadline:
                sys.exit(f"no worker listens on {address}:\n{log.read_text()[-1000:]}")
            time.sleep(0.02)

    def run(self, command, job, *options):
        """Everything that a command used. The workers are fresh ones: their peak is this run's."""
        workers = self.start_workers()
        try:
            if self.hosts and workers:
                self.round_trip = round_trip(workers[0][1])
            return self.measured(workers, command, job, *options)
        finally:
            for process, _ in workers:
                process.send_signal(signal.SIGTERM)
            for process, _ in workers:
                process.wait()

    def measured(self, workers, command, job, *options):
        log, summary = self.scratch / "driver.log", self.scratch / "summary.json"
        words = [*self.within("driver", self.cores), self.binary, command, job, *options,
                 "--summary", summary, "--quiet"]
        if workers:
            words += ["--workers", ",".join(address for _, address in workers),
                      "--min-workers", len(workers)]
        before = self.hosts.counted() if self.hosts else {}
        idle = [cpu_of(process.pid) for process, _ in workers]
        with open(log, "wb") as output:
            begun = time.perf_counter()
            driver = subprocess.Popen(
                list(map(str, words)), stdout=output, stderr=output,
                env=self.environment | {"LOOKBACK_LOG": "lookback=debug"})
            sampler = Sampler([driver.pid, *(process.pid for process, _ in workers)])
            try:
                _, status, usage = os.wait4(driver.pid, 0)
            except BaseException:
                driver.kill()
                raise
            wall = time.perf_counter() - begun
            driver.returncode = os.waitstatus_to_exitcode(status)
        samples = sampler.end()
        text = log.read_text(errors="replace")
        if driver.returncode:
            error = text[text.rfind("\nerror: ") + 1 :].strip()
            raise Failed(f"exit code {driver.returncode}: {error[:500]}")
        if again := re.search(r"WARN (.*; .* runs again on .*)", text):
            raise Failed(f"the figures of a run in which steps ran twice mean nothing: {again[1]}")
        used = [cpu_of(process.pid) - since for (process, _), since in zip(workers, idle)]
        told = json.loads(summary.read_text())
        intervals, planning, queries = read_log(text)
        return {
            "wall": round(wall, 3),
            "driver cpu": round(usage.ru_utime + usage.ru_stime, 3),
            "driver memory": usage.ru_maxrss * 1024,
            "worker cpu": [round(seconds, 3) for seconds in used],
            "worker memory": [peak_of(process.pid) for process, _ in workers],
            "raw rows": sum(told["raw_rows"].values()),
            "queries": queries,
            "planning": round(planning, 3),
            "stages": {name: stage["seconds"] for name, stage in told["stages"].items()},
            "links": difference(before, self.hosts.counted() if self.hosts else {}),
            "steps": by_step(intervals, samples),
        }


def difference(before, after):
    return {name: {"sent": after[name][0] - sent, "received": after[name][1] - received}
            for name, (sent, received) in before.items()}


def without_credentials():
    return {name: value for name, value in os.environ.items()
            if not name.startswith(("AWS_", "AZURE_", "GOOGLE_", "LOOKBACK_"))}


def round_trip(address):
    """Seconds until a connection stands: the least of five."""
    host, _, port = address.rpartition(":")
    taken = []
    for _ in range(5):
        begun = time.perf_counter()
        socket.create_connection((host, int(port)), timeout=10).close()
        taken.append(time.perf_counter() - begun)
    return min(taken)


def with_piece(job, megabytes):
    """The same job file with another size of a piece of work."""
    text = re.sub(r"(?ms)^\[cluster\].*?(?=^\[|\Z)", "", job.read_text())
    job.write_text(f"{text}\n[cluster]\npiece_mb = {megabytes}\n")
    return job


def cpu(run):
    return run["driver cpu"] + sum(run["worker cpu"])


