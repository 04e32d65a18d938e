//! `lookback explain`: why each line of an order went to its publisher, in words.
//!
//! Reads what the job wrote, and tells of every click of the buyer why it won or lost. Refuses to
//! decide anything: the verdicts are those in the tables.

use std::collections::BTreeSet;
use std::fmt::Write;

use anyhow::Result;
use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::TimestampMicrosecondType;
use arrow::util::display::array_value_to_string;
use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use datafusion::common::ScalarValue;

use crate::engine::{Engine, Params};
use crate::job::{Job, Scope, Tie};
use crate::model;
use crate::query;
use crate::reference::Reference;
use crate::stop::Stop;

/// How many clicks are listed that were candidates, and how many that were not.
const CANDIDATES: usize = 30;
const OUTSIDERS: usize = 10;

/// The story of an order. Errors: exit 2 when the order is nowhere.
pub async fn explain(job: &Job, order_id: &str) -> Result<String, Stop> {
    let (engine, _) = query::session(job).await?;
    let reference = Reference::load(job).await?;
    for (name, batch) in &reference.tables {
        engine.register_rows(&format!("reference.{name}"), batch.clone()).await?;
    }
    let story = Story { job, engine };
    let order = Params::from([("order", text(order_id))]);
    let lines = story.rows("explain.order_lines", &order).await?;
    let events = story.rows("explain.order_events", &order).await?;
    let rejects = story.rejects("orders", "event_at", &needle("order_id", order_id)).await?;
    if lines.is_empty() && events.is_empty() && rejects.is_empty() {
        return Err(Stop::fix_one(format!(
            "order {order_id}: is nowhere in {}, attributed or not",
            job.root
        ))
        .hint("was its date run? `lookback plan` says what a run would read"));
    }
    let mut told = String::new();
    let mut earlier: Option<&Row> = None;
    for line in &lines {
        story.tell_line(line, earlier, &mut told).await?;
        tell_events(line, &events, &mut told);
        earlier = Some(line);
    }
    if lines.is_empty() && !events.is_empty() {
        let _ = writeln!(
            told,
            "order {order_id} has events, but none of its dates has conversions: its placed event \
             has not landed, was rejected, repeats an earlier one, or its date was not run"
        );
        for event in &events {
            let _ = writeln!(
                told,
                "  {} {} ({})",
                event.time("event_at"),
                event.get("event_type"),
                event.get("event_id")
            );
        }
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
}

impl Story<'_> {
    async fn rows(&self, model: &str, params: &Params) -> Result<Vec<Row>> {
        let batches = self.engine.collect(model::named(model)?, params).await?;
        let rows = batches.into_iter().flat_map(|batch| {
            (0..batch.num_rows()).map(move |row| Row { batch: batch.clone(), row })
        });
        Ok(rows.collect())
    }

    async fn tell_line(&self, line: &Row, earlier: Option<&Row>, told: &mut String) -> Result<()> {
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
        match line.get("status").as_str() {
            "attributed" => {
                let _ = writeln!(
                    told,
                    "  attributed to {} (tracking {}): click {} won, {} before the order",
                    line.get("publisher_id"),
                    line.get("tracking_id"),
                    line.get("click_id"),
                    apart(line.instant("clicked_at"), line.instant("placed_at")),
                );
            }
            "store_not_joined" => {
                let _ = writeln!(
                    told,
                    "  not attributed: the store was no member of the program at that moment"
                );
            }
            _ => {
                let _ = writeln!(
                    told,
                    "  not attributed: no click of the buyer in the {} hours before",
                    self.job.window_hours
                );
            }
        }
        // Lines of one order mostly share the story of their clicks: it is told once.
        let shared = ["buyer_id", "store_id", "placed_at", "status", "click_id"];
        match earlier.filter(|other| shared.iter().all(|name| other.get(name) == line.get(name))) {
            Some(other) => {
                let _ = writeln!(told, "  clicks: as for line {}", other.get("line_id"));
            }
            None => {
                self.tell_clicks(line, told).await?;
                self.tell_rejected(line, told).await?;
            }
        }
        self.tell_rate(line, told).await
    }

    async fn tell_clicks(&self, line: &Row, told: &mut String) -> Result<()> {
        let Some(placed_at) = line.instant("placed_at") else { return Ok(()) };
        let window = TimeDelta::hours(self.job.window_hours);
        // As far on either side as the window is long.
        let params = Params::from([
            ("buyer", text(&line.get("buyer_id"))),
            ("from", instant(placed_at - window * 2)),
            ("to", instant(placed_at + window)),
        ]);
        let clicks = self.rows("explain.buyer_clicks", &params).await?;
        let _ = writeln!(
            told,
            "  clicks of {} ({} hours back to {} hours after the order)",
            line.get("buyer_id"),
            self.job.window_hours * 2,
            self.job.window_hours
        );
        if clicks.is_empty() {
            let _ = writeln!(told, "    none");
        }
        let verdicts = clicks.iter().map(|click| (click, self.verdict(line, click, placed_at)));
        let (candidates, mut outsiders): (Vec<_>, Vec<_>) =
            verdicts.partition(|(_, verdict)| verdict.is_candidate);
        // Of those that were no candidates, the ones closest to the order tell most.
        outsiders
            .sort_by_key(|(click, _)| click.instant("clicked_at").map(|at| (at - placed_at).abs()));
        for (listed, most, kind) in [
            (candidates, CANDIDATES, "candidates"),
            (outsiders, OUTSIDERS, "that were no candidates"),
        ] {
            for (click, verdict) in listed.iter().take(most) {
                let _ = writeln!(
                    told,
                    "    {:<27}  {}  {}  {}",
                    click.time("clicked_at"),
                    click.get("click_id"),
                    click.get("publisher_id"),
                    verdict.words
                );
            }
            if listed.len() > most {
                let _ = writeln!(told, "    and {} more {kind}", listed.len() - most);
            }
        }
        Ok(())
    }

    fn verdict(&self, line: &Row, click: &Row, placed_at: DateTime<Utc>) -> Verdict {
        let window = TimeDelta::hours(self.job.window_hours);
        let clicked_at = click.instant("clicked_at").unwrap_or(placed_at);
        let no_candidate = |words: String| Verdict { is_candidate: false, words };
        if clicked_at > placed_at {
            let after = apart(Some(placed_at), Some(clicked_at));
            return no_candidate(format!("lost: {after} after the order"));
        }
        if clicked_at == placed_at && self.job.tie == Tie::Before {
            return no_candidate("lost: at the very instant of the order".to_owned());
        }
        if placed_at - clicked_at > window {
            let beyond = in_words(placed_at - clicked_at - window);
            return no_candidate(format!("lost: out of the window by {beyond}"));
        }
        if self.job.scope == Scope::Store && click.get("store_id") != line.get("store_id") {
            let other = click.get("store_id");
            return no_candidate(format!("lost: landed on another store ({other})"));
        }
        let is_candidate = true;
        if line.get("status") == "store_not_joined" {
            let words = "would have counted, had the store been a member".to_owned();
            return Verdict { is_candidate, words };
        }
        let won = click.get("click_id") == line.get("click_id")
            && click.instant("clicked_at") == line.instant("clicked_at");
        let words = match won {
            true => "won: the latest click before the order".to_owned(),
            false if click.instant("clicked_at") == line.instant("clicked_at") => {
                "lost: same instant as the winner, smaller id".to_owned()
            }
            false => {
                let older = apart(click.instant("clicked_at"), line.instant("clicked_at"));
                format!("lost: {older} older than the winner")
            }
        };
        Verdict { is_candidate, words }
    }

    async fn tell_rejected(&self, line: &Row, told: &mut String) -> Result<()> {
        let buyer = line.get("buyer_id");
        let mut needles = vec![needle("buyer_id", &buyer)];
        let params = Params::from([("buyer", text(&buyer))]);
        for visitor in self.rows("explain.buyer_visitors", &params).await? {
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

    /// Rejected rows of a log that hold the needle, in words.
    async fn rejects(&self, log: &str, time: &str, needle: &str) -> Result<BTreeSet<String>> {
        let params = Params::from([("log", text(log)), ("needle", text(needle))]);
        let mut seen = BTreeSet::new();
        for reject in self.rows("explain.rejected_rows", &params).await? {
            let record: serde_json::Value = serde_json::from_str(&reject.get("record"))?;
            let at = record.get(time).and_then(|at| at.as_str()).unwrap_or("no time");
            let (id, reason, dt) = (reject.get("row_id"), reject.get("reason"), reject.get("dt"));
            seen.insert(format!("    {at:<27}  {id}  rejected: {reason} (landed {dt})"));
        }
        Ok(seen)
    }

    async fn tell_rate(&self, line: &Row, told: &mut String) -> Result<()> {
        if line.get("status") != "attributed" {
            return Ok(());
        }
        let _ =
            writeln!(told, "  rate {} ({})", line.get("commission_rate"), line.get("rate_source"));
        let params = Params::from([
            ("product", text(&line.get("product_id"))),
            ("category", text(&line.get("category_id"))),
            ("store", text(&line.get("store_id"))),
        ]);
        let placed_at = line.instant("placed_at");
        let mut is_found = false;
        for rate in self.rows("explain.rates", &params).await? {
            let only_store = rate.get("store_id");
            let verdict = if only_store != NONE && only_store != line.get("store_id") {
                format!("for store {only_store} only")
            } else if rate.instant("valid_from").is_some_and(|from| placed_at < Some(from)) {
                format!("not before {}", rate.time("valid_from"))
            } else if rate.instant("valid_to").is_some_and(|to| placed_at >= Some(to)) {
                format!("no longer since {}", rate.time("valid_to"))
            } else if is_found {
                "in force, but a narrower one goes before".to_owned()
            } else {
                is_found = true;
                "in force: this one".to_owned()
            };
            let _ = writeln!(
                told,
                "    {} {}: {}  {verdict}",
                rate.get("scope"),
                rate.get("scope_id"),
                rate.get("rate")
            );
        }
        if !is_found {
            let _ = writeln!(told, "    no rate covers it: the job's default");
        }
        Ok(())
    }
}

struct Verdict {
    is_candidate: bool,
    words: String,
}

fn tell_events(line: &Row, events: &[Row], told: &mut String) {
    let _ = writeln!(told, "  movements");
    for event in events.iter().filter(|event| event.get("line_id") == line.get("line_id")) {
        let booked = match event.get("is_effective").as_str() {
            "true" => format!(
                "sale {:>10}  pending {:>8}  approved {:>8}",
                event.get("sale_amount"),
                event.get("pending_commission"),
                event.get("approved_commission")
            ),
            "false" => "no effect".to_owned(),
            _ => "not booked in the ledger".to_owned(),
        };
        let _ = writeln!(
            told,
            "    {}  {:<10}{booked}",
            event.time("event_at"),
            event.get("event_type")
        );
    }
    let _ = writeln!(told);
}

/// How a null reads.
const NONE: &str = "(none)";

/// One row of an answer.
struct Row {
    batch: RecordBatch,
    row: usize,
}

impl Row {
    fn get(&self, column: &str) -> String {
        match self.batch.column_by_name(column) {
            Some(values) if values.is_valid(self.row) => {
                array_value_to_string(values, self.row).unwrap_or_default()
            }
            _ => NONE.to_owned(),
        }
    }

    fn instant(&self, column: &str) -> Option<DateTime<Utc>> {
        let values = self.batch.column_by_name(column)?;
        let micros = values.as_primitive_opt::<TimestampMicrosecondType>()?;
        let micros = micros.is_valid(self.row).then(|| micros.value(self.row))?;
        DateTime::from_timestamp_micros(micros)
    }

    fn time(&self, column: &str) -> String {
        match self.instant(column) {
            Some(time) => time.to_rfc3339_opts(SecondsFormat::AutoSi, true),
            None => NONE.to_owned(),
        }
    }
}

fn text(text: &str) -> ScalarValue {
    ScalarValue::Utf8(Some(text.to_owned()))
}

fn instant(time: DateTime<Utc>) -> ScalarValue {
    ScalarValue::TimestampMicrosecond(Some(time.timestamp_micros()), Some("UTC".into()))
}

/// How a value stands in a record's JSON.
fn needle(column: &str, value: &str) -> String {
    format!("\"{column}\":{}", serde_json::Value::from(value))
}

fn apart(earlier: Option<DateTime<Utc>>, later: Option<DateTime<Utc>>) -> String {
    match earlier.zip(later) {
        Some((earlier, later)) => in_words(later - earlier),
        None => NONE.to_owned(),
    }
}

/// "3 days 4 h", "4 h 12 min", "12 min 5 s", "0.000001 s".
fn in_words(duration: TimeDelta) -> String {
    let (days, hours) = (duration.num_days(), duration.num_hours() % 24);
    let (minutes, seconds) = (duration.num_minutes() % 60, duration.num_seconds() % 60);
    if days > 0 {
        let noun = if days == 1 { "day" } else { "days" };
        format!("{days} {noun} {hours} h")
    } else if hours > 0 {
        format!("{hours} h {minutes} min")
    } else if minutes > 0 {
        format!("{minutes} min {seconds} s")
    } else {
        format!("{} s", duration.num_microseconds().unwrap_or(0) as f64 / 1e6)
    }
}
