//! What leaves, and what it leaves behind: tags and versions, what is dropped where, and that the counts add up.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::borrow::Cow;
use std::collections::HashMap;
use std::convert::Infallible;
use std::future::{pending, ready};
use std::hash::{Hash, Hasher};
use std::sync::mpsc::channel;
use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

use larder::prewarm::Limits;
use larder::snapshot::Kept;
use larder::{Cache, Clock, Fetched, Freshness, Key, LoadLimit, Options, Rules, Tenants, Time};
use tokio::sync::Notify;
use tokio::time::sleep;

const SECOND: Duration = Duration::from_secs(1);

fn clock() -> Clock {
    Clock::manual(Time(1_795_000_000_000_000))
}

fn builder(clock: &Clock) -> larder::Builder<u64, String> {
    Cache::builder().capacity(1000).clock(clock.clone()).seed(1).rules(Rules { jitter: 0.0, ..Rules::default() })
}

#[tokio::test]
async fn that_there_is_nothing_weighs_something() {
    let cache: Cache<String, String> =
        Cache::builder().capacity_bytes(10_000, |_, value: &String| value.len() as u32).policy("lru").build().unwrap();
    for number in 0..5000 {
        let load = || async { Ok::<_, Infallible>(None::<String>) };
        cache.get_with(&format!("{number:01000}"), load).await.unwrap_err();
    }
    let stats = cache.stats();
    assert!((1..=10).contains(&stats.entries) && stats.weight <= 10_000, "{stats:?}");
}

#[tokio::test]
async fn removals_by_tag_and_writes_of_one_moment_count_in_their_order() {
    let cache = builder(&clock()).build().unwrap();
    let insert = || cache.insert_with(1, "a".into(), Options::new().tag("t"));
    for round in 0..3 {
        insert().await.unwrap();
        assert!(cache.local(&1).is_some(), "round {round}");
        cache.remove_tag("t").await.unwrap();
        assert!(cache.local(&1).is_none(), "round {round}");
    }
}

#[tokio::test]
async fn what_was_removed_by_its_tag_is_no_newer_version() {
    let clock = clock();
    let cache = builder(&clock).build().unwrap();
    for key in [1, 2] {
        cache.insert_with(key, "a".into(), Options::new().version(7).tag("t")).await.unwrap();
    }
    cache.remove_tag("t").await.unwrap();
    clock.advance(SECOND);
    let older = Options::new().version(3);
    cache.insert_with(1, "b".into(), older.clone()).await.unwrap();
    let load = || async { Ok::<_, Infallible>(Fetched::from("b".to_owned()).with(older)) };
    cache.get_with(&2, load).await.unwrap();
    for key in [1, 2] {
        assert_eq!(cache.local(&key).as_deref(), Some("b"), "{key}");
    }
    assert_eq!(cache.stats().counts.outrun, 0);
    cache.validate();
}

#[tokio::test(start_paused = true)]
async fn another_tag_removed_long_ago_does_not_remove_what_lives_long() {
    let clock = clock();
    let cache = builder(&clock).build().unwrap();
    let week = Duration::from_secs(7 * 24 * 3600);
    cache.insert_with(1, "a".into(), Options::new().ttl(week).tag("own")).await.unwrap();
    clock.advance(SECOND);
    cache.remove_tag("other").await.unwrap();
    clock.advance(Duration::from_secs(25 * 3600));
    sleep(10 * SECOND).await;
    assert_eq!(cache.local(&1).as_deref(), Some("a"));
    clock.advance(week);
    assert_eq!(cache.local(&1), None);
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Colliding(u64);

impl Hash for Colliding {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(7);
    }
}

impl Key for Colliding {
    fn text(&self) -> Cow<'_, str> {
        self.0.to_string().into()
    }
}

