//! An origin that fails or is slow: what is served meanwhile, for how long, and when it is asked again.
#![allow(clippy::unwrap_used, reason = "outside of test functions, but in tests alone")]

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use larder::remote::InProcess;
use larder::{Cache, ErrorKind, Fetched, Freshness, Options, Refresh, codec};

use super::patterns::{Origin, SECOND, builder, clock, get, settle};

#[tokio::test]
async fn while_the_origin_fails_the_last_value_is_served_and_the_origin_left_alone() {
    let (clock, origin) = (clock(), Arc::new(Origin::default()));
    let cache =
        builder(&clock).freshness(Freshness::fixed_ttl(10 * SECOND)).stale_if_error(100 * SECOND).build().unwrap();
    get(&cache, &origin, 1).await;
    clock.advance(11 * SECOND);
    let tries = Arc::new(AtomicU64::new(0));
    let ask = || {
        let tries = tries.clone();
        let load = move || async move {
            tries.fetch_add(1, Ordering::Relaxed);
            Err::<String, _>("the origin is down")
        };
        cache.find_with(&1, load)
    };
    for _ in 0..5 {
        let found = ask().await.unwrap();
        assert_eq!((found.value.as_str(), found.is_stale, found.age), ("1 v0", true, 11 * SECOND));
    }
    assert_eq!(tries.load(Ordering::Relaxed), 1, "for a second nobody tries again");
    clock.advance(2 * SECOND);
    assert!(ask().await.unwrap().is_stale);
    assert_eq!((tries.load(Ordering::Relaxed), cache.stats().counts.stale), (2, 6));
    origin.change();
    clock.advance(2 * SECOND);
    assert_eq!(get(&cache, &origin, 1).await, "1 v1");
    clock.advance(10 * SECOND + 100 * SECOND);
    assert_eq!(ask().await.unwrap_err().kind(), ErrorKind::Loader, "beyond its time it is served no more");
}

#[tokio::test]
async fn with_an_objective_too_the_last_value_is_served_for_no_longer_than_was_said() {
    let (clock, origin) = (clock(), Arc::new(Origin::default()));
    let objective = || Freshness::stale_reads(0.01).unwrap().max_ttl(24 * 3600 * SECOND);
    let ask = async |cache: &Cache<u64, String>, key: u64| {
        cache.find_with(&key, || async { Err::<String, _>("the origin is down") }).await.map(|found| found.is_stale)
    };
    for (stale_if_error, is_served) in [(30 * SECOND, false), (24 * 3600 * SECOND, true)] {
        let cache = builder(&clock).freshness(objective()).stale_if_error(stale_if_error).build().unwrap();
        get(&cache, &origin, 1).await;
        clock.advance(12 * 3600 * SECOND);
        assert_eq!(ask(&cache, 1).await.ok(), is_served.then_some(true), "{stale_if_error:?}");
    }
    // A value with a lifetime of its own not beyond that, and none beyond the hard maximum of a prefix.
    let keyed = Cache::<String, u64>::builder().capacity(10).clock(clock.clone());
    let strict = objective().with_prefix("price:", Freshness::stale_reads(0.01).unwrap().max_ttl(60 * SECOND));
    let cache = keyed.freshness(strict).stale_if_error(3600 * SECOND).build().unwrap();
    let limited = || async { Ok::<_, Infallible>(Fetched::from(1).with(Options::new().ttl(SECOND))) };
    cache.get_with("limited", limited).await.unwrap();
    cache.get_with("price:1", || async { Ok::<_, Infallible>(1) }).await.unwrap();
    let ask = async |key: &str| {
        let found = cache.find_with(key, || async { Err::<u64, _>("the origin is down") }).await;
        found.map(|found| found.value).ok()
    };
    clock.advance(SECOND / 2);
    assert_eq!((ask("limited").await, ask("price:1").await), (Some(1), Some(1)));
    clock.advance(58 * SECOND);
    assert_eq!((ask("limited").await, ask("price:1").await), (None, Some(1)));
    clock.advance(2 * SECOND);
    assert_eq!(ask("price:1").await, None);
    cache.validate();
}

