//! The raw logs: which landing dates have landed, which files they hold, whether these can be
//! read (B1, B2), and a table of their rows with lenient types made strict.
//!
//! Refuses to know which rows are good: that is SQL.

mod columns;
mod footer;
mod link_key;
mod pages;
mod rows;
mod steps;
mod thrift;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use anyhow::Result;
use arrow::array::{ArrayRef, Date32Array, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::SchemaRef;
use chrono::NaiveDate;
use object_store::ObjectMeta;

use crate::place::{Place, in_parallel};
use crate::stop::Stop;
pub use link_key::LinkFormats;

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
}

/// A raw file whose schema was read and can be what it should be.
#[derive(Debug, Clone)]
pub struct RawFile {
    pub meta: ObjectMeta,
    pub rows: u64,
    schema: SchemaRef,
}

/// The frozen view of one log that a run works on: what had landed when it looked.
pub struct RawLog {
    pub log: Log,
    place: Place,
    landed: BTreeMap<NaiveDate, Vec<ObjectMeta>>,
    checked: BTreeMap<NaiveDate, Vec<RawFile>>,
}

impl RawLog {
    /// Lists the log's landing dates up to `as_of`, and the files of those that `wanted` accepts.
    pub async fn list(
        log: Log,
        place: &Place,
        as_of: Option<NaiveDate>,
        wanted: impl Fn(NaiveDate) -> bool,
    ) -> Result<RawLog> {
        let (_, folders) = place.list().await?;
        let dates: Vec<NaiveDate> = folders
            .iter()
            .filter_map(|folder| folder.strip_prefix("dt=")?.parse().ok())
            .filter(|date| as_of.is_none_or(|last| *date <= last) && wanted(*date))
            .collect();
        let listings = in_parallel(dates.clone(), async |date| {
            let (objects, _) = place.child(&format!("dt={date}")).list().await?;
            Ok(objects)
        });
        let landed = dates.into_iter().zip(listings.await?);
        Ok(RawLog {
            log,
            place: place.clone(),
            landed: landed.filter(|(_, objects)| !objects.is_empty()).collect(),
            checked: BTreeMap::new(),
        })
    }

    /// Landing dates whose folder itself holds at least one object.
    pub fn landed(&self) -> BTreeSet<NaiveDate> {
        self.landed.keys().copied().collect()
    }

    pub fn has_landed(&self, dt: NaiveDate) -> bool {
        self.landed.contains_key(&dt)
    }

    /// The Parquet files of a landing date, by name.
    pub fn files(&self, dt: NaiveDate) -> impl Iterator<Item = &ObjectMeta> {
        let is_data = |meta: &&ObjectMeta| {
            meta.location
                .filename()
                .is_some_and(|name| !name.starts_with(['_', '.']) && name.ends_with(".parquet"))
        };
        self.landed.get(&dt).map(Vec::as_slice).unwrap_or_default().iter().filter(is_data)
    }

    /// Reads the schema of every file of these dates, once. Returns the complaints (B1, B2).
    /// Errors: the store fails.
    pub async fn check(&mut self, dates: &BTreeSet<NaiveDate>) -> Result<Vec<String>, Stop> {
        let unchecked: Vec<(NaiveDate, ObjectMeta)> = dates
            .iter()
            .filter(|date| !self.checked.contains_key(date))
            .flat_map(|date| self.files(*date).map(|meta| (*date, meta.clone())))
            .collect();
        let place = &self.place;
        let log = self.log;
        let read = in_parallel(unchecked, async |(date, meta)| {
            Ok((date, columns::read_schema(place, log, meta).await?))
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

    /// Raw rows per checked landing date, from the files' own row counts.
    pub fn rows(&self, dt: NaiveDate) -> u64 {
        self.checked.get(&dt).into_iter().flatten().map(|file| file.rows).sum()
    }
}

/// `dt=2026-01-05/part-0.parquet`
fn relative(place: &Place, meta: &ObjectMeta) -> String {
    let path = meta.location.as_ref();
    path.strip_prefix(place.path().as_ref()).unwrap_or(path).trim_start_matches('/').to_owned()
}

/// Days since 1970, as Arrow counts dates.
pub fn days_since_1970(date: NaiveDate) -> i32 {
    date.signed_duration_since(NaiveDate::default()).num_days() as i32
}

/// Rows of `raw.row_counts` for the check that nothing is lost.
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
