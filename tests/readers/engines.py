"""Other engines take what `lookback ddl` prints, and then see what `lookback query` shows.

usage: engines.py path/to/lookback

Makes a small demo world in a folder whose name has a blank and an apostrophe. Runs the statements
for real, twice, in DuckDB, ClickHouse (chdb) and Sail, an engine that speaks Spark's SQL and reads
Delta Lake. Compares each table's rows, nulls and sums, all rows of each view, and the comments in
the engine's catalog. Spark itself, where Java is there, parses the statements and runs the views over
copies of the tables. Statements for engines that cannot be had here (Trino, Athena, Snowflake, BigQuery, Databricks) are
parsed by sqlglot. Lastly looks for everything in the tables that is known to break some reader.
"""

import collections
import datetime
import decimal
import json
import logging
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

import deltalake
import polars
import pyarrow
import pyarrow.parquet
import sqlglot
import yaml

MONEY = (decimal.Decimal, int, float)


def ask(program, *arguments):
    run = subprocess.run([program, *arguments], capture_output=True, text=True)
    assert run.returncode == 0, f"lookback {' '.join(arguments)}\n{run.stderr}"
    return run.stdout


def statements(text):
    """The statements of a text, without the comments at its top."""
    text = "\n".join(line for line in text.splitlines() if not line.startswith("--"))
    return [part.strip() for part in re.split(r";\s*$", text, flags=re.M) if part.strip()]


class World:
    """A demo world, what it should look like from outside, and who has to say so."""

    def __init__(self, program, folder):
        self.program = program
        folder = pathlib.Path(folder) / "it's a demo"
        ask(program, "demo", str(folder), "--days", "8", "--clicks-per-day", "500")
        self.job = str(folder / "job.toml")
        self.root = folder / "warehouse"
        # Polars and Sail find no file below a folder with a blank.
        plain = folder.with_name("demo")
        shutil.copytree(folder, plain)
        self.plain_job, self.plain_root = str(plain / "job.toml"), plain / "warehouse"
        # The one list of tables, columns and notes, as dbt gets it.
        sources = yaml.safe_load(self.ddl("dbt"))
        self.sources = {
            f"{source['name']}.{table['name']}": table
            for source in sources["sources"]
            for table in source["tables"]
        }
        self.views = [name for name in self.sources if name.startswith("view.")]
        self.tables = [name for name in self.sources if name not in self.views]
        self.expected = {name: self.query(self.figures(name))[0] for name in self.tables}
        self.expected_views = {name: self.query(f"select * from {name}") for name in self.views}
        assert all(self.expected_views.values()), "each view should have rows"

    def ddl(self, dialect, *options, job=None):
        return ask(self.program, "ddl", job or self.job, "--dialect", dialect, *options)

    def query(self, sql):
        printed = ask(self.program, "query", self.job, sql, "--format", "json")
        return json.loads(printed, parse_float=decimal.Decimal)

    def columns(self, name):
        return {column["name"]: column for column in self.sources[name]["columns"]}

    def figures(self, name):
        """A query for the rows of a table, for its values that are not null, and for its sums."""
        figures = ["count(*) as rows_"]
        for column, about in self.columns(name).items():
            figures.append(f"count({column}) as {column}_count")
            if about["data_type"].startswith(("decimal", "bigint")):
                figures.append(f"sum({column}) as {column}_sum")
        return f"select {', '.join(figures)} from {name}"

    def compare(self, engine, read):
        """Compares what `read` answers, as a list of dictionaries, with lookback's own answers."""
        for name in self.tables:
            same(f"{engine}: {name}", [self.expected[name]], read(self.figures(name)))
        self.compare_views(engine, read)

    def compare_views(self, engine, read):
        for name in self.views:
            rows = read(f"select * from {name}")
            if rows is not None:
                same(f"{engine}: {name}", self.expected_views[name], rows)


def plain(value):
    """One spelling for a value, whoever gives it."""
    if isinstance(value, bool) or value is None:
        return value
    if isinstance(value, MONEY):
        return decimal.Decimal(str(value)).normalize() + 0
    if isinstance(value, datetime.datetime):
        return value.astimezone(datetime.timezone.utc).isoformat()
    if isinstance(value, datetime.date):
        return value.isoformat()
    return value


