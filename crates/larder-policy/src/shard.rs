//! The whole cache policy over one set of keys: index, slots, weights, expiry, admission, eviction, lifetimes.

use std::time::Duration;

use crate::eviction::{Arrival, Eviction, Removal};
use crate::index::Index;
use crate::plan::{Plan, Refusal, Verdict};
use crate::policy::Policy;
use crate::slots::{Slot, SlotVec};
use crate::wheel::Wheel;
use crate::{Access, KeyHash, Reuse, Time};

/// What an entry weighs against the capacity.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Weigh {
    /// Each entry weighs 1: the capacity is a number of objects.
    #[default]
    Objects,
    /// Each entry weighs its size, at least 1: the capacity is a number of bytes.
    Bytes,
}

impl Weigh {
    /// The weight of the value of `access`.
    #[inline]
    pub const fn weight(self, access: &Access) -> u32 {
        match self {
            Self::Objects => 1,
            Self::Bytes if access.size == 0 => 1,
            Self::Bytes => access.size,
        }
    }
}

/// How much a shard may hold, and in which unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capacity {
    /// The greatest total weight.
    pub limit: u64,
    /// The unit.
    pub weigh: Weigh,
}

impl Capacity {
    /// A number of objects.
    pub const fn objects(limit: u64) -> Self {
        Self { limit, weigh: Weigh::Objects }
    }

    /// A number of bytes.
    pub const fn bytes(limit: u64) -> Self {
        Self { limit, weigh: Weigh::Bytes }
    }

    /// The most entries there can be, where the unit tells.
    pub fn most_objects(self) -> Option<usize> {
        match self.weigh {
            Weigh::Objects => usize::try_from(self.limit).ok(),
            Weigh::Bytes => None,
        }
    }
}

/// What a lookup found.
#[derive(Debug)]
pub enum Lookup<'a, V> {
    /// The resident value.
    Hit(&'a V),
    /// Nothing, or something whose time had passed.
    Miss(Miss),
}

impl<V> Lookup<'_, V> {
    /// Whether it hit.
    pub fn is_hit(&self) -> bool {
        matches!(self, Self::Hit(_))
    }
}

/// What a lookup that missed hands to [`Shard::plan`].
#[derive(Clone, Copy, Debug)]
pub struct Miss {
    /// What is foreseen about the key.
    pub reuse: Reuse,
    /// Whether the key was resident until this lookup found its time had passed.
    pub expired: bool,
}

/// What became of a value handed to [`Shard::insert`].
#[derive(Debug, PartialEq, Eq)]
pub enum Inserted<V> {
    /// It is resident.
    Stored,
    /// It took the place of this older value of the same key.
    Replaced(V),
    /// It was not let in; it comes back with the reason.
    Refused(V, Refusal),
}

/// An entry that left, handed out so that its value can be dropped outside a lock.
#[derive(Debug, PartialEq, Eq)]
pub struct Evicted<V> {
    /// Whose it was.
    pub key: KeyHash,
    /// The value.
    pub value: V,
    /// What it weighed.
    pub weight: u32,
    /// Why it left.
    pub why: Removal,
}

#[derive(Clone, Debug)]
struct Entry<V> {
    key: KeyHash,
    weight: u32,
    /// `None` in a free slot.
    value: Option<V>,
}

/// The kernel: a cache's decisions over one set of keys, run by whoever holds it.
///
/// `V` is the value in an embedded cache, the key in a directory that steers a foreign store, and `()` in a replay or
/// a shadow. `E` is the eviction policy; the default serves any registered one.
pub struct Shard<V, E: Eviction + ?Sized = dyn Eviction> {
    index: Index,
    entries: SlotVec<Entry<V>>,
    free: Vec<Slot>,
    capacity: Capacity,
    used: u64,
    wheel: Wheel,
    policy: Policy<E>,
    /// Entries that left during a lookup; they go out with the next call that takes a list.
    departed: Vec<Evicted<V>>,
    /// The key of the last lookup that missed, while it is known to be absent: spares `insert` the same search.
    absent: Option<KeyHash>,
}

