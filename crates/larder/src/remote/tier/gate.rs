//! One call to the store: admitted by the breaker, one of a bounded number, over by its deadline, tried again at most once.

use std::sync::atomic::{AtomicI64, Ordering::Relaxed};
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout_at};

use super::breaker::{Breaker, BreakerState, Pass};
use super::counts::{Counting, count};
use crate::{Error, ErrorKind};

/// Thousandths of a retry.
const ONE: i64 = 1_000;
/// The most retries saved up.
const SAVED: i64 = 10 * ONE;

pub(super) struct Gate {
    pub(super) breaker: Breaker,
    pub(super) counts: Counting,
    room: Semaphore,
    deadline: Duration,
    /// What an answered call adds to the budget, and a retry takes `ONE` of.
    earned: i64,
    budget: AtomicI64,
}

impl Gate {
    pub(super) fn new(breaker: Breaker, in_flight: usize, deadline: Duration, retry_share: f64) -> Self {
        Self {
            breaker,
            counts: Counting::default(),
            room: Semaphore::new(in_flight),
            deadline,
            earned: (retry_share * ONE as f64) as i64,
            budget: AtomicI64::new(SAVED),
        }
    }

    /// When a call that begins now must be over.
    pub(super) fn until(&self) -> Instant {
        Instant::now() + self.deadline
    }

    /// How many more calls may begin.
    pub(super) fn room(&self) -> usize {
        self.room.available_permits()
    }

