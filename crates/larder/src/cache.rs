//! The cache as its users see it.

use std::borrow::Borrow;
use std::collections::HashMap;
use std::fmt;
use std::future::Future;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use larder_policy::experiment::Event;
use larder_policy::freshness::Audited;
use larder_policy::{Time, Weigh};
use parking_lot::Mutex;
use tokio::time::{Instant, timeout_at};

use crate::behind::CLOSING;
use crate::builder::Builder;
use crate::codec::Codec;
use crate::fetched::{Fetched, Found, Options};
use crate::key::{Key, KeyRules};
use crate::limits::Limits;
use crate::loader::{BoxError, Load, Loader};
use crate::prices::Prices;
use crate::recent::Recent;
use crate::remote::{Invalidation, names};
use crate::report::{BehindReport, FlippingReport, FreshnessReport, PrefixReport, RemoteReport, Report};
use crate::runtime::Home;
use crate::shared::{Shared, Times, tolerate};
use crate::sharing::Exchange;
use crate::stats::Stats;
use crate::store::Store;
use crate::warm::Hours;
use crate::writes::{Turns, Writes};
use crate::{Error, ErrorKind, bounds, bulk};

/// A cache: memory, and behind it a remote tier and a loader where there are any. Clones are the same cache.
///
/// ```
/// # tokio_test(async {
/// let cache = larder::Cache::builder().capacity(10_000).build()?;
/// let user: String = cache.get_with(&42, async || Ok::<_, std::io::Error>("Ada".to_owned())).await?;
/// assert_eq!(cache.get(&42).await, Some(user));
/// # Ok::<(), larder::Error>(()) });
/// # fn tokio_test(test: impl Future<Output = Result<(), larder::Error>>) {
/// #     tokio::runtime::Runtime::new().unwrap().block_on(test).unwrap();
/// # }
/// ```
pub struct Cache<K, V>
where
    K: Key + Clone,
    V: Clone + Send + Sync + 'static,
{
    pub(crate) inner: Arc<Inner<K, V>>,
}

pub(crate) struct Inner<K, V> {
    pub(crate) name: String,
    pub(crate) namespace: String,
    pub(crate) store: Store<K, V>,
    pub(crate) shared: Option<Shared<V>>,
    pub(crate) sharing: Option<Arc<Exchange>>,
    pub(crate) loader: Option<Arc<dyn Loader<K, V>>>,
    pub(crate) codec: Option<Arc<dyn Codec<V>>>,
    pub(crate) writes: Writes,
    pub(crate) turns: Turns,
    pub(crate) limits: Limits,
    pub(crate) key_rules: KeyRules,
    pub(crate) is_closed: AtomicBool,
    /// The keys that keep hours, once somebody asks for them to be warmed.
    pub(crate) hours: OnceLock<Hours>,
    pub(crate) runtime: Home,
    pub(crate) policy: String,
    pub(crate) prices: Prices,
    /// What the capacity is counted in.
    pub(crate) weigh: Weigh,
    pub(crate) built_at: Time,
    pub(crate) recent: Mutex<Recent>,
}

impl<K, V> Clone for Cache<K, V>
where
    K: Key + Clone,
    V: Clone + Send + Sync + 'static,
{
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone() }
    }
}

/// Keys and values are never shown.
impl<K, V> fmt::Debug for Cache<K, V>
where
    K: Key + Clone,
    V: Clone + Send + Sync + 'static,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cache").field("name", &self.inner.name).field("stats", &self.stats()).finish_non_exhaustive()
    }
}

