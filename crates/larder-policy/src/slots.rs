//! Dense storage by slot: a resident is a `u32`, never a pointer.

use std::ops::{Index, IndexMut};

/// A resident's place in the shard. Slots are handed out densely from 0 and reused after a removal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Slot(pub u32);

/// No slot: ends a chain.
pub(crate) const NIL: u32 = u32::MAX;

/// A vector indexed by slot. It grows by doubling, but stops at `limit` when the number of slots is known, so that a
/// full cache holds no spare room.
#[derive(Clone, Debug)]
pub(crate) struct SlotVec<T> {
    items: Vec<T>,
    limit: usize,
}

impl<T> SlotVec<T> {
    pub(crate) fn new(limit: Option<usize>) -> Self {
        Self { items: Vec::new(), limit: limit.unwrap_or(usize::MAX) }
    }

    /// Stores `value` at `slot`, which is an existing slot or the next one.
    #[inline]
    pub(crate) fn put(&mut self, slot: Slot, value: T) {
        let at = slot.0 as usize;
        if let Some(item) = self.items.get_mut(at) {
            *item = value;
        } else {
            self.append(value);
        }
    }

    #[cold]
    fn append(&mut self, value: T) {
        push_within(&mut self.items, value, self.limit);
    }

    pub(crate) fn get(&self, slot: Slot) -> Option<&T> {
        self.items.get(slot.0 as usize)
    }

    pub(crate) fn len(&self) -> usize {
        self.items.len()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &T> {
        self.items.iter()
    }

    pub(crate) fn limit(&self) -> usize {
        self.limit
    }

    /// Raises or lowers the number of slots expected; what is stored stays.
    pub(crate) fn set_limit(&mut self, limit: Option<usize>) {
        self.limit = limit.unwrap_or(usize::MAX);
    }

    /// Bytes allocated.
    pub(crate) fn bytes(&self) -> usize {
        self.items.capacity() * size_of::<T>()
    }
}

/// Pushes; room grows by powers of two, but only up to `limit`, unless there is more than that already.
#[inline]
pub(crate) fn push_within<T>(items: &mut Vec<T>, value: T, limit: usize) {
    let len = items.len();
    if len == items.capacity() {
        let room = (len + 1).next_power_of_two().max(64);
        items.reserve_exact(if len < limit { room.min(limit) } else { room } - len);
    }
    items.push(value);
}

impl<T> Index<Slot> for SlotVec<T> {
    type Output = T;
    #[inline]
    fn index(&self, slot: Slot) -> &T {
        &self.items[slot.0 as usize]
    }
}

impl<T> IndexMut<Slot> for SlotVec<T> {
    #[inline]
    fn index_mut(&mut self, slot: Slot) -> &mut T {
        &mut self.items[slot.0 as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(limit: Option<usize>, len: u32) -> SlotVec<u32> {
        let mut items = SlotVec::new(limit);
        (0..len).for_each(|slot| items.put(Slot(slot), slot));
        items
    }

    #[test]
    fn a_full_one_holds_no_spare_room() {
        assert_eq!(filled(Some(1000), 1000).bytes(), 1000 * size_of::<u32>());
        assert_eq!(filled(Some(7), 7).bytes(), 7 * size_of::<u32>());
    }

    #[test]
    fn past_its_limit_it_grows_by_doubling() {
        let mut items = filled(Some(100), 101);
        let bytes = items.bytes();
        assert!(bytes >= 128 * size_of::<u32>(), "a byte more for each push would be quadratic");
        items.put(Slot(101), 0);
        assert_eq!(items.bytes(), bytes);
    }

    #[test]
    fn a_raised_limit_is_met() {
        let mut items = filled(Some(100), 100);
        items.set_limit(Some(150));
        (100..150).for_each(|slot| items.put(Slot(slot), slot));
        assert_eq!(items.bytes(), 150 * size_of::<u32>());
        assert!((0..150).all(|slot| items[Slot(slot)] == slot));
    }
}
