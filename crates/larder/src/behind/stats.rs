//! What a write-behind log counts.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use super::pending::Pending;
use super::recover::Recovered;

/// Counts since the log was opened. Once nothing moves, `appended + recovered = flushed + coalesced + dead_lettered +
/// pending_writes`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Writes acknowledged.
    pub appended: u64,
    /// Writes that were in the log when it was opened and may not have reached the sink.
    pub recovered: u64,
    /// Writes the sink has.
    pub flushed: u64,
    /// Writes not given to the sink, because a later one to the same key was in the same batch.
    pub coalesced: u64,
    /// Writes the sink refused, kept in a file.
    pub dead_lettered: u64,
    /// Attempts, of the sink or to keep a dead letter, that failed and were repeated.
    pub retried: u64,
    /// Writes that the disk did not take: their appends failed.
    pub failed: u64,
    /// Checkpoints and, with [`Fsync::Interval`](super::Fsync::Interval), syncs that failed. They are tried again.
    pub failed_syncs: u64,
    /// Acknowledged writes that could not be read at the start; see [`OnDamage`](super::OnDamage).
    pub lost: u64,
    /// Bytes that a crash had left of writes never acknowledged, cut off at the start.
    pub torn_bytes: u64,
    /// Writes the sink does not have yet.
    pub pending_writes: u64,
    /// Bytes of these, as they lie in the log.
    pub pending_bytes: u64,
    /// How long the oldest of these has waited since it was acknowledged or recovered.
    pub oldest_pending: Option<Duration>,
}

impl Stats {
    /// Names and values of what only grows, for metrics.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, u64)> {
        [
            ("appended", self.appended),
            ("recovered", self.recovered),
            ("flushed", self.flushed),
            ("coalesced", self.coalesced),
            ("dead_lettered", self.dead_lettered),
            ("retried", self.retried),
            ("failed", self.failed),
            ("failed_syncs", self.failed_syncs),
            ("lost", self.lost),
        ]
        .into_iter()
    }
}

#[derive(Default)]
pub(super) struct Counters {
    pub(super) appended: AtomicU64,
    pub(super) flushed: AtomicU64,
    pub(super) coalesced: AtomicU64,
    pub(super) dead: AtomicU64,
    pub(super) retried: AtomicU64,
    pub(super) failed: AtomicU64,
    pub(super) failed_syncs: AtomicU64,
    recovered: u64,
    lost: u64,
    torn_bytes: u64,
}

impl Counters {
    pub(super) fn new(recovered: &Recovered) -> Self {
        Self {
            recovered: recovered.writes.len() as u64,
            lost: recovered.lost,
            torn_bytes: recovered.torn_bytes,
            ..Self::default()
        }
    }

    pub(super) fn stats(&self, pending: &Pending) -> Stats {
        let (pending_writes, pending_bytes, oldest_pending) = pending.size();
        Stats {
            appended: self.appended.load(Relaxed),
            recovered: self.recovered,
            flushed: self.flushed.load(Relaxed),
            coalesced: self.coalesced.load(Relaxed),
            dead_lettered: self.dead.load(Relaxed),
            retried: self.retried.load(Relaxed),
            failed: self.failed.load(Relaxed),
            failed_syncs: self.failed_syncs.load(Relaxed),
            lost: self.lost,
            torn_bytes: self.torn_bytes,
            pending_writes,
            pending_bytes,
            oldest_pending,
        }
    }
}
