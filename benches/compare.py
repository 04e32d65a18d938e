#!/usr/bin/env python3
"""lookback against a DuckDB script that does the same work: time, memory, and the same rows.

usage: compare.py [--base FILE] [--rounds 3] [--all-dates] [--growth] [--skew] [--scale] [...]

Prints a table and writes it, with every single measurement and what it was measured on, to
results/. Ends with exit code 1, and writes nothing, when a row of the two differs. README.md says
what each line means.

This process imports nothing large and does nothing large: what Linux calls a child's peak memory
includes that of the process that started it. Scans, comparisons and charts have processes of
their own.
"""

import argparse
import dataclasses
import os
import pathlib
import shutil

import chart
import extras
import report
from comparison import Comparison
from measure import HERE, Bench, apart
from worlds import World, demo_world


def main():
    arguments = parse_arguments()
    # As many cores for every program, whatever the machine has.
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: arguments.threads])
    arguments.cache.mkdir(parents=True, exist_ok=True)
    world = (
        World(arguments.world) if arguments.world
        else demo_world(arguments, "world", arguments.days, arguments.clicks_per_day,
                        arguments.orders_per_day)
    )
    circumstances = report.circumstances(arguments, world)
    bench = Bench(arguments, world)
    comparison = Comparison(bench)
    comparison.measure()
    lines, base_rows = comparison.lines(), comparison.base_rows()
    for extra in [extras.all_dates, extras.growth, extras.skew, extras.scale]:
        if getattr(arguments, extra.__name__):
            lines += extra(bench)
    shutil.rmtree(bench.scratch)

    print(report.table(report.HEADS, report.line_rows(lines)))
    if base_rows:
        print("\n" + report.table(report.BASE_HEADS, base_rows))
    result = {
        "circumstances": circumstances,
        "dates": comparison.dates,
        "rows_are_equal": True,
        "lines": [dataclasses.asdict(line) for line in lines],
        "against_base": [dict(zip(report.BASE_HEADS, row)) for row in base_rows],
        "measurements": bench.measurements,
    }
    if not arguments.no_results:
        print(f"\nresults: {report.write_results(arguments.results, result, lines, base_rows)}")
    if arguments.json:
        arguments.json.write_text(report.as_json(result))
    if arguments.chart:
        apart(chart.draw, result, str(arguments.chart))


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--world", type=pathlib.Path, help="a world made by lookback demo")
    add("--days", type=int, default=40, help="of the world to make [40]")
    add("--clicks-per-day", type=int, default=500_000)
    add("--orders-per-day", type=int, default=25_000)
    add("--dates", type=int, default=26, help="report dates to backfill [26]")
    add("--rounds", type=int, default=3)
    add("--threads", type=int, default=2, help="cores for every program [2]")
    add("--memory-limit", default="12GB", help="DuckDB's")
    add("--all-dates", action="store_true", help="memory for all dates there are")
    add("--growth", action="store_true", help="a night after 60, 200 and 400 days")
    add("--skew", action="store_true", help="one very busy buyer")
    add("--scale", action="store_true", help="an eighth to all of the rows")
    target = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", HERE.parent / "target"))
    add("--binary", type=pathlib.Path, default=target / "release/lookback")
    add("--base", type=pathlib.Path, help="an older lookback to measure in turn with this one")
    cache = pathlib.Path(os.environ.get("XDG_CACHE_HOME", pathlib.Path.home() / ".cache"))
    add("--cache", type=pathlib.Path, default=cache / "lookback/bench",
        help="where worlds are stored and warehouses are written meanwhile")
    add("--results", type=pathlib.Path, default=HERE / "results", metavar="DIR",
        help="where DATE-COMMIT.md and .json are written [benches/results]")
    add("--no-results", action="store_true", help="write neither")
    add("--json", type=pathlib.Path, help="another file for every single measurement")
    add("--chart", type=pathlib.Path, help="an SVG file to draw")
    arguments = parser.parse_args()
    arguments.binary = arguments.binary.resolve()
    arguments.base = arguments.base and arguments.base.resolve()
    for binary in filter(None, [arguments.binary, arguments.base]):
        if not binary.is_file():
            parser.error(f"{binary} is not there: cargo build --release, or give another file")
    return arguments


if __name__ == "__main__":
    main()
