//! The past of keys that left: ten of them in a bucket, which is a cache line.
//!
//! A key's bucket comes from its hash mixed once more, its tag from the low bits, so that two keys are taken for one about once in
//! four hundred look-ups. A full bucket forgets whom it has not seen for longest, of keys used once those not seen for a third as long.

use wide::f32x4;

use super::features::NEVER;
use super::history::{History, RATE};
use super::lanes::{exp, half_log2, middle};
use crate::KeyHash;

const WAYS: usize = 10;
/// Bits of the lower word: tag, time of last use, uses, uses within the middle half-life.
const TAG: u32 = 12;
const TIME: u32 = 13;
const USES: u32 = 4;
const RATE8: u32 = 3;
/// Bits of the upper word: the last gap, and the two before in bins twice as wide.
const GAP1: u32 = 6;
const GAP: u32 = 5;
const _: () = assert!(TAG + TIME + USES + RATE8 == 32 && GAP1 + 2 * GAP == 16);
/// Parts of a cache of accesses that the time of last use is kept in: 512 caches of accesses until it wraps.
const PARTS: f32 = 16.0;
/// By how much the unit of time may be off.
const FAR: u32 = 4;
/// How much faster a key ages that was used once: it comes back less often, and there are many of them.
const ONCE: u32 = 3;
/// The age of nobody: above all others.
const OLDEST: u32 = ONCE << TIME;
/// The bins of one use, and of one as a rate in 16ths: there are never fewer.
const ONE_USE: u8 = 2;
const ONE_RATE: u8 = 8;

/// What is remembered of a key; no key's are both 0.
type Entry = (u32, u16);

#[derive(Clone, Copy, Debug)]
#[repr(align(64))]
struct Bucket {
    low: [u32; WAYS],
    high: [u16; WAYS],
}

// docs/learned.md counts them.
const _: () = assert!(size_of::<Bucket>() == 64);

impl Bucket {
    const EMPTY: Self = Self { low: [0; WAYS], high: [0; WAYS] };

    #[inline]
    fn put(&mut self, (low, high): Entry, present: u32) {
        // The age above the place, so that finding the oldest, the first of these, branches nowhere.
        let rank = |way: usize| self.age(way, present) << 4 | (WAYS - way) as u32;
        let oldest = WAYS - ((0..WAYS).map(rank).max().unwrap_or(0) % 16) as usize;
        (self.low[oldest], self.high[oldest]) = (low, high);
    }

    #[inline(always)]
    fn age(&self, way: usize, present: u32) -> u32 {
        let word = self.low[way];
        let age = present.wrapping_sub(word >> TAG) % (1 << TIME);
        let is_once = (word >> (TAG + TIME)).is_multiple_of(1 << USES);
        let age = if is_once { age * ONCE } else { age };
        if (word, self.high[way]) == (0, 0) { OLDEST } else { age }
    }

    #[inline]
    fn take(&mut self, hash: u32) -> Option<Entry> {
        let is_it = |way: &usize| {
            (self.low[*way] ^ hash).is_multiple_of(1 << TAG) && (self.low[*way], self.high[*way]) != (0, 0)
        };
        let way = (0..WAYS).find(is_it)?;
        Some((std::mem::take(&mut self.low[way]), std::mem::take(&mut self.high[way])))
    }
}

#[derive(Clone, Debug)]
pub(crate) struct Memory {
    buckets: Vec<Bucket>,
    /// Accesses per unit of stored time.
    unit: u32,
}

impl Memory {
    pub(crate) fn new() -> Self {
        Self { buckets: Vec::new(), unit: 1 }
    }

    /// Makes room for about `keys` of a cache of `objects`. What is remembered stays.
    pub(crate) fn grow(&mut self, keys: usize, objects: f32) {
        let wanted = keys.div_ceil(WAYS).max(1);
        if self.buckets.is_empty() {
            self.unit = unit(objects);
            self.buckets = vec![Bucket::EMPTY; wanted];
        }
        // A bucket's keys fall into two when their number doubles; which of them is not known, so both remember.
        while self.buckets.len() * 2 <= wanted {
            self.buckets = self.buckets.iter().flat_map(|bucket| [*bucket, *bucket]).collect();
        }
    }

    /// The cache holds so many objects now. Times are kept in parts of it, so that where it is many times larger or smaller, all are told anew.
    pub(crate) fn rescale(&mut self, objects: f32, now: u32) {
        let unit = unit(objects);
        if self.buckets.is_empty() || (unit / FAR <= self.unit && self.unit / FAR <= unit) {
            return;
        }
        let (present, before) = (self.coarse(now), self.unit);
        self.unit = unit;
        let renewed = self.coarse(now);
        for word in self.buckets.iter_mut().flat_map(|bucket| &mut bucket.low) {
            let age = present.wrapping_sub(*word >> TAG) % (1 << TIME);
            let age = (u64::from(age) * u64::from(before) / u64::from(unit)).min((1 << TIME) - 1) as u32;
            let time = renewed.wrapping_sub(age) % (1 << TIME);
            // Of nobody's all bits are 0.
            if *word != 0 {
                *word = *word & !(((1 << TIME) - 1) << TAG) | time << TAG;
            }
        }
    }

