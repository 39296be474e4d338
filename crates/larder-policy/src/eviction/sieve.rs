//! SIEVE: a hand walks from the oldest to the newest and takes the first unvisited resident; nothing moves.
//!
//! Zhang, Yang, Yue, Vigfusson, Rashmi, "SIEVE is simpler than LRU", NSDI 2024. No deviation.

use super::{Arrival, Eviction, Fate, Removal, Setup};
use crate::list::{Links, List};
use crate::slots::SlotVec;
use crate::{Access, Reuse, Slot};

/// A list in order of arrival, a visited mark each, and the hand.
pub(crate) struct Sieve {
    links: Links,
    queue: List,
    visited: SlotVec<bool>,
    /// Where the next search begins; `None` is the oldest.
    hand: Option<Slot>,
}

impl Sieve {
    pub(crate) fn new(setup: &Setup<'_>) -> Self {
        Self {
            links: Links::new(setup.objects),
            queue: List::default(),
            visited: SlotVec::new(setup.objects),
            hand: None,
        }
    }
}

impl Eviction for Sieve {
    #[inline]
    fn victim(&mut self, _: Option<&Arrival>) -> Option<Slot> {
        let mut at = self.hand.or(self.queue.back())?;
        while self.visited[at] {
            self.visited[at] = false;
            at = List::newer(&self.links, at).or(self.queue.back())?;
        }
        self.hand = Some(at);
        Some(at)
    }

    #[inline]
    fn on_insert(&mut self, slot: Slot, _: &Arrival) {
        self.visited.put(slot, false);
        self.queue.push_front(&mut self.links, slot);
    }

    fn on_hit(&mut self, slot: Slot, _: &Access, _: Reuse) -> Option<Slot> {
        self.visited[slot] = true;
        None
    }

    #[inline]
    fn on_remove(&mut self, slot: Slot, _: Removal) -> Fate {
        if self.hand == Some(slot) {
            self.hand = List::newer(&self.links, slot);
        }
        self.queue.remove(&mut self.links, slot);
        Fate::Gone
    }

    fn on_resize(&mut self, _: u64, objects: Option<usize>) {
        self.links.set_limit(objects);
        self.visited.set_limit(objects);
    }

    fn bytes(&self) -> usize {
        self.links.bytes() + self.visited.bytes()
    }

    fn validate(&self, residents: usize, _: usize) {
        self.queue.validate(&self.links);
        assert_eq!(self.queue.len(), residents);
        assert!(self.hand.is_none_or(|hand| self.queue.iter(&self.links).any(|slot| slot == hand)));
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::{Cache, key};

    #[test]
    fn the_hand_goes_on_to_the_newest_before_it_returns() {
        let mut cache = Cache::objects("sieve", 3);
        // LRU and CLOCK would let `a` go third; the hand passes by d first.
        assert_eq!(cache.read("abcadef"), "bcd");
        assert_eq!(cache.residents(), "aef");
    }

    #[test]
    fn the_hand_outlives_a_removal_under_it() {
        let mut cache = Cache::objects("sieve", 3);
        assert_eq!(cache.read("abcad"), "b");
        // The hand points to c: it moves on to d, not back to the oldest.
        assert_eq!(cache.shard.remove(key('c')), Some('c'));
        assert_eq!(cache.read("ef"), "d");
    }
}
