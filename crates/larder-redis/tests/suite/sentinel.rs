//! A master, a replica and three sentinels: the store follows the master.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use crate::{need_redis, support};

use std::time::Duration;

use larder::behind::{Behind, Options};
use larder_redis::{Login, RedisConfig, StreamOptions, StreamSink};
use support::server::{Server, free_port};
use support::{RECOVERY, Service, eventually};

const KEYS: u32 = 50;
const SERVICE: &str = "larder";

/// Three sentinels that watch the master, once they know each other and its replicas.
async fn sentinels(master: &Server, replicas: usize) -> Vec<Server> {
    let sentinels: Vec<_> = (0..3)
        .map(|_| {
            let mut sentinel = Server::planned(&[]);
            let file = sentinel.dir.path().join("sentinel.conf");
            let lines = [
                format!("sentinel monitor {SERVICE} 127.0.0.1 {} 2", master.port),
                format!("sentinel down-after-milliseconds {SERVICE} 3000"),
                format!("sentinel failover-timeout {SERVICE} 3000"),
            ];
            std::fs::write(&file, lines.join("\n")).unwrap();
            sentinel.run_as_sentinel(&file);
            sentinel
        })
        .collect();
    eventually("the sentinels know each other and the replicas", Duration::from_secs(30), async || {
        let info: String = sentinels[0].tell(&["INFO", "sentinel"]).unwrap_or_default();
        info.contains(&format!("slaves={replicas},sentinels=3"))
    })
    .await;
    sentinels
}

fn urls(sentinels: &[Server]) -> Vec<String> {
    sentinels.iter().map(Server::url).collect()
}

#[tokio::test]
async fn a_fail_over_is_followed_unaided() {
    need_redis!();
    let mut master = Server::start(&[]);
    let replica = Server::start(&["--replicaof", "127.0.0.1", &master.port.to_string()]);
    let sentinels = sentinels(&master, 1).await;
    let asked = |words: &[&str]| sentinels[0].tell::<Vec<String>>(words).unwrap_or_default();
    let urls = urls(&sentinels);
    // One of them is not there.
    let missing = format!("redis://127.0.0.1:{}", free_port());
    let urls: Vec<_> = std::iter::once(&missing).chain(&urls).map(String::as_str).collect();
    let mut config = RedisConfig::sentinel(&urls, SERVICE, Login::default()).unwrap();
    config.longest_backoff = Duration::from_secs(1);
    let service = Service::with(config);
    service.warm(KEYS).await;
    assert!(master.calls("evalsha") > 0, "the master is written to");

    master.kill();
    eventually("the replica is the master", Duration::from_secs(30), async || {
        service.pass(5).await;
        asked(&["SENTINEL", "GET-MASTER-ADDR-BY-NAME", SERVICE]).get(1) == Some(&replica.port.to_string())
    })
    .await;
    service.recovers(KEYS).await;
    eventually("it is written to", RECOVERY, async || service.read("new").await).await;
    assert!(replica.calls("evalsha") > 0);
}

#[tokio::test]
async fn a_fail_over_loses_nothing_of_a_stream_that_waits_for_replicas() {
    need_redis!();
    let mut master = Server::start(&[]);
    let replicas = [(); 2].map(|()| Server::start(&["--replicaof", "127.0.0.1", &master.port.to_string()]));
    let sentinels = sentinels(&master, 2).await;
    let urls = urls(&sentinels);
    let urls: Vec<_> = urls.iter().map(String::as_str).collect();
    let config = RedisConfig::sentinel(&urls, SERVICE, Login::default()).unwrap();
    let options = StreamOptions { replicas: 1, ..StreamOptions::default() };
    let sink = StreamSink::new(config, "writes", options, &tokio::runtime::Handle::current()).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let quick = Options { flush_interval: Duration::from_millis(1), batch_writes: 8, ..Options::default() };
    let behind = Behind::open(folder.path(), quick, std::sync::Arc::new(sink)).await.unwrap();
    let mut last = 0;
    for count in 0..400 {
        last = behind.append(format!("k{count}").as_str().into(), Some("v".into())).await.unwrap();
        if count == 200 {
            eventually("some has arrived", RECOVERY, async || behind.stats().flushed > 50).await;
            master.kill();
        }
    }
    eventually("all has arrived", Duration::from_secs(60), async || behind.stats().pending_writes == 0).await;
    let role = |server: &Server| server.tell::<String>(&["INFO", "replication"]).unwrap().contains("role:master");
    let now = replicas.iter().find(|replica| role(replica)).unwrap();
    let arrived: Vec<(String, Vec<String>)> = now.tell(&["XRANGE", "writes", "-", "+"]).unwrap();
    let sequences: Vec<u64> = arrived.iter().map(|(id, _)| id.split_once('-').unwrap().1.parse().unwrap()).collect();
    assert_eq!(sequences, (1..=last).collect::<Vec<_>>(), "each once, in order");
}
