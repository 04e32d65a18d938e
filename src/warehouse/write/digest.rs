//! Digests of rows, whatever their order: whether two files have the same rows on a date.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::TimestampMicrosecondType;
use chrono::{NaiveDate, TimeDelta};
use chrono_tz::Tz;

use crate::engine::functions::hash64::hashes;
use crate::engine::functions::local_date::LocalDates;
use crate::model::Model;

/// Sums the hashes of a file's rows by the local date of their time.
pub struct RowDigests {
    /// The name of the time column. None: the table declares none, and there are no digests.
    time: Option<String>,
    local_dates: LocalDates,
    sums: BTreeMap<i32, u64>,
}

impl RowDigests {
    pub fn of(model: &Model, zone: Tz) -> RowDigests {
        let local_dates = LocalDates::of(zone);
        RowDigests { time: model.time.clone(), local_dates, sums: BTreeMap::new() }
    }

    /// Adds rows. Errors: a row without a time.
    pub fn see(&mut self, batch: &RecordBatch) -> Result<()> {
        let Some(time) = &self.time else { return Ok(()) };
        let times = batch.column_by_name(time).with_context(|| format!("no column {time}"))?;
        let times = times.as_primitive::<TimestampMicrosecondType>();
        anyhow::ensure!(times.null_count() == 0, "a row without {time}");
        let mut last: Option<(i32, u64)> = None;
        for (time, hash) in times.values().iter().zip(hashes(batch.columns())?) {
            let date = self.local_dates.date(*time)?;
            last = match last {
                Some((known, sum)) if known == date => Some((date, sum.wrapping_add(hash))),
                done => {
                    self.keep(done);
                    Some((date, hash))
                }
            };
        }
        self.keep(last);
        Ok(())
    }

    fn keep(&mut self, sum: Option<(i32, u64)>) {
        if let Some((date, sum)) = sum {
            let all = self.sums.entry(date).or_default();
            *all = all.wrapping_add(sum);
        }
    }

    pub fn finish(self) -> Result<BTreeMap<NaiveDate, u64>> {
        let date = |days: i32| {
            let date = NaiveDate::default().checked_add_signed(TimeDelta::days(days.into()));
            date.context("a date beyond the calendar")
        };
        self.sums.into_iter().map(|(days, sum)| Ok((date(days)?, sum))).collect()
    }
}
