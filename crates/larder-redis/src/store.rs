//! The store itself: what each method is in Redis commands.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use larder::remote::{Capabilities, Invalidation, Item, Name, Notice, RemoteStore};
use larder::{Error, ErrorKind};
use redis::{Cmd, RedisResult, Value, cmd};
use tokio::runtime::Handle;
use tokio::sync::broadcast;
use tokio::task::JoinHandle;

use crate::config::RedisConfig;
use crate::errors::{Action, action, translate};
use crate::info::{ServerInfo, server_info};
use crate::link::{Link, LinkState, keep};
use crate::listen::{encode, listen};
use crate::scripts::{LEASE, PUT, RELEASE, Script};

/// How many announcements a listener may lag behind.
const CHANNEL: usize = 4096;

/// A Redis as the cache's second tier: one server, a Sentinel's master, or a cluster. Made without waiting: until there is a
/// connection, every call fails at once. Dropping it closes the connections.
pub struct RedisStore {
    link: Arc<Link>,
    /// Who we are on the channel.
    sender: u64,
    heard: broadcast::Sender<Invalidation>,
    tasks: Vec<JoinHandle<()>>,
}

impl RedisStore {
    /// Begins to connect, on `runtime`.
    pub fn new(config: RedisConfig, runtime: &Handle) -> Self {
        let link = Arc::new(Link::new(config));
        let (sender, heard) = (fastrand::u64(..), broadcast::Sender::new(CHANNEL));
        let tasks = vec![
            runtime.spawn(keep(link.clone())),
            runtime.spawn(listen(link.clone(), sender, heard.clone())),
            #[cfg(feature = "metrics")]
            runtime.spawn(crate::metrics::publish(link.clone())),
        ];
        Self { link, sender, heard, tasks }
    }

    /// How the link is, for metrics.
    pub fn state(&self) -> LinkState {
        self.link.state()
    }

    /// What the server says about itself: one `INFO`.
    pub async fn server(&self) -> Result<ServerInfo, Error> {
        server_info(&self.link).await
    }

    /// Commands whose answers matter one by one. Errors of single answers are acted upon; what is left of them is the caller's.
    async fn many(&self, cmds: Vec<Cmd>) -> Result<Vec<RedisResult<Value>>, Error> {
        let asked = cmds.len();
        let generation = self.link.generation();
        let answers = self.link.call(async move |mut conn| conn.many(cmds).await).await?;
        if answers.len() != asked {
            return Err(self.confused());
        }
        for error in answers.iter().filter_map(|answer| answer.as_ref().err()) {
            if error.code() != Some("NOSCRIPT") {
                self.link.react(generation, error);
            }
        }
        Ok(answers)
    }

    /// Calls of a script; a server that does not know it yet is told.
    async fn scripts(
        &self,
        script: &Script,
        calls: Vec<(Vec<&[u8]>, &Name)>,
    ) -> Result<Vec<RedisResult<Value>>, Error> {
        let cmds = calls.iter().map(|(args, name)| script.call(name, args)).collect();
        let mut answers = self.many(cmds).await?;
        let unknown: Vec<_> = (answers.iter().enumerate())
            .filter(|(_, answer)| matches!(answer, Err(error) if error.code() == Some("NOSCRIPT")))
            .map(|(at, _)| at)
            .collect();
        if !unknown.is_empty() {
            let cmds = unknown.iter().map(|&at| script.text(calls[at].1, &calls[at].0)).collect();
            for (at, answer) in unknown.into_iter().zip(self.many(cmds).await?) {
                answers[at] = answer;
            }
        }
        Ok(answers)
    }

    /// One call of a script that answers 0 or 1.
    async fn ask(&self, script: &Script, name: &Name, args: Vec<&[u8]>) -> Result<bool, Error> {
        match self.scripts(script, vec![(args, name)]).await?.pop() {
            Some(Ok(Value::Int(answer))) => Ok(answer == 1),
            Some(Err(error)) => Err(translate(error)),
            _ => Err(self.confused()),
        }
    }

    /// An answer is of the wrong kind: it belongs to another question.
    fn confused(&self) -> Error {
        self.link.distrust();
        Error::new(ErrorKind::Remote, "the Redis answered another question")
    }
}

impl RemoteStore for RedisStore {
    fn capabilities(&self) -> Capabilities {
        Capabilities { announces: true, notices_loss: true, fences: true, leases: true }
    }

