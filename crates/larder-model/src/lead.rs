//! How much less a prior misses, over all it was tried on, and how sure that is.

use std::collections::BTreeMap;
use std::fmt;

use crate::card::{HeldOut, Ratios};

/// A mean reduction over cells, as the league has it, and how sure it is: by how far it moves when a family is left out with all its cells
/// (the jackknife over groups). Where families have as many cells each, that is the standard error of their means.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Lead {
    /// The mean.
    pub mean: f64,
    /// The standard error of that mean, where there is more than one of what it is over.
    pub error: Option<f64>,
    /// What the error is over.
    pub over: Over,
}

/// What a standard error is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Over {
    /// So many families, whose cells stand or fall together.
    Families(usize),
    /// So many seeds on one family: they tell of chance in the cache, and not of other traffic.
    Seeds(usize),
}

impl fmt::Display for Over {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Families(count) => write!(f, "{count} families"),
            Self::Seeds(count) => write!(f, "{count} seeds"),
        }
    }
}

impl Lead {
    /// Of what the ratios of each cell come to; none without cells, or where a cell has none.
    pub(crate) fn of(cells: &[HeldOut], reduction: impl Fn(&Ratios) -> Option<f64>) -> Option<Self> {
        let seeds = cells.iter().map(|cell| cell.seeds.len()).min().filter(|&seeds| seeds > 0)?;
        let mut by_seed = vec![Vec::new(); seeds];
        for cell in cells {
            for (ratios, of_seed) in cell.seeds.iter().zip(&mut by_seed) {
                of_seed.push(reduction(ratios)?);
            }
        }
        // Each seed has all cells: the mean of its means is that of all.
        let by_seed: Vec<f64> = by_seed.iter().map(|cells| mean(cells)).collect();
        let families = families(cells, reduction)?;
        let mean = mean(&by_seed);
        Some(match families.len() {
            1 => Self { mean, error: standard_error(&by_seed), over: Over::Seeds(seeds) },
            count => Self { mean, error: Some(jackknife(&families)), over: Over::Families(count) },
        })
    }

    /// The mean of the families' own means; none where there is but one.
    pub(crate) fn each_family_once(cells: &[HeldOut]) -> Option<Self> {
        let families = families(cells, |ratios| Some(ratios.over_cold()))?;
        let means: Vec<f64> = families.iter().map(|cells| mean(cells)).collect();
        let error = standard_error(&means)?;
        Some(Self { mean: mean(&means), error: Some(error), over: Over::Families(means.len()) })
    }

    /// What is no chance: a standard error over families, two over seeds, which see but a part of it.
    fn chance(&self) -> Option<f64> {
        let errors = match self.over {
            Over::Families(_) => 1.0,
            Over::Seeds(_) => 2.0,
        };
        self.error.map(|error| errors * error)
    }

    /// Ahead by more than chance. What is not a number is not ahead, nor is what has no error.
    pub(crate) fn is_ahead(&self) -> bool {
        self.chance().is_some_and(|chance| self.mean > chance)
    }

    /// Behind by more than chance.
    pub(crate) fn is_behind(&self) -> bool {
        self.chance().is_some_and(|chance| self.mean < -chance)
    }
}

impl fmt::Display for Lead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { mean, error, over } = self;
        match error {
            Some(error) => write!(f, "{} ±{:.2}% ({over})", signed(*mean), error * 100.0),
            None => write!(f, "{} ± nobody knows (one seed)", signed(*mean)),
        }
    }
}

pub(crate) fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

/// The reductions of each family's cells and seeds; none where a cell has none.
fn families(cells: &[HeldOut], reduction: impl Fn(&Ratios) -> Option<f64>) -> Option<Vec<Vec<f64>>> {
    let mut families: BTreeMap<&str, Vec<f64>> = BTreeMap::new();
    for cell in cells {
        let reductions = cell.seeds.iter().map(&reduction).collect::<Option<Vec<f64>>>()?;
        families.entry(&cell.family).or_default().extend(reductions);
    }
    Some(families.into_values().collect())
}

/// The standard error of the mean over all values of at least two groups, which stand or fall together.
fn jackknife(groups: &[Vec<f64>]) -> f64 {
    let without = |left_out: usize| {
        let others = groups.iter().enumerate().filter(|(at, _)| *at != left_out);
        mean(&others.flat_map(|(_, group)| group).copied().collect::<Vec<_>>())
    };
    let without: Vec<f64> = (0..groups.len()).map(without).collect();
    let (centre, count) = (mean(&without), without.len() as f64);
    let spread: f64 = without.iter().map(|value| (value - centre).powi(2)).sum();
    (spread * (count - 1.0) / count).sqrt()
}

/// Of the mean of at least two values.
fn standard_error(values: &[f64]) -> Option<f64> {
    let (centre, count) = (mean(values), values.len() as f64);
    let spread: f64 = values.iter().map(|value| (value - centre).powi(2)).sum();
    (values.len() > 1).then(|| (spread / (count - 1.0) / count).sqrt())
}

pub(crate) fn signed(share: f64) -> String {
    // Rounded first, so that nothing reads as -0.00%.
    format!("{:+.2}%", (share * 10_000.0).round() / 100.0 + 0.0)
}
