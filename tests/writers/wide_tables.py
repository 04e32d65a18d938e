"""Order tables with a row per line, as jobs/views reads them, held against events written by hand.

A row is delivered again as it changes. Beside each delivery stand the events that it has to give,
those that it repeats as well: these are then duplicates, as in any log.
"""

import datetime
import decimal

import pyarrow

from companies import VIEWS
from documented import examples
from world import DAYS, MICROS, World, at, dt, ensure_same, event, fields, placed, stored, table

MONEY = pyarrow.decimal128(12, 2)
WIDE = fields(
    "order_no line_no customer_id shop_id sku category quantity line_total currency ship_country"
    " created_at paid_at finished_at cancelled_at refunded_at refunded_amount cancel_reason"
    " refund_reason",
    quantity=pyarrow.int32(),
    line_total=MONEY,
    refunded_amount=MONEY,
    **dict.fromkeys("created_at paid_at finished_at cancelled_at refunded_at".split(), MICROS),
)


def line(number, buyer="501", total="100", **more):
    row = dict.fromkeys(WIDE.names) | {
        "order_no": str(number),
        "line_no": "1",
        "customer_id": buyer,
        "shop_id": "77",
        "sku": "5001",
        "category": "12",
        "quantity": 1,
        "line_total": decimal.Decimal(total),
        "currency": "USD",
        "ship_country": "US",
    }
    return row | more


def money(text):
    return decimal.Decimal(text)


def gone_through(kind, number, time, last="", **more):
    """An event of a line, with what the row says of the line besides."""
    values = placed(f"{number}/1/{kind}{last}", time, str(number), more.pop("buyer", "501"))
    return values | {"event_type": kind, "amount": None} | more


# A line that is paid, finished, and then refunded in part.
FIRST = line(70001, created_at=at(1), paid_at=at(1, "12:05:00"))
FINISHED = FIRST | {"finished_at": at(2, "18:00:00")}
REFUNDED = FINISHED | {
    "refunded_at": at(3, "09:00:00"),
    "refunded_amount": money("40.25"),
    "refund_reason": "broken",
}
FIRST_EVENTS = [
    gone_through("placed", 70001, at(1), amount=money(100)),
    gone_through("paid", 70001, at(1, "12:05:00")),
]
FINISHED_EVENTS = [*FIRST_EVENTS, gone_through("completed", 70001, at(2, "18:00:00"))]
REFUNDED_EVENTS = [
    *FINISHED_EVENTS,
    gone_through(
        "refunded", 70001, at(3, "09:00:00"), "/40.2500", amount=money("40.25"), reason="broken"
    ),
]
# A line that is refunded in parts until nothing is left: the second refund gives back the rest.
IN_PARTS = line(70002, "502", "19.99", created_at=at(2, "10:30:00"), refunded_amount=money(5))
IN_PARTS |= {"refunded_at": at(2, "20:00:00")}
WHOLE = IN_PARTS | {"refunded_amount": money("19.99"), "refunded_at": at(3, "10:00:00")}
PLACED_IN_PARTS = gone_through(
    "placed", 70002, at(2, "10:30:00"), buyer="502", amount=money("19.99")
)
PART = gone_through("refunded", 70002, at(2, "20:00:00"), "/5.0000", buyer="502", amount=money(5))
REST = gone_through(
    "refunded", 70002, at(3, "10:00:00"), "/19.9900", buyer="502", amount=money("19.99")
)
# A line that is cancelled, one that nobody has made at any time, and one that nobody bought.
OPEN = line(70003, created_at=at(1, "13:00:00"))
CANCELLED = OPEN | {"cancelled_at": at(3, "11:00:00"), "cancel_reason": "late"}
PLACED_OPEN = gone_through("placed", 70003, at(1, "13:00:00"), amount=money(100))
TIMELESS, NOBODYS = line(70004), line(70005, None, created_at=at(2))
# An old line that is delivered once more, with nothing new: it gives no event.
OLD = line(69999, created_at=at(1) - datetime.timedelta(days=30))

