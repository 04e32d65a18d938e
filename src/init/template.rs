//! The job file that `lookback init` writes, with every key explained.
//!
//! What is guessed stands beside its key as a guess. Refuses to know how it was guessed.

use std::fmt::Write;

use super::guess::Guesses;
use super::links::{ALIEXPRESS, Format};
use crate::raw::{DEFAULT_LAYOUT, Log};

const TEMPLATE: &str = include_str!("job.toml");

/// The reference tables that it writes, by name, each with an example row that can pay nobody: it
/// was valid for a day of the year 2000, and names what no log has.
pub const REFERENCE: [(&str, &str); 5] = [
    ("links", include_str!("reference/links.csv")),
    ("stores", include_str!("reference/stores.csv")),
    ("rates", include_str!("reference/rates.csv")),
    ("fx_rates", include_str!("reference/fx_rates.csv")),
    ("identities", include_str!("reference/identities.csv")),
];

/// What is known of a log.
pub struct LogText {
    pub log: Log,
    /// As the job file says it. None: it is to be filled in.
    pub path: Option<String>,
    pub layout: Option<String>,
    /// Other layouts, and whatever else a person should know.
    pub notes: Vec<String>,
    pub suffix: Option<String>,
    pub marker: Option<String>,
    pub newest: Option<String>,
    /// None where no file was read.
    pub guesses: Option<Guesses>,
}

impl LogText {
    /// Nothing is known.
    pub fn blank(log: Log) -> LogText {
        LogText {
            log,
            path: None,
            layout: None,
            notes: Vec::new(),
            suffix: None,
            marker: None,
            newest: None,
            guesses: None,
        }
    }
}

/// What is known of the promotion links.
#[derive(Default)]
pub struct LinksText {
    pub formats: Vec<Format>,
    /// Parameters of the URLs that may hold a key, each with a count.
    pub others: Vec<(String, usize)>,
    /// How many URLs were looked at.
    pub urls: usize,
}

/// The text of the job file. `currency` is the commonest one of the orders, in so many of all.
pub fn job_file(
    logs: &[LogText; 2],
    links: &LinksText,
    currency: Option<(&str, usize, usize)>,
) -> String {
    let [clicks, orders] = logs;
    let currency = match currency {
        Some((currency, count, all)) => line(
            &format!("currency     = {}", text(currency)),
            &format!("in which commission is owed; guess: that of {count} of {all} orders"),
        ),
        None => line("# currency   = \"USD\"", "in which commission is owed"),
    };
    TEMPLATE
        .replace("@clicks@", log(clicks).trim_end())
        .replace("@orders@", log(orders).trim_end())
        .replace("@currency@", currency.trim_end())
        .replace("@formats@", formats(links).trim_end())
}

/// A line with its comment behind it.
fn line(left: &str, comment: &str) -> String {
    format!("{left:<40} # {}\n", one_line(comment))
}

/// What came from a log must not end a comment.
fn one_line(text: &str) -> String {
    text.chars().map(|letter| if letter.is_control() { ' ' } else { letter }).collect()
}

/// A text as TOML writes it.
fn text(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}

/// `[input.clicks]` and what belongs to it.
fn log(known: &LogText) -> String {
    let name = known.log.name();
    let mut to = format!("[input.{name}]\n");
    match &known.path {
        Some(path) => to.push_str(&line(
            &format!("path    = {}", text(path)),
            "of several sources, each begins with [[input.clicks]]"
                .replace("clicks", name)
                .as_str(),
        )),
        None => to.push_str(&line(
            &format!("path    = \"raw/{name}\""),
            "to fill in: where the folders of dates lie; of several sources, each begins with [[input.clicks]]"
                .replace("clicks", name)
                .as_str(),
        )),
    }
    let words = "folders below path, in UTC: %Y, %m, %d, and %H in the last one";
    let seen = known.newest.as_ref().map(|newest| format!("guess: the newest one is {newest}"));
    match (&known.layout, seen) {
        (Some(layout), Some(seen)) if layout != DEFAULT_LAYOUT => {
            to.push_str(&line(&format!("layout  = {}", text(layout)), &seen));
        }
        (Some(_), Some(seen)) => {
            let comment = format!("{words}; {seen}");
            to.push_str(&line(&format!("# layout  = \"{DEFAULT_LAYOUT}\""), &comment));
        }
        _ => to.push_str(&line(&format!("# layout  = \"{DEFAULT_LAYOUT}\""), words)),
    }
    match &known.suffix {
        Some(suffix) => to.push_str(&line(
            &format!("suffix  = {}", text(suffix)),
            "guess: how the names of data files end",
        )),
        None => {
            to.push_str(&line("# suffix  = \".parquet\"", "how the names of data files end"));
        }
    }
    to.push_str(&line(
        "# marker  = \"_SUCCESS\"",
        match &known.marker {
            Some(_) => "a date has landed when this object is there; it is in the newest folders",
            None => "a date has landed when this object is there, and not before",
        },
    ));
    for note in &known.notes {
        let _ = writeln!(to, "# note: {}", one_line(note));
    }
    match &known.guesses {
        None => to.push_str(&no_guesses(known.log)),
        Some(guesses) if guesses.is_wide() => to.push_str(&wide(guesses)),
        Some(guesses) if guesses.needs_view() => {
            let file = text(&view_file(known.log));
            let why =
                "in place of columns: one SELECT that says what is what; guesses, look it through";
            to.push_str(&line(&format!("view    = {file}"), why));
        }
        Some(guesses) => to.push_str(&columns(known.log, guesses)),
    }
    to
}

