//! What a hit costs: the same reads of the same residents, each side in turn.

use std::convert::Infallible;
use std::hint::black_box;
use std::time::Duration;

use anyhow::{Result, ensure};
use larder_benches::{SEED, cpu_seconds, median};
use larder_moka::{Builder, Freshness, Held, Plugin, sync};
use larder_trace::{Options, Reader, open};

const KEYS: u64 = 100_000;
const READS: usize = 500_000;
const TTL: Duration = Duration::from_secs(3600);

/// Nanoseconds a hit.
pub(crate) struct Hits {
    pub(crate) name: &'static str,
    /// The median.
    pub(crate) nanoseconds: f64,
    /// What it is measured against, and the median of the rounds' ratios.
    pub(crate) beside: (&'static str, f64),
}

/// Reads keys, and says how many hit.
type Read = Box<dyn Fn(&[u64]) -> u64>;

struct Side {
    name: &'static str,
    /// The side it is measured against.
    base: usize,
    read: Read,
}

/// moka alone.
const GET: usize = 0;
const GET_WITH: usize = 1;

pub(crate) fn measure(rounds: usize) -> Result<Vec<Hits>> {
    let mut trace = open(format!("gen:zipf:keys={KEYS}/requests={READS}/seed={SEED}"), &Options::default())?;
    let mut requests = Vec::new();
    while trace.read(&mut requests, 1 << 16)? > 0 {}
    let keys: Vec<u64> = requests.iter().map(|request| request.key).collect();
    let sides = sides(&keys)?;
    let mut times = vec![Vec::new(); sides.len()];
    // The first round warms up.
    for round in 0..=rounds {
        for (Side { name, read, .. }, times) in sides.iter().zip(&mut times) {
            let start = cpu_seconds();
            let hits = read(&keys);
            let took = (cpu_seconds() - start) * 1e9 / keys.len() as f64;
            ensure!(hits == keys.len() as u64, "{name}: {hits} hits of {}", keys.len());
            if round > 0 {
                times.push(took);
            }
        }
    }
    let each = sides.iter().zip(&times).map(|(Side { name, base, .. }, own)| {
        let ratio = median(own.iter().zip(&times[*base]).map(|(own, base)| own / base).collect());
        Hits { name, nanoseconds: median(own.clone()), beside: (sides[*base].name, ratio) }
    });
    Ok(each.collect())
}

fn sides(keys: &[u64]) -> Result<Vec<Side>> {
    let moka = moka::sync::Cache::builder().max_capacity(2 * KEYS).time_to_live(TTL).build();
    keys.iter().for_each(|&key| moka.insert(key, key));
    moka.run_pending_tasks();
    let plain = moka.clone();
    let fixed = || Plugin::builder().freshness(Freshness::fixed_ttl(TTL));
    // No shorter than that, or some would not hit.
    let learned = || -> Result<Builder<u64, u64>> {
        let freshness = Freshness::stale_reads(0.01)?.min_ttl(TTL);
        Ok(Plugin::builder().freshness(freshness).digest(|value| *value))
    };
    let own = larder::Cache::builder().capacity(2 * KEYS).freshness(Freshness::fixed_ttl(TTL)).build()?;
    keys.iter().try_for_each(|&key| own.blocking().insert(key, key))?;
    let side = |name, base, read| Side { name, base, read };
    Ok(vec![
        side("moka, `get`", GET, Box::new(move |keys| count(keys, |key| plain.get(key)))),
        side(
            "moka, `try_get_with`",
            GET_WITH,
            Box::new(move |keys| count(keys, |key| moka.try_get_with_by_ref(key, || Ok::<_, Infallible>(0)).ok())),
        ),
        side("with larder: fixed lifetime, `get`", GET, get(fixed(), keys)?),
        side("with larder: fixed lifetime, `get_with`", GET_WITH, get_with(fixed(), keys)?),
        side(
            "with larder: fixed lifetime, admission, `get_with`",
            GET_WITH,
            get_with(fixed().admission("learned"), keys)?,
        ),
        side("with larder: learned lifetimes, `get_with`", GET_WITH, get_with(learned()?, keys)?),
        side(
            "with larder: learned lifetimes, admission, `get_with`",
            GET_WITH,
            get_with(learned()?.admission("learned"), keys)?,
        ),
        side("larder's own store, `local`", GET, Box::new(move |keys| count(keys, |key| own.local(key)))),
    ])
}

fn count(keys: &[u64], get: impl Fn(&u64) -> Option<u64>) -> u64 {
    keys.iter().map(|key| u64::from(black_box(get(black_box(key))).is_some())).sum()
}

fn attached(plugin: Builder<u64, u64>, keys: &[u64]) -> Result<sync::Cache<u64, u64>> {
    let plugin = plugin.seed(SEED).build()?;
    let moka =
        moka::sync::Cache::<u64, Held<u64>>::builder().max_capacity(2 * KEYS).expire_after(plugin.expiry()).build();
    let cache = sync::Cache::attach(moka, plugin);
    for &key in keys {
        cache.get_with(&key, move || Ok::<_, Infallible>(key))?;
    }
    cache.moka().run_pending_tasks();
    Ok(cache)
}

fn get(plugin: Builder<u64, u64>, keys: &[u64]) -> Result<Read> {
    let cache = attached(plugin, keys)?;
    Ok(Box::new(move |keys| count(keys, |key| cache.get(key))))
}

fn get_with(plugin: Builder<u64, u64>, keys: &[u64]) -> Result<Read> {
    let cache = attached(plugin, keys)?;
    Ok(Box::new(move |keys| {
        let before = cache.stats().counts;
        let found = count(keys, |&key| cache.get_with(&key, move || Ok::<_, Infallible>(key)).ok());
        // Audits are loads behind the reader's back; what was loaded before his eyes was no hit.
        found - (cache.stats().counts.misses - before.misses)
    }))
}
