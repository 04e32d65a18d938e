#!/usr/bin/env python3
"""What columns cost that nobody asks for: a click log with a payload of about 1 KB a row.

usage: payload.py [--base FILE] [--rounds 3] [--rows 300000] [...]

Each landing date has so many clicks, with a text of about 1,000 bytes and a nested struct besides
the known columns, in snappy files as collectors write them; the same where no row is rejected, for
rejected rows are kept whole; and the same without text and struct. A night is measured on each:
seconds on the clock, seconds of all cores, peak memory. With a base, an older lookback, by both
programs in turn. Their rows are compared.

Prints a table and writes it to results/. This process imports nothing large: what Linux calls a
child's peak memory includes that of the process that started it.
"""

import argparse
import datetime
import json
import os
import pathlib
import shutil
import statistics

import report
from measure import HERE, apart, measured, say, shown
from worlds import ONE_DAY, World

FIRST = datetime.date(2026, 4, 1)
# Landing dates: the night makes the last of them, and looks back on those before.
DATES = 5
# Whether there is a payload, and how many links are followed. Those from 400 on are nobody's.
WORLDS = {"payload": (True, 404), "no-rejects": (True, 400), "plain": (False, 404)}
SAID = {
    "payload": "a payload, 1 % rejected",
    "no-rejects": "a payload, none rejected",
    "plain": "no payload, 1 % rejected",
}
FIGURES = ("wall", "cpu", "memory")
JOB = """\
[input]
clicks = "raw/clicks"
orders = "raw/orders"
links = "reference/links.csv"
stores = "reference/stores.csv"
rates = "reference/rates.csv"

[output]
root = "warehouse"

[program]
default_rate = "0.03"

[links]
formats = ['^https?://go[.]example/([0-9a-z]+)']
"""


def write_world(folder, rows, has_payload, links_followed):
    """One click of fifty is followed by an order."""
    import duckdb

    folder = pathlib.Path(folder)
    (folder / "reference").mkdir(parents=True)
    (folder / "job.toml").write_text(JOB)
    links = "".join(f"link{n},publisher{n % 60},,,\n" for n in range(400))
    (folder / "reference/links.csv").write_text(
        "link_key,publisher_id,tracking_id,valid_from,valid_to\n" + links)
    stores = "".join(f"store{n},,\n" for n in range(41))
    (folder / "reference/stores.csv").write_text("store_id,joined_at,left_at\n" + stores)
    (folder / "reference/rates.csv").write_text(
        "scope,scope_id,store_id,rate,valid_from,valid_to\nstore,store7,,0.08,,\n")
    payload = """,
        (select string_agg(md5((n * 31 + part)::varchar), '') from range(31) as parts(part))
            as payload,
        {'source': 's' || n % 7, 'page': {'title': md5(n::varchar), 'depth': n % 100}} as context
    """
    connection = duckdb.connect()
    connection.execute("set timezone = 'UTC'")
    for number in range(DATES):
        date = FIRST + number * ONE_DAY
        first, step = number * rows, 86_300_000_000 // rows
        at = f"'{date} 00:00:00+00'::timestamptz + to_microseconds((n - {first}) * {step})"
        place = {log: folder / f"raw/{log}/dt={date}" for log in ("clicks", "orders")}
        for path in place.values():
            path.mkdir(parents=True)
        connection.execute(
            f"""copy (
                select 'click' || n as click_id, {at} as clicked_at,
                    'https://go.example/link' || n % {links_followed} || '?session=' || md5(n::varchar) as url,
                    'buyer' || n * 7919 % 50021 as buyer_id, md5((n % 30011)::varchar) as visitor_id,
                    'store' || n % 41 as store_id, 'product' || n % 900 as product_id,
                    ['US', 'DE', 'FR'][1 + n % 3] as country,
                    ['app', 'mobile'][1 + n % 2] as device{payload if has_payload else ''}
                from range({first}, {first + rows}) as rows(n)
            ) to '{place['clicks']}/part-0.parquet' (format parquet, compression snappy)"""
        )
        connection.execute(
            f"""copy (
                select 'placed' || n as event_id, 'placed' as event_type,
                    {at} + interval 1 minute as event_at, 'order' || n as order_id,
                    '1' as line_id, 'buyer' || n * 7919 % 50021 as buyer_id,
                    'store' || n % 41 as store_id, (n % 990 + 10)::decimal(18, 4) as amount,
                    'USD' as currency
                from range({first}, {first + rows}, 50) as rows(n)
            ) to '{place['orders']}/part-0.parquet' (format parquet, compression snappy)"""
        )


def world_of(arguments, name):
    folder = arguments.cache / f"payload-{name}-{DATES}-{arguments.rows}"
    if not folder.exists():
        say(f"making {folder}")
        unfinished = folder.with_name(folder.name + ".unfinished")
        shutil.rmtree(unfinished, ignore_errors=True)
        apart(write_world, str(unfinished), arguments.rows, *WORLDS[name])
        unfinished.rename(folder)
    return World(folder)


class Night:
    """The night of the last date, over a warehouse that has all dates before."""

    def __init__(self, arguments, binary, name):
        self.binary, self.world = binary, world_of(arguments, name)
        self.root = arguments.scratch / f"{binary.parent.name}-{binary.name}-{name}"
        self.before = self.root.with_name(self.root.name + "-before")
        self.log = self.root.with_name(self.root.name + ".log")
        self.job = self.world.write_job(self.root, self.root.with_name(self.root.name + ".toml"))
        last = self.world.last - ONE_DAY
        backfill = ["--from", self.world.first, "--to", last, "--as-of", last, "--quiet"]
        self.run("backfill", *backfill)
        self.root.rename(self.before)

    def run(self, command, *options):
        return measured([self.binary, command, self.job, *options], self.log)

    def measure(self):
        shutil.rmtree(self.root, ignore_errors=True)
        shutil.copytree(self.before, self.root)
        self.world.read_through()
        return self.run("run", "--date", self.world.last, "--quiet")


