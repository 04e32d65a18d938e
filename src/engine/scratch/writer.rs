//! Writes the rows of a stream to parts of a scratch table.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::fs::File;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context, Result};
use arrow::array::{Array, ArrayRef, AsArray, Int32Array, RecordBatch, new_null_array};
use arrow::compute::kernels::cmp::eq;
use arrow::compute::{cast, filter_record_batch, max, max_boolean, min, min_boolean};
use arrow::datatypes::{DataType, Date32Type, Int32Type, Int64Type, SchemaRef};
use datafusion::common::ScalarValue;
use datafusion::execution::SendableRecordBatchStream;
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryReservation};
use futures::TryStreamExt;
use parquet::arrow::ArrowWriter;
use parquet::basic::Compression;
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::schema::types::ColumnPath;
use tempfile::TempPath;

use super::Writing;
use super::object::Object;
use crate::engine::parquet_table::Constants;
use crate::progress::tick;

/// Some rows of a scratch table.
#[derive(Debug, Clone)]
pub struct Part {
    pub rows: u64,
    /// Columns with the same value in all these rows.
    pub constants: Constants,
    pub content: Content,
}

#[derive(Debug, Clone)]
pub enum Content {
    /// Memory is reserved until the last reader of the rows is done.
    Memory(Vec<RecordBatch>, Arc<MemoryReservation>),
    /// Removed when its last reader is done.
    File(Arc<TempPath>),
    /// In a folder that other processes read, too. Removed when its last reader is done.
    Object(Arc<Object>),
}

impl Part {
    /// Bytes of memory that the rows take.
    pub fn held_bytes(&self) -> usize {
        match &self.content {
            Content::Memory(_, reservation) => reservation.size(),
            Content::File(_) | Content::Object(_) => 0,
        }
    }

    pub fn is_file(&self) -> bool {
        !matches!(self.content, Content::Memory(..))
    }
}

/// Writes rows to one part, or to one for each value of the split column: a date, a boolean or a
/// small number. Errors: the disk is full; the rows fail; the split column has nulls.
pub(super) async fn write(
    mut rows: SendableRecordBatchStream,
    writing: Writing,
) -> Result<Vec<Part>> {
    let schema = rows.schema();
    let Writing { path, split, pool } = writing;
    let builder = |number: usize| PartBuilder {
        path: path.with_file_name(format!(
            "{}-{number}.parquet",
            path.file_name().unwrap_or_default().to_string_lossy()
        )),
        schema: schema.clone(),
        rows: 0,
        constants: None,
        batches: Vec::new(),
        reservation: MemoryConsumer::new("temporary table").register(&pool),
        file: None,
    };
    let mut seen = SeenBuffers::default();
    let mut builders: BTreeMap<Option<i32>, PartBuilder> = BTreeMap::new();
    let unwritten = || format!("cannot write to the scratch folder: {}", path.display());
    while let Some(batch) = rows.try_next().await? {
        for (value, batch) in by_value(batch, split.as_deref())? {
            let number = builders.len();
            let builder = builders.entry(value).or_insert_with(|| builder(number));
            builder.add(batch, &mut seen).with_context(unwritten)?;
        }
    }
    let parts = builders.into_values().map(|builder| builder.close().with_context(unwritten));
    parts.collect()
}

/// The rows of each value of the split column, with the value as a number. All rows where there is
/// no split column.
pub(super) fn by_value(
    batch: RecordBatch,
    split: Option<&str>,
) -> Result<Vec<(Option<i32>, RecordBatch)>> {
    let Some(split) = split else { return Ok(vec![(None, compact(&batch)?)]) };
    let column = batch.column_by_name(split).context("no column to split by")?;
    anyhow::ensure!(column.null_count() == 0, "{split} is null");
    let numbers = cast(column, &DataType::Int32)?;
    let numbers = numbers.as_primitive::<Int32Type>();
    let values: BTreeSet<i32> = numbers.values().iter().copied().collect();
    if let (1, Some(value)) = (values.len(), values.first()) {
        return Ok(vec![(Some(*value), batch)]);
    }
    let rows = values.into_iter().map(|value| {
        let chosen = filter_record_batch(&batch, &eq(numbers, &Int32Array::new_scalar(value))?)?;
        // A batch with most of the rows keeps its buffers.
        let are_most = chosen.num_rows() * 2 > batch.num_rows();
        Ok((Some(value), if are_most { chosen } else { compact(&chosen)? }))
    });
    rows.collect()
}

/// Text buffers that are accounted for already: batches share them.
#[derive(Default)]
struct SeenBuffers(HashSet<usize>);

impl SeenBuffers {
    /// The bytes that a batch adds.
    fn new_bytes(&mut self, batch: &RecordBatch) -> usize {
        let mut bytes = 0;
        for column in batch.columns() {
            bytes += match column.as_string_view_opt() {
                Some(texts) => {
                    let buffers = texts.data_buffers().iter();
                    let new = buffers
                        .filter(|buffer| self.0.insert(buffer.as_ptr() as usize))
                        .map(|buffer| buffer.capacity());
                    new.sum::<usize>() + texts.views().len() * size_of::<u128>()
                }
                None => column.to_data().get_slice_memory_size().unwrap_or_default(),
            };
        }
        bytes
    }
}

