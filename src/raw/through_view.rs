//! The rows of a log through the view of the job file (I2).

use std::collections::BTreeMap;

use anyhow::{Context, Result, anyhow, bail, ensure};
use arrow::datatypes::{DataType, Field, Schema};
use chrono::NaiveDate;
use datafusion::common::{Column, ScalarValue};
use datafusion::logical_expr::{Expr, LogicalPlan, cast, lit};
use datafusion::prelude::{DataFrame, ident};

use super::columns::{self, Found};
use super::rows::{IS_UNFIT, Reading, is_bad};
use super::scan::{Alike, LANDED_ON, ROW_AT, column_of, data_file, is_read_alike, row_at, scan};
use super::source::Source;
use super::{RawFile, RawLog, relative};
use crate::engine::functions::{readable, readable_type, text_of};
use crate::engine::{Engine, SqlOverrides, Tuning};
use crate::view::{self, View};

/// A row's landing date and its place, while it goes through a view.
const CARRIED: [&str; 2] = ["#landed_on", "#row_at"];

impl RawLog {
    /// What is wrong with the views of this log, over the files of these checked dates (I2, B2).
    pub(super) async fn view_troubles(
        &self,
        files: &[(NaiveDate, &RawFile)],
    ) -> Result<Vec<String>> {
        let is_view = |source: &Source| source.shape.view().is_some();
        if !self.sources.iter().any(is_view) {
            return Ok(Vec::new());
        }
        let engine = Engine::new(&Tuning::default(), SqlOverrides::new())?;
        let mut troubles = Vec::new();
        for (number, source) in self.sources.iter().enumerate() {
            let own: Vec<_> = files
                .iter()
                .filter(|(_, file)| file.source == number && file.rows > 0)
                .copied()
                .collect();
            if let Some(view) = source.shape.view()
                && !own.is_empty()
                && let Err(error) = self.through_view(&engine, view, &own, 0, no_settings()).await
            {
                troubles.push(format!("{}: view {}: {error:#}", source.location, view.file));
            }
        }
        Ok(troubles)
    }

    /// The rows that come out of a view (I2). The files are of one source.
    pub(super) async fn through_view(
        &self,
        engine: &Engine,
        view: &View,
        files: &[(NaiveDate, &RawFile)],
        first: i64,
        reading: Reading<'_>,
    ) -> Result<DataFrame> {
        let names = columns_of_all(files);
        let mut union: Option<DataFrame> = None;
        let mut at = 0;
        // Files of other types are other tables to a view: what it reckons must not depend on which
        // files are read together.
        while let Some((_, file)) = files.get(at) {
            let is_alike = |other: &RawFile| is_read_alike(file, other);
            let count = files[at..].iter().take_while(|(_, other)| is_alike(other)).count();
            let data = files[at..at + count].iter().map(|(date, file)| data_file(file, *date));
            let data = data.collect::<Result<Vec<_>>>()?;
            let source = &self.sources[file.source];
            let number = first + i64::try_from(at)?;
            let alike = Alike { source, file, files: data, first: number };
            let rows = self.alike_through_view(engine, view, &alike, &names, reading).await;
            let of = if count == 1 { "" } else { " and others like it" };
            let rows =
                rows.with_context(|| format!("{}{of}", relative(&source.location, &file.meta)))?;
            union = Some(match union {
                Some(union) => union.union(rows)?,
                None => rows,
            });
            at += count;
        }
        union.context("a view has files")
    }

    /// The same of files with one schema. `names` are the columns of all files.
    pub(super) async fn alike_through_view(
        &self,
        engine: &Engine,
        view: &View,
        alike: &Alike<'_>,
        names: &BTreeMap<String, DataType>,
        reading: Reading<'_>,
    ) -> Result<DataFrame> {
        // In the order of the file, for `select *`.
        let own: Vec<(String, DataType)> = columns_of(alike.file);
        let is_absent = |name: &String| !own.iter().any(|(known, _)| known == name);
        let absent = names.iter().filter(|(name, _)| is_absent(name));
        let absent = absent.map(|(name, data_type)| (name.clone(), data_type.clone()));
        let mut columns: Vec<(String, DataType)> = own.iter().cloned().chain(absent).collect();
        columns.retain(|(name, _)| name != "dt");
        columns.push(("dt".to_owned(), DataType::Date32));
        let fields =
            columns.iter().map(|(name, data_type)| Field::new(name, data_type.clone(), true));
        let bare = Schema::new(fields.collect::<Vec<_>>());
        let plan = engine.plan_over(&view.sql, &bare).await.map_err(plainly)?;
        let raw = scan(engine, alike)?.select(own_columns(alike.file, &columns)?)?;
        let plan = view::carrying(plan, raw.logical_plan(), &CARRIED)?;
        let selected = self.of_view(&plan, reading)?;
        Ok(engine.frame(plan).select(selected)?)
    }

