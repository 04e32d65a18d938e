"""Reads tables of a warehouse and Parquet files. Called in processes of their own."""

import datetime
import os
import re
import time

# Folder of the table in the warehouse, and the column by which it is partitioned.
TABLES = {
    "attribution/conversions": "order_date",
    "report/traffic": "report_date",
    "report/orders": "report_date",
    "report/refunds": "report_date",
    "report/transaction_details": "report_date",
    "report/unbooked_events": "report_date",
}


def table_files(folder, first, last):
    """Live files of a Delta table's partitions first..=last: [(date, path)]."""
    import deltalake

    found = []
    for path in deltalake.DeltaTable(folder).file_uris():
        date = datetime.date.fromisoformat(re.search(r"/\w+=(\d{4}-\d\d-\d\d)/", path)[1])
        if first <= date <= last:
            found.append((date, path.removeprefix("file://")))
    return found


def table_bytes(folder):
    files = table_files(folder, datetime.date.min, datetime.date.max)
    return {"bytes": sum(os.path.getsize(path) for _, path in files),
            "dates": sorted({date for date, _ in files})}


def row_counts(files):
    import duckdb

    connection = duckdb.connect()
    return {
        log: connection.execute(f"select count(*) from read_parquet({names})").fetchone()[0]
        for log, names in files.items()
    }


def scan(pieces, threads):
    """The time it takes to decode columns and do nothing with them. A piece is files, or a table
    with its first and last date, and the columns (None: all)."""
    import pyarrow
    import pyarrow.parquet

    pyarrow.set_cpu_count(threads)
    listed = []
    for source, columns in pieces:
        files = source if isinstance(source, list) else [path for _, path in table_files(*source)]
        listed += [(file, columns) for file in files]
    wall, cpu = time.perf_counter(), time.process_time()
    for file, columns in listed:
        with pyarrow.parquet.ParquetFile(file) as content:
            content.read(columns=columns)
    return {"wall": round(time.perf_counter() - wall, 3),
            "cpu": round(time.process_time() - cpu, 3)}


def differences(warehouse, out, first, last):
    """Rows of the five tables that only one of the two has: complaints, empty when none."""
    import duckdb

    connection = duckdb.connect()
    connection.execute("set timezone = 'UTC'")
    complaints = []
    for table, partition in TABLES.items():
        files = [path for _, path in table_files(f"{warehouse}/{table}", first, last)]
        if not files:
            complaints.append(f"{table}: lookback made nothing of {first} to {last}")
            continue
        connection.execute(
            f"""create or replace temp view ours as
                select * from read_parquet({files}, hive_partitioning = true,
                    hive_types = {{{partition}: date}})"""
        )
        theirs = f"{out}/{table.split('/')[1]}.parquet"
        connection.execute(
            f"create or replace temp view theirs as from read_parquet('{theirs}')")
        complaints += [f"{table}: {complaint}" for complaint in differing_rows(connection)]
    return complaints


def differing_rows(connection):
    """Complaints about the views `ours` and `theirs`."""
    types = {
        view: dict(sorted(row[:2] for row in connection.execute(f"describe {view}").fetchall()))
        for view in ["ours", "theirs"]
    }
    if types["ours"] != types["theirs"]:
        return [f"other columns or types: {types}"]
    if not connection.execute("select count(*) from theirs").fetchone()[0]:
        return ["the DuckDB script made no rows; nothing was compared"]
    columns = ", ".join(types["ours"])
    complaints = []
    for who, one, other in [("lookback", "ours", "theirs"), ("DuckDB", "theirs", "ours")]:
        extra = f"(select {columns} from {one} except all select {columns} from {other})"
        found = connection.execute(f"select count(*) from {extra}").fetchone()[0]
        if found:
            sample = connection.execute(
                f"select to_json(extra)::varchar from {extra} as extra limit 3").fetchall()
            complaints.append("\n  ".join(
                [f"{found:,} rows only from {who}, such as", *(row[0] for row in sample)]))
    return complaints
