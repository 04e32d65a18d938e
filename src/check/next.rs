//! The one thing to do next: what blocks first.

use std::path::Path;

use chrono::NaiveDate;

use super::figures::{Figures, Keys};
use super::{Complaints, Understood};
use crate::days::{self, DateRange};
use crate::raw::Log;
use crate::stop::Stop;

/// A job file that cannot be used.
pub fn job_file(stop: Stop, file: &Path) -> Stop {
    match file.exists() {
        true if file.is_dir() => stop,
        true => {
            stop.hint("mend the job file; `lookback init DIR` writes one with every key explained")
        }
        false => stop.hint(
            "`lookback init DIR --clicks LOCATION --orders LOCATION` writes a job file with \
             guesses about your logs",
        ),
    }
}

/// All complaints, and what to do about those that block first. None where there are none.
pub fn first_of(complaints: Complaints) -> Option<Stop> {
    let Complaints { program, locations, files, reference } = complaints;
    let is_unreadable = |text: &String| text.contains("is no readable Parquet file");
    let hint = if !program.is_empty() {
        "put the settings back with which the warehouse was begun, or name another [output] \
         root: another zone, currency or program needs a warehouse of its own. Where nothing in it \
         is wanted, remove the folder: the next run begins it anew"
            .to_owned()
    } else if !locations.is_empty() {
        "in [input], name the folder in which the folders of dates lie, and their layout. \
         `lookback init DIR --clicks LOCATION --orders LOCATION` guesses it"
            .to_owned()
    } else if files.iter().any(is_unreadable) {
        "replace or remove these files, or let [input] suffix tell data from other files".to_owned()
    } else if !files.is_empty() {
        let is_wide = files.iter().any(|text| text.contains("has no column event_type"));
        let wide = match is_wide {
            true => {
                ". A log with one row per order line, and no events, needs a view: see \
                     jobs/views/wide_orders.sql of lookback's repository"
            }
            false => "",
        };
        format!(
            "say which columns are which, with columns or a view in [input.clicks] and \
             [input.orders]. `lookback init DIR --clicks LOCATION --orders LOCATION` guesses \
             it{wide}"
        )
    } else {
        let table = |name: &str| reference.iter().any(|text| text.contains(&format!("{name}.")));
        let first = crate::reference::TABLES.into_iter().find(|name| table(name));
        let columns = first.map(|name| {
            let columns = crate::reference::column_names(name).join(",");
            format!(", in which the columns of {name} are {columns}")
        });
        format!("mend the reference tables{}", columns.unwrap_or_default())
    };
    let all: Vec<String> = [program, locations, files, reference].into_iter().flatten().collect();
    (!all.is_empty()).then(|| Stop::fix(all).hint(hint))
}

/// Files that looked fine and cannot be decoded.
pub fn unreadable(stop: Stop) -> Stop {
    match stop.hint {
        None => stop.hint("replace or remove these files"),
        Some(_) => stop,
    }
}

/// The next step where nothing is wrong.
pub fn step(understood: &Understood) -> String {
    let job = &understood.job;
    let Some(figures) = &understood.figures else {
        return "wait for rows: no file of the logs has any".to_owned();
    };
    if let Some(step) = about_links(figures).or_else(|| about_terms(understood, figures)) {
        return step;
    }
    let file = job.file.display();
    let landed = |dt| understood.clicks.has_landed(dt) && understood.orders.has_landed(dt);
    let newest = figures.dates.last().copied().unwrap_or_default();
    let oldest = understood.clicks.dates().first().copied().unwrap_or(newest);
    let all = DateRange { from: days::minus(oldest, 1), to: newest };
    let is_possible = |date: &NaiveDate| job.reach().demanded_landing(*date).iter().all(landed);
    let possible: Vec<NaiveDate> = all.iter().filter(is_possible).collect();
    let is_made = |date: &&NaiveDate| understood.reported.contains(date);
    let missing: Vec<NaiveDate> = possible.iter().filter(|date| !is_made(date)).copied().collect();
    match (possible.last(), missing.as_slice()) {
        (None, _) => format!(
            "wait: no date has landed in both logs, with every UTC date that a day of {} touches",
            job.zone
        ),
        (Some(_), []) => format!(
            "every date that has landed is made; each night: lookback run {file} --date yesterday"
        ),
        (Some(last), [date]) if date == last => format!("lookback run {file} --date {date}"),
        (_, [first, .., last]) => {
            format!("lookback backfill {file} --from {first} --to {last}")
        }
        (_, [date]) => format!("lookback backfill {file} --from {date} --to {date}"),
    }
}

