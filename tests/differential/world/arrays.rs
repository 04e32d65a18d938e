//! A column as an Arrow array, in one of the types that hold its values exactly.

use std::sync::Arc;

use anyhow::Result;
use arrow::array::{ArrayRef, Date32Array, Decimal128Array, Int64Array, NullArray, StringArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, TimeUnit};
use chrono::{DateTime, NaiveDate, NaiveTime, Timelike, Utc};
use rust_decimal::Decimal;

use super::columns::Values;
use super::files::Writer;

/// Zones that a column of instants may have.
const ZONES: [Option<&str>; 4] =
    [Some("UTC"), Some("+00:00"), Some("America/New_York"), Some("+05:30")];

impl Writer<'_> {
    pub fn array(&mut self, values: &Values) -> Result<ArrayRef> {
        if values.are_all_null() && self.dice.chance(30) {
            return Ok(Arc::new(NullArray::new(values.len())));
        }
        match values {
            Values::Text(values) => self.text_array(values),
            Values::Instant(values) => self.instant_array(values),
            Values::End(values) => self.end_array(values),
            Values::Day(values) => self.date_array(values),
            Values::Amount(values) => self.amount_array(values),
            Values::Whole(values) => Ok(Arc::new(Int64Array::from(values.clone()))),
        }
    }

    fn text_array(&mut self, values: &[Option<String>]) -> Result<ArrayRef> {
        let text: ArrayRef = Arc::new(StringArray::from(values.to_vec()));
        let is_whole =
            |text: &String| text.parse::<i64>().is_ok_and(|whole| whole.to_string() == *text);
        if values.iter().flatten().all(is_whole) && self.dice.chance(50) {
            return Ok(cast(&text, &DataType::Int64)?);
        }
        let dictionary =
            |of: DataType| DataType::Dictionary(Box::new(DataType::Int32), Box::new(of));
        let forms = [
            DataType::Utf8,
            DataType::Utf8,
            DataType::LargeUtf8,
            DataType::Utf8View,
            dictionary(DataType::Utf8),
            dictionary(DataType::LargeUtf8),
        ];
        Ok(cast(&text, self.dice.pick(&forms))?)
    }

    fn end_array(&mut self, values: &[Option<DateTime<Utc>>]) -> Result<ArrayRef> {
        let present = || values.iter().flatten();
        if present().all(|at| self.date_alone(*at).is_some()) && self.dice.chance(50) {
            let days: Vec<Option<NaiveDate>> =
                values.iter().map(|at| self.date_alone((*at)?)).collect();
            return Ok(day_array(&days));
        }
        if present().all(|at| self.local_time(*at).is_some()) && self.dice.chance(50) {
            let local: Vec<Option<DateTime<Utc>>> =
                values.iter().map(|at| Some(self.local_time((*at)?)?.and_utc())).collect();
            return self.timestamps(&local, &[None]);
        }
        self.timestamps(values, &ZONES)
    }

    /// Dates, or midnights without a zone or of one.
    fn date_array(&mut self, values: &[Option<NaiveDate>]) -> Result<ArrayRef> {
        if self.dice.chance(60) {
            return Ok(day_array(values));
        }
        let midnights: Vec<Option<DateTime<Utc>>> = values
            .iter()
            .map(|day| day.map(|day| day.and_time(NaiveTime::MIN).and_utc()))
            .collect();
        self.timestamps(&midnights, &[None, Some("UTC")])
    }

    fn instant_array(&mut self, values: &[Option<DateTime<Utc>>]) -> Result<ArrayRef> {
        let zones = [&[None, None], &ZONES[..]].concat();
        self.timestamps(values, &zones)
    }

    /// In a unit that holds every value exactly; nanoseconds may say more than is kept of them.
    fn timestamps(
        &mut self,
        values: &[Option<DateTime<Utc>>],
        zones: &[Option<&str>],
    ) -> Result<ArrayRef> {
        let are_all =
            |holds: fn(DateTime<Utc>) -> bool| values.iter().flatten().all(|at| holds(*at));
        let mut units = vec![TimeUnit::Microsecond, TimeUnit::Microsecond];
        if are_all(|at| at.timestamp_nanos_opt().is_some()) {
            units.push(TimeUnit::Nanosecond);
        }
        if are_all(|at| at.nanosecond() % 1_000_000 == 0) {
            units.push(TimeUnit::Millisecond);
        }
        if are_all(|at| at.nanosecond() == 0) {
            units.push(TimeUnit::Second);
        }
        let (unit, zone) = (*self.dice.pick(&units), *self.dice.pick(zones));
        let whole: Vec<Option<i64>> = match unit {
            TimeUnit::Second => values.iter().map(|at| at.map(|at| at.timestamp())).collect(),
            TimeUnit::Millisecond => {
                values.iter().map(|at| at.map(|at| at.timestamp_millis())).collect()
            }
            TimeUnit::Microsecond => {
                values.iter().map(|at| at.map(|at| at.timestamp_micros())).collect()
            }
            TimeUnit::Nanosecond => {
                let finer = self.dice.between(0, 999);
                values
                    .iter()
                    .map(|at| at.and_then(|at| at.timestamp_nanos_opt()).map(|at| at + finer))
                    .collect()
            }
        };
        Ok(cast(&Int64Array::from(whole), &DataType::Timestamp(unit, zone.map(Arc::from)))?)
    }

    /// Decimals with room to spare, or whole numbers where there is nothing behind the point.
    fn amount_array(&mut self, values: &[Option<Decimal>]) -> Result<ArrayRef> {
        let exact: Vec<Option<Decimal>> =
            values.iter().map(|amount| amount.map(|amount| amount.normalize())).collect();
        let whole: Vec<Option<i64>> = exact
            .iter()
            .map(|amount| amount.filter(|amount| amount.scale() == 0)?.mantissa().try_into().ok())
            .collect();
        let are_all_whole =
            exact.iter().zip(&whole).all(|(amount, whole)| amount.is_some() == whole.is_some());
        if are_all_whole && self.dice.chance(40) {
            return Ok(Arc::new(Int64Array::from(whole)));
        }
        let decimals = exact.iter().flatten().map(Decimal::scale).max().unwrap_or(0)
            + self.dice.between(0, 4) as u32;
        let unscaled = |amount: Decimal| amount.mantissa() * 10_i128.pow(decimals - amount.scale());
        let unscaled: Vec<Option<i128>> =
            exact.into_iter().map(|amount| amount.map(unscaled)).collect();
        let digits = unscaled
            .iter()
            .flatten()
            .map(|amount| amount.abs().to_string().len())
            .max()
            .unwrap_or(1);
        let precision = self.dice.between((digits as i64).max(decimals as i64).max(1), 38) as u8;
        let scale = decimals as i8;
        let narrow = Decimal128Array::from(unscaled).with_precision_and_scale(precision, scale)?;
        let form = match self.dice.between(0, 9) {
            0 => DataType::Decimal256(precision, scale),
            1 if precision <= 18 => DataType::Decimal64(precision, scale),
            2 if precision <= 9 => DataType::Decimal32(precision, scale),
            _ => DataType::Decimal128(precision, scale),
        };
        Ok(cast(&narrow, &form)?)
    }
}

fn day_array(values: &[Option<NaiveDate>]) -> ArrayRef {
    let days =
        values.iter().map(|day| day.map(|day| (day - NaiveDate::default()).num_days() as i32));
    Arc::new(Date32Array::from_iter(days))
}
