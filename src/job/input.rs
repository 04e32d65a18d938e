//! `[input]`: where the logs and the reference tables are, and how to read what lies there.

use std::collections::BTreeMap;

use toml::{Table, Value};

use super::Reader;
use super::reader::what_is;
use crate::location::Location;
use crate::nearest::meant;
use crate::raw::{Layout, Log, Shape, Source};
use crate::reference::{self, TableSource};
use crate::view::{self, View};

const SECTION: &str = "input";

/// What may be said of a source of a log, and of a reference table.
pub(super) const KEYS_OF_A_SOURCE: [&str; 6] =
    ["path", "layout", "suffix", "marker", "columns", "view"];
const KEYS_OF_A_TABLE: [&str; 3] = ["path", "columns", "view"];

/// Takes a log out of the section: a location, a table, or several tables.
pub(super) fn log(reader: &mut Reader<'_>, log: Log) -> Option<Vec<Source>> {
    let key = log.name();
    match reader.take(SECTION, key) {
        Some(Value::Array(sources)) if !sources.is_empty() => {
            let count = sources.len();
            let sources = sources.into_iter().enumerate().filter_map(|(position, source)| {
                source_of(reader, log, &format!("{key}, number {}", position + 1), source)
            });
            let sources: Vec<Source> = sources.collect();
            (sources.len() == count).then_some(sources)
        }
        Some(source) => Some(vec![source_of(reader, log, key, source)?]),
        None => reader.complain(SECTION, key, "is missing"),
    }
}

fn source_of(reader: &mut Reader<'_>, log: Log, key: &str, source: Value) -> Option<Source> {
    let mut keys = match source {
        Value::Table(keys) => keys,
        location => return Some(Source::plain(location_of(reader, key, Some(location))?)),
    };
    let path = location_of(reader, &format!("{key}.path"), keys.remove("path"));
    let layout = text_of(reader, &format!("{key}.layout"), keys.remove("layout"));
    let layout = layout.and_then(|layout| match layout.as_deref().map(Layout::parse) {
        None => Some(Layout::default()),
        Some(Ok(layout)) => Some(layout),
        Some(Err(trouble)) => reader.complain(SECTION, &format!("{key}.layout"), trouble),
    });
    let suffix = match keys.remove("suffix") {
        None => Some(".parquet".to_owned()),
        Some(Value::String(suffix)) => Some(suffix),
        Some(other) => wrong_type(reader, &format!("{key}.suffix"), &other, "a text"),
    };
    let marker = text_of(reader, &format!("{key}.marker"), keys.remove("marker"));
    let known: Vec<&str> = log.column_names().collect();
    let shape = shape_of(reader, key, &mut keys, &known);
    refuse_others(reader, key, &keys, &KEYS_OF_A_SOURCE);
    Some(Source {
        location: path?,
        layout: layout?,
        suffix: suffix?,
        marker: marker?,
        shape: shape?,
    })
}

/// Takes a reference table out of the section: a location, or a table.
pub(super) fn table(reader: &mut Reader<'_>, key: &'static str) -> Option<TableSource> {
    match reader.take(SECTION, key) {
        Some(Value::Table(mut keys)) => {
            let path = location_of(reader, &format!("{key}.path"), keys.remove("path"));
            let known = reference::column_names(key);
            let shape = shape_of(reader, key, &mut keys, &known);
            refuse_others(reader, key, &keys, &KEYS_OF_A_TABLE);
            Some(TableSource { location: path?, shape: shape? })
        }
        location => Some(TableSource::plain(location_of(reader, key, location)?)),
    }
}

/// The same for a table that a job may do without.
pub(super) fn optional_table(reader: &mut Reader<'_>, key: &'static str) -> Option<TableSource> {
    reader.has(SECTION, key).then(|| table(reader, key)).flatten()
}

