"""The plain rows as pyarrow can store them: codecs, pages, encodings, types.

A way is a function of log and day of April that gives a file's bytes, or those of several files.
"""

import decimal
import itertools
import uuid

import pyarrow
import pyarrow.compute
from pyarrow import types

from footer import with_schema
from world import TIMES, stored, table, with_types

CODECS = ("none", "snappy", "gzip", "brotli", "lz4", "zstd")
PAGES = ("1.0", "2.0")
TEXT, TIME, MONEY, WHOLE = types.is_string, types.is_timestamp, types.is_decimal, types.is_int64
PLAIN_PAGES = {"use_dictionary": False}


def written(**how):
    return lambda log, day: stored(table(log, day), **how)


def changed(change, **how):
    return lambda log, day: stored(change(table(log, day)), **how)


def typed(what, kind, **how):
    return changed(lambda rows: with_types(rows, what, kind), **how)


def encoded(what, encoding):
    """All columns for whose type `what` holds, in one encoding."""

    def way(log, day):
        rows = table(log, day)
        encodings = {field.name: encoding for field in rows.schema if what(field.type)}
        return stored(rows, column_encoding=encodings, **PLAIN_PAGES)

    return way


def required_where_possible(rows):
    """Columns without a null are said to have none."""
    fields = [field.with_nullable(rows.column(field.name).null_count > 0) for field in rows.schema]
    return rows.cast(pyarrow.schema(fields))


def as_dictionaries(rows):
    for place, field in enumerate(rows.schema):
        if types.is_string(field.type):
            column = pyarrow.chunked_array(rows.column(place).combine_chunks().dictionary_encode())
            rows = rows.set_column(place, field.name, column)
    return rows


def empty_columns_of_no_type(rows):
    """Columns in which nothing is."""
    for place, field in enumerate(rows.schema):
        if rows.column(place).null_count == len(rows):
            rows = rows.set_column(place, field.name, pyarrow.nulls(len(rows)))
    return rows


def without_empty_columns(rows):
    """Optional columns in which nothing is are left out."""
    optional = {"visitor_id", "product_id", "quantity", "country", "reason", "device"}
    unused = [name for name in optional & set(rows.column_names) if not any_value(rows, name)]
    return rows.drop_columns(unused)


def any_value(rows, name):
    return rows.column(name).null_count < len(rows)


def empty_texts_for_nulls(rows):
    """A null of a text column is an empty text."""
    for place, field in enumerate(rows.schema):
        if types.is_string(field.type):
            rows = rows.set_column(place, field.name, rows.column(place).fill_null(""))
    return rows


def finer_times(rows):
    """Nanoseconds that a microsecond does not hold: they are cut off."""
    rows = with_types(rows, TIME, pyarrow.timestamp("ns", tz="UTC"))
    place = next(i for i, field in enumerate(rows.schema) if types.is_timestamp(field.type))
    whole = rows.column(place).cast(pyarrow.int64())
    finer = pyarrow.compute.add(whole, 999).cast(rows.schema.field(place).type)
    return rows.set_column(place, rows.schema.field(place).name, finer)


def ids(kind):
    """All ids as another type."""

    def change(rows):
        numbers = pyarrow.decimal128(38, 0) if types.is_decimal(kind) else pyarrow.int64()
        names = [
            name
            for name in rows.column_names
            if name.endswith("_id") and not has_words(rows.column(name))
        ]
        for name in names:
            place = rows.column_names.index(name)
            rows = rows.set_column(place, name, rows.column(name).cast(numbers).cast(kind))
        return rows

    return change


def has_words(column):
    return any(not text.isdigit() for text in column.to_pylist() if text)


def whole_amounts(rows):
    """Amounts as integers, where all are whole."""
    if "amount" not in rows.column_names:
        return rows
    amounts = [amount for amount in rows.column("amount").to_pylist() if amount is not None]
    if all(amount == amount.to_integral_value() for amount in amounts):
        return with_types(rows, MONEY, pyarrow.int32())
    return rows


