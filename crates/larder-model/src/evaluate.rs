//! How good what a model says is: losses, calibration, and what each feature adds.

use std::collections::BTreeMap;

use larder_policy::Rng;
use larder_policy::learned::features::FEATURES;
use larder_policy::learned::{Example, Learner, Prior};
use serde::Serialize;

/// Bins of a reliability table, of equal width.
pub const BINS: usize = 10;

/// Probabilities nearer to 0 or 1 count as this near: one wrong answer given as certain would be an endless loss.
const NEAREST: f64 = 1e-7;

/// What was said of some examples, set against what happened.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Score {
    /// How many examples.
    pub examples: u64,
    /// The share that happened.
    pub base_rate: f64,
    /// The mean of −ln of the probability given to what happened, in nats.
    pub log_loss: f64,
    /// The mean squared distance between probability and outcome (Brier 1950).
    pub brier: f64,
    /// The expected calibration error: the distance between what was said and what happened in each bin, weighted by its examples
    /// (Naeini, Cooper, Hauskrecht, AAAI 2015).
    pub calibration_error: f64,
    /// By what was said, ascending; bins without examples are left out.
    pub bins: Vec<Bin>,
}

/// Examples of which about the same was said.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Bin {
    /// How many.
    pub examples: u64,
    /// The mean probability said.
    pub said: f64,
    /// The share that happened.
    pub happened: f64,
}

impl FromIterator<(f32, bool)> for Score {
    /// Of pairs: the probability said, and whether it happened.
    fn from_iter<T: IntoIterator<Item = (f32, bool)>>(said: T) -> Self {
        let mut sums = [Bin::default(); BINS];
        let (mut log_loss, mut brier) = (0.0, 0.0);
        for (said, happened) in said {
            let said = f64::from(said);
            let outcome = f64::from(u8::from(happened));
            let given = if happened { said } else { 1.0 - said };
            log_loss -= libm::log(given.max(NEAREST));
            brier += (said - outcome) * (said - outcome);
            let bin = &mut sums[((said * BINS as f64) as usize).min(BINS - 1)];
            bin.examples += 1;
            bin.said += said;
            bin.happened += outcome;
        }
        let examples: u64 = sums.iter().map(|bin| bin.examples).sum();
        if examples == 0 {
            return Self::default();
        }
        let share = |sum: f64| sum / examples as f64;
        Self {
            examples,
            base_rate: share(sums.iter().map(|bin| bin.happened).sum()),
            log_loss: share(log_loss),
            brier: share(brier),
            calibration_error: share(sums.iter().map(|bin| (bin.said - bin.happened).abs()).sum()),
            bins: sums.iter().filter(|bin| bin.examples > 0).map(Bin::mean).collect(),
        }
    }
}

impl Bin {
    fn mean(sum: &Self) -> Self {
        let count = sum.examples as f64;
        Self { examples: sum.examples, said: sum.said / count, happened: sum.happened / count }
    }
}

/// What was said and what happened by group of examples, so that a group for which both differ is found.
pub fn by_group<K: Ord>(said: impl IntoIterator<Item = (K, f32, bool)>) -> BTreeMap<K, Bin> {
    let mut sums: BTreeMap<K, Bin> = BTreeMap::new();
    for (group, said, happened) in said {
        let bin = sums.entry(group).or_default();
        bin.examples += 1;
        bin.said += f64::from(said);
        bin.happened += f64::from(u8::from(happened));
    }
    sums.values_mut().for_each(|bin| *bin = Bin::mean(bin));
    sums
}

/// What a cache that starts from `prior`, or cold, says of each example before it learns from it, in their order.
pub fn served(prior: Option<&Prior>, rate: f32, examples: &[Example]) -> impl Iterator<Item = (f32, bool)> {
    let mut learner = Learner::new(prior, rate);
    examples.iter().map(move |example| {
        let logit = learner.logits(&example.features)[usize::from(example.span)];
        learner.learn(example);
        (crate::fit::logistic(logit), example.used)
    })
}

/// How much worse a model becomes without a feature.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Importance {
    /// The feature's name.
    pub feature: &'static str,
    /// How much the log-loss rises when its values are dealt out at random, in nats.
    pub rise: f64,
}

