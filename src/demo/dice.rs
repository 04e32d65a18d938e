//! Random numbers from integers only, so that they are the same on every machine. Refuses to know
//! clicks and orders.

use rand::{Rng, SeedableRng};
use rand_pcg::Pcg64Mcg;

/// A random number generator for one use, so that a change in one use does not change the others.
pub fn dice(seed: u64, stream: u64) -> Pcg64Mcg {
    Pcg64Mcg::seed_from_u64(mix(seed ^ mix(stream)))
}

/// True `share` times out of `of`.
pub fn one_in(rng: &mut Pcg64Mcg, share: u32, of: u32) -> bool {
    rng.random_range(0..of) < share
}

/// A rank below `n`. Low ranks are far more likely: each halving of the ranks, down to `n /
/// 2^halvings`, is as likely as the next. This is Zipf's law in steps. It also suits delays, which
/// are mostly short and sometimes very long.
pub fn skewed(rng: &mut Pcg64Mcg, n: u32, halvings: u32) -> u32 {
    let halving = rng.random_range(0..=halvings);
    let end = n >> halving;
    let start = if halving == halvings { 0 } else { n >> (halving + 1) };
    if start < end { rng.random_range(start..end) } else { 0 }
}

/// One of a list that is never empty.
pub fn choose<'a, T>(rng: &mut Pcg64Mcg, items: &'a [T]) -> &'a T {
    // Not a usize, whose random numbers depend on the machine.
    &items[rng.random_range(0..items.len() as u64) as usize]
}

/// One of a list that may be empty.
pub fn choose_any<'a, T>(rng: &mut Pcg64Mcg, items: &'a [T]) -> Option<&'a T> {
    if items.is_empty() { None } else { Some(choose(rng, items)) }
}

/// Scatters a number. Different numbers stay different.
pub fn mix(number: u64) -> u64 {
    let mut scattered = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    scattered = (scattered ^ (scattered >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    scattered = (scattered ^ (scattered >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    scattered ^ (scattered >> 31)
}
