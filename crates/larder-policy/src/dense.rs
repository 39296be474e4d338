//! The residents as a dense vector, so that any of them can be drawn at random in O(1).

use crate::rng::Rng;
use crate::slots::{NIL, Slot, SlotVec, push_within};

#[derive(Clone, Debug)]
pub(crate) struct Dense {
    slots: Vec<Slot>,
    places: SlotVec<u32>,
}

impl Dense {
    pub(crate) fn new(limit: Option<usize>) -> Self {
        Self { slots: Vec::new(), places: SlotVec::new(limit) }
    }

    /// Those of the slots from 0 on that are `taken`.
    pub(crate) fn of(taken: impl Iterator<Item = bool>) -> Self {
        let mut dense = Self::new(None);
        for (slot, is_taken) in (0..).map(Slot).zip(taken) {
            if is_taken {
                dense.push(slot);
            } else {
                dense.places.put(slot, NIL);
            }
        }
        dense
    }

    #[inline]
    pub(crate) fn push(&mut self, slot: Slot) {
        self.places.put(slot, self.slots.len() as u32);
        push_within(&mut self.slots, slot, self.places.limit());
    }

    /// Takes out `slot`, which must be there; the last one takes its place.
    #[inline]
    pub(crate) fn remove(&mut self, slot: Slot) {
        let at = self.places[slot] as usize;
        self.places[slot] = NIL;
        self.slots.swap_remove(at);
        if let Some(&moved) = self.slots.get(at) {
            self.places[moved] = at as u32;
        }
    }

    /// A uniform draw, with replacement.
    #[inline]
    pub(crate) fn draw(&self, rng: &mut Rng) -> Option<Slot> {
        self.slots.get(rng.below(self.slots.len() as u32) as usize).copied()
    }

    pub(crate) fn len(&self) -> usize {
        self.slots.len()
    }

    pub(crate) fn contains(&self, slot: Slot) -> bool {
        (slot.0 as usize) < self.places.len() && self.places[slot] != NIL
    }

    pub(crate) fn set_limit(&mut self, limit: Option<usize>) {
        self.places.set_limit(limit);
    }

    pub(crate) fn bytes(&self) -> usize {
        self.slots.capacity() * size_of::<Slot>() + self.places.bytes()
    }

    pub(crate) fn validate(&self) {
        for (at, &slot) in self.slots.iter().enumerate() {
            assert_eq!(self.places[slot] as usize, at, "{slot:?} is misplaced");
        }
        assert_eq!(self.places.iter().filter(|&&at| at != NIL).count(), self.slots.len());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Rng;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    #[test]
    fn taken_slots_are_taken_over() {
        let mut dense = Dense::of([true, false, false, true].into_iter());
        dense.validate();
        assert!(dense.len() == 2 && dense.contains(Slot(3)) && !dense.contains(Slot(1)));
        dense.push(Slot(1));
        dense.remove(Slot(0));
        dense.push(Slot(4));
        dense.validate();
        assert_eq!(dense.len(), 3);
    }

    proptest! {
        #[test]
        fn agrees_with_a_set(steps in prop::collection::vec(0u32..30, 1..300), seed: u64) {
            let (mut dense, mut model, mut rng) = (Dense::new(None), BTreeSet::new(), Rng::new(seed));
            for slot in 0..30 {
                dense.push(Slot(slot));
                model.insert(Slot(slot));
            }
            for slot in steps.into_iter().map(Slot) {
                if model.remove(&slot) { dense.remove(slot) } else { model.insert(slot); dense.push(slot) }
                dense.validate();
                prop_assert_eq!(dense.slots.iter().copied().collect::<BTreeSet<_>>(), model.clone());
                prop_assert_eq!(dense.contains(slot), model.contains(&slot));
                let drawn = dense.draw(&mut rng);
                prop_assert!(drawn.map_or(model.is_empty(), |slot| model.contains(&slot)));
            }
        }
    }
}
