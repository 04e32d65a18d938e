//! What a run would do, before it does anything: which report dates, what must have landed, which
//! landing dates are cleaned and why, which conversions and reports are made and why.
//!
//! Reads listings, schemas and the warehouse's log, but no rows. `lookback plan` prints the plan,
//! and a run follows it. Dates that are up to date are not made again: `lineage` finds them.

mod cleaning;
mod describe;
mod landed;

use std::collections::{BTreeMap, BTreeSet};

use chrono::NaiveDate;
use futures::try_join;

pub use cleaning::{LogPlan, Why};

use crate::days::{self, DateRange};
use crate::job::Job;
use crate::lineage::{self, Fingerprints, InputState};
use crate::raw::{Log, RawLog};
use crate::reference::Reference;
use crate::stop::Stop;
use crate::warehouse::{Partition, Program, Warehouse};
use cleaning::Refresh;
use landed::LandedDates;

/// Which dates were asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DateSelection {
    /// The nightly run: this date, and the `late_days` before it that have landed.
    Night(NaiveDate),
    /// Exactly these dates.
    Backfill(DateRange),
    /// Every date made earlier whose inputs have changed since.
    Stale,
}

/// Which of the dates asked for are made again: those whose inputs changed, or all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rebuild {
    Changed,
    All,
}

/// What a run does, and on which view of the raw logs.
pub struct Plan {
    pub selection: DateSelection,
    /// The report dates that were asked for and have landed: the run's own dates.
    pub report_dates: BTreeSet<NaiveDate>,
    /// Dates before a nightly run's that late rows might change, but that have not all landed.
    pub skipped: BTreeSet<NaiveDate>,
    pub as_of: Option<NaiveDate>,
    pub clicks: LogPlan,
    pub orders: LogPlan,
    /// The run's own order dates to attribute, and why.
    pub conversions: BTreeMap<NaiveDate, String>,
    /// Other order dates to attribute, because the ledger looks back to them, and why.
    pub earlier_conversions: BTreeMap<NaiveDate, String>,
    /// Report dates to make, and why.
    pub reports: BTreeMap<NaiveDate, String>,
    /// Report dates to make if the rows of earlier conversions turn out to have changed.
    pub maybe_stale: BTreeSet<NaiveDate>,
}

const CONVERSIONS: &str = "attribution.conversions";