#[tokio::test]
async fn an_origin_that_failed_to_renew_is_left_alone_for_a_while() {
    let (clock, origin) = (clock(), Arc::new(Origin::default()));
    let cache =
        builder(&clock).freshness(Freshness::fixed_ttl(100 * SECOND)).refresh(Refresh::Ahead(0.5)).build().unwrap();
    get(&cache, &origin, 1).await;
    clock.advance(60 * SECOND);
    let tries = Arc::new(AtomicU64::new(0));
    let read = async || {
        let tries = tries.clone();
        let load = move || async move {
            tries.fetch_add(1, Ordering::Relaxed);
            Err::<String, _>("the origin is down")
        };
        let found = cache.find_with(&1, load).await.unwrap();
        settle().await;
        assert!(!found.is_stale);
    };
    for second in 1..=3 {
        for _ in 0..5 {
            read().await;
        }
        assert_eq!(tries.load(Ordering::Relaxed), second);
        clock.advance(SECOND);
    }
}

#[tokio::test(start_paused = true)]
async fn a_slow_origin_is_not_waited_for_where_there_is_a_stale_value_and_fills_the_cache_later() {
    let (clock, origin) = (clock(), Arc::new(Origin::default()));
    let cache = builder(&clock)
        .freshness(Freshness::fixed_ttl(10 * SECOND))
        .timeouts(Some(SECOND / 10), SECOND)
        .build()
        .unwrap();
    get(&cache, &origin, 1).await;
    clock.advance(11 * SECOND);
    let slow = async |key: u64| {
        let load = move || async move {
            tokio::time::sleep(3 * SECOND).await;
            Ok::<_, Infallible>(format!("{key} slow"))
        };
        cache.find_with(&key, load).await
    };
    let began = tokio::time::Instant::now();
    assert_eq!(slow(1).await.map(|found| (found.value, found.is_stale)).unwrap(), ("1 v0".to_owned(), true));
    assert_eq!(began.elapsed(), SECOND / 10);
    // Nothing stale to serve: the hard timeout, and the load goes on.
    assert_eq!(slow(2).await.unwrap_err().kind(), ErrorKind::Timeout);
    assert_eq!(began.elapsed(), SECOND / 10 + SECOND);
    tokio::time::sleep(3 * SECOND).await;
    settle().await;
    assert_eq!((cache.local(&1).as_deref(), cache.local(&2).as_deref()), (Some("1 slow"), Some("2 slow")));
}

#[tokio::test]
async fn what_has_a_lifetime_of_its_own_is_not_served_beyond_it_by_any_process() {
    let clock = clock();
    for freshness in [Freshness::fixed_ttl(60 * SECOND), Freshness::stale_reads(0.01).unwrap()] {
        let store = InProcess::new(1 << 20);
        let process = || {
            let builder = builder(&clock).freshness(freshness.clone()).remote(store.clone(), codec::Plain);
            builder.build().unwrap()
        };
        let (one, other) = (process(), process());
        let ask = async |cache: &Cache<u64, String>, key: u64| {
            cache.find_with(&key, || async { Err::<String, _>("the origin is down") }).await.ok()
        };
        one.insert_with(1, "written".into(), Options::new().ttl(10 * SECOND)).await.unwrap();
        let load =
            || async { Ok::<_, Infallible>(Fetched::from("loaded".to_owned()).with(Options::new().ttl(10 * SECOND))) };
        one.get_with(&2, load).await.unwrap();
        get(&one, &Arc::default(), 3).await;
        assert!(one.close(SECOND).await);
        for key in 1..=3 {
            assert!(!ask(&other, key).await.unwrap().is_stale, "{key}");
        }
        clock.advance(11 * SECOND);
        // Its clock is another: what it has is fresh there.
        store.restart();
        for cache in [&one, &other] {
            assert_eq!((ask(cache, 1).await, ask(cache, 2).await), (None, None), "{freshness:?}");
            assert!(ask(cache, 3).await.is_some());
        }
        one.validate();
    }
}
