//! The recipe of a run: clean what is not clean, attribute, keep the ledger, make the reports,
//! check the promises, publish.
//!
//! Works in pieces that fit in memory: landing dates are cleaned and order dates attributed in
//! chunks. Clean dates are published as they are done, for later runs find them; of conversions
//! and reports of the run's own dates nothing is published before every promise was checked.

mod clean;
mod report;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use anyhow::Result;
use chrono::{DateTime, NaiveDate, TimeDelta, Utc};
use datafusion::common::ScalarValue;
use datafusion::common::scalar::ScalarValue::IntervalMonthDayNano;

use crate::days::{self, ReportDates};
use crate::engine::write::Slice;
use crate::engine::{Engine, Params, Tuning};
use crate::job::{Job, Scope, Tie};
use crate::lock::Lock;
use crate::model;
use crate::origin;
use crate::plan::{Asked, Plan};
use crate::progress::Progress;
use crate::raw::days_since_1970;
use crate::reference::Reference;
use crate::stop::Stop;
use crate::summary::Summary;
use crate::warehouse::Warehouse;

/// What to run, and when it is.
#[derive(Debug, Clone)]
pub struct Request {
    pub asked: Asked,
    pub as_of: Option<NaiveDate>,
    /// The only clock a run knows; for the log, never for rows.
    pub now: DateTime<Utc>,
    pub run_id: String,
    pub tuning: Tuning,
}

/// How many dates are worked on at once.
const CHUNK: usize = 31;

/// A run under way.
struct Run<'a> {
    job: &'a Job,
    request: &'a Request,
    reference: &'a Reference,
    engine: Engine,
    warehouse: Warehouse,
    plan: Plan,
    progress: &'a Progress,
    summary: Summary,
    /// Landing dates cleaned by this run, by log.
    cleaned: BTreeMap<&'static str, BTreeSet<NaiveDate>>,
}

/// Runs a job: `lookback run` and `lookback backfill`. Errors: see [`Stop`]; the reports are then
/// as they were.
pub async fn run(job: &Job, request: &Request, progress: &Progress) -> Result<Summary, Stop> {
    let started = Instant::now();
    let reference = Reference::load(job).await?;
    let (_lock, warehouse, plan) = prepare(job, &reference, request).await?;
    let engine = Engine::new(&request.tuning)?;
    let summary = Summary {
        run_id: request.run_id.clone(),
        report_dates: plan.own.iter().copied().collect(),
        currency: job.currency.clone(),
        ..Summary::default()
    };
    let mut run = Run {
        job,
        request,
        reference: &reference,
        engine,
        warehouse,
        plan,
        progress,
        summary,
        cleaned: BTreeMap::new(),
    };
    progress.plan(run.steps());
    run.warehouse.create_missing().await?;
    run.register_reference().await?;
    run.clean().await?;
    run.make_earlier_conversions().await?;
    run.make_reports().await?;
    run.name_outdated()?;
    progress.finish();
    run.summary.seconds = started.elapsed().as_secs_f64();
    Ok(run.summary)
}

/// Plans before the lock is taken, so that a run that cannot be leaves no trace; and once more
/// under the lock if another run has changed the warehouse meanwhile.
async fn prepare(
    job: &Job,
    reference: &Reference,
    request: &Request,
) -> Result<(Lock, Warehouse, Plan), Stop> {
    let mut lock = None;
    let mut planned: Option<(Warehouse, Plan)> = None;
    loop {
        let warehouse = Warehouse::open(&job.root).await?;
        if let (Some(lock), Some((before, plan))) = (lock.take(), planned.take())
            && before.versions() == warehouse.versions()
        {
            return Ok((lock, warehouse, plan));
        }
        let mut plan = Plan::make(job, reference, &warehouse, request.asked, request.as_of).await?;
        plan.check_raw(job).await?;
        planned = Some((warehouse, plan));
        lock = Some(Lock::take(&job.root, &request.run_id, request.now)?);
    }
}

