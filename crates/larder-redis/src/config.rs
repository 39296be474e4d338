//! Where the Redis is, who we are there, and how patient we are.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::{self, BoxFuture};
use larder::{Error, ErrorKind, bounds};
use redis::{ConnectionInfo, IntoConnectionInfo};

use crate::steer::Steering;

/// Who we are to the server.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Login {
    /// The ACL user; `None` for the default one.
    pub user: Option<String>,
    /// The password; `None` if there is none.
    pub password: Option<String>,
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let password = self.password.as_ref().map(|_| "(hidden)");
        f.debug_struct("Login").field("user", &self.user).field("password", &password).finish()
    }
}

/// Where a login comes from. It is asked at each connect, so that a rotated password needs no restart.
pub trait Credentials: Send + Sync + 'static {
    /// The login that is valid now.
    fn current(&self) -> BoxFuture<'_, Result<Login, Error>>;
}

impl Credentials for Login {
    fn current(&self) -> BoxFuture<'_, Result<Login, Error>> {
        future::ready(Ok(self.clone())).boxed()
    }
}

/// Which servers.
#[derive(Clone, Debug)]
pub enum Target {
    /// One server.
    Single(ConnectionInfo),
    /// The master these sentinels name, asked for at each connect. To it the login is that of the [`credentials`](RedisConfig::credentials); to the
    /// sentinels, what their own addresses say.
    Sentinel {
        /// The sentinels.
        nodes: Vec<ConnectionInfo>,
        /// What they call the master.
        service: String,
        /// The database's number.
        db: i64,
    },
    /// A cluster, of which these nodes are known.
    Cluster(Vec<ConnectionInfo>),
}

/// How the Redis is used. Times are from 1 ms to a day.
#[derive(Clone)]
pub struct RedisConfig {
    /// Which servers.
    pub target: Target,
    /// Who we are there.
    pub credentials: Arc<dyn Credentials>,
    /// Certificates, asked for at each connect as the login is; none for the roots of the system. Without a `rediss://` address unused.
    #[cfg(feature = "tls")]
    pub certificates: Option<Arc<dyn Fn() -> redis::TlsCertificates + Send + Sync>>,
    /// The pub/sub channel on which invalidations are announced. Processes that share keys must share it.
    pub channel: String,
    /// The most it may take to connect and log in.
    pub connect_within: Duration,
    /// The most an answer may take, for callers without a deadline of their own, and for the `PING`s. Reads have the deadline of the
    /// [`Tier`](larder::remote::Tier) that asks.
    pub answer_within: Duration,
    /// How often to `PING` a connection.
    pub ping_every: Duration,
    /// How long to wait before the second attempt to connect; it doubles …
    pub backoff: Duration,
    /// … up to this. A wrong password waits as long from the start.
    pub longest_backoff: Duration,
    /// How long writes pause when the server says it cannot take any.
    pub write_pause: Duration,
    /// Metrics of the link and of the server; none unless asked for.
    #[cfg(feature = "metrics")]
    pub metrics: Option<Publish>,
    pub(crate) steering: Option<Steering>,
}

/// How metrics of a Redis are published.
#[cfg(feature = "metrics")]
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Publish {
    /// What it is called there: the label `redis`.
    pub name: String,
    /// How often it is asked for its `INFO`; at least 100 ms.
    pub every: Duration,
}

impl RedisConfig {
    /// One server, as in `redis://user:password@host:6379/0` or `rediss://host` (feature `tls`).
    pub fn single(url: &str) -> Result<Self, Error> {
        let info = parse(url)?;
        Ok(Self::new(login(&info), Target::Single(info)))
    }

    /// The master that the sentinels at `urls` call `service`; log in to it as `login` says.
    pub fn sentinel(urls: &[&str], service: &str, login: Login) -> Result<Self, Error> {
        let nodes = parse_all(urls)?;
        Ok(Self::new(login, Target::Sentinel { nodes, service: service.to_owned(), db: 0 }))
    }

    /// A cluster; the login is that of the first URL.
    pub fn cluster(urls: &[&str]) -> Result<Self, Error> {
        let nodes = parse_all(urls)?;
        Ok(Self::new(login(&nodes[0]), Target::Cluster(nodes)))
    }

