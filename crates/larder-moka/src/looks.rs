//! Which hits the freshness engine sees: all of them as long as that costs next to nothing, else a share drawn at random.

use std::sync::atomic::{AtomicU32, Ordering};

use larder::Time;
use larder_policy::KeyHash;
use parking_lot::Mutex;

use crate::rings::Place;

/// At some 500 ns a look, a quarter of a percent of one processor's time.
const LOOKS_A_SECOND: f64 = 5_000.0;
/// How often the share is chosen anew, in seconds.
const STEP: f64 = 0.01;

/// The share, and what it is chosen by.
pub(crate) struct Looks {
    share: AtomicU32,
    since: Mutex<(u64, Time)>,
}

impl Looks {
    pub(crate) fn new(now: Time) -> Self {
        Self { share: AtomicU32::new(u32::MAX), since: Mutex::new((0, now)) }
    }

    /// Whether this hit is seen: as likely as any other, whatever its key, its age, or how its lifetime stands.
    #[inline]
    pub(crate) fn is_drawn(&self, place: Place, key: KeyHash) -> bool {
        let share = self.share.load(Ordering::Relaxed);
        share == u32::MAX || (KeyHash::mix(place.0 ^ key.0).0 as u32) < share
    }

    /// Whether a miss is: by the same share, or the rates of the engine would be askew.
    pub(crate) fn is_miss_drawn(&self) -> bool {
        let share = self.share.load(Ordering::Relaxed);
        share == u32::MAX || fastrand::u32(..) < share
    }

    /// There were so many hits up to now.
    pub(crate) fn pace(&self, hits: u64, now: Time) {
        // Whoever is at it will do.
        let Some(mut since) = self.since.try_lock() else { return };
        let seconds = now.since(since.1).as_secs_f64();
        if seconds < STEP {
            return;
        }
        let rate = hits.saturating_sub(since.0) as f64 / seconds;
        *since = (hits, now);
        let share = LOOKS_A_SECOND / rate;
        let share = if share >= 1.0 { u32::MAX } else { (share * f64::from(u32::MAX)) as u32 };
        self.share.store(share, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn slow_traffic_is_seen_whole_and_fast_traffic_in_its_share() {
        let mut now = Time(0);
        let looks = Looks::new(now);
        let drawn =
            |looks: &Looks| (0..100_000u64).filter(|&at| looks.is_drawn(Place(at), KeyHash::mix(at % 7))).count();
        assert_eq!(drawn(&looks), 100_000);
        now = now.plus(Duration::from_secs(1));
        looks.pace(50_000, now);
        assert!((9_500..10_500).contains(&drawn(&looks)), "{}", drawn(&looks));
        now = now.plus(Duration::from_secs(1));
        looks.pace(50_100, now);
        assert_eq!(drawn(&looks), 100_000);
    }
}