impl Run<'_> {
    /// Pieces of work, for the progress bar.
    fn steps(&self) -> usize {
        let logs = [&self.plan.clicks, &self.plan.orders];
        let cleaning: usize = logs.iter().map(|reading| clean::chunks(reading).len()).sum();
        let dates = [&self.plan.earlier_conversions, &self.plan.own];
        let attributing: usize = dates.iter().map(|dates| stretches(dates).len()).sum();
        cleaning + attributing
    }

    async fn register_reference(&self) -> Result<()> {
        for (name, batch) in &self.reference.tables {
            self.engine.register_rows(&format!("reference.{name}"), batch.clone()).await?;
        }
        Ok(())
    }

    /// Parameters of the SQL files for the instants of some report dates.
    fn params(&self, dates: ReportDates) -> Params {
        let instants = dates.instants(self.job.zone);
        let text = |text: &str| ScalarValue::Utf8(Some(text.to_owned()));
        let job = self.job;
        let tie = match job.tie {
            Tie::Before => "before",
            Tie::AtOrBefore => "at_or_before",
        };
        let scope = match job.scope {
            Scope::Platform => "platform",
            Scope::Store => "store",
        };
        Params::from([
            ("from", instant(instants.start)),
            ("to", instant(instants.end)),
            ("window", interval(TimeDelta::hours(job.window_hours))),
            ("horizon", interval(TimeDelta::days(job.order_horizon_days as i64))),
            ("tie", text(tie)),
            ("scope", text(scope)),
            ("zone", text(job.zone.name())),
            ("default_rate", ScalarValue::Decimal128(Some(job.default_rate), 9, 6)),
        ])
    }

    /// Registers a kept table's rows of some dates as they are in the warehouse.
    fn register_kept(&self, name: &str, wanted: impl Fn(NaiveDate) -> bool) -> Result<()> {
        self.register_staged(name, wanted, &[])
    }

    fn register_staged(
        &self,
        name: &str,
        wanted: impl Fn(NaiveDate) -> bool,
        staged: &[crate::engine::write::NewFile],
    ) -> Result<()> {
        let model = model::named(name)?;
        let folder = self.warehouse.folder(model);
        self.engine.add_store(&folder)?;
        let table = self.warehouse.table(name)?.provider(&folder, wanted, staged)?;
        self.engine.register(name, std::sync::Arc::new(table))
    }

    /// Names the dates made earlier that a change seen by this run has outdated (D6).
    fn name_outdated(&mut self) -> Result<(), Stop> {
        let conversions = self.warehouse.table("attribution.conversions")?;
        let wanted = origin::Inputs::as_wanted(self.job, self.reference, &self.warehouse)?;
        let mut outdated: BTreeMap<String, Vec<NaiveDate>> = BTreeMap::new();
        for date in conversions.dates().difference(&self.plan.own) {
            let Some(made) = conversions.origin(&Slice::of(*date)) else { continue };
            let wanted = wanted.of_report(None, *date)?;
            let differences = origin::differences(made, &wanted);
            if !differences.is_empty() {
                let why = format!("{} changed", differences.join(", "));
                outdated.entry(why).or_default().push(*date);
            }
        }
        self.summary.outdated = outdated;
        Ok(())
    }

    fn note_written(&mut self, table: &str, dates: impl IntoIterator<Item = NaiveDate>) {
        let written = self.summary.written.entry(table.to_owned()).or_default();
        written.extend(dates);
        written.sort();
        written.dedup();
    }
}

fn instant(time: DateTime<Utc>) -> ScalarValue {
    ScalarValue::TimestampMicrosecond(Some(time.timestamp_micros()), Some("UTC".into()))
}

fn date(date: NaiveDate) -> ScalarValue {
    ScalarValue::Date32(Some(days_since_1970(date)))
}

/// Hours and minutes as they pass, whatever the calendar does.
fn interval(duration: TimeDelta) -> ScalarValue {
    let nanoseconds = duration.num_nanoseconds().unwrap_or(i64::MAX);
    IntervalMonthDayNano(Some(arrow::datatypes::IntervalMonthDayNano::new(0, 0, nanoseconds)))
}

fn whole_days(days: u64) -> ScalarValue {
    let days = i32::try_from(days).unwrap_or(i32::MAX);
    IntervalMonthDayNano(Some(arrow::datatypes::IntervalMonthDayNano::new(0, days, 0)))
}

/// Groups dates into stretches without gaps, of at most `CHUNK` dates.
fn stretches(dates: &BTreeSet<NaiveDate>) -> Vec<ReportDates> {
    let mut stretches: Vec<ReportDates> = Vec::new();
    for date in dates {
        match stretches.last_mut() {
            Some(last) if days::next(last.to) == *date && last.iter().count() < CHUNK => {
                last.to = *date;
            }
            _ => stretches.push(ReportDates { from: *date, to: *date }),
        }
    }
    stretches
}
