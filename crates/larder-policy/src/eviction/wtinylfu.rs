//! W-TinyLFU: a small LRU window, a segmented LRU main space, and a frequency sketch that decides who passes from
//! one to the other; the window's size follows the hit ratio by hill climbing.
//!
//! Einziger, Friedman, Manes, "TinyLFU: a highly efficient cache admission policy", ACM TOS 2017; Einziger, Eytan,
//! Friedman, Manes, "Adaptive software cache management", Middleware 2018. Constants are those of Caffeine 3, the
//! authors' implementation. Deviations: the newcomer makes room before it enters instead of after, so that the capacity
//! is never passed, and where several must leave for it, it competes with the first alone; the sketch keeps its counts
//! when it grows; a shift of the window that finds nothing to move is not made up later; the climber's first step widens the window, where Caffeine's (`step=-0.0625`) narrows it, for the
//! reasons and figures in DESIGN.md.

use super::{Arrival, Eviction, Fate, Removal, Setup};
use crate::list::Links;
use crate::params::Param;
use crate::queue::Queue;
use crate::rng::Rng;
use crate::sketch::Sketch;
use crate::slots::SlotVec;
use crate::{Access, KeyHash, Reuse, Slot};

pub(super) const PARAMS: &[Param] = &[
    Param { name: "window", default: 0.01, least: 0.0, most: 1.0, about: "share of the capacity for the window" },
    Param { name: "protected", default: 0.8, least: 0.0, most: 1.0, about: "protected share of the main space" },
    Param { name: "step", default: 0.0625, least: -1.0, most: 1.0, about: "first shift of the window; 0 never shifts" },
];

/// Each step is so much smaller than the last.
const STEP_DECAY: f64 = 0.98;
/// A change of the hit ratio that starts the climber anew.
const RESTART: f64 = 0.05;
/// The climber looks, and the sketch ages, every so many accesses a resident.
const SAMPLE: u64 = 10;
/// The sketch is first made for so many keys, and doubles when more are resident.
const FIRST_KEYS: usize = 64;
/// Where the capacity tells how many keys there will be, it is made for them at once, up to so many.
const FIRST_KEYS_KNOWN: usize = 1 << 16;
/// A refused candidate this frequent is let in now and then, against keys made to collide in the sketch.
const SUSPICIOUS: u32 = 6;

#[derive(Clone, Copy, Debug, PartialEq)]
enum Segment {
    Window,
    Probation,
    Protected,
}

#[derive(Clone, Copy)]
struct Resident {
    key: KeyHash,
    weight: u32,
    segment: Segment,
}

/// The three segments, the sketch and the climber.
pub(crate) struct WTinyLfu {
    links: Links,
    residents: SlotVec<Resident>,
    queues: [Queue; 3],
    sketch: Sketch,
    sketch_keys: usize,
    window_limit: u64,
    protected_limit: u64,
    capacity: u64,
    shares: (f64, f64),
    climber: Option<Climber>,
    rng: Rng,
    /// The newcomer, heavier than the window, has won its place.
    has_won: bool,
}

/// The hit ratio of the sample so far and of the one before, and where to go next.
struct Climber {
    /// The first step, as a share of the capacity.
    first: f64,
    hits: u64,
    accesses: u64,
    last_ratio: f64,
    step: f64,
}

impl WTinyLfu {
    pub(crate) fn new(setup: &Setup<'_>) -> Self {
        let keys = setup.objects.map_or(FIRST_KEYS, |objects| objects.clamp(FIRST_KEYS, FIRST_KEYS_KNOWN));
        let first = setup.params.value("step");
        let climber = Climber { first, hits: 0, accesses: 0, last_ratio: 0.0, step: 0.0 };
        let mut policy = Self {
            links: Links::new(setup.objects),
            residents: SlotVec::new(setup.objects),
            queues: [Queue::default(); 3],
            sketch: Sketch::new(keys, SAMPLE * keys as u64),
            sketch_keys: keys,
            window_limit: 0,
            protected_limit: 0,
            capacity: 0,
            shares: (setup.params.value("window"), setup.params.value("protected")),
            climber: (first != 0.0).then_some(climber),
            rng: Rng::new(setup.seed),
            has_won: false,
        };
        policy.on_resize(setup.capacity, setup.objects);
        policy
    }

    fn push(&mut self, slot: Slot, segment: Segment) {
        self.residents[slot].segment = segment;
        self.queues[segment as usize].push_front(&mut self.links, slot, self.residents[slot].weight);
    }

