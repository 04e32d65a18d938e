//! What a date was made from, as digests: so that a later run can tell what is up to date, and
//! which dates a change has outdated (D6).
//!
//! Refuses to know how anything is made. Digests are of names, sizes and tags, never of contents
//! that would have to be read.

use std::collections::BTreeMap;

use anyhow::Result;
use chrono::{NaiveDate, TimeDelta};

use crate::days::{self, ReportDates};
use crate::job::Job;
use crate::model;
use crate::raw::{Log, RawLog};
use crate::reference::Reference;
use crate::warehouse::{Origin, Warehouse};

/// What a clean landing date of a log depends on: `raw` are its own files, `raw_before` those of
/// the dates that decide duplicates, the rest are reference rows in force and settings.
pub fn of_clean(job: &Job, reference: &Reference, log: &RawLog, dt: NaiveDate) -> Result<Origin> {
    let mut origin = besides_raw(job, reference, log.log, dt)?;
    let before = days::dedup_reach(dt, job.late_days).iter();
    let before = before.map(|date| format!("{date}={}", raw(log, date)));
    origin.insert("raw".into(), raw(log, dt));
    origin.insert("raw_before".into(), before.collect::<Vec<_>>().join(" "));
    Ok(origin)
}

/// The part of a clean date's origin that its raw files have no part in.
fn besides_raw(job: &Job, reference: &Reference, log: Log, dt: NaiveDate) -> Result<Origin> {
    let mut origin = Origin::new();
    let early = days::minus(dt, job.late_days).and_time(chrono::NaiveTime::MIN).and_utc();
    let late = days::next(dt).and_time(chrono::NaiveTime::MIN).and_utc() + TimeDelta::hours(1);
    for table in reference_tables(log) {
        let digest = format!("{:032x}", reference.in_force(table, early, late));
        origin.insert((*table).to_owned(), digest);
    }
    let settings = match log {
        Log::Clicks => digest(&[&job.late_days.to_string(), &job.formats.join("\n")]),
        Log::Orders => digest(&[&job.late_days.to_string(), &job.currency]),
    };
    origin.insert("settings".into(), settings);
    origin.insert("sql".into(), sql("clean")?);
    Ok(origin)
}

fn reference_tables(log: Log) -> &'static [&'static str] {
    match log {
        Log::Clicks => &["links", "identities"],
        Log::Orders => &["fx_rates"],
    }
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

/// The origins of all clean dates, from which those of report dates follow.
pub struct Inputs<'a> {
    job: &'a Job,
    reference: &'a Reference,
    clicks: BTreeMap<NaiveDate, Origin>,
    orders: BTreeMap<NaiveDate, Origin>,
}

impl<'a> Inputs<'a> {
    /// As the clean tables were made: what a date published now is made from.
    pub fn as_read(
        job: &'a Job,
        reference: &'a Reference,
        warehouse: &Warehouse,
    ) -> Result<Inputs<'a>> {
        let origins = |name: &str| -> Result<BTreeMap<NaiveDate, Origin>> {
            let table = warehouse.table(name)?;
            let files = table.files.iter();
            Ok(files.map(|file| (file.slice.date, file.origin.clone())).collect())
        };
        let (clicks, orders) = (origins("clean.clicks")?, origins("clean.order_events")?);
        Ok(Inputs { job, reference, clicks, orders })
    }

    /// As the clean tables would be if they were made with today's reference rows and settings:
    /// what a date that is up to date was made from.
    pub fn as_wanted(
        job: &'a Job,
        reference: &'a Reference,
        warehouse: &Warehouse,
    ) -> Result<Inputs<'a>> {
        let mut inputs = Inputs::as_read(job, reference, warehouse)?;
        for (dt, origin) in &mut inputs.clicks {
            origin.extend(besides_raw(job, reference, Log::Clicks, *dt)?);
        }
        for (dt, origin) in &mut inputs.orders {
            origin.extend(besides_raw(job, reference, Log::Orders, *dt)?);
        }
        Ok(inputs)
    }

    /// What a report date depends on: one digest for each kind of input, so that a change can be
    /// named.
    pub fn of_report(&self, as_of: Option<NaiveDate>, date: NaiveDate) -> Result<Origin> {
        let job = self.job;
        let instants = ReportDates { from: date, to: date }.instants(job.zone);
        let horizon = TimeDelta::days(job.order_horizon_days as i64);
        let window = TimeDelta::hours(job.window_hours);
        let mut origin = Origin::new();
        let mut settings = vec![format!(
            "{} {} {:?} {:?} {} {}",
            job.zone,
            job.window_hours,
            job.tie,
            job.scope,
            job.order_horizon_days,
            job.default_rate
        )];
        let mut rules = vec![sql("attribution")?, sql("report")?];
        for (log, back, clean) in
            [(Log::Clicks, window, &self.clicks), (Log::Orders, horizon, &self.orders)]
        {
            let landing = days::landing(&(instants.start - back..instants.end), job.late_days);
            let clean: Vec<_> = clean
                .range(landing.from..=landing.to)
                .filter(|(dt, _)| as_of.is_none_or(|last| **dt <= last))
                .collect();
            let part = |name: &str| {
                let parts = clean.iter().map(|(dt, origin)| format!("{dt} {:?}", origin.get(name)));
                let parts: Vec<String> = parts.collect();
                digest(&parts.iter().map(String::as_str).collect::<Vec<_>>())
            };
            origin.insert(log.name().to_owned(), part("raw") + &part("raw_before"));
            for table in reference_tables(log) {
                origin.insert((*table).to_owned(), part(table));
            }
            settings.push(part("settings"));
            rules.push(part("sql"));
        }
        for table in ["stores", "rates"] {
            let digest = self.reference.in_force(table, instants.start, instants.end);
            origin.insert(table.into(), format!("{digest:032x}"));
        }
        origin.insert("settings".into(), digest(&[&settings.join("\n")]));
        origin.insert("rules".into(), digest(&[&rules.join("\n")]));
        Ok(origin)
    }
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
