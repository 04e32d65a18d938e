//! How far around a date rows matter. No other file knows it: the plan, the lineage, the run and
//! the parameters of the SQL files ask here.

use std::ops::Range;

use chrono::{DateTime, NaiveDate, TimeDelta, Utc};
use chrono_tz::Tz;

use super::{DateRange, local_date, minus, next, plus, start_of, start_of_utc, touched};

/// How far the clocks of the logging systems may run ahead. A row may have a time up to one hour
/// after the end of its landing date (C1 `in_the_future`).
const CLOCK_SKEW: TimeDelta = TimeDelta::hours(1);

/// The lengths that a job sets. Its methods give the dates that follow from them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reach {
    zone: Tz,
    window: TimeDelta,
    horizon: TimeDelta,
    late_days: u64,
    /// How far back placed events tell whose a visitor's clicks are (C7).
    sightings: TimeDelta,
}

impl Reach {
    pub fn new(zone: Tz, window_hours: i64, order_horizon_days: u64, late_days: u64) -> Reach {
        let horizon = TimeDelta::days(order_horizon_days.min(10_000) as i64);
        let window = TimeDelta::hours(window_hours);
        Reach { zone, window, horizon, late_days, sightings: TimeDelta::zero() }
    }

    /// The reach of a job whose logs tell whose a visitor's clicks are (C7).
    pub fn with_sightings(self) -> Reach {
        Reach { sightings: self.window, ..self }
    }

    /// The attribution window (A1).
    pub fn window(&self) -> TimeDelta {
        self.window
    }

    /// How long after its placed event an order line's events count (A5, M7).
    pub fn horizon(&self) -> TimeDelta {
        self.horizon
    }

    /// How many days after it happened a row may land (C1 `too_late`).
    pub fn late_days(&self) -> u64 {
        self.late_days
    }

    /// How long after the start of its landing date a time lies in the future (C1).
    pub fn ahead(&self) -> TimeDelta {
        TimeDelta::days(1) + CLOCK_SKEW
    }

    /// How many landing dates before its own decide whether a row is a duplicate (C3).
    pub fn dedup_days(&self) -> u64 {
        self.late_days + 2
    }

    /// The instants that a row of a landing date may have (C1).
    pub fn instants_of_landing(&self, dt: NaiveDate) -> Range<DateTime<Utc>> {
        start_of_utc(minus(dt, self.late_days))..start_of_utc(dt) + self.ahead()
    }

    /// The landing dates on which rows of these instants may have arrived.
    pub fn landing(&self, instants: &Range<DateTime<Utc>>) -> DateRange {
        let first = (instants.start - CLOCK_SKEW).date_naive();
        DateRange { from: first, to: plus(touched(instants).to, self.late_days) }
    }

    /// The landing dates on which rows of these local dates may have arrived.
    pub fn landing_of(&self, dates: DateRange) -> DateRange {
        self.landing(&dates.instants(self.zone))
    }

    /// The landing dates of the clicks that may earn order lines placed on these dates.
    pub fn clicks(&self, order_dates: DateRange) -> DateRange {
        self.landing_back_to(self.window, order_dates)
    }

    /// The instants of the clicks that may earn order lines placed on these dates.
    pub fn clicked(&self, order_dates: DateRange) -> Range<DateTime<Utc>> {
        let instants = order_dates.instants(self.zone);
        instants.start - self.window..instants.end
    }

    /// The landing dates of the order events that matter for order lines and movements of these
    /// dates (A5, C7, M7).
    pub fn events(&self, dates: DateRange) -> DateRange {
        self.landing_back_to(self.horizon.max(self.sightings), dates)
    }

    /// The landing dates of clicks and events that matter for order lines placed on these dates.
    pub fn all(&self, order_dates: DateRange) -> DateRange {
        self.landing_back_to(self.window.max(self.horizon), order_dates)
    }

    fn landing_back_to(&self, back: TimeDelta, dates: DateRange) -> DateRange {
        let instants = dates.instants(self.zone);
        self.landing(&(instants.start - back..instants.end))
    }

    /// The order dates before a report date whose lines may have events on it.
    pub fn earlier_order_dates(&self, report_date: NaiveDate) -> DateRange {
        DateRange { to: minus(report_date, 1), ..self.placed_on(report_date) }
    }

    /// The local dates of the clicks that may earn order lines placed on a date.
    pub fn clicked_on(&self, order_date: NaiveDate) -> DateRange {
        self.local_dates_back_to(self.window, order_date)
    }

