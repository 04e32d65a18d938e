//! The summary as people read it, on stderr.

use std::collections::BTreeMap;
use std::fmt;

use chrono::NaiveDate;

use super::{Amount, DateKind, Summary};
use crate::days;

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
            self.tell_warnings(f)?;
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
            let currency = if currency == "(none)" { "without a currency" } else { currency };
            writeln!(f, "{:<34}{amount:>16} {currency}", "refunds not booked")?;
        }
        for (table, dates) in &self.written {
            let noun = if dates.len() == 1 { "date" } else { "dates" };
            writeln!(f, "{:<34}{:>16} {noun}", format!("written {table}"), dates.len())?;
        }
        self.tell_outdated(f)?;
        self.tell_warnings(f)?;
        self.tell_requests(f)?;
        write!(f, "{:<34}{:>16.1}", "seconds", self.seconds)
    }
}

impl Summary {
    fn tell_warnings(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.warnings.iter().try_for_each(|warning| writeln!(f, "warning: {warning}"))
    }

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

    /// Which dates wait for landing dates, and which are outdated: a line for each reason.
    pub fn outdated_lines(&self) -> Vec<String> {
        let waiting = self.waiting.iter().map(|(landing, dates)| {
            let (noun, verb) = if dates.len() == 1 { ("date", "was") } else { ("dates", "were") };
            let dates = days::describe(dates.iter().copied());
            format!("waiting for {landing}: report {noun} {dates} {verb} never made")
        });
        let mut by_reason: BTreeMap<(&str, bool), Vec<NaiveDate>> = BTreeMap::new();
        for outdated in &self.outdated {
            let is_landing = outdated.kind == DateKind::Landing;
            by_reason.entry((&outdated.reason, is_landing)).or_default().push(outdated.date);
        }
        let outdated = by_reason.into_iter().map(|((why, is_landing), dates)| {
            let noun = match (is_landing, dates.len()) {
                (false, 1) => "date",
                (false, _) => "dates",
                (true, 1) => "landing date",
                (true, _) => "landing dates",
            };
            let count = dates.len();
            format!("outdated: {why}: {count} {noun} ({})", days::describe(dates))
        });
        waiting.chain(outdated).collect()
    }

    fn tell_outdated(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for line in self.outdated_lines() {
            writeln!(f, "{line}")?;
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
    use super::super::LoggedAmount;
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