pub fn view_file(log: Log) -> String {
    format!("views/{}.sql", log.name())
}

fn no_guesses(log: Log) -> String {
    let (ours, theirs) = match log {
        Log::Clicks => ("clicked_at = \"ts\", buyer_id = \"user.id\"", "user"),
        Log::Orders => ("event_at = \"ts\", buyer_id = \"customer.id\"", "customer"),
    };
    let names: Vec<&str> = log.column_names().collect();
    let required = names.iter().filter(|name| log.is_required(name)).copied().collect::<Vec<_>>();
    let optional = names.iter().filter(|name| !log.is_required(name)).copied().collect::<Vec<_>>();
    format!(
        "# columns = {{ {ours} }}  # ours = theirs, where names differ; a dot steps into \
         the struct {theirs}\n\
         # view    = \"{}\"  # or, in place of columns: one SELECT from raw\n\
         # Columns that are needed: {}\n# Others that are used: {}\n",
        view_file(log),
        required.join(", "),
        optional.join(", ")
    )
}

fn columns(log: Log, guesses: &Guesses) -> String {
    let mut to = line(
        &format!("# view    = \"{}\"", view_file(log)),
        "in place of columns: one SELECT from raw, for what names alone cannot say",
    );
    to.push_str(&line(
        &format!("[input.{}.columns]", log.name()),
        "ours = theirs: guesses; what has our name already needs no line",
    ));
    for guess in &guesses.columns {
        let others = match guess.others.as_slice() {
            [] => String::new(),
            others => format!("; or: {}", others.join(", ")),
        };
        let (ours, need) = (guess.ours, if guess.is_required { "required" } else { "optional" });
        match &guess.theirs {
            Some(theirs) if theirs.name == ours => {
                to.push_str(&line(&format!("# {ours}"), "is there under this name"));
            }
            Some(theirs) => {
                let note = theirs.note.as_ref().map(|note| format!("; {note}")).unwrap_or_default();
                let comment =
                    format!("guess: by {}, {}{others}{note}", theirs.why, theirs.kind.name());
                to.push_str(&line(&format!("{ours:<11} = {}", text(&theirs.name)), &comment));
            }
            None => {
                let comment = format!("{need}: nothing looks like it{others}");
                to.push_str(&line(&format!("# {ours:<11} = \"…\""), &comment));
            }
        }
    }
    for list in &guesses.lists {
        let _ = writeln!(
            to,
            "# note: {} is a list: a view with unnest makes a row of each of its parts",
            one_line(list)
        );
    }
    to
}

fn wide(guesses: &Guesses) -> String {
    let mut to = format!(
        "# note: this looks like one row per order line, with a time for each thing that happened:\n\
         #   {}\n\
         # lookback reads one row per event. A view makes events of such rows: begin with\n\
         # jobs/views/wide_orders.sql of lookback's repository, and put your names into it.\n\
         # view    = \"views/orders.sql\"\n",
        one_line(&guesses.milestones.join(", "))
    );
    for guess in &guesses.columns {
        let Some(theirs) = &guess.theirs else { continue };
        if !["event_id", "event_type", "event_at"].contains(&guess.ours) {
            let _ = writeln!(to, "#   {:<11} may be {}", guess.ours, one_line(&theirs.name));
        }
    }
    to
}

