//! Row 28: I6. A service at work for a long time, with everything on and something breaking now and then: memory stays flat, every queue
//! within its bound, and metrics that nobody scrapes do not pile up. Twenty seconds; with `LARDER_SOAK=1` an hour, with
//! `LARDER_SOAK=SECONDS` so long.
#![cfg(all(feature = "metrics", target_os = "linux"))]
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use std::alloc::System;
use std::collections::HashMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use cap::Cap;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use larder::behind::{self, Behind, Sink, Write};
use larder::recorder::{self, Recorder};
use larder::remote::{BreakerConfig, TierConfig};
use larder::{Cache, Error, ErrorKind, Fetched, Freshness, Options, Rules, codec};
use larder_redis::{RedisConfig, RedisStore};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use support::eventually;
use support::proxy::{Accident, Proxy, Way};
use support::server::Server;
use support::trend::{self, Trend};
use tokio::runtime::Handle;
use tokio::time::{Instant, sleep};

const SEED: u64 = 28;
const CAPACITY: u64 = 2_000;
const KEYS: f64 = 50_000.0;
const CLIENTS: u64 = 8;
/// What an allocator keeps beside what is in use, at most: so much more resident memory than when it was warm, and a twentieth.
const SLACK: u64 = 8 << 20;
/// Parts of the time whose least memory is looked at, and how many standard errors a slope has to have to be told.
const WHILES: usize = 40;
const SURE: f64 = 4.0;
const MIB: f64 = (1 << 20) as f64;
const KIB: f64 = 1024.0;

/// What is allocated and not freed, to the byte.
#[global_allocator]
static MEMORY: Cap<System> = Cap::new(System, usize::MAX);

/// How long, and how many requests a second of each client: the short form has to see as many as a leak needs to show.
fn plan() -> (Duration, u64) {
    match std::env::var("LARDER_SOAK").ok().filter(|soak| !soak.is_empty()) {
        None => (Duration::from_secs(20), 250),
        Some(soak) if soak == "1" => (Duration::from_secs(3600), 25),
        Some(soak) => (Duration::from_secs(soak.parse().expect("LARDER_SOAK is 1 or a number of seconds")), 25),
    }
}

/// An origin of values of up to 2 kB that sometimes fails and does not have everything, and takes what is written, unless it is down.
#[derive(Default)]
struct Origin {
    written: AtomicU64,
    is_down: AtomicBool,
}

impl Origin {
    async fn load(self: Arc<Self>, key: u64) -> Result<Fetched<String>, Error> {
        sleep(Duration::from_millis(2)).await;
        match fastrand::u32(..100) {
            0 => Err(Error::new(ErrorKind::Loader, "the origin's own")),
            1..=3 => Ok(Fetched::absent()),
            _ => Ok(Fetched::from(value(key)).with(options(key))),
        }
    }
}

impl Sink for Origin {
    fn write<'a>(&'a self, batch: &'a [Write]) -> BoxFuture<'a, Result<(), Error>> {
        async move {
            if self.is_down.load(Relaxed) {
                return Err(Error::new(ErrorKind::Sink, "down"));
            }
            self.written.fetch_add(batch.len() as u64, Relaxed);
            Ok(())
        }
        .boxed()
    }
}

fn value(key: u64) -> String {
    format!("{key}={}", "x".repeat(100 + (key % 19) as usize * 100))
}

fn options(key: u64) -> Options {
    let options = Options::new().tag(format!("group:{}", key % 100)).tag("all");
    if key.is_multiple_of(3) { options.ttl(Duration::from_secs(1 + key % 20)) } else { options }
}

/// One of two processes: memory and a link of its own, a log of what it writes, a recording of what it sees.
struct Process {
    cache: Cache<u64, String>,
    store: Arc<RedisStore>,
    proxy: Proxy,
    log: Behind,
    recorder: Arc<Recorder>,
}

fn tier() -> TierConfig {
    let breaker = BreakerConfig { longest_rest: Duration::from_secs(1), ..BreakerConfig::default() };
    TierConfig { queue: 500, queue_bytes: 1 << 20, pending: 500, in_flight: 32, breaker, ..TierConfig::default() }
}

fn log() -> behind::Options {
    behind::Options { segment_bytes: 1 << 20, max_pending_writes: 2_000, ..behind::Options::default() }
}

