#!/usr/bin/env python3
"""lookback against a DuckDB script that does the same work: time, memory, and the same rows.

usage: compare.py [--world DIR] [--rounds 3] [--all-dates] [--growth] [--skew] [--scale] [--chart FILE]

Prints a table, writes every single measurement as JSON and draws a chart. Ends with exit code 1
when a row of the two differs, whatever the times. See README.md for what each line means.

This process imports nothing large and does nothing large: what Linux calls a child's peak memory
includes that of the process that started it. Scans, comparisons and charts have processes of
their own.
"""

import argparse
import datetime
import json
import multiprocessing
import os
import pathlib
import platform
import re
import shutil
import statistics
import subprocess
import sys
import time
import tomllib
import zoneinfo

HERE = pathlib.Path(__file__).resolve().parent
ONE_DAY = datetime.timedelta(days=1)
# Folder of the table in the warehouse, and the column by which it is partitioned.
TABLES = {
    "attribution/conversions": "order_date",
    "report/traffic": "report_date",
    "report/orders": "report_date",
    "report/refunds": "report_date",
    "report/transaction_details": "report_date",
}


def main():
    arguments = parsed()
    # As many cores for everyone, whatever the machine has.
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: arguments.threads])
    arguments.cache.mkdir(parents=True, exist_ok=True)
    world = World(arguments.world or make_world(arguments, "world", arguments.days,
                                                arguments.clicks_per_day,
                                                arguments.orders_per_day))
    bench = Bench(arguments, world)
    lines = bench.compare()
    if arguments.all_dates:
        lines += bench.all_dates()
    if arguments.growth:
        lines += bench.growth()
    if arguments.skew:
        lines += bench.skew()
    if arguments.scale:
        lines += bench.scale()
    show(lines)
    result = bench.result(lines)
    arguments.json.write_text(json.dumps(result, indent=2) + "\n")
    print(f"\nevery measurement: {arguments.json}")
    if arguments.chart:
        apart(draw, result, str(arguments.chart))
        print(f"chart: {arguments.chart}")
    if bench.differences:
        print("\nROWS DIFFER between lookback and the DuckDB script:", file=sys.stderr)
        print("\n".join(bench.differences), file=sys.stderr)
        sys.exit(1)


def parsed():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--world", type=pathlib.Path, help="a world made by lookback demo")
    parser.add_argument("--days", type=int, default=40, help="of the world to make [40]")
    parser.add_argument("--clicks-per-day", type=int, default=500_000)
    parser.add_argument("--orders-per-day", type=int, default=25_000)
    parser.add_argument("--dates", type=int, default=26, help="report dates to backfill [26]")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2, help="cores for both [2]")
    parser.add_argument("--memory-limit", default="12GB", help="DuckDB's")
    parser.add_argument("--all-dates", action="store_true", help="memory for all dates there are")
    parser.add_argument("--growth", action="store_true", help="a night after 60 and 400 days")
    parser.add_argument("--growth-clicks", type=int, default=20_000, help="per day of that world")
    parser.add_argument("--growth-orders", type=int, default=1_000)
    parser.add_argument("--skew", action="store_true", help="one very busy buyer")
    parser.add_argument("--scale", action="store_true", help="an eighth to all of the rows")
    target = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", HERE.parent / "target"))
    parser.add_argument("--binary", type=pathlib.Path, default=target / "release/lookback")
    cache = pathlib.Path(os.environ.get("XDG_CACHE_HOME", pathlib.Path.home() / ".cache"))
    parser.add_argument("--cache", type=pathlib.Path, default=cache / "lookback/bench",
                        help="where worlds are kept and results are written meanwhile")
    parser.add_argument("--json", type=pathlib.Path, help="[compare.json in the cache folder]")
    parser.add_argument("--chart", type=pathlib.Path, help="an SVG file to draw")
    arguments = parser.parse_args()
    arguments.json = arguments.json or arguments.cache / "compare.json"
    arguments.binary = arguments.binary.resolve()
    if not arguments.binary.is_file():
        parser.error(f"{arguments.binary} is not there: cargo build --release, or --binary")
    return arguments


