//! Which resident leaves when room is needed.
//!
//! A policy is one file implementing [`Eviction`] and one line in `REGISTRY`. It sees slots, never values; the
//! shard owns the index and the weights, and calls the hooks in a fixed order:
//!
//! * a hit: [`on_hit`](Eviction::on_hit);
//! * a miss whose answer replaces a resident that had ended: [`on_outdated`](Eviction::on_outdated);
//! * a miss that is stored: [`on_arrive`](Eviction::on_arrive), then [`victim`](Eviction::victim) and
//!   [`on_remove`](Eviction::on_remove) until there is room, then [`on_insert`](Eviction::on_insert);
//! * whenever there are ghosts and the above is done: [`forget`](Eviction::forget) until it has nothing to forget.
//!
//! `victim` may move residents between a policy's queues, but only `on_remove` takes one out: a victim may be
//! spared when admission refuses the newcomer.
//!
//! # Ghosts
//! A policy that answers a departure with [`Fate::Ghost`] goes on remembering the key. The shard keeps the key in its
//! index, the slot stays the policy's, and whatever the policy stores by slot survives. When the key comes back,
//! [`Arrival::ghost`] names that slot, and the resident gets the same one. Until then, or until `forget` names it, the
//! slot is a ghost's and is given to nobody else.

use std::sync::Arc;
use std::time::Duration;

use crate::learned::{Example, Explanation, Pool, Prior, Scores, Standing};
use crate::params::{Param, Params};
use crate::{Access, KeyHash, Reuse, Slot, Time};

/// A newcomer that wants to be stored.
#[derive(Clone, Copy, Debug)]
pub struct Arrival<'a> {
    /// The access that missed.
    pub access: &'a Access,
    /// What it will weigh against the capacity, at least 1.
    pub weight: u32,
    /// For how long it will live, if not for ever.
    pub ttl: Option<Duration>,
    /// What is foreseen about its key.
    pub reuse: Reuse,
    /// The slot of its ghost, where the policy remembers its key. It stays a ghost until it is stored in this slot; if the newcomer
    /// is refused, it just stays one.
    pub ghost: Option<Slot>,
}

/// What becomes of the slot of a resident that left.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fate {
    /// It is free: another key may get it.
    Gone,
    /// It stays the policy's, which remembers the key.
    Ghost,
}

/// Why a resident left.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Removal {
    /// To make room.
    Evicted,
    /// Its time had passed.
    Expired,
    /// It was removed or invalidated.
    Removed,
}

/// The order in which residents leave.
pub trait Eviction: Send {
    /// A newcomer asks for room, and may be a ghost come back. It may still be refused.
    fn on_arrive(&mut self, newcomer: &Arrival) {
        let _ = newcomer;
    }

    /// The resident to evict next. `None` refuses the newcomer; without a newcomer (a smaller capacity, a heavier
    /// value) a policy with residents must name one.
    fn victim(&mut self, newcomer: Option<&Arrival>) -> Option<Slot>;

    /// The newcomer was stored at `slot`: its ghost's, if it had one.
    fn on_insert(&mut self, slot: Slot, newcomer: &Arrival);

    /// The resident at `slot` was accessed. May name a slot to let go of although there is room: a resident that is then
    /// evicted, or a ghost that is then forgotten. Without this, a hit forgets nothing.
    fn on_hit(&mut self, slot: Slot, access: &Access, reuse: Reuse) -> Option<Slot>;

    /// The resident at `slot` was asked for when its value had ended, though it is still there to stand in for a newer one: a miss, whose
    /// answer will take its place. May name a slot to let go of, as [`on_hit`](Self::on_hit) does.
    fn on_outdated(&mut self, slot: Slot, access: &Access) -> Option<Slot> {
        self.on_hit(slot, access, Reuse::UNKNOWN)
    }

    /// The value at `slot` was replaced by one of another weight.
    fn on_reweigh(&mut self, slot: Slot, from: u32, to: u32) {
        let _ = (slot, from, to);
    }

    /// The value at `slot` now lives until `expiry`, or for ever.
    fn on_renew(&mut self, slot: Slot, expiry: Option<Time>) {
        let _ = (slot, expiry);
    }

