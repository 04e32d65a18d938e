//! Writes rows to the Parquet files of a partitioned table.

mod digest;
mod file;
mod order;
mod upload;

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use arrow::array::{Array, AsArray, Date32Array, RecordBatch};
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::Date32Type;
use chrono::NaiveDate;
use chrono_tz::Tz;
use datafusion::execution::SendableRecordBatchStream;
use futures::TryStreamExt;

use super::partition::Partition;
use crate::engine::parquet_table::Bounds;
use crate::location::Location;
use crate::model::Model;
use file::{OpenFile, Target};
pub use order::{FileReport, TableOrder, as_ordered, reported};
pub use upload::Upload;

/// A file that was written for a table and is not yet part of it.
#[derive(Debug, Clone)]
pub struct NewFile {
    pub partition: Partition,
    /// Relative to the table's folder.
    pub path: String,
    pub size: u64,
    pub rows: u64,
    /// Bounds, and counts of nulls, of its times and of the columns that its rows are sorted by.
    pub bounds: Bounds,
    pub nulls: BTreeMap<String, u64>,
    /// The digest of the file's bytes. Equal digests mean equal rows.
    pub digest: String,
    /// A commit waits for it.
    pub upload: Upload,
    /// See [`super::TableFile::row_digests`].
    pub row_digests: BTreeMap<NaiveDate, u64>,
    /// Whether two rows may have the same key, or a row a null in its key.
    pub is_key_in_doubt: bool,
}

/// Writes rows, sorted by partition, to one file per partition below the table's folder. Each of
/// `partitions` gets a file, even without rows: an empty date differs from one that was never made.
/// `zone` is for the local dates of the rows' times. Errors: rows of other partitions; a value that does not fit its column; the store fails.
pub async fn table(
    mut rows: SendableRecordBatchStream,
    model: &Model,
    folder: &Location,
    file_name: &str,
    partitions: &[Partition],
    zone: Tz,
) -> Result<Vec<NewFile>> {
    let target = Target { model, folder, file_name, zone };
    let mut done: Vec<NewFile> = Vec::new();
    let mut open: Option<OpenFile<'_>> = None;
    while let Some(batch) = rows.try_next().await? {
        let batch = as_declared(&batch, model)?;
        for (partition, part) in by_partition(&batch, model, partitions)? {
            if open.as_ref().is_some_and(|file| file.partition != partition)
                && let Some(file) = open.take()
            {
                done.push(file.close().await?);
            }
            if open.is_none() {
                let is_new = !done.iter().any(|file| file.partition == partition);
                anyhow::ensure!(
                    partitions.contains(&partition) && is_new,
                    "{}: unexpected rows of {partition:?}",
                    model.name
                );
                open = Some(target.open(partition)?);
            }
            if let Some(file) = open.as_mut() {
                file.write(&part).await?;
            }
        }
    }
    if let Some(file) = open.take() {
        done.push(file.close().await?);
    }
    for partition in partitions {
        if !done.iter().any(|file| &file.partition == partition) {
            done.push(target.open(partition.clone())?.close().await?);
        }
    }
    Ok(done)
}

/// The batch with the columns and types that its model declares. Errors: a value that does not fit.
fn as_declared(batch: &RecordBatch, model: &Model) -> Result<RecordBatch> {
    let strict = CastOptions { safe: false, ..CastOptions::default() };
    let columns = model
        .columns
        .iter()
        .map(|column| {
            let found = batch
                .column_by_name(&column.name)
                .with_context(|| format!("{}: has no column {}", model.name, column.name))?;
            cast_with_options(found, &column.kind.data_type(), &strict)
                .with_context(|| format!("{}: column {}", model.name, column.name))
        })
        .collect::<Result<Vec<_>>>()?;
    Ok(RecordBatch::try_new(model.schema(), columns)?)
}

/// Cuts a sorted batch where the partition changes.
fn by_partition(
    batch: &RecordBatch,
    model: &Model,
    partitions: &[Partition],
) -> Result<Vec<(Partition, RecordBatch)>> {
    if model.partition().is_none() {
        return Ok(vec![(Partition::whole(), batch.clone())]);
    }
    let dates: &Date32Array = batch.column(0).as_primitive::<Date32Type>();
    let logs = match partitions.first() {
        Some(Partition { log: Some(_), .. }) => {
            batch.column_by_name("log").map(|logs| logs.as_string_view())
        }
        _ => None,
    };
    let partition_at = |row: usize| -> Result<Partition> {
        let date = dates.is_valid(row).then(|| dates.value_as_date(row)).flatten();
        let date = date.context("a row without a date")?;
        Ok(Partition { date, log: logs.map(|logs| logs.value(row).to_owned()) })
    };
    let mut parts = Vec::new();
    let mut start = 0;
    while start < batch.num_rows() {
        let partition = partition_at(start)?;
        let mut end = start + 1;
        while end < batch.num_rows()
            && dates.value(end) == dates.value(start)
            && logs.is_none_or(|logs| logs.value(end) == logs.value(start))
        {
            end += 1;
        }
        parts.push((partition, batch.slice(start, end - start)));
        start = end;
    }
    Ok(parts)
}