    /// The local dates of the order events that matter for order lines and movements of a date.
    pub fn events_on(&self, date: NaiveDate) -> DateRange {
        self.local_dates_back_to(self.horizon.max(self.sightings), date)
    }

    /// The order dates whose lines may have events on a report date.
    pub fn placed_on(&self, report_date: NaiveDate) -> DateRange {
        self.local_dates_back_to(self.horizon, report_date)
    }

    fn local_dates_back_to(&self, back: TimeDelta, date: NaiveDate) -> DateRange {
        let oldest = start_of(date, self.zone) - back;
        DateRange { from: local_date(oldest, self.zone), to: date }
    }

    /// The local dates of the rows that a landing date may have (C1).
    pub fn local_dates_of_landing(&self, dt: NaiveDate) -> DateRange {
        let instants = self.instants_of_landing(dt);
        let last = instants.end - TimeDelta::microseconds(1);
        DateRange { from: local_date(instants.start, self.zone), to: local_date(last, self.zone) }
    }

    /// The landing dates before `dt` whose rows can make a row of `dt` a duplicate (C3).
    pub fn before_landing(&self, dt: NaiveDate) -> DateRange {
        DateRange { from: minus(dt, self.dedup_days()), to: minus(dt, 1) }
    }

    /// The first landing date that can matter for these report dates. The oldest order with events
    /// on them looks back farthest: for its clicks, for an earlier placed event of its line, and
    /// for duplicates of these.
    pub fn first_landing(&self, report_dates: DateRange) -> NaiveDate {
        let oldest = self.earlier_order_dates(report_dates.from).from;
        let landing = self.all(DateRange { from: oldest, to: report_dates.to });
        self.before_landing(landing.from).from
    }

    /// The landing dates that must have landed for a report date: every UTC date it touches (D2).
    pub fn demanded_landing(&self, report_date: NaiveDate) -> DateRange {
        touched(&(start_of(report_date, self.zone)..start_of(next(report_date), self.zone)))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

    use super::*;
    use crate::days::describe;

    fn may_first() -> DateRange {
        let date = "2026-05-01".parse().unwrap();
        DateRange { from: date, to: date }
    }

    #[test]
    fn a_pacific_date_touches_two_landing_dates_and_may_land_later() {
        let pacific = Reach::new(chrono_tz::America::Los_Angeles, 720, 90, 2);
        let demanded = pacific.demanded_landing(may_first().from);
        assert_eq!(describe(demanded.iter()), "2026-05-01 to 2026-05-02");
        let landing = pacific.landing_of(may_first());
        assert_eq!(describe(landing.iter()), "2026-05-01 to 2026-05-04");
        let landing = Reach::new(Tz::UTC, 720, 90, 2).landing_of(may_first());
        assert_eq!(describe(landing.iter()), "2026-04-30 to 2026-05-03");
    }

    #[test]
    fn each_look_back_has_its_own_length() {
        let reach = Reach::new(Tz::UTC, 720, 90, 2);
        assert_eq!(reach.clicks(may_first()).from.to_string(), "2026-03-31");
        assert_eq!(reach.events(may_first()).from.to_string(), "2026-01-30");
        assert_eq!(reach.all(may_first()).from.to_string(), "2026-01-30");
        let reach = Reach::new(Tz::UTC, 720, 10, 2);
        assert_eq!(reach.events(may_first()).from.to_string(), "2026-04-20");
        let reach = reach.with_sightings();
        assert_eq!(reach.events(may_first()).from.to_string(), "2026-03-31");
        let reach = Reach::new(Tz::UTC, 720, 90, 2);
        let earlier = reach.earlier_order_dates(may_first().from);
        assert_eq!(describe(earlier.iter()), "2026-01-31 to 2026-04-30");
        let before = reach.before_landing(may_first().from);
        assert_eq!(describe(before.iter()), "2026-04-27 to 2026-04-30");
        // 90 days back twice, a clock that runs ahead, four days of duplicates.
        assert_eq!(reach.first_landing(may_first()).to_string(), "2025-10-28");
    }

    #[test]
    fn a_landing_date_holds_late_rows_and_rows_of_clocks_ahead() {
        let instants = Reach::new(Tz::UTC, 720, 90, 2).instants_of_landing(may_first().from);
        assert_eq!(instants.start.to_rfc3339(), "2026-04-29T00:00:00+00:00");
        assert_eq!(instants.end.to_rfc3339(), "2026-05-02T01:00:00+00:00");
    }
}
