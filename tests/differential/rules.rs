//! The plain rules of `sql/rule/`, held against the tables that the fast steps made.
//!
//! Each question below must have no answer: a row is a place where a rule and a table differ.

use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Result, bail, ensure};
use arrow::compute::concat_batches;
use arrow::util::pretty::pretty_format_batches;
use lookback::commands::query;
use lookback::days::DateRange;
use lookback::engine::SqlOverrides;
use lookback::job::Job;
use lookback::model;
use lookback::reference::{Heads, Reference};
use lookback::run::attribution_params;

/// A rule, and the query that finds where it differs from its tables. `$from` and `$to` are the dates
/// that were made, `$zone` and `$default_rate` the job's.
const QUESTIONS: [(&str, &str); 5] = [
    (
        "rule.one_placed_event",
        "with counting as (
            select order_id, line_id, event_id, placed_at
            from rule.one_placed_event
            where is_counting
                and local_date(placed_at, '$zone') between date '$from' and date '$to'
        ),
        lines as (
            select order_id, line_id, event_id, placed_at
            from attribution.conversions
            where order_date between date '$from' and date '$to'
        )
        select counting.*, lines.*
        from counting
        full join lines
            on counting.order_id = lines.order_id
            and counting.line_id = lines.line_id
            and counting.event_id = lines.event_id
            and counting.placed_at = lines.placed_at
        where counting.order_id is null or lines.order_id is null",
    ),
    (
        "rule.winning_click",
        "with winners as (select * from rule.winning_click where is_winner)
        select lines.*, winners.*
        from attribution.conversions as lines
        left join winners
            on lines.order_id = winners.order_id
            and lines.line_id = winners.line_id
            and lines.placed_at = winners.placed_at
        where lines.order_date between date '$from' and date '$to'
            and lines.status <> 'store_not_joined'
            and ((lines.click_id is distinct from winners.click_id)
                or (lines.clicked_at is distinct from winners.clicked_at)
                or (lines.publisher_id is distinct from winners.publisher_id)
                or (lines.tracking_id is distinct from winners.tracking_id)
                or (lines.link_key is distinct from winners.link_key)
                or (lines.clicks_in_window is distinct from winners.clicks_in_window)
                or (lines.first_click_at is distinct from winners.first_click_at)
                or (lines.matched_by is distinct from winners.matched_by))",
    ),
    (
        "rule.commission_rate",
        "with applied as (select * from rule.commission_rate where is_applied)
        select lines.*, applied.*
        from attribution.conversions as lines
        left join applied
            on lines.order_id = applied.order_id
            and lines.line_id = applied.line_id
            and lines.placed_at = applied.placed_at
        where lines.order_date between date '$from' and date '$to'
            and lines.status = 'attributed'
            and (lines.commission_rate <> coalesce(applied.rate, $default_rate)
                or lines.rate_source <> coalesce(applied.scope, 'default'))",
    ),
    (
        "rule.balances",
        "with details as (
            select *
            from report.transaction_details
            where report_date between date '$from' and date '$to'
        ),
        balances as (
            select balances.*
            from rule.balances as balances
            inner join attribution.conversions as lines
                on balances.order_id = lines.order_id
                and balances.line_id = lines.line_id
                and balances.placed_at = lines.placed_at
            where lines.status = 'attributed'
                and local_date(balances.event_at, '$zone') between date '$from' and date '$to'
        )
        select details.*, balances.*
        from details
        full join balances
            on details.order_id = balances.order_id
            and details.line_id = balances.line_id
            and details.placed_at = balances.placed_at
            and details.event_id = balances.event_id
            and details.event_at = balances.event_at
        where details.event_id is null
            or balances.event_id is null
            or details.is_effective <> balances.is_effective
            or details.sale_amount <> balances.sale_amount
            or details.pending_commission <> balances.pending_commission
            or details.approved_commission <> balances.approved_commission",
    ),
    (
        // Of the first dates that were cleaned, the rows before are not in the tables.
        "rule.duplicate_rows",
        "with first_dates as (
            select log, min(dt) + interval '$dedup_days days' as first_dt
            from raw.valid_rows
            group by log
        ),
        by_rule as (
            select log, dt, row_id, count(*) as duplicates
            from rule.duplicate_rows
            where is_duplicate
            group by log, dt, row_id
        ),
        by_table as (
            select log, dt, row_id, count(*) as duplicates
            from clean.rejects
            where reason = 'duplicate'
            group by log, dt, row_id
        )
        select by_rule.*, by_table.*
        from by_rule
        full join by_table
            on by_rule.log = by_table.log
            and by_rule.dt = by_table.dt
            and by_rule.row_id = by_table.row_id
        inner join first_dates
            on first_dates.log = coalesce(by_rule.log, by_table.log)
            and coalesce(by_rule.dt, by_table.dt) >= first_dates.first_dt
        where by_rule.duplicates is distinct from by_table.duplicates",
    ),
];

/// The rules that `rule.winning_click` reads.
const WHOSE: [&str; 3] = ["rule.sightings", "rule.latest_sightings", "rule.whose_click"];

/// The valid rows that the clean tables have: clean rows, and their duplicates.
const VALID_ROWS: &str = "
    select 'clicks' as log, dt, click_id as row_id, 1 as position from clean.clicks
    union all
    select 'orders' as log, dt, event_id as row_id, 1 as position from clean.order_events
    union all
    select log, dt, row_id, 2 as position from clean.rejects where reason = 'duplicate'";

