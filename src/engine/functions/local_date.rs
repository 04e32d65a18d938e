//! `local_date`: the calendar date of an instant in a time zone.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{Array, AsArray, Date32Array};
use arrow::datatypes::{DataType, TimestampMicrosecondType};
use chrono::{DateTime, Offset, TimeZone};
use chrono_tz::Tz;
use datafusion::common::{Result, ScalarValue, exec_err};
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};

const HOUR: i64 = 3_600_000_000;
const DAY: i64 = 24 * HOUR;

/// `local_date(instant, zone)`: the date (D1) of an instant in a time zone. The instant is a
/// timestamp in microseconds, the zone an IANA name. Null gives null. `cast(instant at time zone …
/// as date)` has the same result, but looks up the offset for each row. Errors: an unknown zone; an
/// instant that chrono has no date for.
pub fn local_date() -> ScalarUDF {
    ScalarUDF::from(LocalDate { signature: Signature::any(2, Volatility::Immutable) })
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct LocalDate {
    signature: Signature,
}

impl ScalarUDFImpl for LocalDate {
    fn name(&self) -> &str {
        "local_date"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Date32)
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let [instants, ColumnarValue::Scalar(zone)] = arguments.args.as_slice() else {
            return exec_err!("local_date wants an instant and the name of a zone");
        };
        let zone = match zone {
            ScalarValue::Utf8(Some(name)) | ScalarValue::Utf8View(Some(name)) => name.parse::<Tz>(),
            other => return exec_err!("local_date: {other} is no zone"),
        };
        let Ok(zone) = zone else { return exec_err!("local_date: no such zone") };
        let instants = instants.to_array(arguments.number_rows)?;
        let Some(instants) = instants.as_primitive_opt::<TimestampMicrosecondType>() else {
            return exec_err!("local_date: {} is no instant", instants.data_type());
        };
        let mut local_dates = LocalDates::of(zone);
        let mut dates = Vec::with_capacity(instants.len());
        for row in 0..instants.len() {
            dates.push(match instants.is_valid(row) {
                true => local_dates.date(instants.value(row))?,
                false => 0,
            });
        }
        let dates = Date32Array::new(dates.into(), instants.nulls().cloned());
        Ok(ColumnarValue::Array(Arc::new(dates)))
    }
}

/// The local dates of a zone. Its offsets from UTC in microseconds are cached by hour of UTC. No zone
/// changes its offset twice within an hour. So an offset that is the same at both ends of an hour
/// holds throughout.
pub struct LocalDates {
    zone: Tz,
    /// None for an hour in which the offset changes.
    of_hours: HashMap<i64, Option<i64>>,
}

impl LocalDates {
    pub fn of(zone: Tz) -> LocalDates {
        LocalDates { zone, of_hours: HashMap::new() }
    }

    /// The date of an instant in microseconds, in days since 1970. Errors: an instant that chrono has
    /// no date for.
    pub fn date(&mut self, instant: i64) -> Result<i32> {
        let offset = match self.of_hour(instant.div_euclid(HOUR))? {
            Some(offset) => offset,
            None => at(self.zone, instant)?,
        };
        match i32::try_from(instant.saturating_add(offset).div_euclid(DAY)) {
            Ok(date) => Ok(date),
            Err(_) => exec_err!("local_date: {instant} is out of range"),
        }
    }

    fn of_hour(&mut self, hour: i64) -> Result<Option<i64>> {
        if let Some(offset) = self.of_hours.get(&hour) {
            return Ok(*offset);
        }
        let first = at(self.zone, hour.saturating_mul(HOUR))?;
        let next = at(self.zone, (hour + 1).saturating_mul(HOUR))?;
        let offset = (first == next).then_some(first);
        self.of_hours.insert(hour, offset);
        Ok(offset)
    }
}

fn at(zone: Tz, instant: i64) -> Result<i64> {
    let Some(instant) = DateTime::from_timestamp_micros(instant) else {
        return exec_err!("local_date: {instant} is out of range");
    };
    let offset = zone.offset_from_utc_datetime(&instant.naive_utc()).fix();
    Ok(i64::from(offset.local_minus_utc()) * 1_000_000)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

    use chrono::{NaiveDate, TimeDelta, Utc};

    use super::*;
    use crate::days;

    #[test]
    fn is_what_the_calendar_says() {
        // Lord Howe changes by half an hour, Santiago at midnight.
        for zone in ["UTC", "America/Los_Angeles", "Australia/Lord_Howe", "America/Santiago"] {
            let zone: Tz = zone.parse().unwrap();
            let mut local_dates = LocalDates::of(zone);
            let start = NaiveDate::from_ymd_opt(2026, 1, 1).unwrap().and_hms_opt(0, 0, 7).unwrap();
            for step in 0..365 * 24 * 4 {
                let instant = start.and_utc() + TimeDelta::minutes(15 * step);
                let expected = days::days_since_1970(days::local_date(instant, zone));
                let found = local_dates.date(instant.timestamp_micros()).unwrap();
                assert_eq!(found, expected, "{instant} in {zone}");
            }
        }
    }

    /// Apia skipped a whole day. Until 2011 St. John's changed its clocks at one minute past
    /// midnight: within one hour of UTC its date moved to the next one and back again.
    #[test]
    fn follows_a_calendar_that_jumps() {
        for (zone, start) in
            [("Pacific/Apia", "2011-12-29T00:00:00Z"), ("America/St_Johns", "2010-11-06T00:00:00Z")]
        {
            let zone: Tz = zone.parse().unwrap();
            let mut local_dates = LocalDates::of(zone);
            for minutes in 0..72 * 60 {
                let start: DateTime<Utc> = start.parse().unwrap();
                let instant = start + TimeDelta::minutes(minutes);
                let found = local_dates.date(instant.timestamp_micros()).unwrap();
                assert_eq!(
                    found,
                    days::days_since_1970(days::local_date(instant, zone)),
                    "{instant} in {zone}"
                );
            }
        }
    }

    #[test]
    fn before_1970_and_out_of_range() {
        let mut local_dates = LocalDates::of(Tz::UTC);
        assert_eq!(local_dates.date(-1).unwrap(), -1);
        assert_eq!(local_dates.date(-DAY).unwrap(), -1);
        assert_eq!(local_dates.date(-DAY - 1).unwrap(), -2);
        assert!(local_dates.date(i64::MAX).is_err());
        assert!(local_dates.date(i64::MIN).is_err());
    }
}
