"""The comparison itself: a backfill, a night and the night again, in turn by lookback, by an older
lookback if there is one, by the DuckDB script, and the bare scan that no program can do without."""

import datetime
import os
import sys

from measure import Line, apart, say
from tables import differences, scan, table_bytes
from worlds import ONE_DAY


class Comparison:
    def __init__(self, bench):
        self.bench = bench
        self.world = world = bench.world
        self.binaries = {"lookback": bench.arguments.binary}
        if bench.arguments.base:
            self.binaries["base"] = bench.arguments.base
        self.first, self.last = world.last_dates(bench.arguments.dates)
        self.dates = (self.last - self.first).days + 1
        # The night makes the last date, and those before it for which rows may have come late.
        self.night_first = max(self.last - world.late * ONE_DAY, world.first)
        self.evening = world.utc_dates(self.last - ONE_DAY)[1]

    def measure(self):
        """All rounds, every other one backwards, so that no program always finds the warmer
        machine."""
        say(f"{self.world.folder}: backfill of {self.dates} dates {self.first} to {self.last}, "
            f"night of {self.last}")
        for name in self.binaries:
            self.fill_until_the_evening(name)
        self.world.read_through()
        steps = [
            *(lambda name=name: self.backfill(name) for name in self.binaries),
            lambda: self.duckdb("backfill", self.first),
            lambda: self.scan("backfill", self.raw_logs()),
            *(lambda name=name: self.night(name) for name in self.binaries),
            lambda: self.duckdb("night", self.night_first),
            lambda: self.scan("night", self.rows_of_a_night()),
        ]
        for number in range(self.bench.arguments.rounds):
            for step in steps if number % 2 == 0 else reversed(steps):
                step()
            self.ensure_same_rows()

    def fill_until_the_evening(self, name):
        """The warehouse as the night finds it: all dates before, made the evening before."""
        self.bench.lookback(self.bench.fresh_job(f"before-{name}"), "backfill",
                            "--from", self.world.first, "--to", self.last - ONE_DAY,
                            "--as-of", self.evening, binary=self.binaries[name])

    def backfill(self, name):
        job = self.bench.fresh_job(f"backfill-{name}")
        self.bench.keep(f"backfill {name}", self.bench.lookback(
            job, "backfill", "--from", self.first, "--to", self.last, binary=self.binaries[name]))

    def night(self, name):
        before = self.bench.scratch / f"before-{name}"
        job = self.bench.fresh_job(f"night-{name}", copy_of=before)
        for work in ["night", "rerun"]:
            self.bench.keep(f"{work} {name}", self.bench.lookback(
                job, "run", "--date", self.last, binary=self.binaries[name]))

    def duckdb(self, work, first):
        out = self.bench.scratch / f"{work}-DuckDB"
        self.bench.keep(f"{work} DuckDB", self.bench.duckdb(first, self.last, out))

    def scan(self, work, pieces):
        self.bench.keep(f"{work} scan", apart(scan, pieces, self.bench.arguments.threads))

    def ensure_same_rows(self):
        found = []
        for work, first in [("backfill", self.first), ("night", self.night_first)]:
            ours, theirs = (str(self.bench.scratch / f"{work}-{name}")
                            for name in ["lookback", "DuckDB"])
            found += apart(differences, ours, theirs, first, self.last)
        if found:
            print("\n".join(found), file=sys.stderr)
            sys.exit("ROWS DIFFER between lookback and the DuckDB script: no result is written")

    def raw_logs(self):
        """What a backfill from nothing cannot do without."""
        world = self.world
        window = datetime.timedelta(hours=world.window)
        since = world.utc_dates(self.first)[0] - window - ONE_DAY
        until = world.utc_dates(self.last)[1] + world.late * ONE_DAY
        return [
            (world.files("clicks", since, until), None),
            (world.files("orders", datetime.date.min, until), None),
        ]

    def rows_of_a_night(self):
        """What a night cannot do without: new rows whole; of the clicks in the window and the
        events in the horizon the columns that find the winning click and the line."""
        world = self.world
        new = [self.evening + ONE_DAY, datetime.date.max]
        start = world.utc_dates(self.night_first)[0]
        window = start - datetime.timedelta(hours=world.window) - ONE_DAY
        horizon = start - world.horizon * ONE_DAY - ONE_DAY
        later = self.last + 9 * ONE_DAY
        clicks, events, conversions = (
            str(self.bench.scratch / "before-lookback" / table)
            for table in ["clean/clicks", "clean/order_events", "attribution/conversions"]
        )
        return [
            (world.files("clicks", *new), None),
            (world.files("orders", *new), None),
            ((clicks, start, later),
             ["click_id", "clicked_at", "publisher_id", "tracking_id", "buyer_id", "visitor_id",
              "store_id", "country", "device"]),
            ((clicks, window, start - ONE_DAY), ["click_id", "clicked_at", "buyer_id", "visitor_id"]),
            ((events, horizon, later),
             ["event_id", "event_type", "event_at", "order_id", "line_id"]),
            ((conversions, horizon, self.last), ["order_id", "line_id", "event_id", "placed_at"]),
        ]

    def lines(self):
        line = self.bench.line
        backfill = f"backfill of {self.dates} dates"
        return [
            line(backfill, "wall", "backfill lookback", "backfill DuckDB", times=0.8),
            line(f"{backfill}: CPU time", "cpu", "backfill lookback", "backfill DuckDB"),
            line(f"{backfill}: peak memory", "memory", "backfill lookback", "backfill DuckDB",
                 below=1.5e9),
            line(f"{backfill}: against a bare scan", "wall", "backfill lookback", "backfill scan"),
            line("one night", "wall", "night lookback", "night DuckDB", times=0.15),
            line("one night: CPU time", "cpu", "night lookback", "night DuckDB"),
            line("one night: peak memory", "memory", "night lookback", "night DuckDB"),
            line(f"one night: against all {self.dates} dates again", "wall", "night lookback",
                 "backfill DuckDB"),
            line("one night: against a bare scan", "wall", "night lookback", "night scan", times=3),
            line("the night again, nothing new: CPU time", "cpu", "rerun lookback",
                 "night DuckDB", below=1),
            self.bytes_of_clicks(),
        ]

    def bytes_of_clicks(self):
        clean = apart(table_bytes, str(self.bench.scratch / "backfill-lookback/clean/clicks"))
        raw = sum(os.path.getsize(file) for dt in clean["dates"]
                  for file in self.world.files("clicks", dt, dt))
        ratio = clean["bytes"] / raw
        megabytes = [f"{count / 1e6:,.1f} MB" for count in [clean["bytes"], raw]]
        return Line("clean clicks against raw clicks: bytes", *megabytes, ratio, "0.5 ×",
                    ratio <= 0.5)

    def base_rows(self):
        """Lookback against the older one: [work, new, old, ratio of the medians, of each round]."""
        rows = []
        names = [("backfill", f"backfill of {self.dates} dates"), ("night", "one night"),
                 ("rerun", "the night again, nothing new")]
        for name, work in names if self.bench.arguments.base else []:
            for figure, label in [("wall", "time"), ("cpu", "CPU time"), ("memory", "memory")]:
                new, old = f"{name} lookback", f"{name} base"
                ratio = self.bench.median(new, figure) / self.bench.median(old, figure)
                each = zip(self.bench.all(new, figure), self.bench.all(old, figure))
                rows.append([f"{work}: {label}", self.bench.shown(new, figure),
                             self.bench.shown(old, figure), f"{ratio:.2f}",
                             ", ".join(f"{one / other:.2f}" for one, other in each)])
        return rows
