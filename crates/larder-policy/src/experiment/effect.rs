//! From hits of shards and ghosts to an effect with its variance.

use super::counts::{ShardSlice, Weighting};

/// Clusters whose own differences are trusted alone.
const MANY: usize = 32;

/// A range in which an effect lies, in hit ratio (0.01 is one percentage point).
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Interval {
    /// The lower end.
    pub low: f64,
    /// The upper end.
    pub high: f64,
}

impl Interval {
    pub(crate) fn around(middle: f64, half: f64) -> Self {
        Self { low: middle - half, high: middle + half }
    }

    /// Whether 0 lies outside.
    pub fn excludes_zero(self) -> bool {
        self.low > 0.0 || self.high < 0.0
    }
}

/// The effect of a treatment on the hit ratio.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Effect {
    /// What each access counts for.
    pub weighting: Weighting,
    /// The treatment's gain over its ghosts minus the control's over its own: what the hit ratio of all traffic would gain.
    pub estimate: f64,
    /// What the control seems to gain over its ghosts: 0 but for what the ghosts' sampling adds.
    pub bias: f64,
    /// The treatment arm's real hit ratio.
    pub treatment: f64,
    /// The control arm's.
    pub control: f64,
    /// The standard error by how much shards differ.
    pub shard_error: f64,
    /// The standard error by how much slices differ.
    pub slice_error: f64,
    /// The interval for who looks once, at a time chosen beforehand.
    pub fixed: Interval,
    /// The interval for who looks at any time, as often as they like.
    pub anytime: Interval,
}

/// Gained hits, and what they were gained on: accesses, or keys.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Gain {
    pub(crate) hits: f64,
    pub(crate) size: f64,
}

impl Gain {
    fn add(&mut self, other: Self) {
        self.hits += other.hits;
        self.size += other.size;
    }

    pub(crate) fn sum(parts: &[Self]) -> Self {
        let mut all = Self::default();
        parts.iter().for_each(|&part| all.add(part));
        all
    }

    pub(crate) fn ratio(self) -> f64 {
        if self.size > 0.0 { self.hits / self.size } else { 0.0 }
    }
}

/// The hottest keys, each counted, apart from the others, which are sampled.
///
/// What a policy loses on a hot key is a miss for each time it lets the key go, however often it is asked for: the head's gains are counted by
/// key, those of the others by access.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Strata {
    /// By key and slice.
    pub(crate) head: Gain,
    pub(crate) head_accesses: f64,
    /// By access.
    pub(crate) tail: Gain,
}

impl Strata {
    pub(crate) fn of(slice: &ShardSlice, weighting: Weighting) -> Self {
        let head = Gain { hits: slice.head.gain(weighting), size: slice.head_keys as f64 };
        let tail = Gain { hits: slice.tail.gain(weighting) / slice.rate, size: slice.tail_accesses().by(weighting) };
        Self { head, head_accesses: slice.head.accesses.by(weighting), tail }
    }

    /// Gains of all keys, by access.
    fn whole(&self) -> Gain {
        Gain { hits: self.head.hits + self.tail.hits, size: self.head_accesses + self.tail.size }
    }

    pub(crate) fn add(&mut self, other: &Self) {
        self.head.add(other.head);
        self.head_accesses += other.head_accesses;
        self.tail.add(other.tail);
    }
}

/// How much a difference in the head, and in the tail, adds to the effect on all traffic.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Weights {
    /// Head keys an access.
    pub(crate) head: f64,
    /// The tail's share of the accesses.
    pub(crate) tail: f64,
}

/// Sums by arm.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct ByArm {
    pub(crate) treatment: Strata,
    pub(crate) control: Strata,
}

impl ByArm {
    pub(crate) fn add(&mut self, other: &Self) {
        self.treatment.add(&other.treatment);
        self.control.add(&other.control);
    }

    /// The share of all accesses that goes to the head.
    pub(crate) fn head_share(&self) -> f64 {
        let head = self.treatment.head_accesses + self.control.head_accesses;
        let all = head + self.treatment.tail.size + self.control.tail.size;
        if all > 0.0 { head / all } else { 0.0 }
    }

    /// By what head and tail of both arms are (post-stratification): an arm that happens to own a hot key is not thought to differ
    /// for that.
    pub(crate) fn weights(&self) -> Weights {
        let all = self.treatment.head_accesses
            + self.control.head_accesses
            + self.treatment.tail.size
            + self.control.tail.size;
        let keys = self.treatment.head.size + self.control.head.size;
        Weights { head: if all > 0.0 { keys / all } else { 0.0 }, tail: 1.0 - self.head_share() }
    }

    /// The difference of the arms' gains. Where an arm owns no hot key, nothing is assumed about its head.
    pub(crate) fn effect(&self) -> f64 {
        let Weights { head, tail } = self.weights();
        let difference = |treatment: Gain, control: Gain| treatment.ratio() - control.ratio();
        tail * difference(self.treatment.tail, self.control.tail)
            + head * difference(self.treatment.head, self.control.head)
    }

    /// The control's gain over its own ghosts.
    pub(crate) fn bias(&self) -> f64 {
        let Weights { head, tail } = self.weights();
        tail * self.control.tail.ratio() + head * self.control.head.ratio()
    }

    /// What the treated shards gain on their own traffic, beyond what the others seem to gain on theirs.
    pub(crate) fn own_effect(&self) -> f64 {
        self.treatment.whole().ratio() - self.control.whole().ratio()
    }

    /// By how much a part of these sums pulls the effect away from the whole; parts that make up the whole sum up to 0.
    pub(crate) fn pull(&self, part: &Self) -> f64 {
        let Weights { head, tail } = self.weights();
        tail * (pull(self.treatment.tail, part.treatment.tail) - pull(self.control.tail, part.control.tail))
            + head * (pull(self.treatment.head, part.treatment.head) - pull(self.control.head, part.control.head))
    }

