//! How many loads may be under way, in a cache and in all that share the limit.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use crate::{Error, ErrorKind};

/// A number of loads that several caches share, so that together they do not drown the origin. Clones are the same limit.
#[derive(Clone, Debug)]
pub struct LoadLimit {
    all: Arc<Semaphore>,
    /// Of these, for keys that nobody waits for: half, so that readers find a turn soon.
    ahead: Arc<Semaphore>,
}

impl LoadLimit {
    /// At most so many loads at once, at least one.
    pub fn new(most: usize) -> Self {
        let permits = |most: usize| Arc::new(Semaphore::new(most.clamp(1, Semaphore::MAX_PERMITS)));
        Self { all: permits(most), ahead: permits(most / 2) }
    }

    /// How many more may begin now.
    pub fn room(&self) -> usize {
        self.all.available_permits()
    }
}

/// Loads that may wait for their turn. More are sent away at once: an origin that is back would have to get through all of them first.
const MOST_WAITING: usize = 1 << 14;

/// The limits a cache's loads keep to.
#[derive(Clone, Debug)]
pub(crate) struct Limits {
    /// Its own: the bulkhead that keeps one tenant from taking all the origin can do.
    own: LoadLimit,
    shared: Option<LoadLimit>,
    /// Who has waited this long is sent away: by then no reader waits for it.
    patience: Duration,
    /// Places to wait at.
    places: Arc<Semaphore>,
}

tokio::task_local! {
    /// The permit of the load under way: what goes on after the load was given up, as a thread that waits does, holds on to it.
    pub(crate) static PERMIT: Arc<Permit>;
}

/// Permission to load, until it is dropped.
pub(crate) struct Permit {
    _own: OwnedSemaphorePermit,
    _shared: Option<OwnedSemaphorePermit>,
}

impl Permit {
    async fn of(own: Arc<Semaphore>, shared: Option<Arc<Semaphore>>) -> Option<Self> {
        let own = own.acquire_owned().await.ok()?;
        let shared = match shared {
            Some(shared) => Some(shared.acquire_owned().await.ok()?),
            None => None,
        };
        Some(Self { _own: own, _shared: shared })
    }
}

impl Limits {
    pub(crate) fn new(own: usize, shared: Option<LoadLimit>, patience: Duration) -> Self {
        Self { own: LoadLimit::new(own), shared, patience, places: Arc::new(Semaphore::new(MOST_WAITING)) }
    }

    /// Waits until one more key may be loaded ahead of its readers.
    pub(crate) async fn ahead(&self) -> Option<Permit> {
        Permit::of(self.own.ahead.clone(), self.shared.as_ref().map(|shared| shared.ahead.clone())).await
    }

    /// Waits for its turn, its own limit first, so that a tenant's queue does not hold places of the shared one.
    pub(crate) async fn enter(&self) -> Result<Permit, Error> {
        let Ok(_place) = self.places.try_acquire() else {
            let what = format!("no room for another load: {MOST_WAITING} wait for their turn");
            return Err(Error::new(ErrorKind::Overloaded, what));
        };
        let enter = Permit::of(self.own.all.clone(), self.shared.as_ref().map(|shared| shared.all.clone()));
        match timeout(self.patience, enter).await {
            Ok(Some(permit)) => Ok(permit),
            _ => {
                let what = format!("no room for another load in {:?}: too many are under way", self.patience);
                Err(Error::new(ErrorKind::Overloaded, what))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn who_waits_too_long_is_sent_away_and_places_are_given_back() {
        let shared = LoadLimit::new(2);
        let limits = |own| Limits::new(own, Some(shared.clone()), Duration::from_secs(1));
        let (one, other) = (limits(1), limits(9));
        let first = one.enter().await.unwrap();
        assert_eq!(one.enter().await.err().map(|error| error.kind()), Some(ErrorKind::Overloaded));
        let second = other.enter().await.unwrap();
        assert_eq!(other.enter().await.err().map(|error| error.kind()), Some(ErrorKind::Overloaded));
        drop((first, second));
        assert_eq!(shared.room(), 2);
        one.enter().await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn no_more_wait_than_there_are_places() {
        let limits = Limits::new(1, None, Duration::from_secs(1));
        let held = limits.enter().await.unwrap();
        let mut queue: Vec<_> = (0..MOST_WAITING).map(|_| Box::pin(limits.enter())).collect();
        for waiting in &mut queue {
            assert!(futures_util::poll!(waiting).is_pending());
        }
        let refused = limits.enter().now_or_never().expect("it waits").err();
        assert_eq!(refused.map(|error| error.kind()), Some(ErrorKind::Overloaded));
        drop((held, queue));
        limits.enter().now_or_never().expect("it waits").unwrap();
    }
}
