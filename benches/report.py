"""What was measured, when, where and how: as a table, as Markdown and as JSON."""

import datetime
import importlib.metadata
import json
import os
import pathlib
import platform
import re
import shlex
import subprocess
import sys

from measure import HERE, apart
from tables import TABLES, row_counts

HEADS = ["work", "lookback", "DuckDB, or what it is held against", "ratio", "target", ""]
BASE_HEADS = ["work", "new", "base", "new / base", "in each round"]


def circumstances(arguments, world, script="compare.py"):
    """Taken before the first measurement: the tree may change meanwhile."""
    files = world.all_files()
    counts = apart(row_counts, files)
    size = sum(os.path.getsize(file) for names in files.values() for file in names)
    versions = {"lookback": version_of(arguments.binary)}
    if arguments.base:
        versions["base"] = f"{version_of(arguments.base)} ({arguments.base.name})"
    versions |= {name: importlib.metadata.version(name) for name in ["duckdb", "pyarrow"]}
    load = os.getloadavg()[0]
    return {
        "date": f"{datetime.datetime.now(datetime.timezone.utc):%Y-%m-%d %H:%M} UTC",
        "commit": commit(),
        "machine": f"{processor()}, {arguments.threads} of {os.cpu_count()} cores, "
        f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30:.0f} GiB of memory, "
        f"{platform.system()} {platform.release()}",
        "load before": f"{load:.1f}",
        "versions": ", ".join(f"{name} {version}" for name, version in versions.items()),
        "command": command_line(script),
        "world": f"{counts['clicks']:,} clicks and {counts['orders']:,} order events, "
        f"{size / 1e6:,.1f} MB, {len(world.landing_dates)} landing dates, report dates "
        f"{world.first} to {world.last}",
        "rounds": arguments.rounds,
    }


def version_of(binary):
    answer = subprocess.run([binary, "--version"], capture_output=True, text=True, check=True)
    return answer.stdout.split()[1]


def commit():
    """The short commit, with '+' when the tree is not as committed, results aside."""
    def git(*command):
        return subprocess.run(["git", "-C", HERE.parent, *command], capture_output=True,
                              text=True, check=True).stdout.strip()

    try:
        changes = git("status", "--porcelain", "--", ".", ":!benches/results", ":!benches/*.svg")
        return git("rev-parse", "--short", "HEAD") + ("+" if changes else "")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def processor():
    found = re.search(r"(?m)^model name\s*: (.*)$", pathlib.Path("/proc/cpuinfo").read_text())
    return found[1] if found else platform.machine()


def command_line(script):
    """As it was called, but absolute paths say nothing on another machine: only their names."""
    named = [re.sub(r"(^|=)/.*/(?=.)", r"\1", argument) for argument in sys.argv[1:]]
    return shlex.join([f"benches/{script}", *named])


def line_rows(lines):
    marks = {True: "met", False: "MISSED", None: ""}
    return [[line.work, line.lookback, line.other, f"{line.ratio:.2f}", line.target,
             marks[line.met]] for line in lines]


def table(heads, rows):
    """A Markdown table that is also readable as it stands."""
    widths = [max(len(row[i]) for row in [heads, *rows]) for i in range(len(heads))]
    body = [heads, ["-" * width for width in widths], *rows]
    return "\n".join(
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths)) + " |"
        for row in body
    )


def markdown(result, lines, base_rows):
    circumstances = result["circumstances"]
    tables = ", ".join(name.split("/")[1] for name in TABLES)
    facts = circumstances | {
        "command": f"`{circumstances['command']}`",
        "rows": f"all rows of {tables}: the same as DuckDB's in each round",
    }
    parts = [
        f"# Measured at {circumstances['commit']}",
        table(["", ""], [[name, str(value)] for name, value in facts.items()]),
        "A cell is the median; in brackets is every measurement. "
        "[What the lines mean](../README.md#what-the-lines-mean)",
        table(HEADS, line_rows(lines)),
    ]
    if base_rows:
        parts += ["## Against the base", table(BASE_HEADS, base_rows)]
    return "\n\n".join(parts) + "\n"


def write_results(folder, result, lines, base_rows):
    """DATE-COMMIT.md and .json. A later run of the same day and commit replaces them."""
    circumstances = result["circumstances"]
    folder.mkdir(parents=True, exist_ok=True)
    stem = f"{circumstances['date'].split()[0]}-{circumstances['commit']}"
    (folder / f"{stem}.md").write_text(markdown(result, lines, base_rows))
    (folder / f"{stem}.json").write_text(as_json(result))
    return folder / f"{stem}.md"


def as_json(result):
    return json.dumps(result, indent=2, ensure_ascii=False) + "\n"
