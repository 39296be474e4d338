//! Settings at the ends of what numbers can be, in every builder, struct of options and TOML document: each is refused with an error that
//! names it, or makes a cache that works. None panics.
#![allow(clippy::unwrap_used, reason = "outside of test functions, but in tests alone")]

use std::convert::Infallible;
use std::future::ready;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Once};
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use larder::behind::{Behind, Fsync, Sink, Write};
use larder::prewarm::{Daily, Limits};
use larder::recorder::{self, Recorder};
use larder::remote::{InProcess, Tier, TierConfig};
use larder::snapshot::Kept;
use larder::{
    Cache, Clock, Config, Control, Error, ErrorKind, Fetched, Freshness, KeyRules, LoadLimit, Options, Refresh,
    Sharing, Tenants, Time, behind, codec,
};
use tokio::runtime::Handle;

const TIMES: [Duration; 8] = [
    Duration::ZERO,
    Duration::from_nanos(1),
    Duration::from_millis(1),
    Duration::from_secs(1),
    Duration::from_secs(1 << 40),
    Duration::from_micros(u64::MAX),
    Duration::from_secs(u64::MAX),
    Duration::MAX,
];
const NUMBERS: [u64; 6] = [0, 1, 2, 1 << 40, u64::MAX >> 1, u64::MAX];
const FLOATS: [f64; 8] = [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, -1.0, 0.0, f64::MIN_POSITIVE, 1.0, f64::MAX];

/// Of any thread and task: nobody waits for those of the cache, whose end would go unnoticed.
static PANICS: AtomicU64 = AtomicU64::new(0);

fn watch_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let usual = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            PANICS.fetch_add(1, Relaxed);
            usual(panic);
        }));
    });
}

