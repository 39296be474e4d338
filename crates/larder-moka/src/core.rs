//! What both faces share: every decision, and nothing of moka's.

use std::collections::HashSet;
use std::panic::resume_unwind;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use std::{mem, thread};

use larder::{Clock, Counts, Error, Fetched, Found, Key, Refresh, Rules, StaleRate, Tier, Time};
use larder_policy::freshness::{Audit, Decision, Engine, Evidence, Handle, Loaded, Subject};
use larder_policy::{Access, Capacity, KeyHash, Op, PolicySpec};
use moka::ops::compute;
use parking_lot::Mutex;

use crate::directory::Directory;
use crate::fences::{Change, Fences, Look, Seen, Ticket};
use crate::held::Held;
use crate::load::Cancelled;
use crate::looks::Looks;
use crate::outcome::{Course, Judged, Landed, Passed, Standing};
use crate::rings::{Place, Rings};
use crate::stats::{Capabilities, Stats};

pub(crate) type Digest<V> = Box<dyn Fn(&V) -> u64 + Send + Sync>;
pub(crate) type Weigher<K, V> = Box<dyn Fn(&K, &V) -> u32 + Send + Sync>;

pub(crate) struct Core<K, V> {
    rules: Rules,
    pub(crate) clock: Clock,
    hasher: ahash::RandomState,
    digest: Option<Digest<V>>,
    weigher: Option<Weigher<K, V>>,
    engine: Option<Mutex<Engine>>,
    looks: Looks,
    rings: Rings,
    directory: Option<Directory>,
    pub(crate) fences: Arc<Fences>,
    renewals: Mutex<HashSet<KeyHash>>,
    /// Without hits, which the rings know.
    counts: Mutex<Counts>,
    outdated: AtomicU64,
    skipped: AtomicU64,
    pub(crate) cancelled: Cancelled,
}

/// What a core is made of.
pub(crate) struct Setup<K, V> {
    pub(crate) rules: Rules,
    /// Keys whose changes are remembered.
    pub(crate) most_keys: usize,
    pub(crate) admission: Option<(PolicySpec, Capacity)>,
    pub(crate) digest: Option<Digest<V>>,
    pub(crate) weigher: Option<Weigher<K, V>>,
    pub(crate) clock: Clock,
    pub(crate) seed: Option<u64>,
    pub(crate) fences: Arc<Fences>,
}

/// When a load, or a write, began.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Began {
    at: Time,
    ticket: Ticket,
}

/// How a value came.
enum Origin<'a> {
    /// Loaded, for moka had none.
    Missed,
    /// Loaded in place of what moka has.
    Renewed(&'a mut Option<Audit>),
    /// By the service, or ahead of traffic.
    Given,
}

/// How long a value is good for, and what it weighs: not at all, for one that no cache keeps.
#[derive(Default)]
struct Kept {
    size: u32,
    handle: Option<Handle>,
    lifetime: Duration,
    /// The longest it may be served, where the loader said so.
    own: Option<Duration>,
}

impl<K, V> Core<K, V> {
    pub(crate) fn new(setup: Setup<K, V>) -> Self {
        let Setup { rules, most_keys, admission, digest, weigher, clock, seed, fences } = setup;
        let hasher = match seed {
            Some(seed) => ahash::RandomState::with_seeds(seed, !seed, seed.rotate_left(32), 0x1a5d_e500),
            None => ahash::RandomState::new(),
        };
        let seed = seed.unwrap_or_else(|| fastrand::u64(..));
        let engine = rules.freshness.fixed().is_none().then(|| {
            let engine = Engine::new(rules.freshness.clone(), seed);
            Mutex::new(engine.with_most_keys(most_keys))
        });
        Self {
            looks: Looks::new(clock.now()),
            rules,
            clock,
            hasher,
            digest,
            weigher,
            engine,
            rings: Rings::new(),
            directory: admission.map(|(policy, capacity)| Directory::new(capacity, &policy, seed)),
            fences,
            renewals: Mutex::default(),
            counts: Mutex::default(),
            outdated: AtomicU64::new(0),
            skipped: AtomicU64::new(0),
            cancelled: Cancelled::default(),
        }
    }

