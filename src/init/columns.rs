//! The columns of some files, structs taken apart, and what their first values look like.
//!
//! Refuses to know which column is ours.

use std::collections::BTreeSet;
use std::sync::LazyLock;

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::{DataType, Field};
use arrow::util::display::array_value_to_string;
use regex::Regex;

use crate::raw::Sample;

/// Structs are taken apart so deep.
const DEEPEST: usize = 4;

/// A column of a log.
#[derive(Debug, Clone)]
pub struct Column {
    /// As the files spell it. A dot steps into a struct.
    pub name: String,
    /// The names that lead to it, more than one where it is in a struct.
    pub path: Vec<String>,
    pub data_type: DataType,
    /// Values of the first rows that are not null and not empty, as text.
    pub values: Vec<String>,
    /// Rows that were looked at.
    pub looked_at: usize,
}

/// What a column can be used as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Time,
    /// A whole number that is a time in these units since 1970.
    NumberOfTime(Unit),
    /// A text such as 2026-04-01T12:00:00Z.
    TextOfTime,
    Text,
    Integer,
    Decimal,
    Float,
    List,
    /// A date, a boolean, bytes.
    Other,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    Seconds,
    Milliseconds,
    Microseconds,
    Nanoseconds,
}

/// The columns of all samples together, in the order in which they come. A column of several types
/// has the first one here.
pub fn of(samples: &[Sample]) -> Vec<Column> {
    let mut columns: Vec<Column> = Vec::new();
    for sample in samples {
        for field in sample.schema.fields() {
            let values = sample.head.column_by_name(field.name());
            take_apart(&[field.name().clone()], field, values, &mut columns);
        }
    }
    columns
}

fn take_apart(
    path: &[String],
    field: &Field,
    values: Option<&ArrayRef>,
    columns: &mut Vec<Column>,
) {
    if let DataType::Struct(fields) = field.data_type()
        && path.len() <= DEEPEST
    {
        let parts = values.and_then(|values| values.as_struct_opt());
        for part in fields {
            let values = parts.and_then(|parts| parts.column_by_name(part.name()));
            take_apart(&[path, &[part.name().clone()]].concat(), part, values, columns);
        }
        return;
    }
    let position = columns.iter().position(|column| column.path == path);
    let position = position.unwrap_or_else(|| {
        let data_type = match field.data_type() {
            DataType::Dictionary(_, values) => values.as_ref().clone(),
            other => other.clone(),
        };
        let (name, path) = (path.join("."), path.to_vec());
        columns.push(Column { name, path, data_type, values: Vec::new(), looked_at: 0 });
        columns.len() - 1
    });
    let Some(values) = values.filter(|values| !values.data_type().is_nested()) else { return };
    columns[position].looked_at += values.len();
    let texts = (0..values.len())
        .filter(|row| values.is_valid(*row))
        .filter_map(|row| array_value_to_string(values, row).ok())
        .filter(|text| !text.is_empty());
    columns[position].values.extend(texts);
}

static TIME_AS_TEXT: LazyLock<Option<Regex>> =
    LazyLock::new(|| Regex::new(r"^\d{4}-\d{2}-\d{2}[T ]\d{2}:\d{2}").ok());

impl Column {
    pub fn kind(&self) -> Kind {
        use DataType::{
            Float16, Float32, Float64, LargeUtf8, List, Null, Timestamp, Utf8, Utf8View,
        };
        match &self.data_type {
            Timestamp(..) => Kind::Time,
            Utf8 | LargeUtf8 | Utf8View if self.share(is_time_as_text) > 0.9 => Kind::TextOfTime,
            Utf8 | LargeUtf8 | Utf8View | Null => Kind::Text,
            kind if kind.is_integer() => match self.unit_of_time() {
                Some(unit) => Kind::NumberOfTime(unit),
                None => Kind::Integer,
            },
            Float16 | Float32 | Float64 => Kind::Float,
            kind if kind.is_decimal() => Kind::Decimal,
            List(_) | DataType::LargeList(_) | DataType::FixedSizeList(..) => Kind::List,
            _ => Kind::Other,
        }
    }

    /// The share of the values that are so. None of none.
    pub fn share(&self, is: impl Fn(&str) -> bool) -> f64 {
        let count = self.values.iter().filter(|value| is(value)).count();
        count as f64 / self.values.len().max(1) as f64
    }

    pub fn distinct(&self) -> BTreeSet<&str> {
        self.values.iter().map(String::as_str).collect()
    }

    /// Whether nearly no value comes twice.
    pub fn is_unique(&self) -> bool {
        self.values.len() > 1 && self.distinct().len() * 50 >= self.values.len() * 49
    }

    /// The unit in which nearly all numbers are times of the years 2000 to 2100.
    fn unit_of_time(&self) -> Option<Unit> {
        use Unit::{Microseconds, Milliseconds, Nanoseconds, Seconds};
        const FIRST: i128 = 946_684_800;
        const LAST: i128 = 4_102_444_800;
        let units = [
            (Seconds, 1),
            (Milliseconds, 1_000),
            (Microseconds, 1_000_000),
            (Nanoseconds, 1_000_000_000),
        ];
        let of = |factor: i128| {
            self.share(|value| {
                let number = value.parse::<i128>().unwrap_or_default();
                (FIRST * factor..LAST * factor).contains(&number)
            })
        };
        units.into_iter().find(|(_, factor)| of(*factor) > 0.98).map(|(unit, _)| unit)
    }
}

fn is_time_as_text(value: &str) -> bool {
    TIME_AS_TEXT.as_ref().is_some_and(|format| format.is_match(value))
}

impl Unit {
    pub fn name(self) -> &'static str {
        match self {
            Unit::Seconds => "seconds",
            Unit::Milliseconds => "milliseconds",
            Unit::Microseconds => "microseconds",
            Unit::Nanoseconds => "nanoseconds",
        }
    }

    /// The function of a view that makes a time of such a number.
    pub fn function(self) -> &'static str {
        match self {
            Unit::Seconds => "to_timestamp_seconds",
            Unit::Milliseconds => "to_timestamp_millis",
            Unit::Microseconds => "to_timestamp_micros",
            Unit::Nanoseconds => "to_timestamp_nanos",
        }
    }
}

impl Kind {
    /// In the words of a table for people.
    pub fn name(self) -> String {
        match self {
            Kind::Time => "time".to_owned(),
            Kind::NumberOfTime(unit) => format!("number of {}", unit.name()),
            Kind::TextOfTime => "text of a time".to_owned(),
            Kind::Text => "text".to_owned(),
            Kind::Integer => "integer".to_owned(),
            Kind::Decimal => "decimal".to_owned(),
            Kind::Float => "floating point".to_owned(),
            Kind::List => "list".to_owned(),
            Kind::Other => "other".to_owned(),
        }
    }
}
