//! Clean tables to conversions, the ledger and the reports; promises; publication.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result};
use arrow::array::{AsArray, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Decimal128Type, Int64Type};
use chrono::NaiveDate;
use datafusion::common::ScalarValue;
use futures::try_join;

use super::{CHUNK, Run, cannot_write, stretches};
use crate::check;
use crate::days::{self, ReportDates};
use crate::engine::write::{self, NewFile, Slice};
use crate::engine::{Params, timed};
use crate::model::{self, Model};
use crate::origin;
use crate::plan::{Plan, REPORTS, made_report};
use crate::stop::Stop;
use crate::warehouse::{Change, TableFile};

/// How many order events of the dates attributed at once, unless one date has more.
const ATTRIBUTED_EVENTS: u64 = 3_000_000;
/// How many clicks, or order events, of the dates reported at once, unless one date has more.
const REPORTED_CLICKS: u64 = 1_500_000;
const REPORTED_EVENTS: u64 = 700_000;

/// Rows to a slice of what is done slice by slice, so that memory does not follow the rows: clicks
/// of a timeline, lines of a ledger with something to book.
const SLICE_CLICKS: u64 = 2_500_000;
const SLICE_LINES: u64 = 200_000;

const TRAFFIC: &str = "report.traffic";

/// New files by table, not yet visible.
type Staged = BTreeMap<&'static str, Vec<NewFile>>;

