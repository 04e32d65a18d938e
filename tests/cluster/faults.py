"""Workers die, freeze, starve and lie while a run works on them: right rows, or exit 1 and nothing changed.

usage: faults.py path/to/lookback [--moments N] [SECTION]...

The program is one with the feature `cluster`. A demo world, and a local run of it that says which rows
are right. Each case runs the second half of the dates on three workers, in a copy of the warehouse with
the first half, and something happens meanwhile. `--moments` is at how many of a run's steps a worker is
killed (6). Moments are steps of the run's own log, spread over all of it, and no times.

Sections: kills, frozen, memory, restarted, driver, lost, refused, blind, replaced, hostile, secrets; and
`slow`, which takes minutes and runs only when it is named.

Prints a line per claim that holds; ends with exit code 1 at the first that does not.
"""

import collections
import pathlib
import re
import shutil
import signal
import socket
import sys
import tempfile
import threading
import time

import pyarrow
import pyarrow.parquet

import workers as w
from admission import blind, refused, replaced
from cases import World, ensure_only_whole_files
from workers import Worker, complaint, said_by, times_again, wait_for_step, wait_until

from program import Broken, ensure, holds  # noqa: E402, workers.py says where it lies
from servers import start_s3, stop_all  # noqa: E402

SECRET = "CanarySecretAccessKey0Sings0Loudly000000"
HEAVY = ("clean.", "attribution.", "report.")
# A frozen peer is asked after 5 s, given up after 15 more, and once more asked who it is for 12.
NOTICED_WITHIN = 45


class Bench:
    """The world, three workers, and what came of all cases."""

    def __init__(self, program, temp):
        self.path, self.temp = program, temp
        self.world = World(program, temp / "world")
        self.workers = [Worker(program) for _ in range(3)]
        self.cases = []

    def case(self, **more):
        case = self.world.case(**more)
        self.cases.append(case)
        return case

    def start(self, case, *more, workers=None, **others):
        return self.world.start_half(case, workers or self.workers, *more, **others)

    def all_well(self):
        for worker in self.workers:
            worker.restart()

    def run_again(self, case, what):
        """A failed run changed no report, and the next one makes the right rows."""
        case.ensure_reports_unchanged(what)
        self.all_well()
        self.world.program.end(self.start(case), codes=(0,))
        self.world.ensure_right(case, f"{what}, and run again")

    def right_or_nothing(self, case, driver, what):
        """Returns what the run said. It ends with the right rows, or the next one does."""
        ended = self.world.program.end(driver, codes=(0, 1))
        if ended.code == 0:
            self.world.ensure_right(case, what)
        else:
            self.run_again(case, what)
        self.all_well()
        ensure(not case.scratch(), f"{what}: {case.scratch()[:2]} stays")
        return ended


def steps_without_faults(bench):
    case = bench.case()
    driver = bench.start(case)
    ended = bench.world.program.end(driver, codes=(0,))
    bench.world.ensure_right(case, "without faults")
    steps = re.findall(r"goes elsewhere", ended.err)
    names = w.names_of_steps(driver)
    heavy = {name for name in names if name.startswith(HEAVY)}
    ensure(len(heavy) > 20, f"only {sorted(heavy)} went to workers")
    ensure(not case.scratch(), f"{case.scratch()[:2]} stays")
    holds(f"a run without faults: {len(steps)} steps on three workers, the rows of a local run")
    return len(names)


def kills(bench, moments):
    """`kill -9` of one of three workers, at moments spread over all steps."""
    count = steps_without_faults(bench)
    outcomes, again, met = collections.Counter(), 0, collections.Counter()
    for moment in range(moments):
        wanted = 1 + moment * count // moments
        victim, comes_back = bench.workers[moment % 3], moment % 3 == 1
        what = f"kill of a worker at step {wanted} of {count}"
        case = bench.case()
        driver = bench.start(case)
        wait_for_step(driver, lambda names: len(names) >= wanted, what)
        time.sleep((moment % 4) * 0.008)
        names = w.names_of_steps(driver)
        victim.kill()
        if comes_back:
            victim.start()
        ended = bench.right_or_nothing(case, driver, what)
        outcomes["right rows" if ended.code == 0 else "exit 1, then right rows"] += 1
        again += times_again(ended.err)
        met[names[-1].split(".")[0] if names else "before"] += 1
        if ended.code:
            print(f"    {what} ({names[-1:]}): {ended.err.splitlines()[-1]}", flush=True)
    told = ", ".join(f"{number} {name}" for name, number in sorted(outcomes.items()))
    where = ", ".join(f"{number} in {name}" for name, number in sorted(met.items()))
    holds(f"{moments} kills of one of three workers ({where}): {told}; {again} steps ran again")


