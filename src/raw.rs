//! The raw logs: which landing dates have landed, which files they hold, whether these can be
//! read (B1, B2), and a table of their rows with lenient types made strict.
//!
//! Refuses to know which rows are good: that is SQL.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::Arc;

use anyhow::{Context, Result};
use arrow::array::{ArrayRef, Date32Array, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use bytes::Bytes;
use chrono::NaiveDate;
use datafusion::common::ScalarValue;
use datafusion::functions::expr_fn::{nullif, regexp_match};
use datafusion::functions_nested::expr_fn::{array_element, make_array};
use datafusion::logical_expr::{Expr, cast, lit, try_cast, when};
use datafusion::prelude::{DataFrame, col, ident};
use futures::FutureExt;
use futures::future::BoxFuture;
use object_store::{ObjectMeta, ObjectStore, ObjectStoreExt};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions};
use parquet::arrow::async_reader::MetadataFetch;
use parquet::errors::ParquetError;
use parquet::file::metadata::ParquetMetaDataReader;

use crate::days;
use crate::engine::Engine;
use crate::engine::files::{DataFile, FileTable};
use crate::place::{Place, in_parallel};
use crate::stop::Stop;

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

    fn columns(self) -> &'static [(&'static str, Wanted, Presence)] {
        use Presence::{Optional, Required};
        use Wanted::{Amount, Number, Text, Time};
        match self {
            Log::Clicks => &[
                ("click_id", Text, Required),
                ("clicked_at", Time, Required),
                ("url", Text, Required),
                ("buyer_id", Text, Optional),
                ("visitor_id", Text, Optional),
                ("store_id", Text, Optional),
                ("product_id", Text, Optional),
                ("country", Text, Optional),
                ("device", Text, Optional),
            ],
            Log::Orders => &[
                ("event_id", Text, Required),
                ("event_type", Text, Required),
                ("event_at", Time, Required),
                ("order_id", Text, Required),
                ("line_id", Text, Required),
                ("buyer_id", Text, Required),
                ("store_id", Text, Required),
                ("amount", Amount, Required),
                ("currency", Text, Required),
                ("product_id", Text, Optional),
                ("category_id", Text, Optional),
                ("quantity", Number, Optional),
                ("country", Text, Optional),
                ("reason", Text, Optional),
            ],
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Presence {
    Required,
    Optional,
}

/// What a column is read as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wanted {
    Text,
    Time,
    /// Exact text of a decimal or integer: its digits are judged in SQL.
    Amount,
    Number,
}

impl Wanted {
    /// Whether a file's column can be read so; if not, what is wanted.
    fn accepts(self, found: &DataType) -> Result<(), &'static str> {
        let found = match found {
            DataType::Dictionary(_, values) => values.as_ref(),
            other => other,
        };
        let is_string = matches!(found, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View);
        let accepted = match self {
            Wanted::Text => is_string || found.is_integer(),
            Wanted::Time => matches!(found, DataType::Timestamp(..)),
            Wanted::Amount => found.is_integer() || found.is_decimal(),
            Wanted::Number => found.is_integer(),
        };
        match (accepted || found == &DataType::Null, self) {
            (true, _) => Ok(()),
            (false, Wanted::Text) => Err("a string or an integer"),
            (false, Wanted::Time) => Err("a timestamp"),
            (false, Wanted::Amount) if found.is_floating() => {
                Err("a decimal or an integer: floating point cannot hold money exactly")
            }
            (false, Wanted::Amount) => Err("a decimal or an integer"),
            (false, Wanted::Number) => Err("an integer"),
        }
    }

    /// The type in the table `raw.clicks` or `raw.orders`.
    fn read(self) -> DataType {
        match self {
            Wanted::Text | Wanted::Amount => DataType::Utf8View,
            Wanted::Time => instant(),
            Wanted::Number => DataType::Int64,
        }
    }

    fn expression(self, column: Expr) -> Expr {
        match self {
            Wanted::Text => nullif(cast(column, DataType::Utf8View), lit("")),
            Wanted::Amount => cast(column, DataType::Utf8View),
            Wanted::Time | Wanted::Number => try_cast(column, self.read()),
        }
    }
}

