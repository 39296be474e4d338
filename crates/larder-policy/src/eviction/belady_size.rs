//! Bélády for entries of unequal weight: of a sample, the one with the greatest weight times time to next use leaves.
//!
//! Exact optimality is NP-hard; this is the usual greedy bound, as in the reference: it always admits and looks at
//! 128 residents drawn at random. Seeded.

use super::{Arrival, Eviction, Fate, Removal, Setup};
use crate::dense::Dense;
use crate::params::Param;
use crate::rng::Rng;
use crate::slots::SlotVec;
use crate::{Access, Reuse, Slot};

pub(super) const PARAMS: &[Param] = &[Param {
    name: "samples",
    default: 128.0,
    least: 1.0,
    most: 65536.0,
    about: "residents looked at for each eviction",
}];

#[derive(Clone, Copy)]
struct Resident {
    next: u64,
    weight: u32,
}

/// The residents with their next uses.
pub(crate) struct BeladySize {
    order: Dense,
    residents: SlotVec<Resident>,
    samples: u32,
    now: u64,
    rng: Rng,
}

impl BeladySize {
    pub(crate) fn new(setup: &Setup<'_>) -> Self {
        Self {
            order: Dense::new(setup.objects),
            residents: SlotVec::new(setup.objects),
            samples: setup.params.value("samples") as u32,
            now: 0,
            rng: Rng::new(setup.seed),
        }
    }

    fn badness(&self, slot: Slot) -> u128 {
        let Resident { next, weight } = self.residents[slot];
        u128::from(next.saturating_sub(self.now)) * u128::from(weight)
    }
}

impl Eviction for BeladySize {
    fn on_arrive(&mut self, newcomer: &Arrival) {
        self.now = newcomer.reuse.at;
    }

    fn victim(&mut self, _: Option<&Arrival>) -> Option<Slot> {
        let mut worst = self.order.draw(&mut self.rng)?;
        for _ in 1..self.samples {
            let slot = self.order.draw(&mut self.rng)?;
            if self.badness(slot) > self.badness(worst) {
                worst = slot;
            }
        }
        Some(worst)
    }

    fn on_insert(&mut self, slot: Slot, newcomer: &Arrival) {
        self.order.push(slot);
        self.residents.put(slot, Resident { next: newcomer.reuse.next, weight: newcomer.weight });
    }

    fn on_hit(&mut self, slot: Slot, _: &Access, reuse: Reuse) -> Option<Slot> {
        self.residents[slot].next = reuse.next;
        None
    }

    fn on_reweigh(&mut self, slot: Slot, _: u32, to: u32) {
        self.residents[slot].weight = to;
    }

    fn on_remove(&mut self, slot: Slot, _: Removal) -> Fate {
        self.order.remove(slot);
        Fate::Gone
    }

    fn on_resize(&mut self, _: u64, objects: Option<usize>) {
        self.order.set_limit(objects);
        self.residents.set_limit(objects);
    }

    fn bytes(&self) -> usize {
        self.order.bytes() + self.residents.bytes()
    }

    fn validate(&self, residents: usize, _: usize) {
        self.order.validate();
        assert_eq!(self.order.len(), residents);
    }
}

#[cfg(test)]
mod tests {
    use crate::{Capacity, testing::Cache};

    #[test]
    fn weight_counts_as_much_as_distance() {
        // At b: A is five bytes and one request ahead, `a` one byte and two.
        let run = |policy| Cache::run_with_future(policy, Capacity::bytes(6), "AabAa");
        assert_eq!(run("belady-size:samples=1024").chars().next(), Some('A'));
        assert_eq!(run("belady").chars().next(), Some('a'));
    }
}
