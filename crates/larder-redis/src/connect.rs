//! One attempt to connect, to whichever kind of Redis.

use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::join_all;
use larder::{Error, ErrorKind};
use redis::aio::{ConnectionLike, MultiplexedConnection};
use redis::cluster::{ClusterClient, ClusterClientBuilder};
use redis::cluster_async::ClusterConnection;
use redis::cluster_routing::{Route, RoutingInfo, SingleNodeRoutingInfo, SlotAddr};
use redis::io::tcp::TcpSettings;
use redis::sentinel::{SentinelClientBuilder, SentinelServerType};
use redis::{
    AsyncConnectionConfig, Client, Cmd, ConnectionAddr, ConnectionInfo, Pipeline, RedisResult, TlsMode, Value, cmd,
};
use tokio::time::timeout;

use crate::config::{Login, RedisConfig, Target};
use crate::errors::{Action, action, translate};
use crate::steer::Place;

/// A connection that many callers use at once.
#[derive(Clone)]
pub(crate) enum Conn {
    Node(MultiplexedConnection),
    Cluster(ClusterConnection),
}

/// Why there is no connection.
pub(crate) struct Failure {
    pub(crate) error: Error,
    /// Whether trying again soon is of no use.
    pub(crate) login: bool,
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self { error, login: false }
    }
}

impl From<redis::RedisError> for Failure {
    fn from(error: redis::RedisError) -> Self {
        Self { login: action(&error) == Action::Login, error: translate(error) }
    }
}

impl Conn {
    /// One command.
    pub(crate) async fn one(&mut self, cmd: &Cmd) -> RedisResult<Value> {
        match self {
            Self::Node(conn) => conn.req_packed_command(cmd).await?,
            Self::Cluster(conn) => conn.req_packed_command(cmd).await?,
        }
        .extract_error()
    }

    /// One command to a cluster's node at `place`; to the only one, if it is one.
    pub(crate) async fn at(&mut self, Place { host, port }: &Place, cmd: Cmd) -> RedisResult<Value> {
        match self {
            Self::Node(_) => self.one(&cmd).await,
            Self::Cluster(conn) => {
                let to = SingleNodeRoutingInfo::ByAddress { host: host.clone(), port: *port };
                conn.route_command(cmd, RoutingInfo::SingleNode(to)).await?.extract_error()
            }
        }
    }

    /// The clock that all processes go by: in a cluster that of the primary of the first slot, for nodes' clocks differ.
    pub(crate) async fn time(&mut self) -> RedisResult<Value> {
        match self {
            Self::Node(_) => self.one(&cmd("TIME")).await,
            Self::Cluster(conn) => {
                let first = SingleNodeRoutingInfo::SpecificNode(Route::new(0, SlotAddr::Master));
                conn.route_command(cmd("TIME"), RoutingInfo::SingleNode(first)).await?.extract_error()
            }
        }
    }

    /// Several commands in one round trip to each node concerned, with an answer to each, in their order. On one node they are
    /// carried out in that order too.
    pub(crate) async fn many(&mut self, cmds: Vec<Cmd>) -> RedisResult<Vec<RedisResult<Value>>> {
        match self {
            Self::Node(conn) => {
                let mut pipeline = Pipeline::with_capacity(cmds.len());
                for cmd in cmds {
                    pipeline.add_command(cmd);
                }
                pipeline.ignore_errors().query_async(conn).await
            }
            // A pipeline may not span slots.
            Self::Cluster(conn) => {
                let calls = cmds.into_iter().map(|cmd| {
                    let mut conn = conn.clone();
                    async move { conn.req_packed_command(&cmd).await.and_then(Value::extract_error) }
                });
                Ok(join_all(calls).await)
            }
        }
    }

    /// Whether one answer that does not come says that the whole connection is lost.
    pub(crate) fn is_one_node(&self) -> bool {
        matches!(self, Self::Node(_))
    }
}

/// Connects and logs in, with the login and the master of now. The driver waits for an answer as long as `patience` says; with none, whoever asks has
/// a time limit of its own: a second timer for each answer would cost as much as the first.
pub(crate) async fn connect(config: &RedisConfig, patience: Option<Duration>) -> Result<Conn, Failure> {
    let attempt = async {
        match &config.target {
            Target::Cluster(nodes) => {
                let conn = cluster(config, nodes, &config.credentials.current().await?)?.get_async_connection().await?;
                Ok(Conn::Cluster(conn))
            }
            Target::Single(_) | Target::Sentinel { .. } => {
                let settings = AsyncConnectionConfig::new()
                    .set_connection_timeout(Some(config.connect_within))
                    .set_response_timeout(patience);
                let client = client(config).await?;
                Ok(Conn::Node(client.get_multiplexed_async_connection_with_config(&settings).await?))
            }
        }
    };
    // Boxed: the driver's futures are large.
    timeout(config.connect_within, attempt.boxed()).await.unwrap_or_else(|_| Err(silent().into()))
}

