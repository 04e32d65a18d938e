//! The lineage that order dates and report dates would have now: digests of the clean rows and the
//! conversions that they read.

use std::collections::BTreeMap;

use anyhow::Result;
use chrono::NaiveDate;

use super::{CLICKS, CONVERSIONS, ORDERS, SETTINGS, VERSION, report_tables, versions};
use crate::days::DateRange;
use crate::job::Job;
use crate::raw::Log;
use crate::warehouse::write::NewFile;
use crate::warehouse::{Lineage, Warehouse};

/// Digests of all clean rows and conversions, by the local date of their time.
pub struct Inputs<'a> {
    job: &'a Job,
    clicks: Sums,
    orders: Sums,
    conversions: BTreeMap<NaiveDate, u64>,
    /// The running sums of `conversions`.
    conversion_sums: Sums,
}

impl<'a> Inputs<'a> {
    /// The tables as they are, without landing dates after `as_of` (D3).
    pub fn of(job: &'a Job, warehouse: &Warehouse, as_of: Option<NaiveDate>) -> Result<Inputs<'a>> {
        let rows = |log: Log| -> Result<Sums> {
            let mut by_date: BTreeMap<NaiveDate, u64> = BTreeMap::new();
            let files = warehouse.table(log.clean_table())?.files.iter();
            let is_read = |dt: NaiveDate| as_of.is_none_or(|last| dt <= last);
            for file in files.filter(|file| is_read(file.partition.date)) {
                for (date, digest) in &file.row_digests {
                    let sum = by_date.entry(*date).or_default();
                    *sum = sum.wrapping_add(*digest);
                }
            }
            Ok(Sums::of(&by_date))
        };
        let files = warehouse.table("attribution.conversions")?.files.iter();
        let conversions: BTreeMap<NaiveDate, u64> =
            files.map(|file| (file.partition.date, of_rows(&file.row_digests))).collect();
        Ok(Inputs {
            job,
            clicks: rows(Log::Clicks)?,
            orders: rows(Log::Orders)?,
            conversion_sums: Sums::of(&conversions),
            conversions,
        })
    }

    /// The same with conversions that are not visible yet.
    pub fn with_conversions(mut self, files: &[NewFile]) -> Inputs<'a> {
        let files = files.iter().map(|file| (file.partition.date, of_rows(&file.row_digests)));
        self.conversions.extend(files);
        self.conversion_sums = Sums::of(&self.conversions);
        self
    }

    /// What the conversions of an order date depend on.
    pub fn of_conversions(&self, date: NaiveDate) -> Result<Lineage> {
        let reach = self.job.reach();
        Ok(Lineage::from([
            (CLICKS.to_owned(), self.clicks.over(reach.clicked_on(date))),
            (ORDERS.to_owned(), self.orders.over(reach.events_on(date))),
            (SETTINGS.to_owned(), self.job.attribution().to_string()),
            (VERSION.to_owned(), versions(&["attribution.conversions"])?),
        ]))
    }

    /// What a report date depends on: the same, and conversions whose events may fall on it.
    pub fn of_report(&self, date: NaiveDate) -> Result<Lineage> {
        let mut lineage = self.of_conversions(date)?;
        let placed = self.job.reach().placed_on(date);
        lineage.insert(CONVERSIONS.to_owned(), self.conversion_sums.over(placed));
        let tables: Vec<&str> = report_tables()?.into_iter().map(|model| model.name).collect();
        lineage.insert(VERSION.to_owned(), versions(&tables)?);
        Ok(lineage)
    }
}

fn of_rows(digests: &BTreeMap<NaiveDate, u64>) -> u64 {
    digests.values().fold(0, |sum, digest| sum.wrapping_add(*digest))
}

/// Running sums by date, so that the digest of a range of dates is one subtraction.
struct Sums {
    dates: Vec<NaiveDate>,
    sums: Vec<u128>,
}

impl Sums {
    fn of(digests: &BTreeMap<NaiveDate, u64>) -> Sums {
        let mut sums = Sums { dates: Vec::new(), sums: vec![0] };
        let mut sum: u128 = 0;
        // A date without rows is like a date that is not there.
        for (date, digest) in digests.iter().filter(|(_, digest)| **digest != 0) {
            let text = format!("{date} {digest:x}");
            let mut bytes = [0; 16];
            bytes.copy_from_slice(&blake3::hash(text.as_bytes()).as_bytes()[..16]);
            sum = sum.wrapping_add(u128::from_le_bytes(bytes));
            sums.dates.push(*date);
            sums.sums.push(sum);
        }
        sums
    }

    fn over(&self, range: DateRange) -> String {
        let from = self.dates.partition_point(|date| *date < range.from);
        let to = self.dates.partition_point(|date| *date <= range.to).max(from);
        format!("{:032x}", self.sums[to].wrapping_sub(self.sums[from]))
    }
}
