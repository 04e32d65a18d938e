"""Values that are odd: far years, text that is no UTF-8, ids that are UUIDs.

A claim is a function of a new world and the tables of the plain one.
"""

import collections
import datetime
import decimal
import json
import uuid

import deltalake
import pyarrow

from by_others import by_duckdb
from world import (
    DAYS,
    ORDERS,
    SCHEMAS,
    TIMES,
    UTC,
    World,
    at,
    click,
    dt,
    ensure,
    ensure_same,
    placed,
    stored,
    table,
)

# INT96 holds nanoseconds and a day; as nanoseconds alone they end in 2262, and wrap around.
FAR = {
    "too_late": [
        datetime.datetime(1, 1, 1, tzinfo=UTC),
        datetime.datetime(1600, 2, 29, tzinfo=UTC),
    ],
    "in_the_future": [
        datetime.datetime(2300, 1, 1, tzinfo=UTC),
        datetime.datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC),
        # One turn of 2^64 nanoseconds after the landing date: wrapped, it would be a good click.
        at(2) + datetime.timedelta(microseconds=2**64 // 1000),
    ],
}
CAFE = "café".encode("latin-1")


def rejects(world):
    stored_rejects = deltalake.DeltaTable(f"{world.folder}/warehouse/clean/rejects")
    return stored_rejects.to_pyarrow_table().to_pylist()


def ensure_only_more_rejects(world, expected, more, what):
    """The plain tables, and so many rejected rows of each log and reason besides."""
    tables = world.tables()
    extra = tables["clean/rejects"] - expected["clean/rejects"]
    found = collections.Counter()
    for row, times in extra.items():
        found[tuple(dict(row)[name] for name in ("log", "reason", "row_id"))] += times
    ensure(found == collections.Counter(more), f"{what}: further rejected rows are {found}")
    ensure_same(tables | {"clean/rejects": tables["clean/rejects"] - extra}, expected, what)


def far_years(**how):
    def claim(world, expected):
        world.plain()
        more = []
        for reason, times in FAR.items():
            for time in times:
                number = 2000 + len(more) // 2
                clicks = table("clicks", rows=[click(number, time, "501")])
                orders = table("orders", rows=[placed(number, time, f"3{number}")])
                name = f"dt={dt(2)}/part-{number}.parquet"
                world.put(f"raw/clicks/{name}", stored(clicks, **how))
                world.put(f"raw/orders/{name}", stored(orders, **how))
                more += [("clicks", reason, str(number)), ("orders", reason, str(number))]
        world.backfill()
        ensure_only_more_rejects(world, expected, more, "far years")
        far = [time for times in FAR.values() for time in times]
        for row in rejects(world):
            if row["row_id"] and row["row_id"].startswith("20"):
                said = json.loads(row["record"])[TIMES[row["log"]]]
                # The last day of the calendar is kept as its beginning.
                meant = far[int(row["row_id"]) - 2000].date().isoformat()
                ensure(said.lstrip("+").startswith(meant), f"{meant} is kept as {said}")

    return claim


def not_utf8(texts):
    """A text column with bytes that are none."""
    array = pyarrow.array([text.encode() if isinstance(text, str) else text for text in texts])
    return pyarrow.Array.from_buffers(pyarrow.string(), len(array), array.buffers())


def bad_text_in_further_columns(world, expected):
    for log in SCHEMAS:
        for day in DAYS:
            rows = table(log, day)
            bad = not_utf8([CAFE + str(place).encode() for place in range(len(rows))])
            rows = rows.append_column("user_agent", bad)
            rows = rows.append_column("agents", bad.dictionary_encode())
            rows = rows.append_column("utm", pyarrow.StructArray.from_arrays([bad], ["campaign"]))
            world.put(f"raw/{log}/dt={dt(day)}/part-0.parquet", stored(rows))
    world.program("check", world.job_file)
    world.backfill()
    tables = world.tables()
    ensure_same(
        {name: rows for name, rows in tables.items() if name != "clean/rejects"},
        expected,
        "text that is no UTF-8, in further columns",
    )
    ensure(
        tables["clean/rejects"].total() == expected["clean/rejects"].total(),
        "text that is no UTF-8, in further columns: other rows are rejected",
    )
    for row in rejects(world):
        record = json.loads(row["record"])
        for text in (record["user_agent"], record["agents"], record["utm"]["campaign"]):
            ensure("caf" in text and "é" not in text, f"record of such a row: {row['record']}")


def bad_text_in(log, name, row, row_id, **how):
    """One more row, of which a known column holds a byte that is no UTF-8."""

    def claim(world, expected):
        world.plain()
        rows = table(log, rows=[row])
        place = rows.column_names.index(name)
        text = (rows.column(place).to_pylist()[0] or "").encode() + b"&q=" + CAFE
        rows = rows.set_column(place, name, not_utf8([text]))
        world.put(f"raw/{log}/dt={dt(2)}/part-1.parquet", stored(rows, **how))
        world.program("check", world.job_file)
        ended = world.backfill()
        ensure("rejected: bad_text" in ended.err, f"the summary does not count it\n{ended.err}")
        ensure_only_more_rejects(world, expected, [(log, "bad_text", row_id)], f"{name}: bad text")
        record = next(r["record"] for r in rejects(world) if r["reason"] == "bad_text")
        said = json.loads(record)[name]
        ensure("q=caf" in said and "e9" in said.lower(), f"the bytes are not escaped: {record}")

    return claim


