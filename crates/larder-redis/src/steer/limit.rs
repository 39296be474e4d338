//! How many bytes our keys may take, from what the server says about itself.

use std::time::Duration;

use crate::info::ServerInfo;

/// Free room below `maxmemory` while Redis evicts nothing, as a share of it, and the most it grows to when Redis does.
const MARGIN: f64 = 0.01;
const WIDEST: f64 = 0.05;
/// What the margin grows by where Redis evicted something between two readings, and shrinks by where it did not.
const WIDER: f64 = 0.001;
const NARROWER: f64 = 0.0001;
/// The share of what we had lately that is never given up to others' keys: beyond that Redis's own eviction decides, which is fair
/// to both.
const OURS: f64 = 0.5;
/// What we had fades with this half-life.
const FADES: Duration = Duration::from_secs(3600);

/// Keeps the server's memory a little below where it begins to evict by itself.
#[derive(Debug)]
pub(super) struct Limit {
    margin: f64,
    evicted: Option<u64>,
    /// The share of `maxmemory` our keys had, fading.
    had: f64,
}

/// What a reading says.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Verdict {
    /// Bytes for the keys of all processes together; `None` without a limit on the server.
    pub(super) limit: Option<u64>,
    /// Keys Redis evicted by itself since the last reading.
    pub(super) evicted: u64,
}

impl Default for Limit {
    fn default() -> Self {
        Self { margin: MARGIN, evicted: None, had: 0.0 }
    }
}

impl Limit {
    /// The next reading is of another server.
    pub(super) fn forget_evictions(&mut self) {
        self.evicted = None;
    }

    /// What to make of `info`, `since` after the last one, when our keys take `ours` bytes.
    pub(super) fn read(&mut self, info: &ServerInfo, ours: u64, since: Duration) -> Verdict {
        // A counter that fell is that of a new server.
        let evicted = self.evicted.map_or(0, |before| info.evicted_keys.saturating_sub(before));
        self.evicted = Some(info.evicted_keys);
        if info.maxmemory == 0 {
            return Verdict { limit: None, evicted };
        }
        let step = if evicted > 0 { WIDER } else { -NARROWER };
        self.margin = (self.margin + step).clamp(MARGIN, WIDEST);
        let most = info.maxmemory as f64;
        let free = most * (1.0 - self.margin) - info.used_memory.saturating_sub(info.not_counted) as f64;
        self.had *= 0.5_f64.powf(since.as_secs_f64() / FADES.as_secs_f64());
        self.had = self.had.max((ours as f64 / most).min(1.0));
        let limit = (ours as f64 + free).max(OURS * self.had * most).clamp(1.0, most);
        Verdict { limit: Some(limit as u64), evicted }
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
        assert_eq!(limit.read(&info(1_000, 100_000, 7), 0, SECOND).limit, Some(98_000));
        assert_eq!(limit.read(&info(99_500, 100_000, 7), 90_000, SECOND).limit, Some(89_500));
        assert_eq!(limit.read(&info(99_500, 0, 7), 90_000, SECOND).limit, None);
        let behind = ServerInfo { not_counted: 5_000, ..info(99_500, 100_000, 7) };
        assert_eq!(limit.read(&behind, 90_000, SECOND).limit, Some(94_500));
    }

    #[test]
    fn native_eviction_widens_the_margin_and_its_absence_narrows_it() {
        let mut limit = Limit::default();
        let mut at = |evicted| limit.read(&info(50_000, 100_000, evicted), 40_000, SECOND);
        assert_eq!(at(100).evicted, 0, "from before our time");
        assert_eq!(at(130), Verdict { limit: Some(88_900), evicted: 30 });
        assert!((0..1_000).all(|evicted| at(131 + evicted).limit >= Some(85_000)));
        assert_eq!(at(1_131).limit, Some(85_000));
        assert_eq!(at(5).evicted, 0, "a new server");
        for _ in 0..1_000 {
            at(5);
        }
        assert_eq!(at(5).limit, Some(89_000));
    }

    #[test]
    fn others_get_half_and_no_more() {
        let mut limit = Limit::default();
        let mut ours = limit.read(&info(1_000, 100_000, 0), 80_000, SECOND).limit.unwrap();
        for _ in 0..600 {
            // Whatever we free is taken.
            ours = limit.read(&info(100_000, 100_000, 0), ours, SECOND).limit.unwrap();
        }
        assert!((35_000..=50_000).contains(&ours), "{ours}");
        // A server that shrinks is followed all the same.
        assert!(limit.read(&info(30_000, 30_000, 0), ours, SECOND).limit.unwrap() <= 30_000);
    }
}
