//! One table: its snapshot of the log, as files by partition, and its rows for queries.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use anyhow::{Context, Result};
use arrow::datatypes::Field;
use chrono::NaiveDate;
use datafusion::common::ScalarValue;
use deltalake::kernel::{Action, DataType, MetadataExt, PrimitiveType, StructField, StructType};
use deltalake::logstore::{LogStoreRef, StorageConfig, default_logstore};
use deltalake::operations::create::CreateBuilder;
use deltalake::protocol::{DeltaOperation, SaveMode};
use deltalake::table::state::DeltaTableState;
use deltalake::{DeltaTable, TableProperty};
use object_store::path::Path;
use object_store::prefix::PrefixStore;

use super::log_copy::LogCopy;
use super::write::NewFile;
use super::{
    CHECKPOINT_INTERVAL, DIGEST_TAG, LOG_TAG, Lineage, ORIGIN_TAG, Partition, ROWS_TAG, Table,
    TableFile, stats,
};
use crate::days::days_since_1970;
use crate::engine::parquet_table::{DataFile, ParquetTable};
use crate::location::Location;
use crate::model::{ColumnKind, Model};

/// A table's log, as a copy of it and as deltalake reads it through the copy.
pub(super) fn log_store(table: &Location) -> (Arc<LogCopy>, LogStoreRef) {
    let log = Arc::new(LogCopy::new(table));
    let prefixed = Arc::new(PrefixStore::new(log.clone(), table.path().clone()));
    let mut url = table.url().clone();
    if !url.path().ends_with('/') {
        url.set_path(&format!("{}/", url.path()));
    }
    let store = default_logstore(prefixed, log.clone(), &url, &StorageConfig::default());
    (log, store)
}

impl Table {
    pub(super) async fn open(root: &Location, model: &'static Model) -> Result<Table> {
        let location = root.child(&model.folder());
        let (log, store) = log_store(&location);
        let delta = DeltaTable::new(store);
        let mut table = Table { model, log, delta, files: Vec::new(), lost: BTreeSet::new() };
        table.refresh().await.with_context(|| format!("{location}: cannot open the table"))?;
        Ok(table)
    }

    /// Reads what was committed since the table was opened, if anything was.
    pub(super) async fn refresh(&mut self) -> Result<()> {
        self.log.read().await?;
        let known = self.delta.version();
        if known.is_some() || self.delta.log_store().is_delta_table_location().await? {
            self.delta.update_state().await?;
        }
        match self.delta.version() == known {
            true => Ok(()),
            false => self.list(),
        }
    }

    pub(super) fn state(&self) -> Option<&DeltaTableState> {
        self.delta.snapshot().ok()
    }

    pub(super) fn list(&mut self) -> Result<()> {
        let Some(state) = self.state() else { return Ok(()) };
        let mut files = Vec::new();
        for view in state.log_data().iter() {
            let partition = view.partition_values_map();
            let date = match self.model.partition() {
                Some(column) => {
                    let date = partition.get(column).cloned().flatten();
                    date.and_then(|date| date.parse().ok())
                }
                None => Some(Partition::whole().date),
            };
            #[expect(deprecated, reason = "no other way to a file's tags")]
            let added = view.add_action();
            let tags = added.tags.unwrap_or_default();
            let lineage = tags
                .iter()
                .filter_map(|(name, digest)| {
                    Some((name.strip_prefix(ORIGIN_TAG)?.to_owned(), digest.clone()?))
                })
                .collect();
            let tag = |name: &str| tags.get(name).cloned().flatten();
            let path = view.path().to_string();
            files.push(TableFile {
                partition: Partition {
                    date: date.with_context(|| format!("{path}: a file without a date"))?,
                    log: tag(LOG_TAG),
                },
                lineage,
                digest: tag(DIGEST_TAG).unwrap_or_default(),
                row_digests: row_digests(&tag(ROWS_TAG).unwrap_or_default()),
                size: view.size().unsigned_abs(),
                rows: view.num_records().map(|rows| rows as u64),
                stats: added.stats.unwrap_or_default(),
                is_lost: self.lost.contains(&path),
                path,
            });
        }
        files.sort_by(|one, other| {
            (&one.partition, &one.path).cmp(&(&other.partition, &other.path))
        });
        self.files = files;
        Ok(())
    }

    fn delta_columns(&self) -> impl Iterator<Item = StructField> {
        self.model.columns.iter().map(|column| {
            let note = [("comment", column.note.as_str())];
            StructField::nullable(&column.name, delta_type(column.kind)).with_metadata(note)
        })
    }

    /// Creates the table if it does not exist; adds the columns that it lacks.
    pub(super) async fn create_missing(&mut self, run_id: &str) -> Result<()> {
        match self.state() {
            None => self.create().await,
            Some(_) => self.add_missing_columns(run_id).await,
        }
    }

