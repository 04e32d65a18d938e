//! The warehouse: Delta Lake tables below the job's root. The only folder that knows Delta.
//!
//! A run reads the snapshot that it opened and what it committed itself. All dates that a commit
//! rewrites become visible together. A commit follows the version that the run knows, or fails, so
//! the log itself keeps out a run that lost its lock. Refuses to know what the rows mean.

mod commit;
mod live_files;
mod log_copy;
mod losses;
mod partition;
mod program;
mod seen;
mod stats;
mod table;
mod vacuum;
pub mod write;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use chrono::{DateTime, NaiveDate, Utc};
use deltalake::DeltaTable;
use deltalake::table::state::DeltaTableState;
use futures::future::join_all;
use futures::{join, try_join};
pub use live_files::{LiveFile, live_files};
use log_copy::LogCopy;
pub use partition::Partition;
pub use program::Program;
pub use seen::{Pending, Seen, SourceFile};
pub use vacuum::Unneeded;
use write::NewFile;

use crate::location::{Location, in_parallel};
use crate::model::{self, Model};
use crate::stop::Stop;

/// What a file was made from: names of inputs and their digests. Stored in the log with the file.
pub type Lineage = BTreeMap<String, String>;

const ORIGIN_TAG: &str = "lookback.origin.";
const LOG_TAG: &str = "lookback.log";
const DIGEST_TAG: &str = "lookback.digest";
const ROWS_TAG: &str = "lookback.rows";

/// The folder below the root for temporary tables that several processes share. It is in no table.
pub const SCRATCH: &str = "_lookback/scratch";

/// The number of versions from one checkpoint to the next.
const CHECKPOINT_INTERVAL: u64 = 10;

/// All tables of one root, as they were when opened or last committed to.
pub struct Warehouse {
    root: Location,
    /// None until a run has begun it.
    program: Option<Program>,
    seen: Seen,
    tables: BTreeMap<&'static str, Table>,
}

/// One table's snapshot.
pub struct Table {
    model: &'static Model,
    /// What `delta` reads and writes.
    log: Arc<LogCopy>,
    delta: DeltaTable,
    /// Ordered by partition and path.
    pub files: Vec<TableFile>,
    /// The paths of files that are gone, or not what was written. Empty until they were looked for.
    lost: BTreeSet<String>,
}

/// A file that is part of a table.
#[derive(Debug, Clone)]
pub struct TableFile {
    pub partition: Partition,
    pub lineage: Lineage,
    /// The digest of the file's bytes. Equal digests mean equal rows.
    pub digest: String,
    /// Digests of the rows, whatever their order, by the local date of their time. Only in tables
    /// that declare a time.
    pub row_digests: BTreeMap<NaiveDate, u64>,
    path: String,
    size: u64,
    rows: Option<u64>,
    /// What the log says about the rows, see [`stats`].
    stats: String,
    /// Whether it is known to be gone, or not what was written.
    pub is_lost: bool,
}

impl TableFile {
    /// Relative to the table's folder.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// In bytes.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// As the log says, or 0 where it does not.
    pub fn rows(&self) -> u64 {
        self.rows.unwrap_or_default()
    }
}

/// A change to one table that is not visible yet: new files that replace those of their partitions.
#[derive(Default)]
pub struct Change {
    pub files: Vec<(NewFile, Lineage)>,
}

impl Warehouse {
    /// Opens every table there is. Tables that do not exist are empty until `create_missing`.
    pub async fn open(root: &Location) -> Result<Warehouse> {
        let models = model::stored()?;
        let tables = in_parallel(models.clone(), async |model| Table::open(root, model).await);
        let (tables, program, seen) = try_join!(tables, Program::read(root), Seen::read(root))?;
        let names = models.iter().map(|model| model.name);
        let tables = names.zip(tables).collect();
        Ok(Warehouse { root: root.clone(), program, seen, tables })
    }

    /// Reads what was committed since the tables were opened.
    pub async fn refresh(&mut self) -> Result<()> {
        let refreshed = in_parallel(self.tables.iter_mut().collect(), async |(name, table)| {
            table.refresh().await.with_context(|| format!("{name}: cannot read what was committed"))
        });
        let (_, seen) = try_join!(refreshed, Seen::read(&self.root))?;
        self.seen = seen;
        Ok(())
    }

    /// Creates the tables that do not exist, so that readers find all of them. Adds the columns that
    /// tables of an earlier release lack.
    pub async fn create_missing(&mut self, run_id: &str) -> Result<()> {
        all(self.tables.values_mut().map(|table| table.create_missing(run_id))).await?;
        Ok(())
    }

    /// How a program differs from the warehouse's own, one text per key (D9).
    pub fn differences(&self, program: &Program) -> Vec<String> {
        let known = self.program.as_ref();
        known.map(|known| known.differences(program)).unwrap_or_default()
    }

