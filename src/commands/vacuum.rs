//! `lookback vacuum`: removes files that no table version of the last days needs, and files that
//! dead runs left. Writes checkpoints, so that opening a table stays quick.
//!
//! Holds the lock, and confirms it between finding and removing. So a file that no version names is
//! not the work of a live run.

use std::fmt;

use chrono::{DateTime, TimeDelta, Utc};

use crate::job::Job;
use crate::lock::{Holder, Lock, Pace, Sight};
use crate::plan;
use crate::stop::Stop;
use crate::warehouse::{SCRATCH, Unneeded, Warehouse};

/// How long to keep versions, and whether only to list what would be removed.
#[derive(Debug, Clone)]
pub struct Request {
    pub keep: TimeDelta,
    pub dry_run: bool,
    pub now: DateTime<Utc>,
    pub run_id: String,
    pub pace: Pace,
}

impl Request {
    pub fn new(keep_days: u32, dry_run: bool, now: DateTime<Utc>) -> Request {
        let run_id = uuid::Uuid::now_v7().to_string();
        let keep = TimeDelta::days(keep_days.into());
        Request { keep, dry_run, now, run_id, pace: Pace::default() }
    }
}

/// What was removed, or would be.
#[derive(Debug, Default)]
pub struct Vacuumed {
    tables: Vec<Swept>,
    dry_run: bool,
}

/// What was removed from one table.
#[derive(Debug)]
struct Swept {
    table: &'static str,
    files: usize,
    versions_kept: usize,
    log_entries: usize,
}

/// Removes what [`Request`] no longer keeps. Errors: exit 5 when a run holds the warehouse; exit 1
/// when a store fails.
pub async fn vacuum(job: &Job, request: &Request) -> Result<Vacuumed, Stop> {
    let holder = Holder::new(&request.run_id, request.now);
    let lock = Lock::take(&job.root, &holder, request.pace, Sight::default()).await?;
    let done = tokio::select! {
        stop = lock.lost() => Err(stop),
        done = sweep(job, request, &lock) => done,
    };
    lock.release().await;
    done
}

async fn sweep(job: &Job, request: &Request, lock: &Lock) -> Result<Vacuumed, Stop> {
    let mut warehouse = Warehouse::open(&job.root).await?;
    plan::refuse_another_program(job, &warehouse)?;
    if lock.was_taken_over() {
        warehouse.fence(&request.run_id).await?;
    }
    let since = request.now - request.keep;
    let unneeded = warehouse.unneeded(since, request.now).await?;
    let swept = |unneeded: &Unneeded| Swept {
        table: unneeded.table,
        files: unneeded.files.len(),
        versions_kept: unneeded.versions_kept,
        log_entries: 0,
    };
    let mut tables: Vec<Swept> = unneeded.iter().map(swept).collect();
    let scratch = job.root.child(SCRATCH);
    let files = scratch.list_all().await?.len();
    if files > 0 {
        let table = "(temporary tables of dead runs)";
        tables.push(Swept { table, files, versions_kept: 0, log_entries: 0 });
    }
    // A run that takes the lock over after this writes files that are not in the list.
    lock.confirm().await?;
    if !request.dry_run {
        warehouse.remove(unneeded).await?;
        scratch.remove_all().await?;
        let removed = warehouse.shorten_logs(since).await?;
        for swept in &mut tables {
            swept.log_entries = removed.get(swept.table).copied().unwrap_or_default();
        }
    }
    Ok(Vacuumed { tables, dry_run: request.dry_run })
}

impl fmt::Display for Vacuumed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let removed = if self.dry_run { "to remove" } else { "removed" };
        writeln!(f, "{:<30}{removed:>16}{:>16}{:>16}", "table", "log entries", "versions kept")?;
        for Swept { table, files, versions_kept, log_entries } in &self.tables {
            writeln!(f, "{table:<30}{files:>16}{log_entries:>16}{versions_kept:>16}")?;
        }
        Ok(())
    }
}
