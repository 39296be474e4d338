//! Who hears of what leaves memory.

use std::mem;
use std::panic::{AssertUnwindSafe, catch_unwind};

use larder_policy::Evicted;
use larder_policy::eviction::Removal;

use crate::entry::Entry;

/// Why memory let go of a value, or never held it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RemovalCause {
    /// Its time had passed, and with it the time in which it may stand in for an origin that fails.
    Expired,
    /// Others needed the room, or the capacity shrank.
    Evicted,
    /// Its key was written or loaded anew.
    Replaced,
    /// Its key or its tag was removed, reported as changed or deleted, or everything was cleared; here or by another process.
    Removed,
    /// It was never kept: whoever is there is worth more, it is too heavy, a newer version is there, or its key was written or removed while
    /// it was loaded.
    Refused,
}

/// The user's function that hears of it.
pub(crate) struct Listener<K, V> {
    /// The name of its cache.
    cache: String,
    hear: Hear<K, V>,
}

pub(crate) type Hear<K, V> = Box<dyn Fn(&K, &V, RemovalCause) + Send + Sync>;

impl<K, V> Listener<K, V> {
    pub(crate) fn new(cache: String, hear: Hear<K, V>) -> Self {
        Self { cache, hear }
    }

    /// Tells it, with no lock held. That it panics is nothing to the cache; that the origin has no value is none to tell of.
    pub(crate) fn tell(&self, key: &K, value: Option<&V>, cause: RemovalCause) {
        let Some(value) = value else { return };
        if catch_unwind(AssertUnwindSafe(|| (self.hear)(key, value, cause))).is_err() {
            tracing::error!(cache = %self.cache, "the removal listener panicked; the cache goes on");
        }
    }
}

/// What left under a lock, to be told of and dropped when that is free.
pub(crate) struct Gone<K, V> {
    by_policy: Few<Evicted<Entry<K, V>>>,
    taken: Few<(RemovalCause, Entry<K, V>)>,
}

impl<K, V> Gone<K, V> {
    #[inline]
    pub(crate) fn take(
        by_policy: &mut Vec<Evicted<Entry<K, V>>>,
        taken: &mut Vec<(RemovalCause, Entry<K, V>)>,
    ) -> Self {
        Self { by_policy: Few::take(by_policy), taken: Few::take(taken) }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (RemovalCause, &Entry<K, V>)> {
        let by_policy = self.by_policy.iter().map(|gone| {
            let cause = match gone.why {
                Removal::Evicted => RemovalCause::Evicted,
                Removal::Expired => RemovalCause::Expired,
                // Its key was written, and the new value is too heavy.
                Removal::Removed => RemovalCause::Replaced,
            };
            (cause, &gone.value)
        });
        by_policy.chain(self.taken.iter().map(|(cause, entry)| (*cause, entry)))
    }
}

/// One alone, as is usual, leaves the list that it was in its room.
struct Few<T> {
    others: Vec<T>,
    last: Option<T>,
}

impl<T> Few<T> {
    #[inline]
    fn take(from: &mut Vec<T>) -> Self {
        let last = from.pop();
        Self { others: if from.is_empty() { Vec::new() } else { mem::take(from) }, last }
    }

    fn iter(&self) -> impl Iterator<Item = &T> {
        self.others.iter().chain(&self.last)
    }
}
