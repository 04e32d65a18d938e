//! Makes clean tables from raw landing dates, chunk by chunk. Each is published when done.

mod chunk;

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Result;
use chrono::NaiveDate;
use futures::future::join_all;

use super::workspace::Workspace;
use crate::days::{self, DateRange};
use crate::lineage::RawState;
use crate::model;
use crate::progress::Stage;
use crate::raw::Log;
use crate::stop::Stop;
use crate::warehouse::Change;
use crate::warehouse::write::NewFile;
use chunk::Cleaning;
pub use chunk::{landing as landing_params, params as cleaning_params};

/// Landing dates of a log that are cleaned together.
struct Chunk {
    log: Log,
    dates: BTreeSet<NaiveDate>,
    /// Other dates that decide what is a duplicate, and that are clean already.
    known: BTreeSet<NaiveDate>,
    /// Other dates that decide it, but are not clean. They are read raw.
    unknown: BTreeSet<NaiveDate>,
}

/// The result of cleaning a chunk, not yet visible.
#[derive(Default)]
struct Cleaned {
    clean: Vec<NewFile>,
    rejects: Vec<NewFile>,
    /// How many rows there were, those that came out of a view.
    rows: BTreeMap<NaiveDate, u64>,
    /// How many rows have a quantity that is not whole.
    unfit: u64,
    /// How many rows were rejected, by reason.
    reasons: BTreeMap<String, u64>,
}

/// Cleans what the plan says, both logs in parallel, the oldest dates first: their ids decide what
/// is a duplicate later. Errors: see [`Cleaning::clean`]; finished chunks stay published.
pub async fn clean(workspace: &mut Workspace<'_>) -> Result<(), Stop> {
    let mut to_clean =
        [Log::Clicks, Log::Orders].map(|log| (log, workspace.plan.log(log).chunks().into_iter()));
    loop {
        let next = to_clean.iter_mut().filter_map(|(log, dates)| Some((*log, dates.next()?)));
        let next: Vec<(Log, BTreeSet<NaiveDate>)> = next.collect();
        if next.is_empty() {
            return Ok(());
        }
        let words = next.iter().map(|(log, dates)| {
            format!("{} that landed {}", log.name(), days::describe(dates.iter().copied()))
        });
        let words = words.collect::<Vec<_>>().join(", ");
        workspace.progress.step_of(Stage::Cleaning, &format!("cleaning {words}"));
        let mut cleanings = Vec::new();
        for (log, dates) in next {
            cleanings.push(cleaning(workspace, log, dates).await?);
        }
        let cleaned = join_all(cleanings.iter().map(|cleaning| Box::pin(cleaning.clean()))).await;
        let chunks: Vec<Chunk> = cleanings.into_iter().map(|cleaning| cleaning.chunk).collect();
        let (mut done, mut stops) = (Vec::new(), Vec::new());
        for (chunk, cleaned) in chunks.into_iter().zip(cleaned) {
            match cleaned {
                Ok(cleaned) => done.push((chunk, cleaned)),
                Err(stop) => stops.push(stop),
            }
            workspace.progress.done();
        }
        if !done.is_empty() {
            publish(workspace, done).await?;
        }
        if let Some(stop) = Stop::together(stops) {
            return Err(stop);
        }
    }
}

async fn cleaning<'a>(
    workspace: &'a Workspace<'a>,
    log: Log,
    dates: BTreeSet<NaiveDate>,
) -> Result<Cleaning<'a>, Stop> {
    let (Some(first), Some(last)) = (dates.first().copied(), dates.last().copied()) else {
        return Err(anyhow::anyhow!("no date to clean").into());
    };
    let raw = &workspace.plan.log(log).raw;
    let state = RawState { raw, warehouse: &workspace.warehouse };
    // Dates that decide what is a duplicate. Their ids come from the clean tables where those are
    // up to date, else from the raw files.
    let others = DateRange { from: workspace.job.reach().before_landing(first).from, to: last };
    let mut known = BTreeSet::new();
    let mut unknown = BTreeSet::new();
    for dt in others.iter().filter(|dt| !dates.contains(dt)) {
        match state.has_clean_ids(workspace.job, dt)? {
            true => known.insert(dt),
            false => unknown.insert(dt),
        };
    }
    let engine = workspace.engine.fork()?;
    workspace.register_reference(&engine).await?;
    Ok(Cleaning::new(workspace, engine, first, Chunk { log, dates, known, unknown }))
}

/// Makes cleaned dates visible. Rejected rows come first, so that a visible clean date is complete.
async fn publish(workspace: &mut Workspace<'_>, done: Vec<(Chunk, Cleaned)>) -> Result<(), Stop> {
    let mut rejects = Change::default();
    let mut clean: BTreeMap<&'static str, Change> = BTreeMap::new();
    let mut written: Vec<(&'static str, BTreeSet<NaiveDate>)> = Vec::new();
    for (Chunk { log, dates, .. }, cleaned) in done {
        let raw = &workspace.plan.log(log).raw;
        let mut lineages = BTreeMap::new();
        for dt in &dates {
            let state = RawState { raw, warehouse: &workspace.warehouse };
            lineages.insert(*dt, state.lineage(workspace.job, *dt)?);
        }
        let with_lineage = |file: NewFile| {
            let lineage = lineages.get(&file.partition.date).cloned().unwrap_or_default();
            (file, lineage)
        };
        rejects.files.extend(cleaned.rejects.into_iter().map(with_lineage));
        let files = cleaned.clean.into_iter().map(with_lineage).collect();
        clean.insert(log.clean_table(), Change { files });
        let summary = &mut workspace.summary;
        let raw_rows: u64 = cleaned.rows.values().sum();
        *summary.raw_rows.entry(log.name().to_owned()).or_default() += raw_rows;
        if raw.has_view() {
            let before: u64 = dates.iter().map(|dt| raw.rows(*dt)).sum();
            *summary.rows_before_views.entry(log.name().to_owned()).or_default() += before;
        }
        summary.quantities_not_whole += cleaned.unfit;
        let rejected = summary.rejected_rows.entry(log.name().to_owned()).or_default();
        for (reason, rows) in cleaned.reasons {
            *rejected.entry(reason).or_default() += rows;
        }
        written.push(("clean.rejects", dates.clone()));
        written.push((log.clean_table(), dates));
    }
    let request = workspace.request;
    for changes in [[("clean.rejects", rejects)].into(), clean] {
        workspace.warehouse.commit(changes, &request.run_id, request.now).await?;
    }
    for (name, dates) in written {
        workspace.note_written(&model::named(name)?.folder(), dates);
    }
    Ok(())
}
