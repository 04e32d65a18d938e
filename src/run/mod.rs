//! The recipe of a run: clean what is not clean, attribute, keep the ledger, make the reports,
//! check the promises, publish.
//!
//! Works in pieces that fit in memory: landing dates are cleaned and order dates attributed in
//! chunks. Clean dates are published as they are done, for later runs find them; of conversions
//! and reports of the run's own dates nothing is published before every promise was checked.

mod attribute;
mod clean;
mod report;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use anyhow::{Context, Result};
use chrono::{DateTime, NaiveDate, TimeDelta, Utc};
use datafusion::common::ScalarValue;
use datafusion::common::runtime::SpawnedTask;
use datafusion::common::scalar::ScalarValue::IntervalMonthDayNano;
use futures::{StreamExt, TryStreamExt, join};

use crate::days::{self, ReportDates};
use crate::engine::write::{self, NewFile, Slice};
use crate::engine::{Engine, Params, Replacements, Tuning, timed};
use crate::job::{Job, Scope, Tie};
use crate::lock::{Holder, Lock, Pace};
use crate::model::{self, Model};
use crate::origin;
use crate::plan::{self, Asked, Plan, Remake, made_report};
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
    pub remake: Remake,
    pub pace: Pace,
    /// Other texts in place of SQL files, by the table's name: to try a rule. What they make is
    /// never up to date.
    pub instead: Replacements,
}

/// How many dates are worked on at once, at most.
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
    /// The order dates that `report.earned_orders` holds.
    earned_orders_of: Option<ReportDates>,
}

/// Runs a job: `lookback run` and `lookback backfill`. Ends early when `until` does. Errors: see
/// [`Stop`]; the reports are then as they were.
pub async fn run(
    job: &Job,
    request: &Request,
    progress: &Progress,
    until: impl Future<Output = Stop>,
) -> Result<Summary, Stop> {
    let started = Instant::now();
    tokio::pin!(until);
    let prepared = tokio::select! {
        stop = &mut until => return Err(stop),
        prepared = prepare(job, request) => prepared?,
    };
    let mut summary = Summary {
        run_id: request.run_id.clone(),
        currency: job.currency.clone(),
        ..Summary::default()
    };
    match prepared {
        Prepared::NothingToDo { up_to_date } => summary.up_to_date = up_to_date,
        Prepared::Ready(ready) => {
            let Ready { lock, reference, warehouse, plan } = *ready;
            let done = tokio::select! {
                stop = until => Err(stop),
                stop = lock.lost() => Err(stop),
                done = work(job, request, progress, &reference, warehouse, plan, summary) => done,
            };
            lock.release().await;
            summary = done?;
        }
    }
    summary.seconds = started.elapsed().as_secs_f64();
    Ok(summary)
}

/// What a run finds before it does anything.
enum Prepared {
    NothingToDo { up_to_date: Vec<NaiveDate> },
    Ready(Box<Ready>),
}

struct Ready {
    lock: Lock,
    reference: Reference,
    warehouse: Warehouse,
    plan: Plan,
}

/// Plans before the lock is taken, so that a run that cannot be, or need not be, leaves no trace;
/// and once more under the lock if another run has changed the warehouse meanwhile.
async fn prepare(job: &Job, request: &Request) -> Result<Prepared, Stop> {
    let look = async || {
        let (reference, warehouse) = join!(Reference::load(job), Warehouse::open(&job.root));
        let (reference, warehouse) = (reference?, warehouse?);
        let plan = make_plan(job, &reference, &warehouse, request).await?;
        Ok::<_, Stop>((reference, warehouse, plan))
    };
    let (reference, mut warehouse, plan) = look().await?;
    if plan.is_nothing_to_do() {
        return Ok(Prepared::NothingToDo { up_to_date: plan.own.into_iter().collect() });
    }
    let planned_on = warehouse.versions();
    let lock =
        Lock::take(&job.root, &Holder::new(&request.run_id, request.now), request.pace).await?;
    let under_lock = async {
        refresh_under_lock(&mut warehouse, request, &lock).await?;
        match warehouse.versions() == planned_on {
            true => Ok((reference, warehouse, plan)),
            // The other run may have known more than this one did.
            false => {
                let looked = look().await?;
                lock.confirm().await?;
                Ok(looked)
            }
        }
    };
    match under_lock.await {
        Ok((reference, warehouse, plan)) => {
            Ok(Prepared::Ready(Box::new(Ready { lock, reference, warehouse, plan })))
        }
        Err(stop) => {
            lock.release().await;
            Err(stop)
        }
    }
}

/// The warehouse as it stays while the lock is held. Whoever takes the lock over fences off what
/// was read before, so the lock is confirmed after the reading.
async fn refresh_under_lock(
    warehouse: &mut Warehouse,
    request: &Request,
    lock: &Lock,
) -> Result<(), Stop> {
    warehouse.refresh().await?;
    if lock.was_taken_over() {
        warehouse.create_missing().await?;
        warehouse.fence(&request.run_id).await?;
        warehouse.refresh().await?;
    }
    lock.confirm().await
}

async fn make_plan(
    job: &Job,
    reference: &Reference,
    warehouse: &Warehouse,
    request: &Request,
) -> Result<Plan, Stop> {
    let remake = match request.instead.is_empty() {
        true => request.remake,
        false => Remake::All,
    };
    let (asked, as_of) = (request.asked, request.as_of);
    let mut plan = Plan::make(job, reference, warehouse, asked, as_of, remake).await?;
    plan.check_raw(job).await?;
    Ok(plan)
}

