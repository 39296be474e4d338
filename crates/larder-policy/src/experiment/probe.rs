//! What stands beside one shard: counters, and a ghost of the control policy.

use std::time::Duration;

use super::counts::{BUCKETS, Measures, ShardSlice, Trials, Weighed};
use super::ghost::Ghost;
use super::head::Hottest;
use crate::{Access, Capacity, Error, KeyHash, Op, Policy, Sample, Time};

/// Objects a ghost should hold: a sample's keys fill a cache of so many to within about 3 %.
const OBJECTS: f64 = 1024.0;
/// The share of all traffic from which on a key belongs to the head, and below which it leaves it again.
const ENTERS: f64 = 0.005;
const LEAVES: f64 = 0.0025;
/// Keys of a shard in the head, at most.
const MOST_HEAD: usize = 16;

/// The share of the keys whose ghost holds enough objects beside a shard of so many: 1024 of them, or all.
pub fn ghost_rate(objects: f64) -> f64 {
    if objects > OBJECTS { OBJECTS / objects } else { 1.0 }
}

/// Counts a shard's accesses, and runs a ghost of the control policy over a share of its keys.
///
/// The ghost is a miniature (Waldspurger et al., "Cache Modeling and Optimization using Miniature Simulations", USENIX ATC 2017): it sees
/// all accesses to a share of the keys picked by hash, and holds that share of the capacity. The hottest keys, half a percent of all
/// traffic each, are seen in any case and have their full room, since a sample with or without one of them tells little about the
/// other keys. At a rate of 1 the ghost is the control itself.
///
/// It belongs under the shard's lock. An access to a key that is not sampled costs a few additions and one hash, and
/// one in eight a search among 32 counters (`cargo run --release -p larder-sim --example probe_cost`).
pub struct Probe {
    ghost: Ghost,
    sample: Sample,
    /// Of the shard, not of the ghost.
    capacity: Capacity,
    gets_only: bool,
    head: Vec<HeadKey>,
    /// A bit for each key of the head, by its first six bits.
    filter: u64,
    hottest: Hottest,
    slice: ShardSlice,
    loaded: u64,
}

#[derive(Clone, Copy, Debug)]
enum Place {
    /// Among the hottest keys, each of which it sees.
    Head(usize),
    /// Among the sampled ones of all others.
    Tail,
}

#[derive(Clone, Copy, Debug)]
struct HeadKey {
    key: KeyHash,
    weight: u32,
    /// Whether the ghost has had a chance to hold it.
    met: bool,
}

impl Probe {
    /// Beside a shard of `capacity`. `control` builds the control policy for the ghost's capacity, with its lifetimes if it has any. With
    /// `gets_only`, sets take effect and are not counted.
    ///
    /// # Errors
    /// A rate that is not above 0 and at most 1.
    pub fn new(
        capacity: Capacity,
        rate: f64,
        gets_only: bool,
        seed: u64,
        control: impl FnOnce(Capacity) -> Policy,
    ) -> Result<Self, Error> {
        let sample = Sample::new(rate, seed)?;
        let ghost_capacity = Capacity { limit: miniature(capacity.limit, rate, 0), ..capacity };
        Ok(Self {
            ghost: Ghost::new(ghost_capacity, control(ghost_capacity)),
            sample,
            capacity,
            gets_only,
            head: Vec::new(),
            filter: 0,
            hottest: Hottest::new(seed),
            slice: ShardSlice { rate, ..ShardSlice::default() },
            loaded: 0,
        })
    }

    /// Notes what the shard did about an access: of a miss, once the value is loaded and its size known, in one with its
    /// [`fill`](Self::fill). `given` is the lifetime the
    /// origin or the caller asked for; of a hit, the one its value was stored with.
    #[inline]
    pub fn record(&mut self, access: &Access, hit: bool, given: Option<Duration>) {
        if access.op == Op::Delete {
            self.ghost.ask(access, given);
            return;
        }
        self.note(access, hit);
        if !hit {
            self.loaded += u64::from(self.capacity.weigh.weight(access));
        }
        if let Some(place) = self.place(access.key) {
            let ghost_hit = self.ghost.ask(access, given);
            self.compare(place, access, hit, ghost_hit);
        }
    }

