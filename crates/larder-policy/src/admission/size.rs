//! Size threshold: nothing larger than a limit enters.
//!
//! The plainest of the web caches' filters (Abrams et al., "Caching proxies: limitations and potentials", 1995).

use super::Admission;
use crate::eviction::{Arrival, Setup};
use crate::params::Param;
use crate::{Access, KeyHash};

pub(super) const PARAMS: &[Param] = &[
    Param {
        name: "most",
        default: 0.0,
        least: 0.0,
        most: 4_294_967_295.0,
        about: "largest size in bytes; 0 uses `share`",
    },
    Param { name: "share", default: 0.01, least: 0.0, most: 1.0, about: "largest weight, as a share of the capacity" },
];

pub(crate) struct SizeThreshold {
    most_bytes: Option<u32>,
    most_weight: f64,
}

impl SizeThreshold {
    pub(crate) fn new(setup: &Setup<'_>) -> Self {
        let most = setup.params.value("most") as u32;
        let most_weight = (setup.capacity as f64 * setup.params.value("share")).max(1.0);
        Self { most_bytes: (most > 0).then_some(most), most_weight }
    }
}

impl Admission for SizeThreshold {
    fn record(&mut self, _: &Access, _: bool) {}

    fn admit(&mut self, newcomer: &Arrival, _: Option<KeyHash>) -> bool {
        match self.most_bytes {
            Some(most) => newcomer.access.size <= most,
            None => f64::from(newcomer.weight) <= self.most_weight,
        }
    }

    fn bytes(&self) -> usize {
        0
    }
}
