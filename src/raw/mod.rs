//! The raw logs: which landing dates have landed, which files they have, whether the files can be
//! read (B1, B2), and a table of their rows in which lenient types are made strict.
//!
//! Refuses to know which rows are valid: SQL decides that.

mod broken;
mod columns;
mod delta;
mod found;
mod guard;
mod layout;
mod link_key;
mod listing;
mod records;
mod rows;
mod sample;
mod scan;
mod schema;
mod source;
mod through_view;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use anyhow::Result;
use arrow::array::{ArrayRef, Date32Array, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::SchemaRef;
use chrono::NaiveDate;
use futures::future::try_join_all;
use object_store::ObjectMeta;
use object_store::path::Path;

use crate::days::days_since_1970;
use crate::location::{Location, in_parallel};
use crate::stop::Stop;
pub use found::FoundColumn;
pub use guard::readers;
pub use guard::{has_encrypted_columns, mended};
pub use layout::{DEFAULT as DEFAULT_LAYOUT, Layout};
pub use link_key::{LinkFormats, link_key, link_key_function};
use listing::{Landing, Listing};
pub use rows::Reading;
pub use sample::{Sample, sample};
use schema::Trouble;
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

    /// Whether a file without this column is refused (B2).
    pub fn is_required(self, column: &str) -> bool {
        let required = |presence: &columns::Presence| *presence == columns::Presence::Required;
        self.columns().iter().any(|(name, _, presence)| *name == column && required(presence))
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
    /// Its name below the folder of its landing date.
    path: String,
    /// The position of its source.
    source: usize,
    pub rows: u64,
    /// A digest of its footer (D8).
    footer: String,
    schema: SchemaRef,
    /// The columns that hold UUIDs, by their dotted names.
    uuids: BTreeSet<String>,
    /// Those of our columns that have another type and no value in this file.
    without_values: BTreeSet<&'static str>,
}

/// A run's fixed view of one log: what lay there when the run listed it.
pub struct RawLog {
    pub log: Log,
    sources: Vec<Source>,
    /// Of each source.
    listings: Vec<Listing>,
    checked: BTreeMap<NaiveDate, Vec<RawFile>>,
}

impl RawLog {
    /// Lists the log's landing dates from `from` up to `as_of` that `wanted` accepts, and their
    /// files. Errors: exit 2 where a source is a table of a format that is not read; exit 1 when the
    /// store fails.
    pub async fn list(
        log: Log,
        sources: &[Source],
        from: Option<NaiveDate>,
        as_of: Option<NaiveDate>,
        wanted: impl Fn(NaiveDate) -> bool,
    ) -> Result<RawLog, Stop> {
        let is_wanted = |date| as_of.is_none_or(|last| date <= last) && wanted(date);
        let listings = sources.iter().map(|source| listing::list(source, from, is_wanted));
        let listings = try_join_all(listings).await?;
        for (source, listing) in sources.iter().zip(&listings) {
            let files = listing.dates.values().flat_map(|landing| &landing.files);
            files.for_each(|(_, object)| source.location.announce(object));
        }
        Ok(RawLog { listings, ..RawLog::unlisted(log, sources) })
    }

    /// The log as if nothing had landed, without a look at it.
    pub fn unlisted(log: Log, sources: &[Source]) -> RawLog {
        RawLog {
            log,
            sources: sources.to_vec(),
            listings: sources.iter().map(|_| Listing::default()).collect(),
            checked: BTreeMap::new(),
        }
    }

    /// The newest file of each source, as the location of the source and a path in its store.
    pub fn newest_files(&self) -> Vec<(Location, Path)> {
        let sources = self.sources.iter().zip(&self.listings);
        let newest = sources.filter_map(|(source, listing)| {
            let mut files = listing.dates.values().rev().flat_map(|landing| landing.files.last());
            let (_, file) = files.next()?;
            Some((source.location.clone(), file.location.clone()))
        });
        newest.collect()
    }

    pub fn sources(&self) -> &[Source] {
        &self.sources
    }

    /// The locations of its sources, for messages.
    pub fn name(&self) -> String {
        let names: Vec<&str> = self.sources.iter().map(|source| source.location.name()).collect();
        names.join(" and ")
    }

    /// A log without any landing date is a wrong location (D2). Returns the complaints.
    pub fn refuse_wrong_location(&self) -> Vec<String> {
        let wrong = self.sources.iter().zip(&self.listings).filter(|(_, found)| !found.has_dates);
        let complaint = |(source, found): (&Source, &Listing)| {
            let example = source.layout.folder_of(EXAMPLE, source.layout.has_hours().then_some(23));
            let instead = match found.alike.first() {
                Some(alike) => format!("; there is {alike}, which is no such name"),
                None => String::new(),
            };
            format!(
                "{}: has no landing date at all, no folder such as {example} ([input] {}{instead})",
                source.location,
                self.log.name()
            )
        };
        wrong.map(complaint).collect()
    }

    /// What lies in its folders and is not read, in sentences (B5).
    pub fn unread(&self) -> Vec<String> {
        let sources = self.sources.iter().zip(&self.listings);
        sources.flat_map(|(source, listing)| listing.unread(source)).collect()
    }

    /// The landing dates of which anything lies there, landed or not.
    pub fn dates(&self) -> BTreeSet<NaiveDate> {
        let is_there = |landing: &&Landing| landing.has_landed || !landing.files.is_empty();
        let dates = self.listings.iter().flat_map(|listing| &listing.dates);
        dates.filter(|(_, landing)| is_there(landing)).map(|(date, _)| *date).collect()
    }

    /// Whether anything of a landing date lies there, landed or not.
    pub fn is_there(&self, dt: NaiveDate) -> bool {
        self.landings(dt).any(|landing| landing.has_landed || !landing.files.is_empty())
    }

    /// Whether a landing date has landed in each source (D2, I3).
    pub fn has_landed(&self, dt: NaiveDate) -> bool {
        self.listings.iter().all(|listing| listing.has_landed(dt))
    }

    fn landings(&self, dt: NaiveDate) -> impl Iterator<Item = &Landing> {
        self.listings.iter().filter_map(move |listing| listing.dates.get(&dt))
    }

    /// The data files of a landing date, source by source, sorted by name.
    pub fn files(&self, dt: NaiveDate) -> impl Iterator<Item = &ObjectMeta> {
        self.landings(dt).flat_map(|landing| &landing.files).map(|(_, meta)| meta)
    }

    /// Reads the schema of every file of these dates, each once. Returns the complaints (B1, B2).
    /// Errors: the store fails.
    pub async fn validate_schemas(
        &mut self,
        dates: &BTreeSet<NaiveDate>,
    ) -> Result<Vec<String>, Stop> {
        let mut unchecked = Vec::new();
        for date in dates.iter().filter(|date| !self.checked.contains_key(date)) {
            for (source, listing) in self.listings.iter().enumerate() {
                let files = listing.dates.get(date).into_iter().flat_map(|landing| &landing.files);
                unchecked
                    .extend(files.map(|(path, meta)| (*date, source, path.clone(), meta.clone())));
            }
        }
        let log = self.log;
        let sources = &self.sources;
        let read = in_parallel(unchecked, async |(date, number, path, meta)| {
            let source = (number, &sources[number]);
            Ok((date, schema::read_schema(source, log, path, meta).await?))
        });
        let mut troubles = Vec::new();
        let mut checked: BTreeMap<NaiveDate, Vec<RawFile>> = BTreeMap::new();
        for (date, file) in read.await? {
            match file {
                Ok(file) => checked.entry(date).or_default().push(file),
                Err(of_file) => troubles.extend(of_file),
            }
        }
        let mut complaints = Trouble::together(troubles);
        if complaints.is_empty() {
            let files =
                checked.iter().flat_map(|(date, files)| files.iter().map(|file| (*date, file)));
            let files: Vec<(NaiveDate, &RawFile)> = files.collect();
            complaints.extend(self.unmapped(&files).await?);
            complaints.extend(self.view_troubles(&files).await?);
        }
        if complaints.is_empty() {
            for date in dates {
                let files = checked.remove(date).unwrap_or_default();
                self.checked.entry(*date).or_insert(files);
            }
        }
        Ok(complaints)
    }

    /// Names of the job file that no file of their source has (I1, B2).
    async fn unmapped(&self, files: &[(NaiveDate, &RawFile)]) -> Result<Vec<String>> {
        let mut complaints = Vec::new();
        for (number, source) in self.sources.iter().enumerate() {
            let Shape::Columns(columns) = &source.shape else { continue };
            let own = files.iter().filter(|(_, file)| file.source == number && file.rows > 0);
            let own: Vec<&RawFile> = own.map(|(_, file)| *file).collect();
            let Some(first) = own.first() else { continue };
            for (ours, theirs) in columns {
                let has = |file: &RawFile| columns::find(file.schema.fields(), theirs).is_some();
                if !own.iter().any(|file| has(file)) && !self.some_other(number, has).await? {
                    let names: Vec<&str> =
                        first.schema.fields().iter().map(|field| field.name().as_str()).collect();
                    complaints.push(format!(
                        "{}: no file has the column {theirs}, which the job file says is {ours}; \
                         there are {}",
                        source.location,
                        names.join(", ")
                    ));
                }
            }
        }
        Ok(complaints)
    }

    /// Whether some of the newest other files of a source are so. Tonight's may lack a column.
    async fn some_other(&self, source: usize, is_so: impl Fn(&RawFile) -> bool) -> Result<bool> {
        const LOOKED_AT: usize = 8;
        let landings = self.listings[source].dates.values().rev();
        let newest = landings.filter_map(|landing| landing.files.last()).take(LOOKED_AT);
        let newest: Vec<(String, ObjectMeta)> = newest.cloned().collect();
        let read = in_parallel(newest, async |(path, meta)| {
            let of = (source, &self.sources[source]);
            Ok(schema::read_schema(of, self.log, path, meta).await?.ok())
        });
        Ok(read.await?.into_iter().flatten().any(|file| is_so(&file)))
    }

    /// Whether there is nothing to read of a landing date, or its schemas have been read.
    pub fn is_checked(&self, dt: NaiveDate) -> bool {
        self.checked.contains_key(&dt) || !self.is_there(dt)
    }

    /// Whether rows come out of a view, so that files do not tell how many there are.
    pub fn has_view(&self) -> bool {
        self.sources.iter().any(|source| source.shape.view().is_some())
    }

    /// What the store says about the files of a landing date: a digest of names, sizes and tags. Equal
    /// ones mean equal files, and copies differ.
    pub fn tags(&self, dt: NaiveDate) -> String {
        let landings = self
            .listings
            .iter()
            .enumerate()
            .filter_map(|(source, listing)| Some((source, listing.dates.get(&dt)?)));
        digest(landings.flat_map(|(source, landing)| {
            landing.files.iter().map(move |(path, file)| {
                let version = match &file.e_tag {
                    Some(tag) => tag.clone(),
                    None => file.last_modified.to_rfc3339(),
                };
                format!("{} {} {version}", of_source(source, path), file.size)
            })
        }))
    }

    /// The contents of a landing date's files (D8): a digest of names, sizes and footers. None when
    /// their schemas have not been checked.
    pub fn contents(&self, dt: NaiveDate) -> Option<String> {
        let files = self.checked.get(&dt)?.iter();
        Some(digest(files.map(|file| {
            let name = of_source(file.source, &file.path);
            format!("{name} {} {}", file.meta.size, file.footer)
        })))
    }

    /// The rows of a checked landing date's files, from their footers. Other rows may come out of a
    /// view.
    pub fn rows(&self, dt: NaiveDate) -> u64 {
        self.checked.get(&dt).into_iter().flatten().map(|file| file.rows).sum()
    }
}

/// A landing date for messages.
const EXAMPLE: NaiveDate = match NaiveDate::from_ymd_opt(2026, 5, 1) {
    Some(date) => date,
    None => NaiveDate::MIN,
};

/// A file's name among those of a landing date. The first source is not named.
fn of_source(source: usize, path: &str) -> String {
    match source {
        0 => path.to_owned(),
        number => format!("{number}:{path}"),
    }
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

/// The rows of `raw.row_counts`, for the audit that nothing is lost (C4): how many rows of a log
/// each landing date has.
pub fn row_counts(log: Log, rows: &BTreeMap<NaiveDate, u64>) -> Result<RecordBatch> {
    let days = rows.keys().map(|dt| days_since_1970(*dt));
    let counts = rows.values().map(|rows| i64::try_from(*rows));
    let columns: [(&str, ArrayRef); 3] = [
        ("dt", Arc::new(Date32Array::from_iter_values(days))),
        ("log", Arc::new(StringArray::from(vec![log.name(); rows.len()]))),
        ("raw_rows", Arc::new(Int64Array::from(counts.collect::<Result<Vec<_>, _>>()?))),
    ];
    Ok(RecordBatch::try_from_iter(columns)?)
}