#[tokio::test]
async fn a_load_of_many_does_not_undo_a_write_of_a_key_that_collides() {
    let cache: Cache<Colliding, u64> = Cache::builder().capacity(100).build().unwrap();
    let (begun, go) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let other = tokio::spawn({
        let (cache, begun) = (cache.clone(), begun.clone());
        let load = || async move {
            begun.notify_one();
            pending::<Result<u64, Infallible>>().await
        };
        async move { cache.get_with(&Colliding(1), load).await }
    });
    begun.notified().await;
    let many = tokio::spawn({
        let (cache, begun, go) = (cache.clone(), begun.clone(), go.clone());
        let load = |_| async move {
            begun.notify_one();
            go.notified().await;
            Ok::<_, Infallible>(HashMap::from([(Colliding(2), 1)]))
        };
        async move { cache.get_many_with([Colliding(2)], load).await }
    });
    begun.notified().await;
    cache.insert(Colliding(2), 2).await.unwrap();
    go.notify_one();
    assert_eq!(many.await.unwrap().unwrap(), HashMap::from([(Colliding(2), 1)]), "what was true when it asked");
    assert_eq!(cache.local(&Colliding(2)), Some(2));
    other.abort();
}

/// A key or value that asks its cache when it is dropped.
#[derive(Clone)]
struct Curious(u64, Weak<Cache<Curious, Curious>>);

impl Curious {
    /// One that asks nobody.
    fn idle(number: u64) -> Self {
        Self(number, Weak::new())
    }
}

impl Drop for Curious {
    fn drop(&mut self) {
        if let Some(cache) = self.1.upgrade() {
            cache.local(&Self::idle(99));
        }
    }
}

impl PartialEq for Curious {
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}

impl Eq for Curious {}

impl Hash for Curious {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.hash(state);
    }
}

impl Key for Curious {
    fn text(&self) -> Cow<'_, str> {
        self.0.to_string().into()
    }
}

type CuriousCache = Arc<Cache<Curious, Curious>>;

async fn fenced(cache: CuriousCache) {
    let (begun, go) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (value, weak) = (Curious(2, Arc::downgrade(&cache)), Arc::downgrade(&cache));
    let load = {
        let (begun, go) = (begun.clone(), go.clone());
        || async move {
            begun.notify_one();
            go.notified().await;
            Ok::<_, Infallible>(value)
        }
    };
    let write = async {
        begun.notified().await;
        cache.insert(Curious::idle(1), Curious(3, weak)).await.unwrap();
        go.notify_one();
    };
    let key = Curious(1, Arc::downgrade(&cache));
    let (read, ()) = tokio::join!(cache.get_with(&key, load), write);
    assert_eq!((read.unwrap().0, cache.local(&key).unwrap().0), (2, 3));
}

async fn outrun(cache: CuriousCache) {
    for version in [5, 4] {
        let own = |number| Curious(number, Arc::downgrade(&cache));
        cache.insert_with(own(1), own(version), Options::new().version(version)).await.unwrap();
    }
    assert_eq!(cache.local(&Curious::idle(1)).unwrap().0, 5);
}

async fn removed(cache: CuriousCache) {
    let own = |number| Curious(number, Arc::downgrade(&cache));
    cache.insert(own(1), own(1)).await.unwrap();
    assert!(cache.remove(&Curious::idle(1)).await.unwrap().is_some());
}

async fn outdated(cache: CuriousCache) {
    cache
        .insert_with(Curious::idle(1), Curious(1, Arc::downgrade(&cache)), Options::new().ttl(Duration::ZERO))
        .await
        .unwrap();
    assert!(cache.local(&Curious::idle(1)).is_none());
}

/// Runs it on a thread of its own, which is left where it hangs.
fn ends<T: Send + 'static>(what: &str, run: impl FnOnce() -> T + Send + 'static) -> T {
    let (tell, told) = channel();
    std::thread::spawn(move || tell.send(run()));
    told.recv_timeout(60 * SECOND).unwrap_or_else(|_| panic!("{what} hangs or panics"))
}

