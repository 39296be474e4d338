//! A full cluster of our own, steered: each primary within its limit, through moves of slots and a fail-over.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use crate::{need_redis, support};

use std::sync::Arc;
use std::time::Duration;

use larder_redis::{RedisConfig, RedisStore};
use support::cluster::{Cluster, PATIENCE};
use support::full::{evicted, ours, quick, read, try_read};
use support::server::Server;
use support::{RECOVERY, eventually, patient};
use tokio::runtime::Handle;

const STRANGERS: u64 = 400;

fn store(config: RedisConfig) -> Arc<RedisStore> {
    Arc::new(RedisStore::new(config, &Handle::current()).unwrap())
}

async fn connected(store: &RedisStore) {
    eventually("it connects", RECOVERY, async || store.state().connected && store.state().listening).await;
}

async fn steers(store: &RedisStore) {
    eventually("all primaries are steered", RECOVERY, async || {
        store.steering_by_node().len() == 3 && store.steering().unwrap().steers
    })
    .await;
}

/// What each directory has is what its primary has.
async fn agrees(cluster: &Cluster, store: &RedisStore) {
    eventually("directories and primaries agree", PATIENCE, async || {
        let states = store.steering_by_node();
        let agrees = |node: usize| {
            let address = cluster.nodes[node].address().to_string();
            let there = ours(&cluster.nodes[node]);
            states.iter().any(|(place, state)| *place == address && state.keys.abs_diff(there) <= there / 50 + 2)
        };
        let masters = cluster.masters();
        states.len() == masters.len() && masters.into_iter().all(agrees)
    })
    .await;
}

/// New keys and a few old ones. While nodes come and go reads may fail for a while.
async fn traffic(store: &RedisStore, keys: std::ops::Range<u64>) {
    for key in keys {
        for key in [key, key % 10] {
            eventually("a read is answered", RECOVERY, async || try_read(store, key).await.is_ok()).await;
        }
    }
}

