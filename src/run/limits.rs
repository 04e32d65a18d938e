//! The quality limits of a job (Q1 to Q3): whether the landing dates that the run's own dates touch
//! look like logs that one can pay by. They are clean by now. No conversions and no reports are made
//! before the limits hold, and `--force` does not pass over them.
//!
//! The numbers of rows are in the logs of the clean tables. Rows are read only where a limit may be
//! broken, and for the ages of fx rates.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result};
use arrow::array::AsArray;
use arrow::compute::cast;
use arrow::datatypes::{DataType, Date32Type, Int64Type};
use chrono::NaiveDate;
use datafusion::common::ScalarValue;

use super::workspace::{Workspace, whole_days};
use crate::days;
use crate::engine::Params;
use crate::job::decimal;
use crate::model;
use crate::raw::{Log, RawLog};
use crate::stop::Stop;
use crate::summary::BrokenLimit;

/// One whole, as shares of a job file are counted.
pub const WHOLE: i128 = 1_000_000;

/// How many landed dates before a date say what is usual (Q2), and how few are too few to say it.
pub const USUAL_DATES: usize = 14;
pub const TOO_FEW_DATES: usize = 7;

/// The rows of a log by landing date, as the clean tables count them.
#[derive(Default)]
pub struct Counts {
    /// Clean and rejected rows: all that were there (C4).
    pub raw: BTreeMap<NaiveDate, u64>,
    /// Rejected rows, duplicates included.
    pub rejected: BTreeMap<NaiveDate, u64>,
}

/// Holds the landing dates that the run's own dates touch against the job's limits. Errors: exit 4
/// with each date, log, figure and limit; exit 2 when an earlier raw file that has to be counted is
/// not readable.
pub async fn check(workspace: &mut Workspace<'_>) -> Result<(), Stop> {
    let (complaints, broken) = broken(workspace).await?;
    workspace.summary.broken_limits = broken;
    match complaints.is_empty() {
        true => Ok(()),
        false => Err(Stop::inspect(complaints).hint(
            "no conversions and no reports were changed; clean tables were, so look at the rows: \
             `lookback query … \"select * from clean.rejects\"`. If the logs are right as they are, \
             change [limits] in the job file: --force does not pass over a limit",
        )),
    }
}

/// What the limits that are broken complain of, and which these are.
async fn broken(workspace: &Workspace<'_>) -> Result<(Vec<String>, Vec<BrokenLimit>), Stop> {
    let limits = &workspace.job.limits;
    let (mut complaints, mut broken) = (Vec::new(), Vec::new());
    let mut note = |limit: &'static str, log: Log, found: Vec<(NaiveDate, String)>| {
        for (date, complaint) in found {
            broken.push(BrokenLimit { limit, log: log.name(), date });
            complaints.push(complaint);
        }
    };
    for (log, key, share) in [
        (Log::Clicks, "rejected_clicks", limits.rejected_clicks),
        (Log::Orders, "rejected_orders", limits.rejected_orders),
    ] {
        let counts = counts(workspace, log)?;
        let touched = touched(workspace, &counts);
        if let Some(share) = share {
            let found = rejected(workspace, log, &touched, &counts, (key, share)).await?;
            note(key, log, found);
        }
        if let Some(share) = limits.fewest_rows {
            let found = few_rows(workspace, log, &touched, &counts, share).await?;
            note("fewest_rows", log, found);
        }
        if let (Log::Orders, Some(days)) = (log, limits.oldest_fx_days) {
            note("oldest_fx_days", log, old_fx_rates(workspace, &touched, days).await?);
        }
    }
    Ok((complaints, broken))
}

pub fn counts(workspace: &Workspace<'_>, log: Log) -> Result<Counts> {
    let mut counts = Counts::default();
    for file in &workspace.warehouse.table(log.clean_table())?.files {
        *counts.raw.entry(file.partition.date).or_default() += file.rows();
    }
    for file in &workspace.warehouse.table("clean.rejects")?.files {
        let date = file.partition.date;
        if file.partition.log.as_deref() == Some(log.name())
            && let Some(rows) = counts.raw.get_mut(&date)
        {
            *rows += file.rows();
            *counts.rejected.entry(date).or_default() += file.rows();
        }
    }
    Ok(counts)
}

/// The landing dates that the run's own dates touch (D2).
fn touched(workspace: &Workspace<'_>, counts: &Counts) -> BTreeSet<NaiveDate> {
    let reach = workspace.job.reach();
    let own = workspace.plan.report_dates.iter();
    let touched = own.flat_map(|date| reach.demanded_landing(*date).iter());
    touched.filter(|dt| counts.raw.contains_key(dt)).collect()
}

