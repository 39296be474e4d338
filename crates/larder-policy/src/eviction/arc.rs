//! ARC: two LRU lists, seen once and seen again, whose balance follows the hits on the keys that left each.
//!
//! Megiddo, Modha, "ARC: a self-tuning, low overhead replacement cache", FAST 2003. Deviations: the lists are limited
//! by weight, as the capacity is; the target is a real number, not rounded. As in the reference, one ghost leaves for
//! each victim: where weights are unequal, the ghosts may outweigh the capacity.

use super::{Arrival, Eviction, Removal, Setup};
use crate::ghosts::Ghosts;
use crate::list::{Links, List};
use crate::slots::SlotVec;
use crate::{Access, KeyHash, Reuse, Slot};

/// The ghost queues: keys that left the list of those seen once (B1), and of those seen again (B2).
const RECENT: usize = 0;
const FREQUENT: usize = 1;

#[derive(Clone, Copy)]
struct Resident {
    weight: u32,
    is_frequent: bool,
}

/// T1 and T2 (residents), B1 and B2 (keys that left them).
pub(crate) struct Arc {
    links: Links,
    residents: SlotVec<Resident>,
    recent: List,
    frequent: List,
    recent_weight: u64,
    frequent_weight: u64,
    ghosts: Ghosts<2>,
    capacity: u64,
    /// The weight wanted for `recent`.
    target: f64,
    /// The ghost queue the newcomer was on.
    returns: Option<usize>,
    /// What the victim's departure does to the ghosts: nothing until then, as the victim may yet be spared.
    oldest_leaves: Option<usize>,
    forget: bool,
}

impl Arc {
    pub(crate) fn new(setup: &Setup<'_>) -> Self {
        Self {
            links: Links::new(setup.objects),
            residents: SlotVec::new(setup.objects),
            recent: List::default(),
            frequent: List::default(),
            recent_weight: 0,
            frequent_weight: 0,
            ghosts: Ghosts::new(setup.objects),
            capacity: setup.capacity,
            target: 0.0,
            returns: None,
            oldest_leaves: None,
            forget: false,
        }
    }

    /// REPLACE of the paper, for a newcomer that was on the ghost queue `returns`.
    fn replace(&self, returns: Option<usize>) -> Option<Slot> {
        let recent = self.recent_weight as f64;
        let is_over = recent > self.target || (recent == self.target && returns == Some(FREQUENT));
        if self.frequent.is_empty() || (is_over && !self.recent.is_empty()) {
            self.recent.back()
        } else {
            self.frequent.back()
        }
    }
}

impl Eviction for Arc {
    fn on_arrive(&mut self, newcomer: &Arrival) {
        let (recent, frequent) = (self.ghosts.weight(RECENT), self.ghosts.weight(FREQUENT));
        self.returns = self.ghosts.remove(newcomer.access.key);
        let Some(queue) = self.returns else { return };
        let (recent, frequent) = (recent as f64, frequent as f64);
        self.target = match queue {
            RECENT => (self.target + (frequent / recent).max(1.0)).min(self.capacity as f64),
            _ => (self.target - (recent / frequent).max(1.0)).max(0.0),
        };
    }

    fn victim(&mut self, newcomer: Option<&Arrival>) -> Option<Slot> {
        (self.oldest_leaves, self.forget) = (None, false);
        let Some(newcomer) = newcomer else { return self.replace(None) };
        if self.returns.is_some() {
            return self.replace(self.returns);
        }
        // Case IV of the paper: known to none of the lists.
        let seen_once = self.recent_weight + self.ghosts.weight(RECENT);
        if seen_once + u64::from(newcomer.weight) > self.capacity {
            if self.ghosts.weight(RECENT) == 0 {
                self.forget = true;
                return self.recent.back().or(self.frequent.back());
            }
            self.oldest_leaves = Some(RECENT);
        } else if seen_once + self.frequent_weight + self.ghosts.weight(FREQUENT) >= self.capacity.saturating_mul(2) {
            self.oldest_leaves = Some(FREQUENT);
        }
        self.replace(None)
    }

    fn on_insert(&mut self, slot: Slot, newcomer: &Arrival) {
        let is_frequent = self.returns.take().is_some();
        self.residents.put(slot, Resident { weight: newcomer.weight, is_frequent });
        if is_frequent {
            self.frequent.push_front(&mut self.links, slot);
            self.frequent_weight += u64::from(newcomer.weight);
        } else {
            self.recent.push_front(&mut self.links, slot);
            self.recent_weight += u64::from(newcomer.weight);
        }
    }

    fn on_hit(&mut self, slot: Slot, _: &Access, _: Reuse) -> Option<Slot> {
        let resident = &mut self.residents[slot];
        if resident.is_frequent {
            self.frequent.move_to_front(&mut self.links, slot);
            return None;
        }
        resident.is_frequent = true;
        let weight = u64::from(resident.weight);
        self.recent.remove(&mut self.links, slot);
        self.frequent.push_front(&mut self.links, slot);
        self.recent_weight -= weight;
        self.frequent_weight += weight;
        None
    }

    fn on_reweigh(&mut self, slot: Slot, from: u32, to: u32) {
        let resident = &mut self.residents[slot];
        resident.weight = to;
        let list = if resident.is_frequent { &mut self.frequent_weight } else { &mut self.recent_weight };
        *list = *list - u64::from(from) + u64::from(to);
    }

    fn on_remove(&mut self, slot: Slot, key: KeyHash, why: Removal) {
        let Resident { weight, is_frequent } = self.residents[slot];
        let (list, list_weight, queue) = if is_frequent {
            (&mut self.frequent, &mut self.frequent_weight, FREQUENT)
        } else {
            (&mut self.recent, &mut self.recent_weight, RECENT)
        };
        list.remove(&mut self.links, slot);
        *list_weight -= u64::from(weight);
        if why != Removal::Evicted {
            return;
        }
        if let Some(oldest) = self.oldest_leaves {
            self.ghosts.pop_oldest(oldest);
        }
        if !self.forget {
            self.ghosts.push(queue, key, weight);
        }
    }

    fn on_resize(&mut self, capacity: u64, objects: Option<usize>) {
        self.capacity = capacity;
        self.target = self.target.min(capacity as f64);
        self.links.set_limit(objects);
        self.residents.set_limit(objects);
        self.ghosts.set_limit(objects);
        while self.ghosts.weight(RECENT) + self.ghosts.weight(FREQUENT) > capacity {
            let _ = self.ghosts.pop_oldest(FREQUENT) || self.ghosts.pop_oldest(RECENT);
        }
    }

    fn bytes(&self) -> usize {
        self.links.bytes() + self.residents.bytes() + self.ghosts.bytes()
    }

    fn validate(&self, residents: usize) {
        self.recent.validate(&self.links);
        self.frequent.validate(&self.links);
        self.ghosts.validate();
        assert_eq!(self.recent.len() + self.frequent.len(), residents);
        assert!((0.0..=self.capacity as f64).contains(&self.target), "target {}", self.target);
        let lists = [(self.recent, false, self.recent_weight), (self.frequent, true, self.frequent_weight)];
        for (list, is_frequent, weight) in lists {
            assert!(list.iter(&self.links).all(|slot| self.residents[slot].is_frequent == is_frequent));
            let weights = list.iter(&self.links).map(|slot| u64::from(self.residents[slot].weight));
            assert_eq!(weight, weights.sum::<u64>());
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
