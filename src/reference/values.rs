//! A column of a reference file as the type of its table: texts, instants, dates, decimals.
//!
//! Refuses to know which column it is. Any column without a value may have any type.

use std::sync::Arc;

use anyhow::{Result, anyhow, bail};
use arrow::array::timezone::Tz as ArrowZone;
use arrow::array::{
    Array, ArrayRef, AsArray, Date32Array, Decimal128Array, PrimitiveArray, StringViewArray,
    TimestampMicrosecondArray, new_null_array,
};
use arrow::buffer::{BooleanBuffer, NullBuffer};
use arrow::compute::{CastOptions, cast, cast_with_options};
use arrow::datatypes::{
    ArrowPrimitiveType, DataType, Date32Type, Decimal128Type, TimeUnit, TimestampMicrosecondType,
};
use chrono::{DateTime, NaiveDate, NaiveDateTime, TimeZone};
use chrono_tz::Tz;

use super::times;
use crate::days::days_since_1970;

/// A converted column. In rows that cannot be converted it is null.
pub struct Values {
    pub array: ArrayRef,
    pub unfit: Vec<usize>,
}

/// Texts. An empty one is null. Errors: the type is none of a text or an integer; bytes that are no
/// UTF-8.
pub fn texts(column: &ArrayRef) -> Result<Values> {
    let column = without_dictionary(column)?;
    let found = column.data_type();
    let column = match found {
        _ if is_all_null(&column) => new_null_array(&DataType::Utf8View, column.len()),
        DataType::FixedSizeBinary(_) => cast(&column, &DataType::Binary)?,
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView => column.clone(),
        DataType::Decimal32(_, scale)
        | DataType::Decimal64(_, scale)
        | DataType::Decimal128(_, scale)
        | DataType::Decimal256(_, scale)
            if *scale <= 0 =>
        {
            column.clone()
        }
        found if found.is_string() || found.is_integer() => column.clone(),
        found => bail!("is {found}, but a text or an integer is wanted"),
    };
    let texts = texts_of(&column).map_err(|_| anyhow!("holds bytes that are no UTF-8"))?;
    Ok(Values { array: Arc::new(texts), unfit: Vec::new() })
}

/// Instants, in microseconds. Without a zone they are local. Errors: the type is none of a time.
pub fn instants(column: &ArrayRef, zone: Tz) -> Result<Values> {
    let column = without_dictionary(column)?;
    let values = match column.data_type() {
        _ if is_all_null(&column) => nothing::<TimestampMicrosecondType>(column.len()),
        DataType::Timestamp(_, Some(_)) => {
            let utc = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
            let micros = cast(&column, &utc)?;
            let times = micros.as_primitive::<TimestampMicrosecondType>();
            each(&column, |row| {
                let micros = (!times.is_null(row)).then(|| times.value(row))?;
                DateTime::from_timestamp_micros(micros).map(|_| micros)
            })
        }
        DataType::Timestamp(_, None) => {
            let micros = cast(&column, &DataType::Timestamp(TimeUnit::Microsecond, None))?;
            let times = micros.as_primitive::<TimestampMicrosecondType>();
            each(&column, |row| {
                let time = (!times.is_null(row)).then(|| naive(times.value(row)))??;
                times::of_local(time, zone)
            })
        }
        DataType::Date32 | DataType::Date64 => {
            let dates = cast(&column, &DataType::Date32)?;
            let dates = dates.as_primitive::<Date32Type>();
            each(&column, |row| times::start_of(dates.value_as_date(row)?, zone))
        }
        found if found.is_string() => {
            let texts = texts_of(&column)?;
            // Rows that follow each other often have the same time.
            let mut last: (&str, Option<i64>) = ("", None);
            each(&texts, |row| {
                if texts.value(row) != last.0 {
                    last = (texts.value(row), times::instant(texts.value(row), zone));
                }
                last.1
            })
        }
        found => bail!("is {found}, but a time, a date or a text is wanted"),
    };
    let (array, unfit) = values;
    let array: TimestampMicrosecondArray = array;
    Ok(Values { array: Arc::new(array.with_timezone("UTC")), unfit })
}

/// Dates: also midnights, of any zone as written. Errors: the type is none of a date.
pub fn dates(column: &ArrayRef) -> Result<Values> {
    let column = without_dictionary(column)?;
    let days = |date: NaiveDate| Some(days_since_1970(date));
    let (array, unfit): (Date32Array, _) = match column.data_type() {
        _ if is_all_null(&column) => nothing::<Date32Type>(column.len()),
        DataType::Date32 | DataType::Date64 => {
            let dates = cast(&column, &DataType::Date32)?;
            let dates = dates.as_primitive::<Date32Type>();
            each(&column, |row| days(dates.value_as_date(row)?))
        }
        DataType::Timestamp(_, written_in) => {
            let zone: Option<ArrowZone> = written_in.as_deref().map(str::parse).transpose()?;
            let unit = DataType::Timestamp(TimeUnit::Microsecond, written_in.clone());
            let micros = cast(&column, &unit)?;
            let times = micros.as_primitive::<TimestampMicrosecondType>();
            each(&column, |row| {
                let time = (!times.is_null(row)).then(|| naive(times.value(row)))??;
                let local = match zone {
                    Some(zone) => zone.from_utc_datetime(&time).naive_local(),
                    None => time,
                };
                days(times::midnight(local)?)
            })
        }
        found if found.is_string() => {
            let texts = texts_of(&column)?;
            each(&texts, |row| days(times::date(texts.value(row))?))
        }
        found => bail!("is {found}, but a date or a text is wanted"),
    };
    Ok(Values { array: Arc::new(array), unfit })
}

