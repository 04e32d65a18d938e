"""The plain rows as Polars, DuckDB and fastparquet store them, and files that drift within a date.

A way is a function of log and day of April that gives a file's bytes, or those of several files.
"""

import io
import itertools
import os
import pathlib
import tempfile

import duckdb
import fastparquet
import polars
import pyarrow

from by_pyarrow import MONEY, TEXT, TIME, ids
from world import TIMES, stored, table, with_types


def by_polars(change=lambda rows: rows, **how):
    def way(log, day):
        file = io.BytesIO()
        change(polars.from_arrow(table(log, day))).write_parquet(file, **how)
        return file.getvalue()

    return way


def with_categories(rows):
    for name in ("device", "event_type", "currency"):
        if name in rows.columns:
            rows = rows.with_columns(polars.col(name).cast(polars.Categorical))
    return rows


def with_enums(rows):
    countries = polars.col("country").cast(polars.Enum(["US", "DE"]))
    return rows.with_columns(countries)


def narrow(rows):
    """Naive milliseconds, and the smallest integers."""
    time = polars.col(*set(TIMES.values()) & set(rows.columns))
    rows = rows.with_columns(time.dt.replace_time_zone(None).dt.cast_time_unit("ms"))
    if "quantity" in rows.columns:
        rows = rows.with_columns(polars.col("quantity").cast(polars.UInt8))
    return rows


def by_duckdb(clicks="*", orders="*", rows=None, **how):
    """`clicks`, `orders`: what is selected of each log; `rows`: other rows than the plain ones."""
    selected = {"clicks": clicks, "orders": orders}
    options = "".join(f", {name} {value}" for name, value in how.items())

    def way(log, day):
        with duckdb.connect() as connection, tempfile.TemporaryDirectory() as folder:
            connection.execute("set timezone = 'UTC'")
            connection.register("plain", rows or table(log, day))
            file = pathlib.Path(folder) / "file.parquet"
            connection.execute(
                f"copy (select {selected[log]} from plain) to '{file}' (format parquet{options})"
            )
            return file.read_bytes()

    return way


def by_duckdb_as(kind):
    """Times of another type."""
    instead = "* replace ({0}::timestamp::" + kind + " as {0})"
    return by_duckdb(*(instead.format(TIMES[log]) for log in ("clicks", "orders")))


def by_fastparquet(change=lambda text: text, unit="us", **how):
    """Clicks only: it has no decimals, and times without a unit of their own as pandas has them."""

    def way(log, day):
        if log == "orders":
            return stored(table(log, day))
        rows = table(log, day).to_pandas()
        kinds = dict.fromkeys(texts("utf8"), object) | {"clicked_at": f"datetime64[{unit}, UTC]"}
        rows = rows.astype(kinds)
        for name in texts("utf8"):
            rows[name] = [change(text) if isinstance(text, str) else None for text in rows[name]]
        handle, path = tempfile.mkstemp(suffix=".parquet")
        os.close(handle)
        try:
            fastparquet.write(path, rows, **how)
            return pathlib.Path(path).read_bytes()
        finally:
            os.remove(path)

    return way


def texts(encoding):
    """What fastparquet takes object columns for."""
    names = set(table("clicks", 1).column_names) - {"clicked_at"}
    return dict.fromkeys(names, encoding)


def drifting(*changes):
    """Each row in a file of its own, the types of each file in turn."""

    def way(log, day):
        rows = table(log, day)
        turns = itertools.islice(itertools.cycle(changes), len(rows))
        return [stored(change(rows.slice(place, 1))) for place, change in enumerate(turns)]

    return way


def as_is(rows):
    return rows


