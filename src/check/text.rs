//! What was understood, as text: in groups, short.

use std::fmt;

use chrono::NaiveDate;
use iso_currency::Currency;

use super::figures::{Figures, Keys, Looked};
use super::{Understood, Unnamed, next};
use crate::days::{self, DateRange};
use crate::raw::{Log, RawLog, Shape};

/// Names in the first column are this wide.
const WIDE: usize = 16;

impl fmt::Display for Understood {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}: the job file is fine", self.job.file.display())?;
        let is_final = match self.reported.is_empty() {
            true => "; the first run settles both for its warehouse",
            false => "",
        };
        let (zone, currency) = (self.job.zone, &self.job.currency);
        writeln!(f, "report dates are those of {zone}, amounts are in {currency}{is_final}")?;
        for raw in [&self.clicks, &self.orders] {
            log(f, raw, self.figures.as_ref())?;
        }
        writeln!(f, "\nreference tables")?;
        for (name, rows) in &self.reference {
            match self.unnamed.get(name) {
                Some(unnamed) => row(f, name, unnamed)?,
                None => row(f, name, in_rows(*rows))?,
            }
        }
        for unread in &self.unread {
            writeln!(f, "  not read: {unread}")?;
        }
        if let Some(figures) = &self.figures {
            figures_of(f, self, figures)?;
        }
        let notes = self.notes();
        if !notes.is_empty() {
            writeln!(f, "\nworth a look")?;
        }
        for note in notes {
            writeln!(f, "  {note}")?;
        }
        write!(f, "\nnext: {}", next::step(self))
    }
}

impl fmt::Display for Unnamed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "not named in [input]; {} is there", self.file)?;
        match &self.rows {
            Ok(rows) => write!(f, " with {}", in_rows(*rows)),
            Err(trouble) => write!(f, ", and no such table: {trouble}"),
        }
    }
}

fn in_rows(rows: u64) -> String {
    format!("{rows} {}", if rows == 1 { "row" } else { "rows" })
}

fn row(f: &mut fmt::Formatter<'_>, left: &str, right: impl fmt::Display) -> fmt::Result {
    writeln!(f, "  {left:<WIDE$}{right}")
}

fn log(f: &mut fmt::Formatter<'_>, raw: &RawLog, figures: Option<&Figures>) -> fmt::Result {
    let looked = figures.map(|figures| figures.log(raw.log));
    for (number, source) in raw.sources().iter().enumerate() {
        writeln!(f, "\n{} from {}", raw.log.name(), source.location)?;
        row(f, "layout", source.layout.text())?;
        let landed = raw.landed_in(number);
        let span = landed.first().zip(landed.last()).map(|(from, to)| (*from, *to));
        let Some((from, to)) = span else {
            row(f, "landing dates", "none has landed")?;
            continue;
        };
        let holes: Vec<NaiveDate> =
            DateRange { from, to }.iter().filter(|dt| !landed.contains(dt)).collect();
        let missing = match holes.is_empty() {
            true => "none missing between".to_owned(),
            false => format!("missing between: {}", days::describe(holes)),
        };
        row(f, "landing dates", format!("{from} to {to}, {} dates, {missing}", landed.len()))?;
        let (files, rows) = raw.size_of(number);
        row(f, "files", format!("{files} with {rows} rows"))?;
        match &source.shape {
            Shape::View(view) => row(f, "view", &view.file)?,
            Shape::Columns(_) => columns(f, raw, number)?,
        }
    }
    for unread in raw.unread() {
        writeln!(f, "  not read: {unread}")?;
    }
    if let Some(looked) = looked.filter(|looked| raw.has_view() && !looked.is_part) {
        let (rows, out) = (looked.file_rows, looked.rows);
        row(f, "rows", format!("{rows} rows of the newest dates became {out}"))?;
    }
    if let Some(looked) = looked.filter(|looked| looked.rows > 0) {
        let filled = |name: &&str| looked.filled(name);
        let names: Vec<&str> = raw.log.column_names().collect();
        let always = names.iter().filter(|name| filled(name) == looked.rows);
        let often = names.iter().filter(|name| (1..looked.rows).contains(&filled(name)));
        let mut words: Vec<String> =
            often.map(|name| format!("{name} {}", share(filled(name), looked.rows))).collect();
        let always: Vec<&str> = always.copied().collect();
        if !always.is_empty() {
            words.insert(0, format!("always {}", always.join(", ")));
        }
        let never: Vec<&str> = names.iter().filter(|name| filled(name) == 0).copied().collect();
        if !never.is_empty() {
            words.push(format!("never {}", never.join(", ")));
        }
        row(f, "filled", words.join("; "))?;
    }
    Ok(())
}

