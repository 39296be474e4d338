//! Quantiles and tails of the normal distribution, and of Student's.

use std::f64::consts::PI;

/// The upper tail: the probability of more than `z`. Relative error below 1.2e-7 (Press et al., Numerical Recipes, `erfcc`).
pub(crate) fn upper_tail(z: f64) -> f64 {
    let x = z.abs() / std::f64::consts::SQRT_2;
    let t = 1.0 / (1.0 + 0.5 * x);
    const C: [f64; 10] = [
        -1.265_512_23,
        1.000_023_68,
        0.374_091_96,
        0.096_784_18,
        -0.186_288_06,
        0.278_868_07,
        -1.135_203_98,
        1.488_515_87,
        -0.822_152_23,
        0.170_872_77,
    ];
    let series = C.iter().rev().fold(0.0, |sum, c| sum * t + c);
    let tail = 0.5 * t * (series - x * x).exp();
    if z >= 0.0 { tail } else { 1.0 - tail }
}

/// The value exceeded with probability `tail`, within (0, 1).
pub(crate) fn upper_quantile(tail: f64) -> f64 {
    // The tail falls everywhere; 64 halvings of [-40, 40] are exact to the last digits of an f64.
    let (mut low, mut high) = (-40.0, 40.0);
    for _ in 0..64 {
        let middle = 0.5 * (low + high);
        if upper_tail(middle) > tail { low = middle } else { high = middle }
    }
    0.5 * (low + high)
}

/// The same for Student's t with `df` degrees of freedom: exact for one, else by Cornish and Fisher's expansion (Abramowitz, Stegun 26.7.5), within
/// 1 % at the tails used here.
pub(crate) fn student_quantile(tail: f64, df: f64) -> f64 {
    let z = upper_quantile(tail);
    let df = df.max(1.0);
    if df <= 1.0 {
        return (PI * (0.5 - tail)).tan();
    }
    let [z3, z5, z7, z9] = [3, 5, 7, 9].map(|power| z.powi(power));
    let terms = [
        (z3 + z) / 4.0,
        (5.0 * z5 + 16.0 * z3 + 3.0 * z) / 96.0,
        (3.0 * z7 + 19.0 * z5 + 17.0 * z3 - 15.0 * z) / 384.0,
        (79.0 * z9 + 776.0 * z7 + 1482.0 * z5 - 1920.0 * z3 - 945.0 * z) / 92_160.0,
    ];
    terms.iter().rev().fold(0.0, |sum, term| (sum + term) / df) + z
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_values() {
        assert!((upper_tail(1.959_963_985) - 0.025).abs() < 1e-7);
        assert!((upper_tail(-1.0) - 0.841_344_746).abs() < 1e-6);
        assert!((upper_quantile(0.01) - 2.326_347_874).abs() < 1e-5);
        assert!((upper_quantile(0.5)).abs() < 1e-5);
        // Tables of Student's t.
        for (df, t) in [
            (1.0, 12.7062),
            (2.0, 4.3027),
            (3.0, 3.1824),
            (4.0, 2.7764),
            (5.0, 2.5706),
            (10.0, 2.2281),
            (30.0, 2.0423),
            (62.0, 1.9990),
        ] {
            assert!((student_quantile(0.025, df) / t - 1.0).abs() < 0.01, "{df}");
        }
    }
}
