//! Three masters and three replicas: the store does what every store must, through fail-over and resharding.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use std::sync::Arc;
use std::time::Duration;

use larder::recorder::{Event, Options, Recorder};
use larder::remote::{Invalidation, RemoteStore, testing};
use larder::{Registry, registry};
use larder_policy::Op;
use larder_redis::{RecordReader, RecordStream, RedisConfig, RedisStore};
use support::server::Server;
use support::{RECOVERY, Service, eventually, name};
use tokio::runtime::Handle;

const KEYS: u32 = 60;
const PATIENCE: Duration = Duration::from_secs(40);

struct Cluster {
    nodes: Vec<Server>,
}

impl Cluster {
    async fn start(nodes: usize, replicas: u32) -> Self {
        let args =
            ["--cluster-enabled", "yes", "--cluster-node-timeout", "1000", "--cluster-replica-validity-factor", "0"];
        let nodes: Vec<_> = (0..nodes).map(|_| Server::start(&args)).collect();
        let addresses: Vec<_> = nodes.iter().map(|node| node.address().to_string()).collect();
        let made = std::process::Command::new("redis-cli")
            .args(["--cluster", "create"])
            .args(&addresses)
            .args(["--cluster-replicas", &replicas.to_string(), "--cluster-yes"])
            .output()
            .unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stdout));
        let cluster = Self { nodes };
        eventually("the cluster is well", PATIENCE, async || cluster.nodes.iter().all(Self::is_well)).await;
        cluster
    }

    fn is_well(node: &Server) -> bool {
        node.tell::<String>(&["CLUSTER", "INFO"]).is_ok_and(|info| info.contains("cluster_state:ok"))
    }

    /// Two of the nodes are known at the start.
    fn config(&self) -> RedisConfig {
        let urls: Vec<_> = self.nodes.iter().take(2).map(Server::url).collect();
        RedisConfig::cluster(&urls.iter().map(String::as_str).collect::<Vec<_>>()).unwrap()
    }

    fn masters(&self) -> Vec<usize> {
        let role = |node: &Server| node.tell::<redis::Value>(&["ROLE"]).ok();
        let is_master = |value: redis::Value| match value {
            redis::Value::Array(parts) => parts.first() == Some(&redis::Value::BulkString(b"master".to_vec())),
            _ => false,
        };
        (0..self.nodes.len()).filter(|&node| role(&self.nodes[node]).is_some_and(is_master)).collect()
    }

    fn id(&self, node: usize) -> String {
        self.nodes[node].tell(&["CLUSTER", "MYID"]).unwrap()
    }
}

async fn store(config: RedisConfig) -> Arc<RedisStore> {
    let store = Arc::new(RedisStore::new(config, &Handle::current()).unwrap());
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
    service.tier.invalidate(&[Invalidation::Key(name("1")), Invalidation::Key(name("2"))]).await.unwrap();
    assert!(!service.read("1").await);

    // A master dies; the seeds are among the masters.
    let masters = cluster.masters();
    assert_eq!(masters.len(), 3);
    cluster.nodes[masters[0]].kill();
    eventually("its replica takes over", PATIENCE, async || {
        service.pass(5).await;
        cluster.masters().len() == 3 && cluster.masters().iter().all(|&node| Cluster::is_well(&cluster.nodes[node]))
    })
    .await;
    service.recovers(KEYS).await;
    service.was_prompt();

    // Slots move while the service reads.
    let masters = cluster.masters();
    let (from, to) = (cluster.id(masters[0]), cluster.id(masters[1]));
    let address = cluster.nodes[masters[0]].address().to_string();
    let moving = tokio::task::spawn_blocking(move || {
        std::process::Command::new("redis-cli")
            .args(["--cluster", "reshard", &address, "--cluster-from", &from, "--cluster-to", &to])
            .args(["--cluster-slots", "2000", "--cluster-yes"])
            .output()
            .unwrap()
    });
    while !moving.is_finished() {
        service.pass(KEYS).await;
    }
    let moved = moving.await.unwrap();
    assert!(moved.status.success(), "{}", String::from_utf8_lossy(&moved.stdout));
    service.recovers(KEYS).await;
    service.was_prompt();
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
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(service.store.state().connects <= 10, "{:?}", service.store.state());
    service.was_prompt();
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
