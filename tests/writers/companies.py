"""Companies, each with the plain rows in a shape of its own: names, structs, folders, views.

Each has a function that puts its logs into a world, and says in the words of a job file how to read
them. Nothing else is known of them, here or there.
"""

import dataclasses
import datetime
import pathlib

import deltalake
import pyarrow

from world import DAYS, ORDERS, SCHEMAS, TIMES, dt, stored, table

VIEWS = pathlib.Path(__file__).parents[2] / "jobs/views"


@dataclasses.dataclass
class Company:
    """`inputs`: what its job file says of the logs. `left_out`: reasons for which the plain rows
    are rejected, but which its view lets not come that far. `says`, `summary`: what `check` and the
    summary of the run have to name."""

    put: object
    inputs: str
    views: dict = dataclasses.field(default_factory=dict)
    own_names: dict = dataclasses.field(default_factory=dict)
    left_out: tuple = ()
    says: tuple = ()
    summary: tuple = ()

    def move_in(self, world):
        self.put(world)
        for name, text in self.views.items():
            world.put(name, text.encode())
        return world.job(self.inputs)


def renamed(rows, names):
    return rows.rename_columns([names.get(name, name) for name in rows.column_names])


def put_daily(world, log, change, folder="dt=%Y-%m-%d", name="part-0.parquet", **how):
    for day in DAYS:
        place = datetime.date(2026, 4, day).strftime(folder)
        world.put(f"raw/{log}/{place}/{name}", stored(change(table(log, day)), **how))


def put_hourly(world, log, folder, name, **how):
    """The rows in three of the hours. The last hour has a file, if one without rows."""
    for day in DAYS:
        rows = table(log, day)
        third = len(rows) // 3
        parts = {
            0: rows.slice(0, third),
            7: rows.slice(third, third),
            12: rows.slice(2 * third),
            23: rows.slice(0, 0),
        }
        for hour, part in parts.items():
            place = datetime.datetime(2026, 4, day, hour).strftime(folder)
            world.put(f"raw/{log}/{place}/{name.format(hour)}", stored(part, **how))


def structs(rows, shape):
    """Columns moved into structs: `shape` names theirs as a.b.c for each of ours."""
    columns = {}
    for ours in rows.column_names:
        *outer, name = shape.get(ours, ours).split(".")
        level = columns
        for step in outer:
            level = level.setdefault(step, {})
        level[name] = rows.column(ours).combine_chunks()
    return pyarrow.table({name: as_column(column) for name, column in columns.items()})


def as_column(column):
    if not isinstance(column, dict):
        return column
    parts = {name: as_column(part) for name, part in column.items()}
    return pyarrow.StructArray.from_arrays(list(parts.values()), list(parts))


def columns_of(names):
    """As a job file has them."""
    return ", ".join(f'{ours} = "{theirs}"' for ours, theirs in names.items())


# A company that calls everything otherwise.
OTHER_CLICKS = {
    "click_id": "id",
    "clicked_at": "Event Time",
    "url": "landing_page",
    "buyer_id": "customerId",
    "visitor_id": "cookie",
    "store_id": "shop",
    "country": "geo",
}
OTHER_ORDERS = {
    "event_id": "uuid",
    "event_type": "status",
    "event_at": "changed_on",
    "order_id": "order_no",
    "line_id": "pos",
    "buyer_id": "customer",
    "store_id": "shop",
    "amount": "net_total",
    "currency": "iso4217",
    "quantity": "pieces",
}


def put_other_names(world):
    put_daily(world, "clicks", lambda rows: renamed(rows, OTHER_CLICKS))
    put_daily(world, "orders", lambda rows: renamed(rows, OTHER_ORDERS))


OTHER_NAMES = Company(
    put_other_names,
    f"""
[input.clicks]
path = "raw/clicks"
columns = {{ {columns_of(OTHER_CLICKS)} }}

[input.orders]
path = "raw/orders"
columns = {{ {columns_of(OTHER_ORDERS)} }}
""",
    own_names={"clicks": OTHER_CLICKS.values(), "orders": OTHER_ORDERS.values()},
    says=("Event Time", "landing_page", "iso4217"),
)

