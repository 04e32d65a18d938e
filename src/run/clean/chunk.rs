//! Cleans one chunk of landing dates of a log: checks its rows and writes them, not yet visible.

use std::collections::{BTreeMap, BTreeSet};
use std::pin::pin;

use anyhow::Result;
use arrow::array::AsArray;
use arrow::datatypes::Int64Type;
use chrono::{NaiveDate, TimeDelta};
use datafusion::common::ScalarValue;
use datafusion::logical_expr::{lit, not};
use datafusion::prelude::col;
use futures::{StreamExt, TryStreamExt, stream};

use super::{Chunk, Cleaned};
use crate::audit;
use crate::days;
use crate::engine::elsewhere::NOTHING_RUNS;
use crate::engine::parquet_table::Constants;
use crate::engine::{Engine, Params};
use crate::job::Job;
use crate::model;
use crate::raw::{self, Log, RawLog};
use crate::run::workspace::{Workspace, date, instant, whole_days};
use crate::stop::{Kind, Stop};
use crate::warehouse::Partition;
use crate::warehouse::write::NewFile;

/// Raw rows of landing dates that share a query plan, unless one has more. Planning is slow.
const ROWS_TOGETHER: u64 = 500_000;

/// Steps that serve both logs: ids that may repeat, and rows of clean dates with such an id.
const REPEATED_IDS: &str = "clean.repeated_ids";
const KNOWN_IDS: &str = "clean.known_ids";

/// The rows that are not accepted, whole.
const RAW_RECORDS: &str = "clean.raw_records";

/// The steps of one log: checked rows, and the verdicts on rows of repeated ids.
struct Steps {
    checked: &'static str,
    repeated: &'static str,
}

impl Steps {
    fn of(log: Log) -> Steps {
        match log {
            Log::Clicks => {
                Steps { checked: "clean.checked_clicks", repeated: "clean.repeated_clicks" }
            }
            Log::Orders => Steps {
                checked: "clean.checked_order_events",
                repeated: "clean.repeated_order_events",
            },
        }
    }
}

/// The cleaning of a chunk. It has its own engine, which is dropped with its temporary tables.
pub struct Cleaning<'a> {
    workspace: &'a Workspace<'a>,
    engine: Engine,
    raw: &'a RawLog,
    steps: Steps,
    /// The first date to clean.
    first: NaiveDate,
    pub chunk: Chunk,
}

