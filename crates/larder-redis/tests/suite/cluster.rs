//! Three masters and three replicas: the store does what every store must, through fail-over and resharding.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use crate::{need_redis, support};

use std::sync::Arc;
use std::time::Duration;

use larder::recorder::{Event, Options, Recorder};
use larder::remote::{Invalidation, RemoteStore, testing};
use larder::{Registry, registry};
use larder_policy::Op;
use larder_redis::{RecordReader, RecordStream, RedisConfig, RedisStore};
use support::cluster::{Cluster, PATIENCE};
use support::{RECOVERY, Service, eventually, name, patient};
use tokio::runtime::Handle;
use tokio::time::sleep;

const KEYS: u32 = 60;
async fn store(config: RedisConfig) -> Arc<RedisStore> {
    let store = Arc::new(RedisStore::new(patient(config), &Handle::current()).unwrap());
    eventually("it connects", RECOVERY, async || store.state().connected && store.state().listening).await;
    store
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn conforms_and_survives_fail_over_and_resharding() {
    need_redis!();
    let mut cluster = Cluster::start(6, 1).await;
    testing::conformance(async || store(cluster.config()).await as Arc<dyn RemoteStore>).await;
    registry::testing::conformance(async || store(cluster.config()).await as Arc<dyn Registry>).await;

    let service = Service::with(cluster.config());
    service.warm(KEYS).await;
    let both = [Invalidation::Key(name("1")), Invalidation::Key(name("2"))];
    eventually("both are invalidated", RECOVERY, async || service.tier.invalidate(&both).await.is_ok()).await;
    assert!(!service.read("1").await);

    // A master dies; the seeds are among the masters.
    let masters = cluster.masters();
    assert_eq!(masters.len(), 3);
    cluster.nodes[masters[0]].kill();
    eventually("its replica takes over", PATIENCE, async || {
        service.pass(5).await;
        cluster.is_whole(3)
    })
    .await;
    service.recovers(KEYS).await;

    // Slots move while the service reads.
    let masters = cluster.masters();
    let moving = cluster.reshard(masters[0], masters[1], 2000);
    while !moving.is_finished() {
        service.pass(KEYS).await;
    }
    moving.await.unwrap();
    service.recovers(KEYS).await;
}

/// A node that is taken out of the cluster answers whoever listens there, and tells nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_listener_on_a_node_that_was_taken_out_finds_another() {
    need_redis!();
    let cluster = Cluster::start(4, 0).await;
    cluster.reshard(3, 0, 16_384).await.unwrap();
    let (out, other) = (&cluster.nodes[3], &cluster.nodes[0]);
    let mut config = RedisConfig::cluster(&[&out.url(), &other.url()]).unwrap();
    config.longest_backoff = Duration::from_millis(200);
    let channel = config.channel.clone();
    let store = store(config).await;
    eventually("it listens there", PATIENCE, async || {
        if out.listeners(&channel) == 0 {
            other.tell::<()>(&["CLIENT", "KILL", "TYPE", "pubsub"]).unwrap();
        }
        out.listeners(&channel) == 1
    })
    .await;
    let quiet = store.state().losses;
    sleep(Duration::from_secs(3)).await;
    assert_eq!(store.state().losses, quiet, "the cluster carries signs from node to node");
    let clocks = cluster.nodes.iter().filter(|node| node.calls("time") > 0).count();
    assert_eq!(clocks, 1, "all processes go by the clock of one node");
    cluster.forget(3);
    eventually("it listens elsewhere", PATIENCE, async || {
        out.listeners(&channel) == 0 && other.listeners(&channel) == 1 && store.state().listening
    })
    .await;
    assert!(store.state().losses > quiet);
}

/// Row 7, MOVED: a node of a cluster taken for a single server. It answers for its own keys; the others are misses, and nothing runs hot.
#[tokio::test]
async fn row_07_a_cluster_taken_for_one_server_does_no_harm() {
    need_redis!();
    let cluster = Cluster::start(3, 0).await;
    let service = Service::new(&cluster.nodes[0].url());
    eventually("it connects", RECOVERY, async || service.store.state().connected).await;
    for _ in 0..20 {
        service.pass(KEYS).await;
        sleep(Duration::from_millis(50)).await;
    }
    assert!(service.store.state().connects <= 10, "{:?}", service.store.state());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_recording_lies_on_the_node_of_its_name() {
    need_redis!();
    let cluster = Cluster::start(3, 0).await;
    let sink = RecordStream::new(cluster.config(), "traffic", 100).unwrap();
    let options = Options { key: Some([1; 16]), ..Options::default() };
    let recorder = Recorder::stream(Arc::new(sink), options).unwrap();
    for at in 0..1000 {
        recorder.record(&Event { key: at.into(), at, size: 1, op: Op::Get, ttl: None, cost: 0 });
    }
    assert_eq!(recorder.finish().unwrap().written, 1000);
    let rows = async |config: RedisConfig| {
        let mut reader = RecordReader::open(&config, "traffic").await?;
        Ok::<_, larder::Error>(reader.next().await?.unwrap().1.rows)
    };
    assert_eq!(rows(cluster.config()).await.unwrap(), 1000);
    // As a single server, one node has it, and the others say which.
    let (mut had, mut told) = (Vec::new(), Vec::new());
    for node in &cluster.nodes {
        match rows(RedisConfig::single(&node.url()).unwrap()).await {
            Ok(_) => had.push(node.address().to_string()),
            Err(error) => told.push(error.to_string()),
        }
    }
    assert!(had.len() == 1 && told.iter().all(|text| text.contains(&had[0])), "{had:?} {told:?}");
}
