//! A report as one page of HTML: no network, no script. It can be mailed, kept and printed.
//!
//! Names in it come from links and logs, where anybody may write anything: each one goes through
//! [`escaped`], and the page's policy lets nothing load or run.

use std::collections::BTreeSet;
use std::fmt::Write;

use chrono::{DateTime, NaiveDate, Utc};
use chrono_tz::Tz;

use super::figure::Figure;
use super::text::{missing, short};
use super::{Report, Row, Section, chart, rules};
use crate::model::ColumnKind;

const STYLE: &str = include_str!("page.css");

/// The whole page. `now` and `zone` say when it was made.
pub fn page(report: &Report, now: DateTime<Utc>, zone: Tz) -> String {
    let mut page = String::new();
    head(report, &mut page);
    let mut drawn = BTreeSet::new();
    for (position, section) in report.sections.iter().enumerate() {
        tell(report, section, position == 0, &mut drawn, &mut page);
    }
    tell_rules(report, &mut page);
    let made = now.with_timezone(&zone).format("%-d %B %Y, %H:%M");
    let _ = write!(
        page,
        "</main>\n<footer><p>Made on {made} ({}) by lookback {}. Ratios are of sums, and are not to \
         be averaged.</p></footer>\n</body>\n</html>\n",
        escaped(&report.zone),
        env!("CARGO_PKG_VERSION"),
    );
    page
}

fn head(report: &Report, page: &mut String) {
    let title = match report.sections.as_slice() {
        [only] => only.title,
        _ => "Affiliate program",
    };
    let program = report.program.as_deref().map(escaped).unwrap_or_default();
    let range = range(report.range.from, report.range.to);
    let _ = write!(
        page,
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src \
         'unsafe-inline'\">\n<title>{title}, {range}</title>\n<style>\n{STYLE}</style>\n</head>\n\
         <body>\n<a class=\"skip\" href=\"#main\">Skip to the figures</a>\n<header>\n"
    );
    if !program.is_empty() {
        let _ = writeln!(page, "<p class=\"program\"><bdi>{program}</bdi></p>");
    }
    let _ = write!(
        page,
        "<h1>{title}</h1>\n<p class=\"range\">{range}</p>\n<p class=\"meta\">{} report {} · amounts \
         in {} · days of {}</p>\n",
        report.range.days() - report.missing.len(),
        if report.range.days() - report.missing.len() == 1 { "date" } else { "dates" },
        escaped(&report.currency),
        escaped(&report.zone),
    );
    if let Some(missing) = missing(report) {
        let _ = writeln!(page, "<p class=\"warning\" role=\"note\">{missing}.</p>");
    }
    if report.sections.len() > 1 {
        page.push_str("<nav aria-label=\"Sections\"><ul>");
        for section in &report.sections {
            let _ = write!(page, "<li><a href=\"#{}\">{}</a></li>", section.name, section.title);
        }
        page.push_str("</ul></nav>\n");
    }
    page.push_str("</header>\n<main id=\"main\">\n");
}

