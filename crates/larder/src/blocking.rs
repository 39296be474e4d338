//! The same cache for threads that may wait: each call waits for the async one.

use std::borrow::Borrow;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use crate::cache::Cache;
use crate::fetched::{Fetched, Found, Options};
use crate::key::Key;
use crate::limits::PERMIT;
use crate::loader::BoxError;
use crate::{Error, ErrorKind};

/// A cache for threads that may wait; from [`Cache::blocking`]. Inside a runtime of several threads its calls make room for other
/// tasks; on the thread that runs a runtime of one, and in a `LocalSet`, they fail with [`ErrorKind::Config`], since they would stop it. On a thread
/// for blocking, such as `spawn_blocking` takes and loaders run on, they work. They fail after ten seconds, too, where the cache was built in a
/// runtime of one thread that nobody runs meanwhile.
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
        Ok(self.find_with(key, load)?.value)
    }

    /// As [`Cache::find_with`]; `load` runs on a thread that may wait.
    ///
    /// # Errors
    /// As [`get_with`](Self::get_with).
    pub fn find_with<Q, F, T, E>(&self, key: &Q, load: F) -> Result<Found<V>, Error>
    where
        K: Borrow<Q>,
        Q: Key + ToOwned<Owned = K> + ?Sized,
        F: FnOnce() -> Result<T, E> + Send + 'static,
        T: Into<Fetched<V>> + Send + 'static,
        E: Into<BoxError> + Send + 'static,
    {
        self.wait(self.cache.find_with(key, || aside(load)))
    }

    /// As [`Cache::load`].
    ///
    /// # Errors
    /// As there, and [`ErrorKind::Config`] inside a runtime of one thread.
    pub fn load<Q>(&self, key: &Q) -> Result<Found<V>, Error>
    where
        K: Borrow<Q>,
        Q: Key + ToOwned<Owned = K> + ?Sized,
    {
        self.wait(self.cache.load(key))
    }

    /// As [`Cache::get_many_with`]; `load` runs on a thread that may wait.
    ///
    /// # Errors
    /// As there, and [`ErrorKind::Config`] inside a runtime of one thread.
    pub fn get_many_with<F, T, E>(&self, keys: impl IntoIterator<Item = K>, load: F) -> Result<HashMap<K, V>, Error>
    where
        F: FnOnce(Vec<K>) -> Result<HashMap<K, T>, E> + Send + 'static,
        T: Into<Fetched<V>> + Send + 'static,
        E: Into<BoxError> + Send + 'static,
    {
        self.wait(self.cache.get_many_with(keys, |keys| aside(move || load(keys))))
    }

    /// As [`Cache::get_each_with`]; `load` runs on a thread that may wait.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] inside a runtime of one thread.
    pub fn get_each_with<F, T, E>(
        &self,
        keys: impl IntoIterator<Item = K>,
        load: F,
    ) -> Result<HashMap<K, Result<V, Error>>, Error>
    where
        F: FnOnce(Vec<K>) -> Result<HashMap<K, T>, E> + Send + 'static,
        T: Into<Fetched<V>> + Send + 'static,
        E: Into<BoxError> + Send + 'static,
    {
        self.cache.inner.runtime.block_on(self.cache.get_each_with(keys, |keys| aside(move || load(keys))))
    }

    /// As [`Cache::refresh`].
    ///
    /// # Errors
    /// As there, and [`ErrorKind::Config`] inside a runtime of one thread.
    pub fn refresh<Q>(&self, key: &Q) -> Result<Found<V>, Error>
    where
        K: Borrow<Q>,
        Q: Key + ToOwned<Owned = K> + ?Sized,
    {
        self.wait(self.cache.refresh(key))
    }

    /// As [`Cache::refresh_with`]; `load` runs on a thread that may wait.
    ///
    /// # Errors
    /// As [`refresh`](Self::refresh).
    pub fn refresh_with<Q, F, T, E>(&self, key: &Q, load: F) -> Result<Found<V>, Error>
    where
        K: Borrow<Q>,
        Q: Key + ToOwned<Owned = K> + ?Sized,
        F: FnOnce() -> Result<T, E> + Send + 'static,
        T: Into<Fetched<V>> + Send + 'static,
        E: Into<BoxError> + Send + 'static,
    {
        self.wait(self.cache.refresh_with(key, || aside(load)))
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
        self.wait(self.cache.insert_with(key, value, options))
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
        self.wait(self.cache.remove(key))
    }

    /// As [`Cache::remove_if`].
    ///
    /// # Errors
    /// As [`insert`](Self::insert).
    pub fn remove_if(&self, predicate: impl FnMut(&K, &V) -> bool) -> Result<usize, Error> {
        self.wait(self.cache.remove_if(predicate))
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
        self.wait(self.cache.changed(key))
    }

    /// As [`Cache::remove_tag`].
    ///
    /// # Errors
    /// As [`insert`](Self::insert).
    pub fn remove_tag(&self, tag: &str) -> Result<(), Error> {
        self.wait(self.cache.remove_tag(tag))
    }

    /// As [`Cache::clear`].
    ///
    /// # Errors
    /// As [`insert`](Self::insert).
    pub fn clear(&self) -> Result<(), Error> {
        self.wait(self.cache.clear())
    }

    /// As [`Cache::put`].
    ///
    /// # Errors
    /// As there, and [`ErrorKind::Config`] inside a runtime of one thread.
    pub fn put(&self, key: K, value: V) -> Result<(), Error> {
        self.put_with(key, value, Options::default())
    }

    /// As [`Cache::put_with`].
    ///
    /// # Errors
    /// As [`put`](Self::put).
    pub fn put_with(&self, key: K, value: V, options: Options) -> Result<(), Error> {
        self.wait(self.cache.put_with(key, value, options))
    }

    /// As [`Cache::delete`].
    ///
    /// # Errors
    /// As [`put`](Self::put).
    pub fn delete<Q>(&self, key: &Q) -> Result<(), Error>
    where
        K: Borrow<Q>,
        Q: Key + ?Sized,
    {
        self.wait(self.cache.delete(key))
    }

    /// As [`Cache::close`].
    ///
    /// # Errors
    /// [`ErrorKind::Config`] inside a runtime of one thread.
    pub fn close(&self, within: Duration) -> Result<bool, Error> {
        self.cache.inner.runtime.block_on(self.cache.close(within))
    }

    fn wait<T>(&self, what: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
        self.cache.inner.runtime.block_on(what)?
    }
}

/// Loads on a thread that may wait. It cannot be cut short: where it is given up, it keeps its place among the loads until it ends.
async fn aside<T, E>(load: impl FnOnce() -> Result<T, E> + Send + 'static) -> Result<T, Error>
where
    T: Send + 'static,
    E: Into<BoxError> + Send + 'static,
{
    let permit = PERMIT.try_with(Arc::clone).ok();
    let load = move || match permit {
        Some(permit) => PERMIT.sync_scope(permit, load),
        None => load(),
    };
    match tokio::task::spawn_blocking(load).await {
        Ok(loaded) => loaded.map_err(Error::from_loader),
        Err(error) => Err(Error::caused(ErrorKind::Panicked, "the loader panicked", error)),
    }
}