    /// Makes the call; `make` may be used twice, so it must be one that can be repeated.
    pub(super) async fn call<'a, T>(
        &self,
        until: Instant,
        make: impl Fn() -> BoxFuture<'a, Result<T, Error>>,
    ) -> Result<T, Error> {
        let Some(pass) = self.breaker.admit() else {
            count(&self.counts.refused);
            return Err(Error::new(ErrorKind::Remote, "the remote tier rests: its breaker is open"));
        };
        let Ok(Ok(_room)) = timeout_at(until, self.room.acquire()).await else {
            count(&self.counts.crowded_out);
            return Err(Error::new(ErrorKind::Overloaded, "too many calls to the remote tier are under way"));
        };
        let first = self.attempt(until, &make).await;
        let answer = match first {
            // A timeout has used up the time, and whoever is overloaded needs no second call.
            Err(error) if error.kind() == ErrorKind::Remote && Instant::now() < until && self.spend() => {
                count(&self.counts.retries);
                self.attempt(until, &make).await
            }
            first => first,
        };
        self.judge(pass, until - self.deadline, &answer);
        answer
    }

    async fn attempt<'a, T>(
        &self,
        until: Instant,
        make: &impl Fn() -> BoxFuture<'a, Result<T, Error>>,
    ) -> Result<T, Error> {
        timeout_at(until, make()).await.unwrap_or_else(|_| {
            Err(Error::new(ErrorKind::Timeout, "the remote tier did not answer within its deadline"))
        })
    }

    fn judge<T>(&self, pass: Pass<'_>, began: Instant, answer: &Result<T, Error>) {
        let (counter, good) = match answer.as_ref().map_err(Error::kind) {
            Ok(_) => (&self.counts.answered, true),
            Err(ErrorKind::Timeout) => (&self.counts.timed_out, false),
            // The store is there and says why it does not do this: no reason to stop asking it for other things.
            Err(ErrorKind::Overloaded | ErrorKind::Codec) => (&self.counts.put_off, true),
            Err(_) => (&self.counts.failed, false),
        };
        count(counter);
        if good && self.budget.load(Relaxed) < SAVED {
            self.budget.fetch_add(self.earned, Relaxed);
        }
        match pass.verdict(good, began) {
            Some(BreakerState::Open) => {
                count(&self.counts.opened);
                let error = answer.as_ref().err().map(tracing::field::display);
                tracing::warn!(breaker = BreakerState::Open.name(), error, "the remote tier rests");
            }
            Some(state) => tracing::info!(breaker = state.name(), "the remote tier is back"),
            None => {}
        }
    }

    /// Takes one retry out of the budget, if there is one.
    fn spend(&self) -> bool {
        self.budget.fetch_update(Relaxed, Relaxed, |left| (left >= ONE).then(|| left - ONE)).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicU32;

    use futures_util::FutureExt;

    use super::super::breaker::BreakerConfig;
    use super::*;

    const DEADLINE: Duration = Duration::from_millis(25);

    fn gate(in_flight: usize) -> Gate {
        let config = BreakerConfig { in_a_row: 1_000, least: 10_000, ..BreakerConfig::default() };
        Gate::new(Breaker::new(config), in_flight, DEADLINE, 0.1)
    }

    fn broken() -> Error {
        Error::new(ErrorKind::Remote, "broken")
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_ends_at_its_deadline() {
        let gate = gate(1);
        let start = Instant::now();
        let answer = gate.call(gate.until(), || std::future::pending::<Result<(), Error>>().boxed()).await;
        assert_eq!(answer.unwrap_err().kind(), ErrorKind::Timeout);
        assert_eq!(start.elapsed(), DEADLINE);
        assert_eq!(gate.counts.read().timed_out, 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_that_finds_no_room_ends_at_its_deadline_too() {
        let gate = gate(1);
        let hang = || std::future::pending::<Result<(), Error>>().boxed();
        let long = gate.call(Instant::now() + DEADLINE * 10, hang);
        let (long, short) = tokio::join!(long, gate.call(gate.until(), hang));
        assert_eq!(long.unwrap_err().kind(), ErrorKind::Timeout);
        assert_eq!(short.unwrap_err().kind(), ErrorKind::Overloaded);
        assert_eq!(gate.room(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn retries_are_at_most_one_a_call_and_run_out() {
        let gate = gate(8);
        let calls = AtomicU32::new(0);
        let fail = || {
            calls.fetch_add(1, Relaxed);
            async { Err::<(), _>(broken()) }.boxed()
        };
        assert!(gate.call(gate.until(), fail).await.is_err());
        assert_eq!(calls.load(Relaxed), 2);
        for _ in 1..100 {
            assert!(gate.call(gate.until(), fail).await.is_err());
        }
        assert_eq!(calls.load(Relaxed), 110, "ten were saved up and no more are earned");
        for _ in 0..10 {
            gate.call(gate.until(), || async { Ok(()) }.boxed()).await.unwrap();
        }
        assert!(gate.call(gate.until(), fail).await.is_err());
        assert_eq!(calls.load(Relaxed), 112, "ten answers earn one");
    }

    #[tokio::test(start_paused = true)]
    async fn an_open_breaker_refuses_without_a_call() {
        let gate = Gate::new(Breaker::new(BreakerConfig::default()), 8, DEADLINE, 0.0);
        for _ in 0..5 {
            assert!(gate.call(gate.until(), || async { Err::<(), _>(broken()) }.boxed()).await.is_err());
        }
        assert_eq!(gate.breaker.state(), BreakerState::Open);
        let start = Instant::now();
        let refused = gate.call(gate.until(), || -> BoxFuture<'_, Result<(), Error>> { unreachable!() }).await;
        assert_eq!(refused.unwrap_err().kind(), ErrorKind::Remote);
        assert_eq!(start.elapsed(), Duration::ZERO);
        assert_eq!((gate.counts.read().opened, gate.counts.read().refused), (1, 1));
    }

    #[tokio::test(start_paused = true)]
    async fn a_store_that_is_full_does_not_open_the_breaker() {
        let gate = Gate::new(Breaker::new(BreakerConfig::default()), 8, DEADLINE, 0.0);
        let full = || async { Err::<(), _>(Error::new(ErrorKind::Overloaded, "OOM")) }.boxed();
        for _ in 0..100 {
            assert!(gate.call(gate.until(), full).await.is_err());
        }
        assert_eq!(gate.breaker.state(), BreakerState::Closed);
    }
}
