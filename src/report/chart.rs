//! A figure day by day, as a drawing in SVG. Its words stand beside it in HTML, so that they keep
//! their size on a small screen.

use std::fmt::Write;

use chrono::NaiveDate;

use super::figure::Value;
use super::{Report, Section};

/// The drawing's own units. It is stretched to the width of the page.
const WIDTH: f64 = 720.0;
const HEIGHT: f64 = 160.0;

/// `Sat 7 March`
pub fn weekday(date: NaiveDate) -> String {
    date.format("%a %-d %B").to_string()
}

/// The figure at this position, with its scale and its highest and lowest days.
pub fn chart(report: &Report, section: &Section, at: usize) -> String {
    let figure = &section.figures[at];
    let days: Vec<(NaiveDate, Option<Value>)> = section
        .days
        .iter()
        .map(|(date, row)| {
            // On a date that was made and has no row, nothing happened.
            let made = !report.missing.contains(date);
            let none = made.then_some(Value::ZERO);
            (*date, row.as_ref().and_then(|row| row.values[at]).or(none))
        })
        .collect();
    let numbers = || days.iter().filter_map(|(_, value)| value.map(Value::number));
    let (least, most) = (numbers().fold(0.0, f64::min), numbers().fold(0.0, f64::max));
    let step = step(most - least).max(figure.least_step());
    let (floor, ceiling) = ((least / step).floor() * step, ((most / step).ceil() * step).max(step));
    let y = |number: f64| (ceiling - number) / (ceiling - floor) * HEIGHT;
    let known = || days.iter().filter_map(|(date, value)| Some((*date, (*value)?)));
    let by_size = |one: &(NaiveDate, Value), other: &(NaiveDate, Value)| {
        one.1.number().total_cmp(&other.1.number())
    };
    // Of equal days the first.
    let highest = known().rev().max_by(by_size);
    let lowest = known().min_by(by_size);
    let words = |day: Option<(NaiveDate, Value)>| match day {
        Some((date, value)) => format!("{} on {}", figure.write(Some(value)), weekday(date)),
        None => "–".to_owned(),
    };
    let (highest, lowest) = (words(highest), words(lowest));
    let total = section.total.as_ref().and_then(|row| row.values[at]);

    let mut out = String::new();
    let _ = write!(
        out,
        "<figure class=\"chart\"><figcaption><a href=\"#f-{}-{}\">{}</a> <strong>{}</strong> \
         <span>most {highest}</span></figcaption>\n<div class=\"plot\">",
        section.name,
        figure.name,
        figure.title(),
        figure.write(total),
    );
    let steps = ((ceiling - floor) / step).round() as i64;
    let mut grid = String::new();
    for line in 0..=steps {
        let number = floor + step * line as f64;
        let top = y(number);
        let class = if number.abs() < step / 2.0 { "zero" } else { "grid" };
        let _ = write!(
            grid,
            "<line class=\"{class}\" x1=\"0\" x2=\"{WIDTH}\" y1=\"{top:.1}\" y2=\"{top:.1}\"/>"
        );
        let _ = write!(
            out,
            "<span class=\"tick\" style=\"top:{:.1}%\" aria-hidden=\"true\">{}</span>",
            top / HEIGHT * 100.0,
            tick(number, step).replace('-', "−")
        );
    }
    let _ = write!(
        out,
        "\n<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" preserveAspectRatio=\"none\" role=\"img\" \
         aria-label=\"{} by day, {} to {}: in all {}, most {highest}, least {lowest}. Each day is in \
         the table of days.\">{grid}\n",
        figure.title(),
        report.range.from,
        report.range.to,
        figure.write(total),
    );
    let width = WIDTH / days.len() as f64;
    for (position, (date, value)) in days.iter().enumerate() {
        let left = width * position as f64;
        let number = value.map(Value::number).unwrap_or_default();
        let (top, bottom) = (y(number.max(0.0)), y(number.min(0.0)));
        let label = match value {
            Some(value) => figure.write(Some(*value)),
            None => "not made".to_owned(),
        };
        let _ = write!(
            out,
            "<g><title>{}: {label}</title><rect class=\"hit\" x=\"{left:.2}\" y=\"0\" \
             width=\"{width:.2}\" height=\"{HEIGHT}\"/><rect class=\"bar\" x=\"{:.2}\" \
             y=\"{top:.2}\" width=\"{:.2}\" height=\"{:.2}\"/></g>",
            weekday(*date),
            left + width * 0.12,
            width * 0.76,
            bottom - top,
        );
    }
    out.push_str("</svg></div>\n<div class=\"axis\" aria-hidden=\"true\">");
    let mut marks = vec![0, days.len() / 2, days.len() - 1];
    marks.dedup();
    for position in marks {
        // Below the middle of its bar, but within the drawing.
        let middle = (position as f64 + 0.5) / days.len() as f64 * 100.0;
        let (class, left) = match middle {
            middle if middle < 6.0 => (" class=\"first\"", 0.0),
            middle if middle > 94.0 => (" class=\"last\"", 100.0),
            middle => ("", middle),
        };
        let date = days[position].0.format("%-d %b");
        let _ = write!(out, "<span{class} style=\"left:{left:.1}%\">{date}</span>");
    }
    out.push_str("</div></figure>\n");
    out
}

/// A round step, so that a scale has two to five.
fn step(span: f64) -> f64 {
    if span <= 0.0 {
        return 1.0;
    }
    let unit = 10_f64.powf((span / 4.0).log10().floor());
    let steps = [1.0, 2.0, 2.5, 5.0, 10.0].map(|times| times * unit);
    steps.into_iter().find(|step| span / step <= 4.0).unwrap_or(unit * 10.0)
}

/// A number of the scale, with as many decimals as its step needs.
fn tick(number: f64, step: f64) -> String {
    let scale = if step >= 1.0 && step.fract() == 0.0 { 0 } else { 2 };
    let digits = (number * 10_f64.powi(scale)).round() as i128;
    Value { digits, scale: scale.unsigned_abs() }.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scale_is_round() {
        for (span, expected) in
            [(4411.0, 2000.0), (900.0, 250.0), (0.3, 0.1), (7.0, 2.0), (0.0, 1.0)]
        {
            assert_eq!(step(span), expected, "{span}");
        }
        assert_eq!(tick(2000.0, 1000.0), "2,000");
        assert_eq!(tick(-0.5, 0.25), "-0.50");
    }
}
