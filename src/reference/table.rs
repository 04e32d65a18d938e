//! From a file to one typed reference table: keys, validity, numbers (B3).
//!
//! Works on columns. A text is made of a row only for a complaint about it.

use std::collections::HashSet;
use std::sync::Arc;

use anyhow::{Result, anyhow};
use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, RecordBatch, TimestampMicrosecondArray,
};
use arrow::compute::filter_record_batch;
use arrow::datatypes::{Field, Schema, SchemaRef, TimestampMicrosecondType};
use arrow::util::display::array_value_to_string;
use chrono_tz::Tz;

use super::columns::Kind::{Date, FxRate, Id, Instant, OptionalId, Publisher, Rate, Scope, Text};
use super::columns::{Column, columns, fault_of_id, key};
use super::complaints::Complaints;
use super::repeats::{Repeats, validity};
use super::sheet::{Piece, Sheet};
use super::values::{self, Values};
use crate::engine::functions::hash64::hashes;

/// A checked table. Its rows are decoded when they are asked for.
#[derive(Debug, Clone)]
pub struct Table {
    name: &'static str,
    /// None when there is no file: then there are no rows.
    sheet: Option<Sheet>,
    zone: Tz,
    /// Rows of the file that equal an earlier one.
    repeated: Arc<HashSet<usize>>,
}

impl Table {
    pub fn empty(name: &'static str) -> Table {
        Table { name, sheet: None, zone: Tz::UTC, repeated: Arc::default() }
    }

    /// Reads and checks a file (B3). Times without a zone are of `zone`. The words of `nobody` stand
    /// for no id in identities. Complaints are added to `complaints`.
    pub fn read(
        name: &'static str,
        sheet: Sheet,
        zone: Tz,
        nobody: &[String],
        complaints: &mut Vec<String>,
    ) -> Result<Table> {
        let mut found = Complaints::about(&sheet.location);
        let mut table = Table { name, sheet: Some(sheet.clone()), zone, repeated: Arc::default() };
        let nobody = if name == "identities" { nobody } else { &[] };
        let hashes = table.judge_rows(&sheet, nobody, &mut found)?;
        let hashes_of_several = of_several(hashes);
        if !hashes_of_several.is_empty() {
            let repeats = table.rows_with(&sheet, &hashes_of_several)?;
            table.repeated = Arc::new(repeats.judge(&mut found)?);
        }
        complaints.extend(found.texts());
        Ok(table)
    }

    pub fn schema(&self) -> SchemaRef {
        let field = |(name, kind, _): &Column| Field::new(*name, kind.data_type(), true);
        Arc::new(Schema::new(columns(self.name).iter().map(field).collect::<Vec<_>>()))
    }

    /// The rows, in batches. Rows that are equal by value are there once.
    pub fn batches(&self) -> Result<impl Iterator<Item = Result<RecordBatch>> + Send + use<>> {
        let table = self.clone();
        let pieces = self.sheet.as_ref().map(Sheet::pieces);
        let mut before = 0;
        Ok(pieces.into_iter().flatten().map(move |piece| {
            let piece = piece.map_err(|troubles| anyhow!(troubles.join("; ")))?;
            let batch = table.convert(&piece)?.0;
            let rows = before..before + piece.rows;
            before = rows.end;
            if table.repeated.is_empty() {
                return Ok(batch);
            }
            let is_first: BooleanArray =
                rows.map(|row| Some(!table.repeated.contains(&row))).collect();
            Ok(filter_record_batch(&batch, &is_first)?)
        }))
    }

