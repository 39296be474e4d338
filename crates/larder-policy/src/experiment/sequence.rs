//! Evidence that comes slice by slice, and an interval that may be looked at whenever one likes.

use super::effect::ByArm;
use super::normal::{student_quantile, upper_quantile};

/// Slices are merged in pairs when there are this many.
const MOST: usize = 512;
/// Merged slices below which no more are merged.
const LEAST_MERGED: usize = 10;
/// Slices that half of them must be.
const LEAST_HALF: usize = 8;
/// Slices are merged until their lag-1 autocorrelation is below this.
const WHITE: f64 = 0.1;

/// The sums of the slices of a running experiment, in bounded memory.
#[derive(Clone, Debug)]
pub(crate) struct Slices {
    /// By weighting.
    sums: Vec<[ByArm; 3]>,
    /// How many of the host's slices each holds; the last may hold fewer.
    width: u64,
    filled: u64,
}

/// Slices merged until they no longer follow from one another.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Settled {
    /// How many there are after merging.
    pub slices: usize,
    /// How many of the host's slices each of them holds.
    pub width: u64,
    /// The lag-1 autocorrelation that is left.
    pub lag1: f64,
    /// The standard error of the effect by how much they differ.
    pub standard_error: f64,
}

impl Default for Slices {
    fn default() -> Self {
        Self { sums: Vec::new(), width: 1, filled: 0 }
    }
}

impl Slices {
    pub(crate) fn push(&mut self, sums: &[ByArm; 3]) {
        if self.filled == 0 || self.filled == self.width {
            if self.sums.len() == MOST {
                self.sums = self.sums.chunks(2).map(merged).collect();
                self.width *= 2;
            }
            self.sums.push(*sums);
            self.filled = 1;
        } else if let Some(last) = self.sums.last_mut() {
            add(last, sums);
            self.filled += 1;
        }
    }

    /// The sums over all slices.
    pub(crate) fn total(&self) -> [ByArm; 3] {
        merged(&self.sums)
    }

    /// The later half of them, once that is enough to be looked at alone.
    pub(crate) fn later_half(&self) -> Option<Self> {
        let later = &self.sums[self.sums.len() / 2..];
        (later.len() >= LEAST_HALF).then(|| Self { sums: later.to_vec(), ..*self })
    }

    /// Merges slices until they are nearly uncorrelated. `weighting` is its place among all.
    pub(crate) fn settle(&self, weighting: usize) -> Settled {
        let whole = self.total()[weighting];
        self.settle_pulls(self.sums.iter().map(|sums| whole.pull(&sums[weighting])).collect())
    }

    /// The same for what the treated shards gain on their own traffic, by requests.
    pub(crate) fn settle_own(&self) -> Settled {
        let whole = self.total()[0];
        self.settle_pulls(self.sums.iter().map(|sums| whole.own_pull(&sums[0])).collect())
    }

    /// The same for what the control seems to gain.
    pub(crate) fn settle_bias(&self) -> Settled {
        let whole = self.total()[0];
        self.settle_pulls(self.sums.iter().map(|sums| whole.bias_pull(&sums[0])).collect())
    }

    /// The same for what the treated shards gain, whatever the others do.
    pub(crate) fn settle_treated(&self) -> Settled {
        let whole = self.total()[0];
        self.settle_pulls(self.sums.iter().map(|sums| whole.treated_pull(&sums[0])).collect())
    }

    fn settle_pulls(&self, mut pulls: Vec<f64>) -> Settled {
        let mut width = self.width;
        let mut lag1 = autocorrelation(&pulls);
        while lag1 >= WHITE && pulls.len() / 2 >= LEAST_MERGED {
            pulls = pulls.chunks(2).map(|pair| pair.iter().sum()).collect();
            width *= 2;
            lag1 = autocorrelation(&pulls);
        }
        let slices = pulls.len() as f64;
        let squares: f64 = pulls.iter().map(|pull| pull * pull).sum();
        // One alone does not tell how much they differ: a share does by 1 at most.
        let variance = if slices > 1.0 { slices / (slices - 1.0) * squares * inflation(lag1) } else { 1.0 };
        Settled { slices: pulls.len(), width, lag1, standard_error: variance.sqrt() }
    }
}

impl Settled {
    /// The same for who may not refuse to look: of n slices the autocorrelation is known to within 1/√n, and is taken to be so much higher.
    pub(crate) fn cautious(self) -> Self {
        let higher = self.lag1 + 1.0 / (self.slices.max(1) as f64).sqrt();
        let standard_error = self.standard_error * (inflation(higher) / inflation(self.lag1)).sqrt();
        Self { standard_error, ..self }
    }
}

/// What an autocorrelation does to the variance of a mean, as in an AR(1) process.
fn inflation(lag1: f64) -> f64 {
    let left = lag1.clamp(0.0, 0.9);
    (1.0 + left) / (1.0 - left)
}

/// The half-width of the asymptotic confidence sequence of level 1 − `alpha` after `slices`, in standard errors: with σ̂/√t for the standard
/// error, σ̂·√(2(tρ²+1)/(t²ρ²)·ln(√(tρ²+1)/α)) is that error times √(2(tρ²+1)/(tρ²)·ln(√(tρ²+1)/α)), and ρ² = (−2 ln α + ln(−2 ln α) + 1)/t₀ makes
/// it narrowest at t₀ = `horizon` (Waudby-Smith, Arbour, Sinha, Kennedy, Ramdas, "Time-uniform central limit theory and asymptotic
/// confidence sequences", arXiv 2103.06476). Any ρ² above 0 gives such a sequence; the formula is for small levels, and −2 ln α takes its place where it
/// falls below that, from α = 0.83 on. `df` degrees of freedom of the error widen it as Student's t widens the normal.
pub(crate) fn anytime_width(slices: f64, horizon: f64, alpha: f64, df: f64) -> f64 {
    let log = -2.0 * alpha.ln();
    let rho2 = (log + (log.ln() + 1.0).max(0.0)) / horizon.max(1.0);
    let growth = slices.max(1.0) * rho2;
    let width = (2.0 * (growth + 1.0) / growth * ((growth + 1.0).sqrt() / alpha).ln()).sqrt();
    width * student_quantile(alpha / 2.0, df) / upper_quantile(alpha / 2.0)
}

