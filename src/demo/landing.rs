//! When rows reach the logs: mostly at once, sometimes late, sometimes twice. Refuses to know what
//! is in a row.

use rand::Rng;
use rand_pcg::Pcg64Mcg;

use super::calendar::{Calendar, HOUR};
use super::dice::one_in;

/// As in the job file. Later rows are rejected.
const LATE_DAYS: u32 = 2;

/// A log: rows by the day on which they land. Rows that land after the last day are dropped.
pub struct Log<'a, T> {
    calendar: &'a Calendar,
    days: Vec<Vec<Arrival<T>>>,
}

pub struct Arrival<T> {
    /// The rows of a landing date are sorted by it.
    arrived: i64,
    pub row: T,
}

pub enum Delivery {
    /// Within the days a log may be late.
    Accepted,
    /// Later than that.
    TooLate,
}

/// All rows of one landing date.
pub struct Landed<T> {
    /// Rows of earlier dates.
    pub stragglers: Vec<Arrival<T>>,
    pub current: Vec<Arrival<T>>,
    /// Whether the stragglers are in a separate file.
    pub parts: Parts,
}

pub enum Parts {
    One,
    Two,
}

impl<'a, T: Copy> Log<'a, T> {
    pub fn new(calendar: &'a Calendar) -> Self {
        let days = (0..calendar.landing_days()).map(|_| Vec::new()).collect();
        Log { calendar, days }
    }

    /// Adds a row that happens at `at`.
    pub fn send(&mut self, rng: &mut Pcg64Mcg, at: i64, delivery: Delivery, row: T) {
        let days_late = match delivery {
            Delivery::Accepted => days_late(rng),
            Delivery::TooLate => LATE_DAYS + rng.random_range(1..=4),
        };
        let happened = self.calendar.day_of(at);
        self.push(happened + days_late, at, row);

        if one_in(rng, 1, 100) {
            let again = match rng.random_range(0..20) {
                0..12 => days_late,
                12..17 => days_late + 1,
                _ => days_late + 2,
            };
            let latest = days_late.max(LATE_DAYS);
            self.push(happened + again.min(latest), at + 2 * HOUR, row);
        }
    }

    /// Takes the rows of a landing date, oldest arrival first.
    pub fn land(&mut self, day: u32) -> Landed<T> {
        let mut stragglers =
            self.days.get_mut(day as usize).map(std::mem::take).unwrap_or_default();
        stragglers.sort_by_key(|arrival| arrival.arrived);
        let midnight = self.calendar.start(day);
        let earlier = stragglers.partition_point(|arrival| arrival.arrived < midnight);
        let current = stragglers.split_off(earlier);
        let parts = if day % 5 == 3 { Parts::Two } else { Parts::One };
        Landed { stragglers, current, parts }
    }

    fn push(&mut self, day: u32, arrived: i64, row: T) {
        if let Some(rows) = self.days.get_mut(day as usize) {
            rows.push(Arrival { arrived, row });
        }
    }
}

fn days_late(rng: &mut Pcg64Mcg) -> u32 {
    match rng.random_range(0..1000) {
        0..25 => 1,
        25..35 => 2,
        _ => 0,
    }
}