    /// Decides on a hit.
    #[inline]
    pub(crate) fn judge(&self, held: &Held<V>, now: Time) -> Judged {
        let place = self.hit(held, now);
        if let (Some(engine), Some(subject), false) = (&self.engine, held.subject(), held.is_stale())
            && self.looks.is_drawn(place, held.key)
        {
            return match engine.lock().read(subject, now, true) {
                Decision::Serve => Judged::Serve,
                Decision::Audit(audit) => Judged::Renew(Some(audit)),
                // Its last load failed a moment ago, while it was fresh.
                _ if now < held.retry_at => Judged::Serve,
                Decision::ServeAndRefresh => Judged::Renew(None),
                Decision::Load => self.outdated(),
            };
        }
        if now < held.renew_from {
            Judged::Serve
        } else if now < held.retry_at {
            self.stands_in(held);
            Judged::Serve
        } else if now < held.fresh_until {
            Judged::Renew(None)
        } else {
            self.outdated()
        }
    }

    /// Decides on a hit of a reader who cannot load. The engine is not asked: what it would want checked, nobody would check, and
    /// the measured stale rate would come out too low.
    #[inline]
    pub(crate) fn may_serve(&self, held: &Held<V>, now: Time) -> bool {
        self.hit(held, now);
        let may = now < held.fresh_until.max(held.retry_at);
        match may {
            true => self.stands_in(held),
            false => _ = self.outdated(),
        }
        may
    }

    /// What is served beyond its time, for the origin fails, is no hit.
    #[inline]
    fn stands_in(&self, held: &Held<V>) {
        if held.is_stale() {
            self.outdated();
            self.count(|counts| counts.stale += 1);
        }
    }

    #[inline]
    fn hit(&self, held: &Held<V>, now: Time) -> Place {
        let place = self.rings.record(held.key);
        if place.is_round() {
            self.breathe(now);
        }
        place
    }

    #[cold]
    fn outdated(&self) -> Judged {
        self.outdated.fetch_add(1, Ordering::Relaxed);
        self.absent();
        Judged::Reload
    }

    /// Nothing is there for a reader, who cannot load or has not begun to.
    #[cold]
    pub(crate) fn absent(&self) {
        self.count(|counts| counts.misses += 1);
    }

    /// What is due now and then.
    #[cold]
    fn breathe(&self, now: Time) {
        self.looks.pace(self.rings.recorded(), now);
        if let Some(directory) = &self.directory {
            directory.relieve(&self.rings, &self.clock, now);
        }
    }

    pub(crate) fn count(&self, count: impl FnOnce(&mut Counts)) {
        count(&mut self.counts.lock());
    }

    /// A reader asks now.
    #[inline]
    pub(crate) fn ask(&self) -> Ticket {
        self.fences.ticket()
    }

    /// A load of what moka has is about to ask it for that.
    pub(crate) fn course(&self, key: KeyHash) -> Course<'_> {
        Course { before: self.fences.before(key), failure: None, landing: None }
    }

    /// A reader has waited for somebody else's load.
    pub(crate) fn waited(&self) {
        self.count(|counts| counts.coalesced += 1);
    }

    /// Beside the entry that a reader saw, what moka holds now.
    pub(crate) fn standing(seen: &Held<V>, now: Option<&Held<V>>) -> Standing {
        match now {
            None => Standing::Gone,
            Some(own) if (own.as_of, own.retry_at, own.ticket) == (seen.as_of, seen.retry_at, seen.ticket) => {
                Standing::Same
            }
            Some(_) => Standing::Newer,
        }
    }

    /// Lets a renewal of what a reader saw begin, if none of the key is under way, nor `most` are. No audit is skipped for being one too
    /// many, but its reader waits for it; one of a key that is being renewed already is forgone.
    pub(crate) fn renewal(
        self: &Arc<Self>,
        seen: &Held<V>,
        audit: Option<Audit>,
        most: usize,
    ) -> Option<Renewal<K, V>> {
        let (key, subject) = (seen.key, seen.subject());
        let mut renewals = self.renewals.lock();
        let is_crowded = renewals.len() >= most;
        if is_crowded && audit.is_none() {
            self.skipped.fetch_add(1, Ordering::Relaxed);
            return None;
        }
        let is_first = renewals.insert(key);
        drop(renewals);
        if !is_first {
            self.forgo(subject, audit);
            return None;
        }
        if audit.is_none() {
            self.count(|counts| counts.refreshes += 1);
        }
        Some(Renewal { core: self.clone(), key, subject, audit, is_crowded })
    }

    /// Of a hit drawn for an audit nothing will be known: that is told, or the measured stale rate would come out too low.
    fn forgo(&self, subject: Option<Subject>, audit: Option<Audit>) {
        if let (Some(engine), Some(subject), Some(audit)) = (&self.engine, subject, audit) {
            engine.lock().forgo(subject, audit);
        }
    }

    /// What it may do on this host.
    pub(crate) fn capabilities(&self) -> Capabilities {
        Capabilities::on_moka(self.directory.is_some())
    }

    pub(crate) fn stats(&self) -> Stats {
        let mut counts = *self.counts.lock();
        counts.hits = self.rings.recorded().saturating_sub(self.outdated.load(Ordering::Relaxed));
        let engine = self.engine.as_ref().map(|engine| engine.lock());
        let measured = engine.as_ref().and_then(|engine| engine.measured(None));
        let beside = self.directory.as_ref().map_or(0, Directory::bytes) + self.rings.bytes();
        Stats {
            counts,
            unheard: self.directory.as_ref().map_or(0, |_| self.rings.lost()),
            skipped: self.skipped.load(Ordering::Relaxed),
            metadata_bytes: beside + engine.map_or(0, |engine| engine.bytes()),
            stale_rate: measured.map(StaleRate::from),
        }
    }
}

