//! Temporary tables that other processes read: files in a shared folder, each with a name of its own.
//! What a lost process wrote is never read, because only reported files are.

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::{Context, Result};
use datafusion::execution::SendableRecordBatchStream;
use futures::TryStreamExt;
use object_store::ObjectStoreExt;
use object_store::buffered::BufWriter;
use parquet::arrow::AsyncArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use serde::{Deserialize, Serialize};

use super::writer::{Content, Part, by_value, constants_of, file_properties};
use crate::engine::elsewhere::Value;
use crate::engine::parquet_table::Constants;
use crate::location::Location;
use crate::progress::tick;

/// To write rows as parts of a temporary table.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ScratchOrder {
    /// The URL of the shared folder.
    pub folder: String,
    /// The table.
    pub name: String,
    /// See [`crate::model::Model::split`].
    pub split: Option<String>,
}

/// What was written.
#[derive(Debug, Serialize, Deserialize)]
pub struct PartReport {
    /// The file's name in the shared folder.
    file: String,
    size: u64,
    rows: u64,
    constants: BTreeMap<String, Value>,
}

impl PartReport {
    /// The part of a table that a report tells of.
    pub fn part(self, folder: &Location) -> Result<Part> {
        let constants = self.constants.into_iter();
        let constants = constants.map(|(name, value)| Ok((name, value.scalar()?)));
        let object = Object { location: folder.child(&self.file), size: self.size };
        Ok(Part {
            rows: self.rows,
            constants: constants.collect::<Result<Constants>>()?,
            content: Content::Object(Arc::new(object)),
        })
    }
}

/// A file in the shared folder. Removed when its last reader is done.
#[derive(Debug)]
pub struct Object {
    pub location: Location,
    pub size: u64,
}

impl Drop for Object {
    fn drop(&mut self) {
        let location = self.location.clone();
        // What stays is removed at the end of the run.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move { location.store().delete(location.path()).await });
        }
    }
}

/// Writes rows to files of the shared folder, one for each value of the split column. Errors: the rows
/// fail; the store fails; the split column has nulls.
pub async fn write_objects(
    mut rows: SendableRecordBatchStream,
    order: &ScratchOrder,
    folder: &Location,
) -> Result<Vec<PartReport>> {
    let schema = rows.schema();
    // Each byte crosses a network twice or more, so they are half as many as on a disk.
    let compression = Compression::ZSTD(ZstdLevel::try_new(1)?);
    let properties = file_properties(&schema).into_builder().set_compression(compression).build();
    let mut open: BTreeMap<Option<i32>, OpenObject> = BTreeMap::new();
    while let Some(batch) = rows.try_next().await? {
        tick();
        if batch.num_rows() == 0 {
            continue;
        }
        for (value, batch) in by_value(batch, order.split.as_deref())? {
            let object = match open.entry(value) {
                std::collections::btree_map::Entry::Occupied(known) => known.into_mut(),
                std::collections::btree_map::Entry::Vacant(new) => {
                    let file = format!("{}-{}.parquet", order.name, uuid::Uuid::now_v7());
                    let location = folder.child(&file);
                    // Past the store that keeps what is read: others read this.
                    let store = location.kept().map_or(location.store(), |kept| kept.behind());
                    let writer = BufWriter::new(store.clone(), location.path().clone());
                    let properties = Some(properties.clone());
                    let writer = AsyncArrowWriter::try_new(writer, schema.clone(), properties)?;
                    new.insert(OpenObject { file, writer, rows: 0, constants: None })
                }
            };
            object.rows += batch.num_rows() as u64;
            let constants = constants_of(&batch);
            match &mut object.constants {
                Some(known) => known.retain(|name, value| constants.get(name) == Some(value)),
                None => object.constants = Some(constants),
            }
            let written = object.writer.write(&batch).await;
            written.with_context(|| format!("cannot write {}", object.file))?;
        }
    }
    let mut reports = Vec::new();
    for mut object in open.into_values() {
        let finished = object.writer.finish().await;
        finished.with_context(|| format!("cannot write {}", object.file))?;
        tick();
        reports.push(PartReport {
            size: object.writer.bytes_written() as u64,
            rows: object.rows,
            constants: Value::all(&object.constants.unwrap_or_default())?,
            file: object.file,
        });
    }
    Ok(reports)
}

struct OpenObject {
    file: String,
    writer: AsyncArrowWriter<BufWriter>,
    rows: u64,
    constants: Option<Constants>,
}