type Builder = larder::Builder<u64, u64>;
type Change<T> = (&'static str, fn(&mut T, usize));

fn time(at: usize) -> Duration {
    TIMES[at % TIMES.len()]
}

fn number(at: usize) -> usize {
    NUMBERS[at % NUMBERS.len()] as usize
}

fn float(at: usize) -> f64 {
    FLOATS[at % FLOATS.len()]
}

/// What a cache may say to a key of a byte: patience may be of a nanosecond.
const REFUSED: [ErrorKind; 2] = [ErrorKind::Timeout, ErrorKind::Overloaded];

/// As many as the longest list has: each change is made with each of its values.
const VALUES: usize = 8;

fn remote() -> InProcess {
    InProcess::new(1 << 20)
}

fn builder() -> Builder {
    Cache::builder()
        .capacity(100)
        .segments(2)
        .seed(1)
        .clock(Clock::manual(Time(1_795_000_000_000_000)))
        .loader(|key: u64| ready(Ok::<_, Infallible>(key)))
}

/// A few of everything: what is built works, whatever it was told.
async fn works(cache: &Cache<u64, u64>, what: &str) {
    for key in 0..3 {
        match cache.get_with(&key, move || ready(Ok::<_, Infallible>(key))).await {
            Ok(value) => assert_eq!(value, key, "{what}"),
            Err(error) => {
                assert!(REFUSED.contains(&error.kind()), "{what}: {error}")
            }
        }
    }
    let tagged = |key: u64| Fetched::from(key).with(Options::new().ttl(Duration::MAX).tag("t"));
    let _ = cache.get_with(&7, move || ready(Ok::<_, Infallible>(tagged(7)))).await;
    // The remote tier may say that it was not reached in a nanosecond; the cache is none the worse.
    let _ = cache.insert(8, 8).await;
    let _ = cache.remove_tag("t").await;
    let _ = cache.changed(&1).await;
    let _ = cache.remove(&2).await;
    let _ = cache.get(&8).await;
    cache.resize(u64::MAX);
    cache.resize(10);
    assert!(cache.name() != "cache" || !format!("{:?}", cache.report()).contains("NaN"), "{what}");
    cache.validate();
    let _ = cache.clear().await;
}

/// A word of the setting's name is in the error.
fn names(error: &Error, setting: &str, what: &str) {
    assert_eq!(error.kind(), ErrorKind::Config, "{what}: {error}");
    assert!(error.to_string().contains(setting), "{what}: '{error}' does not name {setting}");
}

async fn built(builder: Builder, setting: &str, what: &str) -> bool {
    match builder.build() {
        Ok(cache) => {
            works(&cache, what).await;
            // Its tasks have their turns: they sleep for what they were told.
            tokio::time::sleep(Duration::from_millis(5)).await;
            true
        }
        Err(error) => {
            names(&error, setting, what);
            false
        }
    }
}

/// Every change with every value; that of each some are refused and some are not is for the caller to know.
async fn try_all<T>(
    of: &str,
    changes: &[Change<T>],
    start: impl Fn() -> T,
    build: impl AsyncFn(T, &str, &str) -> bool,
) {
    watch_panics();
    for (setting, change) in changes {
        let mut good = 0;
        for at in 0..VALUES {
            let mut settings = start();
            change(&mut settings, at);
            good += usize::from(build(settings, setting, &format!("{of}: {setting}, value {at}")).await);
        }
        assert!(good > 0, "{of}: no value of {setting} is accepted");
        assert_eq!(PANICS.load(Relaxed), 0, "{of}: {setting}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_builder_told_nonsense_says_so_or_builds_a_cache_that_works() {
    fn set(builder: &mut Builder, change: impl FnOnce(Builder) -> Builder) {
        *builder = change(std::mem::replace(builder, Cache::builder()));
    }
    let changes: [Change<Builder>; 29] = [
        ("capacity", |b, at| set(b, |b| b.capacity(number(at) as u64))),
        ("capacity", |b, at| set(b, |b| b.capacity_bytes(number(at) as u64, |_, _| u32::MAX))),
        ("segments", |b, at| set(b, |b| b.segments(number(at)))),
        ("loads", |b, at| set(b, |b| b.loads(number(at)))),
        ("load_limit", |b, at| set(b, |b| b.load_limit(LoadLimit::new(number(at))))),
        ("lease", |b, at| set(b, |b| b.lease(time(at)).remote(remote(), codec::MessagePack))),
        ("stale_if_error", |b, at| set(b, |b| b.stale_if_error(time(at)))),
        ("hard_timeout", |b, at| set(b, |b| b.timeouts(None, time(at)))),
        ("soft_timeout", |b, at| set(b, |b| b.timeouts(Some(time(at)), Duration::from_secs(1)))),
        ("ttl", |b, at| set(b, |b| b.freshness(Freshness::fixed_ttl(time(at))))),
        ("max_ttl", |b, at| set(b, |b| b.freshness(Freshness::never_stale().max_ttl(time(at))))),
        ("min_ttl", |b, at| set(b, |b| b.freshness(objective().max_ttl(Duration::MAX).min_ttl(time(at))))),
        ("starting_ttl", |b, at| set(b, |b| b.freshness(objective().starting_ttl(time(at))))),
        ("older_than", |b, at| set(b, |b| b.freshness(objective().older_than(time(at))))),
        ("refresh_ahead", |b, at| set(b, |b| b.freshness(objective().refresh_ahead(float(at))))),
        ("rent", |b, at| set(b, |b| b.freshness(objective().rent(float(at))))),
        ("prefixes", |b, at| set(b, |b| b.freshness(objective().with_prefix("1", Freshness::fixed_ttl(time(at)))))),
        ("ahead", |b, at| set(b, |b| b.refresh(Refresh::Ahead(float(at))))),
        ("β", |b, at| set(b, |b| b.refresh(Refresh::Early(float(at))))),
        ("key_bytes", |b, at| {
            set(b, |b| b.key_rules(KeyRules { max_bytes: number(at) }).remote(remote(), codec::MessagePack))
        }),
        ("slice", |b, at| set(b, |b| b.control(Control::beside("lru").slice(time(at))))),
        ("hold-out", |b, at| set(b, |b| b.control(Control::beside("lru").holdout(float(at))))),
        ("ttl", |b, at| set(b, |b| b.freshness(objective()).control(Control::beside("lru").ttl(time(at))))),
        ("cool_down", |b, at| set(b, |b| b.control(Control::beside("lru").with(|s| s.cool_down = time(at))))),
        ("alpha", |b, at| {
            set(b, |b| b.segments(16).control(Control::beside("lru").ramped().with(|s| s.alpha = float(at))))
        }),
        ("ramp", |b, at| {
            set(b, |b| b.segments(16).control(Control::beside("lru").ramped().with(|s| s.ramp = vec![float(at), 0.5])))
        }),
        ("baseline", |b, at| {
            set(b, |b| {
                b.segments(16).control(Control::beside("lru").ramped().with(|s| {
                    (s.baseline, s.step, s.horizon) = (NUMBERS[at % 6], NUMBERS[at % 6], NUMBERS[at % 6]);
                }))
            });
        }),
        ("guardrail", |b, at| {
            set(b, |b| b.control(Control::beside("lru").with(|s| s.guardrails.hit_ratio = float(at))))
        }),
        ("seed", |b, at| set(b, |b| b.seed(NUMBERS[at % 6]))),
    ];
    try_all("builder", &changes, builder, async |builder, setting, what| {
        let built = built(builder, setting, what).await;
        // Whoever sleeps until a slice is over is let wake.
        tokio::time::sleep(Duration::from_secs(3)).await;
        built
    })
    .await;
}

fn objective() -> Freshness {
    Freshness::stale_reads(0.01).unwrap()
}

#[tokio::test(start_paused = true)]
async fn rules_told_nonsense_say_so_or_hold() {
    let changes: [Change<larder::Rules>; 6] = [
        ("jitter", |rules, at| rules.jitter = float(at)),
        ("negative_ttl", |rules, at| rules.negative_ttl = time(at)),
        ("error_pause", |rules, at| rules.error_pause = time(at)),
        ("load_timeout", |rules, at| rules.load_timeout = time(at)),
        ("hard_timeout", |rules, at| rules.hard_timeout = time(at)),
        ("soft_timeout", |rules, at| rules.soft_timeout = Some(time(at))),
    ];
    try_all("rules", &changes, larder::Rules::default, async |rules, setting, what| {
        built(builder().rules(rules), setting, what).await
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_tier_told_nonsense_says_so_or_serves() {
    let changes: [Change<TierConfig>; 21] = [
        ("deadline", |tier, at| tier.deadline = time(at)),
        ("in_flight", |tier, at| tier.in_flight = number(at)),
        ("retry_share", |tier, at| tier.retry_share = float(at)),
        ("queue", |tier, at| tier.queue = number(at)),
        ("queue_bytes", |tier, at| tier.queue_bytes = number(at)),
        ("pending", |tier, at| tier.pending = number(at)),
        ("fence_for", |tier, at| tier.fence_for = time(at)),
        ("longest", |tier, at| tier.longest = time(at)),
        ("trust", |tier, at| tier.trust = time(at)),
        ("limit", |tier, at| tier.form.limit = number(at)),
        ("pack_above", |tier, at| tier.form.pack_above = number(at)),
        ("schema", |tier, at| tier.form.schema = number(at) as u32),
        ("in_a_row", |tier, at| tier.breaker.in_a_row = number(at) as u32),
        ("share", |tier, at| tier.breaker.share = float(at)),
        ("least", |tier, at| tier.breaker.least = number(at) as u32),
        ("window", |tier, at| tier.breaker.window = time(at)),
        ("rest", |tier, at| tier.breaker.rest = time(at)),
        ("longest_rest", |tier, at| tier.breaker.longest_rest = time(at)),
        ("trials", |tier, at| tier.breaker.trials = number(at) as u32),
        ("successes", |tier, at| tier.breaker.successes = number(at) as u32),
        // The longest that is allowed of everything, together.
        ("rest", |tier, _| {
            let day = larder::bounds::LONGEST_WAIT;
            (tier.breaker.rest, tier.breaker.longest_rest, tier.breaker.window) = (day, day, day);
            (tier.deadline, tier.trust, tier.longest) = (day, day, larder::bounds::LONGEST_KEPT);
            tier.fence_for = tier.longest;
        }),
    ];
    try_all("tier", &changes, TierConfig::default, async |tier: TierConfig, setting, what| {
        let store = remote();
        let with = |store: InProcess| builder().tier(tier.clone()).remote(store, codec::MessagePack);
        if !built(with(store.clone()), setting, what).await {
            return false;
        }
        // The breaker opens and rests, for that matter twice.
        let tier = Tier::new(Arc::new(store.clone()), tier, &Handle::current()).unwrap();
        for fails in [1.0, 1.0, 0.0] {
            store.set_faults(larder::remote::Faults { fails, ..Default::default() });
            for _ in 0..30 {
                let _ = tier.get(&["a:1".into()]).await;
            }
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        let name = "a:1".into();
        for span in TIMES {
            let _ = tier.lease(&name, span).await;
            let waiting = tier.wait_for(&name, Some(span), span);
            let _ = tokio::time::timeout(Duration::from_millis(20), waiting).await;
        }
        tier.close(tokio::time::Instant::now() + Duration::from_secs(1)).await;
        true
    })
    .await;
}

struct Taken;

impl Sink for Taken {
    fn write<'a>(&'a self, _: &'a [Write]) -> BoxFuture<'a, Result<(), Error>> {
        ready(Ok(())).boxed()
    }
}

#[tokio::test]
async fn a_log_told_nonsense_says_so_or_writes() {
    let changes: [Change<behind::Options>; 12] = [
        ("segment_bytes", |log, at| log.segment_bytes = number(at) as u64),
        ("max_pending_bytes", |log, at| log.max_pending_bytes = number(at)),
        ("max_pending_writes", |log, at| log.max_pending_writes = number(at)),
        ("max_wait", |log, at| log.max_wait = Some(time(at))),
        ("batch_writes", |log, at| log.batch_writes = number(at)),
        ("batch_bytes", |log, at| log.batch_bytes = number(at)),
        ("flush_interval", |log, at| log.flush_interval = time(at)),
        ("sink_timeout", |log, at| log.sink_timeout = time(at)),
        ("retry_first", |log, at| (log.retry_first, log.retry_longest) = (time(at), time(at).max(log.retry_longest))),
        ("retry_longest", |log, at| (log.retry_first, log.retry_longest) = (Duration::from_nanos(1), time(at))),
        ("checkpoint_interval", |log, at| log.checkpoint_interval = time(at)),
        ("fsync", |log, at| log.fsync = Fsync::Interval(time(at))),
    ];
    try_all("write-behind", &changes, behind::Options::default, async |options, setting, what| {
        let folder = tempfile::tempdir().unwrap();
        let log = match Behind::open(folder.path(), options, Arc::new(Taken)).await {
            Ok(log) => log,
            Err(error) => {
                // A wait that is too long for both is refused by the first that is looked at.
                names(&error, setting.trim_end_matches("_first"), what);
                return false;
            }
        };
        for _ in 0..3 {
            // A value may be larger than all that may wait.
            let _ = log.append("a".into(), Some("1".into())).await;
        }
        assert!(log.shutdown(Duration::MAX).await.is_ok(), "{what}");
        true
    })
    .await;
}

#[test]
fn a_recorder_told_nonsense_says_so_or_records() {
    let folder = tempfile::tempdir().unwrap();
    let values: Vec<(f64, usize, u64)> = (0..VALUES).map(|at| (float(at), number(at), NUMBERS[at % 6])).collect();
    let usual = recorder::Options::default();
    for (at, (sample, queue, max_bytes)) in values.into_iter().enumerate() {
        let all = [
            ("sample", recorder::Options { sample, ..usual.clone() }),
            ("queue", recorder::Options { queue, ..usual.clone() }),
            ("a recording of", recorder::Options { max_bytes, ..usual.clone() }),
        ];
        for (setting, options) in all {
            let path = folder.path().join(format!("{setting}-{at}.csv.zst"));
            match Recorder::create(&path, options) {
                Ok(recorder) => {
                    let (key, ttl) = (recorder::Key::Number(1), Some(Duration::MAX));
                    let event =
                        recorder::Event { key, at: u64::MAX, size: 1, op: larder_policy::Op::Get, ttl, cost: 0 };
                    recorder.record(&event);
                    recorder.finish().unwrap();
                }
                Err(error) => names(&error, setting, &path.display().to_string()),
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn pre_warming_told_nonsense_says_so_or_warms() {
    let changes: [Change<Limits>; 6] = [
        ("capacity", |limits, at| limits.capacity = NUMBERS[at % 6]),
        ("loads_per_second", |limits, at| limits.loads_per_second = float(at)),
        ("within", |limits, at| limits.within = time(at)),
        ("horizon", |limits, at| limits.horizon = time(at)),
        ("concurrency", |limits, at| limits.concurrency = number(at)),
        ("batch", |limits, at| limits.batch = number(at)),
    ];
    let kept = |name: u64| Kept {
        name: name.to_string(),
        size: 1,
        cost: 1,
        reads: 1.0,
        idle: 0,
        fresh_until: u64::MAX,
        days: None,
    };
    try_all("pre-warm", &changes, Limits::default, async |limits: Limits, setting, what| {
        let cache = builder().build().unwrap();
        let warm = cache.prewarm((0..5).map(kept), limits, |name| name.parse().ok(), std::future::pending());
        match warm.await {
            Ok(_) => works(&cache, what).await,
            Err(error) => {
                names(&error, setting, what);
                return false;
            }
        }
        true
    })
    .await;
    let changes: [Change<Daily>; 3] = [
        ("most_keys", |daily, at| daily.most_keys = number(at)),
        ("least", |daily, at| daily.least = number(at) as u32),
        ("lead", |daily, at| daily.lead = time(at)),
    ];
    try_all("daily", &changes, Daily::default, async |daily: Daily, setting, what| {
        let cache = builder().build().unwrap();
        match cache.prewarm_daily(daily, |name| name.parse().ok()) {
            Ok(()) => {
                works(&cache, what).await;
                tokio::time::sleep(Duration::from_secs(2000)).await;
                true
            }
            Err(error) => {
                names(&error, setting, what);
                false
            }
        }
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn instances_that_share_and_tenants_told_nonsense_say_so_or_work() {
    let changes: [Change<Sharing>; 3] = [
        ("look", |sharing, at| (sharing.look, sharing.lease) = (time(at), Duration::from_secs(3600))),
        ("publish", |sharing, at| sharing.publish = time(at)),
        ("lease", |sharing, at| (sharing.look, sharing.lease) = (Duration::from_millis(1), time(at))),
    ];
    try_all("sharing", &changes, Sharing::default, async |sharing: Sharing, setting, what| {
        let is_good = built(builder().policy("learned").sharing(sharing).share_models(remote()), setting, what).await;
        tokio::time::sleep(Duration::from_secs(100)).await;
        is_good
    })
    .await;
    for most in NUMBERS {
        let tenants = Tenants::new("all", most as usize, |_| builder()).unwrap();
        match tenants.of("one") {
            Ok(cache) => works(&cache, "tenants").await,
            Err(error) => assert_eq!((most, error.kind()), (0, ErrorKind::Overloaded)),
        }
    }
}

#[cfg(feature = "dashboard")]
#[tokio::test]
async fn a_dashboard_told_nonsense_says_so_or_is_served() {
    for viewers in NUMBERS {
        let mut config = larder::DashboardConfig::default();
        config.viewers = viewers as usize;
        match larder::Dashboard::serve("127.0.0.1:0".parse().unwrap(), config).await {
            Ok(page) => {
                page.add(&builder().build().unwrap()).unwrap();
                page.close().await;
            }
            Err(error) => names(&error, "viewers", "dashboard"),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn closing_within_any_time_closes() {
    for within in TIMES {
        let cache = builder().remote(remote(), codec::MessagePack).build().unwrap();
        works(&cache, "close").await;
        cache.close(within).await;
    }
}

/// Every setting that `larder.toml` shows, with every odd value: a line that a person could write.
#[cfg(feature = "config")]
#[tokio::test(start_paused = true)]
async fn a_document_told_nonsense_says_so_or_makes_a_cache_that_works() {
    let file = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../larder.toml")).unwrap();
    let (mut table, mut settings) = (String::new(), Vec::new());
    for line in file.lines() {
        if let Some(name) = line.strip_prefix('[').and_then(|line| line.split(']').next()) {
            name.clone_into(&mut table);
        } else if let (true, Some((key, _))) = (table.starts_with("cache"), line.split_once(" = "))
            && (!line.starts_with('#') || ["# capacity", "# objective"].contains(&key))
        {
            settings.push((table.clone(), key.trim_start_matches("# ").to_owned()));
        }
    }
    assert!(settings.len() > 50, "{settings:?}");
    let values = [
        "0",
        "1",
        "-1",
        "18446744073709551615",
        "9223372036854775807",
        "1e308",
        "nan",
        "inf",
        "-inf",
        "0.5",
        "\"none\"",
        "\"never\"",
        "\"0s\"",
        "\"1ns\"",
        "\"1ms\"",
        "\"18446744073709551615s\"",
        "\"500000000000years\"",
        "\"0%\"",
        "\"100%\"",
        "\"1e400%\"",
        "\"16777215TiB\"",
        "\"9223372036854775808\"",
        "\"early:1e308\"",
        "\"ahead:1\"",
    ];
    watch_panics();
    let (mut good, mut bad) = (0, 0);
    for (table, key) in &settings {
        for value in values {
            let capacity = if key == "capacity" { "" } else { "capacity = 100\n" };
            let lifetime =
                if table == "cache.control" && key == "ttl" { "[cache.freshness]\nobjective = 0.01\n" } else { "" };
            let head = if table == "cache" { String::new() } else { format!("[{table}]\n") };
            let text = format!("[cache]\n{capacity}{lifetime}{head}{key} = {value}\n");
            let built = Config::from_toml(&text, "cache").and_then(|config| {
                let builder = Cache::builder().config(config).loader(|key: u64| ready(Ok::<_, Infallible>(key)));
                builder.weigh(|_, _| 1).seed(1).remote(remote(), codec::MessagePack).share_models(remote()).build()
            });
            match built {
                Ok(cache) => {
                    works(&cache, &text).await;
                    tokio::time::sleep(Duration::from_millis(5)).await;
                    good += 1;
                }
                Err(error) => {
                    assert_eq!(error.kind(), ErrorKind::Config, "{text}{error}");
                    bad += 1;
                }
            }
        }
    }
    assert_eq!(PANICS.load(Relaxed), 0);
    assert!(good > 100 && bad > 500, "{good} built, {bad} refused");
}

/// A tag's removal is remembered for as long as anything is kept, whatever lifetime its loader gave.
#[tokio::test(start_paused = true)]
async fn a_removed_tag_stays_removed_for_values_with_long_lifetimes() {
    let clock = Clock::manual(Time(1_795_000_000_000_000));
    let cache = builder().clock(clock.clone()).build().unwrap();
    let day = Duration::from_secs(24 * 3600);
    let options = move || Options::new().ttl(day * 300).tag("t");
    for value in [1, 2] {
        let load = move || ready(Ok::<_, Infallible>(Fetched::from(value).with(options())));
        assert_eq!(cache.get_with(&1, load).await.unwrap(), value, "the tag was removed since");
        clock.advance(Duration::from_secs(1));
        cache.remove_tag("t").await.unwrap();
        // As often as it takes to forget something, while nobody reads it.
        for _ in 0..10 {
            clock.advance(day);
            tokio::time::sleep(Duration::from_secs(2)).await;
        }
    }
}
