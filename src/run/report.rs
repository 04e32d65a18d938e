//! Conversions to the ledger and the reports; promises; publication.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result};
use arrow::array::{AsArray, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Decimal128Type, Int64Type};
use chrono::NaiveDate;
use datafusion::common::ScalarValue;
use futures::future::try_join_all;
use futures::try_join;

use super::attribute::ATTRIBUTED_EVENTS;
use super::{CHUNK, Run, cannot_write, stretches};
use crate::check;
use crate::days::{self, ReportDates};
use crate::engine::write::{self, NewFile, Slice};
use crate::engine::{Params, timed};
use crate::model::{self, Model};
use crate::origin;
use crate::plan::{Plan, REPORTS, made_report};
use crate::stop::Stop;
use crate::warehouse::Change;

/// How many clicks, or order events, of the dates reported at once, unless one date has more.
const REPORTED_CLICKS: u64 = 1_500_000;
const REPORTED_EVENTS: u64 = 700_000;

/// Lines with something to book to a slice of the ledger, so that memory does not follow the rows.
const SLICE_LINES: u64 = 200_000;

const TRAFFIC: &str = "report.traffic";

/// New files by table, not yet visible.
pub(super) type Staged = BTreeMap<&'static str, Vec<NewFile>>;

impl Run<'_> {
    /// Conversions, ledger and reports of the run's own dates; published when all are checked.
    pub(super) async fn make_reports(&mut self) -> Result<(), Stop> {
        let mut staged = Staged::new();
        let mut commission = [0_i128; 2];
        for dates in stretches(
            &self.plan.candidates(),
            self.dates_at_once("clean.order_events", ATTRIBUTED_EVENTS)?,
        ) {
            for dates in self.among(dates, |plan, date| plan.conversions.contains_key(&date)) {
                let words = days::in_words(dates.iter());
                self.progress.step(&format!("attributing orders of {words}"));
                let params = self.params(dates);
                let files = Box::pin(self.make_conversions(dates, &params)).await?;
                staged.entry("attribution.conversions").or_default().extend(files);
            }
            let changed = self.changed_reports(dates, &staged)?;
            for dates in stretches(&changed, CHUNK) {
                self.progress.step(&format!("reporting {}", days::in_words(dates.iter())));
                let params = self.params(dates);
                let complaints = self.make_reports_of(dates, &params, &mut staged).await?;
                self.stop_if(complaints)?;
                self.count(&params, &mut commission).await?;
                self.summary.report_dates.extend(dates.iter());
            }
            self.progress.done();
        }
        let made = &self.summary.report_dates;
        let is_made = |date: &&NaiveDate| made.contains(date);
        self.summary.up_to_date =
            self.plan.own.iter().filter(|date| !is_made(date)).copied().collect();
        self.summary.pending_commission = cents(commission[0]);
        self.summary.approved_commission = cents(commission[1]);
        self.progress.step("publishing");
        self.publish(staged).await
    }

    /// The four reports of some dates, not yet visible. Returns complaints about promises.
    async fn make_reports_of(
        &mut self,
        dates: ReportDates,
        params: &Params,
        staged: &mut Staged,
    ) -> Result<Vec<String>> {
        Box::pin(self.know_earned_orders(dates, params)).await?;
        let conversions = staged.get("attribution.conversions").map(Vec::as_slice);
        let conversions = conversions.unwrap_or_default();
        // The ledger books events of lines placed up to the horizon before.
        let earlier = origin::ledger_reach(self.job, dates.from);
        let placed = ReportDates { from: earlier.from, to: dates.to };
        self.register_staged(
            &self.engine,
            "attribution.conversions",
            |date| placed.contains(date),
            conversions,
        )?;
        let (mut complaints, ()) = try_join!(
            Box::pin(self.check_conversions(params, conversions)),
            Box::pin(self.make_ledger(params))
        )?;
        // Side by side what reads clicks and what reads the ledger, of which each report in turn.
        let (of_clicks, of_ledger): (Vec<_>, Vec<_>) =
            REPORTS.into_iter().partition(|name| *name == TRAFFIC);
        let (of_clicks, of_ledger) =
            try_join!(self.make_each(of_clicks, dates), self.make_each(of_ledger, dates))?;
        for (name, files) in of_clicks.into_iter().chain(of_ledger) {
            self.register_staged(&self.engine, name, |date| dates.contains(date), &files)?;
            complaints.extend(check::key(&self.engine, model::named(name)?, &files).await?);
            staged.entry(name).or_default().extend(files);
        }
        let promises = [
            "check.money_is_never_null",
            "check.orders_equal_the_ledger",
            "check.refunds_equal_the_ledger",
        ];
        let promises = promises.map(|name| Box::pin(check::promise(&self.engine, name, params)));
        complaints.extend(try_join_all(promises).await?.into_iter().flatten());
        Ok(complaints)
    }

    /// Dates of a stretch that the plan wants something of, in stretches.
    fn among(
        &self,
        dates: ReportDates,
        wanted: impl Fn(&Plan, NaiveDate) -> bool,
    ) -> Vec<ReportDates> {
        stretches(&dates.iter().filter(|date| wanted(&self.plan, *date)).collect(), CHUNK)
    }

    /// The report dates to make: those that the plan names, and those in doubt for which the rows of
    /// earlier conversions turned out to have changed.
    fn changed_reports(&self, dates: ReportDates, staged: &Staged) -> Result<BTreeSet<NaiveDate>> {
        let inputs = self.inputs_with(staged)?;
        let inputs = inputs.digested(self.request.as_of)?;
        let mut changed = BTreeSet::new();
        for date in dates.iter() {
            let is_wanted = self.plan.reports.contains_key(&date)
                || self.plan.reports_in_doubt.contains(&date)
                    && made_report(&self.warehouse, date)? != Some(&inputs.of_report(date));
            if is_wanted {
                changed.insert(date);
            }
        }
        Ok(changed)
    }

    /// What dates are made from, with conversions that are not visible yet.
    fn inputs_with(&self, staged: &Staged) -> Result<origin::Inputs<'_>> {
        let mut inputs = origin::Inputs::as_read(self.job, self.reference, &self.warehouse)?;
        for file in staged.get("attribution.conversions").into_iter().flatten() {
            inputs.expect_conversions(file.slice.date, &file.digest);
        }
        Ok(inputs)
    }

    pub(super) fn stop_if(&self, complaints: Vec<String>) -> Result<(), Stop> {
        match complaints.is_empty() {
            true => Ok(()),
            false => Err(Stop::look(complaints).hint(
                "no report was changed; the rows above contradict each other, so either the data \
                 was changed under the run or the program is wrong",
            )),
        }
    }

    /// Slices of so many rows, as many to each core.
    pub(super) fn slices(&self, rows: u64, rows_each: u64) -> i64 {
        let cores = self.request.tuning.partitions.max(1) as u64;
        rows.div_ceil(rows_each).max(1).next_multiple_of(cores) as i64
    }

    /// Cuts the orders with something to book into slices: parameters for each. Clean events and
    /// conversions are sorted by order, so that a slice reads its part of each file.
    async fn order_slices(&self, lines: u64, params: &Params) -> Result<Vec<Params>> {
        let slices = self.slices(lines, SLICE_LINES);
        let mut params = params.clone();
        params.insert("slices", ScalarValue::Int64(Some(slices)));
        let cuts = model::named("attribution.order_slices")?;
        let cuts = self.engine.collect(cuts, &params).await?;
        let mut cuts_found = Vec::new();
        for batch in &cuts {
            let column = cast(batch.column(0), &DataType::Utf8)?;
            cuts_found.extend(column.as_string::<i32>().iter().flatten().map(str::to_owned));
        }
        // The first slice begins with the first there is, the last has no end.
        let firsts = [String::new()].into_iter().chain(cuts_found.into_iter().skip(1));
        let firsts: Vec<String> = firsts.collect();
        let nexts = firsts.iter().skip(1).cloned().map(Some).chain([None]);
        let bounds = firsts.iter().cloned().zip(nexts).enumerate();
        let slices = bounds.map(|(slice, (first, next))| {
            let mut params = params.clone();
            params.insert("slice", ScalarValue::Int64(Some(slice as i64)));
            params.insert("first_order", ScalarValue::Utf8View(Some(first)));
            params.insert("next_order", ScalarValue::Utf8View(next));
            params
        });
        Ok(slices.collect())
    }

    /// The movements of some dates.
    async fn make_ledger(&self, params: &Params) -> Result<()> {
        let moved = model::named("attribution.moved_lines")?;
        let count = self.engine.materialise(moved, params).await?;
        let slices = self.order_slices(count, params).await?;
        let lines = model::named("attribution.moving_lines")?;
        let movements = model::named("attribution.movements")?;
        let of_moved = model::named("attribution.moved_events")?;
        let steps = [of_moved, lines, model::named("attribution.line_events")?, movements];
        let is_needed = |model: &Model| [lines.name, movements.name].contains(&model.name);
        self.engine.materialise_together(&steps, &slices, is_needed).await?;
        self.engine.forget(moved.name)
    }

    async fn make_each(
        &self,
        names: Vec<&'static str>,
        dates: ReportDates,
    ) -> Result<Vec<(&'static str, Vec<NewFile>)>> {
        let mut made = Vec::new();
        for name in names {
            made.push((name, Box::pin(self.make_report_of(name, dates)).await?));
        }
        Ok(made)
    }

    /// One of the four reports, so many dates at once that what is held does not follow their number.
    async fn make_report_of(&self, name: &'static str, dates: ReportDates) -> Result<Vec<NewFile>> {
        let model = model::named(name)?;
        let is_traffic = name == TRAFFIC;
        let at_once = match is_traffic {
            true => self.dates_at_once("clean.clicks", REPORTED_CLICKS)?,
            false => self.dates_at_once("clean.order_events", REPORTED_EVENTS)?,
        };
        let mut files = Vec::new();
        for dates in stretches(&dates.iter().collect(), at_once) {
            files.extend(match is_traffic {
                true => self.make_traffic(model, dates).await?,
                false => self.make_report(model, dates, &self.params(dates)).await?,
            });
        }
        Ok(files)
    }

    async fn make_traffic(
        &self,
        traffic: &'static Model,
        dates: ReportDates,
    ) -> Result<Vec<NewFile>> {
        let params = self.params(dates);
        for name in ["report.visits", "report.repeated_visits"] {
            self.engine.materialise(model::named(name)?, &params).await?;
        }
        let dates: Vec<NaiveDate> = dates.iter().collect();
        let files = self.write_by_date(&self.engine, traffic, &dates, "date", &params).await?;
        for name in ["report.visits", "report.repeated_visits"] {
            self.engine.forget(name)?;
        }
        Ok(files)
    }

    async fn make_report(
        &self,
        model: &'static Model,
        dates: ReportDates,
        params: &Params,
    ) -> Result<Vec<NewFile>> {
        let slices: Vec<Slice> = dates.iter().map(Slice::of).collect();
        let rows = self.engine.stream(model, params).await?;
        let file_name = self.file_name();
        let written = timed(
            model.name,
            write::table(rows, model, &self.warehouse.folder(model), &file_name, &slices),
        )
        .await;
        written.with_context(|| cannot_write(model))
    }

    async fn count(&mut self, params: &Params, commission: &mut [i128; 2]) -> Result<()> {
        for batch in self.engine.collect(model::named("summary.order_lines")?, params).await? {
            for row in 0..batch.num_rows() {
                let status = arrow::util::display::array_value_to_string(batch.column(0), row)?;
                *self.summary.order_lines.entry(status).or_default() += count(&batch, 1, row);
            }
        }
        for batch in self.engine.collect(model::named("summary.commission")?, params).await? {
            for (column, sum) in commission.iter_mut().enumerate() {
                *sum += batch.column(column).as_primitive::<Decimal128Type>().value(0);
            }
        }
        for batch in self.engine.collect(model::named("summary.unbooked_events")?, params).await? {
            self.summary.repeated_placed_events += count(&batch, 0, 0);
            self.summary.orphan_events += count(&batch, 1, 0);
        }
        Ok(())
    }

    /// Makes new files visible, conversions before the reports that rest on them; each table's
    /// dates in one commit.
    pub(super) async fn publish(&mut self, staged: Staged) -> Result<(), Stop> {
        let (conversions, reports): (Staged, Staged) =
            staged.into_iter().partition(|(name, _)| *name == "attribution.conversions");
        for staged in [conversions, reports].into_iter().filter(|staged| !staged.is_empty()) {
            let inputs = origin::Inputs::as_read(self.job, self.reference, &self.warehouse)?;
            let inputs = inputs.digested(self.request.as_of)?;
            let mut changes = BTreeMap::new();
            let mut written: Vec<(String, Vec<NaiveDate>)> = Vec::new();
            for (name, files) in staged {
                let dates = files.iter().map(|file| file.slice.date).collect();
                written.push((model::named(name)?.folder(), dates));
                let files = files.into_iter().map(|file| {
                    let origin = match name {
                        "attribution.conversions" => inputs.of_conversions(file.slice.date),
                        _ => inputs.of_report(file.slice.date),
                    };
                    (file, origin)
                });
                changes.insert(name, Change { files: files.collect() });
            }
            self.warehouse.commit(changes, &self.request.run_id, self.request.now).await?;
            for (table, dates) in written {
                self.note_written(&table, dates);
            }
        }
        Ok(())
    }
}

fn count(batch: &RecordBatch, column: usize, row: usize) -> u64 {
    batch.column(column).as_primitive::<Int64Type>().value(row).unsigned_abs()
}

/// 12345 as "123.45".
fn cents(amount: i128) -> String {
    let sign = if amount < 0 { "-" } else { "" };
    let amount = amount.unsigned_abs();
    format!("{sign}{}.{:02}", amount / 100, amount % 100)
}
