"""What lies in a log's folders, and what of it is read: hours, markers, strays, other formats.

A claim is a function of a new world and the tables of the plain one.
"""

import pathlib
import tempfile

import deltalake
import duckdb
import pyarrow

from companies import COMPANIES
from world import DAYS, ORDERS, PLAIN, SCHEMAS, dt, ensure, ensure_same, stored, table

HOURLY = COMPANIES["Firehose, by hour"]
MARKED = COMPANIES["markers"]


def ensure_says(ended, words, what):
    heard = ended.out + ended.err
    for word in words:
        ensure(word in heard, f"{what}: {ended.said}\ndoes not say {word!r}\n{heard[-3000:]}")


def ensure_not_landed(world, words, what, first=1, last=3):
    """No run and no plan, and both say what lies there."""
    dates = ["--from", dt(first), "--to", dt(last)]
    for command in ("plan", "backfill"):
        ended = world.program(command, world.job_file, *dates, codes=(3,))
        ensure_says(ended, words, f"{what}: not landed")
    ensure(not (world.folder / "warehouse").exists(), f"{what}: something was written")


def ensure_told(world, words, what):
    """Run, plan and check name what they do not read."""
    dates = ["--from", dt(1), "--to", dt(3)]
    for command, arguments in (("plan", dates), ("check", []), ("backfill", dates)):
        ended = world.program(command, world.job_file, *arguments)
        ensure_says(ended, words, what)


def hours(world, expected):
    """Landed when the last hour holds an object, or a later hour does."""
    HOURLY.move_in(world)
    last = [world.folder / f"raw/{log}/2026/04/03/23" for log in SCHEMAS]
    for folder in last:
        for file in folder.iterdir():
            file.unlink()
    ensure_not_landed(world, [dt(3)], "without the last hour")
    for log in SCHEMAS:
        world.put(f"raw/{log}/2026/04/04/00/later.parquet", stored(table(log, rows=[])))
    world.backfill()
    ensure_same(world.tables(), expected, "a later hour")


def markers(world, expected):
    """With a marker, data alone has not landed; the marker alone has."""
    MARKED.move_in(world)
    marker = world.folder / f"raw/orders/{dt(3)}/complete.txt"
    marker.unlink()
    ensure_not_landed(world, [dt(3)], "without its marker")
    marker.touch()
    world.backfill()
    ensure_same(world.tables(), expected, "with its marker")
    world.put("raw/orders/2026-04-04/complete.txt", b"")
    world.put("raw/clicks/day=04/month=04/year=2026/_SUCCESS", b"")
    world.backfill(last=4)


def a_success_file_lands(world, expected):
    """An empty date with a _SUCCESS has landed, in the layout of ours too."""
    world.plain()
    for log in SCHEMAS:
        world.put(f"raw/{log}/dt={dt(4)}/_SUCCESS", b"")
    world.backfill(last=4)


def beside_the_data(stray, word):
    """A stray beside the data: the same tables, and it is told of."""

    def claim(world, expected):
        world.plain().put(f"raw/clicks/{stray}", stored(table("clicks", 1)))
        ensure_told(world, [word], stray)
        ensure_same(world.tables(), expected, f"beside {stray}")

    return claim


def in_place_of_the_data(stray, word):
    """Nothing but strays on a date: it has not landed, and the message says what lies there."""

    def claim(world, _):
        world.plain()
        folder = world.folder / f"raw/clicks/dt={dt(2)}"
        content = (folder / "part-0.parquet").read_bytes()
        (folder / "part-0.parquet").unlink()
        folder.rmdir()
        world.put(f"raw/clicks/{stray}", content)
        ensure_not_landed(world, [dt(2), word], stray)

    return claim


def what_other_writers_leave(world, expected):
    """Files that begin with _ or . are nobody's data, and nothing is said of them."""
    world.plain()
    for log in SCHEMAS:
        for name in ("_SUCCESS", ".part-0.parquet.crc", "_committed_1", "._x", "_metadata"):
            world.put(f"raw/{log}/dt={dt(2)}/{name}", b"x")
        for name in ("_temporary/0/part-1.parquet", ".hive-staging_1/part-1.parquet"):
            world.put(f"raw/{log}/dt={dt(2)}/{name}", b"broken")
        world.put(f"raw/{log}/_SUCCESS", b"")
        world.put(f"raw/{log}/.spark-staging-1/dt={dt(2)}/part-9.parquet", b"broken")
    ended = world.backfill()
    ensure_same(world.tables(), expected, "what other writers leave")
    for word in ("_temporary", "_committed", "staging", "crc"):
        ensure(word not in ended.err, f"speaks of {word}\n{ended.err}")


