//! Loads that fail, and those that a write overtakes meanwhile.

use super::*;

#[tokio::test]
async fn a_stale_value_is_served_while_the_origin_fails() {
    let clock = clock();
    let cache = attach(fixed(&clock).stale_if_error(10 * MINUTE).error_pause(MINUTE / 60));
    cache.get_with("k", || ok(1)).await.unwrap();
    clock.advance(2 * MINUTE);
    let found = cache.find_with("k", broken).await.unwrap();
    assert!(found.value == 1 && found.is_stale && found.age == 2 * MINUTE && found.tier == Tier::Local);
    // For a second nobody asks again.
    let found = cache.find_with("k", || ok(2)).await.unwrap();
    assert!(found.value == 1 && found.is_stale && cache.get("k").await == Some(1));
    let counts = cache.stats().counts;
    assert_eq!((counts.hits, counts.misses, counts.stale, counts.load_errors), (0, 4, 3, 1));
    clock.advance(MINUTE / 60);
    assert!(cache.find_with("k", broken).await.unwrap().is_stale);
    clock.advance(10 * MINUTE);
    let error = cache.get_with("k", broken).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Loader);
    assert!(error.to_string().contains("the origin is down"));
    assert_eq!(cache.get_with("k", || ok(3)).await.unwrap(), 3);
}

#[tokio::test]
async fn a_stale_value_ends_though_nobody_is_to_ask_again_yet() {
    let clock = clock();
    let cache = attach(fixed(&clock).stale_if_error(MINUTE).error_pause(10 * MINUTE));
    cache.get_with("k", || ok(1)).await.unwrap();
    clock.advance(2 * MINUTE - MINUTE / 60);
    assert!(cache.find_with("k", broken).await.unwrap().is_stale);
    clock.advance(MINUTE / 60);
    assert_eq!(cache.get("k").await, None);
    assert_eq!(cache.get_with("k", broken).await.unwrap_err().kind(), ErrorKind::Loader);
}

#[tokio::test]
async fn a_values_own_lifetime_ends_it_though_the_origin_fails() {
    for is_learned in [false, true] {
        let clock = clock();
        let cache = attach(if is_learned { learned(&clock) } else { fixed(&clock) });
        // Learned lifetimes begin with less than that.
        let own = larder_moka::Options::new().ttl(10 * MINUTE);
        cache.get_with("k", || async { Ok::<_, io::Error>(Fetched::from(1).with(own)) }).await.unwrap();
        clock.advance(10 * MINUTE - MINUTE / 60);
        assert_eq!(cache.get_with("k", broken).await.unwrap(), 1);
        clock.advance(MINUTE / 60);
        assert_eq!(cache.get("k").await, None);
        assert_eq!(cache.get_with("k", broken).await.unwrap_err().kind(), ErrorKind::Loader, "learned: {is_learned}");
    }
}

#[tokio::test]
async fn what_is_never_to_be_stale_is_not_while_the_origin_fails() {
    let clock = clock();
    let cache = attach(learned(&clock).freshness(Freshness::never_stale()));
    assert_eq!(cache.get_with("k", || ok(1)).await.unwrap(), 1);
    clock.advance(MINUTE / 60);
    assert_eq!(cache.get_with("k", broken).await.unwrap_err().kind(), ErrorKind::Loader);
}

#[tokio::test]
async fn a_prefixs_own_hard_maximum_holds_while_the_origin_fails() {
    let clock = clock();
    let freshness = Freshness::stale_reads(0.05).unwrap();
    let short = freshness.clone().max_ttl(10 * MINUTE);
    let cache = attach(learned(&clock).freshness(freshness.with_prefix("short:", short)));
    for key in ["short:k", "long:k"] {
        cache.get_with(key, || ok(1)).await.unwrap();
    }
    clock.advance(10 * MINUTE);
    assert_eq!(cache.get_with("short:k", broken).await.unwrap_err().kind(), ErrorKind::Loader);
    assert_eq!(cache.get_with("long:k", broken).await.unwrap(), 1);
}