impl Process {
    async fn start(name: &str, server: &Server, folder: &Path, origin: Arc<Origin>) -> Self {
        let proxy = Proxy::before(server.address()).await;
        let config = RedisConfig::single(&proxy.url()).unwrap().metrics(name, Duration::from_secs(1));
        let store = Arc::new(RedisStore::new(config, &Handle::current()).unwrap());
        let log = Behind::open(folder.join(name), log(), origin).await.unwrap();
        let recording = recorder::Options { max_bytes: 16 << 20, ..recorder::Options::default() };
        let recorder = Recorder::create(folder.join(format!("{name}.csv.zst")), recording).unwrap();
        let recorder = Arc::new(recorder);
        let freshness = Freshness::stale_reads(0.05).unwrap().max_ttl(Duration::from_secs(60));
        let cache = Cache::builder()
            .name(name)
            .namespace("soak")
            .capacity(CAPACITY)
            .rules(Rules { stale_if_error: Duration::from_secs(60), ..Rules::default() })
            .freshness(freshness)
            .digest_by_hash()
            .lease(Duration::from_millis(100))
            .tier(tier())
            .remote(store.clone(), codec::Plain)
            .write_behind(log.clone())
            .recorder(recorder.clone())
            .build()
            .unwrap();
        Self { cache, store, proxy, log, recorder }
    }

    /// What one request does.
    async fn serve(&self, origin: &Arc<Origin>, rng: &mut fastrand::Rng) -> Result<(), Error> {
        // Few are read often, many seldom, and there are always new ones.
        let key = (rng.f64().powi(4) * KEYS) as u64 + if rng.u32(..10) == 0 { rng.u64(..1 << 40) } else { 0 };
        match rng.u32(..1_000) {
            0..50 => self.cache.put_with(key, value(key), options(key)).await,
            50..60 => self.cache.delete(&key).await,
            60..80 => self.cache.changed(&key).await,
            80..84 => self.cache.remove_tag(&format!("group:{}", key % 100)).await,
            84..88 => self.cache.remove_tag(&format!("order:{}", rng.u64(..))).await,
            88 if rng.u32(..50) == 0 => self.cache.clear().await,
            89 => {
                self.cache.resize(CAPACITY - rng.u64(..CAPACITY / 4));
                Ok(())
            }
            90..100 => {
                let load = |keys: Vec<u64>| async move {
                    Ok::<_, Error>(keys.into_iter().map(|key| (key, value(key))).collect::<HashMap<_, _>>())
                };
                let found = self.cache.get_many_with(key..key + 20, load).await?;
                found.iter().for_each(|(key, found)| assert!(found.starts_with(&format!("{key}="))));
                Ok(())
            }
            _ => {
                let origin = origin.clone();
                let found = self.cache.get_with(&key, move || origin.load(key)).await?;
                assert!(found.starts_with(&format!("{key}=")), "another key's value (I1)");
                Ok(())
            }
        }
    }

    /// Nothing that waits is more than it may be.
    fn check(&self) {
        let (tier, state, stats) = (tier(), self.cache.remote().unwrap().state(), self.cache.stats());
        // What is under way beside what waits is one batch.
        assert!(state.queued <= tier.queue + 512 && state.pending <= tier.pending + CLIENTS as usize, "{state:?}");
        assert!(state.in_flight <= tier.in_flight, "{state:?}");
        assert!(stats.entries as u64 <= CAPACITY && stats.metadata_bytes < 4 << 20, "{stats:?}");
        let behind = self.log.stats();
        assert!(behind.pending_writes <= log().max_pending_writes as u64 && behind.lost == 0, "{behind:?}");
        let recorded = self.recorder.recorded();
        assert!(recorded.bytes <= 16 << 20 && !recorded.has_failed, "{recorded:?}");
    }
}

