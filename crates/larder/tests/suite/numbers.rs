//! Rows 14 and 22 of the fault matrix: numbers that are none, or at the ends of what they can be, from everything that a user or an
//! origin can say. Nothing panics, nothing that is told is not a number, and who was told nonsense still serves as well as LRU.
#![allow(clippy::unwrap_used, reason = "outside of test functions, but in tests alone")]

use std::convert::Infallible;
use std::future::ready;
use std::time::Duration;

use larder::prewarm::Limits;
use larder::snapshot::Kept;
use larder::{Cache, Clock, Control, ErrorKind, Fetched, Freshness, Options, Refresh, Rules, Time};
use larder_policy::eviction::REGISTRY;

const START: u64 = 1_795_000_000_000_000;
const CAPACITY: u64 = 400;
const KEYS: u64 = 3_000;

/// Everything that a number can be.
const TIMES: [Duration; 6] = [
    Duration::ZERO,
    Duration::from_nanos(1),
    Duration::from_secs(1),
    Duration::from_secs(1 << 40),
    Duration::from_micros(u64::MAX),
    Duration::MAX,
];
const WEIGHTS: [u32; 6] = [0, 1, 1, 7, CAPACITY as u32, u32::MAX];

fn odd(rng: &mut fastrand::Rng) -> Duration {
    TIMES[rng.usize(..TIMES.len())]
}

fn builder(policy: &str, rules: Rules, clock: &Clock) -> larder::Builder<u64, u64> {
    Cache::builder()
        .policy(policy)
        .control(Control::none())
        .rules(rules)
        .clock(clock.clone())
        .seed(22)
        .segments(1)
        .digest(|value: &u64| value.rotate_left(7))
        .loader(|key: u64| ready(Ok::<_, Infallible>(key)))
}

/// Loads that take no time or centuries, of values that weigh nothing or everything, with lifetimes and times of change to match.
async fn told_nonsense(cache: &Cache<u64, u64>, clock: &Clock, accesses: u64) {
    let mut rng = fastrand::Rng::with_seed(22);
    for at in 0..accesses {
        let key = (rng.f64().powi(2) * KEYS as f64) as u64;
        let mut options = Options::new();
        if rng.bool() {
            options = options.ttl(odd(&mut rng));
        }
        if rng.u32(..8) == 0 {
            options = options.version([0, 1, u64::MAX][rng.usize(..3)]);
        }
        match rng.u32(..20) {
            0 => cache.insert_with(key, rng.u64(..), options).await.unwrap(),
            1 => cache.changed(&key).await.unwrap(),
            2 => clock.advance(Duration::from_micros(1 << rng.u32(..52))),
            _ => {
                let (own, spent) = (clock.clone(), Duration::from_micros([0, 1, 1 << 20, 1 << 45][rng.usize(..4)]));
                let changed = (rng.u32(..3) == 0).then(|| odd(&mut rng));
                let load = move || {
                    own.advance(spent);
                    let fetched = Fetched::from(at).with(options);
                    ready(Ok::<_, Infallible>(match changed {
                        Some(at) => fetched.changed_at(at),
                        None => fetched,
                    }))
                };
                cache.get_with(&key, load).await.unwrap();
            }
        }
    }
}

/// All that is told holds numbers alone, and no lifetime goes beyond its bound.
fn tells_numbers(cache: &Cache<u64, u64>, most: Option<Duration>, what: &str) {
    let stats = cache.stats();
    assert!(stats.weight <= stats.capacity, "{what}: {stats:?}");
    let report = format!("{:?}", cache.report());
    assert!(!report.contains("NaN"), "{what}: {report}");
    for hot in cache.most_read(50) {
        assert!(hot.reads.is_finite() && hot.reads >= 0.0 && hot.lifetime.is_finite(), "{what}: {hot:?}");
        assert!(most.is_none_or(|most| hot.lifetime <= most.as_secs_f64()), "{what}: {hot:?} beyond {most:?}");
    }
    for key in 0..50 {
        let explained = format!("{:?}", cache.explain(&key));
        assert!(!explained.contains("NaN"), "{what}: {explained}");
    }
    cache.validate();
}

