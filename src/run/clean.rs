//! Raw landing dates to clean tables, chunk by chunk, each published as it is done.

use std::collections::{BTreeMap, BTreeSet};
use std::pin::pin;

use anyhow::{Context, Result};
use chrono::{NaiveDate, NaiveTime, TimeDelta};
use datafusion::common::ScalarValue;
use datafusion::common::runtime::SpawnedTask;
use futures::{StreamExt, TryStreamExt, stream};

use super::{Run, cannot_write, date, instant, whole_days};
use crate::check;
use crate::days::{self, ReportDates};
use crate::engine::files::Constants;
use crate::engine::write::{self, NewFile, Slice};
use crate::engine::{Params, timed};
use crate::model;
use crate::origin;
use crate::plan::{Reading, clean_origin};
use crate::raw::{self, Log};
use crate::stop::{Kind, Stop};
use crate::warehouse::Change;

/// Raw rows and landing dates that are cleaned at once, unless one date has more: what was cleaned is
/// published then, and to begin anew takes a moment in which a core has nothing to do.
const CHUNK_ROWS: u64 = 24_000_000;
const CHUNK_DATES: usize = 62;

/// Raw rows of landing dates that are planned together, unless one has more: planning takes a while.
const ROWS_TOGETHER: u64 = 500_000;

/// How long after its landing date began a row is in the future (C1): at 01:00 of the next day.
const AHEAD: TimeDelta = TimeDelta::hours(25);

/// The models of one log.
struct Models {
    /// Kept for the run: ids that may repeat, those of them on clean dates, checked rows, the verdict
    /// on rows of such ids.
    repeated_ids: &'static str,
    known_ids: &'static str,
    checked: &'static str,
    repeated: &'static str,
    clean: &'static str,
}

fn models(log: Log) -> Models {
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

/// Landing dates to clean in one go, and others that decide what is a duplicate.
struct Chunk<'a> {
    log: Log,
    dates: &'a BTreeSet<NaiveDate>,
    /// Clean already.
    known: BTreeSet<NaiveDate>,
    /// Not clean, so read raw.
    unknown: BTreeSet<NaiveDate>,
}

/// New files of a chunk, not yet visible.
#[derive(Default)]
struct Cleaned {
    clean: Vec<NewFile>,
    rejects: Vec<NewFile>,
}

