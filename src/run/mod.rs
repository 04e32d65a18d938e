//! The steps of a run: clean, attribute, book, report, audit, publish. Each step has its own file.
//! They share the [`Workspace`].
//!
//! A run works in pieces that fit into memory: landing dates are cleaned, and order dates
//! attributed, in chunks. Clean dates are published when they are done, so that later runs find
//! them. Conversions and reports of the run's own dates are published only after all their audits.

mod attribute;
mod clean;
mod ledger;
mod limits;
mod publish;
mod reference;
mod remember;
mod report;
mod warnings;
mod workspace;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use anyhow::Result;
use chrono::{DateTime, NaiveDate, Utc};
use futures::try_join;

use crate::days::{self, contiguous_ranges};
use crate::engine::elsewhere::Elsewhere;
use crate::engine::{Engine, SqlOverrides, Tuning};
use crate::job::Job;
use crate::lock::{Holder, Lock, Pace, Sight};
use crate::plan::{self, DateSelection, Plan, Rebuild, program_of};
use crate::progress::{Progress, Stage};
use crate::raw::RawLog;
use crate::reference::{Heads, Reference};
use crate::stop::{Kind, Stop};
use crate::summary::Summary;
use crate::warehouse::Warehouse;
pub use clean::{cleaning_params, landing_params};
use workspace::{CHUNK, Staged, Workspace, stop_if};
pub use workspace::{attribution_params, instant};

/// What to run, how, and the time of the run.
#[derive(Debug, Clone)]
pub struct Request {
    pub selection: DateSelection,
    pub as_of: Option<NaiveDate>,
    /// The only clock of a run. It is for the log, never for rows.
    pub now: DateTime<Utc>,
    pub run_id: String,
    pub tuning: Tuning,
    pub rebuild: Rebuild,
    pub pace: Pace,
    /// Texts that replace SQL files, by the table's name, to try a rule. A run with them makes
    /// everything again.
    pub sql_overrides: SqlOverrides,
    /// Who does the work. None: this process.
    pub elsewhere: Option<Arc<dyn Elsewhere>>,
}

/// Runs a job: `lookback run` and `lookback backfill`. Ends early when `until` does. Errors: see
/// [`Stop`]; the reports are then unchanged, unless the last commits failed half way.
pub async fn run(
    job: &Job,
    request: &Request,
    progress: &Progress,
    until: impl Future<Output = Stop>,
) -> Result<Summary, Stop> {
    let mut summary = Summary::default();
    run_and_note(job, request, progress, until, &mut summary).await?;
    Ok(summary)
}

/// The same. `summary` has what was done also when the run fails, or is dropped. How it ended and how
/// long it took is for the caller to note.
pub async fn run_and_note(
    job: &Job,
    request: &Request,
    progress: &Progress,
    until: impl Future<Output = Stop>,
    summary: &mut Summary,
) -> Result<(), Stop> {
    summary.run_id.clone_from(&request.run_id);
    summary.started_at = request.now;
    summary.currency.clone_from(&job.currency);
    let ended = match Box::pin(run_once(job, request, progress, until, summary)).await {
        Err(stop) if stop.kind == Kind::Ask && stop.is_about_a_missing_object() => {
            Err(with_losses(job, stop).await)
        }
        ended => ended,
    };
    job.object_stores.tell_if_slow();
    summary.object_store = job.object_stores.counts();
    ended
}

/// Names the files of the warehouse that are gone, after a run that failed for want of one.
async fn with_losses(job: &Job, mut stop: Stop) -> Stop {
    let find = async { Warehouse::open(&job.root).await?.find_losses().await };
    // The failure itself is what is told if the store cannot say more.
    let losses = find.await.unwrap_or_default();
    if losses.is_empty() {
        return stop;
    }
    stop.complaints.extend(losses);
    stop.hint("files of the warehouse are gone; `lookback backfill JOB --stale` makes them again")
}

async fn run_once(
    job: &Job,
    request: &Request,
    progress: &Progress,
    until: impl Future<Output = Stop>,
    summary: &mut Summary,
) -> Result<(), Stop> {
    progress.enter(Stage::Planning, "planning");
    if let Some(bytes) = request.tuning.kept {
        job.object_stores.hold_at_most(bytes);
    }
    if request.elsewhere.is_some() {
        job.object_stores.be_sparing();
    }
    tokio::pin!(until);
    let prepared = tokio::select! {
        stop = &mut until => return Err(stop),
        prepared = Box::pin(prepare(job, request, &mut summary.newest_report_date)) => prepared?,
    };
    match prepared {
        Prepared::NothingToDo(seen) => {
            let (warehouse, plan) = *seen;
            summary.up_to_date = plan.report_dates.iter().copied().collect();
            summary.warnings.clone_from(&plan.unread);
            remember::tell_outdated(job, &warehouse, &plan, &plan.touched, summary)?;
            summary.warnings.extend(missing(request));
            Ok(())
        }
        Prepared::Ready(ready) => {
            let Ready { lock, reference, warehouse, plan } = *ready;
            let done = tokio::select! {
                stop = until => Err(stop),
                stop = lock.lost() => Err(stop),
                done = Box::pin(work(job, request, progress, reference, warehouse, plan, summary)) => done,
            };
            if let Some(elsewhere) = &request.elsewhere {
                elsewhere.end().await;
            }
            if done.is_ok() {
                // Else the error says it.
                summary.warnings.extend(missing(request));
            }
            lock.release().await;
            done
        }
    }
}

