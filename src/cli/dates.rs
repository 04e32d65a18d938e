//! Dates as typed, and the dates of a run that they stand for.

use chrono::{DateTime, NaiveDate, Utc};
use chrono_tz::Tz;

use crate::days::{self, DateRange};
use crate::job::Job;
use crate::nearest::nearest;
use crate::plan::DateSelection;
use crate::stop::Stop;
use crate::summary::Asked;

/// A date of the years 1 to 9998.
pub fn calendar_date(text: &str) -> Result<NaiveDate, String> {
    let date = text.parse::<NaiveDate>().map_err(|error| error.to_string())?;
    match (1..=9998).contains(&chrono::Datelike::year(&date)) {
        true => Ok(date),
        false => Err("the year is not from 1 to 9998".to_owned()),
    }
}

/// The dates of a run as typed.
#[derive(Debug, Clone)]
pub enum Dates {
    Night(String),
    Backfill { dates: Option<(NaiveDate, NaiveDate)>, stale: bool },
}

impl Dates {
    /// Errors: exit 2.
    pub fn of(&self, job: &Job, now: DateTime<Utc>) -> Result<DateSelection, Stop> {
        match self {
            Dates::Night(date) => night(job, date, now),
            Dates::Backfill { dates, stale } => backfill(*dates, *stale),
        }
    }

    /// What they say without a job file. None where they are a word, such as `yesterday`.
    pub fn as_typed(&self) -> Option<Asked> {
        let selection = match self {
            Dates::Night(date) => DateSelection::Night(calendar_date(date).ok()?),
            Dates::Backfill { dates, stale } => backfill(*dates, *stale).ok()?,
        };
        Some(Asked::of(selection, 0))
    }
}

/// `2026-05-01`, `yesterday` or `today`. Errors: exit 2.
pub fn night(job: &Job, text: &str, now: DateTime<Utc>) -> Result<DateSelection, Stop> {
    date_in("--date", text, job.zone, now).map(DateSelection::Night)
}

/// The date that an option names, in a time zone. Errors: exit 2.
pub fn date_in(option: &str, text: &str, zone: Tz, now: DateTime<Utc>) -> Result<NaiveDate, Stop> {
    let today = days::local_date(now, zone);
    match text {
        "today" => Ok(today),
        "yesterday" => Ok(days::minus(today, 1)),
        text => calendar_date(text).map_err(|_| {
            let meant = nearest(text, ["yesterday", "today"]);
            let meant = meant.map(|word| format!("; is {word} meant?")).unwrap_or_default();
            Stop::fix_one(format!(
                "{option} \"{text}\" is no date: 2026-05-01, yesterday or today is wanted{meant}"
            ))
        }),
    }
}

/// `--from` and `--to`, or `--stale`. Errors: exit 2 when there is neither, or `--from` is after
/// `--to`.
pub fn backfill(dates: Option<(NaiveDate, NaiveDate)>, stale: bool) -> Result<DateSelection, Stop> {
    match dates {
        None if stale => Ok(DateSelection::Stale),
        None => Err(Stop::fix_one("which dates? --from and --to name the first and the last")
            .hint("--stale stands for all dates that a change outdated")),
        Some((from, to)) if from <= to => Ok(DateSelection::Backfill(DateRange { from, to })),
        Some((from, to)) => Err(Stop::fix_one(format!("--from {from} is after --to {to}"))),
    }
}