/// The text of a view, where names alone cannot say what is what.
pub fn view(log: Log, guesses: &Guesses) -> String {
    let mut to = format!(
        "-- How rows of the log become {}: guesses of `lookback init`, to be looked through.\n\
         -- Left of `as` stands what the log has, right of it what lookback wants.\nselect\n",
        match log {
            Log::Clicks => "clicks",
            Log::Orders => "order events",
        }
    );
    let known = guesses.columns.iter().filter_map(|guess| Some((guess, guess.theirs.as_ref()?)));
    let known: Vec<_> = known.collect();
    for (position, (guess, theirs)) in known.iter().enumerate() {
        let note = match (&theirs.note, guess.others.as_slice()) {
            (Some(note), _) => format!("  -- {}", one_line(note)),
            (None, []) => String::new(),
            (None, others) => format!("  -- or: {}", one_line(&others.join(", "))),
        };
        let value = theirs.expression.clone().unwrap_or_else(|| theirs.sql.clone());
        let comma = if position + 1 < known.len() { "," } else { "" };
        let _ = writeln!(to, "    {value} as {}{comma}{note}", guess.ours);
    }
    to.push_str("from raw\n");
    let missing = guesses.columns.iter().filter(|guess| guess.theirs.is_none());
    for guess in missing {
        let need = if guess.is_required { "required" } else { "optional" };
        let _ = writeln!(to, "-- {} ({need}): nothing looks like it", guess.ours);
    }
    to
}

fn formats(links: &LinksText) -> String {
    let mut to = String::new();
    if !links.others.is_empty() {
        let others = links.others.iter().map(|(name, count)| {
            format!("{name} ({} %)", (count * 100).div_ceil(links.urls.max(1)))
        });
        let others: Vec<String> = others.collect();
        let others = one_line(&others.join(", "));
        let _ = writeln!(to, "# Other parameters that the URLs have: {others}");
    }
    to.push_str("formats = [\n");
    match links.formats.as_slice() {
        [] => {
            to.push_str(
                "  # to fill in: these are AliExpress' links, and a parameter aff as an example\n",
            );
            for format in ALIEXPRESS.iter().chain(&["[?&]aff=([^&#]+)"]) {
                let _ = writeln!(to, "  '{format}',");
            }
        }
        formats => {
            for format in formats {
                let _ = writeln!(
                    to,
                    "  '{}',  # guess: matches {} of {} URLs",
                    format.text, format.matches, links.urls
                );
            }
        }
    }
    to.push_str("]\n");
    to
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

    use arrow::datatypes::DataType;

    use super::super::columns::Column;
    use super::super::guess::guess;
    use super::*;
    use crate::view;

    fn column(name: &str, data_type: DataType, value: &str) -> Column {
        let (name, path) = (name.to_owned(), vec![name.to_owned()]);
        Column { name, path, data_type, values: vec![value.to_owned(); 2], looked_at: 2 }
    }

    /// A name in a log must not end a comment, a text or a key.
    #[test]
    fn strange_names_make_no_other_job() {
        let strange = "user\nid\"]\n[output]\nroot = '/'";
        for time in [DataType::Date64, DataType::Int64] {
            let columns = [
                column(strange, DataType::Utf8, "Ana"),
                column("ts\n; drop table raw --", time, "1775044800000"),
                column("url\r\n", DataType::Utf8, "https://shop.example/?aff=a"),
            ];
            let guesses = guess(Log::Clicks, &columns);
            let sql = view(Log::Clicks, &guesses);
            assert!(view::refusals(&sql).is_empty(), "{sql}");
            let mut clicks = LogText::blank(Log::Clicks);
            (clicks.path, clicks.notes) = (Some("a\"\nb".to_owned()), vec![strange.to_owned()]);
            (clicks.layout, clicks.newest) =
                (Some("%Y-%m-%d".to_owned()), Some(strange.to_owned()));
            clicks.guesses = Some(guesses);
            let links = LinksText { others: vec![(strange.to_owned(), 1)], ..LinksText::default() };
            let logs = [clicks, LogText::blank(Log::Orders)];
            let job: toml::Table = job_file(&logs, &links, Some((strange, 1, 2))).parse().unwrap();
            assert_eq!(job["output"]["root"].as_str(), Some("warehouse"));
            assert_eq!(job["program"]["currency"].as_str(), Some(strange));
            assert_eq!(job["input"]["clicks"]["path"].as_str(), Some("a\"\nb"));
        }
    }
}