/// Something breaks, and is mended after a while.
async fn break_something(server: &mut Server, processes: &[Process; 2], origin: &Origin, rng: &mut fastrand::Rng) {
    let proxy = &processes[rng.usize(..2)].proxy;
    let a_while = Duration::from_millis(rng.u64(100..1_500));
    match rng.u32(..9) {
        0 => proxy.reset_all(),
        1 => proxy.silence_all(),
        2 => proxy.accident(Accident::Garbage),
        3 => proxy.accident(Accident::Duplicate),
        4 => drop(server.tell::<()>(&["CLIENT", "KILL", "TYPE", "pubsub"])),
        5 => drop(server.tell::<()>(&["FLUSHALL"])),
        6 => {
            server.kill();
            sleep(a_while).await;
            server.run();
        }
        7 => {
            proxy.set(Way { loss: 0.3, delay: Duration::from_millis(20), ..Way::default() });
            sleep(a_while).await;
            proxy.set(Way::default());
        }
        _ => {
            origin.is_down.store(true, Relaxed);
            sleep(a_while).await;
            origin.is_down.store(false, Relaxed);
        }
    }
}

fn install_a_recorder_that_nobody_scrapes() -> PrometheusHandle {
    let mut builder = PrometheusBuilder::new().with_recommended_naming(true);
    for catalogue in [larder::metrics::CATALOGUE, larder_redis::metrics::CATALOGUE] {
        for metric in catalogue.iter().filter(|metric| !metric.kind.bounds().is_empty()) {
            builder = builder.set_buckets_for_metric(Matcher::Full(metric.name.into()), &metric.kind.bounds()).unwrap();
        }
    }
    builder.install_recorder().unwrap()
}

/// Of `/proc/self/status`, in bytes.
fn resident() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() << 10
}

