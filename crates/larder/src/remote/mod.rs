//! The second tier: a store that processes share, as four methods and what it can do.

use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;

use crate::Error;

/// A key as the remote tier knows it: namespace, separator and the key's text, at most 512 bytes.
pub type Name = std::sync::Arc<str>;

/// A value to keep, in its envelope.
#[derive(Clone, Debug)]
pub struct Item {
    /// Whose it is.
    pub name: Name,
    /// The envelope's bytes.
    pub bytes: Bytes,
    /// When the store may forget it; always finite.
    pub ttl: Duration,
}

/// Something that is no longer valid, for every process that shares the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Invalidation {
    /// One key.
    Key(Name),
    /// Every key that carries the tag.
    Tag(Name),
    /// Every key of the namespace.
    Clear(Name),
    /// Some messages were lost, or the channel was down: anything may be outdated.
    Lost,
}

/// What a store can do beyond keeping bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Capabilities {
    /// Invalidations reach the other processes.
    pub announces: bool,
    /// A lost channel is noticed and reported as [`Invalidation::Lost`].
    pub notices_loss: bool,
    /// A lease lets one process load for all.
    pub leases: bool,
}

/// A second tier. Four methods, each one round trip for any number of keys; an error means that the tier could not be
/// reached or did not answer properly, never that a key is missing.
///
/// Implementations need no deadline, retry or breaker of their own: the cache puts those around every call.
pub trait RemoteStore: Send + Sync + 'static {
    /// What it can do.
    fn capabilities(&self) -> Capabilities;

    /// The values of `names`, in their order; `None` where there is none.
    fn get<'a>(&'a self, names: &'a [Name]) -> BoxFuture<'a, Result<Vec<Option<Bytes>>, Error>>;

    /// Keeps the items.
    fn put<'a>(&'a self, items: &'a [Item]) -> BoxFuture<'a, Result<(), Error>>;

    /// Forgets what is named and tells the other processes where the store can.
    fn invalidate<'a>(&'a self, what: &'a [Invalidation]) -> BoxFuture<'a, Result<(), Error>>;

    /// What others invalidated, from now on, until the store closes. A process hears its own messages or not, as the store likes.
    /// Stores that announce nothing return a channel that is closed.
    fn listen(&self) -> tokio::sync::broadcast::Receiver<Invalidation>;
}