/// Whether only the rows of `lookback init` are there, or none.
fn is_unfilled(keys: Option<&Keys>) -> bool {
    keys.is_none_or(|keys| keys.in_table == keys.examples)
}

fn about_links(figures: &Figures) -> Option<String> {
    let clicks = figures.clicks.rows;
    let matched: u64 = figures.formats.iter().sum();
    if clicks > 0 && matched == 0 {
        let example = figures.example_url.as_deref().unwrap_or("(no URL at all)");
        return Some(format!(
            "mend [links] formats: no URL of the clicks matches any, such as {example}"
        ));
    }
    let links = figures.keys.get("links");
    let example = links.and_then(|keys| keys.unknown_example.as_deref()).unwrap_or("abc");
    if is_unfilled(links) {
        return Some(format!(
            "fill the table links: a row for each promotion link, with its publisher. Clicks have \
             the key {example}, for example"
        ));
    }
    if links.is_some_and(|keys| keys.in_logs > 0 && keys.known == 0) {
        return Some(format!(
            "compare [links] formats and the table links: no key of the clicks is in it, such as \
             {example}"
        ));
    }
    None
}

fn about_terms(understood: &Understood, figures: &Figures) -> Option<String> {
    for (log, words) in [(Log::Clicks, "clicks"), (Log::Orders, "order events")] {
        let looked = figures.log(log);
        let rejected: u64 = looked.rejected.iter().map(|(_, rows)| rows).sum();
        if looked.rows > 0
            && rejected == looked.rows
            && let Some((reason, _)) = looked.rejected.first()
            && !matches!(reason.as_str(), "unknown_link" | "not_a_promotion_link")
        {
            return Some(format!("see why all {words} would be rejected: {reason}"));
        }
    }
    let types = &figures.event_types;
    if types.values().sum::<u64>() * 50 > figures.orders.rows {
        let mut types: Vec<(&String, &u64)> = types.iter().collect();
        types.sort_by_key(|(_, rows)| std::cmp::Reverse(**rows));
        let shown = types.iter().take(6).map(|(name, rows)| format!("{name} ({rows})"));
        return Some(format!(
            "say in a view of the orders which event types are placed, paid, completed, cancelled and \
             refunded, and leave out the others: the log has {}",
            shown.collect::<Vec<_>>().join(", ")
        ));
    }
    let stores = figures.keys.get("stores");
    let example = stores.and_then(|keys| keys.unknown_example.as_deref()).unwrap_or("s1");
    if is_unfilled(stores) {
        return Some(format!(
            "fill the table stores: a row for each store that joined the program. Orders have the \
             store {example}, for example"
        ));
    }
    if stores.is_some_and(|keys| keys.in_logs > 0 && keys.known == 0) {
        return Some(format!(
            "compare the table stores with the orders: no store of theirs is in it, such as {example}"
        ));
    }
    let rates = ["rates, product", "rates, category", "rates, store"];
    let has_rates = rates.iter().any(|name| !is_unfilled(figures.keys.get(*name)));
    if understood.job.default_rate == 0 && !has_rates {
        return Some(
            "fill the table rates, or set [program] default_rate: no order would earn anything"
                .to_owned(),
        );
    }
    let unknown = figures.orders.rejected.iter().find(|(reason, _)| reason == "unknown_currency");
    if unknown.is_some() && understood.job.fx_rates.is_none() {
        let keys = figures.keys.get("fx_rates");
        let example = keys.and_then(|keys| keys.unknown_example.clone()).unwrap_or_default();
        return Some(format!(
            "fill the table fx_rates and name it in [input]: orders are also in {example}, and the \
             program in {}",
            understood.job.currency
        ));
    }
    None
}
