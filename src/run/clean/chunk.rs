//! One chunk of landing dates of a log: its rows judged and written, not yet visible.

use std::collections::{BTreeMap, BTreeSet};
use std::pin::pin;

use anyhow::{Context, Result};
use chrono::{NaiveDate, NaiveTime, TimeDelta};
use datafusion::common::ScalarValue;
use datafusion::common::runtime::SpawnedTask;
use futures::{StreamExt, TryStreamExt, stream};

use super::{Chunk, Cleaned};
use crate::check;
use crate::days;
use crate::engine::files::Constants;
use crate::engine::write::{self, NewFile, Slice};
use crate::engine::{Engine, Params, timed};
use crate::model;
use crate::raw::{self, Log, RawLog};
use crate::run::{Run, cannot_write, date, instant, whole_days};
use crate::stop::{Kind, Stop};

/// Raw rows of landing dates that are planned together, unless one has more: planning takes a while.
const ROWS_TOGETHER: u64 = 500_000;

/// How long after its landing date began a row is in the future (C1): at 01:00 of the next day.
const AHEAD: TimeDelta = TimeDelta::hours(25);

/// The models of one log.
pub struct Models {
    /// Kept for the run: ids that may repeat, those of them on clean dates, checked rows, the verdict
    /// on rows of such ids.
    repeated_ids: &'static str,
    known_ids: &'static str,
    checked: &'static str,
    repeated: &'static str,
    pub clean: &'static str,
}

pub fn models(log: Log) -> Models {
    match log {
        Log::Clicks => Models {
            repeated_ids: "clean.repeated_click_ids",
            known_ids: "clean.known_click_ids",
            checked: "clean.checked_clicks",
            repeated: "clean.repeated_clicks",
            clean: "clean.clicks",
        },
        Log::Orders => Models {
            repeated_ids: "clean.repeated_event_ids",
            known_ids: "clean.known_event_ids",
            checked: "clean.checked_order_events",
            repeated: "clean.repeated_order_events",
            clean: "clean.order_events",
        },
    }
}

impl Models {
    fn steps(&self) -> [&'static str; 4] {
        [self.repeated_ids, self.known_ids, self.checked, self.repeated]
    }
}

/// The cleaning of a chunk, in an engine of its own: it goes with all that was kept for it.
pub struct Cleaning<'a> {
    run: &'a Run<'a>,
    engine: Engine,
    raw: &'a RawLog,
    names: Models,
    /// Of the dates to clean.
    first: NaiveDate,
    pub chunk: Chunk,
}