/// Q1. Reasons are read only of dates that have too many rejected rows with their duplicates.
async fn rejected(
    workspace: &Workspace<'_>,
    log: Log,
    touched: &BTreeSet<NaiveDate>,
    counts: &Counts,
    (key, limit): (&str, i128),
) -> Result<Vec<(NaiveDate, String)>> {
    let of = |rows: &BTreeMap<NaiveDate, u64>, dt: &NaiveDate| rows.get(dt).copied().unwrap_or(0);
    let is_broken = |dt: &NaiveDate, rejected: u64| {
        i128::from(rejected) * WHOLE > limit * i128::from(of(&counts.raw, dt))
    };
    let in_doubt = |dt: &&NaiveDate| is_broken(dt, of(&counts.rejected, dt));
    let in_doubt: BTreeSet<NaiveDate> = touched.iter().filter(in_doubt).copied().collect();
    let mut complaints = Vec::new();
    for (dt, reasons) in reasons(workspace, log, &in_doubt).await? {
        let rejected: u64 = reasons.iter().map(|(_, rows)| rows).sum();
        let raw = of(&counts.raw, &dt);
        if is_broken(&dt, rejected) {
            let reasons: Vec<String> =
                reasons.iter().map(|(reason, rows)| format!("{reason} {rows}")).collect();
            let complaint = format!(
                "{}, landing date {dt}: {rejected} of {raw} raw rows were rejected, duplicates \
                 aside: a share of {}, and [limits] {key} is \"{}\" ({})",
                log.name(),
                decimal(i128::from(rejected) * WHOLE / i128::from(raw.max(1))),
                decimal(limit),
                reasons.join(", ")
            );
            complaints.push((dt, complaint));
        }
    }
    Ok(complaints)
}

/// Why rows of some landing dates were rejected, duplicates aside, the most frequent reason first.
pub async fn reasons(
    workspace: &Workspace<'_>,
    log: Log,
    dates: &BTreeSet<NaiveDate>,
) -> Result<BTreeMap<NaiveDate, Vec<(String, u64)>>> {
    let mut reasons: BTreeMap<NaiveDate, Vec<(String, u64)>> = BTreeMap::new();
    if dates.is_empty() {
        return Ok(reasons);
    }
    let engine = workspace.engine.fork()?;
    workspace.register_stored(&engine, "clean.rejects", |dt| dates.contains(&dt))?;
    let params = Params::from([("log", ScalarValue::Utf8(Some(log.name().to_owned())))]);
    for batch in engine.collect(model::named("limits.rejected_rows")?, &params).await? {
        let texts = cast(batch.column(1), &DataType::Utf8)?;
        let texts = texts.as_string::<i32>();
        let rows = batch.column(2).as_primitive::<Int64Type>();
        for row in 0..batch.num_rows() {
            let reason = (texts.value(row).to_owned(), rows.value(row).unsigned_abs());
            reasons.entry(date_at(batch.column(0), row)?).or_default().push(reason);
        }
    }
    Ok(reasons)
}

/// Q2.
async fn few_rows(
    workspace: &Workspace<'_>,
    log: Log,
    touched: &BTreeSet<NaiveDate>,
    counts: &Counts,
    limit: i128,
) -> Result<Vec<(NaiveDate, String)>, Stop> {
    let rows = with_history(workspace, log, touched, counts).await?;
    let mut complaints = Vec::new();
    for dt in touched {
        let mut usual: Vec<u64> =
            rows.range(..dt).rev().take(USUAL_DATES).map(|(_, rows)| *rows).collect();
        if usual.len() < TOO_FEW_DATES {
            continue;
        }
        usual.sort();
        // Of an odd number of dates, both are the one in the middle.
        let middle = usual[(usual.len() - 1) / 2] + usual[usual.len() / 2];
        let raw = rows.get(dt).copied().unwrap_or(0);
        if i128::from(raw) * 2 * WHOLE < limit * i128::from(middle) {
            let half = if middle.is_multiple_of(2) { "" } else { ".5" };
            let complaint = format!(
                "{}, landing date {dt}: {raw} raw {}, and {}{half} is the median of the {} \
                 landed dates before; [limits] fewest_rows is \"{}\" of it",
                log.name(),
                if raw == 1 { "row" } else { "rows" },
                middle / 2,
                usual.len(),
                decimal(limit)
            );
            complaints.push((*dt, complaint));
        }
    }
    Ok(complaints)
}

