//! Parses, runs, prints, and maps the outcome to an exit code. Reads the clock, and nobody else does.

use std::io::{IsTerminal, Write};
use std::panic::AssertUnwindSafe;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use chrono::{DateTime, NaiveDate, TimeDelta, Utc};
use clap::Parser;
use futures::FutureExt;
use lookback::cli::{self, Cli, Command, LogFormat, RunOptions};
use lookback::demo;
use lookback::engine::{Replacements, Tuning};
use lookback::job::Job;
use lookback::lock::Pace;
use lookback::plan::{Asked, Plan, Remake};
use lookback::progress::Progress;
use lookback::reference::Reference;
use lookback::run::{self, Request};
use lookback::stop::{Kind, Stop};
use lookback::warehouse::Warehouse;
use lookback::{explain, query, vacuum, watchdog};
use tracing_subscriber::EnvFilter;

/// Batches of rows come and go by the thousand on every core; what is free is given back.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    let cli = Cli::parse();
    match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => {
            let code = runtime.block_on(run_cli(cli));
            // Not waiting for threads that are stuck in a read.
            runtime.shutdown_background();
            code
        }
        Err(error) => {
            tell(&format!("error: cannot start threads: {error}"));
            ExitCode::FAILURE
        }
    }
}

async fn run_cli(cli: Cli) -> ExitCode {
    let log_format = cli.log_format;
    log_to_stderr(cli.log_format, cli.quiet);
    #[expect(clippy::disallowed_methods, reason = "the one place where the clock is read")]
    let now = Utc::now();
    // A panic in a decoder is a bad file, and told as such; any other is told below.
    std::panic::set_hook(Box::new(|panic| tracing::debug!("{panic}")));
    let caught = AssertUnwindSafe(outcome(cli, now)).catch_unwind().await;
    let bug = |_| Err(anyhow::anyhow!("a bug in lookback; LOOKBACK_LOG=debug tells more").into());
    match caught.unwrap_or_else(bug) {
        Ok(()) => ExitCode::SUCCESS,
        Err(stop) => {
            match log_format {
                LogFormat::Text => tell(&format!("error: {stop}")),
                LogFormat::Json => tracing::error!(exit_code = stop.exit_code(), "{stop}"),
            }
            ExitCode::from(stop.exit_code())
        }
    }
}

async fn outcome(cli: Cli, now: DateTime<Utc>) -> Result<(), Stop> {
    let voice = Voice { quiet: cli.quiet, format: cli.log_format };
    match cli.command {
        Command::Run { job, date, options } => {
            let job = Job::load(&job)?;
            let asked = cli::night(&job, &date, now)?;
            run_job(&job, asked, options, now, voice).await
        }
        Command::Backfill { job, from, to, stale: _, options } => {
            let job = Job::load(&job)?;
            run_job(&job, cli::backfill(from, to)?, options, now, voice).await
        }
        Command::Plan { job, date, from, to, stale: _, as_of, force } => {
            let job = Job::load(&job)?;
            let asked = match date {
                Some(date) => cli::night(&job, &date, now)?,
                None => cli::backfill(from, to)?,
            };
            plan(&job, asked, as_of, cli::remake(force)).await
        }
        Command::Vacuum { job, keep_days, dry_run } => {
            let request = vacuum::Request {
                keep: TimeDelta::days(keep_days.into()),
                dry_run,
                now,
                run_id: uuid::Uuid::now_v7().to_string(),
                pace: Pace::default(),
            };
            print(&vacuum::vacuum(&Job::load(&job)?, &request).await?.to_string())
        }
        Command::Check { job } => {
            let checked = query::check_inputs(&Job::load(&job)?).await?;
            print(&checked)
        }
        Command::Query { job, sql, format } => {
            let mut out = std::io::stdout().lock();
            query::query(&Job::load(&job)?, &sql, format, &mut out).await
        }
        Command::Explain { job, order_id } => {
            print(&explain::explain(&Job::load(&job)?, &order_id).await?)
        }
        Command::Demo { dir, days, clicks_per_day, orders_per_day, seed, no_run } => {
            let scale =
                demo::Scale { days, clicks_per_day, orders_per_day, seed, ..Default::default() };
            show_demo(&dir, &scale, no_run, now, voice).await
        }
    }
}

/// How much is said, and in which form.
#[derive(Debug, Clone, Copy)]
struct Voice {
    quiet: bool,
    format: LogFormat,
}

