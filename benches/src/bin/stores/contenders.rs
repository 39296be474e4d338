//! The stores that are compared, each behind the two calls the work is made of.

use std::hash::Hash;

use larder::{Builder, Control, Freshness, Options, Rules};

/// What a key of the work can be.
pub(crate) trait Key: larder::Key + Clone + Hash + Eq {
    fn of(number: u64) -> Self;
}

impl Key for u64 {
    fn of(number: u64) -> Self {
        number
    }
}

impl Key for String {
    fn of(number: u64) -> Self {
        format!("user:{number:012}")
    }
}

/// A store of `u64` values.
pub(crate) trait Store<K>: Send + Sync {
    fn get(&self, key: &K) -> Option<u64>;
    fn insert(&self, key: K, value: u64);
    /// Lets what it has put off happen.
    fn settle(&self) {}
}

/// A contender: its name, its group, and how it is made for so many entries.
pub(crate) struct Contender<K> {
    pub(crate) name: &'static str,
    pub(crate) is_ours: bool,
    pub(crate) make: fn(u64) -> Box<dyn Store<K>>,
}

pub(crate) fn contenders<K: Key>() -> Vec<Contender<K>> {
    let ours = |name, make| Contender { name, is_ours: true, make };
    let peer = |name, make| Contender { name, is_ours: false, make };
    vec![
        ours("larder (learned)", |capacity| Box::new(Larder::new("learned", capacity, |builder| builder))),
        ours("larder (learned + control)", |capacity| {
            Box::new(Larder::new("learned", capacity, |builder| builder.control(Control::default())))
        }),
        ours("larder (learned + stale rate)", |capacity| {
            Box::new(Larder::new("learned", capacity, |builder| {
                builder.freshness(Freshness::stale_reads(0.01).expect("a share")).digest(|value| *value)
            }))
        }),
        ours("larder (s3fifo)", |capacity| Box::new(Larder::new("s3fifo", capacity, |builder| builder))),
        ours("larder (sieve)", |capacity| Box::new(Larder::new("sieve", capacity, |builder| builder))),
        peer("quick_cache", |capacity| Box::new(quick_cache::sync::Cache::new(capacity as usize))),
        peer("foyer (s3fifo)", |capacity| Box::new(foyer(foyer_memory::S3FifoConfig::default().into(), capacity))),
        peer("foyer (lru)", |capacity| Box::new(foyer(foyer_memory::LruConfig::default().into(), capacity))),
        peer("mini-moka", |capacity| Box::new(mini_moka::sync::Cache::new(capacity))),
        peer("moka", |capacity| Box::new(moka::sync::Cache::new(capacity))),
    ]
}

struct Larder<K: Key>(larder::Cache<K, u64>);

impl<K: Key> Larder<K> {
    /// With one lifetime for all and nothing measured, but for what `with` turns on.
    fn new(policy: &str, capacity: u64, with: fn(Builder<K, u64>) -> Builder<K, u64>) -> Self {
        let builder = larder::Cache::builder().capacity(capacity).policy(policy).rules(Rules::default());
        Self(with(builder.control(Control::none())).build().expect("these settings are right"))
    }
}

impl<K: Key> Store<K> for Larder<K> {
    #[inline]
    fn get(&self, key: &K) -> Option<u64> {
        self.0.local(key)
    }

    fn insert(&self, key: K, value: u64) {
        self.0.insert_local(key, value, Options::default());
    }
}

impl<K: Key> Store<K> for quick_cache::sync::Cache<K, u64> {
    #[inline]
    fn get(&self, key: &K) -> Option<u64> {
        self.get(key)
    }

    fn insert(&self, key: K, value: u64) {
        self.insert(key, value);
    }
}

fn foyer<K: Key>(eviction: foyer_memory::EvictionConfig, capacity: u64) -> foyer_memory::Cache<K, u64> {
    foyer_memory::CacheBuilder::new(capacity as usize).with_eviction_config(eviction).build()
}

impl<K: Key> Store<K> for foyer_memory::Cache<K, u64> {
    #[inline]
    fn get(&self, key: &K) -> Option<u64> {
        self.get(key).map(|entry| *entry.value())
    }

    fn insert(&self, key: K, value: u64) {
        self.insert(key, value);
    }
}

impl<K: Key> Store<K> for mini_moka::sync::Cache<K, u64> {
    #[inline]
    fn get(&self, key: &K) -> Option<u64> {
        self.get(key)
    }

    fn insert(&self, key: K, value: u64) {
        self.insert(key, value);
    }

    fn settle(&self) {
        mini_moka::sync::ConcurrentCacheExt::sync(self);
    }
}

impl<K: Key> Store<K> for moka::sync::Cache<K, u64> {
    #[inline]
    fn get(&self, key: &K) -> Option<u64> {
        self.get(key)
    }

    fn insert(&self, key: K, value: u64) {
        self.insert(key, value);
    }

    fn settle(&self) {
        self.run_pending_tasks();
    }
}
