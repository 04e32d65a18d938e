//! Landing dates of which no row is valid, or no placed event; and the money of rejected refunds.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use anyhow::Result;
use chrono::NaiveDate;

use super::{cleaned, landing};
use crate::engine::Params;
use crate::model;
use crate::raw::Log;
use crate::run::limits;
use crate::run::report::{decimal, rows, text};
use crate::run::workspace::Workspace;
use crate::summary::{LoggedAmount, grouped};

/// Reasons of rejected rows that never are placed or refunded events, or are booked already.
const WITHOUT_MONEY: [&str; 2] = ["duplicate", "unknown_event_type"];

/// Rejected placed or refunded events of a landing date, with one reason and currency.
pub struct Money {
    dt: NaiveDate,
    event_type: String,
    reason: String,
    currency: String,
    events: u64,
    amount: i128,
}

/// Dates with the same cause, and their rejected rows by reason.
#[derive(Default)]
struct Alike {
    dates: BTreeSet<NaiveDate>,
    rows: BTreeMap<String, u64>,
}

/// Dates by the reason that most of their rows have.
type ByCause = BTreeMap<String, Alike>;

/// Landing dates of which all raw rows were rejected, none of them as a duplicate of a valid one.
pub async fn without_a_valid_row(workspace: &Workspace<'_>) -> Result<Vec<String>> {
    let mut warnings = Vec::new();
    for log in [Log::Clicks, Log::Orders] {
        let dates = all_rejected(workspace, log)?;
        let raw = limits::counts(workspace, log)?.raw;
        let mut alike = ByCause::new();
        for (dt, reasons) in limits::reasons(workspace, log, &dates).await? {
            let rejected: u64 = reasons.iter().map(|(_, rows)| rows).sum();
            if raw.get(&dt) == Some(&rejected) {
                add(&mut alike, dt, reasons);
            }
        }
        warnings.extend(alike.values().map(|alike| sentence(log, alike, "raw row")));
    }
    Ok(warnings)
}

/// Landing dates of which no placed event is valid, but another event is. Only placed events need a
/// buyer, a store and a currency.
pub async fn without_a_placed_event(
    workspace: &Workspace<'_>,
    money: &[Money],
) -> Result<Vec<String>> {
    let counts = limits::counts(workspace, Log::Orders)?;
    let all_rejected = all_rejected(workspace, Log::Orders)?;
    let mut placed: BTreeMap<NaiveDate, BTreeMap<String, u64>> = BTreeMap::new();
    for Money { dt, reason, events, .. } in money.iter().filter(|it| it.event_type == "placed") {
        *placed.entry(*dt).or_default().entry(reason.clone()).or_default() += events;
    }
    // Where a hundredth of the rows or less are such events, others are placed, too.
    placed.retain(|dt, reasons| {
        let raw = counts.raw.get(dt).copied().unwrap_or_default();
        !all_rejected.contains(dt) && reasons.values().sum::<u64>() * 100 > raw
    });
    if placed.is_empty() {
        return Ok(Vec::new());
    }
    let engine = workspace.engine.fork()?;
    workspace.register_stored(&engine, "clean.order_events", |dt| placed.contains_key(&dt))?;
    for batch in engine.collect(model::named("summary.placed_events")?, &Params::new()).await? {
        for row in 0..batch.num_rows() {
            placed.remove(&limits::date_at(batch.column(0), row)?);
        }
    }
    let mut alike = ByCause::new();
    for (dt, reasons) in placed {
        add(&mut alike, dt, reasons.into_iter().collect());
    }
    Ok(alike.values().map(|alike| sentence(Log::Orders, alike, "placed event")).collect())
}

/// The rejected placed and refunded events of the landing dates that this run cleaned.
pub async fn money(workspace: &Workspace<'_>) -> Result<Vec<Money>> {
    let reasons = workspace.summary.rejected_rows.get(Log::Orders.name());
    let mut reasons = reasons.into_iter().flatten().map(|(reason, _)| reason.as_str());
    if reasons.all(|reason| WITHOUT_MONEY.contains(&reason)) {
        return Ok(Vec::new());
    }
    let cleaned = cleaned(workspace, Log::Orders);
    let engine = workspace.engine.fork()?;
    workspace.register_stored(&engine, "clean.rejects", |dt| cleaned.contains(&dt))?;
    let mut money = Vec::new();
    for batch in engine.collect(model::named("summary.rejected_money")?, &Params::new()).await? {
        for row in 0..batch.num_rows() {
            money.push(Money {
                dt: limits::date_at(batch.column(0), row)?,
                event_type: text(&batch, 1, row)?,
                reason: text(&batch, 2, row)?,
                currency: text(&batch, 3, row)?,
                events: rows(&batch, 4, row),
                amount: decimal(&batch, 5, row),
            });
        }
    }
    Ok(money)
}