    /// Adds the declared columns that a table of an earlier release lacks. In its old files they are
    /// null. Errors: see [`Table::append`].
    async fn add_missing_columns(&mut self, run_id: &str) -> Result<()> {
        let Some(state) = self.state() else { return Ok(()) };
        let known = state.schema();
        let missing: Vec<StructField> =
            self.delta_columns().filter(|column| known.field(column.name()).is_none()).collect();
        if missing.is_empty() {
            return Ok(());
        }
        let all = StructType::try_new(self.delta_columns())?;
        let metadata = state.metadata().clone().with_schema(&all)?;
        let operation = DeltaOperation::AddColumn { fields: missing };
        self.append(vec![Action::Metadata(metadata)], operation, run_id).await
    }

    async fn create(&mut self) -> Result<()> {
        let columns = self.delta_columns();
        let create = CreateBuilder::new()
            .with_log_store(self.delta.log_store())
            .with_table_name(self.model.name)
            .with_comment(&self.model.purpose)
            .with_columns(columns)
            .with_partition_columns(self.model.partition())
            .with_configuration_property(
                TableProperty::CheckpointInterval,
                Some(CHECKPOINT_INTERVAL.to_string()),
            )
            .with_save_mode(SaveMode::Ignore);
        let created = create.await;
        // An error is ignored if the table exists: an answer was lost, or another run was first.
        self.delta.load().await?;
        if self.state().is_none() {
            created.with_context(|| format!("{}: cannot create", self.model.name))?;
        }
        self.list()
    }

    pub(super) fn next_version(&self) -> Result<u64> {
        Ok(self.state().context("the table does not exist")?.version() + 1)
    }

    fn file(&self, partition: &Partition) -> Option<&TableFile> {
        let position = self.files.partition_point(|file| &file.partition < partition);
        self.files.get(position).filter(|file| &file.partition == partition)
    }

    /// What a partition was made from. None when it was never made, or is lost.
    pub fn lineage(&self, partition: &Partition) -> Option<&Lineage> {
        self.file(partition).filter(|file| !file.is_lost).map(|file| &file.lineage)
    }

    /// Whether a partition was made, but its file is gone or another one.
    pub fn is_lost(&self, partition: &Partition) -> bool {
        self.file(partition).is_some_and(|file| file.is_lost)
    }

    /// How many rows a date has on average. 0 when nothing was made.
    pub fn rows_per_date(&self) -> u64 {
        let rows: u64 = self.files.iter().filter_map(|file| file.rows).sum();
        rows / (self.dates().len() as u64).max(1)
    }

    /// The dates that were made.
    pub fn dates(&self) -> BTreeSet<NaiveDate> {
        self.files.iter().map(|file| file.partition.date).collect()
    }

    /// The table's rows on the wanted dates. Files in `staged` are not yet visible, and replace the
    /// visible files of their partitions.
    pub fn provider(
        &self,
        folder: &Location,
        wanted: impl Fn(NaiveDate) -> bool,
        staged: &[NewFile],
    ) -> Result<ParquetTable> {
        let current = self
            .files
            .iter()
            .filter(|file| wanted(file.partition.date) && !file.is_lost)
            .filter(|file| staged.iter().all(|new| new.partition != file.partition))
            .map(|file| {
                let bounds = stats::bounds(&file.stats, self.model);
                (&file.path, file.size, file.rows, file.partition.date, bounds)
            });
        let new = staged.iter().filter(|file| wanted(file.partition.date)).map(|file| {
            (&file.path, file.size, Some(file.rows), file.partition.date, file.bounds.clone())
        });
        let is_partitioned = self.model.partition().is_some();
        let files = current
            .chain(new)
            .filter(|(_, _, rows, ..)| *rows != Some(0))
            .map(|(path, size, rows, date, bounds)| DataFile {
                only: None,
                is_read: true,
                // A table's file never changes.
                tag: None,
                path: Path::from_iter(
                    folder.path().parts().chain(Path::from(path.as_str()).parts()),
                ),
                size,
                partition: is_partitioned.then(|| ScalarValue::Date32(Some(days_since_1970(date)))),
                rows,
                bounds,
            })
            .collect();
        let partition = self.model.partition();
        let partition =
            partition.map(|column| Field::new(column, arrow::datatypes::DataType::Date32, true));
        let table =
            ParquetTable::new(folder.store_url()?, self.model.file_schema(), partition, files);
        Ok(table.kept_by(folder.kept().cloned()))
    }
}

/// Reads what [`Table::add`] wrote: a digest for each date, as `2026-05-01=1f…`.
fn row_digests(text: &str) -> BTreeMap<NaiveDate, u64> {
    let dates = text.split(' ').filter_map(|part| {
        let (date, digest) = part.split_once('=')?;
        Some((date.parse().ok()?, u64::from_str_radix(digest, 16).ok()?))
    });
    dates.collect()
}

fn delta_type(kind: ColumnKind) -> DataType {
    DataType::Primitive(match kind {
        ColumnKind::Date => PrimitiveType::Date,
        ColumnKind::Text | ColumnKind::Id | ColumnKind::Json => PrimitiveType::String,
        ColumnKind::Instant => PrimitiveType::Timestamp,
        ColumnKind::Count => PrimitiveType::Long,
        ColumnKind::Boolean => PrimitiveType::Boolean,
        ColumnKind::Decimal(precision, scale) => {
            return DataType::decimal(precision, scale.unsigned_abs()).unwrap_or(DataType::STRING);
        }
    })
}
