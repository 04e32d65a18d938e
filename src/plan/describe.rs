//! A plan as text, for `lookback plan`.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use chrono::NaiveDate;

use super::{DateSelection, Plan, Why};
use crate::days;
use crate::job::Job;
use crate::model;
use crate::stop::Stop;
use crate::warehouse::Warehouse;

impl Plan {
    pub fn describe(&self, job: &Job, warehouse: &Warehouse) -> Result<String, Stop> {
        let mut text = String::new();
        let mut line = |words: String| {
            let _ = writeln!(text, "{words}");
        };
        let candidates = self.candidates();
        let zone = job.zone;
        match self.selection {
            DateSelection::Stale => {
                line(format!("report dates there are    {} ({zone})", self.report_dates.len()))
            }
            _ => {
                let asked_for = days::describe(self.report_dates.iter().copied());
                line(format!("report dates asked for    {asked_for} (local dates of {zone})"));
            }
        }
        if !self.skipped.is_empty() {
            let left = days::describe(self.skipped.iter().copied());
            line(format!(
                "  left as they are        {left}: their landing dates are not all there"
            ));
        }
        if let Some(as_of) = self.as_of {
            line(format!("  as of                   {as_of}: later landing dates are not read"));
        }
        if self.is_nothing_to_do() {
            line("\nnothing to do: all of it is up to date".to_owned());
            return Ok(text);
        }
        for plan in [&self.clicks, &self.orders] {
            let log = plan.raw.log.name();
            let files: usize = plan.landing.iter().map(|dt| plan.raw.files(*dt).count()).sum();
            line(format!(
                "\nraw {log:<21} {} landing dates in reach, {files} files",
                plan.landing.len()
            ));
            line(format!(
                "  from the clean table    {} dates are up to date",
                plan.landing.len() - plan.to_clean.len()
            ));
            for why in Why::ALL {
                let is_why = |(dt, is): (&NaiveDate, &Why)| (*is == why).then_some(*dt);
                let dates: Vec<NaiveDate> = plan.to_clean.iter().filter_map(is_why).collect();
                if !dates.is_empty() {
                    let files = dates.iter().flat_map(|dt| plan.raw.files(*dt));
                    let bytes: u64 = files.map(|file| file.size).sum();
                    line(format!(
                        "  to clean                {}: {} ({:.1} MB)",
                        days::describe(dates),
                        why.describe(),
                        bytes as f64 / 1e6
                    ));
                }
            }
        }
        line("\nconversions".to_owned());
        let made = warehouse.table("attribution.conversions")?.dates();
        let is_made = |date: &&NaiveDate| {
            !self.conversions.contains_key(date) && !self.earlier_conversions.contains_key(date)
        };
        line(format!(
            "  there already           {} order dates",
            made.iter().filter(is_made).count()
        ));
        for (why, dates) in by_reason(&self.earlier_conversions) {
            line(format!(
                "  to make                 {}: {why}; orders whose events may still come ({} days)",
                days::describe(dates),
                job.order_horizon_days
            ));
        }
        for (why, dates) in by_reason(&self.conversions) {
            line(format!("  to make                 {}: {why}", days::describe(dates)));
        }
        line("\nreports".to_owned());
        let up_to_date: Vec<NaiveDate> =
            self.report_dates.difference(&candidates).copied().collect();
        if !up_to_date.is_empty() {
            line(format!("  up to date              {}", days::describe(up_to_date)));
        }
        for (why, dates) in by_reason(&self.reports) {
            line(format!("  to make                 {}: {why}", days::describe(dates)));
        }
        if !self.maybe_stale.is_empty() {
            line(format!(
                "  to make, perhaps        {}: if the rows of the conversions before them change",
                days::describe(self.maybe_stale.iter().copied())
            ));
        }
        line("\nto write".to_owned());
        for model in model::stored()? {
            let dates = self.dates_to_write(model.name);
            line(format!("  {:<28} {:>4} dates", model.folder(), dates.len()));
        }
        Ok(text)
    }

    fn dates_to_write(&self, table: &str) -> BTreeSet<NaiveDate> {
        let (clicks, orders) = (self.clicks.to_clean.keys(), self.orders.to_clean.keys());
        match table {
            "clean.clicks" => clicks.copied().collect(),
            "clean.order_events" => orders.copied().collect(),
            "clean.rejects" => clicks.chain(orders).copied().collect(),
            "attribution.conversions" => {
                self.conversions.keys().chain(self.earlier_conversions.keys()).copied().collect()
            }
            _ => self.reports.keys().copied().collect(),
        }
    }
}

fn by_reason(dates: &BTreeMap<NaiveDate, String>) -> BTreeMap<&str, Vec<NaiveDate>> {
    let mut reasons: BTreeMap<&str, Vec<NaiveDate>> = BTreeMap::new();
    for (date, why) in dates {
        reasons.entry(why).or_default().push(*date);
    }
    reasons
}
