//! Sampled LRU and LFU as Redis evicts: a few random residents feed a small pool of the best victims seen so far.
//!
//! Facts from Redis 7 (`evict.c`): 5 samples an eviction, a pool of 16, an LRU clock of one second; for LFU an 8-bit
//! logarithmic counter (factor 10) that starts at 5 and loses one a minute. As there, a candidate
//! keeps the age it entered the pool with. Deviations: samples are drawn with replacement, and a candidate enters the
//! pool once; no bound of the clocks' width; where a trace has no times, one request counts as one second.

use std::marker::PhantomData;

use super::{Arrival, Eviction, Fate, Removal, Setup};
use crate::dense::Dense;
use crate::params::Param;
use crate::rng::Rng;
use crate::slots::SlotVec;
use crate::{Access, Reuse, Slot, Time};

pub(super) const LRU_PARAMS: &[Param] =
    &[SAMPLES, Param { name: "tick", default: 1.0, least: 1e-6, most: 1e6, about: "seconds a step of the LRU clock" }];
pub(super) const LFU_PARAMS: &[Param] = &[
    SAMPLES,
    Param { name: "tick", default: 60.0, least: 1e-6, most: 1e9, about: "seconds until a count falls by one" },
];
const SAMPLES: Param =
    Param { name: "samples", default: 5.0, least: 1.0, most: 64.0, about: "residents looked at for each eviction" };

const POOL: usize = 16;

/// What a resident remembers of its uses, and how ripe that makes it for eviction.
pub(crate) trait Memory: Send {
    /// What is kept for each resident.
    type Mark: Copy + Send;
    /// The mark of a newcomer.
    fn first(now: u64) -> Self::Mark;
    /// The mark after one more use.
    fn used(mark: Self::Mark, now: u64, rng: &mut Rng) -> Self::Mark;
    /// Greater leaves earlier.
    fn ripeness(mark: Self::Mark, now: u64) -> u64;
}

/// The tick of the last use.
pub(crate) struct LastUse;

impl Memory for LastUse {
    type Mark = u64;
    fn first(now: u64) -> u64 {
        now
    }
    fn used(_: u64, now: u64, _: &mut Rng) -> u64 {
        now
    }
    fn ripeness(mark: u64, now: u64) -> u64 {
        now.saturating_sub(mark)
    }
}

/// A logarithmic count of uses, and the tick it was last changed.
pub(crate) struct UseCount;

const FIRST_COUNT: u8 = 5;
const LOG_FACTOR: f64 = 10.0;

impl UseCount {
    fn faded((count, since): (u8, u64), now: u64) -> u8 {
        u8::try_from(u64::from(count).saturating_sub(now.saturating_sub(since))).unwrap_or(0)
    }
}

impl Memory for UseCount {
    type Mark = (u8, u64);
    fn first(now: u64) -> (u8, u64) {
        (FIRST_COUNT, now)
    }
    fn used(mark: (u8, u64), now: u64, rng: &mut Rng) -> (u8, u64) {
        let count = Self::faded(mark, now);
        let chance = 1.0 / (f64::from(count.saturating_sub(FIRST_COUNT)) * LOG_FACTOR + 1.0);
        (count.saturating_add(u8::from(rng.unit() < chance)), now)
    }
    fn ripeness(mark: (u8, u64), now: u64) -> u64 {
        u64::from(u8::MAX - Self::faded(mark, now))
    }
}

/// The residents with their marks, and the pool of candidates.
pub(crate) struct Sampled<M: Memory> {
    residents: Dense,
    marks: SlotVec<M::Mark>,
    /// Candidates by ripeness, the ripest last.
    pool: Vec<(u64, Slot)>,
    now: u64,
    samples: u32,
    tick_micros: f64,
    rng: Rng,
    memory: PhantomData<M>,
}

impl<M: Memory> Sampled<M> {
    pub(crate) fn new(setup: &Setup<'_>) -> Self {
        Self {
            residents: Dense::new(setup.objects),
            marks: SlotVec::new(setup.objects),
            pool: Vec::with_capacity(POOL + 1),
            now: 0,
            samples: setup.params.value("samples") as u32,
            tick_micros: setup.params.value("tick") * 1e6,
            rng: Rng::new(setup.seed),
            memory: PhantomData,
        }
    }

