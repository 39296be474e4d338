//! What a cache measures of itself beside its counts: how long reads take by tier, how old entries are when they are hit
//! and when they leave. Noted under the segments' locks, which are held anyway, and summed when somebody asks.

mod buckets;
mod histogram;
mod timer;

use std::ops::AddAssign;
use std::time::Duration;

pub use histogram::Histogram;
pub(crate) use timer::Timer;

use crate::fetched::Tier;
use buckets::Buckets;

/// From 64 ns to 69 s.
type Latencies = Buckets<6>;
/// From 1 ms to 13 days.
type Spans = Buckets<20>;

/// One segment's part.
#[derive(Clone, Debug, Default)]
pub(crate) struct Telemetry {
    local: Latencies,
    remote: Latencies,
    origin: Latencies,
    age_at_hit: Spans,
    age_at_eviction: Spans,
    pub(crate) residence: Spans,
    pub(crate) ttls: Spans,
    pub(crate) loads: Latencies,
}

impl Telemetry {
    /// A timed read that memory served, of a value so old.
    #[cold]
    #[inline(never)]
    pub(crate) fn hit(&mut self, took: Duration, age: Duration) {
        self.local.add(took);
        self.age_at_hit.add(age);
    }

    /// A timed read that had to wait.
    pub(crate) fn waited(&mut self, tier: Tier, took: Duration) {
        match tier {
            Tier::Local => &mut self.local,
            Tier::Remote => &mut self.remote,
            Tier::Origin => &mut self.origin,
        }
        .add(took);
    }

    /// An entry made room, so old and so long after it came.
    pub(crate) fn evicted(&mut self, age: Duration, residence: Duration) {
        self.age_at_eviction.add(age);
        self.residence.add(residence);
    }

    /// Of all reads timed.
    pub(crate) fn latency(&self) -> Latency {
        Latency { local: self.local.histogram(), remote: self.remote.histogram(), origin: self.origin.histogram() }
    }

    pub(crate) fn ages(&self) -> Ages {
        Ages { at_hit: self.age_at_hit.histogram(), at_eviction: self.age_at_eviction.histogram() }
    }
}

impl AddAssign<&Self> for Telemetry {
    fn add_assign(&mut self, other: &Self) {
        let Self { local, remote, origin, age_at_hit, age_at_eviction, residence, ttls, loads } = self;
        *local += &other.local;
        *remote += &other.remote;
        *origin += &other.origin;
        *age_at_hit += &other.age_at_hit;
        *age_at_eviction += &other.age_at_eviction;
        *residence += &other.residence;
        *ttls += &other.ttls;
        *loads += &other.loads;
    }
}

/// How long reads took, by the tier that answered, of one read in 64, drawn. Who waited in vain waited for the origin.
#[derive(Clone, Debug, Default, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Latency {
    /// Answered by this process's memory.
    pub local: Histogram,
    /// By the remote tier.
    pub remote: Histogram,
    /// By the origin.
    pub origin: Histogram,
}

/// How long ago the origin said what the cache held.
#[derive(Clone, Debug, Default, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Ages {
    /// When it was hit: of the reads that were timed.
    pub at_hit: Histogram,
    /// When it made room for others.
    pub at_eviction: Histogram,
}
