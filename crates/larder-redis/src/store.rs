//! The store itself: what each method is in Redis commands.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use larder::Error;
use larder::remote::envelope::version_of;
use larder::remote::{Capabilities, Filled, Invalidation, Item, Name, Notice, RemoteStore, ServerFigures};
use parking_lot::Mutex;
use redis::{Cmd, RedisError, RedisResult, Value, cmd};
use tokio::runtime::Handle;
use tokio::sync::broadcast;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::config::{RedisConfig, Target};
use crate::errors::{Action, action, translate};
use crate::info::{ServerInfo, server_info};
use crate::link::{Link, LinkState, keep};
use crate::listen::{Ears, encode, listen};
use crate::scripts::{Call, LEASE, MARK, PUT, RELEASE, Script, WRITE};
use crate::steer::{self, Decisions, Steer, SteeringState};

/// So many values are read one by one: a key's, and the mark of its namespace or of a tag.
const FEW: usize = 2;
/// How long all values are read one by one once a stranger's was too large.
const WARY_FOR: Duration = Duration::from_secs(60);
/// How many announcements a listener may lag behind.
const CHANNEL: usize = 4096;

/// A Redis as the cache's second tier: one server, a Sentinel's master, or a cluster. Made without waiting: until there is a
/// connection, every call fails at once. Dropping it closes the connections.
pub struct RedisStore {
    link: Arc<Link>,
    /// Who we are on the channel.
    sender: u64,
    heard: broadcast::Sender<Invalidation>,
    steer: Option<Arc<Steer>>,
    /// No value has more bytes; 0 while nobody has said so.
    most_bytes: AtomicUsize,
    /// Until when strangers are reckoned with.
    wary_until: Mutex<Option<Instant>>,
    tasks: Vec<JoinHandle<()>>,
}

type Answers = Vec<RedisResult<Value>>;

impl RedisStore {
    /// Begins to connect, on `runtime`.
    ///
    /// # Errors
    /// [`ErrorKind::Config`](larder::ErrorKind::Config): a setting is out of its limits. Nothing is said yet of the server.
    pub fn new(config: RedisConfig, runtime: &Handle) -> Result<Self, Error> {
        let (sender, heard) = (fastrand::u64(..), broadcast::Sender::new(CHANNEL));
        let steer = config.steering.clone().map(|steering| Arc::new(Steer::new(steering, sender, &config.target)));
        let link = Arc::new(Link::new(config)?);
        let ears = Ears { sender, heard: heard.clone(), steer: steer.clone() };
        let mut tasks = vec![
            runtime.spawn(keep(link.clone())),
            runtime.spawn(listen(link.clone(), ears)),
            #[cfg(feature = "metrics")]
            runtime.spawn(crate::metrics::publish(link.clone())),
        ];
        tasks.extend(steer.clone().map(|steer| runtime.spawn(steer::keep(link.clone(), steer))));
        Ok(Self { link, sender, heard, steer, most_bytes: AtomicUsize::new(0), wary_until: Mutex::default(), tasks })
    }

    pub(crate) fn link(&self) -> &Link {
        &self.link
    }

    /// How the link is, for metrics.
    pub fn state(&self) -> LinkState {
        self.link.state()
    }

    /// What the server says about itself: one `INFO`.
    pub async fn server(&self) -> Result<ServerInfo, Error> {
        server_info(&self.link, None).await
    }

    /// Switches steering on or off at run time; a store made without it stays without. Off, the server's own eviction decides again: no key is
    /// taken out and none is refused.
    pub fn steer(&self, on: bool) {
        if let Some(steer) = &self.steer {
            steer.switch(on);
        }
    }

    /// What steering does, if the store was made with it; in a cluster of all primaries together.
    pub fn steering(&self) -> Option<SteeringState> {
        self.steer.as_ref().map(|steer| steer.state())
    }

