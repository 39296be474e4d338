//! What is learned from the commands that pass.

use std::time::Duration;

use ahash::{HashMap, RandomState};
use larder::Clock;
use larder_policy::freshness::{Audit, Decision, Engine, Evidence, Loaded, Measured, Subject};
use larder_policy::{KeyHash, Time};
use parking_lot::Mutex;
use redis::Value;

use super::commands::Command;
use super::{Given, LearnedConfig};

/// So many keys are remembered; beyond, those whose time has passed are forgotten, and if that is not enough, all.
const MOST: usize = 200_000;
/// A key not set so long after it was missed is not being loaded any more (µs).
const LOADING: u64 = 300_000_000;

/// What a [`Learned`](super::Learned) connection did.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct LearnedState {
    /// Reads of keys it is about.
    pub reads: u64,
    /// Of those, the ones that found something.
    pub hits: u64,
    /// Of those, the ones answered as a miss to have the value checked.
    pub audits: u64,
    /// Lifetimes it chose.
    pub chosen: u64,
    /// Lifetimes the caller gave that stood.
    pub given: u64,
    /// Keys it remembers.
    pub keys: usize,
    /// The measured share of outdated reads, as soon as there is one.
    pub outdated: Option<Measured>,
}

pub(super) struct Mind {
    config: LearnedConfig,
    /// Hashes of keys and values are keyed: nobody outside can aim at them.
    hasher: RandomState,
    clock: Clock,
    inner: Mutex<Inner>,
}

struct Inner {
    engine: Engine,
    known: HashMap<KeyHash, Known>,
    state: LearnedState,
}

#[derive(Clone, Copy, Default)]
struct Known {
    /// When what was set last leaves by itself.
    until: Time,
    /// Since when it is being loaded.
    loading: Option<Time>,
    /// What for, if a hit was made a miss.
    audit: Option<Audit>,
}

impl Mind {
    pub(super) fn new(config: LearnedConfig) -> Self {
        let hasher = RandomState::new();
        let inner = Inner {
            engine: Engine::new(config.freshness.clone(), hasher.hash_one(0)).with_most_keys(MOST),
            known: HashMap::default(),
            state: LearnedState::default(),
        };
        Self { config, hasher, clock: Clock::system(), inner: Mutex::new(inner) }
    }

    pub(super) fn concerns(&self, command: &Command<'_>) -> bool {
        command.keys().iter().any(|key| self.is_ours(key))
    }

    pub(super) fn state(&self) -> LearnedState {
        let inner = self.inner.lock();
        LearnedState { keys: inner.known.len(), outdated: inner.engine.measured(None), ..inner.state }
    }

    /// The lifetime of a value that is about to be set; `None` leaves it as the caller wants it.
    pub(super) fn lifetime(&self, key: &[u8], value: &[u8], given: Option<Duration>) -> Option<Duration> {
        self.lifetime_at(self.clock.now(), key, value, given)
    }

    /// Learns from an answer, which a hit that is to be checked is taken out of.
    pub(super) fn learn(&self, command: &Command<'_>, answer: &mut Value, may_audit: bool) {
        self.learn_at(self.clock.now(), command, answer, may_audit);
    }

    fn lifetime_at(&self, now: Time, key: &[u8], value: &[u8], given: Option<Duration>) -> Option<Duration> {
        if !self.is_ours(key) {
            return None;
        }
        let (hash, digest) = (self.hash(key), self.hasher.hash_one(value));
        let size = u32::try_from(value.len()).unwrap_or(u32::MAX);
        let inner = &mut *self.inner.lock();
        let subject = inner.subject(hash, key, size);
        let known = inner.known.get(&hash).copied().unwrap_or_default();
        // A key nobody missed is written because it changed, just now.
        let began = known.loading.filter(|since| since.0 + LOADING > now.0).unwrap_or(now);
        let mut load = Loaded::new(began, Evidence::Digest(digest));
        if let Some(audit) = known.audit {
            load = load.audit(audit);
        }
        // There is nothing behind a plain value that could serve it stale: it goes when it is no longer fresh enough.
        let chosen = inner.engine.loaded(subject, now, load).logical;
        let ttl = match (given, self.config.given) {
            (None, _) => Some(chosen),
            (Some(most), Given::IsTheMost) => (chosen < most).then_some(chosen),
            (Some(_), Given::Stands) => None,
        };
        match ttl {
            Some(_) => inner.state.chosen += 1,
            None => inner.state.given += 1,
        }
        let until = now.plus(ttl.or(given).unwrap_or(chosen));
        inner.remember(hash, Known { until, loading: None, audit: None }, now);
        ttl
    }

