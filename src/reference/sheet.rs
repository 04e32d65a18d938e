//! A reference file as columns: `.csv` with a header, or `.parquet`.
//!
//! Refuses to know what the columns mean. It only finds them by name. Columns of a CSV file are
//! texts, those of a Parquet file have their types. A file is decoded in pieces, each time anew, so
//! that a big one is never in memory as a whole.

use std::fmt;
use std::io::Cursor;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, StringArray, StringBuilder, new_null_array};
use arrow::datatypes::{DataType, Field, Schema, TimeUnit};
use bytes::Bytes;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReader,
    ParquetRecordBatchReaderBuilder,
};
use parquet::basic::{LogicalType, Type as PhysicalType};

use crate::location::Location;

const ROWS_OF_A_PIECE: usize = 65_536;

/// One file, of which only the header or the footer is decoded so far.
#[derive(Debug, Clone)]
pub struct Sheet {
    pub file: String,
    columns: Vec<&'static str>,
    content: Content,
}

#[derive(Debug, Clone)]
enum Content {
    /// With the position of each wanted column.
    Csv(Bytes, Vec<Option<usize>>),
    Parquet(Bytes, ArrowReaderMetadata),
}

/// Some rows: the wanted columns, in their order. An absent one is all null.
pub struct Piece {
    pub columns: Vec<ArrayRef>,
    pub rows: usize,
    positions: Positions,
}

/// The rows of a file, in its order. An error is all that cannot be read of a piece.
pub type Pieces = Box<dyn Iterator<Item = Result<Piece, Vec<String>>> + Send>;

