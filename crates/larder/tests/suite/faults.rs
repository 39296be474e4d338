//! Rows of the fault matrix that need no server: each produces its fault and asserts what is promised. `docs/reliability.md` names
//! them all.
#![allow(clippy::unwrap_used, reason = "outside of test functions, but in tests alone")]

use std::collections::HashMap;
use std::convert::Infallible;
use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures_util::future::{BoxFuture, FutureExt};
use larder::remote::{Faults, InProcess};
use larder::{Cache, Clock, Error, ErrorKind, Freshness, LoadLimit, Rules, Tenants, Time, codec};
use parking_lot::Mutex;
use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep};

const SECOND: Duration = Duration::from_secs(1);

fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

fn cache() -> Cache<u64, String> {
    Cache::builder().capacity(10_000).build().unwrap()
}

async fn value(text: &'static str) -> Result<String, Infallible> {
    Ok(text.to_owned())
}

/// Row 12: I1. A clock that goes back and leaps ahead: nothing is served beyond its time, and nothing breaks.
#[tokio::test]
async fn row_12_the_clock_goes_back_and_leaps() {
    for start in [0, 1, 1_795_000_000_000_000, u64::MAX - 1_000_000] {
        let clock = Clock::manual(Time(start));
        let cache: Cache<u64, String> = Cache::builder()
            .capacity(100)
            .clock(clock.clone())
            .freshness(Freshness::fixed_ttl(seconds(60)))
            .build()
            .unwrap();
        cache.get_with(&1, || value("a")).await.unwrap();
        // Ten years on, and an hour back: adding wraps around.
        clock.advance(seconds(10 * 365 * 24 * 3600));
        assert!(start > 1 << 60 || cache.local(&1).is_none());
        clock.advance(Duration::from_micros(u64::MAX - 3_600_000_000));
        cache.local(&1);
        cache.get_with(&2, || value("b")).await.unwrap();
        cache.validate();
    }
}

/// Row 13: I1. Odd keys are keys of their own in memory, and refused where they would leave the process.
#[tokio::test]
async fn row_13_odd_keys() {
    let odd = ["", "a\0b", "x\r\nSET y 1", "other!all", "other:1", "{x}", "é", &"k".repeat(1 << 20)];
    let local: Cache<String, String> = Cache::builder().capacity(100).build().unwrap();
    for (at, key) in odd.iter().enumerate() {
        local.insert((*key).to_owned(), at.to_string()).await.unwrap();
    }
    for (at, key) in odd.iter().enumerate() {
        assert_eq!(local.local(*key), Some(at.to_string()));
    }
    let store = InProcess::new(1 << 24);
    let shared: Cache<String, String> =
        Cache::builder().name("own").capacity(100).remote(store, codec::Plain).build().unwrap();
    for key in odd {
        let refused = key.is_empty() || key.len() > 400 || key.contains(|letter: char| letter.is_control());
        let inserted = shared.insert(key.to_owned(), "x".into()).await;
        assert_eq!(inserted.err().map(|error| error.kind()), refused.then_some(ErrorKind::BadKey));
        let loaded = shared.get_with(key, || value("x")).await;
        assert_eq!(loaded.err().map(|error| error.kind()), refused.then_some(ErrorKind::BadKey));
    }
}

/// Row 14: I6. Weights of nothing and of everything.
#[tokio::test]
async fn row_14_weights_of_nothing_and_of_everything() {
    let cache: Cache<u64, u32> =
        Cache::builder().capacity_bytes(1000, |_, weight: &u32| *weight).policy("lru").build().unwrap();
    for key in 0..5000 {
        cache.insert(key, 0).await.unwrap();
    }
    let stats = cache.stats();
    assert!(stats.weight <= 1000 && stats.entries <= 1000, "{stats:?}");
    cache.insert(1, u32::MAX).await.unwrap();
    assert_eq!(cache.local(&1), None, "what cannot be kept does not leave the old value behind");
    cache.validate();
}

fn explode() -> Result<String, Infallible> {
    panic!("the loader's own")
}

