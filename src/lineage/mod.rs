//! The lineage of a date: what it was made from. A later run compares it with the present inputs, and
//! sees which dates are up to date and which ones a change has outdated (D7).
//!
//! A clean date stores what its raw files looked like and held; an order date and a report date
//! store digests of the clean rows and conversions that they read. Reference rows are in no lineage:
//! when some change, the tables are asked which dates have rows of these keys ([`touched`]). Refuses
//! to know how anything is made.

mod inputs;
mod made;
mod outdated;
mod touched;

use std::collections::BTreeMap;
use std::fmt::Write;

use anyhow::Result;
use chrono::NaiveDate;
use regex::Regex;

use crate::job::{AttributionSettings, Job};
use crate::model;
use crate::raw::{Log, RawLog};
use crate::warehouse::{Lineage, Warehouse};
pub use inputs::Inputs;
pub use made::{made_clean, made_report, report_tables};
pub use outdated::{Judge, LOST, NOT_MADE, OLD, Unclean, describe};
pub use touched::{Touched, touched};

/// The keys of a lineage.
const RAW: &str = "raw";
const CONTENT: &str = "content";
const BEFORE: &str = "raw_before";
const SETTINGS: &str = "settings";
const VERSION: &str = "version";
const CLICKS: &str = "clicks";
const ORDERS: &str = "orders";
const CONVERSIONS: &str = "conversions";

/// A log's raw files, against what the clean tables were made from (D8).
#[derive(Clone, Copy)]
pub struct RawState<'a> {
    pub raw: &'a RawLog,
    pub warehouse: &'a Warehouse,
}

impl<'a> RawState<'a> {
    fn made(&self, dt: NaiveDate) -> Result<Option<&'a Lineage>> {
        made_clean(self.warehouse, self.raw.log, dt)
    }

    /// Whether the store says that the files of a landing date are those it was cleaned from, or
    /// copies of them that an earlier run has looked at.
    fn is_known(&self, dt: NaiveDate, made: &Lineage) -> bool {
        let tags = self.raw.tags(dt);
        let seen = self.warehouse.seen().raw.get(self.raw.log.name());
        made.contains_key(CONTENT)
            && (made.get(RAW) == Some(&tags)
                || seen.and_then(|dates| dates.get(&dt)) == Some(&tags))
    }

    /// Whether the files have to be looked at to know whether they are the same as before.
    pub fn is_in_doubt(&self, dt: NaiveDate) -> Result<bool> {
        let made = self.made(dt)?;
        Ok(self.raw.is_there(dt) && !made.is_some_and(|made| self.is_known(dt, made)))
    }

    /// What the files of a landing date hold. Empty where it has not landed. Files in doubt must
    /// have been checked.
    fn content(&self, dt: NaiveDate) -> Result<String> {
        if !self.raw.is_there(dt) {
            return Ok(String::new());
        }
        let made = self.made(dt)?.filter(|made| self.is_known(dt, made));
        let known = made.and_then(|made| made.get(CONTENT).cloned());
        Ok(known.or_else(|| self.raw.contents(dt)).unwrap_or_default())
    }

    /// Whether the clean rows of a landing date tell which ids it has, as they are up to date. Else
    /// its raw files do.
    pub fn has_clean_ids(&self, job: &Job, dt: NaiveDate) -> Result<bool> {
        Ok(match self.made(dt)? {
            Some(_) if !self.raw.is_there(dt) => true,
            Some(made) => self.why_raw(made, &self.lineage(job, dt)?).is_none(),
            None => false,
        })
    }

    /// What a clean landing date is made from.
    pub fn lineage(&self, job: &Job, dt: NaiveDate) -> Result<Lineage> {
        let log = self.raw.log;
        let mut before = Vec::new();
        for date in job.reach().before_landing(dt).iter() {
            before.push(format!("{date}={}", self.content(date)?));
        }
        Ok(Lineage::from([
            (RAW.to_owned(), self.raw.tags(dt)),
            (CONTENT.to_owned(), self.content(dt)?),
            (BEFORE.to_owned(), before.join(" ")),
            (SETTINGS.to_owned(), clean_settings(job, log)),
            (VERSION.to_owned(), versions(&[log.clean_table(), "clean.rejects"])?),
        ]))
    }

    /// Why a clean date is outdated by its raw files or by those that decide its duplicates. Earlier
    /// dates that are not (or no longer) landed do not count: raw logs may be deleted once they are
    /// clean.
    pub fn why_raw(&self, made: &Lineage, now: &Lineage) -> Option<&'static str> {
        let before = |lineage: &Lineage| -> BTreeMap<String, String> {
            let dates = lineage.get(BEFORE).map(String::as_str).unwrap_or_default();
            let dates = dates.split(' ').filter_map(|date| date.split_once('='));
            dates.map(|(date, content)| (date.to_owned(), content.to_owned())).collect()
        };
        let made_before = before(made);
        let is_landed = |date: &str| date.parse().is_ok_and(|date| self.raw.is_there(date));
        let is_same = |(date, content): (&String, &String)| {
            made_before.get(date) == Some(content) || !is_landed(date)
        };
        if made.get(CONTENT) != now.get(CONTENT) {
            return Some("raw files changed");
        }
        let is_unchanged = before(now).iter().all(is_same);
        (!is_unchanged).then_some("raw files of the dates before changed")
    }
}

