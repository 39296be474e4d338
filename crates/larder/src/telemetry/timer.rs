//! Which reads are timed.

use std::cell::Cell;
use std::num::NonZeroU64;
use std::time::Duration;

use crate::clock::Clock;

/// Of so many reads one is timed, on average.
const EVERY: u32 = 64;

thread_local! {
    /// Reads of this thread until the next one that is timed. By thread, so that nothing shared is written.
    static LEFT: Cell<u32> = const { Cell::new(1) };
}

/// A read's clock; most reads have none.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Timer(Option<NonZeroU64>);

impl Timer {
    #[inline(always)]
    pub(crate) fn start(clock: &Clock) -> Self {
        LEFT.with(|left| match left.get() {
            0 | 1 => Self::draw(left, clock),
            more => {
                left.set(more - 1);
                Self(None)
            }
        })
    }

    /// The pause is drawn: readers that go round a few keys or caches would else meet the same one each time.
    #[cold]
    #[inline(never)]
    fn draw(left: &Cell<u32>, clock: &Clock) -> Self {
        left.set(fastrand::u32(1..2 * EVERY));
        Self(NonZeroU64::new(clock.nanos()))
    }

    /// How long the read has taken until now, where it is timed.
    #[inline(always)]
    pub(crate) fn took(self, clock: &Clock) -> Option<Duration> {
        self.0.map(|began| since(began, clock))
    }
}

#[cold]
#[inline(never)]
fn since(began: NonZeroU64, clock: &Clock) -> Duration {
    Duration::from_nanos(clock.nanos().saturating_sub(began.get()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_read_in_64_is_timed_whoever_takes_turns() {
        let clock = Clock::system();
        let mut timed = [0; 2];
        for at in 0..640_000 {
            timed[at % 2] += i32::from(Timer::start(&clock).took(&clock).is_some());
        }
        assert!(timed.iter().all(|timed| (4_500..5_500).contains(timed)), "{timed:?}");
    }
}
