#!/usr/bin/env python3
"""What a night costs on an object store: requests, bytes, and how many wait for one another.

usage: object_store.py [--large] [--binary FILE]

Each work is done at several delays a request, from the same state of the bucket. The slope of its
time over the delay is the number of requests in a row. With --large, also a night of 500,000
clicks a day on a store that is 30 ms away and gives each connection 60 MB/s, held against the
same night on a local disk and against the DuckDB script over the same line.
"""

import argparse
import dataclasses
import importlib.metadata
import os
import pathlib
import re
import shutil
import statistics
import sys

import report
import request_log
from bucket import Bucket, Snapshot, credentials
from measure import HERE, measured, say, shown
from worlds import ONE_DAY, World, demo_world

sys.path.append(str(HERE.parent / "tests/stores"))
from servers import start_s3, start_slow, stop_all  # noqa: E402, lies in another folder

SMALL = (40, 4000, 200)
LARGE = (40, 500_000, 25_000)
NAME = "bench"
# What is aimed at: (requests in a row, requests), None where nothing is.
TARGETS = {
    "backfill of 38 dates": (120, None),
    "one night": (30, 250),
    "one date more, nothing landed": (30, 250),
    "nothing to do": (6, None),
}
LARGE_DELAY, LARGE_BANDWIDTH, CONNECTIONS = 0.03, 60_000_000, 8
AGAINST_LOCAL, AGAINST_DUCKDB = 1.3, 0.25
WAREHOUSE = "warehouse/"


class Place:
    """A world in a bucket, the line to it, and the states that its warehouse is put back to."""

    def __init__(self, arguments, world, server, line):
        self.arguments = arguments
        self.world = world
        self.scratch = arguments.scratch
        self.pace = request_log.Pace(line)
        self.environment = environment() | credentials(line)
        self.bucket = Bucket(server, NAME)
        self.bucket.upload(world.folder)
        self.job = self.scratch / "store.toml"
        text = world.text
        for name, path in [*world.job["input"].items(), ("root", "warehouse")]:
            text = re.sub(rf'(?m)^({name}\s*=\s*)"[^"]*"', rf'\1"{self.bucket.url}/{path}"', text)
        self.job.write_text(text)

    def lookback(self, command, *options):
        return measured([self.arguments.binary, command, self.job, *options, "--quiet"],
                        self.scratch / "log", self.environment)

    def backfill(self, last):
        return self.lookback("backfill", "--from", self.world.first, "--to", last)

    def last_logs(self, are_there):
        """The logs of the last landing date come, or have not come yet."""
        for log in ["clicks", "orders"]:
            folder = f"{self.world.job['input'][log]}/dt={self.world.landing_dates[-1]}"
            if not are_there:
                self.bucket.delete(f"{folder}/")
                continue
            for file in sorted((self.world.folder / folder).iterdir()):
                self.bucket.ask("PUT", f"{folder}/{file.name}", file.read_bytes())

    def state(self, name, last, all_logs=True):
        """The warehouse after a backfill up to `last`."""
        say(f"making the state {name!r}")
        self.pace.set()
        self.bucket.delete(WAREHOUSE)
        self.last_logs(all_logs)
        self.backfill(last)
        snapshot = Snapshot(self.bucket, WAREHOUSE)
        self.last_logs(True)
        return snapshot


@dataclasses.dataclass
class Work:
    """One work at each delay."""

    name: str
    seconds: dict = dataclasses.field(default_factory=dict)
    figures: dict = dataclasses.field(default_factory=dict)
    requests: list = dataclasses.field(default_factory=list)


def environment():
    return {name: value for name, value in os.environ.items()
            if not name.startswith(("AWS_", "LOOKBACK_"))}


def small(arguments, temp):
    world = demo_world(arguments, "world", *SMALL)
    server = start_s3("s3", temp)
    place = Place(arguments, world, server, start_slow("slow", temp, server))
    works = {name: Work(name) for name in TARGETS}

    def work(name, delay, call, *options):
        place.pace.set(delay=delay)
        measure = call(*options)
        requests = place.pace.requests()
        done = works[name]
        done.seconds[delay] = measure["wall"]
        if not done.requests:
            done.requests, done.figures = requests, request_log.figures(requests)
        say(f"{name:<32} {delay * 1000:4.0f} ms  {shown(measure['wall'], 'wall'):>8} "
            f"{len(requests):6} requests")

    night = ["run", "--date", world.last]
    before = place.state("all logs have landed", world.last - ONE_DAY)
    for delay in arguments.delays:
        before.restore()
        work("one date more, nothing landed", delay, place.lookback, *night)
    before = place.state("the last logs are still to come", world.last - ONE_DAY, False)
    for delay in arguments.delays:
        before.restore()
        work("one night", delay, place.lookback, *night)
        work("nothing to do", delay, place.lookback, *night)
    for delay in arguments.delays if arguments.backfill else []:
        place.bucket.delete(WAREHOUSE)
        work("backfill of 38 dates", delay, place.backfill, world.first + 37 * ONE_DAY)
    return world, [done for done in works.values() if done.requests]


