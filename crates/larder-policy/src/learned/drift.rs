//! Whether the model has lost touch with the traffic: whether it goes on foretelling worse than somebody who only knows how often entries
//! are used.
//!
//! That is told by a cumulative sum (Page, Biometrika 41, 1954) of what the model loses on an example more than that somebody, who learns
//! the share of uses in each span as the examples come. Where nothing can be foretold, as in random traffic, the model loses a little
//! more than the base rate, and in new traffic much more for a while: a slack and a threshold leave room for both.

use super::HORIZONS;

/// What the model may lose more on an example, in nats, before the sum grows.
const SLACK: f64 = 0.05;
/// The most that an example adds: none tells much by itself, however sure the model was.
const MOST: f64 = 4.0;
/// The sum that is drift, in nats.
const ALARM: f64 = 200.0;
/// Examples over which a span's share of uses is a mean.
const MEMORY: f64 = 256.0;

/// Of one span: the share of uses, and over how many examples.
#[derive(Clone, Copy, Debug)]
struct Rate {
    used: f64,
    examples: f64,
}

impl Rate {
    /// What who says the share of uses loses on an example, in nats, before learning from it.
    fn learn(&mut self, used: bool) -> f64 {
        let happened = if used { self.used } else { 1.0 - self.used };
        // Never 0 or 1: it starts between them, and each example moves it by a part of the way.
        self.examples = (self.examples + 1.0).min(MEMORY);
        self.used += (f64::from(u8::from(used)) - self.used) / self.examples;
        -happened.ln()
    }
}

#[derive(Clone, Debug)]
pub(crate) struct Drift {
    sum: f64,
    rates: [Rate; HORIZONS.len()],
}

impl Drift {
    pub(crate) fn new() -> Self {
        // As if one had been used and one not.
        Self { sum: 0.0, rates: [Rate { used: 0.5, examples: 2.0 }; HORIZONS.len()] }
    }

    /// An example, and what the model lost on it, in nats.
    pub(crate) fn note(&mut self, span: usize, used: bool, lost: f64) {
        let more = lost - self.rates[span].learn(used);
        // A loss that is not a number counts as the most there is.
        self.sum = (self.sum + more.min(MOST) - SLACK).max(0.0);
    }

    /// How far the sum is on its way to what is drift: from 1 on, it is.
    pub(crate) fn level(&self) -> f64 {
        self.sum / ALARM
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Rng;

    /// The highest level, and the first example that is drift, where uses have the probabilities of `truth` and the model says `said`.
    fn watched(
        seed: u64,
        examples: usize,
        truth: impl Fn(usize) -> f64,
        said: impl Fn(usize) -> f64,
    ) -> (f64, Option<usize>) {
        let (mut drift, mut rng) = (Drift::new(), Rng::new(seed));
        let (mut highest, mut first) = (0.0f64, None);
        for at in 0..examples {
            let used = rng.unit() < truth(at);
            let probability = if used { said(at) } else { 1.0 - said(at) };
            drift.note(at % HORIZONS.len(), used, -probability.ln());
            highest = highest.max(drift.level());
            if drift.level() >= 1.0 {
                first.get_or_insert(at);
            }
        }
        (highest, first)
    }

    #[test]
    fn who_says_no_less_than_the_base_rate_never_drifts() {
        for seed in 1..=20 {
            for rate in [0.001, 0.1, 0.5, 0.9] {
                let (highest, _) = watched(seed, 50_000, |_| rate, |_| rate);
                assert!(highest < 0.25, "{seed} {rate}: {highest}");
                // A little off, as a learner is: the odds by a third.
                let odds = |at: usize| rate / (1.0 - rate) * [1.33, 0.75][at % 2];
                let (highest, _) = watched(seed, 50_000, |_| rate, |at| odds(at) / (1.0 + odds(at)));
                assert!(highest < 0.75, "{seed} {rate}: {highest}");
            }
        }
    }

    #[test]
    fn who_goes_on_saying_what_was_true_once_is_found_out() {
        for seed in 1..=20 {
            let (_, first) = watched(seed, 20_000, |at| if at < 10_000 { 0.9 } else { 0.1 }, |_| 0.9);
            let after = first.unwrap() - 10_000;
            assert!((50..600).contains(&after), "{seed}: after {after}");
        }
    }

    #[test]
    fn what_is_not_a_number_is_drift() {
        for lost in [f64::NAN, f64::INFINITY] {
            let mut drift = Drift::new();
            (0..60).for_each(|_| drift.note(3, true, lost));
            assert!(drift.level() >= 1.0, "{lost}");
        }
    }
}