impl Plan {
    /// Plans a run. Errors: exit 2 when the warehouse is another program's (D9); exit 3 when a
    /// report date that was asked for has not landed; exit 1 when a store fails.
    pub async fn make(
        job: &Job,
        reference: &Reference,
        warehouse: &Warehouse,
        selection: DateSelection,
        as_of: Option<NaiveDate>,
        rebuild: Rebuild,
    ) -> Result<Plan, Stop> {
        refuse_another_program(job, warehouse)?;
        let reach = job.reach();
        let made = warehouse.table(CONVERSIONS)?.dates();
        let Some(dates) = dates_of(selection, reach.late_days(), &made) else {
            return Plan::of_nothing(job, selection).await;
        };
        let first_landing = reach.first_landing(dates);
        let list = |log, location| {
            RawLog::list(log, location, as_of, move |dt: NaiveDate| first_landing <= dt)
        };
        let (clicks, orders) =
            try_join!(list(Log::Clicks, &job.clicks), list(Log::Orders, &job.orders))?;

        let LandedDates { report_dates, skipped } = match selection {
            DateSelection::Stale => {
                LandedDates { report_dates: reported(warehouse)?, skipped: BTreeSet::new() }
            }
            _ => landed::dates(job, selection, dates, [&clicks, &orders], as_of)?,
        };
        let first = report_dates.first().copied().unwrap_or(dates.from);
        let missing = missing_conversions(job, first, dates.to, &report_dates, &made, &orders);
        let first_made = match selection {
            DateSelection::Stale => dates.from.min(first),
            _ => first,
        };
        let first_made = missing.first().copied().unwrap_or(first_made).min(first_made);
        // Both logs are planned from the earliest date that either is read from to what landed
        // last, because a landing date is clean or it is not.
        let all = reach.all(DateRange { from: first_made, to: dates.to });
        let touched = reach.landing_of(DateRange { from: first, to: dates.to });
        let refresh = Refresh {
            outdated: if selection == DateSelection::Stale { all } else { touched },
            forced: (rebuild == Rebuild::All).then_some(touched),
        };
        let log_plan = |raw| LogPlan::make(job, reference, warehouse, raw, all.from, refresh);
        let (clicks, orders) = (log_plan(clicks)?, log_plan(orders)?);

        let mut inputs = InputState::as_read(job, reference, warehouse)?;
        for log in [&clicks, &orders] {
            for dt in log.to_clean.keys() {
                inputs.plan_clean(
                    log.raw.log,
                    *dt,
                    lineage::of_clean(job, reference, &log.raw, *dt)?,
                );
            }
        }
        let mut plan = Plan {
            selection,
            as_of,
            clicks,
            orders,
            report_dates,
            skipped,
            conversions: BTreeMap::new(),
            earlier_conversions: missing
                .into_iter()
                .map(|date| (date, "not made yet".to_owned()))
                .collect(),
            reports: BTreeMap::new(),
            maybe_stale: BTreeSet::new(),
        };
        plan.plan_conversions(warehouse, &inputs.fingerprints(as_of)?, rebuild, &made)?;
        plan.plan_reports(job, warehouse, &inputs.fingerprints(as_of)?, rebuild)?;
        Ok(plan)
    }

    /// The plan for `--stale` when nothing was ever made: nothing is stale.
    async fn of_nothing(job: &Job, selection: DateSelection) -> Result<Plan, Stop> {
        let nothing = async |log, location| {
            let raw = RawLog::list(log, location, None, |_| false).await?;
            Ok::<_, Stop>(LogPlan { raw, landing: BTreeSet::new(), to_clean: BTreeMap::new() })
        };
        Ok(Plan {
            selection,
            as_of: None,
            clicks: nothing(Log::Clicks, &job.clicks).await?,
            orders: nothing(Log::Orders, &job.orders).await?,
            report_dates: BTreeSet::new(),
            skipped: BTreeSet::new(),
            conversions: BTreeMap::new(),
            earlier_conversions: BTreeMap::new(),
            reports: BTreeMap::new(),
            maybe_stale: BTreeSet::new(),
        })
    }

    /// Decides which order dates are attributed: the run's own dates that changed, and with
    /// `--stale` all others that changed.
    fn plan_conversions(
        &mut self,
        warehouse: &Warehouse,
        now: &Fingerprints<'_>,
        rebuild: Rebuild,
        made: &BTreeSet<NaiveDate>,
    ) -> Result<(), Stop> {
        let table = warehouse.table(CONVERSIONS)?;
        let why = |date: NaiveDate| match table.lineage(&Partition::of(date)) {
            _ if rebuild == Rebuild::All => Some("forced".to_owned()),
            None => Some("not made yet".to_owned()),
            Some(made) => lineage::changes(made, &now.of_conversions(date)),
        };
        for date in &self.report_dates {
            self.conversions.extend(why(*date).map(|why| (*date, why)));
        }
        if self.selection == DateSelection::Stale {
            for date in made.difference(&self.report_dates) {
                self.earlier_conversions.extend(why(*date).map(|why| (*date, why)));
            }
        }
        Ok(())
    }