# --- worlds ------------------------------------------------------------------------------------


def make_world(arguments, name, days, clicks, orders):
    world = arguments.cache / f"{name}-{days}-{clicks}-{orders}"
    if not world.exists():
        say(f"making {world}")
        unfinished = world.with_name(world.name + ".unfinished")
        shutil.rmtree(unfinished, ignore_errors=True)
        subprocess.run(
            [arguments.binary, "demo", unfinished, "--no-run", "--quiet", "--days", str(days),
             "--clicks-per-day", str(clicks), "--orders-per-day", str(orders)],
            check=True,
        )
        unfinished.rename(world)
    return world


class World:
    def __init__(self, folder):
        self.folder = folder.resolve()
        self.text = (self.folder / "job.toml").read_text()
        self.job = tomllib.loads(self.text)
        self.zone = zoneinfo.ZoneInfo(self.job["program"].get("time_zone", "UTC"))
        self.late = self.job.get("lateness", {}).get("late_days", 2)
        self.window = self.job.get("attribution", {}).get("window_hours", 720)
        self.horizon = self.job.get("lateness", {}).get("order_horizon_days", 90)
        landed = [self.landed(log) for log in ("clicks", "orders")]
        both = sorted(set(landed[0]) & set(landed[1]))
        self.first = both[0]
        self.last = both[-1]
        while self.touched(self.last)[1] > both[-1]:
            self.last -= ONE_DAY

    def log(self, name):
        return self.folder / self.job["input"][name]

    def landed(self, log):
        return sorted(
            datetime.date.fromisoformat(folder.name[3:]) for folder in self.log(log).glob("dt=*")
        )

    def files(self, log, first, last):
        return [
            str(file)
            for dt in self.landed(log)
            if first <= dt <= last
            for file in sorted((self.log(log) / f"dt={dt}").glob("*.parquet"))
        ]

    def touched(self, date):
        """First and last UTC date of a local date."""
        start = datetime.datetime.combine(date, datetime.time(), self.zone)
        end = datetime.datetime.combine(date + ONE_DAY, datetime.time(), self.zone)
        last = end.astimezone(datetime.timezone.utc) - datetime.timedelta(microseconds=1)
        return start.astimezone(datetime.timezone.utc).date(), last.date()

    def job_with(self, root, file):
        """The world's job file with another output root."""
        text = re.sub(r"(?m)^(root\s*=\s*).*$", lambda m: m[1] + json.dumps(str(root)), self.text)
        for key, path in self.job["input"].items():
            place = json.dumps(str(self.folder / path))
            text = re.sub(rf"(?m)^({key}\s*=\s*)(\"[^\"]*\"|'[^']*')",
                          lambda m, place=place: m[1] + place, text, count=1)
        file.write_text(text)
        return file


# --- measuring ---------------------------------------------------------------------------------


def measured(command, log):
    """Wall and CPU seconds and peak bytes of a command. Ends everything when it fails."""
    with open(log, "wb") as output:
        started = time.perf_counter()
        process = subprocess.Popen(list(map(str, command)), stdout=output, stderr=output)
        _, status, usage = os.wait4(process.pid, 0)
        wall = time.perf_counter() - started
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        print(log.read_text(errors="replace")[-2000:], file=sys.stderr)
        sys.exit(f"exit code {process.returncode}: {' '.join(map(str, command))}")
    return {
        "wall": round(wall, 3),
        "cpu": round(usage.ru_utime + usage.ru_stime, 3),
        "memory": usage.ru_maxrss * 1024,
    }


