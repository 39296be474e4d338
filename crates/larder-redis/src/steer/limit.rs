//! How many bytes our keys may take, from what the server says about itself.

use std::time::Duration;

use crate::info::ServerInfo;

/// Free room below `maxmemory` while Redis evicts nothing, as a share of it, and the most it grows to when Redis does.
const MARGIN: f64 = 0.01;
const WIDEST: f64 = 0.05;
/// What the margin grows by where Redis evicted something between two readings, and shrinks by where it did not.
const WIDER: f64 = 0.001;
const NARROWER: f64 = 0.0001;
/// The share of what we had that is never given up to others' keys: below it Redis's own eviction decides, which is fair to both.
const OURS: f64 = 0.5;
/// A share of `maxmemory` too small to be steered within the margin.
const LEAST: f64 = WIDEST;
/// The server is steered again once our share has not grown for so long: what is idle of others is gone then, and we have what Redis grants.
const PATIENCE: Duration = Duration::from_secs(3600);
/// By so much of `maxmemory` it has grown.
const GROWN: f64 = 0.01;

/// Keeps the server's memory a little below where it begins to evict by itself.
#[derive(Debug)]
pub(super) struct Limit {
    margin: f64,
    evicted: Option<u64>,
    maxmemory: u64,
    /// The most our keys had, as a share of `maxmemory`, since we steer or since we do not.
    had: f64,
    /// How long it has not grown while the server is left alone.
    alone: Option<Duration>,
}

/// What a reading says.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Verdict {
    /// Bytes for the keys of all processes together; `None` without a limit on the server.
    pub(super) limit: Option<u64>,
    /// Keys Redis evicted by itself since the last reading.
    pub(super) evicted: u64,
    /// Whether others press so much that the server is better left alone.
    pub(super) alone: bool,
}

impl Default for Limit {
    fn default() -> Self {
        Self { margin: MARGIN, evicted: None, maxmemory: 0, had: 0.0, alone: None }
    }
}

impl Limit {
    /// The next reading is of another server.
    pub(super) fn forget_evictions(&mut self) {
        self.evicted = None;
    }

