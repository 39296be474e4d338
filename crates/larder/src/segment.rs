//! One lock's part of the store: a kernel shard with its residents, the freshness engine of its keys, and the loads under way.

use std::cell::Cell;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use larder_policy::eviction::Removal;
use larder_policy::experiment::{ShardSlice, SizeCurve};
use larder_policy::freshness::{Audit, ClassId, Decision, Engine, Evidence, Loaded, Steering};
use larder_policy::learned::Prior;
use larder_policy::{
    Access, Capacity, Claim, Evicted, Inserted, KeyHash, Lookup, Miss, Op, Refusal, Reuse, Rng, Shard, Time, Work,
};

use crate::decisions::{Decided, Log, Note};
use crate::entry::{Entry, Extra, steps};
use crate::fetched::{Brought, Fetched, Found, Tier};
use crate::flight::Flights;
use crate::key::Key;
use crate::listener::{Gone, RemovalCause};
use crate::prewarm::Warmed;
use crate::proof::gauge::Gauge;
use crate::proof::judge::Side;
use crate::proof::turns::Turns;
use crate::rules::Rules;
use crate::snapshot::Rate;
use crate::stats::Counts;
use crate::store::Standing;
use crate::sync::Mutex;
use crate::telemetry::Telemetry;

pub(crate) struct Segment<K, V> {
    /// Which generation of the whole cache its entries belong to.
    pub(crate) generation: u32,
    pub(crate) kernel: Shard<Entry<K, V>>,
    pub(crate) engine: Option<Engine>,
    pub(crate) flights: Flights<K, V>,
    pub(crate) counts: Counts,
    /// What the policy is measured by, if it is.
    pub(crate) gauge: Option<Box<Gauge>>,
    pub(crate) turns: Turns,
    pub(crate) telemetry: Telemetry,
    /// Entries that left; their values are dropped once the lock is free.
    pub(crate) gone: Vec<Evicted<Entry<K, V>>>,
    /// And those that were not the policy's to let go.
    taken: Vec<(RemovalCause, Entry<K, V>)>,
    /// Keys warmed and not yet hit, once there have been any.
    pub(crate) warmed: Arc<OnceLock<Warmed>>,
    /// What was decided last.
    pub(crate) log: Log,
    /// What others learned, for a policy that comes later.
    pub(crate) prior: Option<Arc<Prior>>,
    /// What the engines of all segments keep their objectives by together.
    pub(crate) steering: Option<Arc<Mutex<Steering>>>,
    rng: Rng,
}

/// What is known about a key at a look.
#[derive(Debug)]
pub(crate) enum Seen<V> {
    /// Fresh.
    Fresh(Found<Option<V>>),
    /// To be served, and loaded anew meanwhile.
    Renew(Found<Option<V>>, Option<Audit>),
    /// Too old, or invalidated in a way that leaves it good enough for an emergency.
    Stale(Found<Option<V>>, Fallback),
    /// Nothing.
    Miss,
}

/// What a stale value is still good for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fallback {
    /// To be served: its last load failed a moment ago.
    Now,
    /// To be served if its load fails.
    OnFailure,
    /// Nothing.
    Never,
}

/// A value on its way in.
pub(crate) struct Arrival<K, V> {
    pub(crate) key: K,
    pub(crate) hash: KeyHash,
    pub(crate) size: u32,
    pub(crate) op: Op,
    pub(crate) evidence: Evidence,
    /// The engine has not heard of the read that it answers.
    pub(crate) unheard: bool,
    /// It answers a read that nothing else did.
    pub(crate) is_read: bool,
    /// `checked` only where it matters when the remote tier was asked.
    pub(crate) brought: Brought<V>,
}

impl Counts {
    fn miss<V>(&mut self, gauge: Option<&mut Gauge>, access: &Access) -> Seen<V> {
        self.misses += 1;
        if let Some(gauge) = gauge {
            gauge.miss(access);
        }
        Seen::Miss
    }

    #[inline]
    fn hit<K, V>(&mut self, entry: &Entry<K, V>, now: Time, on_hit: impl FnOnce(&Entry<K, V>)) {
        self.hits += 1;
        entry.read(self.hits, now);
        on_hit(entry);
    }
}

