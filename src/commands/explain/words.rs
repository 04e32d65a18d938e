//! Verdicts of the rules, in words.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use chrono::{DateTime, NaiveDate, TimeDelta, Utc};

use super::Verdicts;
use super::row::{NONE, Row};
use crate::days::local_date;
use crate::job::AttributionSettings;

/// How many candidates are listed, and how many other clicks.
const CANDIDATES: usize = 30;
pub const OUTSIDERS: usize = 10;

/// Writes whether a line is attributed, and why not.
pub fn tell_status(line: &Row, verdicts: &Verdicts, memberships: &[Row], told: &mut String) {
    let words = match line.get("status").as_str() {
        "attributed" => format!(
            "attributed to {} (tracking {}): click {} won, {} before the order",
            line.get("publisher_id"),
            line.get("tracking_id"),
            line.get("click_id"),
            apart(line.instant("clicked_at"), line.instant("placed_at")),
        ),
        "store_not_joined" => {
            format!("not attributed: {}", no_member(line, memberships))
        }
        _ => format!(
            "not attributed: no click of the buyer in the {} hours before",
            verdicts.settings.window_hours
        ),
    };
    let _ = writeln!(told, "  {words}");
}

/// Why a line's store was no member, as the table of stores is now (A3).
fn no_member(line: &Row, memberships: &[Row]) -> String {
    let store = line.get("store_id");
    let of_store = memberships.iter().filter(|row| row.get("store_id") == store);
    let ends = |row: &Row| (row.instant("joined_at"), row.instant("left_at"));
    let spans: Vec<String> = of_store
        .map(|row| match ends(row) {
            (None, None) => "at all times".to_owned(),
            (Some(_), None) => format!("since {}", row.time("joined_at")),
            (None, Some(_)) => format!("until {}", row.time("left_at")),
            _ => format!("from {} until {}", row.time("joined_at"), row.time("left_at")),
        })
        .collect();
    match spans.is_empty() {
        true => format!("store {store} is not in the table of stores"),
        false => format!(
            "the store was no member of the program at that moment, but is {}",
            spans.join(", and ")
        ),
    }
}

pub fn tell_clicks(line: &Row, verdicts: &Verdicts, told: &mut String) {
    let window = verdicts.settings.window_hours;
    let _ = writeln!(
        told,
        "  clicks of {} ({} hours back to {window} hours after the order)",
        line.get("buyer_id"),
        window * 2,
    );
    let Some(placed_at) = line.instant("placed_at") else { return };
    let range = placed_at - TimeDelta::hours(window * 2)..placed_at + TimeDelta::hours(window);
    let clicks: Vec<&Row> = (verdicts.clicks.iter())
        .filter(|click| click.is_of(line))
        .filter(|click| click.instant("clicked_at").is_some_and(|at| range.contains(&at)))
        .collect();
    if clicks.is_empty() {
        let _ = writeln!(told, "    none");
    }
    let winner = clicks.iter().find(|click| click.get("is_winner") == "true");
    let (candidates, mut outsiders): (Vec<&Row>, Vec<&Row>) =
        clicks.iter().partition(|click| click.get("verdict") == "candidate");
    // The clicks closest to the order explain most.
    outsiders.sort_by_key(|click| click.instant("clicked_at").map(|at| (at - placed_at).abs()));
    for (listed, most, kind) in
        [(candidates, CANDIDATES, "candidates"), (outsiders, OUTSIDERS, "that were no candidates")]
    {
        for click in listed.iter().take(most) {
            let _ = writeln!(
                told,
                "    {:<27}  {}  {}  {}{}",
                click.time("clicked_at"),
                click.get("click_id"),
                click.get("publisher_id"),
                verdict_in_words(line, click, winner.copied(), &verdicts.settings),
                match_in_words(line, click),
            );
        }
        if listed.len() > most {
            let _ = writeln!(told, "    and {} more {kind}", listed.len() - most);
        }
    }
    let is_stored = match (winner, line.get("status").as_str()) {
        (_, "store_not_joined") => true,
        (Some(winner), _) => winner.get("click_id") == line.get("click_id"),
        (None, status) => status == "no_click",
    };
    if !is_stored {
        let now = winner
            .map_or("no click".to_owned(), |click| format!("click {}", click.get("click_id")));
        let _ = writeln!(
            told,
            "  note: by the rows that are there now {now} wins; the tables were made from other \
             rows, so backfill {}",
            line.get("order_date")
        );
    }
}

