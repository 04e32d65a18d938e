//! One table: its snapshot of the log, as files by date, and its rows for queries.

use std::collections::BTreeSet;
use std::sync::Arc;

use anyhow::{Context, Result};
use arrow::datatypes::Field;
use chrono::NaiveDate;
use datafusion::common::ScalarValue;
use deltalake::kernel::{DataType, PrimitiveType, StructField};
use deltalake::logstore::{StorageConfig, default_logstore};
use deltalake::operations::create::CreateBuilder;
use deltalake::protocol::SaveMode;
use deltalake::table::state::DeltaTableState;
use deltalake::{DeltaTable, TableProperty};
use object_store::path::Path;
use object_store::prefix::PrefixStore;

use super::{
    CHECKPOINT_INTERVAL, DIGEST_TAG, LOG_TAG, ORIGIN_TAG, Origin, Table, TableFile, stats,
};
use crate::engine::files::{DataFile, FileTable};
use crate::engine::write::{NewFile, Slice};
use crate::model::{ColumnKind, Model};
use crate::place::Place;
use crate::raw::days_since_1970;

impl Table {
    pub(super) async fn open(root: &Place, model: &'static Model) -> Result<Table> {
        let place = root.child(&model.folder());
        let prefixed = Arc::new(PrefixStore::new(place.store().clone(), place.path().clone()));
        let mut url = place.url().clone();
        if !url.path().ends_with('/') {
            url.set_path(&format!("{}/", url.path()));
        }
        let log =
            default_logstore(prefixed, place.store().clone(), &url, &StorageConfig::default());
        let mut table = Table { model, delta: DeltaTable::new(log), files: Vec::new() };
        table.refresh().await.with_context(|| format!("{place}: cannot open the table"))?;
        Ok(table)
    }

    /// Reads what was committed since the table was opened, if anything was.
    pub(super) async fn refresh(&mut self) -> Result<()> {
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
            let date = partition.get(self.model.partition()).cloned().flatten();
            let date = date.and_then(|date| date.parse().ok());
            #[expect(deprecated, reason = "no other way to a file's tags")]
            let added = view.add_action();
            let tags = added.tags.unwrap_or_default();
            let origin = tags
                .iter()
                .filter_map(|(name, digest)| {
                    Some((name.strip_prefix(ORIGIN_TAG)?.to_owned(), digest.clone()?))
                })
                .collect();
            let tag = |name: &str| tags.get(name).cloned().flatten();
            let path = view.path().to_string();
            files.push(TableFile {
                slice: Slice {
                    date: date.with_context(|| format!("{path}: a file without a date"))?,
                    log: tag(LOG_TAG),
                },
                origin,
                digest: tag(DIGEST_TAG).unwrap_or_default(),
                size: view.size().unsigned_abs(),
                rows: view.num_records().map(|rows| rows as u64),
                stats: added.stats.unwrap_or_default(),
                path,
            });
        }
        files.sort_by(|one, other| (&one.slice, &one.path).cmp(&(&other.slice, &other.path)));
        self.files = files;
        Ok(())
    }

    pub(super) async fn create(&mut self) -> Result<()> {
        let columns = self.model.columns.iter().map(|column| {
            let note = [("comment", column.note.as_str())];
            StructField::nullable(&column.name, delta_type(column.kind)).with_metadata(note)
        });
        let create = CreateBuilder::new()
            .with_log_store(self.delta.log_store())
            .with_table_name(self.model.name)
            .with_comment(&self.model.purpose)
            .with_columns(columns)
            .with_partition_columns([self.model.partition()])
            .with_configuration_property(
                TableProperty::CheckpointInterval,
                Some(CHECKPOINT_INTERVAL.to_string()),
            )
            .with_save_mode(SaveMode::Ignore);
        let created = create.await;
        // What counts is that it is there: an answer may be lost, or another run be first.
        self.delta.load().await?;
        if self.state().is_none() {
            created.with_context(|| format!("{}: cannot create", self.model.name))?;
        }
        self.list()
    }

    pub(super) fn next_version(&self) -> Result<u64> {
        Ok(self.state().context("the table does not exist")?.version() + 1)
    }

    /// What the slice was made from, or none when it never was.
    pub fn origin(&self, slice: &Slice) -> Option<&Origin> {
        let position = self.files.partition_point(|file| &file.slice < slice);
        self.files.get(position).filter(|file| &file.slice == slice).map(|file| &file.origin)
    }

    /// How many rows a date has, on average; 0 when nothing was made.
    pub fn rows_per_date(&self) -> u64 {
        let rows: u64 = self.files.iter().filter_map(|file| file.rows).sum();
        rows / (self.dates().len() as u64).max(1)
    }

    /// Dates that have been made.
    pub fn dates(&self) -> BTreeSet<NaiveDate> {
        self.files.iter().map(|file| file.slice.date).collect()
    }

    /// The table's rows on the wanted dates, with the files of changes not yet visible in place
    /// of those they would replace.
    pub fn provider(
        &self,
        folder: &Place,
        wanted: impl Fn(NaiveDate) -> bool,
        staged: &[NewFile],
    ) -> Result<FileTable> {
        let kept = self
            .files
            .iter()
            .filter(|file| wanted(file.slice.date))
            .filter(|file| staged.iter().all(|new| new.slice != file.slice))
            .map(|file| {
                let bounds = stats::bounds(&file.stats, self.model);
                (&file.path, file.size, file.rows, file.slice.date, bounds)
            });
        let new = staged.iter().filter(|file| wanted(file.slice.date)).map(|file| {
            (&file.path, file.size, Some(file.rows), file.slice.date, file.bounds.clone())
        });
        let files = kept
            .chain(new)
            .filter(|(_, _, rows, ..)| *rows != Some(0))
            .map(|(path, size, rows, date, bounds)| DataFile {
                path: Path::from_iter(
                    folder.path().parts().chain(Path::from(path.as_str()).parts()),
                ),
                size,
                partition: Some(ScalarValue::Date32(Some(days_since_1970(date)))),
                rows,
                bounds,
            })
            .collect();
        let schema = self.model.schema();
        let columns: Vec<_> = schema.fields().iter().skip(1).cloned().collect();
        let columns = Arc::new(arrow::datatypes::Schema::new(columns));
        let partition =
            Field::new(self.model.partition(), arrow::datatypes::DataType::Date32, true);
        Ok(FileTable::new(folder.store_url()?, columns, Some(partition), files))
    }
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
