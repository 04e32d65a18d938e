//! What was made from inputs that changed since is found and made again, and nothing else is.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, StringArray};
use arrow::compute::{cast, concat_batches};
use arrow::datatypes::DataType;
use bytes::Bytes;
use chrono::NaiveDate;
use lookback::plan::DateSelection;
use lookback::warehouse::Warehouse;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use rand::{Rng, SeedableRng};
use rand_pcg::Pcg32;

use crate::in_memory::{World, made_afresh, wait_for, world};

const DAYS: usize = 8;

/// The dates of a table that have another file than before.
async fn rewritten(
    world: &World,
    table: &str,
    before: &BTreeMap<NaiveDate, String>,
) -> Vec<NaiveDate> {
    let now = world.files(table).await;
    now.into_iter()
        .filter(|(date, file)| before.get(date) != Some(file))
        .map(|(date, _)| date)
        .collect()
}

/// Lets the rows of a raw file land once more, under ids of their own.
async fn land_again(world: &World, log: &str, id: &str, from: NaiveDate, to: NaiveDate) {
    land_once_more(world, log, id, (from, to), "-again").await;
}

/// Lets the rows of a raw file land once more, on another date perhaps, with this after their ids.
pub async fn land_once_more(
    world: &World,
    log: &str,
    id: &str,
    (from, to): (NaiveDate, NaiveDate),
    suffix: &str,
) {
    let content = object(world, &format!("raw/{log}/dt={from}/part-0.parquet")).await;
    let rows = ParquetRecordBatchReaderBuilder::try_new(content).unwrap().build().unwrap();
    let rows: Vec<RecordBatch> = rows.map(|batch| batch.unwrap()).collect();
    let rows = concat_batches(&rows[0].schema(), &rows).unwrap();
    let schema = rows.schema();
    let columns = schema.fields().iter().zip(rows.columns()).map(|(field, column)| {
        let column = match field.name() == id {
            true => {
                let ids = cast(column, &DataType::Utf8).unwrap();
                let ids = ids.as_string::<i32>().iter();
                let again = ids.map(|id| id.map(|id| format!("{id}{suffix}")));
                Arc::new(again.collect::<StringArray>()) as ArrayRef
            }
            false => column.clone(),
        };
        (field.name().clone(), column)
    });
    let rows = RecordBatch::try_from_iter(columns.collect::<Vec<_>>()).unwrap();
    let mut out = Vec::new();
    let mut writer = ArrowWriter::try_new(&mut out, rows.schema(), None).unwrap();
    writer.write(&rows).unwrap();
    writer.close().unwrap();
    world.put(&format!("raw/{log}/dt={to}/part-of-{from}{suffix}.parquet"), out).await;
}

async fn object(world: &World, name: &str) -> Bytes {
    use object_store::ObjectStoreExt;
    let path = object_store::path::Path::from(name);
    world.store.get(&path).await.unwrap().bytes().await.unwrap()
}

/// Texts of two columns of all conversions, with their order dates.
async fn conversion_texts(
    world: &World,
    columns: [&str; 2],
) -> Vec<(NaiveDate, [Option<String>; 2])> {
    let mut found = Vec::new();
    for (date, file) in world.files("attribution.conversions").await {
        let content = object(world, &format!("warehouse/attribution/conversions/{file}")).await;
        for batch in ParquetRecordBatchReaderBuilder::try_new(content).unwrap().build().unwrap() {
            let batch = batch.unwrap();
            let texts = columns
                .map(|name| cast(batch.column_by_name(name).unwrap(), &DataType::Utf8).unwrap());
            let text = |column: usize, row: usize| {
                let texts = texts[column].as_string::<i32>();
                texts.is_valid(row).then(|| texts.value(row).to_owned())
            };
            found.extend((0..batch.num_rows()).map(|row| (date, [text(0, row), text(1, row)])));
        }
    }
    found
}

async fn published() -> World {
    let world = world(DAYS as u32);
    world.run(world.backfill(0, DAYS - 1)).await.unwrap();
    world
}

#[test]
fn nothing_changed_and_nothing_is_done() {
    wait_for(async {
        let world = published().await;
        let before = world.state().await;
        for selection in
            [world.backfill(0, DAYS - 1), DateSelection::Stale, DateSelection::Night(world.date(5))]
        {
            let summary = world.run(selection).await.unwrap();
            assert!(summary.written.is_empty(), "{selection:?}: {:?}", summary.written);
            assert!(summary.report_dates.is_empty());
        }
        assert_eq!(before, world.state().await);
    });
}