    /// Remembers the past of a key.
    #[inline]
    pub(crate) fn put(&mut self, hash: u32, history: &History, now: u32) {
        let Some(at) = self.bucket(hash) else { return };
        let entry = self.pack(hash, history);
        let present = self.coarse(now);
        self.buckets[at].put(entry, present);
    }

    /// Takes out what is remembered of a key.
    #[inline]
    pub(crate) fn take(&mut self, hash: u32, now: u32) -> Option<History> {
        let bucket = self.bucket(hash)?;
        let entry = self.buckets[bucket].take(hash)?;
        Some(self.unpack(entry, now))
    }

    /// What [`Self::take`] would say if this past had been remembered just before.
    pub(crate) fn foretell(&self, hash: u32, before: Option<(u32, &History)>, now: u32) -> Option<History> {
        let at = self.bucket(hash)?;
        let mut bucket = self.buckets[at];
        if let Some((other, history)) = before
            && self.bucket(other) == Some(at)
        {
            bucket.put(self.pack(other, history), self.coarse(now));
        }
        bucket.take(hash).map(|entry| self.unpack(entry, now))
    }

    pub(crate) fn bytes(&self) -> usize {
        self.buckets.capacity() * size_of::<Bucket>()
    }

    #[inline]
    fn bucket(&self, hash: u32) -> Option<usize> {
        // All keys of a part of a larger cache may have bits of their hashes in common.
        let mixed = KeyHash::mix(u64::from(hash)).0 >> 32;
        let at = (mixed * self.buckets.len() as u64) >> 32;
        (at < self.buckets.len() as u64).then_some(at as usize)
    }

    #[inline]
    fn coarse(&self, moment: u32) -> u32 {
        moment / self.unit % (1 << TIME)
    }

    #[inline]
    fn pack(&self, hash: u32, history: &History) -> Entry {
        let History { last, rates, uses, .. } = *history;
        let [_, rate8, uses, _] =
            half_log2(f32x4::new([0.0, f32::from(rates[1]) * (16.0 / RATE), f32::from(uses.max(1)), 0.0]));
        let above = |bin: u8, least: u8, bits: u32| u32::from(bin.saturating_sub(least)).min((1 << bits) - 1);
        let counts = above(rate8, ONE_RATE, RATE8) << USES | above(uses, ONE_USE, USES);
        let low = (counts << TIME | self.coarse(last)) << TAG | (hash % (1 << TAG));
        let [gap1, gap2, gap3] = history.gaps().map(u16::from);
        (low, (gap3 / 2) << (GAP1 + GAP) | (gap2 / 2) << GAP1 | gap1)
    }

    #[inline]
    fn unpack(&self, (low, high): Entry, now: u32) -> History {
        let units = self.coarse(now).wrapping_sub(low >> TAG) % (1 << TIME);
        // The middle of the unit, which is on average where it was.
        let age = units.saturating_mul(self.unit).saturating_add(now % self.unit).saturating_sub(self.unit / 2);
        let wide = |gap: u16| if gap == (1 << GAP) - 1 { NEVER } else { 2 * gap as u8 };
        let gaps = [high as u8 & NEVER, wide(high >> GAP1 & ((1 << GAP) - 1)), wide(high >> (GAP1 + GAP))];
        let uses_bin = (low >> (TAG + TIME)) as u8 % (1 << USES) + ONE_USE;
        let rate8_bin = (low >> (TAG + TIME + USES)) as u8 + ONE_RATE;
        let [_, rate8, uses, _] = middle([0, rate8_bin, uses_bin, 0]).to_array();
        // Of whole numbers the middle is half of one lower.
        let uses = (uses - 0.5) as u8;
        // What the gaps say of the shortest half-life; uses before those hardly count. The longest half-life has them all.
        let [gap1, gap2, gap3] = gaps;
        let caches = middle([gap1, gap2, gap3, 0]) * f32x4::splat(1.0 / 16384.0);
        let [left1, left2, left3, _] = exp(caches * f32x4::splat(-std::f32::consts::LN_2)).to_array();
        let rate1 = 1.0 + left1 * (1.0 + left2 * (1.0 + left3));
        let rates = [rate1 * RATE, rate8 * (RATE / 16.0), f32::from(uses) * RATE].map(|rate| rate as u16);
        let last = now.wrapping_sub(age.max(1));
        History::remembered(last, gaps, uses, rates)
    }
}