    /// Notes a hit where loads take time, on what took its cost, in µs, to load. A ghost that misses it has it that much later, and misses it till then:
    /// did the ghost's loads take no time, all who wait for one of the shard's would be misses of the shard's policy alone.
    #[inline]
    pub fn hit(&mut self, access: &Access, given: Option<Duration>) {
        self.note(access, true);
        if let Some(place) = self.place(access.key) {
            let ghost_hit = self.ghost.read(access, given);
            self.compare(place, access, true, ghost_hit);
        }
    }

    /// Notes a get that the shard could not answer, before it is known whether and what it will store. Its size and cost are not
    /// known: by bytes and by cost nothing can be said of such a slice.
    #[inline]
    pub fn miss(&mut self, access: &Access) {
        self.slice.is_weighed = false;
        self.note(access, false);
        if let Some(place) = self.place(access.key) {
            let ghost_hit = self.ghost.look(access);
            self.compare(place, access, false, ghost_hit);
        }
    }

    /// Notes what the shard is offered after a [`miss`](Self::miss), or in place of what it has, whether it keeps it or not.
    #[inline]
    pub fn fill(&mut self, access: &Access, given: Option<Duration>) {
        self.loaded += u64::from(self.capacity.weigh.weight(access));
        if let Some(place) = self.place(access.key) {
            if let Place::Head(at) = place {
                self.head[at].weight = self.capacity.weigh.weight(access);
            }
            self.ghost.fill(access, given);
        }
    }

    /// Hands over what was counted since the last call, and looks which keys are the hottest now. `traffic` is what all shards counted in the
    /// slice before: [`Experiment::traffic`](super::Experiment::traffic).
    pub fn end_slice(&mut self, traffic: u64, measures: Measures) -> ShardSlice {
        let requests = self.slice.accesses.requests;
        // Those that were met while it was counted.
        let head_keys = self.head.iter().filter(|head| head.met).count() as u64;
        let share = if traffic > 0 { requests as f64 / traffic as f64 } else { 0.0 };
        let shares = self.hottest.shares();
        self.choose_head(&shares, share);
        let is_head = |key: KeyHash| self.head.iter().any(|head| head.key == key);
        let hottest = shares.iter().find(|(key, _)| !is_head(*key)).map_or(0.0, |&(_, share)| share);
        let turnovers = self.loaded as f64 / self.capacity.limit.max(1) as f64;
        self.loaded = 0;
        let next = ShardSlice { rate: self.sample.rate(), ..ShardSlice::default() };
        ShardSlice { turnovers, hottest, head_keys, measures, ..std::mem::replace(&mut self.slice, next) }
    }

    /// The shard's capacity has changed.
    pub fn resize(&mut self, limit: u64) {
        self.capacity.limit = limit;
        self.fit_ghost();
    }

    /// The shard was emptied.
    pub fn clear(&mut self) {
        self.ghost.clear();
        self.head.iter_mut().for_each(|head| head.met = false);
    }

    /// The shard changes sides, and its policy knows nothing yet but the entries: nor does its ghost's from now on, which is `control` anew. Beside one
    /// that knows all it ever saw, any policy would look worse for as long as it takes to learn.
    pub fn begin_anew(&mut self, control: Policy, now: Time) {
        self.ghost.swap_policy(control, now);
    }

    /// Bytes allocated.
    pub fn bytes(&self) -> usize {
        self.ghost.bytes() + self.hottest.bytes() + self.head.capacity() * size_of::<HeadKey>()
    }

