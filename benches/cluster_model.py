"""A model of nights that are larger than what can be measured here, in plain arithmetic.

Each figure is a line over the raw rows of a landing date. The CPU time of a step that ends in one task
has two parts: two workers that share its work evenly divided it, and where one used more, the
difference is the part of one task. All other steps count as divided: that one of them ran on one worker
says that its input had few files or row groups, which larger nights have not.
"""

import dataclasses
import math
import statistics

NIGHT, WHOLE_NIGHT = "night", "night, pieces of 1 MB"
# The measured nights have so many landing dates behind them, and a real one has a window.
WINDOW_DAYS = 31
HOUR = 3600
# A worker of the model, and what an hour of it costs: list prices of us-east-1, on demand, in dollars.
CORES, MEMORY, PRICE, NETWORK = 8, 32e9, 0.4032, 0.4e9
MACHINE = "m7i.2xlarge: 8 vCPU, 32 GiB"
WRITE, READ = 0.005 / 1000, 0.0004 / 1000
# Workers that anybody would start.
MOST = 1000
# Of the memory of a worker, for tables of joins, sorts and buffers.
USABLE = 0.7
SCALES = (1, 10, 100, 1000)


# Steps that end in one task, whatever their input: one for each date's file of a stored table, and
# those that number all their rows.
ONE_TASK = {
    "clean.clicks", "clean.order_events", "clean.rejects", "attribution.conversions",
    "report.traffic", "report.orders", "report.refunds", "report.transaction_details",
    "report.unbooked_events", "attribution.placed_lines", "attribution.buyer_trails",
    "attribution.visitor_keys",
}


def line(points):
    """(intercept, slope) by least squares."""
    if len({x for x, _ in points}) < 2:
        return points[0][1], 0.0
    slope, intercept = statistics.linear_regression(*zip(*points))
    return intercept, slope


def at(fitted, x):
    return max(0.0, fitted[0] + fitted[1] * x)


def alone(name, step):
    """(seconds of one task, seconds that are divided) of a step on two workers."""
    one, other = step["cpu"][1:3]
    single = abs(one - other) if name in ONE_TASK else 0.0
    return single, one + other - single


def uneven(run):
    """Seconds by which one worker did more, in steps that are divided in larger nights."""
    return sum(abs(step["cpu"][1] - step["cpu"][2]) for name, step in run["steps"].items()
               if name not in ONE_TASK)


def times(name, window):
    """How many times as large a step is with so many times the days behind it."""
    return window if name.startswith("attribution.") else 1.0


def of_one_process(run, window):
    return sum(step["cpu"][0] * times(name, window) for name, step in run["steps"].items())


def parts(run, window=1.0):
    """(seconds of single tasks, divided seconds), with so many times the days behind it."""
    single = divided = 0.0
    for name, step in run["steps"].items():
        of_one, of_all = alone(name, step)
        single += of_one * times(name, window)
        divided += of_all * times(name, window)
    return single, divided


@dataclasses.dataclass
class Check:
    """A figure of the largest world, as the two smaller ones predict it."""

    work: str
    figure: str
    predicted: float
    measured: float


