//! A binary heap of slots by priority whose entries can be changed and removed in O(log n).

use crate::slots::{NIL, Slot, SlotVec, push_within};

/// The least priority is on top. Priorities should be distinct (give ties a sequence number), or ties would depend on
/// the heap's history.
#[derive(Clone, Debug)]
pub(crate) struct Heap<P> {
    entries: Vec<(P, Slot)>,
    /// Where a slot's entry is, or `NIL`.
    places: SlotVec<u32>,
}

impl<P: Copy + PartialOrd> Heap<P> {
    pub(crate) fn new(limit: Option<usize>) -> Self {
        Self { entries: Vec::new(), places: SlotVec::new(limit) }
    }

    pub(crate) fn push(&mut self, slot: Slot, priority: P) {
        self.places.put(slot, self.entries.len() as u32);
        push_within(&mut self.entries, (priority, slot), self.places.limit());
        self.rise(self.entries.len() - 1);
    }

    /// Changes the priority of `slot`, which must be in the heap.
    pub(crate) fn change(&mut self, slot: Slot, priority: P) {
        let at = self.places[slot] as usize;
        self.entries[at].0 = priority;
        let at = self.rise(at);
        self.sink(at);
    }

    /// Takes out `slot`, which must be in the heap.
    pub(crate) fn remove(&mut self, slot: Slot) {
        let at = self.places[slot] as usize;
        self.places[slot] = NIL;
        self.entries.swap_remove(at);
        if at < self.entries.len() {
            self.places[self.entries[at].1] = at as u32;
            let at = self.rise(at);
            self.sink(at);
        }
    }

    /// The least priority and whose it is.
    #[inline]
    pub(crate) fn peek(&self) -> Option<(P, Slot)> {
        self.entries.first().copied()
    }

    #[inline]
    pub(crate) fn priority(&self, slot: Slot) -> P {
        self.entries[self.places[slot] as usize].0
    }

    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Rewrites every priority and restores the order, in O(n).
    pub(crate) fn rewrite(&mut self, mut f: impl FnMut(P) -> P) {
        for entry in &mut self.entries {
            entry.0 = f(entry.0);
        }
        for at in (0..self.entries.len() / 2).rev() {
            self.sink(at);
        }
    }

    pub(crate) fn set_limit(&mut self, limit: Option<usize>) {
        self.places.set_limit(limit);
    }

    pub(crate) fn bytes(&self) -> usize {
        self.entries.capacity() * size_of::<(P, Slot)>() + self.places.bytes()
    }

    pub(crate) fn validate(&self) {
        for (at, &(priority, slot)) in self.entries.iter().enumerate() {
            assert_eq!(self.places[slot] as usize, at, "{slot:?} is misplaced");
            if at > 0 {
                assert!(self.entries[(at - 1) / 2].0 <= priority, "{slot:?} is above its parent");
            }
        }
        assert_eq!(self.places.iter().filter(|&&at| at != NIL).count(), self.entries.len());
    }

    fn rise(&mut self, mut at: usize) -> usize {
        let entry = self.entries[at];
        while at > 0 {
            let parent = (at - 1) / 2;
            if self.entries[parent].0 <= entry.0 {
                break;
            }
            self.settle(at, self.entries[parent]);
            at = parent;
        }
        self.settle(at, entry);
        at
    }

    fn sink(&mut self, mut at: usize) {
        let entry = self.entries[at];
        loop {
            let mut child = 2 * at + 1;
            if child >= self.entries.len() {
                break;
            }
            if child + 1 < self.entries.len() && self.entries[child + 1].0 < self.entries[child].0 {
                child += 1;
            }
            if entry.0 <= self.entries[child].0 {
                break;
            }
            self.settle(at, self.entries[child]);
            at = child;
        }
        self.settle(at, entry);
    }

    #[inline]
    fn settle(&mut self, at: usize, entry: (P, Slot)) {
        self.entries[at] = entry;
        self.places[entry.1] = at as u32;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    proptest! {
        #[test]
        fn agrees_with_a_sorted_map(steps in prop::collection::vec((0u32..20, 0u32..100, any::<bool>()), 1..300)) {
            let mut heap: Heap<(u32, u32)> = Heap::new(None);
            for slot in 0..20 {
                heap.push(Slot(slot), (50, slot));
            }
            let mut model: BTreeMap<u32, (u32, u32)> = (0..20).map(|slot| (slot, (50, slot))).collect();
            for (slot, priority, keep) in steps {
                match (keep, model.contains_key(&slot)) {
                    (true, true) => { heap.change(Slot(slot), (priority, slot)); model.insert(slot, (priority, slot)); }
                    (true, false) => { heap.push(Slot(slot), (priority, slot)); model.insert(slot, (priority, slot)); }
                    (false, true) => { heap.remove(Slot(slot)); model.remove(&slot); }
                    (false, false) => {
                        heap.rewrite(|(priority, slot)| (priority / 2, slot));
                        model.values_mut().for_each(|priority| priority.0 /= 2);
                    }
                }
                heap.validate();
                let least = model.values().min().copied();
                prop_assert_eq!(heap.peek().map(|(priority, _)| priority), least);
                prop_assert_eq!(heap.len(), model.len());
            }
        }
    }
}
