//! One file per command. `main` calls [`dispatch`] once the arguments are read.
//!
//! Invariant: only this folder prints ([`output`]), apart from clap and the bar of `progress`. All
//! other code returns values.

mod audience;
pub mod check;
pub mod completions;
pub mod ddl;
pub mod demo;
pub mod explain;
pub mod init;
pub mod man;
pub mod output;
pub mod plan;
pub mod query;
pub mod report;
pub mod run;
pub mod vacuum;
#[cfg(feature = "cluster")]
pub mod worker;

use std::path::Path;

use chrono::{DateTime, NaiveDate, Utc};

use crate::cli::{self, Cli, Command, Dates};
use crate::demo::{self as world, Scale};
use crate::job::Job;
use crate::plan::not_begun;
use crate::report::Request;
use crate::stop::Stop;
use output::Voice;

/// Runs the command that was typed. `now` is its only clock. Errors: see [`Stop`].
pub async fn dispatch(cli: Cli, now: DateTime<Utc>) -> Result<(), Stop> {
    let voice = Voice { quiet: cli.quiet, format: cli.log_format };
    match cli.command {
        Command::Run { job, date, options } => {
            run::run_and_tell(&job, Dates::Night(date), options, now, voice).await
        }
        Command::Backfill { job, from, to, stale, options } => {
            let dates = Dates::Backfill { dates: from.zip(to), stale };
            run::run_and_tell(&job, dates, options, now, voice).await
        }
        Command::Plan { job, date, from, to, stale, as_of, force } => {
            let asked = PlanArguments { date, dates: from.zip(to), stale, as_of, force };
            plan(&job, asked, now).await
        }
        Command::Vacuum { job, keep_days, dry_run } => {
            let request = vacuum::Request::new(keep_days, dry_run, now);
            let vacuumed = vacuum::vacuum(&Job::load(&job)?, &request).await?;
            match voice.quiet && !dry_run {
                true => Ok(()),
                false => output::print(&vacuumed.to_string()),
            }
        }
        Command::Check { job } => output::print(&check::check(&crate::check::load(&job)?).await?),
        Command::Query { job, sql, format } => {
            let job = load_first(&job, &sql)?;
            let mut out = std::io::stdout().lock();
            query::query(&job, &sql, format, &mut out).await
        }
        Command::Report { job, name, from, to, by, top, html } => {
            let job = Job::load(&job)?;
            let (from, to) = cli::span(&job, from.as_ref(), to.as_ref(), now)?;
            let request = Request { name, from, to, by, top };
            report::report(&job, &request, html, now, voice).await
        }
        Command::Explain { job, order_id } => {
            output::print(&explain::explain(&load_first(&job, &order_id)?, &order_id).await?)
        }
        Command::Ddl { job, dialect, prefix, only } => {
            output::print(&ddl::ddl(&Job::load(&job)?, dialect, prefix.as_deref(), only)?)
        }
        Command::Init { dir, clicks, orders } => {
            let (clicks, orders) = (clicks.as_deref(), orders.as_deref());
            init::init(&crate::init::Request { dir: &dir, clicks, orders }, voice).await
        }
        Command::Demo { dir, days, clicks_per_day, orders_per_day, seed, until, no_run } => {
            let mut scale =
                Scale { days, clicks_per_day, orders_per_day, seed, ..Scale::default() };
            if let Some(until) = until {
                scale.end_at(cli::date_in("--until", &until, world::ZONE, now)?);
            }
            demo::demo(&dir, &scale, no_run, now, voice).await
        }
        #[cfg(feature = "cluster")]
        Command::Worker(options) => worker::worker(options, voice).await,
        Command::Completions { shell } => output::print(&completions::completions(shell)),
        Command::Man { dir } => {
            voice.say(&man::man(&dir)?);
            Ok(())
        }
    }
}

/// Reads the job file of a command that takes another text behind it. Errors: exit 2; where the other
/// text is a file and the first is none, that they may be swapped.
fn load_first(file: &Path, second: &str) -> Result<Job, Stop> {
    Job::load(file).map_err(|stop| match !file.exists() && Path::new(second).is_file() {
        true => stop.hint(format!("the job file comes first, and {second} is a file: swap them")),
        false => stop,
    })
}

struct PlanArguments {
    date: Option<String>,
    dates: Option<(String, String)>,
    stale: bool,
    as_of: Option<NaiveDate>,
    force: bool,
}

async fn plan(job: &Path, asked: PlanArguments, now: DateTime<Utc>) -> Result<(), Stop> {
    let job = Job::load(job)?;
    let selection = match asked.date {
        Some(date) => cli::night(&job, &date, now)?,
        None => cli::backfill(&job, asked.dates.as_ref(), asked.stale, now)?,
    };
    let plan = plan::plan(&job, selection, asked.as_of, cli::rebuild(asked.force)).await;
    output::print(&plan.map_err(|stop| not_begun(stop, &job, selection, now))?)
}
