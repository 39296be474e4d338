//! The task beside it: asks the server for its memory, takes out who has to leave, looks for what the directory does not know, and talks to
//! the peers.

use std::sync::Arc;
use std::time::Duration;

use larder::Error;
use larder::remote::{Name, envelope};
use redis::{Cmd, RedisResult, Value, cmd};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{Instant, sleep, timeout};

use super::pilot::Pilot;
use super::{NAMES, Node, SlotMap, Steer, channels};
use crate::info::server_info;
use crate::link::Link;
use crate::scripts::{Call, EVICT};

/// However much is filled, the memory is not asked for more often.
const EARLIEST: Duration = Duration::from_millis(5);
/// How long events for the peers wait for others, and how often keys of the server are looked at.
const SOON: Duration = Duration::from_millis(20);
const SCAN_EVERY: Duration = Duration::from_millis(100);
/// How long to leave a server alone that did not answer.
const AGAIN: Duration = Duration::from_millis(100);
/// How often a cluster is asked where its slots are, at least.
const LOCATE: Duration = Duration::from_secs(1);
/// Names that are looked at with each reading.
const SAMPLE: usize = 16;
/// Of those, so many are missing where all are to be looked at.
const SUSPICIOUS: usize = 4;

/// Of one server.
struct Keeper {
    link: Arc<Link>,
    steer: Arc<Steer>,
    node: Arc<Node>,
    read: Option<Instant>,
    scanned: Option<Instant>,
    /// Names still to be looked at.
    verifying: Vec<Name>,
    /// Where a scan under way goes on.
    cursor: Option<String>,
}

/// Steers, for ever: a task for each server, so that none waits for another that is silent.
pub(crate) async fn keep(link: Arc<Link>, steer: Arc<Steer>) {
    let (mut tasks, mut kept) = (JoinSet::new(), Vec::<(Arc<Node>, AbortHandle)>::new());
    loop {
        if steer.is_cluster()
            && let Ok(answer) = link.ask(None, &slots()).await
            && let Some(map) = SlotMap::parse(&answer)
        {
            steer.locate(map);
        }
        let nodes = steer.nodes();
        kept.retain(|(node, task)| {
            let stays = nodes.iter().any(|other| Arc::ptr_eq(node, other));
            if !stays {
                task.abort();
            }
            stays
        });
        for node in nodes {
            if !kept.iter().any(|(other, _)| Arc::ptr_eq(&node, other)) {
                let task = tasks.spawn(keep_one(link.clone(), steer.clone(), node.clone()));
                kept.push((node, task));
            }
        }
        while tasks.try_join_next().is_some() {}
        sleep(steer.config.every.min(LOCATE)).await;
    }
}

fn slots() -> Cmd {
    let mut slots = cmd("CLUSTER");
    slots.arg("SLOTS");
    slots
}

/// Steers one server, for ever.
async fn keep_one(link: Arc<Link>, steer: Arc<Steer>, node: Arc<Node>) {
    let mut keeper = Keeper { link, steer, node, read: None, scanned: None, verifying: Vec::new(), cursor: None };
    loop {
        let wait = keeper.wait();
        let _ = timeout(wait, keeper.node.wake.notified()).await;
        if keeper.turn().await.is_err() {
            sleep(AGAIN).await;
        }
    }
}

impl Keeper {
    fn pilot<T>(&self, act: impl FnOnce(&mut Pilot) -> T) -> T {
        self.node.quietly(act)
    }

    fn wait(&self) -> Duration {
        if !self.verifying.is_empty() || self.read.is_none() {
            return Duration::ZERO;
        }
        let (has_peers, sweeps) = self.pilot(|pilot| (pilot.has_peers(), pilot.sweep));
        match (has_peers, sweeps || self.cursor.is_some()) {
            (true, _) => SOON,
            (false, true) => SCAN_EVERY.min(self.steer.config.every),
            (false, false) => self.steer.config.every,
        }
    }

    async fn turn(&mut self) -> Result<(), Error> {
        self.talk().await?;
        self.evict().await?;
        let early = self.pilot(|pilot| pilot.wants_reading());
        let pause = if early { EARLIEST } else { self.steer.config.every };
        if self.read.is_none_or(|read| read.elapsed() >= pause) {
            self.read().await?;
        }
        self.verify().await?;
        if self.scanned.is_none_or(|scanned| scanned.elapsed() >= SCAN_EVERY) {
            self.scan().await?;
        }
        Ok(())
    }

    /// Tells the peers what was seen of their keys.
    async fn talk(&self) -> Result<(), Error> {
        let publish = |(to, message)| {
            let [_, channel] = channels(&self.link.config.channel, to);
            published(&channel, message)
        };
        let cmds: Vec<_> = self.pilot(Pilot::take_events).into_iter().map(publish).collect();
        if !cmds.is_empty() {
            self.link.many(cmds).await?;
        }
        Ok(())
    }

    /// Takes out who has to leave and is not on its way with a fill.
    async fn evict(&self) -> Result<(), Error> {
        let names = self.pilot(Pilot::take_evicted);
        for (at, chunk) in names.chunks(NAMES).enumerate() {
            match self.link.scripts(self.steer.together(chunk).map(evict).collect()).await {
                Ok(answers) => self.steer.evicted(chunk, &answers),
                Err(error) => {
                    self.steer.again(&names[at * NAMES..]);
                    return Err(error);
                }
            }
        }
        Ok(())
    }

