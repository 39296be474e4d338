//! Hash to slot, in groups of twelve cells whose tags are compared at once; whoever holds the keys supplies the hash.
//!
//! In the manner of F14 (Bronson, Shi, "Open-sourcing F14 for faster, more memory-efficient hash tables", 2019): a group counts
//! the entries that found it full and went on to the next, so that a removal leaves no tombstone. A cache removes as often
//! as it inserts; the tombstones of hashbrown's table lengthened its probes until it was built anew.

use wide::u8x16;

use crate::slots::{NIL, Slot};

/// Cells of a group.
const CELLS: usize = 12;
/// Entries for each group of a full table. More save memory and cost time: at 6, one insertion in 50 finds its group full, at
/// 7 one in 19 (Poisson).
const FILL: usize = 6;
/// Where a group counts those that went on; a count that reaches its end stays there.
const PASSED: usize = 15;

/// A processor's cache line: one read of memory for tags and slots.
#[derive(Clone, Debug)]
#[repr(align(64))]
struct Group {
    /// What a cell's entry has of its hash; 0 in an empty one. The last is the count of those that went on.
    tags: [u8; 16],
    slots: [u32; CELLS],
}

impl Group {
    const EMPTY: Self = Self { tags: [0; 16], slots: [NIL; CELLS] };

    /// The cells with this tag, a bit each.
    #[inline(always)]
    fn cells(&self, tag: u8) -> Cells {
        Cells(u8x16::new(self.tags).simd_eq(u8x16::splat(tag)).to_bitmask() & ((1 << CELLS) - 1))
    }
}

struct Cells(u32);

impl Iterator for Cells {
    type Item = usize;

    #[inline(always)]
    fn next(&mut self) -> Option<usize> {
        let cell = self.0.trailing_zeros() as usize;
        self.0 &= self.0.wrapping_sub(1);
        (cell < CELLS).then_some(cell)
    }
}

/// Any number of groups at least 1.
#[derive(Clone, Debug)]
pub(crate) struct Index {
    groups: Vec<Group>,
    len: usize,
    /// Groups for all entries that are expected.
    enough: usize,
}

impl Index {
    /// For up to `limit` entries, if that is known; room grows as they come.
    pub(crate) fn new(limit: Option<usize>) -> Self {
        let mut index = Self { groups: vec![Group::EMPTY], len: 0, enough: 0 };
        index.set_limit(limit);
        index
    }

    #[inline(always)]
    pub(crate) fn find(&self, hash: u64, is_it: impl FnMut(Slot) -> bool) -> Option<Slot> {
        self.search(hash, is_it).map(|(at, cell)| Slot(self.groups[at].slots[cell]))
    }

    /// The group and cell of an entry.
    #[inline(always)]
    fn search(&self, hash: u64, mut is_it: impl FnMut(Slot) -> bool) -> Option<(usize, usize)> {
        let tag = tag(hash);
        let mut at = self.home(hash);
        loop {
            let group = &self.groups[at];
            for cell in group.cells(tag) {
                if is_it(Slot(group.slots[cell])) {
                    return Some((at, cell));
                }
            }
            if group.tags[PASSED] == 0 {
                return None;
            }
            at = self.after(at);
        }
    }

    /// Adds an entry that is not there yet. `hash_of` gives the hash of any entry, for when the table grows.
    #[inline(always)]
    pub(crate) fn insert(&mut self, hash: u64, slot: Slot, hash_of: impl Fn(Slot) -> u64) {
        if self.len >= self.groups.len() * FILL {
            self.grow(hash_of);
        }
        self.put(hash, slot);
        self.len += 1;
    }

    #[inline(always)]
    fn put(&mut self, hash: u64, slot: Slot) {
        let mut at = self.home(hash);
        loop {
            let group = &mut self.groups[at];
            if let Some(cell) = group.cells(0).next() {
                group.tags[cell] = tag(hash);
                group.slots[cell] = slot.0;
                return;
            }
            group.tags[PASSED] = group.tags[PASSED].saturating_add(1);
            at = self.after(at);
        }
    }