/// Ours <- theirs, where names differ.
fn columns(f: &mut fmt::Formatter<'_>, raw: &RawLog, source: usize) -> fmt::Result {
    let (mut absent, mut same) = (Vec::new(), Vec::new());
    for column in raw.columns_of(source) {
        let types: Vec<String> = column.types.into_iter().collect();
        let types = types.join(" or ");
        match column.theirs == column.ours {
            _ if types.is_empty() => absent.push(column.ours),
            true => same.push(format!("{} ({types})", column.ours)),
            false => row(f, column.ours, format!("<- {} ({types})", column.theirs))?,
        }
    }
    if !same.is_empty() {
        row(f, "as named", same.join(", "))?;
    }
    if !absent.is_empty() {
        row(f, "absent", absent.join(", "))?;
    }
    Ok(())
}

fn figures_of(f: &mut fmt::Formatter<'_>, all: &Understood, figures: &Figures) -> fmt::Result {
    let (clicks, orders) = (&figures.clicks, &figures.orders);
    let part = |looked: &Looked| if looked.is_part { "the first " } else { "" };
    writeln!(
        f,
        "\nthe newest landing dates: {} ({}{} clicks, {}{} order events)",
        days::describe(figures.dates.iter().copied()),
        part(clicks),
        clicks.rows,
        part(orders),
        orders.rows
    )?;
    for (number, (format, rows)) in all.job.formats.iter().zip(&figures.formats).enumerate() {
        let left = if number == 0 { "link formats" } else { "" };
        let matches = match rows {
            0 => "matches nothing".to_owned(),
            rows => format!("{rows} clicks ({})", share(*rows, clicks.rows)),
        };
        row(f, left, format!("{matches}: {format}"))?;
    }
    if figures.no_format > 0 {
        let example = figures.example_url.as_deref().unwrap_or_default();
        let rows = figures.no_format;
        row(
            f,
            "",
            format!("{rows} clicks ({}) match none, such as {example}", share(rows, clicks.rows)),
        )?;
    }
    if clicks.rows > 0 {
        let with = |column: &str| share(clicks.filled(column), clicks.rows);
        row(
            f,
            "clicks",
            format!("{} with a buyer, {} with a visitor", with("buyer_id"), with("visitor_id")),
        )?;
    }
    let lines = figures.placed_lines;
    if lines > 0 {
        let by_buyer = share(figures.by_buyer, lines);
        let by_identities = match all.job.identities {
            Some(_) => format!(", and {} by identities", share(figures.by_identities, lines)),
            None => String::new(),
        };
        row(
            f,
            "order lines",
            format!(
                "{lines} placed; the buyers of {by_buyer} clicked on these dates{by_identities}"
            ),
        )?;
    }
    for log in [Log::Clicks, Log::Orders] {
        let looked = figures.log(log);
        let reasons = looked
            .rejected
            .iter()
            .map(|(reason, rows)| format!("{reason} {rows} ({})", share(*rows, looked.rows)));
        let reasons: Vec<String> = reasons.collect();
        let reasons = if reasons.is_empty() { "none".to_owned() } else { reasons.join(", ") };
        let left = if log == Log::Clicks { "to be rejected" } else { "" };
        row(f, left, format!("{}: {reasons}", log.name()))?;
    }
    let of_tables = figures.keys.iter().filter(|(name, keys)| match name.as_str() {
        "buyers" => false,
        "links" | "stores" => true,
        _ => keys.in_table > 0,
    });
    for (position, (name, keys)) in of_tables.enumerate() {
        let left = if position == 0 { "keys" } else { "" };
        row(f, left, keys_of(name, keys))?;
    }
    Ok(())
}

fn keys_of(name: &str, keys: &Keys) -> String {
    let Keys { in_table, known, in_logs, .. } = keys;
    match in_logs {
        0 => format!("{name}: {in_table} in the table; the logs ask for none"),
        all => format!(
            "{name}: {in_table} in the table, {known} of them in the logs; the logs ask for {all}, \
             and {} of their rows find one",
            share(keys.known_rows, keys.rows)
        ),
    }
}

/// A share as people read it. Small ones are not nothing, and nearly all is not all.
fn share(part: u64, all: u64) -> String {
    match part as f64 / all.max(1) as f64 * 100.0 {
        _ if part == 0 => "0 %".to_owned(),
        _ if part == all => "100 %".to_owned(),
        percent if percent < 1.0 => "less than 1 %".to_owned(),
        percent => format!("{} %", percent.round().min(99.0)),
    }
}