def apart(function, *arguments):
    """Calls a function in a fresh process."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(function, arguments)


def say(text):
    print(text, file=sys.stderr, flush=True)


class Bench:
    def __init__(self, arguments, world):
        self.arguments = arguments
        self.world = world
        self.measurements = {}
        self.differences = []
        self.scratch = arguments.cache / "scratch"
        shutil.rmtree(self.scratch, ignore_errors=True)
        self.scratch.mkdir(parents=True)

    # Each takes a measurement and keeps it under a name.

    def keep(self, name, measurement):
        self.measurements.setdefault(name, []).append(measurement)
        figures = ", ".join(
            f"{key} {value / 1e9:.2f} GB" if key == "memory" else f"{key} {value:.2f} s"
            for key, value in measurement.items()
        )
        say(f"{name:<28} {figures}")

    def lookback(self, name, job, *command):
        full = [self.arguments.binary, command[0], job, *command[1:], "--quiet"]
        measurement = measured(full, self.scratch / "log")
        if name:
            self.keep(name, measurement)

    def duckdb(self, name, first, last, out):
        command = [sys.executable, HERE / "peer.py", self.world.folder, first, last, out,
                   "--threads", self.arguments.threads,
                   "--memory-limit", self.arguments.memory_limit]
        self.keep(name, measured(command, self.scratch / "log"))

    def median(self, name, figure):
        return statistics.median(m[figure] for m in self.measurements[name])

    def fresh(self, name, world=None, copy_of=None):
        """A job file whose warehouse is empty, or a copy of another."""
        root = self.scratch / name
        shutil.rmtree(root, ignore_errors=True)
        if copy_of:
            # Linked: a copy would still be on its way to the disk while the job runs. Files of a
            # warehouse are replaced, never written to.
            shutil.copytree(copy_of, root, copy_function=os.link)
        return (world or self.world).job_with(root, self.scratch / f"{name}.toml")

    # The comparison itself.

    def compare(self):
        world = self.world
        to, night = world.last, world.last
        first = max(to - (self.arguments.dates - 1) * ONE_DAY, world.first)
        dates = (to - first).days + 1
        say(f"{world.folder}: backfill of {dates} dates {first} to {to}, night of {night}")

        # The warehouse as the night finds it: everything before, made the evening before.
        evening = world.touched(night - ONE_DAY)[1]
        before = self.scratch / "before"
        self.lookback(None, self.fresh("before"), "backfill", "--from", world.first,
                      "--to", night - ONE_DAY, "--as-of", evening)
        night_first = max(night - world.late * ONE_DAY, world.first)
        read_through(world)

        for number in range(self.arguments.rounds):
            steps = [
                lambda: self.lookback("backfill lookback", self.fresh("backfill"),
                                      "backfill", "--from", first, "--to", to),
                lambda: self.duckdb("backfill DuckDB", first, to, self.scratch / "peer-backfill"),
                lambda: self.keep("backfill floor", apart(scan, self.backfill_columns(first, to),
                                                          self.arguments.threads)),
                lambda: self.one_night(night, before),
                lambda: self.duckdb("night DuckDB", night_first, night,
                                    self.scratch / "peer-night"),
                lambda: self.keep("night floor", apart(scan, self.night_columns(
                    before, evening, night_first, night), self.arguments.threads)),
            ]
            for step in steps if number % 2 == 0 else reversed(steps):
                step()
            for name, begin, end in [("backfill", first, to), ("night", night_first, night)]:
                self.differences += apart(
                    differences, str(self.scratch / name), str(self.scratch / f"peer-{name}"),
                    begin, end)
            if self.differences:
                break

        clean = apart(table_bytes, str(self.scratch / "backfill/clean/clicks"))
        raw = sum(
            os.path.getsize(file)
            for dt in clean["dates"] for file in world.files("clicks", dt, dt)
        )
        backfill = self.line(f"backfill of {dates} dates", "backfill", "wall", 0.8)
        night_line = self.line("one night", "night", "wall", 0.15)
        floor = self.median("night lookback", "wall") / self.median("night floor", "wall")
        rerun = self.median("rerun lookback", "cpu")
        memory = self.median("backfill lookback", "memory")
        return [
            backfill,
            self.line("  CPU time", "backfill", "cpu", None),
            self.line("  peak memory", "backfill", "memory", None)
            | {"target": "1.5 GB", "met": memory <= 1.5e9},
            night_line,
            self.line("  CPU time", "night", "cpu", None),
            self.line("  peak memory", "night", "memory", None),
            {"work": "  against all dates anew",
             "lookback": self.shown("night lookback", "wall"),
             "other": self.shown("backfill DuckDB", "wall"),
             "ratio": self.median("night lookback", "wall")
             / self.median("backfill DuckDB", "wall"), "target": "", "met": None},
            {"work": "  against a bare scan",
             "lookback": f"{self.median('night lookback', 'wall'):.1f} s",
             "other": f"{self.median('night floor', 'wall'):.1f} s scan",
             "ratio": floor, "target": "3 x", "met": floor <= 3},
            {"work": "the night again, nothing new", "lookback": f"{rerun:.2f} s CPU",
             "other": self.shown("night DuckDB", "cpu") + " CPU",
             "ratio": rerun / self.median("night DuckDB", "cpu"),
             "target": "1 s CPU", "met": rerun < 1},
            {"work": "clean clicks against raw", "lookback": megabytes(clean["bytes"]),
             "other": megabytes(raw) + " raw", "ratio": clean["bytes"] / raw, "target": "0.5 x",
             "met": clean["bytes"] <= raw / 2},
        ]

    def one_night(self, night, before):
        job = self.fresh("night", copy_of=before)
        self.lookback("night lookback", job, "run", "--date", night)
        self.lookback("rerun lookback", job, "run", "--date", night)

    def line(self, work, name, figure, target):
        ratio = self.median(f"{name} lookback", figure) / self.median(f"{name} DuckDB", figure)
        return {
            "work": work,
            "lookback": self.shown(f"{name} lookback", figure),
            "other": self.shown(f"{name} DuckDB", figure),
            "ratio": ratio,
            "target": f"{target} x" if target else "",
            "met": ratio <= target if target else None,
        }

    def shown(self, name, figure):
        value = self.median(name, figure)
        return f"{value / 1e9:.2f} GB" if figure == "memory" else f"{value:.1f} s"

    def backfill_columns(self, first, to):
        """What a backfill from nothing cannot do without: the raw logs."""
        world = self.world
        since = world.touched(first)[0] - datetime.timedelta(hours=world.window) - ONE_DAY
        until = world.touched(to)[1] + world.late * ONE_DAY
        oldest = datetime.date.min
        return [
            (world.files("clicks", since, until), None),
            (world.files("orders", oldest, until), None),
        ]

    def night_columns(self, before, evening, first, night):
        """What a night cannot do without: what is new, whole; of the clicks in the window and
        the events in the horizon what finds the winner and the line."""
        world = self.world
        new = [evening + ONE_DAY, datetime.date.max]
        start = world.touched(first)[0]
        window = start - datetime.timedelta(hours=world.window) - ONE_DAY
        horizon = start - world.horizon * ONE_DAY - ONE_DAY
        visits = ["click_id", "clicked_at", "publisher_id", "tracking_id", "buyer_id",
                  "visitor_id", "store_id", "country", "device"]
        clicks, events, conversions = (
            str(before / table)
            for table in ["clean/clicks", "clean/order_events", "attribution/conversions"]
        )
        return [
            (world.files("clicks", *new), None),
            (world.files("orders", *new), None),
            ((clicks, start, night + 9 * ONE_DAY), visits),
            ((clicks, window, start - ONE_DAY), ["click_id", "clicked_at", "buyer_id"]),
            ((events, horizon, night + 9 * ONE_DAY),
             ["event_id", "event_type", "event_at", "order_id", "line_id"]),
            ((conversions, horizon, night), ["order_id", "line_id", "event_id", "placed_at"]),
        ]

    def all_dates(self):
        """Is peak memory flat in the number of dates?"""
        world = self.world
        self.lookback("all dates lookback", self.fresh("all"), "backfill", "--from", world.first,
                      "--to", world.last)
        shutil.rmtree(self.scratch / "all")
        few = self.median("backfill lookback", "memory")
        many = self.median("all dates lookback", "memory")
        dates = (world.last - world.first).days + 1
        return [{
            "work": f"peak memory, {dates} dates", "lookback": f"{many / 1e9:.2f} GB",
            "other": f"{few / 1e9:.2f} GB fewer", "ratio": many / few, "target": "1.5 GB, flat",
            "met": many <= 1.5e9 and many / few <= 1.15,
        }]

    def growth(self):
        """The nights of a week after 60, 200 and 400 days of history, all alike."""
        world = World(make_world(self.arguments, "growth", 430, self.arguments.growth_clicks,
                                 self.arguments.growth_orders))
        job = self.fresh("growing", world)
        begin = world.first
        histories = [60, 200, 400]
        for history in histories:
            week = [world.first + (history - history % 7 + day) * ONE_DAY for day in range(7)]
            evening = week[0] - ONE_DAY
            self.lookback(None, job, "backfill", "--from", begin, "--to", evening,
                          "--as-of", world.touched(evening)[1])
            for night in week:
                self.lookback(f"night {history} lookback", job, "run", "--date", night,
                              "--as-of", world.touched(night)[1])
            begin = week[-1] + ONE_DAY
        lines = []
        for figure in ["wall", "cpu"]:
            few, some, many = (
                self.median(f"night {history} lookback", figure) for history in histories
            )
            lines.append({
                "work": "a night after 400 days" if figure == "wall" else "  CPU time",
                "lookback": f"{many:.2f} s", "other": f"{few:.2f} s after 60",
                "ratio": many / few, "target": "1 x" if figure == "wall" else "",
                "met": many / few <= 1.15 if figure == "wall" else None,
                "note": f"{some:.2f} s after 200",
            })
        shutil.rmtree(self.scratch / "growing")
        return lines

    def skew(self):
        """One buyer with a million clicks and 10,000 orders, and the same rows among 10,000."""
        folders = {name: self.scratch / f"skew-{name}" for name in ["one", "many"]}
        for name, folder in folders.items():
            apart(write_skewed, str(folder), 1 if name == "one" else 10_000)
        for number in range(self.arguments.rounds):
            names = ["one", "many"] if number % 2 == 0 else ["many", "one"]
            for name in names:
                world = World(folders[name])
                self.lookback(f"skew {name} lookback", self.fresh("skewed", world), "backfill",
                              "--from", world.first, "--to", world.last)
        one, many = (self.median(f"skew {name} lookback", "wall") for name in ["one", "many"])
        return [{
            "work": "1,000,000 clicks of one buyer", "lookback": f"{one:.1f} s",
            "other": f"{many:.1f} s of 10,000", "ratio": one / many, "target": "2 x",
            "met": one / many <= 2,
        }]

    def scale(self):
        """The backfill of worlds with an eighth, a quarter and half of the rows: is its time a line?"""
        sizes, seconds, lines = [], [], []
        for part in [8, 4, 2, 1]:
            clicks = self.arguments.clicks_per_day // part
            orders = self.arguments.orders_per_day // part
            world = World(make_world(self.arguments, "world", self.arguments.days, clicks, orders))
            first = max(world.last - (self.arguments.dates - 1) * ONE_DAY, world.first)
            name = f"scale 1/{part}"
            for _ in range(self.arguments.rounds):
                self.lookback(f"{name} lookback", self.fresh("scaled", world), "backfill",
                              "--from", first, "--to", world.last)
            sizes.append(clicks * self.arguments.days / 1e6)
            seconds.append(self.median(f"{name} lookback", "wall"))
            lines.append({
                "work": f"{sizes[-1]:.1f} million clicks", "lookback": f"{seconds[-1]:.1f} s",
                "other": self.shown(f"{name} lookback", "memory"),
                "ratio": seconds[-1] / seconds[0], "target": "", "met": None,
            })
        shutil.rmtree(self.scratch / "scaled")
        slope, fixed = statistics.linear_regression(sizes, seconds)
        for times in [10, 100]:
            there = fixed + slope * sizes[-1] * times
            lines.append({
                "work": f"  {times} times as many, by the line", "lookback": f"{there:.0f} s",
                "other": f"{fixed:.1f} s and {slope:.2f} s a million",
                "ratio": there / seconds[-1], "target": "", "met": None,
            })
        return lines

    def result(self, lines):
        version = subprocess.run([self.arguments.binary, "--version"], capture_output=True,
                                 text=True, check=True)
        requirements = (HERE / "requirements.txt").read_text().split()
        return {
            "made_at": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
            "lookback": version.stdout.strip(),
            "wanted_packages": requirements,
            "duckdb": apart(duckdb_version),
            "machine": f"{platform.machine()}, {self.arguments.threads} cores, "
            f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30:.0f} GiB",
            "load_average": os.getloadavg(),
            "world": {
                "report_dates": [str(self.world.first), str(self.world.last)],
                "dates": min(self.arguments.dates, (self.world.last - self.world.first).days + 1),
                "rows": apart(row_counts, {log: self.world.files(
                    log, datetime.date.min, datetime.date.max) for log in ("clicks", "orders")}),
            },
            "rounds": self.arguments.rounds,
            "rows_differ": self.differences,
            "lines": lines,
            "measurements": self.measurements,
        }


def read_through(world):
    """Into the page cache with the raw logs: the first to run should not wait for the disk."""
    for log in ("clicks", "orders"):
        for file in world.files(log, datetime.date.min, datetime.date.max):
            with open(file, "rb") as content:
                while content.read(1 << 22):
                    pass


def megabytes(count):
    return f"{count / 1e6:,.0f} MB"


def show(lines):
    heads = ["work", "lookback", "DuckDB, or what stands there", "ratio", "target", ""]
    rows = []
    for line in lines:
        mark = {True: "met", False: "MISSED", None: ""}[line["met"]]
        rows.append([line["work"], line["lookback"], line["other"], f"{line['ratio']:.2f}",
                     line["target"], mark])
    widths = [max(len(row[i]) for row in [heads, *rows]) for i in range(len(heads))]
    for row in [heads, ["-" * width for width in widths], *rows]:
        cells = [row[0].ljust(widths[0])]
        cells += [cell.rjust(width) for cell, width in zip(row[1:4], widths[1:4])]
        cells += [cell.ljust(width) for cell, width in zip(row[4:], widths[4:])]
        print("  ".join(cells).rstrip())


# --- in processes of their own -----------------------------------------------------------------


def table_files(folder, first, last):
    """Live files of a Delta table's partitions first..=last: [(date, path)]."""
    import deltalake

    found = []
    for path in deltalake.DeltaTable(folder).file_uris():
        date = datetime.date.fromisoformat(re.search(r"/\w+=(\d{4}-\d\d-\d\d)/", path)[1])
        if first <= date <= last:
            found.append((date, path.removeprefix("file://")))
    return found


