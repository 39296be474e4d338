//! A full Redis of our own, steered: who leaves, who never does, and what happens when the server changes under it.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use crate::{need_redis, support};

use std::sync::Arc;
use std::time::Duration;

use larder::remote::envelope::{Envelope, Fence, Form};
use larder::remote::{Filled, Invalidation, Item, Notice, RemoteStore, names};
use larder_redis::{RedisStore, Steering};
use support::full::{HOUR, evicted, item, name, ours, quick, read, traffic};
use support::server::Server;
use support::{RECOVERY, eventually, unhurried};
use tokio::runtime::Handle;

/// Room for about 1,500 values.
const FULL: &str = "5mb";

fn full_server(maxmemory: &str) -> Server {
    Server::start(&["--maxmemory", maxmemory, "--maxmemory-policy", "allkeys-lru"])
}

async fn steered(server: &Server, steering: Steering) -> Arc<RedisStore> {
    let config = unhurried(&server.url()).steered(steering);
    let store = Arc::new(RedisStore::new(config, &Handle::current()).unwrap());
    eventually("it steers", RECOVERY, async || store.steering().unwrap().steers && store.state().listening).await;
    store
}

/// What the directory has is what the server has.
async fn agrees(server: &Server, store: &RedisStore) {
    eventually("directory and server agree", RECOVERY, async || {
        let state = store.steering().unwrap();
        state.keys.abs_diff(ours(server)) <= ours(server) / 50 && state.used <= state.limit
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_server_evicts_little_and_never_a_stranger() {
    need_redis!();
    let server = full_server(FULL);
    for key in 0..200 {
        // Under our namespace too: whatever is no envelope is somebody else's.
        server.tell::<()>(&["SET", &format!("foreign:{key}"), "x"]).unwrap();
        server.tell::<()>(&["SET", &format!("test:foreign:{key}"), "x"]).unwrap();
    }
    let store = steered(&server, quick()).await;
    // Which namespace it serves is known with the first read; what is there of it has to be known before anybody leaves.
    read(&store, 0).await;
    eventually("it has looked at all keys", RECOVERY, async || store.steering().unwrap().steers).await;
    traffic(&store, 0..6_000).await;
    agrees(&server, &store).await;
    let (state, native) = (store.steering().unwrap(), evicted(&server));
    let left = state.evicted + state.refused;
    // Without a pilot all are; looks at the server come late on a machine that is busy.
    assert!(left > 3_000 && native < left / 3, "{native} evicted by the server, {state:?}");
    // Who is told apart from fenced.
    let mut not_admitted = 0;
    for key in 6_000..9_000 {
        not_admitted += store.put(&[item(&name(key))]).await.unwrap().not_admitted as u64;
    }
    let refused = store.steering().unwrap().refused - state.refused;
    assert!(refused > 0 && not_admitted == refused, "{not_admitted} not admitted, {refused} refused");
    let used = state.used as f64 / state.limit as f64;
    assert!(used > 0.9, "the room is used: {state:?}");
    // The server itself may have evicted strangers, but not more than it evicted.
    let strangers: Vec<String> = server.tell(&["KEYS", "*foreign:*"]).unwrap();
    let native = evicted(&server);
    assert!(strangers.len() as u64 + native >= 400, "{} of 400 strangers are left, {native}", strangers.len());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_others_put_in_a_victims_place_stays() {
    need_redis!();
    let server = full_server(FULL);
    // The oldest leave first: those that are about to be overwritten.
    let store = steered(&server, quick().policy("lru").unwrap()).await;
    for key in 0..300 {
        read(&store, key).await;
    }
    // Past our back: a stranger's value, and the mark of a process that does not steer.
    let mark = Envelope::invalidated(1, Fence(7)).encode(&name(1), &Form::default()).unwrap();
    for key in (0..300).step_by(2) {
        server.tell::<()>(&["SET", &name(key), "somebody else's"]).unwrap();
    }
    let client = redis::Client::open(server.url()).unwrap();
    let mut conn = client.get_connection().unwrap();
    for key in (1..300).step_by(2) {
        redis::cmd("SET").arg(&*name(key)).arg(&mark[..]).exec(&mut conn).unwrap();
    }
    traffic(&store, 1_000..5_000).await;
    assert!(store.steering().unwrap().evicted > 500);
    let left: Vec<Option<Vec<u8>>> = redis::cmd("MGET")
        .arg((10..300).map(|key| name(key).to_string()).collect::<Vec<_>>())
        .query(&mut conn)
        .unwrap();
    let left = left.iter().flatten().count() as u64;
    assert!(left + evicted(&server) >= 290, "{left} of 290 are left");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_maxmemory_is_followed() {
    need_redis!();
    let server = full_server("8mb");
    let store = steered(&server, quick()).await;
    traffic(&store, 0..4_000).await;
    agrees(&server, &store).await;
    let before = ours(&server);
    server.set("maxmemory", "4mb");
    eventually("the directory shrinks", RECOVERY, async || {
        traffic(&store, 10_000..10_020).await;
        store.steering().unwrap().limit < 4 << 20
    })
    .await;
    traffic(&store, 11_000..12_000).await;
    agrees(&server, &store).await;
    let after = ours(&server);
    assert!(after < before * 6 / 10, "{before} keys, then {after}");
    let left = || {
        let state = store.steering().unwrap();
        (evicted(&server), state.evicted + state.refused)
    };
    let before_more = left();
    traffic(&store, 12_000..14_000).await;
    let (native, steered) = (left().0 - before_more.0, left().1 - before_more.1);
    assert!(native < steered / 3, "{native} of {steered} the server evicts by itself: {:?}", store.steering());
    server.set("maxmemory", "8mb");
    traffic(&store, 20_000..24_000).await;
    agrees(&server, &store).await;
    assert!(ours(&server) > before * 8 / 10);
    server.set("maxmemory", "0");
    eventually("without a limit nobody steers", RECOVERY, async || !store.steering().unwrap().steers).await;
    let evicted = store.steering().unwrap().evicted;
    traffic(&store, 30_000..31_000).await;
    assert_eq!(store.steering().unwrap().evicted, evicted);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flush_and_a_restart_are_noticed() {
    need_redis!();
    let mut server = full_server(FULL);
    let store = steered(&server, quick()).await;
    traffic(&store, 0..3_000).await;
    server.tell::<()>(&["FLUSHALL"]).unwrap();
    eventually("it forgets", RECOVERY, async || store.steering().unwrap().keys == 0).await;
    traffic(&store, 3_000..6_000).await;
    agrees(&server, &store).await;
    server.kill();
    server.run();
    eventually("it forgets again", RECOVERY, async || store.state().connected && store.steering().unwrap().keys == 0)
        .await;
    traffic(&store, 0..3_000).await;
    agrees(&server, &store).await;
    assert!(ours(&server) > 1_000);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_index_is_found_again() {
    need_redis!();
    let server = full_server(FULL);
    let store = steered(&server, quick()).await;
    traffic(&store, 0..4_000).await;
    server.tell::<()>(&["SET", "test:foreign", "x"]).unwrap();
    drop(store);
    let there = ours(&server);
    let store = steered(&server, quick()).await;
    // Which namespace it serves is known with the first read.
    read(&store, 1).await;
    eventually("it finds what it wrote", RECOVERY, async || {
        let (state, left) = (store.steering().unwrap(), ours(&server));
        state.steers && state.keys.abs_diff(left) <= left / 50
    })
    .await;
    // But for what the connections themselves take.
    let left = ours(&server);
    assert!(left >= there * 9 / 10, "{left} of {there} are left");
    traffic(&store, 5_000..9_000).await;
    agrees(&server, &store).await;

    // Without a scan it learns of a key when that is read, and leaves the server alone until it knows most of them.
    drop(store);
    let mut steering = quick();
    steering.scan = 0;
    let config = unhurried(&server.url()).steered(steering);
    let store = Arc::new(RedisStore::new(config, &Handle::current()).unwrap());
    eventually("it connects", RECOVERY, async || store.steering().unwrap().limit > 0).await;
    for key in 0..10 {
        assert!(read(&store, key).await);
    }
    let state = store.steering().unwrap();
    assert_eq!((state.keys, state.steers), (10, false));
    traffic(&store, 10_000..14_000).await;
    // A few that Redis happened to spare stay unknown until they are read.
    eventually("it knows most of them", RECOVERY, async || {
        let state = store.steering().unwrap();
        state.steers && state.keys.abs_diff(ours(&server)) <= ours(&server) / 5
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_scan_finds_the_keys_of_all_namespaces() {
    need_redis!();
    let server = Server::start(&["--maxmemory", "100mb", "--maxmemory-policy", "allkeys-lru"]);
    let names = |key: u64| (0..20).map(move |tenant| names::key(&format!("tenant{tenant}"), &key.to_string()));
    let plain = RedisStore::new(unhurried(&server.url()), &Handle::current()).unwrap();
    eventually("it connects", RECOVERY, async || plain.state().connected).await;
    for key in 0..200 {
        plain.put(&names(key).map(|name| item(&name)).collect::<Vec<_>>()).await.unwrap();
    }
    let store = steered(&server, quick()).await;
    store.get(&names(0).collect::<Vec<_>>()).await.unwrap();
    eventually("all are found", RECOVERY, async || store.steering().unwrap().keys == 4_000).await;
    let stats: String = server.tell(&["INFO", "commandstats"]).unwrap();
    let calls = stats.lines().find_map(|line| line.strip_prefix("cmdstat_scan:calls="));
    let scans: u64 = calls.unwrap().split(',').next().unwrap().parse().unwrap();
    // One of everything takes 8; one more where it steers and looks again.
    assert!(scans < 60, "{scans} scans of 500 keys each");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_processes_share_the_keys() {
    need_redis!();
    let server = full_server(FULL);
    let (one, two) = (steered(&server, quick()).await, steered(&server, quick()).await);
    eventually("they know each other", RECOVERY, async || {
        one.steering().unwrap().processes == 2 && two.steering().unwrap().processes == 2
    })
    .await;
    for key in 0..4_000 {
        let store = if fastrand::bool() { &one } else { &two };
        read(store, key).await;
        read(store, key % 10).await;
    }
    eventually("each key is in one directory", RECOVERY, async || {
        let (one, two) = (one.steering().unwrap(), two.steering().unwrap());
        (one.keys + two.keys).abs_diff(ours(&server)) <= ours(&server) / 20
    })
    .await;
    let states = [one.steering().unwrap(), two.steering().unwrap()];
    let native = evicted(&server);
    let left: u64 = states.iter().map(|state| state.evicted + state.refused).sum();
    assert!(native < left, "{native} evicted by the server, {states:?}");
    assert!(states.iter().all(|state| state.keys > 200 && state.evicted > 300), "{states:?}");

    // One goes: the other takes over what it owned.
    drop(two);
    eventually("the other is forgotten", RECOVERY, async || one.steering().unwrap().processes == 1).await;
    eventually("its keys are found", RECOVERY, async || {
        one.steering().unwrap().keys.abs_diff(ours(&server)) <= ours(&server) / 50
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn services_on_one_server_know_all_their_keys() {
    need_redis!();
    let server = full_server("100mb");
    let (users, orders) = (steered(&server, quick()).await, steered(&server, quick()).await);
    eventually("they know each other", RECOVERY, async || {
        users.steering().unwrap().processes == 2 && orders.steering().unwrap().processes == 2
    })
    .await;
    let names = |namespace| (0..400).map(move |key: u64| names::key(namespace, &key.to_string())).collect::<Vec<_>>();
    let services = [(&users, names("users")), (&orders, names("orders"))];
    for (store, names) in &services {
        for name in names {
            store.put(&[item(name)]).await.unwrap();
        }
    }
    eventually("each has those of its namespace", RECOVERY, async || {
        // A look that a fill has overtaken lets go of its key until it is read.
        for (store, names) in &services {
            store.get(names).await.unwrap();
        }
        services.iter().all(|(store, _)| store.steering().unwrap().keys == 400)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn switched_off_the_server_decides() {
    need_redis!();
    let server = full_server(FULL);
    let (one, two) = (steered(&server, quick()).await, steered(&server, quick()).await);
    eventually("they know each other", RECOVERY, async || two.steering().unwrap().processes == 2).await;
    traffic(&one, 0..3_000).await;
    one.steer(false);
    // What one no longer frees, the other must not pay for.
    eventually("nobody steers", RECOVERY, async || !one.steering().unwrap().steers && !two.steering().unwrap().steers)
        .await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    let (before, native) = ([one.steering().unwrap(), two.steering().unwrap()], evicted(&server));
    traffic(&one, 10_000..14_000).await;
    let after = [one.steering().unwrap(), two.steering().unwrap()];
    for (before, after) in before.iter().zip(&after) {
        assert_eq!((before.evicted, before.refused), (after.evicted, after.refused));
    }
    assert!(evicted(&server) - native > 2_000);
    one.steer(true);
    eventually("both steer again", RECOVERY, async || one.steering().unwrap().steers && two.steering().unwrap().steers)
        .await;
    traffic(&one, 20_000..24_000).await;
    assert!(one.steering().unwrap().evicted > after[0].evicted);
}

#[tokio::test]
async fn an_invalidation_keeps_its_mark() {
    need_redis!();
    let server = full_server(FULL);
    let store = steered(&server, quick()).await;
    read(&store, 1).await;
    let notice = |key: u64| {
        let bytes = Envelope::invalidated(1, Fence(7)).encode(&name(key), &Form::default()).unwrap();
        Notice::new(Invalidation::Key(name(key)), Item { name: name(key), bytes, ttl: HOUR })
    };
    store.invalidate(&(1..=100).map(notice).collect::<Vec<_>>()).await.unwrap();
    assert_eq!(store.steering().unwrap().keys, 0);
    // Loaded before: refused, and not taken for a key of ours.
    assert_eq!(store.put(&[item(&name(1))]).await.unwrap(), Filled::default());
    assert_eq!(store.steering().unwrap().keys, 0);
    traffic(&store, 1_000..5_000).await;
    let state = store.steering().unwrap();
    assert!(state.evicted + state.refused > 500, "{state:?}");
    // The server itself may have evicted some.
    let left = (1..=100).filter(|&key| server.tell::<i64>(&["EXISTS", &name(key)]).unwrap() == 1).count() as u64;
    assert!(left + evicted(&server) >= 100, "{left} of 100 are left");
}
