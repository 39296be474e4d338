//! ARC: two LRU lists, seen once and seen again, whose balance follows the hits on the keys that left each.
//!
//! Megiddo, Modha, "ARC: a self-tuning, low overhead replacement cache", FAST 2003. Deviations: the lists are limited
//! by weight, as the capacity is; the target is a real number, not rounded. As in the reference, one ghost leaves for
//! each victim: where weights are unequal, the ghosts may outweigh the capacity.

use super::{Arrival, Eviction, Fate, Removal, Setup, slots};
use crate::list::Links;
use crate::queue::Queue;
use crate::slots::SlotVec;
use crate::{Access, Reuse, Slot};

/// Keys seen once and keys seen again; the index of a queue.
const RECENT: usize = 0;
const FREQUENT: usize = 1;

/// T1 and T2 (residents), B1 and B2 (ghosts of those that left them).
pub(crate) struct Arc {
    links: Links,
    /// `RECENT` or `FREQUENT`; for a ghost, where it was. Apart from the weights: a hit mostly reads nothing else.
    kinds: SlotVec<u8>,
    weights: SlotVec<u32>,
    residents: [Queue; 2],
    ghosts: [Queue; 2],
    /// Ghosts that are to be forgotten.
    forgotten: Vec<Slot>,
    capacity: u64,
    /// The weight wanted for those seen once.
    target: f64,
    /// What the victim's departure does to the ghosts: nothing until then, as the victim may yet be spared.
    oldest_leaves: Option<usize>,
    leaves_no_ghost: bool,
}

impl Arc {
    pub(crate) fn new(setup: &Setup<'_>) -> Self {
        let mut policy = Self {
            links: Links::new(None),
            kinds: SlotVec::new(None),
            weights: SlotVec::new(None),
            residents: [Queue::default(); 2],
            ghosts: [Queue::default(); 2],
            forgotten: Vec::new(),
            capacity: 0,
            target: 0.0,
            oldest_leaves: None,
            leaves_no_ghost: false,
        };
        policy.on_resize(setup.capacity, setup.objects);
        policy
    }

    /// REPLACE of the paper; `is_back` for a newcomer that was seen again before it left.
    fn replace(&self, is_back: bool) -> Option<Slot> {
        let [recent, frequent] = &self.residents;
        let weight = recent.weight as f64;
        let is_over = (weight > self.target) | ((weight == self.target) & is_back);
        // Which it is cannot be foreseen: chosen by index, not by a branch.
        let spares_recent = !frequent.is_empty() & (!is_over | recent.is_empty());
        self.residents[usize::from(spares_recent)].back()
    }

    /// Takes the oldest off a queue of ghosts; returns whether there was one.
    fn drop_oldest(&mut self, kind: usize) -> bool {
        let Some(oldest) = self.ghosts[kind].back() else { return false };
        self.ghosts[kind].remove(&mut self.links, oldest, self.weights[oldest]);
        self.forgotten.push(oldest);
        true
    }
}

impl Eviction for Arc {
    #[inline(always)]
    fn on_arrive(&mut self, newcomer: &Arrival) {
        let Some(ghost) = newcomer.ghost else { return };
        let [recent, frequent] = [0, 1].map(|kind| self.ghosts[kind].weight as f64);
        self.target = match usize::from(self.kinds[ghost]) {
            RECENT => (self.target + (frequent / recent).max(1.0)).min(self.capacity as f64),
            _ => (self.target - (recent / frequent).max(1.0)).max(0.0),
        };
    }

    #[inline(always)]
    fn victim(&mut self, newcomer: Option<&Arrival>) -> Option<Slot> {
        (self.oldest_leaves, self.leaves_no_ghost) = (None, false);
        let Some(newcomer) = newcomer else { return self.replace(false) };
        if let Some(ghost) = newcomer.ghost {
            return self.replace(usize::from(self.kinds[ghost]) == FREQUENT);
        }
        // Case IV of the paper: known to none of the lists.
        let seen_once = self.residents[RECENT].weight + self.ghosts[RECENT].weight;
        if seen_once + u64::from(newcomer.weight) > self.capacity {
            if self.ghosts[RECENT].is_empty() {
                self.leaves_no_ghost = true;
                return self.residents[RECENT].back().or(self.residents[FREQUENT].back());
            }
            self.oldest_leaves = Some(RECENT);
        } else {
            let seen_again = self.residents[FREQUENT].weight + self.ghosts[FREQUENT].weight;
            let is_full = seen_once + seen_again >= self.capacity.saturating_mul(2);
            self.oldest_leaves = is_full.then_some(FREQUENT);
        }
        self.replace(false)
    }