    /// What a run does before it changes any row: creates what is missing, stores the program if it
    /// is new (D9), and what the run saw. None of these needs another one to be there. Errors: the
    /// store fails.
    pub async fn begin(&mut self, program: &Program, seen: Seen, run_id: &str) -> Result<()> {
        let known = self.program.as_ref();
        let remembered = known.map_or_else(|| program.clone(), |known| known.named_by(program));
        let is_new = known != Some(&remembered);
        let root = self.root.clone();
        let remember = async {
            match is_new {
                true => remembered.write(&root).await,
                false => Ok(()),
            }
        };
        let see = async {
            match self.seen != seen {
                true => seen.write(&root).await,
                false => Ok(()),
            }
        };
        let create = all(self.tables.values_mut().map(|table| table.create_missing(run_id)));
        let (created, remembers, sees) = join!(create, remember, see);
        created?;
        remembers.and(sees)?;
        (self.program, self.seen) = (Some(remembered), seen);
        Ok(())
    }

    /// What the last run saw of its inputs.
    pub fn seen(&self) -> &Seen {
        &self.seen
    }

    /// Stores what this run saw, if that is something else. Errors: the store fails.
    pub async fn see(&mut self, seen: Seen) -> Result<()> {
        if self.seen != seen {
            seen.write(&self.root).await?;
            self.seen = seen;
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

    /// Where a table's files are.
    pub fn folder(&self, model: &Model) -> Location {
        self.root.child(&model.folder())
    }

    /// Makes changes visible, by table: each table's change at once, the tables in parallel.
    /// Errors: the first one; changes of other tables may have become visible.
    pub async fn commit(
        &mut self,
        mut changes: BTreeMap<&'static str, Change>,
        run_id: &str,
        now: DateTime<Utc>,
    ) -> Result<()> {
        let mut commits = Vec::new();
        for (name, table) in &mut self.tables {
            let Some(change) = changes.remove(name) else { continue };
            commits.push(async move {
                for (file, _) in &change.files {
                    file.upload.finish(&file.path).await?;
                }
                let committed = table.commit(change, run_id, now).await;
                committed.map_err(|error| because(error, &format!("{name}: cannot commit")))
            });
        }
        ensure!(changes.is_empty(), "tables that are not stored: {:?}", changes.keys());
        all(commits.into_iter()).await?;
        Ok(())
    }

    /// Finds the files of each table that no version needs that was current since `since`.
    pub async fn unneeded(
        &self,
        since: DateTime<Utc>,
        now: DateTime<Utc>,
    ) -> Result<Vec<Unneeded>> {
        let there = self.tables.values().filter(|table| table.state().is_some()).collect();
        let found = in_parallel(there, async |table: &Table| {
            let found = table.unneeded(since, now).await;
            found.with_context(|| format!("{}: cannot find unneeded files", table.model.name))
        });
        found.await
    }

    /// Removes these files, and on a local disk also unfinished files of killed runs.
    pub async fn remove(&self, unneeded: Vec<Unneeded>) -> Result<()> {
        if let Some(root) = self.root.local_path() {
            vacuum::remove_staged(&root)?;
        }
        let removed = in_parallel(unneeded, async |Unneeded { table, files, .. }| {
            let removed = self.table(table)?.remove(files).await;
            removed.with_context(|| format!("{table}: cannot remove files"))
        });
        removed.await?;
        Ok(())
    }

    /// Shortens every table's log to what is needed since `since`. Returns the number of removed
    /// entries, by table.
    pub async fn shorten_logs(
        &mut self,
        since: DateTime<Utc>,
    ) -> Result<BTreeMap<&'static str, usize>> {
        let there = self.tables.values_mut().filter(|table| table.state().is_some());
        let removed = all(there.map(async |table| {
            let removed = table.shorten_log(since).await;
            let name = table.model.name;
            Ok((name, removed.with_context(|| format!("{name}: cannot shorten the log"))?))
        }));
        Ok(removed.await?.into_iter().collect())
    }

    /// Keeps the last holder of the lock, which may still be alive, from committing anything.
    pub async fn fence(&mut self, run_id: &str) -> Result<()> {
        let fenced = all(self.tables.values_mut().map(async |table| {
            let fenced = table.fence(run_id).await;
            fenced.with_context(|| format!("{}: cannot fence off", table.model.name))
        }));
        fenced.await?;
        Ok(())
    }
}

/// Waits for all works, also if one fails, so that no write is still on its way when a run ends.
/// Errors: the first.
async fn all<T>(works: impl Iterator<Item = impl Future<Output = Result<T>>>) -> Result<Vec<T>> {
    join_all(works).await.into_iter().collect()
}

/// Adds context, except to a [`Stop`], whose message is complete.
fn because(error: anyhow::Error, context: &str) -> anyhow::Error {
    match error.is::<Stop>() {
        true => error,
        false => error.context(context.to_owned()),
    }
}
