//! Two caches with memory of their own and one Redis between them, while their connections break and announcements get lost. The
//! history of every value says which answers are legal (I1).
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use crate::{need_redis, support};

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use larder::{Cache, Freshness, Rules, codec};
use larder_redis::{RedisConfig, RedisStore};
use parking_lot::Mutex;
use support::proxy::{Accident, Proxy};
use support::server::Server;
use support::{RECOVERY, eventually};
use tokio::runtime::Handle;
use tokio::time::{Instant, sleep};

const KEYS: u64 = 20;
/// No answer may be older.
const MOST: Duration = Duration::from_secs(1);
/// Between the origin's answer and the reader's look at the clock on a busy machine.
const SLACK: Duration = Duration::from_millis(500);

/// What the origin has, and until when it had what.
#[derive(Default)]
struct Origin {
    now: Mutex<HashMap<u64, u64>>,
    replaced: Mutex<HashMap<(u64, u64), Instant>>,
    loads: AtomicU64,
}

impl Origin {
    fn version(&self, key: u64) -> u64 {
        self.now.lock().get(&key).copied().unwrap_or(0)
    }

    fn write(&self, key: u64) -> u64 {
        let mut now = self.now.lock();
        let version = now.entry(key).or_insert(0);
        self.replaced.lock().insert((key, *version), Instant::now());
        *version += 1;
        *version
    }

    /// A load takes a while, in which much may happen.
    async fn load(self: Arc<Self>, key: u64) -> Result<String, Infallible> {
        self.loads.fetch_add(1, Relaxed);
        let version = self.version(key);
        sleep(Duration::from_millis(fastrand::u64(0..5))).await;
        Ok(format!("{key} v{version}"))
    }

    /// Whether `value` may be the answer for `key` to a question asked at `asked`.
    fn check(&self, key: u64, value: &str, asked: Instant) {
        let (own, version) = value.split_once(" v").unwrap();
        assert_eq!(own, key.to_string(), "another key's value");
        let version: u64 = version.parse().unwrap();
        if let Some(replaced) = self.replaced.lock().get(&(key, version)) {
            let late = asked.saturating_duration_since(*replaced);
            assert!(late <= MOST + SLACK, "{key} v{version} was replaced {late:?} before it was asked for");
        }
    }
}

fn cache(store: Arc<RedisStore>) -> Cache<u64, String> {
    Cache::builder()
        .name("test")
        .capacity(1_000)
        .rules(Rules { jitter: 0.0, ..Rules::default() })
        .freshness(Freshness::fixed_ttl(MOST))
        .remote(store, codec::Plain)
        .build()
        .unwrap()
}

async fn read(cache: &Cache<u64, String>, origin: &Arc<Origin>, key: u64) -> String {
    let (asked, loading) = (Instant::now(), origin.clone());
    let value = cache.get_with(&key, move || loading.load(key)).await.unwrap();
    origin.check(key, &value, asked);
    value
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_answer_is_older_than_allowed_and_none_is_anothers() {
    need_redis!();
    let server = Server::start(&[]);
    let mut proxies = Vec::new();
    let mut caches = Vec::new();
    let mut stores = Vec::new();
    for _ in 0..2 {
        let proxy = Proxy::before(server.address()).await;
        let store = Arc::new(RedisStore::new(RedisConfig::single(&proxy.url()).unwrap(), &Handle::current()).unwrap());
        caches.push(cache(store.clone()));
        proxies.push(proxy);
        stores.push(store);
    }
    let connected = async || stores.iter().all(|store| store.state().connected && store.state().listening);
    eventually("both are connected", RECOVERY, connected).await;
    let origin = Arc::new(Origin::default());
    let end = Instant::now() + Duration::from_secs(6);
    let tasks: Vec<_> = (0..8)
        .map(|task| {
            let (cache, origin) = (caches[task % 2].clone(), origin.clone());
            tokio::spawn(async move {
                while Instant::now() < end {
                    let key = fastrand::u64(..KEYS);
                    match fastrand::u32(..20) {
                        0 => {
                            origin.write(key);
                            // Of changes of odd keys nobody hears: their lifetime alone ends them, in whichever tier.
                            if key.is_multiple_of(2) {
                                cache.remove(&key).await.unwrap();
                            }
                        }
                        _ => drop(read(&cache, &origin, key).await),
                    }
                    sleep(Duration::from_millis(1)).await;
                }
            })
        })
        .collect();
    while Instant::now() < end {
        let proxy = &proxies[fastrand::usize(..2)];
        match fastrand::u32(..6) {
            0 => proxy.reset_all(),
            1 => proxy.silence_all(),
            2 => proxy.accident(Accident::Garbage),
            3 => proxy.accident(Accident::Duplicate),
            4 => server.tell::<()>(&["CLIENT", "KILL", "TYPE", "pubsub"]).unwrap(),
            _ => server.tell::<()>(&["FLUSHALL"]).unwrap(),
        }
        sleep(Duration::from_millis(500)).await;
    }
    for task in tasks {
        task.await.unwrap();
    }

    // Everything mended: a write is seen by both, well before its lifetime would end it.
    let mended = Duration::from_secs(15);
    eventually("both are connected again", mended, connected).await;
    eventually("both see what is written", mended, async || {
        let version = origin.write(0);
        caches[0].remove(&0).await.unwrap();
        sleep(Duration::from_millis(100)).await;
        let expected = format!("0 v{version}");
        read(&caches[0], &origin, 0).await == expected && read(&caches[1], &origin, 0).await == expected
    })
    .await;
    let mut fresh = KEYS..;
    eventually("what one loads the other takes from the tier", mended, async || {
        let key = fresh.next().unwrap();
        read(&caches[0], &origin, key).await;
        sleep(Duration::from_millis(100)).await;
        let loads = origin.loads.load(Relaxed);
        read(&caches[1], &origin, key).await;
        origin.loads.load(Relaxed) == loads
    })
    .await;
}