    /// Recomputes every invariant.
    ///
    /// # Panics
    /// When one is broken.
    pub fn validate(&self) {
        self.ghost.validate();
        assert!(self.head.len() <= MOST_HEAD);
        assert!(self.head.iter().all(|head| self.filter >> (head.key.0 >> 58) & 1 == 1), "the filter hides a head key");
        assert_eq!(self.ghost.capacity().limit, self.ghost_limit());
    }

    fn counts(&self, access: &Access) -> bool {
        access.op == Op::Get || !self.gets_only
    }

    #[inline]
    fn note(&mut self, access: &Access, hit: bool) {
        if self.counts(access) {
            let one = Weighed::one(access);
            self.slice.accesses += one;
            if hit {
                self.slice.hits += one;
            }
            self.hottest.note(access.key);
        }
    }

    /// Where the ghost sees a key, if it does.
    #[inline]
    fn place(&self, key: KeyHash) -> Option<Place> {
        if self.filter >> (key.0 >> 58) & 1 == 1
            && let Some(at) = self.head.iter().position(|head| head.key == key)
        {
            return Some(Place::Head(at));
        }
        self.sample.takes(key).then_some(Place::Tail)
    }

    fn compare(&mut self, place: Place, access: &Access, hit: bool, ghost_hit: bool) {
        if let Place::Head(at) = place {
            let head = &mut self.head[at];
            if hit {
                head.weight = self.capacity.weigh.weight(access);
            }
            // Before the first time, the ghost could not have held it.
            if std::mem::replace(&mut head.met, true) && self.counts(access) {
                count(&mut self.slice.head, access, hit, ghost_hit);
            }
        } else if self.counts(access) {
            count(&mut self.slice.tail, access, hit, ghost_hit);
            // The bits of the key itself may have chosen the shard.
            let bits = KeyHash::mix(access.key.0 ^ 0x736b_6574_6368).0;
            self.slice.sketch[bits as usize % BUCKETS] += if bits >> 63 == 0 { 1 } else { -1 };
            self.slice.groups.count(bits >> 32, hit, ghost_hit);
        }
    }

    /// `share` is the shard's of all traffic.
    fn choose_head(&mut self, shares: &[(KeyHash, f64)], share: f64) {
        if share == 0.0 {
            return;
        }
        let of_all =
            |key: KeyHash| shares.iter().find(|(other, _)| *other == key).map_or(0.0, |(_, part)| part * share);
        let (sample, ghost) = (self.sample, &mut self.ghost);
        self.head.retain(|head| {
            let stays = of_all(head.key) >= LEAVES;
            if !stays && !sample.takes(head.key) {
                ghost.remove(head.key);
            }
            stays
        });
        for &(key, part) in shares {
            let full = self.head.len() >= MOST_HEAD;
            if part * share >= ENTERS && !full && self.head.iter().all(|head| head.key != key) {
                self.head.push(HeadKey { key, weight: 1, met: sample.takes(key) });
            }
        }
        self.filter = self.head.iter().fold(0, |filter, head| filter | 1 << (head.key.0 >> 58));
        self.fit_ghost();
    }

    fn ghost_limit(&self) -> u64 {
        let head: u64 = self.head.iter().map(|head| u64::from(head.weight)).sum();
        miniature(self.capacity.limit, self.sample.rate(), head)
    }

    fn fit_ghost(&mut self) {
        let limit = self.ghost_limit();
        if limit != self.ghost.capacity().limit {
            self.ghost.resize(limit);
        }
    }
}

/// The room of a ghost: a share of the capacity, and all that the head weighs.
fn miniature(limit: u64, rate: f64, head: u64) -> u64 {
    let head = head.min(limit);
    // A cache of no objects is none. `as` saturates.
    (((limit - head) as f64 * rate).round() as u64 + head).max(1)
}

fn count(trials: &mut Trials, access: &Access, hit: bool, ghost_hit: bool) {
    let one = Weighed::one(access);
    trials.accesses += one;
    if hit {
        trials.hits += one;
    }
    if ghost_hit {
        trials.ghost_hits += one;
    }
}