    /// Asks for the server's memory, sees whether some names are still there, and says that we are.
    async fn read(&mut self) -> Result<(), Error> {
        let place = self.node.place();
        let info = server_info(&self.link, place.as_ref()).await?;
        if self.node.place() != place {
            // Its replica has taken over meanwhile.
            return Ok(());
        }
        let now = self.steer.now();
        self.pilot(|pilot| pilot.read(&info, now));
        self.read = Some(Instant::now());
        let names = self.pilot(|pilot| pilot.sample(SAMPLE));
        let missing = self.look_at(&names).await?;
        let [all, _] = channels(&self.link.config.channel, self.steer.id);
        let hello = self.pilot(|pilot| {
            pilot.verify |= missing >= SUSPICIOUS;
            pilot.hello(self.node.tag()).encode()
        });
        self.link.many(vec![published(&all, hello)]).await.map(drop)
    }

    /// Goes through the directory, if much of it may be gone.
    async fn verify(&mut self) -> Result<(), Error> {
        if self.verifying.is_empty() && self.pilot(|pilot| std::mem::take(&mut pilot.verify)) {
            self.verifying = self.pilot(|pilot| pilot.names());
        }
        let rest = self.verifying.len().saturating_sub(NAMES);
        let names = self.verifying.split_off(rest);
        let _ = self.look_at(&names).await?;
        if self.verifying.is_empty() && !names.is_empty() {
            // The limit was set by a directory that believed in too many.
            self.read = None;
        }
        Ok(())
    }

    /// Forgets those that are gone, and says how many.
    async fn look_at(&self, names: &[Name]) -> Result<usize, Error> {
        if names.is_empty() {
            return Ok(0);
        }
        let cmds = names.iter().map(|name| one("EXISTS", name)).collect();
        let answers = self.link.many(cmds).await?;
        let missing = names.iter().zip(answers).filter(|(_, answer)| matches!(answer, Ok(Value::Int(0))));
        let missing: Vec<_> = missing.map(|(name, _)| name.clone()).collect();
        self.pilot(|pilot| pilot.missing(&missing));
        Ok(missing.len())
    }

    /// Looks at some keys of the server, if there may be some of ours that the directory does not know.
    async fn scan(&mut self) -> Result<(), Error> {
        let count = self.steer.config.scan.div_ceil(10);
        if count == 0 {
            return Ok(());
        }
        if self.cursor.is_none() && self.pilot(Pilot::begins_sweep) {
            self.cursor = Some("0".to_owned());
        }
        if let Some(cursor) = &self.cursor {
            self.scanned = Some(Instant::now());
            // Without `MATCH`, which would take a scan of everything for each namespace.
            let mut scan = cmd("SCAN");
            scan.arg(cursor).arg("COUNT").arg(count);
            let answer = self.link.ask(self.node.place().as_ref(), &scan).await?;
            let (next, names): (String, Vec<Vec<u8>>) =
                redis::from_redis_value(answer).map_err(|_| self.link.confused())?;
            let texts = names.iter().filter_map(|name| std::str::from_utf8(name).ok());
            let unknown = self.pilot(|pilot| pilot.unknown(texts));
            self.adopt(&unknown).await?;
            self.cursor = Some(next).filter(|next| next != "0");
        }
        if self.cursor.is_none() && self.pilot(Pilot::swept) {
            // Now there is a limit to be set.
            self.read = None;
        }
        Ok(())
    }

    /// Takes those of the names that are values of ours into the directory.
    async fn adopt(&self, names: &[Name]) -> Result<(), Error> {
        if names.is_empty() {
            return Ok(());
        }
        let questions = names.iter().flat_map(|name| {
            let mut head = one("GETRANGE", name);
            head.arg(0).arg(envelope::KIND);
            [head, one("STRLEN", name), one("PTTL", name)]
        });
        let answers = self.link.many(questions.collect()).await?;
        for (name, answers) in names.iter().zip(answers.chunks(3)) {
            if let Some((bytes, ttl)) = found(answers) {
                self.steer.found(&self.node, name, bytes, ttl);
            }
        }
        Ok(())
    }
}

/// The script's call that takes out `names`, as far as they are values of ours.
pub(crate) fn evict(names: &[Name]) -> Call<'_> {
    Call { script: &EVICT, keys: names.iter().map(|name| &**name).collect(), args: Vec::new() }
}

/// Size and rest of life of a value, if it is one of ours.
fn found(answers: &[RedisResult<Value>]) -> Option<(usize, Option<Duration>)> {
    let [Ok(Value::BulkString(head)), Ok(Value::Int(size)), Ok(Value::Int(ttl))] = answers else { return None };
    let ttl = u64::try_from(*ttl).ok().map(Duration::from_millis);
    envelope::holds_value(head).then_some((usize::try_from(*size).ok()?, ttl))
}

fn published(channel: &str, message: Vec<u8>) -> Cmd {
    let mut publish = cmd("PUBLISH");
    publish.arg(channel).arg(message);
    publish
}

fn one(command: &str, name: &Name) -> Cmd {
    let mut cmd = cmd(command);
    cmd.arg(&**name);
    cmd
}
