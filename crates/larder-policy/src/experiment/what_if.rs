//! What the hit ratio would be with more memory, or less.

use std::time::Duration;

use super::ghost::Ghost;
use crate::{Access, Capacity, Error, ErrorKind, Op, Policy, Sample};

/// Sizes looked at, as multiples of the capacity.
const SCALES: [f64; 6] = [0.25, 0.5, 1.0, 2.0, 4.0, 8.0];
/// Bytes of a GiB.
const GIB: f64 = (1u64 << 30) as f64;

/// Ghosts of several sizes beside one shard, over a share of its keys: a miss-ratio curve of live traffic (SHARDS: Waldspurger et al., FAST 2015;
/// miniature simulation: ATC 2017).
pub struct WhatIf {
    sample: Sample,
    ghosts: Vec<Ghost>,
    curve: SizeCurve,
}

/// The hit ratio by size. The sum over the shards of a cache begins with the default.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SizeCurve {
    rate: f64,
    /// The shards' capacities, in units of weight.
    capacity: f64,
    accesses: u64,
    /// Misses of the sampled keys at each scale.
    misses: [u64; SCALES.len()],
}

/// A point of a curve.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SizePoint {
    /// The size as a multiple of what there is.
    pub scale: f64,
    /// The size in units of weight.
    pub capacity: f64,
    /// The share of accesses that would hit.
    pub hit_ratio: f64,
}

/// What memory and loads cost, in one currency. By default nothing has a price.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Prices {
    /// A GiB for an hour.
    pub gib_hour: f64,
    /// A load from the origin.
    pub load: f64,
}

/// What an hour costs.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct HourlyCost {
    /// Its memory.
    pub memory: f64,
    /// Its loads from the origin.
    pub loads: f64,
}

impl Prices {
    /// The same, if both are prices.
    ///
    /// # Errors
    /// One is negative or not finite.
    pub fn checked(self) -> Result<Self, Error> {
        let named = [("a GiB-hour", self.gib_hour), ("a load", self.load)];
        match named.into_iter().find(|(_, price)| !(price.is_finite() && *price >= 0.0)) {
            Some((what, price)) => {
                let what = format!("the price of {what}, {price}, is not a number of at least 0");
                Err(Error::new(ErrorKind::BadValue, what))
            }
            None => Ok(self),
        }
    }

    /// Whether anything has a price.
    pub fn is_given(self) -> bool {
        self.gib_hour > 0.0 || self.load > 0.0
    }

    /// What an hour with so many bytes of memory and so many loads costs.
    pub fn hour(self, bytes: f64, loads: f64) -> HourlyCost {
        HourlyCost { memory: bytes / GIB * self.gib_hour, loads: loads * self.load }
    }
}

impl HourlyCost {
    /// Memory and loads.
    pub fn total(self) -> f64 {
        self.memory + self.loads
    }
}

impl WhatIf {
    /// Beside a shard of `capacity`, over a share of its keys. `policy` builds the policy for each ghost's capacity.
    ///
    /// # Errors
    /// A rate that is not above 0 and at most 1.
    pub fn new(capacity: Capacity, rate: f64, seed: u64, policy: impl Fn(Capacity) -> Policy) -> Result<Self, Error> {
        let ghost = |scale: f64| {
            let capacity = Capacity { limit: ghost_limit(capacity.limit, scale, rate), ..capacity };
            Ghost::new(capacity, policy(capacity))
        };
        Ok(Self {
            sample: Sample::new(rate, seed)?,
            ghosts: SCALES.map(ghost).into(),
            curve: SizeCurve { rate, capacity: capacity.limit as f64, ..SizeCurve::default() },
        })
    }

    /// Notes an access, as [`Probe::record`](super::Probe::record) does. Gets and sets count alike.
    #[inline]
    pub fn record(&mut self, access: &Access, given: Option<Duration>) {
        self.curve.accesses += u64::from(access.op != Op::Delete);
        if self.sample.takes(access.key) {
            self.ask_ghosts(access, given);
        }
    }

    /// Notes a get that the shard could not answer, before it is known what it will store.
    #[inline]
    pub fn miss(&mut self, access: &Access) {
        self.curve.accesses += 1;
        if self.sample.takes(access.key) {
            for (ghost, misses) in self.ghosts.iter_mut().zip(&mut self.curve.misses) {
                *misses += u64::from(!ghost.look(access));
            }
        }
    }

    /// Notes what the shard is offered after a [`miss`](Self::miss), or in place of what it has.
    #[inline]
    pub fn fill(&mut self, access: &Access, given: Option<Duration>) {
        if self.sample.takes(access.key) {
            self.ghosts.iter_mut().for_each(|ghost| ghost.fill(access, given));
        }
    }

