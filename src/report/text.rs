//! A report as plain text, at most [`WIDTH`] columns wide. Letters and blocks only, no colours: it
//! looks the same on a terminal, in a file and in a mail.

use std::fmt::Write;
use std::iter::once;

use unicode_width::UnicodeWidthStr;

use super::figure::Value;
use super::{Report, Row, Section};
use crate::days;

const WIDTH: usize = 100;
/// The widest that a key's column gets.
const KEY_WIDTH: usize = 28;
/// At most so many bars stand side by side; days share bars beyond that.
const SPARKS: usize = 60;
/// The width of the bars in a table.
const BAR_WIDTH: usize = 8;

pub fn text(report: &Report) -> String {
    let mut text = String::new();
    let program = report.program.iter().map(|name| format!("{}, ", readable(name)));
    let program: String = program.collect();
    for (position, section) in report.sections.iter().enumerate() {
        let gap = if position > 0 { "\n\n" } else { "" };
        let _ = writeln!(text, "{gap}{}: {}", section.title, section.purpose);
        let _ = writeln!(
            text,
            "{program}report dates {}, {}, in {}\n",
            report.range, report.zone, report.currency
        );
        days(section, &mut text);
        table(section, &mut text);
    }
    if let Some(missing) = missing(report) {
        let _ = writeln!(text, "\n{missing}");
    }
    text
}

/// Says which dates of the range were never made.
pub fn missing(report: &Report) -> Option<String> {
    if report.missing.is_empty() {
        return None;
    }
    let dates = days::describe(report.missing.iter().copied());
    let (count, range) = (report.missing.len(), report.range.days());
    Some(format!("{count} of {range} dates were not made and are not in the figures: {dates}"))
}

/// A line of bars for each figure that is drawn.
fn days(section: &Section, text: &mut String) {
    if section.days.len() < 2 || section.total.is_none() {
        return;
    }
    let per_bar = section.days.len().div_ceil(SPARKS);
    let drawn = section.drawn.iter().map(|at| (&section.figures[*at], *at));
    let lines: Vec<_> = drawn
        .map(|(figure, at)| {
            let total = section.total.as_ref().and_then(|row| row.values[at]);
            let (bars, highest) = bars(section, at, per_bar);
            let highest = match highest {
                Some((value, days)) => format!("most {} on {days}", figure.write(Some(value))),
                None => String::new(),
            };
            (figure.title(), figure.write(total), bars, highest)
        })
        .collect();
    let wide = |part: fn(&(String, String, String, String)) -> &str| {
        lines.iter().map(|line| part(line).width()).max().unwrap_or_default()
    };
    let (titles, totals) = (wide(|line| &line.0), wide(|line| &line.1));
    for (title, total, bars, highest) in &lines {
        let space = " ".repeat(titles - title.width());
        let line = format!("{title}{space}  {total:>totals$}  {bars}");
        match line.width() + 2 + highest.width() <= WIDTH {
            true => _ = writeln!(text, "{line}  {highest}"),
            false => _ = writeln!(text, "{line}"),
        }
    }
    let any = |mark: char| lines.iter().any(|line| line.2.contains(mark));
    let mut legend = Vec::new();
    if per_bar > 1 {
        legend.push(format!("a bar is {per_bar} days"));
    }
    if any(NEGATIVE) {
        legend.push(format!("{NEGATIVE} is below zero"));
    }
    if !legend.is_empty() {
        let _ = writeln!(text, "{}  {}", " ".repeat(titles + 2 + totals), legend.join(", "));
    }
    text.push('\n');
}

