//! What a cache tells its recorder: a row for each read, whatever comes of it, at the read's own time.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::collections::HashMap;
use std::convert::Infallible;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use larder::recorder::{self, Recorder};
use larder::remote::InProcess;
use larder::{Cache, Clock, Fetched, Freshness, Options, Rules, Tier, Time, codec};
use larder_policy::Op;
use larder_trace::{Reader as _, Request};
use tokio::sync::Notify;

const SECOND: Duration = Duration::from_secs(1);
const TTL: Duration = Duration::from_secs(10_000);

fn clock() -> Clock {
    Clock::manual(Time(1_795_000_000_000_000))
}

fn builder(clock: &Clock) -> larder::Builder<u64, u64> {
    let rules = Rules { jitter: 0.0, freshness: Freshness::fixed_ttl(TTL), ..Rules::default() };
    Cache::builder().capacity(100).clock(clock.clone()).seed(1).rules(rules)
}

struct Recording {
    _folder: tempfile::TempDir,
    path: PathBuf,
    recorder: Arc<Recorder>,
}

impl Recording {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("trace.csv");
        let recorder = Arc::new(Recorder::create(&path, recorder::Options::default()).unwrap());
        Self { _folder: folder, path, recorder }
    }

    fn rows(self) -> Vec<Request> {
        let recorded = self.recorder.finish().unwrap();
        let mut rows = Vec::new();
        let mut trace = larder_trace::open(&self.path, &larder_trace::Options::default()).unwrap();
        while trace.read(&mut rows, 100).unwrap() > 0 {}
        assert_eq!((recorded.written, recorded.dropped), (rows.len() as u64, 0));
        rows
    }
}

/// What another process loaded ten minutes ago is read now.
#[tokio::test]
async fn a_read_is_recorded_at_its_own_time_whoever_loaded_the_value() {
    let clock = clock();
    for doubts in [false, true] {
        let store = InProcess::new(1 << 20);
        let other = builder(&clock).remote(store.clone(), codec::MessagePack).build().unwrap();
        let slow = clock.clone();
        let load = || async move {
            slow.advance(600 * SECOND);
            Ok::<_, Infallible>(1)
        };
        other.get_with(&1, load).await.unwrap();
        assert!(other.remote().unwrap().flush(tokio::time::Instant::now() + 10 * SECOND).await);

        let recording = Recording::new();
        let builder = builder(&clock).remote(store, codec::MessagePack).recorder(recording.recorder.clone());
        let objective = Freshness::stale_reads(0.001).unwrap().max_ttl(TTL);
        let cache = if doubts { builder.freshness(objective).build() } else { builder.build() }.unwrap();
        let (at, origin) = (clock.now(), clock.clone());
        let load = || async move {
            origin.advance(Duration::from_millis(7));
            Ok::<_, Infallible>(1)
        };
        let tier = cache.find_with(&1, load).await.unwrap().tier;
        assert_eq!(tier, if doubts { Tier::Origin } else { Tier::Remote });
        let rows: Vec<_> = recording.rows().iter().map(|row| (row.op, row.at, row.cost)).collect();
        assert_eq!(rows, [(Op::Get, at, if doubts { 7000 } else { 0 })]);
    }
}

#[tokio::test]
async fn all_who_wait_for_a_load_are_recorded() {
    let (clock, recording) = (clock(), Recording::new());
    let cache = builder(&clock).recorder(recording.recorder.clone()).build().unwrap();
    let (begun, go) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let mut readers = Vec::new();
    for reader in 0..10 {
        let (own, begun, go) = (cache.clone(), begun.clone(), go.clone());
        let at = clock.clone();
        let load = || async move {
            begun.notify_one();
            go.notified().await;
            at.advance(SECOND);
            Ok::<_, Infallible>(Fetched::from(1).with(Options::new().ttl(60 * SECOND)))
        };
        let many = |load: Result<Fetched<u64>, Infallible>| load.map(|one| HashMap::from([(1, one)]));
        readers.push(tokio::spawn(async move {
            match reader {
                5 => {
                    assert_eq!(own.get_many_with([1], move |_| async move { many(load().await) }).await.unwrap()[&1], 1)
                }
                _ => assert_eq!(own.get_with(&1, load).await.unwrap(), 1),
            }
        }));
        // Each a second after the one before.
        while cache.stats().counts.misses < reader + 1 {
            tokio::task::yield_now().await;
        }
        clock.advance(SECOND);
    }
    begun.notified().await;
    go.notify_one();
    for reader in readers {
        reader.await.unwrap();
    }
    let mut seconds: Vec<_> =
        recording.rows().iter().map(|row| (row.at.0 / 1_000_000 % 100, row.cost, row.ttl)).collect();
    seconds.sort_unstable();
    assert_eq!(seconds, (0..10).map(|second| (second, 11_000_000, 60)).collect::<Vec<_>>());
}

#[tokio::test]
async fn reads_that_a_failing_origin_leaves_unserved_or_stale_are_recorded() {
    let (clock, recording) = (clock(), Recording::new());
    let weigh = |_: &u64, value: &u64| *value as u32;
    let cache = builder(&clock).weigh(weigh).recorder(recording.recorder.clone()).build().unwrap();
    let fail = || async { Err::<u64, _>("the origin is down") };
    cache.get_with(&1, fail).await.unwrap_err();
    assert_eq!(cache.local(&1), None);
    cache.insert(2, 30).await.unwrap();
    clock.advance(TTL);
    // The first waits for the load in vain, the second does not try.
    for _ in 0..2 {
        assert!(cache.find_with(&2, fail).await.unwrap().is_stale);
    }
    let explode = || async { if true { panic!("on purpose") } else { Ok::<_, Infallible>(1) } };
    cache.get_with(&3, explode).await.unwrap_err();
    let counts = cache.stats().counts;
    let rows: Vec<_> = recording.rows().iter().map(|row| (row.op, row.size)).collect();
    assert_eq!(rows, [(Op::Get, 1), (Op::Get, 1), (Op::Set, 30), (Op::Get, 30), (Op::Get, 30), (Op::Get, 1)]);
    assert_eq!((counts.hits, counts.misses, counts.load_errors), (0, 5, 3));
}
