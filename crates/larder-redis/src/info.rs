//! What the server says about itself.

use larder::remote::ServerFigures;
use larder::{Error, ErrorKind};
use redis::{Value, cmd};

use crate::link::Link;
use crate::steer::Place;

/// Figures out of `INFO`; 0 where the server does not say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ServerInfo {
    /// Bytes in use.
    pub used_memory: u64,
    /// Bytes it may use; 0 for no limit.
    pub maxmemory: u64,
    /// Keys evicted since it started.
    pub evicted_keys: u64,
    /// Keys expired since it started.
    pub expired_keys: u64,
    /// Connections.
    pub connected_clients: u64,
    /// Replicas that are connected.
    pub connected_replicas: u64,
    /// By how many bytes the slowest replica lags.
    pub replication_lag: u64,
    /// Bytes in use that do not count towards the limit: buffers for replicas.
    pub not_counted: u64,
    /// Keys, in all databases.
    pub keys: u64,
    /// Whether a full server evicts by how often keys are used, and not by when.
    pub evicts_by_use: bool,
}

impl From<ServerInfo> for ServerFigures {
    fn from(info: ServerInfo) -> Self {
        Self {
            used_bytes: info.used_memory,
            limit_bytes: info.maxmemory,
            evicted: info.evicted_keys,
            expired: info.expired_keys,
            replicas: info.connected_replicas,
            lag_bytes: info.replication_lag,
        }
    }
}

/// Of the only server, or of a cluster's node at `place`.
pub(crate) async fn server_info(link: &Link, place: Option<&Place>) -> Result<ServerInfo, Error> {
    match link.ask(place, &cmd("INFO")).await? {
        Value::BulkString(text) => Ok(parse(&String::from_utf8_lossy(&text))),
        Value::VerbatimString { text, .. } => Ok(parse(&text)),
        _ => Err(Error::new(ErrorKind::Config, "figures of one server are to be had from a single server alone")),
    }
}

pub(crate) fn parse(text: &str) -> ServerInfo {
    let mut info = ServerInfo::default();
    let (mut offset, mut slowest) = (0_u64, None::<u64>);
    for (field, value) in text.lines().filter_map(|line| line.trim().split_once(':')) {
        let number = value.parse().unwrap_or(0);
        match field {
            "used_memory" => info.used_memory = number,
            "maxmemory" => info.maxmemory = number,
            "evicted_keys" => info.evicted_keys = number,
            "expired_keys" => info.expired_keys = number,
            "connected_clients" => info.connected_clients = number,
            "connected_slaves" => info.connected_replicas = number,
            "mem_not_counted_for_evict" => info.not_counted = number,
            "maxmemory_policy" => info.evicts_by_use = value.ends_with("-lfu"),
            "master_repl_offset" => offset = number,
            _ if numbered(field, "db") => {
                let keys = value.split(',').find_map(|part| part.strip_prefix("keys=")?.parse::<u64>().ok());
                info.keys = info.keys.saturating_add(keys.unwrap_or(0));
            }
            _ if numbered(field, "slave") => {
                let at = value.split(',').find_map(|part| part.strip_prefix("offset=")?.parse().ok());
                slowest = slowest.into_iter().chain(at).min();
            }
            _ => {}
        }
    }
    info.replication_lag = slowest.map_or(0, |slowest| offset.saturating_sub(slowest));
    info
}

/// Whether a field is the name and a number.
fn numbered(field: &str, name: &str) -> bool {
    field.strip_prefix(name).is_some_and(|id| id.bytes().all(|byte| byte.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_figures_are_found() {
        let text = "# Memory\r\nused_memory:1000\r\nmaxmemory:2000\r\n# Stats\r\nevicted_keys:3\r\nexpired_keys:4\r\n\
            connected_clients:5\r\nconnected_slaves:2\r\nslave0:ip=127.0.0.1,port=1,state=online,offset=90,lag=0\r\n\
            slave1:ip=127.0.0.1,port=2,state=online,offset=70,lag=1\r\nslave_read_only:1\r\nmaster_repl_offset:100\r\n\
            mem_not_counted_for_evict:50\r\nmaxmemory_policy:allkeys-lfu\r\n# Keyspace\r\n\
            db0:keys=7,expires=1,avg_ttl=0\r\ndb12:keys=5,expires=0,avg_ttl=0\r\n";
        let expected = ServerInfo {
            used_memory: 1000,
            maxmemory: 2000,
            evicted_keys: 3,
            expired_keys: 4,
            connected_clients: 5,
            connected_replicas: 2,
            replication_lag: 30,
            not_counted: 50,
            keys: 12,
            evicts_by_use: true,
        };
        assert_eq!(parse(text), expected);
        assert_eq!(parse("nonsense\0:\n:"), ServerInfo::default());
    }
}