    /// Decides which of the run's own report dates are made. Needs the decision on conversions.
    fn plan_reports(
        &mut self,
        job: &Job,
        warehouse: &Warehouse,
        now: &Fingerprints<'_>,
        rebuild: Rebuild,
    ) -> Result<(), Stop> {
        let reach = job.reach();
        for date in &self.report_dates {
            let why = match lineage::made_report(warehouse, *date)? {
                _ if rebuild == Rebuild::All => Some("forced".to_owned()),
                None => Some("not made yet".to_owned()),
                Some(made) => lineage::changes(made, &now.of_report(*date)),
            };
            let earlier = reach.earlier_order_dates(*date);
            let is_touched = |dates: &BTreeMap<NaiveDate, String>| {
                dates.range(earlier.from..=earlier.to.max(earlier.from)).next().is_some()
            };
            match why {
                Some(why) => {
                    self.reports.insert(*date, why);
                }
                None if is_touched(&self.conversions) || is_touched(&self.earlier_conversions) => {
                    self.maybe_stale.insert(*date);
                }
                None => {}
            }
        }
        Ok(())
    }

    pub fn log(&self, log: Log) -> &LogPlan {
        match log {
            Log::Clicks => &self.clicks,
            Log::Orders => &self.orders,
        }
    }

    /// Whether a run would leave everything as it is.
    pub fn is_nothing_to_do(&self) -> bool {
        self.clicks.to_clean.is_empty()
            && self.orders.to_clean.is_empty()
            && self.earlier_conversions.is_empty()
            && self.conversions.is_empty()
            && self.reports.is_empty()
    }

    /// The run's own dates that are made, or may have to be.
    pub fn candidates(&self) -> BTreeSet<NaiveDate> {
        let dates = self.conversions.keys().chain(self.reports.keys());
        dates.chain(&self.maybe_stale).copied().collect()
    }

    /// Checks the schema of every raw file that will be read. Errors: exit 2 with all complaints
    /// about both logs (B1, B2).
    pub async fn validate_raw(&mut self, job: &Job) -> Result<(), Stop> {
        let mut complaints = Vec::new();
        let reach = job.reach();
        for log in [&mut self.clicks, &mut self.orders] {
            let read = |dt: &NaiveDate| reach.before_landing(*dt).iter().chain([*dt]);
            let dates: BTreeSet<NaiveDate> = log.to_clean.keys().flat_map(read).collect();
            complaints.extend(log.raw.validate_schemas(&dates).await?);
        }
        match complaints.is_empty() {
            true => Ok(()),
            false => Err(Stop::fix(complaints)
                .hint("nothing was written; replace or remove these files and run again")),
        }
    }
}

/// The program of a job (D9).
pub fn program_of(job: &Job) -> Program {
    Program {
        time_zone: job.zone.name().to_owned(),
        currency: job.currency.clone(),
        name: job.name.clone(),
    }
}

/// Two programs cannot share a warehouse: their dates and amounts differ (D9). Errors: exit 2.
fn refuse_another_program(job: &Job, warehouse: &Warehouse) -> Result<(), Stop> {
    let differences = warehouse.differences(&program_of(job));
    if differences.is_empty() {
        return Ok(());
    }
    let complaints = differences.iter().map(|difference| format!("{}: {difference}", job.root));
    Err(Stop::fix(complaints.collect()).hint(
        "the warehouse was begun with other settings; put them back, or name another [output] \
         root: another zone, currency or program needs a warehouse of its own",
    ))
}

/// The report dates that were asked for. None when nothing was made that could be stale.
fn dates_of(
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

/// Order dates that the ledger looks back to, without conversions, although events landed for them.
fn missing_conversions(
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
        reach.landing_of(DateRange::of(*date)).iter().any(|dt| orders.has_landed(dt))
    };
    looked_back_to.iter().filter(is_missing).filter(has_landed).collect()
}

/// The dates that have a report.
fn reported(warehouse: &Warehouse) -> Result<BTreeSet<NaiveDate>, Stop> {
    let mut dates = BTreeSet::new();
    for model in lineage::report_tables()? {
        dates.extend(warehouse.table(model.name)?.dates());
    }
    Ok(dates)
}
