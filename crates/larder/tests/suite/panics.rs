//! Code of the user's that panics: a load that does has failed, and whatever else does, the cache goes on.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::borrow::Cow;
use std::collections::HashMap;
use std::convert::Infallible;
use std::hash::{Hash, Hasher};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::join_all;
use larder::codec::{self, Codec};
use larder::remote::InProcess;
use larder::{Cache, Clock, Error, ErrorKind, Freshness, Key, Options, Rules, Time};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep};

const SECOND: Duration = Duration::from_secs(1);
const TTL: Duration = Duration::from_secs(60);

fn clock() -> Clock {
    Clock::manual(Time(1_795_000_000_000_000))
}

fn builder(clock: &Clock) -> larder::Builder<u64, u64> {
    let rules = Rules { jitter: 0.0, freshness: Freshness::fixed_ttl(TTL), ..Rules::default() };
    Cache::builder().capacity(100).clock(clock.clone()).seed(1).rules(rules)
}

fn explode() -> Result<u64, Infallible> {
    panic!("on purpose")
}

#[tokio::test(start_paused = true)]
async fn nobody_waits_longer_than_allowed_for_loads_that_panic() {
    let cache = builder(&clock()).build().unwrap();
    let began = Instant::now();
    let read = || async {
        let load = || async {
            sleep(9 * SECOND).await;
            explode()
        };
        let kind = cache.get_with(&1, load).await.unwrap_err().kind();
        (kind, began.elapsed())
    };
    let answers = join_all((0..5).map(|_| read())).await;
    let hard = Rules::default().hard_timeout;
    assert!(answers.iter().all(|(_, took)| *took <= hard), "{answers:?}");
    assert_eq!(answers[0], (ErrorKind::Panicked, 9 * SECOND));

    let began = Instant::now();
    let read_many = || async {
        let load = |_: Vec<u64>| async {
            sleep(9 * SECOND).await;
            explode().map(|one| HashMap::from([(2, one)]))
        };
        cache.get_many_with([2], load).await.unwrap_err();
        began.elapsed()
    };
    let took = join_all((0..5).map(|_| read_many())).await;
    assert!(took.iter().all(|took| *took <= hard), "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn a_load_that_panics_is_a_failed_load() {
    let clock = clock();
    let cache = builder(&clock).build().unwrap();
    cache.insert(1, 1).await.unwrap();
    clock.advance(TTL);
    for _ in 0..3 {
        let found = cache.find_with(&1, || async { explode() }).await.unwrap();
        assert!(found.value == 1 && found.is_stale);
    }
    let counts = cache.stats().counts;
    assert_eq!((counts.load_errors, counts.stale), (1, 3), "nobody tries again for a while");
    clock.advance(Rules::default().error_pause);
    let found = cache.get_many_with([1], |_| async { explode().map(|one| HashMap::from([(1, one)])) }).await.unwrap();
    assert_eq!((found[&1], cache.stats().counts.load_errors), (1, 2));
    cache.validate();
}

#[tokio::test(start_paused = true)]
async fn who_waits_for_a_load_that_panics_gets_what_is_stale() {
    let clock = clock();
    let cache = builder(&clock).build().unwrap();
    cache.insert(1, 1).await.unwrap();
    clock.advance(TTL);
    let (go, calls) = (Arc::new(Notify::new()), Arc::new(AtomicU64::new(0)));
    let leads = async {
        let wait = go.clone();
        let load = || async move {
            wait.notified().await;
            explode()
        };
        cache.find_with(&1, load).await.unwrap()
    };
    let waits = async {
        let calls = calls.clone();
        let load = || async move {
            calls.fetch_add(1, Ordering::Relaxed);
            Ok::<_, Infallible>(2)
        };
        cache.find_with(&1, load).await.unwrap()
    };
    let waits_with_others = async {
        let calls = calls.clone();
        let load = |_| async move {
            calls.fetch_add(1, Ordering::Relaxed);
            Ok::<_, Infallible>(HashMap::from([(1, 2)]))
        };
        cache.get_many_with([1], load).await.unwrap()[&1]
    };
    let open = async {
        sleep(SECOND).await;
        go.notify_one();
    };
    let (led, waited, waited_with_others, ()) = tokio::join!(leads, waits, waits_with_others, open);
    assert!(led.is_stale && waited.is_stale && waited.value == 1);
    assert_eq!((waited_with_others, calls.load(Ordering::Relaxed)), (1, 0));
}

/// Whatever of the user's panics on the way of an answer, the origin is not asked again and again.
#[tokio::test(start_paused = true)]
async fn an_answer_that_cannot_be_taken_is_a_failed_load() {
    let clock = clock();
    let digest = |value: &u64| {
        assert!(*value != 2, "on purpose");
        *value
    };
    let cache = builder(&clock).digest(digest).build().unwrap();
    cache.insert(1, 1).await.unwrap();
    clock.advance(TTL);
    let loads = Arc::new(AtomicU64::new(0));
    for _ in 0..3 {
        let loads = loads.clone();
        let load = || async move {
            loads.fetch_add(1, Ordering::Relaxed);
            Ok::<_, Infallible>(2)
        };
        assert!(cache.find_with(&1, load).await.unwrap().is_stale);
    }
    assert_eq!((loads.load(Ordering::Relaxed), cache.stats().counts.load_errors), (1, 1));
    cache.validate();
}

/// A key whose second clone panics.
struct Brittle(Arc<AtomicU64>);

impl Clone for Brittle {
    fn clone(&self) -> Self {
        assert_ne!(self.0.fetch_add(1, Ordering::Relaxed), 1, "on purpose");
        Self(self.0.clone())
    }
}

impl PartialEq for Brittle {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Brittle {}

impl Hash for Brittle {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(7);
    }
}

impl Key for Brittle {
    fn text(&self) -> Cow<'_, str> {
        "brittle".into()
    }
}

