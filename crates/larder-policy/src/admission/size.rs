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
    share: f64,
}

impl SizeThreshold {
    pub(crate) fn new(setup: &Setup<'_>) -> Self {
        let most = setup.params.value("most") as u32;
        let (most_bytes, share) = ((most > 0).then_some(most), setup.params.value("share"));
        let mut policy = Self { most_bytes, most_weight: 1.0, share };
        policy.on_resize(setup.capacity, setup.objects);
        policy
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

    fn on_resize(&mut self, capacity: u64, _: Option<usize>) {
        self.most_weight = (capacity as f64 * self.share).max(1.0);
    }

    fn bytes(&self) -> usize {
        0
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::Cache;

    #[test]
    fn the_large_stay_outside() {
        assert_eq!(Cache::bytes("lru+size:most=4", 100).read("aBc"), "!B");
    }

    #[test]
    fn the_share_follows_the_capacity() {
        let mut cache = Cache::bytes("lru+size:share=0.1", 40);
        assert_eq!(cache.read("aB"), "!B", "five bytes of at most four");
        cache.shard.resize(50, &mut Vec::new());
        assert_eq!(cache.read("B"), "");
    }
}
