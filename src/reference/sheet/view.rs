//! A view of the job file over the files of a reference table. It makes each row of one row, so each
//! file can be asked on its own. Its rows are held as a Parquet file in memory.

use std::sync::{Arc, Mutex, PoisonError};

use arrow::array::{RecordBatch, RecordBatchOptions};
use arrow::datatypes::{Field, Schema, SchemaRef};
use async_trait::async_trait;
use bytes::Bytes;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::{DataFusionError, Result as EngineResult, project_schema};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::{Expr, TableType};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::streaming::{PartitionStream, StreamingTableExec};
use datafusion::physical_plan::{ExecutionPlan, execute_stream_partitioned};
use futures::TryStreamExt;
use parquet::arrow::ArrowWriter;
use parquet::basic::Compression;
use parquet::file::properties::WriterProperties;
use tokio::runtime::Handle;

use super::names::Wanted;
use super::parquet::Parquet;
use super::{Complaints, Kind, Opened, Piece, Place, Rows};
use crate::engine::Engine;
use crate::view::View;

/// What the view makes of each file. Rows keep their order if the engine has one partition. Blocks
/// while it runs.
pub fn run(
    engine: &Engine,
    view: &View,
    files: Vec<Opened>,
    wanted: Wanted,
    complaints: &mut Complaints,
) -> Vec<Opened> {
    let mut known: Vec<Field> = Vec::new();
    for field in files.iter().flat_map(unique_fields) {
        if known.iter().all(|other| other.name() != field.name()) {
            known.push(field);
        }
    }
    let mut made = Vec::new();
    for opened in files {
        let file = opened.file.clone();
        let raw = Raw::of(opened, &known);
        let troubles = raw.troubles.clone();
        let rows = Handle::current().block_on(rows(engine, view, raw, wanted));
        let unreadable = std::mem::take(&mut *lock(&troubles));
        let is_readable = unreadable.is_empty();
        for trouble in unreadable {
            complaints.add("unreadable lines", || trouble);
        }
        let opened = rows.map_err(|error| said(&error)).and_then(Parquet::open);
        match opened {
            Ok(parquet) => made.push(Opened {
                file,
                kind: Kind::Parquet(parquet),
                constants: Vec::new(),
                rows: Rows::OfView,
            }),
            Err(trouble) if is_readable => {
                complaints.add_of_file(file.as_deref(), format!("{}: {trouble}", view.file));
            }
            Err(_) => {}
        }
    }
    made
}

/// The columns that can be told apart by name.
fn unique_fields(opened: &Opened) -> Vec<Field> {
    let fields = opened.fields();
    let count = |name: &str| fields.iter().filter(|field| field.name() == name).count();
    fields.iter().filter(|field| count(field.name()) == 1).cloned().collect()
}

/// The rows as a Parquet file, in their order. Errors: the text does not fit the columns, or a row.
async fn rows(engine: &Engine, view: &View, raw: Raw, wanted: Wanted<'_>) -> EngineResult<Bytes> {
    let external = |error: anyhow::Error| DataFusionError::External(error.into());
    let raw = engine.read(Arc::new(raw)).map_err(external)?;
    let frame = engine.frame(engine.plan_view(&view.sql, raw).await?);
    let task = Arc::new(frame.task_ctx());
    let plan = frame.create_physical_plan().await?;
    let schema = plan.schema();
    let is_wanted = |field: &Field| wanted.count_in(&[field.name()]) > 0;
    let fields = schema.fields().iter().enumerate();
    let mut columns: Vec<usize> =
        fields.filter(|(_, field)| is_wanted(field)).map(|(position, _)| position).collect();
    if columns.is_empty() {
        columns.extend(0..schema.fields().len());
    }
    let properties = WriterProperties::builder().set_compression(Compression::LZ4_RAW).build();
    let kept = Arc::new(schema.project(&columns)?);
    let mut writer = ArrowWriter::try_new(Vec::new(), kept, Some(properties))?;
    for mut partition in execute_stream_partitioned(plan, task)? {
        while let Some(batch) = partition.try_next().await? {
            writer.write(&batch.project(&columns)?)?;
        }
    }
    Ok(writer.into_inner()?.into())
}

fn said(error: &DataFusionError) -> String {
    let text = error.find_root().strip_backtrace();
    let lines: Vec<&str> = text.lines().map(|line| line.trim_end_matches('.')).collect();
    lines.join("; ")
}

/// A file's rows, as the table `raw`.
#[derive(Debug)]
struct Raw {
    opened: Arc<Opened>,
    schema: SchemaRef,
    /// What could not be read.
    troubles: Arc<Mutex<Vec<String>>>,
}

impl Raw {
    /// `known` are the columns of all files. Those that this one lacks are null.
    fn of(opened: Opened, known: &[Field]) -> Raw {
        let mut fields = unique_fields(&opened);
        let own = opened.fields();
        let is_lacking = |field: &&Field| own.iter().all(|other| other.name() != field.name());
        fields.extend(known.iter().filter(is_lacking).cloned());
        let schema = Arc::new(Schema::new(fields));
        Raw { opened: Arc::new(opened), schema, troubles: Arc::default() }
    }
}

#[async_trait]
impl TableProvider for Raw {
    fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    async fn scan(
        &self,
        _state: &dyn Session,
        projection: Option<&Vec<usize>>,
        _filters: &[Expr],
        limit: Option<usize>,
    ) -> EngineResult<Arc<dyn ExecutionPlan>> {
        let schema = project_schema(&self.schema, projection)?;
        let scan = Scan {
            opened: self.opened.clone(),
            schema: schema.clone(),
            troubles: self.troubles.clone(),
        };
        let partitions: Vec<Arc<dyn PartitionStream>> = vec![Arc::new(scan)];
        let plan = StreamingTableExec::try_new(schema, partitions, None, [], false, limit)?;
        Ok(Arc::new(plan))
    }
}

/// A scan of some columns.
#[derive(Debug)]
struct Scan {
    opened: Arc<Opened>,
    schema: SchemaRef,
    troubles: Arc<Mutex<Vec<String>>>,
}

impl PartitionStream for Scan {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn execute(&self, _context: Arc<TaskContext>) -> SendableRecordBatchStream {
        let places = self.schema.fields().iter().map(|field| {
            let place = self.opened.find_literal(field.name());
            place.unwrap_or_else(|| Place::Nowhere(field.data_type().clone()))
        });
        let pieces = self.opened.read(places.collect());
        let (schema, troubles) = (self.schema.clone(), self.troubles.clone());
        let batches = pieces.map(move |piece| match piece {
            Ok(Piece { columns, rows, .. }) => {
                let options = RecordBatchOptions::new().with_row_count(Some(rows));
                Ok(RecordBatch::try_new_with_options(schema.clone(), columns, &options)?)
            }
            Err(unreadable) => {
                lock(&troubles).extend(unreadable);
                Err(DataFusionError::Execution("the rows cannot be read".to_owned()))
            }
        });
        let batches = futures::stream::iter(batches);
        Box::pin(RecordBatchStreamAdapter::new(self.schema.clone(), batches))
    }
}

fn lock(troubles: &Mutex<Vec<String>>) -> std::sync::MutexGuard<'_, Vec<String>> {
    troubles.lock().unwrap_or_else(PoisonError::into_inner)
}
