//! `lookback init`: a job file and reference tables to begin with. What it guessed and what is
//! missing goes to stderr.

use super::output::Voice;
use crate::init::{self, Request};
use crate::stop::Stop;

/// Writes the files and tells about them. Errors: see [`init::init`].
pub async fn init(request: &Request<'_>, voice: Voice) -> Result<(), Stop> {
    let made = init::init(request).await?;
    voice.say(&made.to_string());
    Ok(())
}
