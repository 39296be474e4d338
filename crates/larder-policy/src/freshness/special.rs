//! The special functions the formulas need, each to the accuracy its test states.

/// The mean of a Poisson count of mean `expected` that is known not to be 0: Λ/(1 − e^−Λ).
pub(super) fn given_some(expected: f64) -> f64 {
    // The quotient of two of the smallest numbers is none.
    if expected < 1e-12 { 1.0 } else { expected / -(-expected).exp_m1() }
}

/// ψ(x), the derivative of ln Γ, for x > 0: recurrence up to 6, then the asymptotic series (Abramowitz, Stegun 6.3.18).
pub(super) fn digamma(x: f64) -> f64 {
    let (mut x, mut sum) = (x.max(1e-6), 0.0);
    while x < 6.0 {
        sum -= 1.0 / x;
        x += 1.0;
    }
    let square = 1.0 / (x * x);
    sum + x.ln() - 0.5 / x - square * (1.0 / 12.0 - square * (1.0 / 120.0 - square / 252.0))
}

/// ψ′(x) for x > 0 (Abramowitz, Stegun 6.4.12).
pub(super) fn trigamma(x: f64) -> f64 {
    let (mut x, mut sum) = (x.max(1e-6), 0.0);
    while x < 6.0 {
        sum += 1.0 / (x * x);
        x += 1.0;
    }
    let square = 1.0 / (x * x);
    sum + 1.0 / x + square / 2.0 + square / x * (1.0 / 6.0 - square * (1.0 / 30.0 - square / 42.0))
}

/// The x with ψ′(x) = `y`, by Newton's method on 1/ψ′, which is nearly linear (Minka, "Estimating a Gamma
/// distribution", 2002).
pub(super) fn inverse_trigamma(y: f64) -> f64 {
    let y = y.clamp(1e-6, 1e6);
    let mut x = 0.5 + 1.0 / y;
    for _ in 0..10 {
        let value = trigamma(x);
        // ψ″ by a central difference: Newton only needs its direction and scale.
        let step = 1e-4 * x;
        let slope = (trigamma(x + step) - trigamma(x - step)) / (2.0 * step);
        x = (x + value * (1.0 - value / y) / slope).max(1e-6);
    }
    x
}

/// The quantile of a χ² distribution with `degrees` of freedom, not necessarily whole, at z standard deviations of a
/// normal (Wilson, Hilferty 1931); within 2 % from ten degrees on; with fewer, low quantiles come
/// out too low, which widens an interval.
pub(super) fn chi_square(degrees: f64, z: f64) -> f64 {
    let part = 2.0 / (9.0 * degrees.max(1e-9));
    let root = 1.0 - part + z * part.sqrt();
    if root <= 0.0 { 0.0 } else { degrees * root.powi(3) }
}

/// The normal quantile of a two-sided interval of 95 %.
pub(super) const Z_95: f64 = 1.959_963_984_540_054;

/// ln Γ(x) by Stirling's series, for tests of the posterior by integration.
#[cfg(test)]
pub(super) fn ln_gamma(x: f64) -> f64 {
    let (mut x, mut shift) = (x, 0.0);
    while x < 9.0 {
        shift -= x.ln();
        x += 1.0;
    }
    shift + (x - 0.5) * x.ln() - x + 0.5 * (2.0 * std::f64::consts::PI).ln() + 1.0 / (12.0 * x)
        - 1.0 / (360.0 * x.powi(3))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_values() {
        // ψ(1) = −γ, ψ(1/2) = −γ − 2 ln 2, ψ′(1) = π²/6, ψ′(1/2) = π²/2.
        let gamma = 0.577_215_664_901_532_9;
        let square = std::f64::consts::PI.powi(2);
        assert!((digamma(1.0) + gamma).abs() < 1e-8 && (digamma(0.5) + gamma + 2.0 * 2f64.ln()).abs() < 1e-8);
        assert!((trigamma(1.0) - square / 6.0).abs() < 1e-7 && (trigamma(0.5) - square / 2.0).abs() < 1e-7);
        assert!((ln_gamma(0.5) - square.ln() / 4.0).abs() < 1e-7 && (ln_gamma(5.0) - 24f64.ln()).abs() < 1e-7);
    }

    #[test]
    fn a_count_that_is_not_none() {
        assert_eq!((given_some(0.0), given_some(1e-300), given_some(f64::INFINITY)), (1.0, 1.0, f64::INFINITY));
        // By its definition: Σ k·p(k) over Σ p(k), k ≥ 1.
        for expected in [1e-3f64, 0.5, 3.0] {
            let (mut p, mut sum, mut all) = ((-expected).exp(), 0.0, 0.0);
            for k in 1..60 {
                p *= expected / f64::from(k);
                (sum, all) = (sum + f64::from(k) * p, all + p);
            }
            assert!((given_some(expected) / (sum / all) - 1.0).abs() < 1e-9, "{expected}");
        }
    }

    #[test]
    fn the_inverse_inverts() {
        for x in [0.05, 0.3, 1.0, 2.5, 20.0, 300.0] {
            assert!((inverse_trigamma(trigamma(x)) / x - 1.0).abs() < 1e-3, "{x}: {}", inverse_trigamma(trigamma(x)));
        }
    }

    #[test]
    fn quantiles_of_tables() {
        // χ² at 2.5 % and 97.5 %, from tables.
        for (degrees, low, high) in [(2.0, 0.0506, 7.378), (10.0, 3.247, 20.483), (40.0, 24.433, 59.342)] {
            let found = chi_square(degrees, Z_95);
            assert!((found / high - 1.0).abs() < 0.02, "{degrees}: {found}");
            let found = chi_square(degrees, -Z_95);
            assert!(found < low * 1.02 && (degrees < 10.0 || found > low * 0.98), "{degrees}: {found}");
        }
    }
}
