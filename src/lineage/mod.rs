//! The lineage of a date: what it was made from, as digests. A later run compares it with the
//! present inputs, and sees which dates are up to date and which ones a change has outdated (D6).
//!
//! Refuses to know how anything is made. A raw file's digest is of its name, size and tag, so its
//! contents need not be read.

mod made;
mod state;

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use anyhow::Result;
use chrono::NaiveDate;
use regex::Regex;

use crate::job::{AttributionSettings, Job};
use crate::model;
use crate::raw::{Log, RawLog};
use crate::reference::Reference;
use crate::warehouse::Lineage;
pub use made::{changes, made_clean, made_report, outdated, report_tables};
pub use state::{Fingerprints, InputState};

/// The key of a lineage under which the settings are.
const SETTINGS: &str = "settings";

/// What a clean landing date of a log depends on. `raw` are its own files, `raw_before` the files
/// of the dates that decide duplicates. The rest are reference rows in force, settings and SQL.
pub fn of_clean(job: &Job, reference: &Reference, log: &RawLog, dt: NaiveDate) -> Result<Lineage> {
    let mut lineage = besides_raw(job, reference, log.log, dt)?;
    let before = job.reach().before_landing(dt).iter();
    let before = before.map(|date| format!("{date}={}", raw(log, date)));
    lineage.insert("raw".into(), raw(log, dt));
    lineage.insert("raw_before".into(), before.collect::<Vec<_>>().join(" "));
    Ok(lineage)
}

/// The part of a clean date's lineage that does not depend on raw files.
fn besides_raw(job: &Job, reference: &Reference, log: Log, dt: NaiveDate) -> Result<Lineage> {
    let mut lineage = Lineage::new();
    let instants = job.reach().instants_of_landing(dt);
    for table in reference_tables(log) {
        let digest = format!("{:032x}", reference.in_force(table, &instants));
        lineage.insert((*table).to_owned(), digest);
    }
    let nobody = job.nobody.join("\n");
    let settings = match log {
        Log::Clicks => {
            let formats: Vec<&str> = job.formats.iter().map(Regex::as_str).collect();
            digest(&[&job.late_days.to_string(), &formats.join("\n"), &nobody])
        }
        Log::Orders => digest(&[&job.late_days.to_string(), &job.currency, &nobody]),
    };
    lineage.insert(SETTINGS.into(), settings);
    lineage.insert("sql".into(), sql("clean")?);
    Ok(lineage)
}

fn reference_tables(log: Log) -> &'static [&'static str] {
    match log {
        Log::Clicks => &["links"],
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

/// Whether a clean date's raw files are those that it was made from. Earlier dates that are not (or
/// no longer) landed do not count: raw logs may be deleted once they are clean.
pub fn is_raw_unchanged(made: &Lineage, now: &Lineage, log: &RawLog) -> bool {
    let before = |lineage: &Lineage| -> Vec<(String, String)> {
        let dates = lineage.get("raw_before").map(String::as_str).unwrap_or_default();
        let dates = dates.split(' ').filter_map(|date| date.split_once('='));
        dates.map(|(date, digest)| (date.to_owned(), digest.to_owned())).collect()
    };
    let made_before = before(made);
    let is_landed = |date: &str| date.parse().is_ok_and(|date| log.has_landed(date));
    made.get("raw") == now.get("raw")
        && before(now).iter().all(|now| made_before.contains(now) || !is_landed(&now.0))
}

/// Whether anything but the raw files differs: reference rows in force, settings or SQL.
pub fn is_otherwise_changed(made: &Lineage, now: &Lineage) -> bool {
    differences(made, now).iter().any(|name| !name.starts_with("raw"))
}

/// The settings that the conversions of an order date were made with. None when the lineage does
/// not have them, as in a warehouse of an earlier release.
pub fn settings(conversions: &Lineage) -> Option<AttributionSettings> {
    conversions.get(SETTINGS)?.parse().ok()
}

/// The digest of a layer's SQL, because another rule makes other rows. It is cached, because every
/// date needs it.
fn sql(layer: &'static str) -> Result<String> {
    static KNOWN: Mutex<BTreeMap<&str, String>> = Mutex::new(BTreeMap::new());
    let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(digest) = known.get(layer) {
        return Ok(digest.clone());
    }
    let texts: Vec<&str> = model::layer(layer)?.iter().map(|model| model.sql).collect();
    let digest = digest(&texts);
    known.insert(layer, digest.clone());
    Ok(digest)
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
pub fn differences<'a>(made: &'a Lineage, now: &'a Lineage) -> Vec<&'a str> {
    let names = made.keys().chain(now.keys());
    let mut names: Vec<&str> =
        names.filter(|name| made.get(*name) != now.get(*name)).map(String::as_str).collect();
    names.sort();
    names.dedup();
    names
}
