//! What was made from inputs that changed since is found and made again, and nothing else is.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, RecordBatch, StringArray};
use arrow::compute::{cast, concat_batches};
use arrow::datatypes::DataType;
use bytes::Bytes;
use chrono::NaiveDate;
use lookback::plan::DateSelection;
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
                let again = ids.map(|id| id.map(|id| format!("{id}-again")));
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
    world.put(&format!("raw/{log}/dt={to}/part-again.parquet"), out).await;
}

async fn object(world: &World, name: &str) -> Bytes {
    use object_store::ObjectStoreExt;
    let path = object_store::path::Path::from(name);
    world.store.get(&path).await.unwrap().bytes().await.unwrap()
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
        // Local days begin eight hours after UTC ones. Its rows happened from one day before it to an
        // hour after it, so on the local days 0 to 2; so did those of the dates cleaned with it, to
        // day 5; and orders up to two days later look back to them.
        let reached = rewritten(&world, "attribution.conversions", &conversions).await;
        assert_eq!(reached, [0, 1, 2, 3, 4, 5, 6, 7].map(|day| world.date(day)));
        assert!(summary.outdated.is_empty(), "{:?}", summary.outdated);
        assert_eq!(world.state().await, made_afresh(&world, DAYS).await);
    });
}

#[test]
fn a_rate_corrected_in_hindsight_changes_the_dates_it_is_in_force_on() {
    wait_for(async {
        let world = published().await;
        let conversions = world.files("attribution.conversions").await;
        let from = format!("{}T08:00:00Z", world.date(5));
        let closed = format!(",,{from}\nstore,nobody,,0.5,{from},");
        world
            .edit(
                "reference/rates.csv",
                "category,baby,,0.09,,\n",
                &format!("category,baby,,0.09{closed}\n"),
            )
            .await;
        let summary = world.run(DateSelection::Stale).await.unwrap();
        let rewritten = rewritten(&world, "attribution.conversions", &conversions).await;
        assert_eq!(rewritten, [5, 6, 7].map(|day| world.date(day)));
        assert!(summary.report_dates.iter().all(|date| *date >= world.date(5)), "{summary}");
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
