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
fn calendar_date(text: &str) -> Result<NaiveDate, String> {
    let date = text.parse::<NaiveDate>().map_err(|error| error.to_string())?;
    match (1..=9998).contains(&chrono::Datelike::year(&date)) {
        true => Ok(date),
        false => Err("the year is not from 1 to 9998".to_owned()),
    }
}

/// The value of an option that wants a date of UTC, which is no date of a program: words are not taken.
pub fn landing_date(text: &str) -> Result<NaiveDate, String> {
    calendar_date(text)
        .map_err(|_| "is no date: 2026-05-01 is wanted, a landing date in UTC".to_owned())
}

/// The dates of a run as typed.
#[derive(Debug, Clone)]
pub enum Dates {
    Night(String),
    Backfill { dates: Option<(String, String)>, stale: bool },
}

impl Dates {
    /// Errors: exit 2.
    pub fn of(&self, job: &Job, now: DateTime<Utc>) -> Result<DateSelection, Stop> {
        match self {
            Dates::Night(date) => night(job, date, now),
            Dates::Backfill { dates, stale } => backfill(job, dates.as_ref(), *stale, now),
        }
    }

    /// What they say without a job file. None where they are a word, such as `yesterday`.
    pub fn as_typed(&self) -> Option<Asked> {
        let selection = match self {
            Dates::Night(date) => DateSelection::Night(calendar_date(date).ok()?),
            Dates::Backfill { dates: None, stale } => of_range(None, *stale).ok()?,
            Dates::Backfill { dates: Some((from, to)), stale } => {
                let dates = (calendar_date(from).ok()?, calendar_date(to).ok()?);
                of_range(Some(dates), *stale).ok()?
            }
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
pub fn backfill(
    job: &Job,
    dates: Option<&(String, String)>,
    stale: bool,
    now: DateTime<Utc>,
) -> Result<DateSelection, Stop> {
    let dates = match dates {
        None => None,
        Some((from, to)) => match span(job, Some(from), Some(to), now)? {
            (Some(from), Some(to)) => Some((from, to)),
            _ => None,
        },
    };
    of_range(dates, stale)
}

/// The dates that `--from` and `--to` name, where they are given. Errors: exit 2, of both together.
pub fn span(
    job: &Job,
    from: Option<&String>,
    to: Option<&String>,
    now: DateTime<Utc>,
) -> Result<(Option<NaiveDate>, Option<NaiveDate>), Stop> {
    let date = |option, text: Option<&String>| {
        text.map(|text| date_in(option, text, job.zone, now)).transpose()
    };
    match (date("--from", from), date("--to", to)) {
        (Ok(from), Ok(to)) => Ok((from, to)),
        (Err(mut one), Err(other)) => {
            one.complaints.extend(other.complaints);
            Err(one)
        }
        (Err(stop), _) | (_, Err(stop)) => Err(stop),
    }
}

fn of_range(dates: Option<(NaiveDate, NaiveDate)>, stale: bool) -> Result<DateSelection, Stop> {
    match dates {
        None if stale => Ok(DateSelection::Stale),
        None => Err(Stop::fix_one("which dates? --from and --to name the first and the last")
            .hint("--stale stands for all dates that a change outdated")),
        Some((from, to)) if from <= to => Ok(DateSelection::Backfill(DateRange { from, to })),
        Some((from, to)) => Err(Stop::fix_one(format!("--from {from} is after --to {to}"))),
    }
}
