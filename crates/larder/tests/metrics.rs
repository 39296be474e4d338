//! What a recorder of the `metrics` facade gets from real caches.
#![cfg(feature = "metrics")]
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use futures_util::future::BoxFuture;
use larder::behind::{Behind, Sink, Write};
use larder::metrics::{CATALOGUE, Kind};
use larder::recorder::{self, Recorder};
use larder::remote::InProcess;
use larder::{Cache, Control, ErrorKind, Fetched, Freshness, Prices, Sharing, codec};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};

/// The process's recorder.
fn recorder() -> &'static PrometheusHandle {
    static RECORDER: OnceLock<PrometheusHandle> = OnceLock::new();
    RECORDER.get_or_init(|| {
        let builder = PrometheusBuilder::new().with_recommended_naming(true);
        let histograms = CATALOGUE.iter().filter(|metric| !metric.kind.bounds().is_empty());
        let builder = histograms.fold(builder, |builder, metric| {
            builder.set_buckets_for_metric(Matcher::Full(metric.name.into()), &metric.kind.bounds()).unwrap()
        });
        builder.install_recorder().unwrap()
    })
}

/// A cache's series in a scrape, by name with labels.
fn series(scrape: &str, cache: &str) -> BTreeMap<String, f64> {
    let own = format!("cache=\"{cache}\"");
    let lines = scrape.lines().filter(|line| !line.starts_with('#') && line.contains(&own));
    lines
        .map(|line| line.rsplit_once(' ').unwrap())
        .map(|(name, value)| (name.into(), value.parse().unwrap()))
        .collect()
}

/// The catalogue's name of a series.
fn metric_of(series: &str) -> &str {
    let name = series.split('{').next().unwrap();
    let suffixes = ["_bucket", "_sum", "_count"];
    suffixes.iter().find_map(|suffix| name.strip_suffix(suffix)).unwrap_or(name)
}

/// Refuses the key that is too long, and is slow at first.
struct Database(AtomicU32);

impl Sink for Database {
    fn write<'a>(&'a self, batch: &'a [Write]) -> BoxFuture<'a, Result<(), larder::Error>> {
        Box::pin(async move {
            if self.0.fetch_add(1, Ordering::Relaxed) == 0 {
                return Err(larder::Error::new(ErrorKind::Sink, "not yet"));
            }
            match batch.iter().any(|write| write.name.contains("refused")) {
                true => Err(larder::Error::new(ErrorKind::BadKey, "never")),
                false => Ok(()),
            }
        })
    }
}

