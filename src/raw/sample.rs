//! A look into one Parquet file of which nothing is known yet: its columns, and its first rows.
//!
//! Refuses to know which columns are wanted.

use anyhow::{Result, anyhow};
use arrow::array::RecordBatch;
use arrow::compute::concat_batches;
use arrow::datatypes::SchemaRef;
use datafusion::datasource::listing::PartitionedFile;
use datafusion::physical_plan::metrics::ExecutionPlanMetricsSet;
use futures::TryStreamExt;
use object_store::ObjectMeta;
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions};
use parquet::arrow::async_reader::AsyncFileReader;
use parquet::arrow::{ParquetRecordBatchStreamBuilder, ProjectionMask};
use parquet::file::metadata::ParquetMetaDataReader;

use super::schema::Held;
use super::{guard, relative};
use crate::engine::footer;
use crate::location::Location;

/// Columns of which a row group has more bytes are not looked at: reading them takes long.
const LARGE: i64 = 64 << 20;

/// What a file has.
pub struct Sample {
    pub schema: SchemaRef,
    pub rows: u64,
    /// The first rows, without lists and large columns. Empty where they cannot be decoded.
    pub head: RecordBatch,
    /// Why the first rows cannot be decoded.
    pub trouble: Option<String>,
}

/// Looks at a file and at up to `most` of its rows. Errors: the store fails. The inner error says
/// why it is no readable Parquet file.
pub async fn sample(
    location: &Location,
    object: &ObjectMeta,
    most: usize,
) -> Result<Result<Sample, String>> {
    let (name, size) = (relative(location, object), object.size);
    let store = location.store().clone();
    let end = footer::read(store.as_ref(), &object.location, size).await;
    let end = end.map_err(|error| anyhow!("{location}/{name}: cannot read: {error}"))?;
    let reader = guard::readers(store).create_reader(
        0,
        PartitionedFile::new_from_meta(object.clone()),
        None,
        &ExecutionPlanMetricsSet::new(),
    )?;
    // In a separate task, because bytes may make the decoder panic: it is a bad file.
    let read = tokio::spawn(async move {
        let footer = ParquetMetaDataReader::new().load_and_finish(Held { end, size }, size).await;
        let footer = footer.map_err(|error| error.to_string())?;
        let rows = guard::rows(&footer, size)?;
        let footer = ArrowReaderMetadata::try_new(footer.into(), ArrowReaderOptions::new());
        let footer = footer.map_err(|error| error.to_string())?;
        let schema = footer.schema().clone();
        let (head, trouble) = match head(reader, footer, most).await {
            Ok(head) => (head, None),
            Err(error) => (RecordBatch::new_empty(schema.clone()), Some(error.to_string())),
        };
        Ok(Sample { schema, rows, head, trouble })
    });
    Ok(read.await.unwrap_or_else(|_| Err("its bytes make no sense".to_owned())))
}

async fn head(
    reader: Box<dyn AsyncFileReader + Send>,
    footer: ArrowReaderMetadata,
    most: usize,
) -> Result<RecordBatch> {
    let reader: Box<dyn AsyncFileReader> = reader;
    let first = footer.metadata().row_groups().first();
    let leaves = first.into_iter().flat_map(|group| group.columns()).enumerate();
    let small = leaves.filter(|(_, column)| {
        column.column_descr().max_rep_level() == 0 && column.compressed_size() <= LARGE
    });
    let small: Vec<usize> = small.map(|(position, _)| position).collect();
    let mask = ProjectionMask::leaves(footer.parquet_schema(), small);
    let builder = ParquetRecordBatchStreamBuilder::new_with_metadata(reader, footer)
        .with_projection(mask)
        .with_batch_size(most)
        .with_limit(most);
    let rows = builder.build()?;
    let schema = rows.schema().clone();
    let batches: Vec<RecordBatch> = rows.try_collect().await?;
    let schema = batches.first().map_or(schema, RecordBatch::schema);
    Ok(concat_batches(&schema, &batches)?)
}
