//! Keys that were here lately: what is left of an entry after its eviction.

use crate::KeyHash;
use crate::index::Index;
use crate::list::{Links, List};
use crate::slots::{Slot, SlotVec};

/// A queue of keys without values, from the newest to the oldest, with membership in O(1).
#[derive(Clone, Debug)]
pub(crate) struct Ghosts {
    index: Index,
    keys: SlotVec<(KeyHash, u32)>,
    links: Links,
    queue: List,
    free: Vec<Slot>,
    weight: u64,
}

impl Ghosts {
    /// `expected` is the most keys there will be, when known.
    pub(crate) fn new(expected: Option<usize>) -> Self {
        Self {
            index: Index::default(),
            keys: SlotVec::new(expected),
            links: Links::new(expected),
            queue: List::default(),
            free: Vec::new(),
            weight: 0,
        }
    }

    /// Adds a key that is not there yet as the newest.
    #[inline]
    pub(crate) fn push(&mut self, key: KeyHash, weight: u32) {
        let slot = self.free.pop().unwrap_or(Slot(self.keys.len() as u32));
        self.keys.put(slot, (key, weight));
        let keys = &self.keys;
        self.index.insert(key.0, slot, |slot| keys[slot].0.0);
        self.queue.push_front(&mut self.links, slot);
        self.weight += u64::from(weight);
    }

    /// Adds a key as the newest, then drops the oldest until the weight is within `limit`. A key alone heavier than
    /// the limit is not added.
    #[inline]
    pub(crate) fn push_within(&mut self, key: KeyHash, weight: u32, limit: u64) {
        if u64::from(weight) > limit || self.find(key).is_some() {
            return;
        }
        while self.weight + u64::from(weight) > limit {
            self.pop_oldest();
        }
        self.push(key, weight);
    }

    /// Takes out `key` if it is there, and returns its weight.
    #[inline]
    pub(crate) fn remove(&mut self, key: KeyHash) -> Option<u32> {
        self.find(key).map(|slot| self.take(slot))
    }

    pub(crate) fn pop_oldest(&mut self) -> Option<KeyHash> {
        let slot = self.queue.back()?;
        let key = self.keys[slot].0;
        self.take(slot);
        Some(key)
    }

    #[inline]
    pub(crate) fn weight(&self) -> u64 {
        self.weight
    }

    pub(crate) fn bytes(&self) -> usize {
        self.index.bytes() + self.keys.bytes() + self.links.bytes() + self.free.capacity() * size_of::<Slot>()
    }

    pub(crate) fn validate(&self) {
        self.queue.validate(&self.links);
        assert_eq!(self.index.len(), self.queue.len());
        let weight: u64 = self.queue.iter(&self.links).map(|slot| u64::from(self.keys[slot].1)).sum();
        assert_eq!(self.weight, weight, "the ghosts' weight is wrong");
    }

    #[inline]
    fn find(&self, key: KeyHash) -> Option<Slot> {
        self.index.find(key.0, |slot| self.keys[slot].0 == key)
    }

    fn take(&mut self, slot: Slot) -> u32 {
        let (key, weight) = self.keys[slot];
        self.index.remove(key.0, slot);
        self.queue.remove(&mut self.links, slot);
        self.free.push(slot);
        self.weight -= u64::from(weight);
        weight
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn agrees_with_a_deque(steps in prop::collection::vec((0u64..30, 1u32..5, 0u8..3), 1..300), limit in 1u64..40) {
            let mut ghosts = Ghosts::new(None);
            let mut model: Vec<(KeyHash, u32)> = Vec::new();
            for (key, weight, step) in steps {
                let key = KeyHash::mix(key);
                match step {
                    0 => {
                        let known = model.iter().position(|ghost| ghost.0 == key);
                        prop_assert_eq!(ghosts.remove(key), known.map(|at| model.remove(at).1));
                    }
                    1 => prop_assert_eq!(ghosts.pop_oldest(), if model.is_empty() { None } else { Some(model.remove(0).0) }),
                    _ => {
                        ghosts.push_within(key, weight, limit);
                        if u64::from(weight) <= limit && !model.iter().any(|ghost| ghost.0 == key) {
                            model.push((key, weight));
                            while model.iter().map(|ghost| u64::from(ghost.1)).sum::<u64>() > limit {
                                model.remove(0);
                            }
                        }
                    }
                }
                ghosts.validate();
                prop_assert_eq!(ghosts.weight(), model.iter().map(|ghost| u64::from(ghost.1)).sum::<u64>());
            }
        }
    }
}