    /// The hash of the key of each row that has a key and is ever in force. Complaints are added to
    /// `complaints`.
    fn judge_rows(
        &self,
        sheet: &Sheet,
        nobody: &[String],
        complaints: &mut Complaints,
    ) -> Result<Vec<u64>> {
        let mut all = Vec::new();
        // A column of the wrong type is complained about once a file.
        let mut unfit_file = None;
        for piece in sheet.pieces() {
            let piece = match piece {
                Ok(piece) => piece,
                Err(troubles) => {
                    for trouble in troubles {
                        complaints.add("unreadable lines", || trouble);
                    }
                    continue;
                }
            };
            if unfit_file.as_ref() == Some(&piece.file) {
                continue;
            }
            let (batch, unfit) = match self.convert(&piece) {
                Ok(converted) => converted,
                Err(error) => {
                    complaints.add_of_file(piece.file.as_deref(), error.to_string());
                    unfit_file = Some(piece.file);
                    continue;
                }
            };
            self.judge(&piece, &batch, &unfit, nobody, complaints);
            let hashes = self.key_hashes(&batch)?;
            let has_place = self.has_place(&batch);
            all.extend(hashes.into_iter().zip(has_place).filter(|it| it.1).map(|(hash, _)| hash));
        }
        Ok(all)
    }

    /// The table's columns of some rows, and for each column the rows that have no such value.
    /// Errors: a column of a type that cannot be right.
    fn convert(&self, piece: &Piece) -> Result<(RecordBatch, Vec<Vec<usize>>)> {
        let columns = columns(self.name).iter().zip(&piece.columns);
        let converted = columns.map(|((name, kind, _), column)| {
            let values = match kind {
                Id | OptionalId | Publisher | Text | Scope => values::texts(column),
                Instant => values::instants(column, self.zone),
                Date => values::dates(column),
                Rate => values::decimals(column, (9, 6), (0, 1_000_000)),
                FxRate => values::decimals(column, (18, 8), (1, 10_i128.pow(18) - 1)),
            };
            values.map_err(|error| anyhow!("column {name}: {error}"))
        });
        let converted = converted.collect::<Result<Vec<Values>>>()?;
        let (arrays, unfit) = converted.into_iter().map(|it| (it.array, it.unfit)).unzip();
        Ok((RecordBatch::try_new(self.schema(), arrays)?, unfit))
    }

    /// Complains about rows by themselves. `unfit` are rows without a fitting value, by column.
    fn judge(
        &self,
        piece: &Piece,
        batch: &RecordBatch,
        unfit: &[Vec<usize>],
        nobody: &[String],
        complaints: &mut Complaints,
    ) {
        let mut complain = |kind: String, row: usize, trouble: &dyn Fn() -> String| {
            complaints.add(&kind, || {
                format!("{}, {}: {}", piece.at(row), self.key_of(piece, row), trouble())
            });
        };
        for (position, (name, kind, _)) in columns(self.name).iter().enumerate() {
            let column = batch.column(position);
            for row in unfit[position].iter().copied() {
                complain(format!("{name} {}", kind.fault()), row, &|| {
                    format!(
                        "{name} \"{}\" {}",
                        written(&piece.columns[position], row),
                        kind.fault()
                    )
                });
            }
            if matches!(kind, Id | Publisher | Date | Rate | FxRate) && column.null_count() > 0 {
                let is_empty = |row: &usize| {
                    column.is_null(*row) && unfit[position].binary_search(row).is_err()
                };
                for row in (0..piece.rows).filter(is_empty) {
                    complain(format!("{name} is empty"), row, &|| format!("{name} is empty"));
                }
            }
            match kind {
                Id | OptionalId | Publisher => {
                    for (row, text) in column.as_string_view().iter().enumerate() {
                        let Some(text) = text else { continue };
                        if let Some((fault, trouble)) = fault_of_id(*kind, text) {
                            complain(format!("{name} {fault}"), row, &|| {
                                format!("{name} {text:?} {trouble}")
                            });
                        }
                        if nobody.iter().any(|word| word == text) {
                            complain(format!("{name} stands for nobody"), row, &|| {
                                format!("{name} \"{text}\" stands for nobody ([identity] nobody)")
                            });
                        }
                    }
                }
                Scope => {
                    for (row, scope) in column.as_string_view().iter().enumerate() {
                        let scope = scope.unwrap_or_default();
                        if !["product", "category", "store"].contains(&scope) {
                            complain("unknown scopes".to_owned(), row, &|| {
                                format!(
                                    "the scope \"{scope}\" is unknown; known are product, \
                                     category and store"
                                )
                            });
                        }
                    }
                }
                _ => {}
            }
        }
        if let Some((from, to)) = ends(batch) {
            for row in (0..piece.rows).filter(|row| is_never(from, to, *row)) {
                complain("ends where it begins, or before".to_owned(), row, &|| {
                    format!("ends where it begins, or before: {}", validity(batch, row))
                });
            }
        }
    }

