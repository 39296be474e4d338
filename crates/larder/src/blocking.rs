//! The same cache for threads that may wait: each call waits for the async one.

use std::borrow::Borrow;

use crate::cache::Cache;
use crate::fetched::{Fetched, Options};
use crate::key::Key;
use crate::loader::BoxError;
use crate::{Error, ErrorKind};

/// A cache for threads that may wait; from [`Cache::blocking`]. Inside a runtime of several threads its calls make room for other
/// tasks; inside one of a single thread they fail with [`ErrorKind::Config`], since they would stop it.
#[derive(Debug)]
pub struct Blocking<'a, K, V>
where
    K: Key + Clone,
    V: Clone + Send + Sync + 'static,
{
    pub(crate) cache: &'a Cache<K, V>,
}

impl<K, V> Blocking<'_, K, V>
where
    K: Key + Clone,
    V: Clone + Send + Sync + 'static,
{
    /// As [`Cache::get`].
    ///
    /// # Errors
    /// [`ErrorKind::Config`] inside a runtime of one thread, if it would have to wait.
    pub fn get<Q>(&self, key: &Q) -> Result<Option<V>, Error>
    where
        K: Borrow<Q>,
        Q: Key + ToOwned<Owned = K> + ?Sized,
    {
        let inner = &self.cache.inner;
        if inner.shared.is_none() && inner.loader.is_none() {
            return Ok(self.cache.local(key));
        }
        inner.runtime.block_on(self.cache.get(key))
    }

    /// As [`Cache::get_with`]; `load` runs on a thread that may wait.
    ///
    /// # Errors
    /// As there, and [`ErrorKind::Config`] inside a runtime of one thread.
    pub fn get_with<Q, F, T, E>(&self, key: &Q, load: F) -> Result<V, Error>
    where
        K: Borrow<Q>,
        Q: Key + ToOwned<Owned = K> + ?Sized,
        F: FnOnce() -> Result<T, E> + Send + 'static,
        T: Into<Fetched<V>> + Send + 'static,
        E: Into<BoxError> + Send + 'static,
    {
        let load = move || async move {
            match tokio::task::spawn_blocking(load).await {
                Ok(loaded) => loaded.map(Into::into).map_err(Error::from_loader),
                Err(error) => Err(Error::caused(ErrorKind::Panicked, "the loader panicked", error)),
            }
        };
        self.cache.inner.runtime.block_on(self.cache.get_with(key, load))?
    }

    /// As [`Cache::insert`].
    ///
    /// # Errors
    /// As there, and [`ErrorKind::Config`] inside a runtime of one thread.
    pub fn insert(&self, key: K, value: V) -> Result<(), Error> {
        self.insert_with(key, value, Options::default())
    }

    /// As [`Cache::insert_with`].
    ///
    /// # Errors
    /// As [`insert`](Self::insert).
    pub fn insert_with(&self, key: K, value: V, options: Options) -> Result<(), Error> {
        self.cache.inner.runtime.block_on(self.cache.insert_with(key, value, options))?
    }

    /// As [`Cache::remove`].
    ///
    /// # Errors
    /// As [`insert`](Self::insert).
    pub fn remove<Q>(&self, key: &Q) -> Result<Option<V>, Error>
    where
        K: Borrow<Q>,
        Q: Key + ?Sized,
    {
        self.cache.inner.runtime.block_on(self.cache.remove(key))?
    }

    /// As [`Cache::changed`].
    ///
    /// # Errors
    /// As [`insert`](Self::insert).
    pub fn changed<Q>(&self, key: &Q) -> Result<(), Error>
    where
        K: Borrow<Q>,
        Q: Key + ?Sized,
    {
        self.remove(key).map(drop)
    }

    /// As [`Cache::remove_tag`].
    ///
    /// # Errors
    /// As [`insert`](Self::insert).
    pub fn remove_tag(&self, tag: &str) -> Result<(), Error> {
        self.cache.inner.runtime.block_on(self.cache.remove_tag(tag))?
    }

    /// As [`Cache::clear`].
    ///
    /// # Errors
    /// As [`insert`](Self::insert).
    pub fn clear(&self) -> Result<(), Error> {
        self.cache.inner.runtime.block_on(self.cache.clear())?
    }
}