impl<'a> Cleaning<'a> {
    /// `engine` is for this chunk alone. `first` is the first date to clean.
    pub fn new(
        workspace: &'a Workspace<'a>,
        engine: Engine,
        first: NaiveDate,
        chunk: Chunk,
    ) -> Cleaning<'a> {
        let raw = &workspace.plan.log(chunk.log).raw;
        Cleaning { workspace, engine, raw, steps: Steps::of(chunk.log), first, chunk }
    }

    /// Cleans the chunk and audits it. Errors: exit 2 with the files that are not readable (B1);
    /// exit 4 when a promise is broken; exit 1 when a store fails.
    pub async fn clean(&self) -> Result<Cleaned, Stop> {
        let outcome = Box::pin(self.try_clean()).await;
        let Err(stop) = &outcome else { return outcome };
        if !matches!(stop.kind, Kind::Ask | Kind::Inspect) {
            return outcome;
        }
        // Not the files are to blame, and to look at them would take long.
        let is_said = stop.complaints.iter().any(|text| text.contains(NOTHING_RUNS));
        if is_said || self.engine.elsewhere().is_some_and(|elsewhere| !elsewhere.is_there()) {
            return outcome;
        }
        let broken = self
            .raw
            .find_broken(&self.engine, &self.to_read(), self.workspace.job.reading())
            .await?;
        match broken.is_empty() {
            true => outcome,
            false => Err(Stop::fix(broken)
                .hint("no report was changed; replace or remove these files and run again")),
        }
    }

    async fn try_clean(&self) -> Result<Cleaned, Stop> {
        let Cleaning { workspace, engine, chunk, .. } = self;
        let params = self.params(self.first, self.first);
        let nothing = BTreeSet::new();
        let to_read = self.to_read();
        // The other log has no rows here, so steps that serve both logs read this log only.
        for raw in [&workspace.plan.clicks.raw, &workspace.plan.orders.raw] {
            let is_this = raw.log == chunk.log;
            let dates = if is_this { &to_read } else { &nothing };
            raw.register(engine, dates, workspace.job.reading()).await?;
            let is_known = |dt: NaiveDate| is_this && chunk.known.contains(&dt);
            workspace.register_stored(engine, raw.log.clean_table(), is_known)?;
        }
        workspace.register_stored(engine, "clean.rejects", |dt| chunk.known.contains(&dt))?;
        engine.materialise_each(&[REPEATED_IDS, KNOWN_IDS], &params).await?;
        let nothing = self.raw.records(engine, &BTreeSet::new(), &[])?;
        engine.register("raw.records", nothing.into_view())?;
        engine.register_empty(model::named(RAW_RECORDS)?, &params).await?;
        for Steps { checked, repeated } in [Steps::of(Log::Clicks), Steps::of(Log::Orders)] {
            for name in [checked, repeated] {
                engine.register_empty(model::named(name)?, &params).await?;
            }
        }
        let mut cleaned = Box::pin(self.write_in_groups()).await?;

        let is_own = |dt| chunk.dates.contains(&dt);
        let clean = model::named(chunk.log.clean_table())?;
        workspace.register_staged(engine, clean.name, is_own, &cleaned.clean)?;
        let mut complaints: Vec<String> =
            audit::key(engine, clean, &cleaned.clean).await?.into_iter().collect();
        cleaned.rows = match self.raw.has_view() {
            true => self.raw.count(engine, &chunk.dates, workspace.job.reading()).await?,
            false => chunk.dates.iter().map(|dt| (*dt, self.raw.rows(*dt))).collect(),
        };
        cleaned.unfit = self.raw.unfit_quantities(engine, &chunk.dates).await?;
        let counts = raw::row_counts(chunk.log, &cleaned.rows)?;
        engine.register_rows("raw.row_counts", counts).await?;
        workspace.register_staged(engine, "clean.rejects", is_own, &cleaned.rejects)?;
        complaints.extend(audit::promise(engine, "audit.nothing_is_lost", &params).await?);
        if !complaints.is_empty() {
            return Err(Stop::inspect(complaints).hint("no report was changed"));
        }
        cleaned.reasons = self.count_rejects().await?;
        Ok(cleaned)
    }

    /// Checks the rows of one date after the other, and at the same time writes the dates that are
    /// checked. So all cores work and few rows are in memory.
    async fn write_in_groups(&self) -> Result<Cleaned> {
        let cores = self.workspace.cores();
        let before: Vec<NaiveDate> = self.chunk.unknown.iter().copied().collect();
        self.judge(&before, cores).await?;
        // In boxes: the streams move what they hold, and so much of the stack.
        let checked = stream::iter(together(&self.chunk.dates, |dt| self.raw.rows(dt)))
            .map(|dates| {
                Box::pin(async move {
                    self.judge(&dates, 2).await?;
                    self.read_rejected(&dates).await?;
                    anyhow::Ok(dates)
                })
            })
            .buffered(cores);
        let written = checked.map_ok(|dates| Box::pin(self.write_checked(dates)));
        let mut written = pin!(written.try_buffered(cores));
        let mut cleaned = Cleaned::default();
        while let Some(group) = written.try_next().await? {
            if let Some(last) = group.clean.last() {
                self.forget_before(days::next(last.partition.date));
            }
            cleaned.clean.extend(group.clean);
            cleaned.rejects.extend(group.rejects);
        }
        Ok(cleaned)
    }

    /// Drops rows that dates from `next` on do not need.
    fn forget_before(&self, next: NaiveDate) {
        let reach = self.workspace.job.reach().before_landing(next).from;
        let is_before = |constants: &Constants, first: NaiveDate| {
            constants.get("dt").is_some_and(|dt| *dt < date(first))
        };
        self.engine.forget_parts(self.steps.checked, |constants| is_before(constants, reach));
        self.engine.forget_parts(self.steps.repeated, |constants| is_before(constants, next));
        self.engine.forget_parts(RAW_RECORDS, |constants| is_before(constants, next));
    }

    async fn judge(&self, dates: &[NaiveDate], cores: usize) -> Result<()> {
        let params = self.params(self.first, self.first);
        let to_judge = dates.iter().map(|dt| {
            let mut params = params.clone();
            params.extend(landing(*dt));
            params
        });
        let to_judge: Vec<Params> = to_judge.collect();
        if to_judge.is_empty() {
            return Ok(());
        }
        let checked = model::named(self.steps.checked)?;
        self.engine.materialise_more(checked, &to_judge, cores).await
    }

    fn to_read(&self) -> BTreeSet<NaiveDate> {
        &self.chunk.unknown | &self.chunk.dates
    }

    /// Reads what was not read yet of the rows that are not accepted: they are stored whole, or their
    /// further columns tell which of several repetitions is kept.
    async fn read_rejected(&self, dates: &[NaiveDate]) -> Result<()> {
        let is_of = col("dt").in_list(dates.iter().map(|dt| lit(date(*dt))).collect(), false);
        let checked = self.engine.table(self.steps.checked).await?;
        let is_whole = col("has_own_names").or(col("is_bad_text"));
        let is_read = is_whole.clone().or(col("has_further_columns"));
        let rejected = checked.filter(not(col("is_accepted")).and(is_of).and(is_read))?;
        let rejected = rejected.select(vec![col("row_at"), is_whole.alias("is_whole")])?;
        let mut rows: Vec<(i64, bool)> = Vec::new();
        for batch in self.engine.rows_of("rejected rows", rejected).await? {
            let places = batch.column(0).as_primitive::<Int64Type>().values();
            let is_whole = batch.column(1).as_boolean().values();
            rows.extend(places.iter().copied().zip(is_whole));
        }
        // Several rows may come of one, in a view.
        rows.sort_unstable();
        rows.dedup();
        if rows.is_empty() {
            return Ok(());
        }
        let fork = self.engine.fork()?;
        let records = self.raw.records(&fork, &self.to_read(), &rows)?;
        fork.register("raw.records", records.into_view())?;
        self.engine.materialise_from(&fork, model::named(RAW_RECORDS)?).await
    }

    /// Writes dates that are checked. The dates before them are checked, too.
    async fn write_checked(&self, dates: Vec<NaiveDate>) -> Result<Cleaned> {
        let (Some(first), Some(last)) = (dates.first(), dates.last()) else {
            return Ok(Cleaned::default());
        };
        let params = self.params(*first, *last);
        let verdicts = model::named(self.steps.repeated)?;
        self.engine.materialise_more(verdicts, std::slice::from_ref(&params), 1).await?;
        let (clean, rejects) = futures::try_join!(
            self.workspace.write_by_date(
                &self.engine,
                model::named(self.chunk.log.clean_table())?,
                &dates,
                "dt",
                &params
            ),
            self.write_rejects(&dates, &params)
        )?;
        let is_written = |constants: &Constants| {
            let is = |name: &str, value: ScalarValue| constants.get(name) == Some(&value);
            is("is_accepted", ScalarValue::Boolean(Some(true)))
                && dates.iter().any(|dt| is("dt", date(*dt)))
        };
        self.engine.forget_parts(self.steps.checked, is_written);
        Ok(Cleaned { clean, rejects, ..Cleaned::default() })
    }

    async fn write_rejects(&self, dates: &[NaiveDate], params: &Params) -> Result<Vec<NewFile>> {
        let rejects = model::named("clean.rejects")?;
        let log = self.chunk.log.name();
        let partition = |dt: &NaiveDate| Partition { date: *dt, log: Some(log.to_owned()) };
        let partitions: Vec<Partition> = dates.iter().map(partition).collect();
        let slice = (params.clone(), partitions);
        self.workspace.write_slices(&self.engine, rejects, vec![slice]).await
    }

    fn params(&self, first: NaiveDate, last: NaiveDate) -> Params {
        params(self.workspace.job, self.chunk.log, first, last)
    }

    async fn count_rejects(&self) -> Result<BTreeMap<String, u64>> {
        let params = self.params(self.first, self.first);
        let rows = self.engine.collect(model::named("summary.rejected_rows")?, &params).await?;
        let mut reasons = BTreeMap::new();
        for batch in rows {
            for row in 0..batch.num_rows() {
                let reason = arrow::util::display::array_value_to_string(batch.column(0), row)?;
                let rows = arrow::util::display::array_value_to_string(batch.column(1), row)?;
                reasons.insert(reason, rows.parse()?);
            }
        }
        Ok(reasons)
    }
}

