//! moka's side of a lifetime: a ceiling it enforces by itself.

use std::sync::Arc;
use std::time::{Duration, Instant};

use larder::Clock;

use crate::fences::Fences;
use crate::held::Held;

/// moka's timers take no longer spans than some centuries.
const FAR: Duration = Duration::from_secs(100 * 365 * 24 * 3600);

/// The `Expiry` to give to a moka builder: [`Plugin::expiry`](crate::Plugin::expiry).
///
/// It never returns `None`, which to moka means 'for ever'. What it returns is a ceiling: twice the lifetime foreseen at the load,
/// so that the next load soon after still finds the old value to compare with, or as long as a stale value may be of use while the
/// origin fails; and never beyond the objective's hard maximum, nor a lifetime that the loader gave. Whether a value is still fresh is decided at the read, by the
/// plug-in's own [`Clock`], for moka's clock cannot be set. So code that reads the moka cache itself may see values up to the
/// ceiling. It counts from the load: what is put back because the next load failed gets what is left of it. A `time_to_live` of
/// moka's own begins anew then.
#[derive(Clone)]
pub struct Expiry {
    pub(crate) fences: Arc<Fences>,
    pub(crate) most: Duration,
    pub(crate) stale_if_error: Duration,
    /// Lifetimes are learned, which takes old values to compare with.
    pub(crate) learns: bool,
    pub(crate) clock: Clock,
}

impl Expiry {
    /// How long moka may keep a value from its load or write on. Zero if a write overtook the load while it was on its way in:
    /// moka asks after it has put the entry in its table, and `changed` raises the fence before it invalidates, so one of the two
    /// sees the other.
    pub(crate) fn ceiling<V>(&self, held: &Held<V>) -> Duration {
        if !self.fences.admit(held.key, held.ticket) {
            return Duration::ZERO;
        }
        let lifetime = held.lifetime();
        let beyond = if self.learns { self.stale_if_error.max(lifetime) } else { self.stale_if_error };
        // A prefix may have a greater maximum than the whole.
        let ceiling = lifetime.saturating_add(beyond).min(self.most.max(lifetime)).min(held.limit.since(held.as_of));
        ceiling.saturating_sub(self.clock.now().since(held.as_of)).min(FAR)
    }
}

impl<K, V> moka::Expiry<K, Held<V>> for Expiry {
    fn expire_after_create(&self, _: &K, held: &Held<V>, _: Instant) -> Option<Duration> {
        Some(self.ceiling(held))
    }

    fn expire_after_read(
        &self,
        _: &K,
        held: &Held<V>,
        _: Instant,
        left: Option<Duration>,
        _: Instant,
    ) -> Option<Duration> {
        Some(left.unwrap_or_else(|| self.ceiling(held)))
    }

    fn expire_after_update(&self, _: &K, held: &Held<V>, _: Instant, _: Option<Duration>) -> Option<Duration> {
        Some(self.ceiling(held))
    }
}

#[cfg(test)]
mod tests {
    use larder::Time;
    use larder_policy::KeyHash;
    use moka::Expiry as _;
    use proptest::prelude::*;

    use super::*;
    use crate::fences::Ticket;

    fn held(ticket: Ticket, as_of: u64, fresh_until: u64) -> Held<u64> {
        Held {
            value: 1,
            key: KeyHash(1),
            as_of: Time(as_of),
            fresh_until: Time(fresh_until),
            limit: Time(u64::MAX),
            renew_from: Time(0),
            retry_at: Time(0),
            ticket,
            size: 1,
            handle: None,
        }
    }

    #[test]
    fn moka_drops_what_a_write_overtook_on_its_way_in() {
        let hour = Duration::from_secs(3600);
        let expiry = Expiry {
            fences: Arc::new(Fences::new()),
            most: hour,
            stale_if_error: hour,
            learns: true,
            clock: Clock::manual(Time(0)),
        };
        let moka = moka::sync::Cache::builder().expire_after(expiry.clone()).build();
        let before = expiry.fences.ticket();
        expiry.fences.raise(KeyHash(1));
        // The write's own value, then that of a load that began before it: neither the old value nor an end of its own comes back.
        moka.insert((), held(expiry.fences.ticket(), 0, 1_000_000_000));
        assert!(moka.get(&()).is_some());
        moka.insert((), held(before, 0, 1_000_000_000));
        assert!(moka.get(&()).is_none());
    }

    #[test]
    fn what_is_put_back_gets_what_is_left() {
        let (hour, clock) = (Duration::from_secs(3600), Clock::manual(Time(0)));
        let fences = Arc::new(Fences::new());
        let expiry = Expiry { fences, most: hour, stale_if_error: Duration::ZERO, learns: false, clock: clock.clone() };
        let loaded = held(expiry.fences.ticket(), 0, 3_600_000_000);
        clock.advance(hour - hour / 60);
        let paused = loaded.pausing(clock.now(), hour, loaded.fresh_until, loaded.ticket);
        assert_eq!((expiry.ceiling(&paused), paused.retry_at), (hour / 60, loaded.fresh_until));
    }

    proptest! {
        #[test]
        fn a_ceiling_is_finite_and_within_its_bounds(
            as_of: u64, fresh_until: u64, most: u64, beyond: u64, learns: bool, left: Option<u64>, is_void: bool, aged: u64,
        ) {
            let (most, stale_if_error) = (Duration::from_micros(most), Duration::from_micros(beyond));
            let expiry = Expiry { fences: Arc::new(Fences::new()), most, stale_if_error, learns, clock: Clock::manual(Time(aged)) };
            let held = held(expiry.fences.ticket(), as_of, fresh_until);
            if is_void {
                expiry.fences.raise(held.key);
            }
            let now = Instant::now();
            let left = left.map(Duration::from_micros);
            let created = expiry.expire_after_create(&1, &held, now);
            prop_assert_eq!(created, expiry.expire_after_update(&1, &held, now, left));
            let read = expiry.expire_after_read(&1, &held, now, left, now);
            prop_assert!(read.is_some() && (left.is_none() || read == left));
            let ceiling = created.unwrap();
            let age = Time(aged).since(held.as_of);
            prop_assert!(ceiling <= most.max(held.lifetime()).saturating_sub(age) && ceiling <= FAR);
            match is_void {
                true => prop_assert_eq!(ceiling, Duration::ZERO),
                false => prop_assert!(ceiling >= held.lifetime().saturating_sub(age).min(FAR)),
            }
            prop_assert!(now.checked_add(ceiling).is_some());
        }
    }
}
