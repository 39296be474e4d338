//! Masters and replicas of our own.

use std::process::Command;
use std::time::Duration;

use larder_redis::RedisConfig;

use super::eventually;
use super::server::Server;

pub const PATIENCE: Duration = Duration::from_secs(40);

pub struct Cluster {
    pub nodes: Vec<Server>,
}

impl Cluster {
    pub async fn start(nodes: usize, replicas: u32) -> Self {
        Self::with(nodes, replicas, &[]).await
    }

    /// Of nodes that are told more.
    pub async fn with(nodes: usize, replicas: u32, more: &[&str]) -> Self {
        // Without replicas nobody takes over, and a node that is slow is to stay.
        let timeout = if replicas > 0 { "1000" } else { "5000" };
        let args =
            ["--cluster-enabled", "yes", "--cluster-node-timeout", timeout, "--cluster-replica-validity-factor", "0"];
        let args = [&args, more].concat();
        let nodes: Vec<_> = (0..nodes).map(|_| Server::start(&args)).collect();
        let addresses: Vec<_> = nodes.iter().map(|node| node.address().to_string()).collect();
        let made = Command::new("redis-cli")
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
    pub fn config(&self) -> RedisConfig {
        let urls: Vec<_> = self.nodes.iter().take(2).map(Server::url).collect();
        RedisConfig::cluster(&urls.iter().map(String::as_str).collect::<Vec<_>>()).unwrap()
    }

    pub fn masters(&self) -> Vec<usize> {
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

    /// Whether there are so many masters, and all agree that the cluster is well.
    pub fn is_whole(&self, masters: usize) -> bool {
        let found = self.masters();
        found.len() == masters && found.iter().all(|&node| Self::is_well(&self.nodes[node]))
    }

    /// The others know a node no more; it answers still, and thinks it knows them.
    pub fn forget(&self, node: usize) {
        let id = self.id(node);
        for other in (0..self.nodes.len()).filter(|&other| other != node) {
            self.nodes[other].tell::<()>(&["CLUSTER", "FORGET", &id]).unwrap();
        }
    }

    /// Moves so many slots, with what is in them.
    pub fn reshard(&self, from: usize, to: usize, slots: u32) -> tokio::task::JoinHandle<()> {
        let address = self.nodes[from].address().to_string();
        let (from, to) = (self.id(from), self.id(to));
        tokio::task::spawn_blocking(move || {
            let moved = Command::new("redis-cli")
                .args(["--cluster", "reshard", &address, "--cluster-from", &from, "--cluster-to", &to])
                .args(["--cluster-slots", &slots.to_string(), "--cluster-yes"])
                .output()
                .unwrap();
            assert!(moved.status.success(), "{}", String::from_utf8_lossy(&moved.stdout));
        })
    }
}
