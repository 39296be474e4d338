//! The plug-in on a `moka::sync::Cache`.

use std::borrow::Borrow;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use larder::{BoxError, Error, Fetched, Found, Key, Tier};
use larder_policy::freshness::Audit;
use moka::Entry;
use moka::ops::compute::{CompResult, Op};

use crate::core::Core;
use crate::fences::{Look, Seen};
use crate::load::{Once, said};
use crate::outcome::{Course, Judged, Landed, Passed, Standing};
use crate::{Capabilities, Held, PHANTOM_GETS, Plugin, Prewarmed, Stats, WARM_BATCH, WARM_TRIES};

/// Renewals at once, each on a thread of its own while it lasts.
const MOST_RENEWALS: usize = 16;

type Load<V> = Box<dyn FnOnce() -> Result<Fetched<V>, Error> + Send>;

/// A `moka::sync::Cache` that larder looks after. Clones are the same cache.
pub struct Cache<K, V, S = RandomState> {
    moka: moka::sync::Cache<K, Held<V>, S>,
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
    pub fn attach(moka: moka::sync::Cache<K, Held<V>, S>, plugin: Plugin<K, V>) -> Self {
        let core = plugin.into_core(moka.policy().max_capacity());
        Self { moka, core: Arc::new(core) }
    }

