//! What is kept over a restart, what is recorded, and what is hot.
#![allow(clippy::unwrap_used, reason = "outside of test functions, but in tests alone")]

use std::convert::Infallible;
use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use larder::prewarm::{Daily, Days, Ended, Limits};
use larder::recorder::{self, Recorder};
use larder::remote::InProcess;
use larder::snapshot::{Kept, Snapshots};
use larder::{Cache, Clock, ErrorKind, Fetched, Freshness, LoadLimit, Options, Refresh, Rules, Tier, Time, codec};
use larder_trace::Reader as _;

const START: Time = Time(1_795_000_000_000_000);

fn builder(clock: &Clock, loads: &Arc<AtomicU64>) -> larder::Builder<u64, u64> {
    let loads = loads.clone();
    let load = move |key: u64| {
        loads.fetch_add(1, Ordering::Relaxed);
        async move { Ok::<_, Infallible>(key * 2) }
    };
    Cache::builder().capacity(1000).policy("lru").clock(clock.clone()).seed(1).loader(load)
}

#[tokio::test]
async fn a_restart_begins_with_what_was_hot() {
    let (clock, loads) = (Clock::manual(START), Arc::new(AtomicU64::new(0)));
    let folder = tempfile::tempdir().unwrap();
    let snapshots = Snapshots::new(folder.path(), "users", 1).unwrap();
    let before = builder(&clock, &loads).build().unwrap();
    // Key k is read 100 / (k + 1) times.
    for round in 0..100u64 {
        clock.advance(Duration::from_secs(1));
        for key in 0..200 {
            if round % (key + 1) == 0 {
                before.load(&key).await.unwrap();
            }
        }
    }
    let hottest: Vec<u64> = before.hottest(5).into_iter().map(|(key, _)| key).collect();
    assert!(hottest.contains(&0) && hottest.contains(&1), "{hottest:?}");
    let written = before.snapshot(&snapshots).await.unwrap();
    assert_eq!(written.entries, 200);
    loads.store(0, Ordering::Relaxed);

    let after = builder(&clock, &loads).build().unwrap();
    let kept = || snapshots.newest().unwrap().snapshot.unwrap().map(Result::unwrap);
    let limits = Limits { capacity: 50, loads_per_second: 1e6, horizon: Duration::from_secs(60), ..Limits::default() };
    let parse = |name: &str| name.parse().ok();
    let report = after.prewarm(kept(), limits.clone(), parse, pending()).await.unwrap();
    assert_eq!((report.ended, report.warmed, loads.load(Ordering::Relaxed)), (Ended::Done, 50, 50));
    assert!(hottest.iter().all(|key| after.local(key) == Some(key * 2)));
    let usefulness = after.warmed();
    assert_eq!((usefulness.warmed, usefulness.hit, usefulness.waiting), (50, 5, 45));
    after.resize(0);
    assert_eq!(after.warmed().left, 45);

    let without: Cache<u64, u64> = Cache::builder().capacity(10).build().unwrap();
    let error = without.prewarm(kept(), limits, parse, pending()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
}

/// The keys of a plan that is cut short, or of which some cannot be loaded.
#[tokio::test(start_paused = true)]
async fn the_best_are_warmed_first_and_one_that_fails_stops_nobody() {
    let clock = Clock::manual(START);
    let load = |key: u64| async move {
        tokio::time::sleep(Duration::from_millis(500)).await;
        if key % 10 == 7 { Err("no such row") } else { Ok(key) }
    };
    let build = || Cache::<u64, u64>::builder().capacity(1000).clock(clock.clone()).loader(load).build().unwrap();
    let kept =
        |key: u64| Kept { name: key.to_string(), size: 1, cost: 1, reads: 1.0 / (key + 1) as f32, ..Kept::default() };
    let limits = Limits { loads_per_second: 100.0, batch: 10, concurrency: 4, ..Limits::default() };
    let late = Limits { within: Duration::from_millis(2050), ..limits.clone() };
    let parse = |name: &str| name.parse().ok();
    // More than there is time for: what there is time for is planned.
    let cache = build();
    let report = cache.prewarm((0..5000).map(kept), late, parse, pending()).await.unwrap();
    assert_eq!((report.ended, report.planned), (Ended::Late, 204));
    // Ten a tenth of a second, and half a second later they are there.
    assert!(report.warmed >= 100 && (0..100).all(|key| key % 10 == 7 || cache.local(&key).is_some()), "{report:?}");
    // All of it, of which a tenth fails: neither twice what there is room for, nor reads.
    let cache = build();
    let report = cache.prewarm((0..2000).map(kept), limits, parse, pending()).await.unwrap();
    assert_eq!((report.ended, report.planned), (Ended::Done, 1000), "{report:?}");
    assert_eq!((report.tried, report.warmed + report.failed), (1000, 1000), "{report:?}");
    assert!(report.failed >= 100 && report.warmed > 850, "{report:?}");
    let counts = cache.stats().counts;
    assert_eq!((counts.hits, counts.misses, cache.hottest(1)), (0, 0, vec![]), "who was warmed was not read");
}

/// The keys that memory has are passed over, what is not there is not warmed, and the fate of all is told, however small the first plan was.
#[tokio::test]
async fn what_is_warmed_is_what_was_loaded_ahead_and_found() {
    let (clock, loads) = (Clock::manual(START), Arc::new(AtomicU64::new(0)));
    let counted = loads.clone();
    let load = move |key: u64| {
        counted.fetch_add(1, Ordering::Relaxed);
        async move { Ok::<_, Infallible>((key < 200).then_some(key)) }
    };
    let cache = Cache::<u64, u64>::builder().capacity(1000).clock(clock.clone()).loader(load).build().unwrap();
    let kept = |key: u64| Kept { name: key.to_string(), size: 1, cost: 1, reads: 1.0, ..Kept::default() };
    let limits = Limits { loads_per_second: 1e6, ..Limits::default() };
    let parse = |name: &str| name.parse().ok();
    let warm = async |keys: std::ops::Range<u64>| {
        cache.prewarm(keys.map(kept), limits.clone(), parse, pending()).await.unwrap()
    };
    for key in 0..5 {
        cache.load(&key).await.unwrap();
    }
    let report = warm(0..5).await;
    assert_eq!((report.planned, report.warmed, loads.load(Ordering::Relaxed)), (0, 0, 5));
    let report = warm(0..210).await;
    assert_eq!((report.planned, report.warmed, report.failed, loads.load(Ordering::Relaxed)), (205, 195, 0, 210));
    let usefulness = cache.warmed();
    assert_eq!((usefulness.warmed, usefulness.waiting, usefulness.untracked), (195, 195, 0));
}

/// Half of the loads are the readers', and the others' who share the limit.
#[tokio::test(start_paused = true)]
async fn readers_do_not_wait_for_what_is_warmed() {
    const LOAD: Duration = Duration::from_millis(200);
    for shared in [false, true] {
        let limit = LoadLimit::new(4);
        let build = |loads| {
            let load = |key: u64| async move {
                tokio::time::sleep(LOAD).await;
                Ok::<_, Infallible>(key)
            };
            Cache::<u64, u64>::builder()
                .capacity(1000)
                .loads(loads)
                .load_limit(limit.clone())
                .loader(load)
                .build()
                .unwrap()
        };
        let warming = build(if shared { 1000 } else { 4 });
        let reading = if shared { build(1000) } else { warming.clone() };
        let kept = |key: u64| Kept { name: key.to_string(), size: 1, cost: 1, reads: 1.0, ..Kept::default() };
        let limits = Limits { loads_per_second: 1e6, ..Limits::default() };
        let warm = warming.prewarm((0..256).map(kept), limits, |name| name.parse().ok(), pending());
        let read = async {
            tokio::time::sleep(LOAD / 2).await;
            let began = tokio::time::Instant::now();
            reading.load(&1000).await.unwrap();
            began.elapsed()
        };
        let (report, waited) = tokio::join!(warm, read);
        assert_eq!((report.unwrap().warmed, waited <= 2 * LOAD), (256, true), "{waited:?}");
    }
}

/// A day of five-minute steps: 20 keys are read between eight and nine, and others at all times, more than there is room for. `look` is called
/// at five minutes to eight, before anybody reads.
async fn day(cache: &Cache<u64, u64>, clock: &Clock, look: impl FnMut()) {
    rest_of_day(cache, clock, 0, look).await;
}

async fn rest_of_day(cache: &Cache<u64, u64>, clock: &Clock, from: u64, mut look: impl FnMut()) {
    for step in from..24 * 12 {
        let hour = step / 12;
        if (hour, step % 12) == (7, 11) {
            look();
        }
        for read in 0..100 {
            cache.load(&(1000 + (step * 100 + read) % 3000)).await.unwrap();
        }
        for key in 0..if hour == 8 { 20 } else { 0 } {
            for _ in 0..16 {
                cache.load(&key).await.unwrap();
            }
        }
        clock.advance(Duration::from_secs(300));
        tokio::time::sleep(Duration::from_secs(300)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn keys_with_a_daily_rhythm_are_there_before_their_readers() {
    const DAY: u64 = 86_400_000_000;
    let midnight = Time(START.0 / DAY * DAY);
    let (clock, loads) = (Clock::manual(midnight), Arc::new(AtomicU64::new(0)));
    let lives = Freshness::fixed_ttl(Duration::from_secs(24 * 3600));
    let build = || builder(&clock, &loads).capacity(500).freshness(lives.clone()).build().unwrap();
    let parse = |name: &str| name.parse().ok();
    let cache = build();
    cache.prewarm_daily(Daily::default(), parse).unwrap();
    let again = cache.prewarm_daily(Daily::default(), parse).unwrap_err();
    assert!(again.kind() == ErrorKind::Config && again.to_string().contains("already"), "{again}");
    let there = |cache: &Cache<u64, u64>| (0..20).filter(|key| cache.local(key).is_some()).count();
    for _ in 0..6 {
        day(&cache, &clock, || ()).await;
    }
    let mut found = 0;
    day(&cache, &clock, || found = there(&cache)).await;
    assert_eq!(found, 20);
    let usefulness = cache.warmed();
    assert!(usefulness.hit >= 20 && usefulness.left == 0, "{usefulness:?}");

    // The same without, and after a restart with what was kept.
    let folder = tempfile::tempdir().unwrap();
    let snapshots = Snapshots::new(folder.path(), "users", 1).unwrap();
    cache.snapshot(&snapshots).await.unwrap();
    drop(cache);
    for with in [false, true] {
        let after = build();
        if with {
            after.prewarm_daily(Daily::default(), parse).unwrap();
            let kept = snapshots.newest().unwrap().snapshot.unwrap().map(Result::unwrap);
            let limits = Limits { capacity: 100, ..Limits::default() };
            after.prewarm(kept, limits, parse, pending()).await.unwrap();
        }
        day(&after, &clock, || found = there(&after)).await;
        assert_eq!(found, if with { 20 } else { 0 });
    }
}

/// Begun at another minute than the hours, with a key whose text makes the service's code panic: all others are there when they are to be.
#[tokio::test(start_paused = true)]
async fn a_daily_rhythm_is_met_to_the_minute_whenever_the_cache_was_built() {
    const DAY: u64 = 86_400_000_000;
    const MINUTE: Duration = Duration::from_secs(60);
    let (clock, loads) = (Clock::manual(Time(START.0 / DAY * DAY)), Arc::new(AtomicU64::new(0)));
    let pass = async |time: Duration| {
        clock.advance(time);
        tokio::time::sleep(time).await;
    };
    pass(14 * MINUTE).await;
    let lives = Freshness::fixed_ttl(24 * 60 * MINUTE);
    let cache = builder(&clock, &loads).capacity(500).freshness(lives).build().unwrap();
    let key_of = |name: &str| {
        assert_ne!(name, "7", "on purpose");
        name.parse().ok()
    };
    cache.prewarm_daily(Daily { lead: 6 * MINUTE, ..Daily::default() }, key_of).unwrap();
    pass(MINUTE).await;
    rest_of_day(&cache, &clock, 3, || ()).await;
    for _ in 0..5 {
        day(&cache, &clock, || ()).await;
    }
    for _ in 0..2 {
        let mut found = Vec::new();
        day(&cache, &clock, || found = (0..20).filter(|key| cache.local(key).is_some()).collect()).await;
        assert_eq!(found, (0..20).filter(|key| *key != 7).collect::<Vec<_>>());
    }
}

/// Who begins between the moment at which keys are due and their hour loads them at once.
#[tokio::test]
async fn what_was_due_shortly_before_a_restart_is_warmed_at_the_start() {
    const DAY: u64 = 86_400_000_000;
    let midnight = START.0 / DAY * DAY;
    let mut days = Days::new(midnight / 1_000_000);
    for hour in 0..10 * 24 {
        days.add(midnight / 1_000_000 + hour * 3600, if hour % 24 == 8 { 100 } else { 1 });
    }
    for (minute, expected) in [(44, 0), (50, 1), (61, 0)] {
        let at = midnight + 10 * DAY + (7 * 60 + minute) * 60_000_000;
        let (clock, loads) = (Clock::manual(Time(at)), Arc::new(AtomicU64::new(0)));
        let cache = builder(&clock, &loads).build().unwrap();
        let parse = |name: &str| name.parse().ok();
        cache.prewarm_daily(Daily::default(), parse).unwrap();
        let kept = Kept { name: "1".into(), size: 1, cost: 1, days: Some(Box::new(days.clone())), ..Kept::default() };
        let report = cache.prewarm([kept], Limits::default(), parse, pending()).await.unwrap();
        assert_eq!(report.warmed, expected, "minute {minute}");
    }
}

#[tokio::test]
async fn what_the_service_asked_for_can_be_replayed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("trace.csv.zst");
    let recorder = Arc::new(Recorder::create(&path, recorder::Options::default()).unwrap());
    let clock = Clock::manual(START);
    let cache: Cache<String, String> = Cache::builder()
        .capacity_bytes(1 << 20, |key: &String, value: &String| (key.len() + value.len()) as u32)
        .clock(clock.clone())
        .recorder(recorder.clone())
        .build()
        .unwrap();
    let ask = async |key: &str| {
        let (text, at) = (key.repeat(10), clock.clone());
        let load = move || async move {
            at.advance(Duration::from_millis(7));
            Ok::<_, Infallible>(Fetched::from(text).with(Options::new().ttl(Duration::from_secs(60))))
        };
        clock.advance(Duration::from_secs(1));
        cache.get_with(key, load).await.unwrap();
    };
    for key in ["a", "b", "a", "a"] {
        ask(key).await;
    }
    cache.insert("b".into(), "bb".into()).await.unwrap();
    cache.remove("a").await.unwrap();
    let recorded = recorder.finish().unwrap();
    assert_eq!((recorded.written, recorded.dropped), (6, 0));
    let mut requests = Vec::new();
    larder_trace::open(&path, &larder_trace::Options::default()).unwrap().read(&mut requests, 100).unwrap();
    use larder_policy::Op::{Delete, Get, Set};
    let seen: Vec<_> = requests.iter().map(|request| (request.op, request.size, request.cost)).collect();
    let (load, hit) = ((Get, 11, 7000), (Get, 11, 7000));
    assert_eq!(seen, [load, load, hit, hit, (Set, 3, 0), (Delete, 1, 0)]);
    let keys: Vec<_> = requests.iter().map(|request| request.key).collect();
    assert!(keys[0] == keys[2] && keys[0] == keys[3] && keys[0] == keys[5] && keys[1] == keys[4] && keys[0] != keys[1]);
    assert!(requests.is_sorted_by_key(|request| request.at));
}

#[tokio::test]
async fn a_read_is_recorded_once_whoever_answers_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("trace.csv");
    let recorder = Arc::new(Recorder::create(&path, recorder::Options::default()).unwrap());
    let clock = Clock::manual(START);
    let store = InProcess::new(1 << 20);
    let builder = || {
        let rules =
            Rules { jitter: 0.0, freshness: Freshness::fixed_ttl(Duration::from_secs(100)), ..Rules::default() };
        Cache::<u64, String>::builder().capacity(100).clock(clock.clone()).rules(rules).refresh(Refresh::Ahead(0.5))
    };
    let load = || async { Ok::<_, Infallible>("x".to_owned()) };
    // Another process has it: the first read is answered by the remote tier, the second by memory, which renews it meanwhile.
    let other = builder().remote(store.clone(), codec::Plain).build().unwrap();
    other.insert(1, "x".into()).await.unwrap();
    let cache = builder().remote(store, codec::Plain).recorder(recorder.clone()).build().unwrap();
    assert_eq!(cache.find_with(&1, load).await.unwrap().tier, Tier::Remote);
    clock.advance(Duration::from_secs(60));
    assert_eq!(cache.find_with(&1, load).await.unwrap().tier, Tier::Local);
    let renewed = async {
        // By whom does not matter: the remote tier's clock is not the manual one.
        while cache.stats().counts.loads + cache.stats().counts.remote_hits < 2 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(5), renewed).await.unwrap();
    assert_eq!(recorder.finish().unwrap().written, 2);
}
