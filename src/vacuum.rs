//! `lookback vacuum`: removes files that no table version of the last days needs, and what dead runs
//! left; writes checkpoints, so that opening a table stays quick.
//!
//! Holds the lock meanwhile: a file that no version names is then nobody's work in progress.

use std::fmt;

use chrono::{DateTime, TimeDelta, Utc};

use crate::job::Job;
use crate::lock::{Holder, Lock, Pace};
use crate::stop::Stop;
use crate::warehouse::Warehouse;

/// What to keep, and whether to say only what would go.
#[derive(Debug, Clone)]
pub struct Request {
    pub keep: TimeDelta,
    pub dry_run: bool,
    pub now: DateTime<Utc>,
    pub run_id: String,
    pub pace: Pace,
}

/// What went, by table.
#[derive(Debug, Default)]
pub struct Vacuumed {
    tables: Vec<(&'static str, Swept)>,
    dry_run: bool,
}

/// What went of one table.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Swept {
    pub files: usize,
    pub log_entries: usize,
    pub versions_kept: usize,
}

/// Errors: exit 5 when a run holds the warehouse; exit 1 when a store fails.
pub async fn vacuum(job: &Job, request: &Request) -> Result<Vacuumed, Stop> {
    let lock =
        Lock::take(&job.root, &Holder::new(&request.run_id, request.now), request.pace).await?;
    let done = tokio::select! {
        stop = lock.lost() => Err(stop),
        done = sweep(job, request, &lock) => done,
    };
    lock.release().await;
    done
}

async fn sweep(job: &Job, request: &Request, lock: &Lock) -> Result<Vacuumed, Stop> {
    let mut warehouse = Warehouse::open(&job.root).await?;
    if lock.was_taken_over() {
        warehouse.fence(&request.run_id).await?;
    }
    lock.confirm().await?;
    let since = request.now - request.keep;
    let tables = warehouse.vacuum(since, request.now, request.dry_run).await?;
    Ok(Vacuumed { tables, dry_run: request.dry_run })
}

impl fmt::Display for Vacuumed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let removed = if self.dry_run { "to remove" } else { "removed" };
        writeln!(f, "{:<30}{removed:>16}{:>16}{:>16}", "table", "log entries", "versions kept")?;
        for (name, swept) in &self.tables {
            let Swept { files, log_entries, versions_kept } = swept;
            writeln!(f, "{name:<30}{files:>16}{log_entries:>16}{versions_kept:>16}")?;
        }
        Ok(())
    }
}