/// Accesses per unit of stored time, of a cache of so many objects.
fn unit(objects: f32) -> u32 {
    (objects / PARTS).max(1.0) as u32
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn remember(memory: &mut Memory, hash: u32, now: u32) -> History {
        let history = History::remembered(now, [9, 8, NEVER], 3, [190, 190, 192]);
        memory.put(hash, &history, now);
        history
    }

    #[test]
    fn a_past_comes_back() {
        let mut memory = Memory::new();
        assert!(memory.take(5, 10).is_none());
        memory.grow(64, 160.0);
        let before = remember(&mut memory, 0x1234_5678, 1000);
        assert!(memory.take(0x1234_5679, 1500).is_none());
        let after = memory.take(0x1234_5678, 1500).unwrap();
        assert_eq!((after.gaps(), after.uses), (before.gaps(), 3));
        let last = after.last;
        assert!(last.abs_diff(1000) <= 10, "{after:?}");
        // Its uses are but moments apart, so that each rate is about three.
        assert!(after.rates.iter().all(|rate| (150..230).contains(rate)), "{after:?}");
        assert!(memory.take(0x1234_5678, 1500).is_none(), "taken twice");
    }

    #[test]
    fn the_longest_unused_is_forgotten_first() {
        let mut memory = Memory::new();
        memory.grow(WAYS, 16.0);
        for key in 1..=11 {
            remember(&mut memory, key, 100 * key);
        }
        let known: Vec<u32> = (1..=11).filter(|&key| memory.take(key, 1200).is_some()).collect();
        assert_eq!(known, [2, 3, 4, 5, 6, 7, 8, 9, 10, 11]);
    }

    #[test]
    fn keys_used_once_are_forgotten_sooner() {
        let mut memory = Memory::new();
        memory.grow(WAYS, 16.0);
        for key in 3..=10 {
            remember(&mut memory, key, 10 * key);
        }
        memory.put(1, &History::first(500, [0; 3]), 500);
        memory.put(2, &History::first(800, [0; 3]), 800);
        // At 1050, 1 counts as last used 1650 ago, 2 as 750 ago; the others were used up to 1020 ago.
        memory.put(13, &History::first(1050, [0; 3]), 1050);
        let known: Vec<u32> = (1..=13).filter(|&key| memory.take(key, 1100).is_some()).collect();
        assert_eq!(known.len(), WAYS);
        assert!(!known.contains(&1) && known.contains(&2), "{known:?}");
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
        assert!(memory.bytes() >= 512 * 64 / WAYS);
        assert!(keys.iter().all(|&key| memory.take(key, 60).is_some()));
    }

    #[test]
    fn keys_with_bits_in_common_fill_it_too() {
        // As in one of 64 parts of a cache.
        let keys = |most: u32| (0..most).map(|key| KeyHash::mix(u64::from(key)).0 as u32 & !(63 << 16) | 5 << 16);
        let mut memory = Memory::new();
        memory.grow(70_000, 16_000.0);
        keys(35_000).for_each(|key| _ = remember(&mut memory, key, 1000));
        let known = keys(35_000).filter(|&key| memory.take(key, 1100).is_some()).count();
        assert!(known > 33_000, "{known}");
    }

    #[test]
    fn times_survive_another_size() {
        for objects in [100.0, 1_600_000.0] {
            let mut memory = Memory::new();
            memory.grow(64, 16_000.0);
            remember(&mut memory, 7, 2_000_000);
            remember(&mut memory, 9, 3_000_000);
            memory.rescale(objects, 3_500_000);
            // As long ago as it can be told.
            let most = unit(objects) << TIME;
            for (key, age) in [(7, 1_500_000), (9, 500_000u32)] {
                let last = memory.take(key, 3_500_000).unwrap().last;
                let told = 3_500_000 - last;
                assert!(told.abs_diff(age.min(most)) <= unit(objects).max(1000), "{key} of {objects}: {told}");
            }
        }
    }

    proptest! {
        #[test]
        fn never_panics(steps in prop::collection::vec((any::<u32>(), any::<u32>(), any::<bool>()), 1..100), objects in 0.0f32..1e9) {
            let mut memory = Memory::new();
            memory.grow(32, objects);
            for (hash, now, put) in steps {
                if put {
                    let history = History::remembered(now, [hash as u8; 3], hash as u8, [now as u16; 3]);
                    memory.put(hash, &history, now);
                } else if let Some(history) = memory.take(hash, now) {
                    prop_assert!(history.gaps().iter().all(|&gap| gap <= NEVER));
                }
            }
        }
    }
}
