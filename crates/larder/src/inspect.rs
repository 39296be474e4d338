//! What memory holds, looked at without reading: one key, all of them, and those that are to go.

use std::borrow::Borrow;
use std::iter::from_fn;

use larder_policy::Time;

use crate::Error;
use crate::cache::Cache;
use crate::entry::Entry;
use crate::key::Key;
use crate::remote::Invalidation;
use crate::shared::tolerate;
use crate::store::{Place, Standing};

impl<K, V> Cache<K, V>
where
    K: Key + Clone,
    V: Clone + Send + Sync + 'static,
{
    /// Whether memory holds a value of the key that [`peek`](Self::peek) would show. The remote tier is not asked.
    pub fn contains<Q>(&self, key: &Q) -> bool
    where
        K: Borrow<Q>,
        Q: Key + ?Sized,
    {
        self.inner.store.peek(key, |entry| entry.value.as_ref().map(|_| ())).is_some()
    }

    /// What memory holds, if it is fresh, as [`local`](Self::local) gives it, but without a trace: no policy hears of it, it is neither
    /// counted, timed nor recorded, and nothing is renewed. The remote tier is not asked. Where lifetimes are learned, it goes by the one
    /// foreseen when the value was loaded, which a read may judge anew.
    pub fn peek<Q>(&self, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
        Q: Key + ?Sized,
    {
        self.inner.store.peek(key, |entry| entry.value.clone())
    }

    /// Keys and values that memory holds, in no order that means anything: those that [`peek`](Self::peek) would show. No lock is held
    /// between two of them, and no more than 256 are copied at once. What comes, leaves or changes meanwhile may be seen or not; what stays is
    /// seen once, unless a [control](crate::Builder::control) changes the policy just then. The remote tier is not asked.
    pub fn iter(&self) -> impl Iterator<Item = (K, V)> + use<K, V> {
        self.walk(|entry| Some((entry.key.clone(), entry.value.clone()?)))
    }

    /// The keys of [`iter`](Self::iter); no value is copied.
    pub fn keys(&self) -> impl Iterator<Item = K> + use<K, V> {
        self.walk(|entry| entry.value.as_ref().map(|_| entry.key.clone()))
    }

    fn walk<T, F>(&self, make: F) -> impl Iterator<Item = T> + use<K, V, T, F>
    where
        F: Fn(&Entry<K, V>) -> Option<T>,
    {
        let (cache, mut place) = (self.clone(), Place::default());
        let next = move || {
            let store = &cache.inner.store;
            let shown = |entry: &_, now| if store.may_serve(entry, now) { make(entry) } else { None };
            store.next_of(&mut place, shown)
        };
        from_fn(next).flatten()
    }

    /// Removes what memory holds and `predicate` is true of, as [`remove`](Self::remove) does: from both tiers, here and in the other
    /// processes; returns how many. Values that have ended and may still stand in for a failing origin are among them.
    ///
    /// What only the remote tier or another process holds is not seen, nor are loads under way and what comes meanwhile: a [tag](Self::remove_tag)
    /// reaches those. `predicate` is called outside of every lock, with copies of 256 entries at most at a time; what is written between
    /// its look and the removal goes too.
    ///
    /// # Errors
    /// None of today's; the remote tier is told later where it cannot be reached.
    pub async fn remove_if(&self, mut predicate: impl FnMut(&K, &V) -> bool) -> Result<usize, Error> {
        let store = &self.inner.store;
        let (mut place, mut removed) = (Place::default(), 0);
        let look = |entry: &Entry<K, V>, _: Time| {
            let is_void = store.standing(entry) == Standing::Void;
            if is_void { None } else { Some((entry.key.clone(), entry.value.clone()?)) }
        };
        while let Some(held) = store.next_of(&mut place, look) {
            let keys: Vec<K> =
                held.into_iter().filter_map(|(key, value)| predicate(&key, &value).then_some(key)).collect();
            removed += self.remove_all(&keys).await?;
            // Memory may be large, and others wait for this thread.
            tokio::task::yield_now().await;
        }
        Ok(removed)
    }

    async fn remove_all(&self, keys: &[K]) -> Result<usize, Error> {
        let inner = &*self.inner;
        let held = keys.iter().filter_map(|key| inner.store.forget(key, inner.store.hasher.hash(key))).count();
        let Some(shared) = inner.shared.as_ref().filter(|_| !keys.is_empty()) else { return Ok(held) };
        // What is no name there was never told to anybody.
        let texts = keys.iter().map(Key::text).filter(|text| inner.key_rules.check(text).is_ok());
        let names: Vec<_> = texts.map(|text| Invalidation::Key(shared.name(&text))).collect();
        tolerate(shared.tier.invalidate(&names).await)?;
        Ok(held)
    }
}
