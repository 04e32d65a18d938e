//! The columns of the reference tables: what each holds, and what is wrong with a value that is something
//! else (B3).

use arrow::datatypes::{DataType, TimeUnit};

use super::sheet::Presence::{self, Optional, Required};

/// A column: its name, what it holds, and whether a file must have it.
pub type Column = (&'static str, Kind, Presence);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A key, or whose row it is: never empty, without blanks around it.
    Id,
    /// Likewise, but it may be empty.
    OptionalId,
    /// Likewise, never empty, and no word by which the reports say that there is no publisher.
    Publisher,
    /// Any text, or none.
    Text,
    /// What a rate is for.
    Scope,
    /// An end of a validity.
    Instant,
    Date,
    /// A commission rate, from 0 to 1.
    Rate,
    FxRate,
}

use Kind::{Date, FxRate, Id, Instant, OptionalId, Publisher, Rate, Scope, Text};

impl Kind {
    pub fn data_type(self) -> DataType {
        match self {
            Id | OptionalId | Publisher | Text | Scope => DataType::Utf8View,
            Instant => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
            Date => DataType::Date32,
            Rate => DataType::Decimal128(9, 6),
            FxRate => DataType::Decimal128(18, 8),
        }
    }
}

/// The columns of each reference table, in the order of `docs/rules.md`.
pub fn columns(table: &str) -> &'static [Column] {
    match table {
        "links" => &[
            ("link_key", Id, Required),
            ("publisher_id", Publisher, Required),
            ("tracking_id", Text, Optional),
            ("valid_from", Instant, Required),
            ("valid_to", Instant, Required),
        ],
        "stores" => &[
            ("store_id", Id, Required),
            ("joined_at", Instant, Required),
            ("left_at", Instant, Required),
        ],
        "rates" => &[
            ("scope", Scope, Required),
            ("scope_id", Id, Required),
            ("store_id", OptionalId, Optional),
            ("rate", Rate, Required),
            ("valid_from", Instant, Required),
            ("valid_to", Instant, Required),
        ],
        "fx_rates" => {
            &[("currency", Id, Required), ("rate_date", Date, Required), ("rate", FxRate, Required)]
        }
        _ => &[
            ("visitor_id", Id, Required),
            ("buyer_id", Id, Required),
            ("valid_from", Instant, Optional),
            ("valid_to", Instant, Optional),
        ],
    }
}

/// The columns that a file of the table is searched for.
pub fn wanted(table: &str) -> Vec<(&'static str, Presence)> {
    columns(table).iter().map(|(name, _, presence)| (*name, *presence)).collect()
}

/// The columns that are the key of a row; they are the table's first.
pub fn key(table: &str) -> &'static [&'static str] {
    match table {
        "links" => &["link_key"],
        "stores" => &["store_id"],
        "rates" => &["scope", "scope_id", "store_id"],
        "fx_rates" => &["currency", "rate_date"],
        _ => &["visitor_id"],
    }
}

impl Kind {
    /// What is wrong with a value of another kind.
    pub fn fault(self) -> &'static str {
        match self {
            Instant => "is no time; write it like 2026-01-31T12:00:00Z",
            Date => "is no date; write it like 2026-01-31",
            Rate => "is not from 0 to 1 with at most 6 decimals",
            FxRate => "is not positive with at most 8 decimals (and 10 digits before the point)",
            _ => "is no text",
        }
    }
}

/// Words by which programs write that there is no value.
const NOTHING: [&str; 12] = [
    "NULL",
    "Null",
    "null",
    "\\N",
    "None",
    "NaN",
    "nan",
    "NaT",
    "<NA>",
    "#N/A",
    "N/A",
    "undefined",
];

/// By these words the reports say that there is no publisher.
const NO_PUBLISHER: [&str; 2] = ["(none)", "(unattributed)"];

/// What is wrong with a key, or with whose row it is: in short, and in full. One that may be left out
/// is no word by which programs write that it is.
pub fn fault_of_id(kind: Kind, text: &str) -> Option<(&'static str, &'static str)> {
    match kind {
        _ if has_blanks_around(text) => Some(("has blanks around it", "has blanks around it")),
        OptionalId if NOTHING.contains(&text) => Some((
            "is no value",
            "is how programs write that there is no value; leave the cell empty",
        )),
        Publisher if NO_PUBLISHER.contains(&text) => Some((
            "is a word of the reports",
            "is how the reports say that there is no publisher; name it otherwise",
        )),
        _ => None,
    }
}

/// Blanks of any kind. Most texts begin and end with a visible ASCII character.
fn has_blanks_around(text: &str) -> bool {
    let bytes = text.as_bytes();
    match (bytes.first(), bytes.last()) {
        (Some(first), Some(last)) if first.is_ascii_graphic() && last.is_ascii_graphic() => false,
        _ => text.starts_with(char::is_whitespace) || text.ends_with(char::is_whitespace),
    }
}
