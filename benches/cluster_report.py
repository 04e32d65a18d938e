"""What cluster.py measured, as tables and in words."""

import collections
import re

import request_log
from cluster_model import (
    CORES, MACHINE, NETWORK, NIGHT, PRICE, WHOLE_NIGHT, WINDOW_DAYS, between, parts, uneven)
from fleet import cpu
from measure import shown
from report import table

# Steps shown, those that use most.
STEPS = 18


def said(run):
    """One line about one run, while the others are still to come."""
    line = "" if not run["line"] else f", {run['line'][0] * 1000:.0f} ms"
    if "failed" in run:
        return f"{size_of(run)}, {run['work']}, {who(run)}{line}: FAILED: {run['failed']}"
    return (f"{run['clicks a day']:>7,} x {run['days']} {run['work']:<24} "
            f"{run['workers']} workers{line}: {shown(run['wall'], 'wall')} on the clock, "
            f"CPU {run['driver cpu']:.1f} s + {sum(run['worker cpu']):.1f} s")


def on_bucket(world, url):
    """The world's job file with everything in a bucket."""
    text = world.text
    for name, path in [*world.job["input"].items(), ("root", "warehouse")]:
        text = re.sub(rf'(?m)^({name}\s*=\s*)"[^"]*"', rf'\1"{url}/{path}"', text)
    return text


def by_kind(requests):
    """{what: {"requests", "read", "written"}}"""
    kinds = collections.defaultdict(lambda: {"requests": 0, "read": 0, "written": 0})
    for request in requests:
        path = request["path"]
        kind = "temporary tables" if "/_lookback/scratch/" in path else request_log.what(path)
        kinds[kind]["requests"] += 1
        kinds[kind]["read"] += request["received"]
        kinds[kind]["written"] += request["sent"]
    return dict(kinds)


def mb(size):
    return f"{size / 1e6:,.1f}" if size < 1e8 else f"{size / 1e6:,.0f}"


def seconds(value):
    return f"{value:.2f}" if value < 10 else f"{value:,.1f}" if value < 1000 else f"{value:,.0f}"


def who(run):
    return "one process" if not run["workers"] else f"{run['workers']} workers".replace(
        "1 workers", "1 worker")


def size_of(run):
    return f"{run['clicks a day'] * run['days'] / 1e6:g} M clicks"


def against_one_process(model):
    heads = ["world", "work", "by", "CPU driver, s", "CPU workers, s", "s per 1 M rows",
             "× one process", "planning, s", "queries", "peak driver, MB", "peak of a worker, MB",
             "driver's link, MB", "between workers, MB", "clock × one process"]
    rows, base = [], None
    for run in model.measurements:
        if run["line"] or "S3" in run["work"] or run["days"] != model.days:
            continue
        if run["workers"] == 0:
            base = {**(base or {}), (run["clicks a day"], run["work"]): run}
        one = base[run["clicks a day"], run["work"].split(",")[0]]
        links = run["links"] and run["workers"]
        rows.append([
            size_of(run), run["work"], who(run), seconds(run["driver cpu"]),
            seconds(sum(run["worker cpu"])) if run["workers"] else "",
            seconds(cpu(run) / run["raw rows"] * 1e6),
            f"{cpu(run) / cpu(one):.2f}", seconds(run["planning"]), str(run["queries"] or ""),
            mb(run["driver memory"]),
            mb(max(run["worker memory"])) if run["workers"] else "",
            mb(sum(run["links"]["driver"].values())) if links else "",
            mb(between(run)) if links and run["workers"] > 1 else "", f"{run['wall'] / one['wall']:.2f}",
        ])
    return table(heads, rows)


