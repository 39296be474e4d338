//! A list that knows what its members weigh together.

use crate::list::{Links, List};
use crate::slots::Slot;

/// A list with its weight. Whoever holds it knows each slot's weight, and gives the same on entry and on departure.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Queue {
    pub(crate) list: List,
    pub(crate) weight: u64,
}

impl Queue {
    #[inline]
    pub(crate) fn push_front(&mut self, links: &mut Links, slot: Slot, weight: u32) {
        self.list.push_front(links, slot);
        self.weight += u64::from(weight);
    }

    /// Takes out `slot`, which must be on this queue.
    #[inline]
    pub(crate) fn remove(&mut self, links: &mut Links, slot: Slot, weight: u32) {
        self.list.remove(links, slot);
        self.weight -= u64::from(weight);
    }

    /// A member changed its weight.
    #[inline]
    pub(crate) fn reweigh(&mut self, from: u32, to: u32) {
        self.weight = self.weight - u64::from(from) + u64::from(to);
    }

    #[inline]
    pub(crate) fn back(&self) -> Option<Slot> {
        self.list.back()
    }

    #[inline]
    pub(crate) fn len(&self) -> usize {
        self.list.len()
    }

    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Asserts that the list is whole and the weight is right; `weight_of` gives a member's weight, and may check it.
    pub(crate) fn validate(&self, links: &Links, weight_of: impl FnMut(Slot) -> u32) {
        self.list.validate(links);
        assert_eq!(self.weight, self.list.iter(links).map(weight_of).map(u64::from).sum::<u64>(), "a queue's weight");
    }
}
