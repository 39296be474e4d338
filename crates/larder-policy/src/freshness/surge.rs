//! Bursts: a deployment, a feed that comes back, a storm change many keys of a class at once.
//!
//! A class keeps the ratio of changes seen to changes expected, quickly forgotten (a Gamma–Poisson filter with
//! exponential discount; West, Harrison, "Bayesian forecasting and dynamic models", 1997), and the ratio multiplies the
//! hazard of entries ALREADY cached, the only way to react before the burst has been served as stale reads.

use super::special::given_some;

/// How much of a class's evidence survives an observation.
const KEEP: f64 = 0.985;
/// How much of all classes' evidence does.
const KEEP_ALL: f64 = 0.995;
/// Changes expected that all classes together count for in a class, and a ratio of 1 in all.
const SHRINK: f64 = 3.0;
const SHRINK_ALL: f64 = 6.0;
/// One observation counts at most so many changes.
const MOST_CHANGES: f64 = 3.0;
const RANGE: (f64, f64) = (0.6, 30.0);

/// Changes seen and expected of late.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Surge {
    seen: f64,
    expected: f64,
}

impl Surge {
    /// Counts an observation: `expected` changes had been expected with the multiplier `ratio`, and some came or none.
    pub(super) fn observe(&mut self, expected: f64, ratio: f64, changed: bool) {
        self.count(expected, ratio, changed, KEEP);
    }

    /// As [`observe`](Self::observe), for all classes together.
    pub(super) fn observe_all(&mut self, expected: f64, ratio: f64, changed: bool) {
        self.count(expected, ratio, changed, KEEP_ALL);
    }

    fn count(&mut self, expected: f64, ratio: f64, changed: bool, keep: f64) {
        let calm = (expected / ratio).clamp(0.0, 2.0);
        let seen = if changed { given_some(expected).min(MOST_CHANGES) } else { 0.0 };
        self.seen = keep * self.seen + seen;
        self.expected = keep * self.expected + calm;
    }

    /// The multiplier of all classes together.
    pub(super) fn ratio_of_all(self) -> f64 {
        ((self.seen + SHRINK_ALL) / (self.expected + SHRINK_ALL)).clamp(RANGE.0, RANGE.1)
    }

    /// The multiplier of a class, shrunk to that of all.
    pub(super) fn ratio(self, of_all: f64) -> f64 {
        ((self.seen + SHRINK * of_all) / (self.expected + SHRINK)).clamp(RANGE.0, RANGE.1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_rises_within_a_burst_and_falls_after_it() {
        let mut surge = Surge::default();
        assert_eq!(surge.ratio(1.0), 1.0);
        for _ in 0..10 {
            let ratio = surge.ratio(1.0);
            surge.observe(0.05 * ratio, ratio, true);
        }
        assert!(surge.ratio(1.0) > 3.0, "{}", surge.ratio(1.0));
        for _ in 0..400 {
            let ratio = surge.ratio(1.0);
            surge.observe(0.05 * ratio, ratio, false);
        }
        assert!(surge.ratio(1.0) < 1.0, "{}", surge.ratio(1.0));
    }

    #[test]
    fn it_stays_near_one_where_the_model_is_right() {
        let mut surge = Surge::default();
        let mut rng = crate::Rng::new(7);
        let mut sum = 0.0;
        for _ in 0..20_000 {
            let ratio = surge.ratio(1.0);
            sum += ratio;
            surge.observe(0.1 * ratio, ratio, rng.unit() < 1.0 - (-0.1f64).exp());
        }
        assert!((sum / 20_000.0 - 1.0).abs() < 0.1, "{}", sum / 20_000.0);
    }

    #[test]
    fn extremes_are_borne() {
        let mut surge = Surge::default();
        for expected in [0.0, 1e-300, 1e300, f64::INFINITY] {
            surge.observe(expected, 1.0, true);
            surge.observe(expected, 1.0, false);
            assert!((RANGE.0..=RANGE.1).contains(&surge.ratio(1.0)));
        }
    }
}
