//! What the benches share: the kernel driven as every replay drives it, and nothing around it.
#![forbid(unsafe_code)]

use larder_policy::eviction::Eviction;
use larder_policy::{Capacity, Evicted, Host, Lookup, Policy, PolicySpec, Shard};
use larder_trace::Request;

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

impl<E: Eviction + ?Sized> Cache for Emptied<E> {
    fn run(&mut self, requests: &[Request]) -> u64 {
        let mut misses = 0;
        for request in requests {
            let access = &request.access();
            if let Lookup::Miss(miss) = self.shard.lookup(access) {
                misses += 1;
                let plan = self.shard.plan(access, miss, None);
                self.evicted.clear();
                self.shard.insert(access, (), &plan, &mut self.evicted);
            }
        }
        misses
    }

    fn bytes_per_object(&self) -> f64 {
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