/// Over all nodes that live: who was a primary before may be a replica now.
fn total(cluster: &Cluster, of: impl Fn(&Server) -> u64) -> u64 {
    let lives = |node: &&Server| node.tell::<String>(&["PING"]).is_ok();
    cluster.nodes.iter().filter(lives).map(of).sum()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_primary_keeps_its_limit_through_moves_and_fail_over() {
    need_redis!();
    // A replica's backlog has to fit too.
    let more = ["--maxmemory", "4mb", "--maxmemory-policy", "allkeys-lru", "--repl-backlog-size", "64kb"];
    let mut cluster = Cluster::with(6, 1, &more).await;
    let urls: Vec<_> = cluster.nodes.iter().map(Server::url).collect();
    let mut conn = redis::cluster::ClusterClient::new(urls).unwrap().get_async_connection().await.unwrap();
    for key in 0..STRANGERS {
        let name = if key % 2 == 0 { format!("foreign:{key}") } else { format!("test:foreign:{key}") };
        redis::cmd("SET").arg(name).arg("x").exec_async(&mut conn).await.unwrap();
    }
    let store = store(cluster.config().steered(quick()));
    steers(&store).await;
    traffic(&store, 0..50).await;
    steers(&store).await;
    traffic(&store, 0..6_000).await;
    agrees(&cluster, &store).await;
    let native = total(&cluster, evicted);
    let unlinked: u64 = cluster.masters().iter().map(|&node| cluster.nodes[node].calls("unlink")).sum();
    let state = store.steering().unwrap();
    let left = state.evicted + state.refused;
    assert!(left > 2_500 && native < left / 3, "{native} evicted by the servers, {state:?}");
    for (place, state) in store.steering_by_node() {
        assert!(state.evicted + state.refused > 500 && state.used * 10 > state.limit * 9, "{place}: {state:?}");
    }
    // A victim is one command, and a newcomer that is refused is none.
    assert!(unlinked <= state.evicted, "{unlinked} were taken out, {state:?}");

    // Slots move while keys are read and written.
    let masters = cluster.masters();
    let moving = cluster.reshard(masters[0], masters[1], 500);
    let mut key = 100_000;
    while !moving.is_finished() {
        traffic(&store, key..key + 1).await;
        key += 1;
    }
    moving.await.unwrap();
    traffic(&store, 200_000..202_000).await;
    agrees(&cluster, &store).await;

    // A primary dies.
    let masters = cluster.masters();
    let dead = evicted(&cluster.nodes[masters[2]]);
    cluster.nodes[masters[2]].kill();
    eventually("its replica takes over", PATIENCE, async || {
        let _ = try_read(&store, key).await;
        key += 1;
        cluster.is_whole(3)
    })
    .await;
    eventually("all keys are served", RECOVERY, async || {
        let mut well = true;
        for key in 0..100 {
            well &= try_read(&store, key).await.is_ok();
        }
        well
    })
    .await;
    steers(&store).await;
    traffic(&store, 300_000..303_000).await;
    agrees(&cluster, &store).await;
    let state = store.steering().unwrap();
    let native = dead + total(&cluster, evicted);
    let left = state.evicted + state.refused;
    assert!(left > 6_000 && native < left / 3, "{native} evicted by the servers, {state:?}");

    // The servers may have evicted strangers, but not more than they evicted.
    let strangers =
        |node: usize| cluster.nodes[node].tell::<Vec<String>>(&["KEYS", "*foreign:*"]).unwrap().len() as u64;
    let strangers: u64 = cluster.masters().into_iter().map(strangers).sum();
    let native = dead + total(&cluster, evicted);
    assert!(strangers + native >= STRANGERS, "{strangers} of {STRANGERS} strangers are left, {native} evicted");

    // Switched off, the servers decide.
    store.steer(false);
    tokio::time::sleep(Duration::from_millis(200)).await;
    let (before, native) = (store.steering().unwrap(), total(&cluster, evicted));
    assert!(!before.steers);
    traffic(&store, 400_000..402_000).await;
    let after = store.steering().unwrap();
    assert_eq!((before.evicted, before.refused), (after.evicted, after.refused));
    assert!(total(&cluster, evicted) - native > 1_000);
}

/// Hits of skewed requests among which keys come that are asked for once.
async fn hits(store: &RedisStore) -> u32 {
    let mut rng = fastrand::Rng::with_seed(1);
    let mut hits = 0;
    for at in 0..15_000_u64 {
        let key = if at % 3 == 0 { 1_000_000 + at } else { (rng.f64().powi(3) * 6_000.0) as u64 };
        hits += u32::from(read(store, key).await);
    }
    hits
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_steered_cluster_hits_no_less_than_one_left_alone() {
    need_redis!();
    let cluster = Cluster::with(3, 0, &["--maxmemory", "3mb", "--maxmemory-policy", "allkeys-lru"]).await;
    let alone = store(patient(cluster.config()));
    connected(&alone).await;
    let native = hits(&alone).await;
    drop(alone);
    for node in &cluster.nodes {
        node.tell::<()>(&["FLUSHALL"]).unwrap();
    }
    let steered = store(patient(cluster.config()).steered(quick()));
    connected(&steered).await;
    steers(&steered).await;
    let with = hits(&steered).await;
    assert!(with >= native, "{with} hits steered, {native} left alone: {:?}", steered.steering());
    let state = steered.steering().unwrap();
    assert!(state.evicted + state.refused > 2_500, "{state:?}");

    // Another process: each key is in the directory of one of them.
    let other = store(patient(cluster.config()).steered(quick()));
    connected(&other).await;
    steers(&other).await;
    for key in 0..50 {
        read(&other, key).await;
    }
    eventually("they share the keys", PATIENCE, async || {
        let states = [steered.steering().unwrap(), other.steering().unwrap()];
        let (known, there) = (states[0].keys + states[1].keys, total(&cluster, |server| ours(server) as u64) as usize);
        states.iter().all(|state| state.processes == 2 && state.keys > there / 4) && known.abs_diff(there) <= there / 20
    })
    .await;
}
