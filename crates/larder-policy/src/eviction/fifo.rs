//! FIFO: the oldest leaves.
//!
//! The simplest order there is, and the field's lower baseline. No deviation.

use super::{Arrival, Eviction, Fate, Removal, Setup};
use crate::list::{Links, List};
use crate::{Access, Reuse, Slot};

/// One list in order of arrival.
pub(crate) struct Fifo {
    links: Links,
    queue: List,
}

impl Fifo {
    pub(crate) fn new(setup: &Setup<'_>) -> Self {
        Self { links: Links::new(setup.objects), queue: List::default() }
    }
}

impl Eviction for Fifo {
    fn victim(&mut self, _: Option<&Arrival>) -> Option<Slot> {
        self.queue.back()
    }

    fn on_insert(&mut self, slot: Slot, _: &Arrival) {
        self.queue.push_front(&mut self.links, slot);
    }

    fn on_hit(&mut self, _: Slot, _: &Access, _: Reuse) -> Option<Slot> {
        None
    }

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
    fn a_use_changes_nothing() {
        assert_eq!(Cache::objects("fifo", 3).read("abcade"), "ab");
    }
}
