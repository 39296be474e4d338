//! The fault matrix, rows 1 to 10: each fault is produced, and the promise asserted. Every read of the service checks that the value
//! is its key's (I1) and is served, by the loader if need be (I2).
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use crate::{need_redis, support};

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use larder::Error;
use larder::remote::envelope::{Fence, Form};
use larder::remote::{BreakerState, Envelope, Invalidation, Kind, names};
use larder_redis::{Credentials, Login, RedisConfig};
use parking_lot::Mutex;
use support::proxy::{Accident, Proxy, Way};
use support::server::Server;
use support::{LONG, RECOVERY, Service, entry, eventually, name, unhurried};
use tokio::time::{Instant, sleep};

const KEYS: u32 = 100;

async fn behind_a_proxy() -> (Server, Proxy, Service) {
    let server = Server::start(&[]);
    let proxy = Proxy::before(server.address()).await;
    let service = Service::new(&proxy.url());
    service.warm(KEYS).await;
    (server, proxy, service)
}

#[tokio::test]
async fn row_01_down_at_start() {
    need_redis!();
    let mut server = Server::planned(&[]);
    let service = Service::new(&server.url());
    // The very first question is answered without any waiting: it is polled once.
    let asked = service.tier.get(&[name("0")]).now_or_never();
    assert!(asked.expect("answered at once").is_err());
    service.pass(KEYS).await;
    assert_eq!(service.loads.load(Relaxed), u64::from(KEYS));
    server.run();
    service.recovers(KEYS).await;
}

#[tokio::test]
async fn row_02_killed_and_restarted_empty() {
    need_redis!();
    let mut server = Server::start(&[]);
    let service = Arc::new(Service::new(&server.url()));
    service.warm(KEYS).await;
    let load = {
        let service = service.clone();
        tokio::spawn(async move {
            loop {
                service.pass(KEYS).await;
                sleep(Duration::from_millis(1)).await;
            }
        })
    };
    sleep(Duration::from_millis(50)).await;
    server.kill();
    sleep(Duration::from_millis(500)).await;
    server.run();
    service.recovers(KEYS).await;
    assert!(!load.is_finished(), "a read failed");
    load.abort();
}

#[tokio::test]
async fn row_03_slow() {
    need_redis!();
    for delay in [300, 2_000] {
        let (_server, proxy, service) = behind_a_proxy().await;
        proxy.set(Way { delay: Duration::from_millis(delay), ..Way::default() });
        service.breaker_is(BreakerState::Open).await;
        service.pass(KEYS).await;
        let asked = service.tier.get(&[name("0")]).now_or_never();
        assert!(asked.is_none_or(|answer| answer.is_err()));
        proxy.set(Way::default());
        service.recovers(KEYS).await;
    }
}

#[tokio::test]
async fn row_03_thin() {
    need_redis!();
    let (_server, proxy, service) = behind_a_proxy().await;
    service.keep_large_values().await;
    proxy.set(Way { rate: Some(20_000), ..Way::default() });
    service.large_values_open_the_breaker().await;
    proxy.set(Way::default());
    service.recovers(KEYS).await;
}

#[tokio::test]
async fn row_04_frozen() {
    need_redis!();
    let (server, _proxy, service) = behind_a_proxy().await;
    server.freeze();
    eventually("the connection is given up", RECOVERY, async || {
        service.pass(5).await;
        !service.store.state().connected
    })
    .await;
    service.pass(KEYS).await;
    server.thaw();
    service.recovers(KEYS).await;
}

#[tokio::test]
async fn row_04_frozen_before_it_connects() {
    need_redis!();
    let server = Server::start(&[]);
    // Its kernel takes connections that it never answers.
    server.freeze();
    let service = Service::new(&server.url());
    let until = Instant::now() + Duration::from_secs(3);
    while Instant::now() < until {
        service.pass(KEYS).await;
        sleep(Duration::from_millis(50)).await;
    }
    assert!(!service.store.state().connected);
    server.thaw();
    service.recovers(KEYS).await;
}

