//! Loads that the user asks for though there may be something fresh.

use std::borrow::Borrow;
use std::future::Future;
use std::sync::Arc;

use tokio::time::Instant;

use crate::cache::{Cache, Inner, present};
use crate::fetched::{Fetched, Found};
use crate::flight::Answer;
use crate::key::Key;
use crate::load::Target;
use crate::loader::{BoxError, Load};
use crate::{Error, ErrorKind};

impl<K, V> Cache<K, V>
where
    K: Key + Clone,
    V: Clone + Send + Sync + 'static,
{
    /// Loads a key anew through the cache's [loader](crate::Builder::loader), whatever memory and the remote tier have, and keeps the answer in
    /// both. Readers are served meanwhile with what there is; who misses waits for this load. A load of the key that is under way already is
    /// waited for instead. If the origin fails, what there is stays. It counts as no read, and takes no part in
    /// [leases](crate::Builder::lease).
    ///
    /// Where it is known that the value has changed, [`changed`](Self::changed) is the better thing to say: the old value is then no longer
    /// served, here and elsewhere.
    ///
    /// # Errors
    /// As [`load`](Self::load). Where the origin fails and the remote tier has a copy, that comes, as stale.
    pub async fn refresh<Q>(&self, key: &Q) -> Result<Found<V>, Error>
    where
        K: Borrow<Q>,
        Q: Key + ToOwned<Owned = K> + ?Sized,
    {
        self.needs_loader()?;
        present(self.inner.renew(key, None::<fn() -> Load<V>>).await?)
    }

    /// As [`refresh`](Self::refresh), through `load`.
    ///
    /// # Errors
    /// As [`get_with`](Self::get_with). Where the origin fails and the remote tier has a copy, that comes, as stale.
    pub async fn refresh_with<Q, F, Fut, T, E>(&self, key: &Q, load: F) -> Result<Found<V>, Error>
    where
        K: Borrow<Q>,
        Q: Key + ToOwned<Owned = K> + ?Sized,
        F: FnOnce() -> Fut + Send + 'static,
        Fut: Future<Output = Result<T, E>> + Send + 'static,
        T: Into<Fetched<V>>,
        E: Into<BoxError>,
    {
        let make =
            move || -> Load<V> { Box::pin(async move { load().await.map(Into::into).map_err(Error::from_loader) }) };
        present(self.inner.renew(key, Some(make)).await?)
    }
}

impl<K, V> Inner<K, V>
where
    K: Key + Clone,
    V: Clone + Send + Sync + 'static,
{
    async fn renew<Q>(self: &Arc<Self>, key: &Q, mut load: Option<impl FnOnce() -> Load<V>>) -> Answer<V>
    where
        K: Borrow<Q>,
        Q: Key + ToOwned<Owned = K> + ?Sized,
    {
        let (hash, began) = (self.store.hasher.hash(key), Instant::now());
        loop {
            let (flight, leads, is_late) = self.store.anew(key, hash);
            if leads {
                let landing = self.landing(Target { hash, flight: flight.clone(), audit: None });
                let load = load.take().map(|load| load()).or_else(|| self.load_of(key));
                self.depart(landing, load);
            }
            match self.wait(&flight, began, false).await {
                Ok(_) if is_late && self.store.is_void(&flight) => {}
                // Whoever led could not bring it, and this one can try for itself.
                Err(error) if error.kind() == ErrorKind::Panicked && load.is_some() && !leads => {}
                answer => return answer,
            }
        }
    }
}
