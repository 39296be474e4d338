//! What is learned from the commands that pass.

use std::time::Duration;

use ahash::{HashMap, RandomState};
use larder::Clock;
use larder_policy::freshness::{Audit, Engine, Evidence, Loaded, Measured, Subject};
use larder_policy::{KeyHash, Time};
use parking_lot::Mutex;
use redis::Value;

use super::commands::Command;
use super::{Given, LearnedConfig};

/// So many keys are remembered; beyond, those whose time has passed are forgotten, and if those are not an eighth, all.
const MOST: usize = 200_000;
/// A key not set so long after it was missed is not being loaded any more.
const LOADING: Duration = Duration::from_secs(300);

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
    /// The measured share of outdated reads, whoever set what was read and for however long; as soon as there is one, and an objective.
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
    /// When a transaction that has not begun yet began to read. Whose is not known: those who share a connection watch for each other.
    watched: Option<Time>,
    state: LearnedState,
}

#[derive(Default)]
struct Known {
    /// Until when a hit is what was set here, for no longer than was chosen.
    until: Time,
    /// Since when it is being loaded.
    loading: Option<Time>,
    /// What for, if a hit was made a miss.
    check: Option<Box<Check>>,
}

/// A hit that was made a miss, to have it compared with what the origin has.
struct Check {
    subject: Subject,
    audit: Audit,
    /// The digest of what was found: it may be another process's.
    found: u64,
    since: Time,
}

impl Mind {
    pub(super) fn new(config: LearnedConfig) -> Self {
        Self::hashed_by(config, RandomState::new())
    }

    fn hashed_by(config: LearnedConfig, hasher: RandomState) -> Self {
        let inner = Inner {
            engine: Engine::new(config.freshness.clone(), hasher.hash_one(0)).with_most_keys(MOST),
            known: HashMap::default(),
            watched: None,
            state: LearnedState::default(),
        };
        Self { config, hasher, clock: Clock::system(), inner: Mutex::new(inner) }
    }

    pub(super) fn concerns(&self, command: &Command<'_>) -> bool {
        matches!(command, Command::Watch | Command::Unwatch) || command.keys().iter().any(|key| self.is_ours(key))
    }

    /// A transaction is on its way, or none is to come.
    pub(super) fn unwatch(&self) {
        self.inner.lock().watched = None;
    }

    pub(super) fn state(&self) -> LearnedState {
        let inner = self.inner.lock();
        // Without an objective nothing is audited.
        let outdated = inner.engine.measured(None).filter(|_| self.config.freshness.objective().is_some());
        LearnedState { keys: inner.known.len(), outdated, ..inner.state }
    }

    /// The lifetime of a value that is about to be set; `None` leaves it as the caller wants it.
    pub(super) fn lifetime(&self, key: &[u8], value: &[u8], given: Option<Duration>) -> Option<Duration> {
        self.lifetime_at(self.clock.now(), key, value, given)
    }

    /// Keys are about to be deleted, for the origin's values have changed.
    pub(super) fn deleted(&self, keys: &[&[u8]]) {
        self.deleted_at(self.clock.now(), keys);
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
        let known = inner.known.remove(&hash).unwrap_or_default();
        // A key nobody missed is written because it changed, just now.
        let began = known.loading.filter(|&since| is_recent(since, now)).unwrap_or(now);
        match known.check {
            Some(check) if is_recent(check.since, now) => {
                inner.engine.answered(subject, check.since, check.audit, check.found != digest);
            }
            check => forgo(&mut inner.engine, check),
        }
        let load = Loaded::new(began, Evidence::Digest(digest));
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
        // What lives longer than that is not the engine's doing.
        let lifetime = ttl.or(given).filter(|&ttl| ttl <= chosen);
        let until = lifetime.map_or(Time(0), |ttl| now.plus(ttl));
        inner.remember(hash, Known { until, ..Known::default() }, now);
        ttl
    }

    fn deleted_at(&self, now: Time, keys: &[&[u8]]) {
        let inner = &mut *self.inner.lock();
        for key in keys.iter().filter(|key| self.is_ours(key)) {
            let hash = self.hash(key);
            let subject = inner.subject(hash, key, 0);
            inner.engine.changed(subject, now);
            let known = inner.known.remove(&hash);
            forgo(&mut inner.engine, known.and_then(|known| known.check));
        }
    }

