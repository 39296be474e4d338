//! The same reads, by larder and by redis-rs alone.

use std::collections::HashMap;
use std::convert::Infallible;
use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, ensure};
use bytes::Bytes;
use larder::remote::{Name, Tier, TierConfig, names};
use larder::{Cache, codec};
use larder_benches::server::Server;
use larder_redis::{Freshness, Learned, LearnedConfig, RedisConfig, RedisStore};
use redis::aio::{ConnectionLike, MultiplexedConnection};
use redis::{AsyncCommands, Cmd, Pipeline, RedisFuture, Value};
use tokio::runtime::Handle;
use tokio::task::JoinSet;

use crate::{Row, Trips};

const NAMESPACE: &str = "bench";
const SIZE: usize = 200;
/// Keys of one call.
const MANY: usize = 100;
/// Callers at once, and reads of each, all of different keys.
const CALLERS: usize = 64;
const READS: usize = 100;
const KEYS: usize = CALLERS * READS;
/// What memory holds: of what a caller reads next nothing.
const MEMORY: u64 = 64;
/// Commands of a round without a network.
const COMMANDS: usize = 20_000;
const HOUR: Duration = Duration::from_secs(3600);

pub(crate) struct Sides<'a> {
    server: &'a Server,
    /// Redis alone.
    bare: MultiplexedConnection,
    /// The tier without the memory before it.
    tier: Arc<Tier>,
    /// Both tiers, with a memory so small that what is measured comes from the Redis.
    cache: Cache<u64, Bytes>,
    names: Arc<[Name]>,
}

impl<'a> Sides<'a> {
    /// Fills the server.
    pub(crate) async fn new(server: &'a Server) -> Result<Self> {
        let bare = redis::Client::open(server.url())?.get_multiplexed_async_connection().await?;
        // Beyond this run nobody waits for an answer as long.
        let config = TierConfig { deadline: Duration::from_secs(1), ..TierConfig::default() };
        let tier = Arc::new(Tier::new(Arc::new(connect(server).await?), config.clone(), &Handle::current())?);
        let cache = Cache::builder()
            .name(NAMESPACE)
            .capacity(MEMORY)
            .policy("lru")
            .freshness(Freshness::fixed_ttl(HOUR))
            .remote(connect(server).await?, codec::Plain)
            .tier(config)
            .build()?;
        for key in 0..KEYS as u64 {
            cache.insert(key, Bytes::from(vec![b'x'; SIZE])).await?;
        }
        let names: Arc<[Name]> = (0..KEYS).map(|key| names::key(NAMESPACE, &key.to_string())).collect();
        let sides = Self { server, bare, tier, cache, names };
        let held = sides.mget(&sides.names).await?.into_iter().flatten().count();
        ensure!(held == KEYS, "of {KEYS} values the server has {held}");
        Ok(sides)
    }

    pub(crate) async fn trips(&self) -> Result<Vec<Trips>> {
        let mut trips = Vec::new();
        for (what, reads, aim) in [
            ("a value in memory", 10_000, "0"),
            ("a value in the Redis", KEYS as u64, "1"),
            ("100 values in the Redis, at once", (KEYS / MANY) as u64, "1"),
            ("a value that must be loaded", 1_000, ""),
        ] {
            let before = self.server.counted()?.commands;
            for read in 0..reads {
                match aim {
                    "0" => drop(self.one(0).await?),
                    "1" if reads == KEYS as u64 => drop(self.one(read).await?),
                    "1" => self.many(read as usize * MANY).await?,
                    _ => drop(self.one(KEYS as u64 + read).await?),
                }
            }
            // Asking is a command too.
            let commands = self.server.counted()?.commands - before - 1;
            trips.push(Trips { what, reads, commands, aim });
        }
        Ok(trips)
    }

    pub(crate) async fn rows(&self, rounds: usize, only: &str) -> Result<Vec<Row>> {
        let asked = (rounds, only);
        let row = |what, beside, unit, aim| Row { what, beside, unit, bare: 0.0, larder: 0.0, ratio: 0.0, aim };
        let batches = KEYS / MANY;
        let many = row("`get_many_with` of 100 keys, none in memory", "`MGET`", "µs", "≤ 1.3");
        let many = many.measure(asked, batches, async |larder| {
            for batch in 0..batches {
                let from = batch * MANY;
                match larder {
                    true => self.many(from).await?,
                    false => drop(black_box(self.mget(&self.names[from..][..MANY]).await?)),
                }
            }
            Ok(())
        });
        let many = many.await?;
        let bounded = row("100 keys by `GETRANGE`, as a bound on each value would take", "`MGET`", "µs", "");
        let bounded = bounded.measure(asked, batches, async |bounded| {
            for names in self.names.chunks(MANY) {
                match bounded {
                    true => drop(black_box(self.ranges(names).await?)),
                    false => drop(black_box(self.mget(names).await?)),
                }
            }
            Ok(())
        });
        let bounded = bounded.await?;
        let tier = row("the tier alone: 64 callers, a key each", "`MGET`", "µs", "≤ 1.11");
        let tier = tier.measure(asked, KEYS, async |larder| {
            self.callers(|names, bare, tier| async move {
                for name in names.chunks(1) {
                    match larder {
                        true => drop(black_box(tier.get(name).await?)),
                        false => drop(black_box(mget(&bare, name).await?)),
                    }
                }
                Ok(())
            })
            .await
        });
        let tier = tier.await?;
        let cache = row("`get_with`, not in memory: 64 callers, a key each", "`MGET`", "µs", "");
        let cache = cache.measure(asked, KEYS, async |larder| {
            let mut callers = JoinSet::new();
            for caller in 0..CALLERS {
                let (cache, bare, names) = (self.cache.clone(), self.bare.clone(), self.names.clone());
                callers.spawn(async move {
                    for at in caller * READS..(caller + 1) * READS {
                        match larder {
                            true => drop(black_box(cache.get_with(&(at as u64), absent).await?)),
                            false => drop(black_box(mget(&bare, &names[at..=at]).await?)),
                        }
                    }
                    Ok::<_, anyhow::Error>(())
                });
            }
            join(callers).await
        });
        let cache = cache.await?;
        let plug_in = row("a `GET` through the plug-in, without a network", "without", "ns", "≤ 150 ns more");
        let plug_in = self::plug_in(plug_in, asked, &self.names).await?;
        Ok([many, bounded, tier, cache, plug_in].into_iter().flatten().collect())
    }

