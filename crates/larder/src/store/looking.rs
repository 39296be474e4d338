//! Looks at what memory holds that are no access: nothing is counted, and no policy hears of them.

use std::borrow::Borrow;

use larder_policy::{KeyHash, Slot, Time};

use super::{Standing, Store};
use crate::entry::Entry;
use crate::key::Key;
use crate::segment::Segment;

/// Residents that are looked at under one lock.
const STEP: usize = 256;

/// How far somebody is who goes through all of memory.
#[derive(Default)]
pub(crate) struct Place {
    segment: usize,
    slot: u32,
}

impl<K, V> Store<K, V>
where
    K: Key + Clone,
    V: Clone,
{
    /// Whether the key is resident.
    pub(crate) fn holds(&self, key: &K, hash: KeyHash) -> bool {
        self.segment(hash).kernel.peek(hash).is_some_and(|entry| entry.key == *key)
    }

    /// Whether there is something fresh to serve.
    pub(crate) fn has_fresh(&self, key: &K, hash: KeyHash) -> bool {
        self.is_fresh(&self.segment(hash), key, hash)
    }

    pub(super) fn is_fresh<Q>(&self, segment: &Segment<K, V>, key: &Q, hash: KeyHash) -> bool
    where
        K: Borrow<Q>,
        Q: Eq + ?Sized,
    {
        let resident = segment.kernel.peek(hash).filter(|entry| entry.key.borrow() == key);
        resident.is_some_and(|entry| self.clock.now() < entry.end && self.standing(entry) == Standing::Valid)
    }

    /// What is made of the key's entry, if it may be served.
    pub(crate) fn peek<Q, T>(&self, key: &Q, make: impl FnOnce(&Entry<K, V>) -> Option<T>) -> Option<T>
    where
        K: Borrow<Q>,
        Q: Key + ?Sized,
    {
        let (hash, now) = (self.hasher.hash(key), self.clock.now());
        let segment = self.segment(hash);
        let resident = segment.kernel.peek(hash).filter(|entry| entry.key.borrow() == key);
        resident.filter(|entry| self.may_serve(entry, now)).and_then(make)
    }

    /// Whether a reader would be served by it, as far as it says itself.
    pub(crate) fn may_serve(&self, entry: &Entry<K, V>, now: Time) -> bool {
        now < entry.last() && self.standing(entry) == Standing::Valid
    }

    /// What is made of the next residents, few at a time, each batch under a lock; `None` behind the last. A resident keeps its slot, so that
    /// who stays is seen once.
    pub(crate) fn next_of<T>(
        &self,
        place: &mut Place,
        make: impl Fn(&Entry<K, V>, Time) -> Option<T>,
    ) -> Option<Vec<T>> {
        let now = self.clock.now();
        // Made before the lock is taken: if a clone panics, they are dropped after it is free.
        let mut made = Vec::with_capacity(STEP);
        let segment = self.hold(self.segments.get(place.segment)?);
        let mut seen = 0;
        for (slot, entry) in segment.kernel.iter_from(Slot(place.slot)).take(STEP) {
            made.extend(make(entry, now));
            place.slot = slot.0 + 1;
            seen += 1;
        }
        if seen < STEP {
            *place = Place { segment: place.segment + 1, slot: 0 };
        }
        Some(made)
    }
}
