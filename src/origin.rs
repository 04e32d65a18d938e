//! What a date was made from, as digests: so that a later run can tell what is up to date, and
//! which dates a change has outdated (D6).
//!
//! Refuses to know how anything is made. Digests are of names, sizes and tags, never of contents
//! that would have to be read.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use anyhow::Result;
use chrono::{NaiveDate, TimeDelta};
use regex::Regex;

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
        let digest = format!("{:032x}", reference.in_force(table, &(early..late)));
        origin.insert((*table).to_owned(), digest);
    }
    let settings = match log {
        Log::Clicks => {
            let formats: Vec<&str> = job.formats.iter().map(Regex::as_str).collect();
            digest(&[&job.late_days.to_string(), &formats.join("\n")])
        }
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

/// What is known of all clean dates and of all conversions, from which the origins of order dates
/// and report dates follow.
pub struct Inputs<'a> {
    job: &'a Job,
    reference: &'a Reference,
    clicks: BTreeMap<NaiveDate, Origin>,
    orders: BTreeMap<NaiveDate, Origin>,
    /// Digests of the rows of each order date.
    conversions: BTreeMap<NaiveDate, String>,
}

impl<'a> Inputs<'a> {
    /// As the tables are: what a date published now is made from.
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
        let files = warehouse.table("attribution.conversions")?.files.iter();
        let conversions = files.map(|file| (file.slice.date, file.digest.clone())).collect();
        Ok(Inputs { job, reference, clicks, orders, conversions })
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

    /// A clean date as it will be.
    pub fn expect_clean(&mut self, log: Log, dt: NaiveDate, origin: Origin) {
        match log {
            Log::Clicks => self.clicks.insert(dt, origin),
            Log::Orders => self.orders.insert(dt, origin),
        };
    }

    /// An order date's conversions as they will be.
    pub fn expect_conversions(&mut self, date: NaiveDate, digest: &str) {
        self.conversions.insert(date, digest.to_owned());
    }

    /// Origins as of a landing date (D3), or of all that landed.
    pub fn digested(&self, as_of: Option<NaiveDate>) -> Result<Digested<'_>> {
        let until = |dt: &NaiveDate| as_of.is_none_or(|last| *dt <= last);
        let sums = |clean: &BTreeMap<NaiveDate, Origin>, names: &[&'static str]| {
            let part = |name: &'static str| {
                let dates = clean.iter().filter(|(dt, _)| until(dt));
                let values = dates.map(|(dt, origin)| {
                    (*dt, origin.get(name).map(String::as_str).unwrap_or_default())
                });
                (name, Sums::of(values))
            };
            names.iter().copied().map(part).collect::<BTreeMap<_, _>>()
        };
        let conversions = self.conversions.iter().map(|(date, digest)| (*date, digest.as_str()));
        Ok(Digested {
            inputs: self,
            clicks: sums(
                &self.clicks,
                &["raw", "raw_before", "links", "identities", "settings", "sql"],
            ),
            orders: sums(&self.orders, &["raw", "raw_before", "fx_rates", "settings", "sql"]),
            conversions: Sums::of(conversions),
            attribution: sql("attribution")?,
            report: sql("report")?,
        })
    }
}

/// [`Inputs`], ready to be asked about many dates.
pub struct Digested<'a> {
    inputs: &'a Inputs<'a>,
    clicks: BTreeMap<&'static str, Sums>,
    orders: BTreeMap<&'static str, Sums>,
    conversions: Sums,
    attribution: String,
    report: String,
}

impl Digested<'_> {
    /// What the conversions of an order date depend on: one digest for each kind of input, so that
    /// a change can be named.
    pub fn of_conversions(&self, date: NaiveDate) -> Origin {
        let job = self.inputs.job;
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
        let mut rules = vec![self.attribution.clone()];
        for (log, back, clean) in
            [(Log::Clicks, window, &self.clicks), (Log::Orders, horizon, &self.orders)]
        {
            let landing = days::landing(&(instants.start - back..instants.end), job.late_days);
            let part =
                |name: &str| clean.get(name).map(|sums| sums.over(landing)).unwrap_or_default();
            origin.insert(log.name().to_owned(), part("raw") + &part("raw_before"));
            for table in reference_tables(log) {
                origin.insert((*table).to_owned(), part(table));
            }
            settings.push(part("settings"));
            rules.push(part("sql"));
        }
        for table in ["stores", "rates"] {
            let digest = self.inputs.reference.in_force(table, &instants);
            origin.insert(table.into(), format!("{digest:032x}"));
        }
        origin.insert("settings".into(), digest(&[&settings.join("\n")]));
        origin.insert("rules".into(), digest(&[&rules.join("\n")]));
        origin
    }

    /// What a report date depends on: what its own conversions do, and the rows of the conversions
    /// whose events may fall on it.
    pub fn of_report(&self, date: NaiveDate) -> Origin {
        let mut origin = self.of_conversions(date);
        let earlier = ledger_reach(self.inputs.job, date);
        origin.insert("conversions".into(), self.conversions.over(earlier));
        let rules = origin.get("rules").map(String::as_str).unwrap_or_default();
        let rules = digest(&[rules, &self.report]);
        origin.insert("rules".into(), rules);
        origin
    }
}

/// The order dates before a report date whose lines may have events on it.
pub fn ledger_reach(job: &Job, date: NaiveDate) -> ReportDates {
    let horizon = TimeDelta::days(job.order_horizon_days as i64);
    let oldest = days::start_of(date, job.zone) - horizon;
    ReportDates { from: days::local_date(oldest, job.zone), to: days::minus(date, 1) }
}

/// Values by date, summed so that a digest of any stretch of dates is one subtraction.
struct Sums {
    dates: Vec<NaiveDate>,
    sums: Vec<u128>,
}

impl Sums {
    fn of<'a>(values: impl Iterator<Item = (NaiveDate, &'a str)>) -> Sums {
        let mut sums = Sums { dates: Vec::new(), sums: vec![0] };
        let mut sum: u128 = 0;
        for (date, value) in values {
            let text = format!("{date} {value}");
            let mut bytes = [0; 16];
            bytes.copy_from_slice(&blake3::hash(text.as_bytes()).as_bytes()[..16]);
            sum = sum.wrapping_add(u128::from_le_bytes(bytes));
            sums.dates.push(date);
            sums.sums.push(sum);
        }
        sums
    }

    fn over(&self, stretch: ReportDates) -> String {
        let from = self.dates.partition_point(|date| *date < stretch.from);
        let to = self.dates.partition_point(|date| *date <= stretch.to).max(from);
        format!("{:032x}", self.sums[to].wrapping_sub(self.sums[from]))
    }
}

/// Digest of a layer's SQL: another rule makes other rows. Worked out once: every date asks for it.
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
pub fn differences<'a>(made: &'a Origin, now: &'a Origin) -> Vec<&'a str> {
    let names = made.keys().chain(now.keys());
    let mut names: Vec<&str> =
        names.filter(|name| made.get(*name) != now.get(*name)).map(String::as_str).collect();
    names.sort();
    names.dedup();
    names
}
