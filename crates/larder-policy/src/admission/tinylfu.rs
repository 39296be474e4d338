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
}

impl TinyLfu {
    pub(crate) fn new(setup: &Setup<'_>) -> Self {
        let keys = match setup.params.value("keys") {
            0.0 => setup.objects.unwrap_or(UNKNOWN_KEYS).min(MOST_KEYS),
            keys => keys as usize,
        };
        let period = keys as f64 * setup.params.value("period");
        Self { sketch: Sketch::new(keys, period as u64) }
    }
}

impl Admission for TinyLfu {
    fn record(&mut self, access: &Access, _: bool) {
        self.sketch.increment(access.key);
    }

    fn admit(&mut self, newcomer: &Arrival, victim: Option<KeyHash>) -> bool {
        victim.is_none_or(|victim| self.sketch.estimate(newcomer.access.key) > self.sketch.estimate(victim))
    }

    fn bytes(&self) -> usize {
        self.sketch.bytes()
    }
}