    /// What steering does at each primary of a cluster, by its address, in no order that means anything; empty until they are known. A single
    /// server has no address here.
    pub fn steering_by_node(&self) -> Vec<(String, SteeringState)> {
        self.steer.as_ref().map_or_else(Vec::new, |steer| steer.states())
    }

    /// Fills, behind those that have to leave for them; the answers to the fills. A cluster's nodes get them in no order that is sure.
    async fn send(&self, items: &[&Item], evict: &[Name]) -> Result<Vec<RedisResult<Value>>, Error> {
        let ttls: Vec<_> = items.iter().map(|item| millis(item.ttl)).collect();
        let mut calls: Vec<_> = self.steer.iter().flat_map(|steer| steer.together(evict)).map(steer::evict).collect();
        let before = calls.len();
        calls.extend(items.iter().zip(&ttls).map(|(item, ttl)| Call {
            script: &PUT,
            keys: vec![&item.name],
            args: vec![&item.bytes[..], ttl.as_bytes()],
        }));
        if calls.is_empty() {
            return Ok(Vec::new());
        }
        let mut answers = self.link.scripts(calls).await?;
        let puts = answers.split_off(before);
        if let Some(steer) = &self.steer {
            steer.evicted(evict, &answers);
        }
        Ok(puts)
    }

    /// Does `first` and then announces the notices; the answers to both. In this order, so that whoever hears of it reads the new state: on one
    /// server the commands are carried out as they are written; in a cluster the second half waits for the first. Another attempt is announced
    /// if it succeeds.
    async fn tell(&self, first: Vec<Cmd>, notices: &[Notice]) -> Result<(Answers, Answers), Error> {
        let is_again = notices.iter().any(|notice| notice.is_again);
        let publish = |notice: &Notice| {
            let mut publish = cmd("PUBLISH");
            publish.arg(&self.link.config.channel).arg(encode(self.sender, &notice.what)?);
            Some(publish)
        };
        if is_again || matches!(self.link.config.target, Target::Cluster(_)) {
            let answers = self.link.many(first).await?;
            let known = notices.iter().zip(&answers).filter(|(notice, answer)| !notice.is_again || answer.is_ok());
            let announcements: Vec<_> = known.filter_map(|(notice, _)| publish(notice)).collect();
            let told = if announcements.is_empty() { Vec::new() } else { self.link.many(announcements).await? };
            return Ok((answers, told));
        }
        let announcements: Vec<_> = notices.iter().filter_map(publish).collect();
        let many = first.len();
        let mut answers = self.link.many([first, announcements].concat()).await?;
        let told = answers.split_off(many);
        Ok((answers, told))
    }

    /// What is kept under names, of each no more than a value can have: a stranger's may have half a gigabyte. For many that costs the server
    /// twice what `MGET` does, so it is done once there is reason to. Nothing of a tier is empty: to Redis that is the same as missing here.
    async fn heads(&self, names: &[Name], most_bytes: usize) -> Result<Vec<Option<Bytes>>, Error> {
        let head = |name: &Name| {
            let mut range = Cmd::with_capacity(4, name.len() + 32);
            // One byte more than there can be: what is too long is not taken for what it begins with.
            range.arg("GETRANGE").arg(&**name).arg(0).arg(most_bytes);
            range
        };
        let generation = self.link.generation();
        let answers = match names {
            [name] => {
                let one = head(name);
                vec![Ok(self.link.call(async |mut conn| conn.one(&one).await.or_else(nothing_of_another_type)).await?)]
            }
            _ => {
                let cmds = names.iter().map(head).collect();
                self.link.call(async move |mut conn| conn.many(cmds).await).await?
            }
        };
        if answers.len() != names.len() {
            return Err(self.link.confused());
        }
        let values = answers.into_iter().map(|answer| match answer.or_else(nothing_of_another_type) {
            Ok(Value::BulkString(bytes)) => Ok((!bytes.is_empty()).then(|| Bytes::from(bytes))),
            Ok(Value::Nil) => Ok(None),
            Ok(_) => Err(self.link.confused()),
            Err(error) => {
                self.link.react(generation, &error);
                Err(translate(error))
            }
        });
        Ok(self.seen(names, values.collect::<Result<_, Error>>()?, most_bytes))
    }