impl Run<'_> {
    /// Cleans what the plan says, oldest dates first: their ids decide what is a duplicate later.
    pub(super) async fn clean(&mut self) -> Result<(), Stop> {
        for log in [Log::Clicks, Log::Orders] {
            for dates in chunks(self.plan.reading(log)) {
                self.clean_chunk(log, &dates).await?;
            }
        }
        Ok(())
    }

    async fn clean_chunk(&mut self, log: Log, dates: &BTreeSet<NaiveDate>) -> Result<(), Stop> {
        let (Some(first), Some(last)) = (dates.first().copied(), dates.last().copied()) else {
            return Ok(());
        };
        self.progress.step(&format!(
            "cleaning {} that landed {}",
            log.name(),
            days::in_words(dates.iter().copied())
        ));
        let raw = &self.plan.reading(log).raw;
        // Dates that decide what is a duplicate: their ids come from the clean tables where these
        // are up to date, else from the raw files.
        let from = days::dedup_reach(first, self.job.late_days).from;
        let others = ReportDates { from, to: last };
        let mut known = BTreeSet::new();
        let mut unknown = BTreeSet::new();
        for dt in others.iter().filter(|dt| !dates.contains(dt)) {
            let now = origin::of_clean(self.job, self.reference, raw, dt)?;
            match clean_origin(&self.warehouse, log, dt)? {
                Some(made) if !raw.has_landed(dt) || origin::is_raw_unchanged(made, &now, raw) => {
                    known.insert(dt)
                }
                _ => unknown.insert(dt),
            };
        }
        let chunk = Chunk { log, dates, known, unknown };
        let outcome = self.write_chunk(&chunk).await;
        for name in models(log).steps() {
            self.engine.forget(name)?;
        }
        match outcome {
            Ok(()) => Ok(()),
            Err(stop) if matches!(stop.kind, Kind::Ask | Kind::Look) => {
                let raw = &self.plan.reading(log).raw;
                let formats = &self.job.formats;
                let to_read = &chunk.unknown | dates;
                let broken = raw.find_broken(&self.engine, &to_read, formats).await?;
                match broken.is_empty() {
                    true => Err(stop),
                    false => Err(Stop::fix(broken).hint(
                        "no report was changed; replace or remove these files and run again",
                    )),
                }
            }
            Err(stop) => Err(stop),
        }
    }

    async fn write_chunk(&mut self, chunk: &Chunk<'_>) -> Result<(), Stop> {
        let Chunk { log, dates, .. } = *chunk;
        let names = models(log);
        let Some(first) = dates.first().copied() else { return Ok(()) };
        let params = self.clean_params(first, first);
        let nothing = BTreeSet::new();
        let to_read = &chunk.unknown | dates;
        for reading in [&self.plan.clicks.raw, &self.plan.orders.raw] {
            let dates = if reading.log == log { &to_read } else { &nothing };
            reading.register(&self.engine, dates, &self.job.formats).await?;
        }
        for table in ["clean.clicks", "clean.order_events", "clean.rejects"] {
            self.register_kept(table, |dt| chunk.known.contains(&dt))?;
        }
        let other = match log {
            Log::Clicks => Log::Orders,
            Log::Orders => Log::Clicks,
        };
        for name in models(other).steps() {
            self.engine.register_empty(model::named(name)?, &params).await?;
        }
        self.engine.materialise(model::named(names.repeated_ids)?, &params).await?;
        self.engine.materialise(model::named(names.known_ids)?, &params).await?;
        for name in [names.checked, names.repeated] {
            self.engine.register_empty(model::named(name)?, &params).await?;
        }
        let cleaned = self.write_in_groups(chunk).await?;

        let clean = model::named(names.clean)?;
        let rejects = model::named("clean.rejects")?;
        self.register_staged(names.clean, |dt| dates.contains(&dt), &cleaned.clean)?;
        let mut complaints: Vec<String> =
            check::key(&self.engine, clean, &cleaned.clean).await?.into_iter().collect();
        let raw = &self.plan.reading(log).raw;
        let counts = raw::row_counts(&[(raw, dates.clone())])?;
        let raw_rows: u64 = dates.iter().map(|dt| raw.rows(*dt)).sum();
        self.engine.register_rows("raw.row_counts", counts).await?;
        self.register_staged("clean.rejects", |dt| dates.contains(&dt), &cleaned.rejects)?;
        self.count_rejects(log).await?;
        complaints.extend(check::promise(&self.engine, "check.nothing_is_lost", &params).await?);
        if !complaints.is_empty() {
            return Err(Stop::look(complaints).hint("no report was changed"));
        }

        let raw = &self.plan.reading(log).raw;
        let mut origins = BTreeMap::new();
        for dt in dates {
            origins.insert(*dt, origin::of_clean(self.job, self.reference, raw, *dt)?);
        }
        for (model, files) in [(rejects, cleaned.rejects), (clean, cleaned.clean)] {
            let files = files
                .into_iter()
                .map(|file| {
                    let origin = origins.get(&file.slice.date).cloned().unwrap_or_default();
                    (file, origin)
                })
                .collect();
            let (id, now) = (&self.request.run_id, self.request.now);
            self.warehouse.commit(model, Change { files }, id, now).await?;
            self.note_written(&model.folder(), dates.iter().copied());
        }
        *self.summary.raw_rows.entry(log.name().to_owned()).or_default() += raw_rows;
        self.progress.done();
        Ok(())
    }

    /// Checks the dates of a chunk one after the other and writes those that are checked meanwhile,
    /// so that all cores are at work and few rows are held.
    async fn write_in_groups(&self, chunk: &Chunk<'_>) -> Result<Cleaned> {
        let cores = self.request.tuning.partitions.max(1);
        let before: Vec<NaiveDate> = chunk.unknown.iter().copied().collect();
        self.check(chunk, &before, cores).await?;
        let raw = &self.plan.reading(chunk.log).raw;
        let checked = stream::iter(together(chunk.dates, |dt| raw.rows(dt)))
            .map(|dates| async move {
                self.check(chunk, &dates, 2).await?;
                anyhow::Ok(dates)
            })
            .buffered(cores);
        let written = checked.map_ok(|dates| self.write_checked(chunk.log, dates));
        let mut written = pin!(written.try_buffered(cores));
        let mut cleaned = Cleaned::default();
        while let Some(group) = written.try_next().await? {
            if let Some(last) = group.clean.last() {
                self.forget_before(chunk.log, days::next(last.slice.date));
            }
            cleaned.clean.extend(group.clean);
            cleaned.rejects.extend(group.rejects);
        }
        Ok(cleaned)
    }

    /// Lets go of rows that dates from this one on do not look at.
    fn forget_before(&self, log: Log, next: NaiveDate) {
        let names = models(log);
        let reach = days::dedup_reach(next, self.job.late_days).from;
        let is_before = |constants: &Constants, first: NaiveDate| {
            constants.get("dt").is_some_and(|dt| *dt < date(first))
        };
        self.engine.forget_parts(names.checked, |constants| is_before(constants, reach));
        self.engine.forget_parts(names.repeated, |constants| is_before(constants, next));
    }

    async fn check(&self, chunk: &Chunk<'_>, dates: &[NaiveDate], cores: usize) -> Result<()> {
        let Some(first) = chunk.dates.first() else { return Ok(()) };
        let params = self.clean_params(*first, *first);
        let to_check = dates.iter().map(|dt| {
            let mut params = params.clone();
            params.extend(landing(*dt));
            params
        });
        let to_check: Vec<Params> = to_check.collect();
        if to_check.is_empty() {
            return Ok(());
        }
        let checked = model::named(models(chunk.log).checked)?;
        self.engine.materialise_more(checked, &to_check, cores).await
    }

    /// Writes dates that were checked, as were those before them.
    async fn write_checked(&self, log: Log, dates: Vec<NaiveDate>) -> Result<Cleaned> {
        let (Some(first), Some(last)) = (dates.first(), dates.last()) else {
            return Ok(Cleaned::default());
        };
        let names = models(log);
        let params = self.clean_params(*first, *last);
        let verdicts = model::named(names.repeated)?;
        self.engine.materialise_more(verdicts, std::slice::from_ref(&params), 1).await?;
        let (clean, rejects) = futures::try_join!(
            self.write_by_date(model::named(names.clean)?, &dates, "dt", &params),
            self.write_rejects(log, &dates, &params)
        )?;
        let is_written = |constants: &Constants| {
            let is = |name: &str, value: ScalarValue| constants.get(name) == Some(&value);
            is("is_settled", ScalarValue::Boolean(Some(true)))
                && dates.iter().any(|dt| is("dt", date(*dt)))
        };
        self.engine.forget_parts(names.checked, is_written);
        Ok(Cleaned { clean, rejects })
    }

    async fn write_rejects(
        &self,
        log: Log,
        dates: &[NaiveDate],
        params: &Params,
    ) -> Result<Vec<NewFile>> {
        let rejects = model::named("clean.rejects")?;
        let slice = |dt: &NaiveDate| Slice { date: *dt, log: Some(log.name().to_owned()) };
        let slices: Vec<Slice> = dates.iter().map(slice).collect();
        let rows = self.engine.stream_on(1, rejects, params).await?;
        let folder = self.warehouse.folder(rejects);
        let file_name = self.file_name();
        let written = SpawnedTask::spawn(async move {
            write::table(rows, rejects, &folder, &file_name, &slices).await
        });
        timed(rejects.name, written.join()).await?.with_context(|| cannot_write(rejects))
    }

    fn clean_params(&self, first: NaiveDate, last: NaiveDate) -> Params {
        let late = TimeDelta::days(self.job.late_days as i64);
        let mut params = Params::from([
            ("first_dt", date(first)),
            ("last_dt", date(last)),
            ("late", duration(late)),
            ("ahead", duration(AHEAD)),
            ("late_days", whole_days(self.job.late_days)),
            ("dedup_days", whole_days(self.job.late_days + 2)),
            ("currency", ScalarValue::Utf8(Some(self.job.currency.clone()))),
        ]);
        params.extend(landing(first));
        params
    }

    async fn count_rejects(&mut self, log: Log) -> Result<()> {
        let params = Params::from([("log", ScalarValue::Utf8(Some(log.name().to_owned())))]);
        let rows = self.engine.collect(model::named("summary.rejected_rows")?, &params).await?;
        let counts = self.summary.rejected_rows.entry(log.name().to_owned()).or_default();
        for batch in rows {
            for row in 0..batch.num_rows() {
                let reason = arrow::util::display::array_value_to_string(batch.column(0), row)?;
                let rows = arrow::util::display::array_value_to_string(batch.column(1), row)?;
                *counts.entry(reason).or_default() += rows.parse::<u64>()?;
            }
        }
        Ok(())
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

/// Dates to clean in one go: between the first and the last of a chunk there is no landed date
/// that is clean already, so that what comes before the first is all that has to be known.
pub(super) fn chunks(reading: &Reading) -> Vec<BTreeSet<NaiveDate>> {
    let mut chunks: Vec<BTreeSet<NaiveDate>> = Vec::new();
    for date in reading.to_clean.keys() {
        let continues = |chunk: &BTreeSet<NaiveDate>| {
            let Some(last) = chunk.last() else { return true };
            let between = ReportDates { from: days::next(*last), to: days::minus(*date, 1) };
            let rows: u64 = chunk.iter().chain([date]).map(|dt| reading.raw.rows(*dt)).sum();
            chunk.len() < CHUNK_DATES
                && rows <= CHUNK_ROWS
                && !between.iter().any(|dt| reading.raw.has_landed(dt))
        };
        match chunks.last_mut() {
            Some(chunk) if continues(chunk) => {
                chunk.insert(*date);
            }
            _ => chunks.push(BTreeSet::from([*date])),
        }
    }
    chunks
}

/// As columns count time: quicker to add to an instant than an interval.
fn duration(duration: TimeDelta) -> ScalarValue {
    ScalarValue::DurationMicrosecond(duration.num_microseconds())
}
