"""The plain world: a few clicks and orders, as simply stored as can be, and the tables they give.

Three landing dates. Ann and Bob own a link each; buyers 501 and 502 click and buy. Each reason for
which a row is rejected occurs, and so does each kind of duplicate. All times are whole seconds and
all ids are numbers, so that every type can hold them; the amounts of 1 April are whole.
"""

import collections
import contextlib
import datetime
import decimal
import io
import json
import pathlib
import shutil
import sys
import tempfile

import deltalake
import pyarrow
import pyarrow.parquet

HERE = pathlib.Path(__file__).parent
sys.path += [str(HERE.parent / "stores"), str(HERE.parent / "readers")]
import same_rows  # noqa: E402, lies in another folder
from program import Program, ensure  # noqa: E402, lies in another folder

UTC = datetime.timezone.utc
DAYS = (1, 2, 3)
TABLES = [name for name in same_rows.TABLES if not name.startswith("reference/")]
MICROS = pyarrow.timestamp("us", tz="UTC")


def at(day, clock="12:00:00"):
    return datetime.datetime.fromisoformat(f"2026-04-{day:02}T{clock}+00:00")


def dt(day):
    return f"2026-04-{day:02}"


def url(key):
    return f"https://s.click.aliexpress.com/e/{key}?af=1"


def click(number, time, buyer, key="_ann", **more):
    row = {
        "click_id": str(number),
        "clicked_at": time,
        "url": url(key),
        "buyer_id": buyer,
        "visitor_id": None,
        "store_id": "77",
        "product_id": "5001",
        "country": "US",
        "device": "app",
    }
    return row | more


def event(number, kind, time, order, line="1", **more):
    row = dict.fromkeys(ORDERS.names) | {
        "event_id": str(number),
        "event_type": kind,
        "event_at": time,
        "order_id": order,
        "line_id": line,
    }
    return row | more


def placed(number, time, order, buyer="501", amount="100", **more):
    bought = {
        "buyer_id": buyer,
        "store_id": "77",
        "amount": decimal.Decimal(amount),
        "currency": "USD",
        "product_id": "5001",
        "category_id": "12",
        "quantity": 1,
        "country": "US",
    }
    return event(number, "placed", time, order, **(bought | more))


def refunded(number, time, order, amount, **more):
    return event(number, "refunded", time, order, amount=decimal.Decimal(amount), **more)


def fields(names, **types):
    return pyarrow.schema([(name, types.get(name, pyarrow.string())) for name in names.split()])


CLICKS = fields(
    "click_id clicked_at url buyer_id visitor_id store_id product_id country device",
    clicked_at=MICROS,
)
ORDERS = fields(
    "event_id event_type event_at order_id line_id buyer_id store_id amount currency product_id"
    " category_id quantity country reason visitor_id",
    event_at=MICROS,
    amount=pyarrow.decimal128(18, 4),
    quantity=pyarrow.int64(),
)
SCHEMAS = {"clicks": CLICKS, "orders": ORDERS}
TIMES = {"clicks": "clicked_at", "orders": "event_at"}

TWICE = click(1001, at(1, "08:00:00"), "501")
PLACED_TWICE = placed(9004, at(2), "20002", "502", "19.99")
ROWS = {
    "clicks": {
        1: [
            TWICE,
            TWICE,
            click(1002, at(1, "09:00:00"), "502", "_bob"),
            click(1003, at(1, "23:30:00"), "501", "_bob", store_id="78", product_id=None),
            click(1004, at(1, "10:00:00"), "501", url="https://shop.example/p/5001"),
        ],
        2: [
            TWICE | {"device": "mobile"},
            click(1005, at(2, "10:00:00"), "502", country=None),
            click(1006, at(2, "11:00:00"), None, visitor_id="31"),
            click(1007, at(2, "11:30:00"), "501", "_nobody"),
            click(1008, at(2, "11:40:00"), "501", url=None),
            click(1009, at(2, "11:50:00"), "501", clicked_at=None),
            click(1010, at(2, "11:55:00"), "501", click_id=None),
        ],
        3: [
            click(1011, at(3, "07:00:00"), "501", device=None),
            click(1012, at(3, "08:00:00") - datetime.timedelta(days=4), "501"),
            click(1013, at(5, "08:00:00"), "501"),
            click(1014, at(1, "20:00:00"), "502", "_ann"),
        ],
    },
    "orders": {
        1: [
            placed(9001, at(1), "20001"),
            event(9002, "paid", at(1, "12:05:00"), "20001"),
            placed(9003, at(1, "13:00:00"), "20004", amount="55", product_id=None, store_id="79"),
            placed(9017, at(1, "14:00:00"), "20005", amount="-5"),
        ],
        2: [
            PLACED_TWICE,
            PLACED_TWICE,
            event(9005, "paid", at(2, "12:01:00"), "20002"),
            placed(9006, at(2, "13:00:00"), "20003", amount="250.5", quantity=3, line_id="2"),
            event(9007, "completed", at(2, "18:00:00"), "20001"),
            event(9008, "shipped", at(2, "18:00:00"), "20001"),
            event(9009, "paid", at(2, "18:01:00"), None),
            placed(9010, at(2, "18:02:00"), "20006", None),
            placed(9011, at(2, "18:03:00"), "20007", store_id=None),
            placed(9012, at(2, "18:04:00"), "20008", currency="ZZZ"),
            placed(9013, at(2, "20:00:00"), "20009", "31", "12.34", visitor_id="31"),
        ],
        3: [
            refunded(9014, at(3, "09:00:00"), "20001", "40.25", reason="broken"),
            refunded(9015, at(3, "09:30:00"), "20002", "19.99", currency="USD"),
            refunded(9016, at(3, "09:40:00"), "20002", "0"),
            event(9018, "cancelled", at(3, "10:00:00"), "20003", line="2"),
            event(9019, "paid", at(3, "10:10:00"), "20099"),
            event(9020, "paid", at(3, "10:20:00"), "20004", event_id=None),
            event(9021, "paid", at(3, "10:30:00"), "20004", event_at=None),
            event(9022, "paid", at(7, "10:40:00"), "20004"),
            PLACED_TWICE | {"quantity": None},
        ],
    },
}

