//! A plan as text, for `lookback plan`.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use chrono::NaiveDate;

use super::{DateSelection, Plan};
use crate::days;
use crate::job::Job;
use crate::model;
use crate::raw::{Log, Source};
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
        for (dates, landing) in self.waiting_for() {
            let dates = days::describe(dates);
            line(format!("  waiting                 {dates}: never made, {landing}"));
        }
        if !self.holes.is_empty() {
            let holes = days::describe(self.holes.iter().copied());
            line(format!("  never made              {holes}: their landing dates are there"));
        }
        if !self.beyond_repair.is_empty() {
            let lost = days::describe(self.beyond_repair.iter().copied());
            line(format!("  kept                    {lost}: they read clean rows that are lost"));
        }
        if !self.reference.is_empty() {
            let tables: Vec<&str> = self.reference.iter().copied().collect();
            line(format!("  reference rows          to store: {}", tables.join(", ")));
        }
        for unread in &self.unread {
            line(format!("  not read                {unread}"));
        }
        if self.is_nothing_to_do() {
            line("\nnothing to do: all of it is up to date".to_owned());
            return Ok(text);
        }
        for plan in [&self.clicks, &self.orders] {
            let log = plan.raw.log.name();
            let sources = plan.raw.sources().iter().filter_map(Source::told);
            let sources: Vec<String> = sources.collect();
            let files: usize = plan.landing.iter().map(|dt| plan.raw.files(*dt).count()).sum();
            line(format!(
                "\nraw {log:<21} {} landing dates in reach, {files} files",
                plan.landing.len()
            ));
            for source in sources {
                line(format!("  read as                 {source}"));
            }
            line(format!(
                "  from the clean table    {} dates are up to date",
                plan.landing.len() - plan.to_clean.len()
            ));
            for (why, dates) in by_reason(&plan.to_clean) {
                let files = dates.iter().flat_map(|dt| plan.raw.files(*dt));
                let bytes: u64 = files.map(|file| file.size).sum();
                line(format!(
                    "  to clean                {}: {why} ({:.1} MB)",
                    days::describe(dates),
                    bytes as f64 / 1e6
                ));
            }
            for (why, dates) in by_reason(&plan.left_outdated) {
                let dates = days::describe(dates);
                line(format!("  outdated, left          {dates}: {why}"));
            }
            if !plan.lost.is_empty() {
                line(format!(
                    "  lost                    {}: their clean rows and their raw files are gone",
                    days::describe(plan.lost.iter().copied())
                ));
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
        if !self.maybe_conversions.is_empty() {
            line(format!(
                "  to make, perhaps        {}: if their clean rows change",
                days::describe(self.maybe_conversions.iter().copied())
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
        if !self.maybe_reports.is_empty() {
            line(format!(
                "  to make, perhaps        {}: if their clean rows or conversions change",
                days::describe(self.maybe_reports.iter().copied())
            ));
        }
        line("\nto write".to_owned());
        for model in model::stored()? {
            if model.partition().is_some() {
                let dates = self.dates_to_write(model.name).len();
                let perhaps = match self.dates_perhaps(model.name).len() {
                    0 => String::new(),
                    more => format!(", perhaps {} more", more),
                };
                line(format!("  {:<28} {dates:>4} dates{perhaps}", model.folder()));
            }
        }
        Ok(text)
    }

    /// Report dates that wait, by what they wait for: "clicks that land 2026-03-05".
    pub fn waiting_for(&self) -> BTreeMap<Vec<NaiveDate>, String> {
        let mut by_landing: BTreeMap<String, Vec<NaiveDate>> = BTreeMap::new();
        for (date, missing) in &self.waiting {
            let words = [Log::Clicks, Log::Orders].into_iter().filter_map(|log| {
                let dts: Vec<NaiveDate> =
                    missing.iter().filter(|(of, _)| *of == log).map(|(_, dt)| *dt).collect();
                let is_any = !dts.is_empty();
                is_any.then(|| format!("{} that land {}", log.name(), days::describe(dts)))
            });
            let words: Vec<String> = words.collect();
            by_landing.entry(words.join(", ")).or_default().push(*date);
        }
        by_landing.into_iter().map(|(landing, dates)| (dates, landing)).collect()
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

    /// Dates that are written, too, if rows of theirs change.
    fn dates_perhaps(&self, table: &str) -> BTreeSet<NaiveDate> {
        let perhaps = match table.split_once('.') {
            Some(("attribution", _)) => self.maybe_conversions.iter(),
            Some(("report", _)) => self.maybe_reports.iter(),
            _ => return BTreeSet::new(),
        };
        perhaps.copied().collect()
    }
}

fn by_reason(dates: &BTreeMap<NaiveDate, String>) -> BTreeMap<&str, Vec<NaiveDate>> {
    let mut reasons: BTreeMap<&str, Vec<NaiveDate>> = BTreeMap::new();
    for (date, why) in dates {
        reasons.entry(why).or_default().push(*date);
    }
    reasons
}