/// A part that is being written: in memory until the pool is full, then to a file.
struct PartBuilder {
    path: PathBuf,
    schema: SchemaRef,
    rows: u64,
    /// The constants of the rows so far. None as long as there are no rows.
    constants: Option<Constants>,
    batches: Vec<RecordBatch>,
    reservation: MemoryReservation,
    file: Option<(ArrowWriter<File>, TempPath)>,
}

impl PartBuilder {
    fn add(&mut self, batch: RecordBatch, seen: &mut SeenBuffers) -> Result<()> {
        tick();
        if batch.num_rows() == 0 {
            return Ok(());
        }
        self.rows += batch.num_rows() as u64;
        let constants = constants_of(&batch);
        match &mut self.constants {
            Some(known) => known.retain(|name, value| constants.get(name) == Some(value)),
            None => self.constants = Some(constants),
        }
        if let Some((file, _)) = &mut self.file {
            return Ok(file.write(&batch)?);
        }
        let batch = drop_null_buffers(&batch)?;
        match self.reservation.try_grow(seen.new_bytes(&batch)) {
            Ok(()) => {
                self.batches.push(batch);
                Ok(())
            }
            Err(_) => self.move_to_file(&batch),
        }
    }

    fn move_to_file(&mut self, last: &RecordBatch) -> Result<()> {
        let file = File::create(&self.path).with_context(|| self.path.display().to_string())?;
        let path = TempPath::try_from_path(&self.path)?;
        let properties = Some(file_properties(&self.schema));
        let mut file = ArrowWriter::try_new(file, self.schema.clone(), properties)?;
        for batch in std::mem::take(&mut self.batches) {
            file.write(&batch)?;
            tick();
        }
        file.write(last)?;
        self.reservation.free();
        self.file = Some((file, path));
        Ok(())
    }

    fn close(self) -> Result<Part> {
        let content = match self.file {
            Some((file, path)) => {
                file.close()?;
                Content::File(Arc::new(path))
            }
            None => Content::Memory(self.batches, Arc::new(self.reservation)),
        };
        Ok(Part { rows: self.rows, constants: self.constants.unwrap_or_default(), content })
    }
}

/// Row groups are small and store the range of their dates and numbers, so that a query for a date
/// or a bucket reads few of them. There are no dictionaries: they cost more time than they save.
pub(super) fn file_properties(schema: &SchemaRef) -> WriterProperties {
    let mut properties = WriterProperties::builder()
        .set_compression(Compression::LZ4_RAW)
        .set_dictionary_enabled(false)
        .set_max_row_group_row_count(Some(1 << 17))
        .set_statistics_enabled(EnabledStatistics::None);
    for field in schema.fields() {
        if matches!(field.data_type(), DataType::Date32 | DataType::Int64 | DataType::Boolean) {
            let column = ColumnPath::from(field.name().as_str());
            properties = properties.set_column_statistics_enabled(column, EnabledStatistics::Chunk);
        }
    }
    properties.build()
}

/// The date, number and boolean columns with one value in the whole batch. The batch has rows.
pub(super) fn constants_of(batch: &RecordBatch) -> Constants {
    let mut constants = Constants::new();
    let schema = batch.schema();
    for (field, column) in schema.fields().iter().zip(batch.columns()) {
        if column.null_count() > 0 {
            continue;
        }
        let is_constant = match column.data_type() {
            DataType::Date32 => {
                let dates = column.as_primitive::<Date32Type>();
                min(dates) == max(dates)
            }
            DataType::Int64 => {
                let numbers = column.as_primitive::<Int64Type>();
                min(numbers) == max(numbers)
            }
            DataType::Boolean => {
                let answers = column.as_boolean();
                min_boolean(answers) == max_boolean(answers)
            }
            _ => false,
        };
        if is_constant && let Ok(value) = ScalarValue::try_from_array(column, 0) {
            constants.insert(field.name().clone(), value);
        }
    }
    constants
}

/// The same rows. A column that is all null keeps no buffers.
fn drop_null_buffers(batch: &RecordBatch) -> Result<RecordBatch> {
    let rows = batch.num_rows();
    let columns = batch.columns().iter().map(|column| match column.null_count() == rows {
        true => new_null_array(column.data_type(), rows),
        false => column.clone(),
    });
    Ok(RecordBatch::try_new(batch.schema(), columns.collect())?)
}

/// The same rows. Text buffers that mostly hold texts of other rows are copied and shrunk.
fn compact(batch: &RecordBatch) -> Result<RecordBatch> {
    let columns = batch.columns().iter().map(|column| -> ArrayRef {
        match column.as_string_view_opt() {
            Some(texts) if retains_excess(texts) => Arc::new(texts.gc()),
            _ => column.clone(),
        }
    });
    Ok(RecordBatch::try_new(batch.schema(), columns.collect())?)
}

/// Whether the buffers are much larger than the texts. Other batches may share them.
fn retains_excess(texts: &arrow::array::StringViewArray) -> bool {
    let held: usize = texts.data_buffers().iter().map(|buffer| buffer.capacity()).sum();
    held > 3 * texts.total_buffer_bytes_used() + (1 << 12)
}