/// Figures in `drawn` were drawn by a section before.
fn tell(
    report: &Report,
    section: &Section,
    is_first: bool,
    drawn: &mut BTreeSet<(&'static str, String)>,
    page: &mut String,
) {
    let name = section.name;
    let mut purpose = section.purpose.chars();
    let first = purpose.next().into_iter().flat_map(char::to_uppercase);
    let purpose: String = first.chain(purpose).collect();
    let _ = write!(
        page,
        "<section id=\"{name}\" aria-labelledby=\"{name}-title\">\n<h2 id=\"{name}-title\">{}</h2>\n\
         <p class=\"lead\">{purpose}</p>\n",
        section.title
    );
    let Some(total) = &section.total else {
        page.push_str("<p>Nothing happened.</p>\n</section>\n");
        return;
    };
    if is_first {
        page.push_str("<dl class=\"tiles\">");
        for (at, figure) in section.figures.iter().enumerate() {
            let _ = write!(
                page,
                "<div><dt>{}</dt><dd>{}</dd></div>",
                linked(section, figure),
                cell(figure, total, at)
            );
        }
        page.push_str("</dl>\n");
    }
    let figure = |at: usize| {
        let figure = &section.figures[at];
        (figure.name, figure.write(total.values[at]))
    };
    let fresh: Vec<usize> =
        section.drawn.iter().copied().filter(|at| drawn.insert(figure(*at))).collect();
    if section.days.len() > 1 && !fresh.is_empty() {
        page.push_str("<div class=\"charts\">\n");
        for at in fresh {
            page.push_str(&chart::chart(report, section, at));
        }
        page.push_str("</div>\n");
    }
    ranking(section, total, page);
    if section.days.len() > 1 {
        days(report, section, total, page);
    }
    meanings(section, page);
    let _ = write!(
        page,
        "<details><summary>The query behind the table</summary>\n<p>For <code>lookback query \
         job.toml \"…\"</code>, which gives the same figures as long as the dates are not made \
         again.</p>\n<pre tabindex=\"0\"><code id=\"query-{name}\">{}</code></pre></details>\n\
         </section>\n",
        escaped(&section.query)
    );
}

/// The rows by key, the others and the total.
fn ranking(section: &Section, total: &Row, page: &mut String) {
    let keys: Vec<&str> = section.keys.iter().map(|key| key.name.as_str()).collect();
    let keys = keys.join(" and ");
    let ranking = section.drawn[0];
    let ranked = &section.figures[ranking];
    let caption = match section.keys.first() {
        Some(key) if key.kind == ColumnKind::Date => format!("By {keys}"),
        _ => format!("By {keys}, the most {} first", ranked.label),
    };
    begin_table(section, &caption, page);
    for key in &section.keys {
        let _ = write!(page, "<th scope=\"col\">{}</th>", capital(&key.name));
    }
    headings(section, page);
    let most = section.rows.iter().filter_map(|row| row.values[ranking]);
    let most = most.map(|value| value.number()).fold(0.0, f64::max);
    for row in &section.rows {
        page.push_str("<tr>");
        for (at, (key, column)) in row.keys.iter().zip(&section.keys).enumerate() {
            let class = if column.kind == ColumnKind::Date { " class=\"date\"" } else { "" };
            let cell = if at == 0 { "th scope=\"row\"" } else { "td" };
            let end = if at == 0 { "th" } else { "td" };
            let _ = write!(page, "<{cell}{class}><bdi>{}</bdi></{end}>", escaped(&short(key, 120)));
        }
        for (at, figure) in section.figures.iter().enumerate() {
            let _ = write!(page, "<td>{}", cell(figure, row, at));
            let number = row.values[at].map(|value| value.number()).unwrap_or_default();
            if at == ranking && most > 0.0 {
                let share = (number / most * 100.0).clamp(0.0, 100.0);
                let _ = write!(
                    page,
                    "<span class=\"share\" aria-hidden=\"true\"><span style=\"width:{share:.1}%\">\
                     </span></span>"
                );
            }
            page.push_str("</td>");
        }
        page.push_str("</tr>\n");
    }
    page.push_str("</tbody><tfoot>\n");
    if let Some(others) = &section.others {
        last_row(section, &format!("{} others", others.adds_up), others, page);
    }
    last_row(section, "Total", total, page);
    page.push_str("</tfoot></table></div>\n");
}

fn last_row(section: &Section, label: &str, row: &Row, page: &mut String) {
    let span = section.keys.len().max(1);
    let _ = write!(page, "<tr><th scope=\"row\" colspan=\"{span}\">{label}</th>");
    figures(section, row, page);
}

fn figures(section: &Section, row: &Row, page: &mut String) {
    for (at, figure) in section.figures.iter().enumerate() {
        let _ = write!(page, "<td>{}</td>", cell(figure, row, at));
    }
    page.push_str("</tr>\n");
}

/// The table behind the charts.
fn days(report: &Report, section: &Section, total: &Row, page: &mut String) {
    let _ =
        writeln!(page, "<details id=\"{}-days\"><summary>Figures by day</summary>", section.name);
    begin_table(section, "By day, in order of time", page);
    page.push_str("<th scope=\"col\">Day</th>");
    headings(section, page);
    for (date, row) in &section.days {
        let _ = write!(page, "<tr><th scope=\"row\" class=\"date\">{date}</th>");
        let span = section.figures.len();
        match row {
            Some(row) => figures(section, row, page),
            None if report.missing.contains(date) => {
                let _ = writeln!(page, "<td class=\"none\" colspan=\"{span}\">not made</td></tr>");
            }
            None => {
                let _ = writeln!(page, "<td class=\"none\" colspan=\"{span}\">nothing</td></tr>");
            }
        }
    }
    page.push_str("</tbody><tfoot>\n<tr><th scope=\"row\">Total</th>");
    figures(section, total, page);
    page.push_str("</tfoot></table></div></details>\n");
}

/// Up to the first heading. The region can be scrolled with the keyboard.
fn begin_table(section: &Section, caption: &str, page: &mut String) {
    let _ = write!(
        page,
        "<div class=\"scroll\" role=\"region\" tabindex=\"0\" aria-label=\"{}: {caption}\"><table>\
         <caption>{caption}</caption>\n<thead><tr>",
        section.title
    );
}

fn headings(section: &Section, page: &mut String) {
    for figure in &section.figures {
        let _ = write!(page, "<th scope=\"col\">{}</th>", linked(section, figure));
    }
    page.push_str("</tr></thead>\n<tbody>\n");
}

/// What each figure of the section means, and the rules that it follows.
fn meanings(section: &Section, page: &mut String) {
    page.push_str("<details><summary>What these figures mean</summary>\n<dl class=\"meanings\">\n");
    for figure in &section.figures {
        let _ = write!(
            page,
            "<div id=\"f-{}-{}\"><dt>{}</dt><dd>{}",
            section.name,
            figure.name,
            figure.title(),
            capital(figure.meaning),
        );
        if let Some(ratio) = &figure.ratio {
            let _ =
                write!(page, ": <code>{ratio}</code> of these rows; never add it up or average it");
        }
        page.push_str(". <span class=\"rules\">Rules ");
        for (position, rule) in figure.rules.iter().enumerate() {
            let comma = if position > 0 { ", " } else { "" };
            let _ = write!(page, "{comma}<a href=\"#rule-{rule}\">{rule}</a>");
        }
        page.push_str("</span></dd></div>\n");
    }
    page.push_str("</dl></details>\n");
}

/// The rules that some figure names, as `docs/rules.md` tells them.
fn tell_rules(report: &Report, page: &mut String) {
    let figures = || report.sections.iter().flat_map(|section| &section.figures);
    page.push_str(
        "<section id=\"rules\" aria-labelledby=\"rules-title\">\n<h2 id=\"rules-title\">Rules</h2>\n\
         <p class=\"lead\">The rules of the program that these figures follow.</p>\n",
    );
    for (id, rule) in rules::ALL.iter() {
        if figures().any(|figure| figure.rules.contains(id)) {
            let _ = write!(
                page,
                "<details class=\"rule\"><summary>{id} {}</summary>\n<div id=\"rule-{id}\">{}</div>\
                 </details>\n",
                escaped(rule.title),
                rule.html
            );
        }
    }
    page.push_str("</section>\n");
}

fn linked(section: &Section, figure: &Figure) -> String {
    format!("<a href=\"#f-{}-{}\">{}</a>", section.name, figure.name, figure.title())
}

/// A figure as people read it, with the exact value for programs.
fn cell(figure: &Figure, row: &Row, at: usize) -> String {
    let text = figure.write(row.values[at]).replace('-', "−").replace(' ', "\u{a0}");
    match row.values[at] {
        Some(value) => format!("<data value=\"{}\">{text}</data>", value.plain()),
        None => format!("<span class=\"none\">{text}</span>"),
    }
}

/// `11 March to 9 April 2026`
fn range(from: NaiveDate, to: NaiveDate) -> String {
    use chrono::Datelike;
    let full = |date: NaiveDate| date.format("%-d %B %Y").to_string();
    match (from == to, from.year() == to.year()) {
        (true, _) => full(to),
        (false, true) => format!("{} to {}", from.format("%-d %B"), full(to)),
        (false, false) => format!("{} to {}", full(from), full(to)),
    }
}

fn capital(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map(|first| first.to_uppercase().chain(letters).collect()).unwrap_or_default()
}

/// Text as text, whatever it looks like, also within an attribute.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            // HTML has no control characters, not even as references.
            letter if letter.is_control() && letter != '\n' => {
                let _ = write!(escaped, "{}", letter.escape_unicode());
            }
            letter => escaped.push(letter),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_stay_text() {
        for (name, expected) in [
            ("<script>alert(1)</script>", "&lt;script&gt;alert(1)&lt;/script&gt;"),
            ("\" onload='x' &amp;", "&quot; onload=&#39;x&#39; &amp;amp;"),
            ("a\u{0}b\u{1b}", "a\\u{0}b\\u{1b}"),
            ("שלום 🦊", "שלום 🦊"),
        ] {
            assert_eq!(escaped(name), expected);
        }
    }

    #[test]
    fn dates_are_read_as_people_write_them() {
        let date = |text: &str| text.parse::<NaiveDate>().unwrap();
        let one = date("2026-03-11");
        assert_eq!(range(one, one), "11 March 2026");
        assert_eq!(range(one, date("2026-04-09")), "11 March to 9 April 2026");
        assert_eq!(range(date("2025-12-30"), one), "30 December 2025 to 11 March 2026");
    }
}