    fn learn_at(&self, now: Time, command: &Command<'_>, answer: &mut Value, may_audit: bool) {
        match (command, answer) {
            (Command::Get(key), value) => self.read(now, key, value, may_audit),
            (Command::GetMany(keys), Value::Array(values)) => {
                for (key, value) in keys.iter().zip(values).filter(|(key, _)| self.is_ours(key)) {
                    self.read(now, key, value, may_audit);
                }
            }
            (Command::Watch, Value::Okay) => self.inner.lock().watched = Some(now),
            (Command::Unwatch, _) => self.unwatch(),
            // What a SET or a DEL says was learned when it was sent.
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
        let subject = inner.subject(hash, key, u32::try_from(size).unwrap_or(u32::MAX));
        inner.state.reads += 1;
        if !is_hit {
            inner.engine.read(subject, now, false);
            let known = inner.known.remove(&hash).unwrap_or_default();
            let loading = known.loading.filter(|&since| is_recent(since, now)).or(Some(now));
            // What is found next is somebody else's, unless it is set here.
            inner.remember(hash, Known { until: Time(0), loading, ..known }, now);
            return;
        }
        inner.state.hits += 1;
        let known = inner.known.get(&hash);
        let is_own = known.is_some_and(|known| now < known.until);
        let Some(audit) = inner.engine.served(subject, now, is_own) else { return };
        // One check of a key at a time: whoever loads answers for both otherwise, and another reader waits for it.
        let is_pending = known.and_then(|known| known.check.as_ref()).is_some_and(|check| is_recent(check.since, now));
        // Who watches and goes away without a word is not waited for.
        let is_watched = inner.watched.is_some_and(|since| is_recent(since, now));
        if is_pending || is_watched || !may_audit || !self.config.audits {
            inner.engine.forgo(subject, audit);
            return;
        }
        inner.state.audits += 1;
        let known = inner.known.remove(&hash).unwrap_or_default();
        forgo(&mut inner.engine, known.check);
        let Value::BulkString(found) = std::mem::replace(value, Value::Nil) else { return };
        let check = Check { subject, audit, found: self.hasher.hash_one(&found[..]), since: now };
        inner.remember(hash, Known { loading: Some(now), check: Some(Box::new(check)), ..known }, now);
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
            self.keep(|known| known.until > now);
            // With a little room alone, they would all be looked at again for each few keys.
            if self.known.len() > MOST - MOST / 8 {
                self.keep(|_| false);
            }
        }
        self.known.insert(hash, known);
    }

    fn keep(&mut self, is_kept: impl Fn(&Known) -> bool) {
        let Self { engine, known, .. } = self;
        known.retain(|_, known| {
            let is_kept = is_kept(known);
            if !is_kept {
                forgo(engine, known.check.take());
            }
            is_kept
        });
    }
}

/// Nobody will say what the origin has.
fn forgo(engine: &mut Engine, check: Option<Box<Check>>) {
    if let Some(check) = check {
        engine.forgo(check.subject, check.audit);
    }
}

