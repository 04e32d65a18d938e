//! The audits: queries that must return no rows, and keys that must be unique.
//!
//! They run before any report changes, on the tables as the run's commits would make them.

use anyhow::Result;
use arrow::array::RecordBatch;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use datafusion::functions_aggregate::expr_fn::count;
use datafusion::logical_expr::{Expr, lit};
use datafusion::prelude::ident;

use crate::engine::{Engine, Params, timed};
use crate::model::{self, Model};
use crate::warehouse::write::NewFile;

/// How many offending rows a message shows.
const SHOWN: usize = 10;

/// Runs an audit of `sql/audit/`, by its name (`audit.nothing_is_lost`). Returns a complaint that
/// shows the offending rows, or none.
pub async fn promise(engine: &Engine, name: &str, params: &Params) -> Result<Option<String>> {
    let model = model::named(name)?;
    let rows = engine.collect(model, params).await?;
    complaint(&format!("promise broken: {} ({name})", model.purpose), &rows)
}

/// Checks that a model's key is unique and not null in the table registered under its name. `files`
/// are the table's new files. Their rows are read again only if writing them raised a doubt.
/// Returns a complaint, or none.
pub async fn key(engine: &Engine, model: &Model, files: &[NewFile]) -> Result<Option<String>> {
    if model.key.is_empty() || !files.iter().any(|file| file.is_key_in_doubt) {
        return Ok(None);
    }
    let columns: Vec<Expr> = model.key.iter().map(ident).collect();
    let is_null = columns.iter().map(|column| column.clone().is_null()).reduce(Expr::or);
    let rows_per_key = ident("rows_per_key");
    let broken = rows_per_key.clone().gt(lit(1));
    let rows = engine
        .table(model.name)
        .await?
        .aggregate(columns, vec![count(lit(1)).alias("rows_per_key")])?
        .filter(is_null.map(|is_null| is_null.or(broken.clone())).unwrap_or(broken))?
        .limit(0, Some(SHOWN + 1))?;
    let what = format!("key of {}", model.name);
    let rows = timed(&what, engine.rows_of(&what, rows)).await?;
    let keys = model.key.join(", ");
    complaint(
        &format!("promise broken: {} has each {keys} once, and no null in it", model.name),
        &rows,
    )
}

fn complaint(promise: &str, rows: &[RecordBatch]) -> Result<Option<String>> {
    let count: usize = rows.iter().map(RecordBatch::num_rows).sum();
    if count == 0 {
        return Ok(None);
    }
    let mut text = format!("{promise}; {count} rows say otherwise:");
    let options = FormatOptions::new().with_null("(null)");
    let mut shown = 0;
    for batch in rows {
        let schema = batch.schema();
        let columns: Vec<ArrayFormatter> = batch
            .columns()
            .iter()
            .map(|column| ArrayFormatter::try_new(column, &options))
            .collect::<Result<_, _>>()?;
        for row in 0..batch.num_rows().min(SHOWN - shown) {
            let cells: Vec<String> = schema
                .fields()
                .iter()
                .zip(&columns)
                .map(|(field, column)| format!("{} {}", field.name(), column.value(row)))
                .collect();
            text.push_str(&format!("\n  {}", cells.join(", ")));
            shown += 1;
        }
    }
    if count > shown {
        text.push_str(&format!("\n  and {} more", count - shown));
    }
    Ok(Some(text))
}
