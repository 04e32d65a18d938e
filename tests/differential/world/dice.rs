//! Chance, from a seed.

use rand::{Rng, SeedableRng};
use rand_pcg::Pcg64Mcg;

pub struct Dice(Pcg64Mcg);

impl Dice {
    pub fn new(seed: u64) -> Dice {
        Dice(Pcg64Mcg::seed_from_u64(seed))
    }

    pub fn chance(&mut self, percent: u32) -> bool {
        self.0.random_range(0..100) < percent
    }

    /// Both ends included.
    pub fn between(&mut self, low: i64, high: i64) -> i64 {
        self.0.random_range(low..=high)
    }

    pub fn pick<'a, T>(&mut self, of: &'a [T]) -> &'a T {
        &of[self.0.random_range(0..of.len())]
    }

    pub fn text(&mut self, of: &[&str]) -> String {
        self.pick(of).to_string()
    }

    /// One of these, or null, now and then as an empty string.
    pub fn text_or_null(&mut self, of: &[&str], null_percent: u32) -> Option<String> {
        if !self.chance(null_percent) {
            return Some(self.text(of));
        }
        self.chance(30).then(String::new)
    }

    pub fn shuffle<T>(&mut self, rows: &mut [T]) {
        for end in (1..rows.len()).rev() {
            rows.swap(end, self.0.random_range(0..=end));
        }
    }
}
