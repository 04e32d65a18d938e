//! What a run would do, before it does anything: which report dates, what has to have landed,
//! which landing dates are cleaned and why, which conversions and reports are made and why.
//!
//! Reads listings and the warehouse's log, and no rows. `lookback plan` prints it; a run follows
//! it. What is up to date, by what it was made from, is left alone.

mod cleaning;
mod words;

use std::collections::{BTreeMap, BTreeSet};

use chrono::{NaiveDate, TimeDelta};

pub use cleaning::{Reading, Why, clean_origin};

use crate::days::{self, ReportDates};
use crate::engine::write::Slice;
use crate::job::Job;
use crate::origin::{self, Digested, Inputs};
use crate::raw::{Log, RawLog};
use crate::reference::Reference;
use crate::stop::Stop;
use crate::warehouse::{Origin, Warehouse};
use cleaning::Demands;

/// Which dates were asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asked {
    /// The nightly run: this date, and the `late_days` before it that have landed.
    Night(NaiveDate),
    /// Exactly these.
    Backfill(ReportDates),
    /// Every date made earlier whose inputs have changed since.
    Stale,
}

/// What of the dates asked for is made again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Remake {
    Changed,
    All,
}

/// What is to be done, and on which view of the raw logs.
pub struct Plan {
    pub asked: Asked,
    /// The report dates that were asked for and have landed.
    pub own: BTreeSet<NaiveDate>,
    /// Dates before a nightly run's that late rows might change, but whose landing is incomplete.
    pub left_alone: BTreeSet<NaiveDate>,
    pub as_of: Option<NaiveDate>,
    pub clicks: Reading,
    pub orders: Reading,
    /// Order dates of the run's own to attribute, and why.
    pub conversions: BTreeMap<NaiveDate, String>,
    /// Order dates that are not the run's own, but that its ledger looks back to.
    pub earlier_conversions: BTreeMap<NaiveDate, String>,
    /// Report dates to make, and why.
    pub reports: BTreeMap<NaiveDate, String>,
    /// Report dates to make if the rows of the conversions before them turn out to have changed.
    pub reports_in_doubt: BTreeSet<NaiveDate>,
}

/// The tables that hold a report date, in the order in which they are made: details early, which one
/// core writes while another is at work on traffic.
pub const REPORTS: [&str; 4] =
    ["report.traffic", "report.transaction_details", "report.orders", "report.refunds"];

const CONVERSIONS: &str = "attribution.conversions";

impl Plan {
    /// Errors: exit 3 when a report date that was asked for has not landed; exit 1 when a store
    /// fails.
    pub async fn make(
        job: &Job,
        reference: &Reference,
        warehouse: &Warehouse,
        asked: Asked,
        as_of: Option<NaiveDate>,
        remake: Remake,
    ) -> Result<Plan, Stop> {
        let conversions = warehouse.table(CONVERSIONS)?.dates();
        let dates = match asked {
            Asked::Night(date) => {
                Some(ReportDates { from: days::minus(date, job.late_days), to: date })
            }
            Asked::Backfill(dates) => Some(dates),
            Asked::Stale => {
                let span = conversions.first().zip(conversions.last());
                span.map(|(from, to)| ReportDates { from: *from, to: *to })
            }
        };
        let Some(dates) = dates else { return Plan::of_nothing(job, asked).await };
        let reach = Reach::of(job, dates);
        let wanted = |date: NaiveDate| reach.first_landing <= date;
        let clicks = RawLog::list(Log::Clicks, &job.clicks, as_of, wanted).await?;
        let orders = RawLog::list(Log::Orders, &job.orders, as_of, wanted).await?;

        let (own, left_alone) = match asked {
            Asked::Stale => (reported(warehouse)?, BTreeSet::new()),
            _ => landed_dates(job, asked, dates, &clicks, &orders, as_of)?,
        };
        let first_own = own.first().copied().unwrap_or(dates.from);
        let missing = missing_conversions(job, first_own, dates.to, &own, &conversions, &orders);
        let first_made = missing.first().copied().unwrap_or(first_own).min(first_own);
        let first_made = match asked {
            Asked::Stale => dates.from.min(first_made),
            _ => first_made,
        };
        // Both logs, as far back as the farther of the two is read and up to what landed last: a
        // landing date is clean or it is not.
        let landing_of =
            |date| days::landing(&(days::start_of(date, job.zone)..reach.end), job.late_days);
        let all = days::landing(
            &(days::start_of(first_made, job.zone) - reach.back..reach.end),
            job.late_days,
        );
        let demands = Demands {
            current: match asked {
                Asked::Stale => all,
                _ => landing_of(first_own),
            },
            forced: (remake == Remake::All).then(|| landing_of(first_own)),
        };
        let reading = |raw| Reading::of(job, reference, warehouse, raw, all.from, demands);
        let (clicks, orders) = (reading(clicks)?, reading(orders)?);

        let mut inputs = Inputs::as_read(job, reference, warehouse)?;
        for reading in [&clicks, &orders] {
            for dt in reading.to_clean.keys() {
                let origin = origin::of_clean(job, reference, &reading.raw, *dt)?;
                inputs.expect_clean(reading.raw.log, *dt, origin);
            }
        }
        let mut plan = Plan {
            asked,
            as_of,
            clicks,
            orders,
            own,
            left_alone,
            conversions: BTreeMap::new(),
            earlier_conversions: missing
                .into_iter()
                .map(|date| (date, "not made yet".to_owned()))
                .collect(),
            reports: BTreeMap::new(),
            reports_in_doubt: BTreeSet::new(),
        };
        plan.compare(job, warehouse, &inputs.digested(as_of)?, remake, &conversions)?;
        Ok(plan)
    }

