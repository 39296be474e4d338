//! The path of a miss: remote tier, then origin, then back into both tiers, as a task of its own, so that a reader who gives up
//! wastes no load.

use std::borrow::Borrow;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread::panicking;
use std::time::Duration;

use futures_util::FutureExt;
use larder_policy::freshness::{Audit, Decision};
use larder_policy::{KeyHash, Time};
use tokio::time::{Instant, timeout};
use tracing::Instrument;

use crate::cache::Inner;
use crate::fetched::{Brought, Fetched, Found, Tier};
use crate::flight::{Answer, Flight};
use crate::key::Key;
use crate::limits::{Lenders, PERMIT};
use crate::loader::Load;
use crate::remote::{Fence, Lease, Name};
use crate::shared::{Seen, Times};
use crate::store::Step;
use crate::{Error, ErrorKind};

/// Who answered; who waited in vain waited for the origin.
pub(crate) fn tier_of<V>(answer: &Answer<V>) -> Tier {
    answer.as_ref().map_or(Tier::Origin, |found| found.tier)
}

/// The load ended without an answer: it panicked, its runtime stopped, or there was nobody to ask.
pub(crate) fn abandoned() -> Error {
    Error::new(ErrorKind::Panicked, "the load ended without an answer: it panicked, or its runtime was shut down")
}

/// A key that is to be brought.
pub(crate) struct Target<K, V> {
    pub(crate) hash: KeyHash,
    pub(crate) flight: Arc<Flight<K, V>>,
    pub(crate) audit: Option<Audit>,
}

/// What the remote tier has to offer.
pub(crate) enum Offer<V> {
    Good(Found<Option<V>>),
    /// To be served only if the origin cannot be asked.
    Doubtful(Found<Option<V>>),
    Nothing,
}

