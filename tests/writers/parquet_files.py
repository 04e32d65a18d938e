"""Every Parquet file that the format allows is read: other writers, the same rows, the same tables.

usage: parquet_files.py path/to/lookback [WORD]...

A tiny world (world.py) is written by pyarrow, Spark, fastparquet, Polars and DuckDB in each way
that they have. Of each the job has to make the tables that it makes of the plain files, values and
all. With words, only the claims whose names hold one of them are tried.

Prints a line per claim; ends with exit code 1 if any does not hold, after all were tried. Spark
needs Java: without it, SKIPPED is said at the end.
"""

import pathlib
import sys
import tempfile

try:
    import by_others
    import by_pyarrow
    import by_spark
    import odd_values
    from tried import Claims
    from world import DAYS, SCHEMAS, World, dt, ensure_same
except ImportError as missing:
    sys.exit(
        f"{missing}; install it with:"
        " pip install deltalake polars pyarrow duckdb fastparquet pandas pyspark"
    )


def ensure_same_tables(world, way, expected, what):
    for log in SCHEMAS:
        for day in DAYS:
            files = way(log, day)
            for number, content in enumerate(files if isinstance(files, list) else [files]):
                world.put(f"raw/{log}/dt={dt(day)}/part-{number}.parquet", content)
    world.backfill()
    ensure_same(world.tables(), expected, what)
    world.remove()


def main(program, words):
    claims = Claims(words)
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        temp = pathlib.Path(folder)
        plain = World(temp, program).plain()
        plain.backfill()
        expected = plain.tables()

        def new_world():
            return World(temp, program)

        for name, way in (by_pyarrow.WAYS | by_others.WAYS).items():
            claims.add(
                name,
                lambda way=way, name=name: ensure_same_tables(new_world(), way, expected, name),
            )
        for name, claim in odd_values.CLAIMS.items():
            claims.add(name, lambda claim=claim: claim(new_world(), expected))
        if by_spark.can_run():
            for name, claim in by_spark.CLAIMS.items():
                claims.add(name, lambda claim=claim: claim(new_world(), expected))
        else:
            claims.skip("Spark: there is no Java on this machine, so NOTHING of Spark was tried")
        claims.end("every Parquet file is read")


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    main(sys.argv[1], sys.argv[2:])
