//! The shapes of our SQL, on one machine and on clusters of several sizes.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::record_batch::RecordBatch;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::prelude::DataFrame;
use lookback::engine::{Engine, SqlOverrides, Tuning};

use crate::tables::{Tables, cluster};

/// Queries whose rows do not depend on the order in which rows are read, each for what it could break:
/// what sees all rows at once, what is sent to all tasks, what has no rows, what has nulls.
const SHAPES: &[&str] = &[
    // Groups on one partition, then looked up.
    "select count(*) from (select key, count(*) as times from clean.many group by key) as counted
        right join clean.many as many on counted.key = many.number",
    "select many.number, counted.times from clean.one as many
        left join (select key, count(*) as times from clean.one group by key) as counted
            on counted.key = many.key",
    "select key, count(*), count(distinct name), min(name), max(number), sum(number)
        from clean.many group by key",
    "select count(*), min(number), max(number) from raw.many",
    "select count(*) from clean.nothing",
    "select distinct key, name from clean.many",
    "select key from clean.many group by key having count(*) > 30",
    "select array_agg(number order by number) from clean.many where key = 5",
    "select key, array_agg(name order by number desc) from raw.many group by key",
    // Windows: over all rows, over parts, without an order.
    "select number, row_number() over (order by number) from clean.many",
    "select number, row_number() over (order by number desc) from raw.one",
    "select count(distinct place), min(place), max(place)
        from (select row_number() over () as place from clean.many)",
    "select number, lag(key) over (order by number), lead(name) over (order by number)
        from clean.many",
    "select number, lag(number) over (partition by key order by number) from raw.many",
    "select number, ntile(7) over (order by number) from clean.one",
    "select number, sum(number) over (), count(*) over (partition by name) from clean.many",
    "select number, max(number) over (partition by key order by number
        rows between unbounded preceding and 1 preceding) from clean.many",
    "select number, first_value(number) over (partition by key order by number) from raw.many",
    "select number, running_count(key > 4) over (partition by name order by number)
        from clean.many",
    "select number from (select *, row_number() over (partition by key order by number desc) as place
        from raw.many) where place = 1",
    // Several tables as one.
    "select number, key from clean.many union all select number, key from raw.one",
    "select key from clean.many union select key from clean.few",
    "select key, count(*) from (select key from clean.many union all select key from raw.many
        union all select key from clean.nothing) group by key",
    "select key, sum(times) from (
        select key, count(*) as times from clean.many group by key
        union all select key, count(*) as times from raw.many group by key) group by key",
    "select one.key, one.times, other.times from
        (select key, count(*) as times from clean.many group by key) as one
        full join (select key, count(*) as times from clean.few group by key) as other
            on one.key = other.key",
    "select key from clean.many intersect select key from clean.few",
    "select key, name from clean.many except select key, name from clean.few",
    "select 1 as what, number from clean.one union all select 2, number from clean.few
        union all select 3, 7",
    // Joins of each kind, with nulls among the keys.
    "select many.number, few.number from clean.many as many
        inner join clean.few as few on many.key = few.key",
    "select many.number, few.number from clean.many as many
        left join clean.few as few on many.key = few.key",
    "select many.number, few.number from clean.few as few
        left join clean.many as many on many.key = few.key and many.number > 100",
    "select many.number, few.number from clean.few as few
        right join raw.many as many on many.key = few.key and few.number < many.number",
    "select many.number, few.number from clean.few as few
        full join clean.many as many on many.number = few.number * 100",
    "select one.number, other.number from clean.many as one
        inner join raw.many as other on one.number = other.number and one.name = other.name",
    "select one.number, other.number from clean.many as one
        full join raw.many as other on one.number = other.number + 300",
    "select count(*) from clean.few as few inner join clean.many as many
        on few.key is not distinct from many.key",
    "select one.number, nothing.number from clean.one as one
        left join clean.nothing as nothing on one.key = nothing.key",
    "select one.number from clean.nothing as nothing
        right join clean.one as one on one.key = nothing.key",
    "select count(*) from clean.nothing as nothing
        inner join clean.one as one on one.key = nothing.key",
    // Joins without an equation.
    "select few.number, many.number from clean.few as few
        inner join clean.many as many on many.number between few.number * 50 and few.number * 51",
    "select few.number, many.number from clean.few as few
        left join clean.many as many on many.number < few.number - 1",
    "select few.number, many.number from clean.many as many
        left join clean.few as few on many.number < few.number",
    "select few.number, many.number from clean.few as few
        right join clean.many as many on many.number < few.number",
    "select few.number, other.number from clean.few as few
        full join clean.few as other on few.number < other.number - 2",
    "select few.number, many.number from clean.few as few
        full join clean.many as many on many.number + 3 < few.number",
    "select count(*) from clean.few cross join clean.many",
    "select few.number from clean.few as few where exists (select 1 from clean.many as many
        where many.number > few.number * 120)",
    // Whether there is another row: semi, anti and mark joins; nulls in NOT IN.
    "select number from clean.many where key in (select key from clean.few)",
    "select number from clean.many where key not in (select key from clean.few where key is not null)",
    "select number from clean.many where key not in (select key from clean.few)",
    "select number from clean.few where key not in (select key from clean.many)",
    "select number from clean.few where number not in (select key from clean.many)",
    "select number from clean.many where number not in (select number from clean.few)",
    "select number from clean.many where key not in (select key from clean.nothing)",
    "select number from clean.many as many where not exists (
        select 1 from clean.few as few where few.key = many.key)",
    "select number from clean.few as few where not exists (
        select 1 from raw.many as many where few.key = many.key and many.number > few.number + 100)",
    "select number from clean.few as few where exists (
        select 1 from raw.many as many where few.number = many.number)",
    "select number from clean.many where key in (select key from clean.few) or number > 400",
    "select number from clean.few as few where number > 3 or exists (
        select 1 from clean.many as many where many.key = few.key)",
    "select number from clean.few as few where number > 3 or not exists (
        select 1 from clean.many as many where many.number > few.number * 130)",
    // Single values of other tables.
    "select number, (select max(number) from raw.many) - number from clean.one",
    "select number from clean.many where number > (select avg(number) from clean.one)",
    "select number, (select count(*) from raw.many as raw where raw.key = few.key) from clean.few as few",
    "select number, (select max(number) from clean.nothing) from clean.few",
    // Parts of an order.
    "select number from clean.many order by key, number limit 7",
    "select count(*) from (select number from clean.many limit 9)",
    "select number from clean.many order by number desc offset 3 limit 5",
    "select sum(few.number) from (select * from clean.few order by number limit 3) as few
        inner join clean.many as many on few.key = many.key",
    // Numbers of files and rows, which are the same wherever a file is divided.
    "select number, \"#file\", \"#row\" from raw.many",
    "select \"#file\", max(\"#row\"), count(*) from raw.many where number % 3 = 1 group by \"#file\"",
    "select \"#file\", \"#row\" from raw.one where number in (1, 41, 139)",
    // Our own functions.
    "select number, hash64(name), sort_key(number, timestamp '2026-04-01 00:00:00', 2)
        from clean.many",
    "select duplicated_values(key) from raw.many",
    "select unnest(ids) from (select duplicated_values(hash64(name)) as ids from clean.many)",
    "select key, local_date(to_timestamp_micros(number * 86400000000), 'Asia/Tokyo') from clean.many",
    // Types that travel as values.
    "select number from clean.many where cast(number as decimal(9, 2)) * 0.5 > 100.25
        and date '2026-04-01' + interval '1 day' < timestamp '2026-04-03 00:00:00'",
    "select number, case when key is null then null when key > 5 then 'more' else '' end
        from raw.many",
];

