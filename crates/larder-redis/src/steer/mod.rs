//! Which keys stay in a full Redis: chosen by a policy of the kernel, not by the server's own eviction.
//!
//! ```text
//! get ─▶ MGET ─▶ what was there: hits of the directory; keys it did not know are adopted
//! put ─▶ the directory's plan: refused, or [EVICT victims, PUT] in one pipeline
//! now and then ─▶ INFO: the directory's limit;  EXISTS of some names;  SCAN for names it does not know;  a word to the peers
//! ```
//!
//! The server's own eviction stays as the backstop: the limit is kept so that it is rare. A guard compares what the Redis answers with what
//! the server's own eviction would have kept, and leaves the server alone while that does better.

mod directory;
#[cfg(feature = "fuzzing")]
pub(crate) mod fuzzing;
mod guard;
mod keep;
mod limit;
mod peers;
mod pilot;

use std::time::{Duration, Instant};

use bytes::Bytes;
use larder::remote::{Item, Name, Notice};
use larder::{Error, ErrorKind};
use larder_policy::learned::Standing;
use larder_policy::{PolicySpec, Time};
use parking_lot::Mutex;
use redis::{RedisResult, Value};
use tokio::sync::Notify;

use pilot::Pilot;

pub(crate) use keep::{evict, keep};
pub(crate) use peers::channels;

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

/// What steering does, for metrics.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct SteeringState {
    /// Whether it steers. If not: it is switched off, the server has no limit, the guard or one of the other processes objects, or the
    /// server's memory is not known yet.
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
    /// How a learned policy stands beside LRU, by its own guard.
    pub standing: Option<Standing>,
}

/// The steering of one store.
pub(crate) struct Steer {
    pub(crate) config: Steering,
    /// Who we are to the peers.
    pub(crate) id: u64,
    start: Instant,
    pilot: Mutex<Pilot>,
    /// There is something to send, or to ask.
    wake: Notify,
}

/// What to do about fills.
pub(crate) struct Decisions {
    /// Whether each is to be sent.
    pub(crate) keep: Vec<bool>,
    /// Who has to leave for them.
    pub(crate) evict: Vec<Name>,
}

impl Steer {
    pub(crate) fn new(config: Steering, id: u64) -> Self {
        let pilot = Mutex::new(Pilot::new(config.clone(), id));
        Self { config, id, start: Instant::now(), pilot, wake: Notify::new() }
    }

    fn now(&self) -> Time {
        Time(self.start.elapsed().as_micros() as u64)
    }

    fn with<T>(&self, act: impl FnOnce(&mut Pilot, Time) -> T) -> T {
        let now = self.now();
        let mut pilot = self.pilot.lock();
        let answer = act(&mut pilot, now);
        if pilot.is_due() {
            self.wake.notify_one();
        }
        answer
    }

    /// What the Redis answered about `names`.
    pub(crate) fn seen(&self, names: &[Name], answers: &[Option<Bytes>]) {
        self.with(|pilot, now| {
            for (name, bytes) in names.iter().zip(answers) {
                pilot.seen(name, bytes.as_ref(), now);
            }
        });
    }

    /// What to do about fills that are about to be sent.
    pub(crate) fn fill(&self, items: &[Item]) -> Decisions {
        self.with(|pilot, now| {
            let keep = items.iter().map(|item| pilot.fill(item, now)).collect();
            Decisions { keep, evict: pilot.take_evicted() }
        })
    }

    /// These fills were sent, and whether the server keeps each.
    pub(crate) fn settled<'a>(&self, items: impl Iterator<Item = (&'a Item, bool)>) {
        self.with(|pilot, _| items.for_each(|(item, kept)| pilot.settled(item, kept)));
    }

    /// The Redis does not keep `name`, or something that is not to be steered.
    pub(crate) fn gone(&self, name: &Name) {
        self.with(|pilot, _| pilot.gone(name));
    }

    /// What the server says of `many` victims it was told to take out.
    pub(crate) fn evicted(&self, many: usize, answer: &RedisResult<Value>) {
        if let Ok(Value::Int(taken)) = answer {
            let missing = (many as u64).saturating_sub(u64::try_from(*taken).unwrap_or(0));
            self.with(|pilot, _| pilot.not_there(missing));
        }
    }

    /// Victims that could not be taken out.
    pub(crate) fn again(&self, names: Vec<Name>) {
        self.with(|pilot, _| pilot.again(names));
    }

    /// Something was written or invalidated by us. A value is adopted when it is read; a mark leaves by its lifetime.
    pub(crate) fn written(&self, notices: &[Notice]) {
        self.with(|pilot, _| notices.iter().for_each(|notice| pilot.gone(&notice.instead.name)));
    }

    /// A message of a peer.
    pub(crate) fn hear(&self, message: &[u8]) {
        self.with(|pilot, now| pilot.hear(message, now));
    }

    /// Steers, or leaves the server alone, until told otherwise.
    pub(crate) fn switch(&self, on: bool) {
        self.with(|pilot, _| pilot.switch(on));
    }

    pub(crate) fn state(&self) -> SteeringState {
        self.pilot.lock().state()
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