/// Row 15: I4, I8. A loader that hangs, fails and panics, by turns.
#[tokio::test(start_paused = true)]
async fn row_15_loaders_that_hang_fail_and_panic() {
    let cache = cache();
    let rules = Rules::default();
    let began = Instant::now();
    let hang = || async { pending::<Result<String, Infallible>>().await };
    let error = cache.get_with(&1, hang).await.unwrap_err();
    assert_eq!((error.kind(), began.elapsed()), (ErrorKind::Timeout, rules.hard_timeout));
    // It is given up in the end, and the key can be loaded again.
    sleep(rules.load_timeout).await;
    assert_eq!(cache.get_with(&1, || value("a")).await.unwrap(), "a");
    let error = cache.get_with(&2, || async { Err::<String, _>("no") }).await.unwrap_err();
    assert_eq!((error.kind(), error.is_retryable()), (ErrorKind::Loader, true));
    assert_eq!(cache.get_with(&2, || value("b")).await.unwrap(), "b");
    let error = cache.get_with(&3, || async { explode() }).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Panicked);
    assert_eq!(cache.get_with(&3, || value("c")).await.unwrap(), "c");
    cache.validate();
}

/// Row 16: I4. Everything ends at once, and many read: a load a key.
#[tokio::test]
async fn row_16_mass_expiry_loads_each_key_once() {
    let clock = Clock::manual(Time(1_795_000_000_000_000));
    let rules = Rules { jitter: 0.0, freshness: Freshness::fixed_ttl(seconds(10)), ..Rules::default() };
    let cache: Cache<u64, String> =
        Cache::builder().capacity(10_000).clock(clock.clone()).rules(rules).build().unwrap();
    let loads = Arc::new(AtomicU64::new(0));
    for round in 1..=3 {
        let readers = (0..5000u64).map(|reader| {
            let (cache, loads) = (cache.clone(), loads.clone());
            tokio::spawn(async move {
                let load = move || async move {
                    loads.fetch_add(1, Ordering::Relaxed);
                    sleep(Duration::from_millis(5)).await;
                    value("x").await
                };
                cache.get_with(&(reader % 100), load).await.unwrap();
            })
        });
        for reader in readers.collect::<Vec<_>>() {
            reader.await.unwrap();
        }
        assert_eq!(loads.load(Ordering::Relaxed), round * 100);
        clock.advance(seconds(10));
    }
}

/// An origin that answers so many at a time, and slows down when more wait than it can bear.
struct Weak {
    places: Semaphore,
    waiting: AtomicU64,
}

impl Weak {
    async fn load(self: Arc<Self>) -> Result<String, Infallible> {
        let waiting = self.waiting.fetch_add(1, Ordering::Relaxed);
        let _place = self.places.acquire().await.unwrap();
        // Each who waits costs those at work something: beyond some number it gets less done than it is asked for.
        sleep(Duration::from_millis(20 + waiting / 4)).await;
        self.waiting.fetch_sub(1, Ordering::Relaxed);
        value("x").await
    }
}

/// Row 17: I5. A closed loop before a weak origin; then the cache is emptied. It comes back by itself.
#[tokio::test(start_paused = true)]
async fn row_17_an_emptied_cache_before_a_weak_origin_recovers() {
    let origin = Arc::new(Weak { places: Semaphore::new(8), waiting: AtomicU64::new(0) });
    let clock = Clock::manual(Time(1_795_000_000_000_000));
    let cache: Cache<u64, String> = Cache::builder()
        .capacity(20_000)
        .clock(clock.clone())
        // A thousand keys anew each 3.9 s, lifetime and wait for the next read, are 0.7 of what the origin can do: 8 loads at a time of 22 ms.
        .rules(Rules { freshness: Freshness::fixed_ttl(Duration::from_millis(3400)), ..Rules::default() })
        .load_limit(LoadLimit::new(8))
        .build()
        .unwrap();
    // The cache's time goes with tokio's, which is paused and leaps.
    tokio::spawn(async move {
        loop {
            sleep(Duration::from_millis(10)).await;
            clock.advance(Duration::from_millis(10));
        }
    });
    let done = Arc::new(AtomicU64::new(0));
    for client in 0..200u64 {
        let (cache, origin, done) = (cache.clone(), origin.clone(), done.clone());
        let mut rng = fastrand::Rng::with_seed(client);
        tokio::spawn(async move {
            loop {
                // Popular keys more often than others.
                let key = (rng.f64().powi(2) * 1000.0) as u64;
                let origin = origin.clone();
                if cache.get_with(&key, move || origin.load()).await.is_ok() {
                    done.fetch_add(1, Ordering::Relaxed);
                }
                sleep(Duration::from_millis(100)).await;
            }
        });
    }
    let goodput = async |span: Duration| {
        let before = done.load(Ordering::Relaxed);
        sleep(span).await;
        (done.load(Ordering::Relaxed) - before) as f64 / span.as_secs_f64()
    };
    sleep(seconds(30)).await;
    let loads = cache.stats().counts.loads;
    let steady = goodput(seconds(10)).await;
    let used = (cache.stats().counts.loads - loads) as f64 / 10.0 / (8.0 / 0.022);
    assert!((0.6..0.95).contains(&used), "{used} of the origin's capacity is used");
    cache.clear().await.unwrap();
    sleep(seconds(10)).await;
    let after = goodput(seconds(10)).await;
    assert!(after >= 0.95 * steady, "{after} a second after the flush, {steady} before");
    let counts = cache.stats().counts;
    assert!(counts.loads as f64 <= 1.1 * counts.misses as f64, "{counts:?}");
}

