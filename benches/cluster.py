#!/usr/bin/env python3
"""What a cluster costs against one process: CPU time, memory, bytes between processes and to the
store; hosts with a line between them; and a model of much larger nights.

usage: cluster.py [--binary FILE] [--clicks-per-day 25000 100000 400000] [--no-hosts] [...]

The binary has the feature `cluster`. All processes share the cores of this machine, each worker
pinned to its share, so seconds of CPU are what counts; times on the clock only compare runs made
one after the other. With root, driver, workers and store have network namespaces of their own, and
bytes are those of their links. README.md says what each line means.
"""

import argparse
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys

import cluster_model
import cluster_report
import hosts
import report
import request_log
from bucket import Bucket, credentials
from fleet import Failed, Fleet, with_piece
from measure import HERE, apart, say
from tables import TABLES, table_files
from worlds import ONE_DAY, demo_world

sys.path.append(str(HERE.parent / "tests/stores"))
from servers import start_server, stop_all  # noqa: E402, lies in another folder

WORKERS = (0, 1, 2, 4)
# Lines between hosts: seconds of a round trip, and bits a second. None: a bridge of the kernel.
LINES = ((0.0, None), (0.001, 1e9), (0.01, 1e9))
LONG_DAYS = 40


class Place:
    """Warehouses of a world on this machine's disk, and the state in which a night finds them."""

    def __init__(self, arguments, world):
        self.arguments, self.world = arguments, world
        self.evening = world.utc_dates(world.last - ONE_DAY)[1]
        self.name = world.folder.name
        self.before = None

    def job(self, name, copy_of=None, piece=None):
        root = self.arguments.scratch / f"{self.name}-{name}"
        shutil.rmtree(root, ignore_errors=True)
        if copy_of:
            shutil.copytree(copy_of, root, copy_function=os.link)
        job = self.world.write_job(root, root.with_suffix(".toml"))
        return root, job if piece is None else with_piece(job, piece)

    def backfill_options(self):
        return ["--from", self.world.first, "--to", self.world.last - ONE_DAY,
                "--as-of", self.evening]

    def backfill(self, fleet, name):
        root, job = self.job(name)
        run = fleet.run("backfill", job, *self.backfill_options())
        if self.before is None:
            self.before = root
        return root, run

    def night(self, fleet, name, piece=None):
        root, job = self.job(name, self.before, piece)
        return root, fleet.run("run", job, "--date", self.world.last)


def digests(root):
    """What is in the tables: so many rows, of such values."""
    import datetime

    import duckdb

    connection, found = duckdb.connect(), {}
    for table in ("clean/clicks", "clean/order_events", "clean/rejects", *TABLES):
        files = table_files(f"{root}/{table}", datetime.date.min, datetime.date.max)
        files = [path for _, path in files]
        columns = [row[0] for row in connection.execute(
            "describe from read_parquet(?, hive_partitioning = true)", [files]).fetchall()]
        columns = ", ".join(f'"{column}"' for column in sorted(columns))
        found[table] = connection.execute(
            f"select count(*), sum(hash({columns})::hugeint)::varchar "
            "from read_parquet(?, hive_partitioning = true)", [files]).fetchone()
    return found


def ensure_same_rows(expected, root, what):
    found = apart(digests, str(root))
    if expected is not None and found != expected:
        sys.exit(f"ROWS DIFFER: {what}: no result is written\n{expected}\n{found}")
    return found


def fleet_of(arguments, count, lines=None, environment=None, store=False):
    names = ["driver", *(f"w{number + 1}" for number in range(count)), *(["store"] if store else [])]
    network = hosts.Hosts(names, *(lines or ())) if arguments.has_hosts else None
    return Fleet(arguments.binary, arguments.scratch, arguments.cores, count, network, environment)


def on_disk(arguments, place, keep):
    """Local and so many workers: a backfill and the night after it, from the same state."""
    rows = {"backfill": None, "night": None}
    for count in arguments.workers:
        fleet = fleet_of(arguments, count)
        works = [("backfill", lambda fleet=fleet: place.backfill(fleet, f"backfill-{count}")),
                 ("night", lambda fleet=fleet: place.night(fleet, "night"))]
        if count == 2:
            works.append(("night, pieces of 1 MB",
                          lambda fleet=fleet: place.night(fleet, "night", piece=1)))
        try:
            for work, call in works:
                try:
                    root, run = call()
                except Failed as failed:
                    keep(work, place.world, count, failed)
                    continue
                keep(work, place.world, count, run)
                work = work.split(",")[0]
                rows[work] = ensure_same_rows(rows[work], root, f"{work} on {count} workers")
                if root != place.before:
                    shutil.rmtree(root)
        finally:
            if fleet.hosts:
                fleet.hosts.close()


