//! Warm restarts: what is hot, kept over a restart, and loaded again ahead of its readers.

use crate::cache::Cache;
use crate::key::Key;
use crate::prewarm::{Candidate, Limits, Planner, Report, Usefulness, Warmed, warm};
use crate::remote::Name;
use crate::snapshot::{Kept, Snapshots, Written};
use crate::{Error, ErrorKind};

impl<K, V> Cache<K, V>
where
    K: Key + Clone,
    V: Clone + Send + Sync + 'static,
{
    /// The keys read most, with their reads a second, estimated from a sample of them: at most `most`.
    pub fn hottest(&self, most: usize) -> Vec<(K, f32)> {
        let mut keys = self.inner.store.collect(|entry, now| (entry.key.clone(), entry.reads(now)));
        keys.retain(|(_, reads)| *reads > 0.0);
        keys.sort_by(|(_, a), (_, b)| b.total_cmp(a));
        keys.truncate(most);
        keys
    }

    /// Writes the keys in memory and how they are used, no values, for [`prewarm`](Self::prewarm) after a restart.
    ///
    /// # Errors
    /// [`ErrorKind::Storage`]: the snapshots there were are still there.
    pub async fn snapshot(&self, into: &Snapshots) -> Result<Written, Error> {
        let taken_at = self.inner.store.clock.now();
        let keys = self.inner.store.collect(|entry, now| Kept {
            name: entry.key.text().into_owned(),
            size: entry.size,
            cost: entry.cost,
            reads: entry.reads(now),
            idle: 0,
            fresh_until: entry.end.0,
            days: None,
        });
        let into = into.clone();
        let write = move || into.write(taken_at.0, keys);
        let written = self.inner.runtime.handle().spawn_blocking(write).await;
        written.map_err(|error| Error::caused(ErrorKind::Storage, "writing the snapshot was cut off", error))?
    }

    /// Loads the keys that promise most, best first, through the cache's [loader](crate::Builder::loader), which asks the remote tier
    /// before the origin; ends early when `stop` completes. `key_of` finds a key by its text. [`warmed`](Self::warmed) tells
    /// what it was good for.
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
        if self.inner.loader.is_none() {
            return Err(Error::new(
                ErrorKind::Config,
                "pre-warm needs a loader: give the cache one with Builder::loader",
            ));
        }
        let mut planner = Planner::new(limits)?;
        keys.into_iter().for_each(|kept| planner.offer(Candidate::from(&kept)));
        // The best come last, and so leave last.
        let plan = planner.plan().best_last();
        self.inner.store.warmed.get_or_init(|| Warmed::new(plan.keys.len()));
        let key_of = &key_of;
        let load = |names: Vec<Name>| async move {
            let keys: Vec<K> = names.iter().filter_map(|name| key_of(name)).collect();
            let mut stored = 0;
            for key in keys {
                let found = self.load(&key).await;
                stored += usize::from(self.mark_warmed(&key, found.map(drop))?);
            }
            Ok(stored)
        };
        Ok(warm(plan, stop, load).await)
    }

    /// What became of the keys that were warmed.
    pub fn warmed(&self) -> Usefulness {
        self.inner.store.warmed.get().map_or_else(Usefulness::default, Warmed::usefulness)
    }

    /// Whether the key is now resident.
    fn mark_warmed(&self, key: &K, loaded: Result<(), Error>) -> Result<bool, Error> {
        match loaded {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let store = &self.inner.store;
        let hash = store.hasher.hash(key);
        let is_resident = store.holds(key, hash);
        if is_resident && let Some(warmed) = store.warmed.get() {
            warmed.mark(hash.0);
        }
        Ok(is_resident)
    }
}