def frozen(bench):
    """A worker that is stopped is given up in seconds, and what it does later changes nothing."""
    victim, case = bench.workers[w.VICTIM], bench.case()
    driver = bench.start(case)
    wait_for_step(driver, lambda names: any(name.startswith("clean.") for name in names), "frozen")
    victim.send(signal.SIGSTOP)
    since = time.monotonic()
    is_noticed = lambda: times_again(said_by(driver)) or driver.poll() is not None  # noqa: E731
    wait_until(is_noticed, "nobody noticed that a worker is stopped")
    seconds = time.monotonic() - since
    ended = bench.world.program.end(driver, codes=(0, 1))
    ensure(ended.code == 0, f"with a frozen worker the run failed:\n{ended.err[-2000:]}")
    bench.world.ensure_right(case, "a frozen worker")
    ensure(seconds < NOTICED_WITHIN, f"it took {seconds:.0f} s to notice a frozen worker")
    before = case.tables()
    victim.send(signal.SIGCONT)
    time.sleep(3)
    after = case.tables()
    after.ensure_same_rows(before, "after a frozen worker went on")
    ensure(after.versions == before.versions, "a worker that was frozen has committed")
    ensure(victim.is_alive(), "a worker that was frozen has ended")
    holds(f"a stopped worker: noticed after {seconds:.0f} s, right rows; its late work changes nothing")

    case = bench.case()
    driver = bench.start(case)
    names = lambda names: any(name.startswith("attribution.") for name in names)  # noqa: E731
    wait_for_step(driver, names, "frozen for a while")
    victim.send(signal.SIGSTOP)
    time.sleep(13)
    victim.send(signal.SIGCONT)
    ended = bench.right_or_nothing(case, driver, "a worker that was stopped for 13 s")
    ensure(ended.code == 0, f"a worker was stopped for 13 s, and the run failed:\n{ended.err[-2000:]}")
    holds(f"a worker that was stopped for 13 s: right rows; {times_again(ended.err)} steps ran again")


def memory(bench):
    """A worker that gets no more memory, in cleaning and in attribution."""
    for layer in ("clean.", "attribution."):
        victim, case = bench.workers[0], bench.case()
        driver = bench.start(case)
        wait_for_step(driver, lambda names: any(name.startswith(layer) for name in names), layer)
        group = victim.starve()
        if not group:
            bench.world.program.end(driver, codes=(0,))
            print("SKIPPED  a worker without memory: no control group for memory can be made", flush=True)
            return
        ended = bench.world.program.end(driver, codes=(0, 1))
        ensure(not victim.is_alive(), "a worker that has no memory lives on")
        group.rmdir()
        if ended.code:
            bench.run_again(case, f"a worker without memory in {layer}")
        bench.world.ensure_right(case, f"a worker without memory in {layer}")
        bench.all_well()
        outcome = "right rows" if ended.code == 0 else "exit 1, then right rows"
        holds(f"a worker that gets no more memory ({layer[:-1]}) is ended by the system: {outcome}")


def restarted(bench):
    """SIGTERM to one worker after the other, each started again: as when a new release is rolled out."""
    case = bench.case()
    driver = bench.start(case)
    seconds = []
    # A peer that says half of what it has to does not hold a worker up.
    stuck = socket.create_connection(("127.0.0.1", bench.workers[0].port))
    stuck.sendall(b"PRI * HTTP")
    for layer, worker in zip(("clean.", "attribution.", "report."), bench.workers):
        wait_for_step(driver, lambda names: any(name.startswith(layer) for name in names), layer)
        worker.send(signal.SIGTERM)
        since = time.monotonic()
        wait_until(lambda: not worker.is_alive(), f"{worker.address} does not end after SIGTERM", seconds=60)
        seconds.append(time.monotonic() - since)
        ensure(worker.process.returncode == 0, f"SIGTERM: exit {worker.process.returncode}\n{worker.log()}")
        worker.start()
    stuck.close()
    ended = bench.right_or_nothing(case, driver, "workers restarted one by one")
    ensure(ended.code == 0, f"workers restarted one by one, and the run failed:\n{ended.err[-3000:]}")
    holds(
        f"three workers restarted one by one in a run: right rows, {times_again(ended.err)} steps ran again;"
        f" the slowest ended {max(seconds):.1f} s after SIGTERM"
    )


