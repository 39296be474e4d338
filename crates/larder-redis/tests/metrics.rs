//! What a recorder gets of a real server.
#![cfg(feature = "metrics")]
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use std::time::Duration;

use larder::remote::RemoteStore;
use larder_redis::metrics::CATALOGUE;
use larder_redis::{RedisConfig, RedisStore};
use metrics_exporter_prometheus::PrometheusBuilder;
use support::server::Server;
use support::{RECOVERY, eventually};
use tokio::runtime::Handle;

#[tokio::test]
async fn the_servers_figures_and_the_links_are_published() {
    need_redis!();
    let recorder = PrometheusBuilder::new().with_recommended_naming(true).install_recorder().unwrap();
    let mut server = Server::start(&["--maxmemory", "4mb", "--maxmemory-policy", "allkeys-lru"]);
    let config = RedisConfig::single(&server.url()).unwrap().metrics("main", Duration::from_millis(100));
    let store = RedisStore::new(config, &Handle::current()).unwrap();
    let number = |series: &str| {
        let scrape = recorder.render();
        let line = scrape.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' ').map(str::to_owned));
        line.and_then(|value| value.parse::<f64>().ok())
    };
    let is = |series: &'static str, expected: f64| async move {
        eventually(series, RECOVERY, async || number(series) == Some(expected)).await;
    };
    is(r#"larder_redis_connected{redis="main"}"#, 1.0).await;
    is(r#"larder_redis_memory_limit_bytes{redis="main"}"#, f64::from(4 << 20)).await;
    let evicted = r#"larder_redis_evicted_keys_total{redis="main"}"#;
    assert_eq!(number(evicted), Some(0.0));
    let value = "x".repeat(100_000);
    for key in 0..100 {
        server.tell::<()>(&["SET", &key.to_string(), &value]).unwrap();
    }
    let info = store.server().await.unwrap();
    assert!(info.evicted_keys > 0);
    is(evicted, info.evicted_keys as f64).await;
    let figures = store.server_figures().unwrap();
    assert_eq!((figures.limit_bytes, figures.evicted), (4 << 20, info.evicted_keys));
    let scrape = recorder.render();
    for metric in CATALOGUE {
        assert!(scrape.contains(&format!("# HELP {} ", metric.name)), "{} has no help", metric.name);
        assert!(scrape.contains(&format!("\n{}{{", metric.name)), "{} is never published", metric.name);
    }

    server.kill();
    is(r#"larder_redis_connected{redis="main"}"#, 0.0).await;
    eventually("figures of a server that is gone are not shown", RECOVERY, async || store.server_figures().is_none())
        .await;
    let failed = r#"larder_redis_failures_total{redis="main",kind="connect"}"#;
    eventually(failed, RECOVERY, async || number(failed) > Some(0.0)).await;
    let is_withdrawn = |series: &'static str| async move {
        eventually(series, RECOVERY, async || number(series).is_some_and(f64::is_nan)).await;
    };
    is_withdrawn(r#"larder_redis_memory_bytes{redis="main"}"#).await;
    // Of a store that is gone nothing is known at all.
    drop(store);
    is_withdrawn(r#"larder_redis_connected{redis="main"}"#).await;
    assert!(number(evicted).is_some_and(|evicted| evicted > 0.0));
}
