//! The raw logs: which landing dates have landed, which files they have, whether the files can be
//! read (B1, B2), and a table of their rows in which lenient types are made strict.
//!
//! Refuses to know which rows are valid: SQL decides that.

mod columns;
mod guard;
mod layout;
mod link_key;
mod listing;
mod rows;
mod source;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use anyhow::Result;
use arrow::array::{ArrayRef, Date32Array, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::SchemaRef;
use chrono::NaiveDate;
use object_store::ObjectMeta;

use crate::days::days_since_1970;
use crate::location::{Location, in_parallel};
use crate::stop::Stop;
pub use layout::Layout;
pub use link_key::{LinkFormats, link_key};
use listing::Listing;
pub use source::{Shape, Source};

/// Which of the two logs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Log {
    Clicks,
    Orders,
}

impl Log {
    pub fn name(self) -> &'static str {
        match self {
            Log::Clicks => "clicks",
            Log::Orders => "orders",
        }
    }

    /// The names of its columns, in the order of the rules.
    pub fn column_names(self) -> impl Iterator<Item = &'static str> {
        self.columns().iter().map(|(name, ..)| *name)
    }

    /// The stored table of the log's clean rows.
    pub fn clean_table(self) -> &'static str {
        match self {
            Log::Clicks => "clean.clicks",
            Log::Orders => "clean.order_events",
        }
    }
}

/// A raw file whose schema was read and accepted.
#[derive(Debug, Clone)]
pub struct RawFile {
    pub meta: ObjectMeta,
    pub rows: u64,
    /// A digest of its footer (D8).
    footer: String,
    schema: SchemaRef,
}

/// A run's fixed view of one log: what had landed when the run listed it.
pub struct RawLog {
    pub log: Log,
    location: Location,
    /// Whether there is a folder of any landing date, wanted or not.
    has_dates: bool,
    landed: BTreeMap<NaiveDate, Vec<ObjectMeta>>,
    checked: BTreeMap<NaiveDate, Vec<RawFile>>,
}

impl RawLog {
    /// Lists the log's landing dates from `from` up to `as_of` that `wanted` accepts, and their
    /// files. Errors: the store fails.
    pub async fn list(
        log: Log,
        sources: &[Source],
        from: Option<NaiveDate>,
        as_of: Option<NaiveDate>,
        wanted: impl Fn(NaiveDate) -> bool,
    ) -> Result<RawLog> {
        let location = &sources[0].location;
        let is_wanted = |date| as_of.is_none_or(|last| date <= last) && wanted(date);
        let Listing { has_dates, landed } = listing::list(location, from, is_wanted).await?;
        landed.values().flatten().for_each(|object| location.announce(object));
        Ok(RawLog { has_dates, landed, ..RawLog::unlisted(log, sources) })
    }

    /// The log as if nothing had landed, without a look at it.
    pub fn unlisted(log: Log, sources: &[Source]) -> RawLog {
        let location = &sources[0].location;
        RawLog {
            log,
            location: location.clone(),
            has_dates: false,
            landed: BTreeMap::new(),
            checked: BTreeMap::new(),
        }
    }

    pub fn location(&self) -> &Location {
        &self.location
    }

    /// A log without any landing date is a wrong location (D2). Returns the complaint, or none.
    pub fn refuse_wrong_location(&self) -> Option<String> {
        let complaint = || {
            format!(
                "{}: has no landing date at all, no folder such as dt=2026-05-01 ([input] {})",
                self.location,
                self.log.name()
            )
        };
        (!self.has_dates).then(complaint)
    }

    /// The landing dates whose folder itself has at least one object.
    pub fn landed(&self) -> BTreeSet<NaiveDate> {
        self.landed.keys().copied().collect()
    }

    pub fn has_landed(&self, dt: NaiveDate) -> bool {
        self.landed.contains_key(&dt)
    }

    /// The Parquet files of a landing date, sorted by name.
    pub fn files(&self, dt: NaiveDate) -> impl Iterator<Item = &ObjectMeta> {
        let is_data = |meta: &&ObjectMeta| {
            meta.location
                .filename()
                .is_some_and(|name| !name.starts_with(['_', '.']) && name.ends_with(".parquet"))
        };
        self.landed.get(&dt).map(Vec::as_slice).unwrap_or_default().iter().filter(is_data)
    }

