//! Rows to Parquet files: scratch files for the run, and the files of a partitioned table.

use std::fs::File;
use std::path::{Path as FilePath, PathBuf};
use std::sync::{Arc, Mutex};

use anyhow::{Context, Result};
use arrow::array::{Array, ArrayRef, AsArray, Date32Array, RecordBatch, StringArray};
use arrow::compute::{CastOptions, cast_with_options, filter_record_batch, not};
use arrow::datatypes::{DataType, Date32Type, Schema, SchemaRef};
use bytes::Bytes;
use chrono::NaiveDate;
use datafusion::execution::SendableRecordBatchStream;
use datafusion::physical_plan::stream::RecordBatchReceiverStream;
use futures::future::BoxFuture;
use futures::{StreamExt, TryStreamExt};
use object_store::buffered::BufWriter;
use parquet::arrow::async_writer::AsyncFileWriter;
use parquet::arrow::{ArrowWriter, AsyncArrowWriter};
use parquet::basic::{Compression, Encoding, ZstdLevel};
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::schema::types::ColumnPath;

use crate::model::{ColumnKind, Model};
use crate::place::Place;
use crate::progress::beat;

/// A scratch file of this run, and which rows of its table it holds.
#[derive(Debug, Clone)]
pub struct ScratchFile {
    pub path: PathBuf,
    pub rows: u64,
    /// The value of the column that splits the table.
    pub part: Option<bool>,
}

/// Writes rows to scratch files next to `path`: one, or one each for the rows of which the column
/// `split` says yes and no, without that column. Read once or twice and gone, so not laid out for
/// anything but speed. Errors: the disk is full; the rows fail; the column has nulls.
pub async fn scratch(
    mut rows: SendableRecordBatchStream,
    path: &FilePath,
    split: Option<&str>,
) -> Result<Vec<ScratchFile>> {
    let Some(split) = split else {
        let mut file = ScratchWriter::create(path, None, rows.schema())?;
        while let Some(batch) = rows.try_next().await? {
            file.write(&batch)?;
        }
        return Ok(vec![file.close()?]);
    };
    let (position, _) = rows.schema().column_with_name(split).context("no column to split by")?;
    let without = |schema: &Schema| -> Vec<usize> {
        (0..schema.fields().len()).filter(|column| *column != position).collect()
    };
    let schema = Arc::new(rows.schema().project(&without(&rows.schema()))?);
    let mut files = [false, true].map(|part| {
        let name = format!("{}-{part}", path.file_stem().unwrap_or_default().to_string_lossy());
        ScratchWriter::create(&path.with_file_name(name), Some(part), schema.clone())
    });
    while let Some(batch) = rows.try_next().await? {
        let part = batch.column(position).as_boolean();
        anyhow::ensure!(part.null_count() == 0, "{split} is null");
        let batch = batch.project(&without(batch.schema_ref()))?;
        for file in &mut files {
            let file = file.as_mut().map_err(|error| anyhow::anyhow!("{error:#}"))?;
            let chosen = if file.part == Some(true) { part.clone() } else { not(part)? };
            file.write(&filter_record_batch(&batch, &chosen)?)?;
        }
    }
    files.into_iter().map(|file| file?.close()).collect()
}

/// A scratch file that is being written.
struct ScratchWriter {
    path: PathBuf,
    part: Option<bool>,
    rows: u64,
    writer: ArrowWriter<File>,
}

impl ScratchWriter {
    /// Row groups are small and know the range of their dates and numbers, to be read by date or
    /// slice.
    fn create(path: &FilePath, part: Option<bool>, schema: SchemaRef) -> Result<ScratchWriter> {
        let mut properties = WriterProperties::builder()
            .set_compression(Compression::LZ4_RAW)
            .set_max_row_group_row_count(Some(1 << 17))
            .set_statistics_enabled(EnabledStatistics::None);
        for field in schema.fields() {
            if matches!(field.data_type(), DataType::Date32 | DataType::Int64) {
                let column = ColumnPath::from(field.name().as_str());
                properties =
                    properties.set_column_statistics_enabled(column, EnabledStatistics::Chunk);
            }
        }
        let file = File::create(path).with_context(|| path.display().to_string())?;
        let writer = ArrowWriter::try_new(file, schema, Some(properties.build()))?;
        Ok(ScratchWriter { path: path.to_owned(), part, rows: 0, writer })
    }

    fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        self.rows += batch.num_rows() as u64;
        self.writer.write(batch)?;
        beat();
        Ok(())
    }

    fn close(self) -> Result<ScratchFile> {
        self.writer.close()?;
        Ok(ScratchFile { path: self.path, rows: self.rows, part: self.part })
    }
}

