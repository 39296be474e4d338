//! ARC: two LRU lists, seen once and seen again, whose balance follows the hits on the keys that left each.
//!
//! Megiddo, Modha, "ARC: a self-tuning, low overhead replacement cache", FAST 2003. Deviations: the lists are limited
//! by weight, as the capacity is; the target is a real number, not rounded.

use super::{Arrival, Eviction, Removal, Setup};
use crate::ghosts::Ghosts;
use crate::list::{Links, List};
use crate::slots::SlotVec;
use crate::{Access, KeyHash, Reuse, Slot};

#[derive(Clone, Copy)]
struct Resident {
    weight: u32,
    is_frequent: bool,
}

/// Which memory the newcomer was in.
#[derive(Clone, Copy, PartialEq)]
enum Return {
    No,
    Recent,
    Frequent,
}

/// T1 and T2 (residents), B1 and B2 (keys that left them).
pub(crate) struct Arc {
    links: Links,
    residents: SlotVec<Resident>,
    recent: List,
    frequent: List,
    recent_weight: u64,
    frequent_weight: u64,
    recent_ghosts: Ghosts,
    frequent_ghosts: Ghosts,
    capacity: u64,
    /// The weight wanted for `recent`.
    target: f64,
    returns: Return,
    /// The next evicted resident is not remembered.
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
            recent_ghosts: Ghosts::new(setup.objects),
            frequent_ghosts: Ghosts::new(setup.objects),
            capacity: setup.capacity,
            target: 0.0,
            returns: Return::No,
            forget: false,
        }
    }

    /// REPLACE of the paper.
    fn replace(&self) -> Option<Slot> {
        let recent = self.recent_weight as f64;
        let is_over = recent > self.target || (recent == self.target && self.returns == Return::Frequent);
        if self.frequent.is_empty() || (is_over && !self.recent.is_empty()) {
            self.recent.back()
        } else {
            self.frequent.back()
        }
    }
}

impl Eviction for Arc {
    fn on_arrive(&mut self, newcomer: &Arrival) {
        let key = newcomer.access.key;
        let (recent, frequent) = (self.recent_ghosts.weight() as f64, self.frequent_ghosts.weight() as f64);
        self.returns = if self.recent_ghosts.remove(key).is_some() {
            self.target = (self.target + (frequent / recent).max(1.0)).min(self.capacity as f64);
            Return::Recent
        } else if self.frequent_ghosts.remove(key).is_some() {
            self.target = (self.target - (recent / frequent).max(1.0)).max(0.0);
            Return::Frequent
        } else {
            Return::No
        };
    }

    fn victim(&mut self, newcomer: Option<&Arrival>) -> Option<Slot> {
        self.forget = false;
        let Some(newcomer) = newcomer.filter(|_| self.returns == Return::No) else {
            return self.replace();
        };
        // Case IV of the paper: known to none of the lists.
        let seen_once = self.recent_weight + self.recent_ghosts.weight();
        if seen_once + u64::from(newcomer.weight) > self.capacity {
            if self.recent_ghosts.pop_oldest().is_none() {
                self.forget = true;
                return self.recent.back().or(self.frequent.back());
            }
        } else if seen_once + self.frequent_weight + self.frequent_ghosts.weight() >= 2 * self.capacity {
            self.frequent_ghosts.pop_oldest();
        }
        self.replace()
    }

    fn on_insert(&mut self, slot: Slot, newcomer: &Arrival) {
        let is_frequent = self.returns != Return::No;
        self.residents.put(slot, Resident { weight: newcomer.weight, is_frequent });
        if is_frequent {
            self.frequent.push_front(&mut self.links, slot);
            self.frequent_weight += u64::from(newcomer.weight);
        } else {
            self.recent.push_front(&mut self.links, slot);
            self.recent_weight += u64::from(newcomer.weight);
        }
        self.returns = Return::No;
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
        let remember = why == Removal::Evicted && !std::mem::take(&mut self.forget);
        let (list, list_weight, ghosts) = if is_frequent {
            (&mut self.frequent, &mut self.frequent_weight, &mut self.frequent_ghosts)
        } else {
            (&mut self.recent, &mut self.recent_weight, &mut self.recent_ghosts)
        };
        list.remove(&mut self.links, slot);
        *list_weight -= u64::from(weight);
        if remember {
            ghosts.remove(key);
            ghosts.push(key, weight);
        }
    }

    fn on_resize(&mut self, capacity: u64, objects: Option<usize>) {
        self.capacity = capacity;
        self.target = self.target.min(capacity as f64);
        self.links.set_limit(objects);
        self.residents.set_limit(objects);
        while self.recent_ghosts.weight() + self.frequent_ghosts.weight() > capacity {
            if self.frequent_ghosts.pop_oldest().is_none() && self.recent_ghosts.pop_oldest().is_none() {
                break;
            }
        }
    }

    fn bytes(&self) -> usize {
        self.links.bytes() + self.residents.bytes() + self.recent_ghosts.bytes() + self.frequent_ghosts.bytes()
    }

    fn validate(&self, residents: usize) {
        self.recent.validate(&self.links);
        self.frequent.validate(&self.links);
        self.recent_ghosts.validate();
        self.frequent_ghosts.validate();
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