#[test]
fn a_further_click_file_reaches_the_order_dates_whose_window_it_touches() {
    wait_for(async {
        let world = published().await;
        let conversions = world.files("attribution.conversions").await;
        let clicks = world.files("clean.clicks").await;
        // It lands on the third day (UTC); the window is two days, rows land up to one day late.
        let landed = world.date(2);
        land_again(&world, "clicks", "click_id", landed, landed).await;
        let summary = world.run(DateSelection::Stale).await.unwrap();
        // Ids of the date and of the three after it decide duplicates together.
        let cleaned = rewritten(&world, "clean.clicks", &clicks).await;
        assert_eq!(cleaned, [2, 3, 4, 5].map(|day| world.date(day)));
        // Local days begin eight hours after UTC ones, and no row of it is late: they happened on the
        // days 1 and 2. Orders up to two days later look back to them. The dates cleaned with it have
        // the rows that they had.
        let warehouse = Warehouse::open(&world.job.root).await.unwrap();
        let files = &warehouse.table("clean.clicks").unwrap().files;
        let file = files.iter().find(|file| file.partition.date == landed).unwrap();
        assert_eq!(
            file.row_digests.keys().copied().collect::<Vec<_>>(),
            [1, 2].map(|day| world.date(day))
        );
        let reached = rewritten(&world, "attribution.conversions", &conversions).await;
        assert_eq!(reached, [1, 2, 3, 4].map(|day| world.date(day)));
        assert!(summary.outdated.is_empty(), "{:?}", summary.outdated);
        assert_eq!(world.state().await, made_afresh(&world, DAYS).await);
    });
}

#[test]
fn a_rate_corrected_in_hindsight_changes_the_dates_it_is_in_force_on() {
    wait_for(async {
        let world = published().await;
        let conversions = world.files("attribution.conversions").await;
        // Lines of a category that had no rate: it goes before the rate of their store.
        let rates = world.text("reference/rates.csv").await;
        let mut dates_of: BTreeMap<String, BTreeSet<NaiveDate>> = BTreeMap::new();
        for (date, [category, source]) in
            conversion_texts(&world, ["category_id", "rate_source"]).await
        {
            let is_lower = matches!(source.as_deref(), Some("store" | "default"));
            if let Some(category) =
                category.filter(|category| is_lower && !rates.contains(category))
            {
                dates_of.entry(category).or_default().insert(date);
            }
        }
        let (category, dates) = dates_of.into_iter().max_by_key(|(_, dates)| dates.len()).unwrap();
        let from = world.date(4);
        let expected: Vec<_> = dates.iter().copied().filter(|date| *date >= from).collect();
        assert!(!expected.is_empty() && expected.len() < dates.len(), "{category}: {dates:?}");
        let row = format!("category,{category},,0.35,{from},\nstore,nobody,,0.5,{from},\n");
        world.put("reference/rates.csv", rates + &row).await;
        let summary = world.run(DateSelection::Stale).await.unwrap();
        let rewritten = rewritten(&world, "attribution.conversions", &conversions).await;
        assert_eq!(rewritten, expected);
        assert!(summary.report_dates.iter().all(|date| *date >= from), "{summary}");
        assert_eq!(world.state().await, made_afresh(&world, DAYS).await);
    });
}

#[test]
fn whatever_changes_stale_dates_end_as_if_made_afresh() {
    wait_for(async {
        let published = published().await;
        for seed in 0..8 {
            let mut dice = Pcg32::seed_from_u64(seed);
            let world = published.fork();
            let mut changes = Vec::new();
            for _ in 0..dice.random_range(1..3) {
                let day = world.date(dice.random_range(0..DAYS));
                let what = dice.random_range(0..5);
                match what {
                    0 => land_again(&world, "clicks", "click_id", day, day).await,
                    1 => land_again(&world, "orders", "event_id", day, day).await,
                    2 => world.edit("reference/rates.csv", ",0.0", ",0.1").await,
                    3 => {
                        let links = world.text("reference/links.csv").await;
                        let ended: Vec<String> = links
                            .lines()
                            .map(|line| match line.ends_with(",,") {
                                true => format!("{}{day}", line),
                                false => line.to_owned(),
                            })
                            .collect();
                        world.put("reference/links.csv", ended.join("\n") + "\n").await;
                    }
                    _ => {
                        let stores = world.text("reference/stores.csv").await;
                        let first: Vec<&str> = stores.lines().take(4).collect();
                        world.put("reference/stores.csv", first.join("\n") + "\n").await;
                    }
                }
                changes.push((what, day));
            }
            if let Err(stop) = world.run(DateSelection::Stale).await {
                panic!("seed {seed}, {changes:?}: {stop}");
            }
            assert_eq!(
                world.state().await,
                made_afresh(&world, DAYS).await,
                "seed {seed}, {changes:?}"
            );
            let again = world.run(DateSelection::Stale).await.unwrap();
            assert!(again.written.is_empty(), "seed {seed}, {changes:?}: {again}");
        }
    });
}