impl<K: Key, V: Clone> Core<K, V> {
    pub(crate) fn hash<Q: Key + ?Sized>(&self, key: &Q) -> KeyHash {
        KeyHash(self.hasher.hash_one(key))
    }

    /// What a reader who `looked` into moka has seen there.
    #[inline]
    pub(crate) fn seen(&self, look: Look, held: &Held<V>) -> Seen {
        self.fences.judge(look, held.key, held.ticket)
    }

    /// The service changes a value, and what moka has of it.
    pub(crate) fn change<Q: Key + ?Sized>(&self, key: &Q) -> Change<'_> {
        self.fences.change(self.hash(key))
    }

    /// A load, or a write, begins.
    pub(crate) fn begin(&self) -> Began {
        Began { ticket: self.fences.ticket(), at: self.clock.now() }
    }

    /// What a load of a key that moka did not hold has come to.
    pub(crate) fn landed(
        &self,
        key: &K,
        began: Began,
        brought: thread::Result<Result<Held<V>, Passed<V>>>,
    ) -> Landed<V> {
        Landed { key: self.hash(key), ticket: began.ticket, brought: brought.map_err(Mutex::new) }
    }

    /// What a reader who `asked` then gets from a load, his own or one he waited for. Nothing if that began before he asked, and a change
    /// has overtaken it: he may know of the change, and is to look again. All loads of the key from then on are good enough for him. Nor from
    /// another's that panicked; his own goes on to.
    pub(crate) fn answer(&self, landed: &Landed<V>, asked: Ticket, is_own: bool) -> Option<Result<Found<V>, Error>> {
        let brought = match &landed.brought {
            Ok(brought) => brought,
            Err(_) if !is_own => return None,
            Err(panic) => resume_unwind(mem::replace(&mut *panic.lock(), Box::new(()))),
        };
        if !is_own {
            if landed.ticket < asked && !self.fences.admit(landed.key, landed.ticket) {
                return None;
            }
            self.absent();
            self.waited();
        }
        let now = self.clock.now();
        Some(match brought {
            Ok(held) => Ok(held.clone().found(Tier::Origin, now)),
            Err(passed) => passed.answer(now),
        })
    }

    /// A load of a key that moka does not hold has ended.
    pub(crate) fn missed(
        &self,
        key: &K,
        began: Began,
        loaded: Result<Fetched<V>, Error>,
    ) -> Result<Held<V>, Passed<V>> {
        self.count(|counts| counts.misses += 1);
        match loaded {
            Ok(fetched) => self.brought(key, began, fetched, Origin::Missed),
            Err(error) => {
                self.count(|counts| counts.load_errors += 1);
                Err(Passed::Failed(error))
            }
        }
    }

    /// A load of a key that moka holds, as `seen`, has ended: what to do in moka, and what to tell readers if that removes it. Where a write
    /// to it has overtaken the load, or to a key that shares its fence, what moka has stays as it is. The audit it was for is taken if the
    /// origin answered.
    pub(crate) fn renewed(
        &self,
        key: &K,
        seen: &Held<V>,
        audit: &mut Option<Audit>,
        began: Began,
        loaded: Result<Fetched<V>, Error>,
        course: &mut Course<'_>,
    ) -> Result<compute::Op<Held<V>>, Passed<V>> {
        let error = match loaded {
            Ok(fetched) => {
                return match self.brought(key, began, fetched, Origin::Renewed(audit)) {
                    Ok(held) => Ok(compute::Op::Put(held)),
                    Err(Passed::Failed(absent)) if self.fences.admit(seen.key, began.ticket) => {
                        course.failure = Some(absent);
                        Ok(compute::Op::Remove)
                    }
                    Err(passed) => Err(passed),
                };
            }
            Err(error) => error,
        };
        self.count(|counts| counts.load_errors += 1);
        let now = self.clock.now();
        let end = self.last_end(seen, now);
        let is_kept = self.fences.stands(seen.key, course.before);
        if now >= seen.fresh_until.max(end) {
            if !is_kept {
                return Err(Passed::Failed(error));
            }
            course.failure = Some(error);
            return Ok(compute::Op::Remove);
        }
        tracing::debug!(%error, "what is there is kept");
        let pausing = seen.pausing(now, self.rules.error_pause, end, course.before.ticket);
        if is_kept { Ok(compute::Op::Put(pausing)) } else { Err(Passed::Unkept(pausing)) }
    }

    /// Until when a value may be served while the origin fails, as it does now.
    fn last_end(&self, held: &Held<V>, now: Time) -> Time {
        let most = match (&self.engine, held.subject()) {
            (Some(engine), Some(subject)) => {
                let mut engine = engine.lock();
                // The engine knows the hard maximum of the key's own prefix.
                if engine.failed(subject, now).is_served() { engine.most(subject) } else { Duration::ZERO }
            }
            _ => self.rules.freshness.most(),
        };
        held.fresh_until.plus(self.rules.stale_if_error).min(held.as_of.plus(most)).min(held.limit)
    }

    /// What a reader saw has left, and he looks again: as one read, of which it is counted how that ends.
    pub(crate) fn looks_again(&self) {
        self.count(|counts| counts.misses = counts.misses.saturating_sub(1));
    }

    /// What a reader gets who waited for a value to be loaded anew.
    pub(crate) fn reloaded(&self, held: Held<V>) -> Found<V> {
        let now = self.clock.now();
        if !held.is_stale() {
            return held.found(Tier::Origin, now);
        }
        self.count(|counts| counts.stale += 1);
        held.found(Tier::Local, now)
    }

    /// The service has written a value to the origin, and is about to put it into moka.
    pub(crate) fn written(&self, key: &K, value: V) -> Held<V> {
        self.count(|counts| counts.writes += 1);
        self.notice(key);
        self.given(key, value, Op::Set, self.begin())
    }

    /// A value comes ahead of traffic, from somebody who had it when that `began`; none if it has been written since.
    pub(crate) fn warmed(&self, key: &K, value: V, began: Began) -> Option<Held<V>> {
        let is_current = self.fences.admit(self.hash(key), began.ticket);
        is_current.then(|| self.given(key, value, Op::Get, began))
    }

    fn given(&self, key: &K, value: V, op: Op, began: Began) -> Held<V> {
        let evidence = self.digest.as_ref().map_or(Evidence::Unknown, |digest| Evidence::Digest(digest(&value)));
        let held = self.hold(key, value, began, evidence, None, Origin::Given);
        if let Some(directory) = &self.directory {
            let access = Access { key: held.key, at: began.at, size: held.size, cost: 0, op };
            directory.admit(&self.rings, &access);
        }
        held
    }

    /// The origin's value has changed: loads that began before are void, and the key's lifetime learns from it.
    pub(crate) fn changed<Q: Key + ?Sized>(&self, key: &Q) {
        self.count(|counts| counts.removals += 1);
        self.notice(key);
        if let Some(directory) = &self.directory {
            directory.forget(self.hash(key));
        }
    }

    fn notice<Q: Key + ?Sized>(&self, key: &Q) {
        let (hash, now) = (self.hash(key), self.clock.now());
        self.fences.raise(hash);
        if let Some(engine) = &self.engine {
            let mut engine = engine.lock();
            let subject = engine.subject_by(hash, 1, || key.text());
            engine.changed(subject, now);
        }
    }

    /// Whether a write overtook a value on its way into moka. Where moka has no [`Expiry`](crate::Expiry), nobody else would notice.
    pub(crate) fn is_overtaken(&self, held: &Held<V>) -> bool {
        !self.fences.admit(held.key, held.ticket)
    }

    /// Takes in what a load brought, if it may be kept.
    fn brought(&self, key: &K, began: Began, fetched: Fetched<V>, origin: Origin<'_>) -> Result<Held<V>, Passed<V>> {
        let took = micros(self.clock.now().since(began.at));
        self.count(|counts| {
            counts.loads += 1;
            counts.load_micros += u64::from(took);
        });
        let (evidence, ttl) = (fetched.evidence(self.digest.as_deref()), fetched.ttl());
        // The engine must not take for loaded what moka will not have.
        let is_kept = self.fences.admit(self.hash(key), began.ticket);
        if is_kept && let Origin::Renewed(Some(_)) = origin {
            self.count(|counts| counts.audits += 1);
        }
        let Some(value) = fetched.into_value() else {
            self.count(|counts| counts.absent += 1);
            if is_kept {
                self.learn_absent(key, began, origin);
            }
            return Err(Passed::Failed(Error::not_found()));
        };
        if !is_kept {
            self.count(|counts| counts.fenced += 1);
            return Err(Passed::Unkept(self.held(key, value, began, Kept::default())));
        }
        let is_missed = matches!(origin, Origin::Missed);
        let held = self.hold(key, value, began, evidence, ttl, origin);
        if let Some(directory) = self.directory.as_ref().filter(|_| is_missed) {
            let access = Access { key: held.key, at: self.clock.now(), size: held.size, cost: took, op: Op::Get };
            if !directory.admit(&self.rings, &access) {
                self.count(|counts| counts.refused += 1);
                return Err(Passed::Unkept(held));
            }
        }
        Ok(held)
    }

    /// The origin answers, and has nothing: of what moka had before, that is a change too.
    fn learn_absent(&self, key: &K, began: Began, origin: Origin<'_>) {
        let Some(engine) = &self.engine else { return };
        let (hash, now) = (self.hash(key), self.clock.now());
        let mut engine = engine.lock();
        engine.recovered();
        if let Origin::Renewed(audit) = origin {
            let subject = engine.subject_by(hash, 1, || key.text());
            engine.loaded(subject, now, Loaded { audit: audit.take(), ..Loaded::new(began.at, Evidence::Changed) });
        }
    }

    /// A value with its lifetime.
    fn hold(
        &self,
        key: &K,
        value: V,
        began: Began,
        evidence: Evidence,
        ttl: Option<Duration>,
        origin: Origin<'_>,
    ) -> Held<V> {
        let size = self.weigher.as_ref().map_or(1, |weigh| weigh(key, &value));
        let (handle, lifetime) = match &self.engine {
            Some(engine) => {
                let (hash, now, as_of) = (self.hash(key), self.clock.now(), began.at);
                let mut engine = engine.lock();
                let subject = engine.subject_by(hash, size, || key.text());
                engine.recovered();
                if matches!(origin, Origin::Missed) && self.looks.is_miss_drawn() {
                    engine.read(subject, as_of, false);
                }
                let mut load = Loaded::new(as_of, evidence);
                if let Origin::Renewed(audit) = origin {
                    load.audit = audit.take();
                }
                // A lifetime that the loader gave is the longest, and then no read needs the engine.
                let lifetimes = engine.loaded(subject, now, load);
                (ttl.is_none().then_some(lifetimes.handle), lifetimes.logical)
            }
            None => {
                let usual = self.rules.ttl();
                (None, Rules::part_of(ttl.unwrap_or(usual), 1.0 - self.rules.jitter * fastrand::f64()))
            }
        };
        let lifetime = ttl.map_or(lifetime, |ttl| ttl.min(lifetime));
        self.held(key, value, began, Kept { size, handle, lifetime, own: ttl })
    }

    fn held(&self, key: &K, value: V, Began { at: as_of, ticket }: Began, kept: Kept) -> Held<V> {
        let Kept { size, handle, lifetime, own } = kept;
        let (hash, now) = (self.hash(key), self.clock.now());
        let (fresh_until, limit) = (as_of.plus(lifetime), own.map_or(Time(u64::MAX), |own| as_of.plus(own)));
        let renew_from = match self.rules.refresh {
            _ if self.engine.is_some() => fresh_until,
            Refresh::AtEnd => fresh_until,
            Refresh::Ahead(share) => as_of.plus(Rules::part_of(lifetime, share)),
            Refresh::Early(beta) => {
                let ahead = Refresh::early(beta, now.since(as_of), fastrand::f64());
                Time(fresh_until.0.saturating_sub(ahead.as_micros() as u64))
            }
        };
        Held { value, key: hash, as_of, fresh_until, limit, renew_from, retry_at: Time(0), ticket, size, handle }
    }
}

/// A renewal under way, whatever becomes of it: an audit that nobody has taken at its end is forgone.
pub(crate) struct Renewal<K, V> {
    core: Arc<Core<K, V>>,
    key: KeyHash,
    subject: Option<Subject>,
    pub(crate) audit: Option<Audit>,
    /// It is not to be left to the background.
    pub(crate) is_crowded: bool,
}

impl<K, V> Drop for Renewal<K, V> {
    fn drop(&mut self) {
        self.core.renewals.lock().remove(&self.key);
        self.core.forgo(self.subject, self.audit);
    }
}

/// A span in µs, at most an hour and some.
fn micros(span: Duration) -> u32 {
    u32::try_from(span.as_micros()).unwrap_or(u32::MAX)
}
