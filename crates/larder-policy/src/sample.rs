//! Spatial sampling: keep all requests of some keys, none of the others.

use crate::{Error, ErrorKind, KeyHash};

/// A fixed-rate sample of the keys by hash (Waldspurger, Park, Garthwaite, Ahmad, "Efficient MRC Construction with
/// SHARDS", FAST 2015). Different seeds take different keys.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sample {
    rate: f64,
    threshold: u64,
    salt: u64,
}

impl Sample {
    /// A sample of the share `rate` of the keys.
    ///
    /// # Errors
    /// A rate that is not above 0 and at most 1.
    pub fn new(rate: f64, seed: u64) -> Result<Self, Error> {
        if !(rate > 0.0 && rate <= 1.0) {
            return Err(Error::new(ErrorKind::BadValue, format!("sample rate {rate} is not above 0 and at most 1")));
        }
        // 2^64 does not fit: the cast saturates, and `takes` passes everything at a rate of 1.
        let threshold = (rate * 2f64.powi(64)) as u64;
        Ok(Self { rate, threshold, salt: KeyHash::mix(seed ^ 0x5348_4152_4453).0 })
    }

    /// The share of keys it takes.
    pub fn rate(self) -> f64 {
        self.rate
    }

    /// Whether it takes `key`. The key is mixed anew, so that the sampled keys still spread over a shard's index.
    #[inline]
    pub fn takes(self, key: KeyHash) -> bool {
        self.threshold == u64::MAX || KeyHash::mix(key.0 ^ self.salt).0 < self.threshold
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_its_share_and_other_keys_by_seed() {
        let (one, two) = (Sample::new(0.1, 1).unwrap(), Sample::new(0.1, 2).unwrap());
        let keys = || (0..100_000).map(KeyHash::mix);
        let taken = keys().filter(|&key| one.takes(key)).count();
        // Five standard deviations of a binomial(100000, 0.1) are 474.
        assert!(taken.abs_diff(10_000) < 474, "{taken}");
        let both = keys().filter(|&key| one.takes(key) && two.takes(key)).count();
        // Independent samples share a hundredth; five standard deviations are 157.
        assert!(both.abs_diff(1000) < 157, "{both}");
        assert!(keys().all(|key| Sample::new(1.0, 3).unwrap().takes(key)));
    }

    #[test]
    fn refuses_rates_out_of_range() {
        for rate in [0.0, -0.1, 1.1, f64::NAN] {
            assert!(Sample::new(rate, 1).is_err());
        }
    }
}
