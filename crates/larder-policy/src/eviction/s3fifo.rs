//! S3-FIFO: a small FIFO filters one-hit wonders in front of a main FIFO with lazy promotion.
//!
//! Yang, Zhang, Qiu, Yue, Rashmi, "FIFO queues are all you need for cache eviction", SOSP 2023. As in the authors'
//! later reference: until the first eviction, what finds the small queue full enters the main queue (it keeps the
//! first fill from being thrown away). Deviation: a newcomer heavier than the small queue enters the main queue,
//! where the reference refuses it.

use super::{Arrival, Eviction, Removal, Setup};
use crate::ghosts::Ghosts;
use crate::list::{Links, List};
use crate::params::Param;
use crate::slots::SlotVec;
use crate::{Access, KeyHash, Reuse, Slot};

pub(super) const PARAMS: &[Param] = &[
    Param { name: "small", default: 0.1, least: 0.0, most: 1.0, about: "share of the capacity for the small queue" },
    Param { name: "ghost", default: 0.9, least: 0.0, most: 10.0, about: "remembered keys, as a share of the capacity" },
    Param { name: "promote", default: 2.0, least: 1.0, most: 255.0, about: "uses in the small queue that promote" },
];

/// Uses are counted up to here in the main queue: a two-bit counter.
const MOST_MAIN: u8 = 3;

#[derive(Clone, Copy)]
struct Resident {
    weight: u32,
    uses: u8,
    is_main: bool,
}

/// The small queue, the main queue, and the keys that left the small one.
pub(crate) struct S3Fifo {
    links: Links,
    residents: SlotVec<Resident>,
    small: List,
    main: List,
    small_weight: u64,
    main_weight: u64,
    small_limit: u64,
    main_limit: u64,
    ghosts: Ghosts,
    ghosts_limit: u64,
    shares: (f64, f64),
    promote: u8,
    has_evicted: bool,
    /// The newcomer being stored was remembered.
    returns: bool,
}

impl S3Fifo {
    pub(crate) fn new(setup: &Setup<'_>) -> Self {
        let shares = (setup.params.value("small"), setup.params.value("ghost"));
        let mut policy = Self {
            links: Links::new(setup.objects),
            residents: SlotVec::new(setup.objects),
            small: List::default(),
            main: List::default(),
            small_weight: 0,
            main_weight: 0,
            small_limit: 0,
            main_limit: 0,
            ghosts: Ghosts::new(None),
            ghosts_limit: 0,
            shares,
            promote: setup.params.value("promote") as u8,
            has_evicted: false,
            returns: false,
        };
        policy.on_resize(setup.capacity, setup.objects);
        policy
    }

    /// The first of the small queue that was not used enough; those that were move to the main queue.
    fn small_victim(&mut self) -> Option<Slot> {
        loop {
            let slot = self.small.back()?;
            let resident = &mut self.residents[slot];
            if resident.uses < self.promote {
                return Some(slot);
            }
            (resident.uses, resident.is_main) = (0, true);
            let weight = u64::from(resident.weight);
            self.small.remove(&mut self.links, slot);
            self.main.push_front(&mut self.links, slot);
            self.small_weight -= weight;
            self.main_weight += weight;
        }
    }

    /// The first of the main queue without uses left; the others pay one and go round again.
    fn main_victim(&mut self) -> Option<Slot> {
        loop {
            let slot = self.main.back()?;
            let resident = &mut self.residents[slot];
            if resident.uses == 0 {
                return Some(slot);
            }
            resident.uses = resident.uses.min(MOST_MAIN) - 1;
            self.main.move_to_front(&mut self.links, slot);
        }
    }
}

impl Eviction for S3Fifo {
    fn on_arrive(&mut self, newcomer: &Arrival) {
        self.returns = self.ghosts.remove(newcomer.access.key).is_some();
    }

    fn victim(&mut self, _: Option<&Arrival>) -> Option<Slot> {
        self.has_evicted = true;
        if self.main_weight > self.main_limit || self.small.is_empty() {
            return self.main_victim();
        }
        self.small_victim().or_else(|| self.main_victim())
    }

    fn on_insert(&mut self, slot: Slot, newcomer: &Arrival) {
        let weight = u64::from(newcomer.weight);
        let is_filling = !self.has_evicted && self.small_weight >= self.small_limit;
        let is_main = self.returns || is_filling || weight > self.small_limit;
        self.residents.put(slot, Resident { weight: newcomer.weight, uses: 0, is_main });
        if is_main {
            self.main.push_front(&mut self.links, slot);
            self.main_weight += weight;
        } else {
            self.small.push_front(&mut self.links, slot);
            self.small_weight += weight;
        }
    }

    fn on_hit(&mut self, slot: Slot, _: &Access, _: Reuse) -> Option<Slot> {
        let uses = &mut self.residents[slot].uses;
        *uses = uses.saturating_add(1);
        None
    }

    fn on_reweigh(&mut self, slot: Slot, from: u32, to: u32) {
        let resident = &mut self.residents[slot];
        resident.weight = to;
        let queue = if resident.is_main { &mut self.main_weight } else { &mut self.small_weight };
        *queue = *queue - u64::from(from) + u64::from(to);
    }

    fn on_remove(&mut self, slot: Slot, key: KeyHash, why: Removal) {
        let Resident { weight, is_main, .. } = self.residents[slot];
        if is_main {
            self.main.remove(&mut self.links, slot);
            self.main_weight -= u64::from(weight);
            return;
        }
        self.small.remove(&mut self.links, slot);
        self.small_weight -= u64::from(weight);
        if why == Removal::Evicted {
            self.ghosts.push_within(key, weight, self.ghosts_limit);
        }
    }

    fn on_resize(&mut self, capacity: u64, objects: Option<usize>) {
        self.small_limit = ((capacity as f64 * self.shares.0) as u64).max(1);
        self.main_limit = capacity.saturating_sub(self.small_limit);
        self.ghosts_limit = (capacity as f64 * self.shares.1) as u64;
        self.links.set_limit(objects);
        self.residents.set_limit(objects);
        self.ghosts.set_limit(objects.map(|objects| (objects as f64 * self.shares.1) as usize));
    }

    fn bytes(&self) -> usize {
        self.links.bytes() + self.residents.bytes() + self.ghosts.bytes()
    }

    fn validate(&self, residents: usize) {
        self.small.validate(&self.links);
        self.main.validate(&self.links);
        self.ghosts.validate();
        assert_eq!(self.small.len() + self.main.len(), residents);
        for (queue, is_main, weight) in [(self.small, false, self.small_weight), (self.main, true, self.main_weight)] {
            assert!(queue.iter(&self.links).all(|slot| self.residents[slot].is_main == is_main));
            let weights = queue.iter(&self.links).map(|slot| u64::from(self.residents[slot].weight));
            assert_eq!(weight, weights.sum::<u64>());
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::Cache;

    #[test]
    fn the_used_are_promoted_and_ghosts_return_to_the_main_queue() {
        // Two in the small queue, two in the main one, three ghosts.
        let mut cache = Cache::objects("s3fifo:small=0.5", 4);
        assert_eq!(cache.read("abcd"), "", "a and b are small; c and d find the small queue full");
        assert_eq!(cache.read("e"), "a");
        assert_eq!(cache.read("bbf"), "e", "b was used twice and is promoted");
        assert_eq!(cache.read("a"), "c", "the main queue is over its share; a returns to it");
        assert_eq!(cache.residents(), "abdf");
        assert_eq!(cache.read("cd"), "df", "who left the main queue is not remembered, so c is small");
    }
}