/// Whether an entry is served though stale where the origin fails: neither for too long after its end nor older than it, or any, may ever be.
fn may_stand_in<K, V>(engine: Option<&Engine>, entry: &Entry<K, V>, hash: KeyHash, now: Time, rules: &Rules) -> bool {
    let is_bearable = match (engine, entry.subject(hash)) {
        (Some(engine), Some(subject)) => now.since(entry.as_of) < engine.most(subject),
        _ => true,
    };
    let is_allowed = entry.limit().is_none_or(|limit| now < limit);
    is_bearable && is_allowed && !rules.stale_if_error.is_zero() && now < entry.last().plus(rules.stale_if_error)
}

/// Under the segment's lock; nothing is locked under that of the steering.
#[cold]
fn join(engine: &mut Engine, steering: Option<&Mutex<Steering>>, class: Option<ClassId>) {
    if let Some(steering) = steering {
        engine.join(&mut steering.lock(), class);
    }
}

/// Of entries of a kilobyte where bytes are limited, for want of anything better.
fn room(capacity: Capacity) -> u64 {
    capacity.most_objects().map_or(capacity.limit / 1024, |most| most as u64)
}

impl<K: Key + Clone, V: Clone> Segment<K, V> {
    pub(crate) fn new(
        kernel: Shard<Entry<K, V>>,
        engine: Option<Engine>,
        gauge: Option<Box<Gauge>>,
        seed: u64,
    ) -> Self {
        let log = Log::new(room(kernel.capacity()));
        Self {
            generation: 0,
            kernel: kernel.ending_by(Entry::last),
            engine,
            flights: Flights::default(),
            counts: Counts::default(),
            gauge,
            turns: Turns::default(),
            telemetry: Telemetry::default(),
            gone: Vec::new(),
            taken: Vec::new(),
            warmed: Arc::default(),
            log,
            prior: None,
            steering: None,
            rng: Rng::new(seed),
        }
    }

    /// How many entries there is room for.
    pub(crate) fn room(&self) -> u64 {
        room(self.kernel.capacity())
    }

    /// Looks a key up and records the access. `is_it` compares the whole key.
    #[inline(always)]
    pub(crate) fn look(
        &mut self,
        access: &Access,
        rules: &Rules,
        standing: impl Fn(&Entry<K, V>) -> Standing,
        is_it: impl Fn(&K) -> bool,
        on_hit: impl FnOnce(&Entry<K, V>),
    ) -> Seen<V> {
        let ended = Cell::new(false);
        let claim = |entry: &Entry<K, V>| {
            let claim = entry.claim(is_it(&entry.key), access.at);
            ended.set(claim == Claim::Ended);
            claim
        };
        let seen = self.find(access, rules, standing, claim, on_hit);
        if ended.get() {
            self.conclude(access, &seen);
        }
        seen
    }

    /// A value had ended: whether it was of use all the same is known only now.
    #[cold]
    fn conclude(&mut self, access: &Access, seen: &Seen<V>) {
        match seen {
            Seen::Fresh(_) | Seen::Renew(..) => self.kernel.touch(access),
            Seen::Stale(..) | Seen::Miss => self.kernel.outdate(access),
        }
    }