fn location_of(reader: &mut Reader<'_>, key: &str, location: Option<Value>) -> Option<Location> {
    match location {
        Some(Value::String(text)) if text.is_empty() => reader.complain(SECTION, key, "is empty"),
        Some(Value::String(text)) => reader.location_at(SECTION, key, &text),
        Some(other) => wrong_type(reader, key, &other, "a text"),
        None => reader.complain(SECTION, key, "is missing"),
    }
}

/// A text that may be left out. The outer None is a complaint.
fn text_of(reader: &mut Reader<'_>, key: &str, text: Option<Value>) -> Option<Option<String>> {
    match text {
        None => Some(None),
        Some(Value::String(text)) if text.is_empty() => reader.complain(SECTION, key, "is empty"),
        Some(Value::String(text)) => Some(Some(text)),
        Some(other) => wrong_type(reader, key, &other, "a text"),
    }
}

/// `columns` or `view`. `known` are our names.
fn shape_of(reader: &mut Reader<'_>, key: &str, keys: &mut Table, known: &[&str]) -> Option<Shape> {
    let columns = keys.remove("columns");
    let view = keys.remove("view");
    match (columns, view) {
        (Some(_), Some(_)) => {
            let trouble = "is given besides columns: a view names the columns itself";
            reader.complain(SECTION, &format!("{key}.view"), trouble)
        }
        (None, None) => Some(Shape::Columns(BTreeMap::new())),
        (Some(columns), None) => {
            columns_of(reader, &format!("{key}.columns"), columns, known).map(Shape::Columns)
        }
        (None, Some(view)) => view_of(reader, &format!("{key}.view"), view).map(Shape::View),
    }
}

fn columns_of(
    reader: &mut Reader<'_>,
    key: &str,
    columns: Value,
    known: &[&str],
) -> Option<BTreeMap<String, String>> {
    let columns = match columns {
        Value::Table(columns) => columns,
        other => return wrong_type(reader, key, &other, "a table such as { click_id = \"id\" }"),
    };
    let (mut mapped, count) = (BTreeMap::new(), columns.len());
    for (ours, theirs) in columns {
        let key = format!("{key}.{ours}");
        match theirs {
            _ if !known.contains(&ours.as_str()) => {
                let meant = meant(&ours, known.iter().copied());
                let trouble = format!("is an unknown column{meant}");
                reader.complain::<()>(SECTION, &key, trouble);
            }
            Value::String(theirs) if theirs.is_empty() => {
                reader.complain::<()>(SECTION, &key, "is empty");
            }
            Value::String(theirs) => {
                mapped.insert(ours, theirs);
            }
            other => {
                wrong_type::<()>(reader, &key, &other, "a text");
            }
        }
    }
    let is_whole = mapped.len() == count;
    // Our own name says nothing.
    mapped.retain(|ours, theirs| ours != theirs);
    is_whole.then_some(mapped)
}

fn view_of(reader: &mut Reader<'_>, key: &str, view: Value) -> Option<View> {
    let file = text_of(reader, key, Some(view))??;
    let path = reader.folder.join(&file);
    let sql = match std::fs::read_to_string(&path) {
        Ok(sql) => sql,
        Err(error) => {
            return reader.complain(SECTION, key, format!("= \"{file}\" cannot be read: {error}"));
        }
    };
    let refusals = view::refusals(&sql);
    for trouble in &refusals {
        reader.complain::<()>(SECTION, key, format!("= \"{file}\" {trouble}"));
    }
    refusals.is_empty().then_some(View { file, sql })
}

fn refuse_others(reader: &mut Reader<'_>, key: &str, keys: &Table, known: &[&str]) {
    for other in keys.keys() {
        let trouble = format!("is an unknown key{}", meant(other, known.iter().copied()));
        reader.complain::<()>(SECTION, &format!("{key}.{other}"), trouble);
    }
}

fn wrong_type<T>(reader: &mut Reader<'_>, key: &str, found: &Value, wanted: &str) -> Option<T> {
    reader.complain(SECTION, key, format!("is {}, but {wanted} is wanted", what_is(found)))
}