/// The rows of all landing dates that may say what is usual for the touched ones. Dates that landed
/// and were never cleaned are counted by the footers of their files.
async fn with_history(
    workspace: &Workspace<'_>,
    log: Log,
    touched: &BTreeSet<NaiveDate>,
    counts: &Counts,
) -> Result<BTreeMap<NaiveDate, u64>, Stop> {
    let mut rows = counts.raw.clone();
    // What lies there of a date that has not landed says nothing about what is usual.
    let raw = &workspace.plan.log(log).raw;
    rows.retain(|dt, _| touched.contains(dt) || !raw.is_there(*dt) || raw.has_landed(*dt));
    let (Some(first), Some(last)) = (touched.first(), touched.last()) else { return Ok(rows) };
    // As many clean dates are enough, so only what landed after the earliest of these is asked for.
    let enough = rows.range(..first).rev().nth(USUAL_DATES - 1).map(|(dt, _)| *dt);
    let is_wanted = |dt: NaiveDate| dt < *last && !rows.contains_key(&dt);
    let (from, as_of) = (enough.map(days::next), workspace.request.as_of);
    let mut further = RawLog::list(log, workspace.job.log(log), from, as_of, is_wanted).await?;
    let landed: BTreeSet<NaiveDate> =
        further.dates().into_iter().filter(|dt| further.has_landed(*dt)).collect();
    let near = landed.range(..first).rev().take(USUAL_DATES);
    let near: BTreeSet<NaiveDate> = near.chain(landed.range(first..)).copied().collect();
    let complaints = further.validate_schemas(&near).await?;
    if !complaints.is_empty() {
        return Err(Stop::fix(complaints).hint(
            "[limits] fewest_rows counts the rows of these files; no conversions and no reports \
             were changed; replace or remove the files and run again",
        ));
    }
    match further.has_view() {
        true => {
            let engine = workspace.engine.fork()?;
            rows.extend(further.count(&engine, &near, workspace.job.reading()).await?);
        }
        false => rows.extend(near.into_iter().map(|dt| (dt, further.rows(dt)))),
    }
    Ok(rows)
}

/// Q3: of each landing date and currency the oldest rate, and how many placed events use a rate that
/// is too old for them.
async fn old_fx_rates(
    workspace: &Workspace<'_>,
    touched: &BTreeSet<NaiveDate>,
    limit: u64,
) -> Result<Vec<(NaiveDate, String)>> {
    struct Old {
        events: u64,
        rate_date: NaiveDate,
        placed_on: NaiveDate,
    }
    let engine = workspace.engine.fork()?;
    workspace.register_reference(&engine).await?;
    workspace.register_stored(&engine, "clean.order_events", |dt| touched.contains(&dt))?;
    let text = |text: &str| ScalarValue::Utf8(Some(text.to_owned()));
    let params = Params::from([
        ("zone", text(workspace.job.zone.name())),
        ("currency", text(&workspace.job.currency)),
        ("oldest", whole_days(limit)),
    ]);
    let mut old: BTreeMap<(NaiveDate, String), Old> = BTreeMap::new();
    for batch in engine.collect(model::named("limits.old_fx_rates")?, &params).await? {
        let currencies = cast(batch.column(1), &DataType::Utf8)?;
        let events = batch.column(4).as_primitive::<Int64Type>();
        for row in 0..batch.num_rows() {
            let currency = currencies.as_string::<i32>().value(row).to_owned();
            let (placed_on, rate_date) =
                (date_at(batch.column(2), row)?, date_at(batch.column(3), row)?);
            let known = old.entry((date_at(batch.column(0), row)?, currency)).or_insert(Old {
                events: 0,
                rate_date,
                placed_on,
            });
            known.events += events.value(row).unsigned_abs();
            if placed_on - rate_date > known.placed_on - known.rate_date {
                (known.placed_on, known.rate_date) = (placed_on, rate_date);
            }
        }
    }
    let complaints = old.into_iter().map(|((dt, currency), old)| {
        let Old { events, rate_date, placed_on } = old;
        let complaint = format!(
            "orders, landing date {dt}: {events} placed {} in {currency} with too old an fx rate, \
             on {placed_on} that of {rate_date}, {} days before; [limits] oldest_fx_days is {limit}",
            if events == 1 { "event" } else { "events" },
            (placed_on - rate_date).num_days()
        );
        (dt, complaint)
    });
    Ok(complaints.collect())
}

pub fn date_at(column: &arrow::array::ArrayRef, row: usize) -> Result<NaiveDate> {
    let date = column.as_primitive::<Date32Type>().value_as_date(row);
    date.context("a date is out of range")
}