    /// Reads the schema of every file of these dates, each once. Returns the complaints (B1, B2).
    /// Errors: the store fails.
    pub async fn validate_schemas(
        &mut self,
        dates: &BTreeSet<NaiveDate>,
    ) -> Result<Vec<String>, Stop> {
        let unchecked: Vec<(NaiveDate, ObjectMeta)> = dates
            .iter()
            .filter(|date| !self.checked.contains_key(date))
            .flat_map(|date| self.files(*date).map(|meta| (*date, meta.clone())))
            .collect();
        let location = &self.location;
        let log = self.log;
        let read = in_parallel(unchecked, async |(date, meta)| {
            Ok((date, columns::read_schema(location, log, meta).await?))
        });
        let mut complaints = Vec::new();
        let mut checked: BTreeMap<NaiveDate, Vec<RawFile>> = BTreeMap::new();
        for (date, file) in read.await? {
            match file {
                Ok(file) => checked.entry(date).or_default().push(file),
                Err(troubles) => complaints.extend(troubles),
            }
        }
        if complaints.is_empty() {
            for date in dates {
                let files = checked.remove(date).unwrap_or_default();
                self.checked.entry(*date).or_insert(files);
            }
        }
        Ok(complaints)
    }

    /// Whether there is nothing to read of a landing date, or its schemas have been read.
    pub fn is_checked(&self, dt: NaiveDate) -> bool {
        self.checked.contains_key(&dt) || !self.has_landed(dt)
    }

    /// What the store says about the files of a landing date: a digest of names, sizes and tags. Equal
    /// ones mean equal files, and copies differ.
    pub fn tags(&self, dt: NaiveDate) -> String {
        digest(self.files(dt).map(|file| {
            let version = match &file.e_tag {
                Some(tag) => tag.clone(),
                None => file.last_modified.to_rfc3339(),
            };
            format!("{} {} {version}", name(file), file.size)
        }))
    }

    /// The contents of a landing date's files (D8): a digest of names, sizes and footers. None when
    /// their schemas have not been checked.
    pub fn contents(&self, dt: NaiveDate) -> Option<String> {
        let files = self.checked.get(&dt)?.iter();
        Some(digest(
            files.map(|file| format!("{} {} {}", name(&file.meta), file.meta.size, file.footer)),
        ))
    }

    /// The raw rows of a checked landing date, from the footers of its files.
    pub fn rows(&self, dt: NaiveDate) -> u64 {
        self.checked.get(&dt).into_iter().flatten().map(|file| file.rows).sum()
    }
}

fn name(file: &ObjectMeta) -> &str {
    file.location.filename().unwrap_or_default()
}

fn digest(parts: impl Iterator<Item = String>) -> String {
    let mut hasher = blake3::Hasher::new();
    for part in parts {
        hasher.update(&(part.len() as u64).to_le_bytes());
        hasher.update(part.as_bytes());
    }
    hasher.finalize().to_hex().as_str()[..32].to_owned()
}

/// `dt=2026-01-05/part-0.parquet`
fn relative(location: &Location, meta: &ObjectMeta) -> String {
    let path = meta.location.as_ref();
    path.strip_prefix(location.path().as_ref()).unwrap_or(path).trim_start_matches('/').to_owned()
}

/// The rows of `raw.row_counts`, for the audit that nothing is lost (C4).
pub fn row_counts(logs: &[(&RawLog, BTreeSet<NaiveDate>)]) -> Result<RecordBatch> {
    let mut dates = Vec::new();
    let mut names = Vec::new();
    let mut rows = Vec::new();
    for (log, landing) in logs {
        for dt in landing {
            dates.push(days_since_1970(*dt));
            names.push(log.log.name());
            rows.push(log.rows(*dt) as i64);
        }
    }
    let columns: [(&str, ArrayRef); 3] = [
        ("dt", Arc::new(Date32Array::from(dates))),
        ("log", Arc::new(StringArray::from(names))),
        ("raw_rows", Arc::new(Int64Array::from(rows))),
    ];
    Ok(RecordBatch::try_from_iter(columns)?)
}
