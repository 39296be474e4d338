//! Loads that a share of stale answers costs, on a trace that tells when the origin's values changed. The caches hold every key and
//! are told of no change, so lifetimes alone decide.

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Result;
use larder::StaleRate;
use larder_benches::SEED;
use larder_moka::{Clock, Freshness, Held, Plugin, future};
use larder_policy::{Op, Time};

use crate::traffic::Traffic;

/// The share of stale reads that larder is asked for.
pub(crate) const OBJECTIVE: f64 = 0.05;

/// What came of one replay.
#[derive(Clone, Debug)]
pub(crate) struct Outcome {
    pub(crate) reads: u64,
    pub(crate) stale: u64,
    pub(crate) loads: u64,
    pub(crate) measured: Option<StaleRate>,
}

impl Outcome {
    pub(crate) fn rate(&self) -> f64 {
        self.stale as f64 / self.reads as f64
    }
}

/// One trace.
pub(crate) struct Fresh {
    pub(crate) trace: String,
    pub(crate) plugin: Outcome,
    pub(crate) larder: Outcome,
    /// moka with the one lifetime that comes to as many stale reads as the plug-in's, and that lifetime.
    pub(crate) moka: (Duration, Outcome),
}

pub(crate) async fn measure(traffic: &Traffic) -> Result<Fresh> {
    let learned = Freshness::stale_reads(OBJECTIVE)?;
    let plugin = plugged(traffic, learned.clone()).await?;
    let larder = own(traffic, learned).await?;
    let moka = equally_stale(traffic, plugin.rate()).await?;
    Ok(Fresh { trace: traffic.name.clone(), plugin, larder, moka })
}

/// The longest of the lifetimes tried, by halving, that is no staler than `rate`.
async fn equally_stale(traffic: &Traffic, rate: f64) -> Result<(Duration, Outcome)> {
    let (mut low, mut high) = (1.0f64, 7.0 * 24.0 * 3600.0);
    let mut best = None;
    for _ in 0..12 {
        let middle = (low * high).sqrt();
        let ttl = Duration::from_secs_f64(middle);
        let outcome = plugged(traffic, Freshness::fixed_ttl(ttl)).await?;
        if outcome.rate() <= rate {
            low = middle;
            best = Some((ttl, outcome));
        } else {
            high = middle;
        }
    }
    match best {
        Some(best) => Ok(best),
        None => {
            let ttl = Duration::from_secs_f64(low);
            Ok((ttl, plugged(traffic, Freshness::fixed_ttl(ttl)).await?))
        }
    }
}

/// moka by the trace's clock: its own cannot be set.
async fn plugged(traffic: &Traffic, freshness: Freshness) -> Result<Outcome> {
    let clock = Clock::manual(Time(0));
    let plugin = Plugin::builder()
        .freshness(freshness)
        .digest(|version: &u64| *version)
        .jitter(0.0)
        .clock(clock.clone())
        .seed(SEED)
        .build()?;
    let moka = moka::future::Cache::<u64, Held<u64>>::builder().expire_after(plugin.expiry()).build();
    let cache = future::Cache::attach(moka, plugin);
    let mut outcome = replay(traffic, &clock, |key, origin: Origin| {
        let cache = cache.clone();
        async move { cache.get_with(&key, move || async move { Ok::<_, Infallible>(origin.version(key)) }).await }
    })
    .await?;
    let stats = cache.stats();
    (outcome.loads, outcome.measured) = (stats.counts.loads, stats.stale_rate);
    Ok(outcome)
}

async fn own(traffic: &Traffic, freshness: Freshness) -> Result<Outcome> {
    let clock = Clock::manual(Time(0));
    let cache = larder::Cache::builder()
        .capacity(2 * traffic.keys as u64)
        .segments(1)
        .freshness(freshness)
        .digest(|version: &u64| *version)
        .clock(clock.clone())
        .seed(SEED)
        .build()?;
    let mut outcome = replay(traffic, &clock, |key, origin: Origin| {
        let cache = cache.clone();
        async move { cache.get_with(&key, move || async move { Ok::<_, Infallible>(origin.version(key)) }).await }
    })
    .await?;
    let stats = cache.stats();
    (outcome.loads, outcome.measured) = (stats.counts.loads, stats.stale_rate);
    Ok(outcome)
}

/// The origin: how often each value has changed so far.
#[derive(Clone, Default)]
struct Origin(Arc<Mutex<HashMap<u64, u64>>>);

impl Origin {
    fn version(&self, key: u64) -> u64 {
        let versions = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        versions.get(&key).copied().unwrap_or(0)
    }

    fn change(&self, key: u64) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner).entry(key).or_insert(0) += 1;
    }
}

async fn replay<F: Future<Output = Result<u64, larder::Error>>>(
    traffic: &Traffic,
    clock: &Clock,
    read: impl Fn(u64, Origin) -> F,
) -> Result<Outcome> {
    let origin = Origin::default();
    let mut outcome = Outcome { reads: 0, stale: 0, loads: 0, measured: None };
    for request in &traffic.requests {
        clock.advance(request.at.since(clock.now()));
        if request.op != Op::Get {
            origin.change(request.key);
            continue;
        }
        outcome.reads += 1;
        outcome.stale += u64::from(read(request.key, origin.clone()).await? != origin.version(request.key));
        // What runs in the background runs now: its loads take no time of the trace.
        tokio::task::yield_now().await;
    }
    Ok(outcome)
}
