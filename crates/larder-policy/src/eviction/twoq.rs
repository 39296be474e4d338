//! 2Q: newcomers pass through a short FIFO; those asked for again after they left it enter the main LRU.
//!
//! Johnson, Shasha, "2Q: a low overhead high performance buffer management replacement algorithm", VLDB 1994 (the
//! full version, Kin 25 %, Kout 50 %). No deviation; the queues are limited by weight, as the capacity is.

use super::{Arrival, Eviction, Fate, Removal, Setup, slots};
use crate::list::{Links, List};
use crate::params::Param;
use crate::queue::Queue;
use crate::slots::SlotVec;
use crate::{Access, Reuse, Slot};

pub(super) const PARAMS: &[Param] = &[
    Param { name: "in", default: 0.25, least: 0.0, most: 1.0, about: "share of the capacity for newcomers" },
    Param { name: "out", default: 0.5, least: 0.0, most: 10.0, about: "remembered keys, as a share of the capacity" },
];

#[derive(Clone, Copy, Debug, PartialEq)]
enum Place {
    Newcomers,
    Main,
    Ghost,
}

#[derive(Clone, Copy)]
struct Entry {
    weight: u32,
    place: Place,
}

/// A1in (FIFO), Am (LRU) and A1out (ghosts).
pub(crate) struct TwoQ {
    links: Links,
    entries: SlotVec<Entry>,
    newcomers: Queue,
    main: List,
    ghosts: Queue,
    newcomers_limit: u64,
    ghosts_limit: u64,
    shares: (f64, f64),
}

impl TwoQ {
    pub(crate) fn new(setup: &Setup<'_>) -> Self {
        let shares = (setup.params.value("in"), setup.params.value("out"));
        let mut policy = Self {
            links: Links::new(None),
            entries: SlotVec::new(None),
            newcomers: Queue::default(),
            main: List::default(),
            ghosts: Queue::default(),
            newcomers_limit: 0,
            ghosts_limit: 0,
            shares,
        };
        policy.on_resize(setup.capacity, setup.objects);
        policy
    }
}

impl Eviction for TwoQ {
    fn victim(&mut self, _: Option<&Arrival>) -> Option<Slot> {
        if self.newcomers.weight > self.newcomers_limit {
            self.newcomers.back()
        } else {
            self.main.back().or(self.newcomers.back())
        }
    }

    fn on_insert(&mut self, slot: Slot, newcomer: &Arrival) {
        let weight = newcomer.weight;
        let place = if newcomer.ghost.is_some() {
            self.ghosts.remove(&mut self.links, slot, self.entries[slot].weight);
            self.main.push_front(&mut self.links, slot);
            Place::Main
        } else {
            self.newcomers.push_front(&mut self.links, slot, weight);
            Place::Newcomers
        };
        self.entries.put(slot, Entry { weight, place });
    }

    fn on_hit(&mut self, slot: Slot, _: &Access, _: Reuse) -> Option<Slot> {
        if self.entries[slot].place == Place::Main {
            self.main.move_to_front(&mut self.links, slot);
        }
        None
    }

    fn on_reweigh(&mut self, slot: Slot, from: u32, to: u32) {
        self.entries[slot].weight = to;
        if self.entries[slot].place == Place::Newcomers {
            self.newcomers.reweigh(from, to);
        }
    }

    fn on_remove(&mut self, slot: Slot, why: Removal) -> Fate {
        let entry = &mut self.entries[slot];
        if entry.place == Place::Main {
            self.main.remove(&mut self.links, slot);
            return Fate::Gone;
        }
        self.newcomers.remove(&mut self.links, slot, entry.weight);
        if why != Removal::Evicted || u64::from(entry.weight) > self.ghosts_limit {
            return Fate::Gone;
        }
        entry.place = Place::Ghost;
        self.ghosts.push_front(&mut self.links, slot, entry.weight);
        Fate::Ghost
    }

    fn forget(&mut self) -> Option<Slot> {
        let slot = self.ghosts.back().filter(|_| self.ghosts.weight > self.ghosts_limit)?;
        self.ghosts.remove(&mut self.links, slot, self.entries[slot].weight);
        Some(slot)
    }

    fn most_ghosts(&self, objects: usize) -> usize {
        (objects as f64 * self.shares.1) as usize
    }

    fn on_resize(&mut self, capacity: u64, objects: Option<usize>) {
        self.newcomers_limit = (capacity as f64 * self.shares.0) as u64;
        self.ghosts_limit = (capacity as f64 * self.shares.1) as u64;
        let slots = slots(self, objects);
        self.links.set_limit(slots);
        self.entries.set_limit(slots);
    }

    fn bytes(&self) -> usize {
        self.links.bytes() + self.entries.bytes()
    }

    fn validate(&self, residents: usize, ghosts: usize) {
        assert_eq!((self.newcomers.len() + self.main.len(), self.ghosts.len()), (residents, ghosts));
        self.main.validate(&self.links);
        assert!(self.main.iter(&self.links).all(|slot| self.entries[slot].place == Place::Main));
        for (queue, place) in [(self.newcomers, Place::Newcomers), (self.ghosts, Place::Ghost)] {
            queue.validate(&self.links, |slot| {
                assert_eq!(self.entries[slot].place, place, "{slot:?}");
                self.entries[slot].weight
            });
        }
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