    /// Whether every setting makes sense.
    ///
    /// # Errors
    /// [`ErrorKind::Config`], naming the one that does not.
    pub(crate) fn check(&self) -> Result<(), Error> {
        let waits = [
            ("connect_within", self.connect_within),
            ("answer_within", self.answer_within),
            ("ping_every", self.ping_every),
            ("longest_backoff", self.longest_backoff),
            ("write_pause", self.write_pause),
        ];
        bounds::waits("redis", &waits)?;
        bounds::check("redis: backoff (up to longest_backoff)", self.backoff, bounds::SHORTEST, self.longest_backoff)?;
        #[cfg(feature = "metrics")]
        if let Some(Publish { every, .. }) = &self.metrics {
            bounds::waits("redis: metrics", &[("every", *every)])?;
        }
        match &self.steering {
            Some(steering) => bounds::waits("redis: steering", &[("every", steering.every)]),
            None => Ok(()),
        }
    }

    fn new(login: Login, target: Target) -> Self {
        Self {
            target,
            credentials: Arc::new(login),
            #[cfg(feature = "tls")]
            certificates: None,
            channel: "larder".to_owned(),
            connect_within: Duration::from_secs(1),
            answer_within: Duration::from_millis(500),
            ping_every: Duration::from_secs(1),
            backoff: Duration::from_millis(50),
            longest_backoff: Duration::from_secs(3),
            write_pause: Duration::from_secs(1),
            #[cfg(feature = "metrics")]
            metrics: None,
            steering: None,
        }
    }

    /// Publishes how the link and the server are, as metrics of a Redis of this name, each time so much has passed; reports and the
    /// dashboard then tell the server's figures too.
    #[cfg(feature = "metrics")]
    #[must_use]
    pub fn metrics(self, name: impl Into<String>, every: Duration) -> Self {
        Self { metrics: Some(Publish { name: name.into(), every }), ..self }
    }

    /// Has a policy of larder's choose which keys stay once the server is full; in a cluster, once a primary is. Every process that shares the
    /// keys should do so with the same policy. Only values in larder's envelopes within the namespaces in use are ever taken out.
    #[must_use]
    pub fn steered(self, steering: Steering) -> Self {
        Self { steering: Some(steering), ..self }
    }
}

impl fmt::Debug for RedisConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisConfig").field("channel", &self.channel).finish_non_exhaustive()
    }
}

fn parse_all(urls: &[&str]) -> Result<Vec<ConnectionInfo>, Error> {
    if urls.is_empty() {
        return Err(Error::new(ErrorKind::Config, "name at least one Redis node"));
    }
    urls.iter().map(|url| parse(url)).collect()
}

/// The URL is not repeated in the error: it may hold a password.
fn parse(url: &str) -> Result<ConnectionInfo, Error> {
    let wrong =
        |error| Error::caused(ErrorKind::Config, "a Redis URL is redis://[user:password@]host[:port][/db]", error);
    // Without it the driver does not even parse such a URL.
    if cfg!(not(feature = "tls")) && url.starts_with("rediss://") {
        return Err(Error::new(ErrorKind::Config, "rediss:// needs a build with the feature `tls`"));
    }
    url.into_connection_info().map_err(wrong)
}

fn login(info: &ConnectionInfo) -> Login {
    let settings = info.redis_settings();
    Login { user: settings.username().map(str::to_owned), password: settings.password().map(str::to_owned) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_shows_a_password() {
        let config = RedisConfig::single("redis://ann:secret@localhost:7000/2").unwrap();
        let login = Login { user: Some("ann".into()), password: Some("secret".into()) };
        assert!(!format!("{config:?} {login:?}").contains("secret"));
        let error = RedisConfig::single("redis://ann:secret@local host").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config);
        assert!(!format!("{error} {error:?}").contains("secret"));
    }

    #[tokio::test]
    async fn the_login_comes_from_the_url() {
        let config = RedisConfig::single("redis://ann:secret@localhost").unwrap();
        let login = config.credentials.current().await.unwrap();
        assert_eq!((login.user.as_deref(), login.password.as_deref()), (Some("ann"), Some("secret")));
        assert_eq!(RedisConfig::cluster(&[]).unwrap_err().kind(), ErrorKind::Config);
    }
}
