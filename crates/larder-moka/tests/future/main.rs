//! The plug-in on a `moka::future::Cache`.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod failing;
mod learning;

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::time::Duration;

use larder::{Found, Tier};
use larder_moka::{Clock, Error, ErrorKind, Fetched, Freshness, Held, Plugin, Refresh, future};
use larder_policy::Time;
use tokio::sync::{Barrier, Notify};
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

type Moka = moka::future::Cache<String, Held<u64>>;
type Cache = future::Cache<String, u64>;

const MINUTE: Duration = Duration::from_secs(60);
const SOON: Duration = Duration::from_secs(20);

fn clock() -> Clock {
    Clock::manual(Time(1_000_000))
}

fn fixed(clock: &Clock) -> larder_moka::Builder<String, u64> {
    Plugin::builder().freshness(Freshness::fixed_ttl(MINUTE)).jitter(0.0).clock(clock.clone()).seed(1)
}

fn learned(clock: &Clock) -> larder_moka::Builder<String, u64> {
    fixed(clock).freshness(Freshness::stale_reads(0.05).unwrap()).digest(|value| *value)
}

fn attach(plugin: larder_moka::Builder<String, u64>) -> Cache {
    let plugin = plugin.build().unwrap();
    let moka: Moka = moka::future::Cache::builder().max_capacity(1000).expire_after(plugin.expiry()).build();
    Cache::attach(moka, plugin)
}

async fn ok(value: u64) -> Result<u64, io::Error> {
    Ok(value)
}

async fn broken() -> Result<u64, io::Error> {
    Err(io::Error::other("the origin is down"))
}

/// Waits for what happens in the background.
async fn until(mut is_so: impl FnMut() -> bool) {
    timeout(SOON, async {
        while !is_so() {
            sleep(Duration::from_millis(1)).await;
        }
    })
    .await
    .expect("it never happened");
}

/// A loader that counts, and takes until it is let go.
#[derive(Clone, Default)]
struct Slow {
    begun: Arc<AtomicU64>,
    go: Arc<Notify>,
}

impl Slow {
    fn load(
        &self,
        value: u64,
    ) -> impl FnOnce() -> std::pin::Pin<Box<dyn Future<Output = io::Result<u64>> + Send>> + use<> {
        let own = self.clone();
        move || {
            Box::pin(async move {
                own.begun.fetch_add(1, SeqCst);
                own.go.notified().await;
                Ok(value)
            })
        }
    }

    /// Somebody reads a key whose load has begun.
    async fn reader(&self, cache: &Cache, value: u64) -> JoinHandle<Result<u64, Error>> {
        let (cache, load, before) = (cache.clone(), self.load(value), self.begun());
        let reader = tokio::spawn(async move { cache.get_with("k", load).await });
        until(|| self.begun() > before).await;
        reader
    }

    fn begun(&self) -> u64 {
        self.begun.load(SeqCst)
    }
}

