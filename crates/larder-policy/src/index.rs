//! Hash to slot, on hashbrown's table: 4-byte slots, the hash supplied by whoever holds the keys.
//!
//! A table of our own with linear probing and shift-back deletion was measured first and was slower, for the
//! branches its probe lengths mispredict.

use hashbrown::HashTable;

use crate::slots::Slot;

#[derive(Clone, Debug, Default)]
pub(crate) struct Index(HashTable<Slot>);

impl Index {
    #[inline]
    pub(crate) fn find(&self, hash: u64, mut is_it: impl FnMut(Slot) -> bool) -> Option<Slot> {
        self.0.find(hash, |&slot| is_it(slot)).copied()
    }

    /// Adds an entry that is not there yet. `hash_of` gives the hash of any entry, for when the table grows.
    #[inline]
    pub(crate) fn insert(&mut self, hash: u64, slot: Slot, hash_of: impl Fn(Slot) -> u64) {
        if self.0.len() == self.0.capacity() {
            self.sweep(&hash_of);
        }
        self.0.insert_unique(hash, slot, |&slot| hash_of(slot));
    }

    /// Removals leave tombstones, and when they fill a table that is more than half full, hashbrown doubles it. Up to three
    /// quarters, a fresh table of the same size is cheap enough and saves the memory.
    #[cold]
    fn sweep(&mut self, hash_of: impl Fn(Slot) -> u64) {
        let full = self.0.num_buckets() / 8 * 7;
        if self.0.len() < full / 4 * 3 {
            let mut fresh = HashTable::with_capacity(full);
            for &slot in &self.0 {
                fresh.insert_unique(hash_of(slot), slot, |&slot| hash_of(slot));
            }
            self.0 = fresh;
        }
    }

    /// Removes the entry of `slot`; returns whether it was there.
    #[inline]
    pub(crate) fn remove(&mut self, hash: u64, slot: Slot) -> bool {
        self.0.find_entry(hash, |&other| other == slot).map(|entry| entry.remove()).is_ok()
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn bytes(&self) -> usize {
        self.0.allocation_size()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    #[test]
    fn coming_and_going_does_not_grow_the_table() {
        let hash = |slot: Slot| crate::KeyHash::mix(u64::from(slot.0)).0;
        let mut index = Index::default();
        (0..10_000).for_each(|slot| index.insert(hash(Slot(slot)), Slot(slot), hash));
        let bytes = index.bytes();
        for slot in 10_000..200_000 {
            assert!(index.remove(hash(Slot(slot - 10_000)), Slot(slot - 10_000)));
            index.insert(hash(Slot(slot)), Slot(slot), hash);
        }
        assert_eq!(index.bytes(), bytes);
        assert!((190_000..200_000).all(|slot| index.find(hash(Slot(slot)), |other| other.0 == slot).is_some()));
    }

    proptest! {
        /// Few hashes, so that most entries collide.
        #[test]
        fn agrees_with_a_map(steps in prop::collection::vec((0u32..40, any::<bool>()), 1..400)) {
            let (mut index, mut model) = (Index::default(), BTreeMap::new());
            let hash = |key: u32| u64::from(key % 5) << 61 | u64::from(key % 3);
            for (step, &(key, insert)) in steps.iter().enumerate() {
                let slot = Slot(step as u32 * 40 + key);
                if insert && !model.contains_key(&key) {
                    index.insert(hash(key), slot, |slot| hash(slot.0 % 40));
                    model.insert(key, slot);
                } else if !insert {
                    let known = model.remove(&key);
                    prop_assert_eq!(index.remove(hash(key), known.unwrap_or(slot)), known.is_some());
                }
                for probe in 0..40 {
                    prop_assert_eq!(index.find(hash(probe), |slot| slot.0 % 40 == probe), model.get(&probe).copied());
                }
                prop_assert_eq!(index.len(), model.len());
            }
        }
    }
}
