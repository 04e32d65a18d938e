//! Which dates a run rewrites and which landing dates it reads. Pure: no clock, no files.
//!
//! Two calendars meet here. A *report date* is a local date of the program's time zone; a
//! *landing date* is a UTC date on which rows arrived. Instants are `DateTime<Utc>`, ranges of
//! instants are half open.

use std::collections::BTreeSet;
use std::ops::Range;

use chrono::{DateTime, Days, NaiveDate, NaiveTime, TimeDelta, TimeZone, Utc};
use chrono_tz::Tz;

/// How far a clock of the logging systems may run ahead: a row may carry a time up to one hour
/// after the end of its landing date (C1 `in_the_future`).
const CLOCK_SKEW: TimeDelta = TimeDelta::hours(1);

/// Report dates from..=to, both included, never empty.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReportDates {
    pub from: NaiveDate,
    pub to: NaiveDate,
}

impl ReportDates {
    pub fn iter(self) -> impl Iterator<Item = NaiveDate> {
        self.from.iter_days().take_while(move |date| *date <= self.to)
    }

    pub fn contains(self, date: NaiveDate) -> bool {
        self.from <= date && date <= self.to
    }

    /// The instants of these local dates.
    pub fn instants(self, zone: Tz) -> Range<DateTime<Utc>> {
        start_of(self.from, zone)..start_of(next(self.to), zone)
    }
}

/// The first instant of a local date. Where daylight saving skips midnight, the first instant
/// after the gap; where it repeats midnight, the earlier one.
pub fn start_of(date: NaiveDate, zone: Tz) -> DateTime<Utc> {
    let midnight = date.and_time(NaiveTime::MIN);
    if let Some(start) = zone.from_local_datetime(&midnight).earliest() {
        return start.with_timezone(&Utc);
    }
    // A gap begins at or before midnight. Bisect for the first instant whose local date is `date`:
    // zones are less than 16 hours from UTC.
    let mut before = midnight.and_utc() - TimeDelta::hours(16);
    let mut after = midnight.and_utc() + TimeDelta::hours(16);
    while after - before > TimeDelta::microseconds(1) {
        let middle = before + (after - before) / 2;
        match local_date(middle, zone) < date {
            true => before = middle,
            false => after = middle,
        }
    }
    after
}

/// The local date of an instant (D1).
pub fn local_date(instant: DateTime<Utc>, zone: Tz) -> NaiveDate {
    instant.with_timezone(&zone).date_naive()
}

pub fn next(date: NaiveDate) -> NaiveDate {
    plus(date, 1)
}

pub fn plus(date: NaiveDate, days: u64) -> NaiveDate {
    date.checked_add_days(Days::new(days)).unwrap_or(NaiveDate::MAX)
}

pub fn minus(date: NaiveDate, days: u64) -> NaiveDate {
    date.checked_sub_days(Days::new(days)).unwrap_or(NaiveDate::MIN)
}

/// The UTC dates that a range of instants touches: what must have landed (D2).
pub fn touched(instants: &Range<DateTime<Utc>>) -> ReportDates {
    let last = instants.end - TimeDelta::microseconds(1);
    ReportDates { from: instants.start.date_naive(), to: last.date_naive() }
}

/// The landing dates on which rows of these instants may have arrived: from one hour early
/// (`in_the_future`) to `late_days` late (`too_late`).
pub fn landing(instants: &Range<DateTime<Utc>>, late_days: u64) -> ReportDates {
    let early =
        ReportDates { from: (instants.start - CLOCK_SKEW).date_naive(), to: touched(instants).to };
    ReportDates { from: early.from, to: plus(early.to, late_days) }
}

/// The landing dates whose rows decide which row of `dt` is a duplicate, without `dt` (C3).
pub fn dedup_reach(dt: NaiveDate, late_days: u64) -> ReportDates {
    ReportDates { from: minus(dt, late_days + 2), to: minus(dt, 1) }
}

/// "2026-01-05", "2026-01-05 to 2026-01-09", or "2026-01-05, 2026-01-07 to 2026-01-09".
pub fn in_words(dates: impl IntoIterator<Item = NaiveDate>) -> String {
    let sorted: BTreeSet<NaiveDate> = dates.into_iter().collect();
    let mut runs: Vec<ReportDates> = Vec::new();
    for date in sorted {
        match runs.last_mut() {
            Some(run) if next(run.to) == date => run.to = date,
            _ => runs.push(ReportDates { from: date, to: date }),
        }
    }
    let words: Vec<String> = runs
        .iter()
        .map(|run| match run.from == run.to {
            true => run.from.to_string(),
            false => format!("{} to {}", run.from, run.to),
        })
        .collect();
    words.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn date(text: &str) -> NaiveDate {
        text.parse().unwrap()
    }

    fn hours(date: NaiveDate, zone: Tz) -> f64 {
        let range = ReportDates { from: date, to: date }.instants(zone);
        (range.end - range.start).num_minutes() as f64 / 60.0
    }

    #[test]
    fn local_dates_follow_daylight_saving() {
        assert_eq!(hours(date("2026-03-08"), chrono_tz::America::Los_Angeles), 23.0);
        assert_eq!(hours(date("2026-11-01"), chrono_tz::America::Los_Angeles), 25.0);
        assert_eq!(hours(date("2026-10-04"), chrono_tz::Australia::Lord_Howe), 23.5);
        assert_eq!(hours(date("2026-04-05"), chrono_tz::Australia::Lord_Howe), 24.5);
    }

    #[test]
    fn a_midnight_that_does_not_exist_begins_after_the_gap() {
        // Beirut skipped 00:00 to 01:00 on 2021-03-28.
        let start = start_of(date("2021-03-28"), chrono_tz::Asia::Beirut);
        assert_eq!(start.to_rfc3339(), "2021-03-27T22:00:00+00:00");
    }

    #[test]
    fn a_pacific_date_touches_two_landing_dates_and_may_land_later() {
        let one = ReportDates { from: date("2026-05-01"), to: date("2026-05-01") };
        let instants = one.instants(chrono_tz::America::Los_Angeles);
        assert_eq!(in_words(touched(&instants).iter()), "2026-05-01 to 2026-05-02");
        assert_eq!(in_words(landing(&instants, 2).iter()), "2026-05-01 to 2026-05-04");
        assert_eq!(in_words(landing(&one.instants(Tz::UTC), 2).iter()), "2026-04-30 to 2026-05-03");
    }
}