/// Whether a clean date was made from files that look so ([`RawLog::tags`]).
pub fn is_of_files(made: &Lineage, tags: &str) -> bool {
    made.get(RAW).is_some_and(|of| of == tags)
}

/// The settings that bear on a log's clean rows, as text.
fn clean_settings(job: &Job, log: Log) -> String {
    let (late_days, nobody) = (job.late_days, &job.nobody);
    let mut settings = match log {
        Log::Clicks => {
            let formats: Vec<&str> = job.formats.iter().map(Regex::as_str).collect();
            format!("late_days={late_days} nobody={nobody:?} formats={formats:?}")
        }
        Log::Orders => format!("late_days={late_days} nobody={nobody:?} currency={}", job.currency),
    };
    for (number, source) in job.log(log).iter().enumerate() {
        if !source.shape.is_plain() {
            let _ = write!(settings, " source {number}: {}", source.shape.setting());
        }
    }
    settings
}

/// The versions of some tables. A date that was made with others is outdated: the program makes
/// other rows now.
fn versions(tables: &[&str]) -> Result<String> {
    let version = |name: &&str| Ok(model::named(name)?.version.clone().unwrap_or_default());
    Ok(tables.iter().map(version).collect::<Result<Vec<_>>>()?.join("."))
}

/// Why a clean date is outdated, by anything but raw files and reference rows.
pub fn why_otherwise(made: &Lineage, now: &Lineage) -> Option<&'static str> {
    if is_of_first_version(made) {
        Some(OLD)
    } else if made.get(VERSION) != now.get(VERSION) {
        Some("this release makes other rows")
    } else if made.get(SETTINGS) != now.get(SETTINGS) {
        Some("settings changed")
    } else {
        None
    }
}

/// Whether a release made a date that stored no version. Its columns had another meaning.
pub fn is_of_first_version(made: &Lineage) -> bool {
    !made.contains_key(VERSION)
}

/// The settings that the conversions of an order date were made with. None when the lineage does
/// not have them, as in a warehouse of an earlier release.
pub fn settings(conversions: &Lineage) -> Option<AttributionSettings> {
    conversions.get(SETTINGS)?.parse().ok()
}

/// The names of the inputs that differ, as "clicks, settings". None when nothing does.
fn changes(made: &Lineage, now: &Lineage) -> Option<String> {
    if is_of_first_version(made) {
        return Some(OLD.to_owned());
    }
    if made.get(VERSION) != now.get(VERSION) {
        return Some("this release makes other rows".to_owned());
    }
    let differs = |name: &&str| match *name {
        SETTINGS => made.get(SETTINGS) != now.get(SETTINGS) && bearing(made) != bearing(now),
        name => made.get(name) != now.get(name),
    };
    let names: Vec<&str> =
        [CLICKS, ORDERS, CONVERSIONS, SETTINGS].into_iter().filter(differs).collect();
    (!names.is_empty()).then(|| format!("{} changed", names.join(", ")))
}

/// The settings that bear on conversions. How late rows may land bears on clean rows only.
fn bearing(lineage: &Lineage) -> Option<AttributionSettings> {
    Some(AttributionSettings { late_days: 0, ..settings(lineage)? })
}