#[tokio::test]
async fn a_renewal_that_failed_is_not_tried_again_at_once() {
    let clock = clock();
    let cache = attach(fixed(&clock).refresh(Refresh::Ahead(0.5)).error_pause(MINUTE / 60));
    cache.get_with("k", || ok(1)).await.unwrap();
    clock.advance(MINUTE / 2);
    for tries in 1..=2 {
        for _ in 0..3 {
            let found = cache.find_with("k", broken).await.unwrap();
            assert!(found.value == 1 && !found.is_stale);
            tokio::task::yield_now().await;
        }
        let counts = cache.stats().counts;
        assert_eq!((counts.refreshes, counts.load_errors, counts.stale), (tries, tries, 0));
        clock.advance(MINUTE / 60);
    }
    // The pause does not outlast the lifetime.
    clock.advance(MINUTE / 2 - MINUTE / 24);
    cache.get_with("k", broken).await.unwrap();
    tokio::task::yield_now().await;
    clock.advance(MINUTE / 120);
    assert_eq!(cache.get_with("k", || ok(2)).await.unwrap(), 2);
}

/// Keys share fences, so that every one of them has been raised since the value came.
#[tokio::test]
async fn a_stale_value_is_served_whatever_else_is_written() {
    let clock = clock();
    let cache = attach(fixed(&clock).stale_if_error(10 * MINUTE).error_pause(MINUTE / 60));
    cache.get_with("k", || ok(1)).await.unwrap();
    for other in 0..40_000 {
        cache.changed(&format!("other:{other}")).await;
    }
    clock.advance(2 * MINUTE);
    for _ in 0..3 {
        let found = cache.find_with("k", broken).await.unwrap();
        assert!(found.value == 1 && found.is_stale);
        cache.moka().run_pending_tasks().await;
        clock.advance(MINUTE / 30);
    }
    assert_eq!(cache.stats().counts.load_errors, 3);
}

#[tokio::test]
async fn a_write_during_a_load_that_brings_nothing_stays() {
    for (stale_if_error, answer) in [(10 * MINUTE, None), (Duration::ZERO, None), (10 * MINUTE, Some(None))] {
        let clock = clock();
        let cache = attach(fixed(&clock).stale_if_error(stale_if_error));
        cache.get_with("k", || ok(1)).await.unwrap();
        clock.advance(2 * MINUTE);
        let (begun, go) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let reader = tokio::spawn({
            let (cache, begun, go) = (cache.clone(), begun.clone(), go.clone());
            let load = move || async move {
                begun.notify_one();
                go.notified().await;
                answer.ok_or_else(|| io::Error::other("the origin is down"))
            };
            async move { cache.find_with("k", load).await }
        });
        begun.notified().await;
        cache.insert("k".to_owned(), 2).await;
        go.notify_one();
        // What was there is no answer of the origin's.
        let found: Result<Found<u64>, _> = reader.await.unwrap();
        match found {
            Ok(found) => assert!(found.is_stale && found.tier == Tier::Local && answer.is_none()),
            Err(error) => assert_eq!(error.kind() == ErrorKind::NotFound, answer.is_some(), "{error}"),
        }
        assert_eq!(cache.get("k").await, Some(2), "{stale_if_error:?}, {answer:?}");
    }
}

/// Keys share fences, so that every one of them is raised while a value is loaded anew.
#[tokio::test]
async fn a_load_that_is_not_kept_makes_nothing_fresh() {
    let clock = clock();
    let freshness = Freshness::stale_reads(0.05).unwrap().max_ttl(10 * MINUTE);
    let cache = attach(learned(&clock).freshness(freshness));
    cache.get_with("k", || ok(1)).await.unwrap();
    clock.advance(11 * MINUTE);
    let slow = Slow::default();
    let reader = slow.reader(&cache, 2).await;
    for other in 0..40_000 {
        cache.changed(&format!("other:{other}")).await;
    }
    slow.go.notify_one();
    assert_eq!(reader.await.unwrap().unwrap(), 2);
    assert_eq!(cache.get_with("k", || ok(3)).await.unwrap(), 3);
    // Nor does one that a write overtook take from what is known of that.
    clock.advance(11 * MINUTE);
    let slow = Slow::default();
    let reader = slow.reader(&cache, 3).await;
    cache.insert("k".to_owned(), 4).await;
    slow.go.notify_one();
    assert_eq!(reader.await.unwrap().unwrap(), 3);
    for _ in 0..10 {
        assert_eq!(cache.get_with("k", || ok(9)).await.unwrap(), 4);
    }
}
