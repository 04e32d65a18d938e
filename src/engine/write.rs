//! Rows to the Parquet files of a partitioned table.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use anyhow::{Context, Result};
use arrow::array::{Array, ArrayRef, AsArray, Date32Array, RecordBatch, StringViewBuilder};
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{DataType, Date32Type, Schema, SchemaRef};
use bytes::Bytes;
use chrono::NaiveDate;
use datafusion::common::ScalarValue;
use datafusion::execution::SendableRecordBatchStream;
use futures::TryStreamExt;
use futures::future::BoxFuture;
use object_store::buffered::BufWriter;
use parquet::arrow::AsyncArrowWriter;
use parquet::arrow::arrow_reader::statistics::StatisticsConverter;
use parquet::arrow::arrow_writer::ArrowWriterOptions;
use parquet::arrow::async_writer::AsyncFileWriter;
use parquet::basic::{Compression, Encoding, ZstdLevel};
use parquet::file::metadata::ParquetMetaData;
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::schema::types::ColumnPath;

use super::files::Bounds;
use super::hash64::hashes;
use crate::model::{Column, ColumnKind, Model};
use crate::place::Place;
use crate::progress::beat;

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
    let target = Target { model, folder, file_name, schema: without_partition(model) };
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

struct Target<'a> {
    model: &'a Model,
    folder: &'a Place,
    file_name: &'a str,
    schema: SchemaRef,
}

impl Target<'_> {
    fn open(&self, slice: Slice) -> Result<OpenFile<'_>> {
        let log = slice.log.as_ref().map(|log| format!("-{log}")).unwrap_or_default();
        let path =
            format!("{}={}/{}{log}.parquet", self.model.partition(), slice.date, self.file_name);
        let place = self.folder.child(&path);
        let object = BufWriter::new(place.store().clone(), place.path().clone());
        let hasher = Arc::new(Mutex::new(blake3::Hasher::new()));
        let sink = Sink { object, hasher };
        let hasher = sink.hasher.clone();
        let options = options(self.model)?;
        let writer = AsyncArrowWriter::try_new_with_options(sink, self.schema.clone(), options)?;
        let keys = Keys::of(self.model);
        let (model, schema) = (self.model, self.schema.clone());
        Ok(OpenFile { model, schema, slice, path, writer, hasher, rows: 0, keys })
    }
}

/// How a table's files are encoded: times as differences and ids without a dictionary, which for
/// values that hardly come again only costs; the ids that are the key without what one shares with
/// the one before. Pages know the range of times and of what rows are sorted by; the range of other
/// texts tells nobody anything. Level 1, for on such columns level 3 is slower and larger. Without
/// the engine's own types, which readers need not know.
fn options(model: &Model) -> Result<ArrowWriterOptions> {
    let mut properties = WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::try_new(1)?))
        .set_statistics_enabled(EnabledStatistics::Chunk);
    for column in &model.columns {
        let path = ColumnPath::from(column.name.as_str());
        let is_text = matches!(column.kind, ColumnKind::Id | ColumnKind::Text | ColumnKind::Json);
        if is_bounded(model, column) {
            properties =
                properties.set_column_statistics_enabled(path.clone(), EnabledStatistics::Page);
        } else if is_text {
            properties =
                properties.set_column_statistics_enabled(path.clone(), EnabledStatistics::None);
        }
        let encoding = match column.kind {
            ColumnKind::Instant => Encoding::DELTA_BINARY_PACKED,
            ColumnKind::Id if model.key.last() == Some(&column.name) => Encoding::DELTA_BYTE_ARRAY,
            ColumnKind::Id => Encoding::DELTA_LENGTH_BYTE_ARRAY,
            _ => continue,
        };
        properties = properties
            .set_column_dictionary_enabled(path.clone(), false)
            .set_column_encoding(path, encoding);
    }
    Ok(ArrowWriterOptions::new().with_properties(properties.build()).with_skip_arrow_metadata(true))
}

/// An object that is digested as it is written.
struct Sink {
    object: BufWriter,
    hasher: Arc<Mutex<blake3::Hasher>>,
}

impl AsyncFileWriter for Sink {
    fn write(&mut self, bytes: Bytes) -> BoxFuture<'_, parquet::errors::Result<()>> {
        beat();
        if let Ok(mut hasher) = self.hasher.lock() {
            hasher.update(&bytes);
        }
        AsyncFileWriter::write(&mut self.object, bytes)
    }

    fn complete(&mut self) -> BoxFuture<'_, parquet::errors::Result<()>> {
        AsyncFileWriter::complete(&mut self.object)
    }
}

