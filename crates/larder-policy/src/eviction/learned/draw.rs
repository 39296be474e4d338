//! Residents at random.

use super::{Candidate, Resident};
use crate::dense::Dense;
use crate::slots::SlotVec;
use crate::{Rng, Slot};

/// So few slots are searched in no time.
const FEW: usize = 1024;

/// Slots are nearly all taken while evictions go on. Where three quarters are not, as after many small entries came few large ones, the
/// residents are listed until half are again: to find one among empty slots would take long, and not each would be as likely.
pub(super) fn list(listed: &mut Option<Dense>, residents: &SlotVec<Resident>, present: usize) {
    let slots = residents.len();
    match listed {
        None if slots > FEW && present * 4 < slots => {
            *listed = Some(Dense::of(residents.iter().map(Resident::is_present)));
        }
        Some(_) if present * 2 > slots => *listed = None,
        _ => {}
    }
}

/// So many random residents, some of them twice. Their slots are chosen before any is looked at, so that the processor
/// fetches them at the same time.
pub(super) fn draw_all(
    residents: &SlotVec<Resident>,
    listed: Option<&Dense>,
    rng: &mut Rng,
    samples: u32,
    drawn: &mut Vec<Candidate>,
) {
    if let Some(listed) = listed {
        drawn.extend((0..samples).filter_map(|_| listed.draw(rng)).map(Candidate::new));
        return;
    }
    let first = drawn.len();
    drawn.extend((0..samples).map(|_| Candidate::new(Slot(rng.below(residents.len() as u32)))));
    for at in (first..drawn.len()).rev() {
        if !residents.get(drawn[at].slot).is_some_and(Resident::is_present) {
            match draw(residents, None, rng) {
                Some(slot) => drawn[at].slot = slot,
                None => _ = drawn.remove(at),
            }
        }
    }
}

/// A random resident; where a slot is empty, in the end the next one serves.
pub(super) fn draw(residents: &SlotVec<Resident>, listed: Option<&Dense>, rng: &mut Rng) -> Option<Slot> {
    if let Some(listed) = listed {
        return listed.draw(rng);
    }
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