/// What the refunds among such events would have given back, by currency.
pub fn refunds(money: &[Money]) -> BTreeMap<String, LoggedAmount> {
    let mut refunds: BTreeMap<String, LoggedAmount> = BTreeMap::new();
    for refund in money.iter().filter(|it| it.event_type == "refunded") {
        *refunds.entry(refund.currency.clone()).or_default() += refund.amount;
    }
    refunds
}

/// The cleaned dates of a log that have raw rows, and none of them is clean.
fn all_rejected(workspace: &Workspace<'_>, log: Log) -> Result<BTreeSet<NaiveDate>> {
    let counts = limits::counts(workspace, log)?;
    let mut dates = cleaned(workspace, log);
    dates.retain(|dt| {
        let raw = counts.raw.get(dt).filter(|rows| **rows > 0);
        raw.is_some() && raw == counts.rejected.get(dt)
    });
    Ok(dates)
}

fn add(alike: &mut ByCause, dt: NaiveDate, reasons: Vec<(String, u64)>) {
    let cause = reasons.iter().max_by_key(|(reason, rows)| (*rows, Reverse(reason)));
    let Some((cause, _)) = cause else { return };
    let alike = alike.entry(cause.clone()).or_default();
    alike.dates.insert(dt);
    for (reason, rows) in reasons {
        *alike.rows.entry(reason).or_default() += rows;
    }
}

fn sentence(log: Log, Alike { dates, rows }: &Alike, noun: &str) -> String {
    let all: u64 = rows.values().sum();
    let all = match all {
        1 => format!("its only {noun} was"),
        all => format!("all {} {noun}s were", grouped(all)),
    };
    let mut reasons: Vec<(&str, u64)> =
        rows.iter().map(|(reason, rows)| (reason.as_str(), *rows)).collect();
    reasons.sort_by_key(|(_, rows)| Reverse(*rows));
    let first = reasons.first().map_or("", |(reason, _)| *reason);
    let why = match reasons.as_slice() {
        [_] => format!("as {first}"),
        several => {
            let counted = several.iter().map(|(why, rows)| format!("{why} {}", grouped(*rows)));
            format!("({})", counted.collect::<Vec<_>>().join(", "))
        }
    };
    let landing = landing(log.name(), dates);
    format!("{landing}: {all} rejected {why}; {}", what_to_look_at(log, first))
}

/// Where the cause of a reason is to be found, if all rows have it (C1, C2).
fn what_to_look_at(log: Log, reason: &str) -> &'static str {
    match (log, reason) {
        (_, "bad_text") => "look at the encoding of the log: its texts have to be UTF-8",
        (_, "missing_click_id") => {
            "their click_id is empty: look which column of the log it is read from"
        }
        (_, "missing_event_id") => {
            "their event_id is empty: look which column of the log it is read from"
        }
        (Log::Clicks, "missing_time") => {
            "their clicked_at is empty: look which column of the log it is read from"
        }
        (Log::Orders, "missing_time") => {
            "their event_at is empty: look which column of the log it is read from"
        }
        (_, "too_late") => {
            "they happened longer before they landed than [lateness] late_days allows: look at \
             the unit and the zone of the times, and at the date of the folder"
        }
        (_, "in_the_future") => {
            "they happened after they landed: look at the unit and the zone of the times (local \
             times are no UTC), and at the date of the folder"
        }
        (_, "not_a_promotion_link") => {
            "none of the [links] formats matches their url: compare the formats with a url of \
             clean.rejects, and look whether the column url is the page visited"
        }
        (_, "unknown_link") => {
            "the links table has none of their keys at that time: look whether the table is up \
             to date, at valid_from and valid_to, and at the first group of the [links] formats"
        }
        (_, "unknown_event_type") => {
            "event_type has to be placed, paid, completed, cancelled or refunded, spelt so"
        }
        (_, "missing_order_line") => {
            "their order_id or line_id is empty: look which columns of the log they are read from"
        }
        (_, "missing_buyer") => {
            "their buyer_id is empty: look which column of the log it is read from, and at \
             [identity] nobody"
        }
        (_, "missing_store") => {
            "their store_id is empty: look which column of the log it is read from"
        }
        (_, "bad_amount") => {
            "their amount is empty, negative, or has more than 4 decimals: look which column of the \
             log it is read from"
        }
        (_, "unknown_currency") => {
            "look how their currency is spelt (USD, not usd), and whether fx_rates has it on or before \
             that date"
        }
        _ => "look at the rows in clean.rejects",
    }
}
