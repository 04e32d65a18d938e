//! Which of the dates asked for can be made: those whose landing dates are all there (D2).

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, NaiveDate, Utc};

use super::DateSelection;
use crate::days::{self, DateRange};
use crate::job::Job;
use crate::raw::{Log, RawLog};
use crate::stop::{Kind, Stop};

/// The report dates to rewrite, and those that a nightly run skips.
pub struct LandedDates {
    pub report_dates: BTreeSet<NaiveDate>,
    pub skipped: BTreeSet<NaiveDate>,
}

/// The landing dates that a report date needs and that have not landed, with their logs (D2).
pub fn missing(job: &Job, logs: [&RawLog; 2], date: NaiveDate) -> Vec<(Log, NaiveDate)> {
    let demanded = job.reach().demanded_landing(date).iter();
    let pairs = demanded.flat_map(|dt| logs.map(|raw| (raw, dt)));
    let absent = pairs.filter(|(raw, dt)| !raw.has_landed(*dt));
    absent.map(|(raw, dt)| (raw.log, dt)).collect()
}

/// Every date asked for must have landed. In a nightly run only the date itself must have. The
/// dates before it are rewritten if they have landed (D4). Errors: exit 3 with what is missing.
pub fn dates(
    job: &Job,
    selection: DateSelection,
    dates: DateRange,
    logs: [&RawLog; 2],
    as_of: Option<NaiveDate>,
) -> Result<LandedDates, Stop> {
    let mut found = LandedDates { report_dates: BTreeSet::new(), skipped: BTreeSet::new() };
    let mut absent: BTreeMap<Log, BTreeSet<NaiveDate>> = BTreeMap::new();
    for date in dates.iter() {
        let missing = missing(job, logs, date);
        let is_demanded = match selection {
            DateSelection::Night(night) => date == night,
            DateSelection::Backfill(_) | DateSelection::Stale => true,
        };
        if missing.is_empty() {
            found.report_dates.insert(date);
        } else if is_demanded {
            for (log, dt) in missing {
                absent.entry(log).or_default().insert(dt);
            }
        } else {
            found.skipped.insert(date);
        }
    }
    if absent.is_empty() {
        return Ok(found);
    }
    let complaints = logs.iter().filter_map(|raw| {
        let dts = absent.get(&raw.log)?;
        let as_of = as_of.map(|last| format!(" as of {last}")).unwrap_or_default();
        let first = raw.dates().into_iter().find(|dt| raw.has_landed(*dt));
        let is_before = first.zip(dts.last()).filter(|(first, last)| *last < first);
        let later = is_before.map(|(first, _)| format!(", and the first after it is {first}"));
        let (dts, later) = (days::describe(dts.iter().copied()), later.unwrap_or_default());
        Some(format!("{}: not landed{as_of}: dt {dts}{later}", raw.name()))
    });
    // What lies there instead may be what is missing.
    let of_absent = logs.iter().filter(|raw| absent.contains_key(&raw.log));
    let complaints: Vec<String> =
        complaints.chain(of_absent.flat_map(|raw| raw.unread())).collect();
    Err(Stop::wait(complaints).hint(format!(
        "report dates are local dates of {}; a date needs every UTC landing date it touches, of \
         both logs. {}",
        job.zone,
        how_a_date_lands(job)
    )))
}

/// Says of a run that waits for dates of the future that these have not begun.
pub fn not_begun(stop: Stop, job: &Job, selection: DateSelection, now: DateTime<Utc>) -> Stop {
    let last = match selection {
        DateSelection::Night(date) => date,
        DateSelection::Backfill(dates) => dates.to,
        DateSelection::Stale => return stop,
    };
    if stop.kind != Kind::Wait || days::start_of(last, job.zone) <= now {
        return stop;
    }
    let why = stop.hint.as_deref().unwrap_or_default();
    let today = days::local_date(now, job.zone);
    let hint = format!("{last} has not begun: it is {today} in {}. {why}", job.zone);
    stop.hint(hint.trim_end())
}

fn how_a_date_lands(job: &Job) -> &'static str {
    let sources = || job.clicks.iter().chain(&job.orders);
    if sources().any(|source| source.marker.is_some()) {
        "A landing date has landed when its folder, of hourly folders the last one, holds the marker"
    } else if sources().any(|source| source.layout.has_hours()) {
        "A landing date has landed when the folder of its last hour, or a later one, holds a file"
    } else {
        "A landing date has landed when its folder holds at least one object, even an empty _SUCCESS"
    }
}