async fn run_job(
    job: &Job,
    asked: Asked,
    options: RunOptions,
    now: DateTime<Utc>,
    voice: Voice,
) -> Result<(), Stop> {
    let request = Request {
        asked,
        as_of: options.as_of,
        now,
        run_id: uuid::Uuid::now_v7().to_string(),
        tuning: Tuning::within(options.memory_limit),
        remake: cli::remake(options.force),
        pace: Pace::default(),
        instead: Replacements::new(),
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
        LogFormat::Text => tell(&summary.to_string()),
        LogFormat::Json => {
            let summary = serde_json::to_string(&summary).map_err(anyhow::Error::from)?;
            tracing::info!(summary, "done");
        }
    }
    Ok(())
}

/// The last resort of the watchdog: the run was told to end, and did not.
fn give_up(stop: &Stop) {
    tell(&format!("error: {stop}"));
    #[expect(clippy::disallowed_methods, reason = "nothing is left that could return")]
    std::process::exit(stop.exit_code().into());
}

/// Ends with Ctrl-C or SIGTERM.
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

async fn plan(
    job: &Job,
    asked: Asked,
    as_of: Option<NaiveDate>,
    remake: Remake,
) -> Result<(), Stop> {
    let reference = Reference::load(job).await?;
    let warehouse = Warehouse::open(&job.root).await?;
    let mut plan = Plan::make(job, &reference, &warehouse, asked, as_of, remake).await?;
    plan.check_raw(job).await?;
    print(&plan.in_words(job, &warehouse)?)
}

async fn show_demo(
    dir: &Path,
    scale: &demo::Scale,
    no_run: bool,
    now: DateTime<Utc>,
    voice: Voice,
) -> Result<(), Stop> {
    let is_free = match std::fs::read_dir(dir) {
        Ok(mut entries) => entries.next().is_none(),
        Err(error) => error.kind() == std::io::ErrorKind::NotFound,
    };
    if !is_free {
        return Err(Stop::fix_one(format!("{}: is not empty, or no folder", dir.display()))
            .hint("name another folder, or remove this one"));
    }
    let progress = if voice.quiet { Progress::default() } else { Progress::on_stderr() };
    progress.plan(scale.days as usize + 1);
    progress.step("making raw logs and reference tables");
    let world = demo::write_world(dir, scale, &mut |_, _| progress.done())?;
    progress.finish();
    if !voice.quiet {
        tell(&format!(
            "made {} clicks and {} order events in {}",
            world.clicks,
            world.order_events,
            dir.display()
        ));
    }
    if no_run {
        return Ok(());
    }
    let job = Job::load(&world.job_file)?;
    let asked = cli::backfill(Some(world.from), Some(world.to))?;
    run_job(&job, asked, RunOptions::default(), now, voice).await?;
    let mut out = std::io::stdout().lock();
    for (title, sql) in query::SHOWCASE {
        writeln!(out, "\n{title}").map_err(anyhow::Error::from)?;
        query::query(&job, sql, cli::Format::Table, &mut out).await?;
    }
    let job_file = world.job_file.display();
    tell(&format!(
        "\nlook further:\n  lookback query {job_file} \"select * from report.orders limit 10\""
    ));
    let order = query::an_order_with_a_story(&job).await?;
    tell(&format!("  lookback explain {job_file} {order}"));
    Ok(())
}

fn log_to_stderr(format: LogFormat, quiet: bool) {
    let default = if quiet { "error" } else { "warn,lookback=info" };
    let filter =
        EnvFilter::try_from_env("LOOKBACK_LOG").unwrap_or_else(|_| EnvFilter::new(default));
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let on_terminal = std::io::stderr().is_terminal();
    match format {
        LogFormat::Json => lines.json().init(),
        // On a terminal the progress bar tells what the log lines would.
        LogFormat::Text if on_terminal => {
            lines
                .with_env_filter(
                    EnvFilter::try_from_env("LOOKBACK_LOG")
                        .unwrap_or_else(|_| EnvFilter::new("warn")),
                )
                .init();
        }
        LogFormat::Text => lines.with_ansi(false).with_target(false).init(),
    }
}

fn print(text: &str) -> Result<(), Stop> {
    let written = writeln!(std::io::stdout(), "{}", text.trim_end());
    Ok(written.map_err(anyhow::Error::from)?)
}

fn tell(text: &str) {
    // Nothing is left to tell the news to when stderr is closed.
    let _ = writeln!(std::io::stderr(), "{text}");
}