def small_rows(works, delays):
    heads = ["work", *(f"{delay * 1000:.0f} ms" for delay in delays), "in a row", "target", "",
             "requests", "target", "", *list(works[0].figures)[1:]]
    rows = []
    for work in works:
        row_target, all_target = TARGETS[work.name]
        slope = request_log.in_a_row(work.seconds)
        count = work.figures["requests"]
        rows.append([
            work.name, *(shown(work.seconds[delay], "wall") for delay in delays),
            "" if slope is None else f"{slope:.0f}", *against(slope, row_target),
            str(count), *against(count, all_target),
            *(f"{figure:,}" for figure in list(work.figures.values())[1:]),
        ])
    return heads, rows


def against(value, target):
    if target is None or value is None:
        return ["", ""]
    return [f"at most {target:g}", "met" if value <= target else "MISSED"]


def large(arguments, temp):
    """Rounds of the same night: on a local disk, on the store, and by the script."""
    world = demo_world(arguments, "world", *LARGE)
    line = start_slow("slow-large", temp, "memory")
    place = Place(arguments, world, line, line)
    before = place.state("the last logs are still to come", world.last - ONE_DAY, False)
    local, local_before = local_world(arguments, world)
    line_pace = {"delay": LARGE_DELAY, "bandwidth": LARGE_BANDWIDTH}
    night = ["run", "--date", world.last]
    results = {"local": [], "store": [], "duckdb": []}
    figures, requests = {}, []

    def on_local_disk():
        root = local.folder / "warehouse"
        shutil.rmtree(root, ignore_errors=True)
        shutil.copytree(local_before, root, copy_function=os.link)
        return measured([arguments.binary, night[0], local.folder / "job.toml", *night[1:],
                         "--quiet"], arguments.scratch / "log", environment())

    def on_the_store():
        before.restore()
        place.pace.set(**line_pace)
        return place.lookback(*night)

    def by_the_script():
        first = world.last - world.late * ONE_DAY
        place.pace.set(**line_pace)
        return measured(
            [sys.executable, HERE / "peer.py", world.folder, first, world.last,
             arguments.scratch / "peer", "--bucket", place.bucket.url,
             "--threads", arguments.threads, "--memory-limit", arguments.memory_limit],
            arguments.scratch / "log", place.environment)

    calls = {"local": on_local_disk, "store": on_the_store, "duckdb": by_the_script}
    if not arguments.duckdb:
        del calls["duckdb"]
    world.read_through()
    for number in range(arguments.rounds):
        for name in list(calls)[:: 1 if number % 2 == 0 else -1]:
            measure = calls[name]()
            results[name].append(measure)
            if name != "local":
                requests = place.pace.requests()
                figures[name] = request_log.figures(requests)
                place.pace.set()
            say(f"large night, {name:<8} {shown(measure['wall'], 'wall')}")
            if name == "store":
                last_night = requests
    return results, figures, last_night


def local_world(arguments, world):
    """The same world by links, and its warehouse before the last logs came."""
    folder = arguments.scratch / "local"
    shutil.copytree(world.folder, folder, copy_function=os.link,
                    ignore=shutil.ignore_patterns("warehouse*"))
    late = [folder / world.job["input"][log] / f"dt={world.landing_dates[-1]}"
            for log in ["clicks", "orders"]]
    for path in late:
        path.rename(folder / f"late-{path.parent.name}")
    say("making the same state on the local disk")
    measured([arguments.binary, "backfill", folder / "job.toml", "--from", world.first,
              "--to", world.last - ONE_DAY, "--quiet"], arguments.scratch / "log", environment())
    for path in late:
        (folder / f"late-{path.parent.name}").rename(path)
    before = arguments.scratch / "local-before"
    (folder / "warehouse").rename(before)
    return World(folder), before


