//! LFU with decay: the least often used leaves; counts are halved now and then, so that old fame fades.
//!
//! Frequency with periodic aging after Robinson, Devarakonda, "Data cache management using frequency-based
//! replacement", SIGMETRICS 1990. Ties leave in the order they reached their count. `decay=0` is plain LFU.

use super::{Arrival, Eviction, Fate, Removal, Setup};
use crate::heap::Heap;
use crate::params::Param;
use crate::{Access, Reuse, Slot};

pub(super) const PARAMS: &[Param] = &[Param {
    name: "decay",
    default: 10.0,
    least: 0.0,
    most: 1e9,
    about: "accesses a resident between halvings; 0 never halves",
}];

/// Residents by count, then by when they reached it.
pub(crate) struct Lfu {
    heap: Heap<(u64, u64)>,
    /// Accesses so far: orders ties.
    clock: u64,
    next_decay: u64,
    decay: f64,
}

impl Lfu {
    pub(crate) fn new(setup: &Setup<'_>) -> Self {
        Self { heap: Heap::new(setup.objects), clock: 0, next_decay: 0, decay: setup.params.value("decay") }
    }

    fn step(&mut self) -> u64 {
        self.clock += 1;
        if self.decay > 0.0 && self.clock >= self.next_decay {
            if self.next_decay > 0 {
                self.heap.rewrite(|(uses, since)| (uses / 2, since));
            }
            self.next_decay = self.clock + (self.decay * (self.heap.len() as f64).max(64.0)) as u64;
        }
        self.clock
    }
}

impl Eviction for Lfu {
    fn victim(&mut self, _: Option<&Arrival>) -> Option<Slot> {
        self.heap.peek().map(|(_, slot)| slot)
    }

    fn on_insert(&mut self, slot: Slot, _: &Arrival) {
        let now = self.step();
        self.heap.push(slot, (1, now));
    }

    fn on_hit(&mut self, slot: Slot, _: &Access, _: Reuse) -> Option<Slot> {
        let now = self.step();
        let (uses, _) = self.heap.priority(slot);
        self.heap.change(slot, (uses + 1, now));
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
    use crate::testing::Cache;

    #[test]
    fn the_least_often_used_leaves() {
        assert_eq!(Cache::objects("lfu:decay=0", 3).read("aabbcde"), "cd");
    }

    #[test]
    fn counts_are_halved() {
        // At the 65th access a has 40 uses and b 24: halved, and ten uses of b later, b has more.
        let reads = ["a".repeat(40), "b".repeat(35), "c".to_owned()].concat();
        assert_eq!(Cache::objects("lfu:decay=1", 2).read(&reads), "a");
        assert_eq!(Cache::objects("lfu:decay=0", 2).read(&reads), "b");
    }
}