def long_night(arguments, keep):
    """A night with a whole window of days behind it, to check what the model says of it."""
    clicks = arguments.clicks_per_day[0]
    world = demo_world(arguments, "world", LONG_DAYS, clicks, clicks // 20)
    place, fleet = Place(arguments, world), fleet_of(arguments, 0)
    try:
        place.backfill(fleet, "before")
    finally:
        if fleet.hosts:
            fleet.hosts.close()
    fleet = fleet_of(arguments, 2)
    try:
        keep("night, pieces of 1 MB", world, 2, place.night(fleet, "night", piece=1)[1])
    except Failed as failed:
        keep("night, pieces of 1 MB", world, 2, failed)
    finally:
        if fleet.hosts:
            fleet.hosts.close()


def on_store(arguments, world, line, count, temp, keep):
    """The same on an S3 store in a namespace of its own: backfill, then the night."""
    names = ["driver", *(f"w{number + 1}" for number in range(count)), "store"]
    network = hosts.Hosts(names, *line)
    name = f"s3-{world.folder.name}-{count}-{line[0]}"
    try:
        script = HERE.parent / "tests/stores/slow_store.py"
        server = start_server(
            name, [*network.within("store"), sys.executable, str(script), "memory", "requests",
                   network.addresses["store"]], temp, tells_url=True)
        url = server.stdout.readline().decode().strip()
        if not url:
            sys.exit(f"the store did not start:\n{server.log.read_text()[-2000:]}")
        bucket, pace = Bucket(url, "bench"), request_log.Pace(url)
        bucket.upload(world.folder)
        job = arguments.scratch / "store.toml"
        job.write_text(cluster_report.on_bucket(world, bucket.url))
        fleet = Fleet(arguments.binary, arguments.scratch, arguments.cores, count, network,
                      credentials(url))
        place = Place(arguments, world)
        works = [("backfill", ["backfill", job, *place.backfill_options()]),
                 ("night", ["run", job, "--date", world.last])]
        for work, words in works:
            pace.set()
            try:
                run = fleet.run(*words)
            except Failed as failed:
                keep(f"{work} on S3", world, count, failed, line)
                break
            requests = pace.requests()
            run["store"] = request_log.figures(requests)
            run["store of"] = cluster_report.by_kind(requests)
            run["round trip"] = fleet.round_trip
            keep(f"{work} on S3", world, count, run, line)
        server.kill()
        server.wait()
    finally:
        network.close()


def on_hosts(arguments, place, line, keep):
    """Two workers on hosts of their own, and a disk that all see."""
    fleet = fleet_of(arguments, 2, line)
    try:
        for work, call in [("backfill", place.backfill), ("night", place.night)]:
            try:
                root, run = call(fleet, f"hosts-{work}")
            except Failed as failed:
                keep(f"{work} on a shared disk", place.world, 2, failed, line)
                continue
            run["round trip"] = fleet.round_trip
            keep(f"{work} on a shared disk", place.world, 2, run, line)
            shutil.rmtree(root)
    finally:
        fleet.hosts.close()


def main():
    arguments = parse_arguments()
    if arguments.again:
        told = json.loads(arguments.again.read_text())
        if arguments.note:
            told["circumstances"]["seen besides"] = arguments.note
        return write(arguments, told["circumstances"], told["measurements"])
    # Ends driver, workers and hosts, too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended"))
    measure(arguments)


def measure(arguments):
    arguments.cores = sorted(os.sched_getaffinity(0))[: arguments.threads]
    arguments.cache.mkdir(parents=True, exist_ok=True)
    arguments.scratch = arguments.cache / "scratch-cluster"
    shutil.rmtree(arguments.scratch, ignore_errors=True)
    arguments.scratch.mkdir()
    trouble = hosts.why_not()
    arguments.has_hosts = trouble is None
    if trouble:
        say(f"\nNOT MEASURED: bytes between processes, hosts, and the S3 store: {trouble}\n")
    worlds = [demo_world(arguments, "world", arguments.days, clicks, clicks // 20)
              for clicks in arguments.clicks_per_day]
    facts = report.circumstances(arguments, worlds[-1], "cluster.py")
    facts["program"] = subprocess.run([arguments.binary, "--version"], capture_output=True,
                                      text=True, check=True).stdout.splitlines()[0]
    measurements = []
    # For --again, should this run not end.
    so_far = arguments.cache / "cluster-so-far.json"

    def keep(work, world, count, run, line=None):
        clicks = int(world.folder.name.split("-")[2])
        days = int(world.folder.name.split("-")[1])
        about = {"work": work, "clicks a day": clicks, "days": days, "workers": count, "line": line}
        about |= {"failed": str(run)} if isinstance(run, Failed) else run
        measurements.append(about)
        say(cluster_report.said(about))
        so_far.write_text(report.as_json({"circumstances": facts, "measurements": measurements}))

    temp = arguments.scratch / "servers"
    temp.mkdir()
    try:
        places = [Place(arguments, world) for world in worlds]
        for place in places:
            place.world.read_through()
            on_disk(arguments, place, keep)
        if arguments.long:
            long_night(arguments, keep)
        if arguments.has_hosts and arguments.hosts:
            middle = places[len(places) // 2]
            for line in LINES[1:]:
                on_hosts(arguments, middle, line, keep)
            for world in worlds:
                on_store(arguments, world, LINES[0], 2, temp, keep)
            for line in LINES[1:]:
                on_store(arguments, middle.world, line, 2, temp, keep)
            for line in (LINES[0], LINES[-1]):
                on_store(arguments, middle.world, line, 0, temp, keep)
    finally:
        stop_all()
    facts["not measured"] = trouble or "nothing was left out"
    if arguments.note:
        facts["seen besides"] = arguments.note
    write(arguments, facts, measurements)
    shutil.rmtree(arguments.scratch)


def write(arguments, facts, measurements):
    text = cluster_report.markdown(facts, measurements, cluster_model.Model(measurements))
    print(text)
    if arguments.no_results:
        return
    arguments.results.mkdir(parents=True, exist_ok=True)
    file = arguments.results / f"{facts['date'].split()[0]}-{facts['commit']}-cluster.md"
    file.write_text(text)
    file.with_suffix(".json").write_text(one_line_each(facts, measurements))
    print(f"\nresults: {file}")


def one_line_each(facts, measurements):
    """As JSON. Steps are those of the runs that tables show them of."""
    kept = [{name: value for name, value in run.items() if name != "steps" or not run["line"]}
            for run in measurements]
    lines = ",\n".join(json.dumps(run) for run in kept)
    return f'{{"circumstances": {json.dumps(facts, indent=2)},\n"measurements": [\n{lines}\n]}}\n'


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--clicks-per-day", type=int, nargs=3, default=[25_000, 100_000, 400_000],
        help="of the three worlds [25000 100000 400000]")
    add("--days", type=int, default=10, help="of each world [10]")
    add("--workers", type=int, nargs="+", default=WORKERS, help="0: one process [0 1 2 4]")
    add("--no-hosts", dest="hosts", action="store_false", help="no lines, and no S3 store")
    add("--no-long", dest="long", action="store_false",
        help="no night with a whole window of days behind it")
    add("--threads", type=int, default=2, help="cores for all processes [2]")
    target = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", HERE.parent / "target"))
    add("--binary", type=pathlib.Path, default=target / "release/lookback",
        help="built with --features cluster")
    cache = pathlib.Path(os.environ.get("XDG_CACHE_HOME", pathlib.Path.home() / ".cache"))
    add("--cache", type=pathlib.Path, default=cache / "lookback/bench",
        help="where worlds are stored and warehouses are written meanwhile")
    add("--results", type=pathlib.Path, default=HERE / "results", metavar="DIR",
        help="where DATE-COMMIT-cluster.md and .json are written [benches/results]")
    add("--no-results", action="store_true", help="write neither")
    add("--again", type=pathlib.Path, metavar="JSON",
        help="measure nothing: write the tables of these measurements again")
    add("--note", help="what was seen besides, for the head of the results")
    arguments = parser.parse_args()
    arguments.binary, arguments.base, arguments.rounds = arguments.binary.resolve(), None, 1
    if not arguments.again and not arguments.binary.is_file():
        parser.error(f"{arguments.binary} is not there: "
                     "cargo build --release --features cluster, or give another")
    return arguments


if __name__ == "__main__":
    main()
