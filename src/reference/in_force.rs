//! Digests of the rows of a reference table that are in force at some time. So a change is seen on
//! the dates it concerns and on no others.

use std::fmt::Write;
use std::ops::Range;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, TimestampMicrosecondArray};
use arrow::datatypes::Date32Type;
use arrow::util::display::array_value_to_string;
use chrono::{DateTime, Utc};
use chrono_tz::Tz;

use super::table::ends;
use crate::days;

/// A row's digest without its validity, and its validity (half open).
#[derive(Debug, Clone, Copy)]
pub struct Fingerprint {
    pub hash: u128,
    pub from: Option<DateTime<Utc>>,
    pub to: Option<DateTime<Utc>>,
}

/// The fingerprints of a table. A digest reads only rows that begin or end within its range.
#[derive(Debug, Default)]
pub struct InForce {
    by_from: Vec<Fingerprint>,
    /// The rows that end, by their end.
    by_to: Vec<Fingerprint>,
    /// Running sums: at a position, the hashes of the rows of `by_from` (`by_to`) before it.
    from_sums: Vec<u128>,
    to_sums: Vec<u128>,
}

impl InForce {
    pub fn new(rows: impl IntoIterator<Item = Fingerprint>) -> InForce {
        let is_ever = |row: &Fingerprint| match (row.from, row.to) {
            (Some(from), Some(to)) => from < to,
            _ => true,
        };
        let mut by_from: Vec<Fingerprint> = rows.into_iter().filter(is_ever).collect();
        let mut by_to: Vec<Fingerprint> =
            by_from.iter().filter(|row| row.to.is_some()).copied().collect();
        by_from.sort_by_key(|row| row.from);
        by_to.sort_by_key(|row| row.to);
        let (from_sums, to_sums) = (sums(&by_from), sums(&by_to));
        InForce { by_from, by_to, from_sums, to_sums }
    }

    /// A digest of the rows that are in force at some instant of a range, and of when they are. It
    /// does not depend on the order of the rows.
    pub fn digest(&self, range: &Range<DateTime<Utc>>) -> u128 {
        let (start, end) = (range.start, range.end);
        let begun = self.by_from.partition_point(|row| row.from.is_none_or(|from| from <= start));
        let coming = self.by_from.partition_point(|row| row.from.is_none_or(|from| from < end));
        let ended = self.by_to.partition_point(|row| row.to.is_some_and(|to| to <= start));
        let ending = self.by_to.partition_point(|row| row.to.is_some_and(|to| to < end));
        // In force throughout: rows that begin by the start, less those that end before the end.
        let begins_inside = &self.by_from[begun..coming];
        let ends_inside = &self.by_to[ended..ending];
        let mut digest = self.from_sums[begun].wrapping_sub(self.to_sums[ended]);
        for row in ends_inside.iter().filter(|row| row.from.is_none_or(|from| from <= start)) {
            digest = digest.wrapping_sub(row.hash).wrapping_add(clipped(row, range));
        }
        for row in begins_inside {
            digest = digest.wrapping_add(clipped(row, range));
        }
        digest
    }
}

fn sums(rows: &[Fingerprint]) -> Vec<u128> {
    let mut sum: u128 = 0;
    let mut sums = vec![0];
    for row in rows {
        sum = sum.wrapping_add(row.hash);
        sums.push(sum);
    }
    sums
}

/// The fingerprints of the rows of a table. An fx rate is in force until the next one of its
/// currency, both from the beginning of their local date (C6).
pub fn fingerprints(rows: &RecordBatch, zone: Tz) -> Vec<Fingerprint> {
    const NOT_HASHED: [&str; 5] = ["valid_from", "valid_to", "joined_at", "left_at", "rate_date"];
    let schema = rows.schema();
    let columns = schema.fields().iter().zip(rows.columns());
    let columns: Vec<&ArrayRef> = columns
        .filter(|(field, _)| !NOT_HASHED.contains(&field.name().as_str()))
        .map(|(_, column)| column)
        .collect();
    let mut content = String::new();
    let mut fingerprints: Vec<Fingerprint> = Vec::with_capacity(rows.num_rows());
    for row in 0..rows.num_rows() {
        content.clear();
        for column in &columns {
            let text = column.is_valid(row).then(|| array_value_to_string(column, row));
            // Writing to a text cannot fail.
            let _ = write!(content, "{text:?},");
        }
        let mut bytes = [0; 16];
        bytes.copy_from_slice(&blake3::hash(content.as_bytes()).as_bytes()[..16]);
        let end = |times: &TimestampMicrosecondArray| {
            times.is_valid(row).then(|| DateTime::from_timestamp_micros(times.value(row))).flatten()
        };
        let (from, to) = match ends(rows) {
            Some((from, to)) => (end(from), end(to)),
            None => (None, None),
        };
        fingerprints.push(Fingerprint { hash: u128::from_le_bytes(bytes), from, to });
    }
    until_the_next(rows, zone, &mut fingerprints);
    fingerprints
}

