//! Real servers, a proxy that breaks connections, and a small service that relies on them.
#![allow(clippy::unwrap_used, reason = "a test may panic")]
#![allow(dead_code, unreachable_pub, reason = "each test takes what it needs")]

pub mod cluster;
pub mod full;
pub mod proxy;
pub mod server;
pub mod trend;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use larder::remote::{BreakerState, Entry, Fill, Name, Tier, TierConfig, names};
use larder_redis::{RedisConfig, RedisStore};
use tokio::runtime::Handle;
use tokio::time::{Instant, sleep};

/// Within which everything has to be well again (I5).
pub const RECOVERY: Duration = Duration::from_secs(10);
/// The deadline of 25 ms, and as much again as a busy machine may add.
pub const PROMPT: Duration = Duration::from_millis(300);
pub const LONG: Duration = Duration::from_secs(60);
const LARGE: std::ops::Range<u32> = 0..20;
const LARGE_SIZE: usize = 50_000;

/// A service that asks the tier first and loads what it does not find. Every value says whose it is, so that every read is a check of I1.
pub struct Service {
    pub tier: Tier,
    pub store: Arc<RedisStore>,
    pub loads: AtomicU64,
    /// No read may take longer (I3).
    prompt: Duration,
}

/// A single server, of which nothing is asked but right answers: the machine may be slow.
pub fn unhurried(url: &str) -> RedisConfig {
    patient(RedisConfig::single(url).unwrap())
}

/// As [`unhurried`], with all else as it is.
pub fn patient(mut config: RedisConfig) -> RedisConfig {
    config.answer_within = LONG;
    config
}

impl Service {
    pub fn new(url: &str) -> Self {
        Self::with(RedisConfig::single(url).unwrap())
    }

    pub fn with(config: RedisConfig) -> Self {
        let store = Arc::new(RedisStore::new(config, &Handle::current()).unwrap());
        let tier = Tier::new(store.clone(), TierConfig::default(), &Handle::current()).unwrap();
        Self { tier, store, loads: AtomicU64::new(0), prompt: PROMPT }
    }

    /// One that takes its time: where something is to be there at the first look.
    pub fn unhurried(url: &str) -> Self {
        let store = Arc::new(RedisStore::new(unhurried(url), &Handle::current()).unwrap());
        let config = TierConfig { deadline: RECOVERY, ..TierConfig::default() };
        let tier = Tier::new(store.clone(), config, &Handle::current()).unwrap();
        Self { tier, store, loads: AtomicU64::new(0), prompt: LONG }
    }

    /// Reads a key, and fails on another key's value (I1), or if it takes much longer than the deadline (I3). Never fails otherwise (I2). Whether the tier had it.
    pub async fn read(&self, key: &str) -> bool {
        self.read_sized(key, 0).await
    }

    pub async fn read_sized(&self, key: &str, size: usize) -> bool {
        let name = names::key("test", key);
        // By the runtime's own order: where the whole process was held up, the read's deadline comes first.
        let reply = tokio::select! {
            biased;
            replies = self.tier.get(std::slice::from_ref(&name)) => replies,
            () = sleep(self.prompt) => panic!("a read took longer than {:?}", self.prompt),
        };
        let reply = reply.ok().and_then(|mut replies| replies.pop());
        let found = reply.as_ref().and_then(|reply| reply.found.as_ref());
        if let Some(entry) = found {
            let payload = entry.payload.as_ref().unwrap();
            assert!(payload.starts_with(format!("{key}=").as_bytes()), "{key} was answered with another key's value");
            return true;
        }
        self.loads.fetch_add(1, Relaxed);
        if let Some(fence) = reply.and_then(|reply| reply.fence) {
            self.tier.fill(Fill { name, fence, entry: entry(key, size) });
        }
        false
    }

    /// Reads keys `0..keys`, one after the other; the share of hits.
    pub async fn pass(&self, keys: u32) -> f64 {
        let mut hits = 0;
        for key in 0..keys {
            hits += u32::from(self.read(&key.to_string()).await);
        }
        f64::from(hits) / f64::from(keys)
    }

    /// Waits until the tier is in use, and full of keys `0..keys`.
    pub async fn warm(&self, keys: u32) {
        eventually("every key is a hit", RECOVERY, async || self.pass(keys).await >= 1.0).await;
    }

    /// Everything is as before, unaided, and soon (I5).
    pub async fn recovers(&self, keys: u32) {
        eventually("95 % of the hits are back", RECOVERY, async || self.pass(keys).await >= 0.95).await;
        assert!(self.store.state().connected);
    }

    /// Has the tier keep values that take a thin link long.
    pub async fn keep_large_values(&self) {
        for key in LARGE {
            let (name, entry) = (name(&format!("large{key}")), entry(&format!("large{key}"), LARGE_SIZE));
            eventually("it is written", RECOVERY, async || self.tier.write(&name, &entry).await.is_ok()).await;
        }
    }

    pub async fn large_values_open_the_breaker(&self) {
        eventually("the breaker opens", RECOVERY, async || {
            for key in LARGE {
                self.read_sized(&format!("large{key}"), LARGE_SIZE).await;
            }
            self.tier.counts().opened > 0
        })
        .await;
    }

    pub async fn breaker_is(&self, state: BreakerState) {
        eventually("the breaker turns", RECOVERY, async || {
            self.pass(5).await;
            self.tier.state().breaker == state
        })
        .await;
    }
}

pub fn entry(key: &str, size: usize) -> Entry {
    let mut payload = format!("{key}=").into_bytes();
    // Noise, so that packing does not make it small.
    payload.extend(std::iter::repeat_with(|| fastrand::u8(..)).take(size));
    Entry {
        payload: Some(payload.into()),
        age: Duration::ZERO,
        fresh_for: LONG,
        keep_for: LONG,
        cost: Duration::from_millis(1),
        version: None,
        changed_at: None,
        tags: Vec::new(),
    }
}

pub fn name(key: &str) -> Name {
    names::key("test", key)
}

pub async fn eventually(what: &str, within: Duration, mut is_so: impl AsyncFnMut() -> bool) {
    let until = Instant::now() + within;
    while !is_so().await {
        assert!(Instant::now() < until, "not within {within:?}: {what}");
        sleep(Duration::from_millis(10)).await;
    }
}
