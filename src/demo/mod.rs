//! A made-up world for `lookback demo`: raw logs, reference tables and a job file like an affiliate
//! network's.
//!
//! Refuses to know how the inputs are cleaned, attributed or paid. The same scale gives the same
//! bytes: no clock, no hash order, only the seed. Days are written one after the other, and only
//! what has still to happen or to land is in memory.

mod calendar;
mod catalog;
mod click_rows;
mod clicks;
mod columns;
mod dice;
mod landing;
mod order_rows;
mod orders;
mod parts;
mod people;
mod reference;
#[cfg(test)]
mod tests;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use chrono::{Days, NaiveDate};
use chrono_tz::Tz;

use crate::days;
use calendar::Calendar;
use catalog::Catalog;
use clicks::{Audience, Clicks};
use orders::Orders;

/// How large a world is, and when it begins.
#[derive(Debug, Clone)]
pub struct Scale {
    /// The number of report dates. The logs have one UTC date more, for the last local evening.
    pub days: u32,
    /// Clicks that happen on an average UTC date. Logs have about 1 % more rows, because some come
    /// twice.
    pub clicks_per_day: u64,
    /// Order **lines** placed on an average UTC date. Each has about three events.
    pub orders_per_day: u64,
    pub seed: u64,
    /// The first report date and the first landing date.
    pub first_date: NaiveDate,
}

impl Default for Scale {
    /// Large enough to show every rule, small enough to be quick. Daylight saving begins on its
    /// eighth day.
    fn default() -> Self {
        const SPRING: NaiveDate = match NaiveDate::from_ymd_opt(2026, 3, 1) {
            Some(date) => date,
            None => panic!("no such date"),
        };
        Scale { days: 40, clicks_per_day: 4_000, orders_per_day: 300, seed: 7, first_date: SPRING }
    }
}

/// The program's time zone.
pub const ZONE: Tz = Tz::America__Los_Angeles;

impl Scale {
    /// Makes this the last report date.
    pub fn end_at(&mut self, last: NaiveDate) {
        self.first_date = days::minus(last, u64::from(self.days) - 1);
    }
}

/// What was written.
#[derive(Debug, Clone)]
pub struct World {
    pub job_file: PathBuf,
    /// First and last report date whose landing dates are all there.
    pub from: NaiveDate,
    pub to: NaiveDate,
    /// Raw rows written, repeated and broken ones included.
    pub clicks: u64,
    pub order_events: u64,
}

/// Writes a world to `dir`, which is created if missing. Overwrites files of an older world. Calls
/// `on_day(done, total)` after each landing date. Errors: a file cannot be written.
pub fn write_world(dir: &Path, scale: &Scale, on_day: &mut dyn FnMut(u32, u32)) -> Result<World> {
    ensure!(scale.days > 0, "a world needs at least one day");

    let calendar = Calendar::new(scale.first_date, scale.days);
    let catalog = Catalog::new(scale, &calendar);
    fs::create_dir_all(dir).with_context(|| dir.display().to_string())?;
    reference::write(&dir.join("reference"), scale.seed, &calendar, &catalog)?;
    let job_file = dir.join("job.toml");
    fs::write(&job_file, include_str!("job.toml"))
        .with_context(|| job_file.display().to_string())?;

    let mut audience = Audience::new(scale.seed, scale.clicks_per_day);
    let mut clicks = Clicks::new(scale.seed, &calendar, &catalog);
    let mut orders = Orders::new(scale.seed, &calendar, &catalog);
    let (mut click_count, mut event_count) = (0, 0);

    for day in 0..calendar.landing_days() {
        clicks.draw_day(day, calendar.volume(scale.clicks_per_day, day), &mut audience);
        orders.draw_day(day, calendar.volume(scale.orders_per_day, day), &audience);
        audience.sleep();

        let clicks_dir = dir.join("raw/clicks").join(calendar.partition(day));
        click_count += parts::write(&clicks_dir, &click_rows::LOG, &catalog, clicks.log.land(day))?;
        let orders_dir = dir.join("raw/orders").join(calendar.partition(day));
        event_count += parts::write(&orders_dir, &order_rows::LOG, &catalog, orders.log.land(day))?;
        on_day(day + 1, calendar.landing_days());
    }

    let to = scale.first_date + Days::new(u64::from(scale.days) - 1);
    Ok(World {
        job_file,
        from: scale.first_date,
        to,
        clicks: click_count,
        order_events: event_count,
    })
}