const NEGATIVE: char = '-';
const BLOCKS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// The bars from zero up, and the highest one.
fn bars(section: &Section, at: usize, per_bar: usize) -> (String, Option<(Value, String)>) {
    let sums: Vec<(String, Option<Value>)> = section
        .days
        .chunks(per_bar)
        .map(|days| {
            let values =
                days.iter().filter_map(|(_, row)| row.as_ref().and_then(|it| it.values[at]));
            let dates = match (days.first(), days.last()) {
                (Some((first, _)), Some((last, _))) if first != last => {
                    format!("{first} to {last}")
                }
                (Some((day, _)), _) => day.to_string(),
                _ => String::new(),
            };
            (dates, values.reduce(Value::plus))
        })
        .collect();
    let highest = sums.iter().filter_map(|(dates, value)| Some(((*value)?, dates)));
    let highest =
        highest.reduce(|best, next| if next.0.number() > best.0.number() { next } else { best });
    let most = highest.map(|(value, _)| value.number()).unwrap_or_default();
    let bar = |value: Option<Value>| match value.map(Value::number) {
        None | Some(0.0) => ' ',
        Some(number) if number < 0.0 => NEGATIVE,
        Some(number) => {
            let eighths = (number / most * 8.0).ceil() as usize;
            BLOCKS[eighths.clamp(1, 8) - 1]
        }
    };
    let bars = sums.iter().map(|(_, value)| bar(*value)).collect();
    (bars, highest.map(|(value, dates)| (value, dates.clone())))
}

/// A column of the table: a heading, and a cell for each row.
struct Column {
    heading: Vec<String>,
    cells: Vec<String>,
    width: usize,
    is_text: bool,
}

impl Column {
    /// A line of the heading, which ends just above the table.
    fn heading_at(&self, row: usize, height: usize) -> &str {
        let at = row.checked_sub(height - self.heading.len());
        at.and_then(|at| self.heading.get(at)).map_or("", String::as_str)
    }
}

/// The rows, the others and the total. Columns that do not fit side by side stand below each other.
fn table(section: &Section, text: &mut String) {
    let Some(total) = &section.total else {
        let _ = writeln!(text, "nothing happened");
        return;
    };
    let rows: Vec<&Row> = section.rows.iter().chain(&section.others).chain(once(total)).collect();
    let count = rows.len();
    let others = section.others.as_ref().map(|row| format!("{} others", row.adds_up));
    let keys: Vec<Column> = section
        .keys
        .iter()
        .enumerate()
        .map(|(at, key)| {
            let mut cells: Vec<String> =
                section.rows.iter().map(|row| short(&readable(&row.keys[at]), KEY_WIDTH)).collect();
            let last =
                if at == 0 { others.clone() } else { others.as_ref().map(|_| String::new()) };
            cells.extend(last);
            cells.push(if at == 0 { "total".to_owned() } else { String::new() });
            let heading = vec![key.name.clone()];
            Column { width: widest(heading.iter().chain(&cells)), heading, cells, is_text: true }
        })
        .collect();
    let mut figures: Vec<Column> = section
        .figures
        .iter()
        .enumerate()
        .map(|(at, figure)| {
            let cells: Vec<String> = rows.iter().map(|row| figure.write(row.values[at])).collect();
            let title = figure.title();
            let words = title.split(' ').map(str::to_owned).collect::<Vec<_>>();
            let width = widest(words.iter().chain(&cells));
            Column { heading: wrapped(&words, width), cells, width, is_text: false }
        })
        .collect();
    let ranking = section.drawn[0];
    let most = section.rows.iter().filter_map(|row| row.values[ranking]).map(Value::number);
    let most = most.fold(0.0, f64::max);
    let bars: Vec<String> = (0..count)
        .map(|row| match section.rows.get(row).and_then(|row| row.values[ranking]) {
            Some(value) => bar(value.number(), most),
            None => String::new(),
        })
        .collect();
    let bars = Column { heading: Vec::new(), width: BAR_WIDTH, cells: bars, is_text: true };
    figures.insert(ranking + 1, bars);
    let of_keys: usize = keys.iter().map(|key| key.width + 2).sum();
    let mut shown = 0;
    while shown < figures.len() {
        let mut width = of_keys + figures[shown].width;
        let mut end = shown + 1;
        while end < figures.len() && width + 2 + figures[end].width <= WIDTH {
            width += 2 + figures[end].width;
            end += 1;
        }
        let columns: Vec<&Column> = keys.iter().chain(&figures[shown..end]).collect();
        if shown > 0 {
            text.push('\n');
        }
        block(&columns, section.rows.len(), text);
        shown = end;
    }
}