/// The run itself, once it is known what to do and nobody else does it.
async fn work(
    job: &Job,
    request: &Request,
    progress: &Progress,
    reference: &Reference,
    warehouse: Warehouse,
    plan: Plan,
    summary: Summary,
) -> Result<Summary, Stop> {
    let engine = Engine::new(&request.tuning, request.instead.clone())?;
    let mut run = Run {
        job,
        request,
        reference,
        engine,
        warehouse,
        plan,
        progress,
        summary,
        earned_orders_of: None,
    };
    progress.plan(run.steps());
    run.warehouse.create_missing().await?;
    run.register_reference(&run.engine).await?;
    Box::pin(run.clean()).await?;
    Box::pin(run.make_earlier_conversions()).await?;
    Box::pin(run.make_reports()).await?;
    run.name_outdated()?;
    progress.finish();
    Ok(run.summary)
}

impl Run<'_> {
    /// Pieces of work, for the progress bar.
    fn steps(&self) -> usize {
        let logs = [&self.plan.clicks, &self.plan.orders];
        let cleaning: usize = logs.iter().map(|reading| clean::chunks(reading).len()).sum();
        let earlier = self.plan.earlier_conversions.keys().copied().collect();
        let dates: [&BTreeSet<NaiveDate>; 2] = [&earlier, &self.plan.candidates()];
        let attributing: usize = dates.iter().map(|dates| stretches(dates, CHUNK).len()).sum();
        cleaning + attributing
    }

    async fn register_reference(&self, engine: &Engine) -> Result<()> {
        for (name, batch) in &self.reference.tables {
            engine.register_rows(&format!("reference.{name}"), batch.clone()).await?;
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
    fn register_kept(
        &self,
        engine: &Engine,
        name: &str,
        wanted: impl Fn(NaiveDate) -> bool,
    ) -> Result<()> {
        self.register_staged(engine, name, wanted, &[])
    }

    fn register_staged(
        &self,
        engine: &Engine,
        name: &str,
        wanted: impl Fn(NaiveDate) -> bool,
        staged: &[NewFile],
    ) -> Result<()> {
        let model = model::named(name)?;
        let folder = self.warehouse.folder(model);
        engine.add_store(&folder)?;
        let table = self.warehouse.table(name)?.provider(&folder, wanted, staged)?;
        engine.register(name, std::sync::Arc::new(table))
    }

    /// Names the dates made earlier that a change seen by this run has outdated (D6).
    fn name_outdated(&mut self) -> Result<(), Stop> {
        let conversions = self.warehouse.table("attribution.conversions")?;
        let wanted = origin::Inputs::as_wanted(self.job, self.reference, &self.warehouse)?;
        let wanted = wanted.digested(None)?;
        let mut outdated: BTreeMap<String, Vec<NaiveDate>> = BTreeMap::new();
        for date in conversions.dates().difference(&self.plan.own) {
            let why = match made_report(&self.warehouse, *date)? {
                Some(made) => plan::changes(made, &wanted.of_report(*date)),
                None => conversions
                    .origin(&Slice::of(*date))
                    .and_then(|made| plan::changes(made, &wanted.of_conversions(*date))),
            };
            if let Some(why) = why {
                outdated.entry(why).or_default().push(*date);
            }
        }
        self.summary.outdated = outdated;
        Ok(())
    }

    /// Writes a table date by date, the cores shared out among the dates; `param` is the model's
    /// name for the date.
    async fn write_by_date(
        &self,
        engine: &Engine,
        model: &'static Model,
        dates: &[NaiveDate],
        param: &'static str,
        params: &Params,
    ) -> Result<Vec<NewFile>> {
        let cores = self.request.tuning.partitions.max(1);
        let writes = dates.iter().map(|of| async {
            let mut params = params.clone();
            params.insert(param, date(*of));
            let rows = engine.stream_on(cores / dates.len(), model, &params).await?;
            let folder = self.warehouse.folder(model);
            let file_name = self.file_name();
            let slice = Slice::of(*of);
            let write = SpawnedTask::spawn(async move {
                write::table(rows, model, &folder, &file_name, &[slice]).await
            });
            write.join().await?.with_context(|| cannot_write(model))
        });
        // One more than there are cores: it is planned while the others are written.
        let writes = futures::stream::iter(writes).buffered(cores + 1);
        let files: Vec<Vec<NewFile>> = timed(model.name, writes.try_collect()).await?;
        Ok(files.into_iter().flatten().collect())
    }

    /// How many dates are worked on at once, to work on so many rows of a table.
    fn dates_at_once(&self, name: &str, rows: u64) -> Result<usize> {
        let rows_per_date = self.warehouse.table(name)?.rows_per_date().max(1);
        Ok(((rows / rows_per_date) as usize).clamp(1, CHUNK))
    }

    /// Of the run's own files, in whatever table and partition.
    fn file_name(&self) -> String {
        format!("part-{}", self.request.run_id)
    }

    fn note_written(&mut self, table: &str, dates: impl IntoIterator<Item = NaiveDate>) {
        let written = self.summary.written.entry(table.to_owned()).or_default();
        written.extend(dates);
        written.sort();
        written.dedup();
    }
}

fn cannot_write(model: &Model) -> String {
    format!("cannot write {}", model.name)
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

/// Groups dates into stretches without gaps, of at most so many dates.
fn stretches(dates: &BTreeSet<NaiveDate>, at_most: usize) -> Vec<ReportDates> {
    let mut stretches: Vec<ReportDates> = Vec::new();
    for date in dates {
        match stretches.last_mut() {
            Some(last) if days::next(last.to) == *date && last.iter().count() < at_most => {
                last.to = *date;
            }
            _ => stretches.push(ReportDates { from: *date, to: *date }),
        }
    }
    stretches
}
