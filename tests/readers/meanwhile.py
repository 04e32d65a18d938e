"""Dashboards read while the tables are rewritten: every read equals one published state.

    python3 tests/readers/meanwhile.py path/to/lookback [times]

One process republishes the same dates again and again (200 times unless told), each time from
other commission rates; this one reads the report tables all the while with the Python deltalake
package, as a dashboard would. In the end every version that was ever published is read once more
by its number, and every read has to equal the version that it said it read. Needs deltalake and
pyarrow.
"""

import hashlib
import pathlib
import subprocess
import sys
import tempfile
import threading

import deltalake
import pyarrow

DATES = ["--from", "2026-03-01", "--to", "2026-03-03"]
TABLES = ["attribution/conversions", "report/orders", "report/transaction_details"]


def publish(binary, world, number):
    """Backfills from a rate that no other round has."""
    header = "scope,scope_id,store_id,rate,valid_from,valid_to\n"
    rates = "".join(
        f"store,{store},,0.{number + 1:04},,\n" for store in stores(world)
    )
    (world / "reference/rates.csv").write_text(header + rates)
    run = subprocess.run(
        [binary, "backfill", world / "job.toml", *DATES, "--quiet"], capture_output=True, text=True
    )
    if run.returncode != 0:
        sys.exit(f"round {number} ended with {run.returncode}: {run.stderr}")


def stores(world):
    rows = (world / "reference/stores.csv").read_text().splitlines()[1:]
    return sorted({row.split(",")[0] for row in rows})


def fingerprint(table):
    """Of all rows, in an order that does not depend on files."""
    rows = pyarrow.table(table.to_pyarrow_table())
    order = [(name, "ascending") for name in rows.column_names]
    text = "\n".join(str(row) for row in rows.sort_by(order).to_pylist())
    return hashlib.sha256(text.encode()).hexdigest()


def main():
    binary = pathlib.Path(sys.argv[1]).resolve()
    times = int(sys.argv[2]) if len(sys.argv) > 2 else 200
    with tempfile.TemporaryDirectory() as folder:
        world = pathlib.Path(folder) / "world"
        subprocess.run(
            [binary, "demo", world, "--no-run", "--quiet", "--days", "3"]
            + ["--clicks-per-day", "150", "--orders-per-day", "40"],
            check=True,
        )
        publish(binary, world, 0)
        is_over = threading.Event()

        def republish():
            try:
                for number in range(1, times + 1):
                    publish(binary, world, number)
            finally:
                is_over.set()

        writer = threading.Thread(target=republish)
        writer.start()
        seen = []
        while not is_over.is_set():
            for name in TABLES:
                table = deltalake.DeltaTable(str(world / "warehouse" / name))
                seen.append((name, table.version(), fingerprint(table)))
        writer.join()
        published = {}
        for name in TABLES:
            path = str(world / "warehouse" / name)
            for version in range(deltalake.DeltaTable(path).version() + 1):
                published[name, version] = fingerprint(deltalake.DeltaTable(path, version=version))
            states = {print for (of, _), print in published.items() if of == name}
            if len(states) < times:
                sys.exit(f"{name}: only {len(states)} states were published, {times} are wanted")
        for name, version, rows in seen:
            if published[name, version] != rows:
                sys.exit(f"{name}: a read of version {version} is not what was published")
        versions = len({(name, version) for name, version, _ in seen})
        print(f"{len(seen)} reads of {versions} versions, all as published ({times} rounds)")


if __name__ == "__main__":
    main()