def further_columns(rows):
    """Columns that nobody asks for, of types that nobody asks for."""
    count = len(rows)
    more = {
        "price": pyarrow.array([1.5] * count),
        "raw": pyarrow.array([b"\xff\x00"] * count),
        "flags": pyarrow.array([True] * count),
        "tags": pyarrow.array([["a", None]] * count),
        "utm": pyarrow.array([{"source": "x", "deep": {"er": [1]}}] * count),
        "pairs": pyarrow.array([[("a", 1)]] * count, pyarrow.map_("string", "int32")),
        "half": pyarrow.array([1.5] * count, pyarrow.float16()),
        "clock": pyarrow.array([1] * count, pyarrow.time64("ns")),
        "span": pyarrow.array([1] * count, pyarrow.duration("s")),
        "nothing": pyarrow.nulls(count),
        "key": pyarrow.array([uuid.UUID(int=7).bytes] * count, pyarrow.uuid()),
        "huge": pyarrow.array([decimal.Decimal(10) ** 60] * count, pyarrow.decimal256(76, 2)),
        "dt": pyarrow.array(["1999-01-01"] * count),
    }
    for name, column in more.items():
        rows = rows.append_column(name, column)
    return rows


def bare(element):
    """Text without any annotation: plain bytes."""
    if element["name"] not in (*TIMES.values(), "amount"):
        element["annotation"] = None


def old(element):
    """As writers annotated before 2018: the converted type alone."""
    element["logical"] = None


def enum(element):
    if element["name"] in ("device", "event_type", "currency"):
        element["annotation"] = "ENUM"


def json_text(element):
    if element["name"] in ("device", "reason"):
        element["annotation"] = "JSON"


def footer(change, **how):
    def way(log, day):
        return with_schema(stored(table(log, day), store_schema=False, **how), change)

    return way


def no_first_dictionary_page(log, day):
    """parquet-mr before 1.10 wrote 0 for "there is none"."""
    data = stored(table(log, day), **PLAIN_PAGES)
    return with_schema(data, lambda element: None, dictionary_page_offset=0)


def many_files(log, day):
    """A file for each row, and one without any."""
    rows = table(log, day)
    files = [stored(rows.slice(place, 1)) for place in range(len(rows))]
    return [*files, stored(rows.slice(0, 0))]


