//! How likely a column of a log is one of ours: points for its name, its type and its values.

use super::columns::{Column, Kind};
use super::names;
use crate::nearest::bare;
use crate::raw::Log;

/// A name that is ours as it stands needs no other reason.
pub const OUR_NAME: i32 = 200;

/// The points by which a column may be ours, and why. None where it cannot be.
pub fn score(log: Log, ours: &str, column: &Column) -> Option<(i32, &'static str)> {
    let kind = column.kind();
    let is_time = ours.ends_with("_at");
    let fits = match ours {
        _ if is_time => {
            matches!(kind, Kind::Time | Kind::NumberOfTime(_) | Kind::TextOfTime)
                || (kind == Kind::Float && seconds_as_float(column))
        }
        "amount" => matches!(kind, Kind::Decimal | Kind::Integer | Kind::Float),
        "quantity" => matches!(kind, Kind::Integer),
        "currency" | "country" | "event_type" | "url" => kind == Kind::Text,
        _ => matches!(kind, Kind::Text | Kind::Integer | Kind::Decimal | Kind::NumberOfTime(_)),
    };
    if column.name == ours {
        // A type that does not fit is told about when the log is checked.
        return Some((OUR_NAME, "the same name"));
    }
    if !fits || Log::column_names(log).any(|other| other == column.name) {
        return None;
    }
    let by_name = name_points(ours, &column.name);
    let (by_values, shown) = value_points(ours, column);
    // Names alone do for most columns. Values alone do where they cannot be anything else.
    let why = match (by_name > 0, by_values > 0) {
        (true, true) => "name and values",
        (true, false) => "name",
        _ => shown,
    };
    let by_type = if is_time && kind != Kind::Time { -5 } else { 0 };
    let points = by_name + by_values + by_type;
    (points > 0).then_some((points, why))
}

fn name_points(ours: &str, name: &str) -> i32 {
    let whole = words_points(ours, &bare(name));
    let last = name.rsplit('.').next().unwrap_or(name);
    let part = match last != name && bare(last) != "id" {
        true => words_points(ours, &bare(last)) - 15,
        false => 0,
    };
    whole.max(part).max(0)
}

fn words_points(ours: &str, name: &str) -> i32 {
    let wanted = bare(ours);
    if name == wanted {
        return 90;
    }
    let others = names::of(ours);
    if let Some(rank) = others.iter().position(|other| *other == name) {
        return (80 - 3 * rank as i32).max(44);
    }
    let is_end = |word: &str| word.len() >= 5 && name.len() > word.len() && name.ends_with(word);
    if is_end(&wanted) {
        return 42;
    }
    if others.iter().take(4).any(|word| is_end(word)) {
        return 36;
    }
    let is_near = strsim::damerau_levenshtein(name, &wanted) <= 1 && wanted.len() >= 5;
    if is_near { 41 } else { 0 }
}

/// Points for what the values look like, and a word for it.
fn value_points(ours: &str, column: &Column) -> (i32, &'static str) {
    if column.values.is_empty() {
        return (0, "");
    }
    match ours {
        "url" => {
            let is_url = |text: &str| text.starts_with("http://") || text.starts_with("https://");
            match column.share(is_url) {
                share if share > 0.5 => (45, "values are URLs"),
                _ => (-20, ""),
            }
        }
        "event_type" => {
            let distinct = column.distinct();
            let known = distinct.iter().filter(|word| names::event(word).is_some()).count();
            match known {
                _ if distinct.len() > 40 => (-40, ""),
                0 => (-10, ""),
                1 => (20, "values are events"),
                _ => (45, "values are events"),
            }
        }
        "currency" => {
            let is_code = |text: &str| {
                text.len() == 3 && text.bytes().all(|letter| letter.is_ascii_uppercase())
            };
            match column.share(is_code) {
                share if share > 0.9 && column.distinct().len() < 200 => {
                    (40, "values are currencies")
                }
                _ => (-30, ""),
            }
        }
        "country" => {
            let is_code = |text: &str| {
                text.len() == 2 && text.bytes().all(|letter| letter.is_ascii_uppercase())
            };
            (if column.share(is_code) > 0.9 { 25 } else { 0 }, "values are countries")
        }
        // The id of a row comes once, or a few times where rows are delivered again.
        "click_id" | "event_id" if column.is_unique() => (10, ""),
        "click_id" | "event_id" => (-30, ""),
        _ => (0, ""),
    }
}

/// Whether the values are seconds since 1970 with decimals.
fn seconds_as_float(column: &Column) -> bool {
    column.share(|value| {
        let seconds = value.parse::<f64>().unwrap_or_default();
        (946_684_800.0..4_102_444_800.0).contains(&seconds)
    }) > 0.98
}