impl Understood {
    /// What is allowed, and still looks odd.
    fn notes(&self) -> Vec<String> {
        let mut notes: Vec<String> = odd_currency(&self.job.currency).into_iter().collect();
        let Some(figures) = &self.figures else { return notes };
        for raw in [&self.clicks, &self.orders] {
            let looked = figures.log(raw.log);
            notes.extend(odd_hours(raw, looked));
            let is_common = |(_, rows): &&(String, u64)| rows * 20 > looked.rows;
            for (reason, rows) in looked.rejected.iter().filter(is_common) {
                let of_own = ["duplicate", "not_a_promotion_link", "unknown_link"];
                if !of_own.contains(&reason.as_str()) {
                    let (log, share) = (raw.log.name(), share(*rows, looked.rows));
                    notes.push(format!("{log}: {reason} would reject {rows} rows ({share})"));
                }
            }
        }
        for (name, column) in [("rates, category", "category_id"), ("rates, product", "product_id")]
        {
            if figures.keys.get(name).is_some_and(|keys| keys.in_table > keys.examples)
                && figures.orders.filled(column) == 0
            {
                notes.push(format!(
                    "{name}: no order line has a {column}, so these rates never apply: is the \
                     column mapped?"
                ));
            }
        }
        for (name, keys) in &figures.keys {
            if keys.examples > 0 && keys.in_table > keys.examples {
                notes.push(format!("{name}: the example row of `lookback init` is still there"));
            }
            if let Some((log, table)) = &keys.alike_example {
                let of = match name.as_str() {
                    "buyers" => "buyers of orders that no click has",
                    _ => "keys of the logs that the table does not have",
                };
                notes.push(format!(
                    "{name}: {of} would match ({} of them) with other zeros in front, case or blanks, such as \
                     {log:?} for {table:?}: a spreadsheet eats zeros",
                    keys.alike
                ));
            }
        }
        let clicks = &figures.clicks;
        if figures.no_format * 5 > clicks.rows && figures.no_format < clicks.rows {
            notes.push(format!(
                "clicks: {} are no promotion links: a view with WHERE leaves other page views out, \
                 and they are not rejected",
                share(figures.no_format, clicks.rows)
            ));
        }
        if clicks.rows > 0 && clicks.filled("buyer_id") + clicks.filled("visitor_id") == 0 {
            notes.push("clicks name no buyer and no visitor: nobody can be paid for".to_owned());
        } else if figures.placed_lines > 0 && figures.by_buyer + figures.by_identities == 0 {
            let more = match (self.job.from_logs, clicks.filled("buyer_id")) {
                (false, 0) => {
                    ": clicks name visitors only, so identities or [identity] from_logs \
                               have to say who they are"
                }
                _ => ": are the buyers of both logs of one kind?",
            };
            notes.push(format!("no buyer of an order clicked on these dates{more}"));
        }
        notes.extend(self.unknown_visitors(figures));
        notes.extend(self.losses.iter().cloned());
        if !self.losses.is_empty() {
            notes.push(
                "`lookback backfill JOB --stale` makes again what can be made again".to_owned(),
            );
        }
        notes
    }
}

impl Understood {
    /// Many clicks that name only a visitor, of whom nothing says who that is.
    fn unknown_visitors(&self, figures: &Figures) -> Option<String> {
        let (rows, unknown) = (figures.clicks.rows, figures.only_visitor);
        let is_told = self.job.from_logs || self.job.identities.is_some();
        // Clicks without any buyer are noted above.
        if is_told || unknown * 20 < rows || figures.clicks.filled("buyer_id") == 0 {
            return None;
        }
        let more = match self.unnamed.get("identities") {
            Some(Unnamed { file, rows: Ok(rows) }) => {
                format!("{file} has {}: name it in [input]", in_rows(*rows))
            }
            _ => "identities or [identity] from_logs say who these are".to_owned(),
        };
        let share = share(unknown, rows);
        Some(format!("clicks: {share} name a visitor and no buyer, and earn nothing: {more}"))
    }
}

/// A program currency that is probably a mistake.
fn odd_currency(code: &str) -> Option<String> {
    let at = format!("[program] currency \"{code}\"");
    match Currency::from_code(code).map(|currency| currency.exponent()) {
        None => Some(format!("{at} is no code of ISO 4217, such as USD: is it meant?")),
        Some(None | Some(2)) => None,
        Some(Some(decimals)) => Some(format!(
            "{at} has {decimals} decimals, and amounts and commissions are rounded to two: is that \
             meant?"
        )),
    }
}

/// Times that look like those of another zone than UTC.
fn odd_hours(raw: &RawLog, looked: &Looked) -> Option<String> {
    let all: u64 = looked.hours.values().sum();
    let count = |of: &dyn Fn(i64) -> bool| -> u64 {
        looked.hours.iter().filter(|(hour, _)| of(**hour)).map(|(_, rows)| rows).sum()
    };
    // Single rows with wrong times are no sign of a zone.
    let common = looked.hours.iter().filter(|(_, rows)| **rows * 500 >= all);
    let common: Vec<i64> =
        common.map(|(hour, _)| *hour).filter(|hour| (-24..48).contains(hour)).collect();
    let (first, last) = (*common.first()?, *common.last()?);
    let (before, after) = (count(&|hour| hour < 0), count(&|hour| hour >= 24));
    let name = raw.log.name();
    if after * 20 > all && last >= 24 {
        let hours = last - 23;
        return Some(format!(
            "{name}: {} of the times are after the end of their landing date, up to {hours} hours: \
             are they local, and {hours} hours ahead of UTC? Rows more than an hour ahead are rejected. \
             Or are the folders named by local days? They are those of UTC",
            share(after, all)
        ));
    }
    if before * 20 > all && first < 0 && last < 23 {
        return Some(format!(
            "{name}: {} of the times are before their landing date, and none in its last {} hours: \
             are they local, and behind UTC?",
            share(before, all),
            23 - last
        ));
    }
    None
}