    /// The resident at `slot` is about to be evicted, and would have lived until `expiry`.
    fn on_cut_short(&mut self, slot: Slot, expiry: Time) {
        let _ = (slot, expiry);
    }

    /// A key that is not resident was removed or invalidated.
    fn on_absent(&mut self, key: KeyHash) {
        let _ = key;
    }

    /// The resident at `slot` left. The answer says whether the policy remembers it.
    fn on_remove(&mut self, slot: Slot, why: Removal) -> Fate;

    /// The next ghost to forget, taken out of the policy's own books: its slot is free afterwards. Asked until `None`,
    /// at the end of every call of the shard that stored or removed something. Never names the ghost of a newcomer
    /// between its `on_arrive` and its `on_insert`.
    fn forget(&mut self) -> Option<Slot> {
        None
    }

    /// The most ghosts there will be where `objects` residents fit; tells how many slots to expect, and no more.
    fn most_ghosts(&self, objects: usize) -> usize {
        let _ = objects;
        0
    }

    /// The capacity is now `capacity`, in units of weight; `objects` is the most residents there can be, when known.
    /// Nothing is evicted here; the shard asks for victims afterwards.
    fn on_resize(&mut self, capacity: u64, objects: Option<usize>) {
        let _ = (capacity, objects);
    }

    /// From now on, keep what is learned from, for [`take_examples`](Self::take_examples). Most policies learn nothing.
    fn record_examples(&mut self) {}

    /// Hands out the examples kept since the last call.
    fn take_examples(&mut self, out: &mut Vec<Example>) {
        let _ = out;
    }

    /// How a learned policy stands beside LRU, once its guard has something to compare. Others have no guard.
    fn standing(&mut self) -> Option<Standing> {
        None
    }

    /// Adds how good what a learned policy's model said lately was. Others have no model.
    fn score(&self, scores: &mut Scores) {
        let _ = scores;
    }

    /// Adds what a learned policy has found to what others have, if its guard has seen enough of it. Others have found nothing.
    fn pool(&mut self, pool: &mut Pool) {
        let _ = pool;
    }

    /// A learned policy takes over a prior that came while it runs, as far as it has not learned better. Others have no use for it.
    fn adopt(&mut self, prior: &Arc<Prior>) {
        let _ = prior;
    }

    /// What a learned policy would do about `access` now, and why; changes nothing. `resident` is the slot of its key, if it has
    /// one; `room` is whether there is room for it. Others cannot say.
    fn explain(&mut self, access: &Arrival, resident: Option<Slot>, room: bool) -> Option<Explanation> {
        let _ = (access, resident, room);
        None
    }

    /// Bytes allocated for metadata.
    fn bytes(&self) -> usize;

    /// Asserts every invariant the policy has; `residents` and `ghosts` are how many the shard counts.
    ///
    /// # Panics
    /// When an invariant is broken.
    fn validate(&self, residents: usize, ghosts: usize);
}

/// How many slots to expect, when known: a newcomer gets one before the ghost that makes way for it is forgotten.
pub(crate) fn slots<E: Eviction + ?Sized>(policy: &E, objects: Option<usize>) -> Option<usize> {
    let ghosts = policy.most_ghosts(objects?);
    objects.map(|objects| if ghosts == 0 { objects } else { objects.saturating_add(ghosts).saturating_add(1) })
}

/// What a policy is built from.
#[derive(Clone, Copy, Debug)]
pub struct Setup<'a> {
    /// The capacity, in units of weight.
    pub capacity: u64,
    /// The most residents there can be, when known: the capacity where each weighs 1.
    pub objects: Option<usize>,
    /// The seed of its random choices.
    pub seed: u64,
    /// The parameters, checked.
    pub params: &'a Params,
    /// What a learned policy knows beforehand, in place of the prior that ships with larder.
    pub prior: Option<&'a Arc<Prior>>,
}

