//! How often was a key seen lately: a count-min sketch of 4-bit counters that ages.

use crate::KeyHash;

const ROWS: u32 = 4;
/// The counters of a key lie in one block of 64 bytes, so that an estimate costs one cache line.
const BLOCK: usize = 8;
const ODD: u64 = 0x1111_1111_1111_1111;
const HALVED: u64 = 0x7777_7777_7777_7777;

/// The greatest table, 1 GiB: as many blocks as a hash has bits left for.
const MOST_WORDS: usize = 1 << 27;
const LEAST_PERIOD: u64 = 16;

/// Count-min with counters of range 0..=15 and periodic halving (Cormode, Muthukrishnan 2005; Einziger, Friedman,
/// Manes, "TinyLFU", ACM TOS 2017).
#[derive(Clone, Debug)]
pub(crate) struct Sketch {
    words: Vec<u64>,
    increments: u64,
    /// Halves all counters after so many increments.
    period: u64,
}

impl Sketch {
    /// For about `keys` keys that matter; counters are halved every `period` increments.
    pub(crate) fn new(keys: usize, period: u64) -> Self {
        Self { words: vec![0; words(keys)], increments: 0, period: period.max(LEAST_PERIOD) }
    }

    /// For more keys than before; what was counted stays, since a key's block is copied to both places it may now
    /// lie in. Never shrinks.
    pub(crate) fn grow(&mut self, keys: usize, period: u64) {
        while self.words.len() < words(keys) {
            self.words.extend_from_within(..);
        }
        self.period = period.max(LEAST_PERIOD);
    }

    /// The estimated number of recent accesses, 0..=15; never less than the true number since the last halving,
    /// capped at 15.
    #[inline]
    pub(crate) fn estimate(&self, key: KeyHash) -> u32 {
        let block = self.block(key);
        (0..ROWS).map(|row| self.count(block, key, row)).min().unwrap_or(0)
    }

    #[inline]
    pub(crate) fn increment(&mut self, key: KeyHash) {
        let block = self.block(key);
        let mut added = false;
        for row in 0..ROWS {
            let (word, shift) = place(block, key, row);
            if (self.words[word] >> shift) & 15 < 15 {
                self.words[word] += 1 << shift;
                added = true;
            }
        }
        if added {
            self.increments += 1;
            if self.increments >= self.period {
                self.halve();
            }
        }
    }

    pub(crate) fn bytes(&self) -> usize {
        self.words.capacity() * size_of::<u64>()
    }

    fn count(&self, block: usize, key: KeyHash, row: u32) -> u32 {
        let (word, shift) = place(block, key, row);
        ((self.words[word] >> shift) & 15) as u32
    }

    fn block(&self, key: KeyHash) -> usize {
        ((key.0 >> 40) as usize * BLOCK) & (self.words.len() - 1)
    }

    #[cold]
    fn halve(&mut self) {
        let mut odd = 0;
        for word in &mut self.words {
            odd += u64::from((*word & ODD).count_ones());
            *word = (*word >> 1) & HALVED;
        }
        // Each increment raised up to four counters, so the odd ones lose a quarter of an increment each.
        self.increments = (self.increments - (odd / u64::from(ROWS)).min(self.increments)) / 2;
    }
}

/// 16 counters a word, four of which a key uses: a word a key keeps the error near the TinyLFU paper's.
fn words(keys: usize) -> usize {
    keys.clamp(BLOCK, MOST_WORDS).next_power_of_two()
}

/// The word and the bit of a key's counter in a row: two words a row, 32 counters.
#[inline]
fn place(block: usize, key: KeyHash, row: u32) -> (usize, u32) {
    let bits = (key.0 >> (row * 8)) as u32;
    (block + 2 * row as usize + (bits & 1) as usize, ((bits >> 1) & 15) * 4)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    proptest! {
        #[test]
        fn never_underestimates(keys in prop::collection::vec(0u64..50, 1..500)) {
            let mut sketch = Sketch::new(64, u64::MAX);
            let mut counts: BTreeMap<u64, u32> = BTreeMap::new();
            for key in keys {
                sketch.increment(KeyHash::mix(key));
                *counts.entry(key).or_default() += 1;
            }
            for (key, count) in counts {
                prop_assert!(sketch.estimate(KeyHash::mix(key)) >= count.min(15));
            }
        }
    }

    #[test]
    fn growing_keeps_every_count() {
        let mut sketch = Sketch::new(64, u64::MAX);
        (0..500u64).for_each(|key| sketch.increment(KeyHash::mix(key % 90)));
        let counts = |sketch: &Sketch| (0..90).map(|key| sketch.estimate(KeyHash::mix(key))).collect::<Vec<_>>();
        let before = counts(&sketch);
        let bytes = sketch.bytes();
        sketch.grow(1000, u64::MAX);
        assert_eq!(counts(&sketch), before);
        assert_eq!(sketch.bytes(), 16 * bytes);
        sketch.grow(10, u64::MAX);
        assert_eq!(sketch.bytes(), 16 * bytes);
    }

    #[test]
    fn a_count_stops_at_fifteen_and_is_halved_after_a_period() {
        let (mut sketch, key) = (Sketch::new(64, 20), KeyHash::mix(1));
        (0..15).for_each(|_| sketch.increment(key));
        assert_eq!(sketch.estimate(key), 15);
        // Full counters do not bring the halving nearer.
        (0..1000).for_each(|_| sketch.increment(key));
        assert_eq!(sketch.estimate(key), 15);
        (2..7).for_each(|other| sketch.increment(KeyHash::mix(other)));
        assert_eq!(sketch.estimate(key), 7);
    }

    #[test]
    fn is_mostly_exact_when_roomy_and_halves() {
        let mut sketch = Sketch::new(4096, 4000);
        for key in 0..1000u64 {
            for _ in 0..=key % 3 {
                sketch.increment(KeyHash::mix(key));
            }
        }
        let exact = (0..1000u64).filter(|&key| u64::from(sketch.estimate(KeyHash::mix(key))) == key % 3 + 1).count();
        assert!(exact > 950, "{exact} of 1000 exact");
        // Ten halvings' worth of other keys, each seen once: an old count of 3 is gone, and what they left is noise.
        for key in 10_000..50_000u64 {
            sketch.increment(KeyHash::mix(key));
        }
        let old: u32 = (0..1000u64).map(|key| sketch.estimate(KeyHash::mix(key))).sum();
        assert!(old < 1000, "a thousand old keys still count {old} of 2000");
    }
}