    fn get<'a>(&'a self, names: &'a [Name]) -> BoxFuture<'a, Result<Vec<Option<Bytes>>, Error>> {
        async move {
            if names.is_empty() {
                return Ok(Vec::new());
            }
            // For one name too: a value of another type is then a miss, not an error.
            let mut mget = cmd("MGET");
            for name in names {
                mget.arg(&**name);
            }
            match self.link.call(async move |mut conn| conn.one(&mget).await).await? {
                Value::Array(values) if values.len() == names.len() => {
                    let values = values.into_iter().map(|value| match value {
                        Value::BulkString(bytes) => Ok(Some(Bytes::from(bytes))),
                        Value::Nil => Ok(None),
                        _ => Err(self.confused()),
                    });
                    values.collect()
                }
                _ => Err(self.confused()),
            }
        }
        .boxed()
    }

    fn put<'a>(&'a self, items: &'a [Item]) -> BoxFuture<'a, Result<usize, Error>> {
        async move {
            if items.is_empty() {
                return Ok(0);
            }
            self.link.check_writes()?;
            let ttls: Vec<_> = items.iter().map(|item| millis(item.ttl)).collect();
            let calls = items.iter().zip(&ttls).map(|(item, ttl)| (vec![&item.bytes[..], ttl.as_bytes()], &item.name));
            let mut kept = 0;
            for answer in self.scripts(&PUT, calls.collect()).await? {
                match answer {
                    Ok(Value::Int(answer @ 0..=1)) => kept += answer as usize,
                    Ok(_) => return Err(self.confused()),
                    Err(error) => return Err(translate(error)),
                }
            }
            Ok(kept)
        }
        .boxed()
    }

    fn invalidate<'a>(&'a self, notices: &'a [Notice]) -> BoxFuture<'a, Result<(), Error>> {
        async move {
            if notices.is_empty() {
                return Ok(());
            }
            let sets = notices.iter().map(|Notice { instead, .. }| {
                let mut set = cmd("SET");
                set.arg(&*instead.name).arg(&instead.bytes[..]).arg("PX").arg(millis(instead.ttl));
                set
            });
            let announcements: Vec<_> = notices
                .iter()
                .filter_map(|notice| {
                    let mut publish = cmd("PUBLISH");
                    publish.arg(&self.link.config.channel).arg(encode(self.sender, &notice.what)?);
                    Some(publish)
                })
                .collect();
            // In this order, so that whoever hears of it reads the new state: on one server the commands are carried out as they
            // are written; in a cluster the second half waits for the first.
            let one_node = !matches!(self.link.config.target, crate::Target::Cluster(_));
            let (kept, told) = if one_node {
                let mut answers = self.many(sets.chain(announcements).collect()).await?;
                let told = answers.split_off(notices.len());
                (answers, told)
            } else {
                (self.many(sets.collect()).await?, self.many(announcements).await?)
            };
            let mut failed = None;
            let mut full = Vec::new();
            for (answer, notice) in kept.into_iter().zip(notices) {
                match answer {
                    Ok(Value::Okay) => {}
                    Ok(_) => return Err(self.confused()),
                    // A full server can still forget, which is what matters; the fence is lost.
                    Err(error) if action(&error) == Action::PauseWrites => {
                        let mut unlink = cmd("UNLINK");
                        unlink.arg(&*notice.instead.name);
                        full.push(unlink);
                    }
                    Err(error) => failed = Some(error),
                }
            }
            if !full.is_empty() {
                for answer in self.many(full).await? {
                    failed = failed.or(answer.err());
                }
            }
            for answer in told {
                match answer {
                    Ok(Value::Int(_)) => {}
                    Ok(_) => return Err(self.confused()),
                    Err(error) => failed = Some(error),
                }
            }
            failed.map_or(Ok(()), |error| Err(translate(error)))
        }
        .boxed()
    }

    fn listen(&self) -> broadcast::Receiver<Invalidation> {
        self.heard.subscribe()
    }

    fn now(&self) -> u64 {
        self.link.now()
    }

    fn distrust(&self) {
        self.link.distrust();
    }

    fn lease<'a>(&'a self, name: &'a Name, token: u64, ttl: Duration) -> BoxFuture<'a, Result<bool, Error>> {
        async move {
            let (token, ttl) = (token.to_string(), millis(ttl));
            self.ask(&LEASE, name, vec![token.as_bytes(), ttl.as_bytes()]).await
        }
        .boxed()
    }

    fn release<'a>(&'a self, name: &'a Name, token: u64) -> BoxFuture<'a, Result<(), Error>> {
        async move {
            let token = token.to_string();
            self.ask(&RELEASE, name, vec![token.as_bytes()]).await.map(drop)
        }
        .boxed()
    }
}

impl Drop for RedisStore {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

impl fmt::Debug for RedisStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisStore").field("state", &self.state()).finish_non_exhaustive()
    }
}

/// As Redis wants it: at least 1 ms, and far below the most it takes.
fn millis(ttl: Duration) -> String {
    ttl.as_millis().clamp(1, 1 << 48).to_string()
}
