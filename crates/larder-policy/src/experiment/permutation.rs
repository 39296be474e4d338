//! Arms compared by what ghosts cannot see: latency, loads of the origin, staleness.
//!
//! Shards were assigned at random, so under the null hypothesis any other assignment was as likely: the share of assignments at least as
//! extreme as the real one is an exact p-value, however the values are distributed (Fisher, "The Design of Experiments", 1935). The changes under which
//! the real one is not extreme are an interval of the change (Lehmann, "Nonparametrics", 1975), which holds where a few shards have most of what was
//! measured, too.

use super::effect::{Gain, Interval};
use crate::Rng;

/// Assignments drawn: a p-value of 0.0002 can still be told from 0.
const DRAWS: usize = 9999;
/// Those of them that are kept for the interval.
const KEPT: usize = 1999;
/// How far from the ratio found the interval's ends are looked for, as a factor, and how often that range is halved.
const FAR: f64 = 1000.0;
const HALVINGS: u32 = 24;
/// Sums in another order differ in their last digits.
const SLACK: f64 = 1e-12;
/// The smallest p-value there is.
pub(crate) const LEAST_P: f64 = 1.0 / (DRAWS + 1) as f64;

/// Two arms, each by the ratio of what its shards measured to what was expected of them: of sums, so that a shard counts for as much as it does in all.
#[derive(Clone, Debug, PartialEq)]
pub struct Comparison {
    /// The treatment's ratio.
    pub treatment: f64,
    /// The control's.
    pub control: f64,
    /// The probability of a treatment's ratio so large, beside the control's, if the treatment did not raise it by more than the margin.
    pub p_more: f64,
    /// The probability of one so small, if the treatment did not lower it: the margin counts here too.
    pub p_less: f64,
    arms: Arms,
    drawn: Vec<Drawn>,
}

/// What the shards of each arm measured, and what was expected of them.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Arms {
    treatment: Gain,
    control: Gain,
}

/// The shards that an assignment treats: what those measured that really were the treatment's, and the control's, and what was expected of all.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Drawn {
    treatment: f64,
    control: f64,
    size: f64,
}

impl Comparison {
    /// By what share the treatment's ratio is larger; `None` where the control's is 0.
    pub fn change(&self) -> Option<f64> {
        (self.control > 0.0).then(|| self.treatment / self.control - 1.0)
    }

    /// Where that share lies, at level 1 − `alpha` for who looks once: all that the test does not reject, if each shard's changed by the same one. `None`
    /// where it would reject none, because an arm has too few shards, or the treatment measured nothing.
    pub fn change_within(&self, alpha: f64) -> Option<Interval> {
        let found = 1.0 + self.change().filter(|change| *change > -1.0)?;
        let is_open = |factor: f64, side: f64| {
            let is_extreme = self.arms.as_extreme(factor, side);
            p(self.drawn.iter().filter(|drawn| is_extreme(drawn)).count(), self.drawn.len()) > alpha / 2.0
        };
        if !is_open(found, 1.0) || !is_open(found, -1.0) || is_open(found * FAR, -1.0) {
            return None;
        }
        // The farthest from the ratio found that is not rejected, below it or above.
        let end = |side: f64| {
            let (mut near, mut far) = (found, found * FAR.powf(-side));
            for _ in 0..HALVINGS {
                let middle = (near * far).sqrt();
                if is_open(middle, side) { near = middle } else { far = middle }
            }
            near - 1.0
        };
        // Nothing measures less than nothing.
        let low = if is_open(found / FAR, 1.0) { -1.0 } else { end(1.0) };
        Some(Interval { low, high: end(-1.0) })
    }
}

impl Arms {
    /// Whether an assignment's arms differ as much to a side as the real ones, if the treatment multiplied what its shards measure by a factor.
    fn as_extreme(self, factor: f64, side: f64) -> impl Fn(&Drawn) -> bool {
        let Self { treatment, control } = self;
        let all = Gain { hits: treatment.hits / factor + control.hits, size: treatment.size + control.size };
        let difference = move |treated: Gain| {
            let rest = Gain { hits: all.hits - treated.hits, size: all.size - treated.size };
            side * (treated.ratio() - rest.ratio())
        };
        let real = Gain { hits: treatment.hits / factor, size: treatment.size };
        let least = difference(real) - SLACK * all.ratio().abs();
        move |drawn| difference(Gain { hits: drawn.treatment / factor + drawn.control, size: drawn.size }) >= least
    }
}

/// So many of the assignments drawn are as extreme as the real one, which is one more.
fn p(extreme: usize, drawn: usize) -> f64 {
    (extreme + 1) as f64 / (drawn + 1) as f64
}

/// Compares what shards measured, each beside what was expected of it. The treatment may be larger by the share `margin`. `None` where an arm has no
/// shards.
pub(crate) fn compare(treatment: &[Gain], control: &[Gain], margin: f64, seed: u64) -> Option<Comparison> {
    if treatment.is_empty() || control.is_empty() {
        return None;
    }
    let of = |gain: &Gain| Drawn { treatment: gain.hits, control: 0.0, size: gain.size };
    let beside = |gain: &Gain| Drawn { treatment: 0.0, control: gain.hits, size: gain.size };
    let mut shards: Vec<Drawn> = treatment.iter().map(of).chain(control.iter().map(beside)).collect();
    let treated = treatment.len();
    let arms = Arms { treatment: Gain::sum(treatment), control: Gain::sum(control) };
    let mut rng = Rng::new(seed);
    let [is_large, is_small] = [1.0, -1.0].map(|side| arms.as_extreme(1.0 + margin, side));
    let (mut as_large, mut as_small) = (0, 0);
    let mut kept = Vec::with_capacity(KEPT);
    for _ in 0..DRAWS {
        let mut drawn = Drawn::default();
        for at in 0..treated {
            let other = at + rng.below((shards.len() - at) as u32) as usize;
            shards.swap(at, other);
            let shard = shards[at];
            drawn.treatment += shard.treatment;
            drawn.control += shard.control;
            drawn.size += shard.size;
        }
        as_large += usize::from(is_large(&drawn));
        as_small += usize::from(is_small(&drawn));
        if kept.len() < KEPT {
            kept.push(drawn);
        }
    }
    Some(Comparison {
        treatment: arms.treatment.ratio(),
        control: arms.control.ratio(),
        p_more: p(as_large, DRAWS),
        p_less: p(as_small, DRAWS),
        arms,
        drawn: kept,
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
        // Of the six assignments of two shards and two no one is as rare as one in forty.
        assert_eq!(compare(&[2.0, 4.0], &[1.0, 1.0], 0.0, 1).unwrap().change_within(0.05), None);
    }

    /// A tenth of the shards have most of the loads, as those of the hottest keys do: by a variance and Student's t one in four intervals missed.
    #[test]
    fn the_interval_holds_where_few_shards_have_most() {
        let mut rng = Rng::new(7);
        let (mut missed, runs) = (0, 400);
        for run in 0..runs {
            let mut arm = |change: f64| -> Vec<Gain> {
                let shard = |_| {
                    let size = 10.0 / (0.01 + rng.unit());
                    Gain { hits: size * change * (0.2 + 0.05 / (0.03 + rng.unit())), size }
                };
                (0..32).map(shard).collect()
            };
            let (treatment, control) = (arm(1.2), arm(1.0));
            let within = super::compare(&treatment, &control, 0.0, run).unwrap().change_within(0.05).unwrap();
            missed += i32::from(within.low > 0.2 || within.high < 0.2);
        }
        // 20 expected; four standard deviations are 17.
        assert!(missed < 38, "{missed}");
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
