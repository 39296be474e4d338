//! The second tier: a store that processes share, as four methods and what it can do, and the [`Tier`] that makes it harmless.
//!
//! ```text
//! the cache ──▶ Tier: deadline, breaker, bulkhead, retry budget, queue ──▶ RemoteStore: bytes under names
//!                └─ Envelope: whose value it is, how old, how long it counts
//! ```

pub mod envelope;
mod memory;
pub mod names;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
mod tier;

use std::time::{Duration, SystemTime};

use bytes::Bytes;
use futures_util::future::{self, BoxFuture, FutureExt};
use tokio::sync::broadcast;

use crate::Error;

pub use envelope::{Envelope, Fence, Kind, Mismatch};
pub use memory::{Faults, InProcess};
pub use tier::{
    BreakerConfig, BreakerState, Counts, Entry, Fill, Lease, LeaseGuard, Reply, Tier, TierConfig, TierState, Waited,
};

/// A key as the remote tier knows it, at most 512 bytes; [`names`] makes them.
pub type Name = std::sync::Arc<str>;

/// Something to keep, in its envelope.
#[derive(Clone, Debug)]
pub struct Item {
    /// Whose it is.
    pub name: Name,
    /// The envelope's bytes.
    pub bytes: Bytes,
    /// When the store may forget it; always finite and at least 1 ms.
    pub ttl: Duration,
}

/// Something that is no longer valid, for every process that shares the store.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Invalidation {
    /// One key.
    Key(Name),
    /// Every key that carries the tag, named by [`names::tag`].
    Tag(Name),
    /// Every key of the namespace, named by [`names::all`].
    Clear(Name),
    /// Some messages were lost, or the channel was down: anything may be outdated.
    Lost,
}

/// An invalidation to announce, and what the store keeps in its place: a mark that fences what was loaded before, or the value
/// that is now true.
#[derive(Clone, Debug)]
pub struct Notice {
    /// What the others hear.
    pub what: Invalidation,
    /// What is kept from now on.
    pub instead: Item,
    /// Another attempt: the others hear of it once its item is kept, and not before. They would take each attempt that is refused for one more
    /// invalidation, and forget what they loaded since.
    pub is_again: bool,
}

impl Notice {
    /// The first attempt.
    pub fn new(what: Invalidation, instead: Item) -> Self {
        Self { what, instead, is_again: false }
    }
}

/// What became of items that were [put](RemoteStore::put); those not counted here were fenced.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Filled {
    /// Kept.
    pub kept: usize,
    /// Not let in: worth less than what is kept, or too large.
    pub not_admitted: usize,
}

/// What a store can do beyond keeping bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Capabilities {
    /// Invalidations reach the other processes.
    pub announces: bool,
    /// A lost channel is noticed and reported as [`Invalidation::Lost`].
    pub notices_loss: bool,
    /// [`put`](RemoteStore::put) refuses what was loaded before an invalidation.
    pub fences: bool,
    /// A lease lets one process load for all.
    pub leases: bool,
}

/// What the server behind a store last said about itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct ServerFigures {
    /// Bytes in use.
    pub used_bytes: u64,
    /// Bytes it may use; 0 for no limit.
    pub limit_bytes: u64,
    /// Keys evicted to make room, since it started.
    pub evicted: u64,
    /// Keys expired, since it started.
    pub expired: u64,
    /// Replicas that are connected.
    pub replicas: u64,
    /// By how many bytes the slowest of them lags.
    pub lag_bytes: u64,
}

