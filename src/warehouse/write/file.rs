//! One Parquet file of a table: its encoding, and what is learned about its rows while writing.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use anyhow::{Context, Result};
use arrow::array::{Array, ArrayRef, RecordBatch};
use arrow::datatypes::{Schema, SchemaRef};
use chrono_tz::Tz;
use datafusion::common::ScalarValue;
use parquet::arrow::AsyncArrowWriter;
use parquet::arrow::arrow_reader::statistics::StatisticsConverter;
use parquet::arrow::arrow_writer::ArrowWriterOptions;
use parquet::basic::{Compression, Encoding, ZstdLevel};
use parquet::file::metadata::ParquetMetaData;
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::schema::types::ColumnPath;

use super::NewFile;
use super::digest::RowDigests;
use super::upload::{Sink, Written};
use crate::engine::functions::hash64::hashes;
use crate::engine::parquet_table::Bounds;
use crate::location::Location;
use crate::model::{Column, ColumnKind, Model};
use crate::warehouse::Partition;

/// Where a table's files go.
pub struct Target<'a> {
    pub model: &'a Model,
    pub folder: &'a Location,
    pub file_name: &'a str,
    /// Of the local dates of the rows.
    pub zone: Tz,
}

impl Target<'_> {
    pub fn open(&self, partition: Partition) -> Result<OpenFile<'_>> {
        let log = partition.log.as_ref().map(|log| format!("-{log}")).unwrap_or_default();
        let folder = self.model.partition().map(|column| format!("{column}={}/", partition.date));
        let folder = folder.unwrap_or_default();
        let path = format!("{folder}{}{log}.parquet", self.file_name);
        let location = self.folder.child(&path);
        let (sink, written) = Sink::open(location);
        let options = options(self.model)?;
        let schema = self.model.file_schema();
        let writer = AsyncArrowWriter::try_new_with_options(sink, schema.clone(), options)?;
        let keys = Keys::of(self.model);
        let digests = RowDigests::of(self.model, self.zone);
        let model = self.model;
        Ok(OpenFile { model, schema, partition, path, writer, written, rows: 0, keys, digests })
    }
}

/// A file that is being written.
pub struct OpenFile<'a> {
    model: &'a Model,
    schema: SchemaRef,
    pub partition: Partition,
    path: String,
    writer: AsyncArrowWriter<Sink>,
    written: Arc<Mutex<Written>>,
    rows: u64,
    keys: Keys,
    digests: RowDigests,
}

impl OpenFile<'_> {
    pub async fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        self.rows += batch.num_rows() as u64;
        self.keys.see(batch)?;
        // The partition column is left out, because it is in the path.
        let all = batch.num_columns();
        let columns: Vec<usize> = (all - self.schema.fields().len()..all).collect();
        let columns = batch.project(&columns)?;
        self.digests.see(&columns)?;
        self.writer.write(&columns).await?;
        Ok(())
    }

    pub async fn close(mut self) -> Result<NewFile> {
        let footer = self.writer.finish().await;
        let footer = footer.with_context(|| format!("{}: cannot write", self.path))?;
        let (bounds, nulls) = bounds(&footer, &self.schema, self.model)?;
        let size = self.writer.bytes_written() as u64;
        let mut written = self.written.lock().ok().context("a writer panicked")?;
        let digest = written.hasher.finalize().to_hex().as_str()[..32].to_owned();
        let upload = written.upload.take().context("the file was not completed")?;
        Ok(NewFile {
            partition: self.partition,
            path: self.path,
            size,
            rows: self.rows,
            bounds,
            nulls,
            digest,
            upload,
            row_digests: self.digests.finish()?,
            is_key_in_doubt: self.keys.are_in_doubt(),
        })
    }
}

/// How a table's files are encoded. Times are stored as differences. Ids have no dictionary,
/// because they hardly repeat. The last id of the key is stored without the prefix that it shares
/// with the one before. Pages store the range of times and of the columns that rows are sorted by.
/// Ranges of other texts are useless and left out. The level is 1: on such columns level 3 is
/// slower and larger. Arrow's own schema is left out, because readers do not need it.
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

/// Collects the keys of a file's rows as hashes. Rows of one file share their partition, so only
/// the other columns of the key count.
struct Keys {
    columns: Vec<usize>,
    hashes: Vec<u64>,
    has_null: bool,
}

impl Keys {
    fn of(model: &Model) -> Keys {
        let is_key =
            |name: &str| model.partition() != Some(name) && model.key.iter().any(|key| key == name);
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

/// Whether the file stores a column's bounds, also for pages: times, and the columns that rows are
/// sorted by.
fn is_bounded(model: &Model, column: &Column) -> bool {
    column.kind == ColumnKind::Instant || model.order.contains(&column.name)
}

/// The bounds of a file's columns, from its footer, and the number of nulls in them.
fn bounds(
    footer: &ParquetMetaData,
    schema: &Schema,
    model: &Model,
) -> Result<(Bounds, BTreeMap<String, u64>)> {
    let columns = model.file_columns().iter().filter(|column| is_bounded(model, column));
    let (mut bounds, mut nulls) = (Bounds::new(), BTreeMap::new());
    for column in columns {
        let parquet = footer.file_metadata().schema_descr();
        let groups = StatisticsConverter::try_new(&column.name, schema, parquet)?;
        let least = extremum(&groups.row_group_mins(footer.row_groups())?, Ordering::Less)?;
        let greatest = extremum(&groups.row_group_maxes(footer.row_groups())?, Ordering::Greater)?;
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

/// The least or the greatest of some values. None when one is unknown.
fn extremum(values: &ArrayRef, end: Ordering) -> Result<Option<ScalarValue>> {
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
