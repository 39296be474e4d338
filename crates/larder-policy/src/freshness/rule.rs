//! When to reload: the index rule, one threshold θ for the whole cache.
//!
//! Serving a value of age a costs its chance p(a) of being stale, and keeps the renewal going. Minimising loads under a
//! budget of stale reads (one multiplier) gives: serve while
//!
//! I(a) = p(a) + r·∫₀ᵃ (p(a) − p(t)) dt < θ,
//!
//! r being the key's read rate. It is the Lagrangian optimum of a renewal cycle that ends at the first read after a,
//! for which loads a read are 1/(1 + r·a); compare Azar, Horvitz, Lubetzky, Peres, Shahaf, "Tractable near-optimal
//! policies for crawling", PNAS 2018. With a constant hazard λ: ρ = r/λ and T = (√(1 + 2ρθ) − 1)/r for small λT.

/// A hazard that is constant over a value's life.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Hazard {
    /// Changes expected over the life so far.
    pub expected: f64,
    /// Seconds of that life.
    pub age: f64,
}

impl Hazard {
    /// The chance that the value is stale: 1 − e^−Λ.
    #[inline]
    pub fn stale(self) -> f64 {
        -(-self.expected).exp_m1()
    }

    /// I(a) for reads at `rate` a second; with a grace of `grace` seconds, `self` being the life without it:
    /// I = p(1 + r·Δ) + r∫(p − p(t))dt.
    #[inline]
    pub fn index(self, rate: f64, grace: f64) -> f64 {
        let l = self.expected;
        if self.age <= 0.0 || l <= 0.0 {
            return 0.0;
        }
        let bounded = |product: f64| if product.is_nan() { 0.0 } else { product.clamp(0.0, 1e12) };
        let reads = bounded(rate * self.age);
        let survives = (-l).exp();
        let stale = 1.0 - survives;
        // ∫₀ᵃ(p(a) − p(t))dt = a·(p − Λe^−Λ)/Λ for a constant hazard; Λ/2·a where Λ is small.
        let integral = if l < 1e-3 { l * (0.5 - l / 3.0) } else { (stale - l * survives) / l };
        let stale = if l < 1e-3 { l * (1.0 - l / 2.0) } else { stale };
        stale * (1.0 + bounded(rate * grace)) + reads * integral
    }
}

/// Longer than anything lives, in seconds.
const LONGEST: f64 = 1e12;

/// The T with I(T) = θ under a constant hazard of `hazard` changes a second and `rate` reads a second: the logical
/// lifetime in seconds, `f64::INFINITY` where the rule never reloads (θ ≥ 1 + ρ).
pub fn lifetime(hazard: f64, rate: f64, threshold: f64) -> f64 {
    let index = |age: f64| Hazard { expected: hazard * age, age }.index(rate, 0.0);
    let is_sound = hazard > 0.0 && hazard.is_finite() && rate >= 0.0 && rate.is_finite();
    if !is_sound || threshold.is_nan() || threshold >= 1.0 + rate / hazard {
        return f64::INFINITY;
    }
    if threshold <= 0.0 {
        return 0.0;
    }
    // The closed form for small λT is where Newton's method on ln T starts: d ln I/d ln T lies between 1 and 2 there.
    let ratio = rate / hazard;
    let mut age = if ratio * threshold < 1e-6 {
        threshold / hazard
    } else {
        ((1.0 + 2.0 * ratio * threshold).sqrt() - 1.0) / rate
    };
    for _ in 0..12 {
        age = if age.is_nan() { LONGEST } else { age.clamp(1e-9, LONGEST) };
        let found = index(age);
        let error = (found / threshold).ln();
        if error.abs() < 1e-4 {
            break;
        }
        // I′ = p′(1 + r·T), p′ = λe^−λT.
        let slope = (hazard * age * (-hazard * age).exp() * (1.0 + rate * age) / found).max(0.05);
        age *= (-error / slope).clamp(-1.5, 1.5).exp();
    }
    age.min(LONGEST)
}

