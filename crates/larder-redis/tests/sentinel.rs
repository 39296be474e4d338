//! A master, a replica and three sentinels: the store follows the master.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use std::time::Duration;

use larder_redis::{Login, RedisConfig};
use support::server::{Server, free_port};
use support::{RECOVERY, Service, eventually};

const KEYS: u32 = 50;
const SERVICE: &str = "larder";

/// Three sentinels that watch the master.
fn sentinels(master: &Server) -> Vec<Server> {
    (0..3)
        .map(|_| {
            let mut sentinel = Server::planned(&[]);
            let file = sentinel.dir.path().join("sentinel.conf");
            let lines = [
                format!("sentinel monitor {SERVICE} 127.0.0.1 {} 2", master.port),
                format!("sentinel down-after-milliseconds {SERVICE} 500"),
                format!("sentinel failover-timeout {SERVICE} 3000"),
            ];
            std::fs::write(&file, lines.join("\n")).unwrap();
            sentinel.run_as_sentinel(&file);
            sentinel
        })
        .collect()
}

#[tokio::test]
async fn a_fail_over_is_followed_unaided() {
    need_redis!();
    let mut master = Server::start(&[]);
    let replica = Server::start(&["--replicaof", "127.0.0.1", &master.port.to_string()]);
    let sentinels = sentinels(&master);
    let asked = |words: &[&str]| sentinels[0].tell::<Vec<String>>(words).unwrap_or_default();
    eventually("the sentinels know each other and the replica", Duration::from_secs(30), async || {
        let info: String = sentinels[0].tell(&["INFO", "sentinel"]).unwrap_or_default();
        info.contains("slaves=1,sentinels=3")
    })
    .await;
    let urls: Vec<_> = sentinels.iter().map(Server::url).collect();
    // One of them is not there.
    let missing = format!("redis://127.0.0.1:{}", free_port());
    let urls: Vec<_> = std::iter::once(&missing).chain(&urls).map(String::as_str).collect();
    let service = Service::with(RedisConfig::sentinel(&urls, SERVICE, Login::default()).unwrap());
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
    service.was_prompt();
}
