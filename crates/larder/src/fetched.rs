//! What a loader brings, and what a caller gets.

use std::time::Duration;

use larder_policy::Time;
use larder_policy::freshness::{Audit, Evidence};

use crate::remote::Name;

/// What a loader brings from the origin: a value, or that there is none, with what the origin said about it. A bare `V` or
/// `Option<V>` turns into one.
#[derive(Clone, Debug)]
pub struct Fetched<V> {
    pub(crate) value: Option<V>,
    pub(crate) options: Options,
    pub(crate) changed_at: Option<Time>,
}

impl<V> Fetched<V> {
    /// The origin has no such value; that is remembered too, for the lifetime of negative answers.
    pub fn absent() -> Self {
        None::<V>.into()
    }

    /// When the origin's value last changed (its `Last-Modified`, its row's update time), in time since the Unix epoch.
    /// The best evidence there is for learning its lifetime. With a [`version`](Options::version) too, the version says whether it changed, and
    /// this only when: a time that is touched without a change does no harm then.
    #[must_use]
    pub fn changed_at(self, since_epoch: Duration) -> Self {
        Self { changed_at: Some(Time(0).plus(since_epoch)), ..self }
    }

    /// What it tells about the origin's changes: when the value last changed, what it is now by its version, or both; else its `digest`.
    pub fn evidence(&self, digest: Option<&(dyn Fn(&V) -> u64 + Send + Sync)>) -> Evidence {
        match (self.changed_at, self.options.version, &self.value, digest) {
            (Some(at), Some(version), ..) => Evidence::DigestAt(version, at),
            (Some(at), None, ..) => Evidence::ChangedAt(at),
            (None, Some(version), ..) => Evidence::Digest(version),
            (None, None, Some(value), Some(digest)) => Evidence::Digest(digest(value)),
            _ => Evidence::Unknown,
        }
    }

    /// The longest it may be served, where the loader said so.
    pub fn ttl(&self) -> Option<Duration> {
        self.options.ttl
    }

    /// The value, if the origin has one.
    pub fn into_value(self) -> Option<V> {
        self.value
    }

    /// The settings of the entry it becomes.
    #[must_use]
    pub fn with(self, options: Options) -> Self {
        Self { options, ..self }
    }
}

impl<V> From<V> for Fetched<V> {
    fn from(value: V) -> Self {
        Some(value).into()
    }
}

impl<V> From<Option<V>> for Fetched<V> {
    fn from(value: Option<V>) -> Self {
        Self { value, options: Options::default(), changed_at: None }
    }
}

/// The settings of one entry; what is not set is as the cache has it.
///
/// ```
/// use std::time::Duration;
/// use larder::Options;
///
/// let options = Options::new().ttl(Duration::from_secs(60)).tag("catalogue").version(7);
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Options {
    pub(crate) ttl: Option<Duration>,
    pub(crate) version: Option<u64>,
    pub(crate) tags: Vec<Name>,
}

impl Options {
    /// Nothing set.
    pub fn new() -> Self {
        Self::default()
    }

    /// The longest it may be served, whatever else is learned about it, and though the origin fails: nothing is served stale beyond this.
    #[must_use]
    pub fn ttl(self, ttl: Duration) -> Self {
        Self { ttl: Some(ttl), ..self }
    }

    /// The origin's version of it. An older one never replaces a newer one, and an equal one says that nothing changed.
    #[must_use]
    pub fn version(self, version: u64) -> Self {
        Self { version: Some(version), ..self }
    }

    /// Lets [`remove_tag`](crate::Cache::remove_tag) remove it. Several may be given.
    #[must_use]
    pub fn tag(mut self, tag: impl Into<Name>) -> Self {
        self.tags.push(tag.into());
        self
    }
}

/// Where an answer came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Tier {
    /// This process's memory.
    Local,
    /// The remote tier.
    Remote,
    /// The origin.
    Origin,
}

/// A value with what is known about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found<V> {
    /// The value.
    pub value: V,
    /// Where it came from.
    pub tier: Tier,
    /// How long ago the origin said so.
    pub age: Duration,
    /// It is older than it should be, and served because the origin failed or was slow.
    pub is_stale: bool,
}

/// A finished load, on its way into the store.
pub(crate) struct Brought<V> {
    pub(crate) fetched: Fetched<V>,
    /// When the origin was asked.
    pub(crate) as_of: Time,
    /// What the load cost, in µs.
    pub(crate) cost: u32,
    pub(crate) audit: Option<Audit>,
    /// Who said so: the origin, another process by way of the remote tier, or the log of this one's writes.
    pub(crate) from: Tier,
    /// Until when another process takes it for fresh.
    pub(crate) fresh_until: Option<Time>,
    /// Until when that would serve it at all.
    pub(crate) until: Option<Time>,
    /// When the remote tier was asked for it, if it was.
    pub(crate) checked: Option<Time>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_and_a_time_are_both_told() {
        let at = Time(5_000_000);
        let timed = Fetched::from(1).changed_at(Duration::from_secs(5));
        let versioned = |fetched: Fetched<i32>| fetched.with(Options::new().version(7));
        let digest: &(dyn Fn(&i32) -> u64 + Send + Sync) = &|_| 9;
        assert_eq!(versioned(timed.clone()).evidence(Some(digest)), Evidence::DigestAt(7, at));
        assert_eq!(timed.evidence(Some(digest)), Evidence::ChangedAt(at));
        assert_eq!(versioned(1.into()).evidence(Some(digest)), Evidence::Digest(7));
        assert_eq!(Fetched::from(1).evidence(Some(digest)), Evidence::Digest(9));
        assert_eq!(Fetched::from(1).evidence(None), Evidence::Unknown);
        assert_eq!(Fetched::<i32>::absent().evidence(Some(digest)), Evidence::Unknown);
    }
}
