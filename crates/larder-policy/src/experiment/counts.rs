//! What is counted: by shard, slice and weight.

use std::ops::{AddAssign, Sub};

use super::latencies::Latencies;
use super::own::Groups;
use crate::Access;
use crate::freshness::Audited;

/// What an access counts for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Weighting {
    /// Each access counts once.
    #[default]
    Requests,
    /// By the bytes of its value.
    Bytes,
    /// By what a load of its value costs, in microseconds of latency.
    Cost,
}

impl Weighting {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Requests, Self::Bytes, Self::Cost];
}

/// A number of accesses, and what they weigh.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Weighed {
    /// Accesses.
    pub requests: u64,
    /// Bytes of their values.
    pub bytes: u64,
    /// What loads of their values cost, in microseconds; 0 where unknown.
    pub cost: u64,
}

impl Weighed {
    /// One access.
    #[inline]
    pub fn one(access: &Access) -> Self {
        Self { requests: 1, bytes: u64::from(access.size), cost: u64::from(access.cost) }
    }

    /// One of the three numbers.
    pub fn by(self, weighting: Weighting) -> f64 {
        (match weighting {
            Weighting::Requests => self.requests,
            Weighting::Bytes => self.bytes,
            Weighting::Cost => self.cost,
        }) as f64
    }
}

impl AddAssign for Weighed {
    #[inline]
    fn add_assign(&mut self, other: Self) {
        self.requests += other.requests;
        self.bytes += other.bytes;
        self.cost += other.cost;
    }
}

impl Sub for Weighed {
    type Output = Self;

    fn sub(self, other: Self) -> Self {
        Self {
            requests: self.requests.saturating_sub(other.requests),
            bytes: self.bytes.saturating_sub(other.bytes),
            cost: self.cost.saturating_sub(other.cost),
        }
    }
}

/// Accesses that the shard and its ghost both answered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Trials {
    /// All of them.
    pub accesses: Weighed,
    /// Those the shard hit.
    pub hits: Weighed,
    /// Those the ghost hit.
    pub ghost_hits: Weighed,
}

impl Trials {
    /// The shard's hits minus the ghost's.
    pub fn gain(&self, weighting: Weighting) -> f64 {
        self.hits.by(weighting) - self.ghost_hits.by(weighting)
    }
}

/// What ghosts cannot see, as the host measured it in a slice. What it does not measure stays as it is by default.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Measures {
    /// Loads from the origin, refreshes and audits included.
    pub origin_loads: u64,
    /// What audits found of how stale answers were.
    pub audited: Audited,
    /// How long reads took, or a sample of them.
    pub latencies: Latencies,
}

/// Buckets of the sketch of how unequal the keys are.
pub(crate) const BUCKETS: usize = 64;

/// What one shard counted in one slice: what [`Probe::end_slice`](super::Probe::end_slice) hands over.
#[derive(Clone, Debug, PartialEq)]
pub struct ShardSlice {
    /// All counted accesses.
    pub accesses: Weighed,
    /// Those that hit.
    pub hits: Weighed,
    /// Trials of the hottest keys, each of them.
    pub head: Trials,
    /// How many keys those are.
    pub head_keys: u64,
    /// Trials of the sampled ones of all other keys.
    pub tail: Trials,
    /// The share of the other keys that is sampled.
    pub rate: f64,
    /// Whether the sizes and costs of all accesses are known.
    pub is_weighed: bool,
    /// What was loaded, in units of the capacity's weight, by the capacity.
    pub turnovers: f64,
    /// The share of this shard's accesses that the hottest key outside the head surely has.
    pub hottest: f64,
    /// A count sketch (Charikar, Chen, Farach-Colton 2002) of the sampled keys outside the head: squares sum up to about the sum of squared
    /// counts.
    pub(crate) sketch: [i64; BUCKETS],
    /// The sampled keys outside the head in groups.
    pub(crate) groups: Groups,
    /// What the host adds.
    pub measures: Measures,
}

impl ShardSlice {
    /// The accesses outside the head.
    pub fn tail_accesses(&self) -> Weighed {
        self.accesses - self.head.accesses
    }
}

impl Default for ShardSlice {
    fn default() -> Self {
        Self {
            accesses: Weighed::default(),
            hits: Weighed::default(),
            head: Trials::default(),
            head_keys: 0,
            tail: Trials::default(),
            rate: 1.0,
            is_weighed: true,
            turnovers: 0.0,
            hottest: 0.0,
            sketch: [0; BUCKETS],
            groups: Groups::default(),
            measures: Measures::default(),
        }
    }
}