    /// The shard was emptied.
    pub fn clear(&mut self) {
        self.ghosts.iter_mut().for_each(Ghost::clear);
    }

    /// The shard's capacity has changed.
    pub fn resize(&mut self, limit: u64) {
        for (ghost, scale) in self.ghosts.iter_mut().zip(SCALES) {
            ghost.resize(ghost_limit(limit, scale, self.curve.rate));
        }
        self.curve.capacity = limit as f64;
    }

    /// What was counted since the last call.
    pub fn take(&mut self) -> SizeCurve {
        let next = SizeCurve { accesses: 0, misses: [0; SCALES.len()], ..self.curve };
        std::mem::replace(&mut self.curve, next)
    }

    /// Bytes allocated.
    pub fn bytes(&self) -> usize {
        self.ghosts.iter().map(Ghost::bytes).sum()
    }

    fn ask_ghosts(&mut self, access: &Access, given: Option<Duration>) {
        for (ghost, misses) in self.ghosts.iter_mut().zip(&mut self.curve.misses) {
            let hit = ghost.ask(access, given);
            *misses += u64::from(!hit && access.op != Op::Delete);
        }
    }
}

/// Room for a share of the keys at a multiple of the size.
fn ghost_limit(limit: u64, scale: f64, rate: f64) -> u64 {
    ((limit as f64 * scale * rate).round() as u64).max(1)
}

impl SizeCurve {
    /// Adds another shard of the same cache.
    pub fn add_shard(&mut self, other: &Self) {
        self.capacity += other.capacity;
        self.rate = other.rate;
        self.count(other);
    }

    /// Adds what the same shards counted later, with the capacity they have now.
    pub fn extend(&mut self, later: &Self) {
        self.capacity = later.capacity;
        self.count(later);
    }

    fn count(&mut self, later: &Self) {
        self.accesses += later.accesses;
        self.misses.iter_mut().zip(later.misses).for_each(|(sum, misses)| *sum += misses);
    }

    /// Accesses counted.
    pub fn accesses(&self) -> u64 {
        self.accesses
    }

    /// By size, ascending. Misses are set against the accesses the sample should have had, not those it had: whether a hot key is among the
    /// sampled ones changes the hits, hardly the misses (SHARDS-adj).
    pub fn points(&self) -> Vec<SizePoint> {
        let expected = self.accesses as f64 * self.rate;
        let mut least = 1.0f64;
        let point = |(scale, misses): (f64, u64)| {
            let ratio = if expected > 0.0 { misses as f64 / expected } else { 1.0 };
            // More memory does not harm: where the estimate says so, it is noise.
            least = least.min(ratio);
            SizePoint { scale, capacity: self.capacity * scale, hit_ratio: 1.0 - least }
        };
        SCALES.into_iter().zip(self.misses).map(point).collect()
    }

    /// The hit ratio at a multiple of the size there is, between the sizes looked at by the logarithm; `None` outside of 1/4 to 8, or without
    /// accesses.
    pub fn hit_ratio_at(&self, scale: f64) -> Option<f64> {
        let points = self.points();
        let inside = self.accesses > 0 && scale >= SCALES[0] && scale <= SCALES[SCALES.len() - 1];
        let after = points.iter().position(|point| point.scale >= scale).filter(|_| inside)?;
        let (high, low) = (points[after], points[after.saturating_sub(1)]);
        let part = if after == 0 { 1.0 } else { (scale / low.scale).ln() / (high.scale / low.scale).ln() };
        Some(low.hit_ratio + part * (high.hit_ratio - low.hit_ratio))
    }

    /// The multiple of the size that there is at which the hit ratio is reached; `None` where none of the sizes looked at reaches it.
    pub fn scale_for(&self, hit_ratio: f64) -> Option<f64> {
        let points = self.points();
        let after = points.iter().position(|point| point.hit_ratio >= hit_ratio).filter(|_| self.accesses > 0)?;
        let (high, low) = (points[after], points[after.saturating_sub(1)]);
        let rise = high.hit_ratio - low.hit_ratio;
        let part = if rise > 0.0 { (hit_ratio - low.hit_ratio) / rise } else { 1.0 };
        Some(low.scale * (high.scale / low.scale).powf(part))
    }

    /// By size, how many loads an hour would see, where at the size that there is it sees `loads`: they are as many times more as the misses.
    pub fn loads_by_size(&self, loads: f64) -> Vec<(SizePoint, f64)> {
        let here = self.hit_ratio_at(1.0).map_or(0.0, |hit_ratio| 1.0 - hit_ratio);
        // Without misses no load was for want of memory.
        let times = |point: SizePoint| if here > 0.0 { (1.0 - point.hit_ratio) / here } else { 1.0 };
        self.points().into_iter().map(|point| (point, loads * times(point))).collect()
    }
}