impl<K, V> Inner<K, V>
where
    K: Key + Clone,
    V: Clone + Send + Sync + 'static,
{
    /// Answers a read. `load` makes the load, if there is one; it is called at most once, and not for a hit.
    pub(crate) async fn read<Q>(
        self: &Arc<Self>,
        key: &Q,
        load: Option<impl FnOnce() -> Load<V>>,
    ) -> Result<Found<Option<V>>, Error>
    where
        K: Borrow<Q>,
        Q: Key + ToOwned<Owned = K> + ?Sized,
    {
        let hash = self.store.hasher.hash(key);
        let may_load = load.is_some() || self.loader.is_some();
        match self.store.step(key, hash, may_load) {
            Step::Serve(found) | Step::Renew(found, None) => Ok(found),
            step => self.bring_about(key, hash, step, load.map(|load| load())).await,
        }
    }

    /// What a read does that has more to do than to serve: apart from the type of its load, so that it is compiled once and not for
    /// every closure that loads.
    async fn bring_about<Q>(
        self: &Arc<Self>,
        key: &Q,
        hash: KeyHash,
        mut step: Step<K, V>,
        mut load: Option<Load<V>>,
    ) -> Result<Found<Option<V>>, Error>
    where
        K: Borrow<Q>,
        Q: Key + ToOwned<Owned = K> + ?Sized,
    {
        let began = Instant::now();
        loop {
            match step {
                Step::Serve(found) | Step::Renew(found, None) => return Ok(found),
                Step::Renew(found, Some((flight, audit))) => {
                    let landing = self.landing(Target { hash, flight, audit });
                    self.depart(landing, load.or_else(|| self.load_of(key)));
                    return Ok(found);
                }
                Step::Wait { timer, flight, leads, is_late, stale } => {
                    let has_load = load.is_some();
                    let may_load = has_load || self.loader.is_some();
                    if leads {
                        let landing = self.landing(Target { hash, flight: flight.clone(), audit: None });
                        let load = load.take().or_else(|| self.load_of(key));
                        self.depart(landing, load);
                    }
                    let answer = self.wait(&flight, began, stale.is_some()).await;
                    if answer.is_ok() && is_late && self.store.is_void(&flight) {
                        step = self.store.again(key, hash, may_load, timer);
                        continue;
                    }
                    match (answer, stale) {
                        // Whoever led could not bring it: those who can, and have nothing else, try for themselves.
                        (Err(error), None) if error.kind() == ErrorKind::Panicked && has_load && !leads => {
                            step = self.store.again(key, hash, may_load, timer);
                            continue;
                        }
                        (answer, stale) => {
                            self.store.waited(hash, timer, tier_of(&answer));
                            return self.conclude(hash, answer, stale.filter(|_| may_load));
                        }
                    }
                }
            }
        }
    }

    /// What a reader gets whose load is over, or who waits no longer.
    fn conclude(&self, hash: KeyHash, answer: Answer<V>, stale: Option<Found<Option<V>>>) -> Answer<V> {
        answer.or_else(|error| {
            // Where nobody could ask the origin, it has not failed.
            let found = stale.ok_or_else(|| error.clone())?;
            tracing::debug!(%error, "a stale value is served");
            self.store.stood_in(hash);
            Ok(found)
        })
    }

    pub(crate) fn load_of<Q>(&self, key: &Q) -> Option<Load<V>>
    where
        Q: ToOwned<Owned = K> + ?Sized,
    {
        let (loader, key) = (self.loader.clone()?, key.to_owned());
        // The user's code runs in the task that loads, where its panics are caught.
        Some(Box::pin(async move { loader.load(key).await.map_err(Error::from_loader) }))
    }

    /// Waits as long as a reader may who `began` then, however many loads that takes.
    pub(crate) async fn wait(&self, flight: &Flight<K, V>, began: Instant, has_stale: bool) -> Answer<V> {
        let patience = self.store.rules.patience(has_stale);
        flight.lenders.lend();
        let answer = self.runtime.until(began + patience, flight.answer()).await;
        answer.unwrap_or_else(|| {
            let what = format!("no answer in {patience:?}; the load goes on");
            Err(Error::new(ErrorKind::Timeout, what))
        })
    }

    /// Brings a value as a task of its own; without a load, from the remote tier alone.
    pub(crate) fn depart(&self, mut landing: Landing<K, V>, load: Option<Load<V>>) {
        let task = async move {
            let inner = landing.inner.clone();
            let answer = inner.bring(&mut landing.target, load).await;
            landing.land(answer);
        };
        self.runtime.spawn(task.instrument(tracing::debug_span!("load", cache = %self.name)));
    }

    /// To be made before any more of the user's code runs for it, which may panic.
    pub(crate) fn landing(self: &Arc<Self>, target: Target<K, V>) -> Landing<K, V> {
        Landing { inner: self.clone(), target, has_landed: false }
    }

    async fn bring(&self, target: &mut Target<K, V>, load: Option<Load<V>>) -> Answer<V> {
        if let Some(answer) = self.take_logged(target) {
            return answer;
        }
        let Some(shared) = &self.shared else {
            return self.ask_origin(target, load, None).await;
        };
        let name = {
            let text = target.flight.key.text();
            self.key_rules.check(&text)?;
            shared.name(&text)
        };
        let now = || self.store.clock.now();
        let mut seen = shared.get(std::slice::from_ref(&name), now()).await.pop();
        let doubted = match self.take_remote(target, &mut seen) {
            Offer::Good(found) => return Ok(found),
            Offer::Doubtful(found) => Some(found),
            Offer::Nothing => None,
        };
        let mut lease =
            if load.is_some() && !target.flight.is_refresh { shared.lease(&name).await } else { Lease::Unknown };
        if matches!(lease, Lease::Taken) {
            let brought;
            (brought, lease) = shared.wait_for(&name, seen.as_ref(), now).await;
            if brought.is_some() {
                seen = brought;
                if let Offer::Good(found) = self.take_remote(target, &mut seen) {
                    return Ok(found);
                }
            }
        }
        let (fence, fallback) = match seen {
            Some(Seen { fence, found }) => (fence, found),
            None => (None, None),
        };
        let may_load = load.is_some();
        let answer = self.ask_origin(target, load, fence.map(|fence| (name, fence))).await;
        // Not before the fill is on its way.
        drop(lease);
        answer.or_else(|error| self.instead(target, doubted, fallback.filter(|_| may_load)).ok_or(error))
    }

    /// What is served where the origin fails: what the engine would rather have had loaded, or else what the other processes have, which
    /// is better than nothing, if the user wants it.
    pub(crate) fn instead(
        &self,
        target: &Target<K, V>,
        doubted: Option<Found<Option<V>>>,
        outdated: Option<(Brought<V>, bool)>,
    ) -> Option<Found<Option<V>>> {
        let most = self.store.rules.freshness.most_old(&target.flight.key.text());
        doubted.filter(|found| found.age < most).or_else(|| {
            let (brought, _) = outdated.filter(|(brought, _)| self.may_serve_stale(target, brought, most))?;
            target.flight.carries(&brought.fetched.options.tags, brought.as_of);
            let age = self.store.clock.now().since(brought.as_of);
            Some(Found { value: brought.fetched.value, tier: Tier::Remote, age, is_stale: true })
        })
    }

    fn may_serve_stale(
        &self,
        Target { hash, flight, .. }: &Target<K, V>,
        brought: &Brought<V>,
        most: Duration,
    ) -> bool {
        let (rules, now) = (&self.store.rules, self.store.clock.now());
        let own = |own: &K| *own == flight.key;
        if !self.store.floors.admits(*hash, brought.as_of) || !self.store.is_newer(*hash, brought.as_of, own) {
            return false;
        }
        let end = brought.fresh_until.unwrap_or(brought.as_of).plus(rules.stale_if_error);
        let end = brought.until.map_or(end, |until| until.min(end));
        !rules.stale_if_error.is_zero() && now < end.min(brought.as_of.plus(most))
    }

    /// Takes what was written and the origin may not have yet. It is not kept: the log knows nothing of its tags, its version and its
    /// lifetime.
    pub(crate) fn take_logged(&self, target: &Target<K, V>) -> Option<Answer<V>> {
        let fetched = match self.pending(&target.flight.key)? {
            Ok(fetched) => fetched,
            Err(error) => return Some(Err(error)),
        };
        self.store.forgo(target.hash, target.audit);
        self.store.tell_unkept(&target.flight, fetched.value.as_ref());
        Some(Ok(Found { value: fetched.value, tier: Tier::Local, age: Duration::ZERO, is_stale: false }))
    }

    /// Takes what the remote tier has, if it is fresh and new enough, and keeps it. The process that loaded it could not know how
    /// often this one reads it: the engine here has its say. An audit is a question to the origin, and so is a refresh.
    pub(crate) fn take_remote(&self, target: &mut Target<K, V>, seen: &mut Option<Seen<V>>) -> Offer<V> {
        let is_read = target.audit.is_none() && !target.flight.is_refresh;
        let offer = self.weigh_remote(target, seen);
        let is_good = matches!(offer, Offer::Good(_));
        if is_good || is_read && seen.is_some() {
            self.store.count(target.hash, |counts| {
                counts.remote_hits += u64::from(is_good);
                counts.remote_misses += u64::from(!is_good);
            });
        }
        offer
    }

    fn weigh_remote(&self, target: &mut Target<K, V>, seen: &mut Option<Seen<V>>) -> Offer<V> {
        let Target { hash, flight, audit } = target;
        let Some((Some((brought, true)), None)) = seen.as_ref().map(|seen| (&seen.found, *audit)) else {
            return Offer::Nothing;
        };
        if flight.is_refresh {
            return Offer::Nothing;
        }
        let as_of = brought.as_of;
        if !self.store.floors.admits(*hash, as_of) || !self.store.is_newer(*hash, as_of, |own| *own == flight.key) {
            return Offer::Nothing;
        }
        let Some((brought, _)) = seen.as_mut().and_then(|seen| seen.found.take()) else { return Offer::Nothing };
        let value = brought.fetched.value.clone();
        if self.store.land(*hash, flight, brought).is_some() {
            return Offer::Nothing;
        }
        let age = self.store.clock.now().since(as_of);
        let decision = if value.is_some() { self.store.judge(*hash, &flight.key) } else { Decision::Serve };
        let found = Found { value, tier: Tier::Remote, age, is_stale: false };
        match decision {
            Decision::Serve | Decision::ServeAndRefresh => return Offer::Good(found),
            Decision::Audit(drawn) => {
                self.store.count(*hash, |counts| counts.audits += 1);
                *audit = Some(drawn);
            }
            Decision::Load => {}
        }
        Offer::Doubtful(found)
    }

    async fn ask_origin(&self, target: &Target<K, V>, load: Option<Load<V>>, fill: Option<(Name, Fence)>) -> Answer<V> {
        let Some(load) = load else {
            self.store.forgo(target.hash, target.audit);
            return Err(abandoned());
        };
        let as_of = self.store.clock.now();
        let fetched = match self.ask(load, &[&target.flight.lenders]).await {
            Ok(fetched) => fetched,
            Err(error) if error.kind() == ErrorKind::NotFound => Fetched::absent(),
            Err(error) => {
                self.store.failed(target.hash, &target.flight, target.audit);
                return Err(error);
            }
        };
        Ok(self.arrive(target, fetched, as_of, fill))
    }

    /// Keeps what the origin said at `as_of`, here and in the remote tier.
    pub(crate) fn arrive(
        &self,
        target: &Target<K, V>,
        fetched: Fetched<V>,
        as_of: Time,
        fill: Option<(Name, Fence)>,
    ) -> Found<Option<V>> {
        let Target { hash, flight, audit } = target;
        let took = self.store.clock.now().since(as_of);
        let cost = u32::try_from(took.as_micros()).unwrap_or(u32::MAX);
        let value = fetched.value.clone();
        let offer = fill.is_some().then(|| fetched.clone());
        let brought = Brought {
            fetched,
            as_of,
            cost,
            audit: *audit,
            from: Tier::Origin,
            fresh_until: None,
            until: None,
            checked: None,
        };
        if let Some(newer) = self.store.land(*hash, flight, brought) {
            return newer;
        }
        // A value that is void here is void there; one the policy did not want here may be wanted there.
        if let (Some((name, fence)), Some(fetched), Some(shared)) = (fill, offer, &self.shared)
            && !flight.is_fenced()
        {
            let times = self.times(*hash, flight, &fetched, as_of);
            shared.fill(name, fence, &fetched, times, cost);
        }
        Found { value, tier: Tier::Origin, age: took, is_stale: false }
    }

    /// How long the other processes may take a value for fresh.
    fn times(&self, hash: KeyHash, flight: &Flight<K, V>, fetched: &Fetched<V>, as_of: Time) -> Times {
        let (rules, now) = (&self.store.rules, self.store.clock.now());
        let age = now.since(as_of);
        let ttl = match (&fetched.value, fetched.options.ttl) {
            (None, given) => given.unwrap_or(rules.negative_ttl),
            (_, given) => {
                let judged = self.store.lifetime(hash, |own| *own == flight.key);
                // Where memory did not want the value, a fixed lifetime gives way to the value's own as it does there.
                let own = given.filter(|_| rules.freshness.fixed().is_some());
                let usual = judged.or(own).unwrap_or(rules.ttl());
                given.map_or(usual, |given| given.min(usual))
            }
        };
        let fresh_for = ttl.saturating_sub(age);
        let keep_for = fresh_for.saturating_add(rules.stale_if_error);
        let keep_for = fetched.options.ttl.map_or(keep_for, |given| keep_for.min(given.saturating_sub(age)));
        Times { age, fresh_for, keep_for: keep_for.max(Duration::from_millis(1)) }
    }

    /// Asks the origin, within the limits on loads. A load that panics has failed as any other.
    pub(crate) async fn ask<T>(
        &self,
        load: impl Future<Output = Result<T, Error>>,
        lenders: &[&Lenders],
    ) -> Result<T, Error> {
        let permit = Arc::new(self.limits.enter(lenders).await?);
        let most = self.store.rules.load_timeout;
        match AssertUnwindSafe(PERMIT.scope(permit, timeout(most, load))).catch_unwind().await {
            Ok(Ok(loaded)) => loaded,
            Ok(Err(_)) => {
                Err(Error::new(ErrorKind::Timeout, format!("the load took longer than {most:?} and was given up")))
            }
            Err(_) => Err(Error::new(ErrorKind::Panicked, "the load panicked")),
        }
    }
}

