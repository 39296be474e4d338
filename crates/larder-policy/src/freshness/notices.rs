//! How many writes are noticed: all, some, none; nobody is trusted to say so, it is counted.
//!
//! Notices thin the changes of a Poisson process: those noticed come at f·λ, those not, which threaten freshness, at
//! (1 − f)·λ. Most lives end by a notice where keys are read seldom, and in those nobody looks for what was missed:
//! counts alone would make f too large. So both rates are set against what the experts expect over the lives in which
//! each is seen, notices in all and misses in those that a look ends; whatever the scale of that, it cancels.

use super::special::given_some;

/// Counts of a class, slowly forgotten.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Notices {
    /// Notices, and the unannounced changes expected in all lives: those that a notice ended, those that a look did.
    noticed: f64,
    lived: f64,
    /// Unannounced changes that looks found, and those expected in the lives that a look ended.
    missed: f64,
    looked: f64,
}

/// Notices and misses remembered; beyond, all counts fade.
const MOST: f64 = 500.0;
/// More changes expected of one life count as so many.
const LONGEST: f64 = 20.0;
const MOST_ODDS: f64 = 20.0;

impl Notices {
    /// A notice came at the end of a life in which `expected` unannounced changes had been expected.
    pub(super) fn noticed(&mut self, expected: f64) {
        self.noticed += 1.0;
        self.lived += expected.min(LONGEST);
        self.forget();
    }

    /// A life ended by a look, without a notice.
    pub(super) fn looked(&mut self, expected: f64, changed: bool) {
        self.lived += expected.min(LONGEST);
        self.looked += expected.min(LONGEST);
        if changed {
            self.missed += given_some(expected).min(LONGEST);
        }
        self.forget();
    }

    /// The share of changes that are noticed; 0 until the first notice.
    pub(super) fn share(self) -> f64 {
        if self.noticed == 0.0 || self.lived <= 0.0 {
            return 0.0;
        }
        // As if one look had found what was expected.
        let missed = (self.missed + 1.0) / (self.looked + 1.0);
        let odds = (self.noticed / self.lived / missed).min(MOST_ODDS);
        odds / (1.0 + odds)
    }

    fn forget(&mut self) {
        let sum = self.noticed + self.missed;
        if sum > MOST {
            let keep = MOST / sum;
            for count in [&mut self.noticed, &mut self.lived, &mut self.missed, &mut self.looked] {
                *count *= keep;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Rng;

    /// Lives that the first look or notice ends, the looks after `ages`; the expected changes are `scale` times the true
    /// ones.
    fn share_of(true_share: f64, ages: [f64; 2], scale: f64) -> f64 {
        let (mut rng, mut notices) = (Rng::new(3), Notices::default());
        let mut sum = 0.0;
        for life in 0..40_000 {
            let rate = 1e-3;
            let age = ages[life % 2];
            let noticed = -(1.0 - rng.unit()).ln() / (true_share * rate);
            let expected = |age: f64| (1.0 - true_share) * rate * age * scale;
            if noticed < age {
                notices.noticed(expected(noticed));
            } else {
                notices.looked(expected(age), rng.unit() < 1.0 - (-(1.0 - true_share) * rate * age).exp());
            }
            if life >= 20_000 {
                sum += notices.share() / 20_000.0;
            }
        }
        sum
    }

    #[test]
    fn the_share_is_measured_though_notices_end_most_lives() {
        assert_eq!(Notices::default().share(), 0.0);
        // The second of each is read so seldom that a notice nearly always comes first.
        for ages in [[20.0, 20.0], [20.0, 2000.0], [20.0, 20_000.0]] {
            for true_share in [0.2, 0.5, 0.9] {
                let share = share_of(true_share, ages, 1.0);
                assert!((share - true_share).abs() < 0.05, "{ages:?}: {share} for {true_share}");
            }
        }
    }

    #[test]
    fn the_scale_of_what_is_expected_cancels() {
        for scale in [0.5, 2.0] {
            let share = share_of(0.5, [20.0, 200.0], scale);
            assert!((share - 0.5).abs() < 0.05, "{scale}: {share}");
        }
    }

    #[test]
    fn extremes_are_borne() {
        let mut notices = Notices::default();
        for expected in [0.0, 1e-300, 1e300, f64::INFINITY] {
            notices.noticed(expected);
            notices.looked(expected, true);
            notices.looked(expected, false);
            assert!((0.0..1.0).contains(&notices.share()), "{expected}");
        }
    }
}
