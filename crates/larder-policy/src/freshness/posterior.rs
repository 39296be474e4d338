//! What is known about how often one key changes: a Gamma distribution over its rate.
//!
//! The survival function and its integral are those of a Lomax (Pareto II) distribution; the update after a censored
//! observation matches the first two moments of the exact posterior, in closed form (assumed-density filtering; Minka,
//! "A family of algorithms for approximate Bayesian inference", 2001). Observing changes by comparing copies is the
//! setting of Cho and Garcia-Molina, "Estimating frequency of change", ACM TOIT 2003.

/// More evidence than this many changes is forgotten, so that a rate that moves is followed.
const MOST_ALPHA: f64 = 60.0;
const LEAST: f64 = 1e-6;
const MOST: f64 = 1e15;

/// A Gamma(α, β) distribution over a rate in changes a second; β is in seconds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Posterior {
    alpha: f32,
    /// Grows by seconds to years: in fewer bits, it would stop.
    beta: f64,
}

impl Posterior {
    /// Γ(α, β); what is not a positive number is held within what the formulas bear.
    pub fn new(alpha: f64, beta: f64) -> Self {
        let bounded = |value: f64| if value.is_nan() { 1.0 } else { value.clamp(LEAST, MOST) };
        let (alpha, beta) = (bounded(alpha), bounded(beta));
        // Forgetting evidence keeps the mean.
        let keep = (MOST_ALPHA / alpha).min(1.0);
        Self { alpha: (alpha * keep) as f32, beta: bounded(beta * keep) }
    }

    /// α: the changes it is worth.
    pub fn alpha(self) -> f64 {
        f64::from(self.alpha)
    }

    /// β: the seconds it is worth.
    pub fn beta(self) -> f64 {
        self.beta
    }

    /// The mean rate, in changes a second.
    pub fn mean(self) -> f64 {
        self.alpha() / self.beta()
    }

    /// P(no change within `age` seconds) = (1 + h·age/β)^−α, with the hazard multiplier h.
    pub fn survival(self, age: f64, h: f64) -> f64 {
        (-self.alpha() * (exposure(age, h) / self.beta()).ln_1p()).exp()
    }

    /// ∫₀^age S = (β/h)/(α−1) · (1 − (1 + h·age/β)^(1−α)), in seconds.
    pub fn integrated_survival(self, age: f64, h: f64) -> f64 {
        let (age, h) = (age.clamp(0.0, MOST), h.clamp(LEAST, MOST));
        let (grown, power) = ((age * h / self.beta()).ln_1p(), self.alpha() - 1.0);
        // (1 − e^(−x))/power with x = power·grown, which stays exact where α is near 1.
        let x = power * grown;
        let ratio = if x.abs() < 1e-6 { grown * (1.0 - x / 2.0) } else { -(-x).exp_m1() / power };
        (self.beta() / h * ratio).min(age)
    }

    /// No change was seen within `age` seconds: β grows by the exposure.
    pub fn unchanged(&mut self, age: f64, h: f64) {
        *self = Self::new(self.alpha(), self.beta() + exposure(age, h));
    }

    /// At least one change came within `age` seconds: moments of the exact posterior.
    pub fn changed(&mut self, age: f64, h: f64) {
        let t = exposure(age, h);
        if t <= 0.0 {
            return;
        }
        let (alpha, beta) = (self.alpha(), self.beta());
        let later = beta + t;
        let log_q = -alpha * (t / beta).ln_1p();
        let some = -log_q.exp_m1();
        if some < 1e-5 {
            // To first order the change happened in the middle of a short interval.
            *self = Self::new(alpha + 1.0, beta + t / 2.0);
            return;
        }
        let q = log_q.exp();
        let mean = (alpha / beta - q * alpha / later) / some;
        let square = alpha * (alpha + 1.0);
        let second = (square / (beta * beta) - q * square / (later * later)) / some;
        // Rounding may lose a variance that is small beside the mean.
        let variance = (second - mean * mean).max(mean * mean / (alpha + 1.0) * 1e-3);
        *self = Self::new(mean * mean / variance, mean / variance);
    }

    /// A change is known to the moment, `age` seconds after the last thing known.
    pub fn changed_at(&mut self, age: f64, h: f64) {
        *self = Self::new(self.alpha() + 1.0, self.beta() + exposure(age, h));
    }

    /// Moves a share of the evidence back to the class: α = (1−s)α + s·α_class, and β alike.
    pub fn forget(&mut self, class: Self, share: f64) {
        let mix = |own: f64, of_class: f64| (1.0 - share) * own + share * of_class;
        *self = Self::new(mix(self.alpha(), class.alpha()), mix(self.beta(), class.beta()));
    }
}