def same(what, ours, theirs):
    numbers = {
        name for row in theirs for name, value in row.items()
        if isinstance(value, MONEY) and not isinstance(value, bool)
    }

    def counted(rows):
        return collections.Counter(
            tuple(sorted(
                (name, plain(decimal.Decimal(value) if name in numbers and value is not None
                             else value))
                for name, value in row.items()
            ))
            for row in rows
        )

    ours, theirs = counted(ours), counted(theirs)
    if ours != theirs:
        print(f"{what}: other rows than lookback query")
        for row, other in list(zip((ours - theirs), (theirs - ours)))[:3]:
            print("  ours, theirs", [pair for pair in zip(row, other) if pair[0] != pair[1]])
        print(f"  {len(ours - theirs)} only ours, {len(theirs - ours)} only theirs")
        sys.exit(1)


def same_notes(what, expected, found):
    wrong = {key: (note, found.get(key)) for key, note in expected.items() if found.get(key) != note}
    assert not wrong, f"{what}: other comments: {list(wrong.items())[:3]}"


def notes(world, names):
    """The comments by (table, column); of the table itself by (table, None)."""
    found = {}
    for name in names:
        found[name, None] = world.sources[name]["description"]
        for column, about in world.columns(name).items():
            found[name, column] = about["description"]
    return found


def duckdb_reads(world):
    import duckdb
    import duckdb_extension_delta

    folder = pathlib.Path(duckdb_extension_delta.__file__).parent
    connection = duckdb.connect()
    connection.load_extension(str(next(folder.rglob("delta.duckdb_extension"))))
    # A session in another zone sees the same days.
    connection.execute("set TimeZone = 'Asia/Tokyo'")
    for _ in range(2):
        connection.execute(world.ddl("duckdb"))

    def read(sql):
        return connection.execute(sql).to_arrow_table().to_pylist()

    world.compare("DuckDB", read)
    found = {
        (f"{row['schema_name']}.{row['view_name']}", None): row["comment"]
        for row in read("select schema_name, view_name, comment from duckdb_views()")
    }
    found |= {
        (f"{row['schema_name']}.{row['table_name']}", row["column_name"]): row["comment"]
        for row in read("select schema_name, table_name, column_name, comment from duckdb_columns()")
    }
    same_notes("DuckDB", notes(world, world.sources), found)
    connection.execute(world.ddl("duckdb", "--prefix", "acme_"))
    (row,) = read("select count(*) as count from acme_view.performance_by_day")
    assert row["count"] > 0
    print(f"DuckDB {duckdb.__version__}: ran twice; tables, views and comments are the same")


def clickhouse_reads(world):
    import chdb
    from chdb import session

    opened = session.Session()
    for _ in range(2):
        for statement in statements(world.ddl("clickhouse")):
            opened.query(statement)

    def read(sql):
        answer = opened.query(sql, "Arrow").bytes()
        return pyarrow.ipc.open_file(answer).read_all().to_pylist() if answer else []

    world.compare("ClickHouse", read)
    found = {
        (f"{row['database']}.{row['name']}", None): row["comment"]
        for row in read("select database, name, comment from system.tables")
    }
    found |= {
        (f"{row['database']}.{row['table']}", row["name"]): row["comment"]
        for row in read("select database, table, name, comment from system.columns")
    }
    same_notes("ClickHouse", notes(world, world.sources), found)
    opened.close()
    print(f"ClickHouse {chdb.engine_version}: ran twice; tables, views and comments are the same")


def python_reads(world):
    """Readers without a catalog: comments come from the log."""
    found = {}
    for name in world.tables:
        path = str(world.root / name.replace(".", "/"))
        table = deltalake.DeltaTable(path)
        found[name, None] = table.metadata().description
        for field in table.schema().fields:
            found[name, field.name] = field.metadata.get("comment")
        frame = polars.read_delta(str(world.plain_root / name.replace(".", "/")))
        for reader, rows in [("Polars", frame), ("deltalake", polars.from_arrow(table.to_pyarrow_table()))]:
            row = {"rows_": rows.height}
            for column, about in world.columns(name).items():
                row[f"{column}_count"] = rows.height - rows[column].null_count()
                if about["data_type"].startswith(("decimal", "bigint")):
                    values = [value for value in rows[column].to_list() if value is not None]
                    row[f"{column}_sum"] = sum(values) if values else None
            same(f"{reader}: {name}", [world.expected[name]], [row])
    same_notes("the tables' logs", notes(world, world.tables), found)
    print(f"Polars {polars.__version__}, deltalake {deltalake.__version__}: tables are the same; "
          "the logs have the comments")


