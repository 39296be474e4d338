//! What a moka cache holds: a value, with what must be known to judge it.

use std::ops::Deref;
use std::time::Duration;

use larder::{Found, Tier, Time};
use larder_policy::KeyHash;
use larder_policy::freshness::{Handle, Subject};

use crate::fences::Ticket;

/// A value in a moka cache that larder looks after. Code that reads the moka cache itself sees through it by `Deref`.
///
/// What is known about the value travels with it, so that a read needs no second look-up, and no table beside moka's can tell of
/// another value than the one that is read. It costs 64 bytes an entry.
#[derive(Clone, Debug)]
pub struct Held<V> {
    pub(crate) value: V,
    pub(crate) key: KeyHash,
    /// When the origin said so.
    pub(crate) as_of: Time,
    /// As foreseen when it was loaded; where the engine is asked, it decides anew.
    pub(crate) fresh_until: Time,
    /// Not served from then on, fresh or stale, where the loader set a limit.
    pub(crate) limit: Time,
    pub(crate) renew_from: Time,
    /// Its last load failed: until then nobody tries again. Zero as long as none has, and beyond its time only if it was over it then.
    pub(crate) retry_at: Time,
    pub(crate) ticket: Ticket,
    /// What it weighs, for the engine.
    pub(crate) size: u32,
    /// What the engine knows its key by, where it decides on reads.
    pub(crate) handle: Option<Handle>,
}

impl<V> Held<V> {
    /// The value.
    pub fn into_value(self) -> V {
        self.value
    }

    /// For how long it was expected to stay fresh when it was loaded.
    pub fn lifetime(&self) -> Duration {
        self.fresh_until.since(self.as_of)
    }

    /// Whether it was kept beyond its time because a load failed.
    pub fn is_stale(&self) -> bool {
        self.retry_at > self.fresh_until
    }

    /// The same once a load has failed, and nobody is to try again for a while: up to `end` at most, for then it is of no use any more. It was there
    /// at `ticket`.
    pub(crate) fn pausing(&self, now: Time, pause: Duration, end: Time, ticket: Ticket) -> Self
    where
        V: Clone,
    {
        // It is not served for longer for having failed while it was fresh.
        let end = if now < self.fresh_until { self.fresh_until } else { end };
        let retry_at = now.plus(pause).min(end);
        Self { retry_at, ticket, ..self.clone() }
    }

    pub(crate) fn subject(&self) -> Option<Subject> {
        self.handle.map(|handle| Subject { key: self.key, handle, size: self.size })
    }

    pub(crate) fn found(self, tier: Tier, now: Time) -> Found<V> {
        let (age, is_stale) = (now.since(self.as_of), self.is_stale());
        Found { value: self.value, tier, age, is_stale }
    }
}

impl<V> Deref for Held<V> {
    type Target = V;

    fn deref(&self) -> &V {
        &self.value
    }
}
