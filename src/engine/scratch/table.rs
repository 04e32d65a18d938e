//! A temporary table for queries.

use std::collections::BTreeMap;
use std::path::Path as FilePath;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arrow::array::RecordBatch;
use arrow::datatypes::{Field, Schema, SchemaRef};
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::{DataFusionError, Result};
use datafusion::datasource::memory::MemorySourceConfig;
use datafusion::execution::object_store::ObjectStoreUrl;
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown, TableType};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::union::UnionExec;
use object_store::path::Path;

use super::writer::{Content, Part};
use crate::engine::parquet_table::{Bounds, Constants, DataFile, ParquetTable, is_never};

/// Parts with one schema. A query reads the parts there are when it is planned.
#[derive(Debug)]
pub struct ScratchTable {
    schema: SchemaRef,
    parts: Mutex<Vec<Part>>,
}

impl ScratchTable {
    pub fn new(schema: &Schema) -> ScratchTable {
        let fields = schema.fields().iter();
        let fields = fields.map(|field| Field::new(field.name(), field.data_type().clone(), true));
        let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
        ScratchTable { schema, parts: Mutex::default() }
    }

    /// Adds parts. Errors: a part with other columns.
    pub fn add(&self, mut parts: Vec<Part>) -> Result<()> {
        for part in &mut parts {
            if let Content::Memory(batches, _) = &mut part.content {
                for batch in batches {
                    *batch = batch.clone().with_schema(self.schema.clone())?;
                }
            }
        }
        self.parts().extend(parts);
        Ok(())
    }

    /// Drops parts, selected by the columns that are constant in a part.
    pub fn remove(&self, is_done_with: impl Fn(&Constants) -> bool) {
        self.parts().retain(|part| !is_done_with(&part.constants));
    }

    /// The same table with only the selected parts. Their rows are shared, not copied.
    pub fn only(&self, is_wanted: impl Fn(&Constants) -> bool) -> ScratchTable {
        let parts =
            self.parts().iter().filter(|part| is_wanted(&part.constants)).cloned().collect();
        ScratchTable { schema: self.schema.clone(), parts: Mutex::new(parts) }
    }

    pub fn rows(&self) -> u64 {
        self.parts().iter().map(|part| part.rows).sum()
    }

    fn parts(&self) -> MutexGuard<'_, Vec<Part>> {
        self.parts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl TableProvider for ScratchTable {
    fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }

    fn table_type(&self) -> TableType {
        TableType::Temporary
    }

    fn supports_filters_pushdown(
        &self,
        filters: &[&Expr],
    ) -> Result<Vec<TableProviderFilterPushDown>> {
        Ok(vec![TableProviderFilterPushDown::Inexact; filters.len()])
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let may_match = |part: &&Part| {
            let bounds = |name: &str| part.constants.get(name).map(|value| (value, value));
            !filters.iter().any(|filter| is_never(filter, bounds))
        };
        let mut held: Vec<RecordBatch> = Vec::new();
        let mut files: Vec<DataFile> = Vec::new();
        let mut objects: BTreeMap<ObjectStoreUrl, Vec<DataFile>> = BTreeMap::new();
        let parts: Vec<Part> = self.parts().iter().filter(may_match).cloned().collect();
        for part in parts {
            match &part.content {
                Content::Memory(batches, _) => held.extend(batches.iter().cloned()),
                Content::File(path) => {
                    let size = std::fs::metadata(path.as_ref())?.len();
                    files.push(data_file(local_path(path)?, size, part.rows));
                }
                Content::Object(object) => {
                    let store = object.location.store_url();
                    let store = store.map_err(|error| DataFusionError::External(error.into()))?;
                    let path = object.location.path().clone();
                    objects.entry(store).or_default().push(data_file(path, object.size, part.rows));
                }
            }
        }
        let mut plans: Vec<Arc<dyn ExecutionPlan>> = Vec::new();
        if !held.is_empty() || (files.is_empty() && objects.is_empty()) {
            let partitions = in_even_runs(held, state.config().target_partitions());
            plans.push(MemorySourceConfig::try_new_exec(
                &partitions,
                self.schema.clone(),
                projection.cloned(),
            )?);
        }
        if !files.is_empty() {
            objects.entry(ObjectStoreUrl::local_filesystem()).or_default().extend(files);
        }
        for (store, files) in objects {
            let files = ParquetTable::new(store, self.schema.clone(), None, files);
            plans.push(files.scan(state, projection, filters, limit).await?);
        }
        match plans.len() {
            1 => Ok(plans.remove(0)),
            _ => UnionExec::try_new(plans),
        }
    }
}

fn local_path(path: &FilePath) -> Result<Path> {
    let external = |error: object_store::path::Error| DataFusionError::External(Box::new(error));
    Path::from_absolute_path(path).map_err(external)
}

fn data_file(path: Path, size: u64, rows: u64) -> DataFile {
    DataFile {
        only: None,
        is_read: true,
        path,
        size,
        tag: None,
        partition: None,
        rows: Some(rows),
        bounds: Bounds::new(),
    }
}

/// Groups batches, in order, into so many partitions of about equally many rows.
fn in_even_runs(batches: Vec<RecordBatch>, partitions: usize) -> Vec<Vec<RecordBatch>> {
    let rows: usize = batches.iter().map(RecordBatch::num_rows).sum();
    let rows_each = rows.div_ceil(partitions.max(1)).max(1);
    let mut runs: Vec<Vec<RecordBatch>> = vec![Vec::new()];
    let mut rows_before = 0;
    for batch in batches {
        if rows_before >= rows_each * runs.len() {
            runs.push(Vec::new());
        }
        rows_before += batch.num_rows();
        if let Some(run) = runs.last_mut() {
            run.push(batch);
        }
    }
    runs
}