# An event collector that nests.
NESTED = {
    "click_id": "event.id",
    "clicked_at": "event.time",
    "url": "context.page.url",
    "buyer_id": "user.id",
    "visitor_id": "user.anonymous_id",
    "store_id": "context.page.store",
    "product_id": "context.page.product",
    "country": "context.geo.country",
    "device": "context.device",
}
NESTED_ORDERS = {
    "event_id": "meta.event_id",
    "event_at": "meta.at",
    "amount": "price.net",
    "currency": "price.currency",
    "buyer_id": "user.id",
}


def put_structs(world):
    def change(rows):
        # A column whose name has a dot goes before a step into a struct.
        rows = structs(rows, NESTED_ORDERS)
        user = rows.column("user").combine_chunks()
        wrong = pyarrow.StructArray.from_arrays([pyarrow.nulls(len(user), "string")], ["id"])
        place = rows.column_names.index("user")
        rows = rows.set_column(place, "user", wrong)
        return rows.append_column("user.id", user.field("id"))

    put_daily(world, "clicks", lambda rows: structs(rows, NESTED))
    put_daily(world, "orders", change)


STRUCTS = Company(
    put_structs,
    f"""
[input.clicks]
path = "raw/clicks"
columns = {{ {columns_of(NESTED)} }}

[input.orders]
path = "raw/orders"
columns = {{ {columns_of(NESTED_ORDERS)} }}
""",
    own_names={"clicks": ("event", "user", "context"), "orders": ("meta", "price", "user.id")},
    says=("context.page.url", "user.anonymous_id"),
)

# Amazon Data Firehose: folders by hour below a prefix.
FIREHOSE = Company(
    lambda world: [
        put_hourly(
            world, log, "%Y/%m/%d/%H", f"{log}-stream-1-{{:02}}-8d4a.parquet", compression="snappy"
        )
        for log in SCHEMAS
    ],
    """
[input.clicks]
path = "raw/clicks"
layout = "%Y/%m/%d/%H"

[input.orders]
path = "raw/orders"
layout = "%Y/%m/%d/%H"
""",
    says=("%Y/%m/%d/%H",),
)

# Kafka Connect's S3 sink with its TimeBasedPartitioner.
KAFKA_CONNECT = Company(
    lambda world: [
        put_hourly(
            world,
            log,
            "topic/year=%Y/month=%m/day=%d/hour=%H",
            f"{log}+0+00000000{{:02}}.snappy.parquet",
            compression="snappy",
        )
        for log in SCHEMAS
    ],
    """
[input.clicks]
path = "raw/clicks/topic"
layout = "year=%Y/month=%m/day=%d/hour=%H"
suffix = ".snappy.parquet"

[input.orders]
path = "raw/orders/topic"
layout = "year=%Y/month=%m/day=%d/hour=%H"
suffix = ".snappy.parquet"
""",
    says=("year=%Y/month=%m/day=%d/hour=%H",),
)


