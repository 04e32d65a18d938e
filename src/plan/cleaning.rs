//! Which landing dates are cleaned, why, and in which chunks.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Result;
use chrono::NaiveDate;

use crate::days::{self, DateRange};
use crate::job::Job;
use crate::lineage;
use crate::raw::RawLog;
use crate::reference::Reference;
use crate::warehouse::Warehouse;

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
    pub to_clean: BTreeMap<NaiveDate, Why>,
}

/// Why a landing date is cleaned.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Why {
    New,
    RawChanged,
    ReferenceChanged,
    Forced,
}

impl Why {
    pub const ALL: [Why; 4] = [Why::New, Why::RawChanged, Why::ReferenceChanged, Why::Forced];

    pub fn describe(self) -> &'static str {
        match self {
            Why::New => "not cleaned yet",
            Why::RawChanged => "raw files changed",
            Why::ReferenceChanged => "reference rows, settings or rules changed",
            Why::Forced => "forced",
        }
    }
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
    pub fn make(
        job: &Job,
        reference: &Reference,
        warehouse: &Warehouse,
        raw: RawLog,
        from: NaiveDate,
        refresh: Refresh,
    ) -> Result<LogPlan> {
        let landing: BTreeSet<NaiveDate> =
            raw.landed().into_iter().filter(|dt| from <= *dt).collect();
        let mut to_clean = BTreeMap::new();
        for dt in &landing {
            let now = lineage::of_clean(job, reference, &raw, *dt)?;
            let is_refreshed = refresh.outdated.contains(*dt);
            let is_forced = refresh.forced.is_some_and(|dates| dates.contains(*dt));
            let why = match lineage::made_clean(warehouse, raw.log, *dt)? {
                None => Some(Why::New),
                Some(made) if !lineage::is_raw_unchanged(made, &now, &raw) => Some(Why::RawChanged),
                Some(made) if is_refreshed && lineage::is_otherwise_changed(made, &now) => {
                    Some(Why::ReferenceChanged)
                }
                Some(_) if is_forced => Some(Why::Forced),
                Some(_) => None,
            };
            to_clean.extend(why.map(|why| (*dt, why)));
        }
        Ok(LogPlan { raw, landing, to_clean })
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
                    && !between.iter().any(|dt| self.raw.has_landed(dt))
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
