//! Whether an order date or a report date is up to date, as the tables are now (D7).

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Result;
use chrono::NaiveDate;

use super::{Inputs, Touched, changes, is_of_first_version, made_report};
use crate::days::DateRange;
use crate::job::Job;
use crate::raw::Log;
use crate::reference::Key;
use crate::warehouse::write::NewFile;
use crate::warehouse::{Partition, Warehouse};

/// Clean dates that are outdated, and why. What reads them is outdated if their rows change.
pub type Unclean = BTreeMap<(Log, NaiveDate), String>;

/// Keys of one kind that are named one by one. More are counted.
const NAMED: usize = 3;

/// Compares what dates were made from with what they would be made from now.
pub struct Judge<'a> {
    job: &'a Job,
    warehouse: &'a Warehouse,
    inputs: Inputs<'a>,
    touched: &'a Touched,
    unclean: &'a Unclean,
}

impl<'a> Judge<'a> {
    /// Of the tables as they are, without landing dates after `as_of` (D3).
    pub fn new(
        job: &'a Job,
        warehouse: &'a Warehouse,
        touched: &'a Touched,
        unclean: &'a Unclean,
        as_of: Option<NaiveDate>,
    ) -> Result<Judge<'a>> {
        let inputs = Inputs::of(job, warehouse, as_of)?;
        Ok(Judge { job, warehouse, inputs, touched, unclean })
    }

    /// The same with conversions that are not visible yet.
    pub fn with_conversions(self, files: &[NewFile]) -> Judge<'a> {
        Judge { inputs: self.inputs.with_conversions(files), ..self }
    }

    /// Why an order date is outdated by its settings, its clean rows as they are, and its reference
    /// rows. None when it is not.
    pub fn why_order_date(&self, date: NaiveDate) -> Result<Option<String>> {
        let table = self.warehouse.table("attribution.conversions")?;
        let partition = Partition::of(date);
        let Some(made) = table.lineage(&partition) else {
            let is_lost = table.is_lost(&partition);
            return Ok(Some(if is_lost { LOST } else { NOT_MADE }.to_owned()));
        };
        let why = changes(made, &self.inputs.of_conversions(date)?);
        let keys = self.touched.orders.get(&date).map(describe);
        Ok(why.or(keys))
    }

    /// The same for a report date, with its conversions as they are.
    pub fn why_report_date(&self, date: NaiveDate) -> Result<Option<String>> {
        match made_report(self.warehouse, date)? {
            Some(made) => Ok(changes(made, &self.inputs.of_report(date)?)),
            None => Ok(Some(self.why_incomplete(date)?.to_owned())),
        }
    }

    /// Why a report date has not all of its tables, or tables that were made from different inputs.
    fn why_incomplete(&self, date: NaiveDate) -> Result<&'static str> {
        let partition = Partition::of(date);
        let (mut is_lost, mut is_old, mut is_any) = (false, false, false);
        for model in super::report_tables()? {
            let table = self.warehouse.table(model.name)?;
            let lineage = table.lineage(&partition);
            is_lost |= table.is_lost(&partition);
            is_old |= lineage.is_some_and(is_of_first_version);
            is_any |= lineage.is_some();
        }
        Ok(match (is_lost, is_old, is_any) {
            (true, ..) => LOST,
            (_, true, _) => OLD,
            (.., true) => "not in all report tables",
            _ => NOT_MADE,
        })
    }

    /// Why the clean rows of an order date may change: a clean date in its reach is outdated.
    pub fn why_perhaps(&self, date: NaiveDate) -> Option<&'a str> {
        let reach = self.job.reach();
        let clicks = self.why_unclean(Log::Clicks, reach.clicked_on(date));
        clicks.or_else(|| self.why_unclean(Log::Orders, reach.events_on(date)))
    }

    fn why_unclean(&self, log: Log, dates: DateRange) -> Option<&'a str> {
        let reach = self.job.reach();
        let is_in_reach = |dt: NaiveDate| {
            let rows = reach.local_dates_of_landing(dt);
            rows.from <= dates.to && dates.from <= rows.to
        };
        let mut unclean = self.unclean.iter();
        let found = unclean.find(|((of, dt), _)| *of == log && is_in_reach(*dt));
        found.map(|(_, why)| why.as_str())
    }
}

pub const NOT_MADE: &str = "not made yet";
pub const OLD: &str = "made by an earlier release";
pub const LOST: &str = "its file is gone";

/// "rate of product p2 changed"
pub fn describe(keys: &BTreeSet<Key>) -> String {
    let mut by_table: BTreeMap<&str, Vec<&Key>> = BTreeMap::new();
    for key in keys {
        by_table.entry(key.table).or_default().push(key);
    }
    let words = by_table.into_iter().map(|(table, keys)| match keys.len() <= NAMED {
        true => keys.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "),
        false => format!("{} {}", keys.len(), table.replace('_', " ")),
    });
    format!("{} changed", words.collect::<Vec<_>>().join(", "))
}
