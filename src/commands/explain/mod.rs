//! `lookback explain`: why each line of an order went to its publisher, in words.
//!
//! Registers the rows of one order as tables, runs the plain rules of `sql/rule/` on them with the
//! settings that each line was attributed with, and puts their verdicts into words. Refuses to
//! decide anything itself. Where the rules now give another answer than the tables, it says so.

mod row;
mod words;

use std::collections::BTreeSet;
use std::fmt::Write;

use anyhow::{Context, Result};
use chrono::{DateTime, NaiveDate, TimeDelta, Utc};
use datafusion::common::ScalarValue;

use super::query;
use crate::days::days_since_1970;
use crate::engine::{Engine, Params};
use crate::job::{AttributionSettings, Job};
use crate::lineage;
use crate::model;
use crate::nearest::nearest;
use crate::plan;
use crate::reference::{Heads, Reference};
use crate::run::attribution_params;
use crate::stop::Stop;
use crate::warehouse::{Partition, Warehouse};
use row::{Row, rows};
use words::{
    OUTSIDERS, tell_clicks, tell_movements, tell_orphaned, tell_rate, tell_status, tell_unbooked,
    tell_visitors,
};

/// The rules about an order. Later ones read earlier ones.
const RULES: [&str; 6] = [
    "rule.one_placed_event",
    "rule.latest_sightings",
    "rule.whose_click",
    "rule.winning_click",
    "rule.commission_rate",
    "rule.balances",
];

/// The story of an order, as text. Errors: exit 2 when no table has the order.
pub async fn explain(job: &Job, order_id: &str) -> Result<String, Stop> {
    let (engine, warehouse) = query::session(job).await?;
    let reference = Reference::load(job, &warehouse, &Heads::ask(job).await?).await?;
    reference.register(&engine, &warehouse).await?;
    let story = Story { job, engine, warehouse };
    let order = Params::from([("order", text(order_id))]);
    let lines = story.materialised("explain.order_lines", &order).await?;
    let events = story.materialised("explain.order_events", &order).await?;
    let booked = story.rows("explain.booked", &order).await?;
    let rejects = story.rejects("orders", "event_at", &needle("order_id", order_id)).await?;
    if lines.is_empty() && events.is_empty() && rejects.is_empty() {
        let near = story.nearest_order(order_id).await?;
        let hint = match near {
            Some(near) => format!("is {near} meant?"),
            None => "was its date run? `lookback plan` says what a run would read".to_owned(),
        };
        let nowhere = format!("order {order_id}: is nowhere in {}, attributed or not", job.root);
        return Err(Stop::fix_one(nowhere).hint(hint));
    }
    let mut told = String::new();
    if !lines.is_empty() {
        story.tell_lines(&lines, &events, &booked, &mut told).await?;
    } else if !events.is_empty() {
        let unbooked = story.rows("explain.unbooked", &order).await?;
        tell_orphaned(order_id, &events, &unbooked, &mut told);
    }
    if !rejects.is_empty() {
        let _ = writeln!(told, "rejected events of order {order_id}");
        for words in &rejects {
            let _ = writeln!(told, "{words}");
        }
    }
    Ok(told)
}

struct Story<'a> {
    job: &'a Job,
    engine: Engine,
    warehouse: Warehouse,
}

/// The rules' answers for the lines that were attributed with these settings.
struct Verdicts {
    settings: AttributionSettings,
    placed: Vec<Row>,
    /// For each line and visitor the sighting that decides (C7).
    latest_sightings: Vec<Row>,
    clicks: Vec<Row>,
    rates: Vec<Row>,
    balances: Vec<Row>,
}

