//! A live page about one cache or several: hit ratio by arm, stale rate, lifetimes, what more memory would give.
//!
//! ```text
//! Cache ─▶ Source ─▶ Feed: once a second a frame; ten minutes of points ─▶ /events, /report
//!                ├─▶ on request: /hottest, /explain, /decisions; with the token: /roll-back, /resume
//!          Peers ┘ other instances, from a list or, by Discovery, from where all register
//! ```
//!
//! No key leaves the process in clear: the page names keys by their [labels](crate::Label).

mod address;
mod assets;
mod discovery;
mod events;
mod feed;
#[cfg(feature = "fuzzing")]
pub(crate) mod fuzzing;
mod guard;
mod history;
mod peers;
mod routes;
mod serving;
mod source;

use std::collections::HashMap;
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::{self, OptionFuture};
use parking_lot::Mutex;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinHandle;

use self::address::Address;
pub use self::discovery::Discovery;
use self::feed::Feed;
use self::guard::{Hosts, Token};
use self::peers::Peers;
use self::source::Sources;
use crate::explain::Hot;
use crate::{Cache, Error, ErrorKind, Key, bounds};

/// How long answers under way are waited for at the end.
const GOODBYE: Duration = Duration::from_secs(2);
/// Connections there may be beside those of open pages.
const BESIDE_VIEWERS: usize = 256;

/// How a dashboard is served.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct DashboardConfig {
    /// Whether it may listen on an address that other machines reach. The page has no login: whoever reaches it sees it, and only the
    /// token keeps them from acting.
    pub is_public: bool,
    /// Names under which it is reached beside the address itself and `localhost`, such as a proxy's; requests for any other
    /// are refused, lest a page elsewhere reads it through a name of its own (DNS rebinding).
    pub hosts: Vec<String>,
    /// The most pages that may be open at once, up to a million.
    pub viewers: usize,
    /// Other instances of the service, by host and port of their dashboards: their caches are shown beside this one's. They must know
    /// that name ([`hosts`](Self::hosts)), and be [public](Self::is_public) where they are on other machines.
    pub peers: Vec<String>,
    /// Where instances find each other by themselves; none unless given.
    pub discovery: Option<Discovery>,
}

impl Default for DashboardConfig {
    fn default() -> Self {
        Self { is_public: false, hosts: Vec::new(), viewers: 64, peers: Vec::new(), discovery: None }
    }
}

/// A page that is served until this is dropped or [closed](Self::close). It keeps no cache alive.
///
/// ```
/// # tokio::runtime::Runtime::new().unwrap().block_on(async {
/// let cache: larder::Cache<u64, String> = larder::Cache::builder().capacity(1000).build()?;
/// let dashboard = cache.dashboard("127.0.0.1:0".parse().unwrap()).await?;
/// println!("{}", dashboard.url());
/// dashboard.close().await;
/// # Ok::<(), larder::Error>(()) }).unwrap();
/// ```
#[must_use = "the page goes when this is dropped"]
pub struct Dashboard {
    address: SocketAddr,
    state: Arc<State>,
    stop: watch::Sender<bool>,
    server: JoinHandle<()>,
    discovering: Option<JoinHandle<()>>,
}

/// What all requests share.
pub(crate) struct State {
    sources: Sources,
    feed: Feed,
    token: Token,
    hosts: Hosts,
    viewers: Arc<Semaphore>,
    /// Whose turn it is to have memory looked through.
    questions: Arc<Semaphore>,
    /// The hottest keys of each cache, when they were looked for.
    hottest: Mutex<HashMap<String, (Instant, Vec<Hot>)>>,
    peers: Peers,
    stopped: watch::Receiver<bool>,
}