/// Seconds of processor time this process has used, in hundredths as Linux counts them.
fn processor_seconds() -> f64 {
    let stat = fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<u64> =
        stat.rsplit_once(')').unwrap().1.split_whitespace().skip(11).take(2).map(|n| n.parse().unwrap()).collect();
    fields.iter().sum::<u64>() as f64 / 100.0
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn row_28_memory_stays_flat() {
    need_redis!();
    let (length, rate) = plan();
    let metrics = install_a_recorder_that_nobody_scrapes();
    let (folder, origin) = (tempfile::tempdir().unwrap(), Arc::new(Origin::default()));
    let mut server = Server::start(&["--maxmemory", "16mb", "--maxmemory-policy", "allkeys-lru"]);
    let mut processes = Vec::new();
    for name in ["one", "two"] {
        processes.push(Process::start(name, &server, folder.path(), origin.clone()).await);
    }
    let processes: Arc<[Process; 2]> = Arc::new(processes.try_into().ok().unwrap());
    let (start, end) = (Instant::now(), Instant::now() + length);
    let (requests, failed) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let clients: Vec<_> = (0..CLIENTS)
        .map(|client| {
            let (processes, origin) = (processes.clone(), origin.clone());
            let (requests, failed) = (requests.clone(), failed.clone());
            let mut rng = fastrand::Rng::with_seed(SEED + client);
            tokio::spawn(async move {
                while Instant::now() < end {
                    let outcome = processes[client as usize % 2].serve(&origin, &mut rng).await;
                    requests.fetch_add(1, Relaxed);
                    if let Err(error) = outcome {
                        let own = [ErrorKind::Loader, ErrorKind::NotFound, ErrorKind::Overloaded];
                        assert!(own.contains(&error.kind()), "a fault of the tier reached a reader (I2): {error:?}");
                        failed.fetch_add(1, Relaxed);
                    }
                    sleep(Duration::from_millis(1_000 / rate)).await;
                }
            })
        })
        .collect();

    let mut rng = fastrand::Rng::with_seed(SEED);
    let every = (length / 100).clamp(Duration::from_millis(500), Duration::from_secs(20));
    let mut samples: Vec<(Duration, u64)> = Vec::with_capacity(length.as_secs() as usize * 5);
    // With its room from the start: it is no growth of the cache's.
    let mut live: Vec<(f64, f64)> = Vec::with_capacity(length.as_secs() as usize * 5);
    let (mut faults, mut next_fault) = (0, start + every);
    while Instant::now() < end {
        assert!(clients.iter().all(|client| !client.is_finished()), "a client has failed");
        if Instant::now() >= next_fault {
            break_something(&mut server, &processes, &origin, &mut rng).await;
            (faults, next_fault) = (faults + 1, Instant::now() + every);
        }
        processes.iter().for_each(Process::check);
        samples.push((start.elapsed(), resident()));
        live.push((start.elapsed().as_secs_f64() / 3600.0, MEMORY.allocated() as f64));
        // Exporters do so every few seconds, scraped or not.
        metrics.run_upkeep();
        sleep(Duration::from_millis(250)).await;
    }
    for client in clients {
        client.await.unwrap();
    }

    // Well again, and nothing is left behind.
    eventually("both are connected", Duration::from_secs(15), async || {
        processes.iter().all(|process| process.store.state().connected && process.store.state().listening)
    })
    .await;
    for process in &*processes {
        process.cache.validate();
        assert!(process.cache.close(Duration::from_secs(10)).await, "what was queued is sent");
        let log: u64 = fs::read_dir(folder.path().join(process.cache.name()))
            .unwrap()
            .map(|file| file.unwrap().metadata().unwrap().len())
            .sum();
        assert!(log <= 2 << 20, "{log} bytes of a log whose writes the sink has");
    }
    let scrape = metrics.render();
    let series = scrape.lines().filter(|line| !line.starts_with('#') && !line.contains("_bucket{")).count();
    assert!((100..400).contains(&series), "{series} series");
    assert!(!scrape.contains("group:") && !scrape.contains("order:") && !scrape.contains("soak:"), "keys in labels");

    let most = |from: f64, to: f64| {
        let within = samples.iter().filter(|(at, _)| (from..to).contains(&at.div_duration_f64(length)));
        within.map(|(_, bytes)| *bytes).max().unwrap()
    };
    let (warm, last) = (most(1.0 / 12.0, 1.0 / 4.0), most(5.0 / 6.0, 1.1));
    let at = |share: f64| {
        let (at, bytes) = samples.iter().min_by_key(|(at, _)| at.abs_diff(length.mul_f64(share))).unwrap();
        format!("{} s: {:.1} MiB", at.as_secs(), *bytes as f64 / MIB)
    };
    // From when it is warm on.
    live.retain(|(at, _)| *at * 3600.0 >= length.as_secs_f64() / 4.0);
    let trend = trend::of_minima(&live, WHILES);
    println!(
        "seed {SEED}, {} s, {} requests, {} of them failed by the origin, {faults} faults, {series} series, {:.1} % of a processor; resident \
         memory after {}; most when warm {:.1} MiB, most at the end {:.1} MiB; allocated at the end {:.1} MiB, \
         a trend of {:+.0} ± {:.0} KiB an hour",
        length.as_secs(),
        requests.load(Relaxed),
        failed.load(Relaxed),
        100.0 * processor_seconds() / start.elapsed().as_secs_f64(),
        [1.0 / 12.0, 0.25, 0.5, 1.0].map(at).join(", after "),
        warm as f64 / MIB,
        last as f64 / MIB,
        live[live.len() - 1].1 / MIB,
        trend.slope / KIB,
        SURE * trend.error / KIB,
    );
    assert!(
        origin.written.load(Relaxed) > 0 && processes.iter().all(|process| process.recorder.recorded().written > 0)
    );
    // A short form is still warming up.
    if length >= Duration::from_secs(600) {
        assert!(trend.slope <= SURE * trend.error, "what is allocated grows: {trend:?} bytes an hour");
    }
    assert!(last <= warm + warm / 20 + SLACK, "memory grew from {warm} to {last} bytes: {samples:?}");
}

/// What the trend is worth: half an hour of memory that comes and goes, without a leak and with one of half a MiB an hour.
#[test]
fn a_small_leak_is_told_from_what_comes_and_goes() {
    for (leak, seed) in [(0.0, 1), (0.0, 2), (0.5 * MIB, 3), (0.5 * MIB, 4)] {
        let mut rng = fastrand::Rng::with_seed(seed);
        let sample = |at: u32| {
            let hours = f64::from(at) / 4.0 / 3600.0;
            // Requests under way, a queue during each fault, and parts of a cache that breathes.
            let fault = if at % 80 < 8 { rng.f64() * 2.0 * MIB } else { 0.0 };
            let breath = 200.0 * KIB * (f64::from(at) / 50.0).sin();
            (hours, 14.0 * MIB + leak * hours + fault + breath + rng.f64() * 300.0 * KIB)
        };
        let samples: Vec<_> = (0..7200).map(sample).collect();
        let Trend { slope, error } = trend::of_minima(&samples, WHILES);
        assert_eq!(slope > SURE * error, leak > 0.0, "{leak} an hour: {slope} ± {error}");
    }
}
