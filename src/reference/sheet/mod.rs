//! A reference table as it lies there, as columns: one file, or the files of a folder or Delta table,
//! each `.csv` with a header or `.parquet`.
//!
//! Refuses to know what the columns mean. It only finds them by name, or asks a view of the job file
//! for them. Columns of a CSV file are texts, those of a Parquet file have their types. Files are
//! decoded in pieces, each time anew, so that a big one is never in memory as a whole.

mod csv;
mod names;
mod parquet;
mod view;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use arrow::array::{ArrayRef, StringArray, new_null_array};
use arrow::datatypes::{DataType, Field};
use bytes::Bytes;

use self::csv::Csv;
use self::names::{Remedy, Wanted};
use self::parquet::{Parquet, Steps};
use super::complaints::Complaints;
use crate::engine::Engine;
use crate::raw::Shape;

const ROWS_OF_A_PIECE: usize = 65_536;

/// What was read of a table's location.
#[derive(Debug)]
pub struct Content {
    pub files: Vec<FileContent>,
    /// Whether a log says which columns there are, so that a file may lack some.
    pub is_delta: bool,
}

#[derive(Debug)]
pub struct FileContent {
    pub name: String,
    /// Whether the table is a folder in which this is one of the files.
    pub is_in_folder: bool,
    pub bytes: Bytes,
    pub constants: Constants,
}

/// Columns that have one value in all rows of a file and are not in it: partition columns.
pub type Constants = Vec<(String, Option<String>)>;

/// The rows of a table, of which only headers and footers are decoded so far.
#[derive(Debug, Clone)]
pub struct Sheet {
    /// Its location, for messages.
    pub location: String,
    files: Arc<Vec<(Opened, Vec<Place>)>>,
}

/// Some rows: the wanted columns, in their order. An absent one is all null.
pub struct Piece {
    pub columns: Vec<ArrayRef>,
    pub rows: usize,
    /// The file's name, where there are several.
    pub file: Option<Arc<str>>,
    positions: Positions,
}

/// The rows of a table, file by file. An error is all that cannot be read of a piece.
pub type Pieces = Box<dyn Iterator<Item = Result<Piece, Vec<String>>> + Send>;

enum Positions {
    /// The line of each row.
    Lines(Vec<u64>),
    /// Rows follow each other; this many come before.
    After(usize, Rows),
}

/// Whose rows are counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Rows {
    OfFile,
    OfView,
}

/// A row's position, for messages.
#[derive(Debug, Clone)]
pub struct At {
    file: Option<Arc<str>>,
    place: RowPlace,
}

#[derive(Debug, Clone, Copy)]
enum RowPlace {
    Line(u64),
    Row(usize, Rows),
}

impl fmt::Display for At {
    fn fmt(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
        if let Some(file) = &self.file {
            write!(formatter, "{file}, ")?;
        }
        match self.place {
            RowPlace::Line(line) => write!(formatter, "line {line}"),
            RowPlace::Row(row, Rows::OfFile) => write!(formatter, "row {row}"),
            RowPlace::Row(row, Rows::OfView) => write!(formatter, "row {row} of the view"),
        }
    }
}

