//! Clean tables to conversions, the ledger and the reports; promises; publication.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result};
use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::{Decimal128Type, Int64Type};
use chrono::NaiveDate;

use super::{CHUNK, Run, stretches};
use crate::check;
use crate::days::{self, ReportDates};
use crate::engine::write::{self, NewFile, Slice};
use crate::engine::{Params, timed};
use crate::model::{self, Model};
use crate::origin;
use crate::plan::{Plan, REPORTS, made_report};
use crate::stop::Stop;
use crate::warehouse::Change;

/// New files by table, not yet visible.
type Staged = BTreeMap<&'static str, Vec<NewFile>>;

impl Run<'_> {
    /// Conversions of order dates that are not the run's own (D6).
    pub(super) async fn make_earlier_conversions(&mut self) -> Result<(), Stop> {
        let dates: BTreeSet<NaiveDate> = self.plan.earlier_conversions.keys().copied().collect();
        for dates in stretches(&dates, self.dates_at_once()?) {
            let words = days::in_words(dates.iter());
            self.progress.step(&format!("attributing earlier orders of {words}"));
            let params = self.params(dates);
            let files = self.make_conversions(dates, &params).await?;
            self.register_staged("attribution.conversions", |date| dates.contains(date), &files)?;
            self.stop_if(self.check_conversions(&params).await?)?;
            self.publish([("attribution.conversions", files)].into()).await?;
            self.progress.done();
        }
        Ok(())
    }

    /// Conversions, ledger and reports of the run's own dates; published when all are checked.
    pub(super) async fn make_reports(&mut self) -> Result<(), Stop> {
        let mut staged = Staged::new();
        let mut commission = [0_i128; 2];
        for dates in stretches(&self.plan.candidates(), self.dates_at_once()?) {
            for dates in self.among(dates, |plan, date| plan.conversions.contains_key(&date)) {
                let words = days::in_words(dates.iter());
                self.progress.step(&format!("attributing orders of {words}"));
                let files = self.make_conversions(dates, &self.params(dates)).await?;
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
        self.attribute(dates, params).await?;
        let conversions = staged.get("attribution.conversions").map(Vec::as_slice);
        let conversions = conversions.unwrap_or_default();
        self.register_staged("attribution.conversions", |date| dates.contains(date), conversions)?;
        let mut complaints = self.check_conversions(params).await?;
        self.register_ledger_inputs(dates, staged)?;
        for name in ["attribution.line_events", "attribution.movements"] {
            self.engine.materialise(model::named(name)?, params).await?;
        }
        for name in REPORTS {
            let files = self.make_report(model::named(name)?, dates, params).await?;
            self.register_staged(name, |date| dates.contains(date), &files)?;
            staged.entry(name).or_default().extend(files);
            complaints.extend(check::key(&self.engine, model::named(name)?).await?);
        }
        for name in [
            "check.money_is_never_null",
            "check.orders_equal_the_ledger",
            "check.refunds_equal_the_ledger",
        ] {
            complaints.extend(check::promise(&self.engine, name, params).await?);
        }
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

    fn stop_if(&self, complaints: Vec<String>) -> Result<(), Stop> {
        match complaints.is_empty() {
            true => Ok(()),
            false => Err(Stop::look(complaints).hint(
                "no report was changed; the rows above contradict each other, so either the data \
                 was changed under the run or the program is wrong",
            )),
        }
    }

    /// Attributes the orders of some dates.
    async fn make_conversions(
        &mut self,
        dates: ReportDates,
        params: &Params,
    ) -> Result<Vec<NewFile>> {
        self.attribute(dates, params).await?;
        self.make_report(model::named("attribution.conversions")?, dates, params).await
    }

    /// Finds the click that earned each line of some order dates, once: conversions and traffic read
    /// it.
    async fn attribute(&mut self, dates: ReportDates, params: &Params) -> Result<()> {
        self.register_clean_inputs(dates)?;
        if self.attributed != Some(dates) {
            for name in [
                "attribution.repeated_lines",
                "attribution.placed_lines",
                "attribution.timeline",
                "attribution.credits",
            ] {
                self.engine.materialise(model::named(name)?, params).await?;
            }
            self.attributed = Some(dates);
        }
        Ok(())
    }

    /// The clean rows that some order dates look back to.
    fn register_clean_inputs(&self, dates: ReportDates) -> Result<()> {
        let instants = dates.instants(self.job.zone);
        let horizon = chrono::TimeDelta::days(self.job.order_horizon_days as i64);
        let window = chrono::TimeDelta::hours(self.job.window_hours);
        let late_days = self.job.late_days;
        let orders = days::landing(&(instants.start - horizon..instants.end), late_days);
        let clicks = days::landing(&(instants.start - window..instants.end), late_days);
        self.register_kept("clean.order_events", self.may_read(orders))?;
        self.register_kept("clean.clicks", self.may_read(clicks))
    }

    /// Landing dates after `--as-of` are as if they had not landed, cleaned or not (D3).
    fn may_read(&self, dates: ReportDates) -> impl Fn(NaiveDate) -> bool + use<> {
        let as_of = self.request.as_of;
        move |dt| dates.contains(dt) && as_of.is_none_or(|last| dt <= last)
    }

    async fn check_conversions(&self, params: &Params) -> Result<Vec<String>> {
        let model = model::named("attribution.conversions")?;
        let mut complaints: Vec<String> =
            check::key(&self.engine, model).await?.into_iter().collect();
        for name in ["check.each_line_placed_once", "check.each_click_lies_in_its_window"] {
            complaints.extend(check::promise(&self.engine, name, params).await?);
        }
        Ok(complaints)
    }

    /// The ledger books events of lines placed up to the horizon before.
    fn register_ledger_inputs(&self, dates: ReportDates, staged: &Staged) -> Result<()> {
        let earlier = origin::ledger_reach(self.job, dates.from);
        let placed = ReportDates { from: earlier.from, to: dates.to };
        let new = staged.get("attribution.conversions").map(Vec::as_slice).unwrap_or_default();
        self.register_staged("attribution.conversions", |date| placed.contains(date), new)
    }

    async fn make_report(
        &self,
        model: &'static Model,
        dates: ReportDates,
        params: &Params,
    ) -> Result<Vec<NewFile>> {
        let slices: Vec<Slice> = dates.iter().map(Slice::of).collect();
        let rows = self.engine.stream(model, params).await?;
        let file_name = format!("part-{}", self.request.run_id);
        let written = timed(
            model.name,
            write::table(rows, model, &self.warehouse.folder(model), &file_name, &slices),
        )
        .await;
        written.with_context(|| format!("cannot write {}", model.name))
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
    async fn publish(&mut self, staged: Staged) -> Result<(), Stop> {
        for (name, files) in staged {
            let model = model::named(name)?;
            let inputs = origin::Inputs::as_read(self.job, self.reference, &self.warehouse)?;
            let inputs = inputs.digested(self.request.as_of)?;
            let origin_of = |date| match name {
                "attribution.conversions" => inputs.of_conversions(date),
                _ => inputs.of_report(date),
            };
            let dates: Vec<NaiveDate> = files.iter().map(|file| file.slice.date).collect();
            let files = files.into_iter().map(|file| {
                let origin = origin_of(file.slice.date);
                (file, origin)
            });
            let change = Change { files: files.collect() };
            let (id, now) = (&self.request.run_id, self.request.now);
            self.warehouse.commit(model, change, id, now).await?;
            self.note_written(&model.folder(), dates);
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