    #[inline(always)]
    fn find(
        &mut self,
        access: &Access,
        rules: &Rules,
        standing: impl Fn(&Entry<K, V>) -> Standing,
        claim: impl Fn(&Entry<K, V>) -> Claim,
        on_hit: impl FnOnce(&Entry<K, V>),
    ) -> Seen<V> {
        let now = access.at;
        let gauge = self.gauge.as_deref_mut();
        let Lookup::Hit(entry) = self.kernel.lookup_by(access, claim) else {
            return self.counts.miss(gauge, access);
        };
        let standing = standing(entry);
        if standing == Standing::Void {
            return self.counts.miss(gauge.map(|gauge| gauge.voided(access)), access);
        }
        let found =
            Found { value: entry.value.clone(), tier: Tier::Local, age: now.since(entry.as_of), is_stale: false };
        let is_limited = entry.extra.as_ref().is_some_and(|extra| extra.limit.is_some_and(|limit| limit <= now));
        if is_limited || standing == Standing::Doubtful {
            if let Some(gauge) = gauge {
                gauge.voided(access).miss(access);
            }
            if let (Some(engine), Some(subject)) = (&mut self.engine, entry.subject(access.key)) {
                engine.read(subject, now, false);
            }
            return Self::stale(&mut self.counts, self.engine.as_ref(), found, entry, access, rules);
        }
        if let Some(gauge) = gauge {
            gauge.hit(access, entry);
        }
        let Some(subject) = entry.subject(access.key) else {
            if entry.end <= now {
                return Self::stale(&mut self.counts, self.engine.as_ref(), found, entry, access, rules);
            }
            self.counts.hit(entry, now, on_hit);
            let renews = !entry.is_quiet(now) && entry.renews(rules.refresh, now, || self.rng.unit());
            return if renews { Seen::Renew(found, None) } else { Seen::Fresh(found) };
        };
        let decision = self.engine.as_mut().map(|engine| {
            let decision = engine.read(subject, now, true);
            if engine.is_due() {
                join(engine, self.steering.as_deref(), None);
            }
            decision
        });
        match decision {
            Some(Decision::Serve) | None => {
                self.counts.hit(entry, now, on_hit);
                Seen::Fresh(found)
            }
            Some(Decision::ServeAndRefresh) => {
                self.counts.hit(entry, now, on_hit);
                if entry.is_quiet(now) { Seen::Fresh(found) } else { Seen::Renew(found, None) }
            }
            Some(Decision::Audit(audit)) => {
                self.counts.hit(entry, now, on_hit);
                self.counts.audits += 1;
                Seen::Renew(found, Some(audit))
            }
            Some(Decision::Load) => Self::stale(&mut self.counts, self.engine.as_ref(), found, entry, access, rules),
        }
    }

    #[cold]
    fn stale(
        counts: &mut Counts,
        engine: Option<&Engine>,
        found: Found<Option<V>>,
        entry: &Entry<K, V>,
        access: &Access,
        rules: &Rules,
    ) -> Seen<V> {
        counts.misses += 1;
        let fallback = match may_stand_in(engine, entry, access.key, access.at, rules) {
            true if entry.is_quiet(access.at) => Fallback::Now,
            true => Fallback::OnFailure,
            false => Fallback::Never,
        };
        Seen::Stale(Found { is_stale: true, ..found }, fallback)
    }

