//! The past of keys that left: eight bytes each, in buckets of a cache line.
//!
//! A key's bucket comes from the high bits of its hash, its tag from the low ones, so that two keys are taken for one about once in
//! a thousand look-ups. A full bucket forgets whom it has not seen for longest.

use wide::f32x4;

use super::features::NEVER;
use super::history::History;
use super::lanes::half_log2;

const WAYS: usize = 8;
const TAG: u32 = 13;
const TIME: u32 = 15;
/// Parts of a cache of accesses that the time of last use is kept in: 2048 caches of accesses until it wraps.
const PARTS: f32 = 16.0;

#[derive(Clone, Debug)]
pub(crate) struct Memory {
    buckets: Vec<[u64; WAYS]>,
    /// Accesses per unit of stored time.
    unit: u32,
}

impl Memory {
    pub(crate) fn new() -> Self {
        Self { buckets: Vec::new(), unit: 1 }
    }

    /// Makes room for about `keys` of a cache of `objects`. What is remembered stays, but for the times, if their unit changes.
    pub(crate) fn grow(&mut self, keys: usize, objects: f32) {
        let wanted = keys.div_ceil(WAYS).max(1);
        if self.buckets.is_empty() {
            self.unit = (objects / PARTS).max(1.0) as u32;
            self.buckets = vec![[0; WAYS]; wanted];
        }
        // A bucket's keys fall into two when their number doubles; which of them is not known, so both remember.
        while self.buckets.len() * 2 <= wanted {
            self.buckets = self.buckets.iter().flat_map(|bucket| [*bucket, *bucket]).collect();
        }
    }

    /// Remembers the past of a key.
    #[inline]
    pub(crate) fn put(&mut self, hash: u32, history: &History, now: u32) {
        let Some(at) = self.bucket(hash) else { return };
        let word = self.pack(hash, history);
        let present = self.coarse(now);
        let mask = (1 << TIME) - 1;
        let age = |word: u64| if word == 0 { u64::MAX } else { (present.wrapping_sub(word >> TAG)) & mask };
        let bucket = &mut self.buckets[at];
        let mut oldest = 0;
        for way in 1..WAYS {
            if age(bucket[way]) > age(bucket[oldest]) {
                oldest = way;
            }
        }
        bucket[oldest] = word;
    }

    /// Takes out what is remembered of a key.
    #[inline]
    pub(crate) fn take(&mut self, hash: u32, now: u32) -> Option<History> {
        let (at, way) = self.find(hash)?;
        let word = std::mem::take(&mut self.buckets[at][way]);
        Some(self.unpack(word, now))
    }

    /// What is remembered of a key.
    pub(crate) fn peek(&self, hash: u32, now: u32) -> Option<History> {
        let (at, way) = self.find(hash)?;
        Some(self.unpack(self.buckets[at][way], now))
    }

    /// What would be remembered of a past, if there is room for any.
    pub(crate) fn as_remembered(&self, hash: u32, history: &History, now: u32) -> Option<History> {
        self.bucket(hash).map(|_| self.unpack(self.pack(hash, history), now))
    }

    /// The bucket of a key, and its place there.
    #[inline]
    fn find(&self, hash: u32) -> Option<(usize, usize)> {
        let at = self.bucket(hash)?;
        let tag = u64::from(hash) & ((1 << TAG) - 1);
        let way = self.buckets[at].iter().position(|&word| word & ((1 << TAG) - 1) == tag && word != 0)?;
        Some((at, way))
    }

    pub(crate) fn bytes(&self) -> usize {
        self.buckets.capacity() * size_of::<[u64; WAYS]>()
    }

    #[inline]
    fn bucket(&self, hash: u32) -> Option<usize> {
        let at = (u64::from(hash) * self.buckets.len() as u64) >> 32;
        (at < self.buckets.len() as u64).then_some(at as usize)
    }

    #[inline]
    fn coarse(&self, moment: u32) -> u64 {
        u64::from(moment / self.unit) & ((1 << TIME) - 1)
    }

    /// Tag 13 bits, time 15, gaps 6 each, uses 4, rates 4, 5 and 5.
    #[inline]
    fn pack(&self, hash: u32, history: &History) -> u64 {
        let mut word = 0;
        let mut push = |bits: u32, number: u64| word = word << bits | number.min((1 << bits) - 1);
        let [short, middle, long] = history.rates.map(|rate| f32::from(rate) / 4.0);
        let bins = half_log2(f32x4::new([long, middle, short, f32::from(history.uses.max(1))]));
        // The uses are at least 1 and in bin 2, so that no word is 0.
        [5, 5, 4, 4].into_iter().zip(bins).for_each(|(bits, bin)| push(bits, u64::from(bin)));
        history.gaps.iter().rev().for_each(|&gap| push(6, u64::from(gap)));
        push(TIME, self.coarse(history.last));
        push(TAG, u64::from(hash) & ((1 << TAG) - 1));
        word
    }

