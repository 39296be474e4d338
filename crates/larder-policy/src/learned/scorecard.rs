//! The weights: an additive scorecard, so that a score explains itself, and its online learner.

use super::features::{ACTIVE, BINS, Features, WEIGHTS};
use super::{HORIZONS, MIX, Prior, exp, logistic};

/// One weight for each span.
pub(crate) type Weights = [f32; HORIZONS.len()];

#[derive(Clone, Debug)]
pub(crate) struct Scorecard {
    weights: Box<[Weights]>,
    /// Sums of squared gradients: how sure each weight is.
    sureness: Box<[f32]>,
    rate: f32,
}

/// How much of a squared gradient is left after the next one: the learner never gets too sure to follow.
const FADE: f32 = 0.9995;

/// How much the mean logit counts in a score: it decides only where the probabilities are all but equal, as they are at 0 and 1.
const TIE: f32 = 1e-4;

/// How much less each bin of age is worth to a model that has learned nothing: such a model is LRU.
const PER_AGE: f32 = -0.05;

impl Scorecard {
    /// Starts from a prior, or from LRU.
    pub(crate) fn new(prior: Option<&Prior>, rate: f32) -> Self {
        let (weights, sureness) = match prior {
            Some(prior) => (prior.weights().collect(), prior.sureness()),
            None => {
                let mut weights = vec![[0.0; HORIZONS.len()]; WEIGHTS];
                for (bin, weight) in weights[..BINS].iter_mut().enumerate() {
                    *weight = [PER_AGE * bin as f32; HORIZONS.len()];
                }
                (weights.into_boxed_slice(), 1.0)
            }
        };
        Self { weights, sureness: vec![sureness; WEIGHTS].into_boxed_slice(), rate }
    }

    /// The logit of each span.
    #[inline]
    pub(crate) fn logits(&self, features: &Features) -> Weights {
        let mut sum = Weights::default();
        for place in features.active() {
            for (sum, weight) in sum.iter_mut().zip(self.weights[usize::from(place)]) {
                *sum += weight;
            }
        }
        sum
    }

    /// What an entry is worth: a mean of the probabilities of its reuse within each horizon, in [0, 1) but for ties.
    #[inline]
    pub(crate) fn worth(&self, features: &Features) -> f32 {
        worth(self.logits(features))
    }

    /// Learns the outcome of one span (Adagrad: Duchi, Hazan, Singer, JMLR 2011; with a fading sum). Returns the log-loss before.
    #[inline]
    pub(crate) fn learn(&mut self, features: &Features, span: usize, used: bool) -> f32 {
        let active: [u16; ACTIVE] = features.active();
        let logit: f32 = active.iter().map(|&place| self.weights[usize::from(place)][span]).sum();
        let gradient = logistic(logit) - f32::from(u8::from(used));
        for place in active {
            let sureness = &mut self.sureness[usize::from(place)];
            *sureness = *sureness * FADE + gradient * gradient;
            self.weights[usize::from(place)][span] -= self.rate * gradient / sureness.sqrt();
        }
        // ln(1 + e^x), on the side that cannot overflow.
        let towards = if used { -logit } else { logit };
        towards.max(0.0) + exp(-towards.abs()).ln_1p()
    }

    /// The weight of every active place in the logits of `features`.
    pub(crate) fn contributions(&self, features: &Features) -> [Weights; ACTIVE] {
        features.active().map(|place| self.weights[usize::from(place)])
    }

    /// The weights, place by place.
    pub(crate) fn weights(&self) -> impl Iterator<Item = Weights> {
        self.weights.iter().copied()
    }

    pub(crate) fn bytes(&self) -> usize {
        size_of_val(&*self.weights) + size_of_val(&*self.sureness)
    }

    pub(crate) fn validate(&self) {
        assert!(self.weights.iter().flatten().all(|weight| weight.is_finite()), "a weight is not a number");
        assert!(self.sureness.iter().all(|&sum| sum.is_finite() && sum > 0.0), "a sum of squares is not positive");
    }
}

/// A mean of the probabilities of use within each horizon, from the logits of the spans.
#[inline]
pub(crate) fn worth(logits: Weights) -> f32 {
    let mut unused = 1.0;
    let mut worth = TIE * logits.iter().sum::<f32>();
    for (logit, mix) in logits.into_iter().zip(MIX) {
        unused *= 1.0 - logistic(logit);
        worth += mix * (1.0 - unused);
    }
    worth
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Rng;

    fn some(age: u8) -> Features {
        let mut bins = [0; 16];
        bins[0] = age;
        Features(bins)
    }

    #[test]
    fn a_cold_scorecard_is_lru() {
        let card = Scorecard::new(None, 0.02);
        let worths: Vec<_> = (0..64).map(|age| card.worth(&some(age))).collect();
        assert!(worths.windows(2).all(|pair| pair[0] > pair[1]), "{worths:?}");
    }

    #[test]
    fn it_learns_frequencies() {
        let mut card = Scorecard::new(None, 0.05);
        let mut rng = Rng::new(5);
        let truth = |age: u8| 0.1 + 0.8 * f64::from(age) / 63.0;
        for _ in 0..200_000 {
            let age = rng.below(64) as u8;
            card.learn(&some(age), 2, rng.unit() < truth(age));
        }
        for age in [0, 20, 40, 63] {
            let said = f64::from(logistic(card.logits(&some(age))[2]));
            assert!((said - truth(age)).abs() < 0.08, "age {age}: {said}, not {}", truth(age));
        }
        card.validate();
    }

    #[test]
    fn extremes_stay_finite() {
        let mut card = Scorecard::new(None, 1.0);
        for step in 0..100_000 {
            let loss = card.learn(&some((step % 64) as u8), step % 4, step % 7 < 6);
            assert!(loss.is_finite() && loss >= 0.0);
        }
        card.validate();
        assert!(worth([f32::MAX, -40.0, 0.0, 80.0]) <= f32::MAX);
    }
}
