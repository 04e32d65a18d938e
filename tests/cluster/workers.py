"""Workers, each a process of its own, with what a fault does to them."""

import os
import pathlib
import re
import signal
import sys
import time

# Before this folder, for it has a same_rows.py as well.
TESTS = pathlib.Path(__file__).resolve().parents[1]
sys.path[:0] = [str(TESTS / folder) for folder in ("readers", "stores")]
from program import TIME_LIMIT, Broken, Program  # noqa: E402, they lie in other folders
from servers import free_port  # noqa: E402

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


def stop_and_go(worker, until, stopped, going):
    """Lets a worker work only now and then, until `until` is set."""
    while not until.is_set():
        worker.send(signal.SIGSTOP)
        until.wait(stopped)
        worker.send(signal.SIGCONT)
        time.sleep(going)
