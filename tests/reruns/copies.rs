//! Raw and reference files that were copied or restored are those of before, and outdate nothing; files
//! that only look alike are not (D8).

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, RecordBatch, StringArray};
use arrow::compute::{cast, concat_batches};
use arrow::datatypes::DataType;
use chrono::NaiveDate;
use lookback::plan::DateSelection;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::file::properties::WriterProperties;

use crate::in_memory::{World, made_afresh, wait_for, world};
use crate::nights::Unlanded;

const DAYS: usize = 6;
const TABLES: [&str; 5] = ["links", "stores", "rates", "fx_rates", "identities"];

async fn made() -> Unlanded {
    let unlanded = Unlanded::new(world(DAYS as u32)).await;
    unlanded.land_up_to(NaiveDate::MAX).await;
    unlanded.world.run(unlanded.world.backfill(0, DAYS - 1)).await.unwrap();
    unlanded
}

/// Runs that find nothing to do, several times.
async fn nothing_is_done(world: &World) {
    let before = world.state().await;
    for selection in [
        DateSelection::Night(world.date(3)),
        DateSelection::Night(world.date(4)),
        DateSelection::Stale,
        DateSelection::Night(world.date(5)),
        world.backfill(0, DAYS - 1),
    ] {
        let summary = world.run(selection).await.unwrap();
        assert!(summary.written.is_empty(), "{selection:?}: {:?}", summary.written);
        assert!(summary.reference.is_empty(), "{selection:?}: {:?}", summary.reference);
        assert!(summary.outdated.is_empty(), "{selection:?}: {:?}", summary.outdated);
    }
    assert_eq!(before, world.state().await);
}

#[test]
fn raw_and_reference_files_that_were_copied_outdate_nothing() {
    wait_for(async {
        let unlanded = made().await;
        let world = &unlanded.world;
        for _ in 0..2 {
            unlanded.land_up_to(NaiveDate::MAX).await;
            for table in TABLES {
                let object = format!("reference/{table}.csv");
                world.put(&object, world.text(&object).await).await;
            }
            nothing_is_done(world).await;
        }
        // A run that has something to do remembers what the copies look like.
        let landed = world.date(2);
        unlanded.land_up_to(NaiveDate::MAX).await;
        world
            .put(&format!("raw/clicks/dt={landed}/part-2.parquet"), one_more(world, landed).await)
            .await;
        let summary = world.run(DateSelection::Stale).await.unwrap();
        assert!(!summary.written.is_empty());
        nothing_is_done(world).await;
        assert_eq!(world.state().await, made_afresh(world, DAYS).await);
        // Copied once more, and once more.
        unlanded.land_up_to(NaiveDate::MAX).await;
        nothing_is_done(world).await;
    });
}

/// A file with other clicks.
async fn one_more(world: &World, dt: NaiveDate) -> Vec<u8> {
    rewritten(world, dt, "click_id", |id| format!("{id}-more")).await
}

/// The first click file of a landing date, with other texts in one column.
async fn rewritten(
    world: &World,
    dt: NaiveDate,
    column: &str,
    text: impl Fn(&str) -> String,
) -> Vec<u8> {
    use object_store::ObjectStoreExt;
    let path = object_store::path::Path::from(format!("raw/clicks/dt={dt}/part-0.parquet"));
    let content = world.store.get(&path).await.unwrap().bytes().await.unwrap();
    let rows = ParquetRecordBatchReaderBuilder::try_new(content).unwrap().build().unwrap();
    let rows: Vec<RecordBatch> = rows.map(|batch| batch.unwrap()).collect();
    let rows = concat_batches(&rows[0].schema(), &rows).unwrap();
    let schema = rows.schema();
    let columns = schema.fields().iter().zip(rows.columns()).map(|(field, values)| {
        let values = match field.name() == column {
            true => {
                let texts = cast(values, &DataType::Utf8).unwrap();
                let texts = texts.as_string::<i32>().iter();
                let texts = texts.map(|value| value.map(&text));
                Arc::new(texts.collect::<StringArray>()) as ArrayRef
            }
            false => values.clone(),
        };
        (field.name().clone(), values, true)
    });
    let rows = RecordBatch::try_from_iter_with_nullable(columns.collect::<Vec<_>>()).unwrap();
    let mut out = Vec::new();
    let plain = WriterProperties::builder().set_dictionary_enabled(false).build();
    let mut writer = ArrowWriter::try_new(&mut out, rows.schema(), Some(plain)).unwrap();
    writer.write(&rows).unwrap();
    writer.close().unwrap();
    out
}

#[test]
fn a_raw_file_of_the_same_name_and_size_with_other_rows_is_another_file() {
    wait_for(async {
        let unlanded = made().await;
        let world = &unlanded.world;
        let landed = world.date(2);
        let object = format!("raw/clicks/dt={landed}/part-0.parquet");
        let upper = rewritten(world, landed, "country", str::to_uppercase).await;
        let lower = rewritten(world, landed, "country", str::to_lowercase).await;
        assert_eq!(upper.len(), lower.len());
        world.put(&object, upper).await;
        world.run(DateSelection::Stale).await.unwrap();
        let clicks = world.state().await["clean.clicks"].clone();
        world.put(&object, lower).await;
        let summary = world.run(DateSelection::Stale).await.unwrap();
        assert!(summary.written["clean/clicks"].contains(&landed), "{summary}");
        assert_ne!(world.state().await["clean.clicks"], clicks);
        assert_eq!(world.state().await, made_afresh(world, DAYS).await);
    });
}

#[test]
fn a_raw_folder_that_is_gone_and_comes_back_outdates_nothing() {
    wait_for(async {
        let unlanded = made().await;
        let world = &unlanded.world;
        for day in [2, 3] {
            unlanded.take_away(world.date(day)).await;
        }
        let before = world.state().await;
        for selection in [DateSelection::Stale, DateSelection::Night(world.date(5))] {
            let summary = world.run(selection).await.unwrap();
            assert!(summary.written.is_empty(), "{summary}");
            assert!(summary.outdated.is_empty(), "{summary}");
        }
        unlanded.land(world.date(2)).await;
        let summary = world.run(DateSelection::Stale).await.unwrap();
        assert!(summary.written.is_empty() && summary.outdated.is_empty(), "{summary}");
        unlanded.land(world.date(3)).await;
        nothing_is_done(world).await;
        assert_eq!(before, world.state().await);
    });
}
