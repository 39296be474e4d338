//! How the hazard goes with time: since the last change, since birth, in units of the key's own rate.
//!
//! A piecewise-linear multiplier over log₂ of a time, learned by the same expectation–maximisation as hours of the day:
//! of what was expected at such a time, how much came. It finds what no straight line in logarithms can: values that
//! hold still just after a change (a minimum interval, a period) or die of age.

use super::special::given_some;

const BINS: usize = 33;

/// Changes expected that a multiplier of 1 counts for, and the most that are remembered.
const SHRINK: f64 = 8.0;
const MEMORY: f64 = 400.0;

/// Multipliers by log₂ of a time.
#[derive(Clone, Debug)]
pub(super) struct Profile {
    seen: [f64; BINS],
    expected: [f64; BINS],
    /// ln of the multipliers.
    logs: [f32; BINS],
}

impl Default for Profile {
    fn default() -> Self {
        Self { seen: [0.0; BINS], expected: [0.0; BINS], logs: [0.0; BINS] }
    }
}

impl Profile {
    /// ln of the multiplier at `place`, a log₂ from 0 to 32.
    #[inline]
    pub(super) fn log(&self, place: f64) -> f64 {
        let (bin, part) = split(place);
        let (low, high) = (f64::from(self.logs[bin]), f64::from(self.logs[bin + 1]));
        low + part * (high - low)
    }

    /// Learns from an interval around `place` in which `expected` changes had been expected, this multiplier included.
    pub(super) fn observe(&mut self, place: f64, expected: f64, changed: bool) {
        if expected.is_nan() || expected <= 0.0 {
            return;
        }
        let (bin, part) = split(place);
        let flat = (expected / self.log(place).exp()).min(3.0);
        let seen = if changed { given_some(expected).min(3.0) } else { 0.0 };
        for (at, share) in [(bin, 1.0 - part), (bin + 1, part)] {
            self.seen[at] += seen * share;
            self.expected[at] += flat * share;
            if self.expected[at] > MEMORY {
                let keep = MEMORY / self.expected[at];
                (self.seen[at], self.expected[at]) = (self.seen[at] * keep, MEMORY);
            }
            self.logs[at] = ((self.seen[at] + SHRINK) / (self.expected[at] + SHRINK)).ln() as f32;
        }
    }
}

/// The bin below a place, and how far the place is towards the next.
#[inline]
fn split(place: f64) -> (usize, f64) {
    // What is no number counts as 0.
    let place = if place.is_nan() { 0.0 } else { place.clamp(0.0, (BINS - 1) as f64 - 1e-6) };
    let whole = place as usize;
    (whole, place - whole as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pause_after_a_change_is_found() {
        let mut profile = Profile::default();
        let mut rng = crate::Rng::new(13);
        for _ in 0..40_000 {
            let place = rng.unit() * 16.0;
            let truth: f64 = if place < 8.0 { 0.1 } else { 1.0 };
            let expected = 0.2 * profile.log(place).exp();
            profile.observe(place, expected, rng.unit() < 1.0 - (-0.2 * truth).exp());
        }
        assert!(
            profile.log(4.0) < -1.5 && profile.log(12.0).abs() < 0.25,
            "{} {}",
            profile.log(4.0),
            profile.log(12.0)
        );
    }

    #[test]
    fn extremes_are_borne() {
        let mut profile = Profile::default();
        for place in [-1.0, 0.0, 32.0, 1e9, f64::NAN, f64::INFINITY] {
            for expected in [0.0, 1e-300, 1e300, f64::NAN] {
                profile.observe(place, expected, true);
                profile.observe(place, expected, false);
                assert!(profile.log(place).is_finite());
            }
        }
    }
}