    /// By half, and no further than to what is expected.
    #[cold]
    #[inline(never)]
    fn grow(&mut self, hash_of: impl Fn(Slot) -> u64) {
        let groups = self.groups.len();
        let mut more = groups + groups.div_ceil(2);
        if groups < self.enough && more + more / 4 > self.enough {
            more = self.enough;
        }
        let old = std::mem::replace(&mut self.groups, vec![Group::EMPTY; more]);
        for group in &old {
            for (&tag, &slot) in group.tags[..CELLS].iter().zip(&group.slots) {
                if tag > 0 {
                    self.put(hash_of(Slot(slot)), Slot(slot));
                }
            }
        }
    }

    /// Removes the entry of `slot`; returns whether it was there.
    #[inline(always)]
    pub(crate) fn remove(&mut self, hash: u64, slot: Slot) -> bool {
        let Some((end, cell)) = self.search(hash, |other| other == slot) else { return false };
        self.groups[end].tags[cell] = 0;
        self.len -= 1;
        let mut at = self.home(hash);
        while at != end {
            let passed = &mut self.groups[at].tags[PASSED];
            // Of a full count it is not known how many they are.
            *passed -= u8::from(*passed < u8::MAX);
            at = self.after(at);
        }
        true
    }

    /// Raises or lowers the number of entries expected; what is stored stays.
    pub(crate) fn set_limit(&mut self, limit: Option<usize>) {
        self.enough = limit.map_or(0, |limit| limit.div_ceil(FILL));
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn bytes(&self) -> usize {
        self.groups.capacity() * size_of::<Group>()
    }

    /// By the lower half of the hash: segments are told apart by the upper, tags by its top.
    #[inline(always)]
    fn home(&self, hash: u64) -> usize {
        (((hash & u64::from(u32::MAX)) * self.groups.len() as u64) >> 32) as usize
    }

    #[inline(always)]
    fn after(&self, at: usize) -> usize {
        if at + 1 == self.groups.len() { 0 } else { at + 1 }
    }
}

/// Never 0.
#[inline(always)]
fn tag(hash: u64) -> u8 {
    ((hash >> 56) as u8).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    #[test]
    fn coming_and_going_does_not_grow_the_table() {
        let hash = |slot: Slot| crate::KeyHash::mix(u64::from(slot.0)).0;
        let mut index = Index::new(None);
        (0..10_000).for_each(|slot| index.insert(hash(Slot(slot)), Slot(slot), hash));
        let bytes = index.bytes();
        for slot in 10_000..200_000 {
            assert!(index.remove(hash(Slot(slot - 10_000)), Slot(slot - 10_000)));
            index.insert(hash(Slot(slot)), Slot(slot), hash);
        }
        assert_eq!(index.bytes(), bytes);
        assert!((190_000..200_000).all(|slot| index.find(hash(Slot(slot)), |other| other.0 == slot).is_some()));
    }

    #[test]
    fn a_full_one_holds_no_spare_room() {
        let hash = |slot: Slot| crate::KeyHash::mix(u64::from(slot.0)).0;
        let mut index = Index::new(Some(12_000));
        (0..12_000).for_each(|slot| index.insert(hash(Slot(slot)), Slot(slot), hash));
        assert_eq!(index.groups.len(), 12_000 / FILL);
        index.insert(hash(Slot(12_000)), Slot(12_000), hash);
        assert_eq!(index.groups.len(), 12_000 / FILL * 3 / 2);
    }

    /// More than a group's count can tell.
    #[test]
    fn one_hash_for_all() {
        let mut index = Index::new(None);
        (0..600).for_each(|slot| index.insert(7, Slot(slot), |_| 7));
        assert_eq!(index.groups[0].tags[PASSED], u8::MAX);
        assert!((0..600).all(|slot| index.find(7, |other| other.0 == slot).is_some()));
        assert!((0..599).all(|slot| index.remove(7, Slot(slot))) && !index.remove(7, Slot(0)));
        assert_eq!((index.find(7, |_| true), index.len()), (Some(Slot(599)), 1));
    }

    proptest! {
        /// Few hashes, so that most entries collide.
        #[test]
        fn agrees_with_a_map(steps in prop::collection::vec((0u32..40, any::<bool>()), 1..400)) {
            let (mut index, mut model) = (Index::new(None), BTreeMap::new());
            let homes = [0, 1 << 31, u64::from(u32::MAX)];
            let hash = |key: u32| u64::from(key % 5) << 61 | homes[key as usize % 3];
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
