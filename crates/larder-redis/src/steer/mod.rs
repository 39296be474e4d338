//! Which keys stay in a full Redis: chosen by a policy of the kernel, not by the server's own eviction.
//!
//! ```text
//! get ─▶ MGET ─▶ what was there: hits of the directory; keys it did not know are adopted
//! put ─▶ the directory's plan: refused, or [EVICT victims, PUT] in one pipeline
//! now and then ─▶ INFO: the directory's limit;  EXISTS of some names;  SCAN for names it does not know;  a word to the peers
//! ```
//!
//! The server's own eviction stays as the backstop: the limit is kept so that it is rare. A guard compares what the Redis answers with what
//! the server's own eviction would have kept, and leaves the server alone while that does better. In a cluster each primary has all that to
//! itself, and victims leave one by one, for they lie in different slots.

mod directory;
#[cfg(feature = "fuzzing")]
pub(crate) mod fuzzing;
mod guard;
mod keep;
mod limit;
mod nodes;
mod peers;
mod pilot;

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use larder::remote::{Item, Name, Notice};
use larder::{Error, ErrorKind};
use larder_policy::learned::Standing;
use larder_policy::{PolicySpec, Time};
use parking_lot::RwLock;
use redis::{RedisResult, Value};

use nodes::{Node, Nodes, SlotMap};
use peers::{Event, Hello};
use pilot::Pilot;

use crate::config::Target;

pub(crate) use keep::{evict, keep};
pub(crate) use nodes::Place;
pub(crate) use peers::channels;

/// Names in one command, where one server has them all.
const NAMES: usize = 256;

/// How a full Redis is steered.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Steering {
    /// Who stays and who is let in: `learned`, or any other the kernel has.
    pub policy: PolicySpec,
    /// How often the server is asked for its memory, at least; a directory that changes fast asks earlier.
    pub every: Duration,
    /// Keys of the server that are looked at a second, while there may be some of ours that the directory does not know: at the start, and
    /// whenever processes come or go. 0 for none: such keys are then known once they are read.
    pub scan: u32,
    /// Whether the server is left alone while its own eviction would do better.
    pub guard: bool,
}

impl Default for Steering {
    fn default() -> Self {
        // The name is one of the registry, which the tests check.
        let policy = "learned".parse().unwrap_or_else(|error| unreachable!("{error}"));
        Self { policy, every: Duration::from_secs(1), scan: 5_000, guard: true }
    }
}

impl Steering {
    /// Another policy, such as `s3fifo` or `learned-cost`.
    ///
    /// # Errors
    /// There is no such policy, or it needs to know the future.
    pub fn policy(self, spec: &str) -> Result<Self, Error> {
        let policy: PolicySpec =
            spec.parse().map_err(|error| Error::caused(ErrorKind::Config, "steering needs a policy", error))?;
        if policy.eviction().needs_oracle {
            let what = format!("the policy '{spec}' knows the future, which a Redis does not: take another");
            return Err(Error::new(ErrorKind::Config, what));
        }
        Ok(Self { policy, ..self })
    }
}

/// What steering does, for metrics; in a cluster of all primaries together.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct SteeringState {
    /// Whether it steers, in a cluster each primary. If not: it is switched off, the server has no limit, the guard or one of the other
    /// processes objects, others' keys press too much, or the server's memory is not known yet.
    pub steers: bool,
    /// Names in the directory.
    pub keys: usize,
    /// About the bytes they take in the Redis.
    pub used: u64,
    /// How many they may take.
    pub limit: u64,
    /// Bytes the directory takes in this process, beside the names.
    pub metadata: usize,
    /// Processes that steer this Redis, with this one.
    pub processes: u64,
    /// Keys taken out of the Redis.
    pub evicted: u64,
    /// Fills that were not worth a place.
    pub refused: u64,
    /// Keys of the directory that turned out to be gone: evicted by the server, deleted by somebody.
    pub lost: u64,
    /// Keys that were not in the directory and now are.
    pub adopted: u64,
    /// What the server evicted by itself, as far as seen.
    pub evicted_by_server: u64,
    /// How often the guard had the server left alone.
    pub retreats: u32,
    /// How a learned policy stands beside LRU, by its own guard; in a cluster that of one primary.
    pub standing: Option<Standing>,
}

impl SteeringState {
    /// Of two servers together.
    fn with(&self, other: &Self) -> Self {
        Self {
            steers: self.steers && other.steers,
            keys: self.keys + other.keys,
            used: self.used.saturating_add(other.used),
            limit: self.limit.saturating_add(other.limit),
            metadata: self.metadata + other.metadata,
            processes: self.processes.max(other.processes),
            evicted: self.evicted + other.evicted,
            refused: self.refused + other.refused,
            lost: self.lost + other.lost,
            adopted: self.adopted + other.adopted,
            evicted_by_server: self.evicted_by_server + other.evicted_by_server,
            retreats: self.retreats + other.retreats,
            standing: self.standing.or(other.standing),
        }
    }

    /// What was counted, without what was the case.
    fn counts(self) -> Self {
        let Self { evicted, refused, lost, adopted, evicted_by_server, retreats, .. } = self;
        Self { evicted, refused, lost, adopted, evicted_by_server, retreats, ..Self::default() }
    }
}

/// The steering of one store.
pub(crate) struct Steer {
    pub(crate) config: Steering,
    /// Who we are to the peers.
    pub(crate) id: u64,
    /// Where the keys are; a cluster has one database.
    db: i64,
    start: Instant,
    nodes: RwLock<Nodes>,
}

/// What to do about fills.
pub(crate) struct Decisions {
    /// Whether each is to be sent.
    pub(crate) keep: Vec<bool>,
    /// Who has to leave for them.
    pub(crate) evict: Vec<Name>,
}