def sail_reads(world):
    """Runs the text for Spark and Databricks in an engine that is not Spark, but speaks its SQL."""
    from pysail.spark import SparkConnectServer
    from pyspark.errors import SparkRuntimeException
    from pyspark.sql import SparkSession

    server = SparkConnectServer("127.0.0.1", 0)
    server.start(background=True)
    _, port = server.listening_address
    spark = SparkSession.builder.remote(f"sc://127.0.0.1:{port}").getOrCreate()

    def read(sql):
        try:
            return spark.sql(sql).toArrow().to_pylist()
        except SparkRuntimeException as error:
            # A fault of Sail's own planner, where one side of a union is empty.
            if "Physical input schema should be the same" not in str(error):
                raise
            print(f"SKIPPED: Sail cannot plan: {sql}", flush=True)
            return None

    try:
        for _ in range(2):
            for statement in statements(world.ddl("spark", job=world.plain_job)):
                spark.sql(statement)
        world.compare("Sail", read)
        found = {}
        for name in world.views:
            rows = read(f"describe extended {name}")
            for row in rows:
                found.setdefault((name, row["col_name"]), row["comment"])
                if row["col_name"] == "Comment":
                    found[name, None] = row["data_type"]
        same_notes("Sail", notes(world, world.views), found)
    finally:
        # The session first: it waits for the server's answer.
        spark.stop()
        server.stop()
    print("Spark's text, run twice by Sail: tables and views are the same; so are comments on views")


def spark_parses(world, object_stores):
    """Spark's own parser takes the statements; Spark runs the views over copies of the tables."""
    if shutil.which("java") is None:
        print("SKIPPED: Spark itself: there is no Java")
        return
    print("SKIPPED: Spark over the Delta tables themselves: no Delta jar can be had from PyPI")
    import pyspark
    from pyspark.sql import SparkSession

    # Sail's client has set it.
    os.environ.pop("SPARK_CONNECT_MODE_ENABLED", None)
    copies = world.plain_root.parent / "copies"
    spark = (
        SparkSession.builder.master("local[2]")
        .config("spark.sql.shuffle.partitions", "1")
        .config("spark.sql.session.timeZone", "Asia/Tokyo")
        .config("spark.sql.warehouse.dir", str(copies))
        .config("spark.ui.enabled", "false")
        .config("spark.ui.showConsoleProgress", "false")
        .getOrCreate()
    )
    spark.sparkContext.setLogLevel("OFF")
    parser = spark._jsparkSession.sessionState().sqlParser()
    count = 0
    for text in [*object_stores["spark"], *object_stores["databricks"]]:
        for statement in statements(text):
            parser.parsePlan(statement)
            count += 1
    for name in world.tables:
        schema, table = name.split(".")
        rows = deltalake.DeltaTable(str(world.root / schema / table)).to_pyarrow_table()
        (copies / name).mkdir(parents=True)
        pyarrow.parquet.write_table(rows, copies / name / "rows.parquet")
        spark.sql(f"create schema if not exists {schema}")
        spark.sql(f"create table {name} using parquet location '{copies / name}'")
    for _ in range(2):
        for statement in statements(world.ddl("spark", "--only", "views")):
            spark.sql(statement)

    def read(sql):
        return [row.asDict() for row in spark.sql(sql).collect()]

    world.compare_views("Spark", read)
    spark.stop()
    print(f"Spark {pyspark.__version__}: parses {count} statements; views over copies of the tables "
          "are the same")


# Statements that sqlglot hands on unread, by dialect: how they begin, why, and a rewriting that it
# does read, so that the rest of the statement is looked at all the same. Nothing else may be unread.
UNREAD = {
    "bigquery": (
        "create or replace external table",
        "it does not know `with connection`, and reads them without it",
        lambda statement: re.sub(r"\nwith connection `\w+`", "", statement),
    ),
    "trino": (
        "call system.register_table",
        "it reads no `call`, and reads them as a function",
        lambda statement: re.sub("^call ", "select ", statement),
    ),
}


def sqlglot_parses(object_stores):
    # It warns of what it does not read; here that is counted.
    logging.getLogger("sqlglot").setLevel(logging.ERROR)
    for dialect, texts in object_stores.items():
        beginning, why, rewritten = UNREAD.get(dialect, (None, None, None))
        read = unread = 0
        for statement in (statement for text in texts for statement in statements(text)):
            (parsed,) = sqlglot.parse(statement, read=dialect)
            if parsed.key != "command":
                read += 1
                continue
            assert beginning and statement.startswith(beginning), f"{dialect}: unread: {statement}"
            (parsed,) = sqlglot.parse(rewritten(statement), read=dialect)
            assert parsed.key != "command", f"{dialect}: unread: {statement}"
            unread += 1
        print(f"sqlglot {sqlglot.__version__}: {dialect}: {read} statements parsed"
              + (f", {unread} NOT parsed as they are ({beginning}: {why})" if unread else ""))