enum Positions {
    /// The line of each row.
    Lines(Vec<u64>),
    /// Rows follow each other; this many come before.
    After(usize),
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

impl Piece {
    pub fn at(&self, row: usize) -> At {
        match &self.positions {
            Positions::Lines(lines) => At::Line(lines[row]),
            Positions::After(before) => At::Row(before + row + 1),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Presence {
    Required,
    Optional,
}

impl Sheet {
    /// Finds the wanted columns. Errors: all complaints about the file (B3), without its name.
    pub fn open(
        location: &Location,
        content: Bytes,
        wanted: &[(&'static str, Presence)],
    ) -> Result<Sheet, Vec<String>> {
        let file = location.name().to_owned();
        let content = match file.rsplit_once('.').map(|(_, ending)| ending) {
            Some("csv") => open_csv(content, wanted)?,
            Some("parquet") => open_parquet(content, wanted)?,
            _ => return Err(vec!["is neither a .csv nor a .parquet file".to_owned()]),
        };
        Ok(Sheet { file, columns: wanted.iter().map(|(name, _)| *name).collect(), content })
    }

    /// Decodes the rows. Errors: the file is no readable Parquet.
    pub fn pieces(&self) -> Result<Pieces, Vec<String>> {
        match &self.content {
            Content::Csv(content, positions) => Ok(Box::new(Lines {
                reader: csv::Reader::from_reader(Cursor::new(content.clone())),
                content: content.clone(),
                positions: positions.clone(),
                byte: 0,
                line: 1,
            })),
            Content::Parquet(content, metadata) => {
                let builder = ParquetRecordBatchReaderBuilder::new_with_metadata(
                    content.clone(),
                    metadata.clone(),
                );
                let fields = builder.schema().fields().iter().enumerate();
                let is_wanted =
                    |field: &Field| self.columns.iter().any(|name| field.name() == name);
                let roots: Vec<usize> =
                    fields.filter(|(_, field)| is_wanted(field)).map(|(root, _)| root).collect();
                let is_uuid = |name: &&str| {
                    let root = builder.parquet_schema().root_schema();
                    let field = root.get_fields().iter().find(|field| field.name() == *name);
                    field.is_some_and(|field| {
                        field.get_basic_info().logical_type_ref() == Some(&LogicalType::Uuid)
                    })
                };
                let columns = self.columns.iter().map(|name| (*name, is_uuid(name))).collect();
                let mask = ProjectionMask::roots(builder.parquet_schema(), roots);
                let reader = builder
                    .with_projection(mask)
                    .with_batch_size(ROWS_OF_A_PIECE)
                    .build()
                    .map_err(|error| unreadable(&error))?;
                Ok(Box::new(Batches { reader, columns, before: 0 }))
            }
        }
    }
}

/// Complaints about columns that are missing, or there more than once.
fn unfit(wanted: &[(&'static str, Presence)], count: impl Fn(&str) -> usize) -> Vec<String> {
    let complaints = wanted.iter().filter_map(|(name, presence)| match count(name) {
        0 if *presence == Presence::Required => Some(format!("has no column {name}")),
        0 | 1 => None,
        count => Some(format!("has {count} columns {name}")),
    });
    complaints.collect()
}

fn unreadable(error: &dyn fmt::Display) -> Vec<String> {
    vec![format!("is no readable Parquet: {error}")]
}

fn open_csv(content: Bytes, wanted: &[(&'static str, Presence)]) -> Result<Content, Vec<String>> {
    let mark = b"\xef\xbb\xbf";
    let content = if content.starts_with(mark) { content.slice(mark.len()..) } else { content };
    let mut reader = csv::Reader::from_reader(content.as_ref());
    let header = reader.headers().map_err(|error| vec![format!("header: {error}")])?.clone();
    let unfit = unfit(wanted, |name| header.iter().filter(|column| *column == name).count());
    if !unfit.is_empty() {
        return Err(unfit);
    }
    let position = |name: &str| header.iter().position(|column| column == name);
    let positions = wanted.iter().map(|(name, _)| position(name)).collect();
    Ok(Content::Csv(content, positions))
}

/// The rows of a CSV file.
struct Lines {
    reader: csv::Reader<Cursor<Bytes>>,
    content: Bytes,
    positions: Vec<Option<usize>>,
    /// Where the last record begins, and in which line that is.
    byte: usize,
    line: u64,
}

impl Lines {
    /// The line in which a record begins. The reader's own count does not know about line ends
    /// other than `\n`, nor about empty lines before the record.
    fn line_of(&mut self, record: Option<&csv::Position>) -> u64 {
        let is_end = |byte: &u8| matches!(byte, b'\n' | b'\r');
        let content = self.content.as_ref();
        let mut start = record.map_or(self.byte, |record| record.byte() as usize);
        start += content[start..].iter().take_while(|byte| is_end(byte)).count();
        for byte in self.byte..start {
            let is_alone = || content.get(byte + 1) != Some(&b'\n');
            self.line += match content[byte] {
                b'\n' => 1,
                b'\r' if is_alone() => 1,
                _ => 0,
            };
        }
        self.byte = start;
        self.line
    }
}

impl Iterator for Lines {
    type Item = Result<Piece, Vec<String>>;

    fn next(&mut self) -> Option<Self::Item> {
        let mut columns: Vec<StringBuilder> =
            self.positions.iter().map(|_| StringBuilder::new()).collect();
        let mut lines = Vec::new();
        let mut complaints = Vec::new();
        let mut record = csv::StringRecord::new();
        while lines.len() + complaints.len() < ROWS_OF_A_PIECE {
            match self.reader.read_record(&mut record) {
                Ok(false) => break,
                Ok(true) => {
                    lines.push(self.line_of(record.position()));
                    for (column, position) in columns.iter_mut().zip(&self.positions) {
                        column.append_option(position.and_then(|position| record.get(position)));
                    }
                }
                Err(error) => {
                    let line = self.line_of(error.position());
                    complaints.push(format!("line {line}: {}", unreadable_line(&error)));
                }
            }
        }
        if !complaints.is_empty() {
            return Some(Err(complaints));
        }
        let columns = columns.iter_mut().map(|column| Arc::new(column.finish()) as ArrayRef);
        let rows = lines.len();
        (rows > 0).then(|| {
            Ok(Piece { columns: columns.collect(), rows, positions: Positions::Lines(lines) })
        })
    }
}

fn unreadable_line(error: &csv::Error) -> String {
    match error.kind() {
        csv::ErrorKind::UnequalLengths { expected_len, len, .. } => {
            format!("has {len} cells, but the header has {expected_len}")
        }
        csv::ErrorKind::Utf8 { .. } => "is no UTF-8".to_owned(),
        _ => error.to_string(),
    }
}

fn open_parquet(
    content: Bytes,
    wanted: &[(&'static str, Presence)],
) -> Result<Content, Vec<String>> {
    let load =
        |options| ArrowReaderMetadata::load(&content, options).map_err(|error| unreadable(&error));
    let as_written = load(ArrowReaderOptions::new())?;
    let fields = as_written.schema().fields();
    let is = |field: &Field, name: &str| field.name() == name;
    let unfit = unfit(wanted, |name| fields.iter().filter(|field| is(field, name)).count());
    if !unfit.is_empty() {
        return Err(unfit);
    }
    let roots = as_written.metadata().file_metadata().schema_descr().root_schema().get_fields();
    let fields: Vec<Field> = fields
        .iter()
        .zip(roots)
        .map(|(field, root)| {
            let is_int96 = root.is_primitive() && root.get_physical_type() == PhysicalType::INT96;
            field.as_ref().clone().with_data_type(read_as(field.data_type(), is_int96))
        })
        .collect();
    let schema = Arc::new(Schema::new(fields));
    let metadata = load(ArrowReaderOptions::new().with_schema(schema))?;
    Ok(Content::Parquet(content, metadata))
}

/// The type to decode a column to. Texts come as views, which is fastest. The times of INT96 reach
/// farther than nanoseconds do.
fn read_as(found: &DataType, is_int96: bool) -> DataType {
    match found {
        _ if is_int96 => DataType::Timestamp(TimeUnit::Microsecond, None),
        DataType::Utf8 | DataType::LargeUtf8 => DataType::Utf8View,
        DataType::Dictionary(_, values) if values.is_string() => DataType::Utf8View,
        other => other.clone(),
    }
}

/// The rows of a Parquet file.
struct Batches {
    reader: ParquetRecordBatchReader,
    /// With their names, and whether they are UUIDs.
    columns: Vec<(&'static str, bool)>,
    before: usize,
}

impl Iterator for Batches {
    type Item = Result<Piece, Vec<String>>;

    fn next(&mut self) -> Option<Self::Item> {
        let batch = match self.reader.next()? {
            Ok(batch) => batch,
            Err(error) => return Some(Err(unreadable(&error))),
        };
        let rows = batch.num_rows();
        let column = |(name, is_uuid): &(&str, bool)| match batch.column_by_name(name) {
            Some(column) if *is_uuid => uuids(column),
            Some(column) => column.clone(),
            None => new_null_array(&DataType::Null, rows),
        };
        let columns = self.columns.iter().map(column).collect();
        let positions = Positions::After(self.before);
        self.before += rows;
        Some(Ok(Piece { columns, rows, positions }))
    }
}

/// UUIDs as their usual text.
fn uuids(column: &ArrayRef) -> ArrayRef {
    let Some(column) = column.as_fixed_size_binary_opt() else { return column.clone() };
    let text = |bytes: &[u8]| Some(uuid::Uuid::from_slice(bytes).ok()?.hyphenated().to_string());
    Arc::new(column.iter().map(|bytes| text(bytes?)).collect::<StringArray>())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

    use super::*;

    #[test]
    fn lines_are_counted_as_an_editor_does() {
        let wanted = [("a", Presence::Required), ("b", Presence::Optional)];
        let location = Location::parse("a.csv", std::path::Path::new("/")).unwrap();
        for (content, expected) in [
            ("a,b\n1,\n2,\n", [2, 3]),
            ("a,b\r\n1,\r\n2,", [2, 3]),
            ("a,b\r1,\r2,\r", [2, 3]),
            ("\u{feff}a,b\n\n1,\n\n\n2,\n", [3, 6]),
            ("a,b\r\n1,\"x\r\ny\"\r\n\r\n2,\r\n", [2, 5]),
        ] {
            let sheet = Sheet::open(&location, Bytes::from(content.to_owned()), &wanted).unwrap();
            let piece = sheet.pieces().unwrap().next().unwrap().unwrap();
            let lines: Vec<String> = (0..piece.rows).map(|row| piece.at(row).to_string()).collect();
            assert_eq!(lines, expected.map(|line| format!("line {line}")), "{content:?}");
        }
        let ragged = Bytes::from("a,b\r\n1,\r\n2\r\n");
        let sheet = Sheet::open(&location, ragged, &wanted).unwrap();
        let complaints = sheet.pieces().unwrap().next().unwrap().err().unwrap();
        assert_eq!(complaints, ["line 3: has 1 cells, but the header has 2"]);
    }
}
