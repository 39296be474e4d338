//! The whole cache policy over one set of keys: index, slots, weights, expiry, admission, eviction, lifetimes.

mod replace;
mod share;
mod standing;
mod swap;
mod validate;
mod work;

use std::time::Duration;

use crate::eviction::{Arrival, Eviction, Fate, Removal, slots};
use crate::index::Index;
use crate::learned::Explanation;
use crate::plan::{Plan, Refusal, Verdict};
use crate::policy::Policy;
use crate::slots::{NIL, Slot, SlotVec};
use crate::values::Values;
use crate::wheel::Wheel;
use crate::{Access, Capacity, KeyHash, Reuse, Time, Weigh};

pub use work::Work;

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

/// What whoever looks a key up can say of a value that may be its; see [`Shard::lookup_by`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Claim {
    /// Another key's, of the same hash.
    Other,
    /// The key's, and to be found, whatever the shard has noted of its time.
    Alive,
    /// The key's; the shard knows whether its time has passed.
    Unsure,
    /// The key's, and past its end, though it is kept for longer, to stand in where nothing newer is to be had. No access is recorded
    /// until [`Shard::touch`] or [`Shard::outdate`] says what it came to.
    Ended,
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

/// What a slot holds: a resident, a ghost, or nothing.
#[derive(Clone, Copy, Debug)]
struct Entry {
    key: KeyHash,
    /// At least 1; 0 in a free slot.
    weight: u32,
    /// Where a resident's value lies; a ghost has none.
    place: u32,
}

impl Entry {
    #[inline(always)]
    fn is_resident(self) -> bool {
        self.place != NIL
    }

    fn is_ghost(self) -> bool {
        self.place == NIL && self.weight > 0
    }
}

/// Objects enough for any policy that keeps ghosts to have one.
const MANY: usize = 1 << 20;

/// What the last lookup that missed knows; spares `insert` the same search.
#[derive(Clone, Copy, Debug)]
struct Missed {
    key: KeyHash,
    ghost: Option<Slot>,
}

/// The kernel: a cache's decisions over one set of keys, run by whoever holds it.
///
/// `V` is the value in an embedded cache, the key in a directory that steers a foreign store, and `()` in a replay or
/// a shadow. `E` is the eviction policy; the default serves any registered one.
pub struct Shard<V, E: Eviction + ?Sized = dyn Eviction> {
    /// Of residents and ghosts.
    index: Index,
    entries: SlotVec<Entry>,
    values: Values<V>,
    /// The first free slot, or `NIL`; each has the next one in place of a key.
    free: u32,
    ghosts: usize,
    capacity: Capacity,
    used: u64,
    wheel: Wheel,
    policy: Policy<E>,
    /// Entries that left during a lookup; they go out with the next call that takes a list.
    departed: Vec<Evicted<V>>,
    /// While it holds.
    missed: Option<Missed>,
    /// Until when a value is of use, where it is kept for longer than that.
    end_of: Option<fn(&V) -> Time>,
}

// The path of a request is inlined whatever its size: where a caller uses it twice, the compiler stops inlining it, and
// every request then costs more instructions (`cargo xtask instructions`).
impl<V, E: Eviction + ?Sized> Shard<V, E> {
    /// An empty shard.
    pub fn new(capacity: Capacity, policy: Policy<E>) -> Self {
        let slots = slots(&*policy.eviction, capacity.most_objects());
        Self {
            index: Index::new(slots),
            entries: SlotVec::new(slots),
            values: Values::new(capacity.most_objects(), policy.eviction.most_ghosts(MANY) == 0),
            free: NIL,
            ghosts: 0,
            capacity,
            used: 0,
            wheel: Wheel::new(slots),
            policy,
            departed: Vec::new(),
            missed: None,
            end_of: None,
        }
    }

    /// For values that are kept for longer than they are of use: what the eviction policy hears of their lives ends when `end_of` says.
    #[must_use]
    pub fn ending_by(self, end_of: fn(&V) -> Time) -> Self {
        Self { end_of: Some(end_of), ..self }
    }