    /// The key of a row as the file has it, for messages: "link_key _ann".
    fn key_of(&self, piece: &Piece, row: usize) -> String {
        let columns = key(self.name).iter().zip(&piece.columns);
        let parts = columns.map(|(name, column)| format!("{name} {}", written(column, row)));
        parts.collect::<Vec<_>>().join(", ")
    }

    /// Whether each row has a whole key and is ever in force.
    fn has_place(&self, batch: &RecordBatch) -> Vec<bool> {
        let may_not_be_empty = columns(self.name)[..key(self.name).len()]
            .iter()
            .zip(batch.columns())
            .filter(|((_, kind, _), column)| *kind != OptionalId && column.null_count() > 0)
            .map(|(_, column)| column)
            .collect::<Vec<_>>();
        let ends = ends(batch);
        (0..batch.num_rows())
            .map(|row| {
                may_not_be_empty.iter().all(|column| column.is_valid(row))
                    && !ends.is_some_and(|(from, to)| is_never(from, to, row))
            })
            .collect()
    }

    fn key_hashes(&self, batch: &RecordBatch) -> Result<Vec<u64>> {
        Ok(hashes(&batch.columns()[..key(self.name).len()])?)
    }

    /// The rows whose key has one of these hashes.
    fn rows_with(&self, sheet: &Sheet, wanted: &HashSet<u64>) -> Result<Repeats> {
        let mut repeats = Repeats::new(self.schema(), key(self.name).len());
        let mut before = 0;
        for piece in sheet.pieces() {
            // What cannot be read has been complained about.
            let Ok(piece) = piece else { continue };
            let Ok((batch, unfit)) = self.convert(&piece) else { continue };
            let hashes = self.key_hashes(&batch)?;
            let has_place = self.has_place(&batch);
            let is_wanted = hashes.iter().zip(has_place);
            let is_wanted: BooleanArray =
                is_wanted.map(|(hash, is_fit)| Some(is_fit && wanted.contains(hash))).collect();
            for row in (0..piece.rows).filter(|row| is_wanted.value(*row)) {
                let is_whole = !unfit.iter().any(|rows| rows.binary_search(&row).is_ok());
                repeats.add(hashes[row], before + row, piece.at(row), is_whole);
            }
            repeats.batches.push(filter_record_batch(&batch, &is_wanted)?);
            before += piece.rows;
        }
        Ok(repeats)
    }
}

/// The hashes that are there more than once.
fn of_several(mut hashes: Vec<u64>) -> HashSet<u64> {
    hashes.sort_unstable();
    hashes.windows(2).filter(|pair| pair[0] == pair[1]).map(|pair| pair[0]).collect()
}

/// "link_key _ann": the first columns of a row.
pub fn describe_key(batch: &RecordBatch, columns: usize, row: usize) -> String {
    let schema = batch.schema();
    let parts = schema.fields().iter().zip(batch.columns()).take(columns);
    let parts = parts.map(|(field, column)| format!("{} {}", field.name(), written(column, row)));
    parts.collect::<Vec<_>>().join(", ")
}

/// A value, for messages.
fn written(column: &ArrayRef, row: usize) -> String {
    let text = (!column.is_null(row)).then(|| array_value_to_string(column, row));
    let text = text.and_then(Result::ok).filter(|text| !text.is_empty());
    text.unwrap_or_else(|| "(empty)".to_owned())
}

/// The two ends of a validity, in a table that has them.
pub fn ends(batch: &RecordBatch) -> Option<Ends<'_>> {
    let end = |names: [&str; 2]| {
        let column = names.iter().find_map(|name| batch.column_by_name(name))?;
        column.as_primitive_opt::<TimestampMicrosecondType>()
    };
    Some((end(["valid_from", "joined_at"])?, end(["valid_to", "left_at"])?))
}

