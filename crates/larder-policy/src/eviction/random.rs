//! Random: any resident leaves.
//!
//! The baseline that needs no metadata on a hit. Seeded, so a run can be repeated.

use super::{Arrival, Eviction, Fate, Removal, Setup};
use crate::dense::Dense;
use crate::rng::Rng;
use crate::{Access, Reuse, Slot};

/// The residents, in no order.
pub(crate) struct Random {
    residents: Dense,
    rng: Rng,
}

impl Random {
    pub(crate) fn new(setup: &Setup<'_>) -> Self {
        Self { residents: Dense::new(setup.objects), rng: Rng::new(setup.seed) }
    }
}

impl Eviction for Random {
    fn victim(&mut self, _: Option<&Arrival>) -> Option<Slot> {
        self.residents.draw(&mut self.rng)
    }

    fn on_insert(&mut self, slot: Slot, _: &Arrival) {
        self.residents.push(slot);
    }

    fn on_hit(&mut self, _: Slot, _: &Access, _: Reuse) -> Option<Slot> {
        None
    }

    fn on_remove(&mut self, slot: Slot, _: Removal) -> Fate {
        self.residents.remove(slot);
        Fate::Gone
    }

    fn on_resize(&mut self, _: u64, objects: Option<usize>) {
        self.residents.set_limit(objects);
    }

    fn bytes(&self) -> usize {
        self.residents.bytes()
    }

    fn validate(&self, residents: usize, _: usize) {
        self.residents.validate();
        assert_eq!(self.residents.len(), residents);
    }
}

#[cfg(test)]
mod tests {
    use crate::{Capacity, testing::Cache};
    use std::collections::BTreeSet;

    #[test]
    fn anybody_may_leave() {
        let victims = (0..64).map(|seed| Cache::new("random", Capacity::objects(4), seed).read("abcde"));
        assert_eq!(victims.collect::<BTreeSet<_>>(), ["a", "b", "c", "d"].map(str::to_owned).into());
    }
}