def driver_killed(bench):
    """`kill -9` of the driver: workers let go of its work, and the next run that has something to make
    begins with an empty scratch folder."""
    moments = {
        "cleaning": 'goes elsewhere what="clean.',
        "attribution": 'goes elsewhere what="attribution.timeline',
        "publishing": "INFO publishing",
    }
    for name, moment in moments.items():
        case = killed_at(bench, name, moment)
        time.sleep(1)
        left, used = len(case.scratch()), [worker.cpu_seconds() for worker in bench.workers]
        time.sleep(2)
        used = [worker.cpu_seconds() - before for worker, before in zip(bench.workers, used)]
        ensure(max(used) < 0.2, f"driver killed in {name}: workers used {used} s after it was dead")
        ended = bench.world.program.end(bench.start(case), codes=(0,))
        bench.world.ensure_right(case, f"driver killed in {name}, and run again")
        if "nothing to do" in ended.err + ended.out:
            # All was published before the kill. A run that makes nothing takes no lock and removes nothing.
            bench.world.program.end(bench.start(case, "--force"), codes=(0,))
            bench.world.ensure_right(case, f"driver killed in {name}, and made once more")
        ensure(not case.scratch(), f"driver killed in {name}: {case.scratch()[:2]} stays")
        holds(
            f"a driver killed in {name}: workers rest, {left} scratch files are gone after the next run that"
            " makes something, right rows"
        )


def killed_at(bench, name, moment):
    """A warehouse whose run was killed when its log said `moment`. Between publishing and the end are
    milliseconds, so a run can be over before it is killed: then another one is."""
    for _ in range(20):
        case = bench.case()
        driver = bench.start(case)
        wait_until(lambda: moment in said_by(driver) or driver.poll() is not None, name)
        driver.kill()
        if driver.wait() == -signal.SIGKILL:
            return case
    raise Broken(f"20 runs ended before they were killed in {name}")


def lost(bench):
    """All workers lost in the middle: exit 1, and no run without them."""
    case = bench.case()
    driver = bench.start(case)
    wait_for_step(driver, lambda names: "attribution.timeline" in names, "all lost")
    for worker in bench.workers:
        worker.kill()
    ended = bench.world.program.end(driver, codes=(1,))
    for word in ["so nothing runs", *(worker.address for worker in bench.workers), "hint: "]:
        ensure(word in complaint(ended), f"does not say {word}:\n{ended.err[-3000:]}")
    said = complaint(ended).splitlines()[0]
    bench.run_again(case, "all workers lost")
    holds(f"all workers lost: exit 1, no report changed, and the next run is right; it says: {said[:300]}")


