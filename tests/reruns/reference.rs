//! Reference tables that are a folder or a Delta table: what is asked of an object store, and which
//! rows are read.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, StringArray};
use bytes::Bytes;
use lookback::location::Location;
use lookback::reference::{Heads, Reference, TableSource};
use lookback::stop::Stop;
use lookback::warehouse::Warehouse;
use object_store::ObjectStoreExt;
use object_store::path::Path;
use parquet::arrow::ArrowWriter;

use crate::failing_store::FailingStore;
use crate::in_memory::{self, World, wait_for};

/// Rows of links, as the demo's table has them.
async fn links(world: &World) -> (String, Vec<String>) {
    let text = world.text("reference/links.csv").await;
    let mut lines = text.lines().map(str::to_owned);
    (lines.next().unwrap(), lines.collect())
}

/// A world that has run with all its links, which are read from `folder` from now on.
async fn world_with_links_in(folder: &str) -> World {
    let mut world = in_memory::world(2);
    let location = Location::parse(&format!("s3://world/{folder}"), std::path::Path::new("/"));
    world.job.links = TableSource::plain(location.unwrap());
    world.seen_through(world.store.clone())
}

/// What a load finds, and with how many calls.
async fn load(world: &World) -> (Result<Reference, Stop>, u64) {
    let store = FailingStore::counting(world.store.clone());
    let counted = world.seen_through(Arc::new(store.clone()));
    let warehouse = Warehouse::open(&world.job.root).await.unwrap();
    let before = store.calls();
    let heads = Heads::ask(&counted.job).await.unwrap();
    let reference = Reference::load(&counted.job, &warehouse, &heads).await;
    (reference, (store.calls() - before) as u64)
}

/// The number of links, whether they are others than the warehouse has, and the calls.
async fn found(world: &World) -> (u64, bool, u64) {
    let (reference, calls) = load(world).await;
    let reference = reference.unwrap();
    let rows = reference.row_counts().find(|(name, _)| *name == "links").unwrap().1;
    (rows, reference.new_tables().contains("links"), calls)
}

#[test]
fn a_folder_is_listed_once_and_read_again_only_where_it_changed() {
    wait_for(async {
        let world = world_with_links_in("affiliates").await;
        let (header, rows) = links(&world).await;
        let half = rows.len() / 2;
        let csv = |rows: &[String]| format!("{header}\n{}\n", rows.join("\n"));
        world.put("affiliates/a.csv", csv(&rows[..half])).await;
        world.put("affiliates/b.CSV", csv(&rows[half..])).await;
        world.put("affiliates/_SUCCESS", "").await;
        // As some tools mark a folder.
        world.put("affiliates", "").await;
        world.run(world.backfill(0, 1)).await.unwrap();
        let all = rows.len() as u64;
        assert_eq!(found(&world).await, (all, false, 5));
        // A copy is read, and nothing else is.
        world.put("affiliates/a.csv", csv(&rows[..half])).await;
        assert_eq!(found(&world).await, (all, false, 7));
        world.put("affiliates/c.csv", format!("{header}\n_new,new,,,\n")).await;
        assert_eq!(found(&world).await, (all + 1, true, 8));
        // A file that is gone takes its rows along.
        for gone in ["affiliates/c.csv", "affiliates/b.CSV"] {
            world.store.delete(&Path::from(gone)).await.unwrap();
        }
        assert_eq!(found(&world).await, (half as u64, true, 6));
    });
}

fn parquet_of(rows: &[String]) -> Bytes {
    let cell = |row: &String, at: usize| row.split(',').nth(at).unwrap().to_owned();
    let column = |at: usize| {
        Arc::new(rows.iter().map(|row| Some(cell(row, at))).collect::<StringArray>()) as ArrayRef
    };
    // The publisher is the partition.
    let names = [(0, "link_key"), (2, "tracking_id"), (3, "valid_from"), (4, "valid_to")];
    let columns = names.map(|(at, name)| (name, column(at)));
    let batch = RecordBatch::try_from_iter(columns).unwrap();
    let mut writer = ArrowWriter::try_new(Vec::new(), batch.schema(), None).unwrap();
    writer.write(&batch).unwrap();
    writer.into_inner().unwrap().into()
}

