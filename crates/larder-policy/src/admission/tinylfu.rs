//! TinyLFU: a newcomer enters if it was asked for more often lately than the one that would leave.
//!
//! Einziger, Friedman, Manes, "TinyLFU: a highly efficient cache admission policy", ACM TOS 2017. Deviation: where
//! several must leave for a heavy newcomer, only the first is compared.

use super::Admission;
use crate::eviction::{Arrival, Setup};
use crate::params::Param;
use crate::sketch::Sketch;
use crate::{Access, KeyHash};

pub(super) const PARAMS: &[Param] = &[
    Param {
        name: "keys",
        default: 0.0,
        least: 0.0,
        most: 1e9,
        about: "keys the sketch is made for; 0 takes the capacity",
    },
    Param { name: "period", default: 10.0, least: 1.0, most: 1e6, about: "accesses a key between halvings" },
];

/// Without a capacity in objects, the sketch is made for so many keys.
const UNKNOWN_KEYS: usize = 1 << 16;
/// And for no more than so many, unless told: 32 MiB.
const MOST_KEYS: usize = 1 << 22;

pub(crate) struct TinyLfu {
    sketch: Sketch,
    /// Accesses a key between halvings.
    period: f64,
    /// Whether the number of keys was given, and so stays.
    is_fixed: bool,
}

impl TinyLfu {
    pub(crate) fn new(setup: &Setup<'_>) -> Self {
        let keys = match setup.params.value("keys") {
            0.0 => setup.objects.unwrap_or(UNKNOWN_KEYS).min(MOST_KEYS),
            keys => keys as usize,
        };
        let period = setup.params.value("period");
        let is_fixed = setup.params.value("keys") > 0.0;
        Self { sketch: Sketch::new(keys, (keys as f64 * period) as u64), period, is_fixed }
    }
}

impl Admission for TinyLfu {
    fn record(&mut self, access: &Access, _: bool) {
        self.sketch.increment(access.key);
    }

    fn admit(&mut self, newcomer: &Arrival, victim: Option<KeyHash>) -> bool {
        victim.is_none_or(|victim| self.sketch.estimate(newcomer.access.key) > self.sketch.estimate(victim))
    }

    fn on_resize(&mut self, _: u64, objects: Option<usize>) {
        if let Some(keys) = objects.filter(|_| !self.is_fixed) {
            let keys = keys.min(MOST_KEYS);
            self.sketch.grow(keys, (keys as f64 * self.period) as u64);
        }
    }

    fn bytes(&self) -> usize {
        self.sketch.bytes()
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::Cache;

    #[test]
    fn the_more_often_asked_for_enters() {
        // Equal is not enough; there is no contest while there is room.
        assert_eq!(Cache::objects("lru+tinylfu", 2).read("abcc"), "!ca");
    }

    #[test]
    fn the_sketch_grows_with_the_cache_and_keeps_its_counts() {
        let mut cache = Cache::objects("lru+tinylfu", 2);
        assert_eq!(cache.read("abbbb"), "");
        let before = cache.shard.metadata_bytes();
        cache.shard.resize(1 << 12, &mut Vec::new());
        assert!(cache.shard.metadata_bytes() >= before + (1 << 14), "a word a key");
        let mut evicted = Vec::new();
        cache.shard.resize(1, &mut evicted);
        assert_eq!(evicted[0].value, 'a');
        assert_eq!(cache.read("ccc"), "!c!c!c", "b was asked for four times");
        assert_eq!(cache.read("cc"), "!cb");
    }
}
