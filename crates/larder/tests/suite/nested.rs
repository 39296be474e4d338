//! Loads that wait for loads: where there is no room for the inner ones, they begin in that of the outer.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::collections::HashMap;
use std::future::pending;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use futures_util::future::{join, join_all};
use larder::prewarm::Limits;
use larder::snapshot::Kept;
use larder::{Cache, Error, LoadLimit};
use tokio::time::{Instant, sleep};

const SECOND: Duration = Duration::from_secs(1);
/// Inner keys lie above these.
const INNER: u64 = 1 << 40;

fn builder() -> larder::Builder<u64, u64> {
    Cache::builder().capacity(100_000)
}

async fn slow(value: u64) -> Result<u64, Error> {
    sleep(SECOND).await;
    Ok(value)
}

/// A value whose loader asks `inner` for another.
async fn nested(cache: &Cache<u64, u64>, inner: &Cache<u64, u64>, key: u64) -> Result<u64, Error> {
    let inner = inner.clone();
    let load = move || async move {
        sleep(SECOND).await;
        inner.get_with(&(INNER + key), move || slow(key)).await
    };
    cache.get_with(&key, load).await
}

#[tokio::test(start_paused = true)]
async fn as_many_outer_loads_as_there_is_room_for_all_end() {
    let cache = builder().build().unwrap();
    let began = Instant::now();
    let answers = join_all((0..3000).map(|key| nested(&cache, &cache, key))).await;
    assert!(answers.into_iter().all(|answer| answer.is_ok()));
    assert!(began.elapsed() < 7 * SECOND, "{:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn whatever_way_a_load_waits_for_another() {
    let began = Instant::now();
    // For one that was already waiting for room, and for a refresh, and for many.
    let cache = builder().loads(1).build().unwrap();
    let load = {
        let cache = cache.clone();
        move || async move {
            sleep(SECOND).await;
            let joined = cache.get_with(&2, || slow(2)).await?;
            let renewed = cache.refresh_with(&3, || slow(3)).await?.value;
            let bulk = |keys: Vec<u64>| async move { Ok::<_, Error>(keys.into_iter().map(|key| (key, key)).collect()) };
            let many: HashMap<u64, u64> = cache.get_many_with([4, 5], bulk).await?;
            let each = cache.get_each_with([6, 7], bulk).await;
            Ok::<_, Error>(joined + renewed + many[&4] + each[&6].clone()?)
        }
    };
    let joined = async {
        sleep(SECOND / 2).await;
        cache.get_with(&2, || slow(2)).await
    };
    let (outer, joined) = join(cache.get_with(&1, load), joined).await;
    assert_eq!((outer.unwrap(), joined.unwrap()), (2 + 3 + 4 + 6, 2));
    // Of a loader of many.
    let inner = cache.clone();
    let bulk = |keys: Vec<u64>| async move {
        let loaded = join_all(keys.iter().map(async |key| inner.get_with(&(INNER + key), || slow(1)).await)).await;
        keys.into_iter().zip(loaded).map(|(key, loaded)| Ok((key, loaded?))).collect::<Result<HashMap<_, _>, Error>>()
    };
    assert_eq!(cache.get_many_with(10..14, bulk).await.unwrap().len(), 4);
    // Of other caches under the same limit.
    let limit = LoadLimit::new(1);
    let caches = [(); 2].map(|()| builder().load_limit(limit.clone()).build().unwrap());
    nested(&caches[0], &caches[1], 1).await.unwrap();
    assert!(began.elapsed() < 9 * SECOND, "{:?}", began.elapsed());
    assert_eq!(limit.room(), 1);
}

#[test]
fn a_blocking_loader_that_reads_the_cache_ends() {
    let cache = builder().loads(1).build().unwrap();
    let inner = cache.clone();
    let load = move || inner.blocking().get_with(&2, || Ok::<_, Error>(2));
    let began = std::time::Instant::now();
    assert_eq!(cache.blocking().get_with(&1, load).unwrap(), 2);
    assert!(began.elapsed() < 5 * SECOND);
}

#[tokio::test(start_paused = true)]
async fn the_loads_of_a_prewarm_may_read_the_cache() {
    let cache = Arc::new(OnceLock::<Cache<u64, u64>>::new());
    let inner = cache.clone();
    let loader = move |key: u64| {
        let inner = inner.clone();
        async move {
            match key {
                0..INNER => Ok(inner.get().unwrap().load(&(INNER + key)).await?.value),
                _ => slow(key).await,
            }
        }
    };
    let cache = cache.get_or_init(|| builder().loads(2).loader(loader).build().unwrap());
    let keys = (0..4_u64).map(|key| Kept { name: key.to_string(), size: 1, cost: 1, reads: 1.0, ..Kept::default() });
    let report = cache.prewarm(keys, Limits::default(), |name| name.parse().ok(), pending());
    let report = tokio::time::timeout(60 * SECOND, report).await.unwrap().unwrap();
    assert_eq!((report.failed, cache.contains(&3)), (0, true));
}
