//! How many loads may be under way, in a cache and in all that share the limit.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use crate::{Error, ErrorKind};

/// A number of loads that several caches share, so that together they do not drown the origin. Clones are the same limit.
#[derive(Clone, Debug)]
pub struct LoadLimit(Arc<Semaphore>);

impl LoadLimit {
    /// At most so many loads at once, at least one.
    pub fn new(most: usize) -> Self {
        Self(Arc::new(Semaphore::new(most.clamp(1, Semaphore::MAX_PERMITS))))
    }

    /// How many more may begin now.
    pub fn room(&self) -> usize {
        self.0.available_permits()
    }
}

/// The limits a cache's loads keep to.
#[derive(Clone, Debug)]
pub(crate) struct Limits {
    /// Its own: the bulkhead that keeps one tenant from taking all the origin can do.
    pub(crate) own: LoadLimit,
    pub(crate) shared: Option<LoadLimit>,
    /// Who has waited this long is sent away.
    pub(crate) patience: Duration,
}

/// Permission to load, until it is dropped.
pub(crate) struct Permit {
    _own: OwnedSemaphorePermit,
    _shared: Option<OwnedSemaphorePermit>,
}

impl Limits {
    /// Waits for its turn, its own limit first, so that a tenant's queue does not hold places of the shared one.
    pub(crate) async fn enter(&self) -> Result<Permit, Error> {
        let enter = async {
            let own = self.own.0.clone().acquire_owned().await.ok()?;
            let shared = match &self.shared {
                Some(shared) => Some(shared.0.clone().acquire_owned().await.ok()?),
                None => None,
            };
            Some(Permit { _own: own, _shared: shared })
        };
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
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn who_waits_too_long_is_sent_away_and_places_are_given_back() {
        let shared = LoadLimit::new(2);
        let limits =
            |own| Limits { own: LoadLimit::new(own), shared: Some(shared.clone()), patience: Duration::from_secs(1) };
        let (one, other) = (limits(1), limits(9));
        let first = one.enter().await.unwrap();
        assert_eq!(one.enter().await.err().map(|error| error.kind()), Some(ErrorKind::Overloaded));
        let second = other.enter().await.unwrap();
        assert_eq!(other.enter().await.err().map(|error| error.kind()), Some(ErrorKind::Overloaded));
        drop((first, second));
        assert_eq!(shared.room(), 2);
        one.enter().await.unwrap();
    }
}