    fn learn_at(&self, now: Time, command: &Command<'_>, answer: &mut Value, may_audit: bool) {
        match (command, answer) {
            (Command::Get(key), value) => self.read(now, key, value, may_audit),
            (Command::GetMany(keys), Value::Array(values)) => {
                for (key, value) in keys.iter().zip(values).filter(|(key, _)| self.is_ours(key)) {
                    self.read(now, key, value, may_audit);
                }
            }
            (Command::Delete(keys), Value::Int(_)) => {
                let inner = &mut *self.inner.lock();
                for key in keys.iter().filter(|key| self.is_ours(key)) {
                    let hash = self.hash(key);
                    let subject = inner.subject(hash, key, 0);
                    inner.engine.changed(subject, now);
                    inner.known.remove(&hash);
                }
            }
            // What a SET says was learned when its lifetime was chosen.
            _ => {}
        }
    }

    fn read(&self, now: Time, key: &[u8], value: &mut Value, may_audit: bool) {
        let size = match value {
            Value::BulkString(bytes) => bytes.len(),
            Value::Nil => 0,
            // An error, or nothing we know: it says nothing about the key.
            _ => return,
        };
        let is_hit = *value != Value::Nil;
        let hash = self.hash(key);
        let inner = &mut *self.inner.lock();
        let size = u32::try_from(size).unwrap_or(u32::MAX);
        let known = |inner: &Inner| inner.known.get(&hash).copied().unwrap_or_default();
        inner.state.reads += 1;
        if is_hit {
            inner.state.hits += 1;
            let decision = inner.engine.read_known(hash, now, true).unwrap_or_else(|| {
                let subject = inner.subject(hash, key, size);
                inner.engine.read(subject, now, true)
            });
            let Decision::Audit(audit) = decision else { return };
            if may_audit && self.config.audits {
                inner.state.audits += 1;
                inner.remember(hash, Known { loading: Some(now), audit: Some(audit), ..known(inner) }, now);
                *value = Value::Nil;
            } else {
                let subject = inner.subject(hash, key, size);
                inner.engine.forgo(subject, audit);
            }
            return;
        }
        let (known, subject) = (known(inner), inner.subject(hash, key, size));
        // What left because its time was over can still be compared with what comes next.
        let expired = known.until != Time(0) && known.until <= now;
        inner.engine.read(subject, now, expired);
        let loading = known.loading.filter(|since| since.0 + LOADING > now.0).or(Some(now));
        inner.remember(hash, Known { loading, ..known }, now);
    }

    fn is_ours(&self, key: &[u8]) -> bool {
        self.config.prefixes.iter().any(|prefix| key.starts_with(prefix.as_bytes()))
    }

    fn hash(&self, key: &[u8]) -> KeyHash {
        KeyHash(self.hasher.hash_one(key))
    }
}

impl Inner {
    fn subject(&mut self, hash: KeyHash, key: &[u8], size: u32) -> Subject {
        self.engine.subject_by(hash, size, || text(key))
    }

    fn remember(&mut self, hash: KeyHash, known: Known, now: Time) {
        if self.known.len() >= MOST && !self.known.contains_key(&hash) {
            self.known.retain(|_, known| known.until > now);
            if self.known.len() >= MOST {
                self.known.clear();
            }
        }
        self.known.insert(hash, known);
    }
}