impl Piece {
    pub fn at(&self, row: usize) -> At {
        let place = match &self.positions {
            Positions::Lines(lines) => RowPlace::Line(lines[row]),
            Positions::After(before, of) => RowPlace::Row(before + row + 1, *of),
        };
        At { file: self.file.clone(), place }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Presence {
    Required,
    Optional,
}

impl Sheet {
    /// Finds the wanted columns, by name or through a view. Blocks while a view runs, so it has to be
    /// called where that is allowed. Errors: all complaints about headers, footers and the view (B3).
    pub fn open(
        engine: &Engine,
        location: &str,
        content: Content,
        shape: &Shape,
        columns: &[(&'static str, Presence)],
    ) -> Result<Sheet, Complaints> {
        let is_delta = content.is_delta;
        let mut complaints = Complaints::about(location);
        let mut files = Vec::new();
        for file in content.files {
            let name: Option<Arc<str>> = file.is_in_folder.then(|| file.name.as_str().into());
            match Opened::open(file, name.clone()) {
                Ok(opened) => files.push(opened),
                Err(trouble) => complaints.add_of_file(name.as_deref(), trouble),
            }
        }
        // Spark writes files without a header for parts without rows.
        let is_without_rows = |opened: &Opened| opened.file.is_some() && opened.is_empty();
        if !files.iter().all(is_without_rows) {
            files.retain(|opened| !is_without_rows(opened));
        }
        let no_names = BTreeMap::new();
        let (files, theirs, remedy) = match shape {
            Shape::Columns(theirs) => (files, theirs, Remedy::OfFile),
            Shape::View(view) if complaints.is_empty() => {
                let wanted = Wanted { columns, theirs: &no_names };
                let files = view::run(engine, view, files, wanted, &mut complaints);
                (files, &no_names, Remedy::OfView)
            }
            Shape::View(_) => return Err(complaints),
        };
        let wanted = Wanted { columns, theirs };
        let said = |trouble: String| match shape.view() {
            Some(view) => format!("{}: its result {trouble}", view.file),
            None => trouble,
        };
        let mut missing: Option<Vec<String>> = None;
        for opened in &files {
            if remedy == Remedy::OfFile
                && let Some(trouble) = opened.complaint_about_all(&wanted)
            {
                complaints.add_of_file(opened.file.as_deref(), trouble);
                continue;
            }
            let fields = opened.fields();
            let names: Vec<&str> = fields.iter().map(|field| field.name().as_str()).collect();
            let steps_to = |name: &str| opened.find(name).is_some();
            let may_lack = is_delta && remedy == Remedy::OfFile;
            let verdict = wanted.judge(&names, steps_to, may_lack, remedy);
            for trouble in verdict.complaints {
                complaints.add_of_file(opened.file.as_deref(), said(trouble));
            }
            missing = Some(match missing {
                None => verdict.missing,
                Some(mut missing) => {
                    missing.retain(|complaint| verdict.missing.contains(complaint));
                    missing
                }
            });
        }
        for trouble in missing.unwrap_or_default() {
            complaints.add_of_file(None, said(trouble));
        }
        if !complaints.is_empty() {
            return Err(complaints);
        }
        let places = |opened: &Opened| {
            let places = columns.iter().map(|(ours, _)| opened.find(wanted.name_of(ours)));
            places.map(|place| place.unwrap_or(Place::Nowhere(DataType::Null))).collect()
        };
        let files = files.into_iter().map(|opened| {
            let places = places(&opened);
            (opened, places)
        });
        Ok(Sheet { location: location.to_owned(), files: Arc::new(files.collect()) })
    }

    /// Decodes the rows.
    pub fn pieces(&self) -> Pieces {
        let files = self.files.clone();
        Box::new((0..files.len()).flat_map(move |position| {
            let (opened, places) = &files[position];
            opened.read(places.clone())
        }))
    }
}

/// A file, or what a view made of one, of which the header or footer is decoded.
#[derive(Debug)]
struct Opened {
    /// Its name, where there are several.
    file: Option<Arc<str>>,
    kind: Kind,
    constants: Constants,
    rows: Rows,
}

#[derive(Debug)]
enum Kind {
    Csv(Csv),
    Parquet(Parquet),
}

/// Where a file has a column.
#[derive(Debug, Clone)]
enum Place {
    /// By its position among the cells of a row.
    Cell(usize),
    Below(Steps),
    /// The same value in all rows.
    Constant(Option<String>),
    /// Absent: all null.
    Nowhere(DataType),
}

impl Opened {
    fn open(content: FileContent, file: Option<Arc<str>>) -> Result<Opened, String> {
        let kind = match ending_of(&content.name) {
            Some(Ending::Csv) => Kind::Csv(Csv::open(content.bytes)?),
            Some(Ending::Parquet) => Kind::Parquet(Parquet::open(content.bytes)?),
            None => return Err(no_table(&content.name)),
        };
        Ok(Opened { file, kind, constants: content.constants, rows: Rows::OfFile })
    }

    /// Whether there is nothing in it, which is no complaint where other files have rows.
    fn is_empty(&self) -> bool {
        match &self.kind {
            Kind::Csv(csv) => csv.is_empty(),
            Kind::Parquet(parquet) => parquet.row_count() == 0,
        }
    }

    /// All columns with their types.
    fn fields(&self) -> Vec<Field> {
        let text = |name: &String| Field::new(name, DataType::Utf8, true);
        let mut fields = match &self.kind {
            Kind::Csv(csv) => csv.header.iter().map(text).collect(),
            Kind::Parquet(parquet) => parquet.fields(),
        };
        let is_in_file = |name: &str| fields.iter().any(|field: &Field| field.name() == name);
        let constants: Vec<Field> = self
            .constants
            .iter()
            .filter(|(name, _)| !is_in_file(name))
            .map(|(name, _)| text(name))
            .collect();
        fields.extend(constants);
        fields
    }

    /// The column of this name, or that its dots lead to.
    fn find(&self, name: &str) -> Option<Place> {
        self.find_literal(name).or_else(|| match &self.kind {
            Kind::Parquet(parquet) => parquet.find(name).map(Place::Below),
            Kind::Csv(_) => None,
        })
    }

    fn find_literal(&self, name: &str) -> Option<Place> {
        let constant = || {
            let (_, value) = self.constants.iter().find(|(column, _)| column == name)?;
            Some(Place::Constant(value.clone()))
        };
        let found = match &self.kind {
            Kind::Csv(csv) => csv.header.iter().position(|column| column == name).map(Place::Cell),
            Kind::Parquet(parquet) => {
                parquet.has(name).then(|| Place::Below(vec![name.to_owned()]))
            }
        };
        found.or_else(constant)
    }

    /// What is wrong with a file in which no column is found.
    fn complaint_about_all(&self, wanted: &Wanted) -> Option<String> {
        let Kind::Csv(csv) = &self.kind else { return None };
        if csv.is_empty() {
            return Some("is empty; a header is wanted".to_owned());
        }
        if let Some(trouble) = csv.complaint_about_separator(wanted) {
            return Some(trouble);
        }
        let names: Vec<&str> = csv.header.iter().map(String::as_str).collect();
        (wanted.count_in(&names) == 0 && names.len() > 1).then(|| {
            let required =
                wanted.columns.iter().filter(|(_, presence)| *presence == Presence::Required);
            let required: Vec<&str> = required.map(|(ours, _)| wanted.name_of(ours)).collect();
            format!(
                "has none of the columns {} in its first line, the header: {}",
                required.join(", "),
                names.join(",")
            )
        })
    }

    fn read(&self, places: Vec<Place>) -> Pieces {
        let (of, file) = (self.rows, self.file.clone());
        let in_file = file.as_ref().map_or(String::new(), |file| format!("{file}, "));
        match &self.kind {
            Kind::Csv(csv) => {
                let cells = places.iter().filter_map(|place| match place {
                    Place::Cell(position) => Some(*position),
                    _ => None,
                });
                let rows = csv.rows(cells.collect());
                Box::new(rows.map(move |rows| {
                    let rows = rows.map_err(|troubles| {
                        troubles
                            .iter()
                            .map(|trouble| format!("{in_file}{trouble}"))
                            .collect::<Vec<_>>()
                    })?;
                    let count = rows.lines.len();
                    let columns = assembled(&places, rows.columns, count);
                    let positions = Positions::Lines(rows.lines);
                    Ok(Piece { columns, rows: count, file: file.clone(), positions })
                }))
            }
            Kind::Parquet(parquet) => {
                let steps = places.iter().filter_map(|place| match place {
                    Place::Below(steps) => Some(steps.clone()),
                    _ => None,
                });
                let rows = match parquet.rows(steps.collect()) {
                    Ok(rows) => rows,
                    Err(trouble) => {
                        let trouble = vec![format!("{in_file}{trouble}")];
                        return Box::new(std::iter::once(Err(trouble)));
                    }
                };
                let mut before = 0;
                Box::new(rows.map(move |rows| {
                    let (columns, rows) = rows.map_err(|it| vec![format!("{in_file}{it}")])?;
                    let columns = assembled(&places, columns, rows);
                    let positions = Positions::After(before, of);
                    before += rows;
                    Ok(Piece { columns, rows, file: file.clone(), positions })
                }))
            }
        }
    }
}

/// Columns by their places. `found` are those that the file has.
fn assembled(places: &[Place], found: Vec<ArrayRef>, rows: usize) -> Vec<ArrayRef> {
    let mut found = found.into_iter();
    let columns = places.iter().map(|place| match place {
        Place::Cell(_) | Place::Below(_) => {
            found.next().unwrap_or_else(|| new_null_array(&DataType::Null, rows))
        }
        Place::Constant(value) => Arc::new(StringArray::from(vec![value.as_deref(); rows])),
        Place::Nowhere(data_type) => new_null_array(data_type, rows),
    });
    columns.collect()
}

/// What a file is, by its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    Csv,
    Parquet,
}

/// None: it is no file of a table.
pub fn ending_of(name: &str) -> Option<Ending> {
    let (_, ending) = name.rsplit_once('.')?;
    match ending.to_ascii_lowercase().as_str() {
        "csv" => Some(Ending::Csv),
        "parquet" => Some(Ending::Parquet),
        _ => None,
    }
}

/// What to do about a file that is no table by its name.
pub fn no_table(name: &str) -> String {
    let ending = name.rsplit_once('.').map(|(_, ending)| ending.to_ascii_lowercase());
    let remedy = match ending.as_deref() {
        Some("gz" | "zip" | "zst" | "bz2" | "xz" | "lz4" | "snappy") => "unpack it",
        Some("xlsx" | "xls" | "xlsm" | "ods" | "numbers") => "save the sheet as \"CSV UTF-8\"",
        Some("json" | "jsonl" | "ndjson" | "orc" | "avro" | "feather" | "arrow" | "xml") => {
            "export the rows as CSV or Parquet"
        }
        Some("tsv" | "tab") => "write commas in place of tabs, and name it .csv",
        _ => "if it is one of them, name it so",
    };
    format!("is neither a .csv nor a .parquet file; {remedy}")
}