impl Dashboard {
    /// Serves a page without a cache yet; [`add`](Self::add) some. Port 0 takes a free one. To be called in a tokio runtime, where its tasks
    /// run.
    ///
    /// # Errors
    /// [`ErrorKind::Config`]: the address cannot be listened on, or it is not a loopback one and
    /// [`is_public`](DashboardConfig::is_public) is not set; or one of the [peers](DashboardConfig::peers) is no `host:port`; or
    /// it listens on all addresses and would [register](DashboardConfig::discovery) that.
    pub async fn serve(address: SocketAddr, config: DashboardConfig) -> Result<Self, Error> {
        if !address.ip().is_loopback() && !config.is_public {
            let what = format!(
                "a dashboard on {address} would be open to other machines: use 127.0.0.1, or set DashboardConfig::is_public"
            );
            return Err(Error::new(ErrorKind::Config, what));
        }
        bounds::check("dashboard: viewers", config.viewers, 0, bounds::MOST_AT_ONCE)?;
        let unable = |error: std::io::Error| {
            Error::caused(ErrorKind::Config, format!("no dashboard can listen on {address}: {error}"), error)
        };
        let peers = config.peers.iter().map(|peer| {
            Address::parse(peer).map_err(|error| Error::new(ErrorKind::Config, format!("instance '{peer}': {error}")))
        });
        let peers = peers.collect::<Result<_, _>>()?;
        let listener = TcpListener::bind(address).await.map_err(unable)?;
        let address = listener.local_addr().map_err(unable)?;
        let own = config.discovery.as_ref().map(|discovery| discovery.own(address)).transpose()?.flatten();
        let hosts = config.hosts.into_iter().chain(own.as_ref().map(|own| own.host().to_owned())).collect();
        let (stop, stopped) = watch::channel(false);
        let state = Arc::new(State {
            sources: Sources::default(),
            feed: Feed::default(),
            token: Token::random()?,
            hosts: Hosts::new(address, hosts),
            viewers: Arc::new(Semaphore::new(config.viewers)),
            questions: Arc::new(Semaphore::new(1)),
            hottest: Mutex::default(),
            peers: Peers::new(peers, stopped.clone()),
            stopped: stopped.clone(),
        });
        let app = routes::router(state.clone());
        let feeding = tokio::spawn(feed::run(state.clone(), stopped.clone()));
        let discovering = config
            .discovery
            .map(|discovery| tokio::spawn(discovery::run(state.clone(), discovery, own, stopped.clone())));
        let most = BESIDE_VIEWERS + config.viewers;
        let server = tokio::spawn(async move {
            serving::run(listener, app, most, stopped).await;
            feeding.abort();
        });
        tracing::info!(url = %format_args!("http://{address}/"), "dashboard");
        Ok(Self { address, state, stop, server, discovering })
    }

    /// Shows one more cache: under its name, or where that is taken, `name-2` and so on. A cache that is dropped leaves the page.
    ///
    /// # Errors
    /// [`ErrorKind::Overloaded`] beyond 64 caches.
    pub fn add<K, V>(&self, cache: &Cache<K, V>) -> Result<(), Error>
    where
        K: Key + Clone,
        V: Clone + Send + Sync + 'static,
    {
        self.state.sources.add(cache.name(), Arc::new(Arc::downgrade(&cache.inner)))?;
        self.state.feed.tick(&self.state);
        Ok(())
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The page's address with the token as its fragment, which no browser sends anywhere: who opens it may roll back and
    /// resume.
    pub fn url(&self) -> String {
        format!("http://{}/#token={}", self.address, self.token())
    }

    /// What `POST /roll-back` and `/resume` ask for, as `Authorization: Bearer TOKEN`; new with each start.
    pub fn token(&self) -> &str {
        self.state.token.text()
    }

    /// Ends the page: other instances and open pages are told, answers under way are given two seconds.
    pub async fn close(mut self) {
        self.stop.send_replace(true);
        let discovering = OptionFuture::from(self.discovering.take());
        let _ = tokio::time::timeout(GOODBYE, future::join(&mut self.server, discovering)).await;
    }
}

impl Drop for Dashboard {
    fn drop(&mut self) {
        self.stop.send_replace(true);
    }
}

impl fmt::Debug for Dashboard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dashboard").field("address", &self.address).finish_non_exhaustive()
    }
}

impl<K, V> Cache<K, V>
where
    K: Key + Clone,
    V: Clone + Send + Sync + 'static,
{
    /// Serves a live page about this cache on a loopback address. [`Dashboard::serve`] has settings, and shows several caches.
    ///
    /// # Errors
    /// As there.
    pub async fn dashboard(&self, address: SocketAddr) -> Result<Dashboard, Error> {
        let dashboard = Dashboard::serve(address, DashboardConfig::default()).await?;
        dashboard.add(self)?;
        Ok(dashboard)
    }
}