#[test]
fn what_is_dropped_may_ask_the_cache() {
    type Case = fn(CuriousCache) -> std::pin::Pin<Box<dyn Future<Output = ()>>>;
    let cases: [(&str, Case); 4] = [
        ("fenced", |cache| Box::pin(fenced(cache))),
        ("outrun", |cache| Box::pin(outrun(cache))),
        ("removed", |cache| Box::pin(removed(cache))),
        ("outdated", |cache| Box::pin(outdated(cache))),
    ];
    for (what, case) in cases {
        ends(what, move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime
                .block_on(async { case(Arc::new(Cache::builder().capacity(100).segments(1).build().unwrap())).await });
        });
    }
}

#[test]
fn a_tenants_settings_may_come_from_another_tenants_cache() {
    type All = Tenants<u64, Listing>;
    /// A value that lists the tenants when it is dropped.
    #[derive(Clone)]
    struct Listing(Weak<OnceLock<All>>);
    impl Drop for Listing {
        fn drop(&mut self) {
            if let Some(all) = self.0.upgrade() {
                all.get().map(Tenants::names);
            }
        }
    }
    let names = ends("a tenant", || {
        let all = Arc::new(OnceLock::<All>::new());
        let made = Arc::downgrade(&all);
        let make = move |tenant: &str| {
            let all = made.upgrade().unwrap();
            let base = (tenant != "base").then(|| all.get().unwrap().of("base").unwrap());
            Cache::builder().capacity(base.map_or(10, |base| base.stats().capacity * 2))
        };
        assert!(all.set(Tenants::new("told", 2, make).unwrap()).is_ok());
        let tenants = all.get().unwrap();
        let one = tenants.of("one").unwrap();
        assert_eq!(one.stats().capacity, 20);
        assert!(tenants.of("two").is_err(), "there are as many as are allowed");
        one.blocking().insert(1, Listing(Arc::downgrade(&all))).unwrap();
        drop(one);
        assert!(tenants.remove("one") && !tenants.remove("one"));
        tenants.names()
    });
    assert_eq!(names, ["base"]);
}

#[test]
fn a_blocking_load_keeps_its_place_until_it_ends() {
    let (limit, (go, wait)) = (LoadLimit::new(1), channel::<()>());
    let rules = Rules { load_timeout: Duration::from_millis(10), ..Rules::default() };
    let cache: Cache<u64, u64> = Cache::builder().capacity(10).rules(rules).load_limit(limit.clone()).build().unwrap();
    let load = move || {
        let _ = wait.recv();
        Ok::<_, Infallible>(1)
    };
    cache.blocking().get_with(&1, load).unwrap_err();
    assert_eq!(limit.room(), 0, "the load that was given up goes on");
    go.send(()).unwrap();
    let room = ends("the load", move || {
        while limit.room() == 0 {
            std::thread::sleep(Duration::from_millis(1));
        }
        limit.room()
    });
    assert_eq!(room, 1);
}

#[tokio::test]
async fn who_came_and_did_not_leave_is_there() {
    let weigh = |_: &u64, value: &String| value.len() as u32;
    let cache: Cache<u64, String> =
        Cache::builder().capacity_bytes(100, weigh).policy("lru").segments(1).build().unwrap();
    for (key, weight) in [(1, 10), (1, 200), (2, 60), (3, 60), (4, 10), (4, 20), (3, 300)] {
        cache.insert(key, "x".repeat(weight)).await.unwrap();
        let stats = cache.stats();
        let counts = stats.counts;
        let left = counts.evicted + counts.expired + counts.removed + counts.cleared;
        assert_eq!(counts.admitted - left, stats.entries as u64, "after {key} of {weight}: {counts:?}");
    }
    assert_eq!(cache.stats().counts.too_heavy, 2);
}

