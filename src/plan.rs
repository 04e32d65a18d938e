//! What a run would do, before it does anything: which report dates, what has to have landed,
//! which landing dates are cleaned and why, which conversions are made besides its own.
//!
//! Reads listings and the warehouse's log, and no rows. `lookback plan` prints it; a run follows
//! it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use chrono::{NaiveDate, TimeDelta};

use crate::days::{self, ReportDates};
use crate::engine::write::Slice;
use crate::job::Job;
use crate::origin;
use crate::raw::{Log, RawLog};
use crate::reference::Reference;
use crate::stop::Stop;
use crate::warehouse::{Origin, Warehouse};

/// Which dates were asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asked {
    /// The nightly run: this date, and the `late_days` before it that have landed.
    Night(NaiveDate),
    /// Exactly these.
    Backfill(ReportDates),
}

/// What is to be done, and on which view of the raw logs.
pub struct Plan {
    pub own: BTreeSet<NaiveDate>,
    /// Dates before a nightly run's that late rows might change, but whose landing is incomplete.
    pub left_alone: BTreeSet<NaiveDate>,
    pub as_of: Option<NaiveDate>,
    pub clicks: Reading,
    pub orders: Reading,
    /// Order dates that the ledger looks back to and finds no conversions of.
    pub earlier_conversions: BTreeSet<NaiveDate>,
}

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
}

impl Why {
    fn in_words(self) -> &'static str {
        match self {
            Why::New => "not cleaned yet",
            Why::RawChanged => "raw files changed",
            Why::ReferenceChanged => "reference rows or settings changed",
        }
    }
}

impl Plan {
    /// Errors: exit 3 when a report date that was asked for has not landed; exit 1 when a store
    /// fails.
    pub async fn make(
        job: &Job,
        reference: &Reference,
        warehouse: &Warehouse,
        asked: Asked,
        as_of: Option<NaiveDate>,
    ) -> Result<Plan, Stop> {
        let dates = match asked {
            Asked::Night(date) => ReportDates { from: days::minus(date, job.late_days), to: date },
            Asked::Backfill(dates) => dates,
        };
        let horizon = TimeDelta::days(job.order_horizon_days as i64);
        let window = TimeDelta::hours(job.window_hours);
        let end = dates.instants(job.zone).end;
        // The farthest anything looks back: conversions of the oldest open order, whose placed
        // event may repeat one from before; and the dates that decide duplicates.
        let oldest = days::local_date(dates.instants(job.zone).start - horizon, job.zone);
        let oldest_start = days::start_of(oldest, job.zone);
        let farthest = (oldest_start - horizon).min(oldest_start - window);
        let reach = days::landing(&(farthest..end), job.late_days);
        let first = days::minus(reach.from, job.late_days + 2);
        let wanted = |date: NaiveDate| first <= date;
        let clicks = RawLog::list(Log::Clicks, &job.clicks, as_of, wanted).await?;
        let orders = RawLog::list(Log::Orders, &job.orders, as_of, wanted).await?;

        let (own, left_alone) = landed_dates(job, asked, dates, &clicks, &orders, as_of)?;
        let conversions = warehouse.table("attribution.conversions")?.dates();
        let landed_orders = orders.landed();
        let first_own = own.first().copied().unwrap_or(dates.from);
        let ledger_from = days::start_of(first_own, job.zone) - horizon;
        let earlier_conversions: BTreeSet<NaiveDate> =
            ReportDates { from: days::local_date(ledger_from, job.zone), to: dates.to }
                .iter()
                .filter(|date| !own.contains(date) && !conversions.contains(date))
                .filter(|date| {
                    let one = ReportDates { from: *date, to: *date }.instants(job.zone);
                    let mut landing = days::landing(&one, job.late_days).iter();
                    landing.any(|dt| landed_orders.contains(&dt))
                })
                .collect();
        let first_made = earlier_conversions.first().copied().unwrap_or(first_own).min(first_own);
        let made_from = days::start_of(first_made, job.zone);
        let own_from = days::start_of(first_own, job.zone);
        // Both logs, as far back as the farther of the two is read and up to what landed last: a
        // landing date is clean or it is not.
        let back = horizon.max(window);
        let reading = |raw: RawLog| {
            let all = days::landing(&(made_from - back..end), job.late_days).from;
            let own = days::landing(&(own_from..end), job.late_days);
            Reading::of(job, reference, warehouse, raw, all, own)
        };
        Ok(Plan {
            as_of,
            clicks: reading(clicks)?,
            orders: reading(orders)?,
            own,
            left_alone,
            earlier_conversions,
        })
    }

