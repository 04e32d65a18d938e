//! From rows of text to one typed reference table: keys, validity, numbers, overlaps (B3).

use std::collections::HashMap;
use std::fmt::Write;
use std::sync::Arc;

use anyhow::Result;
use arrow::array::{
    ArrayRef, Date32Array, Decimal128Array, RecordBatch, StringViewArray, TimestampMicrosecondArray,
};
use chrono::{DateTime, NaiveDate, NaiveDateTime, SubsecRound, Utc};

use super::in_force::Fingerprint;
use super::sheet::Presence::{Optional, Required};
use super::sheet::{At, Row, Wanted};

/// A table as built. There may have been complaints about its rows.
pub struct Draft {
    pub batch: RecordBatch,
    pub fingerprints: Vec<Fingerprint>,
}

/// The columns of each reference table, in the order of `docs/rules.md`.
pub fn columns(table: &str) -> &'static [Wanted] {
    match table {
        "links" => &[
            ("link_key", Required),
            ("publisher_id", Required),
            ("tracking_id", Optional),
            ("valid_from", Required),
            ("valid_to", Required),
        ],
        "stores" => &[("store_id", Required), ("joined_at", Required), ("left_at", Required)],
        "rates" => &[
            ("scope", Required),
            ("scope_id", Required),
            ("store_id", Optional),
            ("rate", Required),
            ("valid_from", Required),
            ("valid_to", Required),
        ],
        "fx_rates" => &[("currency", Required), ("rate_date", Required), ("rate", Required)],
        _ => &[
            ("visitor_id", Required),
            ("buyer_id", Required),
            ("valid_from", Optional),
            ("valid_to", Optional),
        ],
    }
}

/// The columns that may not be empty, and the columns that are the key of a row.
fn key(table: &str) -> (&'static [&'static str], &'static [&'static str]) {
    match table {
        "links" => (&["link_key", "publisher_id"], &["link_key"]),
        "stores" => (&["store_id"], &["store_id"]),
        "rates" => (&["scope_id"], &["scope", "scope_id", "store_id"]),
        "fx_rates" => (&["currency", "rate_date"], &["currency", "rate_date"]),
        _ => (&["visitor_id", "buyer_id"], &["visitor_id"]),
    }
}

/// Checks the rows of a table (B3) and builds its batch. Complaints are added to `complaints`. Rows
/// of `fx_rates` get a validity: a rate is in force until the next one of its currency (C6).
pub fn build(
    table: &str,
    file: &str,
    rows: Vec<Row>,
    complaints: &mut Vec<String>,
) -> Result<Draft> {
    let mut lines: Vec<Line> =
        rows.into_iter().map(|row| Line::read(table, file, row, complaints)).collect();
    match table {
        "fx_rates" => {
            refuse_duplicates(file, &lines, complaints);
            until_the_next(&mut lines);
        }
        _ => refuse_overlaps(table, file, &lines, complaints),
    }
    Ok(Draft { batch: batch(table, &lines)?, fingerprints: fingerprints(&lines) })
}

/// One row: its texts by column, and what was parsed from them.
struct Line {
    at: At,
    columns: &'static [Wanted],
    cells: Vec<Option<String>>,
    rate: i128,
    rate_date: Option<NaiveDate>,
    from: Option<DateTime<Utc>>,
    to: Option<DateTime<Utc>>,
}

impl Line {
    fn read(table: &str, file: &str, row: Row, complaints: &mut Vec<String>) -> Line {
        let line = Line {
            at: row.at,
            columns: columns(table),
            cells: row.cells,
            rate: 0,
            rate_date: None,
            from: None,
            to: None,
        };
        let mut complain = |trouble: String| {
            complaints.push(format!("{file}: {}, {}: {trouble}", line.at, line.key(table)));
        };
        for column in key_columns(table) {
            if line.text(column).is_none() {
                complain(format!("{column} is empty"));
            }
        }
        if table == "rates" {
            match line.text("scope") {
                Some("product" | "category" | "store") => {}
                scope => complain(format!(
                    "the scope \"{}\" is unknown; known are product, category and store",
                    scope.unwrap_or_default()
                )),
            }
        }
        let rate = match table {
            "rates" => line.number("rate", 6, 0, 1_000_000).unwrap_or_else(|found| {
                complain(format!("the rate {found} is not from 0 to 1 with at most 6 decimals"));
                0
            }),
            "fx_rates" => line.number("rate", 8, 1, 10_i128.pow(18) - 1).unwrap_or_else(|found| {
                complain(format!(
                    "the rate {found} is not positive with at most 8 decimals (and 10 digits \
                         before the point)"
                ));
                0
            }),
            _ => 0,
        };
        let mut time = |column: &str| match line.text(column).map(|text| (text, instant(text))) {
            None => None,
            Some((_, Some(time))) => Some(time),
            Some((text, None)) => {
                complain(format!(
                    "{column} \"{text}\" is no time; write it like 2026-01-31T12:00:00Z"
                ));
                None
            }
        };
        let from = time("valid_from").or_else(|| time("joined_at"));
        let to = time("valid_to").or_else(|| time("left_at"));
        let rate_date = time("rate_date").map(|time| time.date_naive());
        Line { rate, from, to, rate_date, ..line }
    }

