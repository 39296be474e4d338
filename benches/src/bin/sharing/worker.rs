//! One instance of the service, in a process of its own.

use std::collections::HashSet;
use std::convert::Infallible;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use larder::{Cache, Control, Sharing};
use larder_policy::KeyHash;
use larder_redis::{RedisConfig, RedisStore};
use larder_trace::{Options, Reader, open};
use serde::{Deserialize, Serialize};
use tokio::runtime::Handle;
use tokio::time::{Instant, sleep};

use crate::INSTANCES;

/// Of the distinct keys, so many fit.
pub(crate) const SHARE: f64 = 0.05;
/// Of the requests, so many come before the fresh instance does.
pub(crate) const BEFORE: f64 = 0.75;
/// The first requests of an instance whose hit ratio is told, as multiples of what it holds.
pub(crate) const FIRST: [u64; 2] = [2, 5];
/// Requests between two breaths, in which the task that shares gets its turn.
const BREATH: usize = 500;
const SHARING: Sharing = Sharing {
    look: Duration::from_millis(50),
    publish: Duration::from_millis(100),
    lease: Duration::from_millis(1000),
};
/// How long a fresh instance waits for a model. Where guards preferred LRU, nobody has published one.
const PATIENCE: Duration = Duration::from_secs(2);

/// What an instance is to do.
#[derive(Deserialize, Serialize)]
pub(crate) struct Task {
    pub(crate) path: PathBuf,
    pub(crate) requests: usize,
    pub(crate) capacity: u64,
    /// Which of the three; none for the fresh one.
    pub(crate) part: Option<u64>,
    /// Where what was learned is shared.
    pub(crate) redis: Option<String>,
    pub(crate) namespace: String,
    pub(crate) seed: u64,
}

/// What came of it.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Outcome {
    /// The hit ratio of the first requests, of [`FIRST`] each.
    pub(crate) first: Vec<f64>,
    /// Of all.
    pub(crate) hit_ratio: f64,
    pub(crate) reads: usize,
    pub(crate) published: u64,
    pub(crate) adopted: u64,
}

fn keys(path: &Path, most: usize) -> Result<Vec<u64>> {
    let mut trace = open(path, &Options::default())
        .with_context(|| format!("opening {}: give the folder of traces with --traces", path.display()))?;
    let mut all = Vec::new();
    while all.len() < most && trace.read(&mut all, 1 << 14)? > 0 {}
    all.truncate(most);
    Ok(all.into_iter().map(|request| request.key).collect())
}

/// What an instance holds.
pub(crate) fn capacity(path: &Path, requests: usize) -> Result<u64> {
    let distinct: HashSet<u64> = keys(path, requests)?.into_iter().collect();
    Ok(((distinct.len() as f64 * SHARE) as u64).max(64))
}

/// Serves the task's part of the trace and prints what came of it.
pub(crate) fn work(task: &Task) -> Result<()> {
    let all = keys(&task.path, task.requests)?;
    let (before, after) = all.split_at((all.len() as f64 * BEFORE) as usize);
    // As a load balancer does it that knows no keys.
    let own = |part: u64| move |at: &(usize, &u64)| KeyHash::mix(at.0 as u64).0 % INSTANCES == part;
    let reads: Vec<u64> = match task.part {
        Some(part) => before.iter().enumerate().filter(own(part)).map(|(_, key)| *key).collect(),
        None => after.iter().enumerate().filter(own(0)).map(|(_, key)| *key).collect(),
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let outcome = runtime.block_on(serve(task, &reads))?;
    println!("{}", serde_json::to_string(&outcome)?);
    Ok(())
}

async fn serve(task: &Task, reads: &[u64]) -> Result<Outcome> {
    let builder = Cache::<u64, ()>::builder().name(&task.namespace).capacity(task.capacity).segments(1);
    let mut builder = builder.control(Control::none()).seed(task.seed);
    if let Some(redis) = &task.redis {
        let store = Arc::new(RedisStore::new(RedisConfig::single(redis)?, &Handle::current())?);
        builder = builder.share_models(store).sharing(SHARING);
    }
    let cache = builder.build()?;
    let sharing = || cache.report().sharing.unwrap_or_default();
    if task.part.is_none() && task.redis.is_some() {
        let until = Instant::now() + PATIENCE;
        while sharing().adopted == 0 {
            if Instant::now() > until {
                break;
            }
            sleep(SHARING.look).await;
        }
    }
    let mut first = Vec::new();
    for (at, key) in reads.iter().enumerate() {
        if FIRST.contains(&(at as u64 / task.capacity)) && (at as u64).is_multiple_of(task.capacity) {
            first.push(cache.stats().counts.hit_ratio());
        }
        if at % BREATH == 0 {
            sleep(Duration::from_millis(1)).await;
        }
        cache.get_with(key, async || Ok::<_, Infallible>(())).await?;
    }
    let hit_ratio = cache.stats().counts.hit_ratio();
    first.resize(FIRST.len(), hit_ratio);
    if task.redis.is_some() && task.part.is_some() {
        // For the last word of the one that publishes.
        sleep(SHARING.publish * 3).await;
    }
    let larder::report::SharingReport { published, adopted, .. } = sharing();
    Ok(Outcome { first, hit_ratio, reads: reads.len(), published, adopted })
}
