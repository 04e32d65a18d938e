//! The quality limits of a job (Q1 to Q3). What is left out limits nothing.

use toml::Value;

use super::reader::what_is;
use super::{Reader, millionths};

const SECTION: &str = "limits";

/// What a run accepts of the landing dates that its own dates touch. Shares are in millionths.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Limits {
    /// The greatest share of a log's raw rows that may be rejected, duplicates aside (Q1).
    pub rejected_clicks: Option<i128>,
    pub rejected_orders: Option<i128>,
    /// The least share of the usual number of raw rows (Q2).
    pub fewest_rows: Option<i128>,
    /// How many days before a placed event the rate may be that it uses (Q3).
    pub oldest_fx_days: Option<u64>,
}

impl Limits {
    /// Takes the section out of the job file. Complaints go to the reader.
    pub(super) fn read(reader: &mut Reader<'_>) -> Limits {
        Limits {
            rejected_clicks: share(reader, "rejected_clicks"),
            rejected_orders: share(reader, "rejected_orders"),
            fewest_rows: share(reader, "fewest_rows"),
            oldest_fx_days: days(reader, "oldest_fx_days"),
        }
    }
}

fn share(reader: &mut Reader<'_>, key: &str) -> Option<i128> {
    let trouble = match reader.take(SECTION, key)? {
        Value::String(text) => match millionths(&text) {
            Some(share) => return Some(share),
            None => format!(
                "is \"{text}\", but a share from 0 to 1 with at most 6 decimals is wanted, such as \
                 \"0.05\""
            ),
        },
        other => {
            format!("is {}, but a text such as \"0.05\" is wanted", what_is(&other))
        }
    };
    reader.complain(SECTION, key, trouble)
}

fn days(reader: &mut Reader<'_>, key: &str) -> Option<u64> {
    let days = reader.has(SECTION, key).then(|| reader.number(SECTION, key, 0, 0..=3650)).flatten();
    days.map(i64::unsigned_abs)
}
