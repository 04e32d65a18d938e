//! What all steps of a run share: the job, the plan, the engine, the warehouse, and how tables are
//! read, written and counted.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use anyhow::{Context, Result};
use chrono::{DateTime, NaiveDate, TimeDelta, Utc};
use datafusion::common::ScalarValue;
use datafusion::common::runtime::SpawnedTask;
use datafusion::common::scalar::ScalarValue::IntervalMonthDayNano;
use datafusion::execution::SendableRecordBatchStream;
use futures::{StreamExt, TryStreamExt};

use super::Request;
use super::warnings::Lines;
use crate::days::{self, DateRange, days_since_1970};
use crate::engine::elsewhere::{Elsewhere, Order, Ordered};
use crate::engine::{Engine, Params, timed};
use crate::job::{AttributionSettings, Job};
use crate::location::Location;
use crate::model::{self, Model};
use crate::plan::Plan;
use crate::progress::Progress;
use crate::raw::Log;
use crate::reference::Reference;
use crate::stop::Stop;
use crate::summary::Summary;
use crate::warehouse::write::{self, NewFile, TableOrder};
use crate::warehouse::{Partition, Warehouse};

/// The most dates that are worked on at once.
pub const CHUNK: usize = 31;

/// New files by table, not yet visible.
pub type Staged = BTreeMap<&'static str, Vec<NewFile>>;

/// The state of a run.
pub struct Workspace<'a> {
    pub job: &'a Job,
    pub request: &'a Request,
    pub reference: Reference,
    pub engine: Engine,
    pub warehouse: Warehouse,
    pub plan: Plan,
    pub progress: &'a Progress,
    pub summary: &'a mut Summary,
    /// The order dates that `report.earned_orders` has.
    pub earned_orders_of: Option<DateRange>,
    /// The order lines placed on the report dates made so far.
    pub placed: BTreeMap<NaiveDate, Lines>,
}