impl<'a> Cleaning<'a> {
    /// `engine` is for this chunk alone; `first` the first of the dates to clean.
    pub fn new(run: &'a Run<'a>, engine: Engine, first: NaiveDate, chunk: Chunk) -> Cleaning<'a> {
        let raw = &run.plan.reading(chunk.log).raw;
        Cleaning { run, engine, raw, names: models(chunk.log), first, chunk }
    }

    /// Errors: besides all others, the files that turned out to be no readable Parquet.
    pub async fn clean(&self) -> Result<Cleaned, Stop> {
        let outcome = self.try_clean().await;
        let Err(stop) = &outcome else { return outcome };
        if !matches!(stop.kind, Kind::Ask | Kind::Look) {
            return outcome;
        }
        let to_read = &self.chunk.unknown | &self.chunk.dates;
        let broken = self.raw.find_broken(&self.engine, &to_read, &self.run.job.formats).await?;
        match broken.is_empty() {
            true => outcome,
            false => Err(Stop::fix(broken)
                .hint("no report was changed; replace or remove these files and run again")),
        }
    }

    async fn try_clean(&self) -> Result<Cleaned, Stop> {
        let Cleaning { run, engine, chunk, names, .. } = self;
        let params = self.params(self.first, self.first);
        let nothing = BTreeSet::new();
        let to_read = &chunk.unknown | &chunk.dates;
        for reading in [&run.plan.clicks.raw, &run.plan.orders.raw] {
            let dates = if reading.log == chunk.log { &to_read } else { &nothing };
            reading.register(engine, dates, &run.job.formats).await?;
        }
        for table in ["clean.clicks", "clean.order_events", "clean.rejects"] {
            run.register_kept(engine, table, |dt| chunk.known.contains(&dt))?;
        }
        let other = match chunk.log {
            Log::Clicks => Log::Orders,
            Log::Orders => Log::Clicks,
        };
        for name in models(other).steps() {
            engine.register_empty(model::named(name)?, &params).await?;
        }
        engine.materialise(model::named(names.repeated_ids)?, &params).await?;
        engine.materialise(model::named(names.known_ids)?, &params).await?;
        for name in [names.checked, names.repeated] {
            engine.register_empty(model::named(name)?, &params).await?;
        }
        let mut cleaned = self.write_in_groups().await?;

        let is_own = |dt| chunk.dates.contains(&dt);
        let clean = model::named(names.clean)?;
        run.register_staged(engine, names.clean, is_own, &cleaned.clean)?;
        let mut complaints: Vec<String> =
            check::key(engine, clean, &cleaned.clean).await?.into_iter().collect();
        let counts = raw::row_counts(&[(self.raw, chunk.dates.clone())])?;
        engine.register_rows("raw.row_counts", counts).await?;
        run.register_staged(engine, "clean.rejects", is_own, &cleaned.rejects)?;
        complaints.extend(check::promise(engine, "check.nothing_is_lost", &params).await?);
        if !complaints.is_empty() {
            return Err(Stop::look(complaints).hint("no report was changed"));
        }
        cleaned.reasons = self.count_rejects().await?;
        Ok(cleaned)
    }

    /// Checks the dates of a chunk one after the other and writes those that are checked meanwhile,
    /// so that all cores are at work and few rows are held.
    async fn write_in_groups(&self) -> Result<Cleaned> {
        let cores = self.run.request.tuning.partitions.max(1);
        let before: Vec<NaiveDate> = self.chunk.unknown.iter().copied().collect();
        self.check(&before, cores).await?;
        let checked = stream::iter(together(&self.chunk.dates, |dt| self.raw.rows(dt)))
            .map(|dates| async move {
                self.check(&dates, 2).await?;
                anyhow::Ok(dates)
            })
            .buffered(cores);
        let written = checked.map_ok(|dates| self.write_checked(dates));
        let mut written = pin!(written.try_buffered(cores));
        let mut cleaned = Cleaned::default();
        while let Some(group) = written.try_next().await? {
            if let Some(last) = group.clean.last() {
                self.forget_before(days::next(last.slice.date));
            }
            cleaned.clean.extend(group.clean);
            cleaned.rejects.extend(group.rejects);
        }
        Ok(cleaned)
    }

    /// Lets go of rows that dates from this one on do not look at.
    fn forget_before(&self, next: NaiveDate) {
        let reach = days::dedup_reach(next, self.run.job.late_days).from;
        let is_before = |constants: &Constants, first: NaiveDate| {
            constants.get("dt").is_some_and(|dt| *dt < date(first))
        };
        self.engine.forget_parts(self.names.checked, |constants| is_before(constants, reach));
        self.engine.forget_parts(self.names.repeated, |constants| is_before(constants, next));
    }

    async fn check(&self, dates: &[NaiveDate], cores: usize) -> Result<()> {
        let params = self.params(self.first, self.first);
        let to_check = dates.iter().map(|dt| {
            let mut params = params.clone();
            params.extend(landing(*dt));
            params
        });
        let to_check: Vec<Params> = to_check.collect();
        if to_check.is_empty() {
            return Ok(());
        }
        let checked = model::named(self.names.checked)?;
        self.engine.materialise_more(checked, &to_check, cores).await
    }

    /// Writes dates that were checked, as were those before them.
    async fn write_checked(&self, dates: Vec<NaiveDate>) -> Result<Cleaned> {
        let (Some(first), Some(last)) = (dates.first(), dates.last()) else {
            return Ok(Cleaned::default());
        };
        let params = self.params(*first, *last);
        let verdicts = model::named(self.names.repeated)?;
        self.engine.materialise_more(verdicts, std::slice::from_ref(&params), 1).await?;
        let (clean, rejects) = futures::try_join!(
            self.run.write_by_date(
                &self.engine,
                model::named(self.names.clean)?,
                &dates,
                "dt",
                &params
            ),
            self.write_rejects(&dates, &params)
        )?;
        let is_written = |constants: &Constants| {
            let is = |name: &str, value: ScalarValue| constants.get(name) == Some(&value);
            is("is_settled", ScalarValue::Boolean(Some(true)))
                && dates.iter().any(|dt| is("dt", date(*dt)))
        };
        self.engine.forget_parts(self.names.checked, is_written);
        Ok(Cleaned { clean, rejects, ..Cleaned::default() })
    }

    async fn write_rejects(&self, dates: &[NaiveDate], params: &Params) -> Result<Vec<NewFile>> {
        let rejects = model::named("clean.rejects")?;
        let log = self.chunk.log.name();
        let slice = |dt: &NaiveDate| Slice { date: *dt, log: Some(log.to_owned()) };
        let slices: Vec<Slice> = dates.iter().map(slice).collect();
        let rows = self.engine.stream_on(1, rejects, params).await?;
        let folder = self.run.warehouse.folder(rejects);
        let file_name = self.run.file_name();
        let written = SpawnedTask::spawn(async move {
            write::table(rows, rejects, &folder, &file_name, &slices).await
        });
        timed(rejects.name, written.join()).await?.with_context(|| cannot_write(rejects))
    }

    fn params(&self, first: NaiveDate, last: NaiveDate) -> Params {
        let job = self.run.job;
        let late = TimeDelta::days(job.late_days as i64);
        let mut params = Params::from([
            ("first_dt", date(first)),
            ("last_dt", date(last)),
            ("late", duration(late)),
            ("ahead", duration(AHEAD)),
            ("late_days", whole_days(job.late_days)),
            ("dedup_days", whole_days(job.late_days + 2)),
            ("currency", ScalarValue::Utf8(Some(job.currency.clone()))),
        ]);
        params.extend(landing(first));
        params
    }

    async fn count_rejects(&self) -> Result<BTreeMap<String, u64>> {
        let log = ScalarValue::Utf8(Some(self.chunk.log.name().to_owned()));
        let params = Params::from([("log", log)]);
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

/// One landing date, and the instant at which it begins.
fn landing(dt: NaiveDate) -> [(&'static str, ScalarValue); 2] {
    [("dt", date(dt)), ("dt_start", instant(dt.and_time(NaiveTime::MIN).and_utc()))]
}

/// Dates of a chunk that are planned together, if they are small.
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

/// As columns count time: quicker to add to an instant than an interval.
fn duration(duration: TimeDelta) -> ScalarValue {
    ScalarValue::DurationMicrosecond(duration.num_microseconds())
}