fn until_the_next(rows: &RecordBatch, zone: Tz, fingerprints: &mut [Fingerprint]) {
    let Some(dates) = rows.column_by_name("rate_date") else { return };
    let (currencies, dates) = (rows.column(0).as_string_view(), dates.as_primitive::<Date32Type>());
    let start = |row: usize| dates.value_as_date(row).map(|date| days::start_of(date, zone));
    let mut order: Vec<usize> = (0..rows.num_rows()).collect();
    order.sort_by_key(|row| (currencies.value(*row), dates.value(*row)));
    for (position, row) in order.iter().enumerate() {
        let next = order.get(position + 1);
        let next = next.filter(|next| currencies.value(**next) == currencies.value(*row));
        fingerprints[*row].from = start(*row);
        fingerprints[*row].to = next.and_then(|next| start(*next));
    }
}

/// The digest of a row that is in force during a part of the range.
fn clipped(row: &Fingerprint, range: &Range<DateTime<Utc>>) -> u128 {
    let from = row.from.filter(|from| *from > range.start);
    let to = row.to.filter(|to| *to < range.end);
    let text = format!("{:032x} {from:?} {to:?}", row.hash);
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&blake3::hash(text.as_bytes()).as_bytes()[..16]);
    u128::from_le_bytes(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::TimeZone;

    fn day(day: i64) -> DateTime<Utc> {
        Utc.timestamp_opt(day * 86_400, 0).unwrap()
    }

    fn row(hash: u128, from: Option<i64>, to: Option<i64>) -> Fingerprint {
        Fingerprint { hash, from: from.map(day), to: to.map(day) }
    }

    /// The same digest, computed row by row.
    fn naive(rows: &[Fingerprint], range: &Range<DateTime<Utc>>) -> u128 {
        let mut digest = 0_u128;
        for row in rows {
            let from = row.from.unwrap_or(DateTime::<Utc>::MIN_UTC);
            let to = row.to.unwrap_or(DateTime::<Utc>::MAX_UTC);
            let is_in_force = from < to && from < range.end && to > range.start;
            let is_throughout = from <= range.start && to >= range.end;
            if is_in_force {
                let part = if is_throughout { row.hash } else { clipped(row, range) };
                digest = digest.wrapping_add(part);
            }
        }
        digest
    }

    #[test]
    fn equals_asking_row_by_row() {
        let mut rows = Vec::new();
        for hash in 0..200_u128 {
            let (from, to) = ((hash * 7 % 23) as i64, (hash * 5 % 29) as i64);
            let from = (hash % 5 > 0).then_some(from);
            let to = (hash % 3 > 0).then_some(to);
            rows.push(row(hash * hash + 1, from, to));
        }
        let table = InForce::new(rows.clone());
        for start in -2..30 {
            for end in start + 1..32 {
                let range = day(start)..day(end);
                assert_eq!(table.digest(&range), naive(&rows, &range), "{start}..{end}");
            }
        }
    }

    #[test]
    fn a_row_that_ends_later_changes_nothing_before() {
        let open = InForce::new([row(1, Some(0), None)]);
        let closed = InForce::new([row(1, Some(0), Some(10)), row(2, Some(10), None)]);
        assert_eq!(open.digest(&(day(8)..day(10))), closed.digest(&(day(8)..day(10))));
        assert_ne!(open.digest(&(day(9)..day(11))), closed.digest(&(day(9)..day(11))));
    }
}