/// When rows begin and end.
pub type Ends<'a> = (&'a TimestampMicrosecondArray, &'a TimestampMicrosecondArray);

fn is_never(from: &TimestampMicrosecondArray, to: &TimestampMicrosecondArray, row: usize) -> bool {
    from.is_valid(row) && to.is_valid(row) && to.value(row) <= from.value(row)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

    use std::collections::BTreeMap;

    use super::super::columns::wanted;
    use super::super::sheet::{Content, FileContent};
    use super::*;
    use crate::engine::{Engine, SqlOverrides, Tuning};
    use crate::raw::Shape;

    fn read(name: &'static str, content: &str) -> (Table, Vec<String>) {
        let file = FileContent {
            name: "table.csv".to_owned(),
            is_in_folder: false,
            bytes: content.to_owned().into(),
            constants: Vec::new(),
        };
        let content = Content { files: vec![file], is_delta: false };
        let engine = Engine::new(&Tuning::default(), SqlOverrides::new()).unwrap();
        let shape = Shape::Columns(BTreeMap::new());
        let sheet = Sheet::open(&engine, "table.csv", content, &shape, &wanted(name)).unwrap();
        let mut complaints = Vec::new();
        let nobody = ["0".to_owned(), "undefined".to_owned()];
        let table = Table::read(name, sheet, Tz::UTC, &nobody, &mut complaints).unwrap();
        (table, complaints)
    }

    #[test]
    fn keys_that_never_match_are_told() {
        for text in [" a", "a\t", "a\u{a0}"] {
            assert!(fault_of_id(Id, text).is_some(), "{text:?}");
        }
        for text in ["a b", "NULL", "nan", "\u{feff}a", "a\u{1}b", "1.00501E+15", "é", "(none)"] {
            assert_eq!(fault_of_id(Id, text), None, "{text:?}");
        }
        for text in ["(none)", "(unattributed)"] {
            assert!(fault_of_id(Publisher, text).is_some(), "{text:?}");
        }
        let (_, complaints) =
            read("rates", "scope,scope_id,store_id,rate,valid_from,valid_to\nstore,a,\\N,0.1,,\n");
        assert!(
            complaints[0].contains("store_id \"\\\\N\" is how programs write"),
            "{complaints:?}"
        );
    }

    #[test]
    fn nobody_is_no_visitor_and_no_buyer() {
        let (_, complaints) = read("identities", "visitor_id,buyer_id\n0,Ana\nv1,0\nv2,00\n");
        assert_eq!(complaints.len(), 2, "{complaints:?}");
        assert!(complaints[0].contains("line 2, visitor_id 0: visitor_id \"0\""));
        assert!(complaints[1].contains("line 3, visitor_id v1: buyer_id \"0\""));
        let (_, complaints) = read("stores", "store_id,joined_at,left_at\n0,,\n");
        assert!(complaints.is_empty(), "{complaints:?}");
    }

    /// More rows than a piece has; the last equals the first, and one is valid twice.
    #[test]
    fn rows_of_one_key_are_found_far_from_each_other() {
        let mut content = "visitor_id,buyer_id,valid_from,valid_to\n".to_owned();
        for visitor in 0..150_000 {
            content.push_str(&format!("v{visitor},b{visitor},2026-01-01,\n"));
        }
        content.push_str("v0,b0,2026-01-01 00:00,\n");
        let (table, complaints) = read("identities", &content);
        assert!(complaints.is_empty(), "{complaints:?}");
        let rows = table.batches().unwrap().map(|batch| batch.unwrap().num_rows());
        assert_eq!(rows.sum::<usize>(), 150_000);
        content.push_str("v7,b8,2026-03-01,\nv8,b7,2025-03-01,2026-01-01\n");
        let (_, complaints) = read("identities", &content);
        assert_eq!(
            complaints,
            ["table.csv: visitor_id v7 is valid twice at once: line 9 (2026-01-01T00:00:00Z to \
              open) and line 150003 (2026-03-01T00:00:00Z to open)"]
        );
    }
}
