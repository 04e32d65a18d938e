//! Times and dates as reference tables write them. Without a zone they are local: of the program's
//! time zone.

use chrono::{
    DateTime, Datelike, FixedOffset, NaiveDate, NaiveDateTime, NaiveTime, Offset, TimeZone,
};
use chrono_tz::{GapInfo, Tz};

use crate::days;

/// A text that is a time or a date.
enum Written {
    Date(NaiveDate),
    Local(NaiveDateTime),
    Zoned(DateTime<FixedOffset>),
}

/// The instant of a text, in microseconds since 1970. What is finer is cut off. None when it is no
/// time.
pub fn instant(text: &str, zone: Tz) -> Option<i64> {
    match written(text)? {
        Written::Date(date) => start_of(date, zone),
        Written::Local(time) => of_local(time, zone),
        Written::Zoned(time) => Some(time.timestamp_micros()),
    }
}

/// The date of a text: a date alone, or a midnight of any zone. None when it is neither.
pub fn date(text: &str) -> Option<NaiveDate> {
    match written(text)? {
        Written::Date(date) => Some(date),
        Written::Local(time) => midnight(time),
        Written::Zoned(time) => midnight(time.naive_local()),
    }
}

/// The date of a local time that is midnight.
pub fn midnight(time: NaiveDateTime) -> Option<NaiveDate> {
    (time.time() == NaiveTime::MIN).then(|| time.date())
}

/// The first instant of a local date, in microseconds since 1970. None when it is out of range.
pub fn start_of(date: NaiveDate, zone: Tz) -> Option<i64> {
    is_in_calendar(date).then(|| days::start_of(date, zone).timestamp_micros())
}

/// The instant of a local time, in microseconds since 1970. Of a time that is there twice, this is
/// the earlier instant. A time that is not there is moved forward by the gap. None when it is out of
/// range.
pub fn of_local(time: NaiveDateTime, zone: Tz) -> Option<i64> {
    if !is_in_calendar(time.date()) {
        return None;
    }
    if let Some(instant) = zone.from_local_datetime(&time).earliest() {
        return Some(instant.timestamp_micros());
    }
    let (_, before) = GapInfo::new(&time, &zone)?.begin?;
    let seconds = i64::from(before.fix().local_minus_utc());
    Some(time.and_utc().timestamp_micros() - seconds * 1_000_000)
}

/// Years with at most four digits: no calculation with a zone leaves what chrono can say.
fn is_in_calendar(date: NaiveDate) -> bool {
    (0..=9999).contains(&date.year())
}

fn written(text: &str) -> Option<Written> {
    let text = text.trim();
    if let Ok(date) = text.parse::<NaiveDate>() {
        return Some(Written::Date(date));
    }
    let text = text.replacen(' ', "T", usize::from(!text.contains('T')));
    let zoned = ["%Y-%m-%dT%H:%M:%S%.f%#z", "%Y-%m-%dT%H:%M%#z"]
        .iter()
        .find_map(|format| DateTime::parse_from_str(&text, format).ok());
    if let Some(time) = zoned {
        return Some(Written::Zoned(time));
    }
    let (text, is_utc) = match text.strip_suffix('Z') {
        Some(text) => (text, true),
        None => (text.as_str(), false),
    };
    let time = ["%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%dT%H:%M"]
        .iter()
        .find_map(|format| NaiveDateTime::parse_from_str(text, format).ok())?;
    Some(match is_utc {
        true => Written::Zoned(time.and_utc().fixed_offset()),
        false => Written::Local(time),
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

    use super::*;

    fn shown(text: &str, zone: &str) -> Option<String> {
        let micros = instant(text, zone.parse().unwrap())?;
        Some(DateTime::from_timestamp_micros(micros)?.to_rfc3339())
    }

    #[test]
    fn a_zone_that_is_written_counts() {
        for text in [
            "2026-01-31T12:00:00Z",
            "2026-01-31 12:00Z",
            "2026-01-31T13:00:00+01:00",
            "2026-01-31 13:00+01",
        ] {
            let found = shown(text, "America/Los_Angeles");
            assert_eq!(found.as_deref(), Some("2026-01-31T12:00:00+00:00"), "{text}");
        }
        assert_eq!(shown("31.01.2026", "UTC"), None);
    }

    #[test]
    fn without_a_zone_a_time_is_local() {
        for (text, zone, expected) in [
            ("2026-01-31 12:00", "UTC", "2026-01-31T12:00:00+00:00"),
            ("2026-01-31 12:00", "America/Los_Angeles", "2026-01-31T20:00:00+00:00"),
            ("2026-01-31", "America/Los_Angeles", "2026-01-31T08:00:00+00:00"),
            // Twice there: the earlier, in daylight saving time.
            ("2026-11-01 01:30", "America/Los_Angeles", "2026-11-01T08:30:00+00:00"),
            // Not there: 03:30 in daylight saving time.
            ("2026-03-08 02:30", "America/Los_Angeles", "2026-03-08T10:30:00+00:00"),
            // By half an hour.
            ("2026-10-04 02:10", "Australia/Lord_Howe", "2026-10-03T15:40:00+00:00"),
            // Beirut skipped 00:00 to 01:00. The date begins after the gap; a time is moved.
            ("2021-03-28", "Asia/Beirut", "2021-03-27T22:00:00+00:00"),
            ("2021-03-28 00:20", "Asia/Beirut", "2021-03-27T22:20:00+00:00"),
            // Apia skipped the whole day.
            ("2011-12-30", "Pacific/Apia", "2011-12-30T10:00:00+00:00"),
            ("2011-12-30 12:00", "Pacific/Apia", "2011-12-30T22:00:00+00:00"),
        ] {
            assert_eq!(shown(text, zone).as_deref(), Some(expected), "{text} in {zone}");
        }
    }

    #[test]
    fn the_ends_of_the_calendar() {
        for zone in ["Pacific/Kiritimati", "Etc/GMT+12"] {
            assert!(shown("0001-01-01", zone).is_some());
            assert!(shown("9999-12-31", zone).is_some());
            assert!(shown("9999-12-31 23:59:59.999999", zone).is_some());
        }
        assert_eq!(instant("+12026-01-01", Tz::UTC), None);
    }

    #[test]
    fn a_rate_date_is_a_date_or_a_midnight_as_written() {
        let first = NaiveDate::from_ymd_opt(2026, 1, 1);
        for text in
            ["2026-01-01", "2026-01-01 00:00", "2026-01-01T00:00:00+05:00", "2026-01-01T00:00Z"]
        {
            assert_eq!(date(text), first, "{text}");
        }
        assert_eq!(date("2026-01-01 16:00:00+01:00"), None);
        assert_eq!(date("2026-01-01 00:00:00.000001"), None);
    }
}