/// How `rule.whose_click` knows that a click is the buyer's, in words. Nothing for a click that says
/// so itself.
fn match_in_words(line: &Row, click: &Row) -> String {
    let seen_at = click.instant("seen_at");
    let how = match (click.get("matched_by").as_str(), click.get("seen_by").as_str()) {
        ("identities", _) => "identities".to_owned(),
        ("logs", "order") if seen_at == line.instant("placed_at") => "the order itself".to_owned(),
        ("logs", kind) => {
            let when = if seen_at > click.instant("clicked_at") { "a later" } else { "an earlier" };
            let kind = if kind == "order" { "order" } else { "login, click" };
            let (id, at) = (click.get("seen_row_id"), click.time("seen_at"));
            format!("{when} {kind} {id} at {at}")
        }
        _ => return String::new(),
    };
    let visitor = click.get("visitor_id");
    format!("; anonymous click of visitor {visitor}, whose it is by {how}")
}

/// Tells who else was seen with the visitors of the buyer, up to the order.
pub fn tell_visitors(line: &Row, verdicts: &Verdicts, sightings: &[Row], told: &mut String) {
    let buyer = line.get("buyer_id");
    let is_of_buyer = |visitor: &str| {
        let is_seen = |row: &Row| row.get("visitor_id") == visitor && row.get("buyer_id") == buyer;
        let is_clicked = |row: &Row| row.is_of(line) && row.get("visitor_id") == visitor;
        sightings.iter().any(is_seen) || verdicts.clicks.iter().any(is_clicked)
    };
    // The latest sighting of each visitor with each other buyer.
    let mut others: BTreeMap<(String, String), &Row> = BTreeMap::new();
    for row in sightings.iter().filter(|row| row.get("buyer_id") != buyer) {
        if row.instant("seen_at") <= line.instant("placed_at") {
            let latest = others.entry((row.get("visitor_id"), row.get("buyer_id"))).or_insert(row);
            if row.instant("seen_at") > latest.instant("seen_at") {
                *latest = row;
            }
        }
    }
    others.retain(|(visitor, _), _| is_of_buyer(visitor));
    for ((visitor, other), row) in others.iter().take(OUTSIDERS) {
        let is_deciding = |latest: &&Row| {
            latest.is_of(line)
                && latest.get("visitor_id") == *visitor
                && latest.get("buyer_id") == *other
        };
        let what = match verdicts.latest_sightings.iter().find(is_deciding) {
            Some(_) => "was last seen with",
            None => "was also seen with",
        };
        let (kind, id, at) = (row.get("seen_by"), row.get("row_id"), row.time("seen_at"));
        let _ = writeln!(told, "    visitor {visitor} {what} {other} ({kind} {id} at {at})");
    }
    if others.len() > OUTSIDERS {
        let more = others.len() - OUTSIDERS;
        let _ = writeln!(told, "    and {more} more buyers seen with these visitors");
    }
}

