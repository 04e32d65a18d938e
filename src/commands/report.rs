//! `lookback report`: what clicks, orders and refunds add up to, in the terminal or as a page.

use std::path::PathBuf;

use chrono::{DateTime, Utc};

use super::output::{self, Voice};
use super::query;
use crate::job::Job;
use crate::operators::place::Place;
use crate::report::{self, All, Request, page, text};
use crate::stop::Stop;

/// Prints the report, or writes it to `html`; `-` is stdout. Errors: exit 2 when there is no such
/// key, no report date, or a file that cannot be written.
pub async fn report(
    job: &Job,
    request: &Request,
    html: Option<PathBuf>,
    now: DateTime<Utc>,
    voice: Voice,
) -> Result<(), Stop> {
    // Before anything is computed.
    let file = html.as_deref().filter(|file| file.as_os_str() != "-");
    let place = file.map(|file| {
        Place::look(file)
            .map_err(|error| Stop::fix_one(format!("--html {}: {error:#}", file.display())))
    });
    let place = place.transpose()?;
    let (engine, warehouse) = query::session(job).await?;
    let all = if html.is_some() { All::Sections } else { All::First };
    let report = report::report(job, &engine, &warehouse, request, all).await?;
    if html.is_none() {
        return output::print(&text::text(&report));
    }
    let page = page::page(&report, now, job.zone);
    let Some(place) = place else {
        return output::print(&page);
    };
    place.write(&page)?;
    voice.say(&format!("wrote {}, report dates {}", place.name().display(), report.range));
    Ok(())
}
