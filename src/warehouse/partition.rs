//! What one file of a stored table holds.

use chrono::NaiveDate;

/// The rows of a stored table on one date. In `clean.rejects`, those of one log on it. In a reference
/// table, all rows.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Partition {
    pub date: NaiveDate,
    pub log: Option<String>,
}

impl Partition {
    pub fn of(date: NaiveDate) -> Partition {
        Partition { date, log: None }
    }

    /// The one partition of a reference table. Its date means nothing.
    pub fn whole() -> Partition {
        Partition::of(NaiveDate::MIN)
    }
}