/// A verdict of `rule.winning_click`, in words.
fn verdict_in_words(
    line: &Row,
    click: &Row,
    winner: Option<&Row>,
    settings: &AttributionSettings,
) -> String {
    let (clicked_at, placed_at) = (click.instant("clicked_at"), line.instant("placed_at"));
    match click.get("verdict").as_str() {
        "after the order" => format!("lost: {} after the order", apart(placed_at, clicked_at)),
        "at the order" => "lost: at the very instant of the order".to_owned(),
        "out of the window" => {
            let opened = placed_at.map(|at| at - TimeDelta::hours(settings.window_hours));
            format!("lost: out of the window by {}", apart(clicked_at, opened))
        }
        "another store" => format!("lost: landed on another store ({})", click.get("store_id")),
        _ if line.get("status") == "store_not_joined" => {
            "would have counted if the store had been a member".to_owned()
        }
        _ if click.get("is_winner") == "true" => {
            "won: the latest click before the order".to_owned()
        }
        _ => match winner.and_then(|winner| winner.instant("clicked_at")) {
            at if at == clicked_at => "lost: same instant as the winner, smaller id".to_owned(),
            at => format!("lost: {} older than the winner", apart(clicked_at, at)),
        },
    }
}

pub fn tell_rate(line: &Row, verdicts: &Verdicts, told: &mut String) {
    if line.get("status") != "attributed" {
        return;
    }
    let _ = writeln!(told, "  rate {} ({})", line.get("commission_rate"), line.get("rate_source"));
    let mut applied = None;
    for rate in verdicts.rates.iter().filter(|rate| rate.is_of(line)) {
        let verdict = match rate.get("verdict").as_str() {
            "another store" => format!("for store {} only", rate.get("store_id")),
            "not yet" => format!("not before {}", rate.time("valid_from")),
            "no longer" => format!("no longer since {}", rate.time("valid_to")),
            _ if rate.get("is_applied") == "true" => {
                applied = Some(rate.get("rate"));
                "in force: this one".to_owned()
            }
            _ => "in force, but a narrower one goes before".to_owned(),
        };
        let (scope, scope_id) = (rate.get("scope"), rate.get("scope_id"));
        let _ = writeln!(told, "    {scope} {scope_id}: {}  {verdict}", rate.get("rate"));
    }
    let is_default = line.get("rate_source") == "default";
    if applied.is_none() {
        let _ = writeln!(told, "    no rate covers it: the job's default");
    }
    let is_stored = match &applied {
        Some(rate) => *rate == line.get("commission_rate"),
        None => is_default,
    };
    if !is_stored {
        let _ = writeln!(
            told,
            "  note: today's rates differ from those that the line was made with; backfill {}",
            line.get("order_date")
        );
    }
}

/// `reported` are the dates that have reports.
pub fn tell_movements(
    line: &Row,
    verdicts: &Verdicts,
    booked: &[Row],
    reported: &BTreeSet<NaiveDate>,
    told: &mut String,
) {
    let _ = writeln!(told, "  movements");
    for event in verdicts.balances.iter().filter(|event| event.is_of(line)) {
        let same = ["line_id", "placed_at", "event_id", "event_at"];
        let entry =
            booked.iter().find(|row| same.iter().all(|name| row.get(name) == event.get(name)));
        let amounts = |row: &Row| match row.get("is_effective").as_str() {
            "true" => format!(
                "sale {:>10}  pending {:>8}  approved {:>8}",
                row.get("sale_amount"),
                row.get("pending_commission"),
                row.get("approved_commission")
            ),
            _ => format!("no effect: {}", why_not(event)),
        };
        let words = match entry {
            None if line.get("status") != "attributed" => {
                "not in the ledger: the line is not attributed".to_owned()
            }
            None => {
                let at = event.instant("event_at");
                not_booked(at.map(|at| local_date(at, verdicts.settings.zone)), reported)
            }
            Some(entry) if amounts(entry) == amounts(event) => amounts(entry),
            Some(entry) => format!("{}  (now: {})", amounts(entry), amounts(event)),
        };
        let (at, kind) = (event.time("event_at"), event.get("event_type"));
        let _ = writeln!(told, "    {at}  {kind:<10}{words}");
    }
    let _ = writeln!(told);
}

/// Why the ledger has no entry of an event of this date.
fn not_booked(date: Option<NaiveDate>, reported: &BTreeSet<NaiveDate>) -> String {
    match date {
        Some(date) if reported.contains(&date) => {
            format!("not booked: the reports of {date} are older than these rows; backfill {date}")
        }
        Some(date) => format!("not booked yet: {date} has no reports"),
        None => "not booked in the ledger".to_owned(),
    }
}

