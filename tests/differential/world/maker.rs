//! Makes up a world: the names in it, the instants that matter, and what all kinds of rows share.

use std::collections::BTreeSet;

use chrono::{DateTime, NaiveDate, NaiveTime, TimeDelta, Utc};
use rust_decimal::Decimal;

use super::World;
use super::dice::Dice;
use super::settings::Settings;

pub const BUYERS: [&str; 5] = ["ana", "ben", "cy, \"the\" d", "Ζωή", "42"];
pub const VISITORS: [&str; 6] = ["v1", "v2", "v3", "v/4", "v'5\"", "6"];
/// What the names of visitors who log in only once begin with.
pub const QUIET: &str = "quiet";
pub const STORES: [&str; 5] = ["S1", "S2", "7", "Käse, \"Brot\" & Co", "S/5"];
pub const PRODUCTS: [&str; 5] = ["P1", "P2", "1005", "p,\"3\"", "S1"];
pub const CATEGORIES: [&str; 4] = ["C1", "C2", "P1", "Çà/là"];
pub const COUNTRIES: [&str; 4] = ["US", "DE", "(none)", "us"];
pub const DEVICES: [&str; 3] = ["mobile", "desktop", "tv, \"big\""];
pub const KEYS: [&str; 6] = ["_abc", "K1", "k1", "77", "ZZ9", "K1x"];
/// Keys that not every link format takes whole.
pub const STRANGE_KEYS: [&str; 4] = ["K-2", "ключ", "a,b\"c/d", "unknown"];
pub const TYPES: [&str; 5] = ["placed", "paid", "completed", "cancelled", "refunded"];
pub const STRANGE_TYPES: [&str; 4] = ["Placed", "shipped", "paid ", ""];
/// Without a rate in any world, or not a currency as written.
pub const STRANGE_CURRENCIES: [&str; 4] = ["XAU", "usd", "USD ", ""];

/// At 100 units of program currency for one, its dearest line is the dearest there can be.
pub const VAULT_CURRENCY: &str = "CHF";

pub struct Maker {
    pub dice: Dice,
    pub days: Vec<NaiveDate>,
    pub settings: Settings,
    /// Instants worth coming back to.
    pub moments: Vec<DateTime<Utc>>,
    pub used_ids: BTreeSet<String>,
}

impl Maker {
    pub fn world(mut self, seed: u64) -> World {
        let links = self.links();
        let stores = self.stores();
        let rates = self.rates();
        let fx_rates = self.fx_rates();
        let identities = self.identities();
        let landed_clicks = self.landed();
        let landed_orders = self.landed();
        let clicks = self.clicks(&identities);
        let events = self.events(&clicks, &identities);
        let mut clicks =
            self.land(clicks, |click| &mut click.clicked_at, Maker::vary_click, Maker::spoil_click);
        let mut orders =
            self.land(events, |event| &mut event.event_at, Maker::vary_event, Maker::spoil_event);
        clicks.retain(|(dt, _)| landed_clicks.contains(dt));
        orders.retain(|(dt, _)| landed_orders.contains(dt));
        let settings = self.settings;
        World {
            seed,
            settings,
            clicks,
            orders,
            landed_clicks,
            landed_orders,
            links,
            stores,
            rates,
            fx_rates,
            identities,
        }
    }

    /// All days, or all but one or two of the older ones.
    fn landed(&mut self) -> BTreeSet<NaiveDate> {
        let mut landed: BTreeSet<NaiveDate> = self.days.iter().copied().collect();
        if self.dice.chance(35) {
            let older = &self.days[..self.days.len() - 4];
            for _ in 0..self.dice.between(1, 2) {
                landed.remove(self.dice.pick(older));
            }
        }
        landed
    }

    /// Some instant of the days: often one that matters to a rule or another row, or a microsecond
    /// beside it.
    pub fn instant(&mut self) -> DateTime<Utc> {
        if self.dice.chance(30) {
            return *self.dice.pick(&self.moments) + self.jitter();
        }
        let mut at = self.dice.pick(&self.days).and_time(NaiveTime::MIN).and_utc();
        at += TimeDelta::seconds(self.dice.between(0, 24 * 3600 - 1));
        if self.dice.chance(20) {
            at += TimeDelta::microseconds(self.dice.between(0, 999_999));
        }
        if self.dice.chance(20) {
            self.moments.push(at);
        }
        at
    }

    pub fn jitter(&mut self) -> TimeDelta {
        TimeDelta::microseconds(*self.dice.pick(&[0, 0, 0, -1, 1]))
    }

    /// Some time of the window, often its very beginning or end.
    pub fn within_window(&mut self) -> TimeDelta {
        let window = TimeDelta::hours(self.settings.window_hours);
        match self.dice.between(0, 9) {
            0..=1 => window + self.jitter(),
            2 => self.jitter(),
            _ => TimeDelta::seconds(self.dice.between(1, window.num_seconds())),
        }
    }

    pub fn is_in_the_days(&self, at: DateTime<Utc>) -> bool {
        self.days.contains(&at.date_naive())
    }

    pub fn fresh_id(&mut self, prefixes: &[&str]) -> String {
        loop {
            let id = format!("{}{}", self.dice.pick(prefixes), self.dice.between(1, 3000));
            if self.used_ids.insert(id.clone()) {
                return id;
            }
        }
    }

    /// By a microsecond, or by hours.
    pub fn nudge(&mut self) -> TimeDelta {
        match self.dice.chance(50) {
            true => self.jitter(),
            false => TimeDelta::hours(self.dice.between(-5, 5)),
        }
    }

    /// Weeks away, or in another age.
    pub fn far_off(&mut self, at: Option<DateTime<Utc>>) -> Option<DateTime<Utc>> {
        match self.dice.between(0, 9) {
            0 => DateTime::from_timestamp_micros(0),
            1 => NaiveDate::from_ymd_opt(9999, 12, 31)
                .map(|day| day.and_time(NaiveTime::MIN).and_utc()),
            _ => at.map(|at| at + TimeDelta::days(*self.dice.pick(&[-30, -9, -5, 2, 3, 30]))),
        }
    }
}

pub fn exact(number: &str) -> Decimal {
    Decimal::from_str_exact(number).expect("a decimal number")
}
