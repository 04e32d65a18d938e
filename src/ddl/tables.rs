//! The statements that make a schema and a table, by engine.
//!
//! Invariant: none of them writes to a Delta table. So no engine is asked to comment on one whose
//! comments it keeps in the table's log, nor to replace one: both would be commits, and lookback
//! alone commits.

use std::fmt::Write;

use super::dialect::clickhouse_type;
use super::{Dialect, Request};
use crate::model::Model;
use crate::stop::Stop;

impl Request<'_> {
    /// Makes a layer's schema where it is missing.
    pub fn schema(&self, layer: &str, note: &str) -> String {
        let name = self.dialect.defined_name(&self.schema_name(layer));
        let note = self.dialect.text(note);
        match self.dialect {
            Dialect::Duckdb | Dialect::Trino | Dialect::Dbt => {
                format!("create schema if not exists {name};")
            }
            Dialect::Spark | Dialect::Databricks => {
                format!("create schema if not exists {name} comment {note};")
            }
            Dialect::Athena | Dialect::Clickhouse => {
                format!("create database if not exists {name} comment {note};")
            }
            Dialect::Snowflake => format!("create schema if not exists {name} comment = {note};"),
            Dialect::Bigquery => {
                format!("create schema if not exists {name} options (description = {note});")
            }
        }
    }

    /// Makes a table known. Errors: see [`Request::place`].
    pub fn table(&self, model: &Model) -> Result<String, Stop> {
        let name = self.defined_full_name(model.name);
        let place = self.place(model)?;
        let note = self.dialect.text(&model.purpose);
        Ok(match self.dialect {
            Dialect::Duckdb | Dialect::Dbt => {
                let view = format!(
                    "create or replace view {name} as select * from delta_scan({place});\n"
                );
                view + &self.comments(model)
            }
            Dialect::Spark | Dialect::Databricks => {
                format!("create table if not exists {name} using delta location {place};")
            }
            Dialect::Trino => {
                let (layer, table) = model.name.split_once('.').unwrap_or_default();
                format!(
                    "call system.register_table(\n    schema_name => {},\n    table_name => {},\n    \
                     table_location => {place}\n);",
                    self.dialect.text(&self.schema_name(layer)),
                    self.dialect.text(table)
                )
            }
            Dialect::Athena => format!(
                "create external table if not exists {name}\nlocation {place}\n\
                 tblproperties ('table_type' = 'DELTA');"
            ),
            Dialect::Snowflake => format!(
                "create or replace iceberg table {name}\n    external_volume = 'YOUR_EXTERNAL_VOLUME'\n    \
                 catalog = 'YOUR_CATALOG_INTEGRATION'\n    base_location = {place}\n    \
                 auto_refresh = true\n    comment = {note};"
            ),
            Dialect::Bigquery => format!(
                "create or replace external table {name}\nwith connection `YOUR_CONNECTION`\n\
                 options (\n    format = 'DELTA_LAKE',\n    uris = [{place}],\n    \
                 description = {note}\n);"
            ),
            Dialect::Clickhouse => format!(
                "create or replace table {name} (\n{}\n)\nengine = {place}\ncomment {note};",
                self.columns(model)
            ),
        })
    }

    /// `comment on` a view and its columns.
    pub fn comments(&self, model: &Model) -> String {
        let name = self.full_name(model.name);
        let note = self.dialect.text(&model.purpose);
        let mut text = format!("comment on view {name} is {note};");
        for column in &model.columns {
            let column_name = self.dialect.name(&column.name);
            let note = self.dialect.text(&column.note);
            let _ = write!(text, "\ncomment on column {name}.{column_name} is {note};");
        }
        text
    }

    /// The columns with their notes, as they stand between parentheses.
    pub fn columns(&self, model: &Model) -> String {
        let lines = model.columns.iter().map(|column| {
            let name = self.dialect.name(&column.name);
            let note = self.dialect.text(&column.note);
            match self.dialect {
                Dialect::Clickhouse => {
                    format!("    {name} {} comment {note}", clickhouse_type(column.kind))
                }
                Dialect::Bigquery => format!("    {name} options (description = {note})"),
                _ => format!("    {name} comment {note}"),
            }
        });
        lines.collect::<Vec<_>>().join(",\n")
    }
}
