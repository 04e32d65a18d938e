//! What a run would do, before it does anything: which report dates, what must have landed, which
//! landing dates are cleaned and why, which conversions and reports are made and why.
//!
//! Reads listings, schemas and the warehouse's log. Rows are read only where reference rows changed,
//! to see which dates ask for them. `lookback plan` prints the plan, and a run follows it. Dates that
//! are up to date are not made again: `lineage` finds them.

mod cleaning;
mod dates;
mod describe;
mod landed;

use std::collections::{BTreeMap, BTreeSet};

use chrono::NaiveDate;
use futures::try_join;

pub use cleaning::LogPlan;
pub use landed::not_begun;

use crate::days::{self, DateRange};
use crate::job::Job;
use crate::lineage::{self, RawState, Touched, Unclean};
use crate::raw::{Log, RawLog};
use crate::reference::Reference;
use crate::stop::Stop;
use crate::warehouse::{Program, Warehouse};
use cleaning::Refresh;
use landed::LandedDates;

/// Which dates were asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DateSelection {
    /// The nightly run: this date, and the `late_days` before it that have landed.
    Night(NaiveDate),
    /// Exactly these dates.
    Backfill(DateRange),
    /// Every date that is outdated (D7).
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
    /// The report dates that were asked for and have landed, and those that `heal_days` adds: the
    /// run's own dates.
    pub report_dates: BTreeSet<NaiveDate>,
    /// Dates before a nightly run's that late rows might change, but that have not all landed.
    pub skipped: BTreeSet<NaiveDate>,
    pub as_of: Option<NaiveDate>,
    pub clicks: LogPlan,
    pub orders: LogPlan,
    /// The run's own order dates to attribute, and why.
    pub conversions: BTreeMap<NaiveDate, String>,
    /// Other order dates to attribute, and why: the ledger looks back to them.
    pub earlier_conversions: BTreeMap<NaiveDate, String>,
    /// Order dates to attribute if their clean rows turn out to have changed.
    pub maybe_conversions: BTreeSet<NaiveDate>,
    /// Report dates to make, and why.
    pub reports: BTreeMap<NaiveDate, String>,
    /// Report dates to make if their clean rows or conversions turn out to have changed.
    pub maybe_reports: BTreeSet<NaiveDate>,
    /// Dates that changed reference rows touch, those of this run included.
    pub touched: Touched,
    /// Report dates after the first one that were never made although their landing dates are there,
    /// and that are not the run's own (D7).
    pub holes: BTreeSet<NaiveDate>,
    /// Likewise, but these landing dates are not there.
    pub waiting: BTreeMap<NaiveDate, Vec<(Log, NaiveDate)>>,
    /// Dates that read clean rows which are gone and cannot be made again. They are kept.
    pub beyond_repair: BTreeSet<NaiveDate>,
    /// What lies in the logs and tables and is not read, in sentences (B5).
    pub unread: Vec<String>,
    /// The reference tables to store, because their rows changed.
    pub reference: BTreeSet<&'static str>,
}

const CONVERSIONS: &str = "attribution.conversions";

impl Plan {
    /// Plans a run. Errors: exit 2 when the warehouse is another program's (D9) or raw files cannot be
    /// read; exit 3 when a report date that was asked for has not landed; exit 1 when a store fails.
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
        let reported = reported(warehouse)?;
        let everything: BTreeSet<NaiveDate> = &made | &reported;
        let Some(dates) = dates::asked_for(selection, reach.late_days(), &everything) else {
            return Ok(Plan::of_nothing(job, reference));
        };
        // A nightly run may also make dates again that are outdated.
        let heal_days = match (selection, as_of) {
            (DateSelection::Night(_), None) => job.heal_days,
            _ => 0,
        };
        let scope = DateRange { from: days::minus(dates.from, heal_days), to: dates.to };
        let never_made: BTreeSet<NaiveDate> = reported
            .first()
            .map(|first| DateRange { from: *first, to: dates.to.max(*first) })
            .into_iter()
            .flat_map(DateRange::iter)
            .filter(|date| !reported.contains(date))
            .collect();
        let first_landing = reach.first_landing(scope);
        let is_demanded = |dt: NaiveDate| {
            never_made.iter().any(|date| reach.demanded_landing(*date).contains(dt))
        };
        let first_demanded = never_made.first().map(|date| reach.demanded_landing(*date).from);
        let first_wanted = first_demanded.map_or(first_landing, |dt| dt.min(first_landing));
        let list = |log, location| {
            let is_wanted = |dt| first_landing <= dt || is_demanded(dt);
            RawLog::list(log, location, Some(first_wanted), as_of, is_wanted)
        };
        let (mut clicks, mut orders) =
            try_join!(list(Log::Clicks, &job.clicks), list(Log::Orders, &job.orders))?;