    /// What was read, with what is to be learned from it.
    fn seen(&self, names: &[Name], values: Vec<Option<Bytes>>, most_bytes: usize) -> Vec<Option<Bytes>> {
        if most_bytes > 0 && values.iter().flatten().any(|value| value.len() > most_bytes) {
            *self.wary_until.lock() = Some(Instant::now() + WARY_FOR);
        }
        if let Some(steer) = &self.steer {
            steer.seen(names, &values);
        }
        values
    }

    fn is_wary(&self) -> bool {
        self.wary_until.lock().is_some_and(|until| Instant::now() < until)
    }

    /// One call of a script on one name.
    pub(crate) async fn script(&self, script: &'static Script, name: &Name, args: Vec<&[u8]>) -> Result<Value, Error> {
        match self.link.scripts(vec![Call { script, keys: vec![name], args }]).await?.pop() {
            Some(answer) => answer.map_err(translate),
            None => Err(self.link.confused()),
        }
    }

    /// One that answers 0 or 1.
    async fn ask(&self, script: &'static Script, name: &Name, args: Vec<&[u8]>) -> Result<bool, Error> {
        match self.script(script, name, args).await? {
            Value::Int(answer) => Ok(answer == 1),
            _ => Err(self.link.confused()),
        }
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
            let most_bytes = self.most_bytes.load(Relaxed);
            if most_bytes > 0 && (names.len() <= FEW || self.is_wary()) {
                return self.heads(names, most_bytes).await;
            }
            let text = names.iter().map(|name| name.len()).sum::<usize>();
            let mut mget = Cmd::with_capacity(1 + names.len(), "MGET".len() + text);
            mget.arg("MGET");
            for name in names {
                mget.arg(&**name);
            }
            match self.link.call(async move |mut conn| conn.one(&mget).await).await? {
                Value::Array(values) if values.len() == names.len() => {
                    let values = values.into_iter().map(|value| match value {
                        Value::BulkString(bytes) => Ok(Some(Bytes::from(bytes))),
                        Value::Nil => Ok(None),
                        _ => Err(self.link.confused()),
                    });
                    Ok(self.seen(names, values.collect::<Result<_, Error>>()?, most_bytes))
                }
                _ => Err(self.link.confused()),
            }
        }
        .boxed()
    }

    fn put<'a>(&'a self, items: &'a [Item]) -> BoxFuture<'a, Result<Filled, Error>> {
        async move {
            if items.is_empty() {
                return Ok(Filled::default());
            }
            self.link.check_writes()?;
            let Decisions { keep, evict } = match &self.steer {
                Some(steer) => steer.fill(items),
                None => Decisions { keep: vec![true; items.len()], evict: Vec::new() },
            };
            let not_admitted = keep.iter().filter(|keep| !**keep).count();
            let items: Vec<_> = items.iter().zip(keep).filter(|(_, keep)| *keep).map(|(item, _)| item).collect();
            let mut underway = Underway { steer: self.steer.as_deref(), items, kept: Vec::new(), evict };
            let answers = self.send(&underway.items, &underway.evict).await;
            match &answers {
                Ok(answers) => {
                    underway.kept = answers.iter().map(|answer| matches!(answer, Ok(Value::Int(1)))).collect();
                    underway.evict.clear();
                }
                Err(_) => underway.kept = vec![false; underway.items.len()],
            }
            drop(underway);
            let mut kept = 0;
            for answer in answers? {
                match answer {
                    Ok(Value::Int(answer @ 0..=1)) => kept += answer as usize,
                    Ok(_) => return Err(self.link.confused()),
                    Err(error) => return Err(translate(error)),
                }
            }
            Ok(Filled { kept, not_admitted })
        }
        .boxed()
    }

    fn invalidate<'a>(&'a self, notices: &'a [Notice]) -> BoxFuture<'a, Result<(), Error>> {
        async move {
            if notices.is_empty() {
                return Ok(());
            }
            if let Some(steer) = &self.steer {
                steer.written(notices);
            }
            let sets = notices.iter().map(|Notice { what, instead, .. }| {
                let script = match what {
                    Invalidation::Tag(_) | Invalidation::Clear(_) => Some(&MARK),
                    _ => version_of(&instead.bytes).map(|_| &WRITE),
                };
                if let Some(script) = script {
                    let ttl = millis(instead.ttl);
                    let args = vec![&instead.bytes[..], ttl.as_bytes()];
                    // By its text: marks and versions are few, and their announcements go with them.
                    return Call { script, keys: vec![&*instead.name], args }.by_text();
                }
                let mut set = cmd("SET");
                set.arg(&*instead.name).arg(&instead.bytes[..]).arg("PX").arg(millis(instead.ttl));
                set
            });
            let (kept, mut told) = self.tell(sets.collect(), notices).await?;
            let mut failed = None;
            let mut full = Vec::new();
            for (answer, notice) in kept.into_iter().zip(notices) {
                match answer {
                    Ok(Value::Okay | Value::Int(1)) => {}
                    // A newer version is kept, or a later mark: what this process has is outdated as well.
                    Ok(Value::Int(0)) => _ = self.heard.send(notice.what.clone()),
                    Ok(_) => return Err(self.link.confused()),
                    // A full server can still forget, which is what matters of a key; the fence is lost. A mark has to be there.
                    Err(error)
                        if action(&error) == Action::PauseWrites && matches!(notice.what, Invalidation::Key(_)) =>
                    {
                        full.push(notice.clone());
                    }
                    Err(error) => failed = Some(error),
                }
            }
            if !full.is_empty() {
                let unlinks = full.iter().map(|notice| {
                    let mut unlink = cmd("UNLINK");
                    unlink.arg(&*notice.instead.name);
                    unlink
                });
                // Told again: whoever was quick has read what is only now gone.
                let (gone, again) = self.tell(unlinks.collect(), &full).await?;
                failed = gone.into_iter().fold(failed, |failed, answer| failed.or(answer.err()));
                told.extend(again);
            }
            for answer in told {
                match answer {
                    Ok(Value::Int(_)) => {}
                    Ok(_) => return Err(self.link.confused()),
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

    fn expect(&self, most_bytes: usize) {
        self.most_bytes.fetch_max(most_bytes, Relaxed);
    }

    fn server_figures(&self) -> Option<ServerFigures> {
        self.link.figures()
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

/// Fills on their way, settled however the call ends.
struct Underway<'a> {
    steer: Option<&'a Steer>,
    items: Vec<&'a Item>,
    /// Whether the server keeps each, once it has said so.
    kept: Vec<bool>,
    /// What has to leave for them, until that is done.
    evict: Vec<Name>,
}

impl Drop for Underway<'_> {
    fn drop(&mut self) {
        if let Some(steer) = self.steer {
            // Who gave up waiting does not know; the server mostly has it.
            self.kept.resize(self.items.len(), true);
            steer.settled(self.items.iter().copied().zip(self.kept.iter().copied()));
            steer.again(&self.evict);
        }
    }
}

impl fmt::Debug for RedisStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisStore").field("state", &self.state()).finish_non_exhaustive()
    }
}

/// A value of another type is a miss, as for `MGET`.
fn nothing_of_another_type(error: RedisError) -> RedisResult<Value> {
    if error.code() == Some("WRONGTYPE") { Ok(Value::Nil) } else { Err(error) }
}

/// As Redis wants it: at least 1 ms, and far below the most it takes.
pub(crate) fn millis(ttl: Duration) -> String {
    ttl.as_millis().clamp(1, 1 << 48).to_string()
}
