//! The warehouse: Delta Lake tables below the job's root. The only file that knows Delta.
//!
//! A run reads the snapshot it opened, plus what it committed itself. All dates that a commit
//! rewrites become visible together. A commit follows the version that the run knows, or fails: the
//! log itself keeps out a run that lost its lock. Refuses to know what the rows mean.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::Path as FilePath;
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use arrow::datatypes::Field;
use bytes::Bytes;
use chrono::{DateTime, NaiveDate, TimeDelta, Utc};
use datafusion::common::ScalarValue;
use deltalake::checkpoints::{cleanup_expired_logs_for, create_checkpoint};
use deltalake::kernel::transaction::{CommitBuilder, CommitProperties, TableReference};
use deltalake::kernel::{Action, Add, DataType, PrimitiveType, StructField, Transaction};
use deltalake::logstore::{StorageConfig, default_logstore};
use deltalake::operations::create::CreateBuilder;
use deltalake::operations::vacuum::{Clock, VacuumMode};
use deltalake::protocol::{DeltaOperation, SaveMode};
use deltalake::table::state::DeltaTableState;
use deltalake::{DeltaTable, TableProperty};
use futures::TryStreamExt;
use object_store::ObjectMeta;
use object_store::path::Path;
use object_store::prefix::PrefixStore;
use serde_json::Value;

use crate::engine::files::{DataFile, FileTable};
use crate::engine::write::{NewFile, Slice};
use crate::model::{self, ColumnKind, Model};
use crate::place::{Place, in_parallel};
use crate::raw::days_since_1970;
use crate::stop::Stop;
use crate::vacuum::Swept;

/// What a file was made from: names of inputs and their digests. Kept with the file in the log.
pub type Origin = BTreeMap<String, String>;

const ORIGIN_TAG: &str = "lookback.origin.";
const LOG_TAG: &str = "lookback.log";
const DIGEST_TAG: &str = "lookback.digest";
/// In a commit's own entry of the log: the run that made it.
const RUN: &str = "lookbackRun";

/// How many versions there are from one checkpoint to the next.
const CHECKPOINT_INTERVAL: u64 = 10;
const FENCE_ATTEMPTS: usize = 5;

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
    /// Of the file's bytes: equal digests, equal rows.
    pub digest: String,
    path: String,
    size: u64,
    rows: Option<u64>,
}

