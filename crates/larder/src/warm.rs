//! Warm restarts: what is hot, kept over a restart, and loaded again ahead of its readers.

use std::collections::HashSet;
use std::sync::{Arc, Weak};
use std::time::Duration;

use futures_util::future::join_all;
use larder_policy::Time;
use parking_lot::Mutex;
use tokio::time::MissedTickBehavior;

use crate::cache::{Cache, Inner};
use crate::entry::{Entry, HALF_LIFE};
use crate::key::Key;
use crate::load::Target;
use crate::prewarm::{Candidate, Daily, Limits, Planner, Report, Rhythms, Usefulness, Warmed, warm};
use crate::remote::Name;
use crate::snapshot::{Kept, Snapshots, Written};
use crate::{Error, ErrorKind};

/// How often it is noted what is read.
const EVERY: Duration = Duration::from_secs(900);

impl<K, V> Cache<K, V>
where
    K: Key + Clone,
    V: Clone + Send + Sync + 'static,
{
    /// The keys read most, with their reads a second, estimated from a sample of them: at most `most`.
    pub fn hottest(&self, most: usize) -> Vec<(K, f32)> {
        let read = |entry: &Entry<K, V>, now| Some(entry.reads(now)).filter(|reads| *reads > 0.0);
        let mut keys = self.inner.store.collect(|entry, now| Some((entry.key.clone(), read(entry, now)?)));
        keys.sort_by(|(_, a), (_, b)| b.total_cmp(a));
        keys.truncate(most);
        keys
    }

    /// Writes the keys in memory, up to 65,535 bytes each, and how they are used, no values, for [`prewarm`](Self::prewarm) after a restart.
    ///
    /// # Errors
    /// [`ErrorKind::Storage`]: the snapshots there were are still there.
    pub async fn snapshot(&self, into: &Snapshots) -> Result<Written, Error> {
        let (into, cache) = (into.clone(), self.clone());
        // Millions of keys are not gone through in a moment.
        let write = move || into.write(cache.inner.store.clock.now().0, cache.to_keep());
        let written = self.inner.runtime.handle().spawn_blocking(write).await;
        written.map_err(|error| Error::caused(ErrorKind::Storage, "writing the snapshot was cut off", error))?
    }

    /// The keys in memory and those that are read at certain hours.
    fn to_keep(&self) -> Vec<Kept> {
        // Memory takes longer keys than a snapshot holds, which does without.
        let fits = |kept: &Kept| kept.name.len() <= usize::from(u16::MAX);
        let mut keys = self.inner.store.collect(|entry, now| Some(kept(entry, now)).filter(fits));
        if let Some(rhythms) = self.inner.rhythms.get() {
            let rhythms = rhythms.lock();
            for kept in &mut keys {
                kept.days = rhythms.days(&kept.name).map(|days| Box::new(days.clone()));
            }
            // Who is away until its hour is to be known by then.
            let resident: HashSet<&str> = keys.iter().map(|kept| &*kept.name).collect();
            let away: Vec<Kept> = rhythms.kept().filter(|kept| !resident.contains(&*kept.name)).collect();
            keys.extend(away);
        }
        keys
    }

    /// Loads the keys that promise most, best first and no more than fit, through the cache's [loader](crate::Builder::loader), which asks the
    /// remote tier before the origin; ends early when `stop` completes. The keys of a [batch](Limits::batch) are loaded at once, within the
    /// limits on loads. They count as no reads. `key_of` finds a key by its text. [`warmed`](Self::warmed) tells what it was good for. A
    /// snapshot's reader is gone through on the spot: a long one in a task that may block.
    ///
    /// # Errors
    /// [`ErrorKind::Config`]: no loader, or limits that make no sense.
    pub async fn prewarm(
        &self,
        keys: impl IntoIterator<Item = Kept>,
        limits: Limits,
        key_of: impl Fn(&str) -> Option<K> + Send + Sync,
        stop: impl Future<Output = ()>,
    ) -> Result<Report, Error> {
        self.needs_loader()?;
        let mut planner = self.planner(limits)?;
        let rhythms = self.inner.rhythms.get();
        for kept in keys {
            if let Some(rhythms) = rhythms {
                rhythms.lock().restore(&kept);
            }
            planner.offer(Candidate::from(&kept));
        }
        Ok(self.carry_out(planner, &key_of, stop).await)
    }

    /// From now on finds the keys that are read at certain hours of the day and loads them ahead of their readers, as [`prewarm`](Self::prewarm) does,
    /// once they have been watched for four days. Ends with the cache. A [`snapshot`](Self::snapshot) keeps what was found; to go on from it
    /// after a restart, call this before `prewarm`. `key_of` finds a key by its text.
    ///
    /// # Errors
    /// [`ErrorKind::Config`]: no loader, limits that make no sense, or it was called before.
    pub fn prewarm_daily(
        &self,
        daily: Daily,
        key_of: impl Fn(&str) -> Option<K> + Send + Sync + 'static,
    ) -> Result<(), Error> {
        self.needs_loader()?;
        daily.check()?;
        let rhythms = Mutex::new(Rhythms::new(daily.most_keys, daily.least));
        if self.inner.rhythms.set(rhythms).is_err() {
            return Err(Error::new(ErrorKind::Config, "daily pre-warm is on already: one call a cache is enough"));
        }
        self.inner.store.warmed.get_or_init(|| Warmed::new(daily.most_keys));
        self.inner.runtime.spawn(follow(Arc::downgrade(&self.inner), daily, key_of));
        Ok(())
    }

    /// Beyond the capacity those that come later would drive out those before.
    fn planner(&self, limits: Limits) -> Result<Planner, Error> {
        let capacity = limits.capacity.min(self.stats().capacity);
        Planner::new(Limits { capacity, ..limits })
    }

    fn needs_loader(&self) -> Result<(), Error> {
        let what = "pre-warm needs a loader: give the cache one with Builder::loader";
        self.inner.loader.as_ref().map(drop).ok_or_else(|| Error::new(ErrorKind::Config, what))
    }

    async fn carry_out(
        &self,
        planner: Planner,
        key_of: &(impl Fn(&str) -> Option<K> + Send + Sync),
        stop: impl Future<Output = ()>,
    ) -> Report {
        let plan = planner.plan();
        self.inner.store.warmed.get_or_init(|| Warmed::new(plan.keys.len()));
        let load = |names: Vec<Name>| async move {
            let keys: Vec<K> = names.iter().filter_map(|name| key_of(name)).collect();
            let loaded = join_all(keys.iter().map(|key| self.load_ahead(key))).await;
            let stored = loaded.iter().filter(|loaded| matches!(loaded, Ok(true))).count();
            // One that cannot be loaded says nothing of the others.
            let is_well = loaded.is_empty() || loaded.iter().any(Result::is_ok);
            loaded.into_iter().find_map(Result::err).filter(|_| !is_well).map_or(Ok(stored), Err)
        };
        warm(plan, stop, load).await
    }

    /// Loads a key for readers to come; whether it is now resident.
    async fn load_ahead(&self, key: &K) -> Result<bool, Error> {
        let (inner, hash) = (&self.inner, self.inner.store.hasher.hash(key));
        if let Some((flight, leads)) = inner.store.ahead(key, hash) {
            if leads {
                let landing = inner.landing(Target { hash, flight: flight.clone(), audit: None });
                inner.depart(landing, inner.load_of(key));
            }
            flight.answer().await?;
        }
        let is_resident = inner.store.holds(key, hash);
        if is_resident && let Some(warmed) = inner.store.warmed.get() {
            warmed.mark(hash.0);
        }
        Ok(is_resident)
    }

    /// What is read now, noted, and what is due after `before` and not resident.
    fn observe(&self, daily: &Daily, before: u64) -> (u64, Vec<Candidate>) {
        let store = &self.inner.store;
        let now = store.clock.now().0 / 1_000_000;
        // The rate of who was read so often since the last look, and not before.
        let least = daily.least as f32 * std::f32::consts::LN_2 / HALF_LIFE.as_secs_f32();
        let read = store.collect(|entry, now| (entry.reads(now) >= least).then(|| kept(entry, now)));
        let Some(rhythms) = self.inner.rhythms.get() else { return (now, Vec::new()) };
        let mut rhythms = rhythms.lock();
        read.iter().for_each(|kept| rhythms.follow(kept, now, HALF_LIFE));
        (now, rhythms.due(before, now, daily.lead))
    }

    /// What became of the keys that were warmed.
    pub fn warmed(&self) -> Usefulness {
        self.inner.store.warmed.get().map_or_else(Usefulness::default, Warmed::usefulness)
    }
}

