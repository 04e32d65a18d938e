//! Clicks as they happen: who, where, when, and what is wrong with the row. Refuses to know how a
//! row is written.

use rand::Rng;
use rand_pcg::Pcg64Mcg;

use super::calendar::Calendar;
use super::catalog::Catalog;
use super::dice::{choose_any, dice, one_in};
use super::landing::{Delivery, Log};
use super::people::Person;

/// One click. Everything else follows from `seed`, so that a second delivery has the same bytes.
#[derive(Clone, Copy)]
pub struct Click {
    pub at: i64,
    pub seed: u64,
    pub person: Person,
    pub link: u16,
    /// The product of the page landed on.
    pub product: Option<u16>,
    pub flaw: Option<ClickFlaw>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum ClickFlaw {
    NoId,
    NoTime,
    TooLate,
    /// The sender's clock is days ahead.
    InTheFuture,
    /// The time is up to 50 minutes after the end of its date, which is allowed.
    FastClock,
    NoPromotionLink,
    UnknownLink,
}

pub struct Clicks<'a> {
    pub log: Log<'a, Click>,
    rng: Pcg64Mcg,
    calendar: &'a Calendar,
    catalog: &'a Catalog,
}

impl<'a> Clicks<'a> {
    pub fn new(seed: u64, calendar: &'a Calendar, catalog: &'a Catalog) -> Self {
        Clicks { log: Log::new(calendar), rng: dice(seed, 2), calendar, catalog }
    }

    pub fn draw_day(&mut self, day: u32, count: u64, audience: &mut Audience) {
        for _ in 0..count {
            let click = self.draw(day, audience);
            if click.flaw.is_none() {
                audience.watch(&click);
            }
            let delivery = match click.flaw {
                Some(ClickFlaw::TooLate) => Delivery::TooLate,
                _ => Delivery::Accepted,
            };
            self.log.send(&mut self.rng, click.at, delivery, click);
        }
    }

    fn draw(&mut self, day: u32, audience: &Audience) -> Click {
        let rng = &mut self.rng;
        let at = self.calendar.waking_moment(rng, day);
        let returning =
            if one_in(rng, 1, 5) { choose_any(rng, &audience.remembered) } else { None };
        let person =
            returning.map_or_else(|| self.catalog.people.clicking(rng), |seen| seen.person);
        let link = self.catalog.popular_link(rng, at);
        // A shop may show another product than the one promoted.
        let product = self.catalog.links[usize::from(link)].product.map(|promoted| {
            if one_in(rng, 4, 5) { promoted } else { self.catalog.popular_product(rng) }
        });
        Click { at, seed: rng.random(), person, link, product, flaw: flaw(rng) }
    }
}

fn flaw(rng: &mut Pcg64Mcg) -> Option<ClickFlaw> {
    match rng.random_range(0..10_000) {
        0..5 => Some(ClickFlaw::NoId),
        5..10 => Some(ClickFlaw::NoTime),
        10..20 => Some(ClickFlaw::TooLate),
        20..25 => Some(ClickFlaw::InTheFuture),
        25..30 => Some(ClickFlaw::FastClock),
        30..50 => Some(ClickFlaw::NoPromotionLink),
        50..60 => Some(ClickFlaw::UnknownLink),
        _ => None,
    }
}

/// A sample of people who clicked and have an account. They come back, and they buy.
pub struct Audience {
    pub today: Vec<Seen>,
    /// They are forgotten at random, after about six days on average. So few are older than the
    /// attribution window.
    pub remembered: Vec<Seen>,
    memory: usize,
    rng: Pcg64Mcg,
}

#[derive(Clone, Copy)]
pub struct Seen {
    pub at: i64,
    pub person: Person,
    pub product: Option<u16>,
}

impl Audience {
    const PER_DAY: u64 = 40_000;
    const DAYS: u64 = 6;

    pub fn new(seed: u64, clicks_per_day: u64) -> Self {
        // Seven of ten people have an account.
        let memory = (clicks_per_day * 7 / 10).clamp(1, Self::PER_DAY) * Self::DAYS;
        Audience {
            today: Vec::new(),
            remembered: Vec::new(),
            memory: memory as usize,
            rng: dice(seed, 3),
        }
    }

    /// Ends the day.
    pub fn sleep(&mut self) {
        for seen in self.today.drain(..) {
            if self.remembered.len() < self.memory {
                self.remembered.push(seen);
            } else {
                let forgotten = self.rng.random_range(0..self.memory as u64) as usize;
                self.remembered[forgotten] = seen;
            }
        }
    }

    fn watch(&mut self, click: &Click) {
        if self.today.len() < Self::PER_DAY as usize && click.person.has_account() {
            self.today.push(Seen { at: click.at, person: click.person, product: click.product });
        }
    }
}
