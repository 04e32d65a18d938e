//! Makes up orders, and what follows them.

use chrono::{DateTime, TimeDelta, Utc};
use rust_decimal::Decimal;

use super::maker::{
    BUYERS, CATEGORIES, COUNTRIES, Maker, PRODUCTS, QUIET, STORES, STRANGE_CURRENCIES,
    STRANGE_TYPES, TYPES, VAULT_CURRENCY, exact,
};
use super::rows::{Identity, RawClick, RawEvent};

fn is_quiet_login(click: &RawClick) -> bool {
    let is_quiet = |visitor_id: &String| visitor_id.starts_with(QUIET);
    click.buyer_id.is_some() && click.visitor_id.as_ref().is_some_and(is_quiet)
}

impl Maker {
    pub fn events(&mut self, clicks: &[RawClick], identities: &[Identity]) -> Vec<RawEvent> {
        let mut events = Vec::new();
        for order in 0..self.dice.between(6, 30) {
            // "O-1" with line "2" and "O" with line "1-2" are two order lines.
            let order_id = match self.dice.chance(25) {
                true => self.dice.text(&["O", "O-1", "1001"]),
                false => format!("{}{order}", self.dice.pick(&["O", "o/", "Ö, ", "\"o\""])),
            };
            let mut click = self.dice.pick(clicks).clone();
            let logins: Vec<RawClick> =
                clicks.iter().filter(|click| is_quiet_login(click)).cloned().collect();
            if !logins.is_empty() && self.dice.chance(30) {
                click = self.dice.pick(&logins).clone();
            }
            let (buyer_id, placed_at) = self.buyer_and_time(&click, identities);
            let visitor_id = match self.dice.chance(if is_quiet_login(&click) { 20 } else { 50 }) {
                true => click.visitor_id.clone(),
                false => self.visitor(50),
            };
            for _ in 0..self.dice.between(1, 3) {
                let mut placed = self.placed(&order_id, &buyer_id, placed_at);
                placed.visitor_id = visitor_id.clone();
                if self.dice.chance(50)
                    && click.store_id.as_ref().is_some_and(|store_id| !store_id.is_empty())
                {
                    placed.store_id = click.store_id.clone();
                }
                self.order_line(placed, &mut events);
            }
        }
        if self.dice.chance(5) {
            self.vault(&mut events);
        }
        events
    }

    /// Three times in four the order is made from the click: just in its window, just out of it, at
    /// its very instant.
    fn buyer_and_time(
        &mut self,
        click: &RawClick,
        identities: &[Identity],
    ) -> (String, DateTime<Utc>) {
        let named = click.buyer_id.clone().filter(|buyer_id| !buyer_id.is_empty());
        let known = identities
            .iter()
            .find(|identity| Some(&identity.visitor_id) == click.visitor_id.as_ref());
        let buyer_id = named
            .or(known.map(|identity| identity.buyer_id.clone()))
            .unwrap_or(self.dice.text(&BUYERS));
        let window = TimeDelta::hours(self.settings.window_hours);
        let turn = if is_quiet_login(click) { 4 } else { 9 };
        let later = match self.dice.between(0, turn) {
            0..=1 => window + self.jitter(),
            2 => self.jitter(),
            3..=7 => TimeDelta::seconds(self.dice.between(1, window.num_seconds())),
            _ => return (buyer_id, self.instant()),
        };
        let placed_at = click.clicked_at.map(|at| at + later).filter(|at| self.is_in_the_days(*at));
        (buyer_id, placed_at.unwrap_or_else(|| self.instant()))
    }

    fn placed(&mut self, order_id: &str, buyer_id: &str, placed_at: DateTime<Utc>) -> RawEvent {
        let currency = match self.dice.between(0, 19) {
            0..=12 => self.settings.currency.clone(),
            13..=18 => self.dice.text(&["USD", "EUR", "JPY", "BTC"]),
            _ => self.dice.text(&STRANGE_CURRENCIES),
        };
        RawEvent {
            event_type: Some("placed".to_string()),
            event_at: Some(placed_at),
            line_id: Some(self.dice.text(&["1", "2", "1-2", "l,\"3\""])),
            buyer_id: Some(buyer_id.to_string()),
            store_id: Some(if self.dice.chance(5) {
                "S9".to_string()
            } else {
                self.dice.text(&STORES)
            }),
            amount: Some(self.amount()),
            currency: Some(currency),
            product_id: self.dice.text_or_null(&PRODUCTS, 20),
            category_id: self.dice.text_or_null(&CATEGORIES, 30),
            quantity: self.dice.chance(60).then(|| *self.dice.pick(&[1, 1, 2, 3, 0, -1, i64::MAX])),
            ..self.event(order_id)
        }
    }