DELIVERED = {
    1: [FIRST, OPEN, OLD],
    2: [FINISHED, FINISHED, IN_PARTS, TIMELESS, NOBODYS],
    3: [REFUNDED, WHOLE, CANCELLED, OLD],
}
EVENTS = {
    1: [*FIRST_EVENTS, PLACED_OPEN],
    2: [
        *FINISHED_EVENTS,
        *FINISHED_EVENTS,
        PLACED_IN_PARTS,
        PART,
        gone_through("placed", 70004, None, amount=money(100)),
        gone_through("placed", 70005, at(2), buyer=None, amount=money(100)),
    ],
    3: [
        *REFUNDED_EVENTS,
        PLACED_IN_PARTS,
        REST,
        PLACED_OPEN,
        gone_through("cancelled", 70003, at(3, "11:00:00"), reason="late"),
    ],
}


def put_rows(world, rows_of, schema):
    for day in DAYS:
        rows = pyarrow.Table.from_pylist(rows_of[day], schema)
        world.put(f"raw/orders/dt={dt(day)}/part-0.parquet", stored(rows))


def put_plain(world, events):
    world.plain("clicks")
    for day in DAYS:
        name = f"raw/orders/dt={dt(day)}/part-0.parquet"
        world.put(name, stored(table("orders", rows=events[day])))


def ensure_events(world, inputs, view, events, what, stores=None):
    """The job gives the tables that the events give in the plain shape."""
    plain = World(world.folder, world.program.path)
    for each in (world, plain):
        if stores:
            each.put("reference/stores.csv", stores)
    world.plain("clicks").put("views/orders.sql", view.encode())
    world.job(inputs).program("check", world.job_file)
    world.backfill()
    put_plain(plain, events)
    plain.backfill()
    ensure_same(world.tables(), plain.tables(), what)


ONE_SOURCE = """
clicks = "raw/clicks"

[input.orders]
path = "raw/orders"
view = "views/orders.sql"
"""


def wide_orders(world):
    put_rows(world, DELIVERED, WIDE)
    view = (VIEWS / "wide_orders.sql").read_text()
    ensure_events(world, ONE_SOURCE, view, EVENTS, "wide order table")


def single_refunds_as_a_second_source(world):
    """Where a line has several refunds that leave something, the table of refunds is a source."""
    text = (VIEWS / "wide_orders.sql").read_text()
    head, refunds = text.split("    union all\n    select\n        raw.*,\n        'refunded'")
    view = head + ")\nselect" + refunds.split(")\nselect", 1)[1]
    schema = fields(
        "refund_id refunded_at order_no line_no given_back", refunded_at=MICROS, given_back=MONEY
    )
    first, second = ("r1", at(2, "20:00:00"), money(10)), ("r2", at(3, "10:00:00"), money(15))
    row = line(70006, created_at=at(1))
    put_rows(world, {1: [row], 2: [row], 3: [row]}, WIDE)
    made = gone_through("placed", 70006, at(1), amount=money(100))
    events = {}
    for day, refunds in {1: [], 2: [first], 3: [first, second]}.items():
        rows = [(number, time, "70006", "1", amount) for number, time, amount in refunds]
        rows = [dict(zip(schema.names, values)) for values in rows]
        rows = pyarrow.Table.from_pylist(rows, schema)
        world.put(f"raw/refunds/dt={dt(day)}/part-0.parquet", stored(rows))
        events[day] = [made] + [
            event(number, "refunded", time, "70006", amount=amount)
            for number, time, amount in refunds
        ]
    text, views = next(given for given in examples() if "wide_orders.sql" in given[0])
    world.put("views/refunds.sql", views["views/refunds.sql"].encode())
    inputs = f'clicks = "raw/clicks"\n{text}'.replace("raw/order_lines", "raw/orders")
    inputs = inputs.replace("wide_orders.sql", "orders.sql")
    ensure_events(world, inputs, view, events, "refunds as a second source")


ALIEXPRESS = fields(
    "order_id sub_order_id created_time paid_time finished_time completed_settlement_time"
    " paid_amount finished_amount settled_currency order_status custom_parameters product_id"
    " category_id product_count ship_to_country tracking_id effect_detail_status commission_rate",
    **dict.fromkeys(
        "order_id sub_order_id paid_amount finished_amount product_id category_id".split(),
        pyarrow.int64(),
    ),
    product_count=pyarrow.int64(),
)