impl Workspace<'_> {
    /// Parameters of the SQL files for some report dates.
    pub fn params(&self, dates: DateRange) -> Params {
        let instants = dates.instants(self.job.zone);
        let mut params = attribution_params(&self.job.attribution());
        params.extend([("from", instant(instants.start)), ("to", instant(instants.end))]);
        params
    }

    /// Registers the reference tables in an engine.
    pub async fn register_reference(&self, engine: &Engine) -> Result<()> {
        self.reference.register(engine, &self.warehouse).await
    }

    /// Registers a stored table with the wanted dates, as they are in the warehouse.
    pub fn register_stored(
        &self,
        engine: &Engine,
        name: &str,
        wanted: impl Fn(NaiveDate) -> bool,
    ) -> Result<()> {
        self.register_staged(engine, name, wanted, &[])
    }

    /// The same, with files that are not visible yet.
    pub fn register_staged(
        &self,
        engine: &Engine,
        name: &str,
        wanted: impl Fn(NaiveDate) -> bool,
        staged: &[NewFile],
    ) -> Result<()> {
        let model = model::named(name)?;
        let folder = self.warehouse.folder(model);
        engine.add_store(&folder)?;
        let table = self.warehouse.table(name)?.provider(&folder, wanted, staged)?;
        engine.register(name, Arc::new(table))
    }

    /// Begins to read the stored rows that the run's own dates look back to, while raw logs are cleaned.
    /// Not where they are many: then each step asks for its own. Not where others read them.
    pub fn ask_ahead(&self) -> Result<()> {
        if self.engine.elsewhere().is_some() {
            return Ok(());
        }
        const AT_MOST: u64 = 2 << 30;
        let own = self.plan.candidates();
        let Some((from, to)) = own.first().copied().zip(own.last().copied()) else { return Ok(()) };
        let (own, reach) = (DateRange { from, to }, self.job.reach());
        let may_read = |dates| self.may_read(dates);
        let placed =
            DateRange { from: reach.earlier_order_dates(from).from, to: days::minus(from, 1) };
        let is_clean = |log, wanted: &dyn Fn(NaiveDate) -> bool, date| {
            wanted(date) && !self.plan.log(log).to_clean.contains_key(&date)
        };
        let (clicks, events) = (may_read(reach.clicks(own)), may_read(reach.events(own)));
        let mut files = Vec::new();
        files.extend(
            self.stored_files("clean.order_events", |date| is_clean(Log::Orders, &events, date))?,
        );
        files.extend(
            self.stored_files("clean.clicks", |date| is_clean(Log::Clicks, &clicks, date))?,
        );
        files.extend(self.stored_files("attribution.conversions", |date| placed.contains(date))?);
        if files.iter().map(|(_, size)| size).sum::<u64>() <= AT_MOST {
            files.into_iter().for_each(|(location, size)| location.ask_ahead(size));
        }
        Ok(())
    }

    /// The files of a stored table on the wanted dates, and their sizes.
    fn stored_files(
        &self,
        name: &str,
        wanted: impl Fn(NaiveDate) -> bool,
    ) -> Result<Vec<(Location, u64)>> {
        let folder = self.warehouse.folder(model::named(name)?);
        let files = self.warehouse.table(name)?.files.iter();
        let files = files.filter(|file| wanted(file.partition.date) && file.rows() > 0);
        Ok(files.map(|file| (folder.child(file.path()), file.size())).collect())
    }

    /// Which landing dates of a range may be read: none after `--as-of`, even if it is clean (D3).
    pub fn may_read(&self, dates: DateRange) -> impl Fn(NaiveDate) -> bool + use<> {
        let as_of = self.request.as_of;
        move |dt| dates.contains(dt) && as_of.is_none_or(|last| dt <= last)
    }

    /// Writes a table date by date. The dates share the cores. `param` is the model's parameter for
    /// the date.
    pub async fn write_by_date(
        &self,
        engine: &Engine,
        model: &'static Model,
        dates: &[NaiveDate],
        param: &'static str,
        params: &Params,
    ) -> Result<Vec<NewFile>> {
        let slices = dates.iter().map(|of| {
            let mut params = params.clone();
            params.insert(param, date(*of));
            (params, vec![Partition::of(*of)])
        });
        self.write_slices(engine, model, slices.collect()).await
    }

    /// Writes a table slice by slice: the rows that a model gives with some parameters go to the files
    /// of some partitions. The slices share the cores.
    pub async fn write_slices(
        &self,
        engine: &Engine,
        model: &'static Model,
        slices: Vec<(Params, Vec<Partition>)>,
    ) -> Result<Vec<NewFile>> {
        if let Some(elsewhere) = engine.elsewhere() {
            let written = self.write_elsewhere(engine, elsewhere.as_ref(), model, slices);
            return timed(model.name, Box::pin(written)).await;
        }
        let (cores, slice_count) = (self.cores(), slices.len());
        let writes = slices.into_iter().map(|(params, partitions)| async move {
            let rows = engine.stream_on(cores / slice_count, model, &params).await?;
            self.write(model, rows, partitions).await
        });
        // One more than there are cores, which is planned while the others are written.
        let writes = futures::stream::iter(writes).buffered(cores + 1);
        let files: Vec<Vec<NewFile>> = timed(model.name, writes.try_collect()).await?;
        Ok(files.into_iter().flatten().collect())
    }

    /// The same in other processes. Only what the files are comes back.
    async fn write_elsewhere(
        &self,
        engine: &Engine,
        elsewhere: &dyn Elsewhere,
        model: &'static Model,
        slices: Vec<(Params, Vec<Partition>)>,
    ) -> Result<Vec<NewFile>> {
        let cores = match model.keeps_order {
            true => 1,
            false => (elsewhere.cores() / slices.len().max(1)).min(elsewhere.cores_each()),
        };
        let mut plans = Vec::new();
        for (params, partitions) in &slices {
            let partitions = partitions.iter().map(|of| (of.date, of.log.clone())).collect();
            let order = TableOrder {
                model: model.name.to_owned(),
                folder: self.warehouse.folder(model).url().to_string(),
                file_name: self.file_name(),
                partitions,
                zone: self.job.zone.name().to_owned(),
            };
            let plan = engine.plan_on(cores, model, params).await?;
            plans.push(Ordered { plan, order: Order::Table(serde_json::to_string(&order)?) });
        }
        let reports = elsewhere.run(model.name, plans).await;
        let reports = reports.with_context(|| format!("cannot write {}", model.name))?;
        let (mut files, folder) = (Vec::new(), self.warehouse.folder(model));
        for ((_, partitions), reports) in slices.iter().zip(&reports) {
            files.extend(write::reported(reports, partitions, &folder).await?);
        }
        Ok(files)
    }

    /// A run's files have its id, in every table and partition.
    fn file_name(&self) -> String {
        format!("part-{}", self.request.run_id)
    }

    /// Writes rows to the files of some partitions, in a separate task.
    async fn write(
        &self,
        model: &'static Model,
        rows: SendableRecordBatchStream,
        partitions: Vec<Partition>,
    ) -> Result<Vec<NewFile>> {
        let folder = self.warehouse.folder(model);
        let file_name = self.file_name();
        let zone = self.job.zone;
        let written = SpawnedTask::spawn(async move {
            write::table(rows, model, &folder, &file_name, &partitions, zone).await
        });
        written.join().await?.with_context(|| format!("cannot write {}", model.name))
    }

    /// How many dates of a table have about so many rows: from 1 to `CHUNK`.
    pub fn dates_at_once(&self, name: &str, rows: u64) -> Result<usize> {
        let rows_per_date = self.warehouse.table(name)?.rows_per_date().max(1);
        Ok(((rows / rows_per_date) as usize).clamp(1, CHUNK))
    }

    /// How many buckets to use for so many rows: a multiple of the number of cores.
    pub fn buckets(&self, rows: u64, rows_each: u64) -> i64 {
        rows.div_ceil(rows_each).max(1).next_multiple_of(self.cores() as u64) as i64
    }

    /// Of all who work together.
    pub fn cores(&self) -> usize {
        let here = self.request.tuning.partitions;
        self.engine.elsewhere().map_or(here, |elsewhere| elsewhere.cores()).max(1)
    }

    /// The wanted dates of a range, as ranges.
    pub fn among(dates: DateRange, wanted: impl Fn(NaiveDate) -> bool) -> Vec<DateRange> {
        let wanted: BTreeSet<NaiveDate> = dates.iter().filter(|date| wanted(*date)).collect();
        days::contiguous_ranges(&wanted, CHUNK)
    }

    pub fn note_written(&mut self, table: &str, dates: impl IntoIterator<Item = NaiveDate>) {
        let written = self.summary.written.entry(table.to_owned()).or_default();
        written.extend(dates);
        written.sort();
        written.dedup();
        if table.starts_with("report/") {
            let newest = &mut self.summary.newest_report_date;
            *newest = written.last().copied().max(*newest);
        }
    }
}