/// Queries whose rows come in an order.
const ORDERED: &[&str] = &[
    "select number, key from clean.many order by number",
    "select key, name, number from raw.many order by key nulls first, name desc, number",
    "select key, count(*) from clean.many group by key order by 2 desc, key",
    "select number from (select number from clean.many union all select number from raw.many)
        order by number desc",
    "select number, row_number() over (order by number) from clean.many order by number desc",
];

/// Engines for plans on so many partitions. Where `sql` has the same query several times, its plans
/// differ.
async fn plan(engine: &Engine, sql: &str, partitions: usize) -> Arc<dyn ExecutionPlan> {
    let frame = engine.read_only(sql).await.unwrap_or_else(|why| panic!("{sql}: {why}"));
    let (mut state, plan) = frame.into_parts();
    let options = state.config_mut().options_mut();
    options.execution.target_partitions = partitions;
    options.optimizer.repartition_sorts = partitions > 1;
    DataFrame::new(state, plan).create_physical_plan().await.unwrap()
}

fn texts(batches: &[RecordBatch]) -> Vec<String> {
    let options = FormatOptions::default().with_null("null");
    let mut rows = Vec::new();
    for batch in batches {
        let columns = batch.columns().iter();
        let columns: Vec<_> =
            columns.map(|column| ArrayFormatter::try_new(column, &options).unwrap()).collect();
        rows.extend((0..batch.num_rows()).map(|row| {
            let cells = columns.iter().map(|column| column.value(row).to_string());
            cells.collect::<Vec<_>>().join(" | ")
        }));
    }
    rows
}

/// Rows on one machine, and where they differ on a cluster.
async fn differences(is_ordered: bool, queries: &[&str]) -> BTreeMap<String, String> {
    let folder = tempfile::tempdir().unwrap();
    let tables = Tables::new(folder.path());
    let tuning = Tuning { partitions: 1, ..Tuning::default() };
    let here = Engine::new(&tuning, SqlOverrides::new()).unwrap();
    tables.register(&here);
    let mut differences = BTreeMap::new();
    for (workers, cores) in [(2, 2), (4, 1)] {
        let cluster = cluster(folder.path(), workers, cores).await;
        let there = here.working(cluster.clone()).unwrap();
        tables.register(&there);
        for sql in queries {
            let frame = here.read_only(sql).await.unwrap_or_else(|why| panic!("{sql}: {why}"));
            let rows = frame.collect().await.unwrap_or_else(|why| panic!("{sql}: {why}"));
            let mut expected = texts(&rows);
            let is_empty = sql.contains("nothing") || sql.contains("not in");
            assert!(!expected.is_empty() || is_empty, "{sql}: shows nothing");
            for partitions in [1, 2, 3] {
                let plan = plan(&there, sql, partitions).await;
                let found = cluster.collect("a shape", plan).await.map(|rows| texts(&rows));
                let mut found = found.unwrap_or_else(|why| vec![format!("{why:#}")]);
                if !is_ordered {
                    expected.sort();
                    found.sort();
                }
                if found != expected {
                    let what = format!("{workers} workers, {partitions} partitions: {sql}");
                    let first = found.iter().zip(&expected).find(|(one, other)| one != other);
                    let (found, expected) = (found.len(), expected.len());
                    let how = format!("{found} rows, not {expected}; {first:?}");
                    differences.insert(what, how);
                }
            }
        }
    }
    differences
}

#[tokio::test(flavor = "multi_thread")]
async fn shapes_of_our_sql_give_the_rows_of_one_machine() {
    let differences = differences(false, SHAPES).await;
    assert!(differences.is_empty(), "{differences:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_come_in_the_order_that_is_asked_for() {
    let differences = differences(true, ORDERED).await;
    assert!(differences.is_empty(), "{differences:#?}");
}