/// Why an event of a line changes nothing (M1 to M5).
fn why_not(event: &Row) -> String {
    let kind = event.get("event_type");
    match event.get("verdict").as_str() {
        "another currency" => format!(
            "it is in {}, and the line is in {}",
            event.get("original_currency"),
            event.get("line_currency")
        ),
        "nothing left" => "nothing is left to give back".to_owned(),
        "not the first" => format!("the line was {kind} before"),
        "completed before" => "the line was completed before".to_owned(),
        "cancelled before" => "the line was cancelled before".to_owned(),
        // The ledger differs from the rules, which say that the event has an effect.
        _ => "by the ledger".to_owned(),
    }
}

/// Writes the events that belong to no line above, and why.
pub fn tell_unbooked(events: &[Row], verdicts: &[Verdicts], told: &mut String) {
    let same = ["line_id", "event_id", "event_at"];
    let is_same = |one: &Row, other: &Row| same.iter().all(|name| one.get(name) == other.get(name));
    let balances = || verdicts.iter().flat_map(|verdicts| &verdicts.balances);
    let placed = || verdicts.iter().flat_map(|verdicts| &verdicts.placed);
    let unbooked = events.iter().filter(|event| balances().all(|row| !is_same(row, event)));
    for (position, event) in unbooked.enumerate() {
        if position == 0 {
            let _ = writeln!(told, "events that move nothing");
        }
        let id = event.get("event_id");
        let repeats =
            placed().find(|row| row.get("event_id") == id && row.get("is_counting") == "false");
        let why = match (event.get("event_type").as_str(), repeats) {
            ("placed", Some(row)) => format!(
                "repeats {}, placed {}",
                row.get("previous_event_id"),
                row.time("previous_placed_at")
            ),
            ("placed", None) => "its date has no conversions: was it run?".to_owned(),
            _ => "no placed event of its line counts at or before it within the horizon".to_owned(),
        };
        let (at, kind) = (event.time("event_at"), event.get("event_type"));
        let _ = writeln!(told, "    {at}  {kind:<10}line {} ({id}): {why}", event.get("line_id"));
    }
}

/// Writes the events of an order without any line that counts, and what became of them.
pub fn tell_orphaned(order_id: &str, events: &[Row], unbooked: &[Row], told: &mut String) {
    let _ = writeln!(
        told,
        "order {order_id} has events, but none of its dates has conversions: its placed event has \
         not landed, was rejected, repeats an earlier one, or its date was not run"
    );
    let same = ["line_id", "event_id", "event_at"];
    for event in events {
        let row =
            unbooked.iter().find(|row| same.iter().all(|name| row.get(name) == event.get(name)));
        let fate = match row.map(|row| (row.get("why"), row.get("report_date"))) {
            None => "no report has it: its date was not run".to_owned(),
            Some((why, date)) if why == "repetition" => {
                format!("moved nothing on {date}: it repeats an earlier placed event of its line")
            }
            Some((_, date)) => format!(
                "moved nothing on {date}: no placed event of its line counted at or before it \
                 within the horizon"
            ),
        };
        let (at, kind) = (event.time("event_at"), event.get("event_type"));
        let (line, id) = (event.get("line_id"), event.get("event_id"));
        let _ = writeln!(told, "  {at}  {kind:<10}line {line} ({id}): {fate}");
    }
}

pub fn apart(earlier: Option<DateTime<Utc>>, later: Option<DateTime<Utc>>) -> String {
    match earlier.zip(later) {
        Some((earlier, later)) => spelled_out(later - earlier),
        None => NONE.to_owned(),
    }
}

/// "3 days 4 h", "4 h 12 min", "12 min 5 s", "0.000001 s".
fn spelled_out(duration: TimeDelta) -> String {
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
