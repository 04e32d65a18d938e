"""Lines that are measured only when asked for: all dates, growth, skew and scale."""

import shutil
import statistics

from measure import Line, apart, shown
from worlds import ONE_DAY, World, demo_world, write_skewed_world


def all_dates(bench):
    """Is peak memory flat in the number of dates?"""
    world = bench.world
    job = bench.fresh_job("all")
    bench.keep("all lookback", bench.lookback(job, "backfill", "--from", world.first,
                                              "--to", world.last))
    shutil.rmtree(bench.scratch / "all")
    dates = (world.last - world.first).days + 1
    return [bench.line(f"peak memory of all {dates} dates against {bench.arguments.dates}", "memory",
                       "all lookback", "backfill lookback", times=1.15, below=1.5e9,
                       target="1.5 GB, 1.15 ×")]


def growth(bench):
    """The nights of a week after 60, 200 and 400 days of history, all alike."""
    arguments = bench.arguments
    world = demo_world(arguments, "growth", 430, arguments.clicks_per_day // 25,
                       arguments.orders_per_day // 25)
    job = bench.fresh_job("growing", world)
    begin = world.first
    for history in [60, 200, 400]:
        week = [world.first + (history - history % 7 + day) * ONE_DAY for day in range(7)]
        evening = week[0] - ONE_DAY
        bench.lookback(job, "backfill", "--from", begin, "--to", evening,
                       "--as-of", world.utc_dates(evening)[1])
        for night in week:
            bench.keep(f"night after {history} days", bench.lookback(
                job, "run", "--date", night, "--as-of", world.utc_dates(night)[1]))
        begin = week[-1] + ONE_DAY
    shutil.rmtree(bench.scratch / "growing")
    few, some, many = (f"night after {history} days" for history in [60, 200, 400])
    return [
        bench.line("a small night after 400 days against 60", "wall", many, few, times=1.15),
        bench.line("a small night after 400 days against 60: CPU time", "cpu", many, few),
        bench.line("a small night after 400 days against 200", "wall", many, some),
    ]


def skew(bench):
    """One buyer with a million clicks and 10,000 orders, and the same rows among 10,000."""
    buyers = {"one": 1, "many": 10_000}
    for name, count in buyers.items():
        apart(write_skewed_world, str(bench.scratch / f"skew-{name}"), count)
    for number in range(bench.arguments.rounds):
        for name in buyers if number % 2 == 0 else reversed(buyers):
            world = World(bench.scratch / f"skew-{name}")
            job = bench.fresh_job("skewed", world)
            bench.keep(f"skew {name}", bench.lookback(job, "backfill", "--from", world.first,
                                                      "--to", world.last))
    return [bench.line("1,000,000 clicks of one buyer against 10,000 buyers", "wall", "skew one",
                       "skew many", times=2)]


def scale(bench):
    """The backfill of worlds with an eighth, a quarter, half and all of the rows: is its time a
    line?"""
    arguments = bench.arguments
    sizes, seconds, lines = [], [], []
    for part in [8, 4, 2, 1]:
        clicks = arguments.clicks_per_day // part
        world = demo_world(arguments, "world", arguments.days, clicks,
                           arguments.orders_per_day // part)
        first, last = world.last_dates(arguments.dates)
        name = f"scale 1/{part}"
        for _ in range(arguments.rounds):
            job = bench.fresh_job("scaled", world)
            bench.keep(name, bench.lookback(job, "backfill", "--from", first, "--to", last))
        sizes.append(clicks * arguments.days / 1e6)
        seconds.append(bench.median(name, "wall"))
        lines.append(Line(f"scale, {sizes[-1]:.1f} million clicks: time and memory",
                          bench.shown(name, "wall"), bench.shown(name, "memory"),
                          seconds[-1] / seconds[0]))
    shutil.rmtree(bench.scratch / "scaled")
    slope, fixed = statistics.linear_regression(sizes, seconds)
    for times in [10, 100]:
        expected = fixed + slope * sizes[-1] * times
        lines.append(Line(f"scale, {times} times as many, by the line", shown(expected, "wall"),
                          f"{fixed:.1f} s + {slope:.2f} s per million", expected / seconds[-1]))
    return lines
