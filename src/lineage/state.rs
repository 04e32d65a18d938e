//! The lineage that order dates and report dates would have now: computed from all clean dates, all
//! conversions, the reference rows and the settings.

use std::collections::BTreeMap;

use anyhow::Result;
use chrono::NaiveDate;

use super::{SETTINGS, besides_raw, digest, reference_tables, sql};
use crate::days::DateRange;
use crate::job::Job;
use crate::raw::Log;
use crate::reference::Reference;
use crate::warehouse::{Lineage, Warehouse};

/// The lineage of all clean dates and the digests of all conversions. The lineage of order dates
/// and report dates follows from them.
pub struct InputState<'a> {
    job: &'a Job,
    reference: &'a Reference,
    clicks: BTreeMap<NaiveDate, Lineage>,
    orders: BTreeMap<NaiveDate, Lineage>,
    /// The digest of each order date's file.
    conversions: BTreeMap<NaiveDate, String>,
}

impl<'a> InputState<'a> {
    /// The state of the tables as they are: what a date published now is made from.
    pub fn as_read(
        job: &'a Job,
        reference: &'a Reference,
        warehouse: &Warehouse,
    ) -> Result<InputState<'a>> {
        let lineages = |name: &str| -> Result<BTreeMap<NaiveDate, Lineage>> {
            let table = warehouse.table(name)?;
            let files = table.files.iter();
            Ok(files.map(|file| (file.partition.date, file.lineage.clone())).collect())
        };
        let (clicks, orders) = (lineages("clean.clicks")?, lineages("clean.order_events")?);
        let files = warehouse.table("attribution.conversions")?.files.iter();
        let conversions = files.map(|file| (file.partition.date, file.digest.clone())).collect();
        Ok(InputState { job, reference, clicks, orders, conversions })
    }

    /// The state of the tables if they were made with the present reference rows and settings: what
    /// a date that is up to date was made from.
    pub fn as_of_today(
        job: &'a Job,
        reference: &'a Reference,
        warehouse: &Warehouse,
    ) -> Result<InputState<'a>> {
        let mut inputs = InputState::as_read(job, reference, warehouse)?;
        for (dt, lineage) in &mut inputs.clicks {
            lineage.extend(besides_raw(job, reference, Log::Clicks, *dt)?);
        }
        for (dt, lineage) in &mut inputs.orders {
            lineage.extend(besides_raw(job, reference, Log::Orders, *dt)?);
        }
        Ok(inputs)
    }

    /// Sets the lineage that a clean date is going to have.
    pub fn plan_clean(&mut self, log: Log, dt: NaiveDate, lineage: Lineage) {
        match log {
            Log::Clicks => self.clicks.insert(dt, lineage),
            Log::Orders => self.orders.insert(dt, lineage),
        };
    }

    /// Sets the digest that an order date's conversions are going to have.
    pub fn plan_conversions(&mut self, date: NaiveDate, digest: &str) {
        self.conversions.insert(date, digest.to_owned());
    }

    /// Fingerprints of landing dates up to `as_of` (D3), or of all landing dates.
    pub fn fingerprints(&self, as_of: Option<NaiveDate>) -> Result<Fingerprints<'_>> {
        let until = |dt: &NaiveDate| as_of.is_none_or(|last| *dt <= last);
        let sums = |clean: &BTreeMap<NaiveDate, Lineage>, names: &[&'static str]| {
            let part = |name: &'static str| {
                let dates = clean.iter().filter(|(dt, _)| until(dt));
                let values = dates.map(|(dt, lineage)| {
                    (*dt, lineage.get(name).map(String::as_str).unwrap_or_default())
                });
                (name, Sums::of(values))
            };
            names.iter().copied().map(part).collect::<BTreeMap<_, _>>()
        };
        let conversions = self.conversions.iter().map(|(date, digest)| (*date, digest.as_str()));
        Ok(Fingerprints {
            inputs: self,
            clicks: sums(&self.clicks, &["raw", "raw_before", "links", "settings", "sql"]),
            orders: sums(&self.orders, &["raw", "raw_before", "fx_rates", "settings", "sql"]),
            conversions: Sums::of(conversions),
            attribution: sql("attribution")?,
            report: sql("report")?,
        })
    }
}

/// The lineage that each date would have now, from an [`InputState`].
pub struct Fingerprints<'a> {
    inputs: &'a InputState<'a>,
    clicks: BTreeMap<&'static str, Sums>,
    orders: BTreeMap<&'static str, Sums>,
    conversions: Sums,
    attribution: String,
    report: String,
}

impl Fingerprints<'_> {
    /// What the conversions of an order date depend on: one digest for each kind of input, so that
    /// a change can be named.
    pub fn of_conversions(&self, date: NaiveDate) -> Lineage {
        let job = self.inputs.job;
        let reach = job.reach();
        let dates = DateRange::of(date);
        let mut lineage = Lineage::new();
        let mut settings = vec![job.attribution().to_string()];
        let mut rules = vec![self.attribution.clone()];
        for (log, landing, clean) in [
            (Log::Clicks, reach.clicks(dates), &self.clicks),
            (Log::Orders, reach.events(dates), &self.orders),
        ] {
            let part =
                |name: &str| clean.get(name).map(|sums| sums.over(landing)).unwrap_or_default();
            lineage.insert(log.name().to_owned(), part("raw") + &part("raw_before"));
            for table in reference_tables(log) {
                lineage.insert((*table).to_owned(), part(table));
            }
            settings.push(format!("{}={}", log.name(), part("settings")));
            rules.push(part("sql"));
        }
        for table in ["stores", "rates"] {
            let digest = self.inputs.reference.in_force(table, &dates.instants(job.zone));
            lineage.insert(table.into(), format!("{digest:032x}"));
        }
        let clicked = reach.clicked(dates);
        let digest_of = self.inputs.reference.in_force("identities", &clicked);
        lineage.insert("identities".into(), format!("{digest_of:032x}"));
        lineage.insert(SETTINGS.into(), settings.join(" "));
        lineage.insert("rules".into(), digest(&[&rules.join("\n")]));
        lineage
    }

    /// What a report date depends on: the inputs of its own conversions, and the rows of earlier
    /// conversions whose events may fall on it.
    pub fn of_report(&self, date: NaiveDate) -> Lineage {
        let mut lineage = self.of_conversions(date);
        let earlier = self.inputs.job.reach().earlier_order_dates(date);
        lineage.insert("conversions".into(), self.conversions.over(earlier));
        let rules = lineage.get("rules").map(String::as_str).unwrap_or_default();
        let rules = digest(&[rules, &self.report]);
        lineage.insert("rules".into(), rules);
        lineage
    }
}

/// Running sums of hashes by date, so that the digest of a range of dates is one subtraction.
struct Sums {
    dates: Vec<NaiveDate>,
    sums: Vec<u128>,
}

impl Sums {
    fn of<'a>(values: impl Iterator<Item = (NaiveDate, &'a str)>) -> Sums {
        let mut sums = Sums { dates: Vec::new(), sums: vec![0] };
        let mut sum: u128 = 0;
        for (date, value) in values {
            let text = format!("{date} {value}");
            let mut bytes = [0; 16];
            bytes.copy_from_slice(&blake3::hash(text.as_bytes()).as_bytes()[..16]);
            sum = sum.wrapping_add(u128::from_le_bytes(bytes));
            sums.dates.push(date);
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