/// 200 readers of one key at once; says how often it was loaded.
async fn flood(cache: &Cache, expect: u64) -> u64 {
    let (loads, barrier) = (Arc::new(AtomicU64::new(0)), Arc::new(Barrier::new(200)));
    let readers: Vec<_> = (0..200)
        .map(|_| {
            let (cache, loads, barrier) = (cache.clone(), loads.clone(), barrier.clone());
            tokio::spawn(async move {
                barrier.wait().await;
                let load = move || async move {
                    loads.fetch_add(1, SeqCst);
                    sleep(Duration::from_millis(20)).await;
                    ok(expect).await
                };
                cache.get_with("k", load).await.unwrap()
            })
        })
        .collect();
    for reader in readers {
        assert_eq!(reader.await.unwrap(), expect);
    }
    loads.load(SeqCst)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn loads_of_a_key_coalesce() {
    let clock = clock();
    let cache = attach(fixed(&clock));
    assert_eq!(flood(&cache, 1).await, 1);
    clock.advance(2 * MINUTE);
    assert_eq!(flood(&cache, 2).await, 1, "what is outdated is loaded by one reader, too");
    assert_eq!(cache.get("k").await, Some(2));
}

#[tokio::test]
async fn a_cancelled_load_is_taken_over() {
    let cache = attach(fixed(&clock()));
    let slow = Slow::default();
    let leader = slow.reader(&cache, 1).await;
    let follower = tokio::spawn({
        let cache = cache.clone();
        async move { cache.get_with("k", || ok(2)).await }
    });
    tokio::task::yield_now().await;
    leader.abort();
    assert_eq!(timeout(SOON, follower).await.unwrap().unwrap().unwrap(), 2);
}

#[tokio::test]
async fn a_panicking_load_leaves_the_key_loadable() {
    let clock = clock();
    let cache = attach(fixed(&clock));
    for _ in 0..2 {
        let own = cache.clone();
        let load = || async { if true { panic!("the loader's own") } else { ok(1).await } };
        let fell = tokio::spawn(async move { own.get_with("k", load).await }).await;
        assert!(fell.unwrap_err().is_panic());
        assert_eq!(cache.get_with("k", || ok(2)).await.unwrap(), 2);
        // The second time it happens to a reload.
        clock.advance(2 * MINUTE);
    }
}

/// moka itself panics where a reader has waited for 200.
#[tokio::test]
async fn whoever_waits_for_loads_that_panic_loads_in_the_end() {
    let cache = attach(fixed(&clock()));
    let load = |is_good: bool| async move {
        sleep(Duration::from_millis(1)).await;
        if is_good { ok(1).await } else { panic!("the loader's own") }
    };
    let read = |is_good: bool| {
        let own = cache.clone();
        tokio::spawn(async move { own.get_with("k", move || load(is_good)).await })
    };
    let falling: Vec<_> = (0..300).map(|_| read(false)).collect();
    assert_eq!(read(true).await.unwrap().unwrap(), 1);
    for fell in falling {
        assert!(fell.await.map_or_else(|error| error.is_panic(), |read| read.is_ok()));
    }
    assert_eq!(cache.stats().counts.loads, 1);
}

/// So it does with loads that are cancelled.
#[tokio::test]
async fn whoever_waits_for_loads_that_are_cancelled_loads_in_the_end() {
    let cache = attach(fixed(&clock()));
    let read = |hangs: bool| {
        let own = cache.clone();
        let load = move || async move { if hangs { std::future::pending().await } else { ok(1).await } };
        tokio::spawn(async move { own.get_with("k", load).await })
    };
    let hanging: Vec<_> = (0..300).map(|_| read(true)).collect();
    sleep(Duration::from_millis(1)).await;
    let patient = read(false);
    for load in hanging {
        // The one that loads is mostly the next.
        sleep(Duration::from_millis(1)).await;
        load.abort();
    }
    assert_eq!(timeout(SOON, patient).await.unwrap().unwrap().unwrap(), 1);
}

#[tokio::test]
async fn a_lifetime_ends_by_the_plug_ins_clock() {
    let clock = clock();
    let cache = attach(fixed(&clock));
    assert_eq!(cache.get_with("k", || ok(1)).await.unwrap(), 1);
    clock.advance(MINUTE - Duration::from_micros(1));
    assert_eq!(cache.get_with("k", || ok(2)).await.unwrap(), 1);
    assert_eq!(cache.get("k").await, Some(1));
    clock.advance(Duration::from_micros(1));
    assert_eq!(cache.get("k").await, None);
    assert_eq!(cache.get_with("k", || ok(2)).await.unwrap(), 2);
    let counts = cache.stats().counts;
    assert_eq!((counts.hits, counts.misses, counts.loads), (2, 3, 2));
}

#[tokio::test]
async fn moka_lets_go_at_the_ceiling_by_itself() {
    let plugin =
        Plugin::builder().freshness(Freshness::fixed_ttl(Duration::from_millis(10))).stale_if_error(Duration::ZERO);
    let cache = attach(plugin);
    cache.insert("k".into(), 1).await;
    sleep(Duration::from_millis(50)).await;
    assert!(!cache.moka().contains_key("k"));
}

#[tokio::test]
async fn an_entry_is_renewed_ahead_of_its_end() {
    let clock = clock();
    let cache = attach(fixed(&clock).refresh(Refresh::Ahead(0.5)));
    assert_eq!(cache.get_with("k", || ok(1)).await.unwrap(), 1);
    clock.advance(MINUTE / 2);
    let slow = Slow::default();
    for _ in 0..3 {
        assert_eq!(cache.get_with("k", slow.load(2)).await.unwrap(), 1, "nobody waits for a renewal");
    }
    until(|| slow.begun() == 1).await;
    slow.go.notify_one();
    let own = cache.clone();
    until(|| own.stats().counts.loads == 2).await;
    assert_eq!(slow.begun(), 1, "one renews");
    assert_eq!(cache.get_with("k", || ok(9)).await.unwrap(), 2);
    assert_eq!(cache.stats().counts.refreshes, 1);
}

#[tokio::test]
async fn what_is_not_there_is_a_miss() {
    let clock = clock();
    let cache = attach(fixed(&clock));
    assert_eq!(cache.get("k").await, None);
    cache.insert("k".to_owned(), 1).await;
    assert_eq!(cache.get("k").await, Some(1));
    let counts = cache.stats().counts;
    assert_eq!((counts.hits, counts.misses), (1, 1));
}

#[tokio::test]
async fn what_the_origin_no_longer_has_leaves() {
    let clock = clock();
    let cache = attach(fixed(&clock));
    cache.get_with("k", || ok(1)).await.unwrap();
    clock.advance(2 * MINUTE);
    let absent = || async { Ok::<_, io::Error>(None::<u64>) };
    for _ in 0..2 {
        assert_eq!(cache.get_with("k", absent).await.unwrap_err().kind(), ErrorKind::NotFound);
    }
    assert!(!cache.moka().contains_key("k"));
}

#[tokio::test]
async fn a_loader_that_finds_nothing_has_not_failed() {
    let clock = clock();
    let cache = attach(fixed(&clock));
    cache.get_with("k", || ok(1)).await.unwrap();
    clock.advance(2 * MINUTE);
    let none = || async { Err::<u64, _>(Error::not_found()) };
    // The first is in place of what moka has, the second is not.
    for _ in 0..2 {
        assert_eq!(cache.get_with("k", none).await.unwrap_err().kind(), ErrorKind::NotFound);
    }
    let counts = cache.stats().counts;
    assert_eq!((counts.load_errors, counts.stale, counts.absent, counts.loads), (0, 0, 2, 3));
}

#[tokio::test]
async fn a_load_that_a_change_overtook_is_not_kept() {
    let clock = clock();
    let cache = attach(fixed(&clock));
    let slow = Slow::default();
    let reader = slow.reader(&cache, 1).await;
    clock.advance(Duration::from_millis(1));
    cache.changed("k").await;
    slow.go.notify_one();
    assert_eq!(reader.await.unwrap().unwrap(), 1, "whoever asked before gets what was true then");
    assert!(!cache.moka().contains_key("k"));
    assert_eq!(cache.stats().counts.fenced, 1);
    assert_eq!(cache.get_with("k", || ok(2)).await.unwrap(), 2);
}

#[tokio::test]
async fn whoever_asks_after_a_change_does_not_join_the_load_it_overtook() {
    let cache = attach(fixed(&clock()));
    let slow = Slow::default();
    let ask = |load| {
        let cache = cache.clone();
        tokio::spawn(async move { cache.get_with("k", load).await.unwrap() })
    };
    let (first, before) = (ask(slow.load(1)), ask(slow.load(1)));
    until(|| slow.begun() == 1).await;
    cache.changed("k").await;
    let after = ask(slow.load(2));
    // He waits for moka to tell him of the load under way.
    tokio::task::yield_now().await;
    slow.go.notify_one();
    assert_eq!((first.await.unwrap(), before.await.unwrap()), (1, 1));
    until(|| slow.begun() == 2).await;
    slow.go.notify_one();
    assert_eq!(after.await.unwrap(), 2);
    let counts = cache.stats().counts;
    assert_eq!((counts.misses, counts.coalesced, counts.loads, counts.fenced), (3, 1, 2, 1));
}

#[tokio::test]
async fn whoever_asks_after_a_change_does_not_join_a_load_that_found_nothing() {
    let cache = attach(fixed(&clock()));
    let slow = Slow::default();
    let absent = {
        let load = slow.load(0);
        move || async move { load().await.map(|_| None::<u64>) }
    };
    let first = tokio::spawn({
        let cache = cache.clone();
        async move { cache.get_with("k", absent).await }
    });
    until(|| slow.begun() == 1).await;
    cache.changed("k").await;
    let after = tokio::spawn({
        let cache = cache.clone();
        async move { cache.get_with("k", || ok(2)).await }
    });
    tokio::task::yield_now().await;
    slow.go.notify_one();
    assert_eq!(first.await.unwrap().unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(after.await.unwrap().unwrap(), 2);
}

/// Nobody's clock need go on for it.
#[tokio::test]
async fn readers_who_wait_for_anothers_load_are_misses() {
    let clock = clock();
    let cache = attach(fixed(&clock));
    for round in 1..=2 {
        let slow = Slow::default();
        let readers: Vec<_> = (0..5)
            .map(|_| {
                let (cache, load) = (cache.clone(), slow.load(round));
                tokio::spawn(async move { cache.get_with("k", load).await.unwrap() })
            })
            .collect();
        until(|| slow.begun() == 1).await;
        tokio::task::yield_now().await;
        slow.go.notify_one();
        for reader in readers {
            assert_eq!(reader.await.unwrap(), round);
        }
        let counts = cache.stats().counts;
        assert_eq!((counts.hits, counts.loads), (0, round));
        assert_eq!((counts.misses, counts.coalesced), (5 * round, 4 * round));
        // The second time moka has a value, but an outdated one.
        clock.advance(2 * MINUTE);
    }
}

#[tokio::test]
async fn what_the_service_wrote_is_read() {
    let clock = clock();
    let cache = attach(fixed(&clock).freshness(Freshness::stale_reads(0.01).unwrap()).digest(|value| *value));
    for value in 0..50 {
        cache.insert("k".into(), value).await;
        assert_eq!(cache.get("k").await, Some(value));
        assert_eq!(cache.get_with("k", || ok(99)).await.unwrap(), value);
        clock.advance(Duration::from_millis(1));
    }
    assert_eq!(cache.stats().counts.writes, 50);
}

#[tokio::test]
async fn a_panicking_listener_disables_nothing_of_ours() {
    let clock = clock();
    let plugin = fixed(&clock).admission("lru").build().unwrap();
    let panicked = Arc::new(AtomicBool::new(false));
    let seen = panicked.clone();
    let listener = move |_: Arc<String>, _: Held<u64>, _| {
        seen.store(true, SeqCst);
        panic!("the user's own");
    };
    let moka: Moka = moka::future::Cache::builder()
        .max_capacity(10)
        .expire_after(plugin.expiry())
        .eviction_listener(listener)
        .build();
    let cache = Cache::attach(moka, plugin);
    for round in 0..3u64 {
        for key in 0..100u64 {
            assert_eq!(cache.get_with(&key.to_string(), move || ok(round)).await.unwrap(), round);
        }
        cache.changed("99").await;
        clock.advance(2 * MINUTE);
    }
    assert!(panicked.load(SeqCst));
    let counts = cache.stats().counts;
    assert_eq!((counts.misses, counts.loads), (300, 300));
}
