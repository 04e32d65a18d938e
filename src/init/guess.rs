//! Which column of a log is which of ours: by name, type and a look at values.
//!
//! A guess says why, and names the runners-up. Refuses to know files.

use std::collections::{BTreeMap, BTreeSet};

use super::columns::{Column, Kind, Unit};
use super::names;
use super::score::score;
use crate::nearest::bare;
use crate::raw::Log;

/// A column is taken from so many points on.
const ENOUGH: i32 = 40;
/// And named as a runner-up from so many on.
const WORTH_A_WORD: i32 = 30;

/// What one of our columns may be in the log.
#[derive(Debug)]
pub struct Guess {
    pub ours: &'static str,
    pub is_required: bool,
    pub theirs: Option<Theirs>,
    /// Other columns that it may be, as they are named.
    pub others: Vec<String>,
}

/// A column of the log that is taken for one of ours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Theirs {
    pub name: String,
    /// The column in SQL.
    pub sql: String,
    pub kind: Kind,
    pub why: &'static str,
    /// What a view has to write in place of the name, because the type or the words are others.
    pub expression: Option<String>,
    /// What to know about it.
    pub note: Option<String>,
}

/// All that is guessed of a log's columns.
#[derive(Debug)]
pub struct Guesses {
    pub columns: Vec<Guess>,
    /// Times of an order log that has one row per order line and no events. Empty for others.
    pub milestones: Vec<String>,
    /// Lists, whose parts may be the order lines.
    pub lists: Vec<String>,
}

impl Guesses {
    /// Whether the log has another shape than columns can say.
    pub fn needs_view(&self) -> bool {
        let theirs = self.columns.iter().filter_map(|guess| guess.theirs.as_ref());
        theirs.into_iter().any(|theirs| theirs.expression.is_some())
    }

    pub fn is_wide(&self) -> bool {
        !self.milestones.is_empty()
    }

    /// Whether a column is taken for ours that has another name.
    pub fn are_guesses(&self) -> bool {
        let mut theirs = self.columns.iter();
        theirs.any(|guess| guess.theirs.as_ref().is_some_and(|theirs| theirs.name != guess.ours))
    }

    /// The required columns for which nothing was found.
    pub fn missing(&self) -> Vec<&'static str> {
        let missing =
            self.columns.iter().filter(|guess| guess.is_required && guess.theirs.is_none());
        missing.map(|guess| guess.ours).collect()
    }

    pub fn of(&self, ours: &str) -> Option<&Theirs> {
        self.columns.iter().find(|guess| guess.ours == ours)?.theirs.as_ref()
    }
}

