//! A cache without values: it answers what it would have hit.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
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
    loads: Loads,
}

/// Loads under way: a cache that misses has the value only later.
#[derive(Default)]
struct Loads {
    /// By key; with the lifetime that is asked for.
    values: BTreeMap<KeyHash, (Access, Option<Duration>)>,
    /// When they end. Those given up are still among them.
    ends: BinaryHeap<Reverse<(Time, KeyHash)>>,
}

impl Loads {
    /// A load of its cost in µs begins; one that is under way already goes on.
    fn begin(&mut self, access: &Access, given: Option<Duration>) {
        let at = access.at.plus(Duration::from_micros(access.cost.into()));
        self.values.entry(access.key).or_insert_with(|| {
            self.ends.push(Reverse((at, access.key)));
            (Access { at, ..*access }, given)
        });
    }

    /// The next one that has ended.
    fn landed(&mut self, now: Time) -> Option<(Access, Option<Duration>)> {
        while let Some(&Reverse((at, key))) = self.ends.peek().filter(|Reverse((at, _))| *at <= now) {
            self.ends.pop();
            if self.values.get(&key).is_some_and(|(access, _)| access.at == at) {
                return self.values.remove(&key);
            }
        }
        None
    }

    fn bytes(&self) -> usize {
        let value = size_of::<(KeyHash, (Access, Option<Duration>))>();
        self.values.len() * value + self.ends.capacity() * size_of::<(Time, KeyHash)>()
    }
}

impl Ghost {
    /// An empty one.
    pub fn new(capacity: Capacity, policy: Policy) -> Self {
        let expires = policy.ttl.is_some();
        let shard = Shard::new(capacity, policy);
        Self { shard, expires, next_tick: Time(0), evicted: Vec::new(), loads: Loads::default() }
    }

    /// Carries out an access, and says whether it hit. `given` is the lifetime that the origin or the caller asked for.
    pub fn ask(&mut self, access: &Access, given: Option<Duration>) -> bool {
        self.pass(access.at);
        if access.op == Op::Delete {
            return self.remove(access.key);
        }
        let (hit, miss) = match self.shard.lookup(access) {
            Lookup::Hit(()) => (true, Miss { reuse: Reuse::UNKNOWN, expired: false }),
            Lookup::Miss(miss) => (false, miss),
        };
        if !hit || access.op == Op::Set {
            self.store(access, miss, given);
        }
        hit
    }

    /// Looks a key up and stores nothing: whether it hit.
    pub(crate) fn look(&mut self, access: &Access) -> bool {
        self.pass(access.at);
        self.shard.lookup(access).is_hit()
    }

    /// Looks a key up that takes its cost in µs to load, and begins to load what it misses: whether it hit.
    pub(crate) fn read(&mut self, access: &Access, given: Option<Duration>) -> bool {
        let hit = self.look(access);
        if !hit && access.cost == 0 {
            self.fill(access, given);
        } else if !hit {
            self.loads.begin(access, given);
        }
        hit
    }

    /// Stores what a look missed; a resident keeps its place and gets the new lifetime.
    pub(crate) fn fill(&mut self, access: &Access, given: Option<Duration>) {
        match (self.shard.peek(access.key), given) {
            (None, _) => self.store(access, Miss { reuse: Reuse::UNKNOWN, expired: false }, given),
            (Some(()), Some(ttl)) => _ = self.shard.expire_at(access.key, access.at.plus(ttl)),
            (Some(()), None) => {}
        }
    }

    fn store(&mut self, access: &Access, miss: Miss, given: Option<Duration>) {
        self.loads.values.remove(&access.key);
        let plan = self.shard.plan(access, miss, given);
        self.shard.insert(access, (), &plan, &mut self.evicted);
        self.evicted.clear();
    }

    fn pass(&mut self, now: Time) {
        while let Some((access, given)) = self.loads.landed(now) {
            self.fill(&access, given);
        }
        if self.expires && now >= self.next_tick {
            self.shard.tick(now, &mut Work::default());
            self.next_tick = now.plus(TICK);
        }
    }

    /// Removes a key, or gives its load up; whether it was there.
    pub(crate) fn remove(&mut self, key: KeyHash) -> bool {
        self.loads.values.remove(&key);
        self.shard.remove(key).is_some()
    }

    /// Changes the capacity; what no longer fits leaves.
    pub fn resize(&mut self, limit: u64) {
        self.shard.resize(limit, &mut self.evicted);
        self.evicted.clear();
    }

    pub(crate) fn clear(&mut self) {
        self.loads = Loads::default();
        let limit = self.shard.capacity().limit;
        self.resize(0);
        self.resize(limit);
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
        self.shard.metadata_bytes() + self.loads.bytes()
    }

    /// Recomputes every invariant.
    ///
    /// # Panics
    /// When one is broken.
    pub fn validate(&self) {
        self.shard.validate();
    }
}