    /// The plan for a warehouse in which nothing was ever made: nothing in it is stale.
    async fn of_nothing(job: &Job, asked: Asked) -> Result<Plan, Stop> {
        let nothing = async |log, place| {
            let raw = RawLog::list(log, place, None, |_| false).await?;
            Ok::<_, Stop>(Reading { raw, landing: BTreeSet::new(), to_clean: BTreeMap::new() })
        };
        Ok(Plan {
            asked,
            as_of: None,
            clicks: nothing(Log::Clicks, &job.clicks).await?,
            orders: nothing(Log::Orders, &job.orders).await?,
            own: BTreeSet::new(),
            left_alone: BTreeSet::new(),
            conversions: BTreeMap::new(),
            earlier_conversions: BTreeMap::new(),
            reports: BTreeMap::new(),
            reports_in_doubt: BTreeSet::new(),
        })
    }

    /// Decides what of the run's own dates has to be made.
    fn compare(
        &mut self,
        job: &Job,
        warehouse: &Warehouse,
        inputs: &Digested<'_>,
        remake: Remake,
        made: &BTreeSet<NaiveDate>,
    ) -> Result<(), Stop> {
        let table = warehouse.table(CONVERSIONS)?;
        let why_conversions = |date: NaiveDate| match table.origin(&Slice::of(date)) {
            _ if remake == Remake::All => Some("forced".to_owned()),
            None => Some("not made yet".to_owned()),
            Some(made) => changes(made, &inputs.of_conversions(date)),
        };
        let own = self.own.clone();
        for date in &own {
            self.conversions.extend(why_conversions(*date).map(|why| (*date, why)));
        }
        if self.asked == Asked::Stale {
            for date in made.difference(&own) {
                self.earlier_conversions.extend(why_conversions(*date).map(|why| (*date, why)));
            }
        }
        for date in &own {
            let why = match made_report(warehouse, *date)? {
                _ if remake == Remake::All => Some("forced".to_owned()),
                None => Some("not made yet".to_owned()),
                Some(made) => changes(made, &inputs.of_report(*date)),
            };
            let reach = origin::ledger_reach(job, *date);
            let is_touched = |dates: &BTreeMap<NaiveDate, String>| {
                dates.range(reach.from..=reach.to.max(reach.from)).next().is_some()
            };
            match why {
                Some(why) => {
                    self.reports.insert(*date, why);
                }
                None if is_touched(&self.conversions) || is_touched(&self.earlier_conversions) => {
                    self.reports_in_doubt.insert(*date);
                }
                None => {}
            }
        }
        Ok(())
    }

