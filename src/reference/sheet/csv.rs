//! A reference file of `.csv`: a header and rows, separated by commas, in UTF-8. What looks like one
//! and is something else is named. All columns are texts.

use std::io::Cursor;
use std::sync::Arc;

use arrow::array::{ArrayRef, StringBuilder};
use bytes::Bytes;

use super::ROWS_OF_A_PIECE;
use super::names::Wanted;

#[derive(Debug)]
pub struct Csv {
    /// From the header on.
    content: Bytes,
    pub header: Vec<String>,
    /// The line of the header.
    first_line: u64,
}

/// Rows of a file: the wanted columns, and the line of each row.
pub struct Rows {
    pub columns: Vec<ArrayRef>,
    pub lines: Vec<u64>,
}

impl Csv {
    /// Errors: what the file is instead.
    pub fn open(content: Bytes) -> Result<Csv, String> {
        if let Some(other) = something_else(&content) {
            return Err(other.to_owned());
        }
        let mark = b"\xef\xbb\xbf";
        let content = if content.starts_with(mark) { content.slice(mark.len()..) } else { content };
        let mut csv = Csv { content, header: Vec::new(), first_line: 1 };
        if let Some((separator, length)) = declared_separator(&csv.content) {
            if separator != b',' {
                return Err(other_separator(separator));
            }
            csv = Csv { content: csv.content.slice(length..), header: Vec::new(), first_line: 2 };
        }
        let mut reader = csv::Reader::from_reader(csv.content.as_ref());
        let header = reader.headers().map_err(|_| format!("line {}: {NO_UTF8}", csv.first_line))?;
        csv.header = header.iter().map(str::to_owned).collect();
        Ok(csv)
    }

    /// Whether there is not even a header.
    pub fn is_empty(&self) -> bool {
        self.header.is_empty()
    }

    /// What separates the cells, if it is something other than commas.
    pub fn complaint_about_separator(&self, wanted: &Wanted) -> Option<String> {
        let line = self.content.split(|byte| matches!(byte, b'\n' | b'\r'));
        let line = line.into_iter().find(|line| !line.is_empty())?;
        let line = std::str::from_utf8(line).ok()?;
        let count = |separator: u8| {
            let cells = line.split(char::from(separator));
            let cells: Vec<&str> = cells.map(|cell| cell.trim().trim_matches('"')).collect();
            (wanted.count_in(&cells), cells.len())
        };
        let (by_comma, _) = count(b',');
        let is_better = |separator: &u8| {
            let (found, cells) = count(*separator);
            found > by_comma || (self.header.len() == 1 && by_comma == 0 && cells > 1)
        };
        [b';', b'\t', b'|'].into_iter().find(is_better).map(other_separator)
    }

    /// The rows, with the columns at these positions. An error is all lines that cannot be read.
    pub fn rows(
        &self,
        positions: Vec<usize>,
    ) -> impl Iterator<Item = Result<Rows, Vec<String>>> + Send + use<> {
        Lines {
            reader: csv::Reader::from_reader(Cursor::new(self.content.clone())),
            content: self.content.clone(),
            positions,
            byte: 0,
            line: self.first_line,
        }
    }
}

const NO_UTF8: &str = "is no UTF-8; save the file as UTF-8";

/// Files that programs write in place of a CSV file.
fn something_else(content: &[u8]) -> Option<&'static str> {
    match content {
        [0xff, 0xfe, ..] | [0xfe, 0xff, ..] | [0, _, ..] | [_, 0, ..] => {
            Some("is UTF-16; save it as UTF-8 (in a spreadsheet: \"CSV UTF-8\")")
        }
        [b'P', b'K', 3, 4, ..] => Some(
            "is a zip archive, as spreadsheets are; unpack it, or save the sheet as \"CSV UTF-8\"",
        ),
        [0x1f, 0x8b, ..] => Some("is compressed with gzip; unpack it"),
        [0x28, 0xb5, 0x2f, 0xfd, ..] => Some("is compressed with zstd; unpack it"),
        [b'P', b'A', b'R', b'1', ..] => Some("is a Parquet file; name it .parquet"),
        _ => None,
    }
}

/// The separator of a line such as `sep=;`, which spreadsheets write and read, and how long the line
/// is.
fn declared_separator(content: &[u8]) -> Option<(u8, usize)> {
    let end = content.iter().position(|byte| matches!(byte, b'\n' | b'\r'))?;
    let line = std::str::from_utf8(&content[..end]).ok()?.trim_matches('"');
    let separator = line.get(..4).filter(|key| key.eq_ignore_ascii_case("sep="));
    let [separator] = line.get(separator?.len()..)?.as_bytes() else { return None };
    let is_crlf = content[end..].starts_with(b"\r\n");
    Some((*separator, end + 1 + usize::from(is_crlf)))
}

