//! A table that is a fixed list of Parquet files: a snapshot, which is not listed again. One column
//! may be the files' partition value.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use async_trait::async_trait;
use chrono::{DateTime, Utc};
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::stats::Precision;
use datafusion::common::{Result as EngineResult, ScalarValue, Statistics, project_schema};
use datafusion::config::TableParquetOptions;
use datafusion::datasource::listing::{FileRange, PartitionedFile};
use datafusion::datasource::physical_plan::parquet::{
    CachedParquetFileReaderFactory, ParquetRowSelection,
};
use datafusion::datasource::physical_plan::{
    FileGroup, FileScanConfigBuilder, ParquetFileReaderFactory, ParquetSource,
};
use datafusion::datasource::source::DataSourceExec;
use datafusion::datasource::table_schema::TableSchema;
use datafusion::execution::TaskContext;
use datafusion::execution::object_store::ObjectStoreUrl;
use datafusion::execution::runtime_env::RuntimeEnv;
use datafusion::logical_expr::{
    BinaryExpr, Expr, Operator, TableProviderFilterPushDown, TableType,
};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::empty::EmptyExec;
use object_store::path::Path;
use object_store::{ObjectMeta, ObjectStore};
use parquet::arrow::RowNumber;
use parquet::arrow::arrow_reader::RowSelection;

use super::elsewhere::Travels;
use super::read_ahead::ask_ahead;
use super::remote_scan::{Piece, RemoteScan};
use crate::location::{FOOTER_HINT, Kept};

/// Columns that have the same value in all rows of a file or part.
pub type Constants = BTreeMap<String, ScalarValue>;

/// Bounds of columns: no value is less than the first or greater than the second.
pub type Bounds = BTreeMap<String, (ScalarValue, ScalarValue)>;

/// One Parquet file of a table.
#[derive(Debug, Clone)]
pub struct DataFile {
    pub path: Path,
    pub size: u64,
    /// What the store called its content when it was listed.
    pub tag: Option<String>,
    /// The partition column's value in all its rows.
    pub partition: Option<ScalarValue>,
    pub rows: Option<u64>,
    /// The rows to read. None: all.
    pub only: Option<RowSelection>,
    /// Whether it is read at all. One that is not still has its number.
    pub is_read: bool,
    /// Known bounds of columns. A file in which no row can match is not opened.
    pub bounds: Bounds,
}

/// A fixed list of files in one store and with one schema.
#[derive(Debug, Clone)]
pub struct ParquetTable {
    store: ObjectStoreUrl,
    /// For queries: the partition column first.
    schema: SchemaRef,
    /// For scans: the partition column last.
    scanned: TableSchema,
    files: Vec<DataFile>,
    readers: Option<Readers>,
    kept: Option<Arc<Kept>>,
    /// The number of the first file, where rows are numbered.
    first_number: Option<i64>,
}

/// The numbers of a row's file and of the row within it, as columns of a numbered table.
pub const FILE_NUMBER: &str = "#file";
pub const ROW_NUMBER: &str = "#row";

/// Makes readers of a store's files that replace DataFusion's.
pub type Readers = fn(Arc<dyn ObjectStore>) -> Arc<dyn ParquetFileReaderFactory>;

impl ParquetTable {
    /// `columns` are those in the files. `partition` is the column for the files' partition value,
    /// and comes first in the table.
    pub fn new(
        store: ObjectStoreUrl,
        columns: SchemaRef,
        partition: Option<Field>,
        files: Vec<DataFile>,
    ) -> ParquetTable {
        let partitions: Vec<_> = partition.into_iter().map(Arc::new).collect();
        let fields = partitions.iter().chain(columns.fields()).cloned().collect::<Vec<_>>();
        let scanned = TableSchema::builder(columns).with_table_partition_cols(partitions).build();
        let schema = Arc::new(Schema::new(fields));
        ParquetTable {
            store,
            schema,
            scanned,
            files,
            readers: None,
            kept: None,
            first_number: None,
        }
    }