/// Lands a flight whatever becomes of its task.
pub(crate) struct Landing<K, V>
where
    K: Key + Clone,
    V: Clone + Send + Sync + 'static,
{
    inner: Arc<Inner<K, V>>,
    pub(crate) target: Target<K, V>,
    has_landed: bool,
}

impl<K, V> Landing<K, V>
where
    K: Key + Clone,
    V: Clone + Send + Sync + 'static,
{
    pub(crate) fn land(mut self, answer: Answer<V>) {
        self.end(answer);
    }

    fn end(&mut self, answer: Answer<V>) {
        let (store, Target { hash, flight, .. }) = (&self.inner.store, &self.target);
        // Closed first: whoever comes between sees the store, or loads anew, and never waits for what has landed already.
        store.close(*hash, flight);
        store.record_reads(flight);
        flight.land(answer);
        self.has_landed = true;
    }
}

impl<K, V> Drop for Landing<K, V>
where
    K: Key + Clone,
    V: Clone + Send + Sync + 'static,
{
    fn drop(&mut self) {
        if self.has_landed {
            return;
        }
        // Code of the user's may panic here once more, which must not end the process.
        let _ = catch_unwind(AssertUnwindSafe(|| {
            let (store, Target { hash, flight, audit }) = (&self.inner.store, &self.target);
            match panicking() {
                true => store.failed(*hash, flight, *audit),
                false => store.forgo(*hash, *audit),
            }
        }));
        if catch_unwind(AssertUnwindSafe(|| self.end(Err(abandoned())))).is_err() {
            // The reads that could not be recorded are gone by now, and nothing of the user's is left to run.
            self.end(Err(abandoned()));
        }
    }
}
