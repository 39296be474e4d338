//! Where dashboards are goes through a real Redis: under one name, with rights on that alone, and gone with those who registered.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use crate::{need_redis, support};

use std::sync::Arc;
use std::time::Duration;

use larder::registry::testing::conformance;
use larder::remote::{RemoteStore, names};
use larder::{ErrorKind, Registry};
use larder_redis::RedisStore;
use support::server::Server;
use support::{LONG, RECOVERY, eventually, unhurried};
use tokio::runtime::Handle;

const KEY: &str = "users!dashboards";

async fn connected(url: &str) -> Arc<RedisStore> {
    let store = Arc::new(RedisStore::new(unhurried(url), &Handle::current()).unwrap());
    eventually("it connects", RECOVERY, async || store.state().connected).await;
    store
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn conforms() {
    need_redis!();
    let server = Server::start(&[]);
    conformance(async || connected(&server.url()).await as Arc<dyn Registry>).await;
    server.tell::<()>(&["SCRIPT", "FLUSH"]).unwrap();
    conformance(async || connected(&server.url()).await as Arc<dyn Registry>).await;
}

#[tokio::test]
async fn rights_on_its_own_namespace_are_enough() {
    need_redis!();
    let server = Server::start(&[]);
    let user = |name: &str, commands: &[&str]| {
        let words = ["ACL", "SETUSER", name, "on", ">secret", "~users[:!]*", "+ping", "+time", "+eval", "+evalsha"];
        server.tell::<()>(&[&words[..], commands].concat()).unwrap();
        format!("redis://{name}:secret@127.0.0.1:{}", server.port)
    };
    let instance = user("instance", &["+zadd", "+zrem", "+zremrangebyscore", "+zrevrangebyscore", "+pttl", "+pexpire"]);
    let (instance, page) = (connected(&instance).await, connected(&user("page", &["+zrevrangebyscore"])).await);
    let name = names::dashboards("users");
    instance.register(&name, "10.0.0.1:9465", LONG).await.unwrap();
    assert_eq!(page.registered(&name).await.unwrap(), ["10.0.0.1:9465"]);
    let refused = page.register(&name, "10.0.0.2:9465", LONG).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Remote, "who only looks may not register");
    let elsewhere = instance.register(&names::dashboards("orders"), "10.0.0.1:9465", LONG).await.unwrap_err();
    assert!(format!("{:?}", std::error::Error::source(&elsewhere)).contains("NoPerm"), "{elsewhere:?}");
    instance.withdraw(&name, "10.0.0.1:9465").await.unwrap();
    assert_eq!(server.tell::<u64>(&["EXISTS", KEY]).unwrap(), 0, "nothing is left");
}

#[tokio::test]
async fn it_is_one_key_that_goes_with_the_last_and_another_kind_of_key_is_an_error() {
    need_redis!();
    let server = Server::start(&[]);
    let store = connected(&server.url()).await;
    let name = names::dashboards("users");
    store.register(&name, "10.0.0.1:9465", Duration::from_millis(300)).await.unwrap();
    assert_eq!(server.tell::<Vec<String>>(&["KEYS", "*"]).unwrap(), [KEY]);
    // Nobody is asked, nobody renews: the server forgets by itself.
    eventually("it is gone", RECOVERY, async || server.tell::<u64>(&["EXISTS", KEY]).unwrap() == 0).await;
    server.tell::<()>(&["SET", KEY, "no set"]).unwrap();
    for error in [
        store.register(&name, "10.0.0.1:9465", LONG).await.unwrap_err(),
        store.registered(&name).await.unwrap_err(),
        store.withdraw(&name, "10.0.0.1:9465").await.unwrap_err(),
    ] {
        assert_eq!(error.kind(), ErrorKind::Remote, "{error}");
    }
    assert_eq!(server.tell::<String>(&["GET", KEY]).unwrap(), "no set", "it is left alone");
    assert_eq!((store.state().connects, store.state().distrusted), (1, 0), "the connection is as good as before");
}

#[tokio::test]
async fn a_full_server_takes_renewals_and_newcomers() {
    need_redis!();
    let server = Server::start(&[]);
    let store = connected(&server.url()).await;
    let (name, soon) = (names::dashboards("users"), Duration::from_millis(500));
    store.register(&name, "10.0.0.1:9465", soon).await.unwrap();
    // As full as can be: it has more than it may, and takes nothing away.
    for setting in [["maxmemory-policy", "noeviction"], ["maxmemory", "1"]] {
        server.tell::<()>(&["CONFIG", "SET", setting[0], setting[1]]).unwrap();
    }
    // Another write was refused, and the store does not try any for a while.
    assert!(store.lease(&names::key("users", "a"), 1, LONG).await.is_err() && store.state().writes_paused);
    for address in ["10.0.0.1:9465", "10.0.0.2:9465"] {
        store.register(&name, address, LONG).await.unwrap();
    }
    tokio::time::sleep(soon).await;
    let found = store.registered(&name).await.unwrap();
    assert_eq!(found.len(), 2, "the first one was renewed, the second one came: {found:?}");
    assert!(server.tell::<()>(&["SET", "b", "1"]).is_err(), "it is full still");
}