    /// Looks up a key and records the access: a read, or a write of a key that may be resident.
    #[inline(always)]
    pub fn lookup(&mut self, access: &Access) -> Lookup<'_, V> {
        let known = self.find(access.key);
        let place = known.map_or(NIL, |slot| self.entries[slot].place);
        self.conclude(access, known, place, Claim::Unsure)
    }

    /// As [`lookup`](Self::lookup), for values that know their keys and perhaps their ends: spares the shard's own notes,
    /// and with them a hit's reads of memory.
    #[inline(always)]
    pub fn lookup_by(&mut self, access: &Access, claim: impl Fn(&V) -> Claim) -> Lookup<'_, V> {
        let mut said = Claim::Other;
        let mut at = None;
        if self.values.is_by_slot() {
            let values = &self.values;
            at = self.index.find(access.key.0, |slot| {
                said = values.at(slot.0).map_or(Claim::Other, &claim);
                said != Claim::Other
            });
        }
        let (known, place) = match at {
            Some(slot) => (at, slot.0),
            None => {
                let known = self.find(access.key);
                let place = known.map_or(NIL, |slot| self.entries[slot].place);
                said = self.values.at(place).map_or(Claim::Unsure, claim);
                if said == Claim::Other {
                    self.missed = None;
                    return Lookup::Miss(Miss { reuse: Reuse::UNKNOWN, expired: false });
                }
                (known, place)
            }
        };
        self.conclude(access, known, place, said)
    }

    /// What a lookup comes to whose key has the slot `known`, and its value, if there is one, the place `place`.
    #[inline(always)]
    fn conclude(&mut self, access: &Access, known: Option<Slot>, place: u32, said: Claim) -> Lookup<'_, V> {
        let Some(slot) = known else { return self.miss(access, None, false) };
        if place == NIL {
            return self.miss(access, known, false);
        }
        let is_alive = said == Claim::Alive;
        let expired =
            !is_alive && !self.wheel.is_idle() && self.wheel.expiry(slot).is_some_and(|expiry| expiry <= access.at);
        if expired {
            self.let_go(slot, Removal::Expired);
            return self.miss(access, known, true);
        }
        let reuse = if said == Claim::Ended { Reuse::UNKNOWN } else { self.hit(slot, access) };
        match self.values.at(place) {
            Some(value) => Lookup::Hit(value),
            // No policy can bring this about; a miss serves nothing wrong.
            None => Lookup::Miss(Miss { reuse, expired: false }),
        }
    }

    /// The policy hears of a hit.
    #[inline(always)]
    fn hit(&mut self, slot: Slot, access: &Access) -> Reuse {
        let reuse = self.foresee(access);
        if let Some(admission) = &mut self.policy.admission {
            admission.record(access, true);
        }
        let weighed = self.weighed(slot, access);
        if let Some(surplus) = self.policy.eviction.on_hit(slot, &weighed, reuse)
            && surplus != slot
        {
            self.let_go(surplus, Removal::Evicted);
        }
        reuse
    }

    /// Who asks for a key need not know how large its value is.
    #[inline(always)]
    fn weighed(&self, slot: Slot, access: &Access) -> Access {
        let size = if self.capacity.weigh == Weigh::Bytes { self.entries[slot].weight } else { access.size };
        Access { size, ..*access }
    }

    /// Of a key that has the slot `known`, if any: a ghost's, or what a resident that just expired left.
    #[inline(always)]
    fn miss(&mut self, access: &Access, known: Option<Slot>, expired: bool) -> Lookup<'_, V> {
        let reuse = self.foresee(access);
        if let Some(admission) = &mut self.policy.admission {
            admission.record(access, false);
        }
        let ghost = known.filter(|&slot| !expired || self.entries[slot].is_ghost());
        self.missed = Some(Missed { key: access.key, ghost });
        Lookup::Miss(Miss { reuse, expired })
    }

    #[inline(always)]
    fn foresee(&mut self, access: &Access) -> Reuse {
        match &mut self.policy.predictor {
            Some(predictor) => predictor.predict(access),
            None => Reuse::UNKNOWN,
        }
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
        let known = match self.missed.take() {
            Some(missed) if missed.key == access.key => missed.ghost,
            _ => self.find(access.key),
        };
        let weight = self.capacity.weigh.weight(access);
        let ttl = self.end_of.map_or(plan.ttl, |end_of| Some(end_of(&value).since(access.at)));
        let newcomer = Arrival { access, weight, ttl, reuse: plan.reuse, ghost: known };
        if let Some(slot) = known
            && self.entries[slot].is_resident()
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
        let inserted = match self.make_room(&newcomer, evicted) {
            Ok(()) => {
                self.store(&newcomer, value, plan);
                Inserted::Stored
            }
            Err(refusal) => Inserted::Refused(value, refusal),
        };
        self.forget();
        inserted
    }

    /// Takes out a key, if it is resident, and returns its value.
    pub fn remove(&mut self, key: KeyHash) -> Option<V> {
        let Some(slot) = self.find(key).filter(|&slot| self.entries[slot].is_resident()) else {
            self.policy.eviction.on_absent(key);
            return None;
        };
        let entry = self.take(slot, Removal::Removed);
        self.forget();
        entry.map(|entry| entry.value)
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
        self.policy.eviction.take_examples(&mut work.examples);
        self.forget();
    }

    /// What the eviction policy would do about `access` if it came next, and why; nothing changes. Of a resident it says whether
    /// it would leave if room were needed. The admission policy is not asked. `None` unless the policy is a learned one.
    pub fn explain(&mut self, access: &Access) -> Option<Explanation> {
        let known = self.find(access.key);
        let (resident, ghost) = match known {
            Some(slot) if self.entries[slot].is_resident() => (known, None),
            _ => (None, known),
        };
        let weight = self.capacity.weigh.weight(access);
        let room = self.used + u64::from(weight) <= self.capacity.limit;
        self.policy.eviction.explain(
            &Arrival { access, weight, ttl: None, reuse: Reuse::UNKNOWN, ghost },
            resident,
            room,
        )
    }

    /// Whose slot it is, if a resident has it.
    pub fn resident_at(&self, slot: Slot) -> Option<KeyHash> {
        let entry = self.entries.get(slot)?;
        entry.is_resident().then_some(entry.key)
    }

    /// From now on, [`tick`](Self::tick) hands out what a learned policy learns from. They pile up until it is called.
    pub fn record_examples(&mut self) {
        self.policy.eviction.record_examples();
    }

    /// Changes the capacity, evicting into `evicted` what no longer fits. Metadata that is no longer needed stays
    /// allocated, for the entries to come.
    pub fn resize(&mut self, limit: u64, evicted: &mut Vec<Evicted<V>>) {
        evicted.append(&mut self.departed);
        self.capacity.limit = limit;
        let objects = self.capacity.most_objects();
        self.policy.eviction.on_resize(limit, objects);
        let slots = slots(&*self.policy.eviction, objects);
        self.entries.set_limit(slots);
        self.values.set_limit(objects);
        self.index.set_limit(slots);
        self.wheel.set_limit(slots);
        if let Some(admission) = &mut self.policy.admission {
            admission.on_resize(limit, objects);
        }
        self.shrink(evicted);
        self.forget();
    }

    /// The resident value of a key, without recording an access; expired or not.
    pub fn peek(&self, key: KeyHash) -> Option<&V> {
        self.find(key).and_then(|slot| self.values.at(self.entries[slot].place))
    }

    /// As [`peek`](Self::peek), to change the value in its place; its weight stays what it was.
    pub fn peek_mut(&mut self, key: KeyHash) -> Option<&mut V> {
        let place = self.find(key).map(|slot| self.entries[slot].place)?;
        self.values.at_mut(place)
    }

    /// The residents, in no order that means anything; no access is recorded.
    pub fn iter(&self) -> impl Iterator<Item = (KeyHash, &V)> {
        self.entries.iter().filter_map(|entry| Some((entry.key, self.values.at(entry.place)?)))
    }

    /// The residents in the order of their slots, from `first` on; no access is recorded. A resident keeps its slot, but for
    /// [`swap_policy`](Self::swap_policy): one can go through a large shard in steps, and let it change meanwhile.
    pub fn iter_from(&self, first: Slot) -> impl Iterator<Item = (Slot, &V)> {
        let slots = (first.0..).map(Slot).zip(self.entries.iter().skip(first.0 as usize));
        slots.filter_map(|(slot, entry)| Some((slot, self.values.at(entry.place)?)))
    }

    /// The number of residents.
    pub fn len(&self) -> usize {
        self.index.len() - self.ghosts
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
        let policy = self.policy.eviction.bytes() + self.policy.admission.as_ref().map_or(0, |part| part.bytes());
        self.index.bytes() + self.entries.bytes() + self.values.bytes_beside() + self.wheel.bytes() + policy
    }

    #[inline(always)]
    fn find(&self, key: KeyHash) -> Option<Slot> {
        self.index.find(key.0, |slot| self.entries[slot].key == key)
    }

    #[inline(always)]
    fn make_room(&mut self, newcomer: &Arrival, evicted: &mut Vec<Evicted<V>>) -> Result<(), Refusal> {
        self.policy.eviction.on_arrive(newcomer);
        if self.policy.admission.is_some() {
            return self.ask_for_room(newcomer, evicted);
        }
        while !self.fits(newcomer) {
            let slot = self.victim_for(newcomer)?;
            self.evict(slot, evicted)?;
        }
        Ok(())
    }

    /// Where there is an admission policy: it is asked once, with the first victim.
    #[inline(never)]
    fn ask_for_room(&mut self, newcomer: &Arrival, evicted: &mut Vec<Evicted<V>>) -> Result<(), Refusal> {
        let victim = match self.fits(newcomer) {
            true => None,
            false => Some(self.victim_for(newcomer)?),
        };
        let key = victim.map(|slot| self.entries[slot].key);
        if self.policy.admission.as_mut().is_some_and(|admission| !admission.admit(newcomer, key)) {
            return Err(Refusal::NotAdmitted);
        }
        if let Some(slot) = victim {
            self.evict(slot, evicted)?;
        }
        while !self.fits(newcomer) {
            let slot = self.victim_for(newcomer)?;
            self.evict(slot, evicted)?;
        }
        Ok(())
    }

    #[inline(always)]
    fn fits(&self, newcomer: &Arrival) -> bool {
        self.used + u64::from(newcomer.weight) <= self.capacity.limit
    }

    #[inline(always)]
    fn victim_for(&mut self, newcomer: &Arrival) -> Result<Slot, Refusal> {
        self.policy.eviction.victim(Some(newcomer)).ok_or(Refusal::Outranked)
    }

    /// A policy that names a stranger is broken; refusing the newcomer ends the loop it would cause.
    #[inline(always)]
    fn evict(&mut self, slot: Slot, evicted: &mut Vec<Evicted<V>>) -> Result<(), Refusal> {
        evicted.push(self.take(slot, Removal::Evicted).ok_or(Refusal::Outranked)?);
        Ok(())
    }

    /// During a lookup: a resident departs, or a ghost is forgotten.
    #[cold]
    fn let_go(&mut self, slot: Slot, why: Removal) {
        if self.entries[slot].is_ghost() {
            self.release_ghost(slot);
        } else {
            let entry = self.take(slot, why);
            self.departed.extend(entry);
        }
        self.forget();
    }

    /// Stores what there is room for.
    #[inline(always)]
    fn store(&mut self, newcomer: &Arrival, value: V, plan: &Plan) {
        let key = newcomer.access.key;
        let slot = newcomer.ghost.unwrap_or_else(|| self.free_slot());
        self.entries.put(slot, Entry { key, weight: newcomer.weight, place: self.values.put(slot, value) });
        if newcomer.ghost.is_some() {
            self.ghosts -= 1;
        } else {
            let entries = &self.entries;
            self.index.insert(key.0, slot, |slot| entries[slot].key.0);
        }
        self.used += u64::from(newcomer.weight);
        if let Some(ttl) = plan.ttl {
            self.wheel.schedule(slot, newcomer.access.at.plus(ttl));
        }
        self.policy.eviction.on_insert(slot, newcomer);
    }

    /// A slot that is free, or the next new one.
    #[inline(always)]
    fn free_slot(&mut self) -> Slot {
        if self.free == NIL {
            return Slot(self.entries.len() as u32);
        }
        let slot = Slot(self.free);
        self.free = self.entries[slot].key.0 as u32;
        slot
    }

    /// Takes out a resident; its slot is free or a ghost's afterwards.
    #[inline(always)]
    fn take(&mut self, slot: Slot, why: Removal) -> Option<Evicted<V>> {
        let Entry { key, weight, place } = self.entries[slot];
        debug_assert!(place != NIL, "the policy named {slot:?}, which is not resident");
        let value = self.values.take(place)?;
        if !self.wheel.is_idle() {
            self.leave_wheel(slot, &value, why);
        }
        self.used -= u64::from(weight);
        match self.policy.eviction.on_remove(slot, why) {
            Fate::Gone => self.release(slot, key),
            Fate::Ghost => {
                self.entries[slot].place = NIL;
                self.ghosts += 1;
            }
        }
        Some(Evicted { key, value, weight, why })
    }

    /// Asks the policy which ghosts to forget.
    #[inline(always)]
    fn forget(&mut self) {
        while self.ghosts > 0
            && let Some(slot) = self.policy.eviction.forget()
        {
            let is_ghost = self.entries[slot].is_ghost();
            debug_assert!(is_ghost, "the policy named {slot:?}, which is not a ghost");
            // As with victims, a broken policy cannot make the shard loop.
            if !is_ghost {
                break;
            }
            self.release_ghost(slot);
        }
    }

    #[inline(always)]
    fn release_ghost(&mut self, slot: Slot) {
        self.ghosts -= 1;
        self.missed = None;
        self.release(slot, self.entries[slot].key);
    }

    #[inline(always)]
    fn release(&mut self, slot: Slot, key: KeyHash) {
        self.index.remove(key.0, slot);
        self.entries[slot] = Entry { key: KeyHash(u64::from(self.free)), weight: 0, place: NIL };
        self.free = slot.0;
    }
}

#[cfg(test)]
mod tests;
