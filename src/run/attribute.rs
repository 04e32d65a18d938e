//! Makes conversions from the clean tables: which click earned each order line.

use anyhow::Result;
use chrono::NaiveDate;

use super::workspace::{Workspace, number};
use crate::audit;
use crate::days::DateRange;
use crate::engine::Params;
use crate::model;
use crate::warehouse::TableFile;
use crate::warehouse::write::NewFile;

/// Order events of the dates that are attributed at once, unless one date has more.
const EVENTS_AT_ONCE: u64 = 3_000_000;

/// Clicks per bucket of buyers, so that memory does not grow with the number of clicks.
const BUCKET_CLICKS: u64 = 2_500_000;

/// How many order dates to attribute at once.
pub fn dates_at_once(workspace: &Workspace<'_>) -> Result<usize> {
    workspace.dates_at_once("clean.order_events", EVENTS_AT_ONCE)
}

/// Attributes the orders of some dates. Returns the new files of conversions, not yet visible.
pub async fn make_conversions(
    workspace: &mut Workspace<'_>,
    dates: DateRange,
) -> Result<Vec<NewFile>> {
    let params = workspace.params(dates);
    credit(workspace, dates, &params).await?;
    let conversions = model::named("attribution.conversions")?;
    let order_dates: Vec<NaiveDate> = dates.iter().collect();
    let engine = &workspace.engine;
    let files =
        workspace.write_by_date(engine, conversions, &order_dates, "order_date", &params).await?;
    keep_earned_orders(workspace, dates, &params).await?;
    Ok(files)
}

/// Makes sure that `report.earned_orders` has the orders of some dates, for the traffic report.
pub async fn make_earned_orders(workspace: &mut Workspace<'_>, dates: DateRange) -> Result<()> {
    let is_within = |all: DateRange| all.contains(dates.from) && all.contains(dates.to);
    if workspace.earned_orders_of.is_some_and(is_within) {
        return register_clean(workspace, dates);
    }
    let params = workspace.params(dates);
    credit(workspace, dates, &params).await?;
    keep_earned_orders(workspace, dates, &params).await
}

async fn keep_earned_orders(
    workspace: &mut Workspace<'_>,
    dates: DateRange,
    params: &Params,
) -> Result<()> {
    let earned_orders = model::named("report.earned_orders")?;
    workspace.engine.materialise(earned_orders, params).await?;
    workspace.engine.forget("attribution.credits")?;
    workspace.earned_orders_of = Some(dates);
    Ok(())
}

/// Makes `attribution.credits`: the click that earned each line of some order dates.
async fn credit(workspace: &Workspace<'_>, dates: DateRange, params: &Params) -> Result<()> {
    const PLACED: [&str; 3] = [
        "attribution.lines_to_attribute",
        "attribution.placed_history",
        "attribution.repeated_placed_events",
    ];
    const SIGHTINGS: [&str; 2] = ["attribution.sightings", "attribution.line_visitors"];
    const TRAILS: [&str; 4] = [
        "attribution.visitor_keys",
        "attribution.visitor_trails",
        "attribution.trail_lines",
        "attribution.trail_clicks",
    ];
    register_clean(workspace, dates)?;
    let engine = &workspace.engine;
    let clicks = rows(workspace, "clean.clicks", workspace.job.reach().clicks(dates))?;
    let buckets = workspace.buckets(clicks, BUCKET_CLICKS);
    let mut params = params.clone();
    params.insert("buckets", number(buckets));

    engine.materialise_each(&PLACED, &params).await?;
    let lines = engine.materialise_each(&["attribution.placed_lines"], &params).await?;
    engine.forget_each(&PLACED)?;

    engine.materialise_each(&["attribution.buyer_trails"], &params).await?;
    match workspace.job.from_logs {
        true => _ = engine.materialise_each(&SIGHTINGS, &params).await?,
        false => engine.register_empty_each(&SIGHTINGS, &params).await?,
    }
    engine.forget("attribution.sightings")?;
    engine.materialise_each(&TRAILS, &params).await?;
    let of_bucket = |bucket| {
        let mut params = params.clone();
        params.insert("bucket", number(bucket));
        params
    };
    let of_buckets: Vec<Params> = (0..buckets).map(of_bucket).collect();
    let by_bucket = ["attribution.timeline", "attribution.trail_winners"];
    engine.materialise_by_bucket(&by_bucket, &of_buckets, &["attribution.trail_winners"]).await?;
    engine.forget_each(&["attribution.trail_lines", "attribution.trail_clicks"])?;
    engine.forget_each(&["attribution.line_visitors", "attribution.visitor_keys"])?;
    engine.materialise_each(&["attribution.winners"], &params).await?;
    engine.forget("attribution.trail_winners")?;

    let winning_clicks = model::named("attribution.winning_clicks")?;
    match lines.saturating_mul(workspace.request.tuning.selective_ratio) < clicks {
        true => engine.materialise_selective(winning_clicks, &params).await?,
        false => engine.materialise(winning_clicks, &params).await?,
    };
    engine.materialise_each(&["attribution.credits"], &params).await?;
    engine.forget_each(&[
        "attribution.placed_lines",
        "attribution.buyer_trails",
        "attribution.visitor_trails",
        "attribution.winners",
        "attribution.winning_clicks",
    ])
}

/// Audits the registered conversions of some dates, of which the files `new` are not yet visible.
/// Returns complaints.
pub async fn audit(
    workspace: &Workspace<'_>,
    dates: DateRange,
    new: &[NewFile],
) -> Result<Vec<String>> {
    let params = workspace.params(dates);
    let model = model::named("attribution.conversions")?;
    let mut complaints: Vec<String> =
        audit::key(&workspace.engine, model, new).await?.into_iter().collect();
    for name in ["audit.each_line_placed_once", "audit.each_click_lies_in_its_window"] {
        complaints.extend(audit::promise(&workspace.engine, name, &params).await?);
    }
    Ok(complaints)
}

/// The number of rows of a stored table on some landing dates.
fn rows(workspace: &Workspace<'_>, name: &str, dates: DateRange) -> Result<u64> {
    let may_read = workspace.may_read(dates);
    let files = workspace.warehouse.table(name)?.files.iter();
    Ok(files.filter(|file| may_read(file.partition.date)).map(TableFile::rows).sum())
}

/// Registers the clean rows that some order dates look back to.
fn register_clean(workspace: &Workspace<'_>, dates: DateRange) -> Result<()> {
    let reach = workspace.job.reach();
    let engine = &workspace.engine;
    let events = workspace.may_read(reach.events(dates));
    workspace.register_stored(engine, "clean.order_events", events)?;
    let clicks = workspace.may_read(reach.clicks(dates));
    workspace.register_stored(engine, "clean.clicks", clicks)
}
