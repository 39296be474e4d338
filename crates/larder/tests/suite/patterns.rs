//! The patterns a cache is used in, each by what a user sees.
#![allow(clippy::unwrap_used, reason = "outside of test functions, but in tests alone")]

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use larder::remote::InProcess;
use larder::{
    Cache, Clock, Consistency, ErrorKind, Fetched, Freshness, LoadLimit, Options, Refresh, Rules, Tier, Time, codec,
};
use tokio::sync::{Notify, oneshot};

pub(crate) const SECOND: Duration = Duration::from_secs(1);
/// A Wednesday in 2026.
const START: Time = Time(1_795_000_000_000_000);

pub(crate) fn clock() -> Clock {
    Clock::manual(START)
}

pub(crate) fn builder(clock: &Clock) -> larder::Builder<u64, String> {
    Cache::builder().capacity(1000).clock(clock.clone()).seed(1).rules(Rules { jitter: 0.0, ..Rules::default() })
}

/// An origin that counts its loads; what it has changes when told.
#[derive(Default)]
pub(crate) struct Origin {
    loads: AtomicU64,
    version: AtomicU64,
}

impl Origin {
    pub(crate) fn loads(&self) -> u64 {
        self.loads.load(Ordering::Relaxed)
    }

    pub(crate) fn change(&self) {
        self.version.fetch_add(1, Ordering::Relaxed);
    }

    async fn load(self: Arc<Self>, key: u64) -> Result<String, Infallible> {
        self.loads.fetch_add(1, Ordering::Relaxed);
        Ok(format!("{key} v{}", self.version.load(Ordering::Relaxed)))
    }
}

pub(crate) async fn get(cache: &Cache<u64, String>, origin: &Arc<Origin>, key: u64) -> String {
    let origin = origin.clone();
    let value = cache.get_with(&key, move || origin.load(key)).await.unwrap();
    cache.validate();
    value
}