    fn tell(&mut self, at: Time) {
        self.now = (at.0 as f64 / self.tick_micros) as u64;
    }

    fn consider(&mut self, slot: Slot) {
        if self.pool.iter().any(|&(_, candidate)| candidate == slot) {
            return;
        }
        let ripeness = M::ripeness(self.marks[slot], self.now);
        let at = self.pool.partition_point(|&(other, _)| other < ripeness);
        if self.pool.len() < POOL {
            self.pool.insert(at, (ripeness, slot));
        } else if at > 0 {
            self.pool.remove(0);
            self.pool.insert(at - 1, (ripeness, slot));
        }
    }
}

impl<M: Memory> Eviction for Sampled<M> {
    fn victim(&mut self, newcomer: Option<&Arrival>) -> Option<Slot> {
        if let Some(newcomer) = newcomer {
            self.tell(newcomer.access.at);
        }
        for _ in 0..self.samples {
            let slot = self.residents.draw(&mut self.rng)?;
            self.consider(slot);
        }
        self.pool.pop().map(|(_, slot)| slot)
    }

    fn on_insert(&mut self, slot: Slot, newcomer: &Arrival) {
        self.tell(newcomer.access.at);
        self.marks.put(slot, M::first(self.now));
        self.residents.push(slot);
    }

    fn on_hit(&mut self, slot: Slot, access: &Access, _: Reuse) -> Option<Slot> {
        self.tell(access.at);
        self.marks[slot] = M::used(self.marks[slot], self.now, &mut self.rng);
        None
    }

    fn on_remove(&mut self, slot: Slot, _: Removal) -> Fate {
        self.residents.remove(slot);
        self.pool.retain(|&(_, candidate)| candidate != slot);
        Fate::Gone
    }

    fn on_resize(&mut self, _: u64, objects: Option<usize>) {
        self.residents.set_limit(objects);
        self.marks.set_limit(objects);
    }

    fn bytes(&self) -> usize {
        self.residents.bytes() + self.marks.bytes() + self.pool.capacity() * size_of::<(u64, Slot)>()
    }

    fn validate(&self, residents: usize, _: usize) {
        self.residents.validate();
        assert_eq!(self.residents.len(), residents);
        assert!(self.pool.len() <= POOL);
        assert!(self.pool.iter().all(|&(_, slot)| self.residents.contains(slot)), "the pool names a stranger");
        assert!(self.pool.is_sorted_by_key(|&(ripeness, _)| ripeness));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Cache;

    #[test]
    fn the_oldest_of_the_sampled_leaves_from_the_pool() {
        let mut cache = Cache::objects("redis-lru:samples=64", 4);
        assert_eq!(cache.read("abcdae"), "b");
        // c is in the pool with its old age, and Redis does not look again.
        assert_eq!(cache.read("cf"), "c");
    }

    #[test]
    fn the_least_used_leaves() {
        let mut cache = Cache::objects("redis-lfu:samples=64", 2);
        // The first use after arrival always counts.
        assert_eq!(cache.read("aabc"), "b");
    }

    #[test]
    fn counts_grow_slowly_and_fade() {
        let mut rng = Rng::new(1);
        assert_eq!(UseCount::used(UseCount::first(7), 7, &mut rng), (6, 7));
        // The eleventh step takes a hundred and more uses in the mean, so ten do not make ten steps.
        let used = (0..10).fold((FIRST_COUNT, 0), |mark, _| UseCount::used(mark, 0, &mut rng));
        assert!((6..15).contains(&used.0), "{used:?}");
        assert_eq!(UseCount::used((u8::MAX, 0), 0, &mut rng).0, u8::MAX);
        assert_eq!(UseCount::faded((10, 3), 7), 6);
        assert_eq!(UseCount::faded((10, 0), u64::MAX), 0);
        assert_eq!(UseCount::faded((10, 7), 3), 10, "a clock that goes back");
    }
}