/// A registered eviction policy.
#[derive(Debug)]
pub struct EvictionEntry {
    /// Its name on the command line and in configuration.
    pub name: &'static str,
    /// One line for help texts.
    pub about: &'static str,
    /// Where it was published.
    pub source: &'static str,
    /// Whether it needs a predictor that has read the future.
    pub needs_oracle: bool,
    /// Whether it is a model of reuse that ranks.
    pub learns: bool,
    /// Its parameters with their defaults and ranges.
    pub params: &'static [Param],
    /// Builds it.
    pub build: fn(&Setup<'_>) -> Box<dyn Eviction>,
}

mod arc;
mod belady;
mod belady_size;
mod clock;
mod fifo;
mod gdsf;
mod learned;
mod lfu;
mod lhd;
mod lirs;
mod lru;
mod random;
mod redis;
mod s3fifo;
mod sieve;
mod twoq;
mod wtinylfu;

pub(crate) use {arc::Arc as ArcPolicy, lru::Lru, s3fifo::S3Fifo, sieve::Sieve};

/// Every eviction policy, in the order help texts show them.
pub static REGISTRY: &[EvictionEntry] = &[
    EvictionEntry {
        name: "fifo",
        about: "the oldest leaves",
        source: "baseline",
        needs_oracle: false,
        learns: false,
        params: &[],
        build: |setup| Box::new(fifo::Fifo::new(setup)),
    },
    EvictionEntry {
        name: "lru",
        about: "the least recently used leaves",
        source: "Mattson et al., IBM Systems Journal 1970",
        needs_oracle: false,
        learns: false,
        params: &[],
        build: |setup| Box::new(lru::Lru::new(setup)),
    },
    EvictionEntry {
        name: "clock",
        about: "FIFO with a second chance for what was used",
        source: "Corbató, 1968",
        needs_oracle: false,
        learns: false,
        params: clock::PARAMS,
        build: |setup| Box::new(clock::Clock::new(setup)),
    },
    EvictionEntry {
        name: "sieve",
        about: "a hand takes the first unvisited resident",
        source: "Zhang et al., NSDI 2024",
        needs_oracle: false,
        learns: false,
        params: &[],
        build: |setup| Box::new(sieve::Sieve::new(setup)),
    },
    EvictionEntry {
        name: "twoq",
        about: "a FIFO for newcomers, an LRU for those that come back",
        source: "Johnson, Shasha, VLDB 1994",
        needs_oracle: false,
        learns: false,
        params: twoq::PARAMS,
        build: |setup| Box::new(twoq::TwoQ::new(setup)),
    },
    EvictionEntry {
        name: "s3fifo",
        about: "a small FIFO filters one-hit wonders before a main FIFO",
        source: "Yang et al., SOSP 2023",
        needs_oracle: false,
        learns: false,
        params: s3fifo::PARAMS,
        build: |setup| Box::new(s3fifo::S3Fifo::new(setup)),
    },
    EvictionEntry {
        name: "arc",
        about: "seen once and seen again, balanced by the hits on what left",
        source: "Megiddo, Modha, FAST 2003",
        needs_oracle: false,
        learns: false,
        params: &[],
        build: |setup| Box::new(arc::Arc::new(setup)),
    },
    EvictionEntry {
        name: "lirs",
        about: "those whose last two uses lie close together stay",
        source: "Jiang, Zhang, SIGMETRICS 2002",
        needs_oracle: false,
        learns: false,
        params: lirs::PARAMS,
        build: |setup| Box::new(lirs::Lirs::new(setup)),
    },
    EvictionEntry {
        name: "wtinylfu",
        about: "a window, a segmented main space and a frequency sketch; the window climbs",
        source: "Einziger et al., ACM TOS 2017, Middleware 2018",
        needs_oracle: false,
        learns: false,
        params: wtinylfu::PARAMS,
        build: |setup| Box::new(wtinylfu::WTinyLfu::new(setup)),
    },
    EvictionEntry {
        name: "lfu",
        about: "the least often used leaves; counts decay",
        source: "Robinson, Devarakonda, SIGMETRICS 1990",
        needs_oracle: false,
        learns: false,
        params: lfu::PARAMS,
        build: |setup| Box::new(lfu::Lfu::new(setup)),
    },
    EvictionEntry {
        name: "gdsf",
        about: "the least of uses over weight leaves, on a rising scale",
        source: "Cherkasova, HP Labs 1998",
        needs_oracle: false,
        learns: false,
        params: &[],
        build: |setup| Box::new(gdsf::Gdsf::new(setup)),
    },
    EvictionEntry {
        name: "lhd",
        about: "the least hit density leaves",
        source: "Beckmann et al., NSDI 2018",
        needs_oracle: false,
        learns: false,
        params: lhd::PARAMS,
        build: |setup| Box::new(lhd::Lhd::new(setup)),
    },
    EvictionEntry {
        name: "learned",
        about: "a model of reuse, learned before and during the run, picks whom to keep",
        source: "larder; docs/learned.md",
        needs_oracle: false,
        learns: true,
        params: learned::PARAMS,
        build: |setup| Box::new(learned::Learned::new(setup, learned::Objective::Objects)),
    },
    EvictionEntry {
        name: "learned-bytes",
        about: "the same, for the fewest bytes missed",
        source: "larder; docs/learned.md",
        needs_oracle: false,
        learns: true,
        params: learned::PARAMS,
        build: |setup| Box::new(learned::Learned::new(setup, learned::Objective::Bytes)),
    },
    EvictionEntry {
        name: "learned-cost",
        about: "the same, for the least time spent loading",
        source: "larder; docs/learned.md",
        needs_oracle: false,
        learns: true,
        params: learned::PARAMS,
        build: |setup| Box::new(learned::Learned::new(setup, learned::Objective::Cost)),
    },
    EvictionEntry {
        name: "random",
        about: "any resident leaves",
        source: "baseline",
        needs_oracle: false,
        learns: false,
        params: &[],
        build: |setup| Box::new(random::Random::new(setup)),
    },
    EvictionEntry {
        name: "redis-lru",
        about: "sampled LRU as Redis evicts",
        source: "Redis 7, evict.c",
        needs_oracle: false,
        learns: false,
        params: redis::LRU_PARAMS,
        build: |setup| Box::new(redis::Sampled::<redis::LastUse>::new(setup)),
    },
    EvictionEntry {
        name: "redis-lfu",
        about: "sampled LFU as Redis evicts",
        source: "Redis 7, evict.c",
        needs_oracle: false,
        learns: false,
        params: redis::LFU_PARAMS,
        build: |setup| Box::new(redis::Sampled::<redis::UseCount>::new(setup)),
    },
    EvictionEntry {
        name: "belady",
        about: "the one used farthest ahead leaves; knows the future",
        source: "Bélády, IBM Systems Journal 1966",
        needs_oracle: true,
        learns: false,
        params: &[],
        build: |setup| Box::new(belady::Belady::new(setup, false)),
    },
    EvictionEntry {
        name: "belady-bypass",
        about: "Bélády that may refuse the newcomer",
        source: "Bélády, IBM Systems Journal 1966",
        needs_oracle: true,
        learns: false,
        params: &[],
        build: |setup| Box::new(belady::Belady::new(setup, true)),
    },
    EvictionEntry {
        name: "belady-size",
        about: "Bélády for unequal weights, sampled",
        source: "greedy bound, as in libCacheSim",
        needs_oracle: true,
        learns: false,
        params: belady_size::PARAMS,
        build: |setup| Box::new(belady_size::BeladySize::new(setup)),
    },
];

/// A shard that is always LRU, as a shadow beside another policy.
pub(crate) type LruShard = crate::Shard<(), lru::Lru>;
pub(crate) type GdsfShard = crate::Shard<(), gdsf::Gdsf>;

impl LruShard {
    pub(crate) fn lru(capacity: crate::Capacity) -> Self {
        plain(capacity, lru::Lru::new)
    }
}

impl GdsfShard {
    /// By what each use costs to load.
    pub(crate) fn gdsf(capacity: crate::Capacity) -> Self {
        plain(capacity, gdsf::Gdsf::by_cost)
    }
}

fn plain<E: Eviction>(capacity: crate::Capacity, make: fn(&Setup<'_>) -> E) -> crate::Shard<(), E> {
    let params = Params::defaults(&[]);
    let setup =
        Setup { capacity: capacity.limit, objects: capacity.most_objects(), seed: 0, params: &params, prior: None };
    crate::Shard::new(capacity, crate::Policy::new(Box::new(make(&setup))))
}
