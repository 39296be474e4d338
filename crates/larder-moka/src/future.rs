//! The plug-in on a `moka::future::Cache`.

use std::borrow::Borrow;
use std::collections::hash_map::RandomState;
use std::future::{Future, poll_fn};
use std::hash::BuildHasher;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::task::Poll;

use larder::{BoxError, Error, Fetched, Found, Key, Tier};
use larder_policy::freshness::Audit;
use moka::Entry;
use moka::ops::compute::{CompResult, Op};
use tokio::runtime::Handle;

use crate::core::Core;
use crate::fences::{Look, Seen};
use crate::load::{Once, caught, said};
use crate::outcome::{Course, Judged, Landed, Passed, Standing};
use crate::{Capabilities, Held, PHANTOM_GETS, Plugin, Prewarmed, Stats, WARM_BATCH, WARM_TRIES};

/// So many loads may be cancelled, of whichever keys, before whoever waits asks anew.
const MOST_CANCELLED: u64 = 64;
/// Renewals at once.
const MOST_RENEWALS: usize = 256;

type Load<V> = Pin<Box<dyn Future<Output = Result<Fetched<V>, Error>> + Send>>;

/// A `moka::future::Cache` that larder looks after. Clones are the same cache.
pub struct Cache<K, V, S = RandomState> {
    moka: moka::future::Cache<K, Held<V>, S>,
    core: Arc<Core<K, V>>,
}

impl<K, V, S: Clone> Clone for Cache<K, V, S> {
    fn clone(&self) -> Self {
        Self { moka: self.moka.clone(), core: self.core.clone() }
    }
}