def elsewhere(world):
    """The statements for roots on object stores, by dialect; refusals of what an engine cannot read."""
    job = pathlib.Path(world.job)
    texts = collections.defaultdict(list)
    dialects = "duckdb spark trino athena snowflake bigquery clickhouse databricks".split()
    os.environ["AZURE_STORAGE_ACCOUNT_NAME"] = "acme"
    refused = collections.Counter()
    for root in ["s3://acme/lake's", "gs://acme/lake", "az://acme/lake", None]:
        other = job.with_name("other.toml")
        text = job.read_text()
        other.write_text(re.sub(r'(?m)^root = .*$', f'root = "{root}"', text) if root else text)
        for dialect in dialects:
            run = subprocess.run([world.program, "ddl", str(other), "--dialect", dialect],
                                 capture_output=True, text=True)
            if run.returncode:
                assert run.returncode == 2 and "hint:" in run.stderr, run.stderr
                refused[dialect] += 1
            else:
                texts[dialect].append(run.stdout)
    expected = {"athena": 3, "trino": 1, "snowflake": 1, "bigquery": 1, "databricks": 1}
    assert refused == expected, refused
    return texts


def dbt_takes(world):
    """The keys that dbt tests are those of the tables: rows of a key are one."""
    tested = 0
    for name, table in world.sources.items():
        keys = [column for column, about in world.columns(name).items()
                if "not_null" in about.get("data_tests", [])]
        for test in table.get("data_tests", []):
            arguments = test["dbt_utils.unique_combination_of_columns"]["arguments"]
            assert sorted(arguments["combination_of_columns"]) == sorted(keys), name
        if keys:
            key = ", ".join(keys)
            sql = f"select {key} from {name} group by {key} having count(*) > 1"
            assert not world.query(sql), name
            tested += 1
    prefixed = yaml.safe_load(world.ddl("dbt", "--prefix", "acme_"))
    assert [source["name"] for source in prefixed["sources"]][-1] == "acme_view"
    print(f"sources.yml: {len(world.sources)} tables and views, {tested} of them with a key")


def nothing_breaks_readers(world):
    """What is known to break some reader is in none of the tables."""
    types = re.compile(r"string|date|timestamp|long|boolean|decimal\(\d+,\d+\)")
    files = 0
    for name in world.tables:
        folder = world.root / name.replace(".", "/")
        table = deltalake.DeltaTable(str(folder))
        protocol = table.protocol()
        assert protocol.min_reader_version == 1 and not protocol.reader_features, name
        fields = table.schema().fields
        for field in fields:
            assert types.fullmatch(field.type.type), field
        partitions = table.metadata().partition_columns
        stored = [field.name for field in fields if field.name not in partitions]
        # Readers that list folders, such as DuckDB's read_parquet, find the table's files and no others.
        there = [path for path in folder.rglob("*.parquet") if "_delta_log" not in path.parts]
        live = [pathlib.PurePath(path).name for path in table.file_uris()]
        assert sorted(path.name for path in there) == sorted(live), name
        for path in there:
            schema = pyarrow.parquet.ParquetFile(path)
            names = schema.schema_arrow.names
            assert names == stored, f"{path}: has {names}, not {stored}"
            for column in range(len(names)):
                physical = schema.schema.column(column)
                arrow = schema.schema_arrow.field(column).type
                assert physical.physical_type != "INT96", path
                assert not pyarrow.types.is_unsigned_integer(arrow), path
                assert not pyarrow.types.is_timestamp(arrow) or (arrow.unit, arrow.tz) == ("us", "UTC")
                assert not pyarrow.types.is_dictionary(arrow), path
            files += 1
        for added in pyarrow.table(table.get_add_actions(flatten=True)).to_pylist():
            for column in partitions:
                value = added[f"partition.{column}"]
                assert isinstance(value, datetime.date), f"{name}: {column} is {value!r}"
    print(f"in {files} files nothing that breaks readers: reader version 1, microseconds in UTC, no "
          "partition column in files, all columns in all files, no strange file or type")


def main(program):
    program = os.path.abspath(program)
    with tempfile.TemporaryDirectory() as folder:
        # ClickHouse reads no local files but those below the folder in which it runs.
        os.chdir(folder)
        world = World(program, folder)
        object_stores = elsewhere(world)
        python_reads(world)
        duckdb_reads(world)
        clickhouse_reads(world)
        dbt_takes(world)
        nothing_breaks_readers(world)
        sqlglot_parses(object_stores)
        sail_reads(world)
        spark_parses(world, object_stores)


if __name__ == "__main__":
    main(sys.argv[1])