impl TableFile {
    /// Relative to the table's folder.
    pub fn path(&self) -> &str {
        &self.path
    }
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
        committed.map_err(|error| because(error, &format!("{}: cannot commit", model.name)))
    }

    /// Removes files that no version since an instant needs, and log entries older than it. Returns
    /// what went, by table.
    pub async fn vacuum(
        &mut self,
        since: DateTime<Utc>,
        now: DateTime<Utc>,
        dry_run: bool,
    ) -> Result<Vec<(&'static str, Swept)>> {
        if let Some(root) = self.root.local_path().filter(|_| !dry_run) {
            remove_staged(&root)?;
        }
        let mut swept = Vec::new();
        for (name, table) in &mut self.tables {
            if table.state().is_some() {
                let done = table.vacuum(since, now, dry_run).await;
                swept.push((*name, done.with_context(|| format!("{name}: cannot vacuum"))?));
            }
        }
        Ok(swept)
    }

    /// Keeps a run that held the lock before, and may still be alive, from committing anything.
    pub async fn fence(&mut self, run_id: &str) -> Result<()> {
        for table in self.tables.values_mut() {
            let fenced = table.fence(run_id).await;
            fenced.with_context(|| format!("{}: cannot fence off", table.model.name))?;
        }
        Ok(())
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

    fn next_version(&self) -> Result<u64> {
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

    /// A commit without a change, which takes the version that an earlier holder of the lock would
    /// commit next.
    async fn fence(&mut self, run_id: &str) -> Result<()> {
        for _ in 0..FENCE_ATTEMPTS {
            let operation = DeltaOperation::Write {
                mode: SaveMode::Append,
                partition_by: None,
                predicate: None,
            };
            let version = self.next_version()? as i64;
            let fence = Action::Txn(Transaction::new("lookback.fence", version));
            match self.append(vec![fence], operation, run_id).await {
                Err(error) if error.is::<Stop>() => self.delta.load().await?,
                done => return done,
            }
        }
        bail!("other runs keep committing to it")
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
        let operation = DeltaOperation::Write {
            mode: SaveMode::Overwrite,
            partition_by: Some(vec![self.model.partition().to_owned()]),
            predicate,
        };
        self.append(actions, operation, run_id).await
    }

    /// Appends the next version to the log. Errors: exit 5 when another run was first.
    ///
    /// An error may hide a success: an answer that was lost, or a checkpoint that failed after the
    /// commit. So the log is asked whose that version is; nothing is tried a second time.
    async fn append(
        &mut self,
        actions: Vec<Action>,
        operation: DeltaOperation,
        run_id: &str,
    ) -> Result<()> {
        let version = self.next_version()?;
        let properties = CommitProperties::default()
            .with_max_retries(0)
            .with_cleanup_expired_logs(Some((version + 1).is_multiple_of(CHECKPOINT_INTERVAL)))
            .with_metadata([(RUN.to_owned(), run_id.into())]);
        let table: Option<&dyn TableReference> = self.state().map(|state| state as _);
        let commit = CommitBuilder::from(properties).with_actions(actions).build(
            table,
            self.delta.log_store(),
            operation,
        );
        match commit.await {
            Ok(finished) => self.delta.state = Some(finished.snapshot()),
            Err(error) => {
                let entry = self.delta.log_store().read_commit_entry(version).await;
                let unknown = || format!("{error}; whether it was committed cannot be read");
                match entry.with_context(unknown)? {
                    Some(entry) if is_of_run(&entry, run_id) => {
                        tracing::debug!("version {version} is there, in spite of: {error}");
                        self.delta.load_version(version).await?;
                    }
                    Some(_) => {
                        return Err(Stop::later(format!(
                            "{}: another run committed version {version} meanwhile",
                            self.model.name
                        ))
                        .hint("this run's rows of the table were not published; run again")
                        .into());
                    }
                    None => return Err(error.into()),
                }
            }
        }
        self.list()
    }

    async fn vacuum(
        &mut self,
        since: DateTime<Utc>,
        now: DateTime<Utc>,
        dry_run: bool,
    ) -> Result<Swept> {
        let log = self.delta.log_store();
        let entries = log.object_store(None).list(Some(log.log_path()));
        let entries: Vec<ObjectMeta> = entries.try_collect().await?;
        let version = |entry: &ObjectMeta| -> Option<u64> {
            entry.location.filename()?.strip_suffix(".json")?.parse().ok()
        };
        let mut versions: Vec<(u64, DateTime<Utc>)> = entries
            .iter()
            .filter_map(|entry| Some((version(entry)?, entry.last_modified)))
            .collect();
        versions.sort();
        // Current at some time since then: until the next one came.
        let ends = versions.iter().skip(1).map(|(_, made)| *made).chain([DateTime::<Utc>::MAX_UTC]);
        let keep: Vec<u64> = versions
            .iter()
            .zip(ends)
            .filter(|(_, end)| *end >= since)
            .map(|((version, _), _)| *version)
            .collect();
        let vacuum = self
            .delta
            .clone()
            .vacuum()
            .with_mode(VacuumMode::Full)
            .with_retention_period(TimeDelta::zero())
            .with_enforce_retention_duration(false)
            .with_keep_versions(&keep)
            .with_clock(Arc::new(At(now)))
            .with_dry_run(dry_run);
        let (delta, metrics) = vacuum.await?;
        let mut swept =
            Swept { files: metrics.files_deleted.len(), log_entries: 0, versions_kept: keep.len() };
        if !dry_run {
            self.delta = delta;
            create_checkpoint(&self.delta, None).await?;
            let (version, since) = (self.next_version()? - 1, since.timestamp_millis());
            swept.log_entries =
                cleanup_expired_logs_for(version, log.as_ref(), since, None).await?;
            self.delta.load().await?;
            self.list()?;
        }
        Ok(swept)
    }

    fn add(&self, file: &NewFile, origin: &Origin, now: DateTime<Utc>) -> Add {
        let mut tags: HashMap<String, Option<String>> = origin
            .iter()
            .map(|(name, digest)| (format!("{ORIGIN_TAG}{name}"), Some(digest.clone())))
            .collect();
        if let Some(log) = &file.slice.log {
            tags.insert(LOG_TAG.to_owned(), Some(log.clone()));
        }
        tags.insert(DIGEST_TAG.to_owned(), Some(file.digest.clone()));
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

/// Removes what a killed run left of files that it had not finished: on a local disk these have a
/// name of their own, `….parquet#1`, which no listing shows.
fn remove_staged(folder: &FilePath) -> Result<()> {
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error).with_context(|| folder.display().to_string()),
    };
    for entry in entries {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let is_staged = name.rsplit_once('#').is_some_and(|(_, number)| {
            !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit())
        });
        if path.is_dir() {
            remove_staged(&path)?;
        } else if is_staged {
            std::fs::remove_file(&path).with_context(|| path.display().to_string())?;
        }
    }
    Ok(())
}

/// A clock that stands still.
#[derive(Debug)]
struct At(DateTime<Utc>);

impl Clock for At {
    fn current_timestamp_millis(&self) -> i64 {
        self.0.timestamp_millis()
    }
}

/// Whether a version's entry in the log was written by this run.
fn is_of_run(entry: &Bytes, run_id: &str) -> bool {
    let lines = entry.split(|byte| *byte == b'\n');
    let mut entries = lines.filter_map(|line| serde_json::from_slice::<Value>(line).ok());
    entries.any(|entry| entry["commitInfo"][RUN] == run_id)
}

/// Adds context, but for a [`Stop`], which is for people as it stands.
fn because(error: anyhow::Error, context: &str) -> anyhow::Error {
    match error.is::<Stop>() {
        true => error,
        false => error.context(context.to_owned()),
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