/// The parameters of the steps of cleaning, for the landing dates `first` to `last` of a log.
pub fn params(job: &Job, log: Log, first: NaiveDate, last: NaiveDate) -> Params {
    let reach = job.reach();
    let text = |text: &str| ScalarValue::Utf8(Some(text.to_owned()));
    let mut params = Params::from([
        ("log", text(log.name())),
        ("first_dt", date(first)),
        ("last_dt", date(last)),
        ("late", duration(TimeDelta::days(reach.late_days() as i64))),
        ("ahead", duration(reach.ahead())),
        ("late_days", whole_days(reach.late_days())),
        ("dedup_days", whole_days(reach.dedup_days())),
        ("currency", text(&job.currency)),
        ("zone", text(job.zone.name())),
    ]);
    params.extend(landing(first));
    params
}

/// The parameters for a landing date and the instant at which it begins.
pub fn landing(dt: NaiveDate) -> [(&'static str, ScalarValue); 2] {
    [("dt", date(dt)), ("dt_start", instant(days::start_of_utc(dt)))]
}

/// Groups the dates of a chunk that share a query plan.
fn together(dates: &BTreeSet<NaiveDate>, rows: impl Fn(NaiveDate) -> u64) -> Vec<Vec<NaiveDate>> {
    let mut groups: Vec<Vec<NaiveDate>> = Vec::new();
    for dt in dates {
        let all = |group: &[NaiveDate]| group.iter().chain([dt]).map(|dt| rows(*dt)).sum::<u64>();
        match groups.last_mut() {
            Some(group) if all(group) <= ROWS_TOGETHER => group.push(*dt),
            _ => groups.push(vec![*dt]),
        }
    }
    groups
}

/// A duration, which is faster to add to an instant than an interval.
fn duration(duration: TimeDelta) -> ScalarValue {
    ScalarValue::DurationMicrosecond(duration.num_microseconds())
}
