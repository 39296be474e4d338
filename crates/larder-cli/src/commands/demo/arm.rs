//! One way of caching, with all it needs to itself: two processes' memories, a second tier they share, and what came of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use larder::remote::TierConfig;
use larder::{Cache, Counts, Dashboard, Freshness, Prices, Rules, StaleRate, Tier, codec};

use super::origin::{Item, Origin};
use super::second::SecondTier;
use super::traffic::Row;
use crate::demo_args::DemoArgs;
use crate::failure::Failure;

/// Processes that share a second tier.
pub(super) const PROCESSES: usize = 2;
/// What the page counts with: an example. A row takes about so many bytes.
const PRICES: Prices = Prices { gib_hour: 0.005, load: 0.40 / 1e6, entry_bytes: 300 };
/// Latencies are kept in nanoseconds, up to a minute, with two digits.
const LONGEST_NANOS: u64 = 60_000_000_000;

/// What an arm does with rows: who is kept, and for how long.
#[derive(Clone, Debug)]
pub(super) struct Way {
    /// For people.
    pub(super) name: String,
    pub(super) policy: &'static str,
    pub(super) rules: Rules,
}

impl Way {
    /// What this project is about.
    pub(super) fn larder(objective: f64) -> Result<Self, Failure> {
        let freshness = Freshness::stale_reads(objective).map_err(|error| Failure::Usage(error.to_string()))?;
        let rules = Rules { freshness, ..Rules::default() };
        Ok(Self { name: "larder".into(), policy: "learned", rules })
    }

    /// LRU, and one lifetime for all, to the letter.
    pub(super) fn one_ttl(name: &str, ttl: Duration) -> Self {
        let rules = Rules { freshness: Freshness::fixed_ttl(ttl), jitter: 0.0, ..Rules::default() };
        Self { name: name.into(), policy: "lru", rules }
    }

    /// The lifetime of everything, if there is one.
    pub(super) fn ttl(&self) -> Option<Duration> {
        self.rules.freshness.fixed()
    }
}

/// An arm at work.
pub(super) struct Arm {
    pub(super) way: Way,
    processes: [Cache<Arc<str>, Item>; PROCESSES],
    /// Rows asked of the origin, whatever for.
    loads: Arc<AtomicU64>,
    reads: AtomicU64,
    stale: AtomicU64,
    errors: AtomicU64,
}

impl Arm {
    /// Builds the caches; call it in a tokio runtime.
    pub(super) fn new(
        way: Way,
        origin: &Arc<Origin>,
        second: &mut SecondTier,
        options: &DemoArgs,
    ) -> Result<Self, Failure> {
        let stores = second.stores(&way.name)?;
        let loads = Arc::new(AtomicU64::new(0));
        let process = |at: usize| {
            let (origin, loads) = (origin.clone(), loads.clone());
            Cache::builder()
                .name(format!("{}-{}", way.name, at + 1))
                .namespace(second.namespace(&way.name))
                .capacity(options.capacity.get())
                .policy(way.policy)
                .prices(PRICES)
                .rules(way.rules.clone())
                .remote(stores[at].clone(), codec::MessagePack)
                .tier(TierConfig { longest: second.keeps_for(), ..TierConfig::default() })
                .loader(move |key: Arc<str>| {
                    let (origin, loads) = (origin.clone(), loads.clone());
                    async move {
                        // Here and not before: a load that the second tier makes needless is never polled.
                        loads.fetch_add(1, Ordering::Relaxed);
                        origin.load(key).await
                    }
                })
                .seed(options.seed.wrapping_add(at as u64))
                .build()
        };
        let processes = [process(0)?, process(1)?];
        let zero = || AtomicU64::new(0);
        Ok(Self { way, processes, loads, reads: zero(), stale: zero(), errors: zero() })
    }

    /// Puts its processes on a page.
    pub(super) fn show(&self, page: &Dashboard) -> Result<(), larder::Error> {
        self.processes.iter().try_for_each(|process| page.add(process))
    }

    /// Reads a row in one of the processes and notes how that went.
    pub(super) async fn read(
        &self,
        process: usize,
        key: &Arc<str>,
        row: Row,
        origin: &Origin,
        latencies: &mut Latencies,
    ) {
        let truth = origin.version(row);
        let began = Instant::now();
        let answer = self.processes[process % PROCESSES].load(key).await;
        let took = began.elapsed();
        self.reads.fetch_add(1, Ordering::Relaxed);
        match answer {
            Ok(found) => {
                self.stale.fetch_add(u64::from(found.value.version < truth), Ordering::Relaxed);
                latencies.add(found.tier, took);
            }
            Err(error) => {
                tracing::debug!(%error, "a read failed");
                self.errors.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    /// How it goes, for a line of progress.
    pub(super) fn so_far(&self) -> SoFar {
        let of = |number: &AtomicU64| number.load(Ordering::Relaxed);
        SoFar { reads: of(&self.reads), stale: of(&self.stale), errors: of(&self.errors), loads: of(&self.loads) }
    }

    /// What the engines of the processes measured together.
    pub(super) fn measured(&self) -> Option<StaleRate> {
        let parts: Vec<_> = self.stats().filter_map(|stats| stats.stale_rate).collect();
        StaleRate::pooled(&parts)
    }

    /// What the processes counted together.
    pub(super) fn counts(&self) -> Counts {
        self.stats().fold(Counts::default(), |mut sum, stats| {
            sum += stats.counts;
            sum
        })
    }

    fn stats(&self) -> impl Iterator<Item = larder::Stats> {
        self.processes.iter().map(Cache::stats)
    }
}

/// What an arm has done until now.
#[derive(Clone, Copy, Debug)]
pub(super) struct SoFar {
    pub(super) reads: u64,
    pub(super) stale: u64,
    pub(super) errors: u64,
    pub(super) loads: u64,
}

impl SoFar {
    pub(super) fn stale_share(&self) -> f64 {
        if self.reads == 0 { 0.0 } else { self.stale as f64 / self.reads as f64 }
    }
}

/// How long answers took, by where they came from.
pub(super) struct Latencies([Histogram<u64>; TIERS.len()]);

/// Tiers from the nearest to the farthest.
const TIERS: [Tier; 3] = [Tier::Local, Tier::Remote, Tier::Origin];

impl Latencies {
    pub(super) fn new() -> Result<Self, Failure> {
        let one = || {
            Histogram::new_with_max(LONGEST_NANOS, 2).map_err(|error| Failure::Failed(format!("latencies: {error}")))
        };
        Ok(Self([one()?, one()?, one()?]))
    }

    fn add(&mut self, tier: Tier, took: Duration) {
        if let Some(at) = TIERS.iter().position(|known| *known == tier) {
            self.0[at].saturating_record(took.as_nanos() as u64);
        }
    }

    pub(super) fn merge(&mut self, other: &Self) -> Result<(), Failure> {
        for (own, other) in self.0.iter_mut().zip(&other.0) {
            own.add(other).map_err(|error| Failure::Failed(format!("latencies: {error}")))?;
        }
        Ok(())
    }

    /// Of each tier, in the order of [`TIERS`].
    pub(super) fn tiers(&self) -> [&Histogram<u64>; TIERS.len()] {
        self.0.each_ref()
    }

    /// Of all tiers together.
    pub(super) fn all(&self) -> Result<Histogram<u64>, Failure> {
        let mut all = self.0[0].clone();
        for other in &self.0[1..] {
            all.add(other).map_err(|error| Failure::Failed(format!("latencies: {error}")))?;
        }
        Ok(all)
    }
}
