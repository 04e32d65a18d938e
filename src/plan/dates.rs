//! Which order dates a run attributes and which report dates it makes, and why (D6, D7).

use std::collections::BTreeSet;

use chrono::NaiveDate;

use super::{CONVERSIONS, DateSelection, Plan, Rebuild};
use crate::days::{self, DateRange};
use crate::job::Job;
use crate::lineage::{self, Judge};
use crate::raw::RawLog;
use crate::stop::Stop;
use crate::warehouse::{Partition, Warehouse};

impl Plan {
    /// Decides which order dates are attributed and which report dates are made: the run's own dates
    /// that are outdated, and all others of `scope` that are. `own` are the dates that were asked
    /// for, without those that `heal_days` adds.
    pub(super) fn plan_dates(
        &mut self,
        job: &Job,
        warehouse: &Warehouse,
        rebuild: Rebuild,
        (scope, own): (DateRange, DateRange),
        (made, reported): (&BTreeSet<NaiveDate>, &BTreeSet<NaiveDate>),
    ) -> Result<(), Stop> {
        let mut beyond_repair = made | reported;
        beyond_repair.retain(|date| self.reads_lost_rows(job, *date));
        self.beyond_repair = beyond_repair;
        let unclean = self.to_be_cleaned();
        let touched = self.touched.clone();
        let judge = Judge::new(job, warehouse, &touched, &unclean, self.as_of)?;
        let is_forced = rebuild == Rebuild::All;
        // Dates before the first report have conversions only. Late rows change them, too.
        let is_own = |plan: &Plan, date: &NaiveDate| plan.report_dates.contains(date);
        let is_other = |plan: &Plan, date: &NaiveDate| match plan.selection {
            DateSelection::Stale => true,
            DateSelection::Night(_) => scope.contains(*date),
            DateSelection::Backfill(_) => false,
        };
        for date in made | &self.report_dates {
            let (is_own, is_other) = (is_own(self, &date), is_other(self, &date));
            if !(is_own || is_other) || self.beyond_repair.contains(&date) {
                continue;
            }
            let why = match is_forced && is_own {
                true => Some("forced".to_owned()),
                false => judge.why_order_date(date)?,
            };
            match why {
                Some(why) if is_own => {
                    self.conversions.insert(date, why);
                }
                Some(why) => {
                    self.earlier_conversions.insert(date, why);
                }
                None if judge.why_perhaps(date).is_some() => {
                    self.maybe_conversions.insert(date);
                }
                None => {}
            }
        }
        // The ledger looks back to dates that an earlier release attributed.
        let looked_back_to = reach_back(job, &self.report_dates);
        for date in made.iter().filter(|date| looked_back_to.contains(*date)) {
            let table = warehouse.table(CONVERSIONS)?;
            let lineage = table.lineage(&Partition::of(*date));
            if lineage.is_some_and(lineage::is_of_first_version)
                && !self.conversions.contains_key(date)
            {
                let why = lineage::OLD.to_owned();
                self.earlier_conversions.entry(*date).or_insert(why);
            }
        }
        for date in reported | &self.report_dates {
            let is_own = is_own(self, &date);
            let is_wanted = is_own || (is_other(self, &date) && date < own.from);
            if !is_wanted || self.beyond_repair.contains(&date) {
                continue;
            }
            let why = match is_forced && is_own {
                true => Some("forced".to_owned()),
                false => judge.why_report_date(date)?,
            };
            match why {
                Some(why) => {
                    self.report_dates.insert(date);
                    self.reports.insert(date, why);
                }
                None if judge.why_perhaps(date).is_some() || self.attributes_for(job, date) => {
                    self.report_dates.insert(date);
                    self.maybe_reports.insert(date);
                }
                None => {}
            }
        }
        Ok(())
    }

    /// Whether conversions are made, or perhaps made, whose events may fall on a report date.
    fn attributes_for(&self, job: &Job, report_date: NaiveDate) -> bool {
        let placed = job.reach().placed_on(report_date);
        let span = placed.from..=placed.to;
        self.conversions.range(span.clone()).next().is_some()
            || self.earlier_conversions.range(span.clone()).next().is_some()
            || self.maybe_conversions.range(span).next().is_some()
    }

    fn reads_lost_rows(&self, job: &Job, date: NaiveDate) -> bool {
        let reach = job.reach();
        let reads = |lost: &BTreeSet<NaiveDate>, dates: DateRange| {
            lost.range(dates.from..=dates.to).next().is_some()
        };
        let date = DateRange::of(date);
        reads(&self.clicks.lost, reach.clicks(date)) || reads(&self.orders.lost, reach.events(date))
    }
}

/// The report dates that were asked for. None when nothing was made that could be stale.
pub fn asked_for(
    selection: DateSelection,
    late_days: u64,
    made: &BTreeSet<NaiveDate>,
) -> Option<DateRange> {
    match selection {
        DateSelection::Night(date) => {
            Some(DateRange { from: days::minus(date, late_days), to: date })
        }
        DateSelection::Backfill(dates) => Some(dates),
        DateSelection::Stale => {
            let span = made.first().zip(made.last());
            span.map(|(from, to)| DateRange { from: *from, to: *to })
        }
    }
}

/// The order dates that the ledger of some report dates looks back to.
fn reach_back(job: &Job, report_dates: &BTreeSet<NaiveDate>) -> BTreeSet<NaiveDate> {
    let reach = job.reach();
    report_dates.iter().flat_map(|date| reach.earlier_order_dates(*date).iter()).collect()
}

/// Order dates that the ledger looks back to, without conversions, although events landed for them.
pub fn missing_conversions(
    job: &Job,
    first: NaiveDate,
    to: NaiveDate,
    report_dates: &BTreeSet<NaiveDate>,
    made: &BTreeSet<NaiveDate>,
    orders: &RawLog,
) -> BTreeSet<NaiveDate> {
    let reach = job.reach();
    let looked_back_to = DateRange { from: reach.earlier_order_dates(first).from, to };
    let is_missing = |date: &NaiveDate| !report_dates.contains(date) && !made.contains(date);
    let has_landed = |date: &NaiveDate| {
        reach.landing_of(DateRange::of(*date)).iter().any(|dt| orders.is_there(dt))
    };
    looked_back_to.iter().filter(is_missing).filter(has_landed).collect()
}