    #[inline(always)]
    fn on_insert(&mut self, slot: Slot, newcomer: &Arrival) {
        let weight = newcomer.weight;
        let mut kind = RECENT;
        if newcomer.ghost.is_some() {
            self.ghosts[usize::from(self.kinds[slot])].remove(&mut self.links, slot, self.weights[slot]);
            kind = FREQUENT;
        }
        self.residents[kind].push_front(&mut self.links, slot, weight);
        self.kinds.put(slot, kind as u8);
        self.weights.put(slot, weight);
    }

    #[inline(always)]
    fn on_hit(&mut self, slot: Slot, _: &Access, _: Reuse) -> Option<Slot> {
        let kind = &mut self.kinds[slot];
        let [recent, frequent] = &mut self.residents;
        if usize::from(*kind) == FREQUENT {
            frequent.list.move_to_front(&mut self.links, slot);
        } else {
            *kind = FREQUENT as u8;
            let weight = self.weights[slot];
            recent.remove(&mut self.links, slot, weight);
            frequent.push_front(&mut self.links, slot, weight);
        }
        None
    }

    fn on_reweigh(&mut self, slot: Slot, from: u32, to: u32) {
        self.weights[slot] = to;
        self.residents[usize::from(self.kinds[slot])].reweigh(from, to);
    }

    #[inline(always)]
    fn on_remove(&mut self, slot: Slot, why: Removal) -> Fate {
        let (kind, weight) = (usize::from(self.kinds[slot]), self.weights[slot]);
        self.residents[kind].remove(&mut self.links, slot, weight);
        if why != Removal::Evicted {
            return Fate::Gone;
        }
        if let Some(oldest) = self.oldest_leaves {
            self.drop_oldest(oldest);
        }
        if self.leaves_no_ghost {
            return Fate::Gone;
        }
        self.ghosts[kind].push_front(&mut self.links, slot, weight);
        Fate::Ghost
    }

    #[inline(always)]
    fn forget(&mut self) -> Option<Slot> {
        self.forgotten.pop()
    }

    fn most_ghosts(&self, objects: usize) -> usize {
        objects
    }

    fn on_resize(&mut self, capacity: u64, objects: Option<usize>) {
        self.capacity = capacity;
        self.target = self.target.min(capacity as f64);
        let slots = slots(self, objects);
        self.links.set_limit(slots);
        self.kinds.set_limit(slots);
        self.weights.set_limit(slots);
        while self.ghosts[RECENT].weight + self.ghosts[FREQUENT].weight > capacity {
            let _ = self.drop_oldest(FREQUENT) || self.drop_oldest(RECENT);
        }
    }

    fn bytes(&self) -> usize {
        self.links.bytes() + self.kinds.bytes() + self.weights.bytes() + self.forgotten.capacity() * size_of::<Slot>()
    }

    fn validate(&self, residents: usize, ghosts: usize) {
        let len = |queues: &[Queue; 2]| queues.iter().map(Queue::len).sum::<usize>();
        assert_eq!((len(&self.residents), len(&self.ghosts)), (residents, ghosts));
        assert!(self.forgotten.is_empty(), "the shard was not told what to forget");
        assert!((0.0..=self.capacity as f64).contains(&self.target), "target {}", self.target);
        for queues in [&self.residents, &self.ghosts] {
            for (queue, kind) in queues.iter().zip(0..) {
                queue.validate(&self.links, |slot| {
                    assert_eq!(self.kinds[slot], kind, "{slot:?}");
                    self.weights[slot]
                });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::Cache;

    #[test]
    fn ghosts_move_the_target() {
        let mut cache = Cache::objects("arc", 3);
        assert_eq!(cache.read("abcad"), "b", "a was seen again; b is the older of those seen once");
        assert_eq!(cache.read("b"), "c", "b returns: one of those seen once is wanted from now on");
        assert_eq!(cache.read("e"), "a", "so the last of those, d, stays");
        assert_eq!(cache.read("a"), "d", "a returns: none is wanted any more");
        assert_eq!(cache.residents(), "abe");
    }

    #[test]
    fn a_refused_newcomer_costs_no_ghost() {
        let mut cache = Cache::objects("arc+size:most=1", 3);
        assert_eq!(cache.read("abcad"), "b");
        assert_eq!(cache.read("XYZ"), "!X!Y!Z");
        // As above: b is still remembered.
        assert_eq!(cache.read("be"), "ca");
    }
}
