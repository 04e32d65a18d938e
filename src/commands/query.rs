//! `lookback query`: read-only SQL over the warehouse's tables.
//!
//! Refuses statements that write, and anything but the tables: no files, no network.

use std::io::Write;
use std::sync::Arc;

use anyhow::Result;
use arrow::array::RecordBatch;
use arrow::util::display::FormatOptions;
use arrow::util::pretty::pretty_format_batches_with_options;
use datafusion::prelude::DataFrame;
use futures::TryStreamExt;

use crate::cli::Format;
use crate::engine::{Engine, SqlOverrides, Tuning};
use crate::job::Job;
use crate::model;
use crate::plan;
use crate::stop::Stop;
use crate::warehouse::Warehouse;

/// An engine in which the stored tables are registered under their names, and their warehouse.
pub async fn session(job: &Job) -> Result<(Engine, Warehouse), Stop> {
    session_with(job, SqlOverrides::new()).await
}

/// The same with texts that replace SQL files. Tests break a rule with them.
pub async fn session_with(
    job: &Job,
    sql_overrides: SqlOverrides,
) -> Result<(Engine, Warehouse), Stop> {
    let warehouse = Warehouse::open(&job.root).await?;
    plan::refuse_another_program(job, &warehouse)?;
    let engine = Engine::new(&Tuning::default(), sql_overrides)?;
    for model in model::stored()? {
        let folder = warehouse.folder(model);
        engine.add_store(&folder)?;
        let table = warehouse.table(model.name)?.provider(&folder, |_| true, &[])?;
        engine.register(model.name, Arc::new(table))?;
    }
    Ok((engine, warehouse))
}

/// Runs one SELECT and writes its rows to `out`. Errors: exit 2 when the SQL does not parse, names
/// something unknown, or would write.
pub async fn query(job: &Job, sql: &str, format: Format, out: &mut impl Write) -> Result<(), Stop> {
    let (engine, _) = session(job).await?;
    let frame = engine.read_only(sql).await;
    let frame = frame.map_err(|error| {
        Stop::fix_one(format!("query: {}", error.strip_backtrace()))
            .hint("`lookback query --help` names the tables")
    })?;
    print(frame, format, out).await.or_else(whose_fault)
}

/// Judges an error while rows were computed or written: a closed pipe is no error, trouble with
/// storage is exit 1, and anything else is the fault of the SQL, exit 2.
fn whose_fault(error: anyhow::Error) -> Result<(), Stop> {
    let is_closed_pipe = |error: &std::io::Error| error.kind() == std::io::ErrorKind::BrokenPipe;
    let causes = || error.chain();
    if causes().any(|cause| cause.downcast_ref().is_some_and(is_closed_pipe))
        || format!("{error:#}").contains("Broken pipe")
    {
        return Ok(());
    }
    let is_below_us = causes().any(|cause| {
        cause.is::<std::io::Error>()
            || cause.is::<object_store::Error>()
            || cause.is::<parquet::errors::ParquetError>()
    });
    match is_below_us {
        true => Err(error.into()),
        false => Err(Stop::fix_one(format!("query: {error:#}"))),
    }
}

async fn print(frame: DataFrame, format: Format, out: &mut impl Write) -> Result<()> {
    let schema = Arc::new(frame.schema().as_arrow().clone());
    let mut rows = frame.execute_stream().await?;
    match format {
        Format::Table => {
            let mut batches: Vec<RecordBatch> = rows.try_collect().await?;
            if batches.is_empty() {
                batches.push(RecordBatch::new_empty(schema));
            }
            let options = FormatOptions::new().with_null("");
            writeln!(out, "{}", pretty_format_batches_with_options(&batches, &options)?)?;
        }
        Format::Csv => {
            let mut writer = arrow::csv::WriterBuilder::new().with_header(true).build(&mut *out);
            writer.write(&RecordBatch::new_empty(schema))?;
            while let Some(batch) = rows.try_next().await? {
                writer.write(&batch)?;
            }
        }
        Format::Json => {
            let mut writer = arrow::json::WriterBuilder::new()
                .with_explicit_nulls(true)
                .build::<_, arrow::json::writer::JsonArray>(&mut *out);
            while let Some(batch) = rows.try_next().await? {
                writer.write(&batch)?;
            }
            writer.finish()?;
            writeln!(out)?;
        }
    }
    Ok(out.flush()?)
}
