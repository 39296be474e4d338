//! Settings at the ends of what times and numbers can be: each is refused with an error that names it, or makes a store that works. Nothing
//! panics, in no task.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use std::convert::Infallible;
use std::future::ready;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use larder::behind::Sink;
use larder::{Cache, Error, ErrorKind, Freshness, Sharing, codec};
use larder_redis::{
    Learned, LearnedConfig, RecordStream, RedisConfig, RedisStore, Steering, StreamOptions, StreamSink,
};
use redis::AsyncCommands;
use support::server::Server;
use tokio::runtime::Handle;

const TIMES: [Duration; 8] = [
    Duration::ZERO,
    Duration::from_nanos(1),
    Duration::from_millis(1),
    Duration::from_secs(1),
    Duration::from_secs(1 << 40),
    Duration::from_micros(u64::MAX),
    Duration::from_secs(u64::MAX),
    Duration::MAX,
];

type Change = (&'static str, fn(&mut RedisConfig, Duration));

fn names(error: &Error, setting: &str) {
    assert!(error.kind() == ErrorKind::Config && error.to_string().contains(setting), "{setting}: {error}");
}

#[tokio::test]
async fn a_redis_told_nonsense_says_so_or_serves() {
    need_redis!();
    static PANICS: AtomicU64 = AtomicU64::new(0);
    let usual = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        PANICS.fetch_add(1, Relaxed);
        usual(panic);
    }));
    let server = Server::start(&[]);
    let config = || RedisConfig::single(&server.url()).unwrap();
    let changes: [Change; 8] = [
        ("connect_within", |config, time| config.connect_within = time),
        ("answer_within", |config, time| config.answer_within = time),
        ("ping_every", |config, time| config.ping_every = time),
        ("backoff", |config, time| config.backoff = time),
        ("longest_backoff", |config, time| config.longest_backoff = time),
        ("write_pause", |config, time| config.write_pause = time),
        ("every", |config, time| *config = config.clone().metrics("r", time)),
        ("every", |config, every| {
            let mut steering = Steering::default();
            steering.every = every;
            *config = config.clone().steered(steering);
        }),
    ];
    for (setting, change) in changes {
        let mut good = 0;
        for time in TIMES {
            let mut config = config();
            change(&mut config, time);
            let store = match RedisStore::new(config.clone(), &Handle::current()) {
                Ok(store) => Arc::new(store),
                Err(error) => {
                    names(&error, setting);
                    names(&RecordStream::new(config.clone(), "s", 1).unwrap_err(), setting);
                    names(
                        &StreamSink::new(config, "s", StreamOptions::default(), &Handle::current()).unwrap_err(),
                        setting,
                    );
                    continue;
                }
            };
            let cache: Cache<u64, u64> = Cache::builder()
                .capacity(10)
                .lease(Duration::from_secs(1))
                .share_models(store.clone())
                .sharing(Sharing { look: Duration::from_millis(1), ..Sharing::default() })
                .remote(store, codec::MessagePack)
                .build()
                .unwrap();
            for key in 0..5 {
                let loaded = cache.get_with(&key, move || ready(Ok::<_, Infallible>(key))).await;
                assert_eq!(loaded.unwrap(), key);
                let _ = cache.changed(&key).await;
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
            good += 1;
        }
        assert!(good > 0, "no value of {setting} is accepted");
        assert_eq!(PANICS.load(Relaxed), 0, "{setting}");
    }
    for number in [0, 1, i64::MAX as u64, i64::MAX as u64 + 1, u64::MAX] {
        let fits = (1..=i64::MAX as u64).contains(&number);
        match RecordStream::new(config(), "s", number) {
            Ok(_) => assert!(fits),
            Err(error) => names(&error, "batches"),
        }
        let options = StreamOptions { max_len: Some(number), ..StreamOptions::default() };
        match StreamSink::new(config(), format!("s-{number}"), options, &Handle::current()) {
            Ok(sink) => {
                sink.begin(1);
                let write = larder::behind::Write { sequence: 1, name: "a".into(), value: None };
                support::eventually("it writes", support::RECOVERY, async || {
                    sink.write(std::slice::from_ref(&write)).await.is_ok()
                })
                .await;
            }
            Err(error) => names(&error, "max_len"),
        }
    }
    // Lifetimes saturate: what Redis is told it takes.
    let client = redis::Client::open(server.url()).unwrap();
    for ttl in TIMES {
        let conn = client.get_multiplexed_async_connection().await.unwrap();
        let mut conn = Learned::new(conn, LearnedConfig::new(Freshness::fixed_ttl(ttl), &["page:"]));
        let () = conn.set("page:1", "x").await.unwrap();
        let _: Option<String> = conn.get("page:1").await.unwrap();
    }
    assert_eq!(PANICS.load(Relaxed), 0);
}