/// Row 26: keys made to collide cannot be made without the process's secret: two caches hash alike by chance alone. And if two
/// keys do collide, each still gets its own value.
#[tokio::test]
async fn row_26_hash_flooding() {
    #[derive(Clone, PartialEq, Eq, Debug)]
    struct Colliding(u64);
    impl std::hash::Hash for Colliding {
        fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
            state.write_u64(7);
        }
    }
    impl larder::Key for Colliding {
        fn text(&self) -> std::borrow::Cow<'_, str> {
            self.0.to_string().into()
        }
    }
    let cache: Cache<Colliding, u64> = Cache::builder().capacity(1000).build().unwrap();
    for round in 0..3 {
        for key in 0..50 {
            let loaded = cache.get_with(&Colliding(key), move || async move { Ok::<_, Infallible>(key) }).await;
            assert_eq!(loaded.unwrap(), key, "round {round}");
        }
    }
    // At once, each with a load of its own.
    let loads = (0..50).map(|key| {
        let cache = cache.clone();
        tokio::spawn(async move {
            let load = move || async move {
                sleep(Duration::from_millis(2)).await;
                Ok::<_, Infallible>(key)
            };
            assert_eq!(cache.get_with(&Colliding(key), load).await.unwrap(), key);
        })
    });
    for load in loads.collect::<Vec<_>>() {
        load.await.unwrap();
    }
    cache.validate();
}

/// Row 29: I9. One worker thread, loads that ask the cache themselves.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn row_29_one_worker_thread_and_loads_within_loads() {
    let cache = cache();
    fn nested(cache: Cache<u64, String>, depth: u64) -> BoxFuture<'static, Result<String, Error>> {
        async move {
            let inner = cache.clone();
            let load = move || match depth {
                0 => async { Ok("bottom".to_owned()) }.boxed(),
                _ => nested(inner, depth - 1),
            };
            cache.get_with(&depth, load).await
        }
        .boxed()
    }
    let tasks: Vec<_> = (0..100).map(|_| tokio::spawn(nested(cache.clone(), 20))).collect();
    for task in tasks {
        assert_eq!(tokio::time::timeout(seconds(30), task).await.unwrap().unwrap().unwrap(), "bottom");
    }
}

/// Row 30: a cache that closes under load sends what is queued, takes no more writes, and is done in five seconds.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn row_30_shutdown_under_load() {
    let store = InProcess::new(1 << 24);
    let cache: Cache<u64, String> =
        Cache::builder().capacity(10_000).remote(store.clone(), codec::Plain).build().unwrap();
    let acknowledged = Arc::new(Mutex::new(Vec::new()));
    let writers: Vec<_> = (0..4u64)
        .map(|writer| {
            let (cache, acknowledged) = (cache.clone(), acknowledged.clone());
            tokio::spawn(async move {
                // No more keys than the store has room for.
                for key in (0..2_000).map(|key| writer * 1_000_000 + key).cycle() {
                    match cache.insert(key, key.to_string()).await {
                        Ok(()) => acknowledged.lock().push(key),
                        Err(error) => return error.kind(),
                    }
                    tokio::task::yield_now().await;
                }
                ErrorKind::Config
            })
        })
        .collect();
    while acknowledged.lock().len() < 1_000 {
        sleep(Duration::from_millis(1)).await;
    }
    let began = Instant::now();
    assert!(cache.close(seconds(5)).await);
    assert!(began.elapsed() < seconds(5));
    for writer in writers {
        assert_eq!(writer.await.unwrap(), ErrorKind::Closed);
    }
    let other: Cache<u64, String> = Cache::builder().capacity(100_000).remote(store, codec::Plain).build().unwrap();
    let acknowledged = std::mem::take(&mut *acknowledged.lock());
    for key in acknowledged {
        assert_eq!(other.get(&key).await, Some(key.to_string()));
    }
}