/// One with everything that a cache can have.
fn cache(name: &str, log: Behind, recorder: Arc<Recorder>) -> Cache<String, u64> {
    let store = InProcess::new(1 << 20);
    Cache::builder()
        .name(name)
        .capacity(64)
        .freshness(Freshness::stale_reads(0.01).unwrap())
        .digest(|value| *value)
        .segments(4)
        .control(Control::default().holdout(0.25))
        .prices(Prices { gib_hour: 32.0, load: 0.001, entry_bytes: 1 << 20 })
        .remote(store.clone(), codec::MessagePack)
        .share_models(store)
        // Published once: the clock leaps ahead while threads of the system write their files.
        .sharing(Sharing { look: Duration::from_millis(500), publish: Duration::MAX, ..Sharing::default() })
        .loader(|key: String| async move {
            match key.len() {
                10 => Err(io::Error::other("too long")),
                9 => Ok(Fetched::absent()),
                len => Ok(Fetched::from(len as u64)),
            }
        })
        .write_behind(log)
        .recorder(recorder)
        .seed(1)
        .build()
        .unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_scrape_says_what_the_report_says() {
    let recorder = recorder();
    let folder = tempfile::tempdir().unwrap();
    let log = Behind::open(folder.path(), larder::behind::Options::default(), Arc::new(Database(AtomicU32::new(0))));
    let log = log.await.unwrap();
    let options = recorder::Options { queue: 1 << 20, ..Default::default() };
    let recording = Recorder::create(folder.path().join("seen.csv"), options).unwrap();
    let recording = Arc::new(recording);
    let cache = cache("scraped", log.clone(), recording.clone());
    let mut errors = 0;
    for round in 0..120 {
        if round % 40 == 0 {
            // A slice of the experiment ends: the first of them do not count, and parts must have been timed a hundred times.
            tokio::time::sleep(Duration::from_millis(1500)).await;
        }
        for at in 0..500 {
            // Keys of 7 to 10 letters.
            let key = format!("secret{}", (at * 7 + round) % 1100);
            errors += u64::from(cache.load(&key).await.is_err());
        }
    }
    cache.insert("sealed".into(), 1).await.unwrap();
    for key in ["put", "refused"] {
        cache.put(key.into(), 2).await.unwrap();
    }
    while log.stats().pending_writes > 0 {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    for at in 0..500 {
        cache.remove(&format!("secret{at}")).await.unwrap();
    }
    cache.clear().await.unwrap();
    // What comes after it is dropped.
    let recorded = recording.finish().unwrap();
    cache.load("secret1").await.unwrap();
    tokio::time::sleep(Duration::from_secs(3)).await;
    let report = cache.report();
    let scrape = recorder.render();
    let series = series(&scrape, "scraped");
    let number = |name: &str, labels: &str| {
        let labels = if labels.is_empty() { String::new() } else { format!(",{labels}") };
        *series
            .get(&format!("{name}{{cache=\"scraped\"{labels}}}"))
            .unwrap_or_else(|| panic!("no {name}{labels}\n{scrape}"))
    };
    let same = |name: &str, labels: &str, count: u64| assert_eq!(number(name, labels), count as f64, "{name} {labels}");
    let counts = report.counts;
    assert!(counts.hits > 0 && counts.evicted > 0 && counts.remote_hits > 0 && errors > 0);
    assert!(counts.absent > 0 && counts.cleared > 0 && counts.removed > 0, "{counts:?}");
    let control = report.control.as_ref().unwrap().counts;
    assert!(control.hits > 0 && control.remote_hits > 0 && control.remote_misses > 0, "{control:?}");
    let policy = counts - control;
    for (arm, counts) in [("policy", policy), ("control", control)] {
        let labels = |tier: &str, result: &str| format!(r#"tier="{tier}",arm="{arm}",result="{result}""#);
        same("larder_gets_total", &labels("l1", "hit"), counts.hits);
        same("larder_gets_total", &labels("l1", "miss"), counts.misses);
        same("larder_gets_total", &labels("l2", "hit"), counts.remote_hits);
        same("larder_gets_total", &labels("l2", "miss"), counts.remote_misses);
    }
    // A quarter of the memory is the control's, and a quarter of the reads.
    let share = control.reads() as f64 / counts.reads() as f64;
    assert!((0.2..0.3).contains(&share), "{share}");
    same("larder_write_behind_events_total", r#"event="appended""#, 2);
    same("larder_write_behind_events_total", r#"event="flushed""#, 1);
    same("larder_write_behind_events_total", r#"event="dead_lettered""#, 1);
    assert!(number("larder_write_behind_events_total", r#"event="retried""#) >= 1.0);
    same("larder_write_behind_pending_writes", "", 0);
    same("larder_recorder_events_total", r#"result="written""#, recorded.written);
    same("larder_recorder_events_total", r#"result="dropped""#, recorded.dropped + 1);
    same("larder_recorder_bytes_total", "", recorded.bytes);
    assert!(recorded.written > 50_000 && recorded.bytes > 100_000, "{recorded:?}");
    let model = report.model.unwrap();
    assert_eq!(number("larder_model_loss_ratio", r#"against="base_rate""#), model.loss.unwrap());
    assert_eq!(number("larder_model_loss_ratio", r#"against="prior""#), model.loss_to_prior.unwrap());
    assert_eq!(number("larder_model_calibration_error_ratio", ""), model.calibration_error.unwrap());
    assert_eq!(number("larder_model_drift_ratio", ""), model.drift);
    same("larder_model_drifts_total", "", model.drifts);
    same("larder_loads_total", r#"result="found""#, counts.loads - counts.absent);
    same("larder_loads_total", r#"result="error""#, counts.load_errors);
    same("larder_evictions_total", r#"cause="size""#, counts.evicted);
    same("larder_evictions_total", r#"cause="cleared""#, counts.cleared);
    same("larder_admissions_total", r#"decision="admitted""#, counts.admitted);
    // And the one that the sink refused.
    same("larder_invalidations_total", r#"source="local""#, 501);
    same("larder_epoch_bumps_total", r#"cause="clear""#, report.epochs.clears);
    same("larder_model_publishes_total", "", 1);
    same("larder_model_generation", "", 1);
    same("larder_capacity_entries", "", 64);
    // 64 entries of a MiB are a sixteenth of a GiB.
    same("larder_memory_hourly_cost", "", 2);
    assert_eq!(number("larder_load_cost", ""), 0.001);
    assert_eq!(number("larder_cheapest_size_ratio", ""), report.control.as_ref().unwrap().cheapest.unwrap());
    same("larder_breaker_state", "", 0);
    same("larder_residence_seconds_count", "", counts.evicted);
    same("larder_ttl_seconds_count", "", report.ttls.count());
    same("larder_get_duration_seconds_count", r#"tier="l1""#, report.latency.local.count());
    assert_eq!(number("larder_stale_objective_ratio", ""), 0.01);
    // What came in has left, or is there.
    let left = counts.evicted + counts.expired + counts.removed + counts.cleared;
    assert_eq!(counts.admitted, left + report.entries as u64);
    assert_eq!(report.loads.count(), counts.loads);
    // One read in 64.
    let timed = report.latency.local.count() + report.latency.remote.count() + report.latency.origin.count();
    assert!((750..1150).contains(&timed), "{timed}");

    assert!(series.len() <= 310, "{} series", series.len());
    println!("{} series", series.len());
    assert!(!scrape.contains("secret") && !scrape.contains("sealed"));
    let known: BTreeSet<_> = CATALOGUE.iter().map(|metric| metric.name).collect();
    for name in series.keys() {
        let metric = metric_of(name);
        assert!(known.contains(metric), "{name} is not in the catalogue");
        assert!(scrape.contains(&format!("# HELP {metric} ")), "{name} has no help");
    }
    for metric in CATALOGUE {
        let of_metric: Vec<_> = series.keys().filter(|name| metric_of(name) == metric.name).collect();
        // Where bytes are limited, and once a value has flipped.
        let is_elsewhere =
            ["larder_weight_bytes", "larder_capacity_bytes", "larder_flipping_keys"].contains(&metric.name);
        assert!(is_elsewhere || !of_metric.is_empty(), "{} is never published", metric.name);
        for name in of_metric {
            let labels = name.split_once('{').unwrap().1.trim_end_matches('}').split("\",");
            let labels: BTreeSet<_> = labels.map(|label| label.split('=').next().unwrap()).collect();
            let told = metric.labels.iter().map(|(label, _)| *label).chain(["cache", "le"]);
            assert!(labels.is_subset(&told.collect()), "{name}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_no_longer_so_is_withdrawn() {
    let recorder = recorder();
    let builder = Cache::<u64, u64>::builder().name("withdrawn").capacity(64).segments(4).seed(1);
    let cache = builder.control(Control::default().holdout(0.25)).build().unwrap();
    let second = Duration::from_secs(1);
    let read = async |count: u64| {
        for at in 0..count {
            cache.insert(at % 100, at).await.unwrap();
            cache.get(&(at * 7 % 100)).await;
            if at % 1000 == 999 {
                tokio::time::sleep(2 * second).await;
            }
        }
        tokio::time::sleep(2 * second).await;
    };
    let gauges = || {
        let is_gauge =
            |name: &String| CATALOGUE.iter().any(|metric| metric.kind == Kind::Gauge && metric.name == metric_of(name));
        let mut series = series(&recorder.render(), "withdrawn");
        series.retain(|name, _| is_gauge(name));
        series
    };
    let number = |name: &str| gauges().get(&format!("{name}{{cache=\"withdrawn\"}}")).copied().unwrap_or(f64::NAN);
    // What is told of a policy that decides somewhere, once the memory was turned over twice.
    let counted = [
        "larder_arms_effect_upper_ratio",
        "larder_experiment_effect_ratio",
        "larder_experiment_effect_upper_ratio",
        "larder_experiment_counted_seconds",
    ];
    let told = ["larder_arms_refusals", "larder_model_fallback_ratio"];
    read(50).await;
    assert!(told.iter().all(|name| !number(name).is_nan()) && number("larder_experiment_turnovers") < 2.0);
    assert!(counted.iter().all(|name| number(name).is_nan()), "a gain of 0, for certain: {:?}", gauges());
    // What turns it over does not count yet, and one slice tells of no other.
    read(1000).await;
    read(500).await;
    assert!(counted.iter().all(|name| !number(name).is_nan()), "{:?}", gauges());
    assert_eq!(number("larder_experiment_effect_upper_ratio"), 1.0);
    read(12_000).await;
    assert!(number("larder_experiment_effect_upper_ratio") < 1.0, "{:?}", gauges());
    assert!(number("larder_experiment_counted_seconds") > 0.0, "{:?}", gauges());
    // One part of four is the control's.
    assert!(number("larder_arms_refusals") >= 1.0);
    assert!(cache.roll_back());
    tokio::time::sleep(2 * second).await;
    assert_eq!((number("larder_experiment_state"), number("larder_entries")), (3.0, 64.0));
    for name in told.into_iter().chain(counted) {
        assert!(number(name).is_nan(), "{name} is {}", number(name));
    }
    assert!(cache.resume());
    read(3000).await;
    assert!(told.iter().chain(&counted).all(|name| !number(name).is_nan()), "{:?}", gauges());

    drop(cache);
    tokio::time::sleep(2 * second).await;
    assert!(gauges().len() > 20 && gauges().values().all(|value| value.is_nan()), "{:?}", gauges());
}

#[tokio::test(start_paused = true)]
async fn each_objective_is_measured_by_itself() {
    let recorder = recorder();
    let share = |share: f64| Freshness::stale_reads(share).unwrap();
    // A rule needs no measuring.
    let freshness = share(0.01)
        .with_prefix("price:", share(0.1))
        .with_prefix("text:", Freshness::fixed_ttl(Duration::from_secs(9)));
    let cache: Cache<String, u64> =
        Cache::builder().name("prefixes").capacity(100).freshness(freshness).digest(|value| *value).build().unwrap();
    for at in 0..300 {
        let key = format!("{}:{}", ["price", "text", "user"][at % 3], at % 30);
        cache.get_with(&key, || async { Ok::<_, io::Error>(1) }).await.unwrap();
    }
    tokio::time::sleep(Duration::from_secs(2)).await;
    let report = cache.report().freshness;
    let [price] = &report.prefixes[..] else { panic!("{report:?}") };
    assert_eq!((price.prefix.as_str(), price.objective), ("price:", 0.1));
    assert!(price.measured.is_some() && price.recent.is_some(), "{price:?}");
    let series = series(&recorder.render(), "prefixes");
    let number = |name: &str, labels: &str| series.get(&format!("{name}{{cache=\"prefixes\"{labels}}}")).copied();
    let (own, all) = (r#",prefix="price:""#, "");
    assert_eq!(number("larder_stale_objective_ratio", own), Some(0.1));
    assert_eq!(number("larder_stale_objective_ratio", all), Some(0.01));
    for name in ["larder_stale_ratio", "larder_stale_upper_ratio", "larder_stale_recent_lower_ratio"] {
        assert!(number(name, own).is_some() && number(name, all).is_some(), "{name}: {series:?}");
    }
    assert_eq!(series.keys().filter(|name| name.contains("prefix=")).count(), 7);
}

#[tokio::test(start_paused = true)]
async fn a_capacity_in_bytes_is_in_bytes() {
    let recorder = recorder();
    let cache: Cache<u64, u64> = Cache::builder().name("bytes").capacity_bytes(1000, |_, _| 10).build().unwrap();
    cache.insert(1, 1).await.unwrap();
    tokio::time::sleep(Duration::from_secs(2)).await;
    let series = series(&recorder.render(), "bytes");
    assert_eq!(series[r#"larder_weight_bytes{cache="bytes"}"#], 10.0);
    assert_eq!(series[r#"larder_capacity_bytes{cache="bytes"}"#], 1000.0);
    assert!(!series.contains_key(r#"larder_capacity_entries{cache="bytes"}"#));
    assert!(
        !series
            .keys()
            .any(|name| name.starts_with("larder_stale") || name.contains("cost") || name.contains("cheapest"))
    );
}

#[tokio::test]
async fn entries_that_are_weighed_are_entries_still() {
    let cache: Cache<u64, u64> = Cache::builder().capacity(1000).weigh(|_, _| 10).build().unwrap();
    cache.insert(1, 1).await.unwrap();
    let report = cache.report();
    assert_eq!((report.is_in_bytes, report.weight, report.capacity), (false, 1, 1000));
}

/// A value that turns back and forth says nothing of when the origin changes, and is no part of the objective: that is to be seen.
#[tokio::test(start_paused = true)]
async fn keys_that_flip_are_told_by_class() {
    let (recorder, turns) = (recorder(), AtomicU32::new(0));
    let freshness = Freshness::stale_reads(0.01).unwrap();
    let cache: Cache<String, u64> =
        Cache::builder().name("flips").capacity(64).freshness(freshness).digest(|value| *value).build().unwrap();
    for _ in 0..400 {
        let value = 7 + u64::from(turns.fetch_add(1, Ordering::Relaxed) % 2);
        cache.refresh_with("feed:1", move || async move { Ok::<_, io::Error>(value) }).await.unwrap();
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    let flipping = cache.report().freshness.flipping;
    let [feed] = &flipping[..] else { panic!("{flipping:?}") };
    assert_eq!((feed.class.as_str(), feed.keys), ("feed", 1));
    let series = series(&recorder.render(), "flips");
    assert_eq!(series.get(r#"larder_flipping_keys{cache="flips",class="feed"}"#), Some(&1.0), "{series:?}");
}
