//! Time as a cache sees it: microseconds since the Unix epoch that never go back, whatever the wall clock does.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use larder_policy::Time;

/// Where a cache has its time from: the wall clock is read once, from then on only the monotonic one. Clones share a clock.
#[derive(Clone, Debug)]
pub struct Clock(Source);

#[derive(Clone, Debug)]
enum Source {
    System { clock: quanta::Clock, start: u64, epoch: u64 },
    Manual(Arc<AtomicU64>),
}

impl Clock {
    /// The machine's clock.
    pub fn system() -> Self {
        let clock = quanta::Clock::new();
        let epoch =
            SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_micros() as u64);
        Self(Source::System { start: clock.raw(), clock, epoch })
    }

    /// A clock that stands still until it is [advanced](Self::advance): for tests and for traffic replayed in its own time. Waits, and a remote tier
    /// in what it says of ages, go by tokio's clock: with one, pause that (`start_paused`) and advance both.
    pub fn manual(start: Time) -> Self {
        Self(Source::Manual(Arc::new(AtomicU64::new(start.0))))
    }

    /// Moves a manual clock on, at most to the end of time; the machine's goes on by itself.
    pub fn advance(&self, by: Duration) {
        if let Source::Manual(now) = &self.0 {
            let _ = now.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |now| Some(Time(now).plus(by).0));
        }
    }

    /// The present.
    #[inline]
    pub fn now(&self) -> Time {
        match &self.0 {
            Source::System { clock, start, epoch } => Time(epoch + clock.delta_as_nanos(*start, clock.raw()) / 1000),
            Source::Manual(now) => Time(now.load(Ordering::Relaxed)),
        }
    }
}

impl Clock {
    /// Nanoseconds since some moment, for short spans.
    pub(crate) fn nanos(&self) -> u64 {
        match &self.0 {
            Source::System { clock, start, .. } => clock.delta_as_nanos(*start, clock.raw()),
            Source::Manual(now) => now.load(Ordering::Relaxed).saturating_mul(1000),
        }
    }
}

impl Default for Clock {
    fn default() -> Self {
        Self::system()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_machines_clock_is_the_wall_clock_at_first_and_never_goes_back() {
        let clock = Clock::system();
        let wall = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
        let mut last = clock.now();
        assert!(last.0.abs_diff(wall.as_micros() as u64) < 60_000_000);
        for _ in 0..10_000 {
            let now = clock.now();
            assert!(now >= last);
            last = now;
        }
    }

    #[test]
    fn a_manual_clock_moves_when_told() {
        let clock = Clock::manual(Time(5));
        clock.clone().advance(Duration::from_millis(1));
        assert_eq!(clock.now(), Time(1005));
    }
}
