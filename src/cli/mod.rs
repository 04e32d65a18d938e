//! The command line: arguments as typed, and what they resolve to.
//!
//! Refuses to do anything: `main` runs what comes out of here.

#[cfg(feature = "cluster")]
mod cluster;
mod dates;
mod mistakes;

use std::path::PathBuf;

use chrono::NaiveDate;
use clap::builder::PossibleValuesParser;
use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::ddl::{self, Dialect, Only};
use crate::model;
use crate::plan::Rebuild;
use crate::report;
use crate::version;

#[cfg(feature = "cluster")]
pub use cluster::{ClusterOptions, TlsOptions, WorkerOptions};
use dates::landing_date;
pub use dates::{Dates, backfill, date_in, night, span};
pub use mistakes::with_better_tips;

/// Affiliate attribution as a nightly batch job: click and order logs in, report tables out.
#[derive(Debug, Parser)]
#[command(
    name = "lookback",
    version = version::SHORT,
    long_version = version::long(),
    after_help = "Try it:  lookback demo
Begin:   lookback init my-job --clicks LOCATION --orders LOCATION
Nightly: lookback run job.toml --date yesterday

Exit codes: 0 done, also nothing to do · 1 failure below us · 2 bad job file, reference table,
schema or argument · 3 not landed · 4 a promise or a limit is broken · 5 another run holds the
warehouse.
Data goes to stdout, everything else to stderr."
)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Command,
    /// How log lines look on stderr
    #[arg(long, global = true, value_enum, default_value = "text")]
    pub log_format: LogFormat,
    /// Say nothing on success
    #[arg(long, short, global = true)]
    pub quiet: bool,
}