#[tokio::test]
async fn row_04_half_open() {
    need_redis!();
    let (_server, proxy, service) = behind_a_proxy().await;
    let connects = service.store.state().connects;
    proxy.silence_all();
    // Nobody asks: the supervisor finds out by itself.
    eventually("it is rebuilt", RECOVERY, async || service.store.state().connects > connects).await;
    service.recovers(KEYS).await;
}

#[tokio::test]
async fn row_05_packet_loss() {
    need_redis!();
    let (_server, proxy, service) = behind_a_proxy().await;
    proxy.set(Way { loss: 0.3, ..Way::default() });
    for _ in 0..20 {
        service.pass(KEYS / 10).await;
        sleep(Duration::from_millis(20)).await;
    }
    proxy.set(Way::default());
    service.recovers(KEYS).await;
}

#[tokio::test]
async fn row_06_reset_closed_and_truncated() {
    need_redis!();
    let (server, proxy, service) = behind_a_proxy().await;
    for accident in [Accident::Reset, Accident::Close, Accident::Truncate(3), Accident::Truncate(60), Accident::Garbage]
    {
        let was = service.store.state();
        // Each fill's script reads a fence too.
        let reads = || server.calls("getrange") - server.calls("evalsha").min(server.calls("getrange"));
        let (before, retries) = (reads(), service.tier.counts().retries);
        // A ping may meet with it before a read does, and the channel, which has a connection of its own, before both: then once more.
        for losses in was.losses.. {
            proxy.accident(accident.clone());
            eventually("it happens", RECOVERY, async || {
                service.pass(1).await;
                proxy.has_happened()
            })
            .await;
            let now = || service.store.state();
            let is_new = async || now().connects > was.connects || now().losses > losses;
            eventually("a new connection", RECOVERY, is_new).await;
            if now().connects > was.connects {
                break;
            }
        }
        let (asked, again) = (reads() - before, service.tier.counts().retries - retries);
        assert!(again <= asked.max(1), "{accident:?}: {again} retries for {asked} reads");
        service.recovers(KEYS).await;
    }
    proxy.reset_all();
    service.pass(KEYS).await;
    service.recovers(KEYS).await;
}

/// The address leads to another server, as after a fail-over, and the old one lives on: whoever listens there answers pings and hears nothing.
#[tokio::test]
async fn row_06_the_channel_stays_behind() {
    need_redis!();
    let (server, proxy, service) = behind_a_proxy().await;
    let other = Server::start(&[]);
    eventually("it listens", RECOVERY, async || server.listeners("larder") == 1).await;
    proxy.lead_to(other.address());
    let losses = service.store.state().losses;
    server.tell::<()>(&["CLIENT", "KILL", "TYPE", "normal"]).unwrap();
    service.recovers(KEYS).await;
    let stays = server.listeners("larder") == 1;
    let state = service.store.state();
    assert!(stays || !state.listening || state.losses > losses, "it has not found out yet");
    eventually("it listens where the values are", RECOVERY, async || other.listeners("larder") == 1).await;
    eventually("what was said meanwhile counts as lost", RECOVERY, async || service.store.state().losses > losses)
        .await;
}

