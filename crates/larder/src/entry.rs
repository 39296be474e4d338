//! What a resident is: its key, its value, and what must be known to judge them.

use std::cell::Cell;
use std::sync::Arc;
use std::time::Duration;

use larder_policy::Time;
use larder_policy::freshness::Subject;

use crate::remote::Name;
use crate::snapshot::Rate;

/// A resident.
pub(crate) struct Entry<K, V> {
    pub(crate) key: K,
    /// None if the origin has no such value.
    pub(crate) value: Option<V>,
    /// When the origin said so.
    pub(crate) as_of: Time,
    /// Which generation of the cache it belongs to; an older one was cleared.
    pub(crate) generation: u32,
    /// What the load cost, in µs.
    pub(crate) cost: u32,
    /// Its weight in bytes, 1 where nobody weighs.
    pub(crate) size: u32,
    /// When it came, in steps of 2^14 µs: it fits beside the rest, and goes round in two years.
    pub(crate) came: u32,
    /// How often it is read, from a sample of its reads.
    pub(crate) rate: Cell<Rate>,
    pub(crate) life: Life,
    /// What few entries have.
    pub(crate) extra: Option<Box<Extra>>,
}

/// What decides whether a resident is fresh.
#[derive(Clone, Copy)]
pub(crate) enum Life {
    /// A fixed lifetime.
    Until { end: Time, renew_from: Time },
    /// The engine decides at each read.
    Judged {
        subject: Subject,
        /// When it was loaded, the engine expected it to stay fresh until then: what other processes are told.
        expected: Time,
    },
}

#[derive(Clone, Default, PartialEq, Eq)]
pub(crate) struct Extra {
    pub(crate) tags: Arc<[Name]>,
    pub(crate) version: Option<u64>,
    /// Stale, and its last load failed: until then nobody tries again.
    pub(crate) quiet_until: Time,
    /// Not served when fresh enough by other measures, where the loader set a limit.
    pub(crate) limit: Option<Time>,
}

/// Reads are counted by one in so many, and fade by half within this.
const SAMPLED: u32 = 8;
pub(crate) const HALF_LIFE: Duration = Duration::from_secs(3600);
const STEP: u32 = 14;

impl<K, V> Entry<K, V> {
    /// Notes reads: the one that loaded it, or one of [`SAMPLED`] that hit.
    #[cold]
    pub(crate) fn note(&self, reads: u32, now: Time) {
        let mut rate = self.rate.get();
        rate.add(reads, seconds(now), HALF_LIFE);
        self.rate.set(rate);
    }

    /// Notes a read, the `count`-th of all.
    #[inline]
    pub(crate) fn read(&self, count: u64, now: Time) {
        if count.is_multiple_of(u64::from(SAMPLED)) {
            self.note(SAMPLED, now);
        }
    }

    /// Reads a second, estimated.
    pub(crate) fn reads(&self, now: Time) -> f32 {
        self.rate.get().at(seconds(now), HALF_LIFE)
    }

    /// How long it has been resident.
    pub(crate) fn residence(&self, now: Time) -> Duration {
        Duration::from_micros(u64::from(steps(now).wrapping_sub(self.came)) << STEP)
    }

    pub(crate) fn tags(&self) -> &[Name] {
        self.extra.as_ref().map_or(&[], |extra| &extra.tags)
    }

    /// For how long it is, or was when it was loaded expected to be, fresh.
    pub(crate) fn lifetime(&self) -> Duration {
        match self.life {
            Life::Until { end, .. } | Life::Judged { expected: end, .. } => end.since(self.as_of),
        }
    }

    pub(crate) fn version(&self) -> Option<u64> {
        self.extra.as_ref().and_then(|extra| extra.version)
    }
}

/// The present as [`Entry::came`] has it.
pub(crate) fn steps(at: Time) -> u32 {
    (at.0 >> STEP) as u32
}

fn seconds(at: Time) -> u32 {
    (at.0 / 1_000_000) as u32
}
