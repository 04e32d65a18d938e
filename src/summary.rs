//! What a run did, as a value. It is printed as a table or written as JSON.

use std::collections::BTreeMap;
use std::fmt;

use chrono::NaiveDate;
use serde::Serialize;

use crate::days;
use crate::location::Counts;

/// The result of a run. Counts are rows unless said otherwise.
#[derive(Debug, Default, Serialize)]
pub struct Summary {
    pub run_id: String,
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
    /// Dates that are outdated (D7), by reason. `backfill --stale` makes them.
    pub outdated: BTreeMap<String, Vec<NaiveDate>>,
    /// Report dates that were never made, by the landing dates that they wait for.
    pub waiting: BTreeMap<String, Vec<NaiveDate>>,
    /// What looks wrong in the logs although nothing forbids it, a sentence each.
    pub warnings: Vec<String>,
    /// What was asked of object stores. Left out where all is on local disks.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub object_store: Option<Counts>,
    pub seconds: f64,
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

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.up_to_date.is_empty() {
            let dates = days::describe(self.up_to_date.iter().copied());
            writeln!(f, "{:<34}{dates}", "up to date, left as they are")?;
        }
        for table in &self.reference {
            writeln!(f, "{:<34}{table}", "reference rows stored")?;
        }
        if self.report_dates.is_empty() && self.written.is_empty() {
            writeln!(f, "nothing to do")?;
            self.tell_outdated(f)?;
            self.tell_requests(f)?;
            return write!(f, "{:<34}{:>16.1}", "seconds", self.seconds);
        }
        if !self.report_dates.is_empty() {
            let dates = days::describe(self.report_dates.iter().copied());
            writeln!(f, "{:<34}{dates}", "report dates rewritten")?;
        }
        if !self.skipped.is_empty() {
            let dates = days::describe(self.skipped.iter().copied());
            writeln!(f, "{:<34}{dates}", "left, landing dates are missing")?;
        }
        for (log, rows) in &self.raw_rows {
            if let Some(before) = self.rows_before_views.get(log) {
                writeln!(
                    f,
                    "{:<34}{:>16}",
                    format!("raw {log} before the view"),
                    grouped(*before)
                )?;
            }
            writeln!(f, "{:<34}{:>16}", format!("raw {log} read"), grouped(*rows))?;
            for (reason, rows) in self.rejected_rows.get(log).into_iter().flatten() {
                writeln!(f, "{:<34}{:>16}", format!("  rejected: {reason}"), grouped(*rows))?;
            }
        }
        if self.quantities_not_whole > 0 {
            let rows = grouped(self.quantities_not_whole);
            writeln!(f, "{:<34}{rows:>16}", "quantities that are not whole")?;
        }
        for (status, lines) in &self.order_lines {
            writeln!(f, "{:<34}{:>16}", format!("order lines {status}"), grouped(*lines))?;
            let matched_by = self.matched_by.iter().filter(|_| status == "attributed");
            for (how, lines) in matched_by {
                writeln!(f, "{:<34}{:>16}", format!("  matched by {how}"), grouped(*lines))?;
            }
        }
        if let Some(share) = &self.attributed_share {
            writeln!(f, "{:<34}{share:>16}", "attributed share")?;
        }
        let currency = &self.currency;
        for (name, amount) in [
            ("pending commission booked", self.pending_commission),
            ("approved commission booked", self.approved_commission),
        ] {
            writeln!(f, "{name:<34}{:>16} {currency}", grouped_amount(amount))?;
        }
        writeln!(f, "{:<34}{:>16}", "orphan events", grouped(self.orphan_events))?;
        if self.orphans_within_a_second > 0 {
            let orphans = grouped(self.orphans_within_a_second);
            writeln!(f, "{:<34}{orphans:>16}", "  less than a second too early")?;
        }
        writeln!(
            f,
            "{:<34}{:>16}",
            "repeated placed events",
            grouped(self.repeated_placed_events)
        )?;
        writeln!(
            f,
            "{:<34}{:>16}",
            "refunds in another currency",
            grouped(self.refunds_in_another_currency)
        )?;
        for (currency, amount) in &self.refunds_not_booked {
            let amount = grouped_text(&amount.to_string());
            writeln!(f, "{:<34}{amount:>16} {currency}", "refunds not booked")?;
        }
        for (table, dates) in &self.written {
            let noun = if dates.len() == 1 { "date" } else { "dates" };
            writeln!(f, "{:<34}{:>16} {noun}", format!("written {table}"), dates.len())?;
        }
        self.tell_outdated(f)?;
        for warning in &self.warnings {
            writeln!(f, "warning: {warning}")?;
        }
        self.tell_requests(f)?;
        write!(f, "{:<34}{:>16.1}", "seconds", self.seconds)
    }
}

impl Summary {
    fn tell_requests(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(counts) = &self.object_store else { return Ok(()) };
        for (kind, requests) in &counts.requests {
            writeln!(f, "{:<34}{:>16}", format!("requests: {kind}"), grouped(*requests))?;
        }
        if counts.failed > 0 {
            writeln!(f, "{:<34}{:>16}", "  of these repeated", grouped(counts.failed))?;
        }
        for (name, bytes) in
            [("bytes read", counts.bytes_read), ("bytes written", counts.bytes_written)]
        {
            writeln!(f, "{name:<34}{:>16}", grouped(bytes))?;
        }
        Ok(())
    }

    fn tell_outdated(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (landing, dates) in &self.waiting {
            let dates = days::describe(dates.iter().copied());
            writeln!(f, "waiting for {landing}: report date {dates} was never made")?;
        }
        for (why, dates) in &self.outdated {
            let noun = if dates.len() == 1 { "date" } else { "dates" };
            let named = days::describe(dates.iter().copied());
            writeln!(f, "outdated: {why}: {} {noun} ({named})", dates.len())?;
        }
        if !self.outdated.is_empty() {
            writeln!(f, "`lookback backfill JOB --stale` makes outdated dates again")?;
        }
        Ok(())
    }
}

/// 1234567 as 1,234,567.
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (position, digit) in digits.chars().enumerate() {
        if position > 0 && (digits.len() - position).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

fn grouped_amount(amount: Amount) -> String {
    grouped_text(&amount.to_string())
}

fn grouped_text(text: &str) -> String {
    let (whole, cents) = text.split_once('.').unwrap_or((text, "00"));
    let sign = if whole.starts_with('-') { "-" } else { "" };
    match whole.trim_start_matches('-').parse() {
        Ok(whole) => format!("{sign}{}.{cents}", grouped(whole)),
        Err(_) => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped() {
        assert_eq!(grouped(1_234_567), "1,234,567");
        assert_eq!(grouped(12), "12");
        assert_eq!(grouped_amount(Amount(-123_450)), "-1,234.50");
        assert_eq!(Amount(-7).to_string(), "-0.07");
        assert_eq!(LoggedAmount(1_234_500).to_string(), "123.45");
        assert_eq!(LoggedAmount(1_234_507).to_string(), "123.4507");
        assert_eq!(grouped_text(&LoggedAmount(12_345_670_000).to_string()), "1,234,567.00");
    }
}