/// The workers that were missing.
fn missing(request: &Request) -> Vec<String> {
    request.elsewhere.as_ref().map(|elsewhere| elsewhere.missing()).unwrap_or_default()
}

/// The state of a run before it changes anything.
enum Prepared {
    NothingToDo(Box<(Warehouse, Plan)>),
    Ready(Box<Ready>),
}

struct Ready {
    lock: Lock,
    reference: Reference,
    warehouse: Warehouse,
    plan: Plan,
}

/// Plans before it takes the lock, so that a run that is impossible or unnecessary leaves no trace.
/// Plans again under the lock if another run held it in between and changed the warehouse. `newest` is
/// the newest report date, as soon as it is known.
async fn prepare(
    job: &Job,
    request: &Request,
    newest: &mut Option<NaiveDate>,
) -> Result<Prepared, Stop> {
    let mut look = async || {
        let (reference, warehouse) = open(job, request.selection).await?;
        *newest = plan::reported(&warehouse)?.last().copied();
        let plan = make_plan(job, &reference, &warehouse, request).await?;
        Ok::<_, Stop>((reference, warehouse, plan))
    };
    // Before all else: see `Lock::is_as_seen`.
    let sight = Sight::of(&job.root).await;
    let (reference, mut warehouse, plan) = look().await?;
    if plan.is_nothing_to_do() && plan.reference.is_empty() {
        return Ok(Prepared::NothingToDo(Box::new((warehouse, plan))));
    }
    let planned_on = warehouse.versions();
    let holder = Holder::new(&request.run_id, request.now);
    let lock = Lock::take(&job.root, &holder, request.pace, sight).await?;
    if lock.is_as_seen() {
        return Ok(Prepared::Ready(Box::new(Ready { lock, reference, warehouse, plan })));
    }
    let under_lock = async {
        refresh_under_lock(&mut warehouse, request, &lock).await?;
        match warehouse.versions() == planned_on {
            true => Ok((reference, warehouse, plan)),
            // The other run may have seen newer inputs.
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

/// Reads the warehouse as it stays while the lock is held. A run that takes the lock over fences
/// off what was read before, so the lock is confirmed after reading.
async fn refresh_under_lock(
    warehouse: &mut Warehouse,
    request: &Request,
    lock: &Lock,
) -> Result<(), Stop> {
    warehouse.refresh().await?;
    if lock.was_taken_over() {
        warehouse.create_missing(&request.run_id).await?;
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
    let rebuild = match request.sql_overrides.is_empty() {
        true => request.rebuild,
        false => Rebuild::All,
    };
    let (selection, as_of) = (request.selection, request.as_of);
    let plan = Plan::make(job, reference, warehouse, selection, as_of, rebuild).await;
    let mut plan = plan.map_err(|stop| plan::not_begun(stop, job, selection, request.now))?;
    plan.validate_raw(job, warehouse).await?;
    Ok(plan)
}

/// The run itself, once it is planned and holds the lock.
async fn work(
    job: &Job,
    request: &Request,
    progress: &Progress,
    reference: Reference,
    warehouse: Warehouse,
    plan: Plan,
    summary: &mut Summary,
) -> Result<(), Stop> {
    let mut engine = Engine::new(&request.tuning, request.sql_overrides.clone())?;
    if let Some(elsewhere) = &request.elsewhere {
        let logs = [&plan.clicks.raw, &plan.orders.raw];
        elsewhere
            .begin(&logs.into_iter().flat_map(RawLog::newest_files).collect::<Vec<_>>())
            .await?;
        engine = engine.working(elsewhere.clone())?;
    }
    let mut workspace = Workspace {
        job,
        request,
        reference,
        engine,
        warehouse,
        plan,
        progress,
        summary,
        earned_orders_of: None,
        placed: BTreeMap::new(),
    };
    workspace.summary.skipped = workspace.plan.skipped.iter().copied().collect();
    progress.plan(steps(&workspace.plan));
    workspace.ask_ahead()?;
    let seen = remember::before_reference_rows_change(&workspace);
    workspace.warehouse.begin(&program_of(job), seen, &request.run_id).await?;
    reference::store(&mut workspace).await?;
    workspace.register_reference(&workspace.engine).await?;
    Box::pin(clean::clean(&mut workspace)).await?;
    Box::pin(warnings::once_clean(&mut workspace)).await?;
    Box::pin(limits::check(&mut workspace)).await?;
    Box::pin(make_earlier_conversions(&mut workspace)).await?;
    Box::pin(make_own_dates(&mut workspace)).await?;
    remember::at_the_end(&mut workspace).await?;
    progress.finish();
    Ok(())
}

/// The inputs of a plan. To find what is outdated, the warehouse's files are looked at, too.
pub async fn open(job: &Job, selection: DateSelection) -> Result<(Reference, Warehouse), Stop> {
    let open = async {
        let mut warehouse = Warehouse::open(&job.root).await?;
        if selection == DateSelection::Stale || job.heal_days > 0 {
            warehouse.find_losses().await?;
        }
        Ok(warehouse)
    };
    let (warehouse, heads) = try_join!(open, Heads::ask(job))?;
    let reference = Reference::load(job, &warehouse, &heads).await?;
    Ok((reference, warehouse))
}

/// About how many pieces of work there are, for the progress bar.
fn steps(plan: &Plan) -> usize {
    let cleaning: usize = [&plan.clicks, &plan.orders].iter().map(|log| log.chunks().len()).sum();
    let dates: [&BTreeSet<NaiveDate>; 2] = [&plan.earlier_candidates(), &plan.candidates()];
    let attributing: usize = dates.iter().map(|dates| contiguous_ranges(dates, CHUNK).len()).sum();
    cleaning + attributing
}

/// Makes and publishes conversions of other order dates that the ledger looks back to (D6).
async fn make_earlier_conversions(workspace: &mut Workspace<'_>) -> Result<(), Stop> {
    const CONVERSIONS: &str = "attribution.conversions";
    let planned = &workspace.plan.earlier_conversions;
    let mut dates: BTreeSet<NaiveDate> = planned.keys().copied().collect();
    let maybe = &workspace.plan.maybe_conversions - &workspace.plan.report_dates;
    dates.extend(remember::outdated_order_dates(workspace, &maybe)?);
    for dates in contiguous_ranges(&dates, attribute::dates_at_once(workspace)?) {
        workspace
            .progress
            .step_of(Stage::Attributing, &format!("attributing earlier orders of {dates}"));
        let files = Box::pin(attribute::make_conversions(workspace, dates)).await?;
        let engine = &workspace.engine;
        workspace.register_staged(engine, CONVERSIONS, |date| dates.contains(date), &files)?;
        stop_if(attribute::audit(workspace, dates, &files).await?)?;
        publish::publish(workspace, [(CONVERSIONS, files)].into()).await?;
        workspace.progress.done();
    }
    Ok(())
}

/// Makes conversions, ledger and reports of the run's own dates, and publishes them once audited.
async fn make_own_dates(workspace: &mut Workspace<'_>) -> Result<(), Stop> {
    let mut staged = Staged::new();
    let at_once = attribute::dates_at_once(workspace)?;
    let maybe = &workspace.plan.maybe_conversions & &workspace.plan.report_dates;
    let changed = remember::outdated_order_dates(workspace, &maybe)?;
    for dates in contiguous_ranges(&workspace.plan.candidates(), at_once) {
        let planned = &workspace.plan.conversions;
        let is_planned = |date| planned.contains_key(&date) || changed.contains(&date);
        for dates in Workspace::among(dates, is_planned) {
            workspace
                .progress
                .step_of(Stage::Attributing, &format!("attributing orders of {dates}"));
            let files = Box::pin(attribute::make_conversions(workspace, dates)).await?;
            staged.entry("attribution.conversions").or_default().extend(files);
        }
        let to_make = remember::outdated_report_dates(workspace, dates, &staged)?;
        for dates in contiguous_ranges(&to_make, CHUNK) {
            workspace.progress.step_of(Stage::Reporting, &format!("reporting {dates}"));
            let complaints = Box::pin(make_reports(workspace, dates, &mut staged)).await?;
            stop_if(complaints)?;
            report::count(workspace, dates).await?;
            workspace.summary.report_dates.extend(dates.iter());
        }
        workspace.progress.done();
    }
    let made = &workspace.summary.report_dates;
    let is_made = |date: &&NaiveDate| made.contains(date);
    workspace.summary.up_to_date =
        workspace.plan.report_dates.iter().filter(|date| !is_made(date)).copied().collect();
    Box::pin(warnings::once_made(workspace)).await?;
    workspace.progress.step_of(Stage::Publishing, "publishing");
    publish::publish(workspace, staged).await
}

/// Makes the ledger and the reports of some dates, not yet visible. Returns complaints of audits.
async fn make_reports(
    workspace: &mut Workspace<'_>,
    dates: days::DateRange,
    staged: &mut Staged,
) -> Result<Vec<String>> {
    const CONVERSIONS: &str = "attribution.conversions";
    Box::pin(attribute::make_earned_orders(workspace, dates)).await?;
    let conversions = staged.get(CONVERSIONS).map(Vec::as_slice).unwrap_or_default();
    // The ledger books events of lines that were placed up to the horizon before.
    let earlier = workspace.job.reach().earlier_order_dates(dates.from);
    let placed = days::DateRange { from: earlier.from, to: dates.to };
    let engine = &workspace.engine;
    workspace.register_staged(engine, CONVERSIONS, |date| placed.contains(date), conversions)?;
    let (mut complaints, ()) = try_join!(
        Box::pin(attribute::audit(workspace, dates, conversions)),
        Box::pin(ledger::make_movements(workspace, dates))
    )?;
    complaints.extend(report::make_reports(workspace, dates, staged).await?);
    Ok(complaints)
}
