//! The hedge: experts' log hazards weighted online by how well each foretold what reloads and audits found.
//!
//! Every expert gives the logarithm of a hazard: the key's own posterior (the index rule), the time since the last
//! change (Alex: k × age), the class, and all keys alike; surge and hour of the day correct them. Their weighted sum is a
//! Poisson regression with a complementary log-log link: Λ = a·exp(w·x), P(changed) = 1 − e^−Λ. The weights follow by
//! recursive Bayesian updates with forgetting (West, Harrison, Migon, "Dynamic generalized linear models and Bayesian
//! forecasting", JASA 1985): logarithmic loss, so that an expert that foretells badly loses its weight wherever that
//! shows, and a weight of 1 on one expert and 0 on the others is that expert alone.

use std::ops::Range;

/// Number of inputs.
pub(super) const INPUTS: usize = 12;

/// Of these, those that come from profiles, and the most that each weighs.
///
/// What a profile learns is shrunk, and a weight above 1 makes up for it. But then the profile finds less left to learn, and the weight grows on:
/// beyond this, hazards between what was looked at come out as nothing.
const PROFILES: Range<usize> = 9..11;
const MOST_PROFILE: f64 = 1.5;
/// Weights that lie so many of their first standard deviations from where they began have gone astray, and begin anew: along inputs that hardly differ, what
/// does not fit drives them on for ever, each against the other, until what lies beside the last looks is foreseen as nothing.
const ASTRAY: f64 = 10.0;

/// What goes into the sum, all logarithms.
pub(super) type Inputs = [f64; INPUTS];

/// What is known fades by this at each observation that tells something: by less where a change was hardly to be expected, for then that none came
/// tells little, and what is known would be gone before there is more.
const FADE: f64 = 2e-4;
/// Changes expected in an observation that tells something.
pub(super) const TOLD: f64 = 0.005;
/// Changes expected in one observation lie within.
const RANGE: (f64, f64) = (1e-9, 30.0);
/// One observation shifts the sum by at most so much.
const MOST_STEP: f64 = 1.0;

/// Weights with their uncertainty.
#[derive(Clone, Debug)]
pub(super) struct Regression {
    weights: Inputs,
    covariance: [Inputs; INPUTS],
    /// The variances before anything was seen, which forgetting never exceeds, and the weights.
    widest: Inputs,
    first: Inputs,
}

impl Regression {
    /// Takes over the weights of `other`; what they are known by stays there.
    pub(super) fn follow(&mut self, other: &Self) {
        self.weights = other.weights;
    }

    /// Starts from `weights` with independent variances.
    pub(super) fn new(weights: Inputs, variances: Inputs) -> Self {
        let mut covariance = [[0.0; INPUTS]; INPUTS];
        for (at, row) in covariance.iter_mut().enumerate() {
            row[at] = variances[at];
        }
        Self { weights, covariance, widest: variances, first: weights }
    }

    /// Changes expected within `age` seconds.
    #[inline]
    pub(super) fn expected(&self, inputs: &Inputs, age: f64) -> f64 {
        let sum: f64 = self.weights.iter().zip(inputs).map(|(weight, input)| weight * input).sum();
        let expected = age * sum.clamp(-60.0, 30.0).exp();
        if expected.is_nan() { RANGE.0 } else { expected.clamp(0.0, RANGE.1) }
    }

    /// Learns whether something changed within `age` seconds.
    pub(super) fn observe(&mut self, inputs: &Inputs, age: f64, changed: bool) {
        let expected = self.expected(inputs, age).max(RANGE.0);
        // The slope of the log likelihood in ln Λ, and its curvature as observed.
        let (slope, information) = if changed {
            let grown = expected.exp_m1();
            let slope = expected / grown;
            (slope, slope * (expected * (grown + 1.0) / grown - 1.0).max(0.0))
        } else {
            (-expected, expected)
        };
        // Row by row, as the covariance is symmetric: so that several are summed at once.
        let mut turned = [0.0; INPUTS];
        for (row, input) in self.covariance.iter().zip(inputs) {
            turned.iter_mut().zip(row).for_each(|(sum, entry)| *sum += entry * input);
        }
        let spread: f64 = turned.iter().zip(inputs).map(|(entry, input)| entry * input).sum();
        if !spread.is_finite() || spread <= 0.0 {
            return;
        }
        let gain = 1.0 / (1.0 + information * spread);
        let step = (slope * gain).clamp(-MOST_STEP / spread, MOST_STEP / spread);
        let known = information * gain;
        let grow = 1.0 + FADE * (expected / TOLD).min(1.0);
        for (at, row) in self.covariance.iter_mut().enumerate() {
            self.weights[at] += step * turned[at];
            let own = turned[at];
            // Two entries that mirror each other get the same bits: what they differed by would grow for ever, as nothing is learned of it.
            row.iter_mut().zip(&turned).for_each(|(entry, turned)| *entry = (*entry - own * turned * known) * grow);
        }
        if self.is_astray() {
            *self = Self::new(self.first, self.widest);
        }
        for weight in &mut self.weights[PROFILES] {
            *weight = weight.min(MOST_PROFILE);
        }
        self.bound();
    }