async fn hits_of_honest_reads(cache: &Cache<u64, u64>, clock: &Clock) -> u64 {
    let mut rng = fastrand::Rng::with_seed(1);
    let before = cache.stats().counts.hits;
    for _ in 0..40_000 {
        clock.advance(Duration::from_millis(1));
        let key = KEYS + (rng.f64().powi(3) * KEYS as f64) as u64;
        cache.get_with(&key, move || ready(Ok::<_, Infallible>(key))).await.unwrap();
    }
    cache.stats().counts.hits - before
}

#[tokio::test]
async fn row_22_numbers_that_are_none_or_too_large() {
    let day = Duration::from_secs(24 * 3600);
    let learned_lifetimes = Freshness::stale_reads(0.01).unwrap().max_ttl(day).refresh_ahead(f64::INFINITY);
    let rules = [
        Rules { jitter: 0.0, freshness: Freshness::fixed_ttl(Duration::MAX), ..Rules::default() },
        Rules { refresh: Refresh::Early(f64::MAX), stale_if_error: Duration::MAX, ..Rules::default() },
        Rules { freshness: learned_lifetimes.clone().rent(f64::MAX), ..Rules::default() },
        Rules {
            freshness: learned_lifetimes.rent(f64::NAN).refresh_ahead(f64::NAN).older_than(Duration::MAX),
            ..Rules::default()
        },
    ];
    for policy in REGISTRY.iter().filter(|policy| !policy.needs_oracle).map(|policy| policy.name) {
        for (number, rules) in rules.iter().enumerate() {
            let what = format!("{policy}, rules {number}");
            let clock = Clock::manual(Time(START));
            let is_in_bytes = number % 2 == 0;
            let build = |policy: &str| match is_in_bytes {
                true => builder(policy, rules.clone(), &clock).capacity_bytes(CAPACITY, |key, _| {
                    if *key < KEYS { WEIGHTS[*key as usize % WEIGHTS.len()] } else { 1 }
                }),
                false => builder(policy, rules.clone(), &clock).capacity(CAPACITY),
            };
            let cache = build(policy).build().unwrap();
            told_nonsense(&cache, &clock, 6_000).await;
            let most = rules.freshness.objective().map(|_| day);
            tells_numbers(&cache, most, &what);
            let nonsense = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, -1.0, f32::MAX];
            let kept = nonsense.iter().zip(0..).map(|(&reads, at): (_, u64)| Kept {
                name: at.to_string(),
                size: WEIGHTS[at as usize],
                cost: u32::MAX,
                reads,
                idle: u64::MAX,
                fresh_until: u64::MAX,
                days: None,
            });
            let limits =
                Limits { within: Duration::MAX, horizon: Duration::MAX, capacity: u64::MAX, ..Limits::default() };
            cache.prewarm(kept, limits, |name| name.parse().ok(), std::future::pending()).await.unwrap();
            tells_numbers(&cache, most, &what);
            if policy == "learned" {
                let lru = build("lru").build().unwrap();
                let (own, lru) = (hits_of_honest_reads(&cache, &clock).await, hits_of_honest_reads(&lru, &clock).await);
                assert!(own + 400 >= lru, "{what}: {own} hits of 40,000 after nonsense, LRU {lru} (I7)");
            }
        }
    }
}

/// Settings that are no numbers are refused when the cache is built.
#[tokio::test]
async fn row_22_settings_that_are_no_numbers_are_refused() {
    let clock = Clock::manual(Time(START));
    for odd in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, -1.0] {
        assert!(Freshness::stale_reads(odd).is_err());
        let rules = [
            Rules { jitter: odd, ..Rules::default() },
            Rules { refresh: Refresh::Ahead(odd), ..Rules::default() },
            Rules { refresh: Refresh::Early(odd), ..Rules::default() },
        ];
        for rules in rules {
            let error = builder("lru", rules, &clock).capacity(CAPACITY).build().unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Config);
        }
        let cache = builder("lru", Rules::default(), &clock).capacity(CAPACITY).build().unwrap();
        let limits = Limits { loads_per_second: odd, ..Limits::default() };
        let warmed = cache.prewarm([], limits, |_| None, std::future::pending()).await;
        assert_eq!(warmed.unwrap_err().kind(), ErrorKind::Config);
        for policy in [format!("learned:rate={odd}"), format!("s3fifo:small={odd}")] {
            let error = builder(&policy, Rules::default(), &clock).capacity(CAPACITY).build().unwrap_err();
            assert!(error.to_string().contains("is not a number"), "{error}");
        }
    }
}