#[tokio::test]
async fn row_07_out_of_memory_stops_writes_and_keeps_reads() {
    need_redis!();
    let server = Server::start(&[]);
    let (service, other) = (Service::unhurried(&server.url()), Service::new(&server.url()));
    service.warm(KEYS).await;
    let mut heard = other.tier.listen();
    let tag = names::tag(names::namespace(&name("0")), "t");
    let has_mark = || server.tell::<u64>(&["EXISTS", &tag]).unwrap() == 1;
    service.tier.invalidate(&[Invalidation::Tag(tag.clone())]).await.unwrap();
    assert!(has_mark());
    server.set("maxmemory", "1mb");
    server.tell::<()>(&["CONFIG", "SET", "maxmemory-policy", "noeviction"]).unwrap();
    service.read("new").await;
    eventually("writes pause", RECOVERY, async || {
        service.read("new").await;
        service.store.state().writes_paused
    })
    .await;
    let sent = server.calls("evalsha");
    for _ in 0..50 {
        assert!(!service.read("new").await);
        sleep(Duration::from_millis(2)).await;
    }
    assert!(server.calls("evalsha") - sent <= 2, "writes went on");
    assert_eq!(service.pass(KEYS).await, 1.0, "reads go on");
    // A full server can still be told to forget, and the others hear of it.
    service.tier.invalidate(&[Invalidation::Key(name("0"))]).await.unwrap();
    assert!(!service.read("0").await);
    eventually(
        "the others hear",
        RECOVERY,
        async || matches!(heard.try_recv(), Ok(Invalidation::Key(key)) if key == name("0")),
    )
    .await;
    assert_eq!(service.tier.state().breaker, BreakerState::Closed);
    // What a tag was removed by is a mark, which has to be there: the last one stays, and the new one waits.
    assert!(service.tier.invalidate(&[Invalidation::Tag(tag.clone())]).await.is_err());
    assert!(has_mark() && service.tier.state().pending == 1);
    // It is tried again and again, which the others hear nothing of.
    sleep(Duration::from_secs(1)).await;
    let mut tags = 0;
    while let Ok(what) = heard.try_recv() {
        tags += u32::from(what == Invalidation::Tag(tag.clone()));
    }
    assert!(tags <= 2, "the mark that was written, and the one that waits, were heard {tags} times");
    server.set("maxmemory", "0");
    eventually("writes are back", RECOVERY, async || service.read("new").await).await;
    eventually("the mark is written", RECOVERY, async || service.tier.state().pending == 0).await;
}

#[tokio::test]
async fn row_07_a_failed_save_stops_writes_and_keeps_reads() {
    need_redis!();
    let mut server = Server::start(&[]);
    let service = Service::unhurried(&server.url());
    service.warm(KEYS).await;
    // Its folder is gone: the save fails, and Redis refuses writes.
    std::fs::remove_dir_all(server.dir.path()).unwrap();
    server.set("save", "3600 1");
    server.tell::<()>(&["BGSAVE"]).unwrap();
    eventually("the save fails", RECOVERY, async || {
        let info: String = server.tell(&["INFO", "persistence"]).unwrap();
        info.contains("rdb_last_bgsave_status:err")
    })
    .await;
    eventually("writes pause", RECOVERY, async || {
        service.read("new").await;
        service.store.state().writes_paused
    })
    .await;
    assert_eq!(service.pass(KEYS).await, 1.0);
    sleep(Duration::from_millis(2_500)).await;
    assert_eq!(service.store.state().connects, 1, "the connection is fine");
    assert!(service.tier.invalidate(&[Invalidation::Key(name("0"))]).await.is_err());
    assert!(!service.read("0").await, "what was invalidated is a miss here, though it is still kept");
    server.set("stop-writes-on-bgsave-error", "no");
    eventually("writes are back", RECOVERY, async || service.read("new").await).await;
    eventually("the invalidation is done", RECOVERY, async || service.tier.state().pending == 0).await;
    server.kill();
}

#[tokio::test]
async fn row_07_a_demoted_server_is_left_and_found_again() {
    need_redis!();
    let server = Server::start(&[]);
    let service = Service::with(unhurried(&server.url()));
    service.warm(KEYS).await;
    let nowhere = support::server::free_port().to_string();
    server.tell::<()>(&["REPLICAOF", "127.0.0.1", &nowhere]).unwrap();
    let connects = service.store.state().connects;
    eventually("it looks for the one to write to", RECOVERY, async || {
        service.read("new").await;
        service.store.state().connects > connects
    })
    .await;
    // No hot loop: writes pause between two attempts.
    let connects = service.store.state().connects;
    for _ in 0..100 {
        service.read("new").await;
        sleep(Duration::from_millis(10)).await;
    }
    assert!(service.store.state().connects - connects <= 5);
    server.tell::<()>(&["REPLICAOF", "NO", "ONE"]).unwrap();
    service.recovers(KEYS).await;
    eventually("writes are back", RECOVERY, async || service.read("new").await).await;
}

