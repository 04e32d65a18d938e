//! The days of the demo world, and the hours at which people are awake. Instants are microseconds
//! since 1970. Days count from the first landing date. Refuses to know rows.

use super::ZONE;
use chrono::{DateTime, Datelike, Days, NaiveDate, NaiveTime, SecondsFormat, TimeZone, Utc};
use rand::Rng;
use rand_pcg::Pcg64Mcg;

pub const SECOND: i64 = 1_000_000;
pub const MINUTE: i64 = 60 * SECOND;
pub const HOUR: i64 = 60 * MINUTE;
pub const DAY: i64 = 24 * HOUR;

/// Traffic by UTC hour: mostly evenings in America, some evenings in Europe.
const HOURS: [u32; 24] = [
    52, 56, 60, 58, 50, 38, 28, 22, 17, 15, 16, 19, 24, 30, 36, 42, 46, 48, 50, 52, 52, 50, 50, 51,
];
/// Percent of an average day, Monday first.
const WEEKDAYS: [u64; 7] = [95, 93, 94, 97, 103, 112, 106];

pub struct Calendar {
    first: NaiveDate,
    report_days: u32,
}

impl Calendar {
    pub fn new(first: NaiveDate, report_days: u32) -> Self {
        Calendar { first, report_days }
    }

    /// One more than the report dates: in America a local evening has the next UTC date.
    pub fn landing_days(&self) -> u32 {
        self.report_days + 1
    }

    pub fn date(&self, day: u32) -> NaiveDate {
        self.first + Days::new(u64::from(day))
    }

    pub fn partition(&self, day: u32) -> String {
        format!("dt={}", self.date(day))
    }

    /// 00:00 UTC.
    pub fn start(&self, day: u32) -> i64 {
        utc_midnight(self.date(day)).timestamp_micros()
    }

    /// The day of the instant `at`. Instants before the first day count as the first day.
    pub fn day_of(&self, at: i64) -> u32 {
        u32::try_from((at - self.start(0)) / DAY).unwrap_or(0)
    }

    /// The date after so many percent of the world, never its first date.
    pub fn part(&self, percent: u32) -> NaiveDate {
        self.date(1 + self.report_days * percent / 100)
    }

    pub fn before(&self, days: u32) -> NaiveDate {
        self.first - Days::new(u64::from(days))
    }

    pub fn volume(&self, per_day: u64, day: u32) -> u64 {
        let weekday = self.date(day).weekday().num_days_from_monday();
        per_day * WEEKDAYS[weekday as usize] / 100
    }

    pub fn waking_moment(&self, rng: &mut Pcg64Mcg, day: u32) -> i64 {
        let mut left = rng.random_range(0..HOURS.iter().sum());
        let mut hour = 0;
        for weight in HOURS {
            if left < weight {
                break;
            }
            left -= weight;
            hour += 1;
        }
        self.start(day) + hour * HOUR + rng.random_range(0..HOUR)
    }
}

pub fn utc_midnight(date: NaiveDate) -> DateTime<Utc> {
    date.and_time(NaiveTime::MIN).and_utc()
}

/// 00:00 in the program's zone.
pub fn local_midnight(date: NaiveDate) -> Option<DateTime<Utc>> {
    let local = ZONE.from_local_datetime(&date.and_time(NaiveTime::MIN));
    local.earliest().map(|instant| instant.to_utc())
}

/// A validity, half open. Either end may be open.
#[derive(Clone, Copy, Default)]
pub struct Span {
    pub from: Option<DateTime<Utc>>,
    pub to: Option<DateTime<Utc>>,
}

impl Span {
    pub fn contains(&self, at: i64) -> bool {
        self.from.is_none_or(|from| from.timestamp_micros() <= at)
            && self.to.is_none_or(|to| at < to.timestamp_micros())
    }

    pub fn until(to: DateTime<Utc>) -> Self {
        Span { from: None, to: Some(to) }
    }

    pub fn since(from: DateTime<Utc>) -> Self {
        Span { from: Some(from), to: None }
    }

    /// Both ends as reference tables have them. A midnight is written as a date alone, which begins
    /// when the date does in the zone of the job.
    pub fn texts(&self) -> [String; 2] {
        [self.from, self.to].map(|end| end.map_or_else(String::new, instant_text))
    }
}

fn instant_text(at: DateTime<Utc>) -> String {
    if at.time() == NaiveTime::MIN {
        at.date_naive().to_string()
    } else {
        at.to_rfc3339_opts(SecondsFormat::Secs, true)
    }
}