    /// Adds the columns [`FILE_NUMBER`] and [`ROW_NUMBER`]. Files are numbered in turn from `first`.
    pub fn numbered(self, first: i64) -> ParquetTable {
        let file = Arc::new(Field::new(FILE_NUMBER, DataType::Int64, false));
        let row = Field::new(ROW_NUMBER, DataType::Int64, false).with_extension_type(RowNumber);
        let mut partitions = self.scanned.table_partition_cols().to_vec();
        partitions.push(file.clone());
        let row = Arc::new(row);
        let fields = self.schema.fields().iter().cloned().chain([file, row.clone()]);
        let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
        let scanned = TableSchema::builder(self.scanned.file_schema().clone())
            .with_table_partition_cols(partitions)
            .with_virtual_columns(vec![row])
            .build();
        ParquetTable { schema, scanned, first_number: Some(first), ..self }
    }

    pub fn with_readers(self, readers: Readers) -> ParquetTable {
        ParquetTable { readers: Some(readers), ..self }
    }

    /// The files are in a store that keeps what it reads, so they are read ahead.
    pub fn kept_by(self, kept: Option<Arc<Kept>>) -> ParquetTable {
        ParquetTable { kept, ..self }
    }

    /// Turns positions of columns in queries into positions in scans.
    fn scanned_positions(&self, projection: Option<&Vec<usize>>) -> EngineResult<Vec<usize>> {
        let all: Vec<usize> = (0..self.schema.fields().len()).collect();
        let scanned = self.scanned.table_schema();
        let positions = projection.unwrap_or(&all).iter();
        let found = positions.map(|at| Ok(scanned.index_of(self.schema.field(*at).name())?));
        found.collect()
    }

    /// The names of the columns that a scan reads.
    fn read_columns(&self, positions: &[usize]) -> Arc<BTreeSet<String>> {
        let columns = self.scanned.file_schema().fields();
        Arc::new(positions.iter().filter_map(|at| Some(columns.get(*at)?.name().clone())).collect())
    }

    fn may_match(&self, file: &DataFile, filters: &[Expr]) -> bool {
        if !file.is_read {
            return false;
        }
        let partition = self.scanned.table_partition_cols().first();
        let bounds = |column: &str| match partition.is_some_and(|known| known.name() == column) {
            true => file.partition.as_ref().map(|value| (value, value)),
            false => file.bounds.get(column).map(|(least, greatest)| (least, greatest)),
        };
        !filters.iter().any(|filter| is_never(filter, bounds))
    }

    /// A file as it is read. Its position gives its number.
    fn read(&self, file: &DataFile, position: i64) -> PartitionedFile {
        let number = self.first_number.map(|first| ScalarValue::Int64(Some(first + position)));
        let constants = file.partition.clone().into_iter().chain(number);
        let read = PartitionedFile::new_from_meta(ObjectMeta {
            location: file.path.clone(),
            last_modified: DateTime::<Utc>::UNIX_EPOCH,
            size: file.size,
            e_tag: file.tag.clone(),
            version: None,
        })
        .with_partition_values(constants.collect())
        .with_statistics(Arc::new(self.statistics(&[file])));
        match &file.only {
            Some(rows) => read.with_extension(ParquetRowSelection::new(rows.clone())),
            None => read,
        }
    }

    /// A scan of columns at these positions, without files yet.
    fn scan_builder(
        &self,
        positions: Vec<usize>,
        mut options: TableParquetOptions,
        runtime: &Arc<RuntimeEnv>,
    ) -> EngineResult<FileScanConfigBuilder> {
        // The times of INT96 reach farther than nanoseconds do.
        options.global.coerce_int96 = Some("us".to_owned());
        options.global.coerce_int96_tz = Some("UTC".to_owned());
        let store = runtime.object_store(&self.store)?;
        let readers = match self.readers {
            Some(readers) => readers(store),
            None => {
                let footers = runtime.cache_manager.get_file_metadata_cache();
                Arc::new(CachedParquetFileReaderFactory::new(store, footers))
            }
        };
        let source = ParquetSource::new(self.scanned.clone())
            .with_table_parquet_options(options)
            .with_metadata_size_hint(FOOTER_HINT as usize)
            .with_parquet_file_reader_factory(readers);
        FileScanConfigBuilder::new(self.store.clone(), Arc::new(source))
            .with_projection_indices(Some(positions))
    }