    async fn callers<F>(&self, run: impl Fn(Arc<[Name]>, MultiplexedConnection, Arc<Tier>) -> F) -> Result<()>
    where
        F: Future<Output = Result<()>> + Send + 'static,
    {
        let mut callers = JoinSet::new();
        for caller in 0..CALLERS {
            let names = self.names[caller * READS..][..READS].into();
            callers.spawn(run(names, self.bare.clone(), self.tier.clone()));
        }
        join(callers).await
    }

    async fn one(&self, key: u64) -> Result<Bytes> {
        Ok(self.cache.get_with(&key, absent).await?)
    }

    async fn many(&self, from: usize) -> Result<()> {
        let keys = from as u64..(from + MANY) as u64;
        let load = async |keys: Vec<u64>| {
            Ok::<_, Infallible>(HashMap::from_iter(keys.into_iter().map(|key| (key, Bytes::new()))))
        };
        black_box(self.cache.get_many_with(keys, load).await?);
        Ok(())
    }

    async fn mget(&self, names: &[Name]) -> Result<Vec<Option<Bytes>>> {
        mget(&self.bare, names).await
    }

    async fn ranges(&self, names: &[Name]) -> Result<Vec<Bytes>> {
        let mut pipeline = Pipeline::with_capacity(names.len());
        for name in names {
            pipeline.getrange(&**name, 0, 16 << 20);
        }
        Ok(pipeline.query_async(&mut self.bare.clone()).await?)
    }
}

async fn connect(server: &Server) -> Result<RedisStore> {
    let store = RedisStore::new(RedisConfig::single(&server.url())?, &Handle::current())?;
    while !(store.state().connected && store.state().listening) {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    Ok(store)
}

async fn join(mut callers: JoinSet<Result<()>>) -> Result<()> {
    while let Some(done) = callers.join_next().await {
        done??;
    }
    Ok(())
}

/// What a loader would bring: only keys that no row reads are loaded.
async fn absent() -> Result<Bytes, Infallible> {
    Ok(Bytes::new())
}

async fn mget(bare: &MultiplexedConnection, names: &[Name]) -> Result<Vec<Option<Bytes>>> {
    let mut mget = redis::cmd("MGET");
    for name in names {
        mget.arg(&**name);
    }
    Ok(mget.query_async(&mut bare.clone()).await?)
}

/// The plug-in before a connection that has every answer at hand.
async fn plug_in(row: Row, asked: (usize, &str), names: &[Name]) -> Result<Option<Row>> {
    let config = LearnedConfig::new(Freshness::stale_reads(0.01)?, &[NAMESPACE]);
    let (mut plain, mut learned) = (Instantly, Learned::new(Instantly, LearnedConfig { audits: false, ..config }));
    let names = &names[..1000];
    for name in names {
        let () = learned.set(&**name, "value").await?;
    }
    let gets: Vec<Cmd> = names.iter().map(|name| Cmd::get(&**name)).collect();
    row.measure(asked, COMMANDS, async |larder| {
        for get in gets.iter().cycle().take(COMMANDS) {
            match larder {
                true => drop(black_box(learned.req_packed_command(get).await?)),
                false => drop(black_box(plain.req_packed_command(get).await?)),
            }
        }
        Ok(())
    })
    .await
}

struct Instantly;

impl ConnectionLike for Instantly {
    fn req_packed_command<'a>(&'a mut self, cmd: &'a Cmd) -> RedisFuture<'a, Value> {
        let is_get = cmd.args_iter().len() == 2;
        Box::pin(async move { Ok(if is_get { Value::BulkString(b"value".to_vec()) } else { Value::Okay }) })
    }

    fn req_packed_commands<'a>(&'a mut self, _: &'a Pipeline, _: usize, count: usize) -> RedisFuture<'a, Vec<Value>> {
        Box::pin(async move { Ok(vec![Value::Okay; count]) })
    }

    fn get_db(&self) -> i64 {
        0
    }
}
