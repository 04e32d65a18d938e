//! The columns of the two raw logs, and whether a file's schema can hold them (B1, B2).

use anyhow::Result;
use arrow::datatypes::{DataType, Fields, TimeUnit};
use datafusion::common::ScalarValue;
use datafusion::functions::expr_fn::round;
use datafusion::logical_expr::{Expr, cast, lit, try_cast, when};

use super::Log;
use crate::engine::functions::text_of;

/// A column: its name, what it is read as, and whether a file must have it.
pub type Column = (&'static str, Wanted, Presence);

impl Log {
    pub(super) fn columns(self) -> &'static [Column] {
        use Presence::{Optional, Required};
        use Wanted::{Amount, Id, Number, Text, Time};
        match self {
            Log::Clicks => &[
                ("click_id", Text, Required),
                ("clicked_at", Time, Required),
                ("url", Text, Required),
                ("buyer_id", Id, Optional),
                ("visitor_id", Id, Optional),
                ("store_id", Text, Optional),
                ("product_id", Text, Optional),
                ("country", Text, Optional),
                ("device", Text, Optional),
            ],
            Log::Orders => &[
                ("event_id", Text, Required),
                ("event_type", Text, Required),
                ("event_at", Time, Required),
                ("order_id", Text, Required),
                ("line_id", Text, Required),
                ("buyer_id", Id, Required),
                ("store_id", Text, Required),
                ("amount", Amount, Required),
                ("currency", Text, Required),
                ("product_id", Text, Optional),
                ("category_id", Text, Optional),
                ("quantity", Number, Optional),
                ("country", Text, Optional),
                ("reason", Text, Optional),
                ("visitor_id", Id, Optional),
            ],
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Presence {
    Required,
    Optional,
}

/// What a column is read as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wanted {
    Text,
    /// A text that names a buyer or a visitor, unless it is a word that stands for nobody.
    Id,
    Time,
    /// The exact text of a decimal or integer. SQL checks its digits.
    Amount,
    Number,
}

impl Wanted {
    /// Whether a column of this type can be read so. Errors: what is wanted, for a message.
    pub(super) fn accepts(self, found: &DataType) -> Result<(), String> {
        let found = match found {
            DataType::Dictionary(_, values) => values.as_ref(),
            other => other,
        };
        let is_text = found.is_string() || is_bytes(found);
        let accepted = match self {
            Wanted::Text | Wanted::Id => is_text || is_whole(found),
            Wanted::Time => matches!(found, DataType::Timestamp(..)),
            Wanted::Amount => found.is_integer() || found.is_decimal(),
            Wanted::Number => is_whole(found) || found.is_floating(),
        };
        if accepted || found == &DataType::Null {
            return Ok(());
        }
        Err(match self {
            Wanted::Text | Wanted::Id if found.is_floating() => {
                "a string or an integer: in a view, \
                 cast(… as bigint) makes one of a whole number"
                    .to_owned()
            }
            Wanted::Text | Wanted::Id => "a string or an integer".to_owned(),
            Wanted::Time if found.is_integer() => "a timestamp: in a view, to_timestamp_seconds, \
                 to_timestamp_millis or to_timestamp_micros makes one of a number"
                .to_owned(),
            Wanted::Time if is_text => {
                "a timestamp: in a view, to_timestamp makes one of a text".to_owned()
            }
            Wanted::Time => "a timestamp".to_owned(),
            Wanted::Amount if found.is_floating() => {
                "a decimal or an integer: floating point cannot hold money exactly".to_owned()
            }
            Wanted::Amount => "a decimal or an integer".to_owned(),
            Wanted::Number => "an integer".to_owned(),
        })
    }

    /// The column's type in the table `raw.clicks` or `raw.orders`.
    pub(super) fn read(self) -> DataType {
        match self {
            Wanted::Text | Wanted::Id | Wanted::Amount => DataType::Utf8View,
            Wanted::Time => instant(),
            Wanted::Number => DataType::Int64,
        }
    }

    /// Whether a value is lost because it is no whole number. None where that cannot be.
    pub(super) fn is_unfit(self, column: &Expr, found: &DataType) -> Result<Option<Expr>> {
        if self != Wanted::Number || !found.is_floating() {
            return Ok(None);
        }
        let whole = self.expression(column.clone(), found, &[])?;
        Ok(Some(column.clone().is_not_null().and(whole.is_null())))
    }

    /// Converts a column of type `found` to the table's type. The words in `nobody` are no id.
    pub(super) fn expression(
        self,
        column: Expr,
        found: &DataType,
        nobody: &[String],
    ) -> Result<Expr> {
        Ok(match self {
            Wanted::Id if !nobody.is_empty() => {
                let text = Wanted::Text.expression(column, found, nobody)?;
                let words =
                    nobody.iter().map(|word| lit(ScalarValue::Utf8View(Some(word.clone()))));
                when(text.clone().in_list(words.collect(), true), text).end()?
            }
            Wanted::Text | Wanted::Id => text_of().call(vec![column]),
            Wanted::Amount => cast(column, DataType::Utf8View),
            Wanted::Time => try_cast(within_calendar(column, found)?, instant()),
            Wanted::Number if found.is_floating() => when(
                round(vec![column.clone()]).eq(column.clone()),
                try_cast(column, DataType::Int64),
            )
            .end()?,
            Wanted::Number => try_cast(column, DataType::Int64),
        })
    }
}

/// Integers, also as decimals without decimals.
fn is_whole(found: &DataType) -> bool {
    match found {
        DataType::Decimal32(_, scale)
        | DataType::Decimal64(_, scale)
        | DataType::Decimal128(_, scale)
        | DataType::Decimal256(_, scale) => *scale <= 0,
        other => other.is_integer(),
    }
}

pub(super) fn is_bytes(found: &DataType) -> bool {
    use DataType::{Binary, BinaryView, FixedSizeBinary, LargeBinary};
    matches!(found, Binary | LargeBinary | BinaryView | FixedSizeBinary(_))
}

/// Moves times outside the calendar (before 0001-01-01 or after 9999-12-31) to its ends. Such rows
/// are too late or in the future, and do not stop the run.
fn within_calendar(column: Expr, found: &DataType) -> Result<Expr> {
    let DataType::Timestamp(unit, zone) = found else { return Ok(column) };
    let per_second = match unit {
        TimeUnit::Second => 1,
        TimeUnit::Millisecond => 1_000,
        TimeUnit::Microsecond => 1_000_000,
        // Nanoseconds only reach from 1677 to 2262.
        TimeUnit::Nanosecond => return Ok(column),
    };
    let end = |seconds: i64| {
        let count = ScalarValue::Int64(Some(seconds * per_second));
        Ok::<_, anyhow::Error>(lit(count.cast_to(&DataType::Timestamp(*unit, zone.clone()))?))
    };
    // 0001-01-01 and 9999-12-31.
    let first = end(-62_135_596_800)?;
    let last = end(253_402_214_400)?;
    // Nearly all rows take the first branch, so the others are not evaluated.
    let is_within = column.clone().between(first.clone(), last.clone());
    Ok(when(is_within, column.clone())
        .when(column.clone().lt(first.clone()), first)
        .when(column.clone().gt(last.clone()), last)
        .otherwise(column)?)
}

pub(super) fn instant() -> DataType {
    DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))
}

/// A column of a file: the names that lead to it, more than one where it is in a struct.
pub(super) struct Found<'a> {
    pub names: Vec<String>,
    pub data_type: &'a DataType,
}

/// Finds a column by its name. Where no column has that name, a dot steps into a struct (I1).
pub(super) fn find<'a>(fields: &'a Fields, name: &str) -> Option<Found<'a>> {
    if let Some((_, field)) = fields.find(name) {
        return Some(Found { names: vec![name.to_owned()], data_type: field.data_type() });
    }
    name.match_indices('.').find_map(|(dot, _)| {
        let (outer, inner) = (&name[..dot], &name[dot + 1..]);
        let DataType::Struct(within) = fields.find(outer)?.1.data_type() else { return None };
        let mut found = find(within, inner)?;
        found.names.insert(0, outer.to_owned());
        Some(found)
    })
}
