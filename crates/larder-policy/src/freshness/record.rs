//! What the engine keeps of each key: what is known of its changes, and of the value now cached.

use std::time::Duration;

use super::checkpoint::Checkpoint;
use super::flips::Flips;
use super::plan::ClassId;
use super::posterior::Posterior;
use crate::{KeyHash, Time};

/// What is known of a key's changes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Changes {
    pub(super) rate: Posterior,
    /// When it was first loaded.
    pub(super) born: Time,
    /// When it last changed, as far as known.
    pub(super) last: Time,
    /// Number of its own profile of hours, `NONE` without one.
    pub(super) hours: u32,
    /// Changes seen.
    pub(super) seen: u16,
    /// Looks at the origin.
    pub(super) looks: u16,
}

/// No profile of hours.
pub(super) const NONE: u32 = u32::MAX;

// The posterior with its times: the memory that learning costs a key.
const _: () = assert!(size_of::<Changes>() <= 40);

/// The value now cached, or last cached: one that the store let go of is still something to compare a load with.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub(super) struct Cached {
    /// When it was loaded, or `UNKNOWN`.
    loaded: Time,
    /// What the last look at the hazard said.
    pub(super) checkpoint: Checkpoint,
    /// Stale reads foreseen among those served since the load.
    pub(super) served_stale: f32,
    /// The lifetime foreseen at the load, in seconds.
    pub(super) logical: f32,
    /// Until when the origin promises to announce changes.
    pub(super) lease: Time,
    /// The last notice.
    pub(super) noticed: Time,
}

const UNKNOWN: Time = Time(u64::MAX);

impl Default for Cached {
    fn default() -> Self {
        let [lease, noticed] = [Time(0); 2];
        Self { loaded: UNKNOWN, checkpoint: Checkpoint::NONE, served_stale: 0.0, logical: 0.0, lease, noticed }
    }
}

impl Cached {
    /// When it was loaded; `None` where nothing is known, or what was known is known to have changed.
    #[inline]
    pub(super) fn loaded(&self) -> Option<Time> {
        (self.loaded != UNKNOWN).then_some(self.loaded)
    }
}

/// How often it is read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reads {
    pub(super) last: Time,
    /// Mean seconds between reads.
    gap: f32,
    /// Reads, up to `MEMORY`.
    pub(super) count: u8,
    /// Whether the store had the value at the last of them, or has got one since.
    is_held: bool,
}

/// Gaps the mean follows.
const MEMORY: u8 = 16;

impl Reads {
    pub(super) fn new(at: Time, gap: f64) -> Self {
        Self { last: at, gap: gap.clamp(1e-6, 1e12) as f32, count: 0, is_held: false }
    }

    /// A read, of which the store says whether it still has the value; the gap before it, if it is the first that was ever seen of this key: the
    /// read that made the record ends none.
    #[inline]
    pub(super) fn read(&mut self, at: Time, is_held: bool) -> Option<f64> {
        self.is_held &= is_held;
        let gap = seconds(self.last, at);
        self.last = self.last.max(at);
        self.count = (self.count + 1).min(MEMORY);
        if self.count == 1 {
            return None;
        }
        // The gap it was made with counts for two.
        self.gap += ((gap - f64::from(self.gap)) / (f64::from(self.count) + 1.0)) as f32;
        (self.count == 2).then_some(gap)
    }

    /// Reads a second: 1/mean gap, never reads by elapsed time, which makes short-lived keys look cold.
    #[inline]
    pub(super) fn rate(&self) -> f64 {
        1.0 / f64::from(self.gap).max(1e-6)
    }
}

/// Everything kept of a key. What a read needs lies together.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub(super) struct Record {
    pub(super) key: KeyHash,
    pub(super) reads: Reads,
    pub(super) class: ClassId,
    /// Its class's.
    pub(super) group: u16,
    pub(super) flips: Flips,
    pub(super) cached: Cached,
    pub(super) changes: Changes,
}

impl Record {
    /// From now on this is cached, or with `None` nothing that is known to be true.
    pub(super) fn load(&mut self, at: Option<Time>) {
        self.cached.loaded = at.unwrap_or(UNKNOWN);
        self.reads.is_held = at.is_some();
    }

    /// When the value was loaded that the store has.
    #[inline]
    pub(super) fn held(&self) -> Option<Time> {
        self.cached.loaded().filter(|_| self.reads.is_held)
    }

    /// The chance that a value still held is stale, as the last look at the hazard foresaw it.
    #[inline]
    pub(super) fn stale(&self, now: Time, era: u32) -> Option<f64> {
        self.held().and_then(|loaded| self.cached.checkpoint.stale(loaded, now, era))
    }

    /// For how long the value cached had not changed when it was loaded.
    pub(super) fn unchanged(&self) -> Duration {
        self.cached.loaded().map_or(Duration::ZERO, |loaded| loaded.since(self.changes.last))
    }
}

// Most of what a key costs that the engine knows; a hit needs the first half.
const _: () = assert!(size_of::<Record>() <= 128);

/// Seconds from one moment to another, 0 where the clock went back.
#[inline]
pub(super) fn seconds(from: Time, to: Time) -> f64 {
    to.0.saturating_sub(from.0) as f64 * 1e-6
}

/// Seconds since the epoch.
#[inline]
pub(super) fn epoch(at: Time) -> f64 {
    at.0 as f64 * 1e-6
}
