//! The weights: an additive scorecard, so that a score explains itself, and its online learner.

use super::features::{ACTIVE, BINS, Features, WEIGHTS};
use super::lanes::{exp, logistic};
use super::{HORIZONS, MIX, Prior};
use wide::f32x4;

/// One weight for each span.
pub(crate) type Weights = f32x4;

const _: () = assert!(HORIZONS.len() == 4);

#[derive(Clone, Debug)]
pub(crate) struct Scorecard {
    weights: Box<[Weights; WEIGHTS]>,
    /// Sums of squared gradients: how sure each weight is.
    sureness: Box<[f32; WEIGHTS]>,
    /// What the sums were at first.
    start: f32,
    rate: f32,
}

/// How much of a squared gradient is left after the next one: the learner never gets too sure to follow.
const FADE: f32 = 0.9995;

/// How much a logit beside its probability counts in a score: it decides only where the probabilities are all but equal, as they are at 0 and 1.
const TIE: f32 = 1e-4;

/// How much less each bin of age is worth to a model that has learned nothing: such a model is LRU.
const PER_AGE: f32 = -0.05;

impl Scorecard {
    /// Starts from a prior, or from LRU.
    pub(crate) fn new(prior: Option<&Prior>, rate: f32) -> Self {
        let mut weights = Box::new([f32x4::ZERO; WEIGHTS]);
        match prior {
            Some(prior) => {
                weights.iter_mut().zip(prior.weights()).for_each(|(weight, prior)| *weight = f32x4::new(prior))
            }
            None => weights[..BINS]
                .iter_mut()
                .zip(0u8..)
                .for_each(|(weight, bin)| *weight = f32x4::splat(PER_AGE * f32::from(bin))),
        }
        let start = prior.map_or(1.0, Prior::sureness);
        Self { weights, sureness: Box::new([start; WEIGHTS]), start, rate }
    }

    /// Takes over a prior's weights, each as far as it is surer than what was learned here: the mean of the two, weighted by the
    /// squared gradients that each has seen.
    pub(crate) fn adopt(&mut self, prior: &Prior) {
        let theirs = prior.sureness();
        for ((weight, sureness), prior) in self.weights.iter_mut().zip(&mut *self.sureness).zip(prior.weights()) {
            let own = (*sureness - self.start).max(0.0);
            *weight += (f32x4::new(prior) - *weight) * f32x4::splat(theirs / (own + theirs));
            *sureness = own + theirs;
        }
        self.start = theirs;
    }

    /// Each place's weights with how sure they are.
    pub(crate) fn places(&self) -> impl Iterator<Item = ([f32; HORIZONS.len()], f32)> {
        self.weights.iter().map(|weights| weights.to_array()).zip(self.sureness.iter().copied())
    }

    /// How sure each weight was at first.
    pub(crate) fn start(&self) -> f32 {
        self.start
    }

    /// The logit of each span.
    #[inline]
    pub(crate) fn logits(&self, features: &Features) -> Weights {
        // Four sums, so that one addition need not wait for the other.
        let mut sums = [self.weights[WEIGHTS - 1], f32x4::ZERO, f32x4::ZERO, f32x4::ZERO];
        let mut turn = 0;
        features.for_each_active(|place| {
            sums[turn % 4] += self.weights[place];
            turn += 1;
        });
        (sums[0] + sums[1]) + (sums[2] + sums[3])
    }

    /// What an entry is worth: a mean of the probabilities of its reuse within each horizon, in [0, 1) but for ties.
    #[inline]
    pub(crate) fn worth(&self, features: &Features) -> f32 {
        worth(self.logits(features))
    }

    /// Learns the outcome of one span (Adagrad: Duchi, Hazan, Singer, JMLR 2011; with a fading sum). Returns its logit before.
    #[inline]
    pub(crate) fn learn(&mut self, features: &Features, span: usize, used: bool) -> f32 {
        let logit = self.logits(features).to_array()[span];
        let gradient = logistic(f32x4::splat(logit)).to_array()[0] - f32::from(u8::from(used));
        let mut lane = [0.0; 4];
        lane[span] = self.rate * gradient;
        let step = f32x4::new(lane);
        let places = features.active();
        let mut rates = [1.0; ACTIVE.next_multiple_of(4)];
        for (place, rate) in places.into_iter().zip(&mut rates) {
            let sureness = &mut self.sureness[usize::from(place)];
            *sureness = *sureness * FADE + gradient * gradient;
            *rate = *sureness;
        }
        // Roots and quotients take longest by far: four at once.
        for four in rates.as_chunks_mut().0 {
            *four = (f32x4::splat(1.0) / f32x4::new(*four).sqrt()).to_array();
        }
        for (place, rate) in places.into_iter().zip(rates) {
            self.weights[usize::from(place)] -= step * f32x4::splat(rate);
        }
        logit
    }