def delta_dates(world, _):
    """In a Delta table a date has landed when it or a later one has rows."""
    COMPANIES["Delta tables"].move_in(world)
    ensure_not_landed(world, [dt(4)], "a Delta table", last=4)


def delta_table_without_dates(world, _):
    """A Delta table that is not partitioned by landing date has none."""
    world.plain("orders")
    place = str(world.folder / "raw/clicks")
    deltalake.write_deltalake(place, table("clicks", 1))
    arguments = ["--from", dt(1), "--to", dt(3)]
    ended = world.program("backfill", world.job_file, *arguments, codes=(2,))
    ensure_says(ended, ["raw/clicks"], "a Delta table without partitions")


def other_table_format(*files):
    def claim(world, _):
        world.plain()
        for name in files:
            world.put(f"raw/clicks/{name}", b"{}")
        arguments = ["--from", dt(1), "--to", dt(3)]
        ended = world.program("backfill", world.job_file, *arguments, codes=(2,))
        ensure_says(ended, ["raw/clicks"], files[0])
        ensure(not (world.folder / "warehouse").exists(), "something was written")

    return claim


def small_differences_of_a_name(theirs):
    """A column that is but for its spelling a known one is not taken for an absent one (B2)."""

    def claim(world, expected):
        for day in DAYS:
            rows = table("clicks", day)
            names = [theirs if name == "buyer_id" else name for name in rows.column_names]
            rows = rows.rename_columns(names)
            world.put(f"raw/clicks/dt={dt(day)}/part-0.parquet", stored(rows))
        world.plain("orders")
        arguments = ["--from", dt(1), "--to", dt(3)]
        for command, given in (("check", []), ("backfill", arguments)):
            ended = world.program(command, world.job_file, *given, codes=(2,))
            ensure_says(ended, [theirs, "buyer_id"], "a near miss")
        world.job(
            f'\norders = "raw/orders"\n\n[input.clicks]\npath = "raw/clicks"\n'
            f'columns = {{ buyer_id = "{theirs}" }}\n'
        )
        world.backfill()
        ensure_same(world.tables(), expected, "a near miss that is mapped")

    return claim


def numbers_are_no_times(world, _):
    """The message says which expression of a view makes times of them."""
    for day in DAYS:
        rows = table("clicks", day)
        times = rows.column(1).cast(pyarrow.timestamp("ms", tz="UTC")).cast(pyarrow.int64())
        rows = rows.set_column(1, "clicked_at", times)
        world.put(f"raw/clicks/dt={dt(day)}/part-0.parquet", stored(rows))
    world.plain("orders")
    ended = world.program("check", world.job_file, codes=(2,))
    ensure_says(ended, ["clicked_at", "to_timestamp_millis"], "a number for a time")


def a_mapped_name_that_is_nowhere(world, _):
    world.plain()
    inputs = (
        PLAIN.replace('clicks = "raw/clicks"\n', "") + '\n[input.clicks]\npath = "raw/clicks"\n'
    )
    world.job(inputs + 'columns = { buyer_id = "costumer" }\n')
    ended = world.program("check", world.job_file, codes=(2,))
    ensure_says(ended, ["buyer_id", "costumer"], "a mapped name that is nowhere")


def an_empty_file_of_another_schema(world, expected):
    """A file without rows may have any columns, or none that is known."""
    world.plain()
    nothing = pyarrow.table({"x": pyarrow.array([], pyarrow.float64())})
    texts = pyarrow.table({"clicked_at": pyarrow.array([], pyarrow.string())})
    world.put(f"raw/clicks/dt={dt(2)}/nothing.parquet", stored(nothing))
    world.put(f"raw/orders/dt={dt(2)}/nothing.parquet", stored(nothing))
    world.put(f"raw/clicks/dt={dt(3)}/texts.parquet", stored(texts))
    world.backfill()
    ensure_same(world.tables(), expected, "files without rows")


def alike_complaints(world, _):
    """A hundred files with one and the same fault are one complaint."""
    world.plain("clicks")
    place = ORDERS.get_field_index("amount")
    rows = table("orders", 1)
    rows = rows.set_column(place, "amount", rows.column("amount").cast(pyarrow.float64()))
    for number in range(100):
        world.put(f"raw/orders/dt={dt(1)}/part-{number}.parquet", stored(rows))
    dates = ["--from", dt(1), "--to", dt(1)]
    ended = world.program("backfill", world.job_file, *dates, codes=(2,))
    ensure_says(ended, ["amount", "99 more"], "alike complaints")
    lines = len(ended.err.splitlines())
    ensure(lines < 10, f"{lines} lines for one fault of 100 files\n{ended.err[:2000]}")