fn kept<K: Key, V>(entry: &Entry<K, V>, now: Time) -> Kept {
    Kept {
        name: entry.key.text().into_owned(),
        size: entry.size,
        cost: entry.cost,
        reads: entry.reads(now),
        idle: 0,
        fresh_until: entry.end.0,
        days: None,
    }
}

/// Notes what is read and loads what is due, until the cache ends.
async fn follow<K, V>(inner: Weak<Inner<K, V>>, daily: Daily, key_of: impl Fn(&str) -> Option<K> + Send + Sync)
where
    K: Key + Clone,
    V: Clone + Send + Sync + 'static,
{
    let mut ticks = tokio::time::interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks.tick().await;
    let Some(mut before) = inner.upgrade().map(|inner| inner.store.clock.now().0 / 1_000_000) else { return };
    loop {
        ticks.tick().await;
        let Some(inner) = inner.upgrade() else { return };
        let cache = Cache { inner };
        // To find who keeps hours among thousands of keys takes a while.
        let (own, observer) = (daily.clone(), cache.clone());
        let Ok((now, due)) = tokio::task::spawn_blocking(move || observer.observe(&own, before)).await else { return };
        before = now;
        let Ok(mut planner) = cache.planner(daily.limits.clone()) else { return };
        let is_away = |name: &str| {
            key_of(name).is_some_and(|key| !cache.inner.store.holds(&key, cache.inner.store.hasher.hash(&key)))
        };
        due.into_iter().filter(|due| is_away(&due.name)).for_each(|due| planner.offer(due));
        let report = cache.carry_out(planner, &key_of, std::future::pending()).await;
        if report.planned > 0 {
            let Report { ended, planned, warmed, failed, .. } = report;
            tracing::info!(cache = %cache.inner.name, planned, warmed, failed, ?ended, "keys are warmed for their hour");
        }
    }
}