    /// An event that says no more than it must.
    fn event(&mut self, order_id: &str) -> RawEvent {
        RawEvent {
            event_id: Some(self.fresh_id(&["e", "E", "é,", "e\"/"])),
            event_type: None,
            event_at: None,
            order_id: Some(order_id.to_string()),
            line_id: None,
            buyer_id: None,
            store_id: None,
            amount: None,
            currency: None,
            product_id: None,
            category_id: None,
            quantity: None,
            country: self.dice.text_or_null(&COUNTRIES, 50),
            visitor_id: None,
            reason: self.dice.text_or_null(&["too small", "he said \"no\", twice", "größe"], 70),
        }
    }

    /// Amounts that make halves with the rates above, and some at the ends of what is allowed.
    fn amount(&mut self) -> Decimal {
        match self.dice.between(0, 99) {
            0..=49 => Decimal::new(self.dice.between(1, 300), 2),
            50..=69 => Decimal::new(self.dice.between(1, 30_000), 4),
            70..=84 => Decimal::new(self.dice.between(1, 500), 0),
            85..=90 => Decimal::ZERO,
            91..=95 => Decimal::new(self.dice.between(1, 99) * 1_000_000, 7), // ends in zeros
            96 => exact("99999999999999.9999"),
            97 => exact("99999999999999"),
            _ => self.bad_amount(),
        }
    }

    fn bad_amount(&mut self) -> Decimal {
        let bad = [
            "-0.01",
            "-5",
            "1.23456",
            "0.00001",
            "100000000000000",
            "100000000000000000000",
            "12345678901234567.5",
        ];
        exact(&self.dice.text(&bad))
    }

    /// A placed event with what follows it; sometimes the line is placed again, sometimes the
    /// placed event is missing.
    fn order_line(&mut self, placed: RawEvent, events: &mut Vec<RawEvent>) {
        self.follow_ups(&placed, events);
        let horizon = TimeDelta::days(self.settings.order_horizon_days);
        let mut last = placed.clone();
        while self.dice.chance(25) {
            let mut again = last.clone();
            again.event_id = Some(self.fresh_id(&["e", "E", "é,", "e\"/"]));
            let later = match self.dice.between(0, 5) {
                0 => TimeDelta::zero(),
                1..=3 => horizon + self.jitter(),
                4 => TimeDelta::seconds(self.dice.between(1, horizon.num_seconds())),
                _ => horizon + TimeDelta::seconds(self.dice.between(1, 24 * 3600)),
            };
            again.event_at = again.event_at.map(|at| at + later);
            if self.dice.chance(50) {
                again.amount = Some(self.amount());
                again.buyer_id = Some(self.dice.text(&BUYERS));
            }
            if self.dice.chance(50) {
                again.visitor_id = self.visitor(20);
            }
            self.follow_ups(&again, events);
            events.push(again.clone());
            last = again;
        }
        if self.dice.chance(92) {
            events.push(placed);
        }
    }

