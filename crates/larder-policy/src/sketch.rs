//! How often was a key seen lately: a count-min sketch of 4-bit counters that ages.

use crate::KeyHash;

const ROWS: u32 = 4;
/// The counters of a key lie in one block of 64 bytes, so that an estimate costs one cache line.
const BLOCK: usize = 8;
const ODD: u64 = 0x1111_1111_1111_1111;
const HALVED: u64 = 0x7777_7777_7777_7777;

/// Count-min with conservative range 0..=15 and periodic halving (Cormode, Muthukrishnan 2005; Einziger, Friedman,
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
        // 16 counters a word, four of which a key uses: a word a key keeps the error near the TinyLFU paper's.
        let words = keys.clamp(BLOCK, 1 << 30).next_power_of_two();
        Self { words: vec![0; words], increments: 0, period: period.max(16) }
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
