//! Two instances that share a remote tier keep an objective, whatever the origin tells of its changes. What one loaded and the other takes over, or
//! what comes back from the tier to the one that loaded it, says how things were when the origin was asked, not how they are.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use larder::remote::InProcess;
use larder::{Cache, Clock, Fetched, Freshness, Options, Rules, Tier, Time, codec};
use larder_policy::Rng;

const SECOND: Duration = Duration::from_secs(1);
const KEYS: usize = 300;
/// Fewer than there are keys, so that values leave memory and come back from the tier.
const CAPACITY: u64 = 60;
const OBJECTIVE: f64 = 0.02;
const READS: u64 = 120_000;
/// Between two reads.
const PAUSE: Duration = Duration::from_millis(20);
/// The mean number of reads between two changes of a key, by the key's number.
const EVERY: [f64; 3] = [2_000.0, 20_000.0, 200_000.0];

/// What a loader tells beside the value.
#[derive(Clone, Copy, Debug)]
enum Told {
    Version,
    ChangedAt,
    Both,
}

/// The shares of stale reads and of loads in the second half of a run.
async fn run(told: Told, seed: u64) -> (f64, f64) {
    let clock = Clock::manual(Time(1_000_000_000_000));
    let store = Arc::new(InProcess::new(1 << 24));
    let instances: [Cache<u64, u64>; 2] = std::array::from_fn(|at| {
        let freshness = Freshness::stale_reads(OBJECTIVE).unwrap().max_ttl(Duration::from_secs(24 * 3600));
        let builder = Cache::builder().capacity(CAPACITY).clock(clock.clone()).seed(seed + at as u64);
        let rules = Rules { freshness, jitter: 0.0, ..Rules::default() };
        builder.rules(rules).remote(store.clone(), codec::MessagePack).build().unwrap()
    });
    let mut rng = Rng::new(seed);
    // Each key's version, and when it last changed.
    let mut rows = vec![(1, clock.now()); KEYS];
    let (mut stale, mut loads) = (0, 0);
    for read in 0..READS {
        clock.advance(PAUSE);
        tokio::time::advance(PAUSE).await;
        for (key, row) in rows.iter_mut().enumerate() {
            if rng.unit() * EVERY[key % EVERY.len()] < 1.0 {
                *row = (row.0 + 1, clock.now());
            }
        }
        // Some keys are read much more often than others.
        let key = (rng.unit().powi(2) * KEYS as f64) as usize;
        let (version, changed_at) = rows[key];
        let load = async move || {
            let (fetched, changed_at) = (Fetched::from(version), Duration::from_micros(changed_at.0));
            let version = Options::new().version(version);
            Ok::<_, Infallible>(match told {
                Told::Version => fetched.with(version),
                Told::ChangedAt => fetched.changed_at(changed_at),
                Told::Both => fetched.with(version).changed_at(changed_at),
            })
        };
        let found = instances[rng.below(2) as usize].find_with(&(key as u64), load).await.unwrap();
        if read >= READS / 2 {
            stale += u64::from(found.value < version);
            loads += u64::from(found.tier == Tier::Origin);
        }
    }
    let share = |count: u64| count as f64 / (READS / 2) as f64;
    (share(stale), share(loads))
}

async fn keeps_to_the_objective(told: Told) {
    for seed in [1, 2] {
        let (stale, loads) = run(told, seed).await;
        println!("{told:?}, seed {seed}: {:.2} % stale, {:.1} % loaded", 100.0 * stale, 100.0 * loads);
        assert!((0.6 * OBJECTIVE..1.2 * OBJECTIVE).contains(&stale), "{told:?}, seed {seed}: {stale}");
        // It is no feat to be fresh by loading at each read.
        assert!(loads < 0.5, "{told:?}, seed {seed}: {loads}");
    }
}

#[tokio::test(start_paused = true)]
async fn by_versions() {
    keeps_to_the_objective(Told::Version).await;
}

#[tokio::test(start_paused = true)]
async fn by_times_of_change() {
    keeps_to_the_objective(Told::ChangedAt).await;
}

#[tokio::test(start_paused = true)]
async fn by_both() {
    keeps_to_the_objective(Told::Both).await;
}

/// A value keeps the lifetime its loader gave it in the remote tier, whether or not memory had room for it.
#[tokio::test(start_paused = true)]
async fn a_lifetime_of_its_own_does_not_depend_on_memory() {
    let (clock, store) = (Clock::manual(Time(1_000_000_000_000)), Arc::new(InProcess::new(1 << 24)));
    let cache = |weight: u32| {
        let builder = Cache::<u64, u64>::builder().capacity_bytes(1 << 20, move |_, _| weight).clock(clock.clone());
        let rules = Rules { freshness: Freshness::fixed_ttl(300 * SECOND), jitter: 0.0, ..Rules::default() };
        builder.rules(rules).remote(store.clone(), codec::MessagePack).build().unwrap()
    };
    let load = async || Ok::<_, Infallible>(Fetched::from(1).with(Options::new().ttl(86_400 * SECOND)));
    // The first has room for the value, the second never.
    for (key, weight) in [(1, 100), (2, u32::MAX)] {
        let cache = cache(weight);
        assert_eq!(cache.find_with(&key, load).await.unwrap().tier, Tier::Origin);
        assert!(cache.remote().unwrap().flush(tokio::time::Instant::now() + SECOND).await);
        assert_eq!(cache.local(&key).is_some(), key == 1);
    }
    for _ in 0..2 {
        clock.advance(40_000 * SECOND);
        tokio::time::advance(40_000 * SECOND).await;
        for key in [1, 2] {
            let found = cache(100).find_with(&key, load).await.unwrap();
            assert_eq!((found.tier, found.is_stale), (Tier::Remote, false), "key {key}");
        }
    }
}