#[tokio::test]
async fn keys_that_are_removed_no_longer_wait_for_their_first_hit() {
    let load = |key: u64| async move { Ok::<_, Infallible>(key.to_string()) };
    let cache = builder(&clock()).loader(load).build().unwrap();
    let kept = |key: u64| Kept { name: key.to_string(), size: 1, cost: 1, reads: 1.0, ..Kept::default() };
    let parse = |name: &str| name.parse().ok();
    let limits = Limits { loads_per_second: 1e6, ..Limits::default() };
    let report = cache.prewarm((0..4).map(kept), limits, parse, pending()).await.unwrap();
    assert_eq!((report.warmed, cache.warmed().waiting), (4, 4));
    cache.remove(&0).await.unwrap();
    cache.local(&1).unwrap();
    assert_eq!((cache.warmed().waiting, cache.warmed().left), (2, 1));
    cache.clear().await.unwrap();
    cache.local(&2);
    cache.stats();
    assert_eq!((cache.warmed().waiting, cache.warmed().left, cache.warmed().hit), (0, 3, 1));
}

#[tokio::test]
async fn a_warmed_key_that_is_renewed_still_waits_for_its_first_hit() {
    let clock = clock();
    let load = |key: u64| async move { Ok::<_, Infallible>(key.to_string()) };
    let rules = Rules { jitter: 0.0, freshness: Freshness::fixed_ttl(60 * SECOND), ..Rules::default() };
    let cache = builder(&clock).rules(rules).loader(load).build().unwrap();
    let kept = Kept { name: "1".into(), size: 1, cost: 1, reads: 1.0, ..Kept::default() };
    let parse = |name: &str| name.parse().ok();
    cache.prewarm([kept], Limits::default(), parse, pending()).await.unwrap();
    cache.insert(1, "written".into()).await.unwrap();
    assert_eq!((cache.warmed().waiting, cache.warmed().left), (1, 0));
    cache.local(&1).unwrap();
    assert_eq!((cache.warmed().hit, cache.warmed().waiting), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn who_comes_after_a_removal_by_tag_gets_nothing_from_before() {
    let clock = clock();
    let cache = builder(&clock).build().unwrap();
    let of = |value: &str, tag: &str| Fetched::from(value.to_owned()).with(Options::new().tag(tag));
    let slow = |value: &str, tag: &str| {
        let fetched = of(value, tag);
        move || async move {
            sleep(SECOND).await;
            Ok::<_, Infallible>(fetched)
        }
    };
    let old = async |key: u64, tag: &str| cache.get_with(&key, slow("old", tag)).await.unwrap();
    let new = async |key: u64| {
        sleep(SECOND / 2).await;
        cache.get_with(&key, slow("new", "t")).await.unwrap()
    };
    let refreshed = async |key: u64| {
        sleep(SECOND / 2).await;
        cache.refresh_with(&key, slow("new", "t")).await.unwrap().value
    };
    let many = async |keys: [u64; 2]| {
        sleep(SECOND / 2).await;
        let load = move |keys: Vec<u64>| {
            ready(Ok::<_, Infallible>(keys.into_iter().map(|key| (key, of("new", "t"))).collect()))
        };
        let answers: HashMap<u64, String> = cache.get_many_with(keys, load).await.unwrap();
        keys.map(|key| answers[&key].clone())
    };
    let remove = async {
        sleep(SECOND / 4).await;
        cache.remove_tag("t").await.unwrap();
        clock.advance(SECOND);
    };
    let before = async { tokio::join!(old(1, "t"), old(2, "t"), old(3, "t"), old(4, "other")) };
    let after = async { tokio::join!(new(1), new(1), refreshed(2), many([3, 5]), new(4)) };
    let (before, after, ()) = tokio::join!(before, after, remove);
    // Who began before may have what was true then, and what has other tags is joined all the same.
    assert_eq!(before, ("old".into(), "old".into(), "old".into(), "old".into()));
    let two = ["new".to_owned(), "new".to_owned()];
    assert_eq!(after, ("new".into(), "new".into(), "new".into(), two, "old".into()));
    let counts = cache.stats().counts;
    assert_eq!((counts.hits + counts.misses, cache.local(&1).as_deref()), (4 + 5, Some("new")));
    assert_eq!(counts.loads, 4 + 1 + 1 + 2, "one load for both who came late");
    cache.validate();
}
