//! Clean tables to conversions: which click earned each order line.

use std::collections::BTreeSet;

use anyhow::Result;
use chrono::NaiveDate;
use datafusion::common::ScalarValue;

use super::{Run, stretches};
use crate::check;
use crate::days::{self, ReportDates};
use crate::engine::Params;
use crate::engine::write::NewFile;
use crate::model::{self, Model};
use crate::stop::Stop;
use crate::warehouse::TableFile;

/// How many order events of the dates attributed at once, unless one date has more.
pub(super) const ATTRIBUTED_EVENTS: u64 = 3_000_000;

/// Clicks to a slice of the timeline, so that memory does not follow the rows.
const SLICE_CLICKS: u64 = 2_500_000;

impl Run<'_> {
    /// Conversions of order dates that are not the run's own (D6).
    pub(super) async fn make_earlier_conversions(&mut self) -> Result<(), Stop> {
        let dates: BTreeSet<NaiveDate> = self.plan.earlier_conversions.keys().copied().collect();
        for dates in stretches(&dates, self.dates_at_once("clean.order_events", ATTRIBUTED_EVENTS)?)
        {
            let words = days::in_words(dates.iter());
            self.progress.step(&format!("attributing earlier orders of {words}"));
            let params = self.params(dates);
            let files = Box::pin(self.make_conversions(dates, &params)).await?;
            self.register_staged(
                &self.engine,
                "attribution.conversions",
                |date| dates.contains(date),
                &files,
            )?;
            self.stop_if(self.check_conversions(&params, &files).await?)?;
            self.publish([("attribution.conversions", files)].into()).await?;
            self.progress.done();
        }
        Ok(())
    }

    /// Attributes the orders of some dates: conversions, not yet visible.
    pub(super) async fn make_conversions(
        &mut self,
        dates: ReportDates,
        params: &Params,
    ) -> Result<Vec<NewFile>> {
        self.attribute(dates, params).await?;
        let conversions = model::named("attribution.conversions")?;
        let order_dates: Vec<NaiveDate> = dates.iter().collect();
        let files = self
            .write_by_date(&self.engine, conversions, &order_dates, "order_date", params)
            .await?;
        self.keep_earned_orders(dates, params).await?;
        Ok(files)
    }

    /// Attributes the orders of some dates for the traffic report, unless that has been done.
    pub(super) async fn know_earned_orders(
        &mut self,
        dates: ReportDates,
        params: &Params,
    ) -> Result<()> {
        let is_within = |all: ReportDates| all.contains(dates.from) && all.contains(dates.to);
        if self.earned_orders_of.is_some_and(is_within) {
            return self.register_clean_inputs(dates);
        }
        self.attribute(dates, params).await?;
        self.keep_earned_orders(dates, params).await
    }

    /// Of credits keeps what the traffic report counts.
    async fn keep_earned_orders(&mut self, dates: ReportDates, params: &Params) -> Result<()> {
        self.engine.materialise(model::named("report.earned_orders")?, params).await?;
        self.engine.forget("attribution.credits")?;
        self.earned_orders_of = Some(dates);
        Ok(())
    }

    /// Finds the click that earned each line of some order dates: credits.
    async fn attribute(&self, dates: ReportDates, params: &Params) -> Result<()> {
        self.register_clean_inputs(dates)?;
        let clicks = self.rows("clean.clicks", self.clicks_reach(dates))?;
        let slices = self.slices(clicks, SLICE_CLICKS);
        let with = |params: &Params, name: &'static str, value: i64| {
            let mut params = params.clone();
            params.insert(name, ScalarValue::Int64(Some(value)));
            params
        };
        let params = with(params, "slices", slices);
        let finding_repetitions =
            ["attribution.new_lines", "attribution.placements", "attribution.repetitions"];
        for name in finding_repetitions {
            self.engine.materialise(model::named(name)?, &params).await?;
        }
        let placed_lines = model::named("attribution.placed_lines")?;
        let lines = self.engine.materialise(placed_lines, &params).await?;
        for name in finding_repetitions {
            self.engine.forget(name)?;
        }
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
        for name in ["attribution.shopper_lines", "attribution.shopper_clicks"] {
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
        Ok(())
    }

    pub(super) async fn check_conversions(
        &self,
        params: &Params,
        new: &[NewFile],
    ) -> Result<Vec<String>> {
        let model = model::named("attribution.conversions")?;
        let mut complaints: Vec<String> =
            check::key(&self.engine, model, new).await?.into_iter().collect();
        for name in ["check.each_line_placed_once", "check.each_click_lies_in_its_window"] {
            complaints.extend(check::promise(&self.engine, name, params).await?);
        }
        Ok(complaints)
    }

    /// Rows of a kept table on some landing dates.
    fn rows(&self, name: &str, dates: ReportDates) -> Result<u64> {
        let may_read = self.may_read(dates);
        let files = self.warehouse.table(name)?.files.iter();
        Ok(files.filter(|file| may_read(file.slice.date)).map(TableFile::rows).sum())
    }

    /// The clean rows that some order dates look back to.
    fn register_clean_inputs(&self, dates: ReportDates) -> Result<()> {
        self.register_kept(
            &self.engine,
            "clean.order_events",
            self.may_read(self.orders_reach(dates)),
        )?;
        self.register_kept(&self.engine, "clean.clicks", self.may_read(self.clicks_reach(dates)))
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
}
