//! Arms compared by what ghosts cannot see: latency, loads of the origin, staleness.
//!
//! Shards were assigned at random, so under the null hypothesis any other assignment was as likely: the share of assignments at least as
//! extreme as the real one is an exact p-value, however the values are distributed (Fisher, "The Design of Experiments", 1935).

use super::effect::{Gain, Interval, Ratio, sum_of_variances};
use super::normal::student_quantile;
use crate::Rng;

/// Assignments drawn: a p-value of 0.0002 can still be told from 0.
const DRAWS: u32 = 9999;
/// The smallest p-value there is.
pub(crate) const LEAST_P: f64 = 1.0 / (DRAWS + 1) as f64;

/// Two arms, each by the ratio of what its shards measured to what was expected of them: of sums, so that a shard counts for as much as it does in all.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Comparison {
    /// The treatment's ratio.
    pub treatment: f64,
    /// The control's.
    pub control: f64,
    /// The probability of a treatment's ratio so large, beside the control's, if the treatment did not raise it by more than the margin.
    pub p_more: f64,
    /// The probability of one so small, if the treatment did not lower it: the margin counts here too.
    pub p_less: f64,
    /// The standard error of the arms' ratio, and its degrees of freedom.
    error: (f64, f64),
}

impl Comparison {
    /// By what share the treatment's ratio is larger; `None` where the control's is 0.
    pub fn change(&self) -> Option<f64> {
        (self.control > 0.0).then(|| self.treatment / self.control - 1.0)
    }

    /// Where that share lies, at level 1 − `alpha` for who looks once: the variance of ratios by linearisation, with Student's t.
    pub fn change_within(&self, alpha: f64) -> Option<Interval> {
        let (error, df) = self.error;
        self.change().map(|change| Interval::around(change, error * student_quantile(alpha / 2.0, df)))
    }
}

/// Compares what shards measured, each beside what was expected of it. The treatment may be larger by the share `margin`. `None` where an arm has no
/// shards.
pub(crate) fn compare(treatment: &[Gain], control: &[Gain], margin: f64, seed: u64) -> Option<Comparison> {
    if treatment.is_empty() || control.is_empty() {
        return None;
    }
    let allowed = treatment.iter().map(|&Gain { hits, size }| Gain { hits: hits / (1.0 + margin), size });
    let mut shards: Vec<Gain> = allowed.chain(control.iter().copied()).collect();
    let (treated, all) = (treatment.len(), Gain::sum(&shards));
    let difference = |treated: Gain| {
        let rest = Gain { hits: all.hits - treated.hits, size: all.size - treated.size };
        treated.ratio() - rest.ratio()
    };
    let observed = difference(Gain::sum(&shards[..treated]));
    // Sums in another order differ in their last digits.
    let [low, high] = [-1.0, 1.0].map(|side| observed + side * 1e-12 * all.ratio().abs());
    let mut rng = Rng::new(seed);
    let (mut as_large, mut as_small) = (0u32, 0u32);
    for _ in 0..DRAWS {
        for at in 0..treated {
            let other = at + rng.below((shards.len() - at) as u32) as usize;
            shards.swap(at, other);
        }
        let drawn = difference(Gain::sum(&shards[..treated]));
        as_large += u32::from(drawn >= low);
        as_small += u32::from(drawn <= high);
    }
    let [treatment, control] = [treatment, control].map(|arm| Ratio::of(arm.iter().copied()));
    // (T/C)² · (Var T/T² + Var C/C²), as what each adds.
    let parts = [(treatment, 1.0 / control.value), (control, treatment.value / (control.value * control.value))];
    let part = |(arm, weight): (Ratio, f64)| (weight * weight * arm.variance, (arm.clusters as f64 - 1.0).max(1.0));
    let (variance, df) = sum_of_variances(&parts.map(part));
    let p = |extreme: u32| f64::from(extreme + 1) / f64::from(DRAWS + 1);
    Some(Comparison {
        treatment: treatment.value,
        control: control.value,
        p_more: p(as_large),
        p_less: p(as_small),
        error: (variance.sqrt(), df),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of_values(values: &[f64]) -> Vec<Gain> {
        values.iter().map(|&hits| Gain { hits, size: 1.0 }).collect()
    }

    /// Means, where nothing was expected of any shard more than of another.
    fn compare(treatment: &[f64], control: &[f64], margin: f64, seed: u64) -> Option<Comparison> {
        super::compare(&of_values(treatment), &of_values(control), margin, seed)
    }

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

    /// What the treatment does to a shard goes with how much there is in it, so that the mean over shards is not what all of them together change by.
    #[test]
    fn the_interval_is_that_of_the_total_where_shards_are_skewed() {
        let mut rng = Rng::new(11);
        let (mut missed, runs) = (0, 400);
        for run in 0..runs {
            let (mut arms, mut loads, mut expected) = ([Vec::new(), Vec::new()], 0.0, 0.0);
            for shard in 0..64 {
                let size = 1000.0 * (2.0 * rng.unit()).exp();
                let loaded = size * (1.3 - size / 10_000.0);
                (loads, expected) = (loads + loaded, expected + size);
                let hits = if shard % 2 == 0 { loaded } else { size } * (0.95 + 0.1 * rng.unit());
                arms[shard % 2].push(Gain { hits, size });
            }
            let within = super::compare(&arms[0], &arms[1], 0.0, run).unwrap().change_within(0.05).unwrap();
            let truth = loads / expected - 1.0;
            missed += i32::from(truth < within.low || truth > within.high);
        }
        // 20 expected; the treated shards' sizes, which differ from all shards', make it no worse.
        assert!(missed <= 40, "{missed}");
    }

    #[test]
    fn small_arms_by_counting() {
        // Of the 3 assignments of one shard, one is as extreme.
        let comparison = compare(&[3.0], &[1.0, 2.0], 0.0, 1).unwrap();
        assert!((comparison.p_more - 1.0 / 3.0).abs() < 0.03, "{comparison:?}");
        assert_eq!(compare(&[1.0], &[1.0, 1.0], 0.0, 1).unwrap().p_more, 1.0);
    }
}