WAYS = {
    f"pyarrow: {codec}, data pages {pages}": written(compression=codec, data_page_version=pages)
    for codec, pages in itertools.product(CODECS, PAGES)
}
WAYS |= {
    "pyarrow: format version 1.0": written(version="1.0"),
    "pyarrow: format version 2.4": written(version="2.4"),
    "pyarrow: no Arrow schema": written(store_schema=False),
    "pyarrow: no Arrow schema, format version 1.0": written(store_schema=False, version="1.0"),
    "pyarrow: INT96": written(use_deprecated_int96_timestamps=True),
    "pyarrow: INT96, no Arrow schema": written(
        use_deprecated_int96_timestamps=True, store_schema=False
    ),
    "pyarrow: no dictionary pages": written(**PLAIN_PAGES),
    "pyarrow: dictionary pages that overflow": written(
        dictionary_pagesize_limit=16, data_page_size=16
    ),
    "pyarrow: dictionary columns": changed(as_dictionaries),
    "pyarrow: large texts": typed(TEXT, pyarrow.large_string()),
    "pyarrow: views of texts": typed(TEXT, pyarrow.string_view()),
    "pyarrow: bytes": typed(TEXT, pyarrow.binary()),
    "pyarrow: large bytes": typed(TEXT, pyarrow.large_binary()),
    "pyarrow: bytes, no Arrow schema": typed(TEXT, pyarrow.binary(), store_schema=False),
    "pyarrow: REQUIRED columns": changed(required_where_possible),
    "pyarrow: REQUIRED columns, no Arrow schema": changed(
        required_where_possible, store_schema=False
    ),
    "pyarrow: decimals as INT32": typed(
        MONEY, pyarrow.decimal128(9, 4), store_decimal_as_integer=True
    ),
    "pyarrow: decimals as INT64": typed(
        MONEY, pyarrow.decimal128(18, 4), store_decimal_as_integer=True
    ),
    "pyarrow: decimals as FLBA of 16 bytes": typed(MONEY, pyarrow.decimal128(38, 4)),
    "pyarrow: decimals as FLBA of 32 bytes": typed(MONEY, pyarrow.decimal256(76, 4)),
    "pyarrow: decimals of 2 decimals": typed(MONEY, pyarrow.decimal128(7, 2)),
    "pyarrow: decimals of 10 decimals": typed(MONEY, pyarrow.decimal128(38, 10)),
    "pyarrow: decimals of 32 bits": typed(MONEY, pyarrow.decimal32(9, 2)),
    "pyarrow: decimals of 64 bits": typed(MONEY, pyarrow.decimal64(18, 6)),
    "pyarrow: whole amounts as integers": changed(whole_amounts),
    "pyarrow: DELTA_BYTE_ARRAY": encoded(TEXT, "DELTA_BYTE_ARRAY"),
    "pyarrow: DELTA_LENGTH_BYTE_ARRAY": encoded(TEXT, "DELTA_LENGTH_BYTE_ARRAY"),
    "pyarrow: DELTA_BINARY_PACKED": encoded(lambda t: TIME(t) or WHOLE(t), "DELTA_BINARY_PACKED"),
    "pyarrow: BYTE_STREAM_SPLIT": encoded(
        lambda t: TIME(t) or WHOLE(t) or MONEY(t), "BYTE_STREAM_SPLIT"
    ),
    "pyarrow: row groups of one row": written(row_group_size=1),
    "pyarrow: pages of one row": written(data_page_size=1, write_batch_size=1, **PLAIN_PAGES),
    "pyarrow: page index, checksums": written(write_page_index=True, write_page_checksum=True),
    "pyarrow: no statistics": written(write_statistics=False),
    "pyarrow: nanoseconds that are cut off": changed(finer_times),
    "pyarrow: ids as int64": changed(ids(pyarrow.int64())),
    "pyarrow: ids as int32": changed(ids(pyarrow.int32())),
    "pyarrow: ids as uint64": changed(ids(pyarrow.uint64())),
    "pyarrow: ids as decimal(20, 0)": changed(ids(pyarrow.decimal128(20, 0))),
    "pyarrow: quantity as double": typed(WHOLE, pyarrow.float64()),
    "pyarrow: quantity as float": typed(WHOLE, pyarrow.float32()),
    "pyarrow: quantity as int8": typed(WHOLE, pyarrow.int8()),
    "pyarrow: quantity as uint32": typed(WHOLE, pyarrow.uint32()),
    "pyarrow: quantity as decimal(20, 0)": typed(WHOLE, pyarrow.decimal128(20, 0)),
    "pyarrow: columns without a value as null": changed(empty_columns_of_no_type),
    "pyarrow: columns without a value left out": changed(without_empty_columns),
    "pyarrow: empty texts for nulls": changed(empty_texts_for_nulls),
    "pyarrow: further columns": changed(further_columns),
    "pyarrow: further columns, no Arrow schema": changed(
        lambda rows: further_columns(rows).drop_columns(["half"]), store_schema=False
    ),
    "pyarrow: a file for each row, and an empty one": many_files,
    "pyarrow: text without annotation": footer(bare),
    "pyarrow: text without annotation, data pages 2.0": footer(bare, data_page_version="2.0"),
    "pyarrow: only converted types": footer(old),
    "pyarrow: ENUM": footer(enum),
    "pyarrow: JSON": footer(json_text),
    "pyarrow: dictionary_page_offset = 0": no_first_dictionary_page,
}
for unit, zone in itertools.product(("s", "ms", "us", "ns"), (None, "UTC", "Asia/Shanghai")):
    WAYS[f"pyarrow: timestamp[{unit}] of zone {zone}"] = typed(
        TIME, pyarrow.timestamp(unit, tz=zone)
    )
