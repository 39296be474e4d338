//! What memory holds, looked at without reading, gone through, and removed by what it is.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::collections::HashSet;
use std::convert::Infallible;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use larder::remote::InProcess;
use larder::{Cache, Freshness, Options, codec};

use crate::patterns::{SECOND, builder, clock};

#[tokio::test]
async fn a_look_leaves_no_trace() {
    let clock = clock();
    let cache = builder(&clock).capacity(2).segments(1).policy("lru").build().unwrap();
    for key in [1, 2] {
        cache.insert(key, key.to_string()).await.unwrap();
    }
    let before = cache.stats().counts;
    assert_eq!((cache.peek(&1).as_deref(), cache.contains(&1)), (Some("1"), true));
    assert_eq!((cache.peek(&3), cache.contains(&3)), (None, false));
    assert_eq!(cache.iter().count(), 2);
    assert_eq!(cache.stats().counts, before);
    cache.insert(3, "3".into()).await.unwrap();
    assert!(!cache.contains(&1) && cache.contains(&2), "the look has made it no younger");
}

#[tokio::test]
async fn a_look_shows_what_a_reader_would_be_served() {
    let clock = clock();
    let cache = builder(&clock).freshness(Freshness::fixed_ttl(60 * SECOND)).build().unwrap();
    cache.insert(1, "ended".into()).await.unwrap();
    clock.advance(60 * SECOND);
    cache.insert_with(2, "tagged".into(), Options::new().tag("t")).await.unwrap();
    cache.remove_tag("t").await.unwrap();
    cache.get_with(&3, || async { Ok::<_, Infallible>(None::<String>) }).await.unwrap_err();
    cache.insert(4, "there".into()).await.unwrap();
    assert_eq!([1, 2, 3, 4].map(|key| cache.contains(&key)), [false, false, false, true]);
    assert_eq!([1, 2, 3, 4].map(|key| cache.peek(&key)), [None, None, None, Some("there".into())]);
    assert_eq!(cache.iter().collect::<Vec<_>>(), [(4, "there".into())]);
    assert_eq!(cache.keys().collect::<Vec<_>>(), [4]);
    cache.clear().await.unwrap();
    assert_eq!(cache.iter().count(), 0);
}

#[tokio::test]
async fn a_look_does_not_ask_the_remote_tier() {
    let store = InProcess::new(1 << 20);
    let build = || Cache::<u64, u64>::builder().capacity(10).remote(store.clone(), codec::MessagePack).build().unwrap();
    let (one, other) = (build(), build());
    one.insert(1, 1).await.unwrap();
    assert_eq!((other.contains(&1), other.peek(&1), other.iter().count()), (false, None, 0));
    let counts = other.stats().counts;
    assert_eq!((counts.remote_hits, counts.remote_misses), (0, 0));
    assert_eq!(other.get(&1).await, Some(1), "it has it");
}

#[tokio::test]
async fn who_stays_is_seen_once_whatever_else_happens() {
    let cache: Cache<u64, u64> = Cache::builder().capacity(40_000).segments(4).policy("lru").build().unwrap();
    for key in 0..2000 {
        cache.insert(key, key).await.unwrap();
    }
    let mut seen = Vec::new();
    for (at, (key, value)) in cache.iter().enumerate() {
        assert_eq!(key, value % 10_000);
        seen.push(key);
        // Behind and ahead of the place, and in it; no lock is held.
        let other = 1 + at as u64 * 7 % 2000 / 2 * 2;
        cache.remove(&other).await.unwrap();
        cache.insert_local(5000 + at as u64, 5000 + at as u64, Options::default());
        cache.insert_local(at as u64 * 2 % 2000, at as u64 * 2 % 2000 + 10_000, Options::default());
    }
    let even: Vec<u64> = seen.iter().copied().filter(|key| *key < 2000 && key % 2 == 0).collect();
    assert_eq!((even.len(), even.iter().collect::<HashSet<_>>().len()), (1000, 1000));
    cache.validate();
}

#[tokio::test]
async fn what_a_predicate_is_true_of_goes() {
    let clock = clock();
    let builder = builder(&clock).capacity(100_000).policy("lru");
    let cache = builder.freshness(Freshness::fixed_ttl(60 * SECOND)).build().unwrap();
    for key in 0..700 {
        cache.insert(key, key.to_string()).await.unwrap();
    }
    clock.advance(60 * SECOND);
    for key in 700..1000 {
        cache.insert(key, key.to_string()).await.unwrap();
    }
    let removed = cache.remove_if(|key, value| key % 10 == 0 && value.len() == 3).await.unwrap();
    assert_eq!(removed, 90);
    assert_eq!((cache.stats().entries, cache.stats().counts.removals), (910, 90));
    let broken = || async { Err::<String, _>(io::Error::other("down")) };
    cache.get_with(&600, broken).await.unwrap_err();
    assert_eq!(cache.get_with(&601, broken).await.unwrap(), "601", "of what has ended, the others stand in");
    assert_eq!(cache.remove_if(|_, _| false).await.unwrap(), 0);
    cache.validate();
}

#[test]
fn a_predicate_may_use_the_cache_and_panic() {
    let cache: Cache<u64, u64> = Cache::builder().capacity(100).segments(1).build().unwrap();
    (0..10).for_each(|key| cache.blocking().insert(key, key).unwrap());
    let panics = AtomicBool::new(true);
    let removes =
        || cache.blocking().remove_if(|key, _| cache.contains(key) && !panics.load(Ordering::Relaxed) || panic!());
    assert!(std::panic::catch_unwind(std::panic::AssertUnwindSafe(removes)).is_err());
    panics.store(false, Ordering::Relaxed);
    assert_eq!(removes().unwrap(), 10);
}

#[tokio::test]
async fn the_remote_tier_and_the_others_hear_of_what_goes() {
    let store = InProcess::new(1 << 20);
    let build = || {
        let builder = Cache::<String, u64>::builder().name("shared").capacity(100_000).policy("lru");
        builder.remote(store.clone(), codec::MessagePack).build().unwrap()
    };
    let (one, other) = (build(), build());
    for key in 0..600 {
        one.insert(format!("k{key}"), key).await.unwrap();
        if key > 0 {
            assert_eq!(other.get(&format!("k{key}")).await, Some(key));
        }
    }
    // No name in the remote tier, and so nobody there has it.
    one.insert_local("bad\n".into(), 700, Options::default());
    let removed = one.remove_if(|_, value| *value != 1).await.unwrap();
    assert_eq!(removed, 600);
    tokio::time::timeout(60 * SECOND, async {
        while other.stats().entries > 1 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    })
    .await
    .unwrap();
    assert_eq!((one.get("k0").await, other.get("k500").await, other.get("k1").await), (None, None, Some(1)));
    assert_eq!(one.iter().collect::<Vec<_>>(), [("k1".to_owned(), 1)]);
    one.validate();
}
