//! What the benches share: the kernel driven as every replay drives it and nothing around it, the peer beside it, and
//! what both are fed.
#![forbid(unsafe_code)]

pub mod machine;
pub mod peer;
pub mod server;
pub mod workload;

use std::path::PathBuf;

use larder_policy::eviction::Eviction;
use larder_policy::{Access, Capacity, Evicted, Host, KeyHash, Lookup, Policy, PolicySpec, Shard};
use larder_trace::Request;
use rustix::time::{ClockId, clock_gettime};

/// The seed of every run.
pub const SEED: u64 = 1;

/// A cache without values, fed request by request.
pub struct Replay {
    cache: Box<dyn Cache>,
    /// Requests so far.
    pub requests: u64,
    /// Those that found nothing.
    pub misses: u64,
}

impl Replay {
    /// An empty cache of so many objects.
    pub fn new(policy: &PolicySpec, objects: u64) -> Self {
        let capacity = Capacity::objects(objects);
        let cache = policy.build_for(capacity, SEED, Builder(capacity));
        Self { cache, requests: 0, misses: 0 }
    }

    /// Looks up every request's key, and stores what was not found.
    pub fn run(&mut self, requests: &[Request]) {
        self.misses += self.cache.run(requests);
        self.requests += requests.len() as u64;
    }

    /// The same with accesses at hand.
    pub fn run_accesses(&mut self, accesses: &[Access]) {
        self.misses += self.cache.run_accesses(accesses);
        self.requests += accesses.len() as u64;
    }

    /// Looks up every access's key, stores nothing, and returns how many were found.
    pub fn look_up(&mut self, accesses: &[Access]) -> usize {
        self.cache.look_up(accesses)
    }

    /// Whether the key is resident; this is no access.
    pub fn holds(&self, key: KeyHash) -> bool {
        self.cache.holds(key)
    }

    /// Misses as a share of the requests.
    pub fn miss_ratio(&self) -> f64 {
        self.misses as f64 / self.requests as f64
    }

    /// Bytes of metadata for each object now resident.
    pub fn bytes_per_object(&self) -> f64 {
        self.cache.bytes_per_object()
    }
}

/// A shard, whatever its policy: called once a batch.
trait Cache {
    /// Looks up every key and stores what is not found; returns how many were not.
    fn run(&mut self, requests: &[Request]) -> u64;
    fn run_accesses(&mut self, accesses: &[Access]) -> u64;
    fn look_up(&mut self, accesses: &[Access]) -> usize;
    fn holds(&self, key: KeyHash) -> bool;
    fn bytes_per_object(&self) -> f64;
}

struct Builder(Capacity);

impl Host for Builder {
    type Made = Box<dyn Cache>;

    fn host<E: Eviction + ?Sized + 'static>(self, policy: Policy<E>) -> Box<dyn Cache> {
        Box::new(Emptied { shard: Shard::new(self.0, policy), evicted: Vec::new() })
    }
}

/// A shard, and room for what leaves it.
struct Emptied<E: Eviction + ?Sized> {
    shard: Shard<(), E>,
    evicted: Vec<Evicted<()>>,
}

impl<E: Eviction + ?Sized> Emptied<E> {
    /// Whether it missed.
    #[inline(always)]
    fn step(&mut self, access: &Access) -> bool {
        let Lookup::Miss(miss) = self.shard.lookup(access) else { return false };
        let plan = self.shard.plan(access, miss, None);
        self.evicted.clear();
        self.shard.insert(access, (), &plan, &mut self.evicted);
        true
    }
}

impl<E: Eviction + ?Sized> Cache for Emptied<E> {
    fn run(&mut self, requests: &[Request]) -> u64 {
        let mut misses = 0;
        for request in requests {
            misses += u64::from(self.step(&request.access()));
        }
        misses
    }

    fn run_accesses(&mut self, accesses: &[Access]) -> u64 {
        let mut misses = 0;
        for access in accesses {
            misses += u64::from(self.step(access));
        }
        misses
    }

    fn look_up(&mut self, accesses: &[Access]) -> usize {
        accesses.iter().filter(|access| self.shard.lookup(access).is_hit()).count()
    }

    fn holds(&self, key: KeyHash) -> bool {
        self.shard.peek(key).is_some()
    }

    fn bytes_per_object(&self) -> f64 {
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