    fn unlink(&mut self, slot: Slot) {
        let Resident { weight, segment, .. } = self.residents[slot];
        self.queues[segment as usize].remove(&mut self.links, slot, weight);
    }

    fn transfer(&mut self, slot: Slot, segment: Segment) {
        self.unlink(slot);
        self.push(slot, segment);
    }

    fn oldest(&self, segment: Segment) -> Option<Slot> {
        self.queues[segment as usize].back()
    }

    fn weight(&self, segment: Segment) -> u64 {
        self.queues[segment as usize].weight
    }

    /// Moves the oldest of `from` to `to` while `from` is over `limit`.
    fn spill(&mut self, from: Segment, limit: u64, to: Segment) {
        while self.weight(from) > limit
            && let Some(oldest) = self.oldest(from)
        {
            self.transfer(oldest, to);
        }
    }

    /// Keeps the window and the protected segment within their limits.
    fn spill_all(&mut self) {
        self.spill(Segment::Window, self.window_limit, Segment::Probation);
        self.spill(Segment::Protected, self.protected_limit, Segment::Probation);
    }

    /// A resident weighs at least 1, so that the capacity bounds their number.
    #[cold]
    fn grow_sketch(&mut self) {
        let most = usize::try_from(self.capacity).unwrap_or(usize::MAX);
        self.sketch_keys = (2 * self.sketch_keys).min(most).max(self.residents.len());
        self.sketch.grow(self.sketch_keys, SAMPLE * self.sketch_keys as u64);
    }

    fn admits(&mut self, candidate: KeyHash, victim: KeyHash) -> bool {
        let (candidate, victim) = (self.sketch.estimate(candidate), self.sketch.estimate(victim));
        candidate > victim || (candidate >= SUSPICIOUS && self.rng.below(128) == 0)
    }

    fn count(&mut self, key: KeyHash, hit: bool) {
        self.sketch.increment(key);
        let residents = self.queues.iter().map(Queue::len).sum::<usize>();
        let Some(climber) = &mut self.climber else { return };
        climber.accesses += 1;
        climber.hits += u64::from(hit);
        if climber.accesses >= SAMPLE * (residents as u64).max(16) {
            let shift = climber.next_shift(self.capacity as f64);
            self.shift_window(shift);
        }
    }

    #[cold]
    fn shift_window(&mut self, shift: f64) {
        let quota = shift.abs() as u64;
        if shift >= 0.0 {
            let quota = quota.min(self.protected_limit);
            self.protected_limit -= quota;
            self.window_limit += quota;
            self.spill(Segment::Protected, self.protected_limit, Segment::Probation);
            let left = self.move_to_window(quota);
            self.protected_limit += left;
            self.window_limit -= left;
        } else {
            let quota = quota.min(self.window_limit.saturating_sub(1));
            self.protected_limit += quota;
            self.window_limit -= quota;
            self.spill(Segment::Window, self.window_limit, Segment::Probation);
        }
    }

    /// Moves the oldest of the main space to the window, up to a weight of `quota`; returns what is left of it.
    fn move_to_window(&mut self, mut quota: u64) -> u64 {
        loop {
            let within = |&slot: &Slot| u64::from(self.residents[slot].weight) <= quota;
            let probation = self.oldest(Segment::Probation).filter(within);
            let Some(oldest) = probation.or_else(|| self.oldest(Segment::Protected).filter(within)) else {
                return quota;
            };
            quota -= u64::from(self.residents[oldest].weight);
            self.transfer(oldest, Segment::Window);
        }
    }
}

impl Climber {
    /// Ends a sample; returns by how much the window should grow.
    fn next_shift(&mut self, capacity: f64) -> f64 {
        let ratio = self.hits as f64 / self.accesses as f64;
        let change = ratio - self.last_ratio;
        let shift = if change >= 0.0 { self.step } else { -self.step };
        self.step = if change.abs() >= RESTART { (self.first * capacity).copysign(shift) } else { STEP_DECAY * shift };
        (self.last_ratio, self.hits, self.accesses) = (ratio, 0, 0);
        shift
    }

    /// A sample of another capacity says nothing about this one.
    fn restart(&mut self, capacity: f64) {
        (self.hits, self.accesses, self.step) = (0, 0, self.first * capacity);
    }
}

impl Eviction for WTinyLfu {
    fn on_arrive(&mut self, newcomer: &Arrival) {
        self.has_won = false;
        self.count(newcomer.access.key, false);
    }