impl Story<'_> {
    async fn rows(&self, model: &str, params: &Params) -> Result<Vec<Row>> {
        Ok(rows(self.engine.collect(model::named(model)?, params).await?))
    }

    /// The same, and registers the rows as a table.
    async fn materialised(&self, name: &str, params: &Params) -> Result<Vec<Row>> {
        self.engine.materialise(model::named(name)?, params).await?;
        Ok(rows(self.engine.table(name).await?.collect().await?))
    }

    async fn tell_lines(
        &self,
        lines: &[Row],
        events: &[Row],
        booked: &[Row],
        told: &mut String,
    ) -> Result<()> {
        let settings =
            lines.iter().map(|line| self.settings_of(line)).collect::<Result<Vec<_>>>()?;
        // Two windows back and one window ahead.
        let window = settings.iter().map(|settings| settings.window_hours).max().unwrap_or(0);
        let window = TimeDelta::hours(window);
        let placed = || lines.iter().filter_map(|line| line.instant("placed_at"));
        let (first, last) = (placed().min(), placed().max());
        if let Some((first, last)) = first.zip(last) {
            let from_logs = settings.iter().any(|settings| settings.from_logs);
            let params = Params::from([
                ("from", instant(first - window * 2)),
                ("to", instant(last + window)),
                ("from_logs", ScalarValue::Boolean(Some(from_logs))),
            ]);
            let own = ["explain.visitors", "explain.clicks", "explain.visitor_orders"];
            self.engine.materialise_each(&own, &params).await?;
        }
        // From here on these tables, and so the rules, hold what bears on this order only. Other
        // orders are sightings, and nothing else.
        self.engine.register_as("clean.clicks", "explain.clicks")?;
        self.engine.register_as("clean.order_events", "explain.visitor_orders")?;
        let sightings = self.materialised("rule.sightings", &Params::new()).await?;
        self.engine.register_as("clean.order_events", "explain.order_events")?;
        self.engine.register_as("attribution.conversions", "explain.order_lines")?;
        let mut verdicts: Vec<Verdicts> = Vec::new();
        for settings in settings.iter().copied() {
            if verdicts.iter().all(|known| known.settings != settings) {
                verdicts.push(self.verdicts(settings).await?);
            }
        }
        let memberships = self.rows("explain.memberships", &Params::new()).await?;
        let reported = plan::reported(&self.warehouse)?;
        let mut earlier: Option<&Row> = None;
        for (line, settings) in lines.iter().zip(settings) {
            let verdicts = verdicts.iter().find(|known| known.settings == settings);
            let verdicts = verdicts.context("a line without verdicts")?;
            let _ = writeln!(
                told,
                "order {} line {}: {} {} in store {}, placed {} by {}",
                line.get("order_id"),
                line.get("line_id"),
                line.get("amount"),
                self.job.currency,
                line.get("store_id"),
                line.time("placed_at"),
                line.get("buyer_id"),
            );
            tell_status(line, verdicts, &memberships, told);
            self.tell_clicks_of(line, earlier, verdicts, &sightings, told).await?;
            tell_rate(line, verdicts, told);
            tell_movements(line, verdicts, booked, &reported, told);
            earlier = Some(line);
        }
        tell_unbooked(events, &verdicts, told);
        Ok(())
    }

    /// The order that was probably meant.
    async fn nearest_order(&self, order_id: &str) -> Result<Option<String>> {
        // A slip in one half leaves the other as it is.
        let letters: Vec<char> = order_id.chars().collect();
        let (begin, end) = letters.split_at(letters.len() / 2);
        let (begin, end): (String, String) = (begin.iter().collect(), end.iter().collect());
        let params = Params::from([("begin", text(&begin)), ("end", text(&end))]);
        let alike = self.rows("explain.orders_like", &params).await?;
        let alike: Vec<String> = alike.iter().map(|row| row.get("order_id")).collect();
        Ok(nearest(order_id, alike.iter().map(String::as_str)).map(str::to_owned))
    }

    /// The settings that a line was attributed with: those stored with its order date, else those
    /// of the job file.
    fn settings_of(&self, line: &Row) -> Result<AttributionSettings> {
        let order_date = line.date("order_date").context("a line without an order date")?;
        let conversions = self.warehouse.table("attribution.conversions")?;
        let made = conversions.lineage(&Partition::of(order_date));
        Ok(made.and_then(lineage::settings).unwrap_or_else(|| self.job.attribution()))
    }

    async fn verdicts(&self, settings: AttributionSettings) -> Result<Verdicts> {
        let params = attribution_params(&settings);
        let [placed, latest_sightings, whose, clicks, rates, balances] = RULES;
        let placed = self.materialised(placed, &params).await?;
        let latest_sightings = self.materialised(latest_sightings, &params).await?;
        self.materialised(whose, &params).await?;
        Ok(Verdicts {
            settings,
            placed,
            latest_sightings,
            clicks: self.rows(clicks, &params).await?,
            rates: self.rows(rates, &params).await?,
            balances: self.rows(balances, &params).await?,
        })
    }

    async fn tell_clicks_of(
        &self,
        line: &Row,
        earlier: Option<&Row>,
        verdicts: &Verdicts,
        sightings: &[Row],
        told: &mut String,
    ) -> Result<()> {
        let settings = &verdicts.settings;
        if *settings != self.job.attribution() {
            let _ = writeln!(told, "  attributed with the settings of then: {settings}");
        }
        // Lines of one order mostly share their clicks, which are told once.
        let shared = ["buyer_id", "store_id", "placed_at", "status", "click_id"];
        match earlier.filter(|other| shared.iter().all(|name| other.get(name) == line.get(name))) {
            Some(other) => {
                let _ = writeln!(told, "  clicks: as for line {}", other.get("line_id"));
            }
            None => {
                tell_clicks(line, verdicts, told);
                tell_visitors(line, verdicts, sightings, told);
                self.tell_rejected(line, told).await?;
            }
        }
        Ok(())
    }

    async fn tell_rejected(&self, line: &Row, told: &mut String) -> Result<()> {
        let buyer = line.get("buyer_id");
        let mut needles = vec![needle("buyer_id", &buyer)];
        let visitors = rows(self.engine.table("explain.visitors").await?.collect().await?);
        for visitor in visitors.iter().filter(|visitor| visitor.get("buyer_id") == buyer) {
            needles.push(needle("visitor_id", &visitor.get("visitor_id")));
        }
        let mut seen = BTreeSet::new();
        for needle in needles {
            seen.extend(self.rejects("clicks", "clicked_at", &needle).await?);
        }
        for words in seen.iter().take(OUTSIDERS) {
            let _ = writeln!(told, "{words}");
        }
        if seen.len() > OUTSIDERS {
            let _ = writeln!(told, "    and {} more that were rejected", seen.len() - OUTSIDERS);
        }
        Ok(())
    }

    /// Describes the rejected rows of a log whose record contains `needle`.
    async fn rejects(&self, log: &str, time: &str, needle: &str) -> Result<BTreeSet<String>> {
        let params = Params::from([("log", text(log)), ("needle", text(needle))]);
        let mut seen = BTreeSet::new();
        for reject in self.rows("explain.rejected_rows", &params).await? {
            let record: serde_json::Value = serde_json::from_str(&reject.get("record"))?;
            // Where the log has other names, what was read in the row is apart.
            let read = record.get("lookback").filter(|read| read.is_object()).unwrap_or(&record);
            let at = read.get(time).and_then(|at| at.as_str()).unwrap_or("no time");
            let (id, mut reason) = (reject.get("row_id"), reject.get("reason"));
            let dt = reject.date("dt").context("a rejected row without a date")?;
            if reason == "duplicate"
                && seen.len() < OUTSIDERS
                && let Some(original) = self.repeated_date(log, &id, dt).await?
            {
                let _ = write!(reason, " of a row that landed {original}");
            }
            seen.insert(format!("    {at:<27}  {id}  rejected: {reason} (landed {dt})"));
        }
        Ok(seen)
    }

    /// The date on which the row landed that a duplicate repeats.
    async fn repeated_date(&self, log: &str, id: &str, dt: NaiveDate) -> Result<Option<String>> {
        let settings = self.job.attribution();
        let first = settings.reach().before_landing(dt).from;
        let mut params = attribution_params(&settings);
        params.extend([
            ("log", text(log)),
            ("row_id", text(id)),
            ("first_dt", date(first)),
            ("last_dt", date(dt)),
        ]);
        self.materialised("explain.valid_rows", &params).await?;
        self.engine.register_as("raw.valid_rows", "explain.valid_rows")?;
        let rows = self.rows("rule.duplicate_rows", &params).await?;
        let is_it = |row: &&Row| row.date("dt") == Some(dt) && row.get("is_duplicate") == "true";
        Ok(rows.iter().find(is_it).map(|row| row.get("previous_dt")))
    }
}

fn text(text: &str) -> ScalarValue {
    ScalarValue::Utf8(Some(text.to_owned()))
}

fn instant(time: DateTime<Utc>) -> ScalarValue {
    ScalarValue::TimestampMicrosecond(Some(time.timestamp_micros()), Some("UTC".into()))
}

fn date(date: NaiveDate) -> ScalarValue {
    ScalarValue::Date32(Some(days_since_1970(date)))
}

/// A column and its value as a record's JSON has them.
fn needle(column: &str, value: &str) -> String {
    format!("\"{column}\":{}", serde_json::Value::from(value))
}