def breakages():
    """What can be wrong with a raw file: what to do with the bytes of a whole one."""

    def truncated(data):
        return data[: len(data) // 2]

    def garbage(data):
        return bytes(range(256)) * (len(data) // 256 + 1)

    def ids_of(data):
        """The column that no row goes without."""
        rows = pyarrow.parquet.ParquetFile(pyarrow.BufferReader(data)).metadata.row_group(0)
        columns = map(rows.column, range(rows.num_columns))
        return next(column for column in columns if column.path_in_schema in ("click_id", "event_id"))

    def overwritten(data):
        end = ids_of(data).data_page_offset + ids_of(data).total_compressed_size
        middle = ids_of(data).data_page_offset + 60
        return data[:middle] + b"\xff" * (end - middle) + data[end:]

    def misdeclared(data):
        """The first page header declares as large a page as its bytes can."""
        column = ids_of(data)
        at = min(filter(None, [column.dictionary_page_offset, column.data_page_offset]))
        ensure(data[at] == 0x15 and data[at + 2] == 0x15, "not a page header")
        end = at + 3
        while data[end] & 0x80:
            end += 1
        return data[: at + 3] + b"\xfe" * (end - at - 3) + b"\x7e" + data[end + 1 :]

    return [truncated, garbage, overwritten, misdeclared]


def hostile(bench):
    """Broken raw files end with exit 2 and the words of a local run, and workers live on."""
    raw = bench.temp / "raw"
    shutil.copytree(bench.world.folder / "raw", raw)
    pids = [worker.process.pid for worker in bench.workers]
    for log in ("clicks", "orders"):
        victim = sorted((raw / log / f"dt={bench.world.last}").glob("*.parquet"))[0]
        whole = victim.read_bytes()
        for breakage in breakages():
            what = f"a raw file of {log} that is {breakage.__name__}"
            victim.write_bytes(breakage(whole))
            here, there = bench.case(raw=raw), bench.case(raw=raw)
            local = bench.world.program(*bench.world.second_half(here.job), codes=(0, 2))
            driver = bench.start(there, log_level="error")
            ended = bench.world.program.end(driver, codes=(0, 1, 2))
            ensure(
                ended.code == local.code == 2,
                f"{what}: exit {local.code} here and {ended.code} on workers:\n{ended.err[-3000:]}",
            )
            ensure(str(victim) in ended.err, f"{what}: is not named:\n{ended.err[-3000:]}")
            one, other = complaint(local), complaint(ended)
            ensure(one == other, f"{what}: a local run says\n{one}\nand on workers\n{other}")
            there.ensure_reports_unchanged(what)
            alive = [worker.process.pid for worker in bench.workers if worker.is_alive()]
            ensure(alive == pids, f"{what}: a worker did not survive it")
            holds(f"{what}: exit 2, and what a local run says: {one.splitlines()[0][-140:]}")
        victim.write_bytes(whole)
    case = bench.case(raw=raw)
    bench.world.program.end(bench.start(case), codes=(0,))
    bench.world.ensure_right(case, "after hostile files")
    holds("the same workers make the right rows after all these files")


class Wire:
    """A line to a worker, on which everything that passes is kept."""

    def __init__(self, port):
        self.port, self.passed = port, bytearray()
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self.listener.getsockname()[1]}"
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            client, _ = self.listener.accept()
            server = socket.create_connection(("127.0.0.1", self.port))
            for one, other in ((client, server), (server, client)):
                threading.Thread(target=self.hand_on, args=(one, other), daemon=True).start()

    def hand_on(self, one, other):
        try:
            while data := one.recv(1 << 16):
                self.passed += data
                other.sendall(data)
        except OSError:
            pass
        finally:
            for end in (one, other):
                try:
                    end.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass


def secrets(bench):
    """On an S3 server: credentials stay in each process, and a worker without them fails clearly."""
    from world import s3_store

    # Trace logs are long.
    world = World(bench.path, bench.temp / "small", clicks=60, orders=20, days=3)
    server = start_s3("s3", bench.temp)
    store = s3_store("s3", server, "cluster", world, bench.temp)
    credentials = store.credentials | {"AWS_SECRET_ACCESS_KEY": SECRET}
    canary = w.Program(bench.path, credentials)
    job = store.job(f"{store.url}/warehouse")
    job.write_text(job.read_text() + "\n[cluster]\npiece_mb = 0\n")
    three = [Worker(bench.path, credentials=credentials, log_level="trace") for _ in range(3)]
    wire = Wire(three[0].port)
    addresses = ",".join([wire.address, three[1].address, three[2].address])
    backfill = [*world.backfill(job), "--workers", addresses]
    driver = canary.start(*backfill, LOOKBACK_LOG="trace")
    ear, texts = w.Ear(driver), {}
    wait_until(lambda: ear.has_heard('what="attribution.timeline'), "the run on S3 does not come far")
    # It stands still while its scratch files are read.
    driver.send_signal(signal.SIGSTOP)
    scratch = store.below(f"{store.url}/warehouse/_lookback/scratch")
    ensure(scratch, "no scratch files were on the store")
    for path in scratch:
        with store.files.open_input_stream(path) as stream:
            texts[path] = stream.read()
    three[2].kill()
    three[2].start()
    driver.send_signal(signal.SIGCONT)
    ended = canary.end(driver, codes=(0,))
    texts |= {"the driver's log": ended.err.encode(), "the wire": bytes(wire.passed)}
    texts |= {f"the log of worker {at}": worker.log().encode() for at, worker in enumerate(three)}
    for what, text in texts.items():
        ensure(text, f"{what} is empty")
        ensure(SECRET.encode() not in text, f"the secret is in {what}")
    ensure(not store.below(f"{store.url}/warehouse/_lookback/scratch"), "scratch files stay")
    store.tables(f"{store.url}/warehouse").ensure_same_rows(world.backfilled, "on S3")
    megabytes = sum(map(len, texts.values())) / 1e6
    holds(
        f"on S3, with a worker killed: right rows; the secret is nowhere in {megabytes:.1f} MB of"
        f" trace logs, {len(scratch)} scratch files and {len(wire.passed)} bytes on a wire"
    )
    poor = [Worker(bench.path, credentials={}) for _ in range(2)]
    job = store.job(f"{store.url}/poor")
    job.write_text(job.read_text() + "\n[cluster]\npiece_mb = 0\n")
    addresses = ",".join(worker.address for worker in poor)
    ended = canary(*world.backfill(job), "--workers", addresses, codes=(1,))
    error = complaint(ended)
    ensure("hint: " in error, f"workers without credentials: no hint\n{ended.err[-3000:]}")
    for worker in [*three, *poor]:
        worker.kill()
    holds(f"workers without credentials: exit 1 after {ended.seconds:.0f} s: {error[:300]}")


def slow(bench):
    """A worker that is slow is named, and progress of workers is progress of the run."""
    big = World(bench.path, bench.temp / "big", clicks=40_000, orders=4_000, days=5)
    case = big.case()
    bench.cases.append(case)
    victim, is_over = bench.workers[w.VICTIM], threading.Event()
    driver = big.start_half(case, bench.workers, "--stall-seconds", "60")
    wait_for_step(driver, lambda names: "clean.checked_clicks" in names, "slow")
    brake = threading.Thread(target=w.stop_and_go, args=(victim, is_over, 2.5, 0.01))
    brake.start()
    name = f"have waited for {victim.address}"
    try:
        wait_until(lambda: name in said_by(driver) or driver.poll() is not None, "slow")
    finally:
        is_over.set()
        brake.join()
        victim.send(signal.SIGCONT)
    ended = big.program.end(driver, codes=(0, 1))
    ensure(name in ended.err, f"the straggler is not named:\n{ended.err[-3000:]}")
    ensure(ended.code == 0, f"ended with a slow worker:\n{ended.err[-3000:]}")
    big.ensure_right(case, "a slow worker")
    holds(f"a straggler is named, and --stall-seconds 60 ends nothing meanwhile ({ended.seconds:.0f} s)")


def whole(bench):
    """Nothing partial is registered, after all of it."""
    files, strays = 0, []
    for case in bench.cases:
        named, stray = ensure_only_whole_files(case.root)
        files, strays = files + named, strays + stray
    holds(
        f"after all faults the {files} files that the logs of {len(bench.cases)} warehouses name are"
        f" whole; {len(strays)} files that no log names are left to vacuum"
    )
    for stray in strays[:3]:
        print(f"    {stray}")


def main(program, moments, only):
    begun = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        temp = pathlib.Path(folder)
        sections = {
            "kills": lambda: kills(bench, moments),
            "frozen": lambda: frozen(bench),
            "memory": lambda: memory(bench),
            "restarted": lambda: restarted(bench),
            "driver": lambda: driver_killed(bench),
            "lost": lambda: lost(bench),
            "refused": lambda: refused(bench),
            "blind": lambda: blind(bench),
            "replaced": lambda: replaced(bench),
            "hostile": lambda: hostile(bench),
            "secrets": lambda: secrets(bench),
        }
        named = sections | {"slow": lambda: slow(bench)}
        try:
            bench = Bench(program, temp)
            for section in [named[name] for name in only] or sections.values():
                since = time.monotonic()
                section()
                print(f"    ({time.monotonic() - since:.0f} s)", flush=True)
            whole(bench)
        except Broken as broken:
            sys.exit(f"BROKEN  {broken}")
        finally:
            stop_all()
    print(f"what was tried of faults on a cluster holds ({time.monotonic() - begun:.0f} s)")


if __name__ == "__main__":
    arguments, moments = sys.argv[1:], 6
    if "--moments" in arguments:
        at = arguments.index("--moments")
        moments = int(arguments[at + 1])
        del arguments[at : at + 2]
    if not arguments:
        sys.exit(__doc__)
    main(arguments[0], moments, arguments[1:])
