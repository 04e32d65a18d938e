//! Makes the report tables from the ledger and the clicks, and counts for the summary.

use std::collections::BTreeSet;

use anyhow::Result;
use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::{Decimal128Type, Int64Type};
use arrow::util::display::array_value_to_string;
use chrono::NaiveDate;
use futures::future::try_join_all;
use futures::try_join;

use super::limits;
use super::workspace::{Staged, Workspace};
use crate::audit;
use crate::days::{self, DateRange};
use crate::lineage;
use crate::model::{self, Model};
use crate::warehouse::Partition;
use crate::warehouse::write::NewFile;

/// Clicks, or order events, of the dates that are reported at once, unless one date has more.
const CLICKS_AT_ONCE: u64 = 1_500_000;
const EVENTS_AT_ONCE: u64 = 700_000;

/// The one report that reads clicks.
const TRAFFIC: &str = "report.traffic";

/// The steps of the traffic report, besides orders.
const VISITS: [&str; 2] = ["report.visits", "report.repeated_visits"];

/// Makes all reports of some dates, not yet visible. Returns complaints of audits.
pub async fn make_reports(
    workspace: &Workspace<'_>,
    dates: DateRange,
    staged: &mut Staged,
) -> Result<Vec<String>> {
    // Traffic in parallel with the reports that read the ledger, which are made one by one.
    let (of_clicks, of_ledger): (Vec<_>, Vec<_>) =
        lineage::report_tables()?.into_iter().partition(|model| model.name == TRAFFIC);
    let (of_clicks, of_ledger) =
        try_join!(make_each(workspace, of_clicks, dates), make_each(workspace, of_ledger, dates))?;
    let mut complaints = Vec::new();
    let engine = &workspace.engine;
    for (model, files) in of_clicks.into_iter().chain(of_ledger) {
        workspace.register_staged(engine, model.name, |date| dates.contains(date), &files)?;
        complaints.extend(audit::key(engine, model, &files).await?);
        staged.entry(model.name).or_default().extend(files);
    }
    let params = workspace.params(dates);
    let promises = [
        "audit.each_event_is_booked_or_not",
        "audit.money_is_never_null",
        "audit.orders_equal_the_ledger",
        "audit.refunds_equal_the_ledger",
    ];
    let promises = promises.map(|name| Box::pin(audit::promise(engine, name, &params)));
    complaints.extend(try_join_all(promises).await?.into_iter().flatten());
    Ok(complaints)
}

async fn make_each(
    workspace: &Workspace<'_>,
    models: Vec<&'static Model>,
    dates: DateRange,
) -> Result<Vec<(&'static Model, Vec<NewFile>)>> {
    let mut made = Vec::new();
    for model in models {
        made.push((model, Box::pin(make(workspace, model, dates)).await?));
    }
    Ok(made)
}

/// Makes one report for a few dates at a time, so that memory does not grow with their number.
async fn make(
    workspace: &Workspace<'_>,
    model: &'static Model,
    dates: DateRange,
) -> Result<Vec<NewFile>> {
    let is_traffic = model.name == TRAFFIC;
    let at_once = match is_traffic {
        true => workspace.dates_at_once("clean.clicks", CLICKS_AT_ONCE)?,
        false => workspace.dates_at_once("clean.order_events", EVENTS_AT_ONCE)?,
    };
    let mut files = Vec::new();
    for dates in days::contiguous_ranges(&dates.iter().collect::<BTreeSet<_>>(), at_once) {
        files.extend(match is_traffic {
            true => make_traffic(workspace, model, dates).await?,
            false => make_from_ledger(workspace, model, dates).await?,
        });
    }
    Ok(files)
}

async fn make_traffic(
    workspace: &Workspace<'_>,
    model: &'static Model,
    dates: DateRange,
) -> Result<Vec<NewFile>> {
    let params = workspace.params(dates);
    let engine = &workspace.engine;
    engine.materialise_each(&VISITS, &params).await?;
    let dates: Vec<NaiveDate> = dates.iter().collect();
    let files = workspace.write_by_date(engine, model, &dates, "date", &params).await?;
    engine.forget_each(&VISITS)?;
    Ok(files)
}

async fn make_from_ledger(
    workspace: &Workspace<'_>,
    model: &'static Model,
    dates: DateRange,
) -> Result<Vec<NewFile>> {
    let slice = (workspace.params(dates), dates.iter().map(Partition::of).collect());
    workspace.write_slices(&workspace.engine, model, vec![slice]).await
}

/// Counts what was placed and booked on some dates, and adds it to the summary.
pub async fn count(workspace: &mut Workspace<'_>, dates: DateRange) -> Result<()> {
    let params = workspace.params(dates);
    let engine = &workspace.engine;
    let collect = async |name: &str| engine.collect(model::named(name)?, &params).await;
    let (order_lines, matched_by, commission, unbooked, foreign_refunds) = try_join!(
        collect("summary.order_lines"),
        collect("summary.matched_by"),
        collect("summary.commission"),
        collect("summary.unbooked_events"),
        collect("summary.refunds_in_another_currency")
    )?;
    let orphans: u64 = unbooked.iter().map(|batch| rows(batch, 1, 0)).sum();
    let (early_orphans, orphan_refunds) = match orphans {
        0 => (Vec::new(), Vec::new()),
        _ => try_join!(
            collect("summary.orphans_within_a_second"),
            collect("summary.orphan_refunds")
        )?,
    };
    for batch in order_lines {
        for row in 0..batch.num_rows() {
            let (date, status) = (limits::date_at(batch.column(0), row)?, text(&batch, 1, row)?);
            let lines = rows(&batch, 2, row);
            workspace.placed.entry(date).or_default().add(lines, status == "attributed");
            *workspace.summary.order_lines.entry(status).or_default() += lines;
        }
    }
    let summary = &mut workspace.summary;
    for batch in matched_by {
        for row in 0..batch.num_rows() {
            let how = text(&batch, 0, row)?;
            *summary.matched_by.entry(how).or_default() += rows(&batch, 1, row);
        }
    }
    for batch in commission {
        summary.pending_commission += decimal(&batch, 0, 0);
        summary.approved_commission += decimal(&batch, 1, 0);
    }
    for batch in unbooked {
        summary.repeated_placed_events += rows(&batch, 0, 0);
        summary.orphan_events += rows(&batch, 1, 0);
    }
    for batch in foreign_refunds {
        summary.refunds_in_another_currency += rows(&batch, 0, 0);
    }
    for batch in early_orphans {
        summary.orphans_within_a_second += rows(&batch, 0, 0);
    }
    for batch in orphan_refunds {
        for row in 0..batch.num_rows() {
            let currency = text(&batch, 0, row)?;
            *summary.refunds_not_booked.entry(currency).or_default() += decimal(&batch, 1, row);
        }
    }
    Ok(())
}

pub fn text(batch: &RecordBatch, column: usize, row: usize) -> Result<String> {
    Ok(array_value_to_string(batch.column(column), row)?)
}

pub fn rows(batch: &RecordBatch, column: usize, row: usize) -> u64 {
    batch.column(column).as_primitive::<Int64Type>().value(row).unsigned_abs()
}

pub fn decimal(batch: &RecordBatch, column: usize, row: usize) -> i128 {
    batch.column(column).as_primitive::<Decimal128Type>().value(row)
}
