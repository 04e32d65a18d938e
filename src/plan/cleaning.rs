//! Which landing dates are cleaned, and why.

use std::collections::{BTreeMap, BTreeSet};

use chrono::NaiveDate;

use crate::days::ReportDates;
use crate::engine::write::Slice;
use crate::job::Job;
use crate::origin;
use crate::raw::{Log, RawLog};
use crate::reference::Reference;
use crate::stop::Stop;
use crate::warehouse::{Origin, Warehouse};

/// One log's part of a plan.
pub struct Reading {
    pub raw: RawLog,
    /// Landing dates from the first whose rows matter.
    pub landing: BTreeSet<NaiveDate>,
    /// Of these, the ones to clean, and why.
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

    pub fn in_words(self) -> &'static str {
        match self {
            Why::New => "not cleaned yet",
            Why::RawChanged => "raw files changed",
            Why::ReferenceChanged => "reference rows, settings or rules changed",
            Why::Forced => "forced",
        }
    }
}

/// Of which landing dates more is asked than that their raw files are the same.
#[derive(Debug, Clone, Copy)]
pub struct Demands {
    /// Made again when reference rows, settings or rules changed.
    pub current: ReportDates,
    /// Made again in any case.
    pub forced: Option<ReportDates>,
}

impl Reading {
    pub fn of(
        job: &Job,
        reference: &Reference,
        warehouse: &Warehouse,
        raw: RawLog,
        from: NaiveDate,
        demands: Demands,
    ) -> Result<Reading, Stop> {
        let landing: BTreeSet<NaiveDate> =
            raw.landed().into_iter().filter(|dt| from <= *dt).collect();
        let mut to_clean = BTreeMap::new();
        for dt in &landing {
            let now = origin::of_clean(job, reference, &raw, *dt)?;
            let is_demanded = demands.current.contains(*dt);
            let is_forced = demands.forced.is_some_and(|dates| dates.contains(*dt));
            let why = match clean_origin(warehouse, raw.log, *dt)? {
                None => Some(Why::New),
                Some(made) if !origin::is_raw_unchanged(made, &now, &raw) => Some(Why::RawChanged),
                Some(made) if is_demanded && origin::is_otherwise_changed(made, &now) => {
                    Some(Why::ReferenceChanged)
                }
                Some(_) if is_forced => Some(Why::Forced),
                Some(_) => None,
            };
            to_clean.extend(why.map(|why| (*dt, why)));
        }
        Ok(Reading { raw, landing, to_clean })
    }
}

/// What a clean landing date was made from; none when one of its two tables lacks it or they
/// disagree, as after a run that died between two commits.
pub fn clean_origin(
    warehouse: &Warehouse,
    log: Log,
    dt: NaiveDate,
) -> Result<Option<&Origin>, Stop> {
    let table = match log {
        Log::Clicks => "clean.clicks",
        Log::Orders => "clean.order_events",
    };
    let kept = warehouse.table(table)?.origin(&Slice::of(dt));
    let rejects = Slice { date: dt, log: Some(log.name().to_owned()) };
    let rejected = warehouse.table("clean.rejects")?.origin(&rejects);
    Ok(kept.filter(|origin| rejected == Some(origin)))
}