fn instant() -> DataType {
    DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))
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
            Ok((date, read_schema(place, log, meta).await?))
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

    /// Registers `raw.clicks` or `raw.orders`: the rows of these checked landing dates.
    pub async fn register(
        &self,
        engine: &Engine,
        dates: &BTreeSet<NaiveDate>,
        formats: &[String],
    ) -> Result<()> {
        engine.add_store(&self.place)?;
        let mut by_schema: Vec<(SchemaRef, Vec<DataFile>)> = Vec::new();
        for date in dates {
            for file in self.checked.get(date).into_iter().flatten() {
                let days = Date32Array::from(vec![days_since_1970(*date)]);
                let file_entry = DataFile {
                    path: file.meta.location.clone(),
                    size: file.meta.size,
                    partition: Some(ScalarValue::try_from_array(&days, 0)?),
                    rows: Some(file.rows),
                };
                match by_schema.iter_mut().find(|(schema, _)| schema == &file.schema) {
                    Some((_, files)) => files.push(file_entry),
                    None => by_schema.push((file.schema.clone(), vec![file_entry])),
                }
            }
        }
        if by_schema.is_empty() {
            by_schema.push((Arc::new(self.bare_schema()), Vec::new()));
        }
        let mut union: Option<DataFrame> = None;
        for (schema, files) in by_schema {
            let rows = self.read(engine, schema, files, formats)?;
            union = Some(match union {
                Some(union) => union.union(rows)?,
                None => rows,
            });
        }
        let union = union.context("a log has at least one schema")?;
        engine.register(&format!("raw.{}", self.log.name()), union.into_view())
    }

    /// Files of one schema, their columns found by name and given the contract's types.
    fn read(
        &self,
        engine: &Engine,
        schema: SchemaRef,
        files: Vec<DataFile>,
        formats: &[String],
    ) -> Result<DataFrame> {
        // Not dt: a file may have a column of that name, and partitions come from the folder.
        let partition = Field::new("lookback_dt", DataType::Date32, false);
        let table = FileTable::new(self.place.store_url()?, schema.clone(), Some(partition), files);
        let wanted = self.log.columns();
        let mut columns = vec![
            ident("lookback_dt").alias("dt"),
            cast(ident("lookback_dt"), instant()).alias("dt_start"),
        ];
        for (name, kind, _) in wanted {
            let column = match schema.field_with_name(name) {
                Ok(_) => kind.expression(ident(*name)),
                Err(_) => cast(lit(ScalarValue::Null), kind.read()),
            };
            columns.push(column.alias(*name));
        }
        columns.push(further_columns(&schema, wanted)?.alias("further_columns"));
        let rows = engine.session().read_table(Arc::new(table))?.select(columns)?;
        match self.log {
            Log::Clicks => Ok(rows.with_column("link_key", link_key(formats)?)?),
            Log::Orders => Ok(rows),
        }
    }

    fn bare_schema(&self) -> Schema {
        let fields = self.log.columns().iter().map(|(name, kind, _)| {
            let data_type = match kind {
                Wanted::Amount => DataType::Decimal128(18, 4),
                kind => kind.read(),
            };
            Field::new(*name, data_type, true)
        });
        Schema::new(fields.collect::<Vec<_>>())
    }

    /// Finds the files of these dates whose rows cannot be decoded (B1): called when a query over
    /// them failed, to name the culprits.
    pub async fn find_broken(&self, dates: &BTreeSet<NaiveDate>) -> Result<Vec<String>> {
        let mut complaints = Vec::new();
        for file in dates.iter().filter_map(|date| self.checked.get(date)).flatten() {
            let name = format!("{}/{}", self.place, relative(&self.place, &file.meta));
            let content = self.place.store().get(&file.meta.location).await;
            let content = content.with_context(|| name.clone())?.bytes().await?;
            let decode = tokio::task::spawn_blocking(move || {
                let mut rows = ParquetRecordBatchReaderBuilder::try_new(content)?.build()?;
                rows.try_for_each(|batch| batch.map(drop).map_err(ParquetError::from))
            });
            match decode.await {
                Ok(Ok(())) => {}
                Ok(Err::<(), ParquetError>(error)) => {
                    complaints.push(format!("{name}: is no readable Parquet file: {error}"));
                }
                Err(_) => complaints.push(format!("{name}: is no readable Parquet file")),
            }
        }
        Ok(complaints)
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

/// Reads a file's footer. The inner error lists what is wrong with the file.
async fn read_schema(
    place: &Place,
    log: Log,
    meta: ObjectMeta,
) -> Result<Result<RawFile, Vec<String>>> {
    let name = format!("{place}/{}", relative(place, &meta));
    let store = place.store().clone();
    let size = meta.size;
    let ranges = Ranges(store, meta.location.clone());
    // In a task of its own: a hostile footer that makes the decoder panic is a bad file.
    let read = tokio::spawn(async move {
        let footer = ParquetMetaDataReader::new().load_and_finish(ranges, size).await?;
        ArrowReaderMetadata::try_new(Arc::new(footer), ArrowReaderOptions::new())
    });
    let footer = match read.await {
        Ok(Ok(footer)) => footer,
        Ok(Err(parquet::errors::ParquetError::External(error)))
            if error.is::<object_store::Error>() =>
        {
            return Err(anyhow::anyhow!("{name}: cannot read: {error}"));
        }
        Ok(Err(error)) => {
            return Ok(Err(vec![format!("{name}: is no readable Parquet file: {error}")]));
        }
        Err(_) => return Ok(Err(vec![format!("{name}: is no readable Parquet file")])),
    };
    let schema = footer.schema().clone();
    let mut complaints = Vec::new();
    for (column, wanted, presence) in log.columns() {
        let found: Vec<&Field> = schema
            .fields()
            .iter()
            .filter(|field| field.name() == column)
            .map(AsRef::as_ref)
            .collect();
        match found.as_slice() {
            [] if *presence == Presence::Optional => {}
            [] => complaints.push(format!("{name}: has no column {column}, which is required")),
            [field] => {
                if let Err(wanted) = wanted.accepts(field.data_type()) {
                    let found = field.data_type();
                    complaints.push(format!(
                        "{name}: column {column} is {found}, but wanted is {wanted}"
                    ));
                }
            }
            _ => complaints.push(format!("{name}: has two columns {column}")),
        }
    }
    match complaints.is_empty() {
        true => {
            let rows = footer.metadata().file_metadata().num_rows().unsigned_abs();
            Ok(Ok(RawFile { meta, rows, schema: as_views(&schema) }))
        }
        false => Ok(Err(complaints)),
    }
}

/// Byte ranges of one object, for reading a footer.
struct Ranges(Arc<dyn ObjectStore>, object_store::path::Path);

impl MetadataFetch for Ranges {
    fn fetch(&mut self, range: Range<u64>) -> BoxFuture<'_, parquet::errors::Result<Bytes>> {
        let bytes = async { Ok(self.0.get_range(&self.1, range).await?) };
        bytes.boxed()
    }
}

