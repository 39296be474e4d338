//! What a policy gains where it is on everywhere, and there is no other arm to compare it with.

use super::counts::ShardSlice;
use super::effect::{Gain, Interval};
use super::normal::student_quantile;
use super::sequence::{Settled, anytime_width};

/// Groups of a shard's sampled keys: with few shards, only keys tell how much another sample would say.
pub(crate) const GROUPS: usize = 16;

/// What the treated shards hit more than their own ghosts.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct OwnGain {
    /// In hit ratio, by requests.
    pub estimate: f64,
    /// The treated shards' real hit ratio, on all their traffic.
    pub hit_ratio: f64,
    /// The interval for who looks at any time, as often as they like.
    pub anytime: Interval,
    /// How the slices were merged.
    pub settled: Settled,
    /// Slices that count, before they were merged.
    pub counted: u64,
}

impl OwnGain {
    /// What the control would have hit.
    pub fn control(&self) -> f64 {
        (self.hit_ratio - self.estimate).clamp(0.0, 1.0)
    }
}

/// A variance, and its degrees of freedom.
pub(crate) type Variance = (f64, f64);

/// Half an interval of a gain over ghosts, looked at any time: by how much slices differ, and beside that, independent of it, by how much another
/// `sample` of the keys might say else. Two splits tell of the latter, and the wider counts: groups of sampled keys, and shards, whose ghosts are
/// each a little too large or small for the keys they happen to see.
pub(crate) fn half_width(settled: Settled, sample: [Variance; 2], alpha: f64, horizon: u64) -> f64 {
    let slices = settled.slices as f64;
    let horizon = horizon as f64 / settled.width.max(1) as f64;
    let by_slices = settled.standard_error * anytime_width(slices, horizon, alpha, (slices - 1.0).max(1.0));
    // A split of the keys does not change with time, but which keys are asked for does, and so what is known of how much it matters: looked at
    // again and again, few shards seem by chance to agree now and then. With half the level the interval holds the truth as often as it should.
    let by_sample = sample.map(|(variance, df)| variance.sqrt() * student_quantile(alpha / 4.0, df));
    by_slices.hypot(by_sample.into_iter().fold(0.0, f64::max))
}

/// Gained hits and accesses of the sampled keys outside the head, by group.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Groups([Group; GROUPS]);

#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Group {
    gained: i64,
    accesses: u64,
}

impl Groups {
    /// Counts an access; any 4 bits of `bits` that do not depend on the shard.
    #[inline]
    pub(crate) fn count(&mut self, bits: u64, hit: bool, ghost_hit: bool) {
        let group = &mut self.0[bits as usize % GROUPS];
        group.gained += i64::from(hit) - i64::from(ghost_hit);
        group.accesses += 1;
    }

    /// Spreads counts evenly over the groups.
    #[cfg(test)]
    pub(crate) fn count_many(&mut self, accesses: u64, gained: i64) {
        for (at, group) in (0..).zip(&mut self.0) {
            let part = |of: i64| (of + at).div_euclid(GROUPS as i64);
            *group = Group { gained: part(gained), accesses: part(accesses as i64) as u64 };
        }
    }

    pub(crate) fn add(&mut self, slice: &ShardSlice) {
        for (sum, more) in self.0.iter_mut().zip(&slice.groups.0) {
            sum.gained += more.gained;
            sum.accesses += more.accesses;
        }
    }

    /// Of all groups together.
    pub(crate) fn whole(&self) -> Gain {
        self.gains().fold(Gain::default(), |sum, one| Gain { hits: sum.hits + one.hits, size: sum.size + one.size })
    }

    pub(crate) fn gains(&self) -> impl Iterator<Item = Gain> + Clone {
        self.0.iter().map(|group| Gain { hits: group.gained as f64, size: group.accesses as f64 })
    }
}
