//! What the stronger forms of consistency promise, and what they leave alone.
#![allow(clippy::unwrap_used, reason = "outside of test functions, but in tests alone")]

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use larder::remote::InProcess;
use larder::{Cache, Clock, Consistency, Fetched, Found, Freshness, Options, Rules, Tier, codec};

use crate::patterns::{self, SECOND, clock};

/// Keys that the remote tier has, and others: fewer of these than there were floors when all keys shared them.
const OWN: u64 = 500;
const OTHERS: u64 = 30_000;

fn builder(store: &InProcess, consistency: Consistency) -> larder::Builder<u64, String> {
    Cache::builder().capacity(1000).policy("lru").consistency(consistency).remote(store.clone(), codec::Plain)
}

/// Fills a remote tier with the own keys. The instant that others are written in comes later.
async fn filled() -> (InProcess, Cache<u64, String>) {
    let store = InProcess::new(256 << 20);
    let writer = builder(&store, Consistency::Eventual).build().unwrap();
    for key in 0..OWN {
        writer.insert(key, key.to_string()).await.unwrap();
    }
    tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    (store, writer)
}

/// How many of the own keys the origin is asked for.
async fn loads(cache: &Cache<u64, String>) -> u64 {
    let loads = Arc::new(AtomicU64::new(0));
    for key in 0..OWN {
        let loads = loads.clone();
        let load = move || async move {
            loads.fetch_add(1, Ordering::Relaxed);
            Ok::<_, Infallible>("the origin's".to_owned())
        };
        cache.get_with(&key, load).await.unwrap();
    }
    loads.load(Ordering::Relaxed)
}

#[tokio::test]
async fn what_was_written_to_other_keys_does_not_make_a_key_too_old() {
    let (store, _writer) = filled().await;
    let cache = builder(&store, Consistency::ReadYourWrites).build().unwrap();
    for key in OWN..OWN + OTHERS {
        cache.insert(key, key.to_string()).await.unwrap();
    }
    assert_eq!(loads(&cache).await, 0);
}

#[tokio::test]
async fn what_was_read_of_other_keys_does_not_make_a_key_too_old() {
    let (store, _writer) = filled().await;
    let cache = builder(&store, Consistency::MonotonicReads).build().unwrap();
    for key in OWN..OWN + OTHERS {
        cache.get_with(&key, || async { Ok::<_, Infallible>(String::new()) }).await.unwrap();
    }
    assert_eq!(loads(&cache).await, 0);
}

#[tokio::test]
async fn what_others_write_does_not_make_a_key_too_old() {
    let (store, writer) = filled().await;
    let cache = builder(&store, Consistency::MonotonicReads).build().unwrap();
    for key in OWN..OWN + OTHERS {
        writer.changed(&key).await.unwrap();
        // No more at once than the channel holds, or what was lost puts all in doubt.
        while cache.stats().counts.heard < key + 1 - OWN {
            tokio::task::yield_now().await;
        }
    }
    assert_eq!(loads(&cache).await, 0);
}

fn version(version: u64) -> Fetched<String> {
    Fetched::from(format!("v{version}")).with(Options::new().version(version))
}

fn versioned(clock: &Clock, consistency: Consistency) -> larder::Builder<u64, String> {
    let rules = Rules { jitter: 0.0, freshness: Freshness::fixed_ttl(10 * SECOND), consistency, ..Rules::default() };
    patterns::builder(clock).rules(rules)
}

async fn read(cache: &Cache<u64, String>, origin: u64) -> Found<String> {
    cache.find_with(&1, move || async move { Ok::<_, Infallible>(version(origin)) }).await.unwrap()
}

/// An origin whose replica lags behind: what it says is newer by the clock and older by its version.
#[tokio::test]
async fn monotonic_reads_do_not_go_back_to_an_older_version() {
    for (consistency, expected) in
        [(Consistency::Eventual, ("v5", Tier::Origin, false)), (Consistency::MonotonicReads, ("v7", Tier::Local, true))]
    {
        let clock = clock();
        let cache = versioned(&clock, consistency).build().unwrap();
        assert_eq!(read(&cache, 7).await.value, "v7");
        clock.advance(11 * SECOND);
        let found = read(&cache, 5).await;
        assert_eq!((&*found.value, found.tier, found.is_stale), expected, "{consistency:?}");
        let found = read(&cache, 8).await;
        assert_eq!((&*found.value, found.is_stale), ("v8", false));
        // As long as the newer one may be served.
        clock.advance(2 * 3600 * SECOND);
        assert_eq!(read(&cache, 6).await.value, "v6");
    }
}

#[tokio::test]
async fn monotonic_reads_ask_the_origin_where_the_remote_tier_has_an_older_version() {
    for (consistency, expected) in [(Consistency::Eventual, "v5"), (Consistency::MonotonicReads, "v8")] {
        let (clock, store) = (clock(), InProcess::new(1 << 20));
        let build = |form| versioned(&clock, form).remote(store.clone(), codec::Plain).build().unwrap();
        let (cache, other) = (build(consistency), build(Consistency::Eventual));
        for (cache, origin) in [(&cache, 7), (&other, 5)] {
            store.restart();
            read(cache, origin).await;
            assert!(cache.remote().unwrap().flush(tokio::time::Instant::now() + 60 * SECOND).await);
        }
        clock.advance(11 * SECOND);
        assert_eq!(read(&cache, 8).await.value, expected, "{consistency:?}");
    }
}
