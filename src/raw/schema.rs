//! Reads the footer of a raw file, and says whether its columns can be those of its log (B1, B2).

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::Arc;

use anyhow::{Result, anyhow};
use arrow::datatypes::{DataType, Field, Fields, Schema, SchemaRef, TimeUnit};
use bytes::Bytes;
use datafusion::datasource::physical_plan::parquet::Int96Coercer;
use futures::FutureExt;
use futures::future::{BoxFuture, ready};
use object_store::ObjectMeta;
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions};
use parquet::arrow::async_reader::MetadataFetch;
use parquet::arrow::parquet_to_arrow_schema;
use parquet::errors::ParquetError;
use parquet::file::FOOTER_SIZE;
use parquet::file::metadata::{ParquetMetaData, ParquetMetaDataReader};
use parquet::schema::types::SchemaDescriptor;

use super::columns::{Presence, find};
use super::guard::{self, STRUCT, Thrift};
use super::source::{Shape, Source};
use super::{Log, RawFile, relative};
use crate::engine::footer;
use crate::nearest::bare;

/// What is wrong with a file. Alike troubles of several files are told of together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Trouble {
    pub file: String,
    pub text: String,
}

impl Trouble {
    /// One complaint for all files of which the same is wrong.
    pub(super) fn together(troubles: Vec<Trouble>) -> Vec<String> {
        let mut kinds: Vec<(String, Vec<String>)> = Vec::new();
        for Trouble { file, text } in troubles {
            match kinds.iter_mut().find(|(known, _)| *known == text) {
                Some((_, files)) => files.push(file),
                None => kinds.push((text, vec![file])),
            }
        }
        let complaint = |(text, files): (String, Vec<String>)| match files.as_slice() {
            [first] => format!("{first}: {text}"),
            [first, second] => format!("{first} and {second}: {text}"),
            [first, others @ ..] => format!("{first} and {} more files: {text}", others.len()),
            [] => text,
        };
        kinds.into_iter().map(complaint).collect()
    }
}

/// Reads a file's footer. Errors: the store fails. The inner error lists what is wrong with the
/// file (B1, B2).
pub(super) async fn read_schema(
    source: (usize, &Source),
    log: Log,
    path: String,
    meta: ObjectMeta,
) -> Result<Result<RawFile, Vec<Trouble>>> {
    let (number, source) = source;
    let location = &source.location;
    let name = format!("{location}/{}", relative(location, &meta));
    let trouble = |text: String| Trouble { file: name.clone(), text };
    let unreadable = |why: &dyn std::fmt::Display| {
        let why = why.to_string();
        let why = why.trim_start_matches("Parquet error: ").trim_start_matches("External: ");
        let why = if why.is_empty() { String::new() } else { format!(": {why}") };
        Ok(Err(vec![trouble(format!("is no readable Parquet file{why}"))]))
    };
    let size = meta.size;
    let end = footer::read(location.store().as_ref(), &meta.location, size).await;
    let end = end.map_err(|error| anyhow!("{name}: cannot read: {error}"))?;
    if end.ends_with(b"PARE") {
        return Ok(Err(vec![trouble("is encrypted, and there are no keys to read it".to_owned())]));
    }
    if guard::has_encrypted_columns(&end) {
        let text = "has encrypted columns, and there are no keys to read them".to_owned();
        return Ok(Err(vec![trouble(text)]));
    }
    let digest = digest_of_footer(&end);
    // In a separate task, because a hostile footer may make the decoder panic: it is a bad file.
    let read = tokio::spawn(async move {
        let footer = ParquetMetaDataReader::new().load_and_finish(Held { end, size }, size).await?;
        let plain = ArrowReaderMetadata::try_new(
            Arc::new(guard::plain(&footer)?),
            ArrowReaderOptions::new(),
        )?;
        Ok::<_, ParquetError>((footer, plain))
    });
    let (footer, plain) = match read.await {
        Ok(Ok(footers)) => footers,
        Ok(Err(error)) => return unreadable(&error),
        Err(_) => return unreadable(&""),
    };
    let rows = match guard::rows(plain.metadata(), size) {
        Ok(rows) => rows,
        Err(trouble) => return unreadable(&trouble),
    };
    let schema = to_read(plain.schema(), plain.parquet_schema());
    let uuids = guard::uuids(&footer);
    let mut file = RawFile {
        meta,
        path,
        source: number,
        rows,
        footer: digest,
        schema,
        uuids,
        without_values: BTreeSet::new(),
    };
    // Such a file has no rows that could be read in a wrong way.
    let Shape::Columns(columns) = &source.shape else { return Ok(Ok(file)) };
    if rows == 0 {
        return Ok(Ok(file));
    }
    let empty = guard::without_values(&footer);
    let mut troubles = Vec::new();
    for (ours, wanted, presence) in log.columns() {
        let theirs = columns.get(*ours).map_or(*ours, String::as_str);
        let mapped = if theirs == *ours { String::new() } else { format!(" ({ours})") };
        let count = plain.schema().fields().iter().filter(|field| field.name() == theirs).count();
        if count > 1 {
            troubles.push(trouble(format!("has two columns {theirs}")));
            continue;
        }
        let Some(found) = find(file.schema.fields(), theirs) else {
            if columns.contains_key(*ours) {
                continue;
            }
            let near = near_misses(file.schema.fields(), ours, columns);
            if let Some(near) = near.first() {
                troubles.push(trouble(format!(
                    "has no column {ours}, but {near}: if that is what it is, say so with \
                     columns = {{ {ours} = \"{near}\" }}"
                )));
            } else if *presence == Presence::Required {
                troubles.push(trouble(format!("has no column {ours}, which is required")));
            }
            continue;
        };
        let Err(wanted) = wanted.accepts(found.data_type) else { continue };
        if empty.contains(&found.names.join(".")) {
            file.without_values.insert(*ours);
            continue;
        }
        let shown = shown(&footer, &found.names, found.data_type);
        troubles
            .push(trouble(format!("column {theirs}{mapped} is {shown}, but wanted is {wanted}")));
    }
    Ok(if troubles.is_empty() { Ok(file) } else { Err(troubles) })
}