#[tokio::test]
async fn row_07_a_loading_server_is_waited_for() {
    need_redis!();
    let mut server = Server::start(&["--loading-process-events-interval-bytes", "1024"]);
    for key in 0..100 {
        server.tell::<()>(&["SET", &format!("other:{key}"), &"x".repeat(1_000)]).unwrap();
    }
    let service = Service::with(unhurried(&server.url()));
    service.warm(KEYS).await;
    server.tell::<()>(&["SAVE"]).unwrap();
    assert_eq!(service.store.state().connects, 1);
    server.kill();
    let mut slow = Server::planned(&["--loading-process-events-interval-bytes", "1024", "--key-load-delay", "20000"]);
    (slow.port, slow.dir) = (server.port, std::mem::replace(&mut server.dir, tempfile::TempDir::new().unwrap()));
    slow.run();
    let loading = || slow.tell::<String>(&["GET", "x"]).is_err_and(|error| error.code() == Some("LOADING"));
    assert!(loading(), "it loads");
    eventually("connected meanwhile", RECOVERY, async || service.store.state().connects > 1).await;
    assert!(loading(), "it still loads");
    let connects = service.store.state().connects;
    while loading() {
        service.pass(5).await;
    }
    service.recovers(KEYS).await;
    assert_eq!(service.store.state().connects, connects, "the connection was never to blame");
}

#[tokio::test]
async fn row_07_a_busy_server_is_waited_for() {
    need_redis!();
    let server = Server::start(&["--busy-reply-threshold", "1"]);
    let service = Service::with(unhurried(&server.url()));
    service.warm(KEYS).await;
    let url = server.url();
    let script = std::thread::spawn(move || {
        let mut conn = redis::Client::open(url).unwrap().get_connection().unwrap();
        redis::cmd("EVAL").arg("while true do end").arg(0).query::<()>(&mut conn)
    });
    service.breaker_is(BreakerState::Open).await;
    let connects = service.store.state().connects;
    sleep(Duration::from_millis(2_500)).await;
    service.pass(KEYS).await;
    assert_eq!(service.store.state().connects, connects, "the connection was never to blame");
    server.tell::<()>(&["SCRIPT", "KILL"]).unwrap();
    assert!(script.join().unwrap().is_err());
    service.recovers(KEYS).await;
}

/// A login that can be rotated, and says how often it was asked for.
#[derive(Default)]
struct Rotating {
    password: Mutex<Option<String>>,
    asked: Mutex<u32>,
}

impl Credentials for Rotating {
    fn current(&self) -> BoxFuture<'_, Result<Login, Error>> {
        *self.asked.lock() += 1;
        let password = self.password.lock().clone();
        async { Ok(Login { user: None, password }) }.boxed()
    }
}