    /// Keeps what was loaded or written, if it may be kept. What a newer version outran comes back, to be dropped once the lock is free.
    #[must_use]
    pub(crate) fn keep(&mut self, arrival: Arrival<K, V>, now: Time, rules: &Rules) -> Option<(K, Option<V>)> {
        let Arrival { key, hash, size, op, evidence, unheard, is_read, brought } = arrival;
        let Brought { fetched, as_of, cost, audit, fresh_until, until, checked, .. } = brought;
        let Fetched { value, options, .. } = fetched;
        let access = Access { key: hash, at: now, size, cost, op };
        let resident = self.kernel.peek(hash);
        let is_resident = resident.is_some();
        let own = resident.filter(|entry| entry.key == key);
        let known = own.and_then(|entry| entry.subject(hash));
        let mut resident = own.map(|entry| (entry.version(), entry.rate.get(), entry.came));
        if is_resident && op == Op::Set {
            // A write of a resident is an access; one that follows a miss was counted as that.
            let ended = own.is_some_and(|entry| entry.end <= now);
            if !self.kernel.lookup_by(&access, |entry| entry.claim(entry.key == key, now)).is_hit() {
                resident = None;
            } else if ended {
                self.kernel.outdate(&access);
            }
            if let Some(gauge) = &mut self.gauge {
                gauge.write(&access);
            }
        }
        if let (Some((Some(newer), ..)), Some(version)) = (resident, options.version)
            && newer > version
        {
            self.counts.outrun += 1;
            self.forgo(hash, audit);
            return Some((key, value));
        }
        // What nothing that stands in may outlive: told here, or where the value was loaded.
        let end_there = |end: &Time| fresh_until.is_some_and(|fresh| *end < fresh.plus(rules.stale_if_error));
        let limit = options.ttl.map(|ttl| as_of.plus(ttl)).or(until.filter(end_there));
        let shorten = |span: Duration, rng: &mut Rng| Rules::part_of(span, 1.0 - rules.jitter * rng.unit());
        let (handle, end, physical) = if value.is_none() {
            if let (Some(subject), Some(engine)) = (known, &mut self.engine) {
                // That it is gone is a change, too.
                engine.loaded(subject, now, Loaded { began: as_of, evidence: Evidence::Changed, audit, lease: None });
            }
            let ttl = shorten(options.ttl.unwrap_or(rules.negative_ttl), &mut self.rng);
            let end = fresh_until.unwrap_or(as_of.plus(ttl));
            (None, end, end.since(now))
        } else if let Some(engine) = &mut self.engine {
            let subject = engine.subject_by(hash, size, || key.text());
            join(engine, self.steering.as_deref(), Some(subject.class()));
            if unheard {
                engine.read(subject, now, false);
            }
            let load = Loaded { began: as_of, evidence, audit, lease: None };
            let lifetimes = engine.loaded(subject, now, load);
            let physical = lifetimes.physical.max(rules.stale_if_error.min(rules.freshness.most()));
            (Some(lifetimes.handle), as_of.plus(lifetimes.logical), physical)
        } else {
            let ttl = shorten(options.ttl.unwrap_or(rules.ttl()), &mut self.rng);
            let end = fresh_until.unwrap_or(as_of.plus(ttl));
            let physical = end.plus(rules.stale_if_error);
            (None, end, limit.map_or(physical, |limit| physical.min(limit)).since(now))
        };
        let limit = limit.filter(|_| handle.is_some());
        let extra = Extra { tags: options.tags.into(), version: options.version, quiet_until: Time(0), limit, checked };
        let extra = (extra != Extra::default()).then(|| Box::new(extra));
        let (rate, came) = resident.map_or_else(|| (Rate::default(), steps(now)), |(_, rate, came)| (rate, came));
        let rate = Cell::new(rate);
        let entry = Entry { key, value, end, as_of, extra, handle, size, cost, came, rate };
        let ttl = entry.lifetime();
        if is_read {
            entry.note(1, now);
        }
        if let Some(gauge) = &mut self.gauge {
            gauge.keep(&access, entry.fixed_end());
        }
        let plan = self.kernel.plan(&access, Miss { reuse: Reuse::UNKNOWN, expired: false }, Some(physical));
        let already = self.gone.len();
        let (what, left) = match self.kernel.insert(&access, entry, &plan, &mut self.gone) {
            Inserted::Stored => {
                self.counts.admitted += 1;
                (Some(Decided::Admitted), None)
            }
            Inserted::Replaced(entry) => {
                self.counts.renewed += 1;
                (None, Some(entry))
            }
            Inserted::Refused(entry, why) => {
                let is_too_heavy = why == Refusal::TooHeavy;
                self.counts.refused += 1;
                self.counts.too_heavy += u64::from(is_too_heavy);
                (Some(if is_too_heavy { Decided::TooHeavy } else { Decided::Refused }), Some(entry))
            }
        };
        self.telemetry.ttls.add(ttl);
        if let Some(what) = what {
            let other = self.gone[already..].iter().find(|gone| gone.why == Removal::Evicted).map(|gone| gone.key);
            self.log.note(Note { at: now, key: hash, what, other, seconds: ttl.as_secs_f32() });
        }
        self.count_gone(already, now, Some(hash));
        // Was never there, or has its key there still.
        let cause = if what.is_some() { RemovalCause::Refused } else { RemovalCause::Replaced };
        self.taken.extend(left.map(|entry| (cause, entry)));
        None
    }

    /// What is resident under the hash, where it may still be served.
    pub(crate) fn instead(&self, hash: KeyHash, now: Time, rules: &Rules) -> Option<Found<Option<V>>> {
        let entry = self.kernel.peek(hash)?;
        let is_stale = entry.last() <= now;
        let may_serve = !is_stale || may_stand_in(self.engine.as_ref(), entry, hash, now, rules);
        let (value, age) = (entry.value.clone(), now.since(entry.as_of));
        may_serve.then_some(Found { value, tier: Tier::Local, age, is_stale })
    }

