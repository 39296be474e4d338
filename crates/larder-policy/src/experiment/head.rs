//! The hottest keys of a shard, found in little memory.
//!
//! SpaceSaving (Metwally, Agrawal, El Abbadi, "Efficient computation of frequent and top-k elements in data streams", ICDT 2005) over a
//! random share of the accesses, halved now and then so that it follows the traffic.

use crate::{KeyHash, Rng};

/// Keys counted at once: one with more than this share of a shard's accesses is never missed for long.
const COUNTERS: usize = 32;
/// Accesses that pass for each one that is counted, on average.
const SKIP: u32 = 8;
/// Counted accesses between halvings.
const WINDOW: u32 = 4096;
/// Counted accesses below which nothing is said.
const LEAST: u32 = 64;

#[derive(Clone, Copy, Debug)]
struct Counter {
    key: KeyHash,
    count: u32,
    /// By how much the count may be too high.
    error: u32,
}

#[derive(Clone, Debug)]
pub(crate) struct Hottest {
    counters: Vec<Counter>,
    total: u32,
    skip: u32,
    rng: Rng,
}

impl Hottest {
    pub(crate) fn new(seed: u64) -> Self {
        Self { counters: Vec::with_capacity(COUNTERS), total: 0, skip: 0, rng: Rng::new(seed) }
    }

    /// Sees every access.
    #[inline]
    pub(crate) fn note(&mut self, key: KeyHash) {
        match self.skip.checked_sub(1) {
            Some(left) => self.skip = left,
            None => self.count(key),
        }
    }

    fn count(&mut self, key: KeyHash) {
        // At random, or traffic in step with the counting would fool it.
        self.skip = self.rng.below(2 * SKIP - 1);
        self.total += 1;
        if let Some(counter) = self.counters.iter_mut().find(|counter| counter.key == key) {
            counter.count += 1;
        } else if self.counters.len() < COUNTERS {
            self.counters.push(Counter { key, count: 1, error: 0 });
        } else if let Some(least) = self.counters.iter_mut().min_by_key(|counter| counter.count) {
            *least = Counter { key, count: least.count + 1, error: least.count };
        }
        if self.total >= WINDOW {
            self.total /= 2;
            for counter in &mut self.counters {
                counter.count /= 2;
                counter.error /= 2;
            }
        }
    }

    /// Keys with the share of the accesses they surely have, the hottest first.
    pub(crate) fn shares(&self) -> Vec<(KeyHash, f64)> {
        if self.total < LEAST {
            return Vec::new();
        }
        let share = |counter: &Counter| f64::from(counter.count - counter.error) / f64::from(self.total);
        let mut shares: Vec<_> = self.counters.iter().map(|counter| (counter.key, share(counter))).collect();
        shares.sort_by(|one, other| other.1.total_cmp(&one.1).then(one.0.cmp(&other.0)));
        shares
    }

    pub(crate) fn bytes(&self) -> usize {
        self.counters.capacity() * size_of::<Counter>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_hottest_and_says_no_more_than_it_knows() {
        let (mut hottest, mut rng) = (Hottest::new(1), Rng::new(2));
        for _ in 0..100_000 {
            let key = match rng.below(10) {
                0..3 => 7,
                3 => 8,
                _ => 1000 + u64::from(rng.below(50_000)),
            };
            hottest.note(KeyHash::mix(key));
        }
        let shares = hottest.shares();
        assert_eq!((shares[0].0, shares[1].0), (KeyHash::mix(7), KeyHash::mix(8)));
        // Five standard deviations of a share of 0.3 among 2048 are 0.05.
        assert!((shares[0].1 - 0.3).abs() < 0.05 && (shares[1].1 - 0.1).abs() < 0.04, "{shares:?}");
        assert!(shares[2..].iter().all(|&(_, share)| share < 0.01), "{shares:?}");
    }

    #[test]
    fn follows_the_traffic() {
        let mut hottest = Hottest::new(1);
        (0..200_000).for_each(|_| hottest.note(KeyHash::mix(1)));
        (0..200_000u64).for_each(|at| hottest.note(KeyHash::mix(at % 2 * 2)));
        let shares = hottest.shares();
        assert!(shares.iter().all(|&(key, share)| key != KeyHash::mix(1) || share < 0.05), "{shares:?}");
        assert!(shares[0].1 > 0.4 && shares[1].1 > 0.4);
    }
}
