//! `lookback query`: read-only SQL over the warehouse's tables; and `lookback check`.
//!
//! Refuses statements that write, and anything but the tables: no files, no network.

use std::collections::BTreeSet;
use std::io::Write;
use std::sync::Arc;

use anyhow::{Context, Result};
use arrow::array::RecordBatch;
use arrow::util::display::FormatOptions;
use arrow::util::pretty::pretty_format_batches_with_options;
use datafusion::execution::context::SQLOptions;
use datafusion::prelude::DataFrame;
use futures::TryStreamExt;

use crate::cli::Format;
use crate::engine::{Engine, Replacements, Tuning};
use crate::job::Job;
use crate::model;
use crate::raw::{Log, RawLog};
use crate::reference::Reference;
use crate::stop::Stop;
use crate::warehouse::Warehouse;

/// The four reports as `lookback demo` shows them.
pub const SHOWCASE: [(&str, &str); 4] = [
    (
        "traffic: publishers by clicks",
        "select publisher_id, sum(clicks) as clicks, sum(visitors) as visitors, \
         sum(orders) as orders, sum(order_amount) as order_amount \
         from report.traffic group by publisher_id order by clicks desc, publisher_id limit 8",
    ),
    (
        "orders: publishers by what they are owed",
        "select publisher_id, sum(placed_lines) as placed_lines, sum(placed_amount) as placed_amount, \
         sum(completed_lines) as completed_lines, sum(estimated_commission) as estimated, \
         sum(actual_commission) as actual \
         from report.orders group by publisher_id order by actual desc, publisher_id limit 8",
    ),
    (
        "refunds: stores by what was given back",
        "select store_id, sum(refunds) as refunds, sum(refund_amount) as refund_amount, \
         sum(full_refunds) as full_refunds, sum(pending_reversed) as pending_reversed, \
         sum(approved_reversed) as approved_reversed \
         from report.refunds group by store_id order by refund_amount desc, store_id limit 8",
    ),
    (
        "transaction details: the latest movements that changed what is owed",
        "select report_date, movement, order_id, line_id, publisher_id, commission_rate, \
         sale_amount, pending_commission, approved_commission \
         from report.transaction_details where approved_commission <> 0 \
         order by event_at desc, event_id limit 8",
    ),
];

/// A session in which the warehouse's tables are known under their names.
pub async fn session(job: &Job) -> Result<(Engine, Warehouse), Stop> {
    let warehouse = Warehouse::open(&job.root).await?;
    let engine = Engine::new(&Tuning::default(), Replacements::new())?;
    for model in model::kept()? {
        let folder = warehouse.folder(model);
        engine.add_store(&folder)?;
        let table = warehouse.table(model.name)?.provider(&folder, |_| true, &[])?;
        engine.register(model.name, Arc::new(table))?;
    }
    Ok((engine, warehouse))
}

/// Runs one SELECT and prints its rows. Errors: exit 2 when the SQL does not parse, names what
/// is not there, or wants to write.
pub async fn query(job: &Job, sql: &str, format: Format, out: &mut impl Write) -> Result<(), Stop> {
    let (engine, _) = session(job).await?;
    let read_only =
        SQLOptions::new().with_allow_ddl(false).with_allow_dml(false).with_allow_statements(false);
    let frame = engine.session().sql_with_options(sql, read_only).await;
    let frame = frame.map_err(|error| {
        Stop::fix_one(format!("query: {}", error.strip_backtrace()))
            .hint("`lookback query --help` names the tables")
    })?;
    print(frame, format, out).await.or_else(whose_fault)
}

/// What went wrong while rows were computed or printed: a reader that has seen enough is no error,
/// trouble with storage is exit 1, and the rest is in the SQL.
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

/// An attributed order with many movements, to try `lookback explain` on.
pub async fn an_order_with_a_story(job: &Job) -> Result<String, Stop> {
    let (engine, _) = session(job).await?;
    let sql = "select order_id from report.transaction_details \
               group by order_id having count(distinct line_id) <= 2 \
               order by count(distinct movement) desc, count(*) desc, order_id limit 1";
    let rows = engine.session().sql(sql).await?.collect().await?;
    let batch = rows.iter().find(|batch| batch.num_rows() > 0).context("no attributed order")?;
    let order = arrow::util::display::array_value_to_string(batch.column(0), 0);
    Ok(order.map_err(anyhow::Error::from)?)
}

/// `lookback check`: the reference tables and the schema of every raw file there is. Errors:
/// exit 2 with all complaints.
pub async fn check_inputs(job: &Job) -> Result<String, Stop> {
    let reference = Reference::load(job).await;
    let mut complaints = match &reference {
        Ok(_) => Vec::new(),
        Err(stop) if stop.kind == crate::stop::Kind::Fix => stop.complaints.clone(),
        Err(_) => return Err(reference.err().context("a failed load has an error")?),
    };
    let mut text = format!("{}: the job file is fine\n", job.file.display());
    if let Ok(reference) = &reference {
        for (name, batch) in &reference.tables {
            text.push_str(&format!("{name:<12} {:>9} rows\n", batch.num_rows()));
        }
    }
    for (log, place) in [(Log::Clicks, &job.clicks), (Log::Orders, &job.orders)] {
        let mut raw = RawLog::list(log, place, None, |_| true).await?;
        let landed: BTreeSet<_> = raw.landed();
        complaints.extend(raw.check(&landed).await?);
        let rows: u64 = landed.iter().map(|dt| raw.rows(*dt)).sum();
        let files: usize = landed.iter().map(|dt| raw.files(*dt).count()).sum();
        let span = match landed.first().zip(landed.last()) {
            Some((first, last)) => format!("{first} to {last}"),
            None => "nothing has landed".to_owned(),
        };
        text.push_str(&format!(
            "{:<12} {rows:>9} rows in {files} files, {} landing dates ({span})\n",
            log.name(),
            landed.len()
        ));
    }
    match complaints.is_empty() {
        true => Ok(text),
        false => Err(Stop::fix(complaints)),
    }
}
