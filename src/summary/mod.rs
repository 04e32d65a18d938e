//! What a run did and how it ended, as a value. It is printed as a table or written as JSON, and
//! metrics are made of it. A run that fails has the figures that it had until then.
//!
//! The names of the JSON are fixed: schedulers read them.

mod text;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use chrono::{DateTime, NaiveDate, Utc};
use serde::Serialize;

use crate::days::{self, DateRange};
use crate::location::Counts;
use crate::plan::DateSelection;
use crate::progress::{Figures, Stage};
use crate::stop::{Kind, Stop};
pub use text::grouped;

/// The result of a run. Counts are rows unless said otherwise.
#[derive(Debug, Default, Serialize)]
pub struct Summary {
    pub run_id: String,
    pub status: Status,
    pub exit_code: u8,
    /// What the run complains of. Empty when it did not fail.
    pub complaints: Vec<String>,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    pub started_at: DateTime<Utc>,
    /// None where the dates are words and the job file, which has the zone, cannot be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub asked: Option<Asked>,
    /// Report dates that were rewritten.
    pub report_dates: Vec<NaiveDate>,
    /// Report dates that were asked for and left as they are, because no input of theirs changed.
    pub up_to_date: Vec<NaiveDate>,
    /// Report dates before the night's own that were left as they are: their landing dates are not all
    /// there.
    pub skipped: Vec<NaiveDate>,
    /// Raw rows of the landing dates cleaned in this run, by log: those that came out of its views.
    pub raw_rows: BTreeMap<String, u64>,
    /// The rows that went into the views, by log. A log without a view is left out.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub rows_before_views: BTreeMap<String, u64>,
    /// Rejected rows of these landing dates, by log, then reason.
    pub rejected_rows: BTreeMap<String, BTreeMap<String, u64>>,
    /// Raw order events of these landing dates whose quantity is not whole: it is null.
    pub quantities_not_whole: u64,
    /// Order lines placed on the report dates, by status.
    pub order_lines: BTreeMap<String, u64>,
    /// The share of them that is attributed, such as "0.4321". None where no line was placed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attributed_share: Option<String>,
    /// The attributed ones, by how the winning click is the buyer's (C5).
    pub matched_by: BTreeMap<String, u64>,
    /// Change of the pending commission booked on the report dates, in program currency.
    pub pending_commission: Amount,
    /// Change of the approved commission booked on them, in program currency.
    pub approved_commission: Amount,
    /// The program currency. Left out where the job file cannot be read.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub currency: String,
    /// Events of the report dates that belong to no placed order line (M7).
    pub orphan_events: u64,
    /// Those of them that happened less than a second before their line was placed.
    pub orphans_within_a_second: u64,
    /// Repeated placed events of the report dates, which do not count (A5).
    pub repeated_placed_events: u64,
    /// Refunds of the report dates in another currency than their line's, without effect (M1).
    pub refunds_in_another_currency: u64,
    /// What refunds would have given back that moved nothing, by currency as logged: those rejected
    /// on the landing dates cleaned in this run, and the orphans of the report dates.
    pub refunds_not_booked: BTreeMap<String, LoggedAmount>,
    /// Dates written, by table.
    pub written: BTreeMap<String, Vec<NaiveDate>>,
    /// Reference tables whose rows changed since the run before.
    pub reference: Vec<String>,
    /// The newest report date that the warehouse has. None where it has none, or is not known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub newest_report_date: Option<NaiveDate>,
    /// Dates that are outdated (D7). `backfill --stale` makes them.
    pub outdated: Vec<Outdated>,
    /// Report dates that were never made, by the landing dates that they wait for.
    pub waiting: BTreeMap<String, Vec<NaiveDate>>,
    /// The limits of the job file that landing dates break (Q1 to Q3).
    pub broken_limits: Vec<BrokenLimit>,
    /// What looks wrong in the logs although nothing forbids it, a sentence each.
    pub warnings: Vec<String>,
    /// What was asked of object stores. Left out where all is on local disks.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub object_store: Option<Counts>,
    /// How long each stage took, and how many bytes it read and wrote.
    pub stages: BTreeMap<Stage, Figures>,
    pub seconds: f64,
}

/// How a run ended: one word for each exit code, and two for 0.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    #[default]
    Done,
    NothingToDo,
    Failed,
    BadInput,
    NotLanded,
    PromiseBroken,
    Held,
}

/// The dates that a run was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum Asked {
    Dates {
        from: NaiveDate,
        to: NaiveDate,
    },
    /// Those that are outdated.
    Stale {
        stale: bool,
    },
}

impl Asked {
    pub fn of(selection: DateSelection, late_days: u64) -> Asked {
        match selection {
            DateSelection::Night(to) => Asked::Dates { from: days::minus(to, late_days), to },
            DateSelection::Backfill(DateRange { from, to }) => Asked::Dates { from, to },
            DateSelection::Stale => Asked::Stale { stale: true },
        }
    }
}