#[derive(Debug, Clone, Copy, ValueEnum, PartialEq, Eq)]
pub enum LogFormat {
    Text,
    Json,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// The nightly run: a date, and the late_days before it
    #[command(after_help = "Example:  lookback run job.toml --date yesterday")]
    Run {
        /// Job file (TOML)
        job: PathBuf,
        /// Report date: 2026-05-01, yesterday or today, in the program's time zone
        #[arg(long)]
        date: String,
        #[command(flatten)]
        options: RunOptions,
    },
    /// Rewrite exactly these report dates
    #[command(after_help = "Examples: lookback backfill job.toml --from 2026-04-01 --to 2026-04-30
          lookback backfill job.toml --stale")]
    Backfill {
        /// Job file (TOML)
        job: PathBuf,
        /// First report date: 2026-05-01, yesterday or today
        #[arg(long, requires = "to")]
        from: Option<String>,
        /// Last report date, included
        #[arg(long, requires = "from")]
        to: Option<String>,
        /// Every date made earlier whose inputs have changed since, and no other
        #[arg(long, conflicts_with_all = ["from", "to", "as_of"])]
        stale: bool,
        #[command(flatten)]
        options: RunOptions,
    },
    /// Say what a run or backfill would read and write, and why; write nothing
    #[command(after_help = "Examples: lookback plan job.toml --date yesterday
          lookback plan job.toml --from 2026-04-01 --to 2026-04-30
          lookback plan job.toml --stale")]
    Plan {
        /// Job file (TOML)
        job: PathBuf,
        /// As for run
        #[arg(
            long,
            conflicts_with_all = ["from", "to", "stale"],
            required_unless_present_any = ["from", "stale"]
        )]
        date: Option<String>,
        /// As for backfill
        #[arg(long, requires = "to")]
        from: Option<String>,
        /// As for backfill
        #[arg(long, requires = "from")]
        to: Option<String>,
        /// As for backfill
        #[arg(long, conflicts_with_all = ["from", "to", "as_of"])]
        stale: bool,
        /// Read no landing date after this one
        #[arg(long, value_parser = landing_date)]
        as_of: Option<NaiveDate>,
        /// As for run and backfill
        #[arg(long)]
        force: bool,
    },
    /// Remove files that no table version of the last days needs, and what dead runs left
    #[command(after_help = "Example:  lookback vacuum job.toml --keep-days 7 --dry-run")]
    Vacuum {
        /// Job file (TOML)
        job: PathBuf,
        /// Table versions that were current in the last so many days stay readable
        #[arg(
            long,
            default_value_t = 7,
            allow_negative_numbers = true,
            value_parser = clap::value_parser!(u32).range(0..=3650)
        )]
        keep_days: u32,
        /// List what would be removed, and remove nothing
        #[arg(long)]
        dry_run: bool,
    },
    /// Check the job file, the reference tables and the schemas of the raw logs; write nothing
    #[command(after_help = "Example:  lookback check job.toml")]
    Check {
        /// Job file (TOML)
        job: PathBuf,
    },
    /// Read-only SQL over the tables and views
    #[command(after_help = query_help())]
    Query {
        /// Job file (TOML)
        job: PathBuf,
        /// One SELECT statement
        sql: String,
        /// How rows are printed
        #[arg(long, value_enum, default_value = "table")]
        format: Format,
    },
    /// What clicks, orders and refunds add up to, in the terminal or as one page
    #[command(after_help = "Examples: lookback report job.toml
          lookback report job.toml traffic --from 2026-04-01 --to 2026-04-30 --by store,country
          lookback report job.toml --html report.html")]
    Report {
        /// Job file (TOML)
        job: PathBuf,
        /// Which report; without one, an overview (with --html of all)
        #[arg(value_parser = PossibleValuesParser::new(report::NAMES))]
        name: Option<String>,
        /// First report date; by default the last 30 that were made
        #[arg(long)]
        from: Option<String>,
        /// Last report date, included; by default the last one made
        #[arg(long)]
        to: Option<String>,
        /// What rows are by: one or several, with commas; by default publisher, of refunds store
        #[arg(
            long,
            value_delimiter = ',',
            value_parser = PossibleValuesParser::new(report::known_keys())
        )]
        by: Vec<String>,
        /// So many rows, the others in one; by default 10, of days all
        #[arg(
            long,
            allow_negative_numbers = true,
            value_parser = clap::value_parser!(u64).range(1..=100_000)
        )]
        top: Option<u64>,
        /// Write one page of HTML to this file, which needs no network; - is stdout
        #[arg(long, value_name = "FILE")]
        html: Option<PathBuf>,
    },
    /// Why each line of an order went to its publisher
    #[command(after_help = "Example:  lookback explain job.toml o-1001")]
    Explain {
        /// Job file (TOML)
        job: PathBuf,
        /// The order's id
        order_id: String,
    },
    /// Statements that register the tables and views in another engine; for dbt a sources.yml
    #[command(
        after_help = "Examples: lookback ddl job.toml --dialect duckdb | duckdb warehouse.duckdb
          lookback ddl job.toml --dialect trino --prefix affiliate_ --only views
          lookback ddl job.toml --dialect dbt > models/lookback/sources.yml"
    )]
    Ddl {
        /// Job file (TOML)
        job: PathBuf,
        /// Whose statements
        #[arg(long, value_enum)]
        dialect: Dialect,
        /// Stands before the names of the schemas (reference, clean, attribution, report, view)
        #[arg(long, value_parser = ddl::prefix)]
        prefix: Option<String>,
        /// Tables alone, or views alone
        #[arg(long, value_enum)]
        only: Option<Only>,
    },
    /// Write a job file and reference tables to begin with, with guesses about your logs
    #[command(
        after_help = "Examples: lookback init my-job --clicks exports/clicks --orders s3://logs/orders
          lookback init my-job"
    )]
    Init {
        /// Folder to write into; no file in it is overwritten
        dir: PathBuf,
        /// Where the click log lies: the folder in which the folders of dates are
        #[arg(long, value_name = "LOCATION")]
        clicks: Option<String>,
        /// Where the order log lies
        #[arg(long, value_name = "LOCATION")]
        orders: Option<String>,
    },
    /// Make raw logs, reference tables and a job file, run the job, show the reports, write a page
    #[command(after_help = "Examples: lookback demo my-demo --days 10 --clicks-per-day 1000
          lookback demo my-demo --until yesterday --no-run")]
    Demo {
        /// Folder to make; must not exist, or be empty
        #[arg(default_value = "lookback-demo")]
        dir: PathBuf,
        /// Report dates
        #[arg(
            long,
            default_value_t = 40,
            allow_negative_numbers = true,
            value_parser = clap::value_parser!(u32).range(1..=3650)
        )]
        days: u32,
        /// Clicks per day
        #[arg(long, default_value_t = 4000, allow_negative_numbers = true)]
        clicks_per_day: u64,
        /// Order lines placed per day
        #[arg(long, default_value_t = 300, allow_negative_numbers = true)]
        orders_per_day: u64,
        /// Another seed makes another world
        #[arg(long, default_value_t = 7, allow_negative_numbers = true)]
        seed: u64,
        /// Last report date: a date or yesterday, in America/Los_Angeles [default: 40 days from 2026-03-01]
        #[arg(long, value_name = "DATE")]
        until: Option<String>,
        /// Make the world, but do not run the job
        #[arg(long)]
        no_run: bool,
    },
    /// Work for runs of other machines: run this on each, and name them with --workers
    #[cfg(feature = "cluster")]
    #[command(after_help = "Examples: lookback worker
          lookback worker --listen 0.0.0.0:7878 --tls-ca ca.pem --tls-cert worker.pem \\
              --tls-key worker.key --tls-name lookback-workers

