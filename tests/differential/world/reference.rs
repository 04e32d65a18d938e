//! Makes up the reference tables.

use chrono::{DateTime, NaiveTime, TimeDelta, Utc};

use super::maker::{
    BUYERS, CATEGORIES, KEYS, Maker, PRODUCTS, STORES, STRANGE_KEYS, VAULT_CURRENCY, VISITORS,
    exact,
};
use super::rows::{FxRate, Identity, Link, Membership, Rate};

/// The two ends of a validity, as the reference tables write them.
type Span = (Option<DateTime<Utc>>, Option<DateTime<Utc>>);

impl Maker {
    pub fn links(&mut self) -> Vec<Link> {
        let publishers = ["Acorn", "Birch", "Cedar, \"Inc\""];
        let mut links = Vec::new();
        for link_key in KEYS.iter().chain(&STRANGE_KEYS[..3]) {
            if self.dice.chance(7) {
                continue;
            }
            for (valid_from, valid_to) in self.spans() {
                let publisher_id = self.dice.text(&publishers);
                let tracking_id =
                    self.dice.chance(60).then(|| self.dice.text(&["t1", "t,2", "(none)"]));
                links.push(Link {
                    link_key: link_key.to_string(),
                    publisher_id,
                    tracking_id,
                    valid_from,
                    valid_to,
                });
            }
        }
        links
    }

    pub fn stores(&mut self) -> Vec<Membership> {
        let mut stores = Vec::new();
        for store_id in STORES {
            if self.dice.chance(8) {
                continue;
            }
            for (joined_at, left_at) in self.spans() {
                stores.push(Membership { store_id: store_id.to_string(), joined_at, left_at });
            }
        }
        stores
    }

    pub fn rates(&mut self) -> Vec<Rate> {
        let known = ["0", "1", "0.085", "0.5", "0.333333", "0.005", "0.0125", "0.000001", "0.25"]
            .map(exact);
        let mut rates = Vec::new();
        for (scope, ids) in
            [("product", &PRODUCTS[..]), ("category", &CATEGORIES[..]), ("store", &STORES[..])]
        {
            for scope_id in ids {
                for store_id in [None].into_iter().chain(STORES.map(Some)) {
                    if !self.dice.chance(if store_id.is_none() { 30 } else { 10 }) {
                        continue;
                    }
                    for (valid_from, valid_to) in self.spans() {
                        let (scope_id, store_id) =
                            (scope_id.to_string(), store_id.map(str::to_string));
                        let rate = *self.dice.pick(&known);
                        rates.push(Rate { scope, scope_id, store_id, rate, valid_from, valid_to });
                    }
                }
            }
        }
        rates
    }

    /// With gaps, and sometimes only from the middle of the days on.
    pub fn fx_rates(&mut self) -> Vec<FxRate> {
        let known = [
            ("USD", ["1.25", "1.085", "0.5", "1.005", "0.93333333"].map(exact)),
            ("EUR", ["1.25", "1.085", "0.5", "1.005", "0.93333333"].map(exact)),
            ("JPY", ["0.00731", "0.005", "0.00000001", "0.5", "0.0105"].map(exact)),
            ("BTC", ["65000.12345678", "100.00000001", "250.5", "101", "40000.5"].map(exact)),
        ];
        let mut fx_rates = Vec::new();
        for (currency, rates) in known {
            // A rate for the program's own currency must make no difference.
            let is_listed = if currency == self.settings.currency { 20 } else { 85 };
            if !self.dice.chance(is_listed) {
                continue;
            }
            let first = self.days[0] + TimeDelta::days(self.dice.between(-3, 4));
            let mut rate_date = first;
            while Some(&rate_date) <= self.days.last() {
                let rate = *self.dice.pick(&rates);
                fx_rates.push(FxRate { currency: currency.to_string(), rate_date, rate });
                rate_date += TimeDelta::days(self.dice.between(1, 3));
            }
        }
        fx_rates.push(FxRate {
            currency: VAULT_CURRENCY.to_string(),
            rate_date: self.days[0],
            rate: exact("100"),
        });
        if self.dice.chance(10) {
            fx_rates.clear();
        }
        fx_rates
    }

    pub fn identities(&mut self) -> Vec<Identity> {
        let mut identities = Vec::new();
        for visitor_id in VISITORS {
            if !self.dice.chance(50) || self.is_nobody(visitor_id) {
                continue;
            }
            for (valid_from, valid_to) in self.spans() {
                let (visitor_id, buyer_id) = (visitor_id.to_string(), self.dice.text(&BUYERS));
                if !self.is_nobody(&buyer_id) {
                    identities.push(Identity { visitor_id, buyer_id, valid_from, valid_to });
                }
            }
        }
        if self.dice.chance(10) {
            identities.clear();
        }
        identities
    }

    fn is_nobody(&self, word: &str) -> bool {
        self.settings.nobody.iter().any(|nobody| nobody == word)
    }

    /// Validities of one key: touching or with gaps, never overlapping.
    fn spans(&mut self) -> Vec<Span> {
        let long_ago = self.days[0].and_time(NaiveTime::MIN).and_utc() - TimeDelta::days(100);
        let start = self.dice.chance(85).then_some(long_ago);
        if self.dice.chance(45) {
            return vec![(start, None)];
        }
        let mut ends: Vec<DateTime<Utc>> =
            (0..self.dice.between(1, 4)).map(|_| *self.dice.pick(&self.moments)).collect();
        ends.sort();
        ends.dedup();
        let mut bounds = vec![start];
        bounds.extend(ends.into_iter().map(Some));
        bounds.push(None);
        let spans: Vec<Span> = bounds.windows(2).map(|pair| (pair[0], pair[1])).collect();
        spans.into_iter().filter(|_| self.dice.chance(85)).collect()
    }
}