    /// What moka holds, if it is fresh. Nothing is loaded, renewed or checked at the origin.
    pub fn get<Q>(&self, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
        Q: Key + ?Sized,
    {
        let mut look = self.core.fences.glance();
        let held = loop {
            let Some(held) = self.moka.get(key) else { break None };
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

    /// The value of a key, loaded by `load` if moka has none that is fresh enough. Of all who ask at once one loads; if it
    /// panics, another does. Where the value is to be renewed, or checked to measure the stale rate, `load` runs on a thread
    /// of its own.
    ///
    /// # Errors
    /// Those of the load, and [`ErrorKind::NotFound`](larder::ErrorKind::NotFound) if it brings nothing; where a stale value may be
    /// served instead, it is.
    pub fn get_with<Q, F, T, E>(&self, key: &Q, load: F) -> Result<V, Error>
    where
        K: Borrow<Q>,
        Q: Key + ToOwned<Owned = K> + ?Sized,
        F: FnOnce() -> Result<T, E> + Send + 'static,
        T: Into<Fetched<V>>,
        E: Into<BoxError>,
    {
        Ok(self.find_with(key, load)?.value)
    }

    /// As [`get_with`](Self::get_with), with what is known about the value: where it came from, its age, whether it is stale.
    ///
    /// # Errors
    /// As there.
    pub fn find_with<Q, F, T, E>(&self, key: &Q, load: F) -> Result<Found<V>, Error>
    where
        K: Borrow<Q>,
        Q: Key + ToOwned<Owned = K> + ?Sized,
        F: FnOnce() -> Result<T, E> + Send + 'static,
        T: Into<Fetched<V>>,
        E: Into<BoxError>,
    {
        let mut load = Some(load);
        let mut make = || -> Option<Load<V>> {
            let load = load.take()?;
            Some(Box::new(move || said(load())))
        };
        self.find(key, Once::new(&mut make))
    }

    fn find<Q>(&self, key: &Q, mut load: Once<'_, Load<V>>) -> Result<Found<V>, Error>
    where
        K: Borrow<Q>,
        Q: Key + ToOwned<Owned = K> + ?Sized,
    {
        let asked = self.core.ask();
        let mut unsure = None;
        loop {
            let fences = &self.core.fences;
            let (now, look) = (self.core.clock.now(), unsure.map_or_else(|| fences.glance(), |key| fences.look(key)));
            let held = match self.moka.try_get_with_by_ref(key, || self.bring(key, &mut load)) {
                Ok(held) => held,
                Err(landed) => match self.core.answer(&landed, asked, load.is_taken()) {
                    Some(answer) => return answer,
                    None => continue,
                },
            };
            match self.core.seen(look, &held) {
                Seen::Good => {}
                Seen::Void => {
                    self.moka.invalidate(key);
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
                    self.renew(key, &held, audit, load);
                    return Ok(held.found(Tier::Local, now));
                }
                Judged::Reload => match self.reload(key, look, &held, &mut load) {
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
    pub fn insert(&self, key: K, value: V) {
        let _change = self.core.change(&key);
        let held = self.core.written(&key, value);
        self.put(&key, &held);
    }

    /// The origin's value of a key has changed: what is cached is no longer served, what is being loaded is not kept, and the key's
    /// lifetime learns from it.
    pub fn changed<Q>(&self, key: &Q)
    where
        K: Borrow<Q>,
        Q: Key + ?Sized,
    {
        let _change = self.core.change(key);
        self.core.changed(key);
        self.moka.invalidate(key);
    }

    /// Offers values ahead of traffic, and says how many moka keeps. A full cache with TinyLFU refuses what it has never been asked
    /// for, so each key is first asked for several times. It keeps none where all it holds is asked for 15 times and more, for it counts no further.
    pub fn prewarm(&self, entries: impl IntoIterator<Item = (K, V)>) -> Prewarmed {
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
                        self.moka.get(key);
                    }
                    if let Some(held) = self.core.warmed(key, value.clone(), began) {
                        self.put(key, &held);
                    }
                }
                self.moka.run_pending_tasks();
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
    pub fn moka(&self) -> &moka::sync::Cache<K, Held<V>, S> {
        &self.moka
    }

    /// Loads what moka does not have, and puts it there. What has come of it is moka's error: see [`Landed`].
    fn bring<Q>(&self, key: &Q, load: &mut Once<'_, Load<V>>) -> Result<Held<V>, Landed<V>>
    where
        Q: ToOwned<Owned = K> + ?Sized,
    {
        let (key, began) = (key.to_owned(), self.core.begin());
        let brought = match load.take() {
            Some(load) => catch_unwind(AssertUnwindSafe(load)).map(|loaded| self.core.missed(&key, began, loaded)),
            None => Ok(Err(Passed::Gone)),
        };
        if let Ok(Ok(held)) = &brought {
            self.put(&key, held);
        }
        Err(self.core.landed(&key, began, brought))
    }

    /// Loads what moka has, but nobody may have any more; readers wait in line, and all but the first find it done. What was put there before a
    /// change that was over when this one `look`ed is none of his.
    fn reload<Q>(&self, key: &Q, look: Look, seen: &Held<V>, load: &mut Once<'_, Load<V>>) -> Result<Held<V>, Passed<V>>
    where
        K: Borrow<Q>,
        Q: Key + ToOwned<Owned = K> + ?Sized,
    {
        let (owned, mut audit, mut course) = (key.to_owned(), None, self.core.course(seen.key));
        let revise = |entry| self.revise(&owned, seen, entry, || load.take(), &mut audit, &mut course);
        let done = self.moka.entry_by_ref(key).and_try_compute_with(revise)?;
        match done {
            CompResult::Inserted(entry) | CompResult::ReplacedWith(entry) => {
                let held = entry.into_value();
                self.settle(key, &held);
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
    fn renew<Q>(&self, key: &Q, seen: &Held<V>, audit: Option<Audit>, mut load: Once<'_, Load<V>>)
    where
        Q: ToOwned<Owned = K> + ?Sized,
    {
        let Some(renewal) = self.core.renewal(seen, audit, MOST_RENEWALS) else { return };
        let load = load.take();
        let (own, key, seen, is_crowded) = (self.clone(), key.to_owned(), seen.clone(), renewal.is_crowded);
        let task = move || {
            let (mut renewal, mut course) = (renewal, own.core.course(seen.key));
            let revise = |entry| own.revise(&key, &seen, entry, || load, &mut renewal.audit, &mut course);
            // What comes of it is in the counts; whoever reads next finds out what there is.
            if let Ok(CompResult::ReplacedWith(entry)) = own.moka.entry_by_ref(&key).and_try_compute_with(revise) {
                own.settle(&key, entry.value());
            }
        };
        if is_crowded {
            return task();
        }
        if let Err(error) = std::thread::Builder::new().name("larder-renewal".into()).spawn(task) {
            tracing::warn!(%error, "no thread could be started for a renewal");
        }
    }

    /// Puts a value into moka, unless a write overtakes it on its way in.
    fn put(&self, key: &K, held: &Held<V>) {
        let _landing = self.core.fences.landing(held.key);
        self.moka.insert(key.clone(), held.clone());
        self.settle(key, held);
    }

    /// Takes out what a write overtook while it was on its way in.
    fn settle<Q>(&self, key: &Q, held: &Held<V>)
    where
        K: Borrow<Q>,
        Q: Key + ?Sized,
    {
        if self.core.is_overtaken(held) {
            self.moka.invalidate(key);
        }
    }

    /// Beside the entry as it is now, loads anew what a reader saw.
    fn revise<'a>(
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
        let loaded = load();
        course.landing = Some(self.core.fences.landing(seen.key));
        self.core.renewed(key, seen, audit, began, loaded, course)
    }
}
