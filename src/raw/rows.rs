//! The rows of a raw log as a table, `raw.clicks` or `raw.orders`. Columns are found by name and
//! get the types that the rules need. Files may have different schemas.

use std::collections::BTreeSet;
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use arrow::array::Date32Array;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use chrono::NaiveDate;
use datafusion::common::ScalarValue;
use datafusion::functions_nested::expr_fn::make_array;
use datafusion::logical_expr::{Expr, cast, lit, try_cast};
use datafusion::prelude::{DataFrame, col, ident};
use futures::TryStreamExt;
use object_store::ObjectStoreExt;
use regex::Regex;

use super::columns::{Column, Wanted};
use super::link_key::link_key;
use super::{Log, RawFile, RawLog, guard, relative};
use crate::days::days_since_1970;
use crate::engine::Engine;
use crate::engine::parquet_table::{Bounds, DataFile, ParquetTable};

impl RawLog {
    /// Registers `raw.clicks` or `raw.orders` with the rows of these checked landing dates. The words
    /// in `nobody` count as null where a buyer or a visitor is named. Errors: a date that has landed
    /// is not checked.
    pub async fn register(
        &self,
        engine: &Engine,
        dates: &BTreeSet<NaiveDate>,
        formats: &[Regex],
        nobody: &[String],
    ) -> Result<()> {
        let mut by_schema: Vec<(SchemaRef, Vec<DataFile>)> = Vec::new();
        for date in dates {
            ensure!(self.is_checked(*date), "{}: dt {date} was not checked", self.location);
            for file in self.checked.get(date).into_iter().flatten() {
                let file_entry = data_file(file, *date)?;
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
            let rows = self.read(engine, schema, files, formats, nobody)?;
            union = Some(match union {
                Some(union) => union.union(rows)?,
                None => rows,
            });
        }
        let union = union.context("a log has at least one schema")?;
        engine.register(&format!("raw.{}", self.log.name()), union.into_view())
    }

    /// Finds the files of these dates that cannot be read (B1), after a query over them failed or
    /// lost rows. Returns a complaint for each. Errors: the store fails.
    pub async fn find_broken(
        &self,
        engine: &Engine,
        dates: &BTreeSet<NaiveDate>,
        formats: &[Regex],
        nobody: &[String],
    ) -> Result<Vec<String>> {
        let mut complaints = Vec::new();
        for date in dates {
            for file in self.checked.get(date).into_iter().flatten() {
                let name = format!("{}/{}", self.location, relative(&self.location, &file.meta));
                let files = vec![data_file(file, *date)?];
                let rows = self.read(engine, file.schema.clone(), files, formats, nobody)?;
                // In a separate task, because bytes may make the decoder panic: it is a bad file.
                let trouble = match tokio::spawn(count(rows)).await {
                    Ok(Ok(rows)) if rows == file.rows => continue,
                    Ok(Ok(rows)) => format!(": it holds {rows} rows, and says {}", file.rows),
                    Ok(Err(error)) if is_stores(&error) => return Err(error.context(name)),
                    Ok(Err(error)) => {
                        // An error about the footer may come from the file or from the store.
                        let found = self.location.store().head(&file.meta.location).await;
                        found.with_context(|| name.clone())?;
                        format!(": {error}")
                    }
                    Err(_) => String::new(),
                };
                complaints.push(format!("{name}: is no readable Parquet file{trouble}"));
            }
        }
        Ok(complaints)
    }

    /// The rows of files with one schema. Columns are found by name and get the table's types.
    fn read(
        &self,
        engine: &Engine,
        schema: SchemaRef,
        files: Vec<DataFile>,
        formats: &[Regex],
        nobody: &[String],
    ) -> Result<DataFrame> {
        engine.add_store(&self.location)?;
        // Not named dt, because a file may have a column of that name.
        let mut landed_on = "landed_on".to_owned();
        while schema.field_with_name(&landed_on).is_ok() {
            landed_on.push('_');
        }
        let partition = Field::new(&landed_on, DataType::Date32, false);
        let table =
            ParquetTable::new(self.location.store_url()?, schema.clone(), Some(partition), files)
                .with_readers(guard::readers)
                .kept_by(self.location.kept().cloned());
        let wanted = self.log.columns();
        let mut columns = vec![ident(&landed_on).alias("dt")];
        for (name, kind, _) in wanted {
            let column = match schema.field_with_name(name) {
                Ok(field) => kind.expression(ident(*name), field.data_type(), nobody)?,
                Err(_) => cast(lit(ScalarValue::Null), kind.read()),
            };
            columns.push(column.alias(*name));
        }
        columns.push(further_columns(&schema, wanted)?.alias("further_columns"));
        let rows = engine.read(Arc::new(table))?.select(columns)?;
        match self.log {
            Log::Clicks => Ok(rows.with_column("link_key", link_key(formats, col("url")))?),
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
}

fn data_file(file: &RawFile, date: NaiveDate) -> Result<DataFile> {
    let days = Date32Array::from(vec![days_since_1970(date)]);
    Ok(DataFile {
        path: file.meta.location.clone(),
        size: file.meta.size,
        partition: Some(ScalarValue::try_from_array(&days, 0)?),
        rows: Some(file.rows),
        bounds: Bounds::new(),
    })
}

/// Decodes the rows and counts them.
async fn count(rows: DataFrame) -> Result<u64> {
    let mut batches = rows.execute_stream().await?;
    let mut count = 0;
    while let Some(batch) = batches.try_next().await? {
        count += batch.num_rows() as u64;
    }
    Ok(count)
}

fn is_stores(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| cause.is::<object_store::Error>())
}

/// The columns that the rules do not know, as a list of names and values in turn, so that a
/// rejected row is stored whole (C4). Null where there are none. Columns without a text form
/// (lists, structs, bytes) are left out.
fn further_columns(schema: &Schema, wanted: &[Column]) -> Result<Expr> {
    let mut names: Vec<&String> = schema
        .fields()
        .iter()
        .filter(|field| wanted.iter().all(|(name, ..)| name != field.name()))
        .filter(|field| !field.data_type().is_nested() && !is_bytes(field.data_type()))
        .map(|field| field.name())
        .collect();
    names.sort();
    let list = DataType::List(Arc::new(Field::new_list_field(DataType::Utf8View, true)));
    if names.is_empty() {
        return Ok(cast(lit(ScalarValue::Null), list));
    }
    let parts = names.into_iter().flat_map(|name| {
        let name_text = lit(ScalarValue::Utf8View(Some(name.clone())));
        [name_text, try_cast(ident(name.as_str()), DataType::Utf8View)]
    });
    Ok(cast(make_array(parts.collect()), list))
}

fn is_bytes(data_type: &DataType) -> bool {
    use DataType::{Binary, BinaryView, Dictionary, FixedSizeBinary, LargeBinary};
    if let Dictionary(_, values) = data_type {
        return is_bytes(values);
    }
    matches!(data_type, Binary | LargeBinary | BinaryView | FixedSizeBinary(_))
}
