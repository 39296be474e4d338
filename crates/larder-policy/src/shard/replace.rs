//! Another value, weight or end for a key that is resident.

use std::time::Duration;

use super::{Entry, Evicted, Inserted, Shard};
use crate::eviction::{Arrival, Eviction, Removal};
use crate::plan::{Plan, Refusal};
use crate::{Access, KeyHash, Slot, Time};

impl<V, E: Eviction + ?Sized> Shard<V, E> {
    /// A new value of the resident at `slot`, which may weigh something else; what no longer fits leaves.
    pub(super) fn replace(
        &mut self,
        slot: Slot,
        newcomer: &Arrival,
        value: V,
        plan: &Plan,
        evicted: &mut Vec<Evicted<V>>,
    ) -> Inserted<V> {
        let Entry { weight: from, place, .. } = self.entries[slot];
        let to = newcomer.weight;
        if u64::from(to) > self.capacity.limit {
            evicted.extend(self.take(slot, Removal::Removed));
            self.forget();
            return Inserted::Refused(value, Refusal::TooHeavy);
        }
        let end = |ttl: Option<Duration>| ttl.map(|ttl| newcomer.access.at.plus(ttl));
        self.live_until(slot, end(plan.ttl), end(newcomer.ttl));
        let old = self.values.replace(place, value);
        self.weigh(slot, from, to, evicted);
        old.map_or(Inserted::Stored, Inserted::Replaced)
    }

    /// The value of `access.key`, if it is resident, weighs something else; what no longer fits leaves. This is no access.
    pub(crate) fn reweigh(&mut self, access: &Access, evicted: &mut Vec<Evicted<V>>) {
        let Some(slot) = self.find(access.key).filter(|&slot| self.entries[slot].is_resident()) else { return };
        let to = self.capacity.weigh.weight(access);
        if u64::from(to) > self.capacity.limit {
            evicted.extend(self.take(slot, Removal::Removed));
            self.forget();
        } else {
            self.weigh(slot, self.entries[slot].weight, to, evicted);
        }
    }

    fn weigh(&mut self, slot: Slot, from: u32, to: u32, evicted: &mut Vec<Evicted<V>>) {
        if from != to {
            self.entries[slot].weight = to;
            self.used = self.used - u64::from(from) + u64::from(to);
            self.policy.eviction.on_reweigh(slot, from, to);
            self.shrink(evicted);
            self.forget();
        }
    }

    /// Evicts until what is resident fits.
    pub(super) fn shrink(&mut self, evicted: &mut Vec<Evicted<V>>) {
        while self.used > self.capacity.limit
            && let Some(slot) = self.policy.eviction.victim(None)
            && let Some(entry) = self.take(slot, Removal::Evicted)
        {
            evicted.push(entry);
        }
    }

    /// A resident leaves, perhaps before its end.
    #[inline(never)]
    pub(super) fn leave_wheel(&mut self, slot: Slot, value: &V, why: Removal) {
        if let Some(expiry) = self.wheel.expiry(slot).filter(|_| why == Removal::Evicted) {
            self.policy.eviction.on_cut_short(slot, self.end_of.map_or(expiry, |end_of| end_of(value)));
        }
        self.wheel.cancel(slot);
    }

    /// Moves the end of a resident's life, and of its use.
    pub(super) fn live_until(&mut self, slot: Slot, expiry: Option<Time>, end: Option<Time>) {
        match expiry {
            Some(expiry) => self.wheel.schedule(slot, expiry),
            None => self.wheel.cancel(slot),
        }
        self.policy.eviction.on_renew(slot, end);
    }

    /// Moves the end of a resident's life to `expiry`; whether the key is resident.
    pub fn expire_at(&mut self, key: KeyHash, expiry: Time) -> bool {
        let slot = self.find(key).filter(|&slot| self.entries[slot].is_resident());
        slot.map(|slot| self.live_until(slot, Some(expiry), Some(expiry))).is_some()
    }

    /// A lookup of [`Claim::Ended`](super::Claim::Ended) came to a hit: what was found was of use all the same.
    pub fn touch(&mut self, access: &Access) {
        if let Some(slot) = self.find(access.key).filter(|&slot| self.entries[slot].is_resident()) {
            self.hit(slot, access);
        }
    }

    /// A lookup of [`Claim::Ended`](super::Claim::Ended) came to a miss: a new value is to take the place of what was found.
    pub fn outdate(&mut self, access: &Access) {
        let Some(slot) = self.find(access.key).filter(|&slot| self.entries[slot].is_resident()) else { return };
        if let Some(admission) = &mut self.policy.admission {
            admission.record(access, false);
        }
        let weighed = self.weighed(slot, access);
        if let Some(surplus) = self.policy.eviction.on_outdated(slot, &weighed)
            && surplus != slot
        {
            self.let_go(surplus, Removal::Evicted);
        }
    }
}
