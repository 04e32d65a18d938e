//! Dates, and how far around them rows matter. Pure: no clock, no files.
//!
//! There are two calendars. A *report date* is a local date of the program's time zone. A *landing
//! date* is a UTC date on which rows arrived. Instants are `DateTime<Utc>`. Ranges of instants are
//! half open.

mod reach;

use std::collections::BTreeSet;
use std::fmt;
use std::ops::Range;

use chrono::{DateTime, Days, NaiveDate, NaiveTime, TimeDelta, TimeZone, Utc};
use chrono_tz::Tz;
pub use reach::Reach;

/// Dates from..=to, both included, never empty: report dates, order dates or landing dates.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DateRange {
    pub from: NaiveDate,
    pub to: NaiveDate,
}

impl DateRange {
    pub fn iter(self) -> impl Iterator<Item = NaiveDate> {
        self.from.iter_days().take_while(move |date| *date <= self.to)
    }

    /// One date.
    pub fn of(date: NaiveDate) -> DateRange {
        DateRange { from: date, to: date }
    }

    /// The number of dates.
    pub fn days(self) -> usize {
        (self.to - self.from).num_days().unsigned_abs() as usize + 1
    }

    pub fn contains(self, date: NaiveDate) -> bool {
        self.from <= date && date <= self.to
    }

    /// The instants of these local dates, half open.
    pub fn instants(self, zone: Tz) -> Range<DateTime<Utc>> {
        start_of(self.from, zone)..start_of(next(self.to), zone)
    }
}

impl fmt::Display for DateRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.from == self.to {
            true => write!(f, "{}", self.from),
            false => write!(f, "{} to {}", self.from, self.to),
        }
    }
}

/// The first instant of a local date. Where daylight saving skips midnight, this is the first
/// instant after the gap. Where it repeats midnight, this is the earlier one.
pub fn start_of(date: NaiveDate, zone: Tz) -> DateTime<Utc> {
    let midnight = date.and_time(NaiveTime::MIN);
    if let Some(start) = zone.from_local_datetime(&midnight).earliest() {
        return start.with_timezone(&Utc);
    }
    // A gap begins at or before midnight. Bisect for the first instant whose local date is `date`.
    // Zones are less than 16 hours from UTC.
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

/// The UTC dates that a range of instants touches. They must have landed (D2).
pub fn touched(instants: &Range<DateTime<Utc>>) -> DateRange {
    let last = instants.end - TimeDelta::microseconds(1);
    DateRange { from: instants.start.date_naive(), to: last.date_naive() }
}

/// The first instant of a UTC date.
pub fn start_of_utc(date: NaiveDate) -> DateTime<Utc> {
    date.and_time(NaiveTime::MIN).and_utc()
}

/// Days since 1970, as Arrow counts dates.
pub fn days_since_1970(date: NaiveDate) -> i32 {
    date.signed_duration_since(NaiveDate::default()).num_days() as i32
}

/// Groups dates into ranges without gaps, each of at most `at_most` dates.
pub fn contiguous_ranges(dates: &BTreeSet<NaiveDate>, at_most: usize) -> Vec<DateRange> {
    let mut ranges: Vec<DateRange> = Vec::new();
    for date in dates {
        match ranges.last_mut() {
            Some(last) if next(last.to) == *date && last.days() < at_most => {
                last.to = *date;
            }
            _ => ranges.push(DateRange { from: *date, to: *date }),
        }
    }
    ranges
}

/// "2026-01-05", "2026-01-05 to 2026-01-09", or "2026-01-05, 2026-01-07 to 2026-01-09".
pub fn describe(dates: impl IntoIterator<Item = NaiveDate>) -> String {
    let ranges = contiguous_ranges(&dates.into_iter().collect(), usize::MAX);
    let words: Vec<String> = ranges.iter().map(DateRange::to_string).collect();
    words.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn date(text: &str) -> NaiveDate {
        text.parse().unwrap()
    }

    fn hours(date: NaiveDate, zone: Tz) -> f64 {
        let range = DateRange { from: date, to: date }.instants(zone);
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
}