const PROTOCOL: &str = r#"{"protocol":{"minReaderVersion":1,"minWriterVersion":2}}"#;

fn metadata(mapping: &str) -> String {
    let names = ["link_key", "publisher_id", "tracking_id", "valid_from", "valid_to"];
    let partition = if mapping == "none" { r#""publisher_id""# } else { "" };
    let mut number = 0;
    let fields = names.map(|name| {
        number += 1;
        let annotation = match mapping {
            "none" => String::new(),
            _ => format!(
                r#"\"delta.columnMapping.id\":{number},\"delta.columnMapping.physicalName\":\"c{number}\""#
            ),
        };
        format!(
            r#"{{\"name\":\"{name}\",\"type\":\"string\",\"nullable\":true,\"metadata\":{{{annotation}}}}}"#
        )
    });
    format!(
        r#"{{"metaData":{{"id":"1","format":{{"provider":"parquet","options":{{}}}},"schemaString":"{{\"type\":\"struct\",\"fields\":[{}]}}","partitionColumns":[{partition}],"configuration":{{"delta.columnMapping.mode":"{mapping}"}},"createdTime":1}}}}"#,
        fields.join(",")
    )
}

fn added(path: &str, publisher: &str, size: usize) -> String {
    format!(
        r#"{{"add":{{"path":"{path}","partitionValues":{{"publisher_id":"{publisher}"}},"size":{size},"modificationTime":1,"dataChange":true}}}}"#
    )
}

#[test]
fn of_a_delta_table_only_the_live_files_are_rows() {
    wait_for(async {
        let world = world_with_links_in("affiliates").await;
        let (_, rows) = links(&world).await;
        let mut by_publisher: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for row in &rows {
            let publisher = row.split(',').nth(1).unwrap().to_owned();
            by_publisher.entry(publisher).or_default().push(row.clone());
        }
        let mut log = format!("{PROTOCOL}\n{}\n", metadata("none"));
        for (publisher, rows) in &by_publisher {
            let path = format!("publisher_id={publisher}/part.parquet");
            let content = parquet_of(rows);
            log.push_str(&format!("{}\n", added(&path, publisher, content.len())));
            world.put(&format!("affiliates/{path}"), content).await;
        }
        let removed = parquet_of(&["_gone,,,,".to_owned()]);
        log.push_str(&added("gone.parquet", "gone", removed.len()));
        world.put("affiliates/gone.parquet", removed).await;
        world.put("affiliates/_delta_log/00000000000000000000.json", log).await;
        let remove =
            r#"{"remove":{"path":"gone.parquet","deletionTimestamp":1,"dataChange":true}}"#;
        world.put("affiliates/_delta_log/00000000000000000001.json", remove).await;

        world.run(world.backfill(0, 1)).await.unwrap();
        let all = rows.len() as u64;
        // One listing of the folder and one of its log stand for the head.
        assert_eq!(found(&world).await, (all, false, 6));
        // A commit that adds no file: the log is read, and no data.
        let nothing = r#"{"commitInfo":{"timestamp":1,"operation":"OPTIMIZE"}}"#;
        world.put("affiliates/_delta_log/00000000000000000002.json", nothing).await;
        let (count, is_new, calls) = found(&world).await;
        assert_eq!((count, is_new), (all, false));
        assert!(calls <= 10, "{calls}");

        let mapped = metadata("name");
        let upgrade = r#"{"protocol":{"minReaderVersion":2,"minWriterVersion":5}}"#;
        world
            .put("affiliates/_delta_log/00000000000000000003.json", format!("{upgrade}\n{mapped}"))
            .await;
        let stop = load(&world).await.0.err().unwrap();
        assert_eq!(stop.exit_code(), 2);
        assert!(stop.to_string().contains("column mapping"), "{stop}");
    });
}
