//! Where values come from: the origin, behind a closure at the call or a loader the cache knows.

use std::future::Future;

use futures_util::future::{BoxFuture, FutureExt};

use crate::fetched::Fetched;
use crate::{Error, ErrorKind};

/// A load that has not begun.
pub(crate) type Load<V> = BoxFuture<'static, Result<Fetched<V>, Error>>;

/// Whatever a user's loader fails with.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// The origin as a cache knows it: what reads through, renews ahead of time and pre-warms ask.
/// Any `Fn(K) -> impl Future<Output = Result<Fetched<V>, E>>` is one.
pub trait Loader<K, V>: Send + Sync + 'static {
    /// Loads one value. [`Error::not_found`] and [`Fetched::absent`] both say that there is none.
    fn load(&self, key: K) -> BoxFuture<'static, Result<Fetched<V>, BoxError>>;
}

impl<K, V, F, Fut, T, E> Loader<K, V> for F
where
    F: Fn(K) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<T, E>> + Send + 'static,
    T: Into<Fetched<V>>,
    E: Into<BoxError>,
{
    fn load(&self, key: K) -> BoxFuture<'static, Result<Fetched<V>, BoxError>> {
        let load = self(key);
        async move { load.await.map(Into::into).map_err(Into::into) }.boxed()
    }
}

impl Error {
    /// Whatever a loader failed with, as one of ours; our own pass through.
    pub fn from_loader(error: impl Into<BoxError>) -> Self {
        match error.into().downcast::<Self>() {
            Ok(own) => *own,
            Err(other) => Self::caused(ErrorKind::Loader, format!("the load failed: {other}"), other),
        }
    }
}
