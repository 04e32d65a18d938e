//! The columns of the two raw logs, and whether a file's schema can hold them (B1, B2).

use std::ops::Range;
use std::sync::Arc;

use anyhow::{Result, anyhow};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use bytes::Bytes;
use datafusion::common::ScalarValue;
use datafusion::functions::expr_fn::nullif;
use datafusion::logical_expr::{Expr, cast, lit, try_cast, when};
use futures::FutureExt;
use futures::future::{BoxFuture, ready};
use object_store::ObjectMeta;
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions};
use parquet::arrow::async_reader::MetadataFetch;
use parquet::errors::ParquetError;
use parquet::file::FOOTER_SIZE;
use parquet::file::metadata::ParquetMetaDataReader;

use super::guard::{self, STRUCT, Thrift};
use super::{Log, RawFile, relative};
use crate::engine::footer;
use crate::location::Location;

/// A column: its name, what it is read as, and whether a file must have it.
pub type Column = (&'static str, Wanted, Presence);

impl Log {
    pub(super) fn columns(self) -> &'static [Column] {
        use Presence::{Optional, Required};
        use Wanted::{Amount, Id, Number, Text, Time};
        match self {
            Log::Clicks => &[
                ("click_id", Text, Required),
                ("clicked_at", Time, Required),
                ("url", Text, Required),
                ("buyer_id", Id, Optional),
                ("visitor_id", Id, Optional),
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
                ("buyer_id", Id, Required),
                ("store_id", Text, Required),
                ("amount", Amount, Required),
                ("currency", Text, Required),
                ("product_id", Text, Optional),
                ("category_id", Text, Optional),
                ("quantity", Number, Optional),
                ("country", Text, Optional),
                ("reason", Text, Optional),
                ("visitor_id", Id, Optional),
            ],
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Presence {
    Required,
    Optional,
}

/// What a column is read as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wanted {
    Text,
    /// A text that names a buyer or a visitor, unless it is a word that stands for nobody.
    Id,
    Time,
    /// The exact text of a decimal or integer. SQL checks its digits.
    Amount,
    Number,
}

impl Wanted {
    /// Whether a file's column can be read so. Errors: what is wanted, for a message.
    fn accepts(self, found: &DataType) -> Result<(), &'static str> {
        let found = match found {
            DataType::Dictionary(_, values) => values.as_ref(),
            other => other,
        };
        let is_string = matches!(found, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View);
        let accepted = match self {
            Wanted::Text | Wanted::Id => is_string || found.is_integer(),
            Wanted::Time => matches!(found, DataType::Timestamp(..)),
            Wanted::Amount => found.is_integer() || found.is_decimal(),
            Wanted::Number => found.is_integer(),
        };
        match (accepted || found == &DataType::Null, self) {
            (true, _) => Ok(()),
            (false, Wanted::Text | Wanted::Id) => Err("a string or an integer"),
            (false, Wanted::Time) => Err("a timestamp"),
            (false, Wanted::Amount) if found.is_floating() => {
                Err("a decimal or an integer: floating point cannot hold money exactly")
            }
            (false, Wanted::Amount) => Err("a decimal or an integer"),
            (false, Wanted::Number) => Err("an integer"),
        }
    }

    /// The column's type in the table `raw.clicks` or `raw.orders`.
    pub(super) fn read(self) -> DataType {
        match self {
            Wanted::Text | Wanted::Id | Wanted::Amount => DataType::Utf8View,
            Wanted::Time => instant(),
            Wanted::Number => DataType::Int64,
        }
    }

    /// Converts a file's column of type `found` to the table's type. The words in `nobody` are no id.
    pub(super) fn expression(
        self,
        column: Expr,
        found: &DataType,
        nobody: &[String],
    ) -> Result<Expr> {
        Ok(match self {
            Wanted::Id if !nobody.is_empty() => {
                let text = Wanted::Text.expression(column, found, nobody)?;
                let words =
                    nobody.iter().map(|word| lit(ScalarValue::Utf8View(Some(word.clone()))));
                when(text.clone().in_list(words.collect(), true), text).end()?
            }
            Wanted::Text | Wanted::Id => nullif(cast(column, DataType::Utf8View), lit("")),
            Wanted::Amount => cast(column, DataType::Utf8View),
            Wanted::Time => try_cast(within_calendar(column, found)?, instant()),
            Wanted::Number => try_cast(column, DataType::Int64),
        })
    }
}

/// Moves times outside the calendar (before 0001-01-01 or after 9999-12-31) to its ends. Such rows
/// are too late or in the future, and do not stop the run.
fn within_calendar(column: Expr, found: &DataType) -> Result<Expr> {
    let DataType::Timestamp(unit, zone) = found else { return Ok(column) };
    let per_second = match unit {
        TimeUnit::Second => 1,
        TimeUnit::Millisecond => 1_000,
        TimeUnit::Microsecond => 1_000_000,
        // Nanoseconds only reach from 1677 to 2262.
        TimeUnit::Nanosecond => return Ok(column),
    };
    let end = |seconds: i64| {
        let count = ScalarValue::Int64(Some(seconds * per_second));
        Ok::<_, anyhow::Error>(lit(count.cast_to(&DataType::Timestamp(*unit, zone.clone()))?))
    };
    // 0001-01-01 and 9999-12-31.
    let first = end(-62_135_596_800)?;
    let last = end(253_402_214_400)?;
    // Nearly all rows take the first branch, so the others are not evaluated.
    let is_within = column.clone().between(first.clone(), last.clone());
    Ok(when(is_within, column.clone())
        .when(column.clone().lt(first.clone()), first)
        .when(column.clone().gt(last.clone()), last)
        .otherwise(column)?)
}

pub(super) fn instant() -> DataType {
    DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))
}

