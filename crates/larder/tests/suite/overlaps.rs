//! Things that overlap or end badly: what readers get then, and that nothing is stuck afterwards.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::collections::HashMap;
use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use larder::behind::{Sink, Write};
use larder::remote::{Faults, InProcess};
use larder::{Cache, Clock, Error, ErrorKind, Fetched, Freshness, Options, Rules, Tenants, Tier, Time, codec};
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep};

const SECOND: Duration = Duration::from_secs(1);

fn builder() -> larder::Builder<String, u64> {
    let rules = Rules { jitter: 0.0, freshness: Freshness::fixed_ttl(60 * SECOND), ..Rules::default() };
    Cache::builder().name("told").capacity(100).seed(1).rules(rules)
}

fn shared(store: &Arc<InProcess>) -> larder::Builder<String, u64> {
    builder().remote(store.clone(), codec::MessagePack)
}

async fn one(value: u64) -> Result<u64, Infallible> {
    Ok(value)
}

#[tokio::test(start_paused = true)]
async fn a_bad_key_among_many_leaves_no_load_behind() {
    let cache = shared(&Arc::new(InProcess::new(1 << 20))).build().unwrap();
    let load = async |_: Vec<String>| Ok::<_, Infallible>(HashMap::<String, u64>::new());
    let keys = ["good", "bad\n"].map(str::to_owned);
    assert_eq!(cache.get_many_with(keys, load).await.unwrap_err().kind(), ErrorKind::BadKey);
    let began = Instant::now();
    assert_eq!(cache.get_with("good", || one(1)).await.unwrap(), 1);
    assert!(began.elapsed() < SECOND);
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_had_of_many_takes_nothing_from_the_others() {
    let cache = shared(&Arc::new(InProcess::new(1 << 20))).build().unwrap();
    cache.insert("here".to_owned(), 1).await.unwrap();
    let keys = ["here", "bad\n", "loaded", "none"].map(str::to_owned);
    let kinds = |answers: &HashMap<String, Result<u64, Error>>| {
        keys.clone().map(|key| answers[&key].as_ref().copied().map_err(Error::kind))
    };
    let load = async |_| Err::<HashMap<String, u64>, _>(io::Error::other("down"));
    let answers = cache.get_each_with(keys.clone(), load).await;
    assert_eq!(kinds(&answers), [Ok(1), Err(ErrorKind::BadKey), Err(ErrorKind::Loader), Err(ErrorKind::Loader)]);
    let load = async |asked: Vec<String>| {
        assert_eq!(asked.len(), 2, "{asked:?}");
        Ok::<_, Infallible>(HashMap::from([("loaded".to_owned(), 2)]))
    };
    let answers = cache.get_each_with(keys.clone(), load).await;
    assert_eq!(kinds(&answers), [Ok(1), Err(ErrorKind::BadKey), Ok(2), Err(ErrorKind::NotFound)]);
    // Until their time is over.
    let load = async |_| std::future::pending::<Result<HashMap<String, u64>, Infallible>>().await;
    let began = Instant::now();
    let answers = cache.get_each_with(["here", "a", "b"].map(str::to_owned), load).await;
    assert_eq!(
        (answers["here"].as_ref().unwrap(), answers["b"].as_ref().unwrap_err().kind()),
        (&1, ErrorKind::Timeout)
    );
    assert!(began.elapsed() <= Rules::default().hard_timeout);
}

#[tokio::test(start_paused = true)]
async fn a_loader_that_panics_before_it_waits_leaves_no_load_behind() {
    let fails = Arc::new(AtomicBool::new(true));
    let panics = fails.clone();
    let loader = move |key: String| {
        assert!(!panics.load(Ordering::SeqCst), "on purpose");
        async move { Ok::<_, Infallible>(Fetched::from(key.len() as u64)) }
    };
    let cache = builder().loader(loader).build().unwrap();
    let key = "k".to_owned();
    assert_eq!(cache.load(&key).await.unwrap_err().kind(), ErrorKind::Panicked);
    fails.store(false, Ordering::SeqCst);
    let began = Instant::now();
    assert_eq!(cache.load(&key).await.unwrap().value, 1);
    assert!(began.elapsed() < SECOND);
}

#[tokio::test(start_paused = true)]
async fn nobody_joins_a_load_from_before_a_clear() {
    let cache = builder().build().unwrap();
    let (begun, go) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let before = tokio::spawn({
        let (cache, begun, go) = (cache.clone(), begun.clone(), go.clone());
        let load = || async move {
            begun.notify_one();
            go.notified().await;
            one(1).await
        };
        async move { cache.get_with("k", load).await }
    });
    begun.notified().await;
    cache.clear().await.unwrap();
    assert_eq!(cache.get_with("k", || one(2)).await.unwrap(), 2);
    go.notify_one();
    assert_eq!(before.await.unwrap().unwrap(), 1, "whoever asked before gets what was true then");
    assert_eq!(cache.local("k"), Some(2));
}

#[tokio::test(start_paused = true)]
async fn what_is_too_old_is_nothing_where_nobody_can_load() {
    let clock = Clock::manual(Time(1_795_000_000_000_000));
    for store in [None, Some(Arc::new(InProcess::new(1 << 20)))] {
        let builder = store.as_ref().map_or_else(builder, shared);
        let cache = builder.clock(clock.clone()).build().unwrap();
        cache.insert_local("k".to_owned(), 1, Options::default());
        assert_eq!(cache.get("k").await, Some(1));
        clock.advance(61 * SECOND);
        assert_eq!(cache.get("k").await, None, "no origin has failed");
        let broken = || async { Err::<u64, _>(io::Error::other("down")) };
        assert_eq!(cache.get_with("k", broken).await.unwrap(), 1, "one has");
    }
}

#[tokio::test(start_paused = true)]
async fn after_a_loss_the_remote_tier_is_asked_once_and_then_believed() {
    let clock = Clock::manual(Time(1_795_000_000_000_000));
    let pass = async |time: Duration| {
        sleep(time).await;
        clock.advance(time);
    };
    let store = Arc::new(InProcess::new(1 << 20));
    let other = shared(&Arc::new(InProcess::clone(&store))).clock(clock.clone()).build().unwrap();
    other.get_with("k", || one(1)).await.unwrap();
    pass(SECOND).await;
    let cache = shared(&store).clock(clock.clone()).build().unwrap();
    pass(SECOND).await;
    store.set_faults(Faults { cut: true, ..Faults::default() });
    store.set_faults(Faults::default());
    pass(2 * SECOND).await;
    let find = async || cache.find_with("k", || one(2)).await.unwrap();
    let found = find().await;
    assert_eq!((found.value, found.tier), (1, Tier::Remote));
    for _ in 0..3 {
        let found = find().await;
        assert_eq!((found.value, found.tier), (1, Tier::Local));
    }
    // What memory had before the loss is asked for again, once.
    store.set_faults(Faults { cut: true, ..Faults::default() });
    store.set_faults(Faults::default());
    pass(2 * SECOND).await;
    let found = find().await;
    assert_eq!((found.value, found.tier), (1, Tier::Remote));
    assert_eq!(cache.stats().counts.loads, 0);
}

/// A sink whose first write takes its time.
#[derive(Clone, Default)]
struct Slow(Arc<Mutex<Vec<u64>>>);

impl Sink for Slow {
    fn write<'a>(&'a self, batch: &'a [Write]) -> BoxFuture<'a, Result<(), Error>> {
        async move {
            for write in batch {
                let text = String::from_utf8(write.value.as_ref().unwrap().to_vec()).unwrap();
                let is_first = {
                    let mut written = self.0.lock();
                    written.push(text.parse().unwrap());
                    written.len() == 1
                };
                sleep(if is_first { SECOND } else { SECOND / 100 }).await;
            }
            Ok(())
        }
        .boxed()
    }
}

#[tokio::test(start_paused = true)]
async fn of_two_writes_at_once_origin_and_cache_keep_the_same() {
    let sink = Slow::default();
    let cache: Cache<String, String> =
        Cache::builder().capacity(10).codec(codec::Plain).write_through(sink.clone()).build().unwrap();
    let put = async |value: u64| cache.put("k".to_owned(), value.to_string()).await.unwrap();
    tokio::join!(put(1), put(2));
    let last = sink.0.lock().last().unwrap().to_string();
    assert_eq!(cache.local("k"), Some(last));
}

/// Its value is the number of writes. Writes at once, and says so after a second, or that it did not hear back in time.
#[derive(Clone, Default)]
struct Late(Arc<AtomicU64>, Arc<AtomicBool>);

impl Sink for Late {
    fn write<'a>(&'a self, batch: &'a [Write]) -> BoxFuture<'a, Result<(), Error>> {
        async move {
            match batch[0].value {
                Some(_) => self.0.fetch_add(1, Ordering::SeqCst),
                None => self.0.swap(0, Ordering::SeqCst),
            };
            sleep(SECOND).await;
            if self.1.load(Ordering::SeqCst) { Err(Error::new(ErrorKind::Timeout, "no answer")) } else { Ok(()) }
        }
        .boxed()
    }
}

#[tokio::test(start_paused = true)]
async fn a_write_that_nobody_knows_the_end_of_leaves_no_old_value_here_or_elsewhere() {
    let (store, sink) = (Arc::new(InProcess::new(1 << 20)), Late::default());
    let process = || shared(&Arc::new(InProcess::clone(&store))).write_through(sink.clone());
    let (here, there) = (process().build().unwrap(), process().build().unwrap());
    let origin = || {
        let value = sink.0.clone();
        move || async move { one(value.load(Ordering::SeqCst)).await }
    };
    let key = || "k".to_owned();
    for (old, late) in [(1, false), (3, true)] {
        here.put(key(), old).await.unwrap();
        // The other hears of it.
        sleep(SECOND).await;
        assert_eq!(there.get_with("k", origin()).await.unwrap(), old);
        sink.1.store(late, Ordering::SeqCst);
        if late {
            assert_eq!(here.put(key(), old + 1).await.unwrap_err().kind(), ErrorKind::Sink);
        } else {
            tokio::time::timeout(SECOND / 2, here.put(key(), old + 1)).await.unwrap_err();
        }
        sleep(SECOND).await;
        for cache in [&here, &there] {
            assert_eq!(cache.get_with("k", origin()).await.unwrap(), old + 1);
        }
        sink.1.store(false, Ordering::SeqCst);
    }
    // A deletion, too.
    tokio::time::timeout(SECOND / 2, here.delete("k")).await.unwrap_err();
    sleep(SECOND).await;
    assert_eq!(there.get_with("k", origin()).await.unwrap(), 0);
}

#[tokio::test(start_paused = true)]
async fn what_is_written_while_the_cache_closes_is_kept_here_and_elsewhere() {
    let (store, sink) = (Arc::new(InProcess::new(1 << 20)), Late::default());
    let process = || shared(&Arc::new(InProcess::clone(&store))).write_through(sink.clone()).build().unwrap();
    let (here, there) = (process(), process());
    let put = |value| {
        let here = here.clone();
        async move { here.put("k".to_owned(), value).await }
    };
    put(1).await.unwrap();
    let late = tokio::spawn(put(2));
    sleep(SECOND / 2).await;
    assert!(here.close(SECOND / 4).await);
    late.await.unwrap().unwrap();
    assert_eq!(put(3).await.unwrap_err().kind(), ErrorKind::Closed);
    let unasked = || async { Err::<u64, _>(io::Error::other("the origin is not asked")) };
    for cache in [&here, &there] {
        assert_eq!(cache.get_with("k", unasked).await.unwrap(), 2);
    }
}

/// A value whose clones panic when they are told to.
struct Fragile(Arc<AtomicBool>);

impl Clone for Fragile {
    fn clone(&self) -> Self {
        assert!(!self.0.load(Ordering::SeqCst), "as told");
        Self(self.0.clone())
    }
}

#[tokio::test(start_paused = true)]
async fn a_panic_amid_many_keys_leaves_no_load_behind() {
    let panics = Arc::new(AtomicBool::new(false));
    let cache = Cache::<u64, Fragile>::builder().capacity(10).build().unwrap();
    cache.insert(2, Fragile(panics.clone())).await.unwrap();
    panics.store(true, Ordering::SeqCst);
    let load = async |_: Vec<u64>| Ok::<HashMap<u64, Fragile>, Infallible>(HashMap::new());
    let many = std::panic::AssertUnwindSafe(cache.get_many_with([1, 2], load)).catch_unwind().await;
    assert!(many.is_err());
    panics.store(false, Ordering::SeqCst);
    let value = Fragile(panics);
    cache.get_with(&1, || async { Ok::<_, Infallible>(value) }).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn many_stale_keys_wait_once_for_an_origin_that_hangs() {
    let clock = Clock::manual(Time(1_795_000_000_000_000));
    let cache = builder().clock(clock.clone()).timeouts(Some(SECOND), 5 * SECOND).build().unwrap();
    let keys: Vec<_> = (0..20).map(|key| key.to_string()).collect();
    keys.iter().for_each(|key| cache.insert_local(key.clone(), 1, Options::default()));
    clock.advance(61 * SECOND);
    let hangs = async |_: Vec<String>| std::future::pending::<Result<HashMap<String, u64>, Infallible>>().await;
    let began = Instant::now();
    assert_eq!(cache.get_many_with(keys, hangs).await.unwrap().len(), 20);
    assert!(began.elapsed() < 2 * SECOND, "{:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn of_two_processes_one_loads_what_has_become_too_old() {
    let store = Arc::new(InProcess::new(1 << 20));
    let clock = Clock::manual(Time(1_795_000_000_000_000));
    let process =
        || shared(&Arc::new(InProcess::clone(&store))).clock(clock.clone()).lease(10 * SECOND).build().unwrap();
    let (here, there) = (process(), process());
    let loads = AtomicU64::new(0);
    let loads = Arc::new(loads);
    let load = |loads: &Arc<AtomicU64>| {
        let loads = loads.clone();
        move || async move {
            sleep(SECOND).await;
            Ok::<_, Infallible>(loads.fetch_add(1, Ordering::SeqCst) + 1)
        }
    };
    assert_eq!(here.get_with("k", load(&loads)).await.unwrap(), 1);
    assert_eq!(there.get_with("k", load(&loads)).await.unwrap(), 1);
    // By both clocks, of the caches and of the store.
    clock.advance(61 * SECOND);
    sleep(61 * SECOND).await;
    let (one, other) = tokio::join!(here.get_with("k", load(&loads)), there.get_with("k", load(&loads)));
    assert_eq!((one.unwrap(), other.unwrap(), loads.load(Ordering::SeqCst)), (2, 2, 2));
}

#[tokio::test(start_paused = true)]
async fn tenants_share_no_entries_whatever_their_settings_say() {
    let store = Arc::new(InProcess::new(1 << 20));
    let tenants = Tenants::new("orders", 10, move |_| shared(&store).namespace("orders")).unwrap();
    let (one, other) = (tenants.of("one").unwrap(), tenants.of("other").unwrap());
    one.insert("k".to_owned(), 1).await.unwrap();
    sleep(SECOND).await;
    assert_eq!((one.get("k").await, other.get("k").await), (Some(1), None));
}

#[tokio::test]
async fn one_endless_key_does_not_cost_the_others_their_snapshot() {
    let folder = tempfile::tempdir().unwrap();
    let snapshots = larder::snapshot::Snapshots::new(folder.path(), "s", 1).unwrap();
    let cache = builder().build().unwrap();
    for key in ["short".to_owned(), "k".repeat(70_000)] {
        cache.insert_local(key, 1, Options::default());
    }
    assert_eq!(cache.snapshot(&snapshots).await.unwrap().entries, 1);
}

#[tokio::test(start_paused = true)]
async fn who_can_load_does_not_end_with_who_cannot() {
    let store = Arc::new(InProcess::new(1 << 20));
    store.set_faults(Faults { delay: SECOND, ..Faults::default() });
    let cache = shared(&store).build().unwrap();
    let looks = tokio::spawn({
        let cache = cache.clone();
        async move { cache.get("k").await }
    });
    sleep(SECOND / 2).await;
    let load = async |keys: Vec<String>| Ok::<_, Infallible>(keys.into_iter().map(|key| (key, 7)).collect());
    let (many, other) = tokio::join!(cache.get_many_with(["k".to_owned()], load), cache.get_with("k", || one(8)));
    assert_eq!((many.unwrap(), other.unwrap()), (HashMap::from([("k".to_owned(), 7)]), 7), "these two share a load");
    assert_eq!((looks.await.unwrap(), cache.local("k"), cache.stats().counts.loads), (None, Some(7), 1));
}

#[tokio::test(start_paused = true)]
async fn one_and_many_get_what_others_have_where_the_origin_fails() {
    let store = Arc::new(InProcess::new(1 << 20));
    let clock = Clock::manual(Time(1_795_000_000_000_000));
    let process = || shared(&Arc::new(InProcess::clone(&store))).clock(clock.clone()).build().unwrap();
    let keys = ["one", "two"].map(str::to_owned);
    for key in &keys {
        process().get_with(key, || one(1)).await.unwrap();
    }
    // By both clocks, of the caches and of the store.
    clock.advance(61 * SECOND);
    sleep(61 * SECOND).await;
    let here = process();
    let broken = || async { Err::<u64, _>(io::Error::other("down")) };
    let found = here.find_with("one", broken).await.unwrap();
    assert_eq!((found.value, found.is_stale, found.tier), (1, true, Tier::Remote));
    let broken = async |_: Vec<String>| Err::<HashMap<String, u64>, _>(io::Error::other("down"));
    assert_eq!(here.get_many_with(keys, broken).await.unwrap().len(), 2);
    let absent = here.get_many_with(["three".to_owned()], broken).await;
    assert_eq!(absent.unwrap_err().kind(), ErrorKind::Loader);
}
