//! Reruns, late changes and faults: nothing is lost, nothing is counted twice, and no reader ever
//! sees a half. In one process, over a store in memory that can be made to fail; and the real
//! program, killed.
//!
//! `LOOKBACK_FAULTS=all` lets every store call of a run fail in every way, which takes half an hour;
//! otherwise every thirteenth does (`LOOKBACK_FAULTS=0/13`). `LOOKBACK_NIGHTS=365` simulates a year
//! instead of 60 nights. `LOOKBACK_SEEDS=0..50` lets so many weeks of changes go by instead of four.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test may panic, and tell")]
#![allow(clippy::disallowed_methods, reason = "tests have switches in the environment")]

mod copies;
mod failing_store;
mod faults;
mod in_memory;
mod kept;
mod killed;
mod lease;
mod log_requests;
mod losses;
mod nights;
mod promises;
mod reference;
mod requests;
mod stale;
mod upgrade;
mod year;