/// Reads a file's footer. Errors: the store fails. The inner error lists what is wrong with the
/// file (B1, B2).
pub(super) async fn read_schema(
    location: &Location,
    log: Log,
    meta: ObjectMeta,
) -> Result<Result<RawFile, Vec<String>>> {
    let name = format!("{location}/{}", relative(location, &meta));
    let size = meta.size;
    let end = footer::read(location.store().as_ref(), &meta.location, size).await;
    let end = end.map_err(|error| anyhow!("{name}: cannot read: {error}"))?;
    let digest = digest_of_footer(&end);
    // In a separate task, because a hostile footer may make the decoder panic: it is a bad file.
    let read = tokio::spawn(async move {
        let footer = ParquetMetaDataReader::new().load_and_finish(Held { end, size }, size).await?;
        ArrowReaderMetadata::try_new(Arc::new(footer), ArrowReaderOptions::new())
    });
    let footer = match read.await {
        Ok(Ok(footer)) => footer,
        Ok(Err(error)) => {
            return Ok(Err(vec![format!("{name}: is no readable Parquet file: {error}")]));
        }
        Err(_) => return Ok(Err(vec![format!("{name}: is no readable Parquet file")])),
    };
    let rows = match guard::rows(footer.metadata(), size) {
        Ok(rows) => rows,
        Err(trouble) => {
            return Ok(Err(vec![format!("{name}: is no readable Parquet file: {trouble}")]));
        }
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
        true => Ok(Ok(RawFile { meta, rows, footer: digest, schema: as_views(&schema) })),
        false => Ok(Err(complaints)),
    }
}

/// The end of a file, which has its footer. The decoder asks for the footer's length, then for the
/// footer. It sees the footer only if the lists in it can be as long as they declare.
struct Held {
    end: Bytes,
    size: u64,
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

/// The schema to read a file with. Strings are views, which are not copied. Metadata is dropped, so
/// that files that differ in nothing else are read together. Columns that share a name are dropped,
/// because they cannot be told apart. Known columns are not among them.
fn as_views(schema: &Schema) -> SchemaRef {
    let count = |name: &str| schema.fields().iter().filter(|field| field.name() == name).count();
    let fields = schema.fields().iter().filter(|field| count(field.name()) == 1).map(|field| {
        let data_type = match field.data_type() {
            DataType::Utf8 | DataType::LargeUtf8 => DataType::Utf8View,
            other => other.clone(),
        };
        Field::new(field.name(), data_type, true)
    });
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}
