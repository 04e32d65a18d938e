//! A figure: what it is called, what it means, and how a value of it is written.
//!
//! Refuses floating point, but for drawing.

use std::fmt;

use anyhow::{Context, Result};

use crate::model::{self, Column, ColumnKind};

/// A number with so many decimals.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Value {
    pub digits: i128,
    pub scale: u32,
}

/// A figure of a report.
#[derive(Debug)]
pub struct Figure {
    /// The column.
    pub name: &'static str,
    /// Such as `order amount`.
    pub label: &'static str,
    pub meaning: &'static str,
    /// The ids of the rules that it follows.
    pub rules: Vec<&'static str>,
    unit: Unit,
    /// Of a ratio: the columns that it is made of.
    pub ratio: Option<String>,
}

/// How values are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Unit {
    Count,
    Money,
    /// One money or count of another, in percent.
    Share,
    /// Money for each of something, with so many decimals.
    Each(u32),
}

impl Figure {
    /// A column whose note is `label: meaning (rules)`. The total decides how many decimals suit a
    /// ratio.
    pub fn of(column: &'static Column, total: Option<Value>) -> Result<Figure> {
        let (label, meaning) = column.note.split_once(": ").context("a note without a label")?;
        let (meaning, rules) = match meaning.strip_suffix(')').and_then(|it| it.rsplit_once(" (")) {
            Some((meaning, rules)) => (meaning, rules.split(", ").collect()),
            None => (meaning, Vec::new()),
        };
        let basis = model::named("view.performance")?;
        let ratio = basis.ratios.iter().find(|ratio| ratio.name == column.name);
        let kind = |name: &str| {
            let first = name.split(" + ").next().unwrap_or_default();
            basis.columns.iter().find(|column| column.name == first).map(|column| column.kind)
        };
        let is_small = total.is_none_or(|total| total.number().abs() < 10.0);
        let unit = match (ratio, column.kind) {
            (Some(ratio), _) if kind(&ratio.above) == kind(&ratio.below) => Unit::Share,
            (Some(_), _) => Unit::Each(if is_small { 4 } else { 2 }),
            (None, ColumnKind::Count) => Unit::Count,
            (None, _) => Unit::Money,
        };
        let ratio = ratio.map(|ratio| format!("sum({}) / sum({})", ratio.above, ratio.below));
        Ok(Figure { name: &column.name, label, meaning, rules, unit, ratio })
    }

    /// Whether values may be added up.
    pub fn adds_up(&self) -> bool {
        matches!(self.unit, Unit::Count | Unit::Money)
    }

    /// Between two lines of a scale: a count has no halves, and money no halves of a cent.
    pub fn least_step(&self) -> f64 {
        match self.unit {
            Unit::Count => 1.0,
            Unit::Money => 0.01,
            Unit::Share | Unit::Each(_) => 0.0,
        }
    }

    /// `Order amount`.
    pub fn title(&self) -> String {
        let mut letters = self.label.chars();
        letters
            .next()
            .map(|first| first.to_uppercase().chain(letters).collect())
            .unwrap_or_default()
    }

    /// As people read it; a dash where there is nothing to divide by.
    pub fn write(&self, value: Option<Value>) -> String {
        match (value, self.unit) {
            (None, _) => "–".to_owned(),
            (Some(value), Unit::Count) => value.rounded(0).to_string(),
            (Some(value), Unit::Money) => value.rounded(2).to_string(),
            (Some(value), Unit::Each(decimals)) => value.rounded(decimals).to_string(),
            (Some(value), Unit::Share) => {
                let percent = Value { digits: value.digits.saturating_mul(100), ..value };
                format!("{} %", percent.rounded(2))
            }
        }
    }
}

impl Value {
    pub const ZERO: Value = Value { digits: 0, scale: 0 };

    /// Half away from zero.
    pub fn rounded(self, decimals: u32) -> Value {
        let digits = match decimals.checked_sub(self.scale) {
            Some(more) => self.digits.saturating_mul(10_i128.pow(more)),
            None => {
                let unit = 10_i128.pow(self.scale - decimals);
                let half = if self.digits < 0 { -unit / 2 } else { unit / 2 };
                self.digits.saturating_add(half) / unit
            }
        };
        Value { digits, scale: decimals }
    }

    /// The sum of two values of one figure.
    pub fn plus(self, other: Value) -> Value {
        let scale = self.scale.max(other.scale);
        let (one, two) = (self.rounded(scale), other.rounded(scale));
        Value { digits: one.digits.saturating_add(two.digits), scale }
    }

    /// For drawing and for comparing sizes.
    pub fn number(self) -> f64 {
        self.digits as f64 / 10_f64.powi(self.scale as i32)
    }

    /// Without separators, such as `-1234.50`.
    pub fn plain(self) -> String {
        let digits =
            format!("{:0>width$}", self.digits.unsigned_abs(), width = self.scale as usize + 1);
        let (whole, decimals) = digits.split_at(digits.len() - self.scale as usize);
        let sign = if self.digits < 0 { "-" } else { "" };
        let point = if decimals.is_empty() { "" } else { "." };
        format!("{sign}{whole}{point}{decimals}")
    }
}

/// `-1,234.50`
impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plain = self.plain();
        let whole = plain.trim_start_matches('-');
        let (whole, decimals) = whole.split_at(whole.find('.').unwrap_or(whole.len()));
        let sign = if plain.starts_with('-') { "-" } else { "" };
        write!(f, "{sign}")?;
        for (position, digit) in whole.chars().enumerate() {
            if position > 0 && (whole.len() - position) % 3 == 0 {
                write!(f, ",")?;
            }
            write!(f, "{digit}")?;
        }
        write!(f, "{decimals}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_rounded_half_away_from_zero_and_grouped() {
        for (digits, scale, decimals, expected) in [
            (123_456_789, 2, 2, "1,234,567.89"),
            (-100_050, 2, 2, "-1,000.50"),
            (-100_050, 2, 1, "-1,000.5"),
            (242_760, 6, 4, "0.2428"),
            (242_750, 6, 4, "0.2428"),
            (-242_750, 6, 4, "-0.2428"),
            (-4, 2, 1, "0.0"),
            (999, 0, 0, "999"),
            (1000, 0, 2, "1,000.00"),
            (0, 2, 2, "0.00"),
        ] {
            let value = Value { digits, scale };
            assert_eq!(value.rounded(decimals).to_string(), expected);
        }
        let sum = Value { digits: 105, scale: 2 }.plus(Value { digits: 2, scale: 0 });
        assert_eq!((sum.plain().as_str(), sum.number()), ("3.05", 3.05));
    }
}