class Model:
    def __init__(self, measurements):
        self.measurements = [run for run in measurements if "failed" not in run]
        self.days = max((run["days"] for run in measurements if run["work"] == NIGHT), default=0)
        self.sizes = sorted({run["clicks a day"] for run in measurements})

    def run(self, work, clicks, workers, line_=None, days=None):
        for run in self.measurements:
            if (run["work"], run["clicks a day"], run["workers"]) == (work, clicks, workers) \
                    and run["days"] == (days or self.days) and run["line"] == line_:
                return run
        return None

    def series(self, work, workers, line_=None):
        runs = [self.run(work, clicks, workers, line_) for clicks in self.sizes]
        return [run for run in runs if run]

    def fitted(self, runs, figure):
        return line([(run["raw rows"], figure(run)) for run in runs])

    def checks(self):
        figures = [
            ("CPU of the driver, s", lambda run: run["driver cpu"]),
            ("CPU of the workers, s", lambda run: sum(run["worker cpu"])),
            ("memory of a worker, MB", lambda run: max(run["worker memory"], default=0) / 1e6),
            ("memory of the driver, MB", lambda run: run["driver memory"] / 1e6),
        ]
        if any(run["links"] for run in self.measurements):
            figures += [
                ("driver's link, MB", lambda run: sum(run["links"]["driver"].values()) / 1e6),
                ("between workers, MB", lambda run: between(run) / 1e6),
            ]
        found = []
        for work in ("backfill", NIGHT):
            for name, figure in figures:
                found += self.check(work, name, self.series(work, 2), figure)
            local = self.series(work, 0)
            found += self.check(work, "CPU of one process, s", local, lambda run: run["driver cpu"])
        on_store = [
            ("requests", lambda run: run["store"]["requests"]),
            ("temporary tables written, MB", lambda run: temporary(run, "written") / 1e6),
            ("temporary tables read, MB", lambda run: temporary(run, "read") / 1e6),
            ("read in all, MB", lambda run: run["store"]["bytes read"] / 1e6),
        ]
        for work in ("backfill on S3", "night on S3"):
            runs = [run for run in self.measurements if run["work"] == work
                    and run["workers"] == 2 and not run["line"][1]]
            for name, figure in on_store:
                found += self.check(work, name, sorted(runs, key=lambda run: run["raw rows"]),
                                    figure)
        return found

    def check(self, work, name, runs, figure):
        if len(runs) < 3:
            return []
        predicted = at(self.fitted(runs[:-1], figure), runs[-1]["raw rows"])
        return [Check(work, name, predicted, figure(runs[-1]))]

    def window_check(self):
        """The night with a whole window behind it, as the short nights predict its CPU time."""
        runs = [run for run in self.measurements
                if run["work"] == WHOLE_NIGHT and run["days"] != self.days]
        short = self.run(WHOLE_NIGHT, self.sizes[0], 2)
        if not runs or not short:
            return None
        window = WINDOW_DAYS / self.days
        return Check("night after 40 days", "CPU of the workers, s",
                     sum(parts(short, window)), sum(runs[0]["worker cpu"]))

    def clocks(self):
        """What the model says of the clock of the nights that were measured, on one core each."""
        for run in self.series(WHOLE_NIGHT, 2):
            single, divided = parts(run)
            yield Check(f"night, {run['clicks a day']:,} clicks", "clock, s",
                        run["driver cpu"] + single + divided / 2, run["wall"])

    def nights(self):
        """Larger nights, the largest measured one first."""
        runs = self.series(WHOLE_NIGHT, 2)
        if len(runs) < 3:
            return []
        window = WINDOW_DAYS / self.days
        on_store = sorted((run for run in self.measurements if run["work"] == "night on S3"
                           and run["workers"] == 2 and not run["line"][1]),
                          key=lambda run: run["raw rows"])
        by_workers = [(run["workers"], run["driver cpu"]) for run in self.measurements
                      if run["work"] == NIGHT and run["workers"]
                      and run["clicks a day"] == self.sizes[-1] and run["days"] == self.days]
        figures = {
            "single": self.fitted(runs, lambda run: parts(run, window)[0]),
            "divided": self.fitted(runs, lambda run: parts(run, window)[1]),
            "driver": self.fitted(runs, lambda run: run["driver cpu"]),
            "memory": self.fitted(runs, lambda run: 2 * max(run["worker memory"])),
            "local memory": self.fitted(self.series(NIGHT, 0), lambda run: run["driver memory"]),
            "local": self.fitted(self.series(NIGHT, 0), lambda run: of_one_process(run, window)),
            "shuffled": self.fitted(runs, between) if runs[0]["links"] else (0.0, 0.0),
        }
        of_store = {"bytes": ("bytes read", "bytes written"), "writes": ("put", "list"),
                    "reads": ("get", "head")}
        for name, counted in of_store.items():
            figures[name] = (0.0, 0.0) if len(on_store) < 2 else self.fitted(
                on_store, lambda run, counted=counted: sum(run["store"][one] for one in counted))
        # Nearly all that a night reads lies behind it.
        figures["bytes"] = tuple(window * figure for figure in figures["bytes"])
        each = max(0.0, line(by_workers)[1])
        return [Night(scale, runs[-1]["raw rows"] * scale, figures, each) for scale in SCALES]


class Night:
    """A night of so many raw rows: seconds of CPU, bytes, requests. `each` is what a worker more costs
    the driver."""

    def __init__(self, scale, rows, figures, each):
        self.scale, self.rows, self.each = scale, rows, each
        for name, fitted in figures.items():
            setattr(self, name.replace(" ", "_"), at(fitted, rows))
        self.moved = self.bytes + self.shuffled
        self.for_memory = max(2, math.ceil(self.memory / (MEMORY * USABLE)))
        # As few workers as make the hour; None if none do.
        self.workers = next((count for count in range(2, MOST) if self.seconds(count) <= HOUR), None)

    def seconds(self, workers):
        """What no worker makes shorter, and what they share."""
        alone = self.single + self.driver + self.each * (workers - 2)
        return alone + max(self.divided / (CORES * workers), self.moved / (NETWORK * workers))

    def dollars(self, workers):
        machines = self.seconds(workers) / HOUR * PRICE * (workers + 1)
        return machines + self.writes * WRITE + self.reads * READ


def between(run):
    """Bytes that workers sent each other."""
    sent = sum(link["sent"] for name, link in run["links"].items() if name.startswith("w"))
    return sent - run["links"]["driver"]["received"]


def temporary(run, way):
    return run["store of"].get("temporary tables", {}).get(way, 0)