fn merged(sums: &[[ByArm; 3]]) -> [ByArm; 3] {
    let mut all = [ByArm::default(); 3];
    sums.iter().for_each(|sums| add(&mut all, sums));
    all
}

fn add(to: &mut [ByArm; 3], more: &[ByArm; 3]) {
    to.iter_mut().zip(more).for_each(|(to, more)| to.add(more));
}

/// The lag-1 autocorrelation of values whose mean was taken from them; 0 where they do not vary. The ratio of their products comes out too low by
/// (1 + 3ρ)/n (Marriott, Pope, "Bias in the estimation of autocorrelations", 1954), which is put back.
fn autocorrelation(values: &[f64]) -> f64 {
    let power: f64 = values.iter().map(|value| value * value).sum();
    let products: f64 = values.windows(2).map(|pair| pair[0] * pair[1]).sum();
    if power > 0.0 {
        let ratio = products / power;
        ratio + (1.0 + 3.0 * ratio) / values.len() as f64
    } else {
        0.0
    }
}

#[cfg(test)]
mod tests {
    use super::super::effect::{Gain, Strata};
    use super::*;
    use crate::Rng;

    /// A slice in which the treatment gains `gain` hits of 1000.
    fn slice(gain: f64) -> [ByArm; 3] {
        let tail = Gain { hits: gain, size: 1000.0 };
        let treatment = Strata { tail, ..Strata::default() };
        let control = Strata { tail: Gain { hits: 0.0, ..tail }, ..Strata::default() };
        [ByArm { treatment, control }; 3]
    }

    /// Uniform with mean 0 and variance 1.
    fn noise(rng: &mut Rng) -> f64 {
        (rng.unit() - 0.5) * 12f64.sqrt()
    }

    #[test]
    fn long_runs_keep_their_sums() {
        let mut slices = Slices::default();
        (0..3000).for_each(|at| slices.push(&slice(f64::from(at % 7))));
        let total = slices.total()[0];
        assert_eq!(total.treatment.tail.size, 3_000_000.0);
        assert_eq!(total.treatment.tail.hits, (0..3000).map(|at| f64::from(at % 7)).sum::<f64>());
        assert!(slices.sums.len() <= MOST && slices.width == 8);
    }

    #[test]
    fn one_slice_is_sure_of_nothing() {
        let mut slices = Slices::default();
        assert_eq!(slices.settle(0).standard_error, 1.0);
        slices.push(&slice(100.0));
        assert_eq!((slices.settle(0).standard_error, slices.settle_treated().standard_error), (1.0, 1.0));
        slices.push(&slice(100.0));
        assert_eq!(slices.settle(0).standard_error, 0.0);
    }

    #[test]
    fn slices_that_follow_from_one_another_are_merged() {
        let (mut rng, mut apart, mut chained) = (Rng::new(4), Slices::default(), Slices::default());
        let mut state = 0.0;
        for _ in 0..500 {
            apart.push(&slice(noise(&mut rng)));
            state = 0.8 * state + 0.6 * noise(&mut rng);
            chained.push(&slice(state));
        }
        let (apart, chained) = (apart.settle(0), chained.settle(0));
        assert_eq!((apart.width, apart.slices), (1, 500));
        // One in 1000 a slice, over √500.
        assert!((apart.standard_error / 0.001 * 500f64.sqrt() - 1.0).abs() < 0.15, "{apart:?}");
        assert!(chained.width >= 8, "{chained:?}");
        // An AR(1) of 0.8 triples the error of the mean.
        assert!(chained.standard_error > 2.0 * apart.standard_error, "{chained:?}");
    }

    #[test]
    fn the_anytime_interval_covers_at_all_times() {
        let mut rng = Rng::new(9);
        let (mut outside, runs) = (0, 400);
        for _ in 0..runs {
            let (mut sum, mut squares, mut ever) = (0.0, 0.0, false);
            for t in 1..=400 {
                let value = noise(&mut rng);
                sum += value;
                squares += value * value;
                let (count, mean) = (f64::from(t), sum / f64::from(t));
                let error = ((squares / count - mean * mean) / count).sqrt();
                ever |= t >= 10 && mean.abs() > error * anytime_width(count, 100.0, 0.05, count - 1.0);
            }
            outside += i32::from(ever);
        }
        // 5 % of 400 are 20; five standard deviations above it are 42.
        assert!(outside < 42, "{outside} of {runs}");
        // A number at every level.
        let levels = [1e-12, 1e-3, 0.05, 0.4, 0.8, 0.84, 0.87, 0.9, 0.99, 0.999];
        let widths = levels.map(|alpha| anytime_width(16.0, 16.0, alpha, 15.0));
        assert!(widths.iter().all(|width| width.is_finite() && *width > 0.0), "{widths:?}");
        // Narrowest about where it should be, in width beside 1/√t.
        let width = |t: f64| anytime_width(t, 100.0, 0.05, 1e9) / t.sqrt();
        assert!(width(100.0) < width(50.0) && anytime_width(100.0, 100.0, 0.05, 1e9) < 3.2);
    }
}
