//! How many loads may be under way, in a cache and in all that share the limit.

use std::future::pending;
use std::iter;
use std::pin::pin;
use std::sync::{Arc, Weak};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::select_all;
use parking_lot::Mutex;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use crate::{Error, ErrorKind};

/// A number of loads that several caches share, so that together they do not drown the origin. Clones are the same limit. A load that another
/// under the same limit waits for waits for no room: see [`Builder::loads`](crate::Builder::loads).
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
    /// None where room was lent.
    own: Option<OwnedSemaphorePermit>,
    shared: Option<OwnedSemaphorePermit>,
    /// Of the loads that wait for this one: they end no sooner.
    lent: Vec<Arc<Permit>>,
}

impl Permit {
    async fn of(own: Arc<Semaphore>, shared: Option<Arc<Semaphore>>) -> Option<Self> {
        let own = own.acquire_owned().await.ok()?;
        let shared = match shared {
            Some(shared) => Some(shared.acquire_owned().await.ok()?),
            None => None,
        };
        Some(Self { own: Some(own), shared, lent: Vec::new() })
    }

    /// Whether it takes room of one of these limits, or those that wait for its load do.
    fn is_of(&self, limits: &Limits) -> bool {
        let is_theirs =
            |held: &OwnedSemaphorePermit| limits.each().any(|limit| Arc::ptr_eq(held.semaphore(), &limit.all));
        self.own.iter().chain(&self.shared).any(is_theirs) || self.lent.iter().any(|permit| permit.is_of(limits))
    }
}

/// The loads that wait for a load. It must not wait for room that they hold: neither would end.
#[derive(Default)]
pub(crate) struct Lenders {
    permits: Mutex<Vec<Weak<Permit>>>,
    more: Notify,
}

impl Lenders {
    /// Whoever calls this waits for the load: if it is itself a load, its room is lent.
    pub(crate) fn lend(&self) {
        if let Ok(permit) = PERMIT.try_with(Arc::downgrade) {
            self.permits.lock().push(permit);
            self.more.notify_waiters();
        }
    }

    fn permits(&self) -> Vec<Arc<Permit>> {
        self.permits.lock().iter().filter_map(Weak::upgrade).collect()
    }

    /// Comes once one of them has room of these limits.
    async fn lent(&self, limits: &Limits) {
        loop {
            // Who is woken from here on is woken even before it waits.
            let more = self.more.notified();
            if self.permits().iter().any(|permit| permit.is_of(limits)) {
                return;
            }
            more.await;
        }
    }
}

impl Limits {
    pub(crate) fn new(own: usize, shared: Option<LoadLimit>, patience: Duration) -> Self {
        Self { own: LoadLimit::new(own), shared, patience, places: Arc::new(Semaphore::new(MOST_WAITING)) }
    }

    fn each(&self) -> impl Iterator<Item = &LoadLimit> {
        iter::once(&self.own).chain(&self.shared)
    }

    /// Waits until one more key may be loaded ahead of its readers.
    pub(crate) async fn ahead(&self) -> Option<Permit> {
        Permit::of(self.own.ahead.clone(), self.shared.as_ref().map(|shared| shared.ahead.clone())).await
    }

    /// Waits for its turn, its own limit first, so that a tenant's queue does not hold places of the shared one. Where there is no room, it begins
    /// all the same in that of a load that waits for it, if there is one or comes to be one.
    pub(crate) async fn enter(&self, lenders: &[&Lenders]) -> Result<Permit, Error> {
        let permit = self.turn(lenders).await?;
        Ok(Permit { lent: lenders.iter().flat_map(|lenders| lenders.permits()).collect(), ..permit })
    }

    async fn turn(&self, lenders: &[&Lenders]) -> Result<Permit, Error> {
        let enter = Permit::of(self.own.all.clone(), self.shared.as_ref().map(|shared| shared.all.clone()));
        let mut enter = pin!(enter);
        if let Some(Some(permit)) = enter.as_mut().now_or_never() {
            return Ok(permit);
        }
        let lent = async {
            match lenders.is_empty() {
                true => pending().await,
                false => select_all(lenders.iter().map(|lenders| Box::pin(lenders.lent(self)))).await,
            };
            Some(Permit { own: None, shared: None, lent: Vec::new() })
        };
        let mut enter = pin!(async {
            tokio::select! { biased; permit = enter => permit, permit = lent => permit }
        });
        if let Some(Some(permit)) = enter.as_mut().now_or_never() {
            return Ok(permit);
        }
        let Ok(_place) = self.places.try_acquire() else {
            let what = format!("no room for another load: {MOST_WAITING} wait for their turn");
            return Err(Error::new(ErrorKind::Overloaded, what));
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
        let limits = |own| Limits::new(own, Some(shared.clone()), Duration::from_secs(1));
        let (one, other) = (limits(1), limits(9));
        let first = one.enter(&[]).await.unwrap();
        assert_eq!(one.enter(&[]).await.err().map(|error| error.kind()), Some(ErrorKind::Overloaded));
        let second = other.enter(&[]).await.unwrap();
        assert_eq!(other.enter(&[]).await.err().map(|error| error.kind()), Some(ErrorKind::Overloaded));
        drop((first, second));
        assert_eq!(shared.room(), 2);
        one.enter(&[]).await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn no_more_wait_than_there_are_places() {
        let limits = Limits::new(1, None, Duration::from_secs(1));
        let held = limits.enter(&[]).await.unwrap();
        let mut queue: Vec<_> = (0..MOST_WAITING).map(|_| Box::pin(limits.enter(&[]))).collect();
        for waiting in &mut queue {
            assert!(futures_util::poll!(waiting).is_pending());
        }
        let refused = limits.enter(&[]).now_or_never().expect("it waits").err();
        assert_eq!(refused.map(|error| error.kind()), Some(ErrorKind::Overloaded));
        drop((held, queue));
        limits.enter(&[]).now_or_never().expect("it waits").unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn who_is_waited_for_goes_in_the_room_of_who_waits() {
        let shared = LoadLimit::new(1);
        let limits = |shared| Limits::new(1, shared, Duration::from_secs(1));
        let (one, sibling, stranger) = (limits(Some(shared.clone())), limits(Some(shared)), limits(None));
        let lend = async |permit: &Arc<Permit>, lenders: &Lenders| {
            PERMIT.scope(permit.clone(), async { lenders.lend() }).await
        };
        let outer = Arc::new(one.enter(&[]).await.unwrap());
        // It begins to wait first.
        let (lenders, nobody) = (Lenders::default(), Lenders::default());
        let both = [&nobody, &lenders];
        let mut waits = pin!(one.enter(&both));
        assert!(futures_util::poll!(&mut waits).is_pending());
        lend(&outer, &lenders).await;
        let inner = Arc::new(waits.await.unwrap());
        // And so does what that waits for, under the same shared limit too.
        let lenders = Lenders::default();
        lend(&inner, &lenders).await;
        sibling.enter(&[&lenders]).now_or_never().expect("it waits").unwrap();
        // Room of other limits is no room here, but is remembered on the way back.
        let held = stranger.enter(&[]).await.unwrap();
        assert!(stranger.enter(&[&lenders]).await.is_err());
        drop(held);
        let (there, back) = (Arc::new(stranger.enter(&[&lenders]).await.unwrap()), Lenders::default());
        lend(&there, &back).await;
        one.enter(&[&back]).now_or_never().expect("it waits").unwrap();
        // Who has ended lends nothing.
        drop((outer, inner, there));
        let held = one.enter(&[]).await.unwrap();
        assert!(one.enter(&[&back]).await.is_err());
        drop(held);
    }
}