/// Lets tasks that were started in the background run.
pub(crate) async fn settle() {
    for _ in 0..20 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_value_is_loaded_once_and_again_at_its_end() {
    let (clock, origin) = (clock(), Arc::new(Origin::default()));
    let cache = builder(&clock).freshness(Freshness::fixed_ttl(10 * SECOND)).build().unwrap();
    assert_eq!(get(&cache, &origin, 1).await, "1 v0");
    origin.change();
    clock.advance(9 * SECOND);
    assert_eq!(get(&cache, &origin, 1).await, "1 v0");
    clock.advance(SECOND);
    assert_eq!(cache.local(&1), None);
    assert_eq!(get(&cache, &origin, 1).await, "1 v1");
    let counts = cache.stats().counts;
    assert_eq!((origin.loads(), counts.loads, counts.hits, counts.misses), (2, 2, 1, 3));
}

#[tokio::test]
async fn that_there_is_nothing_is_remembered() {
    let clock = clock();
    let cache = builder(&clock).build().unwrap();
    let loads = Arc::new(AtomicU64::new(0));
    let ask = || {
        let loads = loads.clone();
        let load = move || async move {
            loads.fetch_add(1, Ordering::Relaxed);
            Ok::<_, Infallible>(None::<String>)
        };
        cache.get_with(&7, load)
    };
    for _ in 0..3 {
        assert_eq!(ask().await.unwrap_err().kind(), ErrorKind::NotFound);
    }
    assert_eq!((loads.load(Ordering::Relaxed), cache.get(&7).await), (1, None));
    clock.advance(Rules::default().negative_ttl);
    assert_eq!(ask().await.unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(loads.load(Ordering::Relaxed), 2);
    cache.insert(7, "now".into()).await.unwrap();
    assert_eq!(ask().await.unwrap(), "now");
}

#[tokio::test]
async fn a_loader_the_cache_knows_is_read_through() {
    let (clock, origin) = (clock(), Arc::new(Origin::default()));
    let from = origin.clone();
    let cache = builder(&clock).loader(move |key| from.clone().load(key)).build().unwrap();
    let found = cache.load(&5).await.unwrap();
    assert_eq!((found.value.as_str(), found.tier, found.is_stale), ("5 v0", Tier::Origin, false));
    clock.advance(SECOND);
    let found = cache.load(&5).await.unwrap();
    assert_eq!((found.tier, found.age), (Tier::Local, SECOND));
    assert_eq!(cache.get(&6).await.as_deref(), Some("6 v0"));
    let without = builder(&clock).build().unwrap();
    assert_eq!(without.load(&5).await.unwrap_err().kind(), ErrorKind::Config);
}

#[tokio::test]
async fn many_keys_are_loaded_by_one_call() {
    let clock = clock();
    let cache = builder(&clock).build().unwrap();
    cache.insert(2, "two".into()).await.unwrap();
    let calls = Arc::new(parking_lot::Mutex::new(Vec::new()));
    let seen = calls.clone();
    let load = move |keys: Vec<u64>| async move {
        seen.lock().push(keys.clone());
        let found = keys.into_iter().filter(|key| key % 2 == 1).map(|key| (key, key.to_string()));
        Ok::<_, Infallible>(found.collect::<HashMap<_, _>>())
    };
    let answers = cache.get_many_with([1, 2, 3, 4, 1], load.clone()).await.unwrap();
    let expected = [(1, "1"), (2, "two"), (3, "3")].map(|(key, value)| (key, value.to_owned()));
    assert_eq!(answers, HashMap::from(expected));
    // That there is no 4 is remembered as well.
    assert_eq!(cache.get_many_with([4, 3], load).await.unwrap().len(), 1);
    assert_eq!(*calls.lock(), [vec![1, 3, 4]]);
    assert_eq!(cache.stats().counts.coalesced, 0, "a key that is named twice is looked up once");
}

#[tokio::test]
async fn of_ten_thousand_who_ask_at_once_one_loads() {
    let clock = clock();
    let cache = builder(&clock).build().unwrap();
    let loads = Arc::new(AtomicU64::new(0));
    let waiters = (0..10_000).map(|_| {
        let (cache, loads) = (cache.clone(), loads.clone());
        tokio::spawn(async move {
            let load = move || async move {
                loads.fetch_add(1, Ordering::Relaxed);
                tokio::time::sleep(Duration::from_millis(50)).await;
                Ok::<_, Infallible>("value".to_owned())
            };
            cache.get_with(&1, load).await.unwrap()
        })
    });
    for waiter in waiters.collect::<Vec<_>>() {
        assert_eq!(waiter.await.unwrap(), "value");
    }
    let counts = cache.stats().counts;
    assert_eq!((loads.load(Ordering::Relaxed), counts.coalesced), (1, 9_999));
}

#[tokio::test]
async fn who_gives_up_waiting_wastes_no_load() {
    let clock = clock();
    let cache = builder(&clock).build().unwrap();
    let (go, wait) = oneshot::channel::<()>();
    let first = tokio::spawn({
        let cache = cache.clone();
        async move {
            let load = || async move {
                wait.await.unwrap();
                Ok::<_, Infallible>("loaded".to_owned())
            };
            cache.get_with(&1, load).await
        }
    });
    settle().await;
    first.abort();
    settle().await;
    go.send(()).unwrap();
    settle().await;
    assert_eq!(cache.local(&1).as_deref(), Some("loaded"));
}

#[tokio::test]
async fn when_a_load_panics_the_next_who_waits_loads() {
    let clock = clock();
    let cache = builder(&clock).build().unwrap();
    let go = Arc::new(Notify::new());
    let panics = tokio::spawn({
        let (cache, go) = (cache.clone(), go.clone());
        async move {
            let load = move || async move {
                go.notified().await;
                go.notified().await;
                None::<String>.ok_or("the loader's own panic").map(|text| text.len()).unwrap();
                Ok::<_, Infallible>(String::new())
            };
            cache.get_with(&1, load).await
        }
    });
    settle().await;
    let waits = tokio::spawn({
        let cache = cache.clone();
        async move { cache.get_with(&1, || async { Ok::<_, Infallible>("second".to_owned()) }).await }
    });
    let waits_with_others = tokio::spawn({
        let cache = cache.clone();
        let load = async |_| Ok::<_, Infallible>(HashMap::from([(1, "second".to_owned())]));
        async move { cache.get_many_with([1], load).await }
    });
    settle().await;
    go.notify_one();
    settle().await;
    go.notify_one();
    assert_eq!(panics.await.unwrap().unwrap_err().kind(), ErrorKind::Panicked);
    assert_eq!(waits.await.unwrap().unwrap(), "second");
    assert_eq!(waits_with_others.await.unwrap().unwrap(), HashMap::from([(1, "second".to_owned())]));
    assert_eq!(cache.local(&1).as_deref(), Some("second"));
    cache.validate();
}

#[tokio::test]
async fn a_value_is_renewed_ahead_of_its_end_and_nobody_waits() {
    let (clock, origin) = (clock(), Arc::new(Origin::default()));
    let cache =
        builder(&clock).freshness(Freshness::fixed_ttl(10 * SECOND)).refresh(Refresh::Ahead(0.8)).build().unwrap();
    get(&cache, &origin, 1).await;
    origin.change();
    clock.advance(8 * SECOND);
    assert_eq!(get(&cache, &origin, 1).await, "1 v0", "the reader does not wait");
    settle().await;
    assert_eq!((cache.local(&1).as_deref(), origin.loads()), (Some("1 v1"), 2));
    clock.advance(7 * SECOND);
    assert_eq!(get(&cache, &origin, 1).await, "1 v1", "it counts anew");
    assert_eq!((origin.loads(), cache.stats().counts.refreshes), (2, 1));
}

/// XFetch: a load that takes as long as ten reads are apart is begun early about as often as theory says.
#[tokio::test]
async fn early_expiry_is_the_likelier_the_nearer_the_end() {
    let clock = clock();
    let cache =
        builder(&clock).freshness(Freshness::fixed_ttl(100 * SECOND)).refresh(Refresh::Early(1.0)).build().unwrap();
    let mut early = 0;
    for key in 0..1000 {
        let (at, cost) = (clock.clone(), 10 * SECOND);
        let load = move || async move {
            at.advance(cost);
            Ok::<_, Infallible>("x".to_owned())
        };
        cache.get_with(&key, load).await.unwrap();
        // The chance of -ln(u) × 10 s ≥ 10 s is 1/e.
        clock.advance(80 * SECOND);
        cache.get_with(&key, || async { Ok::<_, Infallible>("y".to_owned()) }).await.unwrap();
        settle().await;
        early += u64::from(cache.local(&key).as_deref() == Some("y"));
    }
    assert_eq!(cache.stats().counts.refreshes, early);
    assert!((318..418).contains(&early), "{early} of 1000, 1/e is 368, three deviations are 46");
}

#[tokio::test]
async fn what_was_loaded_together_does_not_end_together() {
    let clock = clock();
    let rules = Rules { jitter: 0.2, freshness: Freshness::fixed_ttl(100 * SECOND), ..Rules::default() };
    let cache = builder(&clock).rules(rules).build().unwrap();
    let origin = Arc::new(Origin::default());
    for key in 0..500 {
        get(&cache, &origin, key).await;
    }
    let alive = |cache: &Cache<u64, String>| (0..500).filter(|key| cache.local(key).is_some()).count();
    clock.advance(80 * SECOND - Duration::from_micros(1));
    assert_eq!(alive(&cache), 500);
    clock.advance(10 * SECOND);
    assert!((200..300).contains(&alive(&cache)), "{}", alive(&cache));
    clock.advance(10 * SECOND);
    assert_eq!(alive(&cache), 0);
}

#[tokio::test]
async fn a_fixed_lifetime_keeps_within_its_limits() {
    for (freshness, lives) in [
        (Freshness::fixed_ttl(300 * SECOND).max_ttl(60 * SECOND), 60),
        (Freshness::fixed_ttl(30 * SECOND).min_ttl(90 * SECOND), 90),
    ] {
        let clock = clock();
        let rules = Rules { jitter: 0.0, freshness, ..Rules::default() };
        let cache = builder(&clock).rules(rules).build().unwrap();
        get(&cache, &Arc::new(Origin::default()), 1).await;
        clock.advance((lives - 1) * SECOND);
        assert!(cache.local(&1).is_some(), "{lives}");
        clock.advance(2 * SECOND);
        assert_eq!(cache.local(&1), None, "{lives}");
    }
}

#[tokio::test]
async fn tags_and_clear_remove_at_once() {
    let clock = clock();
    let cache = builder(&clock).build().unwrap();
    for key in 0..10 {
        let options = if key % 2 == 0 { Options::new().tag("even").tag("all") } else { Options::new().tag("all") };
        cache.insert_with(key, key.to_string(), options).await.unwrap();
    }
    clock.advance(SECOND);
    cache.remove_tag("even").await.unwrap();
    assert_eq!((0..10).filter(|key| cache.local(key).is_some()).collect::<Vec<_>>(), [1, 3, 5, 7, 9]);
    cache.insert_with(2, "2".into(), Options::new().tag("even")).await.unwrap();
    assert!(cache.local(&2).is_some(), "what came after the removal stays, in the same instant too");
    cache.clear().await.unwrap();
    assert_eq!((cache.stats().entries, cache.local(&1)), (0, None));
    cache.insert(1, "new".into()).await.unwrap();
    assert_eq!(cache.local(&1).as_deref(), Some("new"), "in the same instant");
}

/// Row 19 of the fault matrix.
#[tokio::test]
async fn a_stale_fill_that_races_a_write_is_not_kept() {
    let clock = clock();
    for consistency in [Consistency::Eventual, Consistency::ReadYourWrites, Consistency::MonotonicReads] {
        for what in 0..4 {
            let cache = builder(&clock).consistency(consistency).build().unwrap();
            let (go, wait) = oneshot::channel::<()>();
            let reader = tokio::spawn({
                let cache = cache.clone();
                async move {
                    let load = || async move {
                        // The origin was read before the write, and its answer arrives after.
                        wait.await.unwrap();
                        Ok::<_, Infallible>(Fetched::from("old".to_owned()).with(Options::new().tag("t")))
                    };
                    cache.get_with(&1, load).await
                }
            });
            settle().await;
            clock.advance(SECOND);
            match what {
                0 => cache.insert(1, "new".into()).await.unwrap(),
                1 => cache.changed(&1).await.unwrap(),
                2 => cache.clear().await.unwrap(),
                _ => cache.remove_tag("t").await.unwrap(),
            }
            // Who asks from now on does not join the old load, unless only a tag was removed, which nobody knows it carries.
            if what < 2 {
                let load = || async { Ok::<_, Infallible>("new".to_owned()) };
                assert_eq!(cache.get_with(&1, load).await.unwrap(), "new");
            }
            go.send(()).unwrap();
            reader.await.unwrap().unwrap();
            settle().await;
            let expected = if what < 2 { Some("new") } else { None };
            assert_eq!(cache.local(&1).as_deref(), expected, "case {what} of {consistency:?}");
            assert_eq!(cache.stats().counts.fenced, 1);
        }
    }
}

#[tokio::test]
async fn an_older_version_does_not_replace_a_newer_one() {
    let clock = clock();
    let cache = builder(&clock).build().unwrap();
    cache.insert_with(1, "v5".into(), Options::new().version(5)).await.unwrap();
    cache.insert_with(1, "v4".into(), Options::new().version(4)).await.unwrap();
    assert_eq!((cache.local(&1).as_deref(), cache.stats().counts.outrun), (Some("v5"), 1));
    cache.insert_with(1, "v6".into(), Options::new().version(6)).await.unwrap();
    assert_eq!(cache.local(&1).as_deref(), Some("v6"));
}

#[tokio::test]
async fn a_shared_limit_holds_for_two_caches() {
    let clock = clock();
    let limit = LoadLimit::new(3);
    let caches: Vec<_> = (0..2).map(|_| builder(&clock).load_limit(limit.clone()).build().unwrap()).collect();
    let (now, most) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let reads = (0..40).map(|key| {
        let (cache, now, most) = (caches[key as usize % 2].clone(), now.clone(), most.clone());
        tokio::spawn(async move {
            let load = move || async move {
                most.fetch_max(1 + now.fetch_add(1, Ordering::SeqCst), Ordering::SeqCst);
                tokio::time::sleep(Duration::from_millis(2)).await;
                now.fetch_sub(1, Ordering::SeqCst);
                Ok::<_, Infallible>(key.to_string())
            };
            cache.get_with(&key, load).await.unwrap()
        })
    });
    for read in reads.collect::<Vec<_>>() {
        read.await.unwrap();
    }
    assert_eq!((most.load(Ordering::SeqCst), limit.room()), (3, 3));
}

#[tokio::test]
async fn a_stale_rate_is_kept_to_and_measured() {
    let clock = clock();
    let objective = Freshness::stale_reads(0.05).unwrap().max_ttl(10_000 * SECOND);
    let cache = builder(&clock).freshness(objective).digest_by_hash().build().unwrap();
    let born = START;
    // Key k changes every (k + 1) × 40 s.
    let truth = move |key: u64, now: Time| format!("{}", now.since(born).as_secs() / ((key + 1) * 40));
    let (mut stale, mut reads) = (0, 0);
    for step in 0..60_000u64 {
        clock.advance(SECOND / 4);
        let (key, at) = (step * 7 % 20, clock.clone());
        let load = move || async move { Ok::<_, Infallible>(truth(key, at.now())) };
        let value = cache.get_with(&key, load).await.unwrap();
        settle().await;
        if step > 20_000 {
            reads += 1;
            stale += u64::from(value != truth(key, clock.now()));
        }
    }
    let (rate, stats) = (stale as f64 / reads as f64, cache.stats());
    assert!(rate < 0.06, "{rate}");
    assert!(stats.counts.hits > stats.counts.loads, "{:?}", stats.counts);
    let measured = stats.stale_rate.unwrap();
    assert!(measured.low <= rate && rate <= measured.high, "{measured:?} and in truth {rate}");
}

#[tokio::test]
async fn bytes_are_weighed() {
    let clock = clock();
    let cache: Cache<u64, String> = Cache::builder()
        .capacity_bytes(10_000, |_, value: &String| value.len() as u32)
        .clock(clock)
        .policy("lru")
        .build()
        .unwrap();
    for key in 0..100 {
        cache.insert(key, "x".repeat(1000)).await.unwrap();
        assert!(cache.stats().weight <= 10_000);
    }
    assert_eq!(cache.stats().entries, 10);
    cache.insert(1000, "x".repeat(10_001)).await.unwrap();
    assert_eq!((cache.local(&1000), cache.stats().counts.too_heavy), (None, 1));
    cache.resize(2500);
    assert_eq!((cache.stats().entries, cache.stats().capacity), (2, 2500));
}

#[test]
fn threads_that_may_wait_use_the_same_cache() {
    let cache: Cache<String, u64> = Cache::builder().capacity(100).build().unwrap();
    let blocking = cache.blocking();
    assert_eq!(blocking.get_with("a", || Ok::<_, Infallible>(1)).unwrap(), 1);
    assert_eq!(blocking.get_with("a", || Err::<u64, _>("not asked")).unwrap(), 1);
    let error = blocking.get_with("b", || if true { panic!("own") } else { Ok::<u64, Infallible>(1) }).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Panicked);
    blocking.insert("b".into(), 2).unwrap();
    assert_eq!(
        (blocking.get("b").unwrap(), blocking.remove("b").unwrap(), blocking.get("b").unwrap()),
        (Some(2), Some(2), None)
    );
    assert_eq!(blocking.find_with("a", || Err::<u64, _>("not asked")).unwrap().tier, Tier::Local);
    let loaded = blocking.get_many_with(["a", "c"].map(String::from), |keys| {
        assert_eq!(keys, ["c"], "a is there");
        Ok::<_, Infallible>(HashMap::from([("c".to_owned(), 3)]))
    });
    assert_eq!(loaded.unwrap(), HashMap::from([("a".to_owned(), 1), ("c".to_owned(), 3)]));
    let failed = blocking.get_many_with(["d".to_owned()], |_| Err::<HashMap<_, u64>, _>("the origin is down"));
    assert_eq!(failed.unwrap_err().kind(), ErrorKind::Loader);
    assert_eq!(blocking.load("a").unwrap_err().kind(), ErrorKind::Config, "it has no loader");
    assert_eq!(blocking.put("a".into(), 2).unwrap_err().kind(), ErrorKind::Config, "nor anywhere to write to");
    blocking.clear().unwrap();
    assert_eq!(cache.stats().entries, 0);
    assert!(blocking.close(Duration::from_secs(1)).unwrap());
}

#[tokio::test]
async fn a_blocking_call_in_a_runtime_of_one_thread_is_refused_and_not_a_deadlock() {
    let cache: Cache<u64, u64> = Cache::builder().capacity(100).build().unwrap();
    let error = cache.blocking().get_with(&1, || Ok::<_, Infallible>(1)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
    assert_eq!(cache.blocking().get(&1).unwrap(), None, "nothing to wait for");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_blocking_call_in_a_runtime_of_several_threads_waits() {
    let cache: Cache<u64, u64> = Cache::builder().capacity(100).build().unwrap();
    assert_eq!(cache.blocking().get_with(&1, || Ok::<_, Infallible>(1)).unwrap(), 1);
}

#[test]
fn wrong_settings_are_refused_with_the_reason() {
    let errors = [
        Cache::<u64, u64>::builder().build().err(),
        Cache::<u64, u64>::builder().capacity(1).name("a b").build().err(),
        Cache::<u64, u64>::builder().capacity(1).policy("lrv").build().err(),
        Cache::<u64, u64>::builder().capacity(1).policy("belady").build().err(),
        Cache::<u64, u64>::builder().capacity(1).segments(3).build().err(),
        Cache::<u64, u64>::builder().capacity(63).segments(64).build().err(),
        Cache::<u64, u64>::builder().capacity(1).refresh(Refresh::Ahead(2.0)).build().err(),
        Cache::<u64, u64>::builder().capacity(1).refresh(Refresh::Early(f64::NAN)).build().err(),
        Cache::<u64, u64>::builder().capacity(1).timeouts(None, Duration::ZERO).build().err(),
    ];
    let words = ["capacity", "'a b'", "lrv", "belady", "3 segments", "63 in 64 segments", "share", "β", "hard_timeout"];
    for (error, word) in errors.into_iter().zip(words) {
        let error = error.unwrap();
        assert_eq!(error.kind(), ErrorKind::Config);
        assert!(error.to_string().contains(word), "{error}");
    }
}

/// Two processes with one remote tier between them.
struct Two {
    store: InProcess,
    clock: Clock,
    a: Cache<u64, String>,
    b: Cache<u64, String>,
}

fn two(consistency: Consistency) -> Two {
    let (clock, store) = (Clock::system(), InProcess::new(1 << 20));
    let make = || builder(&clock).consistency(consistency).remote(store.clone(), codec::Plain).build().unwrap();
    Two { a: make(), b: make(), store: store.clone(), clock: clock.clone() }
}

#[tokio::test]
async fn what_one_process_loaded_the_other_takes_from_the_remote_tier() {
    let (two, origin) = (two(Consistency::Eventual), Arc::new(Origin::default()));
    assert_eq!(get(&two.a, &origin, 1).await, "1 v0");
    assert!(two.a.remote().unwrap().flush(tokio::time::Instant::now() + SECOND).await);
    let load = || async { Err::<String, _>("not asked") };
    let found = two.b.find_with(&1, load).await.unwrap();
    assert_eq!((found.value.as_str(), found.tier), ("1 v0", Tier::Remote));
    assert_eq!(two.b.local(&1).as_deref(), Some("1 v0"));
    assert_eq!((origin.loads(), two.b.stats().counts.remote_hits), (1, 1));
    assert_eq!(two.b.get(&2).await, None, "without a loader a miss is nothing");
    assert!(!two.store.is_empty() && two.clock.now() > START);
}

#[tokio::test]
async fn a_write_in_one_process_reaches_the_other() {
    let two = two(Consistency::Eventual);
    two.a.insert(1, "old".into()).await.unwrap();
    assert_eq!(two.b.get(&1).await.as_deref(), Some("old"));
    two.a.insert(1, "new".into()).await.unwrap();
    let arrived = async {
        while two.b.local(&1).is_some() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(5 * SECOND, arrived).await.unwrap();
    assert_eq!(two.b.get(&1).await.as_deref(), Some("new"));
}

#[tokio::test]
async fn a_remote_tier_that_is_down_costs_no_answer() {
    let (two, origin) = (two(Consistency::Eventual), Arc::new(Origin::default()));
    two.store.set_faults(larder::remote::Faults { down: true, ..Default::default() });
    for key in 0..50 {
        assert_eq!(get(&two.a, &origin, key).await, format!("{key} v0"));
    }
    two.a.insert(1, "written".into()).await.unwrap();
    assert_eq!(two.a.local(&1).as_deref(), Some("written"));
    assert_eq!(two.a.stats().counts.load_errors, 0);
}
