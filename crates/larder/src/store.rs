//! The embedded store: segments behind a lock each, and what holds for all of them.

mod again;
mod consistency;
mod failing;
mod leaving;
mod looking;
mod recording;
mod renewing;
mod trial;

pub(crate) use looking::Place;

use std::borrow::Borrow;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use larder_policy::freshness::{Audit, Decision, Steering};
use larder_policy::{Access, KeyHash, Op, Time};
use parking_lot::{Mutex, MutexGuard};

use crate::blind::Blind;
use crate::clock::Clock;
use crate::decisions::Decided;
use crate::entry::Entry;
use crate::fetched::{Brought, Fetched, Found, Options, Tier};
use crate::flight::{Boarding, Era, Flight};
use crate::floors::Floors;
use crate::hash::KeyHasher;
use crate::key::Key;
use crate::listener::Listener;
use crate::prewarm::Warmed;
use crate::proof::judge::Judge;
use crate::recorder::Recorder;
use crate::remote::Name;
use crate::rules::{Consistency, Rules};
use crate::segment::{Arrival, Fallback, Seen, Segment};
use crate::stats::Counts;
use crate::tags::Tags;
use crate::telemetry::Timer;

/// On a cache line of its own (two, for the prefetcher's sake), so that one segment's lock does not slow down its neighbours.
#[repr(align(128))]
struct Aligned<K, V>(Mutex<Segment<K, V>>);

/// Whether a resident still counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    Valid,
    /// Messages were lost since it was loaded: it is asked for anew, and served meanwhile only where the origin fails.
    Doubtful,
    /// Its tag was removed.
    Void,
}

pub(crate) type Weigher<K, V> = Arc<dyn Fn(&K, &V) -> u32 + Send + Sync>;
pub(crate) type Digest<V> = Arc<dyn Fn(&V) -> u64 + Send + Sync>;

pub(crate) struct Store<K, V> {
    segments: Box<[Aligned<K, V>]>,
    pub(crate) hasher: KeyHasher,
    pub(crate) clock: Clock,
    pub(crate) rules: Rules,
    pub(crate) weigher: Option<Weigher<K, V>>,
    pub(crate) digest: Option<Digest<V>>,
    pub(crate) floors: Floors,
    pub(crate) generation: AtomicU32,
    doubt: AtomicU64,
    /// How often there was doubt.
    pub(crate) doubts: AtomicU64,
    pub(crate) tags: Tags,
    pub(crate) recorder: Option<Arc<Recorder>>,
    listener: Option<Listener<K, V>>,
    pub(crate) warmed: Arc<OnceLock<Warmed>>,
    judge: Option<Mutex<Judge>>,
    blind: Blind,
}

/// What a reader does next.
pub(crate) enum Step<K, V> {
    Serve(Found<Option<V>>),
    /// Serve, and renew meanwhile, unless somebody already does.
    Renew(Found<Option<V>>, Option<Renewal<K, V>>),
    /// Wait for a load, which this reader is to begin or another has begun. Served meanwhile: a stale value, in an emergency.
    Wait {
        timer: Timer,
        flight: Arc<Flight<K, V>>,
        leads: bool,
        /// Tags were removed since that began: an answer that has one of them will not do.
        is_late: bool,
        stale: Option<Found<Option<V>>>,
    },
}

/// A flight that the reader is to begin, and the audit it is for.
pub(crate) type Renewal<K, V> = (Arc<Flight<K, V>>, Option<Audit>);

/// So long after messages were lost, all who listen have heard of it (µs).
const HEARD: u64 = 1_000_000;
/// Two processes' readings of when a value was loaded lie no further apart.
const SAME: Duration = Duration::from_millis(50);

