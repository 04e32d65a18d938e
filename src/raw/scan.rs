//! Raw files as the query engine reads them: their own columns, their landing date, and where each row
//! is. Files that differ in nothing that matters to a query are read together.

use std::collections::BTreeSet;
use std::sync::Arc;

use anyhow::{Context, Result};
use arrow::datatypes::{DataType, Field, SchemaRef};
use chrono::NaiveDate;
use datafusion::common::ScalarValue;
use datafusion::functions::core::expr_fn::get_field;
use datafusion::logical_expr::expr_fn::binary_expr;
use datafusion::logical_expr::{Expr, Operator, lit};
use datafusion::prelude::{DataFrame, ident};
use futures::TryStreamExt;

use super::columns::Found;
use super::source::Source;
use super::{RawFile, RawLog, guard};
use crate::days::days_since_1970;
use crate::engine::Engine;
use crate::engine::elsewhere::{Order, Ordered};
use crate::engine::functions::uuid_text;
use crate::engine::parquet_table::{Bounds, DataFile, FILE_NUMBER, ParquetTable, ROW_NUMBER};

/// Where a row is: its file and its number within it.
pub(super) const ROW_AT: &str = "row_at";

/// Rows of a file that can be told apart.
pub(super) const ROWS_OF_A_FILE: i64 = 1 << 40;

/// The name of the landing date in a scan. A file may have a column dt.
pub(super) const LANDED_ON: &str = "#dt";

/// Files that are read in the same way. They differ in nothing that matters to a query.
pub(super) struct Alike<'a> {
    pub source: &'a Source,
    pub file: &'a RawFile,
    /// With the number of the first, and of the others in turn.
    pub files: Vec<DataFile>,
    pub first: i64,
}

impl RawLog {
    /// The files with rows of checked dates, in the order in which they are numbered: source by
    /// source, those that are read alike together.
    pub(super) fn numbered(&self, dates: &BTreeSet<NaiveDate>) -> Vec<(NaiveDate, &RawFile)> {
        let mut alike: Vec<Vec<(NaiveDate, &RawFile)>> = Vec::new();
        for date in dates {
            for file in self.checked.get(date).into_iter().flatten().filter(|file| file.rows > 0) {
                match alike.iter_mut().find(|files| is_read_alike(files[0].1, file)) {
                    Some(files) => files.push((*date, file)),
                    None => alike.push(vec![(*date, file)]),
                }
            }
        }
        alike.sort_by_key(|files| files[0].1.source);
        alike.into_iter().flatten().collect()
    }
}

pub(super) fn is_read_alike(one: &RawFile, other: &RawFile) -> bool {
    one.source == other.source
        && one.schema == other.schema
        && one.uuids == other.uuids
        && one.without_values == other.without_values
}

pub(super) fn date_value(date: NaiveDate) -> ScalarValue {
    ScalarValue::Date32(Some(days_since_1970(date)))
}

pub(super) fn data_file(file: &RawFile, date: NaiveDate) -> Result<DataFile> {
    Ok(DataFile {
        path: file.meta.location.clone(),
        size: file.meta.size,
        tag: file.meta.e_tag.clone(),
        partition: Some(date_value(date)),
        rows: Some(file.rows),
        only: None,
        is_read: true,
        bounds: Bounds::new(),
    })
}

/// The files' own columns, their landing date, and the numbers of file and row.
pub(super) fn scan(engine: &Engine, alike: &Alike<'_>) -> Result<DataFrame> {
    let location = &alike.source.location;
    engine.add_store(location)?;
    let partition = Field::new(LANDED_ON, DataType::Date32, false);
    let schema: SchemaRef = alike.file.schema.clone();
    let table =
        ParquetTable::new(location.store_url()?, schema, Some(partition), alike.files.clone())
            .with_readers(guard::readers)
            .kept_by(location.kept().cloned())
            .numbered(alike.first);
    engine.read(Arc::new(table))
}

pub(super) fn row_at() -> Expr {
    let before = binary_expr(ident(FILE_NUMBER), Operator::Multiply, lit(ROWS_OF_A_FILE));
    binary_expr(before, Operator::Plus, ident(ROW_NUMBER))
}

/// A column of a file, which may lie in a struct. UUIDs are texts.
pub(super) fn column_of(file: &RawFile, found: &Found<'_>) -> Result<(Expr, DataType)> {
    let (outermost, inner) = found.names.split_first().context("a column has a name")?;
    let column = inner
        .iter()
        .fold(ident(outermost.as_str()), |column, name| get_field(column, name.as_str()));
    Ok(match file.uuids.contains(&found.names.join(".")) {
        true => (uuid_text().call(vec![column]), DataType::Utf8View),
        false => (column, found.data_type.clone()),
    })
}

/// Decodes the rows and counts them, where the engine works.
pub(super) async fn decode(engine: &Engine, rows: DataFrame) -> Result<u64> {
    if let Some(elsewhere) = engine.elsewhere() {
        let plan = rows.create_physical_plan().await?;
        let counted = vec![Ordered { plan, order: Order::Count }];
        let counts = elsewhere.run("a look at a raw file", counted).await?;
        let counts = counts.iter().flatten().map(|count| Ok(count.parse::<u64>()?));
        return counts.sum();
    }
    let mut batches = rows.execute_stream().await?;
    let mut count = 0;
    while let Some(batch) = batches.try_next().await? {
        count += batch.num_rows() as u64;
    }
    Ok(count)
}
