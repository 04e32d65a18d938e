//! What a date was made from, as digests: so that a later run can tell what is up to date, and
//! which dates a change has outdated (D6).
//!
//! Refuses to know how anything is made. Digests are of names, sizes and tags, never of contents
//! that would have to be read.

use std::ops::Range;

use anyhow::Result;
use chrono::{DateTime, NaiveDate, TimeDelta, Utc};

use crate::days::{self, ReportDates};
use crate::engine::write::Slice;
use crate::job::Job;
use crate::model;
use crate::raw::{Log, RawLog};
use crate::reference::Reference;
use crate::warehouse::{Origin, Table};

/// What a clean landing date of a log depends on: `raw` are its own files, `raw_before` those of
/// the dates that decide duplicates, the rest are reference rows in force and settings.
pub fn of_clean(job: &Job, reference: &Reference, log: &RawLog, dt: NaiveDate) -> Result<Origin> {
    let mut origin = Origin::new();
    let before = days::dedup_reach(dt, job.late_days).iter();
    let before = before.map(|date| format!("{date}={}", raw(log, date)));
    origin.insert("raw".into(), raw(log, dt));
    origin.insert("raw_before".into(), before.collect::<Vec<_>>().join(" "));
    let early = days::minus(dt, job.late_days).and_time(chrono::NaiveTime::MIN).and_utc();
    let late = days::next(dt).and_time(chrono::NaiveTime::MIN).and_utc() + TimeDelta::hours(1);
    let mut in_force = |table: &str| {
        let digest = format!("{:032x}", reference.in_force(table, early, late));
        origin.insert(table.to_owned(), digest);
    };
    let settings = match log.log {
        Log::Clicks => {
            in_force("links");
            in_force("identities");
            digest(&[&job.late_days.to_string(), &job.formats.join("\n")])
        }
        Log::Orders => {
            in_force("fx_rates");
            digest(&[&job.late_days.to_string(), &job.currency])
        }
    };
    origin.insert("settings".into(), settings);
    origin.insert("sql".into(), sql("clean")?);
    Ok(origin)
}

/// Digest of a landing date's files.
fn raw(log: &RawLog, dt: NaiveDate) -> String {
    let files = log.files(dt).map(|file| {
        let name = file.location.filename().unwrap_or_default();
        let version = match &file.e_tag {
            Some(tag) => tag.clone(),
            None => file.last_modified.to_rfc3339(),
        };
        format!("{name} {} {version}", file.size)
    });
    let files: Vec<String> = files.collect();
    digest(&files.iter().map(String::as_str).collect::<Vec<_>>())
}

/// Whether a clean date's raw files are what it was made from. Dates that have not landed (any
/// more) say nothing: raw logs may be deleted once they are clean.
pub fn is_raw_unchanged(made: &Origin, now: &Origin, log: &RawLog) -> bool {
    let before = |origin: &Origin| -> Vec<(String, String)> {
        let dates = origin.get("raw_before").map(String::as_str).unwrap_or_default();
        let dates = dates.split(' ').filter_map(|date| date.split_once('='));
        dates.map(|(date, digest)| (date.to_owned(), digest.to_owned())).collect()
    };
    let made_before = before(made);
    let is_landed = |date: &str| date.parse().is_ok_and(|date| log.has_landed(date));
    made.get("raw") == now.get("raw")
        && before(now).iter().all(|now| made_before.contains(now) || !is_landed(&now.0))
}

/// Whether anything but the raw files differs: reference rows in force, settings or the rules.
pub fn is_otherwise_changed(made: &Origin, now: &Origin) -> bool {
    differences(made, now).iter().any(|name| !name.starts_with("raw"))
}

/// What a report date depends on, from the clean dates as they are now: one digest for each kind
/// of input, so that a change can be named.
pub fn of_report(
    job: &Job,
    reference: &Reference,
    clean: (&Table, &Table),
    as_of: Option<NaiveDate>,
    date: NaiveDate,
) -> Result<Origin> {
    let instants = ReportDates { from: date, to: date }.instants(job.zone);
    let horizon = TimeDelta::days(job.order_horizon_days as i64);
    let window = TimeDelta::hours(job.window_hours);
    let (clicks, events) = clean;
    let mut origin = Origin::new();
    let since = |before: TimeDelta| instants.start - before..instants.end;
    origin.insert("clicks".into(), landed(job, clicks, as_of, &since(window)));
    origin.insert("orders".into(), landed(job, events, as_of, &since(horizon)));
    for table in ["stores", "rates"] {
        let digest = reference.in_force(table, instants.start, instants.end);
        origin.insert(table.into(), format!("{digest:032x}"));
    }
    let settings = format!(
        "{} {} {:?} {:?} {} {}",
        job.zone, job.window_hours, job.tie, job.scope, job.order_horizon_days, job.default_rate
    );
    origin.insert("settings".into(), digest(&[&settings]));
    origin.insert("sql".into(), digest(&[&sql("attribution")?, &sql("report")?]));
    Ok(origin)
}

/// Digest of the origins of the clean dates on which rows of these instants may have landed.
fn landed(
    job: &Job,
    table: &Table,
    as_of: Option<NaiveDate>,
    instants: &Range<DateTime<Utc>>,
) -> String {
    let mut parts = Vec::new();
    for dt in days::landing(instants, job.late_days).iter() {
        if as_of.is_none_or(|last| dt <= last)
            && let Some(origin) = table.origin(&Slice::of(dt))
        {
            parts.push(format!("{dt} {origin:?}"));
        }
    }
    digest(&parts.iter().map(String::as_str).collect::<Vec<_>>())
}

/// Digest of a layer's SQL: another rule makes other rows.
fn sql(layer: &str) -> Result<String> {
    let texts: Vec<&str> = model::layer(layer)?.iter().map(|model| model.sql).collect();
    Ok(digest(&texts))
}

fn digest(parts: &[&str]) -> String {
    let mut hasher = blake3::Hasher::new();
    for part in parts {
        hasher.update(&(part.len() as u64).to_le_bytes());
        hasher.update(part.as_bytes());
    }
    hasher.finalize().to_hex().as_str()[..32].to_owned()
}

/// The names of the inputs that differ.
pub fn differences<'a>(made: &'a Origin, now: &'a Origin) -> Vec<&'a str> {
    let names = made.keys().chain(now.keys());
    let mut names: Vec<&str> =
        names.filter(|name| made.get(*name) != now.get(*name)).map(String::as_str).collect();
    names.sort();
    names.dedup();
    names
}
