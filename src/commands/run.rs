//! `lookback run` and `lookback backfill`: a run with a progress bar, a watchdog and a summary.

use std::time::Duration;

use anyhow::Context;
use chrono::{DateTime, Utc};

use super::output::{self, Voice};
use crate::cli::{self, LogFormat, RunOptions};
use crate::engine::{SqlOverrides, Tuning};
use crate::job::Job;
use crate::lock::Pace;
use crate::plan::DateSelection;
use crate::progress::Progress;
use crate::run::{self, Request};
use crate::stop::{Kind, Stop};
use crate::watchdog;

/// Runs the job and reports what was done: on stderr, and as JSON where a file is named. Errors:
/// see [`Stop`].
pub async fn run_and_tell(
    job: &Job,
    selection: DateSelection,
    options: RunOptions,
    now: DateTime<Utc>,
    voice: Voice,
) -> Result<(), Stop> {
    let request = Request {
        selection,
        as_of: options.as_of,
        now,
        run_id: uuid::Uuid::now_v7().to_string(),
        tuning: Tuning::within(options.memory_limit),
        rebuild: cli::rebuild(options.force),
        pace: Pace::default(),
        sql_overrides: SqlOverrides::new(),
    };
    let progress = if voice.quiet { Progress::default() } else { Progress::on_stderr() };
    let patience = Duration::from_secs(options.stall_seconds);
    let until = async {
        tokio::select! {
            stop = watchdog::stalled(&progress, patience, give_up) => stop,
            stop = interrupted() => stop,
        }
    };
    let summary = run::run(job, &request, &progress, until).await?;
    if let Some(file) = options.summary {
        let json = serde_json::to_string_pretty(&summary).map_err(anyhow::Error::from)?;
        std::fs::write(&file, json + "\n").with_context(|| file.display().to_string())?;
    }
    match voice.format {
        _ if voice.quiet => {}
        LogFormat::Text => output::tell(&summary.to_string()),
        LogFormat::Json => {
            let summary = serde_json::to_string(&summary).map_err(anyhow::Error::from)?;
            tracing::info!(summary, "done");
        }
    }
    Ok(())
}

/// The last resort of the watchdog, when the run does not end although it was told to.
fn give_up(stop: &Stop) {
    output::tell(&format!("error: {stop}"));
    #[expect(clippy::disallowed_methods, reason = "nothing is left that could return")]
    std::process::exit(stop.exit_code().into());
}

/// Waits for Ctrl-C or SIGTERM.
async fn interrupted() -> Stop {
    let terminated = async {
        match tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()) {
            Ok(mut signal) => signal.recv().await,
            Err(_) => std::future::pending().await,
        }
    };
    let by = tokio::select! {
        _ = tokio::signal::ctrl_c() => "Ctrl-C",
        _ = terminated => "SIGTERM",
    };
    Stop { kind: Kind::Ask, complaints: vec![format!("ended by {by}")], hint: None }
        .hint("tables that were not published yet are as they were; run again")
}
