//! What the benches share: the kernel driven as every replay drives it, and nothing around it.
#![forbid(unsafe_code)]

use larder_policy::{Access, Capacity, Evicted, Lookup, PolicySpec, Shard};
use larder_trace::Request;

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
        for batch in requests.chunks(BATCH) {
            self.accesses.clear();
            self.accesses.extend(batch.iter().map(Request::access));
            self.run_batch();
        }
        self.requests += requests.len() as u64;
    }

    /// Never inlined, so that a profile shows it.
    #[inline(never)]
    fn run_batch(&mut self) {
        for access in &self.accesses {
            if let Lookup::Miss(miss) = self.shard.lookup(access) {
                self.misses += 1;
                let plan = self.shard.plan(access, miss, None);
                self.evicted.clear();
                self.shard.insert(access, (), &plan, &mut self.evicted);
            }
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_replay_counts_what_misses() {
        let policy = "lru".parse().unwrap();
        let mut replay = Replay::new(&policy, 2);
        let requests = [1, 2, 1, 3, 2, 3].map(|key| Request { key, size: 1, ..Request::default() });
        replay.run(&requests);
        assert_eq!((replay.requests, replay.misses), (6, 4));
        assert!(replay.bytes_per_object() > 0.0);
    }
}