impl std::fmt::Debug for Mind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Mind").field("config", &self.config).field("state", &self.state()).finish_non_exhaustive()
    }
}

/// What of a key tells its class.
fn text(key: &[u8]) -> &str {
    std::str::from_utf8(key).unwrap_or("")
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000;

    fn mind_with(given: Given) -> Mind {
        let freshness = larder::Freshness::stale_reads(0.05).unwrap();
        Mind::new(LearnedConfig { given, ..LearnedConfig::new(freshness, &["page:"]) })
    }

    fn mind() -> Mind {
        mind_with(Given::Stands)
    }

    fn hit() -> Value {
        Value::BulkString(b"value".to_vec())
    }

    fn get(key: &'static [u8]) -> Command<'static> {
        Command::Get(key)
    }

    /// Reads a key each second for an hour, as a service does that loads what it misses; `version` says what the origin has.
    fn live(mind: &Mind, key: &'static [u8], version: impl Fn(u64) -> u64) -> Duration {
        let (mut until, mut last) = (0, Duration::ZERO);
        for second in 10..3_600 {
            let now = Time(second * SECOND);
            let mut answer = if until > now.0 { hit() } else { Value::Nil };
            mind.learn_at(now, &get(key), &mut answer, true);
            if answer == Value::Nil {
                last = mind.lifetime_at(now, key, &version(second).to_le_bytes(), None).unwrap();
                until = now.plus(last).0;
            }
        }
        last
    }

    #[test]
    fn without_audits_nothing_is_certified() {
        let freshness = larder::Freshness::stale_reads(0.05).unwrap();
        let mind = Mind::new(LearnedConfig { audits: false, ..LearnedConfig::new(freshness, &["page:"]) });
        live(&mind, b"page:1", |second| second / 600);
        for read in 0..100_000 {
            let now = Time(3_600 * SECOND + read * SECOND / 10);
            if read % 10 == 0 {
                mind.lifetime_at(now, b"page:1", b"6", None);
            }
            mind.learn_at(now.plus(Duration::from_millis(50)), &get(b"page:1"), &mut hit(), true);
        }
        let LearnedState { audits, outdated, .. } = mind.state();
        assert!(audits == 0 && outdated.is_none_or(|outdated| !outdated.is_certifiable), "{outdated:?}");
    }

    #[test]
    fn what_changes_often_is_kept_for_less_long() {
        let mind = mind();
        let steady = live(&mind, b"page:steady", |_| 1);
        let fickle = live(&mind, b"page:fickle", |second| second / 10);
        assert!(steady > fickle * 3, "steady {steady:?}, fickle {fickle:?}");
        let state = mind.state();
        assert!(state.hits > 0 && state.audits > 0 && state.audits * 20 < state.reads, "{state:?}");
    }

    #[test]
    fn what_the_caller_gives_stands_or_is_the_most() {
        let (stands, most) = (mind(), mind_with(Given::IsTheMost));
        let (short, long) = (Duration::from_millis(1), Duration::from_secs(1_000_000));
        let now = Time(SECOND);
        assert_eq!(stands.lifetime_at(now, b"page:1", b"x", Some(long)), None);
        assert_eq!(most.lifetime_at(now, b"page:1", b"x", Some(short)), None);
        assert!(
            most.lifetime_at(now, b"page:1", b"x", Some(long)).is_some_and(|ttl| ttl <= Duration::from_secs(86_400))
        );
        assert_eq!(stands.lifetime_at(now, b"lock:1", b"x", None), None, "not ours");
    }

    #[test]
    fn an_error_says_nothing_and_memory_is_bounded() {
        let mind = mind();
        let mut odd = Value::Int(3);
        mind.learn_at(Time(SECOND), &get(b"page:1"), &mut odd, true);
        assert_eq!((mind.state().reads, odd), (0, Value::Int(3)));
        for key in 0..MOST as u64 + 10 {
            let key = format!("page:{key}");
            mind.lifetime_at(Time(SECOND), key.as_bytes(), b"x", None);
        }
        assert!(mind.state().keys <= MOST);
    }
}
