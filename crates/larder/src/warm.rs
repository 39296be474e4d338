//! Warm restarts: what is hot, kept over a restart, and loaded again ahead of its readers.

use std::collections::HashSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
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
use crate::loader::Load;
use crate::prewarm::{Candidate, Daily, Limits, Planner, Report, Rhythms, Usefulness, Warmed, warm};
use crate::remote::Name;
use crate::snapshot::{Kept, Snapshots, Written};
use crate::{Error, ErrorKind};

/// How often it is noted what is read.
const EVERY: Duration = Duration::from_secs(900);
const HOUR: u64 = 3600;
/// The fates of so many warmed keys can be told at least, if so many fit: 4 MiB.
const TRACKED: u64 = 1 << 18;

/// The keys that keep hours, and how long before them each is to be there.
pub(crate) struct Hours {
    rhythms: Mutex<Rhythms>,
    lead: Duration,
}

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
        if let Some(Hours { rhythms, .. }) = self.inner.hours.get() {
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
    /// limits on loads, of which it takes half at most. They count as no reads, and what is fresh in memory is passed over. `key_of` finds a key by
    /// its text. [`warmed`](Self::warmed) tells what it was good for. A snapshot's reader is gone through on the spot: a long one in a task that
    /// may block.
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
        let hours = self.inner.hours.get();
        let mut offer = |candidate: Candidate| {
            if self.is_away(&candidate.name, &key_of) {
                planner.offer(candidate);
            }
        };
        for kept in keys {
            if let Some(Hours { rhythms, .. }) = hours {
                rhythms.lock().restore(&kept);
            }
            offer(Candidate::from(&kept));
        }
        if let Some(Hours { rhythms, lead }) = hours {
            // Those whose hour is about to begin: it came near while nobody was there to load them.
            let now = self.seconds();
            let due = rhythms.lock().due(now.saturating_sub(lead.as_secs()), now, *lead);
            due.into_iter().for_each(offer);
        }
        Ok(self.carry_out(planner, &key_of, stop).await)
    }

    /// From now on finds the keys that are read at certain hours of the day and loads them ahead of their readers, as [`prewarm`](Self::prewarm) does,
    /// once they have been watched for four days and until they have not been read for two weeks. Ends with the cache. A [`snapshot`](Self::snapshot) keeps what was found; to go on from it
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
        if self.inner.hours.set(Hours { rhythms, lead: daily.lead }).is_err() {
            return Err(Error::new(ErrorKind::Config, "daily pre-warm is on already: one call a cache is enough"));
        }
        self.track(daily.most_keys);
        self.inner.runtime.spawn(follow(Arc::downgrade(&self.inner), daily, key_of));
        Ok(())
    }

    /// Beyond the capacity those that come later would drive out those before.
    fn planner(&self, limits: Limits) -> Result<Planner, Error> {
        let capacity = limits.capacity.min(self.stats().capacity);
        Planner::new(Limits { capacity, ..limits })
    }

    /// Sees to it that it is told what becomes of so many warmed keys, and of those that later calls warm.
    fn track(&self, keys: usize) {
        let store = &self.inner.store;
        store.warmed.get_or_init(|| {
            let room: u64 = store.lock_all().map(|segment| segment.room()).sum();
            Warmed::new(keys.max(room.min(TRACKED) as usize))
        });
    }

    /// Whether there is a key of this text, and memory has nothing fresh for it. One that the user's code panics on is none.
    fn is_away(&self, name: &str, key_of: &impl Fn(&str) -> Option<K>) -> bool {
        let store = &self.inner.store;
        let is_away = || key_of(name).is_some_and(|key| !store.has_fresh(&key, store.hasher.hash(&key)));
        catch_unwind(AssertUnwindSafe(is_away)).unwrap_or_else(|_| {
            tracing::debug!(cache = %self.inner.name, "a key is not warmed: what finds it by its text panicked");
            false
        })
    }

    fn seconds(&self) -> u64 {
        self.inner.store.clock.now().0 / 1_000_000
    }

    async fn carry_out(
        &self,
        planner: Planner,
        key_of: &(impl Fn(&str) -> Option<K> + Send + Sync),
        stop: impl Future<Output = ()>,
    ) -> Report {
        let plan = planner.plan();
        self.track(plan.keys.len());
        let failed = &AtomicUsize::new(0);
        let load = |names: Vec<Name>| async move {
            let keys: Vec<K> = names.iter().filter_map(|name| key_of(name)).collect();
            let loaded = join_all(keys.iter().map(|key| self.load_ahead(key))).await;
            let stored = loaded.iter().filter(|loaded| matches!(loaded, Ok(true))).count();
            let lost = loaded.iter().filter(|loaded| loaded.is_err()).count();
            // One that cannot be loaded says nothing of the others.
            if lost < loaded.len() {
                failed.fetch_add(lost, Ordering::Relaxed);
                return Ok(stored);
            }
            loaded.into_iter().find_map(Result::err).map_or(Ok(stored), Err)
        };
        let mut report = warm(plan, stop, load).await;
        report.failed += failed.load(Ordering::Relaxed);
        report
    }

    /// Loads a key for readers to come; whether that brought a value into memory.
    async fn load_ahead(&self, key: &K) -> Result<bool, Error> {
        let (inner, hash) = (&self.inner, self.inner.store.hasher.hash(key));
        let ahead = inner.limits.ahead().await;
        let Some((flight, leads)) = inner.store.ahead(key, hash) else { return Ok(false) };
        if leads {
            let landing = inner.landing(Target { hash, flight: flight.clone(), audit: None });
            // Its turn ends with the load, whoever still waits for it.
            let in_turn = |load: Load<V>| -> Load<V> {
                Box::pin(async move {
                    let _ahead = ahead;
                    load.await
                })
            };
            inner.depart(landing, inner.load_of(key).map(in_turn));
        }
        flight.lenders.lend();
        // What others load is not warmed, nor is that there is nothing.
        let is_warmed = flight.answer().await?.value.is_some() && leads && inner.store.holds(key, hash);
        if is_warmed && let Some(warmed) = inner.store.warmed.get() {
            warmed.mark(hash.0);
        }
        Ok(is_warmed)
    }

    /// Notes what is read now.
    fn observe(&self, daily: &Daily) {
        // The rate of who was read so often since the last look, and not before.
        let least = daily.least as f32 * std::f32::consts::LN_2 / HALF_LIFE.as_secs_f32();
        // A key whose text cannot be had is not followed; the others are.
        let noted = |entry: &_, now| catch_unwind(AssertUnwindSafe(|| kept(entry, now))).ok();
        let read =
            self.inner.store.collect(|entry, now| if entry.reads(now) >= least { noted(entry, now) } else { None });
        if let Some(Hours { rhythms, .. }) = self.inner.hours.get() {
            let (mut rhythms, now) = (rhythms.lock(), self.seconds());
            read.iter().for_each(|kept| rhythms.follow(kept, now, HALF_LIFE));
        }
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

/// Notes what is read, and loads what is due when it is, until the cache ends.
async fn follow<K, V>(inner: Weak<Inner<K, V>>, daily: Daily, key_of: impl Fn(&str) -> Option<K> + Send + Sync)
where
    K: Key + Clone,
    V: Clone + Send + Sync + 'static,
{
    let mut looks = tokio::time::interval(EVERY);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    looks.tick().await;
    let now = || Some(inner.upgrade()?.store.clock.now().0 / 1_000_000);
    // What was due shortly before is known once a snapshot has been read.
    let Some(mut before) = now().map(|now| now.saturating_sub(daily.lead.as_secs())) else { return };
    loop {
        let Some(at) = now() else { return };
        // Busy times begin with the hour, so all of an hour is due at one moment.
        let is_due = tokio::time::sleep(Duration::from_secs(HOUR - (at + daily.lead.as_secs()) % HOUR));
        let is_look = tokio::select! { _ = looks.tick() => true, () = is_due => false };
        let Some(inner) = inner.upgrade() else { return };
        let cache = Cache { inner };
        // To find who keeps hours among thousands of keys takes a while.
        let (own, observer) = (daily.clone(), cache.clone());
        let round = tokio::task::spawn_blocking(move || {
            if is_look {
                observer.observe(&own);
            }
            let now = observer.seconds();
            let due = observer.inner.hours.get().map(|hours| hours.rhythms.lock().due(before, now, own.lead));
            (now, due.unwrap_or_default())
        });
        let due = match round.await {
            Ok((now, due)) => {
                before = now;
                due
            }
            Err(error) if error.is_panic() => {
                tracing::error!(cache = %cache.inner.name, "a round of the daily pre-warm panicked; it goes on");
                continue;
            }
            Err(_) => return,
        };
        let Ok(mut planner) = cache.planner(daily.limits.clone()) else { return };
        due.into_iter().filter(|due| cache.is_away(&due.name, &key_of)).for_each(|due| planner.offer(due));
        let report = cache.carry_out(planner, &key_of, std::future::pending()).await;
        if report.planned > 0 {
            let Report { ended, planned, warmed, failed, .. } = report;
            tracing::info!(cache = %cache.inner.name, planned, warmed, failed, ?ended, "keys are warmed for their hour");
        }
    }
}