        let wrong = [&clicks, &orders].into_iter().flat_map(RawLog::refuse_wrong_location);
        let wrong: Vec<String> = wrong.collect();
        if !wrong.is_empty() && selection != DateSelection::Stale {
            return Err(Stop::fix(wrong).hint("nothing was written; is this the right location?"));
        }
        let LandedDates { report_dates, skipped } = match selection {
            DateSelection::Stale => {
                LandedDates { report_dates: reported.clone(), skipped: BTreeSet::new() }
            }
            _ => landed::dates(job, selection, dates, [&clicks, &orders], as_of)?,
        };
        let (mut holes, mut waiting) = (BTreeSet::new(), BTreeMap::new());
        for date in never_made.difference(&report_dates) {
            let missing = landed::missing(job, [&clicks, &orders], *date);
            match missing.is_empty() {
                true => {
                    holes.insert(*date);
                }
                false => {
                    waiting.insert(*date, missing);
                }
            }
        }
        let to_fill = match selection {
            DateSelection::Backfill(_) => BTreeSet::new(),
            _ => holes.iter().copied().filter(|date| scope.contains(*date)).collect(),
        };
        let asked_for = &report_dates | &to_fill;
        let first = asked_for.first().copied().unwrap_or(dates.from);
        let missing = dates::missing_conversions(job, first, dates.to, &asked_for, &made, &orders);
        let first_made = match selection {
            DateSelection::Stale => scope.from.min(first),
            _ => first.min(scope.from),
        };
        let first_made = missing.first().copied().unwrap_or(first_made).min(first_made);
        // Both logs are planned from the earliest date that either is read from to what landed
        // last, because a landing date is clean or it is not.
        let all = reach.all(DateRange { from: first_made, to: dates.to });
        let own = reach.landing_of(DateRange { from: first.min(scope.from), to: dates.to });
        let refresh = Refresh {
            outdated: if selection == DateSelection::Stale { all } else { own },
            forced: (rebuild == Rebuild::All).then_some(own),
        };
        check_files_in_doubt(job, warehouse, [&mut clicks, &mut orders], all.from).await?;
        let touched = lineage::touched(job, reference, warehouse).await?;
        let log_plan = |raw| LogPlan::make(job, warehouse, &touched, raw, all.from, refresh);
        let unread = clicks.unread().into_iter().chain(orders.unread());
        let unread = unread.chain(reference.unread.iter().cloned()).collect();
        let (clicks, orders) = (log_plan(clicks)?, log_plan(orders)?);
        let mut plan = Plan {
            selection,
            as_of,
            clicks,
            orders,
            report_dates: asked_for,
            skipped,
            conversions: BTreeMap::new(),
            earlier_conversions: missing
                .into_iter()
                .map(|date| (date, lineage::NOT_MADE.to_owned()))
                .collect(),
            maybe_conversions: BTreeSet::new(),
            reports: BTreeMap::new(),
            maybe_reports: BTreeSet::new(),
            holes: &holes - &to_fill,
            waiting,
            touched,
            beyond_repair: BTreeSet::new(),
            unread,
            reference: reference.new_tables(),
        };
        plan.plan_dates(job, warehouse, rebuild, (scope, dates), (&made, &reported))?;
        Ok(plan)
    }

    /// The plan for `--stale` when nothing was ever made: nothing is stale.
    fn of_nothing(job: &Job, reference: &Reference) -> Plan {
        let nothing = |log, location| LogPlan {
            raw: RawLog::unlisted(log, location),
            landing: BTreeSet::new(),
            to_clean: BTreeMap::new(),
            left_outdated: BTreeMap::new(),
            lost: BTreeSet::new(),
        };
        Plan {
            selection: DateSelection::Stale,
            as_of: None,
            clicks: nothing(Log::Clicks, &job.clicks),
            orders: nothing(Log::Orders, &job.orders),
            report_dates: BTreeSet::new(),
            skipped: BTreeSet::new(),
            conversions: BTreeMap::new(),
            earlier_conversions: BTreeMap::new(),
            maybe_conversions: BTreeSet::new(),
            reports: BTreeMap::new(),
            maybe_reports: BTreeSet::new(),
            touched: Touched::default(),
            holes: BTreeSet::new(),
            waiting: BTreeMap::new(),
            beyond_repair: BTreeSet::new(),
            unread: reference.unread.clone(),
            reference: reference.new_tables(),
        }
    }

    /// The landing dates to clean, and why.
    fn to_be_cleaned(&self) -> Unclean {
        let of = |log: &LogPlan| {
            let name = log.raw.log;
            log.to_clean.iter().map(|(dt, why)| ((name, *dt), why.clone())).collect::<Vec<_>>()
        };
        of(&self.clicks).into_iter().chain(of(&self.orders)).collect()
    }

    /// The clean landing dates that are outdated and left so, and why.
    pub fn left_outdated(&self) -> Unclean {
        let of = |log: &LogPlan| {
            let name = log.raw.log;
            log.left_outdated.iter().map(|(dt, why)| ((name, *dt), why.clone())).collect::<Vec<_>>()
        };
        of(&self.clicks).into_iter().chain(of(&self.orders)).collect()
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
        let dates = self.conversions.keys().chain(self.reports.keys()).chain(&self.maybe_reports);
        let maybe = self.maybe_conversions.intersection(&self.report_dates);
        dates.chain(maybe).copied().collect()
    }

    /// Other order dates that are attributed, or may have to be.
    pub fn earlier_candidates(&self) -> BTreeSet<NaiveDate> {
        let maybe = self.maybe_conversions.difference(&self.report_dates);
        self.earlier_conversions.keys().chain(maybe).copied().collect()
    }

    /// Checks the schema of every raw file that will be read. Errors: exit 2 with all complaints
    /// about both logs (B1, B2).
    pub async fn validate_raw(&mut self, job: &Job, warehouse: &Warehouse) -> Result<(), Stop> {
        let Plan { clicks, orders, .. } = self;
        let (mut complaints, further) =
            try_join!(clicks.validate_raw(job, warehouse), orders.validate_raw(job, warehouse))?;
        complaints.extend(further);
        refuse_files(complaints)
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
pub fn refuse_another_program(job: &Job, warehouse: &Warehouse) -> Result<(), Stop> {
    let differences = warehouse.differences(&program_of(job));
    if differences.is_empty() {
        return Ok(());
    }
    let complaints = differences.iter().map(|difference| format!("{}: {difference}", job.root));
    Err(Stop::fix(complaints.collect()).hint(
        "the warehouse was begun with other settings; put them back, or name another [output] \
         root: another zone, currency or program needs a warehouse of its own. Where nothing in it is \
         wanted, remove the folder: the next run begins it anew",
    ))
}

/// Checks the schemas of files that look other than those a date was cleaned from, and of files that
/// are not clean: their footers tell whether they are the same (D8). Errors: exit 2 with all
/// complaints (B1, B2).
async fn check_files_in_doubt(
    job: &Job,
    warehouse: &Warehouse,
    logs: [&mut RawLog; 2],
    from: NaiveDate,
) -> Result<(), Stop> {
    let first = job.reach().before_landing(from).from;
    let check = async |raw: &mut RawLog| {
        let state = RawState { raw, warehouse };
        let mut in_doubt = BTreeSet::new();
        for dt in raw.dates().range(first..) {
            if state.is_in_doubt(*dt)? {
                in_doubt.insert(*dt);
            }
        }
        raw.validate_schemas(&in_doubt).await
    };
    let [clicks, orders] = logs;
    let (mut complaints, further) = try_join!(check(clicks), check(orders))?;
    complaints.extend(further);
    refuse_files(complaints)
}

fn refuse_files(complaints: Vec<String>) -> Result<(), Stop> {
    match complaints.is_empty() {
        true => Ok(()),
        false => Err(Stop::fix(complaints)
            .hint("nothing was written; replace or remove these files and run again")),
    }
}

/// The dates that have a report.
pub fn reported(warehouse: &Warehouse) -> anyhow::Result<BTreeSet<NaiveDate>> {
    let mut dates = BTreeSet::new();
    for model in lineage::report_tables()? {
        dates.extend(warehouse.table(model.name)?.dates());
    }
    Ok(dates)
}
