//! 2Q: newcomers pass through a short FIFO; those asked for again after they left it enter the main LRU.
//!
//! Johnson, Shasha, "2Q: a low overhead high performance buffer management replacement algorithm", VLDB 1994 (the
//! full version, Kin 25 %, Kout 50 %). No deviation; the queues are limited by weight, as the capacity is.

use super::{Arrival, Eviction, Removal, Setup};
use crate::ghosts::Ghosts;
use crate::list::{Links, List};
use crate::params::Param;
use crate::slots::SlotVec;
use crate::{Access, KeyHash, Reuse, Slot};

pub(super) const PARAMS: &[Param] = &[
    Param { name: "in", default: 0.25, least: 0.0, most: 1.0, about: "share of the capacity for newcomers" },
    Param { name: "out", default: 0.5, least: 0.0, most: 10.0, about: "remembered keys, as a share of the capacity" },
];

#[derive(Clone, Copy)]
struct Resident {
    weight: u32,
    is_main: bool,
}

/// A1in (FIFO), Am (LRU) and A1out (keys only).
pub(crate) struct TwoQ {
    links: Links,
    residents: SlotVec<Resident>,
    newcomers: List,
    main: List,
    newcomers_weight: u64,
    newcomers_limit: u64,
    ghosts: Ghosts,
    ghosts_limit: u64,
    shares: (f64, f64),
    /// The newcomer being stored was remembered.
    returns: bool,
}

impl TwoQ {
    pub(crate) fn new(setup: &Setup<'_>) -> Self {
        let shares = (setup.params.value("in"), setup.params.value("out"));
        let mut policy = Self {
            links: Links::new(setup.objects),
            residents: SlotVec::new(setup.objects),
            newcomers: List::default(),
            main: List::default(),
            newcomers_weight: 0,
            newcomers_limit: 0,
            ghosts: Ghosts::new(None),
            ghosts_limit: 0,
            shares,
            returns: false,
        };
        policy.on_resize(setup.capacity, setup.objects);
        policy
    }
}

impl Eviction for TwoQ {
    fn on_arrive(&mut self, newcomer: &Arrival) {
        self.returns = self.ghosts.remove(newcomer.access.key).is_some();
    }

    fn victim(&mut self, _: Option<&Arrival>) -> Option<Slot> {
        if self.newcomers_weight > self.newcomers_limit {
            self.newcomers.back()
        } else {
            self.main.back().or(self.newcomers.back())
        }
    }

    fn on_insert(&mut self, slot: Slot, newcomer: &Arrival) {
        self.residents.put(slot, Resident { weight: newcomer.weight, is_main: self.returns });
        if self.returns {
            self.main.push_front(&mut self.links, slot);
        } else {
            self.newcomers.push_front(&mut self.links, slot);
            self.newcomers_weight += u64::from(newcomer.weight);
        }
    }

    fn on_hit(&mut self, slot: Slot, _: &Access, _: Reuse) -> Option<Slot> {
        if self.residents[slot].is_main {
            self.main.move_to_front(&mut self.links, slot);
        }
        None
    }

    fn on_reweigh(&mut self, slot: Slot, from: u32, to: u32) {
        self.residents[slot].weight = to;
        if !self.residents[slot].is_main {
            self.newcomers_weight = self.newcomers_weight - u64::from(from) + u64::from(to);
        }
    }

    fn on_remove(&mut self, slot: Slot, key: KeyHash, why: Removal) {
        let Resident { weight, is_main } = self.residents[slot];
        if is_main {
            self.main.remove(&mut self.links, slot);
            return;
        }
        self.newcomers.remove(&mut self.links, slot);
        self.newcomers_weight -= u64::from(weight);
        if why == Removal::Evicted {
            self.ghosts.push_within(key, weight, self.ghosts_limit);
        }
    }

    fn on_resize(&mut self, capacity: u64, objects: Option<usize>) {
        self.newcomers_limit = (capacity as f64 * self.shares.0) as u64;
        self.ghosts_limit = (capacity as f64 * self.shares.1) as u64;
        self.links.set_limit(objects);
        self.residents.set_limit(objects);
        self.ghosts.set_limit(objects.map(|objects| (objects as f64 * self.shares.1) as usize));
    }

    fn bytes(&self) -> usize {
        self.links.bytes() + self.residents.bytes() + self.ghosts.bytes()
    }

    fn validate(&self, residents: usize) {
        self.newcomers.validate(&self.links);
        self.main.validate(&self.links);
        self.ghosts.validate();
        assert_eq!(self.newcomers.len() + self.main.len(), residents);
        assert!(self.main.iter(&self.links).all(|slot| self.residents[slot].is_main));
        let newcomers = self.newcomers.iter(&self.links).map(|slot| self.residents[slot]);
        assert_eq!(self.newcomers_weight, newcomers.map(|resident| u64::from(resident.weight)).sum::<u64>());
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::Cache;

    #[test]
    fn those_remembered_enter_the_main_queue() {
        // One newcomer's share, two ghosts.
        let mut cache = Cache::objects("twoq", 4);
        assert_eq!(cache.read("abcdef"), "ab");
        assert_eq!(cache.read("a"), "c", "a is back, for good");
        assert_eq!(cache.read("ghi"), "def");
        assert_eq!(cache.residents(), "aghi");
    }
}