Whoever reaches the port can read and write whatever this process can: bind it to a trusted network,
or use certificates. Workers call each other, too, so each wants the --tls-name that the driver has.")]
    Worker(WorkerOptions),
    /// Print a script that completes commands and flags
    #[command(after_help = COMPLETIONS_HELP)]
    Completions {
        /// The shell to print it for
        shell: clap_complete::Shell,
    },
    /// Write man pages
    #[command(after_help = "Example:  lookback man /usr/local/share/man/man1")]
    Man {
        /// Folder to write into
        dir: PathBuf,
    },
}

/// Where shells look for such a script.
const COMPLETIONS_HELP: &str = "\
Examples: lookback completions bash > ~/.local/share/bash-completion/completions/lookback
          lookback completions zsh > /usr/local/share/zsh/site-functions/_lookback
          lookback completions fish > ~/.config/fish/completions/lookback.fish";

#[derive(Debug, Args)]
pub struct RunOptions {
    /// Read no landing date after this one, as if later ones had not landed
    #[arg(long, value_parser = landing_date)]
    pub as_of: Option<NaiveDate>,
    /// Make everything again, even what is up to date
    #[arg(long)]
    pub force: bool,
    /// Write to this file, as JSON, what the run did or why it failed; - is stdout
    #[arg(long, value_name = "FILE")]
    pub summary: Option<PathBuf>,
    /// Write metrics to this file, also of a run that failed, as Prometheus reads them
    #[arg(long, value_name = "FILE")]
    pub metrics: Option<PathBuf>,
    /// Send OpenLineage events: append them to a file, or post them to a server
    #[arg(long, value_name = "FILE_OR_URL")]
    pub openlineage: Option<String>,
    /// How much sorts, joins and aggregates may hold in memory before they use disk: 512MB, 2GB
    #[arg(long, allow_negative_numbers = true, value_parser = bytes)]
    pub memory_limit: Option<usize>,
    /// End the run after so many seconds without progress
    #[arg(
        long,
        default_value_t = 600,
        allow_negative_numbers = true,
        value_parser = clap::value_parser!(u64).range(1..)
    )]
    pub stall_seconds: u64,
    #[cfg(feature = "cluster")]
    #[command(flatten)]
    pub cluster: ClusterOptions,
}

impl Default for RunOptions {
    fn default() -> RunOptions {
        RunOptions {
            as_of: None,
            force: false,
            summary: None,
            metrics: None,
            openlineage: None,
            memory_limit: None,
            stall_seconds: 600,
            #[cfg(feature = "cluster")]
            cluster: ClusterOptions::default(),
        }
    }
}

#[derive(Debug, Clone, Copy, ValueEnum, PartialEq, Eq)]
pub enum Format {
    Table,
    Csv,
    Json,
}

/// Fewer bytes than any batch of rows takes.
const LEAST_MEMORY: f64 = 100e3;

/// `512MB`, `2 GB`, `1.5GiB` or a number of bytes.
fn bytes(text: &str) -> Result<usize, String> {
    let digits = text.trim_end_matches(|letter: char| letter.is_alphabetic()).trim();
    let unit = text.trim_start_matches(|letter: char| !letter.is_alphabetic());
    let factor = match unit.to_ascii_uppercase().as_str() {
        "" | "B" => 1.0,
        "KB" | "K" => 1e3,
        "MB" | "M" => 1e6,
        "GB" | "G" => 1e9,
        "KIB" => 1024.0,
        "MIB" => 1024.0 * 1024.0,
        "GIB" => 1024.0 * 1024.0 * 1024.0,
        _ => return Err(format!("{unit} is no unit; 512MB or 2GB is wanted")),
    };
    match digits.parse::<f64>() {
        Ok(number) if number > 0.0 && number * factor < LEAST_MEMORY => match unit {
            "" => Err(format!("{digits} bytes? {digits}GB is meant, or {digits}MB")),
            _ => Err("no run fits in so little; 512MB or 2GB is wanted".to_owned()),
        },
        Ok(number) if number > 0.0 && number.is_finite() => Ok((number * factor) as usize),
        _ => Err("512MB or 2GB is wanted".to_owned()),
    }
}

/// The tables and views by name, and examples.
fn query_help() -> String {
    let names = |models: anyhow::Result<Vec<&model::Model>>| {
        let models = models.unwrap_or_default();
        models.iter().map(|model| model.name).collect::<Vec<_>>().join(", ")
    };
    format!(
        "Tables: {}\nViews:  {}\n\nExamples: lookback query job.toml \"select publisher_id, \
         sum(approved_commission) as owed\n{:34}from report.transaction_details group by \
         publisher_id order by owed desc\"\n{:10}lookback query job.toml \"select report_date, \
         clicks, orders, epc\n{:34}from view.performance_by_day order by report_date\"",
        names(model::stored()),
        names(model::views()),
        "",
        "",
        ""
    )
}

/// What `--force` means.
pub fn rebuild(force: bool) -> Rebuild {
    match force {
        true => Rebuild::All,
        false => Rebuild::Changed,
    }
}