    #[inline]
    fn unpack(&self, word: u64, now: u32) -> History {
        let mut rest = word >> TAG;
        let mut pull = |bits: u32| {
            let number = rest & ((1 << bits) - 1);
            rest >>= bits;
            number
        };
        let units = self.coarse(now).wrapping_sub(pull(TIME)) & ((1 << TIME) - 1);
        // The middle of the unit, which is on average where it was.
        let age =
            (units as u32).saturating_mul(self.unit).saturating_add(now % self.unit).saturating_sub(self.unit / 2);
        let gaps = [pull(6) as u8, pull(6) as u8, pull(6) as u8].map(|gap| gap.min(NEVER));
        let uses = middle(pull(4) as u32).clamp(1, 255) as u8;
        let rates = [pull(4), pull(5), pull(5)].map(|bin| (middle(bin as u32) * 4).min(65535) as u16);
        let last = now.wrapping_sub(age.max(1));
        History { last, stored: last, rates, gaps, uses, returned: true, ..History::default() }
    }
}

/// A number in the middle of a bin of [`half_log2`].
#[inline]
fn middle(bin: u32) -> u32 {
    let low = |bin: u32| ((2 + (bin & 1)) << (bin / 2)) >> 1;
    (low(bin) + low(bin + 1) - 1) / 2 - u32::from(bin > 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn bin_of(number: f32) -> u8 {
        half_log2(f32x4::splat(number))[0]
    }

    fn remember(memory: &mut Memory, hash: u32, now: u32) -> History {
        let history = History { last: now, gaps: [9, 8, 63], uses: 3, rates: [64, 190, 1000], ..History::default() };
        memory.put(hash, &history, now);
        history
    }

    #[test]
    fn the_middle_of_a_bin_is_in_it() {
        assert!(
            (2..40).all(|bin| bin_of(middle(bin) as f32) == bin as u8),
            "{:?}",
            (0..12).map(middle).collect::<Vec<_>>()
        );
    }

    #[test]
    fn a_past_comes_back() {
        let mut memory = Memory::new();
        assert!(memory.take(5, 10).is_none());
        memory.grow(64, 160.0);
        let before = remember(&mut memory, 0x1234_5678, 1000);
        assert!(memory.take(0x1234_5679, 1500).is_none());
        let after = memory.take(0x1234_5678, 1500).unwrap();
        assert_eq!((after.gaps, after.uses, after.returned), (before.gaps, 3, true));
        assert!(after.last.abs_diff(1000) <= 10, "{after:?}");
        for (after, before) in after.rates.iter().zip(before.rates) {
            assert_eq!(bin_of(f32::from(*after) / 4.0), bin_of(f32::from(before) / 4.0));
        }
        assert!(memory.take(0x1234_5678, 1500).is_none(), "taken twice");
    }

    #[test]
    fn the_longest_unused_is_forgotten_first() {
        let mut memory = Memory::new();
        memory.grow(8, 16.0);
        for key in 1..=9 {
            remember(&mut memory, key, 100 * key);
        }
        let known: Vec<u32> = (1..=9).filter(|&key| memory.take(key, 1000).is_some()).collect();
        assert_eq!(known, [2, 3, 4, 5, 6, 7, 8, 9]);
    }

    #[test]
    fn growth_forgets_nobody() {
        let mut memory = Memory::new();
        memory.grow(64, 64.0);
        let keys: Vec<u32> = (0..6u32).map(|key| key.wrapping_mul(0x9e37_79b9)).collect();
        for &key in &keys {
            remember(&mut memory, key, 50);
        }
        memory.grow(1000, 64.0);
        assert!(memory.bytes() >= 512 * 8);
        assert!(keys.iter().all(|&key| memory.take(key, 60).is_some()));
    }

    proptest! {
        #[test]
        fn never_panics(steps in prop::collection::vec((any::<u32>(), any::<u32>(), any::<bool>()), 1..100), objects in 0.0f32..1e9) {
            let mut memory = Memory::new();
            memory.grow(32, objects);
            for (hash, now, put) in steps {
                if put {
                    let gaps = [(hash & 63) as u8; 3];
                    memory.put(hash, &History { last: now, gaps, uses: hash as u8, rates: [now as u16; 3], ..History::default() }, now);
                } else if let Some(history) = memory.take(hash, now) {
                    prop_assert!(history.gaps.iter().all(|&gap| gap <= NEVER));
                }
            }
        }
    }
}
