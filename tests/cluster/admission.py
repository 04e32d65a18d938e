"""Who may work on a run: sections of faults.py about workers that are not there, are others than they should
be, or see something else than the driver."""

import http.server
import json
import os
import pathlib
import re
import signal
import socketserver
import subprocess
import threading

import pyarrow
import pyarrow.parquet

import workers as w
from cases import World
from workers import Worker, complaint, said_by, wait_until

from program import ensure, holds  # noqa: E402, workers.py says where it lies
from servers import free_port, start_s3  # noqa: E402
from world import s3_store  # noqa: E402


class Http(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"hello")

    do_POST = do_GET

    def log_message(self, *_):
        pass


class Silent(socketserver.BaseRequestHandler):
    def handle(self):
        while self.request.recv(4096):
            pass


class Rude(socketserver.BaseRequestHandler):
    def handle(self):
        self.request.recv(16)
        self.request.sendall(b"220 mail.example ESMTP\r\n")


def served(handler, kind=socketserver.ThreadingTCPServer):
    server = kind(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return f"127.0.0.1:{server.server_address[1]}"


def of_another_version(bench):
    """The program with another commit in it, or nothing where it names none."""
    said = bench.world.program("--version").out
    found = re.search(r"\b([0-9a-f]{7,40})\b", said)
    if not found:
        print(f"SKIPPED  a worker of another version: no commit in {said!r}", flush=True)
        return None
    commit = found.group(1)
    other = commit[::-1] if commit[::-1] != commit else "f" * len(commit)
    data = pathlib.Path(bench.path).read_bytes()
    ensure(commit.encode() in data, f"{commit} of --version is not in the program")
    path = bench.temp / "another-version"
    path.write_bytes(data.replace(commit.encode(), other.encode()))
    path.chmod(0o755)
    return path, commit, other


def refused(bench):
    """Too few, wrong and foreign workers: exit 1 that names each and says why, and nothing is begun."""
    nobody = f"127.0.0.1:{free_port()}"
    two = bench.workers[:2]
    another = of_another_version(bench)
    cases = [
        ("no worker there", [*two, nobody], 1, [nobody, "2 of at least 3 workers"]),
        ("a name that nobody has", [*two, "no-such-host.invalid:7878"], 1, ["no-such-host.invalid:7878"]),
        ("a server that says nothing", [*two, served(Silent)], 1, ["does not answer"]),
        ("a server of HTTP", [*two, served(Http, http.server.ThreadingHTTPServer)], 1, ["is not reached"]),
        ("a server of something else", [*two, served(Rude)], 1, ["is not reached"]),
        ("an address without a port", [*two, "127.0.0.1"], 2, ['"127.0.0.1" is no worker']),
        ("the same worker twice", [two[0], two[0], two[1]], 1, ["2 of at least 3 workers"]),
    ]
    if another:
        program, commit, other = another
        stranger = Worker(program)
        words = [stranger.address, commit, other]
        cases.append(("a worker of another version", [*two, stranger], 1, words))
    case = bench.case()
    for what, workers, code, words in cases:
        driver = bench.start(case, "--min-workers", 3, workers=workers)
        ended = bench.world.program.end(driver, codes=(code,))
        error = complaint(ended)
        foreign = [worker for worker in workers if isinstance(worker, str)]
        for word in [*words, *(foreign if code == 1 else [])]:
            ensure(word in error, f"{what}: does not say {word!r}:\n{ended.err[-3000:]}")
        tables = case.tables()
        ensure(tables.versions == case.before.versions, f"{what}: tables have changed")
        ensure("goes elsewhere" not in ended.err, f"{what}: something ran")
        told = next(line for line in error.splitlines() if words[0] in line).strip()
        holds(f"{what}: exit {code}, nothing begun ({ended.seconds:.0f} s): {told[:200]}")
    if another:
        stranger.kill()
    driver = bench.start(case, "--min-workers", 2, workers=[*two, nobody])
    ended = bench.world.program.end(driver, codes=(0,))
    ensure(nobody in ended.err, f"nothing is said of {nobody}")
    bench.world.ensure_right(case, "two of three workers, which is enough")
    holds("two of three workers, with --min-workers 2: right rows, and the third is named in the log")


def blind(bench):
    """A worker for which a folder is empty, as on another machine: it gets no work, and that is said."""
    empty, script = bench.temp / "empty", bench.temp / "elsewhere.sh"
    empty.mkdir()
    script.write_text(
        f"""#!/bin/sh\nexec unshare --mount sh -c 'mount --bind {empty} "$HIDDEN" && exec {bench.path} "$@"' sh "$@"\n"""
    )
    script.chmod(0o755)
    tried = subprocess.run(
        [script, "--version"], env=os.environ | {"HIDDEN": str(empty)}, capture_output=True, text=True
    )
    if tried.returncode:
        print(f"SKIPPED  a worker that sees other files: {tried.stderr.strip()}", flush=True)
        return
    orders = bench.world.folder / "raw/orders"
    for case, hides, words in [
        (bench.case(), lambda case: case.root, "sees another"),
        (bench.case(), lambda _: orders, f"has no access to {orders}"),
    ]:
        other = Worker(script, credentials={"HIDDEN": str(hides(case))})
        workers, said = [*bench.workers[:2], other], f"{other.address}: {words}"
        ended = bench.world.program.end(bench.start(case, "--min-workers", 3, workers=workers), codes=(1,))
        for word in (said, "2 of at least 3 workers", "hint: "):
            ensure(word in complaint(ended), f"does not say {word}:\n{ended.err[-3000:]}")
        case.ensure_reports_unchanged(f"a worker {words}")
        told = next(line for line in complaint(ended).splitlines() if words in line).strip()
        summary = bench.temp / "summary.json"
        driver = bench.start(case, "--min-workers", 2, "--force", "--summary", summary, workers=workers)
        ended = bench.world.program.end(driver, codes=(0,))
        bench.world.ensure_right(case, f"a worker {words}")
        warnings = json.loads(summary.read_text())["warnings"]
        ensure(any(said in warning for warning in warnings), f"{said!r} is not among {warnings}")
        other.kill()
        holds(f"exit 1, or right rows without it and a warning in the summary: {told[:200]}")


def replaced(bench):
    """Workers that are replaced by others of another version, and a raw file that is replaced in the store
    by one of its size, while the driver stands still between two queries."""
    if another := of_another_version(bench):
        program, _, other = another
        two, case = [Worker(bench.path) for _ in range(2)], bench.case()
        driver = bench.start(case, workers=two)

        def is_between():
            said = said_by(driver)
            begun, ended = said.count("goes elsewhere"), said.count("ran elsewhere")
            return begun == ended > 12 or driver.poll() is not None

        wait_until(is_between, "the run does not come between two queries")
        driver.send_signal(signal.SIGSTOP)
        for worker in two:
            worker.kill()
            worker.program = w.Program(program, {})
            worker.start()
        driver.send_signal(signal.SIGCONT)
        ended = bench.world.program.end(driver, codes=(1,))
        for word in [*(f"{worker.address}: is another version" for worker in two), other, "hint: "]:
            ensure(word in complaint(ended), f"does not say {word}:\n{ended.err[-3000:]}")
        for worker in two:
            worker.kill()
        bench.run_again(case, "workers of another version in the middle of a run")
        holds("workers replaced by others of another version between two queries: exit 1, and then right rows")

    world = World(bench.path, bench.temp / "tags", clicks=60, orders=20, days=3)
    file = sorted((world.folder / "raw/clicks").glob(f"dt={world.last}/*.parquet"))[0]
    rows = pyarrow.parquet.read_table(file)
    place = rows.schema.names.index("click_id")
    # Larger than what is read whole, so that the driver does not read the rows.
    many = pyarrow.concat_tables(
        rows.set_column(place, "click_id", pyarrow.array(f"A{part}-{name}" for name in rows["click_id"].to_pylist()))
        for part in range(1000, 1400)
    )
    ids = pyarrow.array("B" + name[1:] for name in many["click_id"].to_pylist())
    twin = many.set_column(place, "click_id", ids)
    plain = {"compression": "none", "use_dictionary": False, "write_statistics": False}
    pyarrow.parquet.write_table(many, file, **plain)
    before = file.read_bytes()
    pyarrow.parquet.write_table(twin, file, **plain)
    after = file.read_bytes()
    ensure(len(before) == len(after) > 4 << 20, f"files of {len(before)} and {len(after)} bytes are no twins")
    file.write_bytes(before)
    temp = bench.temp / "replaced"
    temp.mkdir()
    store = s3_store("s3", start_s3("s3", temp), "tags", world, temp)
    two = [Worker(bench.path, credentials=store.credentials) for _ in range(2)]
    job = store.job(f"{store.url}/warehouse")
    arguments = [*world.backfill(job), "--workers", ",".join(worker.address for worker in two)]
    driver = store.program.start(*arguments, LOOKBACK_LOG="lookback=debug")
    wait_until(lambda: "goes elsewhere" in said_by(driver) or driver.poll() is not None, "nothing runs")
    driver.send_signal(signal.SIGSTOP)
    with store.files.open_output_stream(f"tags/{file.relative_to(world.folder)}") as stream:
        stream.write(after)
    driver.send_signal(signal.SIGCONT)
    ended = store.program.end(driver, codes=(1,))
    for word in (file.name, "it was replaced since it was listed"):
        ensure(word in complaint(ended), f"does not say {word}:\n{ended.err[-3000:]}")
    store.program(*arguments, codes=(0,))
    for worker in two:
        worker.kill()
    holds("a raw file replaced by one of its size after it was listed: exit 1, and the next run reads it")
