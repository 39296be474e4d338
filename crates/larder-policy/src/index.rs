//! Hash to slot: open addressing with linear probing, one 8-byte cell an entry.
//!
//! A cell holds the hash's upper 32 bits beside the slot, and the same 32 bits give the home cell by multiplication
//! (Lemire, "Fast random integer generation in an interval", 2019), so the table may have any length, growing and
//! deleting never touch the entries, and a probe reads an entry only when 32 bits agree. Deletion shifts back
//! (Knuth, TAOCP 6.4, algorithm R), so there are no tombstones and a long run does not slow down.

use crate::slots::Slot;

const EMPTY: u64 = 0;
const LEAST_CELLS: usize = 16;

#[derive(Clone, Debug)]
pub(crate) struct Index {
    /// `tag << 32 | slot + 1`, or `EMPTY`.
    cells: Vec<u64>,
    len: usize,
    /// The cells wanted at the expected number of entries; growth stops there for a while.
    expected_cells: usize,
}

impl Index {
    /// `expected` is the most entries there will be, when known: growing then stops at 5/8 full.
    pub(crate) fn new(expected: Option<usize>) -> Self {
        let expected_cells = expected.map_or(usize::MAX, |n| (n + n / 2 + n / 8).max(LEAST_CELLS));
        Self { cells: vec![EMPTY; LEAST_CELLS.min(expected_cells)], len: 0, expected_cells }
    }

    #[inline]
    pub(crate) fn find(&self, hash: u64, mut is_it: impl FnMut(Slot) -> bool) -> Option<Slot> {
        let tag = tag_of(hash);
        let mut at = self.home(tag);
        loop {
            let cell = self.cells[at];
            if cell == EMPTY {
                return None;
            }
            if (cell >> 32) as u32 == tag {
                let slot = slot_of(cell);
                if is_it(slot) {
                    return Some(slot);
                }
            }
            at = self.after(at);
        }
    }

    /// Adds an entry that is not there yet.
    #[inline]
    pub(crate) fn insert(&mut self, hash: u64, slot: Slot) {
        if (self.len + 1) * 4 > self.cells.len() * 3 {
            self.grow();
        }
        self.len += 1;
        self.place((u64::from(tag_of(hash)) << 32) | (u64::from(slot.0) + 1));
    }

    /// Removes the entry of `slot`; returns whether it was there.
    #[inline]
    pub(crate) fn remove(&mut self, hash: u64, slot: Slot) -> bool {
        let wanted = (u64::from(tag_of(hash)) << 32) | (u64::from(slot.0) + 1);
        let mut hole = self.home(tag_of(hash));
        loop {
            let cell = self.cells[hole];
            if cell == EMPTY {
                return false;
            }
            if cell == wanted {
                break;
            }
            hole = self.after(hole);
        }
        self.len -= 1;
        let mut at = hole;
        loop {
            at = self.after(at);
            let cell = self.cells[at];
            if cell == EMPTY {
                break;
            }
            let home = self.home((cell >> 32) as u32);
            // The cell may fill the hole unless its home lies cyclically behind the hole.
            if self.distance(home, at) >= self.distance(hole, at) {
                self.cells[hole] = cell;
                hole = at;
            }
        }
        self.cells[hole] = EMPTY;
        true
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn bytes(&self) -> usize {
        self.cells.capacity() * size_of::<u64>()
    }

    /// Asserts that every cell can be reached from its home and that the count is right.
    pub(crate) fn validate(&self) {
        let mut seen = 0;
        for (at, &cell) in self.cells.iter().enumerate() {
            if cell == EMPTY {
                continue;
            }
            seen += 1;
            let mut probe = self.home((cell >> 32) as u32);
            while probe != at {
                assert_ne!(self.cells[probe], EMPTY, "cell {at} cannot be reached from its home");
                probe = self.after(probe);
            }
        }
        assert_eq!(seen, self.len, "index counts {} entries", self.len);
    }

    #[inline]
    fn home(&self, tag: u32) -> usize {
        ((u64::from(tag) * self.cells.len() as u64) >> 32) as usize
    }

    #[inline]
    fn after(&self, at: usize) -> usize {
        if at + 1 == self.cells.len() { 0 } else { at + 1 }
    }

    #[inline]
    fn distance(&self, from: usize, to: usize) -> usize {
        if to >= from { to - from } else { to + self.cells.len() - from }
    }

    #[inline]
    fn place(&mut self, cell: u64) {
        let mut at = self.home((cell >> 32) as u32);
        while self.cells[at] != EMPTY {
            at = self.after(at);
        }
        self.cells[at] = cell;
    }

    #[cold]
    fn grow(&mut self) {
        let doubled = self.cells.len() * 2;
        let cells = if self.cells.len() < self.expected_cells { doubled.min(self.expected_cells) } else { doubled };
        let old = std::mem::replace(&mut self.cells, vec![EMPTY; cells]);
        for cell in old.into_iter().filter(|&cell| cell != EMPTY) {
            self.place(cell);
        }
    }
}

#[inline]
fn tag_of(hash: u64) -> u32 {
    (hash >> 32) as u32
}

#[inline]
fn slot_of(cell: u64) -> Slot {
    Slot((cell as u32).wrapping_sub(1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    proptest! {
        /// Few homes, so that runs wrap around the end and deletions shift across it.
        #[test]
        fn agrees_with_a_map(steps in prop::collection::vec((0u64..40, any::<bool>()), 1..400), expected in prop::option::of(1usize..64)) {
            let mut index = Index::new(expected);
            let mut model: BTreeMap<u64, u32> = BTreeMap::new();
            let hash = |key: u64| (key % 5) << 62 | (key / 5) << 33 | key;
            for (step, &(key, insert)) in steps.iter().enumerate() {
                if insert && !model.contains_key(&key) {
                    model.insert(key, key as u32 * 1000 + step as u32);
                    index.insert(hash(key), Slot(model[&key]));
                } else if !insert {
                    match model.remove(&key) {
                        Some(slot) => prop_assert!(index.remove(hash(key), Slot(slot))),
                        None => prop_assert!(!index.remove(hash(key), Slot(7_000_000))),
                    }
                }
                index.validate();
                for probe in 0..40 {
                    let found = index.find(hash(probe), |slot| u64::from(slot.0) / 1000 == probe);
                    prop_assert_eq!(found, model.get(&probe).map(|&slot| Slot(slot)));
                }
            }
            prop_assert_eq!(index.len(), model.len());
        }
    }

    #[test]
    fn stops_growing_at_what_is_expected() {
        let mut index = Index::new(Some(1000));
        for slot in 0..1000u32 {
            index.insert(crate::KeyHash::mix(u64::from(slot)).0, Slot(slot));
        }
        assert_eq!(index.bytes(), 1625 * 8);
    }
}
