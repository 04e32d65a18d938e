//! A reference file as rows of text: `.csv` with a header, or `.parquet`.
//!
//! Refuses to know what the columns mean. It only finds them by name and accepts several types.

use std::fmt;

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::{DataType, TimeUnit};
use bytes::Bytes;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

/// A row of a file. A cell is none when it is empty or null, or its column is absent.
pub struct Row {
    pub at: At,
    pub cells: Vec<Option<String>>,
}

/// A row's position in its file, for messages.
#[derive(Debug, Clone, Copy)]
pub enum At {
    /// In a CSV file.
    Line(u64),
    /// In a Parquet file.
    Row(usize),
}

impl fmt::Display for At {
    fn fmt(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
        match self {
            At::Line(line) => write!(formatter, "line {line}"),
            At::Row(row) => write!(formatter, "row {row}"),
        }
    }
}

/// A column to find: its name, and whether the file must have it.
pub type Wanted = (&'static str, Presence);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Presence {
    Required,
    Optional,
}

/// Reads the wanted columns. Cells are in the order of `wanted`. Errors: all complaints about the
/// file (B3). Each names it.
pub fn read(file: &str, content: Bytes, wanted: &[Wanted]) -> Result<Vec<Row>, Vec<String>> {
    let rows = match file.rsplit_once('.').map(|(_, ending)| ending) {
        Some("csv") => from_csv(&content, wanted),
        Some("parquet") => from_parquet(content, wanted),
        _ => Err(vec!["is neither a .csv nor a .parquet file".to_owned()]),
    };
    rows.map_err(|complaints| complaints.iter().map(|text| format!("{file}: {text}")).collect())
}

/// Complaints about columns that are missing, or there more than once.
fn unfit(wanted: &[Wanted], count: impl Fn(&str) -> usize) -> Vec<String> {
    let complaints = wanted.iter().filter_map(|(name, presence)| match count(name) {
        0 if *presence == Presence::Required => Some(format!("has no column {name}")),
        0 | 1 => None,
        count => Some(format!("has {count} columns {name}")),
    });
    complaints.collect()
}

fn from_csv(content: &[u8], wanted: &[Wanted]) -> Result<Vec<Row>, Vec<String>> {
    let content = content.strip_prefix(b"\xef\xbb\xbf").unwrap_or(content);
    let mut reader = csv::ReaderBuilder::new().from_reader(content);
    let header = reader.headers().map_err(|error| vec![format!("header: {error}")])?.clone();
    let unfit = unfit(wanted, |name| header.iter().filter(|column| *column == name).count());
    if !unfit.is_empty() {
        return Err(unfit);
    }
    let positions: Vec<Option<usize>> =
        wanted.iter().map(|(name, _)| header.iter().position(|column| column == *name)).collect();
    let mut rows = Vec::new();
    let mut complaints = Vec::new();
    for record in reader.records() {
        match record {
            Ok(record) => rows.push(Row {
                at: At::Line(record.position().map_or(0, csv::Position::line)),
                cells: positions
                    .iter()
                    .map(|position| record.get((*position)?))
                    .map(|cell| cell.filter(|text| !text.is_empty()).map(str::to_owned))
                    .collect(),
            }),
            Err(error) => complaints.push(format!("unreadable line: {error}")),
        }
    }
    match complaints.is_empty() {
        true => Ok(rows),
        false => Err(complaints),
    }
}

fn from_parquet(content: Bytes, wanted: &[Wanted]) -> Result<Vec<Row>, Vec<String>> {
    let unreadable =
        |error: &dyn std::fmt::Display| vec![format!("is no readable Parquet: {error}")];
    let builder =
        ParquetRecordBatchReaderBuilder::try_new(content).map_err(|error| unreadable(&error))?;
    let schema = builder.schema().clone();
    let fields = || schema.fields().iter();
    let unfit = unfit(wanted, |name| fields().filter(|field| field.name() == name).count());
    if !unfit.is_empty() {
        return Err(unfit);
    }
    let mut rows = Vec::new();
    for batch in builder.build().map_err(|error| unreadable(&error))? {
        append(&batch.map_err(|error| unreadable(&error))?, wanted, &mut rows)?;
    }
    Ok(rows)
}

fn append(batch: &RecordBatch, wanted: &[Wanted], rows: &mut Vec<Row>) -> Result<(), Vec<String>> {
    let columns = wanted
        .iter()
        .map(|(name, _)| batch.column_by_name(name).map(|column| as_text(name, column)).transpose())
        .collect::<Result<Vec<_>, String>>()
        .map_err(|complaint| vec![complaint])?;
    for position in 0..batch.num_rows() {
        let cells = columns
            .iter()
            .map(|column| {
                let texts = column.as_ref()?.as_string::<i32>();
                let text = (!texts.is_null(position)).then(|| texts.value(position))?;
                (!text.is_empty()).then(|| text.to_owned())
            })
            .collect();
        rows.push(Row { at: At::Row(rows.len() + 1), cells });
    }
    Ok(())
}

/// A column as text, times as RFC 3339 in UTC. Errors: a floating-point column; other types without
/// a text form.
fn as_text(name: &str, column: &arrow::array::ArrayRef) -> Result<arrow::array::ArrayRef, String> {
    let trouble = |error: &dyn std::fmt::Display| format!("column {name}: {error}");
    let nulls = column.logical_null_count();
    let mut column = column.clone();
    if let DataType::Dictionary(_, values) = column.data_type() {
        let values = values.as_ref().clone();
        column = cast(&column, &values).map_err(|error| trouble(&error))?;
    }
    let data_type = column.data_type();
    if data_type.is_floating() {
        return Err(trouble(&"is floating-point, but a decimal or a text is wanted"));
    }
    let is_plain = data_type.is_integer()
        || data_type.is_decimal()
        || matches!(data_type, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View)
        || matches!(data_type, DataType::Timestamp(..) | DataType::Date32 | DataType::Date64)
        || data_type == &DataType::Null;
    if !is_plain {
        return Err(trouble(&format!("is {data_type}, but a text, a number or a time is wanted")));
    }
    if let DataType::Timestamp(..) = column.data_type() {
        let utc = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
        column = cast(&column, &utc).map_err(|error| trouble(&error))?;
    }
    let texts = cast(&column, &DataType::Utf8).map_err(|error| trouble(&error))?;
    match texts.logical_null_count() > nulls {
        true => Err(trouble(
            &"holds a value beyond what can be written, such as a time after any calendar",
        )),
        false => Ok(texts),
    }
}