/// A client of the one node to talk to now; in a cluster of any of those known, for messages reach all.
pub(crate) async fn client(config: &RedisConfig) -> Result<Client, Failure> {
    let login = config.credentials.current().await?;
    match &config.target {
        Target::Single(info) => Ok(open(config, with_login(info, &login))?),
        Target::Cluster(nodes) => Ok(open(config, with_login(&nodes[fastrand::usize(..nodes.len())], &login))?),
        Target::Sentinel { nodes, service, db } => Ok(sentinel(config, nodes, service, *db, &login).await?),
    }
}

pub(crate) fn silent() -> Error {
    Error::new(ErrorKind::Timeout, "the Redis did not let us in within the time allowed")
}

/// What the user gave did.
pub(crate) fn panicked() -> Error {
    Error::new(
        ErrorKind::Panicked,
        "the certificates or credentials of the Redis could not be had: their source panicked",
    )
}

/// A connection that is given up takes with it what it has not delivered: the system would go on trying, and an old write arrive after newer ones.
fn tcp() -> TcpSettings {
    TcpSettings::default().set_linger_time(Duration::ZERO)
}

fn with_login(info: &ConnectionInfo, Login { user, password }: &Login) -> ConnectionInfo {
    let mut settings = info.redis_settings().clone();
    if let Some(user) = user {
        settings = settings.set_username(user);
    }
    if let Some(password) = password {
        settings = settings.set_password(password);
    }
    info.clone().set_redis_settings(settings).set_tcp_settings(tcp())
}

fn open(config: &RedisConfig, info: ConnectionInfo) -> RedisResult<Client> {
    #[cfg(feature = "tls")]
    if let Some(certificates) = &config.certificates
        && matches!(info.addr(), ConnectionAddr::TcpTls { .. })
    {
        return Client::build_with_tls(info, certificates());
    }
    let _ = config;
    Client::open(info)
}

fn cluster(config: &RedisConfig, nodes: &[ConnectionInfo], login: &Login) -> RedisResult<ClusterClient> {
    // The driver refuses nodes whose logins differ: there is one for all.
    let nodes = nodes.iter().map(|info| with_login(info, login));
    // Those known and those they name are asked one after the other: a silent one is not to take all the time there is.
    let builder = ClusterClientBuilder::new(nodes)
        .tcp_settings(tcp())
        .connection_timeout(config.connect_within / 3)
        .response_timeout(config.answer_within)
        .overall_response_timeout(Some(config.connect_within))
        .retries(2);
    #[cfg(feature = "tls")]
    let builder = match &config.certificates {
        Some(certificates) => builder.certs(certificates()),
        None => builder,
    };
    builder.build()
}

async fn sentinel(
    config: &RedisConfig,
    nodes: &[ConnectionInfo],
    service: &str,
    db: i64,
    login: &Login,
) -> RedisResult<Client> {
    // In another order each time: they are asked in turn, and the first may be silent, as on the machine that the master was on.
    let mut addresses: Vec<_> = nodes.iter().map(|node| node.addr().clone()).collect();
    fastrand::shuffle(&mut addresses);
    let mut builder = SentinelClientBuilder::new(addresses, service, SentinelServerType::Master)?;
    builder = builder.set_client_to_redis_db(db).set_client_to_redis_tcp_settings(tcp());
    if let Some(user) = &login.user {
        builder = builder.set_client_to_redis_username(user);
    }
    if let Some(password) = &login.password {
        builder = builder.set_client_to_redis_password(password);
    }
    // All sentinels are asked in the same way.
    if let Some(first) = nodes.first() {
        if let Some(user) = first.redis_settings().username() {
            builder = builder.set_client_to_sentinel_username(user);
        }
        if let Some(password) = first.redis_settings().password() {
            builder = builder.set_client_to_sentinel_password(password);
        }
        if matches!(first.addr(), ConnectionAddr::TcpTls { .. }) {
            builder = builder.set_client_to_sentinel_tls_mode(TlsMode::Secure);
            builder = builder.set_client_to_redis_tls_mode(TlsMode::Secure);
        }
    }
    #[cfg(feature = "tls")]
    if let Some(certificates) = &config.certificates {
        builder = builder.set_client_to_redis_certificates(certificates());
        builder = builder.set_client_to_sentinel_certificates(certificates());
    }
    let _ = config;
    builder.build()?.async_get_client().await
}
