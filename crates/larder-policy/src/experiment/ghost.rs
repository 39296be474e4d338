//! A cache without values: it answers what it would have hit.

use std::time::Duration;

use crate::{Access, Capacity, Evicted, KeyHash, Lookup, Miss, Op, Policy, Reuse, Shard, Time, Work};

/// Time passes for a ghost once a second, where its entries expire at all.
const TICK: Duration = Duration::from_secs(1);

/// A shard without values that stores whatever misses, as a cache that reads through does.
pub struct Ghost {
    shard: Shard<()>,
    expires: bool,
    next_tick: Time,
    evicted: Vec<Evicted<()>>,
}

impl Ghost {
    /// An empty one.
    pub fn new(capacity: Capacity, policy: Policy) -> Self {
        let expires = policy.ttl.is_some();
        Self { shard: Shard::new(capacity, policy), expires, next_tick: Time(0), evicted: Vec::new() }
    }

    /// Carries out an access, and says whether it hit. `given` is the lifetime that the origin or the caller asked for.
    pub fn ask(&mut self, access: &Access, given: Option<Duration>) -> bool {
        if self.expires && access.at >= self.next_tick {
            self.shard.tick(access.at, &mut Work::default());
            self.next_tick = access.at.plus(TICK);
        }
        if access.op == Op::Delete {
            return self.shard.remove(access.key).is_some();
        }
        let (hit, miss) = match self.shard.lookup(access) {
            Lookup::Hit(()) => (true, Miss { reuse: Reuse::UNKNOWN, expired: false }),
            Lookup::Miss(miss) => (false, miss),
        };
        if !hit || access.op == Op::Set {
            let plan = self.shard.plan(access, miss, given);
            self.shard.insert(access, (), &plan, &mut self.evicted);
            self.evicted.clear();
        }
        hit
    }

    pub(crate) fn remove(&mut self, key: KeyHash) {
        self.shard.remove(key);
    }

    pub(crate) fn resize(&mut self, limit: u64) {
        self.shard.resize(limit, &mut self.evicted);
        self.evicted.clear();
    }

    /// Lets another policy decide from now on; the entries stay.
    pub fn swap_policy(&mut self, policy: Policy, now: Time) {
        self.expires = policy.ttl.is_some();
        self.shard.swap_policy(policy, now, &mut self.evicted);
        self.evicted.clear();
    }

    /// How much it may hold.
    pub fn capacity(&self) -> Capacity {
        self.shard.capacity()
    }

    /// Bytes allocated.
    pub fn bytes(&self) -> usize {
        self.shard.metadata_bytes()
    }

    /// Recomputes every invariant.
    ///
    /// # Panics
    /// When one is broken.
    pub fn validate(&self) {
        self.shard.validate();
    }
}
