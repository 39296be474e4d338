//! Hit ratios of a trace's reads: nothing is ever too old.

use std::convert::Infallible;
use std::time::Duration;

use anyhow::{Result, ensure};
use larder::Tier;
use larder_benches::SEED;
use larder_moka::{Clock, Freshness, Held, Plugin, sync};
use larder_policy::Time;
use moka::policy::EvictionPolicy;

use crate::traffic::Traffic;

/// Cache sizes, as shares of the distinct keys read.
pub(crate) const SHARES: &[f64] = &[0.01, 0.1];

const FOR_EVER: Duration = Duration::from_secs(100 * 365 * 24 * 3600);

/// One trace at one size.
pub(crate) struct Ratios {
    pub(crate) trace: String,
    pub(crate) objects: u64,
    /// Of the distinct keys read, as it came out: a small trace has a least size.
    pub(crate) share: f64,
    /// moka alone and with larder's admission, by moka's policy.
    pub(crate) tiny_lfu: [f64; 2],
    pub(crate) lru: [f64; 2],
    pub(crate) larder: f64,
}

pub(crate) async fn measure(traffic: &Traffic, share: f64) -> Result<Ratios> {
    let objects = traffic.objects(share);
    let both = |policy: fn() -> EvictionPolicy| -> Result<[f64; 2]> {
        Ok([alone(traffic, objects, policy())?, admitted(traffic, objects, policy())?])
    };
    Ok(Ratios {
        trace: traffic.name.clone(),
        objects,
        share: objects as f64 / traffic.keys as f64,
        tiny_lfu: both(EvictionPolicy::tiny_lfu)?,
        lru: both(EvictionPolicy::lru)?,
        larder: larder(traffic, objects).await?,
    })
}

fn alone(traffic: &Traffic, objects: u64, policy: EvictionPolicy) -> Result<f64> {
    let cache = moka::sync::Cache::builder().max_capacity(objects).eviction_policy(policy).build();
    let (mut reads, mut loads) = (0, 0);
    for request in traffic.reads() {
        reads += 1;
        let before = loads;
        cache.get_with(request.key, || loads += 1);
        if loads > before {
            settle(&cache, objects)?;
        }
    }
    Ok(1.0 - f64::from(loads) / f64::from(reads))
}

/// moka evicts in batches, and until then holds more than it was asked to: several times as much, where that is little.
fn settle<V: Clone + Send + Sync + 'static>(cache: &moka::sync::Cache<u64, V>, objects: u64) -> Result<()> {
    cache.run_pending_tasks();
    let held = cache.entry_count();
    ensure!(held <= objects, "moka holds {held} entries, not {objects}");
    Ok(())
}

fn admitted(traffic: &Traffic, objects: u64, policy: EvictionPolicy) -> Result<f64> {
    let clock = Clock::manual(Time(0));
    let plugin = Plugin::builder()
        .freshness(Freshness::fixed_ttl(FOR_EVER))
        .admission("learned")
        .clock(clock.clone())
        .seed(SEED)
        .build()?;
    let moka = moka::sync::Cache::<u64, Held<()>>::builder()
        .max_capacity(objects)
        .eviction_policy(policy)
        .expire_after(plugin.expiry())
        .build();
    let cache = sync::Cache::attach(moka, plugin);
    for request in traffic.reads() {
        clock.advance(request.at.since(clock.now()));
        let found = cache.find_with(&request.key, || Ok::<_, Infallible>(()))?;
        if found.tier == Tier::Origin {
            settle(cache.moka(), objects)?;
        }
    }
    Ok(cache.stats().counts.hit_ratio())
}

async fn larder(traffic: &Traffic, objects: u64) -> Result<f64> {
    let clock = Clock::manual(Time(0));
    let cache = larder::Cache::builder()
        .capacity(objects)
        .segments(1)
        .freshness(Freshness::fixed_ttl(FOR_EVER))
        .clock(clock.clone())
        .seed(SEED)
        .build()?;
    for request in traffic.reads() {
        clock.advance(request.at.since(clock.now()));
        cache.get_with(&request.key, async || Ok::<_, Infallible>(())).await?;
    }
    Ok(cache.stats().counts.hit_ratio())
}
