//! A source of a raw log, as the job file tells it (section 3.1 of the rules): where its files lie,
//! how their folders are named, and which of its columns are ours.

use std::collections::BTreeMap;

use super::layout::Layout;
use crate::location::Location;
use crate::view::View;

/// Where rows of a log come from. A log has one source or more.
#[derive(Debug, Clone)]
pub struct Source {
    pub location: Location,
    pub layout: Layout,
    /// The ending of the names of data files. Empty: all names.
    pub suffix: String,
    /// The object by which a landing date, or its last hour, has landed. None: any data.
    pub marker: Option<String>,
    pub shape: Shape,
}

/// How a file's columns become those that the rules know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Shape {
    /// Our names, each with the log's own (I1). Other columns have our names already.
    Columns(BTreeMap<String, String>),
    /// One SELECT (I2).
    View(View),
}

impl Source {
    /// Files in folders `dt=2026-05-01` with our column names.
    pub fn plain(location: Location) -> Source {
        Source {
            location,
            layout: Layout::default(),
            suffix: ".parquet".to_owned(),
            marker: None,
            shape: Shape::Columns(BTreeMap::new()),
        }
    }
}

impl Source {
    /// How the source is read, as far as the job file says so.
    pub fn told(&self) -> Option<String> {
        let plain = Source::plain(self.location.clone());
        let mut told = Vec::new();
        if self.layout != plain.layout {
            told.push(format!("layout {}", self.layout.text()));
        }
        if self.suffix != plain.suffix {
            told.push(format!("suffix \"{}\"", self.suffix));
        }
        if let Some(marker) = &self.marker {
            told.push(format!("marker {marker}"));
        }
        match &self.shape {
            Shape::Columns(columns) => {
                told.extend(columns.iter().map(|(ours, theirs)| format!("{ours} <- {theirs}")));
            }
            Shape::View(view) => told.push(format!("view {}", view.file)),
        }
        (!told.is_empty()).then(|| format!("{}: {}", self.location, told.join(", ")))
    }
}

impl Shape {
    /// Whether rows have our names as they are.
    pub fn is_plain(&self) -> bool {
        matches!(self, Shape::Columns(columns) if columns.is_empty())
    }

    pub fn view(&self) -> Option<&View> {
        match self {
            Shape::View(view) => Some(view),
            Shape::Columns(_) => None,
        }
    }

    /// As a setting, by which rows that were made with another are outdated. Empty where it is plain.
    pub fn setting(&self) -> String {
        match self {
            Shape::Columns(columns) if columns.is_empty() => String::new(),
            Shape::Columns(columns) => format!("columns={columns:?}"),
            Shape::View(view) => format!("view={:?}", view.sql),
        }
    }
}