    pub fn reading(&self, log: Log) -> &Reading {
        match log {
            Log::Clicks => &self.clicks,
            Log::Orders => &self.orders,
        }
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

    /// The plan in words, for `lookback plan`.
    pub fn in_words(&self, job: &Job, warehouse: &Warehouse) -> Result<String, Stop> {
        let mut text = String::new();
        let mut line = |words: String| {
            let _ = writeln!(text, "{words}");
        };
        let own = days::in_words(self.own.iter().copied());
        line(format!("report dates to rewrite   {own} (local dates of {})", job.zone));
        if !self.left_alone.is_empty() {
            let left = days::in_words(self.left_alone.iter().copied());
            line(format!(
                "  left as they are        {left}: their landing dates are not all there"
            ));
        }
        if let Some(as_of) = self.as_of {
            line(format!("  as of                   {as_of}: later landing dates are not read"));
        }
        for reading in [&self.clicks, &self.orders] {
            let log = reading.raw.log.name();
            let files: usize =
                reading.landing.iter().map(|dt| reading.raw.files(*dt).count()).sum();
            line(format!(
                "\nraw {log:<21} {} landing dates in reach, {files} files",
                reading.landing.len()
            ));
            line(format!(
                "  from the clean table    {} dates are up to date",
                reading.landing.len() - reading.to_clean.len()
            ));
            for why in [Why::New, Why::RawChanged, Why::ReferenceChanged] {
                let dates: Vec<NaiveDate> = reading
                    .to_clean
                    .iter()
                    .filter(|(_, is)| **is == why)
                    .map(|(dt, _)| *dt)
                    .collect();
                if !dates.is_empty() {
                    let bytes: u64 = dates
                        .iter()
                        .flat_map(|dt| reading.raw.files(*dt))
                        .map(|file| file.size)
                        .sum();
                    line(format!(
                        "  to clean                {}: {} ({:.1} MB)",
                        days::in_words(dates),
                        why.in_words(),
                        bytes as f64 / 1e6
                    ));
                }
            }
        }
        line("\nconversions".to_owned());
        line(format!("  to make                 {own}: the run's own"));
        if !self.earlier_conversions.is_empty() {
            line(format!(
                "  to make                 {}: orders whose events may still come ({} days), not there yet",
                days::in_words(self.earlier_conversions.iter().copied()),
                job.order_horizon_days
            ));
        }
        let kept = warehouse.table("attribution.conversions")?.dates();
        line(format!(
            "  there already           {} order dates",
            kept.difference(&self.own).count()
        ));
        line("\nto write".to_owned());
        for model in crate::model::kept()? {
            let dates: BTreeSet<NaiveDate> = match model.name {
                "clean.clicks" => self.clicks.to_clean.keys().copied().collect(),
                "clean.order_events" => self.orders.to_clean.keys().copied().collect(),
                "clean.rejects" => self
                    .clicks
                    .to_clean
                    .keys()
                    .chain(self.orders.to_clean.keys())
                    .copied()
                    .collect(),
                "attribution.conversions" => {
                    self.own.union(&self.earlier_conversions).copied().collect()
                }
                _ => self.own.clone(),
            };
            line(format!("  {:<28} {:>4} dates", model.folder(), dates.len()));
        }
        Ok(text)
    }
}

impl Reading {
    fn of(
        job: &Job,
        reference: &Reference,
        warehouse: &Warehouse,
        raw: RawLog,
        from: NaiveDate,
        own: ReportDates,
    ) -> Result<Reading, Stop> {
        let landing: BTreeSet<NaiveDate> =
            raw.landed().into_iter().filter(|dt| from <= *dt).collect();
        let mut to_clean = BTreeMap::new();
        for dt in &landing {
            let now = origin::of_clean(job, reference, &raw, *dt)?;
            let why = match clean_origin(warehouse, raw.log, *dt)? {
                None => Some(Why::New),
                Some(made) if !origin::is_raw_unchanged(made, &now, &raw) => Some(Why::RawChanged),
                Some(made) if own.contains(*dt) && origin::is_otherwise_changed(made, &now) => {
                    Some(Why::ReferenceChanged)
                }
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
            Asked::Backfill(_) => true,
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
