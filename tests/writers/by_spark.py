"""The plain rows as Spark stores them: whole logs, by `partitionBy`, with all that it leaves there.

A claim is a function of a new world and the tables of the plain one.
"""

import functools
import shutil
import threading

import pyarrow
import pyspark
import pyspark.sql

from odd_values import FAR, ensure_only_more_rejects
from world import DAYS, SCHEMAS, click, dt, ensure, ensure_same, table

starting = threading.Lock()


def can_run():
    return shutil.which("java") is not None


@functools.cache
def spark():
    builder = pyspark.sql.SparkSession.builder.master("local[2]")
    settings = {
        "spark.ui.enabled": "false",
        "spark.log.level": "OFF",
        "spark.ui.showConsoleProgress": "false",
        "spark.sql.session.timeZone": "UTC",
        "spark.sql.shuffle.partitions": "2",
        "spark.sql.artifact.isolation.enabled": "false",
        "spark.driver.host": "127.0.0.1",
        "spark.driver.bindAddress": "127.0.0.1",
    }
    for name, value in settings.items():
        builder = builder.config(name, value)
    return builder.getOrCreate()


def frame(session, log, rows=None):
    """All rows of a log with their landing date."""
    parts = []
    for day in DAYS:
        part = table(log, day)
        parts.append(part.append_column("dt", pyarrow.array([dt(day)] * len(part))))
    return session.createDataFrame(rows or pyarrow.concat_tables(parts))


def session_with(conf):
    with starting:
        session = spark().newSession()
    for name, value in conf.items():
        session.conf.set(name, value)
    return session


def write(world, session, change, options):
    for log in SCHEMAS:
        rows = change(frame(session, log))
        writer = rows.write.partitionBy("dt").options(**options).mode("append")
        writer.parquet(str(world.folder / "raw" / log))


def same(conf=None, change=lambda rows: rows, **options):
    def claim(world, expected):
        write(world, session_with(conf or {}), change, options)
        lies_there = {path.name for path in (world.folder / "raw/clicks").iterdir()}
        ensure("_SUCCESS" in lies_there, f"Spark has left {lies_there}")
        world.backfill()
        ensure_same(world.tables(), expected, f"spark: {conf} {options}")
        world.remove()

    return claim


def appended(world, expected):
    """Each date's rows by two jobs: other files beside those that lie there."""
    session = session_with({})
    for number in (0, 1):
        for log in SCHEMAS:
            part = frame(session, log).toPandas().iloc[number::2]
            rows = session.createDataFrame(part, frame(session, log).schema)
            rows.write.partitionBy("dt").mode("append").parquet(str(world.folder / "raw" / log))
    world.backfill()
    ensure_same(world.tables(), expected, "spark: appended")


def far_years(world, expected):
    """INT96 is what Spark wrote by itself up to version 2.4."""
    session = session_with(INT96)
    world.plain()
    more, rows = [], []
    for reason, times in FAR.items():
        for time in times:
            number = 2000 + len(more)
            rows.append(click(number, time, "501"))
            more.append(("clicks", reason, str(number)))
    scratch = world.folder / "scratch"
    frame(session, "clicks", table("clicks", rows=rows)).write.parquet(str(scratch))
    for file in scratch.glob("*.parquet"):
        world.put(f"raw/clicks/dt={dt(2)}/{file.name}", file.read_bytes())
    world.backfill()
    ensure_only_more_rejects(world, expected, more, "far years")


INT96 = {
    "spark.sql.parquet.outputTimestampType": "INT96",
    "spark.sql.parquet.int96RebaseModeInWrite": "CORRECTED",
}
MILLIS = {"spark.sql.parquet.outputTimestampType": "TIMESTAMP_MILLIS"}
LEGACY = {"spark.sql.parquet.writeLegacyFormat": "true"}
ELSEWHERE = {"spark.sql.session.timeZone": "America/Los_Angeles"}


def without_zone(rows):
    names = [name for name in ("clicked_at", "event_at") if name in rows.columns]
    return rows.withColumn(names[0], rows[names[0]].cast("timestamp_ntz"))


def as_bytes(rows):
    texts = [name for name, kind in rows.dtypes if kind == "string" and name != "dt"]
    return rows.withColumns({name: rows[name].cast("binary") for name in texts})


def as_numbers(rows):
    """Ids as Spark infers them of a CSV or JSON file."""
    ids = [
        name for name in ("click_id", "event_id", "order_id", "buyer_id") if name in rows.columns
    ]
    return rows.withColumns({name: rows[name].cast("bigint") for name in ids})


CLAIMS = {
    **{
        f"spark: {codec}": same(compression=codec)
        for codec in ("uncompressed", "snappy", "gzip", "lz4", "lz4_raw", "zstd")
    },
    "spark: writer version 2": same(**{"parquet.writer.version": "PARQUET_2_0"}),
    "spark: writer version 2, gzip, no dictionary": same(
        **{"parquet.writer.version": "PARQUET_2_0", "parquet.enable.dictionary": "false"},
        compression="gzip",
    ),
    "spark: pages of one row": same(**{"parquet.page.row.count.limit": "1"}),
    "spark: row groups as small as can be": same(
        **{"parquet.block.size": "1", "parquet.block.size.row.check.min": "1"}
    ),
    "spark: Bloom filters": same(**{"parquet.bloom.filter.enabled": "true"}),
    "spark: INT96": same(INT96),
    "spark: INT96, gzip": same(INT96, compression="gzip"),
    "spark: milliseconds": same(MILLIS),
    "spark: times without a zone": same(change=without_zone),
    "spark: written in another time zone": same(ELSEWHERE),
    "spark: INT96, written in another time zone": same(INT96 | ELSEWHERE),
    "spark: legacy format": same(LEGACY),
    "spark: legacy format, INT96": same(LEGACY | INT96),
    "spark: bytes": same(change=as_bytes),
    "spark: ids as numbers": same(change=as_numbers),
    "spark: a file for each row": same(maxRecordsPerFile=1),
    "spark: appended": appended,
    "spark: far years, INT96": far_years,
}
