//! `lookback check`: what was understood of a job's inputs, and the next step. Writes nothing.

use crate::check;
use crate::job::Job;
use crate::stop::Stop;

/// What was found, as text. Errors: exit 2 with all complaints (B1 to B3) and the next step.
pub async fn check(job: &Job) -> Result<String, Stop> {
    #[cfg(feature = "cluster")]
    super::worker::refuse_wrong(job)?;
    Ok(check::check(job).await?.to_string())
}
