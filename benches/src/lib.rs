//! What the benches share: the kernel driven as every replay drives it and nothing around it, the peer beside it, and
//! what both are fed.
#![forbid(unsafe_code)]

pub mod machine;
pub mod peer;
pub mod workload;

use std::path::PathBuf;

use larder_policy::{Access, Capacity, Evicted, KeyHash, Lookup, PolicySpec, Shard};
use larder_trace::Request;
use rustix::time::{ClockId, clock_gettime};

/// Requests turned into accesses at a time, as `larder replay` does it: their hashes are then ready.
const BATCH: usize = 1 << 10;

/// The seed of every run.
pub const SEED: u64 = 1;

/// A cache without values, fed one request at a time.
pub struct Replay {
    shard: Shard<()>,
    accesses: Vec<Access>,
    evicted: Vec<Evicted<()>>,
    /// Requests so far.
    pub requests: u64,
    /// Those that found nothing.
    pub misses: u64,
}

impl Replay {
    /// An empty cache of so many objects.
    pub fn new(policy: &PolicySpec, objects: u64) -> Self {
        let capacity = Capacity::objects(objects);
        let shard = Shard::new(capacity, policy.build(capacity, SEED));
        Self { shard, accesses: Vec::new(), evicted: Vec::new(), requests: 0, misses: 0 }
    }

    /// Looks up every request's key, and stores what was not found.
    pub fn run(&mut self, requests: &[Request]) {
        let mut accesses = std::mem::take(&mut self.accesses);
        for batch in requests.chunks(BATCH) {
            accesses.clear();
            accesses.extend(batch.iter().map(Request::access));
            self.run_accesses(&accesses);
        }
        self.accesses = accesses;
    }

    /// The same with accesses at hand. Never inlined, so that a profile shows it.
    #[inline(never)]
    pub fn run_accesses(&mut self, accesses: &[Access]) {
        for access in accesses {
            if let Lookup::Miss(miss) = self.shard.lookup(access) {
                self.misses += 1;
                let plan = self.shard.plan(access, miss, None);
                self.evicted.clear();
                self.shard.insert(access, (), &plan, &mut self.evicted);
            }
        }
        self.requests += accesses.len() as u64;
    }

    /// Looks up every access's key, stores nothing, and returns how many were found.
    #[inline(never)]
    pub fn look_up(&mut self, accesses: &[Access]) -> usize {
        accesses.iter().filter(|access| self.shard.lookup(access).is_hit()).count()
    }

    /// Whether the key is resident; this is no access.
    pub fn holds(&self, key: KeyHash) -> bool {
        self.shard.peek(key).is_some()
    }

    /// Misses as a share of the requests.
    pub fn miss_ratio(&self) -> f64 {
        self.misses as f64 / self.requests as f64
    }

    /// Bytes of metadata for each object now resident.
    pub fn bytes_per_object(&self) -> f64 {
        self.shard.metadata_bytes() as f64 / self.shard.len() as f64
    }
}

/// This thread's time on a processor: what else runs on the machine then matters less than by the wall.
pub fn cpu_seconds() -> f64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}

/// The middle of at least one value.
pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// The workspace's top folder.
pub fn root() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}

/// Where builds, and what the benches install, go.
pub fn target() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from)
}

/// The folder of real traces: `LARDER_TRACES`, else `../shared/traces` beside the workspace.
pub fn traces() -> PathBuf {
    std::env::var_os("LARDER_TRACES").map_or_else(|| root().join("../shared/traces"), PathBuf::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_stands_in_the_middle() {
        assert_eq!(median(vec![3.0]), 3.0);
        assert_eq!(median(vec![9.0, 1.0, 2.0]), 2.0);
    }

    #[test]
    fn a_replay_counts_what_misses() {
        let policy = "lru".parse().unwrap();
        let mut replay = Replay::new(&policy, 2);
        let requests = [1, 2, 1, 3, 2, 3].map(|key| Request { key, size: 1, ..Request::default() });
        replay.run(&requests);
        assert_eq!((replay.requests, replay.misses), (6, 4));
        assert!(replay.bytes_per_object() > 0.0);
        let held = requests.map(|request| request.access()).into_iter().filter(|access| replay.holds(access.key));
        let held: Vec<_> = held.collect();
        // 2 and 3, twice each, stayed.
        assert_eq!((held.len(), replay.look_up(&held)), (4, 4));
        assert_eq!(replay.look_up(&[requests[0].access()]), 0);
    }
}