    /// The weight of every active place, the intercept last: they sum to the logits.
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
        assert!(
            self.weights.iter().flat_map(|weights| weights.to_array()).all(f32::is_finite),
            "a weight is not a number"
        );
        assert!(self.sureness.iter().all(|&sum| sum.is_finite() && sum > 0.0), "a sum of squares is not positive");
    }
}

/// The log-loss, in nats, of a logit.
pub(crate) fn loss(logit: f32, used: bool) -> f32 {
    // ln(1 + e^x), on the side that cannot overflow.
    let towards = if used { -logit } else { logit };
    towards.max(0.0) + exp(f32x4::splat(-towards.abs())).to_array()[0].ln_1p()
}

/// The probability that no use comes within each horizon, from the logits of the spans.
#[inline]
pub(crate) fn unused(logits: Weights) -> Weights {
    // The chance to pass a span unused; then, to pass all the spans up to it.
    let [a, b, c, d] = logistic(-logits).to_array();
    f32x4::new([a, a * b, a * b * c, a * b * c * d])
}

/// A mean of the probabilities of use within each horizon, from the logits of the spans.
#[inline]
pub(crate) fn worth(logits: Weights) -> f32 {
    let one = f32x4::splat(1.0);
    // In (0, 2): what a score is multiplied with must not turn the order round.
    let place = one + logits / (one + logits.abs());
    ((one - unused(logits)) * f32x4::new(MIX) + place * f32x4::splat(TIE)).reduce_add()
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
            let said = f64::from(logistic(card.logits(&some(age))).to_array()[2]);
            assert!((said - truth(age)).abs() < 0.08, "age {age}: {said}, not {}", truth(age));
        }
        card.validate();
    }

    #[test]
    fn what_was_learned_outweighs_what_is_adopted_and_nothing_does_not() {
        let prior = Prior::new(&[1.0; WEIGHTS * HORIZONS.len()], 30.0, "").unwrap();
        let mut card = Scorecard::new(Some(&prior), 0.05);
        let mut rng = Rng::new(5);
        (0..50_000).for_each(|_| _ = card.learn(&some(7), 2, rng.below(10) == 0));
        let learned = card.logits(&some(7)).to_array()[2];
        let other = Prior::new(&[-1.0; WEIGHTS * HORIZONS.len()], 30.0, "").unwrap();
        card.adopt(&other);
        // Nobody here has seen age 50: it is as the others say.
        let place = |age: usize| card.weights[age].to_array()[0];
        assert!((place(50) + 1.0).abs() < 1e-3, "{}", place(50));
        let after = card.logits(&some(7)).to_array()[2];
        let theirs = -((ACTIVE) as f32);
        assert!((after - learned).abs() < 0.35 * (theirs - learned).abs(), "{learned} became {after}");
        // Adopted over and over, it is no surer.
        let sure = card.sureness[7];
        card.adopt(&other);
        assert_eq!(card.sureness[7], sure);
        card.validate();
    }

    #[test]
    fn extremes_stay_finite() {
        let mut card = Scorecard::new(None, 1.0);
        for step in 0..100_000 {
            let used = step % 7 < 6;
            let loss = loss(card.learn(&some((step % 64) as u8), step % 4, used), used);
            assert!(loss.is_finite() && loss >= 0.0);
        }
        card.validate();
        // Outcomes that are always the same: in the end the gradient is 0, and the sum of its squares fades.
        for used in [true, false] {
            let mut card = Scorecard::new(None, 0.02);
            for _ in 0..500_000 {
                card.learn(&some(3), 1, used);
            }
            card.validate();
        }
        assert!(worth(f32x4::new([f32::MAX, -40.0, 0.0, 80.0])) <= f32::MAX);
    }

    #[test]
    fn a_worth_is_positive_and_rises_with_the_logits() {
        let worths: Vec<f32> = (-80..=20).map(|logit| worth(f32x4::splat(logit as f32 / 2.0))).collect();
        assert!(worths[0] > 0.0 && worths.is_sorted_by(|one, next| one < next), "{worths:?}");
    }
}