def put_two_sources(world):
    """The site's clicks as they are, the app's under other names and in other folders."""
    for day in DAYS:
        rows = table("clicks", day)
        web, app = rows.slice(0, len(rows) // 2), rows.slice(len(rows) // 2)
        world.put(f"raw/web/dt={dt(day)}/part-0.parquet", stored(web))
        place = f"raw/app/{dt(day).replace('-', '')}"
        world.put(f"{place}/part-0.parquet", stored(renamed(app, OTHER_CLICKS)))
    world.plain("orders")


TWO_SOURCES = Company(
    put_two_sources,
    f"""
orders = "raw/orders"

[[input.clicks]]
path = "raw/web"

[[input.clicks]]
path = "raw/app"
layout = "%Y%m%d"
columns = {{ {columns_of(OTHER_CLICKS)} }}
""",
    says=("%Y%m%d", "landing_page"),
)


def put_names_without_ending(world):
    """As Athena and Hive name files. What begins with _ or . is none of them."""
    for log, name in (("clicks", "20260402_093210_00037_v74wa_1ad6f92e"), ("orders", "000000_0")):
        put_daily(world, log, lambda rows: rows, name=name, compression="gzip")
        put_daily(world, log, lambda rows: rows, name="_copy")
        put_daily(world, log, lambda rows: rows, name=f".{name}")


NO_ENDING = Company(
    put_names_without_ending,
    """
[input.clicks]
path = "raw/clicks"
suffix = ""

[input.orders]
path = "raw/orders"
suffix = ""
""",
)


def put_marked(world):
    put_daily(world, "clicks", lambda rows: rows, folder="day=%d/month=%m/year=%Y")
    put_daily(world, "orders", lambda rows: rows, folder="%Y-%m-%d")
    for day in DAYS:
        world.put(f"raw/clicks/day={day:02}/month=04/year=2026/_SUCCESS", b"")
        world.put(f"raw/orders/{dt(day)}/complete.txt", b"")


MARKED = Company(
    put_marked,
    """
[input.clicks]
path = "raw/clicks"
layout = "day=%d/month=%m/year=%Y"
marker = "_SUCCESS"

[input.orders]
path = "raw/orders"
layout = "%Y-%m-%d"
marker = "complete.txt"
""",
)


def put_page_views(world):
    """Many pages, some of them landed on by a promotion link."""
    names = {
        "click_id": "view_id",
        "clicked_at": "viewed_at",
        "url": "page_url",
        "buyer_id": "user_id",
        "visitor_id": "cookie_id",
        "store_id": "shop_id",
        "product_id": "sku",
        "country": "geo_country",
        "device": "device_type",
    }

    def change(rows):
        others = [
            row | {"click_id": f"8{number}", "url": f"https://shop.example/p/{number}"}
            for number, row in enumerate(rows.to_pylist())
        ]
        rows = pyarrow.concat_tables([table("clicks", rows=others), rows])
        return renamed(rows, names).append_column("title", pyarrow.array(["t"] * len(rows)))

    put_daily(world, "clicks", change)
    world.plain("orders")


PAGE_VIEWS = Company(
    put_page_views,
    """
orders = "raw/orders"

[input.clicks]
path = "raw/clicks"
view = "views/page_views.sql"
""",
    views={"views/page_views.sql": (VIEWS / "page_views.sql").read_text()},
    own_names={"clicks": ("view_id", "page_url", "title")},
    left_out=("not_a_promotion_link",),
    says=("views/page_views.sql",),
    # So many rows go in, and so many come out.
    summary=("32", "14"),
)


def as_numbers(rows, log, unit):
    """Times as a count of units since 1970."""
    place = rows.column_names.index(TIMES[log])
    times = rows.column(place).cast(pyarrow.timestamp(unit, tz="UTC")).cast(pyarrow.int64())
    return rows.set_column(place, "ts", times)


def put_numbers_for_times(world):
    put_daily(world, "clicks", lambda rows: as_numbers(rows, "clicks", "ms"))
    put_daily(world, "orders", lambda rows: as_numbers(rows, "orders", "s"))


NUMBERS_FOR_TIMES = Company(
    put_numbers_for_times,
    """
[input.clicks]
path = "raw/clicks"
view = "clicks.sql"

[input.orders]
path = "raw/orders"
view = "orders.sql"
""",
    views={
        "clicks.sql": "select *, to_timestamp_millis(ts) as clicked_at from raw",
        "orders.sql": "select *, to_timestamp_seconds(ts) as event_at from raw",
    },
    own_names={"clicks": ("ts",), "orders": ("ts",)},
)
LINE = ("event_id", "line_id", "amount", "product_id", "category_id", "quantity")


def put_nested_lines(world):
    """One row per order and what happened to it, the lines within."""

    def change(rows):
        orders = {}
        for row in rows.to_pylist():
            key = {name: value for name, value in row.items() if name not in LINE}
            line = {name: row[name] for name in LINE}
            orders.setdefault(tuple(key.items()), []).append(line)
        documents = [{**dict(key), "lines": lines} for key, lines in orders.items()]
        line = pyarrow.struct([ORDERS.field(name) for name in LINE])
        kept = [field for field in ORDERS if field.name not in LINE]
        schema = pyarrow.schema([*kept, pyarrow.field("lines", pyarrow.list_(line))])
        return pyarrow.Table.from_pylist(documents, schema)

    world.plain("clicks")
    put_daily(world, "orders", change)


NESTED_LINES = Company(
    put_nested_lines,
    """
clicks = "raw/clicks"

[input.orders]
path = "raw/orders"
view = "lines.sql"
""",
    views={
        "lines.sql": f"""\
-- Orders with their lines nested: a row per line.
with lines as (select *, unnest(lines) as line from raw)
select
    event_type, event_at, order_id, buyer_id, store_id, currency, country, reason, visitor_id,
    {", ".join(f"line['{name}'] as {name}" for name in LINE)}
from lines
"""
    },
    own_names={"orders": ("lines", "order_id")},
)


def put_delta_tables(world):
    """Logs that are Delta tables, with what their writers have removed still there."""
    for log in SCHEMAS:
        place = str(world.folder / "raw" / log)
        for day in DAYS:
            rows = table(log, day)
            date = pyarrow.array([datetime.date(2026, 4, day)] * len(rows))
            rows = rows.append_column("dt", date)
            removed = pyarrow.array(["removed"] * len(rows))
            changed = rows.set_column(0, rows.column_names[0], removed)
            deltalake.write_deltalake(place, changed, mode="append", partition_by=["dt"])
            deltalake.write_deltalake(
                place, rows, mode="overwrite", predicate=f"dt = '{dt(day)}'", partition_by=["dt"]
            )
    # Small files made one: the small ones are still there.
    clicks = deltalake.DeltaTable(str(world.folder / "raw/clicks"))
    more = table("clicks", rows=[]).append_column("dt", pyarrow.array([], pyarrow.date32()))
    deltalake.write_deltalake(clicks, more, mode="append")
    clicks.optimize.compact()


DELTA_TABLES = Company(put_delta_tables, '\nclicks = "raw/clicks"\norders = "raw/orders"\n')


def put_everything(world):
    """Hours, own names, structs, two sources and a codec for each day, all at once."""
    for day, codec in zip(DAYS, ("brotli", "gzip", "zstd")):
        rows = structs(table("clicks", day), NESTED)
        for hour, part in ((3, rows.slice(0, 2)), (23, rows.slice(2))):
            place = f"raw/web/2026/04/{day:02}/{hour:02}"
            world.put(f"{place}/{hour}.parquet", stored(part, compression=codec))
        empty = renamed(table("clicks", rows=[]), OTHER_CLICKS)
        world.put(f"raw/app/dt={dt(day)}/part", stored(empty))
    put_daily(world, "orders", lambda rows: as_numbers(rows, "orders", "us"), compression="lz4")


EVERYTHING = Company(
    put_everything,
    f"""
[[input.clicks]]
path = "raw/web"
layout = "%Y/%m/%d/%H"
columns = {{ {columns_of(NESTED)} }}

[[input.clicks]]
path = "raw/app"
suffix = ""
columns = {{ {columns_of(OTHER_CLICKS)} }}

[input.orders]
path = "raw/orders"
view = "orders.sql"
""",
    views={"orders.sql": "select *, to_timestamp_micros(ts) as event_at from raw"},
)

COMPANIES = {
    "column names of its own": OTHER_NAMES,
    "structs": STRUCTS,
    "Firehose, by hour": FIREHOSE,
    "Kafka Connect, by hour": KAFKA_CONNECT,
    "two click sources": TWO_SOURCES,
    "file names without an ending": NO_ENDING,
    "markers": MARKED,
    "page views": PAGE_VIEWS,
    "times as numbers": NUMBERS_FOR_TIMES,
    "order lines within an order": NESTED_LINES,
    "Delta tables": DELTA_TABLES,
    "everything at once": EVERYTHING,
}