    /// The columns of the rules, out of a view. Errors: one is missing or has a type that cannot be
    /// (B2).
    pub(super) fn of_view(&self, plan: &LogicalPlan, reading: Reading<'_>) -> Result<Vec<Expr>> {
        let found = |name: &str| {
            plan.schema().iter().filter(|(_, field)| field.name() == name).last().map(
                |(table, field)| {
                    let column = Expr::Column(Column::new(table.cloned(), field.name()));
                    (column, field.data_type().clone())
                },
            )
        };
        let carried = CARRIED.map(|name| found(name).map(|(column, _)| column));
        let [Some(dt), Some(row_at)] = carried else { bail!("a row is lost") };
        let mut texts = Vec::new();
        let mut troubles = Vec::new();
        let mut is_unfit = lit(false);
        let mut selected = vec![dt.alias("dt")];
        for (name, wanted, presence) in self.log.columns() {
            let column = match found(name) {
                Some((column, data_type)) => match wanted.accepts(&data_type) {
                    Ok(()) => {
                        is_unfit = wanted.is_unfit(&column, &data_type)?.unwrap_or(is_unfit);
                        if data_type.is_string() || columns::is_bytes(&data_type) {
                            texts.push(column.clone());
                            texts.push(text_of().call(vec![column.clone()]));
                        }
                        wanted.expression(column, &data_type, reading.nobody)?
                    }
                    Err(wanted) => {
                        troubles.push(format!(
                            "its column {name} is {data_type}, but wanted is {wanted}"
                        ));
                        continue;
                    }
                },
                None if *presence == columns::Presence::Required => {
                    troubles.push(format!("it has no column {name}, which is required"));
                    continue;
                }
                None => cast(lit(ScalarValue::Null), wanted.read()),
            };
            selected.push(column.alias(*name));
        }
        ensure!(troubles.is_empty(), "{}", troubles.join("; "));
        selected.push(is_bad(texts).alias("is_bad_text"));
        selected.push(is_unfit.alias(IS_UNFIT));
        selected.push(row_at.alias(ROW_AT));
        selected.push(lit(true).alias("has_own_names"));
        selected.push(lit(true).alias("has_further_columns"));
        Ok(selected)
    }
}

fn no_settings() -> Reading<'static> {
    Reading { formats: &[], nobody: &[] }
}

/// The columns of a file with their types, as a view sees them: texts are texts.
fn columns_of(file: &RawFile) -> Vec<(String, DataType)> {
    let columns = file.schema.fields().iter().map(|field| {
        let data_type = match file.uuids.contains(field.name()) {
            true => DataType::Utf8View,
            false => readable_type(field.data_type()),
        };
        (field.name().clone(), data_type)
    });
    columns.collect()
}

/// The columns of files together, each with its type in the first that has it.
pub(super) fn columns_of_all(files: &[(NaiveDate, &RawFile)]) -> BTreeMap<String, DataType> {
    let mut all = BTreeMap::new();
    for (name, data_type) in files.iter().flat_map(|(_, file)| columns_of(file)) {
        all.entry(name).or_insert(data_type);
    }
    all
}

/// The columns of `raw`, with what is carried through a view. Those that the file lacks are null.
fn own_columns(file: &RawFile, columns: &[(String, DataType)]) -> Result<Vec<Expr>> {
    let mut selected = Vec::new();
    for (name, wanted) in columns {
        let column = match file.schema.fields().find(name) {
            _ if name == "dt" => ident(LANDED_ON),
            Some((_, field)) => {
                let names = vec![name.clone()];
                let found = Found { names, data_type: field.data_type() };
                let (column, data_type) = column_of(file, &found)?;
                match readable_type(&data_type) == data_type {
                    true => column,
                    false => readable().call(vec![column]),
                }
            }
            None => cast(lit(ScalarValue::Null), wanted.clone()),
        };
        selected.push(column.alias(name.as_str()));
    }
    selected.push(ident(LANDED_ON).alias(CARRIED[0]));
    selected.push(row_at().alias(CARRIED[1]));
    Ok(selected)
}

/// What a view's own text has done wrong, without the engine's words around it.
fn plainly(error: datafusion::error::DataFusionError) -> anyhow::Error {
    use datafusion::common::SchemaError;
    use datafusion::error::DataFusionError;
    match error.find_root() {
        DataFusionError::SchemaError(inner, _) => match inner.as_ref() {
            SchemaError::FieldNotFound { field, valid_fields } => {
                let names = valid_fields.iter().map(|column| column.name.as_str());
                let names: Vec<&str> = names.filter(|name| !name.starts_with('#')).collect();
                anyhow!(
                    "there is no column {}; there are {} (a name with capitals is written in quotes)",
                    field.name,
                    names.join(", ")
                )
            }
            other => anyhow!("{other}"),
        },
        DataFusionError::Plan(text) => anyhow!("{text}"),
        other => anyhow!("{other}"),
    }
}