impl<K, V, S> Cache<K, V, S>
where
    K: Key + Clone,
    V: Clone + Send + Sync + 'static,
    S: BuildHasher + Clone + Send + Sync + 'static,
{
    /// Lets `plugin` look after `moka`, which was best built with its [expiry](Plugin::expiry).
    pub fn attach(moka: moka::future::Cache<K, Held<V>, S>, plugin: Plugin<K, V>) -> Self {
        let core = plugin.into_core(moka.policy().max_capacity());
        Self { moka, core: Arc::new(core) }
    }

    /// What moka holds, if it is fresh. Nothing is loaded, renewed or checked at the origin.
    pub async fn get<Q>(&self, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
        Q: Key + ?Sized,
    {
        let mut look = self.core.fences.glance();
        let held = loop {
            let Some(held) = self.moka.get(key).await else { break None };
            match self.core.seen(look, &held) {
                Seen::Good => break Some(held),
                Seen::Void => break None,
                Seen::Unsure => look = self.core.fences.look(held.key),
            }
        };
        let Some(held) = held else {
            self.core.absent();
            return None;
        };
        self.core.may_serve(&held, self.core.clock.now()).then_some(held.value)
    }

    /// The value of a key, loaded by `load` if moka has none that is fresh enough. Of all who ask at once one loads; if that one is cancelled
    /// or panics, another does. Where the value is to be renewed, or checked to measure the stale rate, `load` runs behind
    /// the caller's back, in the tokio runtime this is called in; outside of one it is waited for.
    ///
    /// # Errors
    /// Those of the load, and [`ErrorKind::NotFound`](larder::ErrorKind::NotFound) if it brings nothing; where a stale value may be
    /// served instead, it is.
    pub async fn get_with<Q, F, Fut, T, E>(&self, key: &Q, load: F) -> Result<V, Error>
    where
        K: Borrow<Q>,
        Q: Key + ToOwned<Owned = K> + ?Sized,
        F: FnOnce() -> Fut + Send + 'static,
        Fut: Future<Output = Result<T, E>> + Send + 'static,
        T: Into<Fetched<V>>,
        E: Into<BoxError>,
    {
        Ok(self.find_with(key, load).await?.value)
    }

    /// As [`get_with`](Self::get_with), with what is known about the value: where it came from, its age, whether it is stale.
    ///
    /// # Errors
    /// As there.
    pub async fn find_with<Q, F, Fut, T, E>(&self, key: &Q, load: F) -> Result<Found<V>, Error>
    where
        K: Borrow<Q>,
        Q: Key + ToOwned<Owned = K> + ?Sized,
        F: FnOnce() -> Fut + Send + 'static,
        Fut: Future<Output = Result<T, E>> + Send + 'static,
        T: Into<Fetched<V>>,
        E: Into<BoxError>,
    {
        let mut load = Some(load);
        let mut make = || -> Option<Load<V>> {
            let load = load.take()?;
            Some(Box::pin(async move { said(load().await) }))
        };
        self.find(key, Once::new(&mut make)).await
    }

    async fn find<Q>(&self, key: &Q, mut load: Once<'_, Load<V>>) -> Result<Found<V>, Error>
    where
        K: Borrow<Q>,
        Q: Key + ToOwned<Owned = K> + ?Sized,
    {
        let asked = self.core.ask();
        let mut unsure = None;
        loop {
            let fences = &self.core.fences;
            let (now, look) = (self.core.clock.now(), unsure.map_or_else(|| fences.glance(), |key| fences.look(key)));
            let held = match self.ask(key, &mut load).await {
                None => continue,
                Some(Ok(held)) => held,
                Some(Err(landed)) => match self.core.answer(&landed, asked, load.is_taken()) {
                    Some(answer) => return answer,
                    None => continue,
                },
            };
            match self.core.seen(look, &held) {
                Seen::Good => {}
                Seen::Void => {
                    self.moka.invalidate(key).await;
                    continue;
                }
                Seen::Unsure => {
                    unsure = Some(held.key);
                    continue;
                }
            }
            match self.core.judge(&held, now) {
                Judged::Serve => return Ok(held.found(Tier::Local, now)),
                Judged::Renew(audit) => {
                    self.renew(key, &held, audit, load).await;
                    return Ok(held.found(Tier::Local, now));
                }
                Judged::Reload => match self.reload(key, look, &held, &mut load).await {
                    Err(Passed::Gone) => {
                        unsure = Some(held.key);
                        self.core.looks_again();
                    }
                    Ok(held) | Err(Passed::Unkept(held)) => return Ok(self.core.reloaded(held)),
                    Err(Passed::Failed(error)) => return Err(error),
                },
            }
        }
    }

    /// Keeps a value that the service has written to the origin. Loads under way that began before it are not kept.
    pub async fn insert(&self, key: K, value: V) {
        let _change = self.core.change(&key);
        let held = self.core.written(&key, value);
        self.put(&key, &held).await;
    }

    /// The origin's value of a key has changed: what is cached is no longer served, what is being loaded is not kept, and the key's
    /// lifetime learns from it.
    pub async fn changed<Q>(&self, key: &Q)
    where
        K: Borrow<Q>,
        Q: Key + ?Sized,
    {
        let _change = self.core.change(key);
        self.core.changed(key);
        self.moka.invalidate(key).await;
    }

    /// Offers values ahead of traffic, and says how many moka keeps. A full cache with TinyLFU refuses what it has never been asked
    /// for, so each key is first asked for several times. It keeps none where all it holds is asked for 15 times and more, for it counts no further.
    pub async fn prewarm(&self, entries: impl IntoIterator<Item = (K, V)>) -> Prewarmed {
        let began = self.core.begin();
        let (mut entries, mut keys) = (entries.into_iter(), Vec::new());
        loop {
            let batch: Vec<_> = entries.by_ref().take(WARM_BATCH).collect();
            if batch.is_empty() {
                break;
            }
            for _ in 0..WARM_TRIES {
                for (key, value) in batch.iter().filter(|(key, _)| !self.moka.contains_key(key)) {
                    for _ in 0..PHANTOM_GETS {
                        self.moka.get(key).await;
                    }
                    if let Some(held) = self.core.warmed(key, value.clone(), began) {
                        self.put(key, &held).await;
                    }
                }
                self.moka.run_pending_tasks().await;
            }
            keys.extend(batch.into_iter().map(|(key, _)| key));
        }
        Prewarmed { offered: keys.len(), kept: keys.iter().filter(|&key| self.moka.contains_key(key)).count() }
    }

    /// What larder can do here.
    pub fn capabilities(&self) -> Capabilities {
        self.core.capabilities()
    }

    /// What it has done so far.
    pub fn stats(&self) -> Stats {
        self.core.stats()
    }

    /// The moka cache itself. What is read there is not learned from, and may be older than the objective allows.
    pub fn moka(&self) -> &moka::future::Cache<K, Held<V>, S> {
        &self.moka
    }

    /// What moka answers. Nothing where a reader has waited for so many loads that were cancelled that he is to ask anew: moka panics at 200.
    async fn ask<Q>(&self, key: &Q, load: &mut Once<'_, Load<V>>) -> Option<Result<Held<V>, Arc<Landed<V>>>>
    where
        K: Borrow<Q>,
        Q: Key + ToOwned<Owned = K> + ?Sized,
    {
        let (leads, before) = (AtomicBool::new(false), self.core.cancelled.count());
        let mut asking = pin!(self.moka.try_get_with_by_ref(key, self.bring(key, load, &leads)));
        poll_fn(|cx| match asking.as_mut().poll(cx) {
            Poll::Pending if !leads.load(Relaxed) && self.core.cancelled.count() - before > MOST_CANCELLED => {
                Poll::Ready(None)
            }
            answer => answer.map(Some),
        })
        .await
    }

    /// Loads what moka does not have, and puts it there. What has come of it is moka's error: see [`Landed`].
    async fn bring<Q>(&self, key: &Q, load: &mut Once<'_, Load<V>>, leads: &AtomicBool) -> Result<Held<V>, Landed<V>>
    where
        Q: ToOwned<Owned = K> + ?Sized,
    {
        leads.store(true, Relaxed);
        let leading = self.core.cancelled.leads();
        let (key, began) = (key.to_owned(), self.core.begin());
        let brought = match load.take() {
            Some(load) => caught(load).await.map(|loaded| self.core.missed(&key, began, loaded)),
            None => Ok(Err(Passed::Gone)),
        };
        if let Ok(Ok(held)) = &brought {
            // In a box, or each hit's future would have the room for it.
            Box::pin(self.put(&key, held)).await;
        }
        leading.end();
        Err(self.core.landed(&key, began, brought))
    }

    /// Loads what moka has, but nobody may have any more; readers wait in line, and all but the first find it done. What was put there before a
    /// change that was over when this one `look`ed is none of his.
    async fn reload<Q>(
        &self,
        key: &Q,
        look: Look,
        seen: &Held<V>,
        load: &mut Once<'_, Load<V>>,
    ) -> Result<Held<V>, Passed<V>>
    where
        K: Borrow<Q>,
        Q: Key + ToOwned<Owned = K> + ?Sized,
    {
        let (owned, mut audit, mut course) = (key.to_owned(), None, self.core.course(seen.key));
        let entry = self.moka.entry_by_ref(key);
        let done = entry
            .and_try_compute_with(|entry| self.revise(&owned, seen, entry, || load.take(), &mut audit, &mut course))
            .await?;
        match done {
            CompResult::Inserted(entry) | CompResult::ReplacedWith(entry) => {
                let held = entry.into_value();
                self.settle(key, &held).await;
                Ok(held)
            }
            CompResult::Unchanged(entry) => {
                if self.core.seen(look, entry.value()) != Seen::Good {
                    return Err(Passed::Gone);
                }
                if !load.is_taken() {
                    self.core.waited();
                }
                Ok(entry.into_value())
            }
            CompResult::Removed(_) | CompResult::StillNone(_) => {
                Err(course.failure.map_or(Passed::Gone, Passed::Failed))
            }
        }
    }

    /// Loads anew behind the reader's back what is still served.
    async fn renew<Q>(&self, key: &Q, seen: &Held<V>, audit: Option<Audit>, mut load: Once<'_, Load<V>>)
    where
        Q: ToOwned<Owned = K> + ?Sized,
    {
        let Some(renewal) = self.core.renewal(seen, audit, MOST_RENEWALS) else { return };
        let load = load.take();
        let (own, key, seen) = (self.clone(), key.to_owned(), seen.clone());
        let runtime = Handle::try_current().ok().filter(|_| !renewal.is_crowded);
        let task = async move {
            let (mut renewal, mut course) = (renewal, own.core.course(seen.key));
            let entry = own.moka.entry_by_ref(&key);
            let renewed = entry.and_try_compute_if_nobody_else(|entry| {
                own.revise(&key, &seen, entry, || load, &mut renewal.audit, &mut course)
            });
            // What comes of it is in the counts; whoever reads next finds out what there is.
            if let Ok(CompResult::ReplacedWith(entry)) = renewed.await {
                own.settle(&key, entry.value()).await;
            }
        };
        match runtime {
            Some(runtime) => drop(runtime.spawn(task)),
            None => task.await,
        }
    }

    /// Puts a value into moka, unless a write overtakes it on its way in.
    async fn put(&self, key: &K, held: &Held<V>) {
        let _landing = self.core.fences.landing(held.key);
        self.moka.insert(key.clone(), held.clone()).await;
        self.settle(key, held).await;
    }

    /// Takes out what a write overtook while it was on its way in.
    async fn settle<Q>(&self, key: &Q, held: &Held<V>)
    where
        K: Borrow<Q>,
        Q: Key + ?Sized,
    {
        if self.core.is_overtaken(held) {
            self.moka.invalidate(key).await;
        }
    }

    /// Beside the entry as it is now, loads anew what a reader saw.
    async fn revise<'a>(
        &'a self,
        key: &K,
        seen: &Held<V>,
        entry: Option<Entry<K, Held<V>>>,
        load: impl FnOnce() -> Option<Load<V>>,
        audit: &mut Option<Audit>,
        course: &mut Course<'a>,
    ) -> Result<Op<Held<V>>, Passed<V>> {
        match Core::<K, V>::standing(seen, entry.as_ref().map(Entry::value)) {
            Standing::Newer => return Ok(Op::Nop),
            Standing::Gone => return Err(Passed::Gone),
            Standing::Same => {}
        }
        let load = load().ok_or(Passed::Gone)?;
        let began = self.core.begin();
        let loaded = load.await;
        course.landing = Some(self.core.fences.landing(seen.key));
        self.core.renewed(key, seen, audit, began, loaded, course)
    }
}