    fn is_astray(&self) -> bool {
        let from = self.weights.iter().zip(&self.first).map(|(weight, first)| (weight - first).powi(2));
        from.zip(&self.widest).any(|(square, variance)| square > ASTRAY * ASTRAY * variance)
    }

    /// The weights, in the order of the inputs.
    #[cfg(test)]
    fn weights(&self) -> &Inputs {
        &self.weights
    }

    /// Keeps every variance at most what it was at first, scaling its row and column.
    fn bound(&mut self) {
        for at in 0..INPUTS {
            let (widest, variance) = (self.widest[at], self.covariance[at][at]);
            if variance > widest {
                let scale = (widest / variance).max(0.0).sqrt();
                for other in 0..INPUTS {
                    self.covariance[at][other] *= scale;
                    self.covariance[other][at] *= scale;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Weights learned from so many observations where the true hazard is exp(true weights · inputs).
    fn learned(truth: Inputs, start: Inputs, observations: u32) -> Regression {
        let mut regression = Regression::new(start, [0.3; INPUTS]);
        let mut rng = crate::Rng::new(11);
        for _ in 0..observations {
            let mut inputs = [0.0; INPUTS];
            inputs.iter_mut().for_each(|input| *input = rng.unit() * 4.0 - 2.0);
            inputs[0] = 1.0;
            let hazard: f64 = truth.iter().zip(&inputs).map(|(weight, input)| weight * input).sum::<f64>().exp();
            let changed = rng.unit() < 1.0 - (-hazard).exp();
            regression.observe(&inputs, 1.0, changed);
        }
        regression
    }

    #[test]
    fn the_expert_that_is_right_gets_the_weight() {
        let truth = [-1.5, 0.0, -1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0];
        let start = [0.0, 0.8, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.2, 0.0, 0.0, 0.0];
        let found = learned(truth, start, 30_000);
        for (at, (weight, truth)) in found.weights().iter().zip(truth).enumerate() {
            assert!((weight - truth).abs() < 0.25, "{at}: {weight} {truth}");
        }
    }

    #[test]
    fn what_was_right_stays_right() {
        let truth = [-1.5, 0.7, -0.4, 0.0, 0.0, 0.0, 0.0, 0.0, 0.2, 0.0, 0.0, 0.0];
        let found = learned(truth, [0.0; INPUTS], 1_000_000);
        for (at, row) in found.covariance.iter().enumerate() {
            assert!(row[at] > 0.0 && row[at] <= found.widest[at], "{at}: {}", row[at]);
            assert!((0..at).all(|other| row[other] == found.covariance[other][at]), "{at}: {row:?}");
        }
        for (at, (weight, truth)) in found.weights().iter().zip(truth).enumerate() {
            assert!((weight - truth).abs() < 0.25, "{at}: {weight} {truth}");
        }
    }

    #[test]
    fn weights_that_went_astray_begin_anew() {
        let start = [-1.0; INPUTS];
        let mut regression = Regression::new(start, [0.01; INPUTS]);
        for (weight, is_anew) in [(-0.5, false), (3.0, true)] {
            regression.weights[8] = weight;
            regression.observe(&[0.1; INPUTS], 1.0, true);
            assert_eq!(regression.weights() == &start, is_anew, "{:?}", regression.weights());
        }
        assert_eq!(regression.covariance[8][8], 0.01);
    }

    #[test]
    fn a_profile_weighs_only_so_much() {
        let mut truth = [0.0; INPUTS];
        (truth[0], truth[1], truth[9]) = (-1.5, 2.5, 2.5);
        let found = learned(truth, [0.0; INPUTS], 30_000);
        assert_eq!(found.weights()[9], MOST_PROFILE);
        assert!((found.weights()[1] - 2.5).abs() < 0.5, "{:?}", found.weights());
    }

    #[test]
    fn extremes_are_borne() {
        let mut regression = Regression::new([0.0; INPUTS], [0.3; INPUTS]);
        for input in [0.0, 1e9, -1e9, f64::NAN, f64::INFINITY] {
            for age in [0.0, 1e-9, 1e18, f64::INFINITY, f64::NAN] {
                for changed in [true, false] {
                    regression.observe(&[input; INPUTS], age, changed);
                    let expected = regression.expected(&[1.0; INPUTS], 1.0);
                    assert!((0.0..=RANGE.1).contains(&expected), "{input} {age}: {expected}");
                }
            }
        }
    }
}
