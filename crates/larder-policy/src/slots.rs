//! Dense storage by slot: a resident is a `u32`, never a pointer.

use std::ops::{Index, IndexMut};

/// A resident's place in the shard. Slots are handed out densely from 0 and reused after a removal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Slot(pub u32);

/// No slot: ends a chain.
pub(crate) const NIL: u32 = u32::MAX;

/// A vector indexed by slot. It grows by doubling, but never past `limit` when the number of slots is known, so that
/// a full cache holds no spare room.
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
        let len = self.items.len();
        if len == self.items.capacity() {
            let target = (len * 2).max(64).min(self.limit.max(len + 1));
            self.items.reserve_exact(target - len);
        }
        self.items.push(value);
    }

    pub(crate) fn len(&self) -> usize {
        self.items.len()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &T> {
        self.items.iter()
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