/// Strings are read as views, which are not copied; the rest as it is. Without the metadata, so
/// that files that differ in nothing else are read together.
fn as_views(schema: &Schema) -> SchemaRef {
    let fields = schema.fields().iter().map(|field| {
        let data_type = match field.data_type() {
            DataType::Utf8 | DataType::LargeUtf8 => DataType::Utf8View,
            other => other.clone(),
        };
        Field::new(field.name(), data_type, true)
    });
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}

/// The columns the contract does not know, as a list of names and values in turn, so that a
/// rejected row is kept whole (C4). Null where there are none. Columns that have no text form
/// (lists, structs, bytes) are left out.
fn further_columns(schema: &Schema, wanted: &[(&str, Wanted, Presence)]) -> Result<Expr> {
    let mut names: Vec<&String> = schema
        .fields()
        .iter()
        .filter(|field| wanted.iter().all(|(name, ..)| name != field.name()))
        .filter(|field| !field.data_type().is_nested() && !is_bytes(field.data_type()))
        .map(|field| field.name())
        .collect();
    names.sort();
    names.dedup();
    let list = DataType::List(Arc::new(Field::new_list_field(DataType::Utf8View, true)));
    if names.is_empty() {
        return Ok(cast(lit(ScalarValue::Null), list));
    }
    let parts = names.into_iter().flat_map(|name| {
        let name_text = lit(ScalarValue::Utf8View(Some(name.clone())));
        [name_text, cast(ident(name.as_str()), DataType::Utf8View)]
    });
    Ok(cast(make_array(parts.collect()), list))
}

fn is_bytes(data_type: &DataType) -> bool {
    use DataType::{Binary, BinaryView, FixedSizeBinary, LargeBinary};
    matches!(data_type, Binary | LargeBinary | BinaryView | FixedSizeBinary(_))
}

/// The key of a promotion link: the first group of the first format that matches; empty when the
/// group took no part, null when no format matches.
fn link_key(formats: &[String]) -> Result<Expr> {
    let mut key: Option<datafusion::logical_expr::conditional_expressions::CaseBuilder> = None;
    for format in formats {
        let found = regexp_match(col("url"), lit(format.as_str()), None);
        let group = array_element(found.clone(), lit(1_i64));
        let group = datafusion::functions::expr_fn::coalesce(vec![group, lit("")]);
        key = Some(match key {
            Some(mut case) => case.when(found.is_not_null(), group),
            None => when(found.is_not_null(), group),
        });
    }
    let key = key.context("a job has at least one link format")?;
    Ok(cast(key.end()?, DataType::Utf8View))
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

/// Landing dates in words, for messages.
pub fn in_words(dates: &BTreeSet<NaiveDate>) -> String {
    days::in_words(dates.iter().copied())
}
