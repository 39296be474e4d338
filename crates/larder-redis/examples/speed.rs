//! What the tier and the plug-in cost beside bare redis-rs, in one run against one server.
//!
//! `cargo run --release -p larder-redis --example speed -- redis://localhost`

use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use larder::remote::{Entry, Name, RemoteStore, Tier, TierConfig, names};
use larder_redis::{Freshness, Learned, LearnedConfig, RedisConfig, RedisStore};
use redis::aio::{ConnectionLike, MultiplexedConnection};
use redis::{AsyncCommands, Cmd, Pipeline, RedisFuture, Value};
use tokio::runtime::Handle;

type Failure = Box<dyn std::error::Error>;

const KEYS: usize = 1_000;
const SIZE: usize = 200;
/// Measurements of both sides take turns, so that a busy machine slows both; the median counts.
const ROUNDS: usize = 15;

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let url = std::env::args().nth(1).unwrap_or_else(|| "redis://localhost".to_owned());
    let bare = redis::Client::open(url.as_str())?.get_multiplexed_async_connection().await?;
    let store = Arc::new(RedisStore::new(RedisConfig::single(&url)?, &Handle::current())?);
    while !store.state().connected {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    // Beyond this run nobody waits for an answer as long.
    let config = TierConfig { deadline: Duration::from_secs(1), ..TierConfig::default() };
    let tier = Arc::new(Tier::new(store.clone(), config, &Handle::current())?);
    let keys: Vec<Name> = (0..KEYS).map(|key| names::key("speed", &key.to_string())).collect();
    for key in &keys {
        tier.write(key, &entry()).await?;
    }

    let hundred = &keys[..100];
    report("100 keys at once, µs", 200.0, async |larder| {
        for _ in 0..200 {
            match larder {
                true => drop(black_box(tier.get(hundred).await?)),
                false => drop(black_box(mget(&bare, hundred).await?)),
            }
        }
        Ok(())
    })
    .await?;
    // What it would take to bound each value of many.
    report("100 keys by MGET and by GETRANGE, µs", 200.0, async |bounded| {
        for _ in 0..200 {
            match bounded {
                true => drop(black_box(ranges(&bare, hundred).await?)),
                false => drop(black_box(mget(&bare, hundred).await?)),
            }
        }
        Ok(())
    })
    .await?;
    report("1 key, 64 callers at once, µs", 64.0 * 100.0, async |larder| {
        let mut tasks = tokio::task::JoinSet::new();
        for task in 0..64 {
            let (tier, bare, keys) = (tier.clone(), bare.clone(), keys.clone());
            tasks.spawn(async move {
                for round in 0..100 {
                    let key = &keys[(task * 100 + round) % KEYS..][..1];
                    match larder {
                        true => drop(black_box(tier.get(key).await.map_err(|error| error.to_string())?)),
                        false => drop(black_box(mget(&bare, key).await.map_err(|error| error.to_string())?)),
                    }
                }
                Ok::<_, String>(())
            });
        }
        while let Some(done) = tasks.join_next().await {
            done??;
        }
        Ok(())
    })
    .await?;
    let mut plain = Instantly;
    let freshness = Freshness::stale_reads(0.01)?;
    let mut learned =
        Learned::new(Instantly, LearnedConfig { audits: false, ..LearnedConfig::new(freshness, &["speed:"]) });
    let gets: Vec<Cmd> = keys.iter().map(|key| Cmd::get(&**key)).collect();
    for key in &keys {
        let () = learned.set(&**key, "value").await?;
    }
    report("the plug-in on a GET, without a network, µs", KEYS as f64 * 20.0, async |larder| {
        for get in gets.iter().cycle().take(KEYS * 20) {
            match larder {
                true => drop(black_box(learned.req_packed_command(get).await?)),
                false => drop(black_box(plain.req_packed_command(get).await?)),
            }
        }
        Ok(())
    })
    .await?;
    println!("the store's clock: {} µs since 1970", store.now());
    Ok(())
}

/// Runs both sides in turns and prints the median of each, and their difference and ratio.
async fn report(
    what: &str,
    operations: f64,
    mut run: impl AsyncFnMut(bool) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let mut took = [Vec::new(), Vec::new()];
    for round in 0..ROUNDS * 2 {
        let start = Instant::now();
        run(round % 2 == 1).await?;
        took[round % 2].push(start.elapsed().as_secs_f64() * 1e6 / operations);
    }
    let [bare, other] = took.map(|mut times| {
        times.sort_by(f64::total_cmp);
        times[ROUNDS / 2]
    });
    println!("{what}: bare {bare:.3}, other {other:.3}, more {:.3}, ratio {:.2}", other - bare, other / bare);
    Ok(())
}

async fn mget(bare: &MultiplexedConnection, keys: &[Name]) -> redis::RedisResult<Vec<Option<Vec<u8>>>> {
    let mut mget = redis::cmd("MGET");
    for key in keys {
        mget.arg(&**key);
    }
    mget.query_async(&mut bare.clone()).await
}

async fn ranges(bare: &MultiplexedConnection, keys: &[Name]) -> redis::RedisResult<Vec<Vec<u8>>> {
    let mut pipeline = Pipeline::with_capacity(keys.len());
    for key in keys {
        pipeline.getrange(&**key, 0, 16 << 20);
    }
    pipeline.query_async(&mut bare.clone()).await
}

fn entry() -> Entry {
    Entry {
        payload: Some(vec![b'x'; SIZE].into()),
        age: Duration::ZERO,
        fresh_for: Duration::from_secs(600),
        keep_for: Duration::from_secs(600),
        cost: Duration::from_millis(1),
        version: None,
        changed_at: None,
        tags: Vec::new(),
    }
}

/// A connection that has every answer at hand.
struct Instantly;

impl ConnectionLike for Instantly {
    fn req_packed_command<'a>(&'a mut self, cmd: &'a Cmd) -> RedisFuture<'a, Value> {
        let is_get = cmd.args_iter().len() == 2;
        async move { Ok(if is_get { Value::BulkString(b"value".to_vec()) } else { Value::Okay }) }.boxed()
    }

    fn req_packed_commands<'a>(&'a mut self, _: &'a Pipeline, _: usize, count: usize) -> RedisFuture<'a, Vec<Value>> {
        async move { Ok(vec![Value::Okay; count]) }.boxed()
    }

    fn get_db(&self) -> i64 {
        0
    }
}
