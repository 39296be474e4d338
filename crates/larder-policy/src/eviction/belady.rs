//! Bélády's MIN: the resident whose next use lies farthest ahead leaves.
//!
//! Bélády, "A study of replacement algorithms for a virtual-storage computer", IBM Systems Journal 1966. Optimal for
//! entries of equal weight. `belady` always admits, as the reference does; `belady-bypass` refuses a newcomer whose
//! own next use is the farthest.

use std::cmp::Reverse;

use super::{Arrival, Eviction, Fate, Removal, Setup};
use crate::heap::Heap;
use crate::{Access, Reuse, Slot};

/// Residents by next use, the farthest on top; the slot orders those never used again.
pub(crate) struct Belady {
    heap: Heap<Reverse<(u64, Slot)>>,
    may_bypass: bool,
}

impl Belady {
    pub(crate) fn new(setup: &Setup<'_>, may_bypass: bool) -> Self {
        Self { heap: Heap::new(setup.objects), may_bypass }
    }
}

impl Eviction for Belady {
    fn victim(&mut self, newcomer: Option<&Arrival>) -> Option<Slot> {
        let (Reverse((farthest, _)), slot) = self.heap.peek()?;
        let bypasses = self.may_bypass && newcomer.is_some_and(|newcomer| newcomer.reuse.next >= farthest);
        (!bypasses).then_some(slot)
    }

    fn on_insert(&mut self, slot: Slot, newcomer: &Arrival) {
        self.heap.push(slot, Reverse((newcomer.reuse.next, slot)));
    }

    fn on_hit(&mut self, slot: Slot, _: &Access, reuse: Reuse) -> Option<Slot> {
        self.heap.change(slot, Reverse((reuse.next, slot)));
        None
    }

    fn on_remove(&mut self, slot: Slot, _: Removal) -> Fate {
        self.heap.remove(slot);
        Fate::Gone
    }

    fn on_resize(&mut self, _: u64, objects: Option<usize>) {
        self.heap.set_limit(objects);
    }

    fn bytes(&self) -> usize {
        self.heap.bytes()
    }

    fn validate(&self, residents: usize, _: usize) {
        self.heap.validate();
        assert_eq!(self.heap.len(), residents);
    }
}

#[cfg(test)]
mod tests {
    use crate::{Capacity, testing::Cache};

    #[test]
    fn the_farthest_leaves() {
        let run = |policy| Cache::run_with_future(policy, Capacity::objects(2), "abcab");
        assert_eq!(run("belady"), "bc");
        assert_eq!(run("belady-bypass"), "!c");
    }
}