/// Whether a read past its value's lifetime is better served what is cached, while that is refreshed, than made to wait for the same load. It is
/// stale with the chance `stale`, and under θ a stale read is worth 1/θ loads (see above): iff p/θ < latency/load, `loads_per_wait` being what a load
/// costs in units of what a reader's wait for it costs.
pub fn refresh_ahead_pays(stale: f64, threshold: f64, loads_per_wait: f64) -> bool {
    stale * loads_per_wait.max(0.0) < threshold
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn the_index_is_its_integral(hazard in 1e-6f64..1.0, age in 1e-3f64..1e4, rate in 0.0f64..10.0, grace in 0.0f64..10.0) {
            let p = |t: f64| 1.0 - (-hazard * t).exp();
            // Finer than both the age and the time between changes.
            let step = age / 200_000.0;
            let integral: f64 = (0..200_000).map(|at| (p(age) - p((f64::from(at) + 0.5) * step)) * step).sum();
            let exact = p(age) * (1.0 + rate * grace) + rate * integral;
            let found = Hazard { expected: hazard * age, age }.index(rate, grace);
            prop_assert!((found - exact).abs() <= 1e-3 * exact + 1e-9, "{found} {exact}");
        }

        #[test]
        fn the_lifetime_meets_the_threshold(hazard in 1e-8f64..1.0, rate in 1e-6f64..100.0, threshold in 1e-4f64..0.5) {
            let lifetime = lifetime(hazard, rate, threshold);
            prop_assume!(lifetime.is_finite());
            let index = Hazard { expected: hazard * lifetime, age: lifetime }.index(rate, 0.0);
            prop_assert!((index / threshold - 1.0).abs() < 1e-3, "{index} {threshold}");
            // The closed form holds while few changes are expected within a life.
            if hazard * lifetime < 0.02 {
                let closed = ((1.0 + 2.0 * rate / hazard * threshold).sqrt() - 1.0) / rate;
                prop_assert!((lifetime / closed - 1.0).abs() < 0.05, "{lifetime} {closed}");
            }
        }

        #[test]
        fn extremes_are_borne(
            expected in prop::sample::select(vec![0.0, 1e-300, 1.0, 1e300]),
            age in prop::sample::select(vec![0.0, 1e-300, 1.0, 1e300]),
            rate in prop::sample::select(vec![0.0, 1.0, f64::INFINITY]),
        ) {
            let index = Hazard { expected, age }.index(rate, 0.0);
            prop_assert!(index >= 0.0 && index.is_finite(), "{index}");
            prop_assert!(!lifetime(expected, rate.min(1e9), 0.01).is_nan());
        }
    }

    /// The rule against every other pair of lifetimes, by simulation of two keys: none with as few stale reads loads less.
    #[test]
    fn no_other_pair_of_lifetimes_loads_less() {
        let keys = [(1.0, 0.001), (0.05, 0.02)];
        // Loads and stale reads a second of a key that lives T after each load (renewal: T and the wait for a read).
        let cost = |(rate, hazard): (f64, f64), t: f64| {
            let cycle = t + 1.0 / rate;
            let stale = rate * (t - (1.0 - (-hazard * t).exp()) / hazard);
            (1.0 / cycle, stale / cycle)
        };
        let total = |a: f64, b: f64| {
            let (one, other) = (cost(keys[0], a), cost(keys[1], b));
            (one.0 + other.0, one.1 + other.1)
        };
        let threshold = 0.05;
        let ruled = keys.map(|(rate, hazard)| lifetime(hazard, rate, threshold));
        let (loads, stale) = total(ruled[0], ruled[1]);
        for step in -40..=40 {
            let a = ruled[0] * 1.1f64.powi(step);
            // The other key spends what is left of the budget.
            let (mut short, mut long) = (0.0, 1e5);
            for _ in 0..80 {
                let middle = (short + long) / 2.0;
                if total(a, middle).1 < stale { short = middle } else { long = middle }
            }
            let other = total(a, short);
            assert!(
                other.1 > stale * 1.001 || other.0 >= loads * 0.9999,
                "{a} {short}: {other:?} beside {loads} {stale}"
            );
        }
    }

    #[test]
    fn refresh_ahead_pays_where_little_is_stale() {
        assert!(refresh_ahead_pays(0.01, 0.1, 5.0) && !refresh_ahead_pays(0.03, 0.1, 5.0));
        assert!(!refresh_ahead_pays(0.0, 0.1, f64::INFINITY) && !refresh_ahead_pays(f64::NAN, 0.1, 1.0));
    }
}
