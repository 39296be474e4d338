//! What is loaded anew because the user says so.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::collections::HashMap;
use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use futures_util::future::join_all;
use larder::remote::InProcess;
use larder::{Cache, ErrorKind, Found, Freshness, Tier, codec};
use tokio::sync::Notify;

use crate::patterns::{SECOND, builder, clock};

async fn value(value: &str) -> Result<String, Infallible> {
    Ok(value.to_owned())
}

#[tokio::test]
async fn the_old_value_is_served_until_the_new_one_is_there() {
    let cache = builder(&clock()).build().unwrap();
    cache.insert(1, "old".into()).await.unwrap();
    let (begun, go, loads) = (Arc::new(Notify::new()), Arc::new(Notify::new()), Arc::new(AtomicU64::new(0)));
    let refresh = async || {
        let (begun, go, loads) = (begun.clone(), go.clone(), loads.clone());
        let load = || async move {
            loads.fetch_add(1, Ordering::Relaxed);
            begun.notify_one();
            go.notified().await;
            value("new").await
        };
        cache.refresh_with(&1, load).await.unwrap()
    };
    let read = async {
        begun.notified().await;
        assert_eq!(cache.get_with(&1, || value("not asked for")).await.unwrap(), "old");
        go.notify_one();
    };
    let (found, ()) = tokio::join!(join_all((0..3).map(|_| refresh())), read);
    assert!(found.iter().all(|found| (found.value.as_str(), found.tier) == ("new", Tier::Origin)), "{found:?}");
    assert_eq!((cache.peek(&1).as_deref(), loads.load(Ordering::Relaxed)), (Some("new"), 1));
    let counts = cache.stats().counts;
    assert_eq!((counts.refreshes, counts.loads, counts.hits, counts.misses), (1, 1, 1, 0));
    cache.validate();
}

#[tokio::test]
async fn who_misses_waits_for_the_refresh() {
    let cache = builder(&clock()).build().unwrap();
    let (begun, go) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let load = {
        let (begun, go) = (begun.clone(), go.clone());
        || async move {
            begun.notify_one();
            go.notified().await;
            value("new").await
        }
    };
    let read = async {
        begun.notified().await;
        let read = cache.get_with(&1, || value("another load"));
        go.notify_one();
        read.await.unwrap()
    };
    let (found, read) = tokio::join!(cache.refresh_with(&1, load), read);
    assert_eq!((found.unwrap().value.as_str(), read.as_str()), ("new", "new"));
    assert_eq!(cache.stats().counts.refreshes, 0, "nothing was there to renew");
}

#[tokio::test]
async fn a_refresh_that_fails_takes_nothing_away() {
    let clock = clock();
    let cache = builder(&clock).freshness(Freshness::fixed_ttl(60 * SECOND)).build().unwrap();
    cache.insert(1, "old".into()).await.unwrap();
    let error = cache.refresh_with(&1, || async { Err::<String, _>(io::Error::other("down")) }).await.unwrap_err();
    assert_eq!((error.kind(), cache.local(&1).as_deref()), (ErrorKind::Loader, Some("old")));
    let nobody = cache.refresh(&1).await.unwrap_err();
    assert_eq!(nobody.kind(), ErrorKind::Config);
    let gone = || async { Ok::<_, Infallible>(None::<String>) };
    assert_eq!(cache.refresh_with(&1, gone).await.unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(cache.local(&1), None, "that there is none is an answer");
}

#[tokio::test]
async fn a_refresh_asks_the_origin_and_not_the_remote_tier() {
    let (store, version) = (InProcess::new(1 << 20), Arc::new(AtomicU64::new(1)));
    let build = || {
        let version = version.clone();
        let loader = move |_: u64| {
            let version = version.clone();
            async move { Ok::<_, Infallible>(version.load(Ordering::Relaxed)) }
        };
        let builder = Cache::<u64, u64>::builder().name("fresh").capacity(10).lease(SECOND).loader(loader);
        builder.remote(store.clone(), codec::MessagePack).build().unwrap()
    };
    let (one, other) = (build(), build());
    assert_eq!(one.load(&1).await.unwrap().value, 1);
    version.store(2, Ordering::Relaxed);
    let Found { value, tier, is_stale, .. } = other.refresh(&1).await.unwrap();
    assert_eq!((value, tier, is_stale), (2, Tier::Origin, false));
    assert_eq!(other.get(&1).await, Some(2));
    // And the remote tier is told.
    tokio::time::timeout(60 * SECOND, async {
        while build().get_many_with([1], async |_| Ok::<_, Infallible>(HashMap::<u64, u64>::new())).await.unwrap()
            != HashMap::from([(1, 2)])
        {
            tokio::task::yield_now().await;
        }
    })
    .await
    .unwrap();
}

#[test]
fn threads_may_refresh_too() {
    let loader = |key: u64| async move { Ok::<_, Infallible>(key + 1) };
    let cache: Cache<u64, u64> = Cache::builder().capacity(10).loader(loader).build().unwrap();
    assert_eq!(cache.blocking().refresh(&1).unwrap().value, 2);
    assert_eq!(cache.blocking().refresh_with(&1, || Ok::<_, Infallible>(7)).unwrap().value, 7);
    assert_eq!(cache.peek(&1), Some(7));
}
