//! lookback: affiliate attribution as a nightly batch job. Raw click and order logs in, report
//! tables out; the rules between are the SQL files in `sql/`.
//!
//! The map, in the order in which a night flows:
//!
//! - [`cli`] and [`job`]: what was typed and what the job file says, checked
//! - [`days`]: which dates are rewritten and read; pure
//! - [`place`], [`raw`], [`reference`]: where inputs lie, and what can be wrong with them
//! - [`warehouse`], [`origin`], [`plan`]: what is there, what it was made from, what is to be done
//! - [`model`], [`engine`]: the SQL files, and the session that runs them
//! - [`run`], [`check`], [`summary`]: the recipe, the promises, what was done
//! - [`query`], [`explain`], [`demo`]: answers, and a made-up world
//! - [`lock`], [`progress`], [`watchdog`], [`stop`]: one writer, patience, and how it ends
//! - [`vacuum`]: what nobody needs any more
//!
//! What is deliberately absent, everywhere:
//!
//! - A business rule in Rust. Rust knows dates, places, files and promises; it names no report column.
//! - SQL put together from text. Models are parsed as they stand, parameters are bound as values.
//! - Own operators in the engine, and own functions but three, the key of a promotion link in the raw
//!   clicks, `hash64` and `repeated`: a distributed DataFusion that has these can run the same files.
//! - Floating point near money.
//! - The clock, but for `main`. Settings from the environment, but for credentials and
//!   `LOOKBACK_LOG`, which says what is logged.
//! - Printing, but for `main`: a run returns a value.

pub mod check;
pub mod cli;
pub mod days;
pub mod demo;
pub mod engine;
pub mod explain;
pub mod job;
pub mod lock;
pub mod model;
pub mod origin;
pub mod place;
pub mod plan;
pub mod progress;
pub mod query;
pub mod raw;
pub mod reference;
pub mod run;
pub mod stop;
pub mod summary;
pub mod vacuum;
pub mod warehouse;
pub mod watchdog;