/// Decimals by value, within `least..=most` (in units of the last decimal). Errors: a floating-point
/// column, or another type that is no number.
pub fn decimals(
    column: &ArrayRef,
    (precision, scale): (u8, i8),
    (least, most): (i128, i128),
) -> Result<Values> {
    let column = without_dictionary(column)?;
    let is_within = |value: &i128| (least..=most).contains(value);
    let (array, unfit): (Decimal128Array, _) = match column.data_type() {
        _ if is_all_null(&column) => nothing::<Decimal128Type>(column.len()),
        found if found.is_floating() => {
            bail!("is floating-point, but a decimal or a text is wanted")
        }
        found if found.is_string() || found.is_integer() || found.is_decimal() => {
            let texts = texts_of(&cast(&column, &DataType::Utf8View)?)?;
            each(&texts, |row| {
                let text = texts.value(row).trim();
                scaled(text, usize::from(scale.unsigned_abs())).filter(is_within)
            })
        }
        found => bail!("is {found}, but a decimal or a text is wanted"),
    };
    Ok(Values { array: Arc::new(array.with_precision_and_scale(precision, scale)?), unfit })
}

/// "1.25" with 6 decimals is 1,250,000. None when it is no plain decimal or does not fit.
fn scaled(text: &str, decimals: usize) -> Option<i128> {
    let (sign, digits) = match text.strip_prefix('-') {
        Some(digits) => (-1, digits),
        None => (1, text.strip_prefix('+').unwrap_or(text)),
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let fraction = fraction.trim_end_matches('0');
    let all_digits = digits.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.')
        && !fraction.contains('.')
        && digits.bytes().any(|byte| byte.is_ascii_digit());
    if !all_digits || fraction.len() > decimals {
        return None;
    }
    let value: i128 = format!("{whole}{fraction:0<decimals$}").parse().ok()?;
    Some(sign * value)
}

/// Converts each value. Where that gives none, the row is unfit.
fn each<T: ArrowPrimitiveType>(
    column: &dyn Array,
    mut convert: impl FnMut(usize) -> Option<T::Native>,
) -> (PrimitiveArray<T>, Vec<usize>) {
    let mut unfit = Vec::new();
    let values = (0..column.len()).map(|row| {
        if column.is_null(row) {
            return None;
        }
        let value = convert(row);
        if value.is_none() {
            unfit.push(row);
        }
        value
    });
    (values.collect(), unfit)
}

fn nothing<T: ArrowPrimitiveType>(rows: usize) -> (PrimitiveArray<T>, Vec<usize>) {
    (PrimitiveArray::new_null(rows), Vec::new())
}

fn is_all_null(column: &dyn Array) -> bool {
    column.logical_null_count() == column.len()
}

fn without_dictionary(column: &ArrayRef) -> Result<ArrayRef> {
    match column.data_type() {
        DataType::Dictionary(_, values) => Ok(cast(column, values)?),
        _ => Ok(column.clone()),
    }
}

/// A column of texts, in which empty ones are null.
fn texts_of(column: &ArrayRef) -> Result<StringViewArray> {
    let options = CastOptions { safe: false, ..CastOptions::default() };
    let texts = cast_with_options(column, &DataType::Utf8View, &options)?;
    let texts = texts.as_string_view();
    // The low half of a view is the length.
    let has_text = BooleanBuffer::collect_bool(texts.len(), |row| texts.views()[row] as u32 != 0);
    let nulls = NullBuffer::union(texts.nulls(), Some(&NullBuffer::new(has_text)));
    let (views, buffers, _) = texts.clone().into_parts();
    Ok(StringViewArray::try_new(views, buffers, nulls)?)
}

/// The local time of a count of microseconds, without a zone.
fn naive(micros: i64) -> Option<NaiveDateTime> {
    DateTime::from_timestamp_micros(micros).map(|time| time.naive_utc())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimals_are_read_by_value() {
        assert_eq!(scaled("0.0850000", 6), Some(85_000));
        assert_eq!(scaled(".5", 6), Some(500_000));
        assert_eq!(scaled("-1", 6), Some(-1_000_000));
        assert_eq!(scaled("0.0000001", 6), None);
        assert_eq!(scaled("1.2.3", 6), None);
        assert_eq!(scaled("1e-2", 6), None);
        assert_eq!(scaled("", 6), None);
    }
}