def digests(roots):
    """What is in the tables, by root: so many rows, of such values, records aside."""
    import deltalake
    import duckdb

    found = {}
    for root in roots:
        tables = {}
        for table in ("clean/clicks", "clean/rejects", "attribution/conversions",
                      "report/traffic", "report/transaction_details"):
            rows = deltalake.DeltaTable(f"{root}/{table}").to_pyarrow_table()
            connection = duckdb.connect()
            connection.register("rows", rows)
            columns = [f'"{name}"' for name in rows.column_names if name != "record"]
            tables[table] = connection.execute(
                f"select count(*), sum(hash({', '.join(columns)})::hugeint)::varchar from rows"
            ).fetchone()
        found[root] = tables
    return found


def main():
    arguments = parse_arguments()
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: arguments.threads])
    arguments.cache.mkdir(parents=True, exist_ok=True)
    arguments.scratch = arguments.cache / "scratch-payload"
    shutil.rmtree(arguments.scratch, ignore_errors=True)
    arguments.scratch.mkdir()
    facts = report.circumstances(arguments, world_of(arguments, "payload"), "payload.py")
    programs = {"lookback": arguments.binary} | ({"base": arguments.base} if arguments.base else {})
    nights = {
        (program, name): Night(arguments, binary, name)
        for name in WORLDS
        for program, binary in programs.items()
    }
    measurements = {key: [] for key in nights}
    for number in range(arguments.rounds):
        # Every other round runs backwards: no program always finds the warmer machine.
        for key, night in list(nights.items())[:: -1 if number % 2 else 1]:
            measurements[key].append(night.measure())
            say(f"{' '.join(key):<24} {measurements[key][-1]}")
    ensure_same_rows(nights)

    rows = [line(measurements, name, figure) for name in WORLDS for figure in FIGURES]
    heads = ["one night", *programs] + (["lookback / base"] if arguments.base else [])
    table = report.table(heads, rows)
    print(table)
    if not arguments.no_results:
        write_results(arguments, facts, table, measurements)
    shutil.rmtree(arguments.scratch)


def ensure_same_rows(nights):
    """All programs make the same rows of a world, whether or not it has a payload."""
    found = apart(digests, [str(night.root) for night in nights.values()])
    expected = {}
    for (program, name), night in nights.items():
        rows = found[str(night.root)]
        if rows != expected.setdefault(WORLDS[name][1], rows):
            raise SystemExit(f"{program} makes other rows of {name}: {found}")


def line(measurements, name, figure):
    words = {"wall": "time", "cpu": "CPU time", "memory": "peak memory"}
    medians, cells = [], []
    for values in [values for (_, world), values in measurements.items() if world == name]:
        each = [value[figure] for value in values]
        medians.append(statistics.median(each))
        all_of_them = ", ".join(shown(value, figure).split()[0] for value in each)
        cells.append(f"{shown(medians[-1], figure)} ({all_of_them})")
    ratio = [f"{medians[0] / medians[1]:.2f}"] if len(medians) > 1 else []
    return [f"{SAID[name]}: {words[figure]}", *cells, *ratio]


def write_results(arguments, facts, table, measurements):
    facts["command"] = f"`{facts['command']}`"
    stem = f"{facts['date'].split()[0]}-{facts['commit']}-payload"
    parts = [
        f"# Columns that nobody asks for, at {facts['commit']}",
        report.table(["", ""], [[name, str(value)] for name, value in facts.items()]),
        f"{DATES} landing dates of {arguments.rows:,} clicks. The payload is a text of 992 bytes "
        "and a struct. All programs made the same rows, records of rejected rows aside.",
        table,
    ]
    arguments.results.mkdir(parents=True, exist_ok=True)
    file = arguments.results / f"{stem}.md"
    file.write_text("\n\n".join(parts) + "\n")
    named = {" ".join(key): values for key, values in measurements.items()}
    file.with_suffix(".json").write_text(
        json.dumps({"circumstances": facts, "measurements": named}, indent=2) + "\n")
    print(f"\nresults: {file}")


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--rows", type=int, default=300_000, help="clicks of a landing date [300000]")
    add("--rounds", type=int, default=3, help="[3]")
    add("--threads", type=int, default=2, help="cores for every program [2]")
    target = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", HERE.parent / "target"))
    add("--binary", type=pathlib.Path, default=target / "release/lookback")
    add("--base", type=pathlib.Path, help="an older lookback to measure as well")
    cache = pathlib.Path(os.environ.get("XDG_CACHE_HOME", pathlib.Path.home() / ".cache"))
    add("--cache", type=pathlib.Path, default=cache / "lookback/bench",
        help="where worlds are stored and warehouses are written meanwhile")
    add("--results", type=pathlib.Path, default=HERE / "results", metavar="DIR",
        help="where DATE-COMMIT-payload.md and .json are written [benches/results]")
    add("--no-results", action="store_true", help="write neither")
    arguments = parser.parse_args()
    for name in ("binary", "base"):
        file = getattr(arguments, name)
        if file and not file.is_file():
            parser.error(f"{file} is not there: cargo build --release, or give another")
        setattr(arguments, name, file and file.resolve())
    return arguments


if __name__ == "__main__":
    main()
