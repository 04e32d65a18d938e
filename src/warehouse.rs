//! The warehouse: Delta Lake tables below the job's root. The only file that knows Delta.
//!
//! A run reads the snapshot it opened, plus what it committed itself. All dates that a commit
//! rewrites become visible together. Refuses to know what the rows mean.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use anyhow::{Context, Result};
use arrow::datatypes::Field;
use chrono::{DateTime, NaiveDate, Utc};
use datafusion::common::ScalarValue;
use deltalake::kernel::transaction::{CommitBuilder, CommitProperties};
use deltalake::kernel::{Action, Add, DataType, PrimitiveType, StructField};
use deltalake::logstore::{StorageConfig, default_logstore};
use deltalake::operations::create::CreateBuilder;
use deltalake::protocol::{DeltaOperation, SaveMode};
use deltalake::table::state::DeltaTableState;
use deltalake::{DeltaTable, TableProperty};
use object_store::path::Path;
use object_store::prefix::PrefixStore;

use crate::engine::files::{DataFile, FileTable};
use crate::engine::write::{NewFile, Slice};
use crate::model::{self, ColumnKind, Model};
use crate::place::{Place, in_parallel};
use crate::raw::days_since_1970;

/// What a file was made from: names of inputs and their digests. Kept with the file in the log.
pub type Origin = BTreeMap<String, String>;

const ORIGIN_TAG: &str = "lookback.origin.";
const LOG_TAG: &str = "lookback.log";

/// All tables of one root, as they were when opened or last committed to.
pub struct Warehouse {
    root: Place,
    tables: BTreeMap<&'static str, Table>,
}

/// One table's snapshot.
pub struct Table {
    model: &'static Model,
    delta: DeltaTable,
    /// Ordered by slice and path.
    pub files: Vec<TableFile>,
}

/// A file that is part of a table.
#[derive(Debug, Clone)]
pub struct TableFile {
    pub slice: Slice,
    pub origin: Origin,
    path: String,
    size: u64,
    rows: Option<u64>,
}

/// A change to one table that is not visible yet: new files for slices, whose present files go.
pub struct Change {
    pub files: Vec<(NewFile, Origin)>,
}

impl Warehouse {
    /// Opens every table there is. Tables that do not exist are empty until `create_missing`.
    pub async fn open(root: &Place) -> Result<Warehouse> {
        let models = model::kept()?;
        let tables = in_parallel(models.clone(), async |model| Table::open(root, model).await);
        let names = models.iter().map(|model| model.name);
        let tables = names.zip(tables.await?).collect();
        Ok(Warehouse { root: root.clone(), tables })
    }

    /// Creates the tables that do not exist, so that readers find all of them.
    pub async fn create_missing(&mut self) -> Result<()> {
        for table in self.tables.values_mut() {
            if table.state().is_none() {
                table.create().await?;
            }
        }
        Ok(())
    }

    /// The version of each table; none where it does not exist.
    pub fn versions(&self) -> BTreeMap<&'static str, Option<u64>> {
        let versions = self.tables.iter();
        versions.map(|(name, table)| (*name, table.state().map(DeltaTableState::version))).collect()
    }

    pub fn table(&self, name: &str) -> Result<&Table> {
        self.tables.get(name).with_context(|| format!("no table {name}"))
    }

    /// Where a table's files lie.
    pub fn folder(&self, model: &Model) -> Place {
        self.root.child(&model.folder())
    }

    /// Makes the change visible, all of it at once.
    pub async fn commit(
        &mut self,
        model: &Model,
        change: Change,
        run_id: &str,
        now: DateTime<Utc>,
    ) -> Result<()> {
        let table = self.tables.get_mut(model.name).context("a table that is not kept")?;
        let committed = table.commit(change, run_id, now).await;
        committed.with_context(|| format!("{}: cannot commit", model.name))
    }
}

impl Table {
    async fn open(root: &Place, model: &'static Model) -> Result<Table> {
        let place = root.child(&model.folder());
        let prefixed = Arc::new(PrefixStore::new(place.store().clone(), place.path().clone()));
        let mut url = place.url().clone();
        if !url.path().ends_with('/') {
            url.set_path(&format!("{}/", url.path()));
        }
        let log =
            default_logstore(prefixed, place.store().clone(), &url, &StorageConfig::default());
        let mut delta = DeltaTable::new(log);
        let cannot_open = || format!("{place}: cannot open the table");
        if delta.log_store().is_delta_table_location().await.with_context(cannot_open)? {
            delta.load().await.with_context(cannot_open)?;
        }
        let mut table = Table { model, delta, files: Vec::new() };
        table.list()?;
        Ok(table)
    }

    fn state(&self) -> Option<&DeltaTableState> {
        self.delta.snapshot().ok()
    }

