//! What a key is taken for before it is known: its class, which backs off to all keys.
//!
//! Empirical Bayes on the logarithm of the rate: a class keeps the mean of its keys' E[ln λ] and the mean of their spread
//! around it, own uncertainty included. Γ(α, β) has E[ln λ] = ψ(α) − ln β and Var[ln λ] = ψ′(α), so both invert exactly.
//! A class of n observations counts n/(n + 10) against all keys together.

use super::posterior::Posterior;
use super::special::{digamma, inverse_trigamma, trigamma};

/// Observations at which a class counts as much as all keys together.
const BACK_OFF: f64 = 10.0;
/// Observations a class remembers.
pub(super) const MEMORY: f64 = 500.0;
/// Standard deviation of ln λ that nobody knows anything about: rates of seconds to weeks.
const UNKNOWN_SPREAD: f64 = 3.0;
/// The rate nobody knows anything about: once an hour.
const UNKNOWN_RATE: f64 = 1.0 / 3600.0;

/// The spread of change rates over keys, as two moments of ln λ.
#[derive(Clone, Copy, Debug)]
pub(super) struct Prior {
    mean: f64,
    variance: f64,
    seen: f64,
}

/// The first two moments of ln λ of one key.
#[derive(Clone, Copy, Debug)]
pub(super) struct LogRate {
    mean: f64,
    variance: f64,
}

impl From<Posterior> for LogRate {
    fn from(key: Posterior) -> Self {
        let variance = trigamma(key.alpha()).min(UNKNOWN_SPREAD * UNKNOWN_SPREAD);
        Self { mean: digamma(key.alpha()) - key.beta().ln(), variance }
    }
}

impl Default for Prior {
    fn default() -> Self {
        Self { mean: UNKNOWN_RATE.ln(), variance: UNKNOWN_SPREAD * UNKNOWN_SPREAD, seen: 0.0 }
    }
}

impl Prior {
    /// Learns from what is known of a key; `weight` falls with a key's number of observations, so that no key dominates.
    pub(super) fn observe(&mut self, key: LogRate, weight: f64) {
        self.seen = (self.seen + weight).min(MEMORY);
        let step = weight / (self.seen + 2.0);
        let off = key.mean - self.mean;
        self.mean += step * off;
        self.variance += step * (off * off + key.variance - self.variance);
    }

    /// This class where it is known, `all` where it is not.
    #[must_use]
    pub(super) fn backed_by(self, all: Self) -> Self {
        let share = self.seen / (self.seen + BACK_OFF);
        let mix = |own: f64, of_all: f64| share * own + (1.0 - share) * of_all;
        Self { mean: mix(self.mean, all.mean), variance: mix(self.variance, all.variance), seen: self.seen }
    }

    /// From its moments, counted as so many observations.
    pub(super) fn of(mean: f64, variance: f64, seen: f64) -> Self {
        Self { mean, variance, seen }
    }

    /// Mean and variance of ln λ, and the observations behind them.
    pub(super) fn moments(self) -> (f64, f64, f64) {
        (self.mean, self.variance, self.seen)
    }

    /// The mean of ln λ, λ in changes a second.
    pub(super) fn log_rate(self) -> f64 {
        self.mean
    }

    /// The Gamma distribution with these moments.
    pub(super) fn gamma(self) -> Posterior {
        let alpha = inverse_trigamma(self.variance.clamp(0.05, 16.0));
        Posterior::new(alpha, (digamma(alpha) - self.mean).exp())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_finds_the_spread_of_rates() {
        // Well-known keys, half of which change every minute and half every hour.
        let mut prior = Prior::default();
        for at in 0..2000 {
            let rate: f64 = if at % 2 == 0 { 1.0 / 60.0 } else { 1.0 / 3600.0 };
            prior.observe(Posterior::new(50.0, 50.0 / rate).into(), 1.0);
        }
        let (one, other) = ((1.0f64 / 60.0).ln(), (1.0f64 / 3600.0).ln());
        assert!((prior.log_rate() - (one + other) / 2.0).abs() < 0.1);
        let spread = (one - other).powi(2) / 4.0;
        assert!((prior.variance - spread).abs() < 0.2, "{} {spread}", prior.variance);
        let gamma = prior.gamma();
        assert!((digamma(gamma.alpha()) - gamma.beta().ln() - prior.log_rate()).abs() < 0.01);
    }

    #[test]
    fn a_new_class_is_taken_for_all() {
        let mut all = Prior::default();
        (0..500).for_each(|_| all.observe(Posterior::new(50.0, 5000.0).into(), 1.0));
        let mut class = Prior::default();
        assert_eq!(class.backed_by(all).gamma(), all.gamma());
        (0..500).for_each(|_| class.observe(Posterior::new(50.0, 50.0).into(), 1.0));
        assert!(class.backed_by(all).gamma().mean() > 0.5);
    }
}
