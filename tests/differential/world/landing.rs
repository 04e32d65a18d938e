//! Lands rows: late, twice, nearly twice, spoiled.

use chrono::{DateTime, NaiveDate, NaiveTime, TimeDelta, Utc};

use super::maker::Maker;

impl Maker {
    /// Delivers each row: on time, late or early, once or more often, sometimes spoiled.
    pub fn land<R: Clone>(
        &mut self,
        rows: Vec<R>,
        time_of: fn(&mut R) -> &mut Option<DateTime<Utc>>,
        vary: fn(&mut Maker, &mut R),
        spoil: fn(&mut Maker, &mut R),
    ) -> Vec<(NaiveDate, R)> {
        let mut landed = Vec::new();
        for mut row in rows {
            let Some(at) = *time_of(&mut row) else { continue };
            let dt = self.landing_date(at);
            if self.dice.chance(18) {
                for _ in 0..self.dice.between(1, 2) {
                    let mut copy = row.clone();
                    landed.push(self.copy(dt, &mut copy, time_of, vary, spoil));
                }
            }
            if self.dice.chance(4) {
                *time_of(&mut row) = Some(self.edge_of(dt));
            }
            if self.dice.chance(7) {
                spoil(self, &mut row);
            }
            landed.push((dt, row));
        }
        landed
    }

    fn landing_date(&mut self, at: DateTime<Utc>) -> NaiveDate {
        let late_days = self.settings.late_days;
        let days = match self.dice.between(0, 99) {
            0..=64 => 0,
            65..=89 => self.dice.between(0, late_days),
            90..=92 => -1,
            93..=95 => late_days + 1,
            _ => late_days,
        };
        at.date_naive() + TimeDelta::days(days)
    }

    /// A second delivery: the same or nearly the same, or the id again for another row at the edge
    /// of C3's reach.
    fn copy<R>(
        &mut self,
        dt: NaiveDate,
        row: &mut R,
        time_of: fn(&mut R) -> &mut Option<DateTime<Utc>>,
        vary: fn(&mut Maker, &mut R),
        spoil: fn(&mut Maker, &mut R),
    ) -> (NaiveDate, R)
    where
        R: Clone,
    {
        let late_days = self.settings.late_days;
        let mut days = if self.dice.chance(40) { 0 } else { self.dice.between(-1, late_days + 1) };
        match self.dice.between(0, 11) {
            0..=4 => {}
            5..=8 => vary(self, row),
            9 | 10 => {
                days = late_days + self.dice.between(1, 3);
                if let Some(at) = time_of(row) {
                    *at += TimeDelta::days(days);
                }
            }
            _ => spoil(self, row),
        }
        (dt + TimeDelta::days(days), row.clone())
    }

    /// The first and the last instant that may land on `dt`, and their neighbours outside.
    fn edge_of(&mut self, dt: NaiveDate) -> DateTime<Utc> {
        let midnight = dt.and_time(NaiveTime::MIN).and_utc();
        let first = midnight - TimeDelta::days(self.settings.late_days);
        let end = midnight + TimeDelta::hours(25);
        let instant = TimeDelta::microseconds(1);
        *self.dice.pick(&[first, first - instant, end, end - instant])
    }
}
