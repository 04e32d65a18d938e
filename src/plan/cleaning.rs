//! Which landing dates are outdated, why, which of them are cleaned, and in which chunks.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Result;
use chrono::NaiveDate;

use crate::days::{self, DateRange};
use crate::job::Job;
use crate::lineage::{self, RawState, Touched};
use crate::raw::RawLog;
use crate::stop::Stop;
use crate::warehouse::{Partition, Warehouse};

/// Raw rows and landing dates of a chunk, unless one date has more. A chunk is published when it is
/// done. Starting the next one leaves cores idle for a moment.
const CHUNK_ROWS: u64 = 24_000_000;
const CHUNK_DATES: usize = 62;

/// One log's part of a plan.
pub struct LogPlan {
    pub raw: RawLog,
    /// Landing dates from the first one that matters.
    pub landing: BTreeSet<NaiveDate>,
    /// Those of `landing` to clean, and why.
    pub to_clean: BTreeMap<NaiveDate, String>,
    /// Clean dates that are outdated and left as they are, and why.
    pub left_outdated: BTreeMap<NaiveDate, String>,
    /// Landing dates whose clean rows are gone, and whose raw files are, too.
    pub lost: BTreeSet<NaiveDate>,
}

/// Which landing dates are cleaned again although their raw files have not changed.
#[derive(Debug, Clone, Copy)]
pub struct Refresh {
    /// Cleaned again when reference rows, settings or rules changed.
    pub outdated: DateRange,
    /// Cleaned again in any case.
    pub forced: Option<DateRange>,
}

impl LogPlan {
    /// Plans the cleaning of the landing dates from `from` on. Files in doubt must have been checked.
    pub fn make(
        job: &Job,
        warehouse: &Warehouse,
        touched: &Touched,
        raw: RawLog,
        from: NaiveDate,
        refresh: Refresh,
    ) -> Result<LogPlan> {
        let landing: BTreeSet<NaiveDate> =
            raw.dates().into_iter().filter(|dt| from <= *dt).collect();
        let mut to_clean = BTreeMap::new();
        let mut left_outdated = BTreeMap::new();
        for dt in &landing {
            let is_forced = refresh.forced.is_some_and(|dates| dates.contains(*dt));
            let forced = is_forced.then(|| "forced".to_owned());
            // Rows that turned valid or invalid decide which of its rows are duplicates.
            let repeated = touched.repeated.get(&(raw.log, *dt));
            let is_to_follow =
                repeated.is_some_and(|dates| dates.iter().any(|dt| to_clean.contains_key(dt)));
            let is_wanted = is_to_follow || refresh.outdated.contains(*dt);
            match why(job, warehouse, touched, &raw, *dt)? {
                Some((why, is_always)) if is_always || is_wanted => {
                    to_clean.insert(*dt, why);
                }
                Some((why, _)) if forced.is_none() => {
                    left_outdated.insert(*dt, why);
                }
                _ => to_clean.extend(forced.map(|why| (*dt, why))),
            }
        }
        let log = raw.log;
        // Dates that are not looked at otherwise, such as those whose raw files were deleted.
        for ((of, dt), keys) in &touched.clean {
            if *of == log && !to_clean.contains_key(dt) {
                left_outdated.entry(*dt).or_insert_with(|| lineage::describe(keys));
            }
        }
        let clean = warehouse.table(log.clean_table())?;
        let is_lost = |dt: &NaiveDate| clean.is_lost(&Partition::of(*dt)) && !raw.is_there(*dt);
        let lost = clean.dates().into_iter().filter(is_lost).collect();
        Ok(LogPlan { raw, landing, to_clean, left_outdated, lost })
    }

    /// Checks the schemas of the files that cleaning reads. Returns the complaints (B1, B2). Errors:
    /// the store fails.
    pub async fn validate_raw(
        &mut self,
        job: &Job,
        warehouse: &Warehouse,
    ) -> Result<Vec<String>, Stop> {
        let before = |dt: &NaiveDate| job.reach().before_landing(*dt).iter();
        let before: BTreeSet<NaiveDate> = self.to_clean.keys().flat_map(before).collect();
        loop {
            // What a file holds is known better once it is checked.
            let state = RawState { raw: &self.raw, warehouse };
            let mut to_read: BTreeSet<NaiveDate> = self.to_clean.keys().copied().collect();
            for dt in &before {
                if !state.has_clean_ids(job, *dt)? {
                    to_read.insert(*dt);
                }
            }
            to_read.retain(|dt| !self.raw.is_checked(*dt));
            if to_read.is_empty() {
                return Ok(Vec::new());
            }
            let complaints = self.raw.validate_schemas(&to_read).await?;
            if !complaints.is_empty() {
                return Ok(complaints);
            }
        }
    }

    /// The dates to clean, in chunks. Between the first and the last date of a chunk, no landed
    /// date is clean already. So only what comes before the first has to be known.
    pub fn chunks(&self) -> Vec<BTreeSet<NaiveDate>> {
        let mut chunks: Vec<BTreeSet<NaiveDate>> = Vec::new();
        for date in self.to_clean.keys() {
            let continues = |chunk: &BTreeSet<NaiveDate>| {
                let Some(last) = chunk.last() else { return true };
                let between = DateRange { from: days::next(*last), to: days::minus(*date, 1) };
                let rows: u64 = chunk.iter().chain([date]).map(|dt| self.raw.rows(*dt)).sum();
                chunk.len() < CHUNK_DATES
                    && rows <= CHUNK_ROWS
                    && !between.iter().any(|dt| self.raw.is_there(dt))
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
}

/// Why a landing date has to be cleaned, and whether wherever it is read (D6): where it is not clean,
/// its raw files changed, or the clean rows have another meaning. None when it is up to date.
fn why(
    job: &Job,
    warehouse: &Warehouse,
    touched: &Touched,
    raw: &RawLog,
    dt: NaiveDate,
) -> Result<Option<(String, bool)>> {
    let state = RawState { raw, warehouse };
    let Some(made) = lineage::made_clean(warehouse, raw.log, dt)? else {
        let is_lost = warehouse.table(raw.log.clean_table())?.is_lost(&Partition::of(dt));
        let why = if is_lost { lineage::LOST } else { "not cleaned yet" };
        return Ok(Some((why.to_owned(), true)));
    };
    if lineage::is_of_first_version(made) {
        return Ok(Some((lineage::OLD.to_owned(), true)));
    }
    let now = state.lineage(job, dt)?;
    if let Some(why) = state.why_raw(made, &now) {
        return Ok(Some((why.to_owned(), true)));
    }
    if let Some(why) = lineage::why_otherwise(made, &now) {
        return Ok(Some((why.to_owned(), false)));
    }
    let keys = touched.clean.get(&(raw.log, dt));
    Ok(keys.map(|keys| (lineage::describe(keys), false)))
}