def table_bytes(folder):
    files = table_files(folder, datetime.date.min, datetime.date.max)
    return {"bytes": sum(os.path.getsize(path) for _, path in files),
            "dates": sorted({date for date, _ in files})}


def scan(pieces, threads):
    """Time to decode columns and do nothing with them."""
    import pyarrow
    import pyarrow.parquet

    pyarrow.set_cpu_count(threads)
    listed = []
    for source, columns in pieces:
        files = source if isinstance(source, list) else [path for _, path in table_files(*source)]
        listed += [(file, columns) for file in files]
    wall, cpu = time.perf_counter(), time.process_time()
    for file, columns in listed:
        with pyarrow.parquet.ParquetFile(file) as content:
            content.read(columns=columns)
    return {"wall": round(time.perf_counter() - wall, 3),
            "cpu": round(time.process_time() - cpu, 3)}


def differences(warehouse, out, first, last):
    """Rows of the five tables that only one of the two has: complaints, empty when none."""
    import duckdb

    connection = duckdb.connect()
    connection.execute("set timezone = 'UTC'")
    complaints = []
    for table, partition in TABLES.items():
        files = [path for _, path in table_files(f"{warehouse}/{table}", first, last)]
        name = table.split("/")[1]
        if not files:
            complaints.append(f"{table}: lookback made nothing of {first} to {last}")
            continue
        connection.execute(
            f"""create or replace temp view ours as
                select * from read_parquet({files}, hive_partitioning = true,
                    hive_types = {{{partition}: date}})"""
        )
        connection.execute(
            f"create or replace temp view theirs as from read_parquet('{out}/{name}.parquet')"
        )
        types = {
            view: dict(sorted(row[:2] for row in
                              connection.execute(f"describe {view}").fetchall()))
            for view in ["ours", "theirs"]
        }
        if types["ours"] != types["theirs"]:
            complaints.append(f"{table}: other columns or types: {types}")
            continue
        columns = ", ".join(types["ours"])
        rows = connection.execute("select count(*) from theirs").fetchone()[0]
        if not rows:
            complaints.append(f"{table}: the DuckDB script made no rows; nothing was compared")
        for one, other in [("ours", "theirs"), ("theirs", "ours")]:
            extra = f"(select {columns} from {one} except all select {columns} from {other})"
            found = connection.execute(f"select count(*) from {extra}").fetchone()[0]
            if found:
                who = "lookback" if one == "ours" else "DuckDB"
                sample = connection.execute(
                    f"select to_json(extra)::varchar from {extra} as extra limit 3").fetchall()
                complaints.append(f"{table}: {found:,} rows only from {who}, such as")
                complaints += [f"  {row[0]}" for row in sample]
    return complaints