    /// What to make of `info`, `since` after the last one, when our keys take `ours` bytes, if they are all `known` and steered.
    pub(super) fn read(&mut self, info: &ServerInfo, ours: u64, known: bool, since: Duration) -> Verdict {
        // A counter that fell is that of a new server.
        let evicted = self.evicted.map_or(0, |before| info.evicted_keys.saturating_sub(before));
        self.evicted = Some(info.evicted_keys);
        if info.maxmemory != self.maxmemory {
            // Shares of another size are no measure.
            (self.maxmemory, self.had, self.alone) = (info.maxmemory, 0.0, None);
        }
        if info.maxmemory == 0 {
            return Verdict { limit: None, evicted, alone: false };
        }
        if !known {
            self.alone = None;
        }
        // What Redis evicts while it is left alone is not for want of a margin.
        if self.alone.is_none() {
            let step = if evicted > 0 { WIDER } else { -NARROWER };
            self.margin = (self.margin + step).clamp(MARGIN, WIDEST);
        }
        let most = info.maxmemory as f64;
        let free = most * (1.0 - self.margin) - info.used_memory.saturating_sub(info.not_counted) as f64;
        let (has, room) = ((ours as f64 / most).min(1.0), (ours as f64 + free) / most);
        match &mut self.alone {
            None => self.had = self.had.max(has.min(room)),
            Some(alone) if has > self.had + GROWN => (self.had, *alone) = (has, Duration::ZERO),
            Some(alone) => {
                *alone += since;
                if *alone >= PATIENCE {
                    (self.had, self.alone) = (has, None);
                }
            }
        }
        let least = (OURS * self.had).max(LEAST);
        if known && self.alone.is_none() && room < least {
            (self.had, self.alone) = (has, Some(Duration::ZERO));
        }
        let alone = self.alone.is_some();
        let limit = if alone { most } else { (room.max(least) * most).clamp(1.0, most) };
        Verdict { limit: Some(limit.round() as u64), evicted, alone }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn info(used: u64, maxmemory: u64, evicted: u64) -> ServerInfo {
        ServerInfo { used_memory: used, maxmemory, evicted_keys: evicted, ..ServerInfo::default() }
    }

    #[test]
    fn free_room_is_ours_and_a_lack_of_it_too() {
        let mut limit = Limit::default();
        assert_eq!(limit.read(&info(1_000, 100_000, 7), 0, true, SECOND).limit, Some(98_000));
        assert_eq!(limit.read(&info(99_500, 100_000, 7), 90_000, true, SECOND).limit, Some(89_500));
        assert_eq!(limit.read(&info(99_500, 0, 7), 90_000, true, SECOND).limit, None);
        let behind = ServerInfo { not_counted: 5_000, ..info(99_500, 100_000, 7) };
        assert_eq!(limit.read(&behind, 90_000, true, SECOND).limit, Some(94_500));
    }

    #[test]
    fn native_eviction_widens_the_margin_and_its_absence_narrows_it() {
        let mut limit = Limit::default();
        let mut at = |evicted| limit.read(&info(50_000, 100_000, evicted), 40_000, true, SECOND);
        assert_eq!(at(100).evicted, 0, "from before our time");
        assert_eq!(at(130), Verdict { limit: Some(88_900), evicted: 30, alone: false });
        assert!((0..1_000).all(|evicted| at(131 + evicted).limit >= Some(85_000)));
        assert_eq!(at(1_131).limit, Some(85_000));
        assert_eq!(at(5).evicted, 0, "a new server");
        for _ in 0..1_000 {
            at(5);
        }
        assert_eq!(at(5).limit, Some(89_000));
    }

    #[test]
    fn a_share_that_is_not_all_known_is_not_taken_for_a_lost_one() {
        let mut limit = Limit::default();
        limit.read(&info(90_000, 100_000, 0), 80_000, true, SECOND);
        let verdict = limit.read(&info(99_000, 100_000, 0), 20_000, false, SECOND);
        assert_eq!((verdict.limit, verdict.alone), (Some(40_000), false));
        assert!(limit.read(&info(99_000, 100_000, 0), 20_000, true, SECOND).alone);
        // A server that shrinks is followed all the same.
        let smaller = limit.read(&info(30_000, 30_000, 0), 25_000, true, SECOND);
        assert!(!smaller.alone && smaller.limit <= Some(30_000));
    }

    /// A full server that we share with others, a second a reading.
    struct Shared {
        ours: f64,
        others: f64,
        /// What both write a second, as a share of what there is.
        we_write: f64,
        others_write: f64,
        limit: Limit,
        evicted: u64,
    }

    impl Shared {
        /// What there is of it is 1.
        const MOST: f64 = 1e9;

        fn second(&mut self) -> Verdict {
            let read = info(((self.ours + self.others) * Self::MOST) as u64, Self::MOST as u64, self.evicted);
            let verdict = self.limit.read(&read, (self.ours * Self::MOST) as u64, true, SECOND);
            self.ours = (self.ours + self.we_write).min(verdict.limit.unwrap() as f64 / Self::MOST);
            self.others += self.others_write;
            let over = (self.ours + self.others - 1.0).max(0.0);
            // The least recent leave: idle keys before all others, otherwise each by its size.
            let idle = if self.others_write == 0.0 { over.min(self.others) } else { 0.0 };
            let ours = (over - idle) * self.ours / (self.ours + self.others);
            self.ours -= ours;
            self.others -= over - ours;
            self.evicted += (over * 1e6) as u64;
            verdict
        }
    }

    #[test]
    fn beside_others_that_write_as_much_we_keep_a_share_for_ever() {
        for every in [0.000_1, 0.001, 0.01] {
            let limit = Limit::default();
            let mut shared =
                Shared { ours: 0.8, others: 0.15, we_write: every, others_write: every, limit, evicted: 0 };
            let (mut least, mut sum, mut alone) = (1.0_f64, 0.0, 0);
            let seconds = 12 * 3_600;
            for _ in 0..seconds {
                alone += u32::from(shared.second().alone);
                least = least.min(shared.ours);
                sum += shared.ours;
            }
            let mean = sum / f64::from(seconds);
            assert!(least > 0.2 && mean > 0.35, "{every}: {least}, in the mean {mean}, left alone for {alone} s");
            assert!(alone < seconds as u32, "it is never tried again");
        }
    }

    #[test]
    fn idle_keys_of_others_make_room() {
        for every in [0.000_01, 0.000_1, 0.01] {
            let limit = Limit::default();
            let mut shared = Shared { ours: 0.0, others: 0.985, we_write: every, others_write: 0.0, limit, evicted: 0 };
            assert!(shared.second().alone, "there is nothing to steer");
            for _ in 0..40 * 3_600 {
                shared.second();
            }
            assert!(shared.ours > 0.9, "{every}: {}", shared.ours);
            assert!(!shared.second().alone, "then it steers");
        }
    }
}