def without_what_is_null(rows):
    """Columns come and go: one without a value is not there, unless a row has to have it."""
    needed = {"click_id", "clicked_at", "url", "event_id", "event_type", "event_at", "order_id"}
    needed |= {"line_id", "buyer_id", "store_id", "amount", "currency"}
    gone = [n for n in rows.column_names if n not in needed and rows.column(n).null_count]
    if "amount" not in rows.column_names:
        gone = [n for n in rows.column_names if n not in {"click_id", "clicked_at", "url"}]
        gone = [n for n in gone if rows.column(n).null_count]
    return rows.drop_columns(gone)


def turned_round(rows):
    return rows.select(rows.column_names[::-1])


def with_more(rows):
    return rows.add_column(0, "experiment", pyarrow.array([{"arm": "b"}] * len(rows)))


def with_other_more(rows):
    return rows.append_column("experiment", pyarrow.array([7] * len(rows)))


def typed(what, kind):
    return lambda rows: with_types(rows, what, kind)


WAYS = {
    "polars: as it comes": by_polars(),
    "polars: categorical": by_polars(with_categories),
    "polars: enum": by_polars(with_enums),
    "polars: naive milliseconds, small integers, lz4": by_polars(narrow, compression="lz4"),
    "polars: gzip, row groups of two rows": by_polars(compression="gzip", row_group_size=2),
    "polars: brotli": by_polars(compression="brotli"),
    "duckdb: as it comes": by_duckdb(),
    "duckdb: version V2, zstd": by_duckdb(parquet_version="V2", compression="zstd"),
    "duckdb: enum": by_duckdb(
        "* replace (device::enum('app', 'mobile') as device)",
        "* replace (currency::enum('USD', 'ZZZ') as currency)",
    ),
    "duckdb: hugeint quantities, which Parquet gets as doubles": by_duckdb(
        orders="* replace (quantity::hugeint as quantity)"
    ),
    "duckdb: blobs": by_duckdb("* replace (encode(click_id) as click_id)"),
    "fastparquet: texts": by_fastparquet(object_encoding=texts("utf8")),
    "fastparquet: bytes": by_fastparquet(str.encode, object_encoding=texts("bytes")),
    "fastparquet: types as it guesses them": by_fastparquet(),
    "fastparquet: INT96, gzip": by_fastparquet(
        unit="ns", object_encoding=texts("utf8"), times="int96", compression="GZIP"
    ),
    "drift: columns come and go": drifting(as_is, without_what_is_null),
    "drift: the order of columns": drifting(as_is, turned_round),
    "drift: further columns of two types": drifting(with_more, with_other_more, as_is),
    "drift: ids of four types": drifting(
        as_is, ids(pyarrow.int64()), ids(pyarrow.int32()), ids(pyarrow.decimal128(20, 0))
    ),
    "drift: times of four units": drifting(
        *(typed(TIME, pyarrow.timestamp(unit, tz="UTC")) for unit in ("s", "ms", "us", "ns"))
    ),
    "drift: times with and without a zone": drifting(as_is, typed(TIME, pyarrow.timestamp("us"))),
    "drift: decimals of three scales": drifting(
        *(typed(MONEY, pyarrow.decimal128(38, scale)) for scale in (2, 4, 12))
    ),
    "drift: texts of four types": drifting(
        as_is,
        typed(TEXT, pyarrow.large_string()),
        typed(TEXT, pyarrow.binary()),
        typed(TEXT, pyarrow.string_view()),
    ),
}
for codec in ("uncompressed", "snappy", "gzip", "brotli", "zstd", "lz4", "lz4_raw"):
    WAYS[f"duckdb: {codec}"] = by_duckdb(compression=codec)
for kind in ("timestamp_s", "timestamp_ms", "timestamp_ns", "timestamp", "timestamptz"):
    WAYS[f"duckdb: {kind}"] = by_duckdb_as(kind)
for codec in ("UNCOMPRESSED", "SNAPPY", "GZIP", "BROTLI", "LZ4_RAW", "ZSTD"):
    WAYS[f"fastparquet: {codec}"] = by_fastparquet(object_encoding=texts("utf8"), compression=codec)
