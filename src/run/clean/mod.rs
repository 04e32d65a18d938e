//! Raw landing dates to clean tables, chunk by chunk, each published as it is done.

mod chunk;

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Result;
use chrono::NaiveDate;
use futures::future::join_all;

use super::Run;
use crate::days::{self, ReportDates};
use crate::engine::write::NewFile;
use crate::model;
use crate::origin;
use crate::plan::{Reading, clean_origin};
use crate::raw::Log;
use crate::stop::Stop;
use crate::warehouse::Change;
use chunk::{Cleaning, models};

/// Raw rows and landing dates that are cleaned at once, unless one date has more: what was cleaned is
/// published then, and to begin anew takes a moment in which a core has nothing to do.
const CHUNK_ROWS: u64 = 24_000_000;
const CHUNK_DATES: usize = 62;

/// Landing dates of a log to clean in one go.
struct Chunk {
    log: Log,
    dates: BTreeSet<NaiveDate>,
    /// Others that decide what is a duplicate, and are clean already.
    known: BTreeSet<NaiveDate>,
    /// Others that do, and are not clean, so read raw.
    unknown: BTreeSet<NaiveDate>,
}

/// What a chunk was cleaned to, not yet visible.
#[derive(Default)]
struct Cleaned {
    clean: Vec<NewFile>,
    rejects: Vec<NewFile>,
    /// How many rows were rejected, by reason.
    reasons: BTreeMap<String, u64>,
}

impl Run<'_> {
    /// Cleans what the plan says, both logs side by side, of each the oldest dates first: their ids
    /// decide what is a duplicate later.
    pub(super) async fn clean(&mut self) -> Result<(), Stop> {
        let mut to_clean =
            [Log::Clicks, Log::Orders].map(|log| (log, chunks(self.plan.reading(log)).into_iter()));
        loop {
            let next = to_clean.iter_mut().filter_map(|(log, dates)| Some((*log, dates.next()?)));
            let next: Vec<(Log, BTreeSet<NaiveDate>)> = next.collect();
            if next.is_empty() {
                return Ok(());
            }
            let words = next.iter().map(|(log, dates)| {
                format!("{} that landed {}", log.name(), days::in_words(dates.iter().copied()))
            });
            self.progress.step(&format!("cleaning {}", words.collect::<Vec<_>>().join(", ")));
            let mut cleanings = Vec::new();
            for (log, dates) in next {
                cleanings.push(self.cleaning(log, dates).await?);
            }
            let cleaned =
                join_all(cleanings.iter().map(|cleaning| Box::pin(cleaning.clean()))).await;
            let chunks: Vec<Chunk> = cleanings.into_iter().map(|cleaning| cleaning.chunk).collect();
            let (mut done, mut stops) = (Vec::new(), Vec::new());
            for (chunk, cleaned) in chunks.into_iter().zip(cleaned) {
                match cleaned {
                    Ok(cleaned) => done.push((chunk, cleaned)),
                    Err(stop) => stops.push(stop),
                }
                self.progress.done();
            }
            if !done.is_empty() {
                self.publish_clean(done).await?;
            }
            if let Some(stop) = Stop::together(stops) {
                return Err(stop);
            }
        }
    }

    async fn cleaning(&self, log: Log, dates: BTreeSet<NaiveDate>) -> Result<Cleaning<'_>, Stop> {
        let (Some(first), Some(last)) = (dates.first().copied(), dates.last().copied()) else {
            return Err(anyhow::anyhow!("no date to clean").into());
        };
        let raw = &self.plan.reading(log).raw;
        // Dates that decide what is a duplicate: their ids come from the clean tables where these
        // are up to date, else from the raw files.
        let from = days::dedup_reach(first, self.job.late_days).from;
        let others = ReportDates { from, to: last };
        let mut known = BTreeSet::new();
        let mut unknown = BTreeSet::new();
        for dt in others.iter().filter(|dt| !dates.contains(dt)) {
            let now = origin::of_clean(self.job, self.reference, raw, dt)?;
            match clean_origin(&self.warehouse, log, dt)? {
                Some(made) if !raw.has_landed(dt) || origin::is_raw_unchanged(made, &now, raw) => {
                    known.insert(dt)
                }
                _ => unknown.insert(dt),
            };
        }
        let engine = self.engine.beside()?;
        self.register_reference(&engine).await?;
        Ok(Cleaning::new(self, engine, first, Chunk { log, dates, known, unknown }))
    }

    /// Makes visible what was cleaned: rejected rows first, for a clean date is taken to be whole.
    async fn publish_clean(&mut self, done: Vec<(Chunk, Cleaned)>) -> Result<(), Stop> {
        let mut rejects = Change::default();
        let mut clean: BTreeMap<&'static str, Change> = BTreeMap::new();
        let mut written: Vec<(&'static str, BTreeSet<NaiveDate>)> = Vec::new();
        for (Chunk { log, dates, .. }, cleaned) in done {
            let raw = &self.plan.reading(log).raw;
            let mut origins = BTreeMap::new();
            for dt in &dates {
                origins.insert(*dt, origin::of_clean(self.job, self.reference, raw, *dt)?);
            }
            let with_origin = |file: NewFile| {
                let origin = origins.get(&file.slice.date).cloned().unwrap_or_default();
                (file, origin)
            };
            rejects.files.extend(cleaned.rejects.into_iter().map(with_origin));
            let files = cleaned.clean.into_iter().map(with_origin).collect();
            clean.insert(models(log).clean, Change { files });
            let raw_rows: u64 = dates.iter().map(|dt| raw.rows(*dt)).sum();
            *self.summary.raw_rows.entry(log.name().to_owned()).or_default() += raw_rows;
            let rejected = self.summary.rejected_rows.entry(log.name().to_owned()).or_default();
            for (reason, rows) in cleaned.reasons {
                *rejected.entry(reason).or_default() += rows;
            }
            written.push(("clean.rejects", dates.clone()));
            written.push((models(log).clean, dates));
        }
        for changes in [[("clean.rejects", rejects)].into(), clean] {
            self.warehouse.commit(changes, &self.request.run_id, self.request.now).await?;
        }
        for (name, dates) in written {
            self.note_written(&model::named(name)?.folder(), dates);
        }
        Ok(())
    }
}

/// Dates to clean in one go: between the first and the last of a chunk there is no landed date
/// that is clean already, so that what comes before the first is all that has to be known.
pub(super) fn chunks(reading: &Reading) -> Vec<BTreeSet<NaiveDate>> {
    let mut chunks: Vec<BTreeSet<NaiveDate>> = Vec::new();
    for date in reading.to_clean.keys() {
        let continues = |chunk: &BTreeSet<NaiveDate>| {
            let Some(last) = chunk.last() else { return true };
            let between = ReportDates { from: days::next(*last), to: days::minus(*date, 1) };
            let rows: u64 = chunk.iter().chain([date]).map(|dt| reading.raw.rows(*dt)).sum();
            chunk.len() < CHUNK_DATES
                && rows <= CHUNK_ROWS
                && !between.iter().any(|dt| reading.raw.has_landed(dt))
        };
        match chunks.last_mut() {
            Some(chunk) if continues(chunk) => {
                chunk.insert(*date);
            }
            _ => chunks.push(BTreeSet::from([*date])),
        }
    }
    chunks
}