fn exposure(age: f64, h: f64) -> f64 {
    let t = age * h;
    if t.is_nan() { 0.0 } else { t.clamp(0.0, MOST) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::freshness::special::ln_gamma;

    /// The density of Γ(α, β) times `weight`, integrated over ln λ with 4000 trapezoids.
    fn integrate(posterior: Posterior, weight: impl Fn(f64) -> f64) -> f64 {
        let (alpha, beta) = (posterior.alpha(), posterior.beta());
        let (low, high) = ((1e-9 / beta).ln(), (2000.0 / beta).ln());
        let step = (high - low) / 4000.0;
        let density = |log: f64| (alpha * (beta.ln() + log) - beta * log.exp() - ln_gamma(alpha)).exp();
        (0..=4000).map(|at| low + step * f64::from(at)).map(|log| density(log) * weight(log.exp()) * step).sum()
    }

    proptest! {
        #[test]
        fn survival_is_the_mean_of_exponentials(alpha in 0.6f64..40.0, beta in 1.0f64..1e6, age in 0.0f64..10.0, h in 0.1f64..8.0) {
            let posterior = Posterior::new(alpha, beta);
            let age = age * beta / alpha;
            let exact = integrate(posterior, |rate| (-rate * h * age).exp());
            prop_assert!((posterior.survival(age, h) - exact).abs() < 2e-3, "{} {exact}", posterior.survival(age, h));
            let step = age / 2000.0;
            let sum: f64 = (0..2000).map(|at| posterior.survival((f64::from(at) + 0.5) * step, h) * step).sum();
            prop_assert!((posterior.integrated_survival(age, h) - sum).abs() <= 1e-4 * sum + 1e-9);
        }

        #[test]
        fn a_censored_change_matches_the_exact_moments(alpha in 0.6f64..40.0, beta in 1.0f64..1e6, age in 1e-3f64..10.0, h in 0.1f64..8.0) {
            let before = Posterior::new(alpha, beta);
            let age = age * beta / alpha;
            let mut after = before;
            after.changed(age, h);
            let some = |rate: f64| -(-rate * h * age).exp_m1();
            let mass = integrate(before, some);
            let mean = integrate(before, |rate| rate * some(rate)) / mass;
            let second = integrate(before, |rate| rate * rate * some(rate)) / mass;
            prop_assert!((after.mean() / mean - 1.0).abs() < 0.01, "{} {mean}", after.mean());
            // Where α is held at its greatest, the variance is wider than the exact one.
            if after.alpha() < MOST_ALPHA * 0.99 {
                let variance = second - mean * mean;
                let found = after.alpha() / after.beta().powi(2);
                prop_assert!((found / variance - 1.0).abs() < 0.05, "{found} {variance}");
            }
        }

        #[test]
        fn nothing_breaks_at_the_extremes(
            alpha in prop::sample::select(vec![0.0, 1e-300, 1.0, 1e300, f64::INFINITY, f64::NAN, -1.0]),
            beta in prop::sample::select(vec![0.0, 1e-300, 1.0, 1e300, f64::INFINITY, f64::NAN, -1.0]),
            ages in prop::collection::vec(prop::sample::select(vec![0.0, 1e-12, 1.0, 1e18, f64::INFINITY, f64::NAN, -5.0]), 1..20),
            h in prop::sample::select(vec![0.0, 1e-9, 1.0, 1e9, f64::INFINITY, f64::NAN]),
        ) {
            let mut posterior = Posterior::new(alpha, beta);
            for (at, &age) in ages.iter().enumerate() {
                match at % 3 {
                    0 => posterior.changed(age, h),
                    1 => posterior.unchanged(age, h),
                    _ => posterior.changed_at(age, h),
                }
                prop_assert!(posterior.alpha() > 0.0 && posterior.beta() > 0.0 && posterior.mean().is_finite());
                let survival = posterior.survival(age, h);
                prop_assert!((0.0..=1.0).contains(&survival), "{survival}");
            }
        }
    }

    #[test]
    fn it_finds_a_rate_from_what_polls_see() {
        // A change every 100 s on average, polled every 60 s: a share 1 − e^(−0.6) of the polls sees one.
        let mut rng = crate::Rng::new(5);
        let mut posterior = Posterior::new(0.5, 1.0);
        for _ in 0..4000 {
            if rng.unit() < 1.0 - (-0.6f64).exp() {
                posterior.changed(60.0, 1.0)
            } else {
                posterior.unchanged(60.0, 1.0)
            }
        }
        // α stays below 60: a standard deviation of at least an eighth.
        assert!((posterior.mean() * 100.0 - 1.0).abs() < 0.4, "{}", posterior.mean());
    }

    #[test]
    fn short_looks_at_a_slow_key_count() {
        // One change in two months, looked for five times a second.
        let mut posterior = Posterior::new(60.0, 3e8);
        (0..50_000_000).for_each(|_| posterior.unchanged(0.2, 1.0));
        assert!((posterior.beta() / 3.1e8 - 1.0).abs() < 1e-6, "{}", posterior.beta());
    }

    #[test]
    fn a_posterior_takes_sixteen_bytes() {
        assert_eq!(size_of::<Posterior>(), 16);
    }
}
