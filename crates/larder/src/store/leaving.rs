//! What left: whoever listens hears of it, and then it is dropped, both with no lock held.

use std::borrow::Borrow;

use larder_policy::{KeyHash, Op};

use super::{Standing, Store};
use crate::entry::Entry;
use crate::key::Key;
use crate::listener::{Gone, Listener, RemovalCause};

impl<K, V> Store<K, V>
where
    K: Key + Clone,
    V: Clone,
{
    /// With somebody who hears of what leaves.
    pub(crate) fn heard_by(self, listener: Option<Listener<K, V>>) -> Self {
        Self { listener, ..self }
    }

    #[inline]
    pub(super) fn let_go(&self, gone: Gone<K, V>) {
        if let Some(listener) = &self.listener {
            self.tell_all(listener, &gone);
        }
    }

    /// All hear of it before the first is dropped, which is the user's code too.
    #[cold]
    fn tell_all(&self, listener: &Listener<K, V>, gone: &Gone<K, V>) {
        for (cause, entry) in gone.iter() {
            // Whose tag was removed lay there until something else came to take it away.
            let is_void = cause != RemovalCause::Refused && self.standing(entry) == Standing::Void;
            let cause = if is_void { RemovalCause::Removed } else { cause };
            listener.tell(&entry.key, entry.value.as_ref(), cause);
        }
    }

    /// It was not kept, nor handed to the policy.
    pub(super) fn tell_refused(&self, key: &K, value: Option<&V>) {
        if let Some(listener) = &self.listener {
            listener.tell(key, value, RemovalCause::Refused);
        }
    }

    /// It was taken out by its key.
    pub(super) fn tell_removed(&self, entry: &Entry<K, V>) {
        if let Some(listener) = &self.listener {
            listener.tell(&entry.key, entry.value.as_ref(), RemovalCause::Removed);
        }
    }

    /// The key's value is no longer true.
    pub(crate) fn forget<Q>(&self, key: &Q, hash: KeyHash) -> Option<V>
    where
        K: Borrow<Q>,
        Q: Key + ?Sized,
    {
        let now = self.clock.now();
        self.record(key, Op::Delete, now, 1, 0, None);
        self.floors.raise(hash, now);
        let mut segment = self.segment(hash);
        segment.counts.removals += 1;
        let entry = segment.forget(hash, now, |own| own.borrow() == key);
        drop(segment);
        let entry = entry.inspect(|entry| self.tell_removed(entry))?;
        entry.value
    }
}