    /// The key's value is no longer true: nothing that began before is kept, and what is resident leaves, to be dropped once the lock is free.
    pub(crate) fn forget(&mut self, hash: KeyHash, now: Time, is_it: impl Fn(&K) -> bool) -> Option<Entry<K, V>> {
        self.fence(hash, &is_it);
        // The ghosts may hold what is not here.
        if let Some(gauge) = &mut self.gauge {
            gauge.remove(hash, now);
        }
        let entry = self.kernel.peek(hash).filter(|entry| is_it(&entry.key))?;
        if let (Some(subject), Some(engine)) = (entry.subject(hash), &mut self.engine) {
            engine.changed(subject, now);
        }
        self.counts.removed += 1;
        self.left(hash);
        self.kernel.remove(hash)
    }

    /// The service wrote the key: what is known of its changes learns from it.
    pub(crate) fn changed(&mut self, hash: KeyHash, now: Time, is_it: impl Fn(&K) -> bool) {
        if let Some(engine) = &mut self.engine
            && let Some(entry) = self.kernel.peek(hash).filter(|entry| is_it(&entry.key))
            && let Some(subject) = entry.subject(hash)
        {
            engine.changed(subject, now);
        }
    }

    /// Whatever load of the key is under way, its answer will not be kept.
    pub(crate) fn fence(&mut self, hash: KeyHash, is_it: impl Fn(&K) -> bool) {
        self.flights.fence(hash, is_it);
    }

    /// A load of a stale resident failed: if it may be served meanwhile, nobody tries again for a while. Whether it may.
    pub(crate) fn failed(&mut self, hash: KeyHash, now: Time, rules: &Rules, is_it: impl Fn(&K) -> bool) -> bool {
        let Some(entry) = self.kernel.peek_mut(hash).filter(|entry| is_it(&entry.key)) else { return false };
        if let (Some(subject), Some(engine)) = (entry.subject(hash), &mut self.engine) {
            engine.failed(subject, now);
        }
        let is_borne = now < entry.end || may_stand_in(self.engine.as_ref(), entry, hash, now, rules);
        if is_borne {
            entry.extra.get_or_insert_default().quiet_until = now.plus(rules.error_pause);
        }
        is_borne
    }

    /// The origin answered, after so many µs.
    pub(crate) fn loaded(&mut self, micros: u32) {
        self.counts.loads += 1;
        self.counts.load_micros += u64::from(micros);
        self.telemetry.loads.add(Duration::from_micros(u64::from(micros)));
        if let Some(engine) = &mut self.engine {
            engine.recovered();
        }
    }

    /// Nobody will ask the origin about a hit that was drawn for an audit.
    pub(crate) fn forgo(&mut self, hash: KeyHash, audit: Option<Audit>) {
        if let (Some(audit), Some(engine)) = (audit, &mut self.engine) {
            self.counts.audits -= 1;
            // Its entry may have left since; the engine remembers the key.
            let subject = self.kernel.peek(hash).and_then(|entry| entry.subject(hash));
            let subject = subject.unwrap_or_else(|| engine.subject_by(hash, 1, || ""));
            engine.forgo(subject, audit);
        }
    }

    /// A reader is answered with what is beyond its time, for the origin failed or was slow.
    pub(crate) fn stood_in(&mut self, hash: KeyHash) {
        self.counts.stale += 1;
        self.unserved(hash);
    }

    /// A read that the engine has heard of got nothing, or what stood in: it is no part of any objective.
    pub(crate) fn unserved(&mut self, hash: KeyHash) {
        if let Some(engine) = &mut self.engine
            && let Some(subject) = self.kernel.peek(hash).and_then(|entry| entry.subject(hash))
        {
            engine.unserved(subject);
        }
    }

    /// Lets time pass: what has expired leaves.
    pub(crate) fn tick(&mut self, now: Time) {
        let mut work = Work { expired: std::mem::take(&mut self.gone), ..Work::default() };
        let already = work.expired.len();
        self.kernel.tick(now, &mut work);
        self.gone = work.expired;
        self.count_gone(already, now, None);
    }