#[tokio::test]
async fn a_tenant_takes_no_others_memory_loads_or_keys() {
    let store = Arc::new(InProcess::new(1 << 24));
    let tenants: Tenants<u64, String> = Tenants::new("orders", 2, move |tenant| {
        let entries = if tenant == "large" { 1000 } else { 10 };
        Cache::builder().capacity(entries).loads(1).policy("lru").remote(store.clone(), codec::Plain)
    })
    .unwrap();
    let (large, small) = (tenants.of("large").unwrap(), tenants.of("small").unwrap());
    for key in 0..500 {
        large.insert(key, "large".into()).await.unwrap();
        small.insert(key, "small".into()).await.unwrap();
    }
    assert_eq!((large.stats().entries, small.stats().entries), (500, 10));
    assert_eq!((large.get(&1).await, small.get(&1).await), (Some("large".into()), Some("small".into())));
    // One of them is stuck in its only load; the other is not.
    let stuck = tokio::spawn({
        let small = small.clone();
        async move { small.get_with(&9999, || async { pending::<Result<String, Infallible>>().await }).await }
    });
    tokio::task::yield_now().await;
    let load = tokio::time::timeout(SECOND, large.get_with(&9999, || value("free")));
    assert_eq!(load.await.unwrap().unwrap(), "free");
    stuck.abort();
    assert_eq!(tenants.of("third").unwrap_err().kind(), ErrorKind::Overloaded);
    for odd in ["", "a:b", "a--b", "-a", "a b"] {
        assert_eq!(tenants.of(odd).unwrap_err().kind(), ErrorKind::BadKey);
    }
    assert!(tenants.remove("small") && tenants.of("third").is_ok());
}

/// The history of every value, over two caches and one store whose messages get lost, doubled and swapped: an answer is legal only
/// if it was true when it was asked for, or at most the lifetime before. Rows 18 and 19: I1.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn row_18_no_answer_is_older_than_allowed_whatever_becomes_of_messages() {
    const MOST: Duration = Duration::from_millis(500);
    /// Between the origin's answer and a reader's look at the clock on a busy machine.
    const SLACK: Duration = Duration::from_millis(500);
    type Replaced = HashMap<(u64, u64), Instant>;
    let store = InProcess::new(1 << 20);
    let origin: Arc<Mutex<(HashMap<u64, u64>, Replaced)>> = Arc::default();
    let links = [Arc::new(store.clone()), Arc::new(store)];
    let caches = links.clone().map(|link| {
        link.set_faults(Faults { loses: 0.2, doubles: 0.2, swaps: 0.2, fails: 0.02, flips: 0.02, ..Faults::default() });
        let rules = Rules { jitter: 0.0, freshness: Freshness::fixed_ttl(MOST), ..Rules::default() };
        Cache::<u64, String>::builder().capacity(100).rules(rules).remote(link, codec::Plain).build().unwrap()
    });
    let end = Instant::now() + seconds(3);
    let tasks: Vec<_> = (0..8u64)
        .map(|task| {
            let (cache, origin) = (caches[task as usize % 2].clone(), origin.clone());
            let mut rng = fastrand::Rng::with_seed(task);
            tokio::spawn(async move {
                let mut answers = 0u64;
                while Instant::now() < end {
                    let key = rng.u64(..20);
                    if rng.u32(..20) == 0 {
                        {
                            let (now, replaced) = &mut *origin.lock();
                            let version = now.entry(key).or_insert(0);
                            replaced.insert((key, *version), Instant::now());
                            *version += 1;
                        }
                        cache.changed(&key).await.unwrap();
                    } else {
                        let (asked, from) = (Instant::now(), origin.clone());
                        let load = move || async move {
                            let version = from.lock().0.get(&key).copied().unwrap_or(0);
                            sleep(Duration::from_millis(2)).await;
                            Ok::<_, Infallible>(format!("{key} {version}"))
                        };
                        let answer = cache.get_with(&key, load).await.unwrap();
                        let (own, version) = answer.split_once(' ').unwrap();
                        assert_eq!(own, key.to_string(), "another key's value");
                        let version: u64 = version.parse().unwrap();
                        if let Some(replaced) = origin.lock().1.get(&(key, version)) {
                            let late = asked.saturating_duration_since(*replaced);
                            assert!(late <= MOST + SLACK, "replaced {late:?} before it was asked for");
                        }
                        answers += 1;
                    }
                    tokio::task::yield_now().await;
                }
                answers
            })
        })
        .collect();
    let mut answers = 0;
    for task in tasks {
        answers += task.await.unwrap();
    }
    caches.iter().for_each(Cache::validate);
    let hits: u64 = caches.iter().map(|cache| cache.stats().counts.hits + cache.stats().counts.remote_hits).sum();
    assert!(answers > 1000 && hits > answers / 10, "{hits} of {answers} were hits");
}
