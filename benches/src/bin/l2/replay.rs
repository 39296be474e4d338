//! One way to run a full Redis, one size, one part of a trace.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use larder::remote::envelope::{Envelope, Fence, Form, Kind};
use larder::remote::{Item, RemoteStore};
use larder_benches::SEED;
use larder_policy::KeyHash;
use larder_redis::{RedisConfig, RedisStore, Steering};
use redis::aio::MultiplexedConnection;
use tokio::runtime::Handle;
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::traffic::{Key, Traffic};
use crate::ways::{Advice, Adviser, LONG, Way};
use larder_benches::server::{Counted, Server};

/// Requests under way at any time, of all clients together.
const CALLERS: usize = 4;
const PATIENCE: Duration = Duration::from_secs(20);

/// What stores and servers there are.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scene {
    pub(crate) clients: usize,
    /// One alone, or of a cluster.
    pub(crate) primaries: usize,
}

/// What came of it; of several runs, the mean.
#[derive(Clone, Debug)]
pub(crate) struct Outcome {
    /// A share of the requests.
    pub(crate) hits: f64,
    /// Between the runs with most and with fewest hits, as a share of the requests.
    pub(crate) spread: f64,
    /// A request, as the server counts, scripts' own commands too.
    pub(crate) commands: f64,
    /// A request, over the wire in both directions.
    pub(crate) bytes: f64,
    /// A request, evicted by the server itself.
    pub(crate) evicted: f64,
    /// Of reads, in µs.
    pub(crate) median: f64,
    pub(crate) p99: f64,
    /// Requests a second.
    pub(crate) rate: f64,
    /// How often the guard had the servers left alone, in a run.
    pub(crate) retreats: f64,
}

impl Outcome {
    pub(crate) fn mean(runs: &[Self]) -> Self {
        let mean = |of: fn(&Self) -> f64| runs.iter().map(of).sum::<f64>() / runs.len() as f64;
        let most = runs.iter().map(|run| run.hits).fold(0.0, f64::max);
        Self {
            hits: mean(|run| run.hits),
            spread: most - runs.iter().map(|run| run.hits).fold(most, f64::min),
            commands: mean(|run| run.commands),
            bytes: mean(|run| run.bytes),
            evicted: mean(|run| run.evicted),
            median: mean(|run| run.median),
            p99: mean(|run| run.p99),
            rate: mean(|run| run.rate),
            retreats: mean(|run| run.retreats),
        }
    }
}

struct Run {
    stores: Vec<Arc<RedisStore>>,
    traffic: Arc<Traffic>,
    adviser: Option<Adviser>,
    /// To change lives with, where that is done.
    side: Option<MultiplexedConnection>,
    noise: Bytes,
    next: AtomicUsize,
    hits: AtomicUsize,
}

pub(crate) async fn run(
    way: &Way,
    traffic: &Arc<Traffic>,
    share: f64,
    Scene { clients, primaries }: Scene,
    clock: Option<&Path>,
) -> Result<Outcome> {
    let servers = match primaries {
        1 => vec![Server::start(clock, &way.settings())?],
        primaries => Server::cluster(clock, primaries, &way.settings())?,
    };
    let url = servers[0].url();
    let mut stores = Vec::new();
    for _ in 0..clients {
        let mut config = if primaries == 1 { RedisConfig::single(&url)? } else { RedisConfig::cluster(&[&url])? };
        // A busy machine is no broken server.
        config.answer_within = PATIENCE;
        if let Way::Steered(policy) = way {
            config = config.steered(Steering::default().policy(policy)?);
        }
        stores.push(Arc::new(RedisStore::new(config, &Handle::current())?));
    }
    let side = match way {
        Way::Retention => Some(redis::Client::open(url)?.get_multiplexed_async_connection().await?),
        _ => None,
    };
    until("the clients connect", || stores.iter().all(|store| store.state().connected && store.state().listening))
        .await?;
    // What the values get, beside what the server needs for itself and the clients.
    let room = (traffic.bytes() as f64 * share) as u64;
    for server in &servers {
        server.set("maxmemory", server.counted()?.used_memory + room / primaries as u64)?;
    }
    if matches!(way, Way::Steered(_)) {
        let ready = |store: &Arc<RedisStore>| {
            let state = store.steering().unwrap_or_default();
            let all = store.steering_by_node().len() == primaries;
            all && state.steers && state.processes == clients as u64
        };
        until("they steer", || stores.iter().all(ready)).await?;
    }
    let noise: Vec<u8> = (0..512_u64).flat_map(|word| KeyHash::mix(word ^ SEED).0.to_le_bytes()).collect();
    let run = Arc::new(Run {
        stores,
        traffic: traffic.clone(),
        adviser: way.adviser(room)?,
        side,
        noise: noise.into(),
        next: AtomicUsize::new(0),
        hits: AtomicUsize::new(0),
    });
    let before = counted(&servers)?;
    let start = Instant::now();
    let mut callers = JoinSet::new();
    for _ in 0..CALLERS {
        callers.spawn(run.clone().call());
    }
    let mut times = Vec::with_capacity(traffic.requests.len());
    while let Some(caller) = callers.join_next().await {
        times.extend(caller??);
    }
    let took = start.elapsed().as_secs_f64();
    let after = counted(&servers)?;
    times.sort_unstable();
    let requests = traffic.requests.len() as f64;
    let at = |share: f64| f64::from(times[((times.len() - 1) as f64 * share) as usize]) / 1000.0;
    Ok(Outcome {
        hits: run.hits.load(Relaxed) as f64 / requests,
        spread: 0.0,
        commands: (after.commands - before.commands) as f64 / requests,
        bytes: (after.bytes - before.bytes) as f64 / requests,
        evicted: (after.evicted - before.evicted) as f64 / requests,
        median: at(0.5),
        p99: at(0.99),
        rate: requests / took,
        retreats: run.stores.iter().filter_map(|store| store.steering()).map(|state| f64::from(state.retreats)).sum(),
    })
}

