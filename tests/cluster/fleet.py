"""Workers to test against, each in a process of its own. Gone at the end, by `servers.stop_all`."""

import re
import time

from program import TIME_LIMIT, Broken, Program

MANY = 4


class Fleet:
    """So many workers of one core each, with the credentials of one store."""

    def __init__(self, program, credentials, count=MANY):
        starter = Program(program, credentials)
        self.workers = [
            starter.start("worker", "--listen", "127.0.0.1:0", "--cores", 1) for _ in range(count)
        ]
        self.addresses = [address(worker) for worker in self.workers]

    def first(self, count):
        """As `--workers` wants so many of them."""
        return ",".join(self.addresses[:count])

    def ensure_alive(self):
        for worker, place in zip(self.workers, self.addresses):
            if worker.poll() is not None:
                raise Broken(f"the worker at {place} has ended with {worker.poll()}\n{said(worker)}")


def said(worker):
    log = worker.pipes["stderr"]
    # Through another offset than the one at which the worker writes.
    with open(f"/proc/self/fd/{log.fileno()}", "rb") as text:
        return text.read().decode(errors="replace")


def address(worker):
    deadline = time.monotonic() + TIME_LIMIT
    while worker.poll() is None and time.monotonic() < deadline:
        if found := re.search(r"listening on (\S+)", said(worker)):
            return found[1]
        time.sleep(0.02)
    raise Broken(f"no worker is listening\n{said(worker)}")