/// A second tier. Four methods, each one round trip for any number of keys; an error means that the tier could not be
/// reached or did not answer properly, never that a key is missing.
///
/// Implementations need no deadline, retry or breaker of their own: [`Tier`] puts those around every call, and may drop a call's
/// future at any moment. `testing::conformance` (feature `testing`) checks one.
pub trait RemoteStore: Send + Sync + 'static {
    /// What it can do.
    fn capabilities(&self) -> Capabilities;

    /// What is kept under `names`, in their order; `None` where there is nothing.
    fn get<'a>(&'a self, names: &'a [Name]) -> BoxFuture<'a, Result<Vec<Option<Bytes>>, Error>>;

    /// Keeps items that were just loaded, and says what became of them. A store that fences keeps an item only if nothing is
    /// kept under its name, or something with the same fence ([`envelope::fence_of`]) and no newer version ([`envelope::version_of`]).
    fn put<'a>(&'a self, items: &'a [Item]) -> BoxFuture<'a, Result<Filled, Error>>;

    /// Keeps each notice's item whatever was there, then tells the other processes, in this order. A store that fences keeps what is there if
    /// that is a newer version, and tells this process too, which is to forget its own; and of two marks of a tag or a namespace it keeps the later
    /// ([`envelope::marked_at`]), whichever arrives last.
    fn invalidate<'a>(&'a self, notices: &'a [Notice]) -> BoxFuture<'a, Result<(), Error>>;

    /// What others invalidated, from now on, until the store closes. A process hears its own messages or not, as the store likes.
    /// Stores that announce nothing return a channel that is closed. Who lags behind a full channel has lost messages.
    fn listen(&self) -> broadcast::Receiver<Invalidation>;

    /// The time all processes that share the store agree on, in microseconds since the Unix epoch: the store's own clock where
    /// it has one, so that no process's wall clock matters.
    fn now(&self) -> u64 {
        SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_micros() as u64)
    }

    /// An answer was another key's value: whatever carried it must not be used again.
    fn distrust(&self) {}

    /// Told by each tier over it, before anything else: no value of the tier has more bytes than this, so that no more need be read of one
    /// that a stranger keeps under its name.
    fn expect(&self, most_bytes: usize) {
        let _ = most_bytes;
    }

    /// What its server last said about itself, for reports: read from memory, never asked for; none where nothing is known.
    fn server_figures(&self) -> Option<ServerFigures> {
        None
    }

    /// Takes the lease of `name` for at most `ttl`, unless somebody has it; `token` is the holder's secret, and asking again with the
    /// same one succeeds.
    fn lease<'a>(&'a self, name: &'a Name, token: u64, ttl: Duration) -> BoxFuture<'a, Result<bool, Error>> {
        let _ = (name, token, ttl);
        future::ready(Ok(true)).boxed()
    }

    /// Gives the lease back, if `token` still holds it.
    fn release<'a>(&'a self, name: &'a Name, token: u64) -> BoxFuture<'a, Result<(), Error>> {
        let _ = (name, token);
        future::ready(Ok(())).boxed()
    }
}

/// A store that is also held elsewhere, to see how it is.
impl<S: RemoteStore + ?Sized> RemoteStore for std::sync::Arc<S> {
    fn capabilities(&self) -> Capabilities {
        (**self).capabilities()
    }

    fn get<'a>(&'a self, names: &'a [Name]) -> BoxFuture<'a, Result<Vec<Option<Bytes>>, Error>> {
        (**self).get(names)
    }

    fn put<'a>(&'a self, items: &'a [Item]) -> BoxFuture<'a, Result<Filled, Error>> {
        (**self).put(items)
    }

    fn invalidate<'a>(&'a self, notices: &'a [Notice]) -> BoxFuture<'a, Result<(), Error>> {
        (**self).invalidate(notices)
    }

    fn listen(&self) -> broadcast::Receiver<Invalidation> {
        (**self).listen()
    }

    fn now(&self) -> u64 {
        (**self).now()
    }

    fn distrust(&self) {
        (**self).distrust();
    }

    fn expect(&self, most_bytes: usize) {
        (**self).expect(most_bytes);
    }

    fn server_figures(&self) -> Option<ServerFigures> {
        (**self).server_figures()
    }

    fn lease<'a>(&'a self, name: &'a Name, token: u64, ttl: Duration) -> BoxFuture<'a, Result<bool, Error>> {
        (**self).lease(name, token, ttl)
    }

    fn release<'a>(&'a self, name: &'a Name, token: u64) -> BoxFuture<'a, Result<(), Error>> {
        (**self).release(name, token)
    }
}