def sub_order(number, cents, status="Payment Completed", buyer="501", **more):
    row = {
        "order_id": number,
        "sub_order_id": number + 7,
        "created_time": "2026-04-01 05:00:00",
        "paid_time": "2026-04-01 05:01:00",
        "finished_time": "",
        "completed_settlement_time": None,
        "paid_amount": cents,
        "finished_amount": None,
        "settled_currency": "USD",
        "order_status": status,
        "custom_parameters": f'{{"af":"9","dp":"{buyer}","cn":""}}' if buyer else None,
        "product_id": 5001,
        "category_id": 12,
        "product_count": 1,
        "ship_to_country": "US",
        "tracking_id": "t1",
        "effect_detail_status": None,
        "commission_rate": "7.00%",
    }
    return row | more


def step(kind, number, time, **more):
    given = {"buyer": "501"} | more
    values = placed(
        f"{number}/{number + 7}/{kind}",
        time,
        str(number),
        given.pop("buyer"),
        line_id=str(number + 7),
        store_id="aliexpress",
    )
    return values | {"event_type": kind, "amount": None} | given


# 05:00 in Los Angeles is 12:00 UTC in April. A line settles for less than was paid.
PAID = sub_order(80001, 10000)
RECEIVED = PAID | {
    "order_status": "Buyer Confirmed Receipt",
    "finished_time": "2026-04-02 01:00:00",
    "finished_amount": 5975,
    "effect_detail_status": "PartialRefund",
}
SETTLED = RECEIVED | {
    "order_status": "Completed Settlement",
    "completed_settlement_time": "2026-04-03 04:00:00",
}
PAID_STEPS = [
    step("placed", 80001, at(1), amount=money(100)),
    step("paid", 80001, at(1, "12:01:00")),
]
# Their reasons are those of the row that tells them.
RECEIVED_STEPS = [
    *(row | {"reason": "PartialRefund"} for row in PAID_STEPS),
    step("refunded", 80001, at(2, "08:00:00"), amount=money("40.25"), reason="PartialRefund"),
]
SETTLED_STEPS = [
    *RECEIVED_STEPS,
    step("completed", 80001, at(3, "11:00:00"), reason="PartialRefund"),
]
# Another becomes invalid, nobody knows when. A third names no buyer.
TO_BE_INVALID = sub_order(80002, 1999, buyer="502")
INVALID = TO_BE_INVALID | {"order_status": "Invalid", "effect_detail_status": "FullRefund"}
VALID_STEPS = [
    step("placed", 80002, at(1), buyer="502", amount=money("19.99")),
    step("paid", 80002, at(1, "12:01:00"), buyer="502"),
]
INVALID_STEPS = [
    *(row | {"reason": "FullRefund"} for row in VALID_STEPS),
    step("cancelled", 80002, at(2, "23:59:59.999999"), buyer="502", reason="FullRefund"),
]
SUB_ORDERS = {1: [PAID, TO_BE_INVALID], 2: [RECEIVED, INVALID], 3: [SETTLED]}
SUB_ORDERS[3].append(sub_order(80003, 500, buyer=None))
STEPS = {
    1: [*PAID_STEPS, *VALID_STEPS],
    2: [*RECEIVED_STEPS, *INVALID_STEPS],
    3: [
        *SETTLED_STEPS,
        step("placed", 80003, at(1), buyer=None, amount=money(5)),
        step("paid", 80003, at(1, "12:01:00"), buyer=None),
    ],
}


def aliexpress_orders(world):
    put_rows(world, SUB_ORDERS, ALIEXPRESS)
    view = (VIEWS / "aliexpress_orders.sql").read_text()
    stores = b"store_id,joined_at,left_at\naliexpress,,\n"
    ensure_events(world, ONE_SOURCE, view, STEPS, "AliExpress' orders", stores)


CLAIMS = {
    "wide order table": wide_orders,
    "wide order table, with the refunds as a second source": single_refunds_as_a_second_source,
    "AliExpress' affiliate orders": aliexpress_orders,
}
