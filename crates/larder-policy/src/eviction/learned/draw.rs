//! Residents at random.

use super::{Candidate, Resident};
use crate::slots::SlotVec;
use crate::{Rng, Slot};

/// So many random residents, some of them twice. Their slots are chosen before any is looked at, so that the processor
/// fetches them at the same time.
pub(super) fn draw_all(residents: &SlotVec<Resident>, rng: &mut Rng, samples: u32, drawn: &mut Vec<Candidate>) {
    let first = drawn.len();
    drawn.extend((0..samples).map(|_| Candidate::new(Slot(rng.below(residents.len() as u32)))));
    for at in (first..drawn.len()).rev() {
        if !residents.get(drawn[at].slot).is_some_and(Resident::is_present) {
            match draw(residents, rng) {
                Some(slot) => drawn[at].slot = slot,
                None => _ = drawn.remove(at),
            }
        }
    }
}

/// A random resident. Slots are nearly all taken while evictions go on; where they are not, the next one serves.
pub(super) fn draw(residents: &SlotVec<Resident>, rng: &mut Rng) -> Option<Slot> {
    let slots = residents.len() as u32;
    for _ in 0..16 {
        let slot = Slot(rng.below(slots));
        if slots > 0 && residents[slot].is_present() {
            return Some(slot);
        }
    }
    let start = rng.below(slots);
    (start..slots).chain(0..start).map(Slot).find(|&slot| residents[slot].is_present())
}
