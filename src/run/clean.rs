//! Raw landing dates to clean tables, chunk by chunk, each published as it is done.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result};
use chrono::{NaiveDate, TimeDelta};
use datafusion::common::ScalarValue;
use datafusion::common::runtime::SpawnedTask;
use futures::{StreamExt, TryStreamExt};

use super::{CHUNK, Run, date, whole_days};
use crate::check;
use crate::days::{self, ReportDates};
use crate::engine::write::{self, NewFile, Slice};
use crate::engine::{Params, timed};
use crate::model::{self, Model};
use crate::origin;
use crate::plan::{Reading, clean_origin};
use crate::raw::{self, Log};
use crate::stop::{Kind, Stop};
use crate::warehouse::Change;

/// Raw rows that are cleaned at once, unless one landing date has more.
const CHUNK_ROWS: u64 = 4_000_000;

/// How long after its landing date began a row is in the future (C1): at 01:00 of the next day.
const AHEAD: TimeDelta = TimeDelta::hours(25);

/// The models of one log.
struct Models {
    /// Kept for the run: ids that repeat, checked rows, rows of such ids.
    steps: [&'static str; 3],
    clean: &'static str,
}

fn models(log: Log) -> Models {
    match log {
        Log::Clicks => Models {
            steps: ["clean.repeated_click_ids", "clean.checked_clicks", "clean.repeated_clicks"],
            clean: "clean.clicks",
        },
        Log::Orders => Models {
            steps: [
                "clean.repeated_event_ids",
                "clean.checked_order_events",
                "clean.repeated_order_events",
            ],
            clean: "clean.order_events",
        },
    }
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
        let reach = days::dedup_reach(first, self.job.late_days);
        let mut known = BTreeSet::new();
        let mut to_read = dates.clone();
        for dt in reach.iter() {
            let now = origin::of_clean(self.job, self.reference, raw, dt)?;
            match clean_origin(&self.warehouse, log, dt)? {
                Some(made) if !raw.has_landed(dt) || origin::is_raw_unchanged(made, &now, raw) => {
                    known.insert(dt)
                }
                _ => to_read.insert(dt),
            };
        }
        let outcome = self.write_chunk(log, dates, &known, &to_read, first, last).await;
        match outcome {
            Ok(()) => Ok(()),
            Err(stop) if matches!(stop.kind, Kind::Ask | Kind::Look) => {
                let raw = &self.plan.reading(log).raw;
                let formats = &self.job.formats;
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

    async fn write_chunk(
        &mut self,
        log: Log,
        dates: &BTreeSet<NaiveDate>,
        known: &BTreeSet<NaiveDate>,
        to_read: &BTreeSet<NaiveDate>,
        first: NaiveDate,
        last: NaiveDate,
    ) -> Result<(), Stop> {
        let names = models(log);
        let params = self.clean_params(first, last);
        let nothing = BTreeSet::new();
        for reading in [&self.plan.clicks.raw, &self.plan.orders.raw] {
            let dates = if reading.log == log { to_read } else { &nothing };
            reading.register(&self.engine, dates, &self.job.formats).await?;
        }
        for table in ["clean.clicks", "clean.order_events", "clean.rejects"] {
            self.register_kept(table, |dt| known.contains(&dt))?;
        }
        let other = match log {
            Log::Clicks => Log::Orders,
            Log::Orders => Log::Clicks,
        };
        for name in models(other).steps {
            self.engine.register_empty(model::named(name)?, &params).await?;
        }
        for name in names.steps {
            self.engine.materialise(model::named(name)?, &params).await?;
        }

        let clean = model::named(names.clean)?;
        let rejects = model::named("clean.rejects")?;
        let log_slice = |dt: &NaiveDate| Slice { date: *dt, log: Some(log.name().to_owned()) };
        let reject_slices: Vec<Slice> = dates.iter().map(log_slice).collect();
        let file_name = format!("part-{}", self.request.run_id);
        let clean_files = self.write_dates(clean, dates, &file_name).await?;
        let rows = self.engine.stream(rejects, &params).await?;
        let folder = self.warehouse.folder(rejects);
        let reject_files =
            timed(rejects.name, write::table(rows, rejects, &folder, &file_name, &reject_slices))
                .await
                .with_context(|| cannot_write(rejects))?;
        self.register_staged(names.clean, |dt| dates.contains(&dt), &clean_files)?;
        let mut complaints: Vec<String> =
            check::key(&self.engine, clean).await?.into_iter().collect();
        let raw = &self.plan.reading(log).raw;
        let counts = raw::row_counts(&[(raw, dates.clone())])?;
        let raw_rows: u64 = dates.iter().map(|dt| raw.rows(*dt)).sum();
        self.engine.register_rows("raw.row_counts", counts).await?;
        self.register_staged("clean.rejects", |dt| dates.contains(&dt), &reject_files)?;
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
        for (model, files) in [(rejects, reject_files), (clean, clean_files)] {
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

    /// Writes a clean table date by date, as many dates at once as there are cores.
    async fn write_dates(
        &self,
        clean: &'static Model,
        dates: &BTreeSet<NaiveDate>,
        file_name: &str,
    ) -> Result<Vec<NewFile>> {
        let writes = dates.iter().map(|dt| async {
            let params = Params::from([("dt", date(*dt))]);
            let rows = self.engine.stream_on_one_core(clean, &params).await?;
            let folder = self.warehouse.folder(clean);
            let file_name = file_name.to_owned();
            let slice = Slice::of(*dt);
            let write = SpawnedTask::spawn(async move {
                write::table(rows, clean, &folder, &file_name, &[slice]).await
            });
            write.join().await?.with_context(|| cannot_write(clean))
        });
        let writes = futures::stream::iter(writes).buffered(self.request.tuning.partitions.max(1));
        let files: Vec<Vec<NewFile>> = timed(clean.name, writes.try_collect()).await?;
        Ok(files.into_iter().flatten().collect())
    }

    fn clean_params(&self, first: NaiveDate, last: NaiveDate) -> Params {
        let late = TimeDelta::days(self.job.late_days as i64);
        Params::from([
            ("first_dt", date(first)),
            ("last_dt", date(last)),
            ("late", duration(late)),
            ("ahead", duration(AHEAD)),
            ("late_days", whole_days(self.job.late_days)),
            ("dedup_days", whole_days(self.job.late_days + 2)),
            ("currency", ScalarValue::Utf8(Some(self.job.currency.clone()))),
        ])
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

fn cannot_write(model: &Model) -> String {
    format!("cannot write {}", model.name)
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
            chunk.len() < CHUNK
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