    /// The same of what the control seems to gain.
    pub(crate) fn bias_pull(&self, part: &Self) -> f64 {
        let Weights { head, tail } = self.weights();
        tail * pull(self.control.tail, part.control.tail) + head * pull(self.control.head, part.control.head)
    }

    /// What the treated shards gain over their ghosts, by access.
    pub(crate) fn treated(&self) -> Gain {
        self.treatment.whole()
    }

    /// The same of that gain.
    pub(crate) fn treated_pull(&self, part: &Self) -> f64 {
        pull(self.treated(), part.treated())
    }

    /// The same of the treated shards' own effect.
    pub(crate) fn own_pull(&self, part: &Self) -> f64 {
        self.treated_pull(part) - pull(self.control.whole(), part.control.whole())
    }
}

fn pull(whole: Gain, part: Gain) -> f64 {
    if whole.size > 0.0 { (part.hits - whole.ratio() * part.size) / whole.size } else { 0.0 }
}

/// The ratio τ of all gains to all sizes over clusters, and its variance, m/(m−1)·Σ(Dₖ − τ nₖ)²/(Σnₖ)² (linearisation; Cochran, "Sampling
/// Techniques", 1977, 6.19). Clusters of no size tell nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Ratio {
    pub(crate) value: f64,
    pub(crate) variance: f64,
    pub(crate) clusters: usize,
}

impl Ratio {
    pub(crate) fn of(clusters: impl Iterator<Item = Gain> + Clone) -> Self {
        let mut all = Gain::default();
        clusters.clone().for_each(|cluster| all.add(cluster));
        let (value, count) = (all.ratio(), clusters.clone().filter(|part| part.size > 0.0).count());
        let squares: f64 = clusters.map(|part| (part.hits - value * part.size).powi(2)).sum();
        let variance = match count {
            0 => 0.0,
            // A single one may be anything.
            1 => value * value,
            _ => count as f64 / (count as f64 - 1.0) * squares / all.size.powi(2),
        };
        Self { value, variance, clusters: count }
    }

    /// Degrees of freedom of the variance, at least one.
    pub(crate) fn df(self) -> f64 {
        self.clusters.saturating_sub(1).max(1) as f64
    }

    /// The variance, where there are few clusters at least what it would be if they differed as those of the `other` arm do; and its degrees of
    /// freedom.
    pub(crate) fn variance_beside(self, other: Self) -> (f64, f64) {
        let few = self.clusters < MANY && self.clusters > 0;
        let alike = other.variance * other.clusters as f64 / self.clusters.max(1) as f64;
        match few && alike > self.variance {
            true => (alike, other.df()),
            false => (self.variance, self.df()),
        }
    }
}

/// The sum of variances, and its degrees of freedom (Satterthwaite 1946).
pub(crate) fn sum_of_variances(parts: &[(f64, f64)]) -> (f64, f64) {
    let sum: f64 = parts.iter().map(|(variance, _)| variance).sum();
    let spread: f64 = parts.iter().map(|(variance, df)| variance * variance / df).sum();
    (sum, if spread > 0.0 { sum * sum / spread } else { 1.0 })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Rng;

    #[test]
    fn the_ratio_and_its_variance_by_hand() {
        let clusters = [Gain { hits: 1.0, size: 10.0 }, Gain { hits: 3.0, size: 10.0 }];
        let ratio = Ratio::of(clusters.iter().copied());
        assert_eq!((ratio.value, ratio.clusters), (0.2, 2));
        // 2/1 · (1 + 1) / 400
        assert!((ratio.variance - 0.01).abs() < 1e-12);
        // Of one cluster nothing is known but its size.
        assert!((Ratio::of(clusters[..1].iter().copied()).variance - 0.01).abs() < 1e-12);
        let (sum, df) = sum_of_variances(&[(0.02, 31.0), (0.0, 31.0)]);
        assert!(sum == 0.02 && (df - 31.0).abs() < 1e-9);
    }

    #[test]
    fn the_variance_is_that_of_repetition() {
        let mut rng = Rng::new(5);
        let (mut values, mut variances) = (Vec::new(), 0.0);
        for _ in 0..2000 {
            let clusters: Vec<Gain> = (0..32)
                .map(|_| {
                    let size = 50.0 + 100.0 * rng.unit();
                    Gain { hits: size * 0.1 * (rng.unit() - 0.4), size }
                })
                .collect();
            let ratio = Ratio::of(clusters.iter().copied());
            values.push(ratio.value);
            variances += ratio.variance / 2000.0;
        }
        let mean = values.iter().sum::<f64>() / 2000.0;
        let real = values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / 1999.0;
        assert!((mean - 0.01).abs() < 0.001, "{mean}");
        assert!((variances / real - 1.0).abs() < 0.1, "{variances} {real}");
    }

    #[test]
    fn a_hot_key_in_one_arm_is_no_effect() {
        let tail = Gain { hits: 2.0, size: 100.0 };
        let treatment = Strata { head: Gain { hits: 0.0, size: 1.0 }, head_accesses: 300.0, tail };
        let mut sums = ByArm { treatment, control: Strata { tail, ..Strata::default() } };
        assert_eq!((sums.head_share(), sums.effect()), (0.6, 0.0));
        assert!((sums.bias() - 0.4 * 0.02).abs() < 1e-12);
        // A policy that lets a hot key go five times loses five hits of 500 accesses.
        sums.treatment.head.hits = -5.0;
        assert!((sums.effect() + 0.01).abs() < 1e-12);
        assert!((sums.own_effect() - (-3.0 / 400.0 - 0.02)).abs() < 1e-12);
    }
}
