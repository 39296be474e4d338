//! Arms compared by what ghosts cannot see: latency, loads of the origin, staleness.
//!
//! Shards were assigned at random, so under the null hypothesis any other assignment was as likely: the share of assignments at least as
//! extreme as the real one is an exact p-value, however the values are distributed (Fisher, "The Design of Experiments", 1935).

use super::effect::{Interval, sum_of_variances};
use super::normal::student_quantile;
use crate::Rng;

/// Assignments drawn: a p-value of 0.0002 can still be told from 0.
const DRAWS: u32 = 9999;
/// The smallest p-value there is.
pub(crate) const LEAST_P: f64 = 1.0 / (DRAWS + 1) as f64;

/// Two arms, by the values of their shards.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Comparison {
    /// The treatment's mean value.
    pub treatment: f64,
    /// The control's.
    pub control: f64,
    /// The probability of a treatment mean so large, beside the control's, if the treatment did not raise it by more than the margin.
    pub p_more: f64,
    /// The probability of one so small, if the treatment did not lower it: the margin counts here too.
    pub p_less: f64,
    /// The standard error of the ratio of the means, and its degrees of freedom.
    error: (f64, f64),
}

impl Comparison {
    /// By what share the treatment's mean is larger; `None` where the control's is 0.
    pub fn change(&self) -> Option<f64> {
        (self.control > 0.0).then(|| self.treatment / self.control - 1.0)
    }

    /// Where that share lies, at level 1 − `alpha` for who looks once: the variance of a ratio of means by linearisation, with Student's t.
    pub fn change_within(&self, alpha: f64) -> Option<Interval> {
        let (error, df) = self.error;
        self.change().map(|change| Interval::around(change, error * student_quantile(alpha / 2.0, df)))
    }
}

/// Compares the mean values of shards. The treatment may be larger by the share `margin`. `None` where an arm has no shards.
pub fn compare(treatment: &[f64], control: &[f64], margin: f64, seed: u64) -> Option<Comparison> {
    if treatment.is_empty() || control.is_empty() {
        return None;
    }
    let mut values: Vec<f64> =
        treatment.iter().map(|value| value / (1.0 + margin)).chain(control.iter().copied()).collect();
    let treated = treatment.len();
    let observed: f64 = values[..treated].iter().sum();
    // Sums in another order differ in their last digits.
    let [low, high] = [-1.0, 1.0].map(|side| observed + side * 1e-12 * observed.abs());
    let mut rng = Rng::new(seed);
    let (mut as_large, mut as_small) = (0u32, 0u32);
    for _ in 0..DRAWS {
        for at in 0..treated {
            let other = at + rng.below((values.len() - at) as u32) as usize;
            values.swap(at, other);
        }
        let sum: f64 = values[..treated].iter().sum();
        as_large += u32::from(sum >= low);
        as_small += u32::from(sum <= high);
    }
    let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
    let (treatment_mean, control_mean) = (mean(treatment), mean(control));
    // (T/C)² · (Var T/T² + Var C/C²), as what each adds.
    let parts = [(treatment, 1.0 / control_mean), (control, treatment_mean / (control_mean * control_mean))];
    let parts = parts.map(|(values, weight)| {
        let (mean, count) = (mean(values), values.len() as f64);
        let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
        // Of a single shard nothing is known but its value.
        let variance = if count > 1.0 { squares / (count - 1.0) / count } else { mean * mean };
        (weight * weight * variance, (count - 1.0).max(1.0))
    });
    let (variance, df) = sum_of_variances(&parts);
    let p = |extreme: u32| f64::from(extreme + 1) / f64::from(DRAWS + 1);
    Some(Comparison {
        treatment: treatment_mean,
        control: control_mean,
        p_more: p(as_large),
        p_less: p(as_small),
        error: (variance.sqrt(), df),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn p_values_are_uniform_without_an_effect_and_small_with_one() {
        let mut rng = Rng::new(8);
        let (mut below, runs) = (0, 400);
        for run in 0..runs {
            // Skewed, as latencies are.
            let values: Vec<f64> = (0..64).map(|_| 1.0 / (0.05 + rng.unit())).collect();
            below += u32::from(compare(&values[..32], &values[32..], 0.0, run).unwrap().p_more <= 0.05);
        }
        // 20 expected; five standard deviations are 22.
        assert!(below.abs_diff(20) < 22, "{below}");

        let control: Vec<f64> = (0..32).map(|_| 100.0 + rng.unit()).collect();
        let slower: Vec<f64> = control.iter().map(|value| value * 1.06).collect();
        let comparison = compare(&slower, &control, 0.05, 1).unwrap();
        assert!(comparison.p_more < 0.001 && comparison.p_less > 0.999, "{comparison:?}");
        assert!((comparison.change().unwrap() - 0.06).abs() < 0.001);
        assert!(compare(&control, &slower, 0.0, 1).unwrap().p_less < 0.001);
        assert!(compare(&slower, &control, 0.10, 1).unwrap().p_more > 0.9);
        assert_eq!(compare(&[], &control, 0.0, 1), None);
    }

    #[test]
    fn the_change_lies_within_its_interval_as_often_as_it_should() {
        let mut rng = Rng::new(3);
        let (mut outside, runs) = (0, 400);
        for run in 0..runs {
            let mut arm = |mean: f64| -> Vec<f64> { (0..32).map(|_| mean * (0.5 + rng.unit())).collect() };
            let (treatment, control) = (arm(1.1), arm(1.0));
            let within = compare(&treatment, &control, 0.0, run).unwrap().change_within(0.05).unwrap();
            outside += i32::from(within.low > 0.1 || within.high < 0.1);
        }
        // 20 expected; four standard deviations are 17.
        assert!((outside - 20i32).abs() < 18, "{outside}");
        // 2 and 4 beside 1 and 1: a mean of 3 with an error of 1, and no error in the control.
        let comparison = compare(&[2.0, 4.0], &[1.0, 1.0], 0.0, 1).unwrap();
        assert!((comparison.error.0 - 1.0).abs() < 1e-12 && (comparison.error.1 - 1.0).abs() < 1e-12, "{comparison:?}");
    }

    #[test]
    fn small_arms_by_counting() {
        // Of the 3 assignments of one shard, one is as extreme.
        let comparison = compare(&[3.0], &[1.0, 2.0], 0.0, 1).unwrap();
        assert!((comparison.p_more - 1.0 / 3.0).abs() < 0.03, "{comparison:?}");
        assert_eq!(compare(&[1.0], &[1.0, 1.0], 0.0, 1).unwrap().p_more, 1.0);
    }
}