    pub fn reading(&self, log: Log) -> &Reading {
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

    /// Dates of the run's own that may have to be made, in stretches.
    pub fn candidates(&self) -> BTreeSet<NaiveDate> {
        let dates = self.conversions.keys().chain(self.reports.keys());
        dates.chain(&self.reports_in_doubt).copied().collect()
    }

    /// Reads the schema of every raw file that will be read. Errors: exit 2 with all complaints
    /// about both logs (B1, B2).
    pub async fn check_raw(&mut self, job: &Job) -> Result<(), Stop> {
        let mut complaints = Vec::new();
        for reading in [&mut self.clicks, &mut self.orders] {
            let reach = |dt: &NaiveDate| days::dedup_reach(*dt, job.late_days).iter().chain([*dt]);
            let dates: BTreeSet<NaiveDate> = reading.to_clean.keys().flat_map(reach).collect();
            complaints.extend(reading.raw.check(&dates).await?);
        }
        match complaints.is_empty() {
            true => Ok(()),
            false => Err(Stop::fix(complaints)
                .hint("nothing was written; replace or remove these files and run again")),
        }
    }
}

/// How far the making of some report dates looks.
struct Reach {
    end: chrono::DateTime<chrono::Utc>,
    /// How far back from an order date its clicks and its placed events are read.
    back: TimeDelta,
    first_landing: NaiveDate,
}

impl Reach {
    /// The farthest anything looks back: conversions of the oldest open order, whose placed event
    /// may repeat one from before; and the dates that decide duplicates.
    fn of(job: &Job, dates: ReportDates) -> Reach {
        let horizon = TimeDelta::days(job.order_horizon_days as i64);
        let back = horizon.max(TimeDelta::hours(job.window_hours));
        let end = dates.instants(job.zone).end;
        let oldest = days::local_date(dates.instants(job.zone).start - horizon, job.zone);
        let farthest = days::start_of(oldest, job.zone) - back;
        let landing = days::landing(&(farthest..end), job.late_days);
        Reach { end, back, first_landing: days::minus(landing.from, job.late_days + 2) }
    }
}

/// Order dates that the ledger looks back to and finds no conversions of, though something landed.
fn missing_conversions(
    job: &Job,
    first_own: NaiveDate,
    to: NaiveDate,
    own: &BTreeSet<NaiveDate>,
    made: &BTreeSet<NaiveDate>,
    orders: &RawLog,
) -> BTreeSet<NaiveDate> {
    ReportDates { from: origin::ledger_reach(job, first_own).from, to }
        .iter()
        .filter(|date| !own.contains(date) && !made.contains(date))
        .filter(|date| {
            let one = ReportDates { from: *date, to: *date }.instants(job.zone);
            days::landing(&one, job.late_days).iter().any(|dt| orders.has_landed(dt))
        })
        .collect()
}

/// The dates that have a report.
fn reported(warehouse: &Warehouse) -> Result<BTreeSet<NaiveDate>, Stop> {
    let mut dates = BTreeSet::new();
    for name in REPORTS {
        dates.extend(warehouse.table(name)?.dates());
    }
    Ok(dates)
}

/// What a report date was made from; none when one of its tables lacks it or they disagree, as
/// after a run that died between two commits.
pub fn made_report(warehouse: &Warehouse, date: NaiveDate) -> Result<Option<&Origin>, Stop> {
    let mut made: Option<&Origin> = None;
    for name in REPORTS {
        match (warehouse.table(name)?.origin(&Slice::of(date)), made) {
            (None, _) => return Ok(None),
            (Some(origin), Some(before)) if origin != before => return Ok(None),
            (Some(origin), _) => made = Some(origin),
        }
    }
    Ok(made)
}

/// "clicks, rates changed"; none when nothing did.
pub fn changes(made: &Origin, now: &Origin) -> Option<String> {
    let differences = origin::differences(made, now);
    (!differences.is_empty()).then(|| format!("{} changed", differences.join(", ")))
}

/// The dates to rewrite (D2, D4): every one asked for must have landed; of a nightly run only
/// the date itself, the ones before it are rewritten if they have.
fn landed_dates(
    job: &Job,
    asked: Asked,
    dates: ReportDates,
    clicks: &RawLog,
    orders: &RawLog,
    as_of: Option<NaiveDate>,
) -> Result<(BTreeSet<NaiveDate>, BTreeSet<NaiveDate>), Stop> {
    let landed = [(Log::Clicks, clicks.landed()), (Log::Orders, orders.landed())];
    let missing = |date: NaiveDate| -> Vec<(Log, NaiveDate)> {
        let touched = days::touched(&ReportDates { from: date, to: date }.instants(job.zone));
        touched
            .iter()
            .flat_map(|dt| landed.iter().map(move |(log, landed)| (*log, landed, dt)))
            .filter(|(_, landed, dt)| !landed.contains(dt))
            .map(|(log, _, dt)| (log, dt))
            .collect()
    };
    let mut own = BTreeSet::new();
    let mut left_alone = BTreeSet::new();
    let mut absent: BTreeMap<Log, BTreeSet<NaiveDate>> = BTreeMap::new();
    for date in dates.iter() {
        let missing = missing(date);
        let is_asked_for = match asked {
            Asked::Night(night) => date == night,
            Asked::Backfill(_) | Asked::Stale => true,
        };
        if missing.is_empty() {
            own.insert(date);
        } else if is_asked_for {
            for (log, dt) in missing {
                absent.entry(log).or_default().insert(dt);
            }
        } else {
            left_alone.insert(date);
        }
    }
    if absent.is_empty() {
        return Ok((own, left_alone));
    }
    let complaints = absent.into_iter().map(|(log, dts)| {
        let place = match log {
            Log::Clicks => &job.clicks,
            Log::Orders => &job.orders,
        };
        let as_of = as_of.map(|last| format!(" as of {last}")).unwrap_or_default();
        format!("{place}: not landed{as_of}: dt {}", days::in_words(dts))
    });
    Err(Stop::wait(complaints.collect()).hint(format!(
        "report dates are local dates of {}; a date needs every UTC landing date it touches, of \
         both logs. A landing date has landed when its folder holds at least one object, be it an \
         empty _SUCCESS",
        job.zone
    )))
}
