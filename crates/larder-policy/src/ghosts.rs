//! Keys that were here lately: what is left of an entry after its eviction.

use crate::KeyHash;
use crate::index::Index;
use crate::list::{Links, List};
use crate::slots::{Slot, SlotVec};

#[derive(Clone, Copy, Debug)]
struct Ghost {
    key: KeyHash,
    weight: u32,
    queue: u8,
}

#[derive(Clone, Copy, Debug, Default)]
struct Queue {
    list: List,
    weight: u64,
}

/// `N` queues of keys without values, each from the newest to the oldest, with membership over all of them in O(1).
#[derive(Clone, Debug)]
pub(crate) struct Ghosts<const N: usize = 1> {
    index: Index,
    ghosts: SlotVec<Ghost>,
    links: Links,
    queues: [Queue; N],
    free: Vec<Slot>,
}

impl<const N: usize> Ghosts<N> {
    /// `expected` is the most keys there will be, when known.
    pub(crate) fn new(expected: Option<usize>) -> Self {
        Self {
            index: Index::default(),
            ghosts: SlotVec::new(expected),
            links: Links::new(expected),
            queues: [Queue::default(); N],
            free: Vec::new(),
        }
    }

    /// Adds a key that is on no queue yet as the newest of `queue`.
    #[inline]
    pub(crate) fn push(&mut self, queue: usize, key: KeyHash, weight: u32) {
        let slot = self.free.pop().unwrap_or(Slot(self.ghosts.len() as u32));
        self.ghosts.put(slot, Ghost { key, weight, queue: queue as u8 });
        let ghosts = &self.ghosts;
        self.index.insert(key.0, slot, |slot| ghosts[slot].key.0);
        self.queues[queue].list.push_front(&mut self.links, slot);
        self.queues[queue].weight += u64::from(weight);
    }

    /// Makes room in the first queue by dropping the oldest, then adds a key that is on no queue yet. A key alone
    /// heavier than `limit` is not added.
    #[inline]
    pub(crate) fn push_within(&mut self, key: KeyHash, weight: u32, limit: u64) {
        if u64::from(weight) > limit {
            return;
        }
        while self.weight(0) + u64::from(weight) > limit {
            self.pop_oldest(0);
        }
        self.push(0, key, weight);
    }

    /// Takes out `key` if it is there, and returns the queue it was on.
    #[inline]
    pub(crate) fn remove(&mut self, key: KeyHash) -> Option<usize> {
        let slot = self.index.find(key.0, |slot| self.ghosts[slot].key == key)?;
        self.take(slot);
        Some(usize::from(self.ghosts[slot].queue))
    }

    /// Takes out the oldest of `queue`; returns whether there was one.
    #[inline]
    pub(crate) fn pop_oldest(&mut self, queue: usize) -> bool {
        let oldest = self.queues[queue].list.back();
        oldest.inspect(|&slot| self.take(slot)).is_some()
    }

    #[inline]
    pub(crate) fn weight(&self, queue: usize) -> u64 {
        self.queues[queue].weight
    }

    /// Raises or lowers the number of keys expected; those that are there stay.
    pub(crate) fn set_limit(&mut self, expected: Option<usize>) {
        self.ghosts.set_limit(expected);
        self.links.set_limit(expected);
    }

    pub(crate) fn bytes(&self) -> usize {
        self.index.bytes() + self.ghosts.bytes() + self.links.bytes() + self.free.capacity() * size_of::<Slot>()
    }

    pub(crate) fn validate(&self) {
        assert_eq!(self.index.len(), self.queues.iter().map(|queue| queue.list.len()).sum::<usize>());
        for (number, queue) in self.queues.iter().enumerate() {
            queue.list.validate(&self.links);
            let mut weight = 0;
            for ghost in queue.list.iter(&self.links).map(|slot| self.ghosts[slot]) {
                assert_eq!(usize::from(ghost.queue), number, "{ghost:?} is on another queue");
                assert!(self.index.find(ghost.key.0, |slot| self.ghosts[slot].key == ghost.key).is_some());
                weight += u64::from(ghost.weight);
            }
            assert_eq!(queue.weight, weight, "the ghosts' weight is wrong");
        }
    }

    fn take(&mut self, slot: Slot) {
        let Ghost { key, weight, queue } = self.ghosts[slot];
        self.index.remove(key.0, slot);
        let queue = &mut self.queues[usize::from(queue)];
        queue.list.remove(&mut self.links, slot);
        queue.weight -= u64::from(weight);
        self.free.push(slot);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn agrees_with_vectors(steps in prop::collection::vec((0u64..30, 1u32..5, 0u8..5), 1..300), limit in 1u64..40) {
            let mut ghosts = Ghosts::<2>::new(None);
            let mut model: [Vec<(KeyHash, u32)>; 2] = Default::default();
            let weight = |queue: &[(KeyHash, u32)]| queue.iter().map(|ghost| u64::from(ghost.1)).sum::<u64>();
            for (key, size, step) in steps {
                let key = KeyHash::mix(key);
                let place = |queue: &Vec<(KeyHash, u32)>| queue.iter().position(|ghost| ghost.0 == key);
                let known = (0..2).find_map(|queue| place(&model[queue]).map(|at| (queue, at)));
                match step {
                    queue @ 0..=1 => {
                        let queue = usize::from(queue);
                        prop_assert_eq!(ghosts.pop_oldest(queue), !model[queue].is_empty());
                        model[queue].drain(..1.min(model[queue].len()));
                    }
                    2 => {
                        prop_assert_eq!(ghosts.remove(key), known.map(|(queue, _)| queue));
                        known.map(|(queue, at)| model[queue].remove(at));
                    }
                    3 if known.is_none() => { ghosts.push(1, key, size); model[1].push((key, size)); }
                    4 if known.is_none() => {
                        ghosts.push_within(key, size, limit);
                        if u64::from(size) <= limit {
                            model[0].push((key, size));
                            while weight(&model[0]) > limit {
                                model[0].remove(0);
                            }
                        }
                    }
                    _ => {}
                }
                ghosts.validate();
                prop_assert_eq!([0, 1].map(|queue| ghosts.weight(queue)), [0, 1].map(|queue| weight(&model[queue])));
            }
        }
    }
}