/// Permutation importance (Breiman 2001) of every feature, the greatest first. `probability` is what the model says of an example of
/// a cell.
pub fn importance<T: Copy>(
    examples: &[(T, Example)],
    seed: u64,
    probability: impl Fn(T, &Example) -> f32,
) -> Vec<Importance> {
    let loss = |dealt: Option<(usize, &[u8])>| {
        let said = examples.iter().enumerate().map(|(at, (cell, example))| {
            let mut example = *example;
            if let Some((feature, values)) = dealt {
                example.features.0[feature] = values[at];
            }
            (probability(*cell, &example), example.used)
        });
        said.collect::<Score>().log_loss
    };
    let whole = loss(None);
    let mut rng = Rng::new(seed);
    let mut found: Vec<Importance> = Vec::new();
    for (place, feature) in FEATURES.iter().enumerate() {
        let mut values: Vec<u8> = examples.iter().map(|(_, example)| example.features.0[place]).collect();
        crate::fit::shuffle(&mut values, &mut rng);
        found.push(Importance { feature: feature.name, rise: loss(Some((place, &values))) - whole });
    }
    found.sort_by(|one, other| other.rise.total_cmp(&one.rise));
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use larder_policy::learned::Features;

    fn near(one: f64, other: f64) {
        assert!((one - other).abs() < 1e-6, "{one} {other}");
    }

    #[test]
    fn scores_by_hand() {
        let score: Score = [(0.8, true), (0.8, true), (0.8, false), (0.25, false)].into_iter().collect();
        assert_eq!((score.examples, score.base_rate), (4, 0.5));
        near(score.log_loss, -(2.0 * 0.8f64.ln() + 0.2f64.ln() + 0.75f64.ln()) / 4.0);
        near(score.brier, (0.04 + 0.04 + 0.64 + 0.0625) / 4.0);
        // Said 0.8 of three of which two happened, and 0.25 of one that did not.
        near(score.calibration_error, (3.0 * (0.8 - 2.0 / 3.0) + 0.25) / 4.0);
        assert_eq!(score.bins.len(), 2);
        near(score.bins[1].happened, 2.0 / 3.0);
    }

    #[test]
    fn groups_by_hand() {
        let found = by_group([("a", 0.5, true), ("b", 1.0, false), ("a", 0.25, true)]);
        assert_eq!(found.keys().copied().collect::<Vec<_>>(), ["a", "b"]);
        assert_eq!(found["a"], Bin { examples: 2, said: 0.375, happened: 1.0 });
        assert_eq!(found["b"], Bin { examples: 1, said: 1.0, happened: 0.0 });
    }

    #[test]
    fn certainty_and_nothing_are_finite() {
        let wrong: Score = [(0.0, true), (1.0, false)].into_iter().collect();
        near(wrong.log_loss, -NEAREST.ln());
        assert_eq!((wrong.brier, wrong.calibration_error), (1.0, 1.0));
        assert_eq!(std::iter::empty().collect::<Score>(), Score::default());
    }

    #[test]
    fn what_matters_is_found() {
        let mut rng = Rng::new(2);
        let examples: Vec<(usize, Example)> = (0..4000)
            .map(|_| {
                let mut bins = [0u8; 16];
                bins.iter_mut().take(15).for_each(|bin| *bin = rng.below(64) as u8);
                (0, Example { features: Features(bins), span: 0, used: bins[4] > 31 })
            })
            .collect();
        let said = |_: usize, example: &Example| if example.features.0[4] > 31 { 0.9 } else { 0.1 };
        let found = importance(&examples, 1, said);
        assert_eq!((found.len(), found[0].feature), (FEATURES.len(), FEATURES[4].name));
        // Half of the answers turn from right to wrong.
        assert!((found[0].rise - 0.5 * (0.9f64 / 0.1).ln()).abs() < 0.1, "{:?}", found[0]);
        assert!(found[1..].iter().all(|feature| feature.rise == 0.0));
    }

    #[test]
    fn what_is_served_learns_as_it_goes() {
        let example = Example { features: Features([5; 16]), span: 1, used: true };
        let said: Vec<f32> = served(None, 0.1, &[example; 50]).map(|said| said.0).collect();
        assert!(said.is_sorted() && said[49] > said[0] + 0.2, "{said:?}");
    }
}
