//! A single, healthy server: the store does what every store must, and what only a Redis can.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use crate::{need_redis, support};

use std::sync::Arc;

use larder::remote::{Invalidation, Item, Notice, RemoteStore, testing};
use larder_redis::{RedisConfig, RedisStore};
use support::server::Server;
use support::{LONG, RECOVERY, Service, eventually, name, unhurried};
use tokio::runtime::Handle;

async fn connected(config: RedisConfig) -> Arc<RedisStore> {
    let store = Arc::new(RedisStore::new(config, &Handle::current()).unwrap());
    eventually("it connects", RECOVERY, async || store.state().connected && store.state().listening).await;
    store
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn conforms() {
    need_redis!();
    let server = Server::start(&[]);
    let make = async || connected(unhurried(&server.url())).await as Arc<dyn RemoteStore>;
    testing::conformance(make).await;
    // A server that has forgotten the scripts is told them again.
    server.tell::<()>(&["SCRIPT", "FLUSH"]).unwrap();
    testing::conformance(make).await;
}

#[tokio::test]
async fn a_batch_is_one_round_trip() {
    need_redis!();
    let server = Server::start(&[]);
    let service = Service::unhurried(&server.url());
    service.warm(50).await;
    let names: Vec<_> = (0..50).map(|key| name(&key.to_string())).collect();
    let before = server.calls("mget");
    let replies = service.tier.get(&names).await.unwrap();
    assert!(replies.iter().all(|reply| reply.found.is_some()));
    assert_eq!(server.calls("mget") - before, 1);
}

#[tokio::test]
async fn everything_kept_has_a_lifetime() {
    need_redis!();
    let server = Server::start(&[]);
    let service = Service::unhurried(&server.url());
    service.warm(5).await;
    service.tier.invalidate(&[Invalidation::Key(name("0"))]).await.unwrap();
    let keys: Vec<String> = server.tell(&["KEYS", "*"]).unwrap();
    assert!(keys.len() >= 5);
    for key in keys {
        let left: i64 = server.tell(&["PTTL", &key]).unwrap();
        assert!(left > 0, "{key} is kept for ever");
    }
}

#[tokio::test]
async fn the_time_is_the_servers() {
    need_redis!();
    let server = Server::start(&[]);
    let store = connected(unhurried(&server.url())).await;
    let (seconds, micros): (u64, u64) = server.tell(&["TIME"]).unwrap();
    assert!(store.now().abs_diff(seconds * 1_000_000 + micros) < 1_000_000);
}

#[tokio::test]
async fn the_server_tells_its_figures() {
    need_redis!();
    let server = Server::start(&["--maxmemory", "100mb"]);
    let store = connected(unhurried(&server.url())).await;
    let info = store.server().await.unwrap();
    assert_eq!(info.maxmemory, 100 << 20);
    assert!(info.used_memory > 0 && info.connected_clients >= 2);
}

#[tokio::test]
async fn a_lost_channel_is_reported_once_it_is_back() {
    need_redis!();
    let server = Server::start(&[]);
    let (one, two) = (connected(unhurried(&server.url())).await, connected(unhurried(&server.url())).await);
    let mut heard = two.listen();
    server.tell::<()>(&["CLIENT", "KILL", "TYPE", "pubsub"]).unwrap();
    assert_eq!(tokio::time::timeout(RECOVERY, heard.recv()).await.unwrap(), Ok(Invalidation::Lost));
    let what = Invalidation::Key(name("1"));
    let instead = Item { name: name("1"), bytes: "x".into(), ttl: LONG };
    one.invalidate(&[Notice::new(what.clone(), instead)]).await.unwrap();
    assert_eq!(tokio::time::timeout(RECOVERY, heard.recv()).await.unwrap(), Ok(what));
}

#[tokio::test]
async fn dropping_it_closes_its_connections() {
    need_redis!();
    let server = Server::start(&[]);
    let store = connected(unhurried(&server.url())).await;
    let clients = async || {
        let list: String = server.tell(&["CLIENT", "LIST"]).unwrap();
        list.lines().count()
    };
    // The one that asks is listed too.
    assert_eq!(clients().await, 3);
    drop(store);
    eventually("they are closed", RECOVERY, async || clients().await == 1).await;
}