/// The type of a column as its writer meant it, for messages.
fn shown(footer: &ParquetMetaData, names: &[String], found: &DataType) -> String {
    let file = footer.file_metadata();
    let schema = parquet_to_arrow_schema(file.schema_descr(), file.key_value_metadata());
    let shown = schema.ok().and_then(|schema| {
        let mut found = schema.field_with_name(names.first()?).ok()?.data_type().clone();
        for name in &names[1..] {
            let DataType::Struct(fields) = &found else { return None };
            found = fields.find(name)?.1.data_type().clone();
        }
        Some(found)
    });
    shown.unwrap_or_else(|| found.clone()).to_string()
}

/// The columns whose names differ from `name` in case, blanks, underscores, hyphens or camel case
/// only (B2), and that the job file does not map.
fn near_misses<'a>(
    fields: &'a Fields,
    name: &str,
    mapped: &BTreeMap<String, String>,
) -> Vec<&'a str> {
    let names = fields.iter().map(|field| field.name().as_str());
    names
        .filter(|found| *found != name && bare(found) == bare(name))
        .filter(|found| !mapped.values().any(|theirs| theirs == found))
        .collect()
}

/// The end of a file, which has its footer. The decoder asks for the footer's length, then for the
/// footer. It sees the footer only if the lists in it can be as long as they declare.
pub(super) struct Held {
    pub(super) end: Bytes,
    pub(super) size: u64,
}

impl MetadataFetch for Held {
    fn fetch(&mut self, range: Range<u64>) -> BoxFuture<'_, parquet::errors::Result<Bytes>> {
        let before = self.size - self.end.len() as u64;
        let start = range.start.checked_sub(before);
        let is_length = range.end == self.size;
        let bytes = match start.map(|start| (start as usize, (range.end - before) as usize)) {
            Some((start, end)) if end <= self.end.len() => self.end.slice(start..end),
            _ => return ready(Err(ParquetError::EOF("it is cut short".to_owned()))).boxed(),
        };
        let outcome = match is_length || Thrift(&bytes).skip(STRUCT).is_some() {
            true => Ok(bytes),
            false => Err(ParquetError::General("its footer is broken".to_owned())),
        };
        ready(outcome).boxed()
    }
}

/// A digest of a footer's length and the footer (D8). The warehouse has it: another order of the two
/// would make all raw files look changed.
fn digest_of_footer(end: &[u8]) -> String {
    let (footer, length) = end.split_at(end.len().saturating_sub(FOOTER_SIZE));
    let digest = blake3::Hasher::new().update(length).update(footer).finalize();
    digest.to_hex().as_str()[..32].to_owned()
}

/// The schema to read a file with. Bytes are views, which are not copied. Times of INT96 are in
/// microseconds. Metadata is dropped, so that files that differ in nothing else are read together.
/// Columns that share a name are dropped, because they cannot be told apart. Known columns are not
/// among them.
fn to_read(schema: &Schema, parquet: &SchemaDescriptor) -> SchemaRef {
    let coerced = Int96Coercer::new(parquet, schema, &TimeUnit::Microsecond)
        .with_timezone(Some("UTC".into()))
        .coerce();
    let schema = coerced.as_ref().unwrap_or(schema);
    let count = |name: &str| schema.fields().iter().filter(|field| field.name() == name).count();
    let fields = schema.fields().iter().filter(|field| count(field.name()) == 1).map(|field| {
        let data_type = match field.data_type() {
            DataType::Binary | DataType::LargeBinary => DataType::BinaryView,
            other => other.clone(),
        };
        Field::new(field.name(), data_type, true)
    });
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}
