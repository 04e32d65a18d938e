//! The rows of a raw log as a table, `raw.clicks` or `raw.orders`: the columns that the rules know,
//! with the types that they need, whatever the log's own names and types are. Files may have
//! different schemas.
//!
//! Further columns are not read here. A row that is rejected is read again, whole ([`RawLog::records`]).

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result, ensure};
use arrow::array::AsArray;
use arrow::datatypes::{DataType, Date32Type, Field, Int64Type, Schema};
use chrono::NaiveDate;
use datafusion::common::ScalarValue;
use datafusion::functions_aggregate::expr_fn::count;
use datafusion::logical_expr::{Expr, cast, lit};
use datafusion::prelude::{DataFrame, col, ident};
use regex::Regex;

use super::columns;
use super::link_key::link_key;
use super::scan::{
    Alike, LANDED_ON, ROW_AT, column_of, data_file, date_value, is_read_alike, row_at, scan,
};
use super::source::Shape;
use super::{Log, RawFile, RawLog};
use crate::engine::Engine;
use crate::engine::functions::{is_bad_text, text_of};

/// Whether a row has a quantity that is not whole, and is null for that.
pub(super) const IS_UNFIT: &str = "is_unfit";

/// The settings of a job that bear on how raw rows are read.
#[derive(Debug, Clone, Copy)]
pub struct Reading<'a> {
    pub formats: &'a [Regex],
    /// Words that count as null where a buyer or a visitor is named.
    pub nobody: &'a [String],
}

impl RawLog {
    /// Registers `raw.clicks` or `raw.orders` with the rows of these checked landing dates. Errors: a
    /// date that has landed is not checked; a view that cannot be planned.
    pub async fn register(
        &self,
        engine: &Engine,
        dates: &BTreeSet<NaiveDate>,
        reading: Reading<'_>,
    ) -> Result<()> {
        for date in dates {
            ensure!(self.is_checked(*date), "{}: dt {date} was not checked", self.name());
        }
        let rows = self.rows_of(engine, &self.numbered(dates), reading).await?;
        engine.register(&format!("raw.{}", self.log.name()), rows.into_view())
    }

    /// The rows that come out of the views of these checked dates (I2), by landing date. Errors: as
    /// for a query.
    pub async fn count(
        &self,
        engine: &Engine,
        dates: &BTreeSet<NaiveDate>,
        reading: Reading<'_>,
    ) -> Result<BTreeMap<NaiveDate, u64>> {
        let rows = self.rows_of(engine, &self.numbered(dates), reading).await?;
        let counts = rows.aggregate(vec![col("dt")], vec![count(lit(1)).alias("rows")])?;
        let mut found: BTreeMap<NaiveDate, u64> = dates.iter().map(|date| (*date, 0)).collect();
        for batch in engine.rows_of("rows that come out of views", counts).await? {
            let dts = batch.column(0).as_primitive::<Date32Type>();
            let counts = batch.column(1).as_primitive::<Int64Type>();
            for row in 0..batch.num_rows() {
                let date = dts.value_as_date(row).context("a row without a date")?;
                found.insert(date, counts.value(row).unsigned_abs());
            }
        }
        Ok(found)
    }

    /// The rows of the registered dates whose quantity is not whole. Only files and views with a
    /// floating-point quantity are asked.
    pub async fn unfit_quantities(
        &self,
        engine: &Engine,
        dates: &BTreeSet<NaiveDate>,
    ) -> Result<u64> {
        let is_floating = |file: &RawFile| match &self.sources[file.source].shape {
            Shape::View(_) => true,
            Shape::Columns(names) => {
                let name = names.get("quantity").map_or("quantity", String::as_str);
                let found = columns::find(file.schema.fields(), name);
                found.is_some_and(|found| found.data_type.is_floating())
            }
        };
        let files = dates.iter().filter_map(|date| self.checked.get(date)).flatten();
        if self.log == Log::Clicks || !files.into_iter().any(is_floating) {
            return Ok(0);
        }
        let is_of =
            col("dt").in_list(dates.iter().map(|date| lit(date_value(*date))).collect(), false);
        let rows = engine.table(&format!("raw.{}", self.log.name())).await?;
        let unfit = rows.filter(is_of.and(col(IS_UNFIT)))?;
        let unfit = unfit.aggregate(Vec::new(), vec![count(lit(1)).alias("rows")])?;
        let counts = engine.rows_of("quantities that are not whole", unfit).await?;
        let counts = counts
            .iter()
            .flat_map(|batch| batch.column(0).as_primitive::<Int64Type>().values().iter().copied());
        Ok(counts.sum::<i64>().unsigned_abs())
    }