impl Steer {
    pub(crate) fn new(config: Steering, id: u64, target: &Target) -> Self {
        let db = match target {
            Target::Single(info) => info.redis_settings().db(),
            Target::Sentinel { db, .. } => *db,
            Target::Cluster(_) => 0,
        };
        let is_cluster = matches!(target, Target::Cluster(_));
        let nodes = if is_cluster { Nodes::cluster() } else { Nodes::one(Pilot::new(config.clone(), id, db)) };
        Self { config, id, db, start: Instant::now(), nodes: RwLock::new(nodes) }
    }

    fn now(&self) -> Time {
        Time(self.start.elapsed().as_micros() as u64)
    }

    /// What the Redis answered about `names`.
    pub(crate) fn seen(&self, names: &[Name], answers: &[Option<Bytes>]) {
        let (nodes, now) = (self.nodes.read(), self.now());
        for (name, bytes) in names.iter().zip(answers) {
            nodes.with(name, |pilot| pilot.seen(name, bytes.as_ref(), now));
        }
    }

    /// What to do about fills that are about to be sent.
    pub(crate) fn fill(&self, items: &[Item]) -> Decisions {
        let (nodes, now) = (self.nodes.read(), self.now());
        let mut evict = Vec::new();
        let mut keep = |item: &Item| {
            let decide = |pilot: &mut Pilot| {
                let keep = pilot.fill(item, now);
                evict.append(&mut pilot.take_evicted());
                keep
            };
            nodes.with(&item.name, decide).unwrap_or(true)
        };
        Decisions { keep: items.iter().map(&mut keep).collect(), evict }
    }

    fn is_cluster(&self) -> bool {
        self.nodes.read().is_cluster()
    }

    fn nodes(&self) -> Vec<Arc<Node>> {
        self.nodes.read().all.clone()
    }

    /// Names, as many together as one command may name.
    pub(crate) fn together<'a>(&self, names: &'a [Name]) -> impl Iterator<Item = &'a [Name]> + use<'a> {
        names.chunks(if self.is_cluster() { 1 } else { NAMES })
    }

    /// These fills were sent, and whether the server keeps each.
    pub(crate) fn settled<'a>(&self, items: impl Iterator<Item = (&'a Item, bool)>) {
        let nodes = self.nodes.read();
        items.for_each(|(item, kept)| _ = nodes.with(&item.name, |pilot| pilot.settled(item, kept)));
    }

    /// The Redis does not keep `name`, or something that is not to be steered.
    pub(crate) fn gone(&self, name: &Name) {
        self.nodes.read().with(name, |pilot| pilot.gone(name));
    }

    /// What the server says of victims that it was told to take out, [`together`](Self::together). Where it says something else, they stay
    /// there as keys that are not known.
    pub(crate) fn evicted(&self, names: &[Name], answers: &[RedisResult<Value>]) {
        for (names, answer) in self.together(names).zip(answers) {
            if let Ok(Value::Int(taken)) = answer {
                let missing = (names.len() as u64).saturating_sub(u64::try_from(*taken).unwrap_or(0));
                self.nodes.read().with(&names[0], |pilot| pilot.not_there(missing));
            }
        }
    }

    /// Victims that could not be taken out.
    pub(crate) fn again(&self, names: &[Name]) {
        let nodes = self.nodes.read();
        names.iter().for_each(|name| _ = nodes.with(name, |pilot| pilot.again(name.clone())));
    }

    /// Something was written or invalidated by us. A value is adopted when it is read; a mark leaves by its lifetime.
    pub(crate) fn written(&self, notices: &[Notice]) {
        notices.iter().for_each(|notice| self.gone(&notice.instead.name));
    }

    /// A message of a peer: a hello, or what it saw of keys that are ours.
    pub(crate) fn hear(&self, message: &[u8]) {
        let (nodes, now) = (self.nodes.read(), self.now());
        if let Some(hello) = Hello::decode(message) {
            let node = nodes.all.iter().find(|node| node.tag() == hello.node);
            _ = node.map(|node| node.with(|pilot| pilot.greeted(hello, now)));
            return;
        }
        Event::decode(message).for_each(|event| _ = nodes.with(&event.name, |pilot| pilot.told(&event, now)));
    }

    /// A value of ours that was found at `node`, if it should be there.
    fn found(&self, node: &Arc<Node>, name: &Name, bytes: usize, ttl: Option<Duration>) {
        let (nodes, now) = (self.nodes.read(), self.now());
        if nodes.has(node, name) {
            node.with(|pilot| pilot.found(name, bytes, ttl, now));
        }
    }

    /// Follows a cluster whose slots lie like this.
    fn locate(&self, map: SlotMap) {
        let changed = self.nodes.write().locate(map, || Pilot::new(self.config.clone(), self.id, self.db));
        for node in changed {
            let nodes = self.nodes.read();
            node.with(|pilot| pilot.owns(|name| nodes.has(&node, name)));
        }
    }

    /// Steers, or leaves the server alone, until told otherwise.
    pub(crate) fn switch(&self, on: bool) {
        self.nodes.write().switch(on);
    }

    pub(crate) fn state(&self) -> SteeringState {
        self.nodes.read().state()
    }

    /// Each primary's address and state; of one server without an address.
    pub(crate) fn states(&self) -> Vec<(String, SteeringState)> {
        self.nodes.read().states()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_policy_is_checked() {
        assert_eq!(Steering::default().policy.as_str(), "learned");
        assert_eq!(Steering::default().policy("s3fifo:small=0.2").unwrap().policy.as_str(), "s3fifo:small=0.2");
        for bad in ["best", "belady"] {
            let error = Steering::default().policy(bad).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Config);
        }
    }
}
