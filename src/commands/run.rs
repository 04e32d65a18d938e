//! `lookback run` and `lookback backfill`: a run with a progress bar, a watchdog, and all who are told
//! how it ended.

use std::cell::Cell;
use std::panic::AssertUnwindSafe;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use futures::FutureExt;
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::audience::Audience;
use super::output::{self, Voice};
use crate::cli::{self, Dates, LogFormat, RunOptions};
#[cfg(feature = "cluster")]
use crate::cluster::Cluster;
use crate::engine::elsewhere::Elsewhere;
use crate::engine::{SqlOverrides, Tuning};
use crate::job::Job;
use crate::lock::Pace;
use crate::run::{self, Request};
use crate::stop::{Kind, Stop};
use crate::summary::{Asked, Summary};
use crate::watchdog;

/// Runs the job and reports what was done: on stderr, and to those whom the options name. They are told
/// on every way out. Errors: see [`Stop`].
pub async fn run_and_tell(
    job_file: &Path,
    dates: Dates,
    options: RunOptions,
    now: DateTime<Utc>,
    voice: Voice,
) -> Result<(), Stop> {
    let mut summary = Summary {
        run_id: uuid::Uuid::now_v7().to_string(),
        started_at: now,
        asked: dates.as_typed(),
        ..Summary::default()
    };
    let (mut audience, unwritable) =
        Audience::gather(&options, job_file, &summary, voice.progress());
    let prepared = match unwritable.is_empty() {
        true => prepare(job_file, &dates, &options, &mut audience, &mut summary).await,
        false => Err(Stop::fix(unwritable).hint("nothing was read and nothing was written")),
    };
    let signals = Signals::listen();
    let begun = audience.begin();
    let is_ended_by_somebody = Cell::new(false);
    let ended = match prepared {
        Err(stop) => Err(stop),
        Ok((job, request)) => {
            let patience = Duration::from_secs(options.stall_seconds);
            let last_resort = last_resort(&audience, &summary, voice);
            let until = async {
                tokio::select! {
                    stop = watchdog::stalled(&audience.progress, patience, last_resort) => stop,
                    stop = signals.come() => {
                        is_ended_by_somebody.set(true);
                        stop
                    }
                }
            };
            let run = run::run_and_note(&job, &request, &audience.progress, until, &mut summary);
            // A panic is told of like any other end.
            let caught = AssertUnwindSafe(run).catch_unwind().await;
            caught.unwrap_or_else(|_| Err(Stop::bug()))
        }
    };
    // It ends by itself within seconds. Events are sent in their order.
    let _ = begun.await;
    audience.end(&mut summary, ended, is_ended_by_somebody.get()).await?;
    tell(&summary, voice)
}

/// Reads the job file and the dates, and finds the workers. Errors: exit 2; exit 1 when there are too few
/// workers.
async fn prepare(
    job_file: &Path,
    dates: &Dates,
    options: &RunOptions,
    audience: &mut Audience,
    summary: &mut Summary,
) -> Result<(Job, Request), Stop> {
    let job = Job::load(job_file)?;
    summary.currency.clone_from(&job.currency);
    let now = summary.started_at;
    let selection = dates.of(&job, now)?;
    let asked = Asked::of(selection, job.late_days);
    summary.asked = Some(asked);
    audience.meet(&job, asked)?;
    let request = Request {
        selection,
        as_of: options.as_of,
        now,
        run_id: summary.run_id.clone(),
        tuning: Tuning::within(options.memory_limit),
        rebuild: cli::rebuild(options.force),
        pace: Pace::default(),
        sql_overrides: SqlOverrides::new(),
        elsewhere: workers(&job, options, &summary.run_id).await?,
    };
    Ok((job, request))
}

/// The workers of a run. None: this process does the work. Errors: exit 1 when there are too few.
#[cfg(feature = "cluster")]
async fn workers(
    job: &Job,
    options: &RunOptions,
    run_id: &str,
) -> Result<Option<Arc<dyn Elsewhere>>, Stop> {
    match super::worker::cluster_of(&options.cluster, &job.cluster)? {
        None => Ok(None),
        Some(settings) => {
            let cluster = Cluster::muster(&settings, &job.root, run_id).await?;
            Ok(Some(Arc::new(cluster)))
        }
    }
}

/// None. Errors: exit 2 when the job file names some.
#[cfg(not(feature = "cluster"))]
async fn workers(job: &Job, _: &RunOptions, _: &str) -> Result<Option<Arc<dyn Elsewhere>>, Stop> {
    match job.cluster.workers.is_empty() && job.cluster.min_workers.is_none() {
        true => Ok(None),
        false => Err(Stop::fix_one(
            "[cluster] names other machines, and this program was built without the feature cluster",
        )
        .hint("`cargo install --features cluster`, or leave the section out")),
    }
}

/// What a run that succeeded says on stderr.
fn tell(summary: &Summary, voice: Voice) -> Result<(), Stop> {
    if voice.quiet || voice.format == LogFormat::Json {
        summary.outdated_lines().iter().for_each(|line| tracing::warn!("{line}"));
    }
    match voice.format {
        _ if voice.quiet => {}
        LogFormat::Text => output::tell(&summary.to_string()),
        LogFormat::Json => {
            let summary = serde_json::to_string(summary).map_err(anyhow::Error::from)?;
            tracing::info!(summary, "done");
        }
    }
    Ok(())
}

/// The last resort of the watchdog, when the run does not end although it was told to: all are told,
/// without the run's figures, and the process ends.
fn last_resort(
    audience: &Audience,
    summary: &Summary,
    voice: Voice,
) -> impl FnOnce(Stop) + Send + use<> {
    let audience = audience.clone();
    let mut known = Summary {
        run_id: summary.run_id.clone(),
        started_at: summary.started_at,
        asked: summary.asked,
        currency: summary.currency.clone(),
        ..Summary::default()
    };
    move |stop| {
        let code = stop.exit_code();
        voice.tell_stop(&stop);
        // The run's own threads are stuck.
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        if let Ok(runtime) = runtime {
            let _ = runtime.block_on(audience.end(&mut known, Err(stop), false));
            runtime.shutdown_background();
        }
        #[expect(clippy::disallowed_methods, reason = "nothing is left that could return")]
        std::process::exit(code.into());
    }
}

/// Ctrl-C and SIGTERM, from when this is made.
struct Signals {
    interrupt: Option<Signal>,
    terminate: Option<Signal>,
}

impl Signals {
    fn listen() -> Signals {
        let listen = |kind| signal(kind).ok();
        Signals {
            interrupt: listen(SignalKind::interrupt()),
            terminate: listen(SignalKind::terminate()),
        }
    }

    async fn come(self) -> Stop {
        let wait = async |signal: Option<Signal>| match signal {
            Some(mut signal) => signal.recv().await,
            None => std::future::pending().await,
        };
        let by = tokio::select! {
            _ = wait(self.interrupt) => "Ctrl-C",
            _ = wait(self.terminate) => "SIGTERM",
        };
        Stop { kind: Kind::Ask, complaints: vec![format!("ended by {by}")], hint: None }
            .hint("tables that were not published yet are as they were; run again")
    }
}