impl<K, V> Store<K, V>
where
    K: Key + Clone,
    V: Clone,
{
    pub(crate) fn new(
        segments: impl Iterator<Item = Segment<K, V>>,
        hasher: KeyHasher,
        clock: Clock,
        rules: Rules,
        weigher: Option<Weigher<K, V>>,
        digest: Option<Digest<V>>,
        recorder: Option<Arc<Recorder>>,
    ) -> Self {
        let warmed = Arc::<OnceLock<Warmed>>::default();
        let segments = segments.map(|mut segment| {
            segment.warmed = warmed.clone();
            Aligned(Mutex::new(segment))
        });
        let segments: Box<[Aligned<K, V>]> = segments.collect();
        let entries = segments.iter().map(|segment| segment.0.lock().room()).sum();
        let floors = Floors::new(rules.consistency != Consistency::Eventual, entries);
        Self {
            segments,
            hasher,
            clock,
            rules,
            weigher,
            digest,
            floors,
            generation: AtomicU32::new(0),
            doubt: AtomicU64::new(0),
            doubts: AtomicU64::new(0),
            tags: Tags::default(),
            recorder,
            listener: None,
            warmed,
            judge: None,
            blind: Blind::default(),
        }
    }

    /// With somebody who says which segments run the policy on trial.
    pub(crate) fn judged(self, judge: Option<Judge>) -> Self {
        Self { judge: judge.map(Mutex::new), ..self }
    }

    #[inline(always)]
    fn place(&self, hash: KeyHash) -> usize {
        // The kernel's index uses the lowest and the highest bits.
        (hash.0 >> 32) as usize & (self.segments.len() - 1)
    }

    #[inline(always)]
    fn at(&self, hash: KeyHash) -> &Aligned<K, V> {
        &self.segments[self.place(hash)]
    }

    /// Under its lock; what was cleared is gone.
    #[inline(always)]
    fn hold<'a>(&self, segment: &'a Aligned<K, V>) -> MutexGuard<'a, Segment<K, V>> {
        let mut segment = segment.0.lock();
        let generation = self.generation.load(Ordering::Relaxed);
        if segment.generation != generation {
            segment.begin(generation);
        }
        segment
    }

    #[inline(always)]
    pub(crate) fn segment(&self, hash: KeyHash) -> MutexGuard<'_, Segment<K, V>> {
        self.hold(self.at(hash))
    }

    /// What the engines of all segments are steered by, if they are steered together.
    pub(crate) fn steering(&self) -> Option<Arc<Mutex<Steering>>> {
        self.lock_all().next().and_then(|segment| segment.steering.clone())
    }

    pub(crate) fn lock_all(&self) -> impl Iterator<Item = MutexGuard<'_, Segment<K, V>>> {
        self.segments.iter().map(|segment| self.hold(segment))
    }

    /// Changes a segment under its lock, and lets go of who left when that is free again.
    #[inline]
    fn change<T>(&self, segment: &Aligned<K, V>, change: impl FnOnce(&mut Segment<K, V>) -> T) -> T {
        let mut segment = self.hold(segment);
        let changed = change(&mut segment);
        let gone = segment.take_gone();
        drop(segment);
        self.let_go(gone);
        changed
    }

    #[inline(always)]
    pub(crate) fn standing(&self, entry: &Entry<K, V>) -> Standing {
        if entry.as_of.0 < self.doubt.load(Ordering::Relaxed) && !self.is_checked(entry) {
            return Standing::Doubtful;
        }
        if entry.extra.is_some() && self.tags.are_removed(entry.tags(), entry.as_of) {
            return Standing::Void;
        }
        Standing::Valid
    }

    /// Whether the remote tier, which knows of every invalidation, was asked for it after the last loss.
    #[cold]
    fn is_checked(&self, entry: &Entry<K, V>) -> bool {
        let settled = self.doubt.load(Ordering::Relaxed).saturating_add(HEARD);
        entry.extra.as_ref().and_then(|extra| extra.checked).is_some_and(|checked| checked.0 >= settled)
    }

    #[inline(always)]
    fn look<Q>(&self, segment: &mut Segment<K, V>, access: &Access, key: &Q) -> Seen<V>
    where
        K: Borrow<Q>,
        Q: Key + ?Sized,
    {
        let on_hit = |entry: &Entry<K, V>| {
            if let Some(warmed) = self.warmed.get() {
                warmed.hit(access.key.0);
            }
            self.record(key, Op::Get, access.at, entry.size, entry.cost, None);
        };
        segment.look(access, &self.rules, |entry| self.standing(entry), |own| own.borrow() == key, on_hit)
    }

    /// A hit on something so old is noted, if this one is timed.
    #[inline(always)]
    fn time(&self, segment: &mut Segment<K, V>, timer: Timer, age: Duration) {
        if let Some(took) = timer.took(&self.clock) {
            segment.telemetry.hit(took, age);
            if let Some(gauge) = &mut segment.gauge {
                gauge.took(took);
            }
        }
    }

    /// What memory holds, fresh; nobody loads.
    #[inline]
    pub(crate) fn local<Q>(&self, key: &Q) -> Option<Found<Option<V>>>
    where
        K: Borrow<Q>,
        Q: Key + ?Sized,
    {
        let timer = Timer::start(&self.clock);
        let hash = self.hasher.hash(key);
        let access = Access::get(hash, self.clock.now());
        let mut segment = self.segment(hash);
        match self.look(&mut segment, &access, key) {
            Seen::Fresh(found) => {
                self.time(&mut segment, timer, found.age);
                Some(found)
            }
            Seen::Renew(found, audit) => {
                self.time(&mut segment, timer, found.age);
                segment.forgo(hash, audit);
                Some(found)
            }
            seen => {
                let (size, cost) = self.recorded_as(&segment, hash, key);
                // Before what was seen is, whose drop is the user's code.
                drop(segment);
                drop(seen);
                self.record(key, Op::Get, access.at, size, cost, None);
                None
            }
        }
    }

    /// Looks a key up, and joins or opens a flight where it must be loaded; `loads` says whether the reader can ask the origin.
    #[inline]
    pub(crate) fn step<Q>(&self, key: &Q, hash: KeyHash, loads: bool) -> Step<K, V>
    where
        K: Borrow<Q>,
        Q: Key + ToOwned<Owned = K> + ?Sized,
    {
        let timer = Timer::start(&self.clock);
        let access = Access::get(hash, self.clock.now());
        let mut segment = self.segment(hash);
        let (stale, renewed) = match self.look(&mut segment, &access, key) {
            Seen::Fresh(found) => {
                self.time(&mut segment, timer, found.age);
                return Step::Serve(found);
            }
            Seen::Stale(found, Fallback::Now) => {
                segment.stood_in(hash);
                let (size, cost) = self.recorded_as(&segment, hash, key);
                self.record(key, Op::Get, access.at, size, cost, None);
                return Step::Serve(found);
            }
            Seen::Stale(found, fallback) => (Some((found, fallback)), None),
            Seen::Renew(found, audit) => {
                self.time(&mut segment, timer, found.age);
                (None, Some((found, audit)))
            }
            Seen::Miss => (None, None),
        };
        let renewed = match renewed {
            Some((found, audit)) if segment.flights.has(hash) => {
                segment.forgo(hash, audit);
                return Step::Renew(found, None);
            }
            renewed => renewed,
        };
        let era = self.era();
        let is_taken = match segment.flights.board(hash, era, loads, |own| own.borrow() == key) {
            Boarding::Join { flight, is_late } => {
                segment.counts.coalesced += 1;
                self.record_later(&flight, access.at);
                drop(segment);
                return Step::Wait { timer, flight, leads: false, is_late, stale: in_need(stale) };
            }
            Boarding::Taken => true,
            Boarding::Open => false,
        };
        let flight = match (&stale, &renewed) {
            (None, None) => Flight::for_miss(key.to_owned(), era, loads),
            (_, renewed) => Flight::for_heard(key.to_owned(), era, loads, renewed.is_some()),
        };
        match is_taken {
            // By another key of the same hash. This one answers its reader alone, and is not kept, as no write could fence it.
            true => flight.fence(),
            false => segment.flights.open(hash, flight.clone()),
        }
        match renewed {
            Some((found, audit)) => {
                segment.counts.refreshes += u64::from(audit.is_none());
                let what = if audit.is_some() { Decided::Audited } else { Decided::Renewed };
                segment.note(access.at, hash, what, found.age);
                Step::Renew(found, Some((flight, audit)))
            }
            None => {
                if let Some((found, _)) = &stale {
                    segment.note(access.at, hash, Decided::Outdated, found.age);
                }
                let (size, cost) = self.recorded_as(&segment, hash, key);
                self.tell(&flight, size, cost, None);
                self.record_later(&flight, access.at);
                drop(segment);
                Step::Wait { timer, flight, leads: true, is_late: false, stale: in_need(stale) }
            }
        }
    }

    /// A flight is over: nobody joins it any more.
    pub(crate) fn close(&self, hash: KeyHash, flight: &Arc<Flight<K, V>>) {
        self.segment(hash).flights.close(hash, flight);
    }

    /// Keeps what a flight brought, unless the key was written or cleared since it began. Where reads are not to go back, and memory holds a newer
    /// version, that comes back, to be served instead.
    pub(crate) fn land(&self, hash: KeyHash, flight: &Flight<K, V>, brought: Brought<V>) -> Option<Found<Option<V>>> {
        let arrival = self.arrival(flight.key.clone(), hash, brought, Op::Get);
        let Brought { fetched, cost, from, .. } = &arrival.brought;
        let paid = if *from == Tier::Origin { *cost } else { 0 };
        self.tell(flight, arrival.size, paid, fetched.options.ttl);
        flight.carries(&fetched.options.tags, arrival.brought.as_of);
        let is_steered = self.rules.freshness.objective().is_some();
        if *from == Tier::Origin && is_steered && fetched.value.is_some() && self.blind.hears(arrival.evidence) {
            tracing::warn!(
                "loads bring no digest, version or time of change: nothing is learned of lifetimes, and the stale rate is not measured; \
                 give the builder a digest, or say with what is fetched which version it is or when it changed"
            );
        }
        let now = self.clock.now();
        // What is not kept stays there until the lock is free.
        let mut held = Some(arrival);
        let kept = self.change(self.at(hash), |segment| {
            let Brought { fetched, as_of, cost, audit, from, .. } = &held.as_ref()?.brought;
            let as_of = *as_of;
            if *from == Tier::Origin {
                segment.loaded(*cost);
                segment.counts.absent += u64::from(fetched.value.is_none());
            }
            let is_void = flight.is_fenced()
                || flight.era.generation != self.generation.load(Ordering::Relaxed)
                || self.tags.are_removed(&fetched.options.tags, as_of)
                || !self.floors.admits(hash, as_of);
            if is_void {
                segment.counts.fenced += 1;
                segment.forgo(hash, *audit);
                return None;
            }
            let is_monotonic = self.rules.consistency == Consistency::MonotonicReads;
            if is_monotonic {
                self.floors.raise(hash, as_of);
            }
            let (unheard, is_read) = (flight.take_unheard(), !flight.renews);
            self.unversion(segment, hash);
            let outrun = segment.keep(Arrival { unheard, is_read, ..held.take()? }, now, &self.rules)?;
            let newer = is_monotonic.then(|| segment.instead(hash, now, &self.rules)).flatten();
            Some((outrun, newer))
        });
        if let Some(void) = &held {
            self.tell_refused(&void.key, void.brought.fetched.value.as_ref());
        }
        let ((key, value), newer) = kept?;
        self.tell_refused(&key, value.as_ref());
        newer
    }

    /// What was removed by its tag, and lies there still, is no newer version than any.
    fn unversion(&self, segment: &mut Segment<K, V>, hash: KeyHash) {
        if let Some(entry) = segment.kernel.peek_mut(hash)
            && self.standing(entry) == Standing::Void
            && let Some(extra) = &mut entry.extra
        {
            extra.version = None;
        }
    }

    /// What the engine says to a read that the remote tier can serve, and that it has heard of; without one there is nothing to say.
    pub(crate) fn judge(&self, hash: KeyHash, key: &K) -> Decision {
        let segment = &mut *self.segment(hash);
        let Some(engine) = &mut segment.engine else { return Decision::Serve };
        let now = self.clock.now();
        let resident = segment.kernel.peek(hash).filter(|entry| entry.key == *key);
        // Or memory did not want it.
        let subject = resident.and_then(|entry| entry.subject(hash));
        let subject = subject.unwrap_or_else(|| engine.subject_by(hash, 1, || key.text()));
        engine.decide(subject, now)
    }

    /// Loads of the key under way are not kept and not joined.
    pub(crate) fn fence<Q>(&self, key: &Q, hash: KeyHash)
    where
        K: Borrow<Q>,
        Q: Eq + ?Sized,
    {
        self.floors.raise(hash, self.clock.now());
        self.segment(hash).fence(hash, |own| own.borrow() == key);
    }

    /// For how long the engine takes the resident value to be fresh, from when the origin was asked.
    pub(crate) fn lifetime(&self, hash: KeyHash, is_it: impl Fn(&K) -> bool) -> Option<Duration> {
        let segment = self.segment(hash);
        segment.kernel.peek(hash).filter(|entry| is_it(&entry.key)).map(Entry::lifetime)
    }

    /// Keeps what the service wrote.
    pub(crate) fn write(&self, key: K, hash: KeyHash, value: V, options: Options) {
        let now = self.clock.now();
        let as_of = self.tags.after(&options.tags, now);
        let fetched = Fetched::from(value).with(options);
        let brought = Brought {
            fetched,
            as_of,
            cost: 0,
            audit: None,
            from: Tier::Local,
            fresh_until: None,
            until: None,
            checked: None,
        };
        let arrival = self.arrival(key, hash, brought, Op::Set);
        self.floors.raise(hash, now);
        self.record(&arrival.key, Op::Set, now, arrival.size, 0, arrival.brought.fetched.options.ttl);
        let outrun = self.change(self.at(hash), |segment| {
            segment.counts.writes += 1;
            segment.fence(hash, |own| *own == arrival.key);
            segment.changed(hash, now, |own| *own == arrival.key);
            self.unversion(segment, hash);
            segment.keep(arrival, now, &self.rules)
        });
        if let Some((key, value)) = &outrun {
            self.tell_refused(key, value.as_ref());
        }
    }

    fn arrival(&self, key: K, hash: KeyHash, brought: Brought<V>, op: Op) -> Arrival<K, V> {
        let checked = brought.checked.filter(|_| brought.as_of.0 < self.doubt.load(Ordering::Relaxed));
        let evidence = brought.fetched.evidence(self.digest.as_deref());
        let size = self.weigh(&key, brought.fetched.value.as_ref());
        let Options { ttl, tags, .. } = &brought.fetched.options;
        if !tags.is_empty() {
            let until = brought.fresh_until.map(|until| until.since(brought.as_of));
            self.tags.outlive((*ttl).max(until).unwrap_or_default());
        }
        let brought = Brought { checked, ..brought };
        Arrival { key, hash, size, op, evidence, unheard: false, is_read: false, brought }
    }

    /// What an entry weighs. That there is no such value takes room too, and its key may be long.
    fn weigh(&self, key: &K, value: Option<&V>) -> u32 {
        match (&self.weigher, value) {
            (Some(weigher), Some(value)) => weigher(key, value),
            (Some(_), None) => u32::try_from(size_of::<Entry<K, V>>() + key.text().len()).unwrap_or(u32::MAX),
            (None, _) => 1,
        }
    }

    pub(crate) fn count(&self, hash: KeyHash, count: impl FnOnce(&mut Counts)) {
        count(&mut self.segment(hash).counts);
    }

    fn era(&self) -> Era {
        Era { generation: self.generation.load(Ordering::Relaxed), removals: self.tags.removals() }
    }

    /// Everything up to now is void.
    pub(crate) fn clear(&self) {
        self.generation.fetch_add(1, Ordering::Relaxed);
        self.segments.iter().for_each(|segment| self.change(segment, |_| ()));
    }

    pub(crate) fn remove_tag(&self, tag: &Name) {
        self.tags.remove(tag, self.clock.now());
    }

    /// Messages may have been lost: what was loaded before is asked for anew.
    pub(crate) fn doubt(&self) {
        self.doubt.store(self.clock.now().0, Ordering::Relaxed);
        self.doubts.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn tick(&self) {
        let now = self.clock.now();
        // Hardly any entry older than this is resident, where none was given a lifetime of its own.
        let longest = self.rules.freshness.longest().saturating_add(self.rules.stale_if_error);
        self.tags.age(now, longest.saturating_add(Duration::from_secs(60)));
        self.segments.iter().for_each(|segment| self.change(segment, |segment| segment.tick(now)));
    }

    /// Changes the capacity to `limit`, shared by the segments as at the start.
    pub(crate) fn resize(&self, limit: u64) {
        let now = self.clock.now();
        for (segment, share) in self.segments.iter().zip(shares(limit, self.segments.len())) {
            self.change(segment, |segment| segment.resize(share, now));
        }
    }

    /// What is made of the entries that still count, where something is; `make` is called under a lock.
    pub(crate) fn collect<T>(&self, make: impl Fn(&Entry<K, V>, Time) -> Option<T>) -> Vec<T> {
        let now = self.clock.now();
        let mut made = Vec::new();
        for segment in self.lock_all() {
            let valid = segment.kernel.iter().map(|(_, entry)| entry);
            let valid = valid.filter(|entry| self.standing(entry) == Standing::Valid);
            made.extend(valid.filter_map(|entry| make(entry, now)));
        }
        made
    }

    /// # Panics
    /// When an invariant is broken.
    pub(crate) fn validate(&self) {
        for segment in self.lock_all() {
            segment.kernel.validate();
            if let Some(gauge) = &segment.gauge {
                gauge.validate();
            }
        }
    }
}

/// What may be served if the load fails.
fn in_need<V>(stale: Option<(Found<V>, Fallback)>) -> Option<Found<V>> {
    stale.filter(|(_, fallback)| *fallback == Fallback::OnFailure).map(|(found, _)| found)
}

/// A capacity in so many parts that differ by one at most.
pub(crate) fn shares(limit: u64, parts: usize) -> impl Iterator<Item = u64> {
    let parts = parts as u64;
    (0..parts).map(move |at| limit / parts + u64::from(at < limit % parts))
}
