//! Small tables in files, for one machine and for clusters.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringViewArray};
use arrow::datatypes::SchemaRef;
use lookback::cluster::Cluster;
use lookback::engine::Engine;
use lookback::engine::elsewhere::Elsewhere;
use lookback::engine::parquet_table::{Bounds, DataFile, ParquetTable};
use lookback::location::Location;
use lookback::raw;
use parquet::arrow::ArrowWriter;
use parquet::file::properties::WriterProperties;

use crate::workers;

/// Rows of a file's row group: so few that a file can be divided.
const GROUP: usize = 40;

/// Workers for plans over files in the folder.
pub async fn cluster(folder: &Path, count: usize, cores: usize) -> Arc<dyn Elsewhere> {
    let root = Location::parse(&folder.join("root").to_string_lossy(), folder).unwrap();
    let run = uuid::Uuid::now_v7().to_string();
    let settings = workers::settings(count, cores).unwrap();
    Arc::new(Cluster::muster(&settings, &root, &run).await.unwrap())
}

/// A file with the numbers from 0, and the last digit of each.
pub fn numbers(folder: &Path, count: i64) -> PathBuf {
    let batch = RecordBatch::try_from_iter([
        ("number", Arc::new(Int64Array::from_iter_values(0..count)) as ArrayRef),
        ("digit", Arc::new(Int64Array::from_iter_values((0..count).map(|it| it % 10)))),
    ]);
    let file = folder.join("numbers.parquet");
    write(&file, &batch.unwrap(), count as usize / 8);
    file
}

fn write(file: &Path, rows: &RecordBatch, group: usize) {
    let properties = WriterProperties::builder().set_max_row_group_row_count(Some(group)).build();
    let file = std::fs::File::create(file).unwrap();
    let mut writer = ArrowWriter::try_new(file, rows.schema(), Some(properties)).unwrap();
    writer.write(rows).unwrap();
    writer.close().unwrap();
}

/// Rows `from..to` of a made-up log: a number; a key that is null now and then and often the same; a
/// text that is null now and then.
fn rows(from: i64, to: i64) -> RecordBatch {
    let key = |at: i64| (at % 11 != 3).then_some(at * 7 % 13);
    let name = |at: i64| (at % 7 != 2).then(|| format!("name {}", at * 5 % 17));
    RecordBatch::try_from_iter_with_nullable([
        ("number", Arc::new(Int64Array::from_iter_values(from..to)) as ArrayRef, false),
        ("key", Arc::new(Int64Array::from_iter((from..to).map(key))), true),
        ("name", Arc::new(StringViewArray::from_iter((from..to).map(name))), true),
    ])
    .unwrap()
}

/// The files of all tables, and how they are read.
pub struct Tables {
    folder: Location,
    files: Vec<(&'static str, Vec<DataFile>)>,
    schema: SchemaRef,
}

/// How many rows each file of a table has. Tables that begin with `raw` are read as raw logs are.
const TABLES: [(&str, &[i64]); 6] = [
    ("clean.many", &[150, 90, 3, 170]),
    ("clean.one", &[130]),
    ("clean.few", &[5]),
    ("clean.nothing", &[]),
    ("raw.many", &[120, 60, 200]),
    ("raw.one", &[140]),
];

impl Tables {
    pub fn new(folder: &Path) -> Tables {
        let mut tables = Vec::new();
        for (name, counts) in TABLES {
            let mut from = 0;
            let mut files = Vec::new();
            for count in counts {
                let file = folder.join(format!("{name}-{from}.parquet"));
                write(&file, &rows(from, from + count), GROUP);
                let location = Location::parse(&file.to_string_lossy(), folder).unwrap();
                files.push(DataFile {
                    path: location.path().clone(),
                    size: std::fs::metadata(&file).unwrap().len(),
                    tag: None,
                    partition: None,
                    rows: Some(count.unsigned_abs()),
                    only: None,
                    is_read: true,
                    bounds: Bounds::new(),
                });
                from += count;
            }
            tables.push((name, files));
        }
        let folder = Location::parse(&folder.to_string_lossy(), folder).unwrap();
        Tables { folder, files: tables, schema: rows(0, 1).schema() }
    }

    /// Makes them known to an engine. Raw ones have numbers of files and rows.
    pub fn register(&self, engine: &Engine) {
        engine.add_store(&self.folder).unwrap();
        let store = self.folder.store_url().unwrap();
        for (name, files) in &self.files {
            let (schema, files) = (self.schema.clone(), files.clone());
            let table = ParquetTable::new(store.clone(), schema, None, files);
            let table = match name.starts_with("raw") {
                true => table.numbered(1).with_readers(raw::readers),
                false => table,
            };
            engine.register(name, Arc::new(table)).unwrap();
        }
    }
}