    fn victim(&mut self, newcomer: Option<&Arrival>) -> Option<Slot> {
        let main = self.oldest(Segment::Probation).or(self.oldest(Segment::Protected));
        let arriving = newcomer.map_or(0, |newcomer| u64::from(newcomer.weight));
        if self.weight(Segment::Window) + arriving <= self.window_limit {
            return main.or(self.oldest(Segment::Window));
        }
        let Some(main) = main else { return self.oldest(Segment::Window) };
        if let Some(newcomer) = newcomer
            && arriving > self.window_limit
        {
            // What the window cannot hold competes itself, and leaves the window alone.
            self.has_won = self.has_won || self.admits(newcomer.access.key, self.residents[main].key);
            return self.has_won.then_some(main);
        }
        let Some(candidate) = self.oldest(Segment::Window) else { return Some(main) };
        if !self.admits(self.residents[candidate].key, self.residents[main].key) {
            return Some(candidate);
        }
        self.transfer(candidate, Segment::Probation);
        Some(main)
    }

    fn on_insert(&mut self, slot: Slot, newcomer: &Arrival) {
        let (key, weight) = (newcomer.access.key, newcomer.weight);
        let fits = u64::from(weight) <= self.window_limit;
        let segment = if fits { Segment::Window } else { Segment::Probation };
        self.residents.put(slot, Resident { key, weight, segment });
        self.push(slot, segment);
        self.spill(Segment::Window, self.window_limit, Segment::Probation);
        if self.residents.len() > self.sketch_keys {
            self.grow_sketch();
        }
    }

    fn on_hit(&mut self, slot: Slot, access: &Access, _: Reuse) -> Option<Slot> {
        self.count(access.key, true);
        let segment = self.residents[slot].segment;
        // What the protected segment cannot hold would only drive out those in it.
        let is_promoted =
            segment == Segment::Probation && u64::from(self.residents[slot].weight) <= self.protected_limit;
        if is_promoted {
            self.transfer(slot, Segment::Protected);
            self.spill(Segment::Protected, self.protected_limit, Segment::Probation);
        } else {
            self.queues[segment as usize].list.move_to_front(&mut self.links, slot);
        }
        None
    }

    fn on_reweigh(&mut self, slot: Slot, from: u32, to: u32) {
        let resident = &mut self.residents[slot];
        resident.weight = to;
        self.queues[resident.segment as usize].reweigh(from, to);
        let limit = match resident.segment {
            Segment::Window => self.window_limit,
            Segment::Probation => u64::MAX,
            Segment::Protected => self.protected_limit,
        };
        if u64::from(to) > limit {
            self.transfer(slot, Segment::Probation);
        }
        self.spill_all();
    }

    fn on_remove(&mut self, slot: Slot, _: Removal) -> Fate {
        self.unlink(slot);
        Fate::Gone
    }

    fn on_resize(&mut self, capacity: u64, objects: Option<usize>) {
        self.capacity = capacity;
        self.window_limit = ((capacity as f64 * self.shares.0) as u64).max(1);
        let main = capacity.saturating_sub(self.window_limit);
        self.protected_limit = (main as f64 * self.shares.1) as u64;
        self.links.set_limit(objects);
        self.residents.set_limit(objects);
        self.spill_all();
        if let Some(climber) = &mut self.climber {
            climber.restart(capacity as f64);
        }
    }

    fn bytes(&self) -> usize {
        self.links.bytes() + self.residents.bytes() + self.sketch.bytes()
    }

    fn validate(&self, residents: usize, _: usize) {
        assert_eq!(self.queues.iter().map(Queue::len).sum::<usize>(), residents);
        for (queue, segment) in self.queues.iter().zip([Segment::Window, Segment::Probation, Segment::Protected]) {
            queue.validate(&self.links, |slot| {
                assert_eq!(self.residents[slot].segment, segment, "{slot:?}");
                self.residents[slot].weight
            });
        }
        assert!(self.window_limit + self.protected_limit <= self.capacity.max(1));
        assert!(self.weight(Segment::Protected) <= self.protected_limit);
        assert!(self.weight(Segment::Window) <= self.window_limit);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Time, params::Params, testing::Cache};

    #[test]
    fn the_windows_oldest_competes_with_the_main_spaces() {
        // Two in the window, eight beyond.
        let mut cache = Cache::objects("wtinylfu:window=0.2/step=0", 10);
        assert_eq!(cache.read("abcdefghij"), "");
        assert_eq!(cache.read("kixy"), "ijka", "only i was asked for more often than a");
    }