#[tokio::test]
async fn row_07_and_08_a_rotated_password() {
    need_redis!();
    let mut server = Server::start(&[]);
    let credentials = Arc::new(Rotating::default());
    let mut config = RedisConfig::single(&server.url()).unwrap();
    config.credentials = credentials.clone();
    config.longest_backoff = Duration::from_secs(1);
    let service = Service::with(config);
    service.warm(KEYS).await;

    server.set("requirepass", "new");
    server.login_with("new");
    server.tell::<()>(&["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "no"]).ok();
    eventually("the login is refused", RECOVERY, async || {
        service.pass(5).await;
        service.store.state().refused_logins > 0
    })
    .await;
    let asked = *credentials.asked.lock();
    sleep(Duration::from_secs(2)).await;
    service.pass(KEYS).await;
    assert!(*credentials.asked.lock() - asked <= 2, "no hot loop");
    assert!(service.store.state().last_error.unwrap().contains("login"));
    *credentials.password.lock() = Some("new".to_owned());
    service.recovers(KEYS).await;

    // Rotated during a reconnect, and put back.
    server.set("requirepass", "newer");
    server.login_with("newer");
    server.tell::<()>(&["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "no"]).ok();
    eventually("the login is refused", RECOVERY, async || !service.store.state().connected).await;
    sleep(Duration::from_millis(500)).await;
    server.set("requirepass", "new");
    server.login_with("new");
    service.recovers(KEYS).await;
}

#[tokio::test]
async fn row_09_what_is_not_ours_is_a_miss() {
    need_redis!();
    let server = Server::start(&[]);
    let service = Service::unhurried(&server.url());
    service.warm(1).await;
    let key = "test:0";
    let mut envelope = Envelope::invalidated(1, Fence(0));
    envelope.kind = Kind::Value;
    envelope.payload = "0=".into();
    envelope.kept_until = u64::MAX;
    let form = Form::default();
    let raw = |bytes: &[u8]| {
        let mut conn = redis::Client::open(server.url()).unwrap().get_connection().unwrap();
        redis::cmd("SET").arg(key).arg(bytes).exec(&mut conn).unwrap();
    };
    let miss_then_filled = async |what: &str| {
        assert!(!service.read("0").await, "{what}");
        assert!(service.tier.flush(Instant::now() + LONG).await);
        assert!(service.read("0").await, "{what}");
    };
    for (what, command) in [
        ("a list", &["RPUSH", key, "x"][..]),
        ("a hash", &["HSET", key, "f", "x"]),
        ("a set", &["SADD", key, "x"]),
        ("a stream", &["XADD", key, "*", "f", "x"]),
    ] {
        server.tell::<()>(&["DEL", key]).unwrap();
        server.tell::<redis::Value>(command).unwrap();
        miss_then_filled(what).await;
    }
    let whole = envelope.encode(key, &form).unwrap().to_vec();
    raw(b"{\"a\":\"foreign value\"}");
    miss_then_filled("foreign").await;
    for at in [8, 20, 33, 60, whole.len() - 1] {
        let mut flipped = whole.clone();
        flipped[at] ^= 4;
        // A flipped fence is no reason to refuse a fill for ever.
        raw(&flipped);
        miss_then_filled("flipped").await;
    }
    raw(&whole[..whole.len() - 1]);
    miss_then_filled("truncated").await;
    raw(&envelope.encode(key, &Form { schema: 99, ..form }).unwrap());
    miss_then_filled("another schema").await;
    let counts = service.tier.counts();
    assert_eq!((counts.foreign, counts.damaged, counts.schema, counts.fingerprint), (1, 6, 1, 0));
    assert_eq!(service.store.state().connects, 1);

    // Another key's value under our name: that connection is not to be believed.
    raw(&envelope.encode("test:1", &form).unwrap());
    assert!(!service.read("0").await);
    assert_eq!(service.store.state().distrusted, 1);
    server.tell::<()>(&["DEL", key]).unwrap();
    service.recovers(1).await;
}

/// Somebody renames keys of ours: each is another's value under a name, and the connection not to blame.
#[tokio::test]
async fn row_09_renamed_keys_cost_no_connection_each() {
    need_redis!();
    let server = Server::start(&[]);
    let service = Service::with(unhurried(&server.url()));
    service.warm(40).await;
    let before = service.store.state();
    for key in 0..20 {
        server.tell::<()>(&["RENAME", &format!("test:{key}"), &format!("test:{}", key + 20)]).unwrap();
    }
    service.recovers(40).await;
    let after = service.store.state();
    assert!(after.distrusted - before.distrusted > 10 && after.connects - before.connects == 1, "{before:?} {after:?}");
}

#[tokio::test]
async fn row_10_off_by_one_replies() {
    need_redis!();
    for round in 0..5 {
        let (_server, proxy, service) = behind_a_proxy().await;
        let service = Arc::new(service);
        let was = service.store.state();
        // The channel, which has a connection of its own, may meet with it: then once more.
        for losses in was.losses.. {
            proxy.accident(Accident::Duplicate);
            let readers: Vec<_> = (0..4)
                .map(|_| {
                    let service = service.clone();
                    tokio::spawn(async move { service.pass(KEYS).await })
                })
                .collect();
            for reader in readers {
                // Each read has checked whose value it got.
                reader.await.unwrap();
            }
            assert!(proxy.has_happened());
            let now = || service.store.state();
            let is_new = async || now().connects > was.connects || now().losses > losses;
            eventually("the connection is dropped", RECOVERY, is_new).await;
            if now().connects > was.connects {
                break;
            }
        }
        service.recovers(KEYS).await;
        let entry = entry("0", 0);
        let written = async || service.tier.write(&name("0"), &entry).await.is_ok() && service.read("0").await;
        eventually(&format!("round {round}: what is written is read"), RECOVERY, written).await;
        assert!(service.tier.flush(Instant::now() + LONG).await);
    }
}