// The path of a request is inlined whatever its size: where a caller uses it twice, the compiler stops inlining it, and
// every request then costs more instructions (`cargo xtask instructions`).
impl<V, E: Eviction + ?Sized> Shard<V, E> {
    /// An empty shard.
    pub fn new(capacity: Capacity, policy: Policy<E>) -> Self {
        let objects = capacity.most_objects();
        Self {
            index: Index::default(),
            entries: SlotVec::new(objects),
            free: Vec::new(),
            capacity,
            used: 0,
            wheel: Wheel::new(objects),
            policy,
            departed: Vec::new(),
            absent: None,
        }
    }

    /// Looks up a key and records the access: a read, or a write of a key that may be resident.
    #[inline(always)]
    pub fn lookup(&mut self, access: &Access) -> Lookup<'_, V> {
        let reuse = match &mut self.policy.predictor {
            Some(predictor) => predictor.predict(access),
            None => Reuse::UNKNOWN,
        };
        let mut found = self.find(access.key);
        let mut expired = false;
        if let Some(slot) = found
            && !self.wheel.is_idle()
            && self.wheel.expiry(slot).is_some_and(|expiry| expiry <= access.at)
        {
            self.depart(slot, Removal::Expired);
            (found, expired) = (None, true);
        }
        if let Some(admission) = &mut self.policy.admission {
            admission.record(access, found.is_some());
        }
        if let Some(slot) = found {
            if let Some(surplus) = self.policy.eviction.on_hit(slot, access, reuse)
                && surplus != slot
            {
                self.depart(surplus, Removal::Evicted);
            }
            if let Some(value) = &self.entries[slot].value {
                return Lookup::Hit(value);
            }
        }
        self.absent = Some(access.key);
        Lookup::Miss(Miss { reuse, expired })
    }

    /// Decides what to do with a value just loaded; nothing in the shard changes until [`insert`](Self::insert). `given` is
    /// the lifetime the origin or the caller asked for.
    #[inline]
    pub fn plan(&mut self, access: &Access, miss: Miss, given: Option<Duration>) -> Plan {
        let verdict = if u64::from(self.capacity.weigh.weight(access)) > self.capacity.limit {
            Verdict::Refuse(Refusal::TooHeavy)
        } else {
            Verdict::Store
        };
        let ttl = match &mut self.policy.ttl {
            Some(ttl) => ttl.ttl(access, miss.reuse, given),
            None => None,
        };
        Plan { verdict, ttl, reuse: miss.reuse }
    }

    /// Carries out a plan: stores `value`, evicting what must leave into `evicted`. A resident of the same key is
    /// replaced whatever the plan's verdict, so that no outdated value stays.
    #[inline(always)]
    pub fn insert(&mut self, access: &Access, value: V, plan: &Plan, evicted: &mut Vec<Evicted<V>>) -> Inserted<V> {
        if !self.departed.is_empty() {
            evicted.append(&mut self.departed);
        }
        let newcomer = Arrival { access: *access, weight: self.capacity.weigh.weight(access), reuse: plan.reuse };
        if self.absent != Some(access.key)
            && let Some(slot) = self.find(access.key)
        {
            return self.replace(slot, &newcomer, value, plan, evicted);
        }
        if let Verdict::Refuse(refusal) = plan.verdict {
            return Inserted::Refused(value, refusal);
        }
        // The capacity may have shrunk since the plan; without this, everybody would leave in vain.
        if u64::from(newcomer.weight) > self.capacity.limit {
            return Inserted::Refused(value, Refusal::TooHeavy);
        }
        if let Err(refusal) = self.make_room(&newcomer, evicted) {
            return Inserted::Refused(value, refusal);
        }
        let slot = self.free.pop().unwrap_or(Slot(self.entries.len() as u32));
        self.entries.put(slot, Entry { key: access.key, weight: newcomer.weight, value: Some(value) });
        let entries = &self.entries;
        self.index.insert(access.key.0, slot, |slot| entries[slot].key.0);
        self.absent = None;
        self.used += u64::from(newcomer.weight);
        if let Some(ttl) = plan.ttl {
            self.wheel.schedule(slot, access.at.plus(ttl));
        }
        self.policy.eviction.on_insert(slot, &newcomer);
        Inserted::Stored
    }

    /// Takes out a key, if it is resident, and returns its value.
    pub fn remove(&mut self, key: KeyHash) -> Option<V> {
        let slot = self.find(key)?;
        self.take(slot, Removal::Removed).map(|entry| entry.value)
    }

    /// Lets time pass: hands out what has expired. To be called now and then; a late call delays the freeing of
    /// memory, never a lookup's answer.
    pub fn tick(&mut self, now: Time, work: &mut Work<V>) {
        work.expired.append(&mut self.departed);
        let mut slots = Vec::new();
        self.wheel.advance(now, &mut slots);
        for slot in slots {
            work.expired.extend(self.take(slot, Removal::Expired));
        }
    }

    /// Changes the capacity, evicting into `evicted` what no longer fits. Metadata that is no longer needed stays
    /// allocated, for the entries to come.
    pub fn resize(&mut self, limit: u64, evicted: &mut Vec<Evicted<V>>) {
        evicted.append(&mut self.departed);
        self.capacity.limit = limit;
        let objects = self.capacity.most_objects();
        self.entries.set_limit(objects);
        self.wheel.set_limit(objects);
        self.policy.eviction.on_resize(limit, objects);
        if let Some(admission) = &mut self.policy.admission {
            admission.on_resize(limit, objects);
        }
        self.shrink(evicted);
    }

    /// The resident value of a key, without recording an access; expired or not.
    pub fn peek(&self, key: KeyHash) -> Option<&V> {
        self.find(key).and_then(|slot| self.entries[slot].value.as_ref())
    }

    /// The number of residents.
    pub fn len(&self) -> usize {
        self.index.len()
    }

    /// Whether nothing is resident.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The total weight of the residents.
    pub fn used(&self) -> u64 {
        self.used
    }

    /// How much it may hold.
    pub fn capacity(&self) -> Capacity {
        self.capacity
    }

    /// Bytes allocated beside the values: index, slots, expiry, and the policy's own.
    pub fn metadata_bytes(&self) -> usize {
        let entries = self.entries.bytes();
        let values = entries / size_of::<Entry<V>>() * size_of::<V>();
        let policy = self.policy.eviction.bytes() + self.policy.admission.as_ref().map_or(0, |part| part.bytes());
        self.index.bytes() + entries - values + self.free.capacity() * size_of::<Slot>() + self.wheel.bytes() + policy
    }

    /// Recomputes every invariant.
    ///
    /// # Panics
    /// When one is broken.
    pub fn validate(&self) {
        self.wheel.validate();
        let mut is_free = vec![false; self.entries.len()];
        for &slot in &self.free {
            let again = std::mem::replace(&mut is_free[slot.0 as usize], true);
            assert!(!again, "{slot:?} is free twice");
        }
        let (mut residents, mut used) = (0, 0);
        for (at, entry) in self.entries.iter().enumerate() {
            let slot = Slot(at as u32);
            if entry.value.is_some() {
                residents += 1;
                used += u64::from(entry.weight);
                assert_eq!(self.find(entry.key), Some(slot), "resident {slot:?} cannot be found");
            } else {
                assert!(is_free[at], "{slot:?} is neither resident nor free");
                assert_eq!(self.wheel.expiry(slot), None, "free {slot:?} has an expiry");
            }
        }
        assert_eq!(self.index.len(), residents, "index and slots disagree");
        assert_eq!(self.free.len() + residents, self.entries.len(), "slots leak");
        assert_eq!(self.used, used, "the weight is wrong");
        assert!(self.absent.is_none_or(|key| self.find(key).is_none()), "a resident is taken to be absent");
        assert!(self.used <= self.capacity.limit, "over capacity: {} of {}", self.used, self.capacity.limit);
        self.policy.eviction.validate(residents);
    }

    #[inline(always)]
    fn find(&self, key: KeyHash) -> Option<Slot> {
        self.index.find(key.0, |slot| self.entries[slot].key == key)
    }

    #[inline(always)]
    fn make_room(&mut self, newcomer: &Arrival, evicted: &mut Vec<Evicted<V>>) -> Result<(), Refusal> {
        self.policy.eviction.on_arrive(newcomer);
        let mut asked = self.policy.admission.is_none();
        loop {
            let fits = self.used + u64::from(newcomer.weight) <= self.capacity.limit;
            if fits && asked {
                return Ok(());
            }
            let victim = match fits {
                true => None,
                false => Some(self.policy.eviction.victim(Some(newcomer)).ok_or(Refusal::Outranked)?),
            };
            if !asked && let Some(admission) = &mut self.policy.admission {
                let key = victim.map(|slot| self.entries[slot].key);
                if !admission.admit(newcomer, key) {
                    return Err(Refusal::NotAdmitted);
                }
                asked = true;
            }
            if let Some(slot) = victim {
                // A policy that names a stranger is broken; refusing ends the loop it would cause.
                evicted.push(self.take(slot, Removal::Evicted).ok_or(Refusal::Outranked)?);
            }
        }
    }

    fn replace(
        &mut self,
        slot: Slot,
        newcomer: &Arrival,
        value: V,
        plan: &Plan,
        evicted: &mut Vec<Evicted<V>>,
    ) -> Inserted<V> {
        let from = self.entries[slot].weight;
        let to = newcomer.weight;
        if u64::from(to) > self.capacity.limit {
            evicted.extend(self.take(slot, Removal::Removed));
            return Inserted::Refused(value, Refusal::TooHeavy);
        }
        match plan.ttl {
            Some(ttl) => self.wheel.schedule(slot, newcomer.access.at.plus(ttl)),
            None => self.wheel.cancel(slot),
        }
        let old = self.entries[slot].value.replace(value);
        if from != to {
            self.entries[slot].weight = to;
            self.used = self.used - u64::from(from) + u64::from(to);
            self.policy.eviction.on_reweigh(slot, from, to);
            self.shrink(evicted);
        }
        old.map_or(Inserted::Stored, Inserted::Replaced)
    }

    fn shrink(&mut self, evicted: &mut Vec<Evicted<V>>) {
        while self.used > self.capacity.limit
            && let Some(slot) = self.policy.eviction.victim(None)
            && let Some(entry) = self.take(slot, Removal::Evicted)
        {
            evicted.push(entry);
        }
    }

    #[cold]
    fn depart(&mut self, slot: Slot, why: Removal) {
        let entry = self.take(slot, why);
        self.departed.extend(entry);
    }

    #[inline(always)]
    fn take(&mut self, slot: Slot, why: Removal) -> Option<Evicted<V>> {
        let entry = &mut self.entries[slot];
        let (key, weight) = (entry.key, entry.weight);
        let value = entry.value.take();
        debug_assert!(value.is_some(), "the policy named {slot:?}, which is not resident");
        let value = value?;
        self.index.remove(key.0, slot);
        self.wheel.cancel(slot);
        self.free.push(slot);
        self.used -= u64::from(weight);
        self.policy.eviction.on_remove(slot, key, why);
        Some(Evicted { key, value, weight, why })
    }
}

/// What a tick hands out.
#[derive(Debug)]
pub struct Work<V> {
    /// Entries whose time has passed, and those a lookup let go of.
    pub expired: Vec<Evicted<V>>,
}

impl<V> Default for Work<V> {
    fn default() -> Self {
        Self { expired: Vec::new() }
    }
}

#[cfg(test)]
mod tests;
