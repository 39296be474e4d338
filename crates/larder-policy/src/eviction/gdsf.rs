//! GDSF: the least of uses over weight leaves, on a scale that rises with each departure.
//!
//! Cherkasova, "Improving WWW proxies performance with Greedy-Dual-Size-Frequency caching policy", HP Labs 1998, with
//! a cost of 1 for every miss unless costs are told apart. The newcomer competes, as in the reference: if its own priority is the least, it is
//! refused.

use super::{Arrival, Eviction, Fate, Removal, Setup};
use crate::heap::Heap;
use crate::slots::SlotVec;
use crate::{Access, Reuse, Slot};

/// Keeps priorities of large values apart from rounding.
const SCALE: f64 = 1e6;

#[derive(Clone, Copy)]
struct Resident {
    uses: u32,
    weight: u32,
    cost: u32,
}

/// Residents by priority, then by last use.
pub(crate) struct Gdsf {
    heap: Heap<(f64, u64)>,
    residents: SlotVec<Resident>,
    /// The priority of the last to leave.
    level: f64,
    clock: u64,
    newcomer: f64,
    by_cost: bool,
}

impl Gdsf {
    pub(crate) fn new(setup: &Setup<'_>) -> Self {
        let (heap, residents) = (Heap::new(setup.objects), SlotVec::new(setup.objects));
        Self { heap, residents, level: 0.0, clock: 0, newcomer: 0.0, by_cost: false }
    }

    /// A use counts as much as its entry costs to load.
    pub(crate) fn by_cost(setup: &Setup<'_>) -> Self {
        Self { by_cost: true, ..Self::new(setup) }
    }

    fn resident(&self, newcomer: &Arrival) -> Resident {
        Resident { uses: 1, weight: newcomer.weight, cost: if self.by_cost { newcomer.access.cost } else { 1 } }
    }

    fn priority(&self, resident: Resident) -> f64 {
        self.level + f64::from(resident.uses) * f64::from(resident.cost) * SCALE / f64::from(resident.weight)
    }
}

impl Eviction for Gdsf {
    fn on_arrive(&mut self, newcomer: &Arrival) {
        self.clock += 1;
        self.newcomer = self.priority(self.resident(newcomer));
    }

    fn victim(&mut self, newcomer: Option<&Arrival>) -> Option<Slot> {
        let ((least, _), slot) = self.heap.peek()?;
        if newcomer.is_some() && self.newcomer < least {
            self.level = self.newcomer;
            return None;
        }
        Some(slot)
    }

    fn on_insert(&mut self, slot: Slot, newcomer: &Arrival) {
        self.residents.put(slot, self.resident(newcomer));
        self.heap.push(slot, (self.newcomer, self.clock));
    }

    fn on_hit(&mut self, slot: Slot, _: &Access, _: Reuse) -> Option<Slot> {
        self.clock += 1;
        self.residents[slot].uses = self.residents[slot].uses.saturating_add(1);
        self.heap.change(slot, (self.priority(self.residents[slot]), self.clock));
        None
    }

    fn on_reweigh(&mut self, slot: Slot, _: u32, to: u32) {
        self.residents[slot].weight = to;
        self.heap.change(slot, (self.priority(self.residents[slot]), self.clock));
    }

    fn on_remove(&mut self, slot: Slot, why: Removal) -> Fate {
        if why == Removal::Evicted {
            self.level = self.heap.priority(slot).0;
        }
        self.heap.remove(slot);
        Fate::Gone
    }

    fn on_resize(&mut self, _: u64, objects: Option<usize>) {
        self.heap.set_limit(objects);
        self.residents.set_limit(objects);
    }

    fn bytes(&self) -> usize {
        self.heap.bytes() + self.residents.bytes()
    }

    fn validate(&self, residents: usize, _: usize) {
        self.heap.validate();
        assert_eq!(self.heap.len(), residents);
        assert!(self.level.is_finite());
    }
}

#[cfg(test)]
mod tests {
    use crate::eviction::GdsfShard;
    use crate::testing::Cache;
    use crate::{Access, Capacity, KeyHash, Plan, Reuse, Time, Verdict};

    #[test]
    fn the_level_rises_until_the_old_leave() {
        let mut cache = Cache::bytes("gdsf", 10);
        // In millionths of the scale: A and C are worth 1/5, b is worth 1.
        assert_eq!(cache.read("AbC"), "A");
        assert_eq!(cache.read("D"), "C", "D is worth 1/5 above the level of A");
        assert_eq!(cache.read_sized('e', 10), "!e", "1/5 + 1/10 is less than D's 2/5");
        assert_eq!(cache.residents(), "Db");
    }

    #[test]
    fn what_is_dear_to_load_stays_where_costs_are_told_apart() {
        let mut shard = GdsfShard::gdsf(Capacity::objects(2));
        let mut left = Vec::new();
        for (key, cost) in [(1, 10), (2, 1), (3, 5)] {
            let access = Access { cost, ..Access::get(KeyHash::mix(key), Time(0)) };
            assert!(!shard.lookup(&access).is_hit());
            let plan = Plan { verdict: Verdict::Store, ttl: None, reuse: Reuse::UNKNOWN };
            shard.insert(&access, (), &plan, &mut left);
        }
        assert_eq!(left.iter().map(|left| left.key).collect::<Vec<_>>(), [KeyHash::mix(2)]);
    }

    #[test]
    fn uses_outweigh_size() {
        // Six uses of five bytes against one of one byte.
        assert_eq!(Cache::bytes("gdsf", 6).read("AAAAAAbc"), "b");
    }
}
