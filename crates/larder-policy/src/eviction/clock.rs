//! CLOCK: FIFO with a second chance for what was used since it was last looked at.
//!
//! Corbató, "A paging experiment with the Multics system", 1968. No deviation; `bits` generalises the reference bit
//! to a counter, as GCLOCK does (Smith, ACM TODS 1978).

use super::{Arrival, Eviction, Fate, Removal, Setup};
use crate::list::{Links, List};
use crate::params::Param;
use crate::slots::SlotVec;
use crate::{Access, Reuse, Slot};

pub(super) const PARAMS: &[Param] =
    &[Param { name: "bits", default: 1.0, least: 1.0, most: 8.0, about: "width of the use counter" }];

/// A list in order of arrival, and how often each resident was used, up to a small limit.
pub(crate) struct Clock {
    links: Links,
    queue: List,
    used: SlotVec<u8>,
    most: u8,
}

impl Clock {
    pub(crate) fn new(setup: &Setup<'_>) -> Self {
        let bits = setup.params.value("bits") as u32;
        Self {
            links: Links::new(setup.objects),
            queue: List::default(),
            used: SlotVec::new(setup.objects),
            most: u8::try_from((1u32 << bits) - 1).unwrap_or(u8::MAX),
        }
    }
}

impl Eviction for Clock {
    fn victim(&mut self, _: Option<&Arrival>) -> Option<Slot> {
        let mut hand = self.queue.back()?;
        while self.used[hand] > 0 {
            self.used[hand] -= 1;
            self.queue.move_to_front(&mut self.links, hand);
            hand = self.queue.back()?;
        }
        Some(hand)
    }

    fn on_insert(&mut self, slot: Slot, _: &Arrival) {
        self.used.put(slot, 0);
        self.queue.push_front(&mut self.links, slot);
    }

    fn on_hit(&mut self, slot: Slot, _: &Access, _: Reuse) -> Option<Slot> {
        if self.used[slot] < self.most {
            self.used[slot] += 1;
        }
        None
    }

    fn on_remove(&mut self, slot: Slot, _: Removal) -> Fate {
        self.queue.remove(&mut self.links, slot);
        Fate::Gone
    }

    fn on_resize(&mut self, _: u64, objects: Option<usize>) {
        self.links.set_limit(objects);
        self.used.set_limit(objects);
    }

    fn bytes(&self) -> usize {
        self.links.bytes() + self.used.bytes()
    }

    fn validate(&self, residents: usize, _: usize) {
        self.queue.validate(&self.links);
        assert_eq!(self.queue.len(), residents);
        assert!(self.queue.iter(&self.links).all(|slot| self.used[slot] <= self.most));
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::Cache;

    #[test]
    fn a_used_one_goes_round_once_more() {
        // Used twice, but one bit remembers one use.
        assert_eq!(Cache::objects("clock", 2).read("abaacd"), "ba");
        assert_eq!(Cache::objects("clock:bits=2", 2).read("abaacd"), "bc");
    }
}