    async fn rows_of(
        &self,
        engine: &Engine,
        files: &[(NaiveDate, &RawFile)],
        reading: Reading<'_>,
    ) -> Result<DataFrame> {
        let mut union: Option<DataFrame> = None;
        let mut add = |rows: DataFrame| -> Result<()> {
            union = Some(match union.take() {
                Some(union) => union.union(rows)?,
                None => rows,
            });
            Ok(())
        };
        // Files of one source and schema are read together. Their numbers follow each other.
        let mut first = 0;
        while let Some((_, file)) = files.get(first) {
            let source = &self.sources[file.source];
            let is_alike = |other: &RawFile| match source.shape {
                Shape::Columns(_) => is_read_alike(file, other),
                Shape::View(_) => file.source == other.source,
            };
            let count = files[first..].iter().take_while(|(_, other)| is_alike(other)).count();
            let own = &files[first..first + count];
            let number = i64::try_from(first)?;
            match &source.shape {
                Shape::Columns(columns) => {
                    let files = own.iter().map(|(date, file)| data_file(file, *date));
                    let files = files.collect::<Result<Vec<_>>>()?;
                    let alike = Alike { source, file, files, first: number };
                    add(self.mapped(engine, &alike, columns, reading)?)?;
                }
                Shape::View(view) => {
                    add(self.through_view(engine, view, own, number, reading).await?)?;
                }
            }
            first += count;
        }
        let rows = match union {
            Some(union) => union,
            None => engine.nothing(&self.bare_schema())?,
        };
        match self.log {
            Log::Clicks => Ok(rows.with_column("link_key", link_key(reading.formats, col("url")))?),
            Log::Orders => Ok(rows),
        }
    }

    /// The rows of files whose columns have names of their own (I1).
    fn mapped(
        &self,
        engine: &Engine,
        alike: &Alike<'_>,
        names: &BTreeMap<String, String>,
        reading: Reading<'_>,
    ) -> Result<DataFrame> {
        let mut bytes = Vec::new();
        let mut is_unfit = lit(false);
        let mut selected = vec![ident(LANDED_ON).alias("dt")];
        for (ours, wanted, _) in self.log.columns() {
            let theirs = names.get(*ours).map_or(*ours, String::as_str);
            let found = columns::find(alike.file.schema.fields(), theirs);
            let found = found.filter(|_| !alike.file.without_values.contains(ours));
            let column = match found {
                Some(found) => {
                    let (column, data_type) = column_of(alike.file, &found)?;
                    if columns::is_bytes(&data_type) {
                        bytes.push(column.clone());
                        bytes.push(text_of().call(vec![column.clone()]));
                    }
                    is_unfit = wanted.is_unfit(&column, &data_type)?.unwrap_or(is_unfit);
                    wanted.expression(column, &data_type, reading.nobody)?
                }
                None => cast(lit(ScalarValue::Null), wanted.read()),
            };
            selected.push(column.alias(*ours));
        }
        // What cannot be read as it is cannot be told from what was read.
        let is_own = !names.is_empty() || is_unfit != lit(false);
        selected.push(is_bad(bytes).alias("is_bad_text"));
        selected.push(is_unfit.alias(IS_UNFIT));
        selected.push(row_at().alias(ROW_AT));
        selected.push(lit(is_own).alias("has_own_names"));
        selected.push(lit(self.has_further(alike.file)).alias("has_further_columns"));
        Ok(scan(engine, alike)?.select(selected)?)
    }

    fn bare_schema(&self) -> Schema {
        let known = self.log.columns().iter();
        let known = known.map(|(name, wanted, _)| Field::new(*name, wanted.read(), true));
        let mut fields = vec![Field::new("dt", DataType::Date32, true)];
        fields.extend(known);
        fields.push(Field::new("is_bad_text", DataType::Boolean, true));
        fields.push(Field::new(IS_UNFIT, DataType::Boolean, true));
        fields.push(Field::new(ROW_AT, DataType::Int64, true));
        fields.push(Field::new("has_own_names", DataType::Boolean, true));
        fields.push(Field::new("has_further_columns", DataType::Boolean, true));
        Schema::new(fields)
    }
}

pub(super) fn is_bad(bytes: Vec<Expr>) -> Expr {
    if bytes.is_empty() { lit(false) } else { is_bad_text().call(bytes) }
}
