//! `lookback demo`: makes a world of logs, runs the job on it, shows the reports, and writes a page
//! with them.

use std::io::Write;
use std::path::Path;

use anyhow::Context;
use chrono::{DateTime, Utc};

use super::output::Voice;
use super::{query, report, run};
use crate::cli::{Dates, Format, RunOptions};
use crate::demo;
use crate::job::Job;
use crate::report::Request;
use crate::stop::Stop;

/// A title and a query for each report.
const SHOWCASE: [(&str, &str); 6] = [
    (
        "what is owed: publishers by approved commission, refunds in it",
        "select publisher_id, sum(sale_amount) as sales, sum(pending_commission) as pending, \
         sum(approved_commission) as owed \
         from report.transaction_details group by publisher_id order by owed desc, publisher_id limit 8",
    ),
    (
        "traffic: publishers by clicks",
        "select publisher_id, sum(clicks) as clicks, sum(visitors) as visitors, \
         sum(orders) as orders, sum(order_amount) as order_amount \
         from report.traffic group by publisher_id order by clicks desc, publisher_id limit 8",
    ),
    (
        "orders: publishers by what was placed",
        "select publisher_id, sum(placed_lines) as placed_lines, sum(placed_amount) as placed_amount, \
         sum(completed_lines) as completed_lines, sum(completed_amount) as completed_amount, \
         sum(cancelled_lines) as cancelled_lines, sum(cancelled_amount) as cancelled_amount \
         from report.orders group by publisher_id order by placed_amount desc, publisher_id limit 8",
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
    (
        "unbooked events: what moved nothing, because its line was placed before or never",
        "select why, event_type, count(*) as events, count(distinct order_id) as orders, \
         min(report_date) as first_date, max(report_date) as last_date \
         from report.unbooked_events group by why, event_type order by events desc, why, event_type",
    ),
];

/// Finds an attributed order with many movements.
const ORDER_WITH_A_STORY: &str = "select order_id from report.transaction_details \
     group by order_id having count(distinct line_id) <= 2 \
     order by count(distinct movement) desc, count(*) desc, order_id limit 1";

/// Makes the world in `dir`, runs its job unless `no_run`, and prints the reports. Errors: exit 2
/// when the folder is not empty.
pub async fn demo(
    dir: &Path,
    scale: &demo::Scale,
    no_run: bool,
    now: DateTime<Utc>,
    voice: Voice,
) -> Result<(), Stop> {
    let is_free = match std::fs::read_dir(dir) {
        Ok(mut entries) => entries.next().is_none(),
        Err(error) => error.kind() == std::io::ErrorKind::NotFound,
    };
    if !is_free {
        return Err(Stop::fix_one(format!("{}: is not empty, or no folder", dir.display()))
            .hint("name another folder, or remove this one"));
    }
    let progress = voice.progress();
    progress.plan(scale.days as usize + 1);
    progress.step("making raw logs and reference tables");
    let world = demo::write_world(dir, scale, &mut |_, _| progress.done())?;
    progress.finish();
    voice.say(&format!(
        "made {} clicks and {} order events in {}",
        world.clicks,
        world.order_events,
        dir.display()
    ));
    if no_run {
        voice.say(&format!("next: lookback check {}", world.job_file.display()));
        return Ok(());
    }
    let dates = Dates::Backfill {
        dates: Some((world.from.to_string(), world.to.to_string())),
        stale: false,
    };
    run::run_and_tell(&world.job_file, dates, RunOptions::default(), now, voice).await?;
    let job = Job::load(&world.job_file)?;
    show(&job).await?;
    let page = dir.join("report.html");
    report::report(&job, &Request::default(), Some(page.clone()), now, voice).await?;
    let job_file = world.job_file.display();
    voice.say(&format!(
        "\nlook further:\n  lookback query {job_file} \"select * from report.orders limit 10\""
    ));
    let order = order_with_a_story(&job).await?;
    voice.say(&format!("  lookback explain {job_file} {order}"));
    voice.say(&format!("  {} in a browser", page.display()));
    Ok(())
}

async fn show(job: &Job) -> Result<(), Stop> {
    let mut out = std::io::stdout().lock();
    for (title, sql) in SHOWCASE {
        writeln!(out, "\n{title}").map_err(anyhow::Error::from)?;
        query::query(job, sql, Format::Table, &mut out).await?;
    }
    Ok(())
}

async fn order_with_a_story(job: &Job) -> Result<String, Stop> {
    let (engine, _) = query::session(job).await?;
    let rows = engine.read_only(ORDER_WITH_A_STORY).await?.collect().await?;
    let batch = rows.iter().find(|batch| batch.num_rows() > 0).context("no attributed order")?;
    let order = arrow::util::display::array_value_to_string(batch.column(0), 0);
    Ok(order.map_err(anyhow::Error::from)?)
}
