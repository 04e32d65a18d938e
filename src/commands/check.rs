//! `lookback check`: the job file, the reference tables and the schema of every raw file there is.
//! Writes nothing.

use std::collections::BTreeSet;
use std::fmt::Write;

use anyhow::Context;
use futures::try_join;

use crate::job::Job;
use crate::plan;
use crate::raw::{Log, RawLog};
use crate::reference::{Heads, Reference};
use crate::stop::{Kind, Stop};
use crate::warehouse::Warehouse;

/// Returns what was found, as text: rows, files and landing dates of each input. Errors: exit 2
/// with all complaints (B1 to B4).
pub async fn check(job: &Job) -> Result<String, Stop> {
    let (mut warehouse, heads) = try_join!(Warehouse::open(&job.root), Heads::ask(job))?;
    let losses = warehouse.find_losses().await?;
    let another = plan::refuse_another_program(job, &warehouse);
    let reference = Reference::load(job, &warehouse, &heads).await;
    let mut complaints = match &reference {
        Ok(_) => Vec::new(),
        Err(stop) if stop.kind == Kind::Fix => stop.complaints.clone(),
        Err(_) => return Err(reference.err().context("a failed load has an error")?),
    };
    let mut text = format!("{}: the job file is fine\n", job.file.display());
    if let Ok(reference) = &reference {
        for (name, rows) in reference.row_counts() {
            let _ = writeln!(text, "{name:<12} {rows:>9} rows");
        }
        for unread in &reference.unread {
            let _ = writeln!(text, "not read: {unread}");
        }
    }
    for (log, location) in [(Log::Clicks, &job.clicks), (Log::Orders, &job.orders)] {
        let mut raw = RawLog::list(log, location, None, None, |_| true).await?;
        let landed: BTreeSet<_> = raw.dates();
        complaints.extend(raw.refuse_wrong_location());
        complaints.extend(raw.validate_schemas(&landed).await?);
        let rows: u64 = landed.iter().map(|dt| raw.rows(*dt)).sum();
        let files: usize = landed.iter().map(|dt| raw.files(*dt).count()).sum();
        let span = match landed.first().zip(landed.last()) {
            Some((first, last)) => format!("{first} to {last}"),
            None => "nothing has landed".to_owned(),
        };
        let _ = writeln!(
            text,
            "{:<12} {rows:>9} rows in {files} files, {} landing dates ({span})",
            log.name(),
            landed.len()
        );
    }
    complaints.extend(another.err().into_iter().flat_map(|stop| stop.complaints));
    for loss in &losses {
        let _ = writeln!(text, "{loss}");
    }
    if !losses.is_empty() {
        let _ =
            writeln!(text, "`lookback backfill JOB --stale` makes again what can be made again");
    }
    match complaints.is_empty() {
        true => Ok(text),
        false => Err(Stop::fix(complaints)),
    }
}