def on_lines(model):
    """Hosts with a line between them."""
    runs = [run for run in model.measurements if run["line"] or "S3" in run["work"]]
    if not runs:
        return None
    middle = model.sizes[len(model.sizes) // 2]
    heads = ["work", "by", "round trip, as asked for and measured", "rate", "clock, s",
             "CPU driver, s", "CPU workers, s", "driver's link, MB", "a worker's link, MB",
             "store's link, MB", "requests", "put", "get", "most at once"]
    rows = []
    for run in runs:
        if run["clicks a day"] != middle:
            continue
        delay, rate = run["line"]
        links = {name: sum(link.values()) for name, link in run["links"].items()}
        of_workers = [size for name, size in links.items() if name.startswith("w")]
        store = run.get("store", {})
        trip = f"{delay * 1000:.0f} ms"
        trip += f", {run['round trip'] * 1000:.2f} ms" if run["round trip"] else ""
        rows.append([
            run["work"], who(run), trip, f"{rate / 1e9:.0f} Gbit/s" if rate else "bridge",
            seconds(run["wall"]), seconds(run["driver cpu"]), seconds(sum(run["worker cpu"])),
            mb(links["driver"]), mb(max(of_workers)) if of_workers else "",
            mb(links["store"]) if "store" in links else "",
            *(f"{store[name]:,}" if store else ""
              for name in ("requests", "put", "get", "most at once")),
        ])
    return table(heads, rows)


def of_store(model):
    """What the store was asked for, with no delay."""
    runs = [run for run in model.measurements if "store of" in run and not run["line"][1]]
    if not runs:
        return None
    kinds = ["raw logs", "tables", "temporary tables"]
    heads = ["world", "work", "by", "requests",
             *(f"{kind} {way}, MB" for kind in kinds for way in ("read", "written"))]
    rows = []
    for run in runs:
        counts = [run["store of"].get(kind, {"read": 0, "written": 0}) for kind in kinds]
        rows.append([size_of(run), run["work"], who(run), f"{run['store']['requests']:,}",
                     *(mb(count[way]) for count in counts for way in ("read", "written"))])
    return table(heads, rows)


def of_steps(model, work, one_work):
    """Where the CPU time of the largest world goes."""
    run = model.run(work, model.sizes[-1], 2)
    one = model.run(one_work, model.sizes[-1], 0)
    if not run or not one:
        return None
    rows = []
    for name, step in run["steps"].items():
        here = sum(step["cpu"])
        local = one["steps"].get(name, {"cpu": [0.0], "seconds": 0.0})
        workers = sum(step["cpu"][1:])
        share = max(step["cpu"][1:]) / workers if workers else 0.0
        rows.append((here, [
            name or "(between steps)", str(step["count"] or ""), seconds(sum(local["cpu"])),
            seconds(step["cpu"][0]), seconds(workers), f"{here - sum(local['cpu']):+.2f}",
            f"{share:.0%}"]))
    rows.sort(key=lambda row: -row[0])
    heads = ["step", "times", "one process, s", "driver, s", "workers, s", "more, s",
             "busiest worker"]
    return table(heads, [row for _, row in rows[:STEPS]])


def checks(model):
    found = model.checks()
    found += [check for check in [model.window_check()] if check]
    found += model.clocks()
    heads = ["work on 2 workers", "figure", "predicted", "measured", "measured / predicted"]
    return table(heads, [
        [check.work, check.figure, seconds(check.predicted), seconds(check.measured),
         f"{check.measured / check.predicted:.2f}" if check.predicted else ""]
        for check in found])


def nights(model):
    heads = ["night", "raw rows landed", "CPU one process", "its memory", "CPU divided", "CPU of single tasks",
             "CPU driver", "store and shuffles", "workers for an hour", "hours with these",
             "workers that its memory wants", "cost of a night, $"]
    rows = []
    for night in model.nights():
        count = max(night.workers or 0, night.for_memory)
        rows.append([
            f"{night.scale:,} ×", f"{night.rows / 1e6:,.1f} M", hours(night.local),
            f"{night.local_memory / 1e9:,.1f} GB", hours(night.divided), hours(night.single), hours(night.driver),
            f"{night.moved / 1e9:,.1f} GB",
            str(night.workers) if night.workers else "no number",
            f"{night.seconds(count) / 3600:.2f}", str(night.for_memory),
            f"{night.dollars(count):,.2f}",
        ])
    return table(heads, rows)


def titled(title, *parts):
    """Nothing without its parts."""
    return [title, *parts] if all(parts) and parts else []


def failures(measurements):
    """Runs without figures, and why."""
    return "\n".join(f"- {said(run)}" for run in measurements if "failed" in run)


def far(model):
    """What the longest line costs a night on S3, on the clock and so with all else that ran."""
    clock = {(bool(run["workers"]), run["line"][0]): run["wall"] for run in model.measurements
             if run["work"] == "night on S3" and run["line"]
             and run["clicks a day"] == model.sizes[len(model.sizes) // 2]}
    longest = max((delay for _, delay in clock), default=0)
    if not longest or (False, longest) not in clock:
        return ""
    more = [clock[kind, longest] - clock[kind, 0.0] for kind in (True, False)]
    return (f"{longest * 1000:.0f} ms made the night {more[0]:.1f} s longer with two workers, as if "
            f"{more[0] / longest:,.0f} answers were waited for in a row, and {more[1]:.1f} s with one "
            f"process (on the clock, with whatever else the machine did). ")


def hours(value):
    return f"{value:,.0f} s" if value < 7200 else f"{value / 3600:,.1f} h"


def in_words(model):
    """What bounds what."""
    largest = model.run(WHOLE_NIGHT, model.sizes[-1], 2)
    all_nights = model.nights()
    if not largest or not all_nights:
        return []
    single, divided = parts(largest)
    window = WINDOW_DAYS / model.days
    limit = next((night for night in all_nights if night.workers is None), None)
    hour = (f"At {limit.scale:,} × no number of workers makes the hour." if limit
            else "All nights of the table can be made in an hour.")
    alone = all_nights[-1]
    return [
        f"A night is cut into steps, and each waits for the one before. At the largest size "
        f"{single / (single + divided):.0%} of the workers' CPU time was of single tasks. The table "
        f"scales both parts with the rows, and what attribution used by {window:.1f}: a real night "
        f"has {WINDOW_DAYS} days of clicks behind it, the measured one {model.days}. {hour}",
        f"- **Single tasks.** One task writes a stored table's file of a date: all its rows go through "
        f"one encoder, and one core, however many workers there are. So do the steps that number all "
        f"their rows (placed lines, keys of buyers and visitors). At {alone.scale:,} × these are "
        f"{hours(alone.single)}. Several files for a date would help; machines do not.\n"
        f"- **Few row groups.** A file is divided between its row groups, and only above 16 MB a "
        f"partition (`[cluster] piece_mb`). So a small night runs one task after the other. In the "
        f"measured night one worker did {uneven(largest):.1f} s more than the other for this reason. "
        f"The model takes it that larger nights have more files and row groups. One large row group "
        f"for each date would make all of cleaning a single task.\n"
        f"- **The driver** plans each query on one core and sends it: "
        f"{largest['driver cpu']:.1f} s and {largest['queries']} queries at the largest size. This grows "
        f"with dates, with buckets (one for 2.5 M clicks, one for 200,000 order lines) and with "
        f"workers (+{alone.each:.2f} s for each here), hardly with rows; its memory does not grow.\n"
        f"- **The store.** Steps hand rows on as files in the warehouse's folder of temporary tables: "
        f"these are written once and read by each step, and each worker, that wants them. The model "
        f"allows {NETWORK / 1e9:g} GB/s for each worker, store and shuffles together.\n"
        f"- **Distance.** Each step waits for a few answers of the store in a row: to write, to read "
        f"footers, to read rows. {far(model)}It does not grow with rows.\n"
        f"- **Memory.** The build side of a join is whole on each worker where it is small enough to "
        f"be broadcast, such as reference tables and the lines of the run. More workers do not make "
        f"that part smaller. The column divides all memory among the workers, so take it as the least.",
        f"A worker of the model is {MACHINE}, ${PRICE} an hour, and the driver is another. S3 requests "
        f"are $0.005 per 1,000 writes and listings and $0.0004 per 1,000 reads. Its cores count as "
        f"fast as those measured on. Traffic within a zone is free; between zones it is not. The rows "
        f"from 10 × on are arithmetic: nothing of that size has run.{too_little(model)}",
    ]


def too_little(model):
    """What grew faster than the model says."""
    found = [f"{check.figure.split(',')[0]} of the {check.work} "
             f"({check.measured / check.predicted:.1f} ×)"
             for check in model.checks() if check.measured > 1.25 * check.predicted > 0]
    return f" Of the largest world the two smaller ones said too little: {'; '.join(found)}." \
        if found else ""


def markdown(facts, measurements, model):
    facts = facts | {"command": f"`{facts['command']}`"}
    parts_of_it = [
        f"# A cluster at {facts['commit']}",
        table(["", ""], [[name, str(value)] for name, value in facts.items()]),
        "[What the lines mean](../README.md#a-cluster)",
        "## One process against workers on the same cores",
        against_one_process(model),
        failures(measurements),
        *titled("## Hosts with a line between them", on_lines(model)),
        *titled("### What the store was asked for", of_store(model)),
        "## Where the CPU time goes, largest world, 2 workers",
        *titled("### A backfill", of_steps(model, "backfill", "backfill")),
        *titled("### A night, pieces of 1 MB", of_steps(model, WHOLE_NIGHT, NIGHT)),
        *titled("## A model of larger nights", *in_words(model), nights(model)),
        "### Its check: the largest world, as the two smaller ones predict it", checks(model),
    ]
    return "\n\n".join(part for part in parts_of_it if part) + "\n"
