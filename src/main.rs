//! Parses, runs, prints, and maps the outcome to an exit code. Reads the clock, and nobody else does.

use std::io::{IsTerminal, Write};
use std::panic::AssertUnwindSafe;
use std::path::Path;
use std::process::ExitCode;

use anyhow::Context;
use chrono::{DateTime, NaiveDate, Utc};
use clap::Parser;
use futures::FutureExt;
use lookback::cli::{self, Cli, Command, LogFormat, RunOptions};
use lookback::demo;
use lookback::engine::Tuning;
use lookback::job::Job;
use lookback::plan::{Asked, Plan};
use lookback::progress::Progress;
use lookback::reference::Reference;
use lookback::run::{self, Request};
use lookback::stop::Stop;
use lookback::warehouse::Warehouse;
use lookback::{explain, query};
use tracing_subscriber::EnvFilter;

#[tokio::main]
async fn main() -> ExitCode {
    let cli = Cli::parse();
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
        Command::Backfill { job, from, to, options } => {
            let job = Job::load(&job)?;
            run_job(&job, cli::backfill(from, to)?, options, now, voice).await
        }
        Command::Plan { job, date, from, to, as_of } => {
            let job = Job::load(&job)?;
            let asked = match (date, from, to) {
                (Some(date), ..) => cli::night(&job, &date, now)?,
                (None, Some(from), Some(to)) => cli::backfill(from, to)?,
                _ => return Err(Stop::fix_one("--date, or --from and --to, is wanted")),
            };
            plan(&job, asked, as_of).await
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
        tuning: Tuning::default(),
    };
    let progress = if voice.quiet { Progress::default() } else { Progress::on_stderr() };
    let summary = run::run(job, &request, &progress).await?;
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

async fn plan(job: &Job, asked: Asked, as_of: Option<NaiveDate>) -> Result<(), Stop> {
    let reference = Reference::load(job).await?;
    let warehouse = Warehouse::open(&job.root).await?;
    let mut plan = Plan::make(job, &reference, &warehouse, asked, as_of).await?;
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
    let asked = cli::backfill(world.from, world.to)?;
    let options = RunOptions { as_of: None, summary: None };
    run_job(&job, asked, options, now, voice).await?;
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