/// Mistakes that somebody could make in a rule: its text, and what stands there instead.
const MISTAKES: [(&str, &str, &str); 25] = [
    ("rule.one_placed_event", "(partition by order_id, line_id", "(partition by order_id"),
    ("rule.one_placed_event", "previous_placed_at < placed_at", "previous_placed_at <= placed_at"),
    ("rule.sightings", "event_type = 'placed' and", "event_type = 'paid' and"),
    ("rule.latest_sightings", "seen_at <= lines", "seen_at < lines"),
    ("rule.latest_sightings", "seen_at >= lines", "seen_at > lines"),
    ("rule.latest_sightings", "buyer_id desc", "buyer_id"),
    ("rule.latest_sightings", "seen_at desc", "seen_at"),
    ("rule.latest_sightings", "where $from_logs", "where not $from_logs"),
    (
        "rule.whose_click",
        "on clicks.buyer_id is null\n        and clicks.visitor_id =",
        "on clicks.visitor_id =",
    ),
    ("rule.whose_click", "clicked_at < identities", "clicked_at <= identities"),
    ("rule.whose_click", "when identified_buyer_id is null and sightings", "when sightings"),
    ("rule.winning_click", "click_id desc\n    )", "click_id\n    )"),
    ("rule.winning_click", "$tie = 'before'", "$tie <> 'before'"),
    ("rule.winning_click", "clicked_at < placed_at", "clicked_at <= placed_at"),
    ("rule.winning_click", "$scope = 'store' and", "$scope = 'store' and not"),
    ("rule.commission_rate", "when 'product' then 1", "when 'product' then 3"),
    ("rule.commission_rate", "store_id is null", "store_id is not null"),
    ("rule.commission_rate", "rates.store_id <> lines.store_id", "rates.store_id = lines.store_id"),
    ("rule.duplicate_rows", ">= dt - cast", "> dt - cast"),
    ("rule.duplicate_rows", "partition by log, row_id", "partition by log, dt, row_id"),
    ("rule.balances", "'refunded' and not is_in_another_currency", "'refunded'"),
    (
        "rule.balances",
        "coalesce(events.original_currency, placed.original_currency)\n                <> placed",
        "coalesce(events.original_currency, '')\n                <> placed",
    ),
    ("rule.balances", "then cast(net_amount", "then -cast(net_amount"),
    ("rule.balances", "cast(greatest(line_amount - refunds, 0)", "cast((line_amount - refunds)"),
    ("rule.balances", "times_completed = 1 and times_cancelled = 0", "times_completed = 1"),
];

/// Which mistakes were noticed so far, in whatever world.
#[derive(Default)]
pub struct Noticed([AtomicBool; MISTAKES.len()]);

impl Noticed {
    /// Makes each mistake that was not noticed yet, and sees whether the rule still agrees.
    pub async fn look(&self, job: &Job, dates: DateRange) -> Result<()> {
        for ((rule, right, wrong), noticed) in MISTAKES.iter().zip(&self.0) {
            if noticed.load(Ordering::Relaxed) {
                continue;
            }
            let text = model::named(rule)?.sql;
            ensure!(text.contains(right), "{rule} has no {right}");
            let overrides = SqlOverrides::from([(*rule, text.replace(right, wrong))]);
            if agree_with(job, dates, overrides).await.is_err() {
                noticed.store(true, Ordering::Relaxed);
            }
        }
        Ok(())
    }

    /// The mistakes that no world showed.
    pub fn missed(&self) -> Vec<&'static str> {
        let missed = MISTAKES.iter().zip(&self.0);
        let missed = missed.filter(|(_, noticed)| !noticed.load(Ordering::Relaxed));
        missed.map(|((_, _, wrong), _)| *wrong).collect()
    }
}

/// Errors: the rows in which a rule and its tables differ, for order and report dates that were made.
pub async fn agree(job: &Job, dates: DateRange) -> Result<()> {
    agree_with(job, dates, SqlOverrides::new()).await
}

async fn agree_with(job: &Job, dates: DateRange, overrides: SqlOverrides) -> Result<()> {
    let (engine, warehouse) = query::session_with(job, overrides).await?;
    let heads = Heads::ask(job).await?;
    Reference::load(job, &warehouse, &heads).await?.register(&engine, &warehouse).await?;
    let valid_rows = engine.read_only(VALID_ROWS).await?;
    let logical = valid_rows.schema().inner().clone();
    let batches = valid_rows.collect().await?;
    let schema = batches.first().map_or(logical, |batch| batch.schema());
    let valid_rows = concat_batches(&schema, &batches)?;
    engine.register_rows("raw.valid_rows", valid_rows).await?;
    let settings = job.attribution();
    let params = attribution_params(&settings);
    for (rule, question) in QUESTIONS {
        if rule == "rule.winning_click" {
            engine.materialise_each(&WHOSE, &params).await?;
        }
        engine.materialise_each(&[rule], &params).await?;
        let millionths = settings.default_rate;
        let default_rate = format!("{}.{:06}", millionths / 1_000_000, millionths % 1_000_000);
        let question = [
            ("$from", dates.from.to_string()),
            ("$to", dates.to.to_string()),
            ("$zone", settings.zone.to_string()),
            ("$default_rate", default_rate),
            ("$dedup_days", settings.reach().dedup_days().to_string()),
        ]
        .iter()
        .fold(question.to_owned(), |text, (name, value)| text.replace(name, value));
        let rows = engine.read_only(&question).await?.collect().await?;
        if rows.iter().any(|batch| batch.num_rows() > 0) {
            bail!("{rule} and its tables differ:\n{}", pretty_format_batches(&rows)?);
        }
    }
    Ok(())
}
