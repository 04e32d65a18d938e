//! What is asked of an object store before anything is made, and that it is found as on a disk.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, StringArray, TimestampMicrosecondArray};
use bytes::Bytes;
use chrono::NaiveDate;
use lookback::location::{Location, Store};
use lookback::raw::{Log, RawLog, Source};
use lookback::reference::{Heads, Reference};
use lookback::warehouse::Warehouse;
use object_store::ObjectStoreExt;
use object_store::memory::InMemory;
use object_store::path::Path;
use parquet::arrow::ArrowWriter;
use parquet::file::metadata::KeyValue;
use parquet::file::properties::WriterProperties;

use crate::failing_store::FailingStore;
use crate::in_memory::wait_for;

/// The objects of a log, by their names within it.
type Objects = BTreeMap<String, Bytes>;

fn day(number: u64) -> NaiveDate {
    NaiveDate::from_ymd_opt(2026, 1, 1).unwrap() + chrono::Days::new(number)
}

/// So many landing dates with so many files each.
fn log_of(days: u64, files: u64) -> Objects {
    let names = (0..days).flat_map(|number| {
        (0..files).map(move |file| format!("dt={}/part-{file}.parquet", day(number)))
    });
    names.map(|name| (name, Bytes::from("rows"))).collect()
}

/// What lies in a log besides the objects of its landing dates.
fn clutter() -> Objects {
    let names = [
        "README.md",
        "_spark_metadata/0",
        "dt=2025-12-31/of-an-earlier-date.parquet",
        "dt=2026-01-03/_SUCCESS",
        "dt=2026-01-05/hour=12/part-0.parquet",
        "dt=2026-01-05-copy/part-0.parquet",
        "dt=2026-1-6/part-0.parquet",
        "dt=2026-01-77/part-0.parquet",
        "dt=2026-03-28/hour=12/part-0.parquet",
        "dt=2026-03-29/_SUCCESS",
        "dt=someday/part-0.parquet",
        "year=2026/dt=2026-01-07/part-9.parquet",
    ];
    names.map(|name| (name.to_owned(), Bytes::from("rows"))).into()
}

fn on_disk(objects: &Objects) -> (tempfile::TempDir, Location) {
    let folder = tempfile::tempdir().unwrap();
    for (name, content) in objects {
        let path = folder.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    }
    let location = Location::parse(folder.path().to_str().unwrap(), folder.path()).unwrap();
    (folder, location)
}

async fn on_object_storage(objects: &Objects) -> (FailingStore, Location) {
    let store = InMemory::new();
    for (name, content) in objects {
        store.put(&Path::from(format!("raw/{name}")), content.clone().into()).await.unwrap();
    }
    let counting = FailingStore::counting(Arc::new(store));
    let location = Location::parse("s3://world/raw", std::path::Path::new("/")).unwrap();
    (counting.clone(), location.in_store(&Store::of(Arc::new(counting))))
}

async fn listed(location: &Location) -> RawLog {
    let wanted = |dt: NaiveDate| dt != day(8);
    let sources = [Source::plain(location.clone())];
    RawLog::list(Log::Clicks, &sources, Some(day(2)), Some(day(90)), wanted).await.unwrap()
}

/// The names of the Parquet files of each landing date.
fn files(log: &RawLog) -> BTreeMap<NaiveDate, Vec<String>> {
    let names = |dt| log.files(dt).map(|file| file.location.filename().unwrap().to_owned());
    log.dates().into_iter().map(|dt| (dt, names(dt).collect())).collect()
}

#[test]
fn an_object_store_lists_a_log_at_once_and_finds_what_a_disk_finds() {
    wait_for(async {
        // The names of the folders are asked for at the same time, for those that are no dates (B5).
        // 40 dates fit into a page. 400 dates with three files each do not: a page is in vain, then
        // each date is listed, from the third to the 91st without the ninth.
        for (objects, calls) in [(log_of(40, 1), 1 + 1), (log_of(400, 3), 1 + 1 + 88)] {
            let objects: Objects = objects.into_iter().chain(clutter()).collect();
            let (_folder, disk) = on_disk(&objects);
            let expected = files(&listed(&disk).await);
            assert!(expected.len() > 35 && expected.contains_key(&day(87)), "{expected:?}");
            let (store, location) = on_object_storage(&objects).await;
            // As some tools mark a folder.
            store.put(&Path::from("raw/dt=2026-03-30"), Bytes::new().into()).await.unwrap();
            let before = store.calls();
            assert_eq!(files(&listed(&location).await), expected);
            assert_eq!(store.calls() - before, calls);
        }
    });
}