impl Run {
    /// Request after request, whichever is next; how long the reads took, in ns.
    async fn call(self: Arc<Self>) -> Result<Vec<u32>> {
        let mut times = Vec::new();
        loop {
            let at = self.next.fetch_add(1, Relaxed);
            let Some(&key) = self.traffic.requests.get(at) else { return Ok(times) };
            let key = &self.traffic.keys[key as usize];
            // Whichever client a balancer happened to pick.
            let client = KeyHash::mix(at as u64 ^ SEED).0 as usize % self.stores.len();
            let store = &self.stores[client];
            let start = Instant::now();
            let found = store.get(std::slice::from_ref(&key.name)).await?.pop().flatten();
            times.push(u32::try_from(start.elapsed().as_nanos()).unwrap_or(u32::MAX));
            self.hits.fetch_add(usize::from(found.is_some()), Relaxed);
            let advise = |hit| self.adviser.as_ref().map(|adviser| adviser.advise(&key.name, key.size, hit));
            match (found, advise) {
                (Some(_), advise) => {
                    if let (Some(Advice::Keep(life)), Some(side)) = (advise(true), &self.side) {
                        let mut side = side.clone();
                        let mut change = redis::cmd("PEXPIRE");
                        change.arg(&*key.name).arg(life.as_millis() as u64).exec_async(&mut side).await?;
                    }
                }
                (None, advise) => match advise(false) {
                    Some(Advice::Refuse) => {}
                    Some(Advice::Keep(life)) => self.fill(store, key, life).await?,
                    Some(Advice::Leave) | None => self.fill(store, key, LONG).await?,
                },
            }
        }
    }

    async fn fill(&self, store: &RedisStore, key: &Key, ttl: Duration) -> Result<()> {
        let payload = self.noise.slice(..key.size);
        let value = Envelope {
            kind: Kind::Value,
            payload,
            as_of: 0,
            fresh_until: u64::MAX,
            kept_until: u64::MAX,
            cost: 0,
            version: None,
            changed_at: None,
            tags: Vec::new(),
            fence: Fence::default(),
        };
        let bytes = value.encode(&key.name, &Form::default())?;
        store.put(&[Item { name: key.name.clone(), bytes, ttl }]).await.context("filling the Redis")?;
        Ok(())
    }
}

/// By all of them.
fn counted(servers: &[Server]) -> Result<Counted> {
    servers.iter().try_fold(Counted::default(), |sum, server| {
        let more = server.counted()?;
        Ok(Counted {
            used_memory: sum.used_memory + more.used_memory,
            commands: sum.commands + more.commands,
            bytes: sum.bytes + more.bytes,
            evicted: sum.evicted + more.evicted,
        })
    })
}

async fn until(what: &str, is_so: impl Fn() -> bool) -> Result<()> {
    let start = Instant::now();
    while !is_so() {
        if start.elapsed() > PATIENCE {
            bail!("not within {PATIENCE:?}: {what}");
        }
        sleep(Duration::from_millis(5)).await;
    }
    Ok(())
}
