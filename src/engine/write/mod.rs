//! Rows to the Parquet files of a partitioned table.

mod file;

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::{Context, Result};
use arrow::array::{Array, ArrayRef, AsArray, Date32Array, RecordBatch, StringViewBuilder};
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{DataType, Date32Type};
use chrono::NaiveDate;
use datafusion::execution::SendableRecordBatchStream;
use futures::TryStreamExt;

use super::files::Bounds;
use crate::model::{ColumnKind, Model};
use crate::place::Place;
use file::{OpenFile, Target};

/// A file that was written for a table and is not yet part of it.
#[derive(Debug, Clone)]
pub struct NewFile {
    pub slice: Slice,
    /// Relative to the table's folder.
    pub path: String,
    pub size: u64,
    pub rows: u64,
    /// Of its times, and of what its rows are sorted by; and how many of these are null.
    pub bounds: Bounds,
    pub nulls: BTreeMap<String, u64>,
    /// Of the file's bytes: equal digests, equal rows.
    pub digest: String,
    /// Whether two rows may have the same key, or one of them a null in it.
    pub is_key_in_doubt: bool,
}

/// What one file of a table holds: a partition, and of clean/rejects the rows of one log.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Slice {
    pub date: NaiveDate,
    pub log: Option<String>,
}

impl Slice {
    pub fn of(date: NaiveDate) -> Slice {
        Slice { date, log: None }
    }
}

/// Writes rows that come sorted by partition (and log, where slices have one) to one file per
/// slice below the table's folder. Each of `slices` gets a file, be it one without rows: a date
/// that was made and is empty differs from one that never was. Errors: rows of other slices.
pub async fn table(
    mut rows: SendableRecordBatchStream,
    model: &Model,
    folder: &Place,
    file_name: &str,
    slices: &[Slice],
) -> Result<Vec<NewFile>> {
    let target = Target::new(model, folder, file_name);
    let mut done: Vec<NewFile> = Vec::new();
    let mut open: Option<OpenFile<'_>> = None;
    while let Some(batch) = rows.try_next().await? {
        let batch = as_declared(&batch, model)?;
        for (slice, part) in by_slice(&batch, slices)? {
            if open.as_ref().is_some_and(|file| file.slice != slice)
                && let Some(file) = open.take()
            {
                done.push(file.close().await?);
            }
            if open.is_none() {
                let is_new = !done.iter().any(|file| file.slice == slice);
                anyhow::ensure!(
                    slices.contains(&slice) && is_new,
                    "{}: unexpected rows of {slice:?}",
                    model.name
                );
                open = Some(target.open(slice)?);
            }
            if let Some(file) = open.as_mut() {
                file.write(&part).await?;
            }
        }
    }
    if let Some(file) = open.take() {
        done.push(file.close().await?);
    }
    for slice in slices {
        if !done.iter().any(|file| &file.slice == slice) {
            done.push(target.open(slice.clone())?.close().await?);
        }
    }
    Ok(done)
}

/// The batch with the names and types that its model declares. Errors: a value that does not fit.
fn as_declared(batch: &RecordBatch, model: &Model) -> Result<RecordBatch> {
    let strict = CastOptions { safe: false, ..CastOptions::default() };
    let columns = model
        .columns
        .iter()
        .map(|column| {
            let found = batch
                .column_by_name(&column.name)
                .with_context(|| format!("{}: has no column {}", model.name, column.name))?;
            match column.kind {
                ColumnKind::Json => as_json(found),
                kind => cast_with_options(found, &kind.data_type(), &strict)
                    .with_context(|| format!("{}: column {}", model.name, column.name)),
            }
        })
        .collect::<Result<Vec<_>>>()?;
    Ok(RecordBatch::try_new(model.schema(), columns)?)
}

/// Lists of names and values in turn, as the text of JSON objects.
fn as_json(column: &ArrayRef) -> Result<ArrayRef> {
    let lists = column.as_list_opt::<i32>().context("a record is a list of names and values")?;
    let parts = arrow::compute::cast(lists.values(), &DataType::Utf8View)?;
    let parts = parts.as_string_view();
    let mut texts = StringViewBuilder::with_capacity(lists.len());
    for bounds in lists.value_offsets().windows(2) {
        let (from, to) = (usize::try_from(bounds[0])?, usize::try_from(bounds[1])?);
        let mut record = serde_json::Map::new();
        for name in (from..to.saturating_sub(1)).step_by(2) {
            let value = match parts.is_null(name + 1) {
                true => serde_json::Value::Null,
                false => parts.value(name + 1).into(),
            };
            record.insert(parts.value(name).to_owned(), value);
        }
        texts.append_value(serde_json::Value::Object(record).to_string());
    }
    Ok(Arc::new(texts.finish()))
}

/// Cuts a sorted batch where the slice changes.
fn by_slice(batch: &RecordBatch, slices: &[Slice]) -> Result<Vec<(Slice, RecordBatch)>> {
    let dates: &Date32Array = batch.column(0).as_primitive::<Date32Type>();
    let logs = match slices.first() {
        Some(Slice { log: Some(_), .. }) => {
            batch.column_by_name("log").map(|logs| logs.as_string_view())
        }
        _ => None,
    };
    let slice_at = |row: usize| -> Result<Slice> {
        let date = dates.is_valid(row).then(|| dates.value_as_date(row)).flatten();
        let date = date.context("a row without a date")?;
        Ok(Slice { date, log: logs.map(|logs| logs.value(row).to_owned()) })
    };
    let mut parts = Vec::new();
    let mut start = 0;
    while start < batch.num_rows() {
        let slice = slice_at(start)?;
        let mut end = start + 1;
        while end < batch.num_rows()
            && dates.value(end) == dates.value(start)
            && logs.is_none_or(|logs| logs.value(end) == logs.value(start))
        {
            end += 1;
        }
        parts.push((slice, batch.slice(start, end - start)));
        start = end;
    }
    Ok(parts)
}