/// Guesses what each column of the rules is in the log.
pub fn guess(log: Log, columns: &[Column]) -> Guesses {
    let ours: Vec<&'static str> = log.column_names().collect();
    let mut scored: Vec<(i32, usize, usize, &'static str)> = Vec::new();
    for (wanted, ours) in ours.iter().enumerate() {
        for (position, column) in columns.iter().enumerate() {
            if let Some((points, why)) = score(log, ours, column) {
                scored.push((points, wanted, position, why));
            }
        }
    }
    if let [only] = times(columns).as_slice() {
        // Whatever it is called: there is no other time.
        let wanted = ours.iter().position(|ours| ours.ends_with("_at"));
        scored.extend(wanted.map(|wanted| (ENOUGH, wanted, *only, "the only time")));
    }
    // The surest first; of equally sure ones in the order of the rules, then of the files.
    scored.sort_by_key(|(points, wanted, position, _)| (-points, *wanted, *position));
    let mut taken: BTreeMap<usize, (usize, &'static str)> = BTreeMap::new();
    let mut used = BTreeSet::new();
    for (points, wanted, position, why) in &scored {
        if *points >= ENOUGH && !taken.contains_key(wanted) && used.insert(*position) {
            taken.insert(*wanted, (*position, *why));
        }
    }
    let is_wide =
        log == Log::Orders && is_wide(columns, taken.get(&1).map(|(at, _)| &columns[*at]));
    let guesses = ours.iter().enumerate().map(|(wanted, ours)| {
        let mine = taken.get(&wanted);
        let others = scored.iter().filter(|(points, of, position, _)| {
            *of == wanted && *points >= WORTH_A_WORD && !used.contains(position)
        });
        let mut others: Vec<String> =
            others.map(|(_, _, position, _)| columns[*position].name.clone()).collect();
        others.dedup();
        others.truncate(2);
        Guess {
            ours,
            is_required: log.is_required(ours),
            theirs: mine.map(|(position, why)| theirs(ours, &columns[*position], why)),
            others,
        }
    });
    let columns_guessed: Vec<Guess> = guesses.collect();
    let lists = columns.iter().filter(|column| column.kind() == Kind::List);
    Guesses {
        columns: columns_guessed,
        milestones: if is_wide { milestones(columns) } else { Vec::new() },
        lists: lists.map(|column| column.name.clone()).collect(),
    }
}

/// The positions of the columns that are times; where there are none, of those that can be made one.
fn times(columns: &[Column]) -> Vec<usize> {
    let those = |is: fn(Kind) -> bool| {
        let those = columns.iter().enumerate().filter(|(_, column)| is(column.kind()));
        those.map(|(position, _)| position).collect::<Vec<_>>()
    };
    match those(|kind| kind == Kind::Time) {
        none if none.is_empty() => {
            those(|kind| matches!(kind, Kind::NumberOfTime(_) | Kind::TextOfTime))
        }
        times => times,
    }
}

fn theirs(ours: &str, column: &Column, why: &'static str) -> Theirs {
    let (expression, note) = expression(ours, column);
    let sql = quoted(&column.path);
    Theirs { name: column.name.clone(), sql, kind: column.kind(), why, expression, note }
}

/// What a view has to write in place of the column, and what to know about it.
fn expression(ours: &str, column: &Column) -> (Option<String>, Option<String>) {
    let name = quoted(&column.path);
    match (ours, column.kind()) {
        (_, Kind::NumberOfTime(unit)) if ours.ends_with("_at") => {
            let note = format!("a number of {}, no time: a view makes one of it", unit.name());
            (Some(format!("{}({name})", unit.function())), Some(note))
        }
        (_, Kind::TextOfTime) if ours.ends_with("_at") => {
            let note = "a text, no time: a view makes one of it".to_owned();
            (Some(format!("to_timestamp({name})")), Some(note))
        }
        (_, Kind::Float) if ours.ends_with("_at") => {
            let note = "floating point, no time: a view makes one of it".to_owned();
            let unit = Unit::Microseconds.function();
            (Some(format!("{unit}(cast({name} * 1000000 as bigint))")), Some(note))
        }
        ("amount", Kind::Float) => {
            let note = "floating point, which cannot hold money exactly: a view rounds it; better \
                        let the log have decimals";
            (Some(format!("cast({name} as decimal(18, 4))")), Some(note.to_owned()))
        }
        ("event_type", Kind::Text) => words(column, &name),
        _ => (None, None),
    }
}

/// Their words for events in ours, where they are others.
fn words(column: &Column, name: &str) -> (Option<String>, Option<String>) {
    let distinct = column.distinct();
    let is_ours = |word: &&str| names::EVENTS.iter().any(|(ours, _)| ours == word);
    let theirs: Vec<&str> = distinct.iter().copied().filter(|word| !is_ours(word)).collect();
    if theirs.is_empty() {
        return (None, None);
    }
    let pairs: Vec<(&str, &str)> =
        theirs.iter().filter_map(|word| Some((*word, names::event(word)?))).collect();
    let unknown: Vec<&str> =
        theirs.iter().copied().filter(|word| names::event(word).is_none()).take(6).collect();
    let note = match unknown.is_empty() {
        true => "its words are not ours: a view says which is which".to_owned(),
        false => {
            format!("{}: no events that are known; rows of others are rejected", unknown.join(", "))
        }
    };
    if pairs.is_empty() {
        return (None, Some(note));
    }
    let mut case = format!("case {name}");
    for (theirs, ours) in pairs {
        case.push_str(&format!(" when '{}' then '{ours}'", theirs.replace('\'', "''")));
    }
    case.push_str(&format!(" else {name} end"));
    (Some(case), Some(note))
}

/// A column in SQL, by the names that lead to it.
fn quoted(path: &[String]) -> String {
    let mut text = String::new();
    for (depth, name) in path.iter().enumerate() {
        text.push_str(&match depth {
            0 => format!("\"{}\"", name.replace('"', "\"\"")),
            _ => format!("['{}']", name.replace('\'', "''")),
        });
    }
    text
}

/// Whether an order log has a time for each thing that happened, in place of rows for them.
fn is_wide(columns: &[Column], event_type: Option<&Column>) -> bool {
    let has_events = event_type.is_some_and(|column| {
        let events = column.distinct().into_iter().filter_map(names::event);
        column.name == "event_type" || events.collect::<BTreeSet<_>>().len() > 1
    });
    let milestones = milestones(columns);
    // With a status beside two times, the status may be that of now.
    milestones.len() >= if has_events { 3 } else { 2 }
}

fn milestones(columns: &[Column]) -> Vec<String> {
    let found = columns.iter().filter(|column| {
        let name = bare(column.name.rsplit('.').next().unwrap_or(&column.name));
        let name = name.strip_prefix("gmt").unwrap_or(&name);
        let is_time =
            matches!(column.kind(), Kind::Time | Kind::NumberOfTime(_) | Kind::TextOfTime);
        is_time && names::MILESTONES.iter().any(|word| name.starts_with(word))
    });
    let mut named: BTreeSet<&str> = BTreeSet::new();
    let found = found.filter(|column| {
        let name = bare(column.name.rsplit('.').next().unwrap_or(&column.name));
        let name = name.strip_prefix("gmt").unwrap_or(&name).to_owned();
        let word = names::MILESTONES.iter().find(|word| name.starts_with(**word));
        word.is_some_and(|word| named.insert(word))
    });
    found.map(|column| column.name.clone()).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

    use arrow::datatypes::{DataType, TimeUnit};

    use super::*;
    use crate::view;

    fn column(name: &str, data_type: DataType, values: &[&str]) -> Column {
        let values: Vec<String> = values.iter().map(|value| (*value).to_owned()).collect();
        let path = name.split('.').map(str::to_owned).collect();
        Column { name: name.to_owned(), path, data_type, looked_at: values.len(), values }
    }

    fn text(name: &str, values: &[&str]) -> Column {
        column(name, DataType::Utf8, values)
    }

    fn time(name: &str) -> Column {
        let kind = DataType::Timestamp(TimeUnit::Microsecond, None);
        column(name, kind, &["2026-04-01T12:00:00"])
    }

    fn found(guesses: &Guesses) -> Vec<(&str, &str)> {
        let found = guesses.columns.iter();
        found.filter_map(|guess| Some((guess.ours, guess.theirs.as_ref()?.name.as_str()))).collect()
    }

    #[test]
    fn page_views_become_clicks() {
        let guesses = guess(
            Log::Clicks,
            &[
                text("event_id", &["a", "b"]),
                column("ts", DataType::Int64, &["1775044800000", "1775044801000"]),
                text("page.url", &["https://shop.example/?aff=a", "https://shop.example/"]),
                text("page.referrer", &["https://search.example/", "https://search.example/"]),
                text("user.id", &["u1", "u1"]),
                text("user.cookie_id", &["c1", "c2"]),
                text("geo.country", &["DE", "US"]),
                time("received_at"),
            ],
        );
        assert_eq!(
            found(&guesses),
            [
                ("click_id", "event_id"),
                ("clicked_at", "ts"),
                ("url", "page.url"),
                ("buyer_id", "user.id"),
                ("visitor_id", "user.cookie_id"),
                ("country", "geo.country"),
            ]
        );
        let clicked_at = &guesses.columns[1];
        assert_eq!(clicked_at.others, ["received_at"]);
        let expression = clicked_at.theirs.as_ref().unwrap().expression.as_deref();
        assert_eq!(expression, Some("to_timestamp_millis(\"ts\")"));
        assert_eq!(guesses.columns[2].others, ["page.referrer"]);
        assert!(guesses.needs_view() && guesses.missing().is_empty());
    }

    #[test]
    fn our_own_names_are_taken_as_they_are() {
        let guesses = guess(
            Log::Orders,
            &[
                text("event_id", &["1", "2"]),
                text("event_type", &["placed", "paid"]),
                time("event_at"),
                text("order_id", &["1"]),
                text("LINE_ID", &["1"]),
                text("buyer", &["1"]),
                text("shopId", &["1"]),
                column("amount", DataType::Decimal128(18, 2), &["1.00"]),
                text("ccy", &["USD", "EUR"]),
            ],
        );
        assert!(!guesses.needs_view() && !guesses.is_wide());
        assert_eq!(found(&guesses).len(), 9, "{guesses:?}");
        assert_eq!(guesses.of("line_id").unwrap().name, "LINE_ID");
    }

    #[test]
    fn a_row_for_an_order_line_with_its_times_is_no_event() {
        let guesses = guess(
            Log::Orders,
            &[
                text("order_number", &["1"]),
                text("status", &["FINISHED", "PAID"]),
                time("created_at"),
                time("paid_at"),
                time("finished_at"),
            ],
        );
        assert_eq!(guesses.milestones, ["created_at", "paid_at", "finished_at"]);
    }

    #[test]
    fn other_words_and_types_are_for_a_view_that_is_allowed() {
        let guesses = guess(
            Log::Orders,
            &[
                text("action", &["ORDER_PLACED", "ORDER_PAID", "it's"]),
                text("at.time", &["2026-04-01T12:00:00Z"]),
                column("price", DataType::Float64, &["1.5"]),
            ],
        );
        for ours in ["event_type", "event_at", "amount"] {
            let expression = guesses.of(ours).unwrap().expression.clone().unwrap();
            let refusals = view::refusals(&format!("select {expression} as a from raw"));
            assert!(refusals.is_empty(), "{expression}: {refusals:?}");
        }
        let case = guesses.of("event_type").unwrap().expression.clone().unwrap();
        assert!(case.contains("when 'ORDER_PAID' then 'paid'"), "{case}");
        let path = ["a.b".to_owned(), "b'c".to_owned()];
        assert_eq!(quoted(&path), "\"a.b\"['b''c']");
    }
}
