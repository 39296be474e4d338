//! A shard's invariants.

use super::Shard;
use crate::eviction::Eviction;
use crate::slots::{NIL, Slot};

impl<V, E: Eviction + ?Sized> Shard<V, E> {
    /// Recomputes every invariant.
    ///
    /// # Panics
    /// When one is broken.
    pub fn validate(&self) {
        self.wheel.validate();
        let mut is_free = vec![false; self.entries.len()];
        let mut free = self.free;
        while free != NIL {
            let again = std::mem::replace(&mut is_free[free as usize], true);
            assert!(!again, "slot {free} is free twice");
            free = self.entries[Slot(free)].key.0 as u32;
        }
        let (mut residents, mut ghosts, mut used) = (0, 0, 0);
        for (at, entry) in self.entries.iter().enumerate() {
            let slot = Slot(at as u32);
            assert_eq!(entry.weight == 0, is_free[at], "{slot:?} is neither in use nor free, or both");
            if entry.weight > 0 {
                assert_eq!(self.find(entry.key), Some(slot), "{slot:?} cannot be found");
            }
            if entry.is_resident() {
                residents += 1;
                used += u64::from(entry.weight);
                assert!(self.values.at(entry.place).is_some(), "resident {slot:?} has no value");
            } else {
                ghosts += usize::from(entry.is_ghost());
                assert_eq!(self.wheel.expiry(slot), None, "{slot:?} is no resident and has an expiry");
            }
        }
        assert_eq!((self.len(), self.ghosts), (residents, ghosts), "index and slots disagree");
        assert_eq!(self.values.count(), residents, "values and slots disagree");
        assert_eq!(self.used, used, "the weight is wrong");
        if let Some(missed) = self.missed {
            assert_eq!(self.find(missed.key), missed.ghost, "what was missed has changed");
            assert!(missed.ghost.is_none_or(|slot| self.entries[slot].is_ghost()), "a resident is taken to be absent");
        }
        assert!(self.used <= self.capacity.limit, "over capacity: {} of {}", self.used, self.capacity.limit);
        self.policy.eviction.validate(residents, ghosts);
    }
}