/// Ends the run if there are complaints of audits. Errors: exit 4.
pub fn stop_if(complaints: Vec<String>) -> Result<(), Stop> {
    match complaints.is_empty() {
        true => Ok(()),
        false => Err(Stop::inspect(complaints).hint(
            "no report was changed; the rows above contradict each other, so either the data was \
             changed under the run or the program is wrong",
        )),
    }
}

/// The parameters of the SQL files that follow from a job's settings.
pub fn attribution_params(settings: &AttributionSettings) -> Params {
    let text = |text: &str| ScalarValue::Utf8(Some(text.to_owned()));
    let reach = settings.reach();
    Params::from([
        ("window", interval(reach.window())),
        ("horizon", interval(reach.horizon())),
        ("dedup_days", whole_days(reach.dedup_days())),
        ("tie", text(settings.tie.name())),
        ("scope", text(settings.scope.name())),
        ("zone", text(settings.zone.name())),
        ("from_logs", ScalarValue::Boolean(Some(settings.from_logs))),
        ("default_rate", ScalarValue::Decimal128(Some(settings.default_rate), 9, 6)),
    ])
}

pub fn instant(time: DateTime<Utc>) -> ScalarValue {
    ScalarValue::TimestampMicrosecond(Some(time.timestamp_micros()), Some("UTC".into()))
}

pub fn date(date: NaiveDate) -> ScalarValue {
    ScalarValue::Date32(Some(days_since_1970(date)))
}

pub fn number(number: i64) -> ScalarValue {
    ScalarValue::Int64(Some(number))
}

/// An interval of elapsed time, which daylight saving does not change.
fn interval(duration: TimeDelta) -> ScalarValue {
    let nanoseconds = duration.num_nanoseconds().unwrap_or(i64::MAX);
    IntervalMonthDayNano(Some(arrow::datatypes::IntervalMonthDayNano::new(0, 0, nanoseconds)))
}

pub fn whole_days(days: u64) -> ScalarValue {
    let days = i32::try_from(days).unwrap_or(i32::MAX);
    IntervalMonthDayNano(Some(arrow::datatypes::IntervalMonthDayNano::new(0, days, 0)))
}