#[test]
fn a_log_without_any_landing_date_is_a_wrong_location() {
    wait_for(async {
        let is_wrong = async |names: &[&str]| {
            let objects = names.iter().map(|name| ((*name).to_owned(), Bytes::new())).collect();
            let (_folder, disk) = on_disk(&objects);
            let (_, location) = on_object_storage(&objects).await;
            let complaints = [&disk, &location]
                .map(async |location| listed(location).await.refuse_wrong_location().len() == 1);
            let [disk, store] = complaints;
            (disk.await, store.await)
        };
        assert_eq!(is_wrong(&[]).await, (true, true));
        assert_eq!(is_wrong(&["README.md", "day=2026-01-05/part"]).await, (true, true));
        // Dates that are not wanted, or that have not landed, tell that the location is right.
        assert_eq!(is_wrong(&["dt=2020-01-01/part"]).await, (false, false));
        assert_eq!(is_wrong(&["dt=2026-01-05/hour=1/part"]).await, (false, false));
    });
}

/// A raw file of clicks. Its footer has so many bytes more than it needs.
fn clicks(row: u64, further_bytes: usize) -> Bytes {
    let text = || Arc::new(StringArray::from(vec![format!("row {row}")])) as ArrayRef;
    let columns = [
        ("click_id", text()),
        ("clicked_at", Arc::new(TimestampMicrosecondArray::from(vec![0])) as ArrayRef),
        ("url", text()),
    ];
    let rows = RecordBatch::try_from_iter(columns).unwrap();
    let note = KeyValue::new("note".to_owned(), "x".repeat(further_bytes));
    let properties = WriterProperties::builder().set_key_value_metadata(Some(vec![note])).build();
    let mut writer = ArrowWriter::try_new(Vec::new(), rows.schema(), Some(properties)).unwrap();
    writer.write(&rows).unwrap();
    writer.into_inner().unwrap().into()
}

#[test]
fn a_footer_is_one_request_and_a_long_one_two() {
    wait_for(async {
        let dates: BTreeSet<NaiveDate> = (2..7).map(day).collect();
        // Files of up to 2 MiB are read whole.
        for (further_bytes, requests) in [(0, 5), (65_536, 5), (300_000, 5), (3_000_000, 10)] {
            let objects: Objects = (2..7)
                .map(|number| {
                    (format!("dt={}/p.parquet", day(number)), clicks(number, further_bytes))
                })
                .collect();
            let (store, location) = on_object_storage(&objects).await;
            let mut log = listed(&location).await;
            let before = store.calls();
            assert_eq!(log.validate_schemas(&dates).await.unwrap(), [""; 0]);
            assert_eq!(store.calls() - before, requests, "{further_bytes}");
            for ((_, content), dt) in objects.iter().zip(&dates) {
                assert_eq!(log.rows(*dt), 1);
                assert_eq!(log.contents(*dt).unwrap(), contents_of_one("p.parquet", content));
            }
            // What is checked is not read again.
            log.validate_schemas(&dates).await.unwrap();
            assert_eq!(store.calls() - before, requests);
        }
    });
}

/// What warehouses remember of a landing date with one file (D8). They would clean all dates again if
/// it were something else.
fn contents_of_one(name: &str, content: &[u8]) -> String {
    let (before, tail) = content.split_at(content.len() - 8);
    let length = u32::from_le_bytes(tail[..4].try_into().unwrap()) as usize;
    let footer = &before[before.len() - length..];
    let footer = digest(&[tail, footer].concat());
    let text = format!("{name} {} {footer}", content.len());
    digest(&[&(text.len() as u64).to_le_bytes(), text.as_bytes()].concat())
}

fn digest(bytes: &[u8]) -> String {
    blake3::hash(bytes).to_hex().as_str()[..32].to_owned()
}

#[test]
fn reference_tables_that_did_not_change_are_asked_for_once_each_and_not_read() {
    wait_for(async {
        let world = crate::in_memory::world(2);
        world.run(world.backfill(0, 1)).await.unwrap();
        let store = FailingStore::counting(world.store.clone());
        let counted = world.seen_through(Arc::new(store.clone()));
        let warehouse = Warehouse::open(&world.job.root).await.unwrap();
        let load = async || {
            let before = store.calls();
            let heads = Heads::ask(&counted.job).await.unwrap();
            let reference = Reference::load(&counted.job, &warehouse, &heads).await.unwrap();
            (reference, store.calls() - before)
        };
        let (unchanged, calls) = load().await;
        assert_eq!((unchanged.new_tables().len(), calls), (0, 5));
        // A copy is read, and nothing else is.
        world.put("reference/links.csv", world.text("reference/links.csv").await).await;
        let (copied, calls) = load().await;
        assert_eq!((copied.new_tables().len(), calls), (0, 6));
        assert_eq!(
            copied.row_counts().collect::<Vec<_>>(),
            unchanged.row_counts().collect::<Vec<_>>()
        );
    });
}
