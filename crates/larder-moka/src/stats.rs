//! What a plug-in has done, and what it can do at all.

use larder::{Counts, StaleRate};

/// What larder can do on a host. What a host's structure rules out is not claimed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Capabilities {
    /// It is asked whether a loaded value is kept.
    pub admission: bool,
    /// It decides for how long a value is served.
    pub ttl: bool,
    /// It loads values anew ahead of their end.
    pub refresh: bool,
    /// It fills the cache ahead of traffic.
    pub prewarm: bool,
    /// It chooses who leaves.
    pub eviction: bool,
    /// It remembers that the origin has no such value.
    pub negative: bool,
}

impl Capabilities {
    /// On moka. Who leaves is moka's own closed choice between TinyLFU and LRU. To overrule it from outside costs twice an insert and leaves
    /// entries behind when an insert and an eviction of the same key cross, so it is not offered.
    pub const fn on_moka(admission: bool) -> Self {
        Self { admission, ttl: true, refresh: true, prewarm: true, eviction: false, negative: false }
    }
}

/// A plug-in at a moment.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Stats {
    /// What happened so far. What moka does by itself, evictions and expiries, is not in it.
    pub counts: Counts,
    /// Hits that the admission policy never heard of, for there were too many to learn from all.
    pub unheard: u64,
    /// Renewals not begun, for too many were under way.
    pub skipped: u64,
    /// Bytes held beside moka's own.
    pub metadata_bytes: usize,
    /// The stale rate of the reads that the engine saw, measured by audits; `None` without a stale-rate objective or before the
    /// first read. Under heavy traffic the engine sees a share drawn at random; reads without a loader it never sees.
    pub stale_rate: Option<StaleRate>,
}

/// What became of values offered ahead of traffic.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Prewarmed {
    /// How many there were.
    pub offered: usize,
    /// How many moka holds.
    pub kept: usize,
}