    /// A scan of pieces of its files, on one partition.
    pub fn scan_of(
        &self,
        pieces: &[Piece],
        projection: Option<&Vec<usize>>,
        task: &TaskContext,
    ) -> EngineResult<Arc<dyn ExecutionPlan>> {
        if pieces.is_empty() {
            return Ok(Arc::new(EmptyExec::new(project_schema(&self.schema, projection)?)));
        }
        let files = pieces.iter().map(|(position, range)| {
            let mut file = self.read(&self.files[*position], *position as i64);
            file.range = range.map(|(start, end)| FileRange { start, end });
            file
        });
        let positions = self.scanned_positions(projection)?;
        let files: Vec<PartitionedFile> = files.collect();
        if let Some(kept) = &self.kept {
            let footers = task.runtime_env().cache_manager.get_file_metadata_cache();
            let files = files.iter().map(|file| file.object_meta.clone());
            ask_ahead(kept, files, &self.read_columns(&positions), &footers);
        }
        let options = task.session_config().options().execution.parquet.clone();
        let options = TableParquetOptions { global: options, ..TableParquetOptions::default() };
        let builder = self.scan_builder(positions, options, &task.runtime_env())?;
        let scan = builder.with_file_groups(vec![FileGroup::new(files)]).build();
        Ok(DataSourceExec::from_data_source(scan))
    }

    /// The store, the files' own columns, the partition column and the first number: what makes the
    /// same table again.
    pub fn parts(&self) -> (&ObjectStoreUrl, &SchemaRef, Option<&Field>, Option<i64>) {
        let partition = self.scanned.table_partition_cols().first().map(AsRef::as_ref);
        let partition = partition.filter(|column| column.name() != FILE_NUMBER);
        (&self.store, self.scanned.file_schema(), partition, self.first_number)
    }

    pub fn files(&self) -> &[DataFile] {
        &self.files
    }

    fn statistics(&self, files: &[&DataFile]) -> Statistics {
        let mut statistics = Statistics::new_unknown(self.scanned.table_schema());
        let rows = files.iter().map(|file| file.rows.filter(|_| file.only.is_none()));
        let rows: Option<u64> = rows.sum();
        if let Some(rows) = rows {
            statistics.num_rows = Precision::Exact(rows as usize);
        }
        statistics
    }
}