fn block(columns: &[&Column], ranked: usize, text: &mut String) {
    let height = columns.iter().map(|column| column.heading.len()).max().unwrap_or_default();
    for row in 0..height {
        line(columns, |column| column.heading_at(row, height).to_owned(), text);
    }
    let rule = |column: &Column| "─".repeat(column.width);
    line(columns, rule, text);
    let rows = columns.first().map(|column| column.cells.len()).unwrap_or_default();
    for row in 0..rows {
        if row + 1 == rows && ranked > 0 {
            line(columns, rule, text);
        }
        line(columns, |column| column.cells[row].clone(), text);
    }
}

/// A line of the table, of a cell of each column.
fn line(columns: &[&Column], cell: impl Fn(&Column) -> String, text: &mut String) {
    let cells = columns.iter().map(|column| {
        let cell = cell(column);
        let space = " ".repeat(column.width.saturating_sub(cell.width()));
        if column.is_text { cell + &space } else { space + &cell }
    });
    let _ = writeln!(text, "{}", cells.collect::<Vec<_>>().join("  ").trim_end());
}

fn widest<'a>(texts: impl Iterator<Item = &'a String>) -> usize {
    texts.map(|text| text.width()).max().unwrap_or_default()
}

/// Words in lines of this width.
fn wrapped(words: &[String], width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in words {
        match lines.last_mut() {
            Some(line) if line.width() + 1 + word.width() <= width => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.clone()),
        }
    }
    lines
}

/// A bar from zero, in eighths of a letter. Empty at zero and below.
fn bar(number: f64, most: f64) -> String {
    if number <= 0.0 || most <= 0.0 {
        return String::new();
    }
    let eighths = ((number / most * BAR_WIDTH as f64 * 8.0).round() as usize).max(1);
    let rest = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"][eighths % 8];
    format!("{}{rest}", "█".repeat(eighths / 8))
}

/// A name without letters that would move the cursor, colour the terminal or turn the line around.
pub fn readable(name: &str) -> String {
    let is_hidden = |letter: char| {
        letter.is_control()
            || matches!(
                letter,
                '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}' | '\u{200c}' | '\u{200e}' | '\u{200f}'
                    | '\u{2028}'..='\u{202e}'
                    | '\u{2060}'..='\u{206f}'
                    | '\u{feff}'
                    | '\u{e0000}'..='\u{e007f}'
            )
    };
    let shown = name.chars().map(|letter| match is_hidden(letter) {
        true => letter.escape_unicode().to_string(),
        false => letter.to_string(),
    });
    shown.collect()
}

/// At most so wide, with an ellipsis where something is cut.
pub fn short(name: &str, width: usize) -> String {
    // Letters without width of their own, such as accents, are bounded, too.
    let most = width * 4;
    if name.width() <= width && name.chars().count() <= most {
        return name.to_owned();
    }
    let mut cut = String::new();
    for (position, letter) in name.chars().enumerate() {
        if position >= most || cut.width() + letter.to_string().width() >= width {
            break;
        }
        cut.push(letter);
    }
    cut + "…"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_cannot_reach_the_terminal() {
        assert_eq!(readable("\u{1b}[31mred\u{202e}"), "\\u{1b}[31mred\\u{202e}");
        assert_eq!(readable("שלום 🦊 O'Neill's"), "שלום 🦊 O'Neill's");
        assert_eq!(short(&"x".repeat(28), 28).width(), 28);
        assert_eq!(short(&"狐".repeat(28), 28).width(), 27);
    }

    #[test]
    fn bars_begin_at_zero() {
        assert_eq!(bar(1.0, 1.0), "████████");
        assert_eq!(bar(0.5, 1.0), "████");
        assert_eq!(bar(0.001, 1.0), "▏");
        assert_eq!(bar(-1.0, 1.0), "");
        assert_eq!(bar(0.0, 0.0), "");
    }

    #[test]
    fn headings_are_wrapped_at_blanks() {
        let words: Vec<String> = ["lines", "a", "bb"].map(str::to_owned).to_vec();
        assert_eq!(wrapped(&words, 5), ["lines", "a bb"]);
    }
}