def row_counts(files):
    import duckdb

    connection = duckdb.connect()
    return {
        log: connection.execute(f"select count(*) from read_parquet({names})").fetchone()[0]
        for log, names in files.items()
    }


def duckdb_version():
    import duckdb

    return duckdb.__version__


def write_skewed(folder, buyers):
    """A world of 40 landing dates, a million clicks and 10,000 orders, among so many buyers."""
    import duckdb

    folder = pathlib.Path(folder)
    (folder / "reference").mkdir(parents=True)
    (folder / "job.toml").write_text(
        '[input]\nclicks = "raw/clicks"\norders = "raw/orders"\n'
        'links = "reference/links.csv"\nstores = "reference/stores.csv"\n'
        'rates = "reference/rates.csv"\n\n[output]\nroot = "warehouse"\n\n'
        '[program]\ntime_zone = "America/Los_Angeles"\ndefault_rate = "0.03"\n\n'
        "[links]\nformats = ['^https?://go[.]example/([0-9a-z]+)']\n"
    )
    links = "".join(f"link{n},publisher{n % 60},,,\n" for n in range(400))
    (folder / "reference/links.csv").write_text(
        "link_key,publisher_id,tracking_id,valid_from,valid_to\n" + links)
    stores = "".join(f"store{n},,\n" for n in range(40))
    (folder / "reference/stores.csv").write_text("store_id,joined_at,left_at\n" + stores)
    (folder / "reference/rates.csv").write_text(
        "scope,scope_id,store_id,rate,valid_from,valid_to\nstore,store7,,0.08,,\n")

    connection = duckdb.connect()
    connection.execute("set timezone = 'UTC'")
    # Scattered over 40 days; each order is some microseconds after a click.
    span = 40 * 86_400 * 1_000_000
    at = f"make_timestamptz(1772323200000000 + ({{}} * 1000003 * 3456007) % {span})"
    connection.execute(
        f"""create view clicks as
            select 'click' || lpad(n::varchar, 9, '0') as click_id, {at.format('n')} as clicked_at,
                'https://go.example/link' || n % 400 || '?session=' || md5(n::varchar) as url,
                'buyer' || n % {buyers} as buyer_id, md5((n % 30011)::varchar) as visitor_id,
                'store' || n % 41 as store_id, 'product' || n % 900 as product_id,
                ['US', 'DE', 'FR'][1 + n % 3] as country, ['app', 'mobile'][1 + n % 2] as device,
                clicked_at::date as dt
            from range(1000000) as rows(n)"""
    )
    connection.execute(
        f"""create view orders as
            with placed as (
                select n, 'order' || n as order_id,
                    {at.format('(n * 97 + 13)')} + interval 7 microseconds as placed_at,
                    (100 + n % 9901)::decimal(18, 4) as amount
                from range(10000) as rows(n)
            ),
            steps as (
                select 'placed' as event_type, interval 0 hours as wait
                union all select 'paid', interval 1 hours
                union all select 'completed', interval 150 hours
            )
            select event_type || n as event_id, event_type, placed_at + wait as event_at,
                order_id, '1' as line_id, 'buyer' || n % {buyers} as buyer_id,
                'store' || n % 40 as store_id, amount, 'USD' as currency,
                'product' || n % 900 as product_id, 'category' || n % 20 as category_id,
                1 as quantity, 'US' as country, null::varchar as reason, event_at::date as dt
            from placed cross join steps
            where event_at < make_timestamptz(1772323200000000 + {span})"""
    )
    for log in ["clicks", "orders"]:
        (folder / "raw").mkdir(exist_ok=True)
        connection.execute(
            f"""copy (from {log} order by dt) to '{folder / 'raw' / log}'
                (format parquet, compression zstd, partition_by (dt))"""
        )