#[async_trait]
impl TableProvider for ParquetTable {
    fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    fn supports_filters_pushdown(
        &self,
        filters: &[&Expr],
    ) -> EngineResult<Vec<TableProviderFilterPushDown>> {
        Ok(vec![TableProviderFilterPushDown::Inexact; filters.len()])
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> EngineResult<Arc<dyn ExecutionPlan>> {
        let chosen = |file: &&DataFile| self.may_match(file, filters);
        let listed: Vec<&DataFile> = self.files.iter().filter(chosen).collect();
        if listed.is_empty() {
            let schema = project_schema(&self.schema, projection)?;
            return Ok(Arc::new(EmptyExec::new(schema)));
        }
        let partitions = state.config().target_partitions();
        let travels = state.config().get_extension::<Travels>().is_some();
        if self.readers.is_some() && travels {
            let files = (0..).zip(&self.files).filter(|(_, file)| self.may_match(file, filters));
            let files = files.map(|(position, _)| position).collect();
            let table = Arc::new(self.clone());
            let piece = state.config().options().optimizer.repartition_file_min_size as u64;
            let wanted = (partitions, piece);
            let scan = RemoteScan::of_files(table, projection.cloned(), files, wanted)?;
            return Ok(Arc::new(scan));
        }
        let positions = self.scanned_positions(projection)?;
        let files = self.files.iter().zip(0..);
        let files = files.filter(|(file, _)| self.may_match(file, filters));
        let files: Vec<_> = files.map(|(file, position)| self.read(file, position)).collect();
        if let Some(kept) = self.kept.as_ref().filter(|_| !travels) {
            let footers = state.runtime_env().cache_manager.get_file_metadata_cache();
            let files = files.iter().map(|file| file.object_meta.clone());
            ask_ahead(kept, files, &self.read_columns(&positions), &footers);
        }
        let groups = FileGroup::new(files).split_files(partitions);
        let options = state.default_table_options().parquet;
        let builder = self.scan_builder(positions, options, state.runtime_env())?;
        let scan = builder
            .with_file_groups(groups)
            .with_statistics(self.statistics(&listed))
            .with_limit(limit)
            .build();
        Ok(DataSourceExec::from_data_source(scan))
    }
}

/// Whether a filter is true for no row whose columns are within these bounds.
pub fn is_never<'a>(
    filter: &Expr,
    bounds: impl Fn(&str) -> Option<(&'a ScalarValue, &'a ScalarValue)>,
) -> bool {
    let bounds = |column: &Expr| match column {
        Expr::Column(column) => bounds(&column.name),
        _ => None,
    };
    let is_always = |column: &Expr, answer: bool| {
        let answer = ScalarValue::Boolean(Some(answer));
        bounds(column).is_some_and(|(least, greatest)| *least == answer && *greatest == answer)
    };
    match filter {
        Expr::Column(_) => is_always(filter, false),
        Expr::Not(column) => is_always(column, true),
        Expr::BinaryExpr(BinaryExpr { left, op, right }) => {
            let (column, op, literal) = match (left.as_ref(), op.swap(), right.as_ref()) {
                (column, _, Expr::Literal(literal, _)) => (column, *op, literal),
                (Expr::Literal(literal, _), Some(op), column) => (column, op, literal),
                _ => return false,
            };
            let Some((least, greatest)) = bounds(column) else { return false };
            // None where the types differ: then nothing is known.
            let (least, greatest) = (least.partial_cmp(literal), greatest.partial_cmp(literal));
            match op {
                Operator::Eq => {
                    greatest.is_some_and(Ordering::is_lt) || least.is_some_and(Ordering::is_gt)
                }
                Operator::Lt => least.is_some_and(Ordering::is_ge),
                Operator::LtEq => least.is_some_and(Ordering::is_gt),
                Operator::Gt => greatest.is_some_and(Ordering::is_le),
                Operator::GtEq => greatest.is_some_and(Ordering::is_lt),
                _ => false,
            }
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use datafusion::prelude::{col, lit};

    use super::*;

    #[test]
    fn a_file_is_skipped_when_no_row_within_its_bounds_can_match() {
        let (two, five) = (ScalarValue::from(2_i64), ScalarValue::from(5_i64));
        let bounds = |name: &str| (name == "at").then_some((&two, &five));
        let is_skipped = |filter: &Expr| is_never(filter, bounds);
        let at = || col("at");
        for filter in [
            at().eq(lit(1_i64)),
            at().eq(lit(6_i64)),
            at().lt(lit(2_i64)),
            at().lt_eq(lit(1_i64)),
            at().gt(lit(5_i64)),
            at().gt_eq(lit(6_i64)),
            lit(2_i64).gt(at()),
            lit(6_i64).lt_eq(at()),
        ] {
            assert!(is_skipped(&filter), "{filter}");
        }
        for filter in [
            at().eq(lit(2_i64)),
            at().eq(lit(5_i64)),
            at().lt(lit(3_i64)),
            at().lt_eq(lit(2_i64)),
            at().gt(lit(4_i64)),
            at().gt_eq(lit(5_i64)),
            lit(3_i64).gt(at()),
            lit(5_i64).lt_eq(at()),
            at().not_eq(lit(1_i64)),
            col("of_another").eq(lit(1_i64)),
            at().eq(lit("1")),
        ] {
            assert!(!is_skipped(&filter), "{filter}");
        }
    }
}