    #[test]
    fn who_is_heavier_than_the_window_leaves_it_alone() {
        let mut cache = Cache::bytes("wtinylfu:window=0.2/step=0", 10);
        assert_eq!(cache.read("abcdefghij"), "");
        assert_eq!(cache.read("Z"), "!Z");
        assert_eq!(cache.read("Z"), "abcde", "more frequent than a, the first of those who must leave");
        assert_eq!(cache.residents(), "Zfghij");
    }

    /// Slots 0 to 9 of weight 1, of which the last two are in the window.
    fn filled(params: &[(&str, &str)]) -> WTinyLfu {
        let mut values = Params::defaults(PARAMS);
        params.iter().for_each(|(name, value)| values.set("wtinylfu", name, value).unwrap());
        let mut policy = WTinyLfu::new(&Setup { capacity: 10, objects: None, seed: 1, params: &values, prior: None });
        (0..10).for_each(|slot| arrive(&mut policy, slot, 1));
        policy
    }

    fn arrive(policy: &mut WTinyLfu, slot: u32, weight: u32) {
        let access = Access::get(KeyHash::mix(u64::from(slot)), Time(0));
        let newcomer = Arrival { access: &access, weight, ttl: None, reuse: Reuse::UNKNOWN, ghost: None };
        policy.on_arrive(&newcomer);
        policy.on_insert(Slot(slot), &newcomer);
    }

    fn hit(policy: &mut WTinyLfu, slot: u32) {
        let access = Access::get(KeyHash::mix(u64::from(slot)), Time(0));
        assert_eq!(policy.on_hit(Slot(slot), &access, Reuse::UNKNOWN), None);
    }

    #[test]
    fn the_window_shifts() {
        let mut policy = filled(&[("window", "0.2")]);
        assert_eq!((policy.window_limit, policy.protected_limit), (2, 6));
        policy.shift_window(3.7);
        assert_eq!((policy.window_limit, policy.protected_limit, policy.weight(Segment::Window)), (5, 3, 5));
        policy.shift_window(-2.0);
        assert_eq!((policy.window_limit, policy.protected_limit, policy.weight(Segment::Window)), (3, 5, 3));
        policy.shift_window(-100.0);
        assert_eq!((policy.window_limit, policy.protected_limit, policy.weight(Segment::Window)), (1, 7, 1));
        policy.validate(10, 0);
    }

    #[test]
    fn a_shift_takes_from_the_protected_where_probation_is_empty_and_gives_back_what_it_cannot_use() {
        let mut policy = filled(&[("window", "0.2"), ("protected", "1")]);
        (0..8).for_each(|slot| hit(&mut policy, slot));
        assert_eq!(policy.weight(Segment::Protected), 8);
        for slot in 0..7 {
            policy.on_remove(Slot(slot), Removal::Removed);
        }
        policy.shift_window(4.0);
        assert_eq!((policy.window_limit, policy.protected_limit, policy.weight(Segment::Window)), (3, 7, 3));
        policy.validate(3, 0);
    }

    #[test]
    fn too_heavy_a_hit_drives_nobody_out_of_protection() {
        let mut policy = filled(&[("window", "0.2"), ("protected", "0.25")]);
        hit(&mut policy, 0);
        hit(&mut policy, 1);
        for slot in 2..5 {
            policy.on_remove(Slot(slot), Removal::Removed);
        }
        arrive(&mut policy, 2, 3);
        hit(&mut policy, 2);
        let segments = [0, 1, 2].map(|slot| policy.residents[Slot(slot)].segment);
        assert_eq!(segments, [Segment::Protected, Segment::Protected, Segment::Probation]);
    }

    #[test]
    fn the_climber_turns_when_it_gets_worse_and_starts_anew_after_a_leap() {
        let mut climber = Climber { first: 0.0625, hits: 50, accesses: 100, last_ratio: 0.0, step: 0.0 };
        climber.restart(1600.0);
        let mut sample = |hits| {
            (climber.hits, climber.accesses) = (hits, 1000);
            climber.next_shift(1600.0).round() as i32
        };
        assert_eq!(sample(500), 100, "the first sample is better than none");
        assert_eq!(sample(510), 100, "that was a leap: a full step again");
        assert_eq!(sample(505), -98, "a little worse: back, with a smaller step");
        assert_eq!(sample(300), 96, "much worse: turn");
        assert_eq!(sample(310), 100, "and start anew");
    }

    #[test]
    fn a_resize_starts_the_climber_anew() {
        let mut policy = filled(&[]);
        policy.on_resize(0, None);
        policy.on_resize(1000, None);
        let step = policy.climber.as_ref().map(|climber| climber.step);
        assert_eq!(step, Some(62.5), "a step measured by the capacity, not by what it was");
    }
}
