//! Rows of one key: equal rows count once, others may not be valid at the same time (B3).

use std::cmp::Ordering;
use std::collections::HashSet;

use anyhow::Result;
use arrow::array::{Array, DynComparator, RecordBatch, make_comparator};
use arrow::compute::{SortOptions, concat_batches};
use arrow::datatypes::SchemaRef;
use chrono::{DateTime, SecondsFormat};

use super::complaints::Complaints;
use super::sheet::At;
use super::table::{describe_key, ends};

/// The rows of a table whose key others seem to have, in the order of the file.
pub struct Repeats {
    pub batches: Vec<RecordBatch>,
    schema: SchemaRef,
    /// So many first columns are the key.
    key: usize,
    rows: Vec<Row>,
}

struct Row {
    /// Of the key.
    hash: u64,
    /// The position among all rows of the file.
    position: usize,
    at: At,
    /// Whether all its values could be read.
    is_whole: bool,
}

impl Repeats {
    pub fn new(schema: SchemaRef, key: usize) -> Repeats {
        Repeats { batches: Vec::new(), schema, key, rows: Vec::new() }
    }

    /// Adds a row of the next batch. A row that is not whole equals no other.
    pub fn add(&mut self, hash: u64, position: usize, at: At, is_whole: bool) {
        self.rows.push(Row { hash, position, at, is_whole });
    }

    /// Complains about rows of one key that are valid at the same time. Returns the positions in the
    /// file of rows that equal an earlier one.
    pub fn judge(self, complaints: &mut Complaints) -> Result<HashSet<usize>> {
        let batch = concat_batches(&self.schema, &self.batches)?;
        let compare = |columns: &[usize]| -> Result<Vec<DynComparator>> {
            let comparators = columns.iter().map(|column| {
                let column = batch.column(*column);
                Ok(make_comparator(column, column, SortOptions::default())?)
            });
            comparators.collect()
        };
        let ends = ends(&batch);
        // Rows of one key come by their beginning, equal rows side by side.
        let mut others: Vec<usize> = (self.key..batch.num_columns()).collect();
        others.sort_by_key(|column| !self.schema.field(*column).data_type().is_temporal());
        let same_key = compare(&(0..self.key).collect::<Vec<_>>())?;
        let same_rest = compare(&others)?;
        let by = |comparators: &[DynComparator], one: usize, other: usize| {
            let mut orders = comparators.iter().map(|compare| compare(one, other));
            orders.find(|order| order.is_ne()).unwrap_or(Ordering::Equal)
        };
        let by_key = |one: usize, other: usize| {
            let hashes = self.rows[one].hash.cmp(&self.rows[other].hash);
            hashes.then_with(|| by(&same_key, one, other))
        };
        let mut order: Vec<usize> = (0..self.rows.len()).collect();
        order.sort_unstable_by(|one, other| {
            by_key(*one, *other)
                .then_with(|| by(&same_rest, *one, *other))
                .then_with(|| one.cmp(other))
        });

        let mut equal = HashSet::new();
        let mut clashes = Vec::new();
        for rows in order.chunk_by(|one, other| by_key(*one, *other).is_eq()) {
            let mut reaching = rows[0];
            for pair in rows.windows(2) {
                let row = pair[1];
                let are_whole = self.rows[pair[0]].is_whole && self.rows[row].is_whole;
                if are_whole && by(&same_rest, pair[0], row).is_eq() {
                    equal.insert(self.rows[row].position);
                    continue;
                }
                // Without a validity, rows are valid always.
                let (begins_later, reaches_farther) = match ends {
                    None => (false, false),
                    Some((from, to)) => (
                        to.is_valid(reaching)
                            && from.is_valid(row)
                            && from.value(row) >= to.value(reaching),
                        to.is_valid(reaching)
                            && (to.is_null(row) || to.value(row) > to.value(reaching)),
                    ),
                };
                if !begins_later {
                    clashes.push((reaching, row));
                }
                if reaches_farther {
                    reaching = row;
                }
            }
        }
        clashes.sort_unstable_by_key(|(one, other)| (*one.min(other), *one.max(other)));
        for (one, other) in clashes {
            let key = || describe_key(&batch, self.key, one);
            let (first, second) = (&self.rows[one].at, &self.rows[other].at);
            match ends {
                None => complaints.add("there twice", || {
                    format!("{} is there twice: {first} and {second}", key())
                }),
                Some(_) => complaints.add("valid twice at once", || {
                    format!(
                        "{} is valid twice at once: {first} ({}) and {second} ({})",
                        key(),
                        validity(&batch, one),
                        validity(&batch, other)
                    )
                }),
            }
        }
        Ok(equal)
    }
}

/// "2026-01-01T00:00:00Z to open".
pub fn validity(batch: &RecordBatch, row: usize) -> String {
    let Some((from, to)) = ends(batch) else { return String::new() };
    let end = |times: &arrow::array::TimestampMicrosecondArray| {
        let time = times.is_valid(row).then(|| DateTime::from_timestamp_micros(times.value(row)));
        time.flatten()
            .map_or("open".to_owned(), |time| time.to_rfc3339_opts(SecondsFormat::AutoSi, true))
    };
    format!("{} to {}", end(from), end(to))
}
