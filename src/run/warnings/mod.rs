//! What looks wrong although no limit forbids it: nights in which nearly everything is rejected or
//! unattributed look like good ones otherwise. Each is a sentence in the summary. Nothing here ends a
//! run.
//!
//! Numbers of rows are in the logs of the tables. Rows are read only where these raise a doubt, apart
//! from the buyers and visitors of what was cleaned.

mod ids;
mod rejected;
mod shares;

use std::collections::BTreeSet;

use anyhow::Result;
use chrono::NaiveDate;
use futures::try_join;
pub use shares::Lines;

use super::workspace::Workspace;
use crate::days;
use crate::raw::Log;
use crate::summary::{Summary, grouped};

/// Warns of landing dates without a valid row. It comes before the limits, which may end the run.
pub async fn once_clean(workspace: &mut Workspace<'_>) -> Result<()> {
    let (mut found, money) =
        try_join!(rejected::without_a_valid_row(workspace), rejected::money(workspace))?;
    found.extend(rejected::without_a_placed_event(workspace, &money).await?);
    found.extend(closed_views(workspace.summary));
    found.extend(workspace.plan.unread.iter().cloned());
    workspace.summary.refunds_not_booked = rejected::refunds(&money);
    workspace.summary.warnings.extend(found);
    Ok(())
}

/// Warns of what the run's own dates and the landing dates that it cleaned look like. It comes before
/// the last tables are published, so that nothing but a commit can fail from then on.
pub async fn once_made(workspace: &mut Workspace<'_>) -> Result<()> {
    let placed = workspace.placed.values().copied().sum::<Lines>();
    workspace.summary.attributed_share = placed.share();
    let (low, ids) = try_join!(shares::low(workspace), ids::warnings(workspace))?;
    let early = early_orphans(workspace);
    let found = low.into_iter().chain(ids).chain(early);
    workspace.summary.warnings.extend(found);
    Ok(())
}

/// Views that let no row through.
fn closed_views(summary: &Summary) -> impl Iterator<Item = String> {
    let before = summary.rows_before_views.iter();
    let closed = before.filter(|(log, rows)| **rows > 0 && summary.raw_rows.get(*log) == Some(&0));
    closed.map(|(log, rows)| {
        format!(
            "{log}: none of {} rows comes out of the view of the log; look at its filter",
            grouped(*rows)
        )
    })
}

/// Events a little before their order come from a clock of whole seconds. The view moves them to the
/// end of their second, because moving placed events would change which clicks came before.
fn early_orphans(workspace: &Workspace<'_>) -> Option<String> {
    let summary = &workspace.summary;
    let early = summary.orphans_within_a_second;
    (early > 0).then(|| {
        format!(
            "orders: {} of {} orphan {} happened less than a second before the order line was placed, \
             so they moved nothing; where their clock has whole seconds, a view of the log mends it: \
             case when event_type = 'placed' then event_at \
             else event_at + interval '999999 microseconds' end as event_at",
            grouped(early),
            grouped(summary.orphan_events),
            if summary.orphan_events == 1 { "event" } else { "events" },
        )
    })
}

/// The landing dates of a log that this run cleaned.
fn cleaned(workspace: &Workspace<'_>, log: Log) -> BTreeSet<NaiveDate> {
    workspace.plan.log(log).to_clean.keys().copied().collect()
}

/// "clicks, landing dates 2026-05-01 to 2026-05-03", as warnings begin.
fn landing(log: &str, dates: &BTreeSet<NaiveDate>) -> String {
    let noun = if dates.len() == 1 { "landing date" } else { "landing dates" };
    format!("{log}, {noun} {}", days::describe(dates.iter().copied()))
}

/// So many of so many as text with four decimals: 432 of 1,000 is "0.4320".
fn share(part: u128, of: u128) -> String {
    let rounded = (part * 20_000 + of) / (of * 2).max(1);
    format!("{}.{:04}", rounded / 10_000, rounded % 10_000)
}