fn other_separator(separator: u8) -> String {
    let name = match separator {
        b';' => "semicolons".to_owned(),
        b'\t' => "tabs".to_owned(),
        b'|' => "vertical bars".to_owned(),
        other => format!("{:?}", char::from(other)),
    };
    format!(
        "its cells are separated by {name}; write commas (in a spreadsheet: \"CSV UTF-8, comma \
         delimited\")"
    )
}

/// The rows of a file.
struct Lines {
    reader: csv::Reader<Cursor<Bytes>>,
    content: Bytes,
    positions: Vec<usize>,
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
    type Item = Result<Rows, Vec<String>>;

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
                        let cell = record.get(*position).filter(|cell| !cell.is_empty());
                        column.append_option(cell);
                    }
                }
                Err(error) => {
                    let line = self.line_of(error.position());
                    complaints.push(format!("line {line}: {}", unreadable(&error)));
                }
            }
        }
        if !complaints.is_empty() {
            return Some(Err(complaints));
        }
        let columns = columns.iter_mut().map(|column| Arc::new(column.finish()) as ArrayRef);
        (!lines.is_empty()).then(|| Ok(Rows { columns: columns.collect(), lines }))
    }
}

fn unreadable(error: &csv::Error) -> String {
    match error.kind() {
        csv::ErrorKind::UnequalLengths { expected_len, len, .. } => {
            let cells = if *len == 1 { "cell" } else { "cells" };
            format!("has {len} {cells}, but the header has {expected_len}")
        }
        csv::ErrorKind::Utf8 { .. } => NO_UTF8.to_owned(),
        _ => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

    use std::collections::BTreeMap;

    use super::super::Presence::Required;
    use super::*;

    fn open(content: &str) -> Result<Csv, String> {
        Csv::open(Bytes::from(content.to_owned()))
    }

    #[test]
    fn lines_are_counted_as_an_editor_does() {
        for (content, expected) in [
            ("a,b\n1,\n2,\n", [2, 3]),
            ("a,b\r\n1,\r\n2,", [2, 3]),
            ("a,b\r1,\r2,\r", [2, 3]),
            ("\u{feff}a,b\n\n1,\n\n\n2,\n", [3, 6]),
            ("a,b\r\n1,\"x\r\ny\"\r\n\r\n2,\r\n", [2, 5]),
            ("sep=,\r\na,b\r\n1,\r\n2,", [3, 4]),
            ("\u{feff}\"SEP=,\"\na,b\n\n1,\n2,", [4, 5]),
        ] {
            let csv = open(content).unwrap();
            assert_eq!(csv.header, ["a", "b"]);
            let rows = csv.rows(vec![0, 1]).next().unwrap().unwrap();
            assert_eq!(rows.lines, expected, "{content:?}");
        }
        let ragged = open("a,b\r\n1,\r\n2\r\n").unwrap();
        let complaints = ragged.rows(vec![0]).next().unwrap().err().unwrap();
        assert_eq!(complaints, ["line 3: has 1 cell, but the header has 2"]);
    }

    #[test]
    fn the_separator_is_named() {
        let columns = [("a", Required), ("b", Required)];
        let wanted = Wanted { columns: &columns, theirs: &BTreeMap::new() };
        let complaint = |content: &str| match open(content) {
            Ok(csv) => csv.complaint_about_separator(&wanted),
            Err(trouble) => Some(trouble),
        };
        for (content, name) in [
            ("a;b\n1;2\n", "semicolons"),
            ("\"a\"\t\"b\"\n", "tabs"),
            ("A|B\n", "vertical bars"),
            ("a;b;of, course\n", "semicolons"),
            ("x;y\n", "semicolons"),
            ("sep=;\na;b\n", "semicolons"),
            ("sep=^\r\na^b\n", "'^'"),
        ] {
            assert!(complaint(content).unwrap().contains(&format!("by {name};")), "{content}");
        }
        for content in ["a,b\n1;2,3\n", "x,y\n", "a\n", "a,b,c;d\n", ""] {
            assert_eq!(complaint(content), None, "{content}");
        }
    }

    #[test]
    fn what_is_no_csv_is_named() {
        let utf16: Vec<u8> = "a,b\n".encode_utf16().flat_map(u16::to_le_bytes).collect();
        let marked = [b"\xff\xfe", utf16.as_slice()].concat();
        for (content, name) in [
            (utf16.as_slice(), "UTF-16"),
            (marked.as_slice(), "UTF-16"),
            (b"PK\x03\x04....", "zip"),
            (b"\x1f\x8b....", "gzip"),
            (b"PAR1....", "Parquet"),
            (b"a,caf\xe9\n", "line 1: is no UTF-8"),
        ] {
            let trouble = Csv::open(Bytes::copy_from_slice(content)).unwrap_err();
            assert!(trouble.contains(name), "{trouble}");
        }
    }
}