    fn texts(&self) -> impl Iterator<Item = (&'static str, &Option<String>)> {
        self.columns.iter().map(|(name, _)| *name).zip(&self.cells)
    }

    fn text(&self, column: &str) -> Option<&str> {
        let (_, text) = self.texts().find(|(name, _)| *name == column)?;
        text.as_deref()
    }

    /// The key, for messages and comparison: "link_key _ann".
    fn key(&self, table: &str) -> String {
        let parts: Vec<String> = key(table)
            .1
            .iter()
            .map(|name| format!("{name} {}", self.text(name).unwrap_or("(empty)")))
            .collect();
        parts.join(", ")
    }

    /// A decimal by value, scaled to `decimals`, within `least..=most`. Errors: the text found.
    fn number(
        &self,
        column: &str,
        decimals: usize,
        least: i128,
        most: i128,
    ) -> Result<i128, String> {
        let text = self.text(column).unwrap_or("(empty)").trim();
        scaled(text, decimals)
            .filter(|value| (least..=most).contains(value))
            .ok_or_else(|| text.to_owned())
    }
}

fn key_columns(table: &str) -> &'static [&'static str] {
    key(table).0
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

/// A time with a zone, a time without (UTC), or a date (its 00:00 UTC). What is finer than a
/// microsecond is cut off.
fn instant(text: &str) -> Option<DateTime<Utc>> {
    let text = text.trim();
    if let Ok(date) = text.parse::<NaiveDate>() {
        return Some(date.and_time(chrono::NaiveTime::MIN).and_utc());
    }
    let text = text.replacen(' ', "T", usize::from(!text.contains('T')));
    let zoned = ["%Y-%m-%dT%H:%M:%S%.f%#z", "%Y-%m-%dT%H:%M%#z"]
        .iter()
        .find_map(|format| DateTime::parse_from_str(&text, format).ok())
        .map(|time| time.with_timezone(&Utc));
    let naive = || {
        let text = text.strip_suffix('Z').unwrap_or(&text);
        ["%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%dT%H:%M"]
            .iter()
            .find_map(|format| NaiveDateTime::parse_from_str(text, format).ok())
            .map(|time| time.and_utc())
    };
    zoned.or_else(naive).map(|time| time.trunc_subsecs(6))
}

/// Two rates of one currency and date. By the parsed date, so that two spellings of it are one.
fn refuse_duplicates(file: &str, lines: &[Line], complaints: &mut Vec<String>) {
    let mut seen: HashMap<_, &Line> = HashMap::with_capacity(lines.len());
    for line in lines {
        let Some((currency, date)) = line.text("currency").zip(line.rate_date) else { continue };
        let first = seen.entry((currency, date)).or_insert(line);
        if !std::ptr::eq(*first, line) {
            complaints.push(format!(
                "{file}: currency {currency}, rate_date {date} is there twice: {} and {}",
                first.at, line.at
            ));
        }
    }
}

fn refuse_overlaps(table: &str, file: &str, lines: &[Line], complaints: &mut Vec<String>) {
    let mut by_key: HashMap<String, Vec<&Line>> = HashMap::new();
    for line in lines {
        let is_ever_in_force = line.from.zip(line.to).is_none_or(|(from, to)| from < to);
        if is_ever_in_force {
            by_key.entry(line.key(table)).or_default().push(line);
        }
    }
    let mut found = Vec::new();
    for (key, mut lines) in by_key {
        lines.sort_by_key(|line| line.from);
        let mut reaching = lines[0];
        for line in &lines[1..] {
            if reaching.to.is_none_or(|end| line.from.is_none_or(|start| start < end)) {
                found.push(format!(
                    "{file}: {key} is valid twice at once: {} ({}) and {} ({})",
                    reaching.at,
                    validity(reaching),
                    line.at,
                    validity(line)
                ));
            }
            if reaching.to.is_some_and(|end| line.to.is_none_or(|other| other > end)) {
                reaching = line;
            }
        }
    }
    found.sort();
    complaints.extend(found);
}

fn validity(line: &Line) -> String {
    let end = |time: Option<DateTime<Utc>>| match time {
        Some(time) => time.to_rfc3339_opts(chrono::SecondsFormat::AutoSi, true),
        None => "open".to_owned(),
    };
    format!("{} to {}", end(line.from), end(line.to))
}

/// Gives each fx rate its validity: from its date to the next date of its currency.
fn until_the_next(lines: &mut [Line]) {
    let start = |date: NaiveDate| date.and_time(chrono::NaiveTime::MIN).and_utc();
    lines.sort_by(|one, other| {
        (one.text("currency"), one.rate_date).cmp(&(other.text("currency"), other.rate_date))
    });
    for position in 0..lines.len() {
        lines[position].from = lines[position].rate_date.map(start);
        lines[position].to = match lines.get(position + 1) {
            Some(next) if next.text("currency") == lines[position].text("currency") => {
                next.rate_date.map(start)
            }
            _ => None,
        };
    }
}

/// Digests of the lines, with rates by value (0.09 is 0.090) and without the validity.
fn fingerprints(lines: &[Line]) -> Vec<Fingerprint> {
    let parsed = ["rate", "rate_date", "valid_from", "valid_to", "joined_at", "left_at"];
    let mut content = String::new();
    let fingerprints = lines.iter().map(|line| {
        let texts: Vec<_> = line.texts().filter(|(name, _)| !parsed.contains(name)).collect();
        content.clear();
        // Writing to a text cannot fail.
        let _ = write!(content, "{texts:?}{}", line.rate);
        let mut bytes = [0; 16];
        bytes.copy_from_slice(&blake3::hash(content.as_bytes()).as_bytes()[..16]);
        Fingerprint { hash: u128::from_le_bytes(bytes), from: line.from, to: line.to }
    });
    fingerprints.collect()
}

fn batch(table: &str, lines: &[Line]) -> Result<RecordBatch> {
    let texts = |column: &'static str| -> (&'static str, ArrayRef) {
        (column, Arc::new(lines.iter().map(|line| line.text(column)).collect::<StringViewArray>()))
    };
    let times = |column: &'static str, time: fn(&Line) -> Option<DateTime<Utc>>| {
        let micros = lines.iter().map(|line| time(line).map(|time| time.timestamp_micros()));
        let array = micros.collect::<TimestampMicrosecondArray>().with_timezone("UTC");
        (column, Arc::new(array) as ArrayRef)
    };
    let rates = |precision: u8, scale: i8| -> Result<(&'static str, ArrayRef)> {
        let values = lines.iter().map(|line| Some(line.rate)).collect::<Decimal128Array>();
        Ok(("rate", Arc::new(values.with_precision_and_scale(precision, scale)?)))
    };
    let from = times("valid_from", |line| line.from);
    let to = times("valid_to", |line| line.to);
    let columns: Vec<(&str, ArrayRef)> = match table {
        "links" => vec![texts("link_key"), texts("publisher_id"), texts("tracking_id"), from, to],
        "stores" => vec![texts("store_id"), ("joined_at", from.1), ("left_at", to.1)],
        "rates" => {
            vec![texts("scope"), texts("scope_id"), texts("store_id"), rates(9, 6)?, from, to]
        }
        "fx_rates" => {
            let dates = lines.iter().map(|line| {
                line.rate_date.map(|date| date.signed_duration_since(NaiveDate::default()))
            });
            let dates = dates.map(|days| days.map(|days| days.num_days() as i32));
            let dates: ArrayRef = Arc::new(dates.collect::<Date32Array>());
            vec![texts("currency"), ("rate_date", dates), rates(18, 8)?, from, to]
        }
        _ => vec![texts("visitor_id"), texts("buyer_id"), from, to],
    };
    Ok(RecordBatch::try_from_iter_with_nullable(
        columns.into_iter().map(|(name, array)| (name, array, true)),
    )?)
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

    #[test]
    fn times_without_zone_are_utc() {
        let noon = "2026-01-31T12:00:00+00:00";
        for text in [
            "2026-01-31T12:00:00Z",
            "2026-01-31 12:00",
            "2026-01-31T13:00:00+01:00",
            "2026-01-31 12:00Z",
        ] {
            assert_eq!(
                instant(text).map(|time| time.to_rfc3339()).as_deref(),
                Some(noon),
                "{text}"
            );
        }
        assert_eq!(
            instant("2026-01-31").map(|time| time.to_rfc3339()).as_deref(),
            Some("2026-01-31T00:00:00+00:00")
        );
        assert_eq!(instant("31.01.2026"), None);
    }
}
