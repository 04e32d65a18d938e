"""Other readers see what `lookback query` shows: every table, row by row.

usage: same_rows.py path/to/lookback

Makes a small demo world, then opens each table with Python's deltalake and with polars, and
compares with the rows that `lookback query --format json` prints. Asks all three for rows from
some moment on and up to some moment as well: they skip files by what the log says of their times.
"""

import collections
import datetime
import decimal
import json
import pathlib
import subprocess
import sys
import tempfile

import deltalake
import polars
import pyarrow.dataset

TABLES = [
    "clean/clicks",
    "clean/order_events",
    "clean/rejects",
    "attribution/conversions",
    "report/traffic",
    "report/orders",
    "report/refunds",
    "report/transaction_details",
    "report/unbooked_events",
    "reference/links",
    "reference/stores",
    "reference/rates",
    "reference/fx_rates",
    "reference/identities",
]


def as_text(value):
    """One spelling for a value, for all readers."""
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, bool):
        return str(value).lower()
    if hasattr(value, "isoformat"):
        return value.isoformat().replace("+00:00", "Z")
    if isinstance(value, (int, decimal.Decimal)):
        return str(value)
    raise TypeError(f"{value!r} is of no type that a table may have")


def counted(rows):
    return collections.Counter(
        tuple(sorted((name, as_text(value)) for name, value in row.items())) for row in rows
    )


def from_query(program, job, table):
    sql = f"select * from {table.replace('/', '.')}"
    printed = subprocess.run(
        [program, "query", str(job), sql, "--format", "json"], check=True, capture_output=True
    )
    return json.loads(printed.stdout, parse_float=decimal.Decimal)


def normalised(rows, like):
    """Texts of JSON back to what the other reader's types spell."""
    result = []
    for row in rows:
        texts = {}
        for name, value in row.items():
            model = like.get(name)
            if value is not None and isinstance(model, decimal.Decimal):
                value = decimal.Decimal(value)
            if value is not None and hasattr(model, "hour"):
                value = datetime.datetime.fromisoformat(value.replace("Z", "+00:00"))
            texts[name] = value
        result.append(texts)
    return result


def times_of(rows):
    """Names of columns that hold times, each with its first, middle and last time."""
    for name in rows[0]:
        times = sorted(row[name] for row in rows if hasattr(row[name], "hour"))
        if times:
            yield name, [times[0], times[len(times) // 2], times[-1]]


def compare_within(program, job, table, rows):
    path = job.parent / "warehouse" / table
    dataset = deltalake.DeltaTable(str(path)).to_pyarrow_dataset()
    for name, times in times_of(rows):
        for time in times:
            table_name = table.replace("/", ".")
            for is_later in [True, False]:
                sql = (f"select count(*) as count from {table_name} "
                       f"where {name} {'>=' if is_later else '<='} '{time.isoformat()}'")
                printed = subprocess.run([program, "query", str(job), sql, "--format", "json"],
                                         check=True, capture_output=True)
                field, column = pyarrow.dataset.field(name), polars.col(name)
                lazy = polars.scan_delta(str(path))
                found = {
                    "lookback query": int(json.loads(printed.stdout)[0]["count"]),
                    "deltalake": dataset.count_rows(
                        filter=field >= time if is_later else field <= time),
                    "polars": lazy.filter(column >= time if is_later else column <= time)
                    .select(polars.len()).collect().item(),
                }
                expected = sum(
                    row[name] is not None and (row[name] >= time if is_later else row[name] <= time)
                    for row in rows
                )
                for reader, count in found.items():
                    assert count == expected, f"{reader}: {count} rows, not {expected}: {sql}"


def main(program):
    with tempfile.TemporaryDirectory() as folder:
        world = pathlib.Path(folder) / "demo"
        made = [program, "demo", str(world), "--days", "6", "--clicks-per-day", "500"]
        subprocess.run(made, check=True, capture_output=True)
        job = world / "job.toml"
        for table in TABLES:
            path = str(world / "warehouse" / table)
            delta = deltalake.DeltaTable(path)
            assert delta.protocol().min_reader_version == 1, table
            by_deltalake = delta.to_pyarrow_table().to_pylist()
            by_polars = polars.read_delta(path).to_dicts()
            assert by_deltalake, f"{table}: the demo world should have rows"
            like = {}
            for row in by_deltalake:
                for name, value in row.items():
                    if value is not None:
                        like.setdefault(name, value)
            by_query = normalised(from_query(program, job, table), like)
            for name, rows in [("deltalake", by_deltalake), ("polars", by_polars)]:
                ours, theirs = counted(by_query), counted(rows)
                if ours != theirs:
                    print(f"{table}: {name} sees other rows than lookback query")
                    print("only ours  ", list((ours - theirs).items())[:2])
                    print("only theirs", list((theirs - ours).items())[:2])
                    sys.exit(1)
            compare_within(program, job, table, by_deltalake)
            print(f"{table}: {len(by_query)} rows, the same for deltalake and polars")


if __name__ == "__main__":
    main(sys.argv[1])