/// A file that was written for a table and is not yet part of it.
#[derive(Debug, Clone)]
pub struct NewFile {
    pub slice: Slice,
    /// Relative to the table's folder.
    pub path: String,
    pub size: u64,
    pub rows: u64,
    /// Of the file's bytes: equal digests, equal rows.
    pub digest: String,
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
    rows: SendableRecordBatchStream,
    model: &Model,
    folder: &Place,
    file_name: &str,
    slices: &[Slice],
) -> Result<Vec<NewFile>> {
    let target = Target { model, folder, file_name, schema: without_partition(model) };
    let mut rows = ahead(rows);
    let mut done: Vec<NewFile> = Vec::new();
    let mut open: Option<OpenFile> = None;
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

/// The same rows, computed in a task of their own while those before them are written.
fn ahead(mut rows: SendableRecordBatchStream) -> SendableRecordBatchStream {
    let mut builder = RecordBatchReceiverStream::builder(rows.schema(), 4);
    let to = builder.tx();
    builder.spawn(async move {
        while let Some(batch) = rows.next().await {
            if to.send(batch).await.is_err() {
                break;
            }
        }
        Ok(())
    });
    builder.build()
}

struct Target<'a> {
    model: &'a Model,
    folder: &'a Place,
    file_name: &'a str,
    schema: SchemaRef,
}

impl Target<'_> {
    fn open(&self, slice: Slice) -> Result<OpenFile> {
        let log = slice.log.as_ref().map(|log| format!("-{log}")).unwrap_or_default();
        let path =
            format!("{}={}/{}{log}.parquet", self.model.partition(), slice.date, self.file_name);
        let place = self.folder.child(&path);
        let object = BufWriter::new(place.store().clone(), place.path().clone());
        let hasher = Arc::new(Mutex::new(blake3::Hasher::new()));
        let sink = Sink { object, hasher };
        let hasher = sink.hasher.clone();
        let properties = properties(self.model)?;
        let writer = AsyncArrowWriter::try_new(sink, self.schema.clone(), Some(properties))?;
        Ok(OpenFile { slice, path, writer, hasher, rows: 0 })
    }
}

/// How a table's files are encoded: times as differences and ids without what they share, for a
/// dictionary of values that never come again only costs. Level 1, for on such columns level 3 is
/// slower and larger.
fn properties(model: &Model) -> Result<WriterProperties> {
    let mut properties =
        WriterProperties::builder().set_compression(Compression::ZSTD(ZstdLevel::try_new(1)?));
    for column in &model.columns {
        let path = ColumnPath::from(column.name.as_str());
        if column.kind == ColumnKind::Instant {
            properties = properties
                .set_column_dictionary_enabled(path, false)
                .set_column_encoding(column.name.as_str().into(), Encoding::DELTA_BINARY_PACKED);
        } else if model.key.last() == Some(&column.name) && column.name.ends_with("_id") {
            properties = properties
                .set_column_dictionary_enabled(path.clone(), false)
                .set_column_encoding(path, Encoding::DELTA_BYTE_ARRAY);
        }
    }
    Ok(properties.build())
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

struct OpenFile {
    slice: Slice,
    path: String,
    writer: AsyncArrowWriter<Sink>,
    hasher: Arc<Mutex<blake3::Hasher>>,
    rows: u64,
}

impl OpenFile {
    async fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        self.rows += batch.num_rows() as u64;
        // Without the partition column, which is in the path.
        let columns: Vec<usize> = (1..batch.num_columns()).collect();
        self.writer.write(&batch.project(&columns)?).await?;
        Ok(())
    }

    async fn close(mut self) -> Result<NewFile> {
        self.writer.finish().await.with_context(|| format!("{}: cannot write", self.path))?;
        let size = self.writer.bytes_written() as u64;
        let hasher = self.hasher.lock().ok().context("a digest that was given up")?;
        let digest = hasher.finalize().to_hex().as_str()[..32].to_owned();
        Ok(NewFile { slice: self.slice, path: self.path, size, rows: self.rows, digest })
    }
}

fn without_partition(model: &Model) -> SchemaRef {
    let all = model.schema(ColumnKind::written);
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
                kind => cast_with_options(found, &kind.written(), &strict)
                    .with_context(|| format!("{}: column {}", model.name, column.name)),
            }
        })
        .collect::<Result<Vec<_>>>()?;
    Ok(RecordBatch::try_new(model.schema(ColumnKind::written), columns)?)
}

/// Lists of names and values in turn, as the text of JSON objects.
fn as_json(column: &ArrayRef) -> Result<ArrayRef> {
    let lists = column.as_list_opt::<i32>().context("a record is a list of names and values")?;
    let mut texts = Vec::with_capacity(lists.len());
    for position in 0..lists.len() {
        let parts =
            arrow::compute::cast(&lists.value(position), &arrow::datatypes::DataType::Utf8)?;
        let parts = parts.as_string::<i32>();
        let mut record = serde_json::Map::new();
        for pair in (0..parts.len().saturating_sub(1)).step_by(2) {
            let value = match parts.is_null(pair + 1) {
                true => serde_json::Value::Null,
                false => parts.value(pair + 1).into(),
            };
            record.insert(parts.value(pair).to_owned(), value);
        }
        texts.push(serde_json::Value::Object(record).to_string());
    }
    Ok(Arc::new(StringArray::from(texts)))
}

/// Cuts a sorted batch where the slice changes.
fn by_slice(batch: &RecordBatch, slices: &[Slice]) -> Result<Vec<(Slice, RecordBatch)>> {
    let dates: &Date32Array = batch.column(0).as_primitive::<Date32Type>();
    let logs = match slices.first() {
        Some(Slice { log: Some(_), .. }) => {
            batch.column_by_name("log").map(|logs| logs.as_string::<i32>())
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
