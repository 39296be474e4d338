//! The second tier: a Redis that was named, a private one, or a store within this process.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use larder::remote::{Faults, InProcess, RemoteStore};
use larder_redis::{RedisConfig, RedisStore, Target};
use tokio::runtime::Handle;

use super::arm::PROCESSES;
use super::private_redis::PrivateRedis;
use crate::demo_args::DemoArgs;
use crate::failure::Failure;
use crate::streams::provide_crypto;

/// A second tier holds every row of a default run: its misses are rows nobody has read yet, and ends of lifetimes.
pub(super) const REMOTE_BYTES: u64 = 64 << 20;
/// The network to a store within the process, unless told otherwise.
const USUAL_DELAY: Duration = Duration::from_millis(1);
/// Within which a Redis must let us in.
const PATIENCE: Duration = Duration::from_secs(3);
/// How often a Redis is asked for its figures.
const FIGURES_EVERY: Duration = Duration::from_secs(1);
/// What a run leaves in a Redis of somebody's expires so long after its end …
const LEFT_FOR: Duration = Duration::from_secs(60);
/// … or so long after it was stored, of a run without an end.
const KEPT_FOR: Duration = Duration::from_secs(3600);

pub(super) struct SecondTier {
    kind: Kind,
    /// A run's names are its own.
    run: String,
    keeps_for: Duration,
    /// Links that are to be up before it begins.
    links: Vec<Arc<RedisStore>>,
}

enum Kind {
    /// Where it is, as one may tell, and how it is reached; the server, if it is ours.
    Redis { at: String, config: Box<RedisConfig>, private: Option<PrivateRedis> },
    /// How far away it pretends to be, and why there is no Redis.
    InProcess { delay: Duration, why: String },
}

impl SecondTier {
    /// What the options and the machine have to offer.
    pub(super) fn choose(options: &DemoArgs) -> Result<Self, Failure> {
        let in_process = |delay, why: &str| Kind::InProcess { delay, why: why.to_owned() };
        let kind = match (&options.redis, options.remote_delay) {
            (Some(url), _) => redis(url, None)?,
            (None, Some(delay)) => in_process(delay, "as --remote-delay asks"),
            (None, None) => match PrivateRedis::start(REMOTE_BYTES) {
                Ok(Some(private)) => redis(&private.url(), Some(private))?,
                Ok(None) => in_process(USUAL_DELAY, "for there is no redis-server on the path"),
                Err(why) => in_process(USUAL_DELAY, &format!("for no private redis-server could be started: {why}")),
            },
        };
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let run = format!("demo-{:x}", now.as_micros());
        let keeps_for = options.lasts().map_or(KEPT_FOR, |lasts| lasts.saturating_add(LEFT_FOR));
        Ok(Self { kind, run, keeps_for, links: Vec::new() })
    }

    /// An arm's stores, one for each of its processes; call it in a tokio runtime.
    pub(super) fn stores(&mut self, arm: &str) -> Result<Vec<Arc<dyn RemoteStore>>, Failure> {
        let shared = InProcess::new(REMOTE_BYTES);
        let store = |at: usize| match &self.kind {
            Kind::Redis { config, .. } => {
                let config = (**config).clone().metrics(format!("{arm}-{}", at + 1), FIGURES_EVERY);
                let store = Arc::new(RedisStore::new(config, &Handle::current())?);
                self.links.push(store.clone());
                Ok(store as Arc<dyn RemoteStore>)
            }
            Kind::InProcess { delay, .. } => {
                let link = shared.clone();
                link.set_faults(Faults { delay: *delay, ..Faults::default() });
                Ok(Arc::new(link) as Arc<dyn RemoteStore>)
            }
        };
        (0..PROCESSES).map(store).collect()
    }

    /// The namespace of an arm's names.
    pub(super) fn namespace(&self, arm: &str) -> String {
        format!("{}-{arm}", self.run)
    }

    /// The longest anything is kept there.
    pub(super) fn keeps_for(&self) -> Duration {
        self.keeps_for
    }

    /// Whether the Redis lets us in, asked once before every link complains.
    pub(super) async fn reach(&self) -> Result<(), Failure> {
        match &self.kind {
            Kind::Redis { config, .. } => self.up(&RedisStore::new((**config).clone(), &Handle::current())?).await,
            Kind::InProcess { .. } => Ok(()),
        }
    }

    /// Waits until all links are up.
    pub(super) async fn ready(&self) -> Result<(), Failure> {
        for link in &self.links {
            self.up(link).await?;
        }
        Ok(())
    }

    async fn up(&self, link: &RedisStore) -> Result<(), Failure> {
        let until = Instant::now() + PATIENCE;
        loop {
            let state = link.state();
            // A link begins with the word that before it anything may have been said: better before there is anything to doubt.
            if state.connected && state.listening {
                return Ok(());
            }
            if Instant::now() > until {
                let why = state.last_error.unwrap_or_else(|| "its channel cannot be heard".to_owned());
                return Err(Failure::Failed(format!("no way to {self}: {why}")));
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// For scripts.
    pub(super) fn name(&self) -> &'static str {
        match &self.kind {
            Kind::Redis { private: Some(_), .. } => "private redis",
            Kind::Redis { private: None, .. } => "redis",
            Kind::InProcess { .. } => "in process",
        }
    }

    /// How far away a store within the process pretends to be.
    pub(super) fn delay(&self) -> Option<Duration> {
        match &self.kind {
            Kind::Redis { .. } => None,
            Kind::InProcess { delay, .. } => Some(*delay),
        }
    }
}

fn redis(url: &str, private: Option<PrivateRedis>) -> Result<Kind, Failure> {
    provide_crypto();
    let config = RedisConfig::single(url)?;
    // The address alone: a URL may hold a password.
    let at = match &config.target {
        Target::Single(info) => info.addr().to_string(),
        Target::Sentinel { .. } | Target::Cluster(_) => "several nodes".to_owned(),
    };
    Ok(Kind::Redis { at, config: Box::new(config), private })
}

/// For people.
impl fmt::Display for SecondTier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kind {
            Kind::Redis { at, private: Some(_), .. } => {
                write!(f, "a private redis-server of {} MiB at {at}, which ends with this run", REMOTE_BYTES >> 20)
            }
            Kind::Redis { at, private: None, .. } => {
                let left = humantime::format_duration(self.keeps_for);
                write!(f, "the Redis at {at}, under names that begin with {}- and expire within {left}", self.run)
            }
            Kind::InProcess { delay, why } => {
                write!(f, "within this process, {} away, {why}", humantime::format_duration(*delay))
            }
        }
    }
}