def odd_but_valid_text(world, expected):
    """What is UTF-8 is a text like any other."""
    odd = ["a\0b", "\u202egpj", "\ufeffUS", "line\nbreak", "😀" * 50, " ", '"quoted"', "it's"]
    rows = [
        click(2000 + number, at(2), "599", country=text, device=text)
        for number, text in enumerate(odd)
    ]
    world.plain().put(f"raw/clicks/dt={dt(2)}/part-1.parquet", stored(table("clicks", rows=rows)))
    world.backfill()
    clean = deltalake.DeltaTable(f"{world.folder}/warehouse/clean/clicks").to_pyarrow_table()
    kept = {row["click_id"]: row["device"] for row in clean.to_pylist()}
    for row in rows:
        ensure(kept[row["click_id"]] == row["device"], f"{row['device']!r} is kept otherwise")


def uuids(text):
    """The same row with UUIDs for its own id, its order and its visitor."""

    def change(row):
        names = ("click_id", "event_id", "order_id", "visitor_id")
        given = {name: row[name] for name in names if row.get(name)}
        made = {name: uuid.uuid5(uuid.NAMESPACE_URL, value) for name, value in given.items()}
        return row | {name: text(value) for name, value in made.items()}

    return change


def ids_that_are_uuids(write):
    """As UUIDs they give what they give as texts."""

    def claim(world, _):
        temp, program = world.folder, world.program.path
        texts, typed = World(temp, program), World(temp, program)
        for log in SCHEMAS:
            for day in DAYS:
                rows = [uuids(str)(row) for row in table(log, day).to_pylist()]
                rows = table(log, rows=rows)
                name = f"raw/{log}/dt={dt(day)}/part-0.parquet"
                texts.put(name, stored(rows))
                typed.put(name, write(log, rows))
        texts.backfill()
        typed.backfill()
        ensure_same(typed.tables(), texts.tables(), "UUIDs")

    return claim


def pyarrow_uuids(_, rows):
    for name in {"click_id", "event_id", "order_id", "visitor_id"} & set(rows.column_names):
        place = rows.column_names.index(name)
        column = [value and uuid.UUID(value).bytes for value in rows.column(name).to_pylist()]
        typed = pyarrow.array(column, pyarrow.binary(16)).cast(pyarrow.uuid())
        rows = rows.set_column(place, name, typed)
    return stored(rows)


def duckdb_uuids(log, rows):
    names = [
        n for n in ("click_id", "event_id", "order_id", "visitor_id") if n in rows.column_names
    ]
    replaced = ", ".join(f"{name}::uuid as {name}" for name in names)
    return by_duckdb(rows=rows, **{log: f"* replace ({replaced})"})(log, None)


def quantities_that_are_not_whole(world, expected):
    """A quantity that is not whole is null; the row stays."""
    schema = ORDERS.set(ORDERS.get_field_index("quantity"), pyarrow.field("quantity", "double"))
    row = placed(2000, at(2, "20:30:00"), "32000", "598", "7", quantity=1.5)
    rows = pyarrow.Table.from_pylist([row], schema)
    world.plain().put(f"raw/orders/dt={dt(2)}/part-1.parquet", stored(rows))
    world.backfill()
    clean = deltalake.DeltaTable(f"{world.folder}/warehouse/clean/order_events").to_pyarrow_table()
    kept = {row["event_id"]: row for row in clean.to_pylist()}
    ensure("2000" in kept, "a row whose quantity is not whole is rejected")
    ensure(kept["2000"]["quantity"] is None, f"quantity 1.5 is {kept['2000']['quantity']}")
    ensure(kept["2000"]["amount"] == decimal.Decimal("7.00"), "and its amount is lost")


FOREIGN = click(2000, at(2), "501", url="https://stranger.example/?s=")
CLAIMS = {
    "far years, INT96": far_years(use_deprecated_int96_timestamps=True),
    "far years, INT96, no Arrow schema": far_years(
        use_deprecated_int96_timestamps=True, store_schema=False
    ),
    "far years, microseconds": far_years(),
    "far years, milliseconds": far_years(version="1.0"),
    "text that is no UTF-8: further columns": bad_text_in_further_columns,
    "text that is no UTF-8: country of a click": bad_text_in(
        "clicks", "country", click(2000, at(2), "501"), "2000"
    ),
    "text that is no UTF-8: country of a click, no dictionary pages": bad_text_in(
        "clicks", "country", click(2000, at(2), "501"), "2000", use_dictionary=False
    ),
    "text that is no UTF-8: country of a click, no Arrow schema": bad_text_in(
        "clicks", "country", click(2000, at(2), "501"), "2000", store_schema=False
    ),
    "text that is no UTF-8: a stranger's URL": bad_text_in("clicks", "url", FOREIGN, "2000"),
    "text that is no UTF-8: a click's id": bad_text_in(
        "clicks", "click_id", click(2000, at(2), "501"), None
    ),
    "text that is no UTF-8: the buyer of an order": bad_text_in(
        "orders", "buyer_id", placed(2000, at(2), "32000"), "2000"
    ),
    "text that is no UTF-8: the reason of an order event": bad_text_in(
        "orders", "reason", placed(2000, at(2), "32000"), "2000"
    ),
    "odd but valid texts": odd_but_valid_text,
    "pyarrow: UUIDs": ids_that_are_uuids(pyarrow_uuids),
    "duckdb: UUIDs": ids_that_are_uuids(duckdb_uuids),
    "quantities that are not whole": quantities_that_are_not_whole,
}