struct OpenFile<'a> {
    model: &'a Model,
    schema: SchemaRef,
    slice: Slice,
    path: String,
    writer: AsyncArrowWriter<Sink>,
    hasher: Arc<Mutex<blake3::Hasher>>,
    rows: u64,
    keys: Keys,
}

/// Looks at the keys of a file's rows as they pass. Rows of one file share their partition, so
/// what tells them apart are the other columns of the key.
struct Keys {
    columns: Vec<usize>,
    hashes: Vec<u64>,
    has_null: bool,
}

impl Keys {
    fn of(model: &Model) -> Keys {
        let is_key = |name: &str| name != model.partition() && model.key.iter().any(|k| k == name);
        let columns = model.columns.iter().enumerate();
        let columns = columns.filter(|(_, column)| is_key(&column.name));
        let columns = columns.map(|(position, _)| position).collect();
        Keys { columns, hashes: Vec::new(), has_null: false }
    }

    fn see(&mut self, batch: &RecordBatch) -> Result<()> {
        if self.columns.is_empty() {
            return Ok(());
        }
        let columns: Vec<ArrayRef> =
            self.columns.iter().map(|position| batch.column(*position).clone()).collect();
        self.has_null |= columns.iter().any(|column| column.null_count() > 0);
        self.hashes.extend(hashes(&columns)?);
        Ok(())
    }

    fn are_in_doubt(mut self) -> bool {
        self.hashes.sort_unstable();
        self.has_null || self.hashes.windows(2).any(|pair| pair[0] == pair[1])
    }
}

impl OpenFile<'_> {
    async fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        self.rows += batch.num_rows() as u64;
        self.keys.see(batch)?;
        // Without the partition column, which is in the path.
        let columns: Vec<usize> = (1..batch.num_columns()).collect();
        self.writer.write(&batch.project(&columns)?).await?;
        Ok(())
    }

    async fn close(mut self) -> Result<NewFile> {
        let footer = self.writer.finish().await;
        let footer = footer.with_context(|| format!("{}: cannot write", self.path))?;
        let (bounds, nulls) = bounds(&footer, &self.schema, self.model)?;
        let size = self.writer.bytes_written() as u64;
        let hasher = self.hasher.lock().ok().context("a digest that was given up")?;
        let digest = hasher.finalize().to_hex().as_str()[..32].to_owned();
        Ok(NewFile {
            slice: self.slice,
            path: self.path,
            size,
            rows: self.rows,
            bounds,
            nulls,
            digest,
            is_key_in_doubt: self.keys.are_in_doubt(),
        })
    }
}

/// Whether the footer tells a column's bounds, of the pages as well: those of times, and of what
/// rows are sorted by.
fn is_bounded(model: &Model, column: &Column) -> bool {
    column.kind == ColumnKind::Instant || model.order.contains(&column.name)
}

/// Bounds of a file's columns, as its footer tells them, and how many nulls there are besides.
fn bounds(
    footer: &ParquetMetaData,
    schema: &Schema,
    model: &Model,
) -> Result<(Bounds, BTreeMap<String, u64>)> {
    let columns = model.columns.iter().skip(1).filter(|column| is_bounded(model, column));
    let (mut bounds, mut nulls) = (Bounds::new(), BTreeMap::new());
    for column in columns {
        let parquet = footer.file_metadata().schema_descr();
        let groups = StatisticsConverter::try_new(&column.name, schema, parquet)?;
        let least = utmost(&groups.row_group_mins(footer.row_groups())?, Ordering::Less)?;
        let greatest = utmost(&groups.row_group_maxes(footer.row_groups())?, Ordering::Greater)?;
        let null_counts = groups.row_group_null_counts(footer.row_groups())?;
        if let Some(ends) = least.zip(greatest)
            && null_counts.null_count() == 0
        {
            bounds.insert(column.name.clone(), ends);
            nulls.insert(column.name.clone(), null_counts.values().iter().sum());
        }
    }
    Ok((bounds, nulls))
}

/// The least or the greatest of some values; none when one is not known.
fn utmost(values: &ArrayRef, end: Ordering) -> Result<Option<ScalarValue>> {
    if values.null_count() > 0 {
        return Ok(None);
    }
    let values = (0..values.len()).map(|row| ScalarValue::try_from_array(values, row));
    let values = values.collect::<Result<Vec<_>, _>>()?;
    Ok(values.into_iter().reduce(|kept, value| match value.partial_cmp(&kept) == Some(end) {
        true => value,
        false => kept,
    }))
}

fn without_partition(model: &Model) -> SchemaRef {
    let all = model.schema();
    let fields: Vec<_> = all.fields().iter().skip(1).cloned().collect();
    Arc::new(arrow::datatypes::Schema::new(fields))
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
