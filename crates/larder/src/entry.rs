//! What a resident is: its key, its value, and what must be known to judge them.

use std::cell::Cell;
use std::time::Duration;

use larder_policy::freshness::{Handle, Subject};
use larder_policy::{Claim, KeyHash, Time};

use crate::remote::Name;
use crate::rules::{Refresh, Rules};
use crate::snapshot::Rate;

/// Within so many times β × cost of its end, XFetch draws: further away its chance is below e^-20.
const EARLY_REACH: f64 = 20.0;

/// A resident. What every hit reads comes first and lies together, in as few cache lines as may be.
#[repr(C)]
pub(crate) struct Entry<K, V> {
    pub(crate) key: K,
    /// None if the origin has no such value.
    pub(crate) value: Option<V>,
    /// Until when it is fresh. Where the engine decides at each read: until when it expected that at the load, which is
    /// what other processes are told.
    pub(crate) end: Time,
    /// When the origin said so.
    pub(crate) as_of: Time,
    /// What few entries have.
    pub(crate) extra: Option<Box<Extra>>,
    /// What the engine knows the key by; none where the end is fixed.
    pub(crate) handle: Option<Handle>,
    /// Its weight in bytes, 1 where nobody weighs.
    pub(crate) size: u32,
    /// What the load cost, in µs.
    pub(crate) cost: u32,
    /// When it came, in steps of 2^14 µs: it fits beside the rest, and goes round in two years.
    pub(crate) came: u32,
    /// How often it is read, from a sample of its reads.
    pub(crate) rate: Cell<Rate>,
}

// 48 bytes beside key and value: what can be derived is not kept.
const _: () = assert!(size_of::<Entry<u64, Box<u64>>>() == 64 && size_of::<Option<Entry<u64, u64>>>() == 72);

#[derive(Clone, Default, PartialEq, Eq)]
pub(crate) struct Extra {
    pub(crate) tags: Box<[Name]>,
    pub(crate) version: Option<u64>,
    /// Its last load failed: until then nobody tries again.
    pub(crate) quiet_until: Time,
    /// Not served from then on, fresh or stale, where the loader or the writer set a limit.
    pub(crate) limit: Option<Time>,
    /// When the remote tier was asked for it, where that is what a loss of messages is judged by.
    pub(crate) checked: Option<Time>,
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

    /// What it says to a lookup that `is_its` own or of another key of the same hash.
    #[inline(always)]
    pub(crate) fn claim(&self, is_its: bool, now: Time) -> Claim {
        match is_its {
            false => Claim::Other,
            // Before its end memory lets go of it only where it is not worth the room, which says nothing against serving it once more.
            true if now < self.end => Claim::Alive,
            true => Claim::Ended,
        }
    }

    /// As the engine knows it, if it does.
    #[inline]
    pub(crate) fn subject(&self, hash: KeyHash) -> Option<Subject> {
        self.handle.map(|handle| Subject { key: hash, handle, size: self.size })
    }

    /// Its end, where no engine decides.
    pub(crate) fn fixed_end(&self) -> Option<Time> {
        self.handle.is_none().then_some(self.end)
    }

    /// Whether a read is to have it loaded ahead of its fixed end. `unit` draws uniformly from [0, 1).
    #[inline]
    pub(crate) fn renews(&self, refresh: Refresh, now: Time, unit: impl FnOnce() -> f64) -> bool {
        if self.value.is_none() {
            return false;
        }
        match refresh {
            Refresh::AtEnd => false,
            Refresh::Ahead(share) => now >= self.as_of.plus(Rules::part_of(self.lifetime(), share)),
            Refresh::Early(beta) => {
                let reach = (EARLY_REACH * beta * f64::from(self.cost)).max(0.0) as u64;
                let cost = Duration::from_micros(u64::from(self.cost));
                now.0 >= self.end.0.saturating_sub(reach) && now.plus(Refresh::early(beta, cost, unit())) >= self.end
            }
        }
    }

    /// Whether its last load failed a moment ago.
    #[inline]
    pub(crate) fn is_quiet(&self, now: Time) -> bool {
        self.extra.as_ref().is_some_and(|extra| now < extra.quiet_until)
    }

    /// Its end, or the limit that the loader set.
    pub(crate) fn last(&self) -> Time {
        self.limit().map_or(self.end, |limit| limit.min(self.end))
    }

    /// From when on it is not served, whatever else holds.
    pub(crate) fn limit(&self) -> Option<Time> {
        self.extra.as_ref().and_then(|extra| extra.limit)
    }

    /// For how long it is, or was when it was loaded expected to be, fresh.
    pub(crate) fn lifetime(&self) -> Duration {
        self.end.since(self.as_of)
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
