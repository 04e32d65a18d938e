//! `lookback plan`: what a run or backfill would read and write, and why. Writes nothing.

use chrono::NaiveDate;

use crate::job::Job;
use crate::plan::{DateSelection, Plan, Rebuild};
use crate::run;
use crate::stop::Stop;

/// The plan as text. Errors: those that the run itself would have up to here.
pub async fn plan(
    job: &Job,
    selection: DateSelection,
    as_of: Option<NaiveDate>,
    rebuild: Rebuild,
) -> Result<String, Stop> {
    let (reference, warehouse) = run::open(job, selection).await?;
    let mut plan = Plan::make(job, &reference, &warehouse, selection, as_of, rebuild).await?;
    plan.validate_raw(job, &warehouse).await?;
    plan.describe(job, &warehouse)
}