def draw(result, path):
    import matplotlib

    matplotlib.use("svg")
    from matplotlib import pyplot

    matplotlib.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "lookback",
                                "font.family": "sans-serif", "font.size": 11})
    ink, grey, ours, theirs = "#22272e", "#6b7480", "#0b7a75", "#c9ced6"

    def median(name, figure):
        return statistics.median(m[figure] for m in result["measurements"][name])

    dates = result["world"]["dates"]
    panels = [
        (f"Backfill of {dates} report dates", "backfill", "wall", 1, "s"),
        ("One night", "night", "wall", 1, "s"),
        (f"Peak memory, {dates} dates", "backfill", "memory", 1e9, "GB"),
    ]
    figure, axes = pyplot.subplots(1, len(panels), figsize=(10.5, 2.7))
    for axis, (title, name, measure, unit, unit_name) in zip(axes, panels):
        values = [median(f"{name} {who}", measure) / unit for who in ("lookback", "DuckDB")]
        bars = axis.barh([1, 0], values, color=[ours, theirs], height=0.62)
        axis.set_yticks([1, 0], ["lookback", "DuckDB"])
        axis.bar_label(bars, [f"{value:.1f} {unit_name}" for value in values], padding=5,
                       color=ink, fontweight="bold")
        axis.set_xlim(0, max(values) * 1.32)
        axis.set_ylim(-0.75, 1.55)
        axis.set_title(title, loc="left", fontsize=12, fontweight="bold", color=ink, pad=8)
        axis.tick_params(left=False, bottom=False, labelbottom=False, labelcolor=ink)
        for side in axis.spines.values():
            side.set_visible(False)
        if measure == "wall":
            floor = median(f"{name} floor", "wall")
            axis.plot([floor, floor], [-0.42, 1.42], color=grey, linewidth=1, linestyle=(0, (3, 2)))
            axis.text(floor, -0.5, f"bare scan {floor:.1f} s", color=grey, fontsize=9, va="top",
                      ha="left")
    rows = result["world"]["rows"]
    figure.text(
        0.01, 0.02,
        f"{rows['clicks'] / 1e6:.1f} million clicks, {rows['orders'] / 1e6:.1f} million order "
        f"events; {result['machine']}; DuckDB {result['duckdb']}; median of "
        f"{result['rounds']} rounds. Shorter is better.",
        fontsize=9, color=grey,
    )
    figure.tight_layout(rect=(0, 0.08, 1, 1), w_pad=2.5)
    figure.savefig(path, metadata={"Date": None})


if __name__ == "__main__":
    main()
