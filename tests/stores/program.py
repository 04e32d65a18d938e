"""The program, run with the credentials of one store; and claims that hold or do not."""

import dataclasses
import os
import subprocess
import tempfile
import time

# A run takes a few seconds; one that takes over from a dead one waits for less than a minute. On a
# busy machine both take longer, so only a run that hangs reaches this.
TIME_LIMIT = 900

# All processes that were started, servers as well.
children = []


class Broken(Exception):
    """A claim that does not hold."""


def holds(claim):
    print(f"ok  {claim}", flush=True)


def ensure(condition, message):
    if not condition:
        raise Broken(message)


@dataclasses.dataclass
class Ended:
    code: int
    out: str
    err: str
    seconds: float
    said: str


@dataclasses.dataclass
class Program:
    """lookback with the credentials of one store, and no others."""

    path: str
    credentials: dict

    def start(self, *arguments, **more):
        foreign = ("AWS_", "AZURE_", "AZURITE_", "GOOGLE_", "LOOKBACK_")
        kept = {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
        pipes = {"stdout": tempfile.TemporaryFile(), "stderr": tempfile.TemporaryFile()}
        environment = kept | self.credentials | more
        run = subprocess.Popen([self.path, *map(str, arguments)], env=environment, **pipes)
        run.pipes, run.begun, run.arguments = pipes, time.monotonic(), arguments
        children.append(run)
        return run

    def end(self, run, codes, timeout=TIME_LIMIT):
        said = f"lookback {' '.join(map(str, run.arguments))}"
        try:
            code = run.wait(timeout)
        except subprocess.TimeoutExpired:
            run.kill()
            raise Broken(f"{said}\nhas not ended after {timeout} s") from None
        texts = []
        for pipe in run.pipes.values():
            pipe.seek(0)
            texts.append(pipe.read().decode())
        ended = Ended(code, *texts, time.monotonic() - run.begun, said)
        ensure(code in codes, f"{said}\nexit code {code}, not {codes}\n{ended.err[-4000:]}")
        for word in ("panicked", "stack backtrace", "Traceback", "a bug in lookback"):
            ensure(word not in ended.err, f"{said}\nspeaks of {word!r}\n{ended.err[-4000:]}")
        return ended

    def __call__(self, *arguments, codes=(0,), **more):
        return self.end(self.start(*arguments, **more), codes)