REFERENCE = {
    "links.csv": """\
link_key,publisher_id,tracking_id,valid_from,valid_to
_ann,ann,t1,,
_bob,bob,,2026-01-01T00:00:00Z,
""",
    "stores.csv": "store_id,joined_at,left_at\n77,2025-01-01,\n78,,\n",
    "rates.csv": """\
scope,scope_id,store_id,rate,valid_from,valid_to
category,12,,0.07,,
product,5001,77,0.1,,
""",
}

PLAIN = """\
clicks = "raw/clicks"
orders = "raw/orders"
"""
JOB = """\
[input]
links = "{reference}/links.csv"
stores = "{reference}/stores.csv"
rates = "{reference}/rates.csv"
{inputs}
[output]
root = "{root}"

[program]
default_rate = "0.03"

[links]
formats = ['^https?://s\\.click\\.aliexpress\\.com/e/([0-9A-Za-z_-]+)']
"""


def table(log, day=None, rows=None):
    """A landing date's rows, or others, with the plain types."""
    rows = ROWS[log][day] if rows is None else rows
    return pyarrow.Table.from_pylist(rows, SCHEMAS[log])


def stored(rows, **how):
    """The bytes of a Parquet file, as pyarrow writes it."""
    file = io.BytesIO()
    pyarrow.parquet.write_table(rows, file, **how)
    return file.getvalue()


def with_types(rows, what, kind):
    """The table with another type of the columns for whose type `what` holds."""
    for place, field in enumerate(rows.schema):
        if what(field.type):
            rows = rows.set_column(place, field.name, rows.column(place).cast(kind))
    return rows


class World:
    """A folder with reference tables, raw logs and a job file."""

    def __init__(self, temp, program):
        self.folder = pathlib.Path(tempfile.mkdtemp(dir=temp))
        self.program = Program(program, {})
        self.job_file = self.folder / "job.toml"
        (self.folder / "reference").mkdir()
        for name, text in REFERENCE.items():
            (self.folder / "reference" / name).write_text(text)
        self.job()

    def job(self, inputs=PLAIN, reference="reference", root="warehouse"):
        """`inputs` says where the logs lie and how they look."""
        self.job_file.write_text(JOB.format(inputs=inputs, reference=reference, root=root))
        return self

    def put(self, name, content):
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)

    def plain(self, *logs):
        for log in logs or SCHEMAS:
            for day in DAYS:
                self.put(f"raw/{log}/dt={dt(day)}/part-0.parquet", stored(table(log, day)))
        return self

    def backfill(self, *more, codes=(0,), first=1, last=3):
        arguments = ["--from", dt(first), "--to", dt(last), *more]
        return self.program("backfill", self.job_file, *arguments, codes=codes)

    def tables(self, root=None, options=None):
        root = root or self.folder / "warehouse"
        return {name: read(f"{root}/{name}", options) for name in TABLES}

    def remove(self):
        shutil.rmtree(self.folder)


def read(place, options=None):
    """How often each row is there."""
    rows = deltalake.DeltaTable(place, storage_options=options).to_pyarrow_table().to_pylist()
    for row in rows:
        if "record" in row:
            row["record"] = spelt_alike(json.loads(row["record"]))
    return same_rows.counted(rows)


def spelt_alike(record):
    """What a rejected row has in the known columns, as one text, whatever their types. A log with
    names of its own has ours in an object `lookback`."""
    values = record.get("lookback", record)
    known = {name: values.get(name) for name in {*CLICKS.names, *ORDERS.names}}
    return json.dumps({k: as_text(v) for k, v in sorted(known.items()) if v not in (None, "")})


def as_text(value):
    text = str(value)
    with contextlib.suppress(ValueError):
        time = datetime.datetime.fromisoformat(text)
        if len(text) > 10:
            return time.replace(tzinfo=time.tzinfo or UTC).isoformat()
    with contextlib.suppress(decimal.InvalidOperation):
        return format(decimal.Decimal(text).normalize(), "f")
    return text


def without_records(tables):
    """The same tables, without what the log's own names are in."""
    rejects = collections.Counter()
    for row, times in tables["clean/rejects"].items():
        rejects[tuple(cell for cell in row if cell[0] != "record")] += times
    return tables | {"clean/rejects": rejects}


def ensure_same(tables, expected, what):
    for name, rows in tables.items():
        here, there = rows - expected[name], expected[name] - rows
        ensure(
            rows == expected[name],
            f"{what}: {name} has other rows\nonly here      {list(here.items())[:3]}\n"
            f"only as plain  {list(there.items())[:3]}",
        )