    /// Paid, completed, cancelled and refunded in any order, at equal instants, at the horizon,
    /// before the order.
    fn follow_ups(&mut self, placed: &RawEvent, events: &mut Vec<RawEvent>) {
        let (Some(placed_at), Some(order_id)) = (placed.event_at, &placed.order_id) else { return };
        let horizon = TimeDelta::days(self.settings.order_horizon_days);
        let mut at = placed_at;
        for _ in 0..self.dice.between(0, 6) {
            at = match self.dice.between(0, 15) {
                0..=3 => at,
                4 => at + TimeDelta::microseconds(1),
                5..=11 => at + TimeDelta::seconds(self.dice.between(1, 12 * 3600)),
                12 | 13 => placed_at + horizon + self.jitter(),
                14 => self.instant(),
                _ => placed_at - TimeDelta::microseconds(*self.dice.pick(&[1, 3_600_000_000])),
            };
            let event_type = self.dice.text(&[
                "paid",
                "paid",
                "paid",
                "completed",
                "completed",
                "cancelled",
                "refunded",
                "refunded",
                "refunded",
            ]);
            let currency = match (event_type.as_str(), self.dice.between(0, 9)) {
                ("refunded", 0..=3) => placed.currency.clone(),
                ("refunded", 4) => Some("usd".to_string()),
                _ => self.dice.text_or_null(&["USD", "EUR", "XXX", ""], 80),
            };
            let amount = match event_type.as_str() {
                "refunded" => Some(self.part_of(placed.amount.unwrap_or_default())),
                _ => self.dice.chance(20).then(|| self.amount()), // to be ignored
            };
            events.push(RawEvent {
                event_type: Some(event_type),
                event_at: Some(at),
                line_id: placed.line_id.clone(),
                amount,
                currency,
                store_id: self.dice.text_or_null(&STORES, 80),
                buyer_id: self.dice.text_or_null(&BUYERS, 80),
                visitor_id: self.visitor(80),
                ..self.event(order_id)
            });
        }
    }

    /// Some of it, all of it, more than all of it.
    fn part_of(&mut self, amount: Decimal) -> Decimal {
        match self.dice.between(0, 9) {
            0..=2 => amount,
            3..=5 => (amount / Decimal::TWO).round_dp(4),
            6 => amount + amount,
            7 => exact("0.0001"),
            8 => exact("0.01"),
            _ => self.amount(),
        }
    }

    /// The dearest line there can be, alone in its store so that no sum outgrows its column.
    fn vault(&mut self, events: &mut Vec<RawEvent>) {
        let placed_at = self.instant();
        let mut placed = self.placed("Vault", "vault", placed_at);
        placed.store_id = Some("Vault".to_string());
        placed.amount = Some(exact("99999999999999.9999"));
        placed.currency = Some(VAULT_CURRENCY.to_string());
        self.follow_ups(&placed, events);
        events.push(placed);
    }

    pub fn vary_event(&mut self, event: &mut RawEvent) {
        if event.order_id.as_deref() == Some("Vault") {
            return;
        }
        match self.dice.between(0, 10) {
            0 | 1 => event.event_at = event.event_at.map(|at| at + self.nudge()),
            2 => event.line_id = Some(self.dice.text(&["1", "2", "1-2"])),
            3 => event.store_id = self.dice.text_or_null(&STORES, 20),
            4 => event.buyer_id = self.dice.text_or_null(&BUYERS, 20),
            5 => {
                event.amount = event
                    .amount
                    .filter(|amount| *amount < Decimal::ONE_THOUSAND)
                    .map(|amount| amount / Decimal::TWO)
            }
            6 => event.product_id = self.dice.text_or_null(&PRODUCTS, 40),
            7 => event.quantity = self.dice.chance(60).then_some(9),
            8 => event.country = self.dice.text_or_null(&COUNTRIES, 50),
            9 => event.visitor_id = self.visitor(30),
            _ => event.reason = self.dice.text_or_null(&["a", "B", "ä"], 30),
        }
    }

    pub fn spoil_event(&mut self, event: &mut RawEvent) {
        match self.dice.between(0, 11) {
            0 => event.event_id = self.dice.chance(50).then(String::new),
            1 => event.event_at = None,
            2 => event.event_at = self.far_off(event.event_at),
            3 => event.event_type = self.dice.chance(80).then(|| self.dice.text(&STRANGE_TYPES)),
            4 => event.order_id = self.dice.chance(50).then(String::new),
            5 => event.line_id = self.dice.chance(50).then(String::new),
            6 => event.buyer_id = self.dice.chance(50).then(String::new),
            7 => event.store_id = self.dice.chance(50).then(String::new),
            8 => event.amount = None,
            9 => event.amount = Some(self.bad_amount()),
            10 => {
                event.currency = self.dice.chance(80).then(|| self.dice.text(&STRANGE_CURRENCIES))
            }
            _ => {
                event.buyer_id = None;
                event.store_id = None;
                event.amount = None;
                event.currency = None;
                event.event_type = Some(self.dice.text(&TYPES));
            }
        }
    }
}
