//! S3-FIFO: a small FIFO filters one-hit wonders in front of a main FIFO with lazy promotion.
//!
//! Yang, Zhang, Qiu, Yue, Rashmi, "FIFO queues are all you need for cache eviction", SOSP 2023. As in the authors'
//! later reference: until the first eviction, what finds the small queue full enters the main queue (it keeps the
//! first fill from being thrown away). Deviation: a newcomer heavier than the small queue enters the main queue,
//! where the reference refuses it.

use super::{Arrival, Eviction, Fate, Removal, Setup, slots};
use crate::list::Links;
use crate::params::Param;
use crate::queue::Queue;
use crate::slots::SlotVec;
use crate::{Access, Reuse, Slot};

pub(super) const PARAMS: &[Param] = &[
    Param { name: "small", default: 0.1, least: 0.0, most: 1.0, about: "share of the capacity for the small queue" },
    Param { name: "ghost", default: 0.9, least: 0.0, most: 10.0, about: "remembered keys, as a share of the capacity" },
    Param { name: "promote", default: 2.0, least: 1.0, most: 255.0, about: "uses in the small queue that promote" },
];

/// Uses are counted up to here in the main queue: a two-bit counter.
const MOST_MAIN: u8 = 3;

#[derive(Clone, Copy, Debug, PartialEq)]
enum Place {
    Small,
    Main,
    Ghost,
}

#[derive(Clone, Copy)]
struct Entry {
    weight: u32,
    uses: u8,
    place: Place,
}

/// The small queue, the main queue, and the ghosts of what left the small one.
pub(crate) struct S3Fifo {
    links: Links,
    entries: SlotVec<Entry>,
    small: Queue,
    main: Queue,
    ghosts: Queue,
    small_limit: u64,
    main_limit: u64,
    ghosts_limit: u64,
    shares: (f64, f64),
    promote: u8,
    has_evicted: bool,
}

impl S3Fifo {
    pub(crate) fn new(setup: &Setup<'_>) -> Self {
        let shares = (setup.params.value("small"), setup.params.value("ghost"));
        let mut policy = Self {
            links: Links::new(None),
            entries: SlotVec::new(None),
            small: Queue::default(),
            main: Queue::default(),
            ghosts: Queue::default(),
            small_limit: 0,
            main_limit: 0,
            ghosts_limit: 0,
            shares,
            promote: setup.params.value("promote") as u8,
            has_evicted: false,
        };
        policy.on_resize(setup.capacity, setup.objects);
        policy
    }

    /// The first of the small queue that was not used enough; those that were move to the main queue.
    fn small_victim(&mut self) -> Option<Slot> {
        loop {
            let slot = self.small.back()?;
            let entry = &mut self.entries[slot];
            if entry.uses < self.promote {
                return Some(slot);
            }
            (entry.uses, entry.place) = (0, Place::Main);
            self.small.remove(&mut self.links, slot, entry.weight);
            self.main.push_front(&mut self.links, slot, entry.weight);
        }
    }

    /// The first of the main queue without uses left; the others pay one and go round again.
    fn main_victim(&mut self) -> Option<Slot> {
        loop {
            let slot = self.main.back()?;
            let entry = &mut self.entries[slot];
            if entry.uses == 0 {
                return Some(slot);
            }
            entry.uses = entry.uses.min(MOST_MAIN) - 1;
            self.main.list.move_to_front(&mut self.links, slot);
        }
    }
}

impl Eviction for S3Fifo {
    #[inline]
    fn victim(&mut self, _: Option<&Arrival>) -> Option<Slot> {
        self.has_evicted = true;
        if self.main.weight > self.main_limit || self.small.is_empty() {
            return self.main_victim();
        }
        self.small_victim().or_else(|| self.main_victim())
    }

    #[inline]
    fn on_insert(&mut self, slot: Slot, newcomer: &Arrival) {
        let weight = newcomer.weight;
        if newcomer.ghost.is_some() {
            self.ghosts.remove(&mut self.links, slot, self.entries[slot].weight);
        }
        let is_filling = !self.has_evicted && self.small.weight >= self.small_limit;
        let is_main = newcomer.ghost.is_some() || is_filling || u64::from(weight) > self.small_limit;
        let (queue, place) = if is_main { (&mut self.main, Place::Main) } else { (&mut self.small, Place::Small) };
        queue.push_front(&mut self.links, slot, weight);
        self.entries.put(slot, Entry { weight, uses: 0, place });
    }

    fn on_hit(&mut self, slot: Slot, _: &Access, _: Reuse) -> Option<Slot> {
        let uses = &mut self.entries[slot].uses;
        *uses = uses.saturating_add(1);
        None
    }

    fn on_reweigh(&mut self, slot: Slot, from: u32, to: u32) {
        let entry = &mut self.entries[slot];
        entry.weight = to;
        let queue = if entry.place == Place::Main { &mut self.main } else { &mut self.small };
        queue.reweigh(from, to);
    }

    #[inline]
    fn on_remove(&mut self, slot: Slot, why: Removal) -> Fate {
        let entry = &mut self.entries[slot];
        if entry.place == Place::Main {
            self.main.remove(&mut self.links, slot, entry.weight);
            return Fate::Gone;
        }
        self.small.remove(&mut self.links, slot, entry.weight);
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
        self.small_limit = ((capacity as f64 * self.shares.0) as u64).max(1);
        self.main_limit = capacity.saturating_sub(self.small_limit);
        self.ghosts_limit = (capacity as f64 * self.shares.1) as u64;
        let slots = slots(self, objects);
        self.links.set_limit(slots);
        self.entries.set_limit(slots);
    }

    fn bytes(&self) -> usize {
        self.links.bytes() + self.entries.bytes()
    }

    fn validate(&self, residents: usize, ghosts: usize) {
        assert_eq!((self.small.len() + self.main.len(), self.ghosts.len()), (residents, ghosts));
        let queues = [(self.small, Place::Small), (self.main, Place::Main), (self.ghosts, Place::Ghost)];
        for (queue, place) in queues {
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