/// A date that is outdated, and by what.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Outdated {
    pub date: NaiveDate,
    pub kind: DateKind,
    pub reason: String,
}

/// What of a date is outdated first: its clean rows, its conversions (and so its reports), or its
/// reports alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum DateKind {
    Landing,
    Order,
    Report,
}

/// A landing date of a log that breaks a limit: the key in the job file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct BrokenLimit {
    pub limit: &'static str,
    pub log: &'static str,
    pub date: NaiveDate,
}

impl DateKind {
    pub fn name(self) -> &'static str {
        match self {
            DateKind::Landing => "landing",
            DateKind::Order => "order",
            DateKind::Report => "report",
        }
    }
}

impl Summary {
    /// Notes how the run ended.
    pub fn end(&mut self, ended: &Result<(), Stop>) {
        match ended {
            Ok(()) => {
                let is_idle = self.report_dates.is_empty() && self.written.is_empty();
                self.status = if is_idle { Status::NothingToDo } else { Status::Done };
                self.exit_code = 0;
            }
            Err(stop) => {
                self.status = match stop.kind {
                    Kind::Ask => Status::Failed,
                    Kind::Fix => Status::BadInput,
                    Kind::Wait => Status::NotLanded,
                    Kind::Inspect => Status::PromiseBroken,
                    Kind::Later => Status::Held,
                };
                self.exit_code = stop.exit_code();
                self.complaints.clone_from(&stop.complaints);
                self.hint.clone_from(&stop.hint);
                self.forget_unpublished();
            }
        }
    }

    /// Of a run that failed: what it reported is not visible, unless its last commits failed half way.
    fn forget_unpublished(&mut self) {
        let reports = self.written.iter().filter(|(table, _)| table.starts_with("report/"));
        let visible: BTreeSet<NaiveDate> = reports.flat_map(|(_, dates)| dates).copied().collect();
        self.report_dates.retain(|date| visible.contains(date));
        if self.report_dates.is_empty() {
            self.order_lines.clear();
            self.matched_by.clear();
            self.attributed_share = None;
            self.pending_commission = Amount::default();
            self.approved_commission = Amount::default();
            (self.orphan_events, self.orphans_within_a_second) = (0, 0);
            (self.repeated_placed_events, self.refunds_in_another_currency) = (0, 0);
        }
    }

    /// The order and report dates that are outdated for a reason.
    pub fn outdated_by(&self, reason: &str) -> Vec<NaiveDate> {
        let outdated = self.outdated.iter();
        let outdated = outdated
            .filter(|outdated| outdated.kind != DateKind::Landing && outdated.reason == reason);
        outdated.map(|outdated| outdated.date).collect()
    }
}

/// Money in program currency, in cents; written as text such as "123.45".
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Amount(pub i128);

impl std::ops::AddAssign<i128> for Amount {
    fn add_assign(&mut self, cents: i128) {
        self.0 += cents;
    }
}

impl fmt::Display for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.0 < 0 { "-" } else { "" };
        let cents = self.0.unsigned_abs();
        write!(f, "{sign}{}.{:02}", cents / 100, cents % 100)
    }
}

impl Serialize for Amount {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// Money in the currency of an event, in ten-thousandths; written as text such as "123.45", or
/// "123.4567" where it has more decimals than two.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LoggedAmount(pub i128);

impl std::ops::AddAssign<i128> for LoggedAmount {
    fn add_assign(&mut self, ten_thousandths: i128) {
        self.0 += ten_thousandths;
    }
}

impl fmt::Display for LoggedAmount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", Amount(self.0 / 100))?;
        match (self.0 % 100).unsigned_abs() {
            0 => Ok(()),
            further => write!(f, "{further:02}"),
        }
    }
}

impl Serialize for LoggedAmount {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_failed_run_did_not_publish_is_not_told() {
        let dates = [1, 2].map(|day| NaiveDate::from_ymd_opt(2026, 5, day).unwrap());
        let made = || Summary {
            report_dates: dates.to_vec(),
            raw_rows: [("clicks".to_owned(), 7)].into(),
            order_lines: [("attributed".to_owned(), 3)].into(),
            approved_commission: Amount(-500),
            ..Summary::default()
        };
        let failed = || Err(Stop::inspect(vec!["a promise".to_owned()]));
        let mut summary = made();
        summary.end(&failed());
        assert_eq!((summary.status, summary.exit_code), (Status::PromiseBroken, 4));
        assert!(summary.report_dates.is_empty() && summary.order_lines.is_empty());
        assert_eq!((summary.approved_commission, summary.raw_rows["clicks"]), (Amount(0), 7));
        // Commits failed half way.
        let mut summary = made();
        summary.written.insert("report/orders".to_owned(), vec![dates[1]]);
        summary.end(&failed());
        assert_eq!((summary.report_dates, summary.order_lines["attributed"]), (vec![dates[1]], 3));
        let mut summary = made();
        summary.end(&Ok(()));
        assert_eq!((summary.status, summary.report_dates.len()), (Status::Done, 2));
    }
}
