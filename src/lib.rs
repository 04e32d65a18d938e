//! lookback: affiliate attribution as a nightly batch job. Raw click and order logs go in, report
//! tables come out. The rules between are the SQL files in `sql/`.
//!
//! Modules are listed in the order in which a nightly run uses them. Some things are absent on
//! purpose; bans in `clippy.toml` and lints in `Cargo.toml` hold the last two points:
//!
//! - Business rules in Rust. Rust knows dates, locations, files and audits.
//! - Floating point for money.
//! - SQL built from strings. Models are parsed unchanged, and parameters are bound as values. (`ddl`
//!   builds statements for other engines, and runs none.)
//! - The clock outside `main`, object stores outside `location`, sessions outside `engine`,
//!   printing outside `commands`, settings from the environment except credentials, `OTEL_…`,
//!   `TMPDIR` and `LOOKBACK_LOG`.

/// What was typed.
pub mod cli;
/// One file per command.
pub mod commands;
/// What the job file says, checked.
pub mod job;
/// What the program is.
pub mod version;

/// The names that were meant where one is mistyped.
pub mod nearest;

/// Dates, and how far around them rows matter.
pub mod days;
/// Paths and URLs, and the object stores behind them.
pub mod location;

/// Views of the job file, by which a log or a table gets our shape.
pub mod view;

/// The raw logs, and what can be wrong with them.
pub mod raw;
/// The reference tables, and what can be wrong with them.
pub mod reference;

/// The stored tables.
pub mod warehouse;

/// What dates were made from, and whether that has changed.
pub mod lineage;
/// What a run has to do.
pub mod plan;

/// The session that runs the SQL files.
pub mod engine;
/// The SQL files.
pub mod model;

/// Runs on several machines.
#[cfg(feature = "cluster")]
pub mod cluster;

/// Statements for other engines.
pub mod ddl;

/// The promises that a run checks before it publishes.
pub mod audit;
/// What monitors, schedulers and catalogs are told of a run.
pub mod operators;
/// The steps of a run.
pub mod run;
/// What a run did, and how it ended.
pub mod summary;

/// One writer per warehouse.
pub mod lock;
/// The progress of a run, for people and the watchdog.
pub mod progress;
/// Why the program ends early: exit codes and messages.
pub mod stop;
/// Ends runs that make no progress.
pub mod watchdog;

/// What was understood of a job's inputs, for `lookback check`.
pub mod check;
/// A made-up world of logs, for `lookback demo`.
pub mod demo;
/// A folder to begin with, for `lookback init`.
pub mod init;

/// What the tables add up to, for `lookback report`.
pub mod report;
