//! The cache that serves misses what the replay says it would.
#![allow(clippy::unwrap_used, reason = "outside of test functions, but in tests alone")]

use std::convert::Infallible;

use larder::{Cache, Clock, Freshness, Time};
use larder_policy::{Access, Capacity, KeyHash, Lookup, PolicySpec, Shard};
use larder_tests::shared_trace;
use larder_trace::{Options, Reader, Request, open};

const SEED: u64 = 1;

/// Misses of a replay.
fn replayed(requests: &[Request], policy: &str, objects: u64) -> u64 {
    let (capacity, spec) = (Capacity::objects(objects), policy.parse::<PolicySpec>().unwrap());
    let mut shard: Shard<()> = Shard::new(capacity, spec.build(capacity, SEED));
    let (mut misses, mut evicted) = (0, Vec::new());
    for request in requests {
        let access = Access::get(KeyHash::mix(request.key), request.at);
        if let Lookup::Miss(miss) = shard.lookup(&access) {
            misses += 1;
            let plan = shard.plan(&access, miss, None);
            shard.insert(&access, (), &plan, &mut evicted);
            evicted.clear();
        }
    }
    misses
}

/// Loads of a cache before an origin.
async fn served(requests: &[Request], policy: &str, objects: u64, segments: usize) -> u64 {
    let start = Time(1_795_000_000_000_000);
    let clock = Clock::manual(start);
    let day = std::time::Duration::from_secs(24 * 3600);
    let cache: Cache<u64, u64> = Cache::builder()
        .capacity(objects)
        .policy(policy)
        .segments(segments)
        .freshness(Freshness::fixed_ttl(100_000 * day))
        .clock(clock.clone())
        .seed(SEED)
        .build()
        .unwrap();
    let mut before = Time(0);
    for request in requests {
        clock.advance(request.at.since(before));
        before = request.at;
        let key = request.key;
        let value = cache.get_with(&key, move || async move { Ok::<_, Infallible>(key) }).await.unwrap();
        assert_eq!(value, key);
    }
    cache.validate();
    cache.stats().counts.loads
}

#[tokio::test]
async fn a_live_cache_misses_what_the_replay_says() {
    let Some(path) = shared_trace("web07") else { return };
    let (mut trace, mut requests) = (open(&path, &Options::default()).unwrap(), Vec::new());
    while trace.read(&mut requests, 1 << 16).unwrap() > 0 {}
    for policy in ["lru", "sieve", "s3fifo", "arc"] {
        let expected = replayed(&requests, policy, 2000);
        assert_eq!(served(&requests, policy, 2000, 1).await, expected, "{policy}");
    }
    // The learned policy chooses its samples by hash, and a service's hashes are secret: equal but for chance.
    let share = |misses: u64| misses as f64 / requests.len() as f64;
    for policy in ["lru", "s3fifo", "learned"] {
        let expected = share(replayed(&requests, policy, 4000));
        for segments in [1, 16] {
            let found = share(served(&requests, policy, 4000, segments).await);
            assert!((found - expected).abs() < 0.01, "{policy} in {segments} segments: {found}, replayed {expected}");
        }
    }
}
