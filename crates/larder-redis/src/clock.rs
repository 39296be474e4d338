//! The server's clock, as far as its readings tell.

use std::time::{Duration, SystemTime};

use tokio::time::Instant;

/// A reading that took no longer is taken as it is.
const SHARP: Duration = Duration::from_millis(50);
/// A clock that is no further behind what was told is waited for: what is invalidated after a fail-over must not be marked as of before what it
/// outdates. One that is further behind was wrong before, or is now.
const WAITED_FOR: u64 = 10_000_000;

/// The time of now from the last reading, moved on by a clock that nobody sets. Times are in µs since the epoch.
#[derive(Default)]
pub(crate) struct ServerClock {
    read: Option<(Instant, u64)>,
    /// The latest time there was by its readings: others may have been told it.
    latest: u64,
}

impl ServerClock {
    /// The server's time at `at`; this machine's while none was read.
    pub(crate) fn now(&mut self, at: Instant) -> u64 {
        let Some(time) = self.goes(at) else {
            let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
            return since.map_or(0, micros);
        };
        if time < self.latest && self.latest - time <= WAITED_FOR {
            return self.latest;
        }
        self.latest = time;
        time
    }

    /// Takes a reading: the server's clock said `time` somewhen from `asked` to `answered`. One that took long corrects what it contradicts, and
    /// no more.
    pub(crate) fn read(&mut self, asked: Instant, answered: Instant, time: u64) {
        let (took, known) = (answered - asked, self.goes(answered));
        self.latest = self.latest.max(known.unwrap_or_default());
        let now = match known {
            Some(known) if took > SHARP => known.clamp(time, time.saturating_add(micros(took))),
            _ => time.saturating_add(micros(took / 2)),
        };
        self.read = Some((answered, now));
    }

    fn goes(&self, at: Instant) -> Option<u64> {
        self.read.map(|(read, time)| time.saturating_add(micros(at.saturating_duration_since(read))))
    }
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000;

    /// A clock that was read at once, and when.
    fn read(time: u64) -> (ServerClock, Instant) {
        let (mut clock, start) = (ServerClock::default(), Instant::now());
        clock.read(start, start, time);
        assert_eq!(clock.now(start), time);
        (clock, start)
    }

    #[test]
    fn a_reading_goes_on_and_lies_in_the_middle_of_its_question() {
        let (mut clock, start) = read(100 * SECOND);
        let at = |ms| start + Duration::from_millis(ms);
        assert_eq!(clock.now(at(1500)), 101_500_000);
        clock.read(at(2000), at(2040), 200 * SECOND);
        assert_eq!(clock.now(at(2040)), 200_020_000);
    }

    #[test]
    fn a_slow_reading_corrects_what_it_contradicts() {
        let (mut clock, start) = read(100 * SECOND);
        let at = |ms| start + Duration::from_millis(ms);
        clock.read(at(1000), at(1400), 101 * SECOND + 10_000);
        assert_eq!(clock.now(at(1400)), 101_400_000, "it may be so");
        clock.read(at(2000), at(2400), 103 * SECOND);
        assert_eq!(clock.now(at(2400)), 103 * SECOND, "it is no earlier");
        clock.read(at(3000), at(3400), 103 * SECOND);
        assert_eq!(clock.now(at(9000)), 109 * SECOND, "it is no later, by less than is waited for");
    }

    #[test]
    fn time_does_not_go_back_by_what_servers_clocks_differ() {
        let (mut clock, start) = read(100 * SECOND);
        let at = |s| start + Duration::from_secs(s);
        // Nobody asked since: others may have been told 105 s.
        clock.read(at(5), at(5), 102 * SECOND);
        assert_eq!([clock.now(at(5)), clock.now(at(7)), clock.now(at(10))], [105 * SECOND, 105 * SECOND, 107 * SECOND]);
        clock.read(at(11), at(11), 20 * SECOND);
        assert_eq!(clock.now(at(11)), 20 * SECOND, "one of the two was wrong");
    }
}