impl<K, V> Cache<K, V>
where
    K: Key + Clone,
    V: Clone + Send + Sync + 'static,
{
    /// A cache to be.
    pub fn builder() -> Builder<K, V> {
        Builder::new()
    }

    /// What memory holds, if it is fresh. Nothing is waited for: neither the remote tier nor the loader is asked.
    #[inline]
    pub fn local<Q>(&self, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
        Q: Key + ?Sized,
    {
        self.inner.store.local(key)?.value
    }

    /// What memory or the remote tier holds. Where a [loader](Builder::loader) is known, it is asked too, and its errors count as
    /// nothing.
    pub async fn get<Q>(&self, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
        Q: Key + ToOwned<Owned = K> + ?Sized,
    {
        if self.inner.shared.is_none() && self.inner.loader.is_none() {
            return self.local(key);
        }
        self.inner.read(key, None::<fn() -> Load<V>>).await.ok()?.value
    }

    /// The value of a key, loaded by `load` if neither memory nor the remote tier has it. Of all who ask at once one loads; who
    /// gives up waiting does not end the load, which is a task of its own: it owns what it needs, and borrows nothing. Clone an `Arc`
    /// for it:
    ///
    /// ```
    /// # use std::{convert::Infallible, sync::Arc};
    /// # struct Db;
    /// # impl Db { async fn find(&self, id: u64) -> Result<String, Infallible> { Ok(format!("user {id}")) } }
    /// struct Users { db: Arc<Db>, cache: larder::Cache<u64, String> }
    ///
    /// impl Users {
    ///     async fn user(&self, id: u64) -> Result<String, larder::Error> {
    ///         let db = self.db.clone();
    ///         self.cache.get_with(&id, move || async move { db.find(id).await }).await
    ///     }
    /// }
    /// ```
    ///
    /// # Errors
    /// Those of the load; [`ErrorKind::NotFound`] if the origin has none; [`ErrorKind::Timeout`]; [`ErrorKind::Overloaded`].
    /// Where a stale value may be served instead, it is.
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
        let make =
            move || -> Load<V> { Box::pin(async move { load().await.map(Into::into).map_err(Error::from_loader) }) };
        present(self.inner.read(key, Some(make)).await?)
    }

    /// The value of a key, read through the cache's [loader](Builder::loader).
    ///
    /// # Errors
    /// As [`get_with`](Self::get_with); [`ErrorKind::Config`] if the cache has no loader.
    pub async fn load<Q>(&self, key: &Q) -> Result<Found<V>, Error>
    where
        K: Borrow<Q>,
        Q: Key + ToOwned<Owned = K> + ?Sized,
    {
        self.needs_loader()?;
        present(self.inner.read(key, None::<fn() -> Load<V>>).await?)
    }

    /// Several values at once: `load` is called once with the keys that neither tier has and that nobody is loading yet.
    /// Keys the origin does not have are missing from the answer.
    ///
    /// # Errors
    /// As [`get_with`](Self::get_with), when a key could not be answered.
    pub async fn get_many_with<F, Fut, T, E>(
        &self,
        keys: impl IntoIterator<Item = K>,
        load: F,
    ) -> Result<HashMap<K, V>, Error>
    where
        F: FnOnce(Vec<K>) -> Fut + Send + 'static,
        Fut: Future<Output = Result<HashMap<K, T>, E>> + Send + 'static,
        T: Into<Fetched<V>>,
        E: Into<BoxError>,
    {
        self.inner.read_many(keys.into_iter().collect(), bulk::load(load)).await
    }

    /// As [`get_many_with`](Self::get_many_with), with an answer for each key: one that cannot be had takes nothing from the others. A load that
    /// fails answers the keys it was called with; a key the origin does not have is [`ErrorKind::NotFound`], one that no remote tier takes
    /// [`ErrorKind::BadKey`].
    pub async fn get_each_with<F, Fut, T, E>(
        &self,
        keys: impl IntoIterator<Item = K>,
        load: F,
    ) -> HashMap<K, Result<V, Error>>
    where
        F: FnOnce(Vec<K>) -> Fut + Send + 'static,
        Fut: Future<Output = Result<HashMap<K, T>, E>> + Send + 'static,
        T: Into<Fetched<V>>,
        E: Into<BoxError>,
    {
        let Ok(answers) = self.inner.read_many(keys.into_iter().collect(), bulk::load(load)).await;
        answers
    }

    /// Keeps a value the service has written to the origin, here and in the remote tier, and tells the other processes. A full cache may
    /// refuse a key that it does not hold yet: see [`Builder::policy`].
    ///
    /// # Errors
    /// [`ErrorKind::BadKey`], [`ErrorKind::Codec`]. A remote tier that cannot be reached is no error: what it holds is invalid until it
    /// has heard of the write.
    pub async fn insert(&self, key: K, value: V) -> Result<(), Error> {
        self.insert_with(key, value, Options::default()).await
    }

    /// As [`insert`](Self::insert), with settings of its own.
    ///
    /// # Errors
    /// As there.
    pub async fn insert_with(&self, key: K, value: V, options: Options) -> Result<(), Error> {
        self.open()?;
        self.keep(key, value, options).await
    }

    /// Keeps what was written, whether or not the cache is closed by now.
    pub(crate) async fn keep(&self, key: K, value: V, options: Options) -> Result<(), Error> {
        let inner = &*self.inner;
        let hash = inner.store.hasher.hash(&key);
        let Some(shared) = &inner.shared else {
            inner.store.write(key, hash, value, options);
            return Ok(());
        };
        let text = key.text().into_owned();
        inner.key_rules.check(&text)?;
        let fetched = Fetched::from(value.clone()).with(options.clone());
        inner.store.write(key, hash, value, options);
        let rules = &inner.store.rules;
        let ttl = fetched.options.ttl.unwrap_or(rules.ttl());
        let keep_for = fetched.options.ttl.unwrap_or(ttl.saturating_add(rules.stale_if_error));
        let times = Times { age: Duration::ZERO, fresh_for: ttl, keep_for };
        tolerate(shared.write(&shared.name(&text), &fetched, times).await)
    }

    /// Keeps a value in this process's memory alone: the remote tier and the other processes hear nothing of it. A full cache may refuse a
    /// key that it does not hold yet, and most new keys of skewed traffic it does: where nothing else has the value, say
    /// `learned:refuse=0` to [`Builder::policy`].
    pub fn insert_local(&self, key: K, value: V, options: Options) {
        let store = &self.inner.store;
        let hash = store.hasher.hash(&key);
        store.write(key, hash, value, options);
    }

    /// Removes a key from both tiers, here and in the other processes; returns what memory held.
    ///
    /// # Errors
    /// [`ErrorKind::BadKey`].
    pub async fn remove<Q>(&self, key: &Q) -> Result<Option<V>, Error>
    where
        K: Borrow<Q>,
        Q: Key + ?Sized,
    {
        let inner = &*self.inner;
        let held = inner.store.forget(key, inner.store.hasher.hash(key));
        if let Some(shared) = &inner.shared {
            let text = key.text();
            inner.key_rules.check(&text)?;
            tolerate(shared.invalidate(Invalidation::Key(shared.name(&text))).await)?;
        }
        Ok(held)
    }

    /// The origin's value of a key has changed. What is cached is no longer served, and the key's lifetime learns from it: the
    /// best thing a service can tell.
    ///
    /// # Errors
    /// [`ErrorKind::BadKey`].
    pub async fn changed<Q>(&self, key: &Q) -> Result<(), Error>
    where
        K: Borrow<Q>,
        Q: Key + ?Sized,
    {
        self.remove(key).await.map(drop)
    }

    /// Removes every entry that carries a tag, in both tiers, here and in the other processes. None is served from now on; an entry's memory is given
    /// back when its key is read, or when it is evicted or at its end.
    ///
    /// # Errors
    /// None of today's; the remote tier is told later where it cannot be reached.
    pub async fn remove_tag(&self, tag: &str) -> Result<(), Error> {
        self.inner.store.remove_tag(&tag.into());
        match &self.inner.shared {
            Some(shared) => tolerate(shared.invalidate(Invalidation::Tag(names::tag(&shared.namespace, tag))).await),
            None => Ok(()),
        }
    }

    /// Removes everything, in both tiers, here and in the other processes.
    ///
    /// # Errors
    /// As [`remove_tag`](Self::remove_tag).
    pub async fn clear(&self) -> Result<(), Error> {
        self.inner.store.clear();
        tracing::info!(cache = %self.inner.name, source = "local", "everything was cleared");
        match &self.inner.shared {
            Some(shared) => tolerate(shared.invalidate(Invalidation::Clear(names::all(&shared.namespace))).await),
            None => Ok(()),
        }
    }

    /// Changes the capacity, in the unit it was given in and up to as much as can be given. Entries that no longer fit leave at once. Each
    /// [segment](Builder::segments) has its share: of a capacity below their number, some keep nothing.
    pub fn resize(&self, capacity: u64) {
        self.inner.store.resize(capacity.min(bounds::MOST_CAPACITY));
    }

    /// What it has done so far and how it is.
    pub fn stats(&self) -> Stats {
        self.inner.store.stats()
    }

    /// All that can be told about it at this moment, as plain data: what the metrics and the dashboard show.
    pub fn report(&self) -> Report {
        let Inner { name, store, shared, sharing, writes, policy, prices, weigh, built_at, .. } = &*self.inner;
        let now = store.clock.now();
        let Stats { counts, entries, weight, capacity, metadata_bytes, .. } = store.stats();
        let telemetry = store.telemetry();
        Report {
            name: name.clone(),
            at: now.0 / 1000,
            uptime: now.since(*built_at).as_secs_f64(),
            policy: policy.clone(),
            counts,
            entries,
            weight,
            capacity,
            is_in_bytes: *weigh == Weigh::Bytes,
            metadata_bytes,
            freshness: self.freshness(),
            latency: telemetry.latency(),
            ages: telemetry.ages(),
            residence: telemetry.residence.histogram(),
            ttls: telemetry.ttls.histogram(),
            loads: telemetry.loads.histogram(),
            epochs: store.epochs(),
            warmed: self.warmed(),
            model: store.model(),
            sharing: sharing.as_ref().map(|exchange| exchange.report()),
            prices: Some(*prices).filter(|prices| *prices != Prices::default()),
            control: store.control(),
            remote: shared.as_ref().map(|shared| RemoteReport::of(&shared.tier)),
            behind: match writes {
                Writes::Behind(log) => Some(BehindReport::of(&log.stats())),
                Writes::Through(_) | Writes::Nowhere => None,
            },
            recorder: store.recorder.as_ref().map(|recorder| recorder.recorded()),
        }
    }

    /// How stale answers may be, and are.
    fn freshness(&self) -> FreshnessReport {
        let Inner { store, recent, .. } = &*self.inner;
        let freshness = &store.rules.freshness;
        let sums = store.audited();
        let late = recent.lock().of(&sums);
        let rate = |sums: &[Audited], at: usize, objective| Some(sums.get(at)?.measured(objective)?.into());
        let of_all = freshness.objective().unwrap_or(1.0);
        let prefixes = freshness.by_prefix().zip(1..).filter_map(|((prefix, own), at)| {
            let objective = own.objective()?;
            let (measured, recent) = (rate(&sums, at, objective), rate(&late, at, objective));
            Some(PrefixReport { prefix: prefix.to_owned(), objective, measured, recent })
        });
        FreshnessReport {
            objective: freshness.objective(),
            ttl: freshness.fixed().map(|ttl| ttl.as_secs_f64()),
            measured: rate(&sums, 0, of_all),
            recent: rate(&late, 0, of_all),
            prefixes: prefixes.collect(),
            flipping: store.flipping().into_iter().map(|(class, keys)| FlippingReport { class, keys }).collect(),
        }
    }

    /// Takes the policy off everywhere and lets its [control](Builder::control) decide, until [`resume`](Self::resume) or the end of the cool-down;
    /// the entries stay. Whether there was a control.
    pub fn roll_back(&self) -> bool {
        self.inner.store.roll_back().inspect(|turn| self.inner.tell(turn)).is_some()
    }

    /// Lets the policy decide again after a rollback, as at the start. Whether there is a control it was measured against.
    pub fn resume(&self) -> bool {
        let resumed = self.inner.store.resume();
        if resumed {
            tracing::info!(cache = %self.inner.name, "the policy is resumed by hand: it decides as at the start");
        }
        resumed
    }

    /// What the remote tier has done so far, where there is one.
    pub fn remote(&self) -> Option<&crate::remote::Tier> {
        self.inner.shared.as_ref().map(|shared| &*shared.tier)
    }

    /// The name it was given.
    pub fn name(&self) -> &str {
        &self.inner.name
    }

    /// The same cache for threads that may wait.
    pub fn blocking(&self) -> crate::Blocking<'_, K, V> {
        crate::Blocking { cache: self }
    }

    /// Takes no further writes and waits until what is queued for the origin and for the remote tier is sent, at most so long.
    /// Reads go on. Whether everything was sent; of writes, the rest stays in the log for the next start.
    pub async fn close(&self, within: Duration) -> bool {
        self.inner.is_closed.store(true, Ordering::Relaxed);
        let deadline = Instant::now() + within.min(bounds::FOR_EVER);
        let written = match &self.inner.writes {
            Writes::Behind(log) => {
                // What the sink gets until then, so that there is time left to close the log.
                let for_sink = within.saturating_sub(CLOSING.min(within / 2));
                timeout_at(deadline, log.shutdown(for_sink)).await.is_ok_and(|left| left.is_ok_and(|left| left == 0))
            }
            Writes::Through(_) | Writes::Nowhere => true,
        };
        let sent = match &self.inner.shared {
            Some(shared) => shared.tier.flush(deadline).await,
            None => true,
        };
        written && sent
    }

    /// Recomputes every invariant; for tests.
    ///
    /// # Panics
    /// When one is broken.
    pub fn validate(&self) {
        self.inner.store.validate();
    }

    pub(crate) fn open(&self) -> Result<(), Error> {
        match self.inner.is_closed.load(Ordering::Relaxed) {
            true => Err(Error::new(ErrorKind::Closed, "the cache is closed and takes no writes")),
            false => Ok(()),
        }
    }

    pub(crate) fn needs_loader(&self) -> Result<(), Error> {
        let what = "this cache has no loader: give it one with Builder::loader";
        self.inner.loader.as_ref().map(drop).ok_or_else(|| Error::new(ErrorKind::Config, what))
    }
}

impl<K, V> Inner<K, V> {
    /// Says what happened to the policy on trial.
    pub(crate) fn tell(&self, turn: &Event) {
        crate::proof::judge::tell(&self.name, turn);
    }
}

/// A value that is there.
pub(crate) fn present<V>(found: Found<Option<V>>) -> Result<Found<V>, Error> {
    let Found { value, tier, age, is_stale } = found;
    let value = value.ok_or_else(Error::not_found)?;
    Ok(Found { value, tier, age, is_stale })
}
