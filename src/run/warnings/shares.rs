//! The share of order lines that is attributed, and what is usual.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use std::iter::Sum;

use anyhow::Result;
use chrono::NaiveDate;

use super::share;
use crate::days;
use crate::engine::Params;
use crate::model;
use crate::run::limits::{TOO_FEW_DATES, USUAL_DATES, date_at};
use crate::run::report::rows;
use crate::run::workspace::Workspace;
use crate::summary::grouped;

const CONVERSIONS: &str = "attribution.conversions";

/// Order lines, and how many of them are attributed.
#[derive(Debug, Clone, Copy, Default)]
pub struct Lines {
    attributed: u64,
    all: u64,
}

impl Lines {
    pub fn add(&mut self, lines: u64, are_attributed: bool) {
        self.all += lines;
        self.attributed += if are_attributed { lines } else { 0 };
    }

    /// Such as "0.4321". None where there is no line.
    pub fn share(self) -> Option<String> {
        (self.all > 0).then(|| share(self.attributed.into(), self.all.into()))
    }

    fn compare(&self, other: &Lines) -> Ordering {
        let product = |one: &Lines, two: &Lines| u128::from(one.attributed) * u128::from(two.all);
        product(self, other).cmp(&product(other, self))
    }
}

impl Sum for Lines {
    fn sum<I: Iterator<Item = Lines>>(all: I) -> Lines {
        all.fold(Lines::default(), |sum, lines| Lines {
            attributed: sum.attributed + lines.attributed,
            all: sum.all + lines.all,
        })
    }
}

/// The median of shares: the mean of the middle two, which may be the same.
struct Median(Lines, Lines);

impl Median {
    /// None where there are too few dates to say what is usual.
    fn of(mut usual: Vec<Lines>) -> Option<Median> {
        if usual.len() < TOO_FEW_DATES {
            return None;
        }
        usual.sort_by(Lines::compare);
        Some(Median(*usual.get((usual.len() - 1) / 2)?, *usual.get(usual.len() / 2)?))
    }

    /// Numerator and denominator.
    fn fraction(&self) -> (u128, u128) {
        let Median(one, two) = self;
        let wide = |lines: &Lines| (u128::from(lines.attributed), u128::from(lines.all));
        let ((one, of_one), (two, of_two)) = (wide(one), wide(two));
        (one * of_two + two * of_one, 2 * of_one * of_two)
    }

    fn is_more_than_twice(&self, lines: &Lines) -> bool {
        let (median, of) = self.fraction();
        2 * u128::from(lines.attributed) * of < median * u128::from(lines.all)
    }
}

/// Report dates of this run of which less than half as many order lines are attributed as usual.
pub async fn low(workspace: &Workspace<'_>) -> Result<Option<String>> {
    let made = &workspace.placed;
    let with_lines = workspace.warehouse.table(CONVERSIONS)?.files.iter();
    let with_lines = with_lines.filter(|file| file.rows() > 0 && !file.is_lost);
    let with_lines: BTreeSet<NaiveDate> =
        with_lines.map(|file| file.partition.date).chain(made.keys().copied()).collect();
    let before = |date: NaiveDate| with_lines.range(..date).rev().take(USUAL_DATES).copied();
    let can_be_told = |date: &NaiveDate| before(*date).count() >= TOO_FEW_DATES;
    let to_tell: Vec<NaiveDate> = made.keys().copied().filter(can_be_told).collect();
    let others = to_tell.iter().flat_map(|date| before(*date));
    let others: BTreeSet<NaiveDate> = others.filter(|date| !made.contains_key(date)).collect();
    let mut known = stored(workspace, &others).await?;
    known.extend(made);

    let mut low: BTreeMap<NaiveDate, (Lines, Median)> = BTreeMap::new();
    for date in to_tell {
        let usual = before(date).filter_map(|date| known.get(&date).copied()).collect();
        let (Some(median), Some(lines)) = (Median::of(usual), made.get(&date)) else { continue };
        if median.is_more_than_twice(lines) {
            low.insert(date, (*lines, median));
        }
    }
    Ok(sentence(&low))
}

/// The lines of other order dates, as they are in the warehouse. This run made no other rows of them.
async fn stored(
    workspace: &Workspace<'_>,
    dates: &BTreeSet<NaiveDate>,
) -> Result<BTreeMap<NaiveDate, Lines>> {
    let mut stored = BTreeMap::new();
    if dates.is_empty() {
        return Ok(stored);
    }
    let engine = workspace.engine.fork()?;
    workspace.register_stored(&engine, CONVERSIONS, |date| dates.contains(&date))?;
    let model = model::named("summary.attributed_lines")?;
    for batch in engine.collect(model, &Params::new()).await? {
        for row in 0..batch.num_rows() {
            let lines = Lines { attributed: rows(&batch, 1, row), all: rows(&batch, 2, row) };
            stored.insert(date_at(batch.column(0), row)?, lines);
        }
    }
    Ok(stored)
}

fn sentence(low: &BTreeMap<NaiveDate, (Lines, Median)>) -> Option<String> {
    let (first, (_, median)) = low.first_key_value()?;
    let lines: Lines = low.values().map(|(lines, _)| *lines).sum();
    let (median, of) = median.fraction();
    Some(format!(
        "report {} {}: {} of {} order {} attributed, a share of {}, less than half of what is usual \
         ({} is the median of the dates with order lines before {first}); look at rejected clicks, \
         and whether clicks name the same buyers and visitors as before",
        if low.len() == 1 { "date" } else { "dates" },
        days::describe(low.keys().copied()),
        grouped(lines.attributed),
        grouped(lines.all),
        if lines.all == 1 { "line is" } else { "lines are" },
        share(lines.attributed.into(), lines.all.into()),
        share(median, of),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(attributed: u64, all: u64) -> Lines {
        Lines { attributed, all }
    }

    #[test]
    fn half_of_the_median_is_not_less_than_half_of_it() {
        // Shares 0, 1/9, 1/6, 1/3, 1/2, 1, 1: the one in the middle is 1/3.
        let usual = [(5, 5), (1, 9), (1, 3), (0, 4), (3, 6), (1, 6), (7, 7)];
        let usual = usual.map(|(attributed, all)| lines(attributed, all)).to_vec();
        let median = Median::of(usual.clone()).unwrap();
        assert_eq!(share(median.fraction().0, median.fraction().1), "0.3333");
        assert!(!median.is_more_than_twice(&lines(1, 6)));
        assert!(median.is_more_than_twice(&lines(166_666, 1_000_000)));
        assert!(median.is_more_than_twice(&lines(0, 1)));
        // With one more the middle is between 1/3 and 1/2, at 5/12.
        let one_more = usual.iter().copied().chain([lines(9, 10)]).collect();
        let median = Median::of(one_more).unwrap();
        assert_eq!(share(median.fraction().0, median.fraction().1), "0.4167");
        assert!(!median.is_more_than_twice(&lines(5, 24)));
        assert!(Median::of(usual[..6].to_vec()).is_none());
    }

    #[test]
    fn a_share_has_four_decimals() {
        assert_eq!(lines(2, 3).share().unwrap(), "0.6667");
        assert_eq!(lines(0, 3).share().unwrap(), "0.0000");
        assert_eq!(lines(3, 3).share().unwrap(), "1.0000");
        assert_eq!(lines(0, 0).share(), None);
    }
}