    fn list(&mut self) -> Result<()> {
        let Some(state) = self.state() else { return Ok(()) };
        let mut files = Vec::new();
        for view in state.log_data().iter() {
            let partition = view.partition_values_map();
            let date = partition.get(self.model.partition()).cloned().flatten();
            let date = date.and_then(|date| date.parse().ok());
            #[expect(deprecated, reason = "no other way to a file's tags")]
            let tags = view.add_action().tags.unwrap_or_default();
            let origin = tags
                .iter()
                .filter_map(|(name, digest)| {
                    Some((name.strip_prefix(ORIGIN_TAG)?.to_owned(), digest.clone()?))
                })
                .collect();
            let log = tags.get(LOG_TAG).cloned().flatten();
            let path = view.path().to_string();
            files.push(TableFile {
                slice: Slice {
                    date: date.with_context(|| format!("{path}: a file without a date"))?,
                    log,
                },
                origin,
                size: view.size().unsigned_abs(),
                rows: view.num_records().map(|rows| rows as u64),
                path,
            });
        }
        files.sort_by(|one, other| (&one.slice, &one.path).cmp(&(&other.slice, &other.path)));
        self.files = files;
        Ok(())
    }

    async fn create(&mut self) -> Result<()> {
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
            .with_configuration_property(TableProperty::CheckpointInterval, Some("10"))
            .with_save_mode(SaveMode::Ignore);
        self.delta = create.await.with_context(|| format!("{}: cannot create", self.model.name))?;
        self.delta.load().await?;
        self.list()
    }

    /// What the slice was made from, or none when it never was.
    pub fn origin(&self, slice: &Slice) -> Option<&Origin> {
        let position = self.files.partition_point(|file| &file.slice < slice);
        self.files.get(position).filter(|file| &file.slice == slice).map(|file| &file.origin)
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
            .map(|file| (&file.path, file.size, file.rows, file.slice.date));
        let new = staged
            .iter()
            .filter(|file| wanted(file.slice.date))
            .map(|file| (&file.path, file.size, Some(file.rows), file.slice.date));
        let files = kept
            .chain(new)
            .filter(|(_, _, rows, _)| *rows != Some(0))
            .map(|(path, size, rows, date)| DataFile {
                path: Path::from_iter(
                    folder.path().parts().chain(Path::from(path.as_str()).parts()),
                ),
                size,
                partition: Some(ScalarValue::Date32(Some(days_since_1970(date)))),
                rows,
            })
            .collect();
        let schema = self.model.schema(ColumnKind::read);
        let columns: Vec<_> = schema.fields().iter().skip(1).cloned().collect();
        let columns = Arc::new(arrow::datatypes::Schema::new(columns));
        let partition =
            Field::new(self.model.partition(), arrow::datatypes::DataType::Date32, true);
        Ok(FileTable::new(folder.store_url()?, columns, Some(partition), files))
    }

    async fn commit(&mut self, change: Change, run_id: &str, now: DateTime<Utc>) -> Result<()> {
        let state = self.state().context("the table does not exist")?;
        let replaced: BTreeSet<&Slice> = change.files.iter().map(|(file, _)| &file.slice).collect();
        let mut actions = Vec::new();
        for view in state.log_data().iter() {
            let path = view.path();
            let file = self.files.iter().find(|file| file.path == path);
            if file.is_some_and(|file| replaced.contains(&file.slice)) {
                actions.push(Action::Remove(view.remove_action(true)));
            }
        }
        for (file, origin) in &change.files {
            actions.push(Action::Add(self.add(file, origin, now)));
        }
        let dates: BTreeSet<NaiveDate> = replaced.iter().map(|slice| slice.date).collect();
        let predicate = dates.first().zip(dates.last()).map(|(first, last)| {
            let column = self.model.partition();
            format!("{column} >= '{first}' and {column} <= '{last}'")
        });
        let properties = CommitProperties::default()
            .with_max_retries(0)
            .with_metadata([("lookbackRun".to_owned(), run_id.into())]);
        let operation = DeltaOperation::Write {
            mode: SaveMode::Overwrite,
            partition_by: Some(vec![self.model.partition().to_owned()]),
            predicate,
        };
        let commit = CommitBuilder::from(properties).with_actions(actions).build(
            Some(state),
            self.delta.log_store(),
            operation,
        );
        let finished = commit.await?;
        self.delta.state = Some(finished.snapshot());
        self.list()
    }

    fn add(&self, file: &NewFile, origin: &Origin, now: DateTime<Utc>) -> Add {
        let mut tags: HashMap<String, Option<String>> = origin
            .iter()
            .map(|(name, digest)| (format!("{ORIGIN_TAG}{name}"), Some(digest.clone())))
            .collect();
        if let Some(log) = &file.slice.log {
            tags.insert(LOG_TAG.to_owned(), Some(log.clone()));
        }
        let date = file.slice.date.to_string();
        Add {
            path: file.path.clone(),
            partition_values: HashMap::from([(self.model.partition().to_owned(), Some(date))]),
            size: file.size as i64,
            modification_time: now.timestamp_millis(),
            data_change: true,
            stats: Some(format!("{{\"numRecords\":{}}}", file.rows)),
            tags: Some(tags),
            ..Add::default()
        }
    }
}

fn delta_type(kind: ColumnKind) -> DataType {
    DataType::Primitive(match kind {
        ColumnKind::Date => PrimitiveType::Date,
        ColumnKind::Text | ColumnKind::Json => PrimitiveType::String,
        ColumnKind::Instant => PrimitiveType::Timestamp,
        ColumnKind::Count => PrimitiveType::Long,
        ColumnKind::Boolean => PrimitiveType::Boolean,
        ColumnKind::Decimal(precision, scale) => {
            return DataType::decimal(precision, scale.unsigned_abs()).unwrap_or(DataType::STRING);
        }
    })
}
