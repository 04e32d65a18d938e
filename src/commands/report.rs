//! `lookback report`: what clicks, orders and refunds add up to, in the terminal or as a page.

use std::path::{Path, PathBuf};

use anyhow::Context;
use chrono::{DateTime, Utc};

use super::output::{self, Voice};
use super::query;
use crate::job::Job;
use crate::report::{self, All, Request, page, text};
use crate::stop::Stop;

/// Prints the report, or writes it to `html`; `-` is stdout. Errors: exit 2 when there is no such
/// key or no report date; exit 1 when the file cannot be written.
pub async fn report(
    job: &Job,
    request: &Request,
    html: Option<PathBuf>,
    now: DateTime<Utc>,
    voice: Voice,
) -> Result<(), Stop> {
    let (engine, warehouse) = query::session(job).await?;
    let all = if html.is_some() { All::Sections } else { All::First };
    let report = report::report(job, &engine, &warehouse, request, all).await?;
    let Some(file) = html else {
        return output::print(&text::text(&report));
    };
    let page = page::page(&report, now, job.zone);
    if file.as_os_str() == "-" {
        return output::print(&page);
    }
    write_aside(&file, &page)?;
    if !voice.quiet {
        output::tell(&format!("wrote {}, report dates {}", file.display(), report.range));
    }
    Ok(())
}

/// Writes a file beside its place and renames it: a reader sees the old one or all of the new one.
fn write_aside(file: &Path, text: &str) -> anyhow::Result<()> {
    let name = file.file_name().with_context(|| format!("{}: is no file name", file.display()))?;
    let mut aside = std::ffi::OsString::from(".");
    aside.push(name);
    aside.push(format!(".{}.tmp", std::process::id()));
    let aside = file.with_file_name(aside);
    let written = std::fs::write(&aside, text).and_then(|()| std::fs::rename(&aside, file));
    if written.is_err() {
        let _ = std::fs::remove_file(&aside);
    }
    written.with_context(|| format!("{}: cannot be written", file.display()))
}