#[tokio::test(start_paused = true)]
async fn a_key_whose_clone_panics_leaves_no_load_behind() {
    let loader = |_: Brittle| async { Ok::<_, Infallible>(1) };
    let cache: Cache<Brittle, u64> = Cache::builder().capacity(10).loader(loader).build().unwrap();
    let key = Brittle(Arc::default());
    assert!(AssertUnwindSafe(cache.load(&key)).catch_unwind().await.is_err());
    assert_eq!(cache.load(&key).await.unwrap().value, 1);
}

/// A value whose drop panics once it is armed, once.
struct Bomb(Arc<AtomicBool>);

impl Clone for Bomb {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl Drop for Bomb {
    fn drop(&mut self) {
        assert!(!self.0.swap(false, Ordering::Relaxed), "on purpose");
    }
}

#[tokio::test(start_paused = true)]
async fn what_has_expired_goes_on_to_leave_after_a_drop_that_panics() {
    let (clock, armed) = (clock(), Arc::new(AtomicBool::new(false)));
    let rules = Rules { stale_if_error: Duration::ZERO, ..Rules::default() };
    let cache: Cache<u64, Bomb> = Cache::builder().capacity(10).clock(clock.clone()).rules(rules).build().unwrap();
    for expired in 1..=2 {
        cache.insert_with(expired, Bomb(armed.clone()), Options::new().ttl(SECOND)).await.unwrap();
        armed.store(expired == 1, Ordering::Relaxed);
        clock.advance(60 * SECOND);
        for _ in 0..10 {
            sleep(SECOND).await;
        }
        assert_eq!((cache.stats().counts.expired, cache.stats().entries), (expired, 0));
        assert!(!armed.load(Ordering::Relaxed));
    }
    cache.validate();
}

/// Panics at what is marked for it.
struct Fragile;

impl Codec<String> for Fragile {
    fn encode(&self, value: &String) -> Result<Bytes, Error> {
        assert!(!value.starts_with("no bytes"), "on purpose");
        codec::Plain.encode(value)
    }

    fn decode(&self, bytes: &Bytes) -> Result<String, Error> {
        assert!(!bytes.starts_with(b"no value"), "on purpose");
        codec::Plain.decode(bytes)
    }
}

#[tokio::test(start_paused = true)]
async fn a_codec_that_panics_is_one_that_fails() {
    let store = InProcess::new(1 << 20);
    let sound: Cache<u64, String> = Cache::builder().capacity(100).remote(store.clone(), codec::Plain).build().unwrap();
    let fragile =
        || -> Cache<u64, String> { Cache::builder().capacity(100).remote(store.clone(), Fragile).build().unwrap() };
    let load = |value: &str| {
        let value = value.to_owned();
        || async { Ok::<_, Infallible>(value) }
    };
    // What cannot be decoded is a miss, for one and among many.
    for key in [1, 2] {
        sound.insert(key, "no value".into()).await.unwrap();
    }
    sound.insert(3, "fine".into()).await.unwrap();
    assert_eq!(fragile().get_with(&1, load("loaded")).await.unwrap(), "loaded");
    let many =
        |keys: Vec<u64>| async { Ok::<_, Infallible>(keys.into_iter().map(|key| (key, key.to_string())).collect()) };
    let answers = fragile().get_each_with([2, 3], many).await;
    assert_eq!((answers[&2].as_deref().unwrap(), answers[&3].as_deref().unwrap()), ("2", "fine"));
    // What cannot be encoded is served and kept here, and makes what is there outdated.
    let cache = fragile();
    assert_eq!(cache.get_with(&4, load("no bytes")).await.unwrap(), "no bytes");
    assert_eq!(cache.local(&4).as_deref(), Some("no bytes"));
    assert_eq!(cache.insert(3, "no bytes".into()).await.unwrap_err().kind(), ErrorKind::Codec);
    let newcomer: Cache<u64, String> = Cache::builder().capacity(100).remote(store, codec::Plain).build().unwrap();
    assert_eq!((newcomer.get(&3).await, newcomer.get(&4).await), (None, None));
    cache.validate();
}

#[tokio::test(start_paused = true)]
async fn a_read_counts_once_however_many_loads_it_waits_for() {
    let cache = builder(&clock()).build().unwrap();
    let load = || async {
        tokio::task::yield_now().await;
        explode()
    };
    let many = |_: Vec<u64>| async {
        tokio::task::yield_now().await;
        explode().map(|one| HashMap::from([(1, one)]))
    };
    let one_by_one = join_all((0..50).map(|_| cache.get_with(&1, load)));
    let together = join_all((0..50).map(|_| cache.get_many_with([1], many)));
    let (one_by_one, together) = tokio::join!(one_by_one, together);
    assert!(one_by_one.iter().all(Result::is_err) && together.iter().all(Result::is_err));
    let counts = cache.stats().counts;
    assert_eq!((counts.hits, counts.misses, counts.coalesced, counts.load_errors), (0, 100, 99, 100));
}
