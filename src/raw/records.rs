//! Raw rows once more, as JSON with the log's own names: what a rejected row was.

use std::collections::BTreeSet;

use anyhow::Result;
use arrow::datatypes::{DataType, Field, Schema};
use chrono::NaiveDate;
use datafusion::common::ScalarValue;
use datafusion::logical_expr::{Expr, lit};
use datafusion::prelude::{DataFrame, ident};
use parquet::arrow::arrow_reader::{RowSelection, RowSelector};

use super::scan::{
    Alike, LANDED_ON, ROW_AT, ROWS_OF_A_FILE, data_file, is_read_alike, row_at, scan,
};
use super::source::Source;
use super::{Log, RawFile, RawLog};
use crate::engine::Engine;
use crate::engine::functions::{raw_record, uuid_text};
use crate::engine::parquet_table::DataFile;

impl RawLog {
    /// Rows of these landing dates as JSON with the log's own names: a table of `dt`, `row_at` and
    /// `record`. Each of `rows` says whether it is read whole. Of the others only the columns that the
    /// rules do not know are read. `dates` are those that were registered, `rows` are sorted. Errors: as
    /// for a query.
    pub fn records(
        &self,
        engine: &Engine,
        dates: &BTreeSet<NaiveDate>,
        rows: &[(i64, bool)],
    ) -> Result<DataFrame> {
        let mut union: Option<DataFrame> = None;
        let numbered = self.numbered(dates);
        let mut at = 0;
        while let Some((_, file)) = numbered.get(at) {
            let is_alike = |other: &RawFile| is_read_alike(file, other);
            let alike = numbered[at..].iter().take_while(|(_, other)| is_alike(other)).count();
            let source = &self.sources[file.source];
            for is_whole in [true, false] {
                let mut files = Vec::new();
                for (number, (date, file)) in numbered.iter().enumerate().skip(at).take(alike) {
                    let first = i64::try_from(number)? * ROWS_OF_A_FILE;
                    let begin = rows.partition_point(|(at, _)| *at < first);
                    let end = rows.partition_point(|(at, _)| *at < first + ROWS_OF_A_FILE);
                    let own = rows[begin..end].iter().filter(|(_, whole)| *whole == is_whole);
                    // A file without such rows keeps its number, and is not opened.
                    let only = selection(own.map(|(at, _)| at - first), file.rows)?;
                    let is_read = only.is_some();
                    files.push(DataFile { only, is_read, ..data_file(file, *date)? });
                }
                if !files.iter().any(|file| file.is_read) {
                    continue;
                }
                let first = i64::try_from(at)?;
                let scan = scan(engine, &Alike { source, file, files, first })?;
                let record = record_of(self.log, source, file, is_whole).alias("record");
                let dt = ident(LANDED_ON).alias("dt");
                let records = scan.select(vec![dt, row_at().alias(ROW_AT), record])?;
                union = Some(match union {
                    Some(union) => union.union(records)?,
                    None => records,
                });
            }
            at += alike;
        }
        match union {
            Some(union) => Ok(union),
            None => engine.nothing(&Schema::new(vec![
                Field::new("dt", DataType::Date32, false),
                Field::new(ROW_AT, DataType::Int64, false),
                Field::new("record", DataType::Utf8View, true),
            ])),
        }
    }

    /// Whether a file has columns that the rules do not know.
    pub(super) fn has_further(&self, file: &RawFile) -> bool {
        let fields = file.schema.fields().iter();
        fields.into_iter().any(|field| !self.log.column_names().any(|name| name == field.name()))
    }
}

/// A raw row as JSON: all columns of its file, or those that the rules do not know. Where a file has
/// our names, a whole row has also those of ours that the file lacks.
fn record_of(log: Log, source: &Source, file: &RawFile, is_whole: bool) -> Expr {
    let name = |name: &str| lit(ScalarValue::Utf8View(Some(name.to_owned())));
    let is_known = |found: &str| log.column_names().any(|name| name == found);
    let mut parts = Vec::new();
    for field in file.schema.fields().iter().filter(|field| is_whole || !is_known(field.name())) {
        let column = ident(field.name().as_str());
        let is_uuid = file.uuids.contains(field.name());
        parts.push(name(field.name()));
        parts.push(if is_uuid { uuid_text().call(vec![column]) } else { column });
    }
    if is_whole && source.shape.is_plain() {
        let is_absent = |name: &&str| file.schema.field_with_name(name).is_err();
        for absent in log.column_names().filter(is_absent) {
            parts.push(name(absent));
            parts.push(lit(ScalarValue::Utf8View(None)));
        }
    }
    raw_record().call(parts)
}

/// The rows with these numbers, of so many. None where there is none.
fn selection(wanted: impl Iterator<Item = i64>, rows: u64) -> Result<Option<RowSelection>> {
    let mut selectors: Vec<RowSelector> = Vec::new();
    let mut next = 0;
    for row in wanted {
        let row = usize::try_from(row)?;
        match selectors.last_mut() {
            Some(last) if row == next && !last.skip => last.row_count += 1,
            _ => {
                if row > next {
                    selectors.push(RowSelector::skip(row - next));
                }
                selectors.push(RowSelector::select(1));
            }
        }
        next = row + 1;
    }
    if selectors.is_empty() {
        return Ok(None);
    }
    let rows = usize::try_from(rows)?;
    if rows > next {
        selectors.push(RowSelector::skip(rows - next));
    }
    Ok(Some(RowSelection::from(selectors)))
}
