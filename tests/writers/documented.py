"""Each example of docs/own-logs.md is run: logs are made as it tells, and give the plain tables.

A claim is a function of a new world.
"""

import datetime
import pathlib
import re
import tomllib

import pyarrow

from companies import as_numbers, structs
from world import DAYS, SCHEMAS, World, dt, ensure, ensure_same, stored, table

PAGE = pathlib.Path(__file__).parents[2] / "docs/own-logs.md"


def examples():
    """The TOML blocks of the page, each with the SQL blocks that follow it, by name."""
    found = []
    for language, text in re.findall(r"^```(toml|sql)\n(.*?)^```$", PAGE.read_text(), re.M | re.S):
        if language == "toml":
            found.append((text, {}))
        else:
            found[-1][1][re.match(r"-- (\S+)\n", text)[1]] = text
    return found


def nested_lines(rows):
    """Each row as an order with one line in it."""
    line = [name for name in ("event_id", "line_id", "amount") if name in rows.column_names]
    items = rows.select(line).to_struct_array().combine_chunks()
    offsets = pyarrow.array(range(len(rows) + 1), pyarrow.int32())
    lists = pyarrow.ListArray.from_arrays(offsets, items)
    return rows.drop_columns(line).append_column("items", lists)


# What the rows of a view's log look like before it.
BEFORE = {
    "views/clicks.sql": lambda rows: as_numbers(rows, "clicks", "ms"),
    "views/lines.sql": nested_lines,
}


def files_of(source, rows, day):
    """A landing date's files, as the source tells it."""
    layout, suffix = source.get("layout", "dt=%Y-%m-%d"), source.get("suffix", ".parquet")
    rows = structs(rows, source.get("columns", {}))
    rows = BEFORE.get(source.get("view"), lambda rows: rows)(rows)
    hours = {9: rows, 23: rows.slice(0, 0)} if "%H" in layout else {0: rows}
    for hour, part in hours.items():
        folder = datetime.datetime(2026, 4, day, hour).strftime(layout)
        yield f"{source['path']}/{folder}/part-{hour}{suffix}", stored(part)
        if "marker" in source:
            yield f"{source['path']}/{folder}/{source['marker']}", b""


def without_what_a_view_forgets(rows, sources):
    """Columns that the example's view does not name are null in the plain world, too."""
    if any(source.get("view") == "views/lines.sql" for source in sources):
        kept = {*"event_type event_at order_id buyer_id store_id currency".split()}
        kept |= {"event_id", "line_id", "amount"}
        for place, field in enumerate(rows.schema):
            if field.name not in kept:
                rows = rows.set_column(place, field, pyarrow.nulls(len(rows), field.type))
    return rows


def example(text, views):
    def claim(world):
        told = tomllib.loads(text)["input"]
        plain = World(world.folder, world.program.path)
        keys = ""
        for log in SCHEMAS:
            sources = told.get(log)
            if sources is None:
                keys += f'{log} = "raw/{log}"\n'
                world.plain(log)
                plain.plain(log)
                continue
            sources = sources if isinstance(sources, list) else [sources]
            for day in DAYS:
                rows = without_what_a_view_forgets(table(log, day), sources)
                plain.put(f"raw/{log}/dt={dt(day)}/part-0.parquet", stored(rows))
                half = -(-len(rows) // len(sources))
                for number, source in enumerate(sources):
                    for name, content in files_of(source, rows.slice(number * half, half), day):
                        world.put(name, content)
        for name, sql in views.items():
            world.put(name, sql.encode())
        world.job(f"{keys}\n{text}")
        world.program("check", world.job_file)
        world.backfill()
        plain.backfill()
        ensure_same(world.tables(), plain.tables(), f"docs/own-logs.md:\n{text}")

    return claim


def claims():
    """All examples but that of the refunds, which wide_tables.py has."""
    found = [(text, views) for text, views in examples() if "wide_orders.sql" not in text]
    ensure(len(found) == 8, f"{PAGE} has {len(found)} examples that stand for themselves")
    return {
        f"docs/own-logs.md, example {number}": example(text, views)
        for number, (text, views) in enumerate(found, 1)
    }


CLAIMS = claims()