def unreadable(content, words):
    def claim(world, _):
        world.plain().put(f"raw/clicks/dt={dt(2)}/broken.parquet", content())
        dates = ["--from", dt(1), "--to", dt(3)]
        ended = world.program("backfill", world.job_file, *dates, codes=(2,))
        ensure_says(ended, ["broken.parquet", *words], "an unreadable file")
        ensure("Parquet error: Parquet error" not in ended.err, f"stutters\n{ended.err}")

    return claim


def encrypted():
    """With a footer key, as DuckDB writes it."""
    with duckdb.connect() as connection, tempfile.TemporaryDirectory() as folder:
        connection.execute("set force_mbedtls_unsafe = 'true'")
        connection.execute("pragma add_parquet_key('key', '0123456789112345')")
        connection.register("plain", table("clicks", 2))
        connection.execute(
            f"copy plain to '{folder}/x.parquet'"
            " (format parquet, encryption_config {footer_key: 'key'})"
        )
        return (pathlib.Path(folder) / "x.parquet").read_bytes()


def another_text_of_a_view(world, expected):
    """It outdates what the view has made: the same run makes it again."""
    company = COMPANIES["times as numbers"]
    company.move_in(world)
    right = company.views["clicks.sql"]
    wrong = right.replace("*,", "* except (country), 'FR' as country,")
    ensure(wrong != right, "the text is not another one")
    world.put("clicks.sql", wrong.encode())
    world.backfill()
    ensure(world.tables()["clean/clicks"] != expected["clean/clicks"], "the view does nothing")
    world.put("clicks.sql", right.encode())
    world.backfill()
    ensure_same(world.tables(), expected, "after another text of a view")


CLAIMS = {
    "hours: a date has landed with its last hour, or a later one": hours,
    "markers: a date has landed with its marker": markers,
    "a _SUCCESS alone lands a date": a_success_file_lands,
    "unread: sub-folders, beside the data": beside_the_data(
        f"dt={dt(2)}/hour=10/x.parquet", "hour=10"
    ),
    "unread: a name of Hive, beside the data": beside_the_data(f"dt={dt(2)}/000000_0", "000000_0"),
    "unread: another ending, beside the data": beside_the_data(
        f"dt={dt(2)}/part-1.pq", "part-1.pq"
    ),
    **{
        f"unread: {folder}, beside the data": beside_the_data(f"{folder}/x.parquet", folder)
        for folder in (
            "dt=2026-4-2",
            "dt=20260402",
            "2026-04-02",
            "DT=2026-04-02",
            "date=2026-04-02",
            "dt=__HIVE_DEFAULT_PARTITION__",
        )
    },
    "unread: only sub-folders": in_place_of_the_data(f"dt={dt(2)}/hour=10/x.parquet", "hour=10"),
    "unread: only a name of Hive": in_place_of_the_data(f"dt={dt(2)}/000000_0", "000000_0"),
    "unread: only a name of Athena": in_place_of_the_data(
        f"dt={dt(2)}/20260402_093210_00037_v74wa_1ad6", "20260402_093210_00037_v74wa_1ad6"
    ),
    "unread: only a date spelt otherwise": in_place_of_the_data(
        "dt=2026-4-2/x.parquet", "dt=2026-4-2"
    ),
    "what other writers leave is not told of": what_other_writers_leave,
    "Delta table: a date lands with rows of it or a later one": delta_dates,
    "Delta table: without landing dates": delta_table_without_dates,
    "Iceberg is refused": other_table_format(
        "metadata/v1.metadata.json", "metadata/version-hint.text"
    ),
    "Hudi is refused": other_table_format(".hoodie/hoodie.properties"),
    **{
        f"near miss of a column: {theirs}": small_differences_of_a_name(theirs)
        for theirs in ("BUYER_ID", "buyerId", "buyer-id", "Buyer Id")
    },
    "numbers are no times": numbers_are_no_times,
    "a mapped name that is nowhere": a_mapped_name_that_is_nowhere,
    "files without rows": an_empty_file_of_another_schema,
    "alike complaints are one": alike_complaints,
    "unreadable: cut short": unreadable(lambda: stored(table("clicks", 2))[:-20], ["Parquet"]),
    "unreadable: encrypted": unreadable(encrypted, ["encrypted"]),
    "another text of a view outdates what it made": another_text_of_a_view,
}
