//! What the sources of a log turned out to be, for people: landing dates, and which of their columns
//! are ours.

use std::collections::BTreeSet;

use arrow::datatypes::DataType;
use chrono::NaiveDate;

use super::columns;
use super::source::Shape;
use super::{RawFile, RawLog};

/// One of our columns in the files of a source.
#[derive(Debug)]
pub struct FoundColumn {
    pub ours: &'static str,
    /// As the files have it.
    pub theirs: String,
    /// In the words of people; more than one where files differ. Empty where no file has it.
    pub types: BTreeSet<String>,
}

impl RawLog {
    /// The landing dates that have landed in a source.
    pub fn landed_in(&self, source: usize) -> BTreeSet<NaiveDate> {
        let listing = self.listings.get(source).into_iter();
        let landed =
            listing.flat_map(|listing| &listing.dates).filter(|(_, found)| found.has_landed);
        landed.map(|(date, _)| *date).collect()
    }

    /// How many checked files a source has, and how many rows they have.
    pub fn size_of(&self, source: usize) -> (usize, u64) {
        let files = self.checked_of(source);
        files.fold((0, 0), |(files, rows), file| (files + 1, rows + file.rows))
    }

    /// Our columns in the checked files of a source. Empty where a view makes the rows.
    pub fn columns_of(&self, source: usize) -> Vec<FoundColumn> {
        let shape = self.sources.get(source).map(|source| &source.shape);
        let Some(Shape::Columns(names)) = shape else { return Vec::new() };
        let columns = self.log.columns().iter().map(|(ours, ..)| {
            let theirs = names.get(*ours).map_or(*ours, String::as_str);
            let types = self.checked_of(source).filter_map(|file| {
                Some(type_name(columns::find(file.schema.fields(), theirs)?.data_type))
            });
            FoundColumn { ours, theirs: theirs.to_owned(), types: types.collect() }
        });
        columns.collect()
    }

    fn checked_of(&self, source: usize) -> impl Iterator<Item = &RawFile> {
        self.checked.values().flatten().filter(move |file| file.source == source)
    }
}

/// A type in few words.
fn type_name(data_type: &DataType) -> String {
    match data_type {
        DataType::Dictionary(_, values) => type_name(values),
        DataType::Timestamp(_, None) => "time without a zone, so UTC".to_owned(),
        DataType::Timestamp(..) => "time".to_owned(),
        DataType::Decimal32(precision, scale)
        | DataType::Decimal64(precision, scale)
        | DataType::Decimal128(precision, scale)
        | DataType::Decimal256(precision, scale) => format!("decimal({precision},{scale})"),
        // Texts are read as bytes, which may be no text.
        kind if kind.is_string() || columns::is_bytes(kind) => "text".to_owned(),
        kind if kind.is_integer() => "integer".to_owned(),
        kind if kind.is_floating() => "floating point".to_owned(),
        other => other.to_string().to_lowercase(),
    }
}
