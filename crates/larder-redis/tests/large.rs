//! Row 14: I6. Values as large as Redis takes, and larger: 64 MiB here, 512 MB with `LARDER_SOAK`. What is too large for the tier stays out of
//! it and out of its queues; a stranger's is not even read; the readers have their answers.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use std::alloc::System;
use std::collections::HashMap;
use std::convert::Infallible;
use std::future::ready;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use cap::Cap;
use larder::remote::{BreakerState, TierConfig};
use larder::{Cache, codec};
use larder_redis::{RedisConfig, RedisStore};
use support::server::Server;
use support::{RECOVERY, eventually};
use tokio::runtime::Handle;

#[global_allocator]
static MEMORY: Cap<System> = Cap::new(System, usize::MAX);

const MIB: usize = 1 << 20;
/// What a Redis takes as one value, unless told otherwise.
const MOST: usize = 512 * MIB;

fn large() -> usize {
    if std::env::var_os("LARDER_SOAK").is_some_and(|soak| !soak.is_empty()) { MOST } else { 64 * MIB }
}

async fn process(server: &Server, tier: TierConfig) -> Cache<u64, Vec<u8>> {
    let mut config = RedisConfig::single(&server.url()).unwrap();
    config.answer_within = Duration::from_secs(60);
    let store = Arc::new(RedisStore::new(config, &Handle::current()).unwrap());
    let weigh = |_: &u64, value: &Vec<u8>| u32::try_from(value.len()).unwrap_or(u32::MAX);
    let cache = Cache::builder()
        .name("large")
        .capacity_bytes(32 << 20, weigh)
        .tier(tier)
        .remote(store.clone(), Plain)
        .build()
        .unwrap();
    eventually("it connects", RECOVERY, async || store.state().connected && store.state().listening).await;
    cache
}

/// Bytes as they are.
struct Plain;

impl codec::Codec<Vec<u8>> for Plain {
    fn encode(&self, value: &Vec<u8>) -> Result<Bytes, larder::Error> {
        Ok(Bytes::copy_from_slice(value))
    }

    fn decode(&self, bytes: &Bytes) -> Result<Vec<u8>, larder::Error> {
        Ok(bytes.to_vec())
    }
}

async fn load(cache: &Cache<u64, Vec<u8>>, key: u64, size: usize) -> usize {
    cache.get_with(&key, move || ready(Ok::<_, Infallible>(vec![key as u8; size]))).await.unwrap().len()
}

/// One after the other: they weigh what they allocate.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn row_14_values_as_large_as_a_redis_takes() {
    need_redis!();
    a_strangers_value_is_not_read().await;
    among_many_one_strangers_value_is_read_and_no_second().await;
    what_is_too_large_stays_out_of_the_tier().await;
    what_fits_goes_there_and_back().await;
}

async fn a_strangers_value_is_not_read() {
    let server = Server::start(&[]);
    let cache = process(&server, TierConfig { deadline: Duration::from_secs(5), ..TierConfig::default() }).await;
    // Zeros up to there.
    let _: i64 = server.tell(&["SETRANGE", "large:1", &(large() - 1).to_string(), "x"]).unwrap();
    let before = MEMORY.total_allocated();
    assert_eq!(load(&cache, 1, 10).await, 10);
    // Whichever way the connection reads it: a buffer that grows, and a copy of what a value may have.
    let (allocated, limit) = (MEMORY.total_allocated() - before, TierConfig::default().form.limit);
    assert!(allocated < 6 * limit && allocated < 2 * large(), "{allocated} bytes for a stranger's value");
    let tier = cache.remote().unwrap();
    assert_eq!((tier.counts().foreign, tier.state().breaker), (1, BreakerState::Closed));
    // It makes room for the cache's own, which another process then has.
    eventually("it is overwritten", RECOVERY, async || server.tell::<usize>(&["STRLEN", "large:1"]).unwrap() < 1_000)
        .await;
    let other = process(&server, TierConfig::default()).await;
    assert_eq!(other.get(&1).await.map(|value| value.len()), Some(10));
}

async fn among_many_one_strangers_value_is_read_and_no_second() {
    let server = Server::start(&[]);
    let cache = process(&server, TierConfig { deadline: Duration::from_secs(5), ..TierConfig::default() }).await;
    let mut allocated = Vec::new();
    for first in [10, 20] {
        let stranger = format!("large:{}", first + 1);
        let _: i64 = server.tell(&["SETRANGE", &stranger, &(large() - 1).to_string(), "x"]).unwrap();
        let keys: Vec<u64> = (first..first + 5).collect();
        let load = |missing: Vec<u64>| {
            let loaded = missing.into_iter().map(|key| (key, vec![1; 10])).collect();
            ready(Ok::<HashMap<u64, Vec<u8>>, Infallible>(loaded))
        };
        let before = MEMORY.total_allocated();
        assert_eq!(cache.get_many_with(keys, load).await.unwrap().len(), 5);
        allocated.push(MEMORY.total_allocated() - before);
    }
    assert!(allocated[0] > large(), "it was not read: {allocated:?}");
    assert!(allocated[1] < 6 * TierConfig::default().form.limit && allocated[1] < 2 * large(), "{allocated:?}");
}

async fn what_is_too_large_stays_out_of_the_tier() {
    let server = Server::start(&[]);
    let cache = process(&server, TierConfig::default()).await;
    assert_eq!(load(&cache, 1, large()).await, large());
    // More than the memory may hold, and more than the tier takes.
    assert_eq!((cache.local(&1), cache.stats().entries, cache.stats().counts.too_heavy), (None, 0, 1));
    let tier = cache.remote().unwrap();
    assert_eq!((tier.counts().bad_fills, tier.state().queued_bytes), (1, 0));
    assert_eq!(load(&cache, 2, 10).await, 10);
    eventually("others go there", RECOVERY, async || tier.counts().filled == 1).await;
    assert_eq!(server.tell::<usize>(&["EXISTS", "large:1"]).unwrap(), 0);
    cache.validate();
}

/// With settings for it, the largest values there can be are kept; one that Redis itself does not take is lost, and nothing else.
async fn what_fits_goes_there_and_back() {
    let server = Server::start(&["--save", "", "--client-output-buffer-limit", "normal 0 0 0"]);
    let tier = || {
        let mut tier = TierConfig { deadline: Duration::from_secs(60), queue_bytes: 2 * MOST, ..TierConfig::default() };
        (tier.form.limit, tier.form.pack_above) = (MOST, usize::MAX);
        tier
    };
    let cache = process(&server, tier()).await;
    let most = large() - MIB;
    assert_eq!(load(&cache, 1, most).await, most);
    let counts = || cache.remote().unwrap().counts();
    eventually("it is kept", Duration::from_secs(60), async || counts().filled == 1).await;
    let other = process(&server, tier()).await;
    let back = other.get(&1).await.unwrap();
    assert!(back.len() == most && back.iter().all(|byte| *byte == 1), "{} bytes came back", back.len());
    drop(back);
    if large() == MOST {
        // With the envelope around it this is more than Redis takes.
        assert_eq!(load(&cache, 2, MOST).await, MOST);
        eventually("it is lost", Duration::from_secs(60), async || counts().lost_fills >= 1).await;
    }
    eventually("small ones go on", RECOVERY, async || {
        load(&cache, 3, 10).await;
        server.tell::<usize>(&["EXISTS", "large:3"]).unwrap() == 1 || {
            cache.remove(&3).await.unwrap();
            false
        }
    })
    .await;
}