def large_rows(results, figures):
    def all_of(name):
        return [measure["wall"] for measure in results[name]]

    def cell(name):
        each = ", ".join(shown(value, "wall").split()[0] for value in all_of(name))
        return f"{shown(statistics.median(all_of(name)), 'wall')} ({each})"

    store = statistics.median(all_of("store"))
    size = figures["store"]["bytes read"] + figures["store"]["bytes written"]
    line = size / (CONNECTIONS * LARGE_BANDWIDTH)
    allowed = AGAINST_LOCAL * statistics.median(all_of("local")) + line
    rows = [["a local disk", cell("store"), cell("local"),
             f"{store / statistics.median(all_of('local')):.2f}",
             f"{AGAINST_LOCAL} x + {line:.2f} s for {size / 1e6:,.0f} MB = {allowed:.2f} s",
             "met" if store <= allowed else "MISSED"]]
    if results["duckdb"]:
        ratio = store / statistics.median(all_of("duckdb"))
        rows.append(["DuckDB over the same line", cell("store"), cell("duckdb"), f"{ratio:.2f}",
                     f"{AGAINST_DUCKDB} x", "met" if ratio <= AGAINST_DUCKDB else "MISSED"])
    heads = ["one night on the store, against", "lookback", "the other", "ratio", "target", ""]
    costs = [[name, *(f"{figure:,}" for figure in figures[name].values())] for name in figures]
    return (heads, rows), (["by", *figures["store"]], costs)


def circumstances(arguments, world):
    told = report.circumstances(arguments, world, "object_store.py")
    told["versions"] += f", moto {importlib.metadata.version('moto')}"
    return told


def main():
    arguments = parse_arguments()
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: arguments.threads])
    arguments.cache.mkdir(parents=True, exist_ok=True)
    arguments.scratch = arguments.cache / "scratch-store"
    shutil.rmtree(arguments.scratch, ignore_errors=True)
    arguments.scratch.mkdir()
    temp = arguments.scratch / "servers"
    temp.mkdir()
    parts, measurements = [], {}
    try:
        facts = circumstances(arguments, demo_world(arguments, "world", *SMALL))
        if arguments.small:
            world, works = small(arguments, temp)
            parts += [report.table(*small_rows(works, arguments.delays))]
            for work in works:
                measurements[work.name] = {"seconds": work.seconds, **work.figures}
                parts += asked_for(work.name, work.requests)
        if arguments.large:
            results, figures, requests = large(arguments, temp)
            parts += ["## A night of 500,000 clicks a day: 30 ms, and 60 MB/s a connection",
                      *(report.table(*rows) for rows in large_rows(results, figures)),
                      *asked_for("the large night", requests)]
            measurements["large"] = {"rounds": results, "figures": figures}
    finally:
        stop_all()
    print("\n\n".join(parts))
    if not arguments.no_results:
        facts["command"] = f"`{facts['command']}`"
        stem = f"{facts['date'].split()[0]}-{facts['commit']}-object-store"
        head = [f"# An object store at {facts['commit']}",
                report.table(["", ""], [[name, str(value)] for name, value in facts.items()])]
        arguments.results.mkdir(parents=True, exist_ok=True)
        file = arguments.results / f"{stem}.md"
        file.write_text("\n\n".join(head + parts) + "\n")
        file.with_suffix(".json").write_text(
            report.as_json({"circumstances": facts, "measurements": measurements}))
        print(f"\nresults: {file}")
    shutil.rmtree(arguments.scratch)


def asked_for(name, requests):
    heads = ["object", "request", "requests", "objects", "bytes"]
    rows = [[*row[:2], *(f"{number:,}" for number in row[2:])]
            for row in request_log.kinds_of_objects(requests)]
    return [f"### What the store was asked for: {name}", report.table(heads, rows)]


def milliseconds(text):
    return float(text) / 1000


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--delays", type=milliseconds, nargs="+", default=[0, 0.05, 0.1, 0.2],
        help="milliseconds before each answer [0 50 100 200]")
    add("--no-backfill", dest="backfill", action="store_false", help="nights only")
    add("--large", action="store_true", help="also a night of 500,000 clicks a day")
    add("--no-small", dest="small", action="store_false", help="the large night alone")
    add("--no-duckdb", dest="duckdb", action="store_false", help="the large night without DuckDB")
    add("--rounds", type=int, default=3, help="of the large night [3]")
    add("--threads", type=int, default=2, help="cores for all programs and servers [2]")
    add("--memory-limit", default="12GB", help="DuckDB's")
    target = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", HERE.parent / "target"))
    add("--binary", type=pathlib.Path, default=target / "release/lookback")
    cache = pathlib.Path(os.environ.get("XDG_CACHE_HOME", pathlib.Path.home() / ".cache"))
    add("--cache", type=pathlib.Path, default=cache / "lookback/bench",
        help="where worlds are stored and warehouses are written meanwhile")
    add("--results", type=pathlib.Path, default=HERE / "results", metavar="DIR",
        help="where DATE-COMMIT-object-store.md and .json are written [benches/results]")
    add("--no-results", action="store_true", help="write neither")
    arguments = parser.parse_args()
    arguments.binary, arguments.base = arguments.binary.resolve(), None
    if not arguments.binary.is_file():
        parser.error(f"{arguments.binary} is not there: cargo build --release, or give another")
    return arguments


if __name__ == "__main__":
    main()
