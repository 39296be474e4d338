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

/// The same beside an expected number of uses, which nothing but a logit below -40 leaves without an order.
const LEAST_TIE: f32 = 1e-18;

/// How much a use expected in a span counts beside one in the span before it, in a rate of use.
const LATER: f32 = 1.0 / 16.0;

/// How the logits of the spans become one number to rank by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Measure {
    /// A mean of the probabilities of use within each horizon.
    Chance,
    /// The uses expected in the nearest span, and a little of those after it: what is heavy takes the room of many, and has to be used
    /// so much sooner and more often that its chance of any use is no measure (hit density: Beckmann et al., NSDI 2018).
    Rate,
}

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

    /// What an entry is worth.
    #[inline]
    pub(crate) fn worth(&self, features: &Features, measure: Measure) -> f32 {
        measure.of(self.logits(features))
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
            *sureness = self.start + (*sureness - self.start) * FADE + gradient * gradient;
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

/// The uses expected in each span, from its logit: as many as a steady rate must have for that chance of at least one.
#[inline]
fn expected(logits: Weights) -> Weights {
    let (one, two) = (f32x4::splat(1.0), f32x4::splat(2.0));
    // ln(1 + e^l) = max(l, 0) + ln(1 + x), and ln(1 + x) = 2 artanh(x / (2 + x)), whose series is exact to 1e-5 of itself, however small.
    let x = exp(-logits.abs());
    let part = x / (two + x);
    let square = part * part;
    let series =
        one + square * (f32x4::splat(1.0 / 3.0) + square * (f32x4::splat(0.2) + square * f32x4::splat(1.0 / 7.0)));
    logits.max(f32x4::ZERO) + two * part * series
}

impl Measure {
    /// Of the logits of the spans: positive, and more with each of them.
    #[inline]
    pub(crate) fn of(self, logits: Weights) -> f32 {
        let one = f32x4::splat(1.0);
        // In (0, 2): what a score is multiplied with must not turn the order round.
        let place = one + logits / (one + logits.abs());
        let told = match self {
            Self::Chance => (one - unused(logits)) * f32x4::new(MIX) + place * f32x4::splat(TIE),
            Self::Rate => {
                const SHARES: [f32; 4] = [1.0, LATER, LATER * LATER, LATER * LATER * LATER];
                (expected(logits) + place * f32x4::splat(LEAST_TIE)) * f32x4::new(SHARES)
            }
        };
        told.reduce_add()
    }
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
        let worths: Vec<_> = (0..64).map(|age| card.worth(&some(age), Measure::Chance)).collect();
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
        // Rare uses tell little each, but are not forgotten for that.
        let mut card = Scorecard::new(Some(&prior), 0.05);
        (0..100_000).for_each(|_| _ = card.learn(&some(7), 2, rng.below(100) == 0));
        let (learned, own) = (card.logits(&some(7)).to_array()[2], card.sureness[7] - 30.0);
        card.adopt(&other);
        let after = card.logits(&some(7)).to_array()[2];
        assert!(
            own > 10.0 && (after - learned).abs() < 0.7 * (theirs - learned).abs(),
            "{learned} became {after}, {own}"
        );
        let mut card = Scorecard::new(Some(&prior), 0.05);
        (0..50_000).for_each(|_| _ = card.learn(&some(7), 2, rng.below(10) == 0));
        card.adopt(&other);
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
        for measure in [Measure::Chance, Measure::Rate] {
            let worth = measure.of(f32x4::new([f32::MAX, -40.0, 0.0, 80.0]));
            assert!(worth > 0.0 && worth.is_finite(), "{measure:?}: {worth}");
        }
    }

    #[test]
    fn a_worth_is_positive_and_rises_with_the_logits() {
        for measure in [Measure::Chance, Measure::Rate] {
            let worths: Vec<f32> = (-100..=20).map(|logit| measure.of(f32x4::splat(logit as f32 / 2.0))).collect();
            assert!(worths[0] > 0.0 && worths.is_sorted_by(|one, next| one < next), "{measure:?}: {worths:?}");
        }
    }

    #[test]
    fn a_rate_counts_the_uses_of_steady_traffic() {
        // One use in so many units of time, seen or not in the nearest span.
        for uses in [1e-6f64, 0.01, 0.5, 3.0, 12.0] {
            let used = -(-uses).exp_m1();
            let logit = (used / (1.0 - used)).ln() as f32;
            let told = f64::from(Measure::Rate.of(f32x4::new([logit, -90.0, -90.0, -90.0])));
            assert!((told / uses - 1.0).abs() < 2e-3, "{uses}: {told}");
        }
        // A chance hardly tells the last two apart.
        let chances = [3.0, 12.0].map(|logit| Measure::Chance.of(f32x4::splat(logit)));
        assert!(chances[1] < 1.1 * chances[0], "{chances:?}");
    }
}
