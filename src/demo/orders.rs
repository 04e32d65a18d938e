//! Orders and what happens to them: placed, paid, completed or cancelled, refunded, and what is
//! wrong with the rows. Refuses to know how a row is written and who earns what.

use rand::Rng;
use rand_pcg::Pcg64Mcg;

use super::calendar::{Calendar, DAY, HOUR, MINUTE};
use super::catalog::Catalog;
use super::clicks::Audience;
use super::dice::{choose, choose_any, dice, one_in, skewed};
use super::landing::{Delivery, Log};
use super::people::{Currency, Person};

/// One event of an order line. Everything else follows from `seed`.
#[derive(Clone, Copy)]
pub struct Event {
    pub at: i64,
    pub seed: u64,
    pub line: Line,
    pub step: Step,
    pub flaw: Option<EventFlaw>,
}

#[derive(Clone, Copy)]
pub struct Line {
    pub order: u64,
    pub number: u8,
    pub quantity: u8,
    pub product: u16,
    pub person: Person,
    pub currency: Currency,
    /// Ten-thousandths of the currency.
    pub amount: i64,
}

#[derive(Clone, Copy)]
pub enum Step {
    Placed,
    Paid,
    Completed,
    Cancelled { reason: &'static str },
    Refunded { amount: i64, reason: &'static str },
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum EventFlaw {
    NoId,
    NoTime,
    TooLate,
    InTheFuture,
    UnknownType,
    NoOrderLine,
    NoBuyer,
    NoStore,
    BadAmount,
    UnknownCurrency,
}

const CANCEL_REASONS: [&str; 3] = ["changed mind", "out of stock", "address not served"];
const REFUND_REASONS: [&str; 5] =
    ["not as described", "damaged on arrival", "not received", "parts missing", "wrong size"];

pub struct Orders<'a> {
    pub log: Log<'a, Event>,
    rng: Pcg64Mcg,
    calendar: &'a Calendar,
    catalog: &'a Catalog,
    placed: u64,
}

impl<'a> Orders<'a> {
    pub fn new(seed: u64, calendar: &'a Calendar, catalog: &'a Catalog) -> Self {
        Orders { log: Log::new(calendar), rng: dice(seed, 4), calendar, catalog, placed: 0 }
    }

    /// Draws orders with so many lines in all, and everything that will happen to them.
    pub fn draw_day(&mut self, day: u32, lines: u64, audience: &Audience) {
        let mut left = lines;
        while left > 0 {
            let count = match self.rng.random_range(0..20) {
                0..12 => 1,
                12..17 => 2,
                17..19 => 3,
                _ => 4,
            };
            let count = left.min(count);
            self.draw_order(day, count as u8, audience);
            left -= count;
        }
    }

    fn draw_order(&mut self, day: u32, lines: u8, audience: &Audience) {
        let (person, placed_at, wanted) = self.buyer(day, audience);
        let paid_at = one_in(&mut self.rng, 94, 100).then(|| placed_at + self.minutes(1, 600));
        self.placed += 1;
        let mut product = match wanted {
            Some(clicked) if one_in(&mut self.rng, 3, 5) => clicked,
            _ => self.catalog.popular_product(&mut self.rng),
        };
        for number in 1..=lines {
            let line = self.line(number, person, product);
            self.live(line, placed_at, paid_at);
            product = self.next_product(product);
        }
    }

    /// Who buys, when, and the product they clicked on. Six of ten clicked recently.
    fn buyer(&mut self, day: u32, audience: &Audience) -> (Person, i64, Option<u16>) {
        let habit = self.rng.random_range(0..100);
        let at = self.calendar.waking_moment(&mut self.rng, day);
        let seen = match habit {
            0..27 => choose_any(&mut self.rng, &audience.today)
                .map(|seen| (seen.person, seen.at + self.minutes(1, 180), seen.product)),
            27..60 => choose_any(&mut self.rng, &audience.remembered)
                .map(|seen| (seen.person, at, seen.product)),
            60..68 => Some((self.catalog.people.clicking(&mut self.rng), at, None)),
            _ => None,
        };
        match seen {
            Some(buyer) if buyer.0.has_account() => buyer,
            _ => (self.catalog.people.never_clicking(&mut self.rng), at, None),
        }
    }

    /// Baskets mostly stay within one store.
    fn next_product(&mut self, product: u16) -> u16 {
        if one_in(&mut self.rng, 17, 20) {
            *choose(&mut self.rng, &self.catalog.store_of(product).products)
        } else {
            self.catalog.popular_product(&mut self.rng)
        }
    }

    fn line(&mut self, number: u8, person: Person, product: u16) -> Line {
        let rng = &mut self.rng;
        let quantity = 1 + skewed(rng, 6, 3) as u8;
        let discount = if one_in(rng, 1, 3) { rng.random_range(5..40) } else { 0 };
        let us_cents = self.catalog.products[usize::from(product)].us_cents
            * i64::from(quantity)
            * (100 - discount)
            / 100;
        let currency = if one_in(rng, 1, 10) { Currency::Usd } else { person.currency() };
        // A coupon split among lines leaves fractions of a cent.
        let fraction = if one_in(rng, 1, 30) { rng.random_range(0..100) } else { 0 };
        let amount = currency.price(us_cents) + fraction;
        Line { order: self.placed, number, quantity, product, person, currency, amount }
    }

    fn live(&mut self, line: Line, placed_at: i64, paid_at: Option<i64>) {
        self.emit(line, placed_at, Step::Placed);
        if one_in(&mut self.rng, 1, 500) {
            let again = placed_at + self.minutes(1, 30);
            self.emit(line, again, Step::Placed);
        }
        match paid_at {
            Some(paid_at) => self.live_paid(line, paid_at),
            None if one_in(&mut self.rng, 1, 2) => {
                let gave_up_at = placed_at + self.between(DAY, 3 * DAY);
                self.emit(line, gave_up_at, Step::Cancelled { reason: "payment timed out" });
            }
            None => {}
        }
    }

    fn live_paid(&mut self, line: Line, paid_at: i64) {
        self.emit(line, paid_at, Step::Paid);
        if one_in(&mut self.rng, 1, 300) {
            let again = paid_at + self.minutes(1, 30);
            self.emit(line, again, Step::Paid);
        }
        match self.rng.random_range(0..100) {
            0..6 => self.cancel(line, paid_at),
            6..9 => {}
            _ => {
                let completed_at = paid_at + self.between(3 * DAY, 15 * DAY);
                self.emit(line, completed_at, Step::Completed);
                self.complain(line, paid_at, completed_at);
            }
        }
    }

    fn cancel(&mut self, line: Line, paid_at: i64) {
        let cancelled_at = paid_at + self.between(HOUR, 5 * DAY);
        let reason = *choose(&mut self.rng, &CANCEL_REASONS);
        let refunded_at = match self.rng.random_range(0..4) {
            0 => Some(paid_at + (cancelled_at - paid_at) / 2),
            1 | 2 => Some(cancelled_at + self.minutes(5, 600)),
            _ => None,
        };
        self.emit(line, cancelled_at, Step::Cancelled { reason });
        if let Some(refunded_at) = refunded_at {
            self.emit(line, refunded_at, Step::Refunded { amount: line.amount, reason });
        }
    }

    /// Refunds of every kind: of a part, all, or more than is left, before and after completion.
    fn complain(&mut self, line: Line, paid_at: i64, completed_at: i64) {
        let early = paid_at + (completed_at - paid_at) / 2;
        let late = completed_at + self.between(HOUR, 10 * DAY);
        let part = (line.amount / self.rng.random_range(2..6)).max(1);
        match self.rng.random_range(0..1000) {
            0..25 => self.refund(line, early, part),
            25..60 => self.refund(line, late, part),
            60..100 => self.refund(line, late, line.amount),
            100..108 => self.refund(line, early, line.amount),
            108..118 => {
                self.refund(line, early, line.amount * 3 / 5);
                self.refund(line, late, line.amount * 3 / 5);
            }
            118..126 => self.refund(line, late, line.amount + 49_900),
            126..130 => self.emit(line, late, Step::Cancelled { reason: "changed mind" }),
            _ => {}
        }
    }

    fn refund(&mut self, line: Line, at: i64, amount: i64) {
        let reason = *choose(&mut self.rng, &REFUND_REASONS);
        self.emit(line, at, Step::Refunded { amount, reason });
    }

    fn emit(&mut self, line: Line, at: i64, step: Step) {
        let flaw = flaw(&mut self.rng, step);
        let delivery = match flaw {
            Some(EventFlaw::TooLate) => Delivery::TooLate,
            _ => Delivery::Accepted,
        };
        let event = Event { at, seed: self.rng.random(), line, step, flaw };
        self.log.send(&mut self.rng, at, delivery, event);
    }

    /// Mostly little more than `least` minutes, sometimes nearly `most`.
    fn minutes(&mut self, least: i64, most: u32) -> i64 {
        (least + i64::from(skewed(&mut self.rng, most, 7))) * MINUTE
            + self.rng.random_range(0..MINUTE)
    }

    fn between(&mut self, least: i64, most: i64) -> i64 {
        self.rng.random_range(least..most)
    }
}

fn flaw(rng: &mut Pcg64Mcg, step: Step) -> Option<EventFlaw> {
    match (rng.random_range(0..10_000), step) {
        (0..5, _) => Some(EventFlaw::NoId),
        (5..10, _) => Some(EventFlaw::NoTime),
        (10..20, _) => Some(EventFlaw::TooLate),
        (20..25, _) => Some(EventFlaw::InTheFuture),
        (25..30, _) => Some(EventFlaw::UnknownType),
        (30..35, _) => Some(EventFlaw::NoOrderLine),
        (40..52, Step::Placed) => Some(EventFlaw::NoBuyer),
        (52..64, Step::Placed) => Some(EventFlaw::NoStore),
        (64..76, Step::Placed) => Some(EventFlaw::BadAmount),
        (76..88, Step::Placed) => Some(EventFlaw::UnknownCurrency),
        (40..140, Step::Refunded { .. }) => Some(EventFlaw::BadAmount),
        _ => None,
    }
}