/// Whether a load that began then may still be under way.
fn is_recent(since: Time, now: Time) -> bool {
    now.since(since) < LOADING
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

    #[test]
    fn what_is_forgotten_makes_room_for_many() {
        let mind = mind();
        for key in 0..MOST {
            // One misses, and will soon be of no use.
            match key {
                0 => mind.learn_at(Time(SECOND), &get(b"page:missed"), &mut Value::Nil, true),
                _ => _ = mind.lifetime_at(Time(SECOND), format!("page:{key}").as_bytes(), b"x", None),
            }
        }
        mind.learn_at(Time(SECOND), &get(b"page:another"), &mut Value::Nil, true);
        assert!(mind.state().keys <= MOST - MOST / 8 + 1, "{}", mind.state().keys);
    }

    /// What became of reads that several processes made of one Redis.
    struct Shared {
        /// The share of outdated reads.
        outdated: f64,
        /// What each process says of it.
        measured: Vec<Measured>,
    }

    /// Keys whose rates of change differ a hundredfold, read by processes at random, each of which loads what it misses. Of the first third
    /// of the reads nothing is counted.
    fn share(processes: u32, objective: f64, given: Option<Duration>, seed: u64) -> Shared {
        const KEYS: u32 = 300;
        const READS: u64 = 600_000;
        let freshness = larder::Freshness::stale_reads(objective).unwrap();
        let minds: Vec<_> = (0..processes)
            .map(|process| {
                let hasher = RandomState::with_seeds(seed, u64::from(process), 0, 0);
                Mind::hashed_by(LearnedConfig::new(freshness.clone(), &["page:"]), hasher)
            })
            .collect();
        let names: Vec<_> = (0..KEYS).map(|key| format!("page:{key}")).collect();
        let mut rng = larder_policy::Rng::new(7);
        // The origin's version and when the next comes (s); what the Redis has, until when (µs).
        let mut keys: Vec<(u64, f64, u64, u64)> = vec![(1, 0.0, 0, 0); KEYS as usize];
        let mut outdated = 0u32;
        for read in 0..READS {
            // 20 reads a second, of which popular keys have more.
            let now = Time(1_000_000_000 + read * 50_000);
            let key = (f64::from(KEYS) * rng.unit() * rng.unit()) as usize;
            let (version, next, held, until) = &mut keys[key];
            while *next < now.0 as f64 * 1e-6 {
                *version += 1;
                *next += -(1.0 - rng.unit()).ln() * 100.0 * 100f64.powf((key * 7 % 10) as f64 / 10.0);
            }
            let mind = &minds[rng.below(processes) as usize];
            let (name, is_counted) = (names[key].as_bytes(), read >= READS / 3);
            let mut answer = if *until > now.0 { Value::BulkString(held.to_le_bytes().to_vec()) } else { Value::Nil };
            mind.learn_at(now, &Command::Get(name), &mut answer, true);
            if answer != Value::Nil {
                outdated += u32::from(is_counted && held != version);
                continue;
            }
            *held = *version;
            let ttl = mind.lifetime_at(now, name, &held.to_le_bytes(), given).or(given).unwrap();
            *until = now.plus(ttl).0;
        }
        let outdated = f64::from(outdated) / (READS - READS / 3) as f64;
        let measured = minds.iter().filter_map(|mind| mind.state().outdated).collect();
        Shared { outdated, measured }
    }

    #[test]
    fn processes_that_share_a_redis_meet_the_objective_together() {
        let Shared { outdated, measured } = share(10, 0.05, None, 0);
        assert!((0.03..0.065).contains(&outdated), "{outdated}");
        let covered = measured.iter().filter(|measured| (measured.low..=measured.high).contains(&outdated)).count();
        assert!(covered >= 8, "{outdated}, {measured:?}");
    }

    #[test]
    fn lifetimes_that_stand_are_measured_however_long() {
        let mut covered = 0;
        for seed in 0..10 {
            let Shared { outdated, measured } = share(2, 0.05, Some(Duration::from_secs(3600)), seed);
            assert!(outdated > 0.1, "{outdated}");
            for Measured { low, high, is_certifiable, .. } in measured {
                assert!(is_certifiable && low > 0.05, "{low} to {high}, {outdated}");
                covered += usize::from((low..=high).contains(&outdated));
            }
        }
        assert!(covered >= 18, "an interval of 95 % held the truth {covered} times of 20");
    }

    /// Reads a key, which is there, until that is answered as a miss.
    fn drawn(mind: &Mind, now: Time, key: &'static [u8]) {
        let is_drawn = (0..100_000).any(|_| {
            let mut answer = hit();
            mind.learn_at(now, &get(key), &mut answer, true);
            answer == Value::Nil
        });
        assert!(is_drawn);
    }

    /// What audits stand for: those drawn and done with, and of these those that were answered.
    fn audited(mind: &Mind) -> (f64, f64) {
        let audited = mind.inner.lock().engine.audited();
        (audited.drawn, audited.answered)
    }

    #[test]
    fn what_a_transaction_depends_on_is_not_audited() {
        let (mind, now) = (mind(), Time(SECOND));
        let said = |command, at| mind.learn_at(at, &command, &mut Value::Okay, true);
        said(Command::Watch, now);
        for _ in 0..100_000 {
            let mut answer = hit();
            mind.learn_at(now, &get(b"page:1"), &mut answer, true);
            assert_eq!(answer, hit());
        }
        said(Command::Unwatch, now);
        drawn(&mind, now, b"page:2");
        // Nor is a watch for ever whose end nobody saw.
        said(Command::Watch, now);
        drawn(&mind, now.plus(LOADING), b"page:3");
    }

    #[test]
    fn one_check_of_a_key_waits_at_a_time() {
        let (mind, now) = (mind(), Time(SECOND));
        drawn(&mind, now, b"page:1");
        assert_eq!(audited(&mind), (0.0, 0.0));
        for _ in 0..20_000 {
            let mut answer = hit();
            mind.learn_at(now, &get(b"page:1"), &mut answer, true);
            assert_eq!(answer, hit(), "another one waits");
        }
        let (forgone, none) = audited(&mind);
        assert!(forgone > 0.0 && none == 0.0 && mind.state().audits == 1, "{:?}", mind.state());
        mind.lifetime_at(now, b"page:1", b"value", None);
        let (done, answered) = audited(&mind);
        assert!(answered > 0.0 && (done - answered - forgone).abs() < 1e-6, "{done} {answered} {forgone}");
    }

    #[test]
    fn a_check_that_nobody_answers_in_time_is_forgone() {
        let late = Time(SECOND).plus(LOADING);
        let ways: [fn(&Mind, Time); 3] = [
            |mind, late| _ = mind.lifetime_at(late, b"page:1", b"value", None),
            |mind, _| mind.deleted_at(Time(SECOND), &[b"page:1"]),
            |mind, _| {
                for key in 0..MOST {
                    mind.lifetime_at(Time(SECOND), format!("page:new:{key}").as_bytes(), b"x", None);
                }
            },
        ];
        for (at, way) in ways.iter().enumerate() {
            let mind = mind();
            drawn(&mind, Time(SECOND), b"page:1");
            way(&mind, late);
            let (done, answered) = audited(&mind);
            assert!(done > 0.0 && answered == 0.0, "{at}: {done} {answered}");
        }
    }

    #[test]
    fn without_an_objective_nothing_is_checked_or_said_to_be_measured() {
        let mind = Mind::new(LearnedConfig::new(larder::Freshness::fixed_ttl(Duration::from_secs(5)), &["page:"]));
        for read in 0..10_000 {
            let mut answer = hit();
            mind.learn_at(Time(SECOND + read), &get(b"page:1"), &mut answer, true);
            assert_eq!(answer, hit());
        }
        assert_eq!(mind.state().outdated, None);
    }
}
