//! `lookback query`: read-only SQL over the warehouse's tables, and the views over them.
//!
//! Refuses statements that write, and anything but these: no files, no network.

use std::io::Write;
use std::sync::Arc;

use anyhow::Result;
use arrow::array::{ArrayRef, RecordBatch, StringArray};
use arrow::util::display::FormatOptions;
use arrow::util::pretty::pretty_format_batches_with_options;
use datafusion::catalog::TableProvider;
use datafusion::common::{DataFusionError, SchemaError};
use datafusion::datasource::MemTable;
use datafusion::prelude::DataFrame;
use futures::TryStreamExt;

use crate::cli::Format;
use crate::engine::{Engine, SqlOverrides, Tuning};
use crate::job::Job;
use crate::model::{self, Model};
use crate::nearest::{self, nearest};
use crate::plan;
use crate::stop::Stop;
use crate::warehouse::Warehouse;

/// An engine in which the stored tables and the views are registered under their names, and the
/// warehouse.
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
    for view in model::views()? {
        engine.register_view(view).await?;
    }
    Ok((engine, warehouse))
}

/// Runs one SELECT and writes its rows to `out`. Errors: exit 2 when the SQL does not parse, names
/// something unknown, or would write.
pub async fn query(job: &Job, sql: &str, format: Format, out: &mut impl Write) -> Result<(), Stop> {
    let (engine, _) = session(job).await?;
    if is_show_tables(sql) {
        let names = engine.read(table_names()?)?;
        return print(names, format, out).await.or_else(whose_fault);
    }
    let frame = engine.read_only(sql).await;
    let frame = frame.map_err(|error| refusal(&engine, &error))?;
    print(frame, format, out).await.or_else(whose_fault)
}

/// Whether somebody asks which tables there are, in the words of other engines.
fn is_show_tables(sql: &str) -> bool {
    let words: Vec<String> = sql.split_whitespace().map(str::to_lowercase).collect();
    words.join(" ").trim_end_matches([';', ' ']) == "show tables"
}

/// The answer: the tables and views, and what each holds.
fn table_names() -> Result<Arc<dyn TableProvider>> {
    let models = model::readable()?;
    let texts = |text: fn(&Model) -> &str| -> ArrayRef {
        Arc::new(StringArray::from_iter_values(models.iter().map(|model| text(model))))
    };
    let names = RecordBatch::try_from_iter([
        ("table", texts(|model| model.name)),
        ("holds", texts(|model| &model.purpose)),
    ])?;
    Ok(Arc::new(MemTable::try_new(names.schema(), vec![vec![names]])?))
}

/// Says what is wrong with a query, and where a name is not known, which one was probably meant.
fn refusal(engine: &Engine, error: &DataFusionError) -> Stop {
    let complaint = |trouble: &str| Stop::fix_one(format!("query: {trouble}"));
    let root = error.find_root();
    if let DataFusionError::SchemaError(unknown, _) = root
        && let SchemaError::FieldNotFound { field, valid_fields } = unknown.as_ref()
    {
        let mut names: Vec<&str> = valid_fields.iter().map(|known| known.name()).collect();
        names.dedup();
        let meant = nearest::meant(field.name(), names);
        return complaint(&format!("there is no column {field}{meant}"));
    }
    if let DataFusionError::SQL(trouble, _) = root {
        return complaint(&trouble.to_string());
    }
    let text = error.strip_backtrace();
    let text = text.strip_prefix("Error during planning: ").unwrap_or(&text);
    let quoted = |before: &str, after: &str| {
        let (name, rest) = text.strip_prefix(before)?.split_once('\'')?;
        rest.starts_with(after).then(|| name.to_owned())
    };
    if let Some(name) = quoted("table 'datafusion.", " not found") {
        // A name without a layer is looked for in a layer of the engine's own.
        let name = name.strip_prefix("public.").unwrap_or(&name);
        let tables: Vec<&str> =
            model::readable().unwrap_or_default().iter().map(|model| model.name).collect();
        let bare = |table: &&'static str| table.split('.').nth(1).unwrap_or_default();
        let near = nearest(name, tables.iter().map(bare));
        let near = tables.iter().filter(|table| Some(bare(table)) == near);
        let near: Vec<&str> = near.copied().collect();
        let meant = match near.as_slice() {
            [] => nearest::meant(name, tables),
            names => format!(": is {} meant?", names.join(" or ")),
        };
        return complaint(&format!("there is no table {name}{meant}"));
    }
    if let Some(name) = quoted("Invalid function '", ".") {
        let known = engine.function_names();
        let meant = nearest(&name, known.iter().map(String::as_str));
        let meant = meant.map(|near| format!(": is {near}() meant?")).unwrap_or_default();
        return complaint(&format!("there is no function {name}(){meant}"));
    }
    complaint(text).hint("`lookback query --help` names the tables")
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
        false => Err(Stop::fix_one(format!("query: {}", innermost(&error)))),
    }
}

/// The cause of an error without the steps of the engine around it, each of which repeats it.
fn innermost(error: &anyhow::Error) -> String {
    let engine = error.chain().find_map(|cause| cause.downcast_ref::<DataFusionError>());
    match engine.map(DataFusionError::find_root) {
        Some(DataFusionError::ArrowError(cause, _)) => cause.to_string(),
        Some(cause) => cause.strip_backtrace(),
        None => format!("{error:#}"),
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
