//! Who clicks and who buys. A person is a number, and everything else about them follows from it.
//! So no person is in memory.

use rand_pcg::Pcg64Mcg;

use super::columns::{push_digits, push_hex};
use super::dice::{mix, skewed};

const COUNTRIES: [(&str, u64, Currency); 14] = [
    ("US", 44, Currency::Usd),
    ("GB", 8, Currency::Gbp),
    ("DE", 7, Currency::Eur),
    ("FR", 6, Currency::Eur),
    ("ES", 5, Currency::Eur),
    ("IT", 4, Currency::Eur),
    ("NL", 3, Currency::Eur),
    ("JP", 5, Currency::Jpy),
    ("CA", 5, Currency::Usd),
    ("BR", 4, Currency::Usd),
    ("MX", 3, Currency::Usd),
    ("AU", 2, Currency::Usd),
    ("KR", 2, Currency::Usd),
    ("PL", 2, Currency::Eur),
];
const DEVICES: [&str; 8] =
    ["app", "app", "app", "mobile", "mobile", "desktop", "desktop", "tablet"];

#[derive(Clone, Copy)]
pub enum Currency {
    Usd,
    Eur,
    Gbp,
    Jpy,
}

impl Currency {
    pub fn code(self) -> &'static str {
        match self {
            Currency::Usd => "USD",
            Currency::Eur => "EUR",
            Currency::Gbp => "GBP",
            Currency::Jpy => "JPY",
        }
    }

    /// A price of so many US cents as shops abroad round it, in ten-thousandths of the currency.
    pub fn price(self, us_cents: i64) -> i64 {
        match self {
            Currency::Usd => us_cents * 100,
            Currency::Eur => us_cents * 92 / 100 * 100,
            Currency::Gbp => us_cents * 78 / 100 * 100,
            Currency::Jpy => us_cents * 150 / 100 * 10_000,
        }
    }
}

/// How many people there are. The first half clicks, a few of them very often. The other half never
/// clicks, and only buys.
pub struct People {
    clicking: u32,
}

#[derive(Clone, Copy)]
pub struct Person(u32);

impl People {
    pub fn new(clicks_per_day: u64) -> Self {
        People { clicking: clicks_per_day.saturating_mul(12).clamp(200, 1 << 30) as u32 }
    }

    pub fn clicking(&self, rng: &mut Pcg64Mcg) -> Person {
        Person(skewed(rng, self.clicking, 10))
    }

    pub fn never_clicking(&self, rng: &mut Pcg64Mcg) -> Person {
        Person(self.clicking + skewed(rng, self.clicking, 6))
    }

    /// All who may click, the busiest first.
    pub fn busiest_first(&self) -> impl Iterator<Item = Person> {
        (0..self.clicking).map(Person)
    }
}

impl Person {
    /// People without an account never buy.
    pub fn has_account(self) -> bool {
        self.trait_below(1, 10) < 7
    }

    pub fn push_buyer_id(self, text: &mut String) {
        let scattered = u64::from(self.0.wrapping_mul(2_654_435_761));
        push_digits(text, 2_000_000_000 + scattered, 10);
    }

    /// The number of cookies or devices of this person.
    pub fn visitors(self) -> u64 {
        match self.trait_below(2, 10) {
            0..6 => 1,
            6..9 => 2,
            _ => 3,
        }
    }

    pub fn push_visitor_id(self, visitor: u64, text: &mut String) {
        push_hex(text, mix(u64::from(self.0) * 4 + visitor), 16);
    }

    pub fn device(self, visitor: u64) -> &'static str {
        DEVICES[self.trait_below(10 + visitor, DEVICES.len() as u64) as usize]
    }

    /// Whether the network knows whose cookie this is.
    pub fn is_identified(self, visitor: u64) -> bool {
        self.has_account() && self.trait_below(20 + visitor, 10) < 6
    }

    pub fn country(self) -> &'static str {
        self.home().0
    }

    pub fn currency(self) -> Currency {
        self.home().1
    }

    fn home(self) -> (&'static str, Currency) {
        let mut left = self.trait_below(3, 100);
        for (country, weight, currency) in COUNTRIES {
            if left < weight {
                return (country, currency);
            }
            left -= weight;
        }
        ("US", Currency::Usd)
    }

    /// A number below `n` that stays the same for this person and trait.
    fn trait_below(self, number: u64, n: u64) -> u64 {
        mix(u64::from(self.0) << 8 | number) % n
    }
}