impl Run<'_> {
    /// Conversions of order dates that are not the run's own (D6).
    pub(super) async fn make_earlier_conversions(&mut self) -> Result<(), Stop> {
        let dates: BTreeSet<NaiveDate> = self.plan.earlier_conversions.keys().copied().collect();
        for dates in stretches(&dates, self.dates_at_once("clean.order_events", ATTRIBUTED_EVENTS)?)
        {
            let words = days::in_words(dates.iter());
            self.progress.step(&format!("attributing earlier orders of {words}"));
            let params = self.params(dates);
            let files = self.make_conversions(dates, &params).await?;
            self.register_staged("attribution.conversions", |date| dates.contains(date), &files)?;
            self.stop_if(self.check_conversions(&params, &files).await?)?;
            self.publish([("attribution.conversions", files)].into()).await?;
            self.progress.done();
        }
        Ok(())
    }

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
        // The ledger books events of lines placed up to the horizon before.
        let earlier = origin::ledger_reach(self.job, dates.from);
        let placed = ReportDates { from: earlier.from, to: dates.to };
        self.register_staged("attribution.conversions", |date| placed.contains(date), conversions)?;
        let mut complaints = self.check_conversions(params, conversions).await?;
        self.make_ledger(params).await?;
        // Side by side what reads clicks and what reads the ledger, of which each report in turn.
        let (of_clicks, of_ledger): (Vec<_>, Vec<_>) =
            REPORTS.into_iter().partition(|name| *name == TRAFFIC);
        let (of_clicks, of_ledger) =
            try_join!(self.make_each(of_clicks, dates), self.make_each(of_ledger, dates))?;
        for (name, files) in of_clicks.into_iter().chain(of_ledger) {
            self.register_staged(name, |date| dates.contains(date), &files)?;
            complaints.extend(check::key(&self.engine, model::named(name)?, &files).await?);
            staged.entry(name).or_default().extend(files);
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
        let is_within = |all: ReportDates| all.contains(dates.from) && all.contains(dates.to);
        if !self.attributed.is_some_and(is_within) {
            let clicks = self.rows("clean.clicks", self.clicks_reach(dates))?;
            let slices = self.slices(clicks, SLICE_CLICKS);
            let with = |params: &Params, name: &'static str, value: i64| {
                let mut params = params.clone();
                params.insert(name, ScalarValue::Int64(Some(value)));
                params
            };
            let params = with(params, "slices", slices);
            for name in
                ["attribution.new_lines", "attribution.placements", "attribution.repetitions"]
            {
                self.engine.materialise(model::named(name)?, &params).await?;
            }
            let placed_lines = model::named("attribution.placed_lines")?;
            let lines = self.engine.materialise(placed_lines, &params).await?;
            for name in
                ["attribution.shoppers", "attribution.shopper_lines", "attribution.shopper_clicks"]
            {
                self.engine.materialise(model::named(name)?, &params).await?;
            }
            let of_slices: Vec<Params> =
                (0..slices).map(|slice| with(&params, "slice", slice)).collect();
            let timeline = model::named("attribution.timeline")?;
            let winners = model::named("attribution.winners")?;
            let is_needed = |model: &Model| model.name == winners.name;
            self.engine.materialise_together(&[timeline, winners], &of_slices, is_needed).await?;
            for name in [
                "attribution.new_lines",
                "attribution.placements",
                "attribution.repetitions",
                "attribution.shopper_lines",
                "attribution.shopper_clicks",
            ] {
                self.engine.forget(name)?;
            }
            let winning_clicks = model::named("attribution.winning_clicks")?;
            match lines.saturating_mul(self.request.tuning.few) < clicks {
                true => self.engine.look_up(winning_clicks, &params).await?,
                false => self.engine.materialise(winning_clicks, &params).await?,
            };
            self.engine.materialise(model::named("attribution.credits")?, &params).await?;
            for name in [
                "attribution.placed_lines",
                "attribution.shoppers",
                "attribution.winners",
                "attribution.winning_clicks",
            ] {
                self.engine.forget(name)?;
            }
            self.attributed = Some(dates);
        }
        Ok(())
    }

    /// Slices of so many rows, as many to each core.
    fn slices(&self, rows: u64, rows_each: u64) -> i64 {
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

    /// Rows of a kept table on some landing dates.
    fn rows(&self, name: &str, dates: ReportDates) -> Result<u64> {
        let may_read = self.may_read(dates);
        let files = self.warehouse.table(name)?.files.iter();
        Ok(files.filter(|file| may_read(file.slice.date)).map(TableFile::rows).sum())
    }

    /// The clean rows that some order dates look back to.
    fn register_clean_inputs(&self, dates: ReportDates) -> Result<()> {
        self.register_kept("clean.order_events", self.may_read(self.orders_reach(dates)))?;
        self.register_kept("clean.clicks", self.may_read(self.clicks_reach(dates)))
    }

    /// Landing dates of the clicks that may earn orders of some dates.
    fn clicks_reach(&self, dates: ReportDates) -> ReportDates {
        let instants = dates.instants(self.job.zone);
        let window = chrono::TimeDelta::hours(self.job.window_hours);
        days::landing(&(instants.start - window..instants.end), self.job.late_days)
    }

    /// Landing dates of the events that orders and movements of some dates look back to.
    fn orders_reach(&self, dates: ReportDates) -> ReportDates {
        let instants = dates.instants(self.job.zone);
        let horizon = chrono::TimeDelta::days(self.job.order_horizon_days as i64);
        days::landing(&(instants.start - horizon..instants.end), self.job.late_days)
    }

    /// Landing dates after `--as-of` are as if they had not landed, cleaned or not (D3).
    fn may_read(&self, dates: ReportDates) -> impl Fn(NaiveDate) -> bool + use<> {
        let as_of = self.request.as_of;
        move |dt| dates.contains(dt) && as_of.is_none_or(|last| dt <= last)
    }

    async fn check_conversions(&self, params: &Params, new: &[NewFile]) -> Result<Vec<String>> {
        let model = model::named("attribution.conversions")?;
        let mut complaints: Vec<String> =
            check::key(&self.engine, model, new).await?.into_iter().collect();
        for name in ["check.each_line_placed_once", "check.each_click_lies_in_its_window"] {
            complaints.extend(check::promise(&self.engine, name, params).await?);
        }
        Ok(complaints)
    }

    /// The movements of some dates.
    async fn make_ledger(&self, params: &Params) -> Result<()> {
        let moved = model::named("attribution.moved_lines")?;
        self.engine.materialise(moved, params).await?;
        let to_book = model::named("attribution.lines_to_book")?;
        let lines = self.engine.materialise(to_book, params).await?;
        self.engine.forget(moved.name)?;
        let slices = self.order_slices(lines, params).await?;
        let events = model::named("attribution.line_events")?;
        let steps = [
            model::named("attribution.moving_lines")?,
            events,
            model::named("attribution.movements")?,
        ];
        let is_needed = |model: &Model| model.name != events.name;
        self.engine.materialise_together(&steps, &slices, is_needed).await?;
        self.engine.forget(to_book.name)?;
        Ok(())
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
        let files = self.write_by_date(traffic, &dates, "date").await?;
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