    /// Lets everybody go who belongs to an older generation than `generation`; what the policy learned stays.
    #[cold]
    pub(crate) fn begin(&mut self, generation: u32) {
        self.generation = generation;
        if let Some(gauge) = &mut self.gauge {
            gauge.clear();
        }
        let keys: Vec<KeyHash> = self.kernel.iter().map(|(key, _)| key).collect();
        for key in keys {
            self.counts.cleared += 1;
            self.left(key);
            let entry = self.kernel.remove(key);
            self.taken.extend(entry.map(|entry| (RemovalCause::Removed, entry)));
        }
    }

    pub(crate) fn resize(&mut self, limit: u64, now: Time) {
        if let Some(gauge) = &mut self.gauge {
            gauge.resize(limit);
        }
        let already = self.gone.len();
        self.kernel.resize(limit, &mut self.gone);
        self.count_gone(already, now, None);
    }

    /// Bytes held beside keys and values.
    pub(crate) fn bytes(&self) -> usize {
        let beside = size_of::<Entry<K, V>>() - size_of::<K>() - size_of::<V>();
        self.kernel.metadata_bytes()
            + self.kernel.len() * beside
            + self.engine.as_ref().map_or(0, Engine::bytes)
            + self.gauge.as_ref().map_or(0, |gauge| gauge.bytes())
            + self.log.bytes()
    }

    /// Remembers what was decided about a resident of this age.
    #[cold]
    pub(crate) fn note(&mut self, at: Time, key: KeyHash, what: Decided, age: Duration) {
        self.log.note(Note { at, key, what, other: None, seconds: age.as_secs_f32() });
    }

    /// What left, for the caller to let go of when the lock is free.
    pub(crate) fn take_gone(&mut self) -> Gone<K, V> {
        Gone::take(&mut self.gone, &mut self.taken)
    }

    /// Others have learned this.
    pub(crate) fn adopt(&mut self, prior: &Arc<Prior>) {
        self.kernel.adopt(prior);
        self.prior = Some(prior.clone());
    }

    /// What the experiment hears at the end of a slice, if there is one.
    pub(crate) fn end_slice(&mut self, traffic: u64) -> Option<(ShardSlice, SizeCurve)> {
        let audited = self.engine.as_ref().map(Engine::audited).unwrap_or_default();
        Some(self.gauge.as_mut()?.end_slice(traffic, self.counts, audited))
    }

    /// The other arm decides from now on; the entries stay.
    pub(crate) fn change_sides(&mut self, Side { arm, policies, lifetimes }: Side, now: Time) {
        self.turns.change(arm, self.counts);
        if let (Some(engine), Some(lifetimes)) = (&mut self.engine, lifetimes) {
            engine.live_by(&lifetimes);
        }
        if let Some((policy, control)) = policies {
            if let Some(gauge) = &mut self.gauge {
                gauge.begin_anew(control, now);
            }
            let already = self.gone.len();
            self.kernel.swap_policy(policy, now, &mut self.gone);
            if let Some(prior) = &self.prior {
                self.kernel.adopt(prior);
            }
            self.count_gone(already, now, None);
        }
    }

    /// If it was warmed, it waits for its first hit no longer.
    fn left(&self, key: KeyHash) {
        if let Some(warmed) = self.warmed.get() {
            warmed.left(key.0);
        }
    }

    /// Counts who left from `from` on; who was evicted, left for `newcomer`.
    fn count_gone(&mut self, from: usize, now: Time, newcomer: Option<KeyHash>) {
        for gone in &self.gone[from..] {
            self.left(gone.key);
            let age = now.since(gone.value.as_of);
            let (what, other) = match gone.why {
                Removal::Evicted => {
                    self.counts.evicted += 1;
                    self.telemetry.evicted(age, gone.value.residence(now));
                    (Decided::Evicted, newcomer)
                }
                Removal::Expired => {
                    self.counts.expired += 1;
                    (Decided::Expired, None)
                }
                // Its key was written, and the new value is too heavy.
                Removal::Removed => {
                    self.counts.removed += 1;
                    continue;
                }
            };
            self.log.note(Note { at: now, key: gone.key, what, other, seconds: age.as_secs_f32() });
        }
    }
}
