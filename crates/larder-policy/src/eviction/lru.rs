//! LRU: the least recently used leaves.
//!
//! The baseline of the field; studied by Mattson et al., "Evaluation techniques for storage hierarchies", 1970.
//! No deviation.

use super::{Arrival, Eviction, Fate, Removal, Setup};
use crate::list::{Links, List};
use crate::{Access, Reuse, Slot};

/// One list in order of use.
pub(crate) struct Lru {
    links: Links,
    queue: List,
}

impl Lru {
    pub(crate) fn new(setup: &Setup<'_>) -> Self {
        Self { links: Links::new(setup.objects), queue: List::default() }
    }
}

impl Eviction for Lru {
    #[inline]
    fn victim(&mut self, _: Option<&Arrival>) -> Option<Slot> {
        self.queue.back()
    }

    #[inline]
    fn on_insert(&mut self, slot: Slot, _: &Arrival) {
        self.queue.push_front(&mut self.links, slot);
    }

    fn on_hit(&mut self, slot: Slot, _: &Access, _: Reuse) -> Option<Slot> {
        self.queue.move_to_front(&mut self.links, slot);
        None
    }

    #[inline]
    fn on_remove(&mut self, slot: Slot, _: Removal) -> Fate {
        self.queue.remove(&mut self.links, slot);
        Fate::Gone
    }

    fn on_resize(&mut self, _: u64, objects: Option<usize>) {
        self.links.set_limit(objects);
    }

    fn bytes(&self) -> usize {
        self.links.bytes()
    }

    fn validate(&self, residents: usize, _: usize) {
        self.queue.validate(&self.links);
        assert_eq!(self.queue.len(), residents);
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::Cache;

    #[test]
    fn the_least_recently_used_leaves() {
        assert_eq!(Cache::objects("lru", 3).read("abcade"), "bc");
    }
}
