//! Carries out a plan: at a bounded rate, a bounded number of calls at a time, until it is done, told to stop, or late.

use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::time::Duration;

use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt as _, StreamExt as _};
use tokio::time::{Instant, sleep_until};

use super::Plan;
use crate::bounds::FOR_EVER;
use crate::remote::Name;
use crate::{Error, ErrorKind};

/// Calls in a row that may fail: an origin that is ill has other worries than a cache to be warmed.
const MOST_FAILURES: usize = 5;

/// How it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// Every key of the plan was tried.
    Done,
    /// There was no time left.
    Late,
    /// It was told to stop.
    Stopped,
    /// The loader failed five times in a row.
    Failing,
}

/// What came of a plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Report {
    /// How it ended.
    pub ended: Ended,
    /// Keys in the plan.
    pub planned: usize,
    /// Keys handed to the loader, those of calls cut short included.
    pub tried: usize,
    /// Keys that were loaded and stored, as the loader says.
    pub warmed: usize,
    /// Keys that could not be loaded; of calls that failed or panicked all, where the loader is called by [`warm`].
    pub failed: usize,
    /// How long it took.
    pub took: Duration,
}

/// Loads the keys of `plan`, best first, within its limits. `load` is given up to [`batch`](super::Limits::batch) keys, loads and
/// stores them, and says how many it stored. Warming ends early when `stop` completes; dropping the future ends it too. What is
/// under way then is dropped.
pub async fn warm<F, L>(plan: Plan, stop: impl Future<Output = ()>, load: F) -> Report
where
    F: Fn(Vec<Name>) -> L,
    L: Future<Output = Result<usize, Error>>,
{
    let start = Instant::now();
    let limits = plan.limits;
    let end = start + limits.within.min(FOR_EVER);
    let planned = plan.keys.len();
    let mut report = Report { ended: Ended::Done, planned, tried: 0, warmed: 0, failed: 0, took: Duration::ZERO };
    // Never more than a second's worth at once, or the rate would be one on paper only.
    let batch = limits.batch.min(limits.loads_per_second.ceil() as usize).max(1);
    let mut names = plan.keys.into_iter().map(|key| key.name);
    let mut next: Vec<Name> = names.by_ref().take(batch).collect();
    let mut due = start;
    let mut failures = 0;
    let mut flying = FuturesUnordered::new();
    let mut stop = pin!(stop);
    report.ended = loop {
        if next.is_empty() && flying.is_empty() {
            break Ended::Done;
        }
        tokio::select! {
            biased;
            () = &mut stop => break Ended::Stopped,
            () = sleep_until(end) => break Ended::Late,
            Some((keys, loaded)) = flying.next() => match loaded {
                Ok(stored) => {
                    report.warmed += stored;
                    failures = 0;
                }
                Err(error) => {
                    tracing::debug!(%error, keys, "a pre-warm load failed");
                    report.failed += keys;
                    failures += 1;
                    if failures == MOST_FAILURES {
                        break Ended::Failing;
                    }
                }
            },
            () = sleep_until(due), if !next.is_empty() && flying.len() < limits.concurrency => {
                let keys = std::mem::replace(&mut next, names.by_ref().take(batch).collect());
                let count = keys.len();
                report.tried += count;
                let span = Duration::try_from_secs_f64(count as f64 / limits.loads_per_second).unwrap_or(FOR_EVER);
                // What waiting for a free call has cost is not made up for.
                due = Instant::now() + span.min(FOR_EVER);
                let load = &load;
                // The call itself may panic too, so it is made within.
                let loading = AssertUnwindSafe(async move { load(keys).await }).catch_unwind();
                let panicked = |_| Err(Error::new(ErrorKind::Panicked, "the loader panicked"));
                flying.push(loading.map(move |loaded| (count, loaded.unwrap_or_else(panicked))));
            }
        }
    };
    report.took = start.elapsed();
    report
}

#[cfg(test)]
mod tests {
    use std::cell::{Cell, RefCell};
    use std::future::pending;

    use super::*;
    use crate::prewarm::{Candidate, Limits, Planner};

    fn plan(keys: usize, limits: Limits) -> Plan {
        let mut planner = Planner::new(limits).unwrap();
        for key in 0..keys {
            let reads = 1e-4 / (key + 1) as f32;
            planner.offer(Candidate { name: format!("k{key:04}").into(), size: 1, cost: 1, reads });
        }
        planner.plan()
    }

    fn limits() -> Limits {
        Limits { loads_per_second: 100.0, batch: 10, concurrency: 2, ..Limits::default() }
    }

    #[tokio::test(start_paused = true)]
    async fn the_best_come_first_at_the_rate_and_no_more_calls_than_allowed() {
        let start = Instant::now();
        let (calls, now, most) = (RefCell::new(Vec::new()), Cell::new(0), Cell::new(0));
        let load = async |names: Vec<Name>| {
            calls.borrow_mut().push((start.elapsed(), names.clone()));
            now.set(now.get() + 1);
            most.set(most.get().max(now.get()));
            tokio::time::sleep(Duration::from_millis(250)).await;
            now.set(now.get() - 1);
            Ok(names.len())
        };
        let report = warm(plan(95, limits()), pending(), load).await;
        assert_eq!((report.ended, report.planned, report.tried, report.warmed), (Ended::Done, 95, 95, 95));
        let calls = calls.into_inner();
        assert_eq!((calls.len(), most.get()), (10, 2));
        let names: Vec<_> = calls.iter().flat_map(|(_, names)| names.clone()).collect();
        assert!(names.is_sorted() && names.len() == 95);
        // Ten keys at a hundred a second are a tenth of a second apart, or more.
        assert!(calls.windows(2).all(|pair| pair[1].0 - pair[0].0 >= Duration::from_millis(100)));
    }

    #[tokio::test(start_paused = true)]
    async fn it_stops_when_told_and_when_late() {
        let load = async |names: Vec<Name>| Ok(names.len());
        let stop = tokio::time::sleep(Duration::from_millis(450));
        let report = warm(plan(1000, limits()), stop, load).await;
        assert_eq!((report.ended, report.warmed), (Ended::Stopped, 50));

        let hangs = async |_| pending().await;
        let report = warm(plan(1000, Limits { within: Duration::from_secs(3), ..limits() }), pending(), hangs).await;
        assert_eq!((report.ended, report.tried, report.warmed), (Ended::Late, 20, 0));
        assert_eq!(report.took, Duration::from_secs(3));

        let for_ever = Limits { within: Duration::MAX, ..limits() };
        assert_eq!(warm(plan(3, for_ever), pending(), load).await.ended, Ended::Done);
        assert_eq!(warm(plan(0, limits()), pending(), load).await.ended, Ended::Done);
    }

    #[tokio::test(start_paused = true)]
    async fn a_loader_that_fails_or_panics_is_borne_and_then_left_alone() {
        let calls = Cell::new(0);
        let load = async |names: Vec<Name>| {
            calls.set(calls.get() + 1);
            match calls.get() % 3 {
                0 => panic!("the loader's own fault"),
                1 => Err(Error::new(ErrorKind::Loader, "no")),
                _ => Ok(names.len()),
            }
        };
        let report = warm(plan(90, limits()), pending(), load).await;
        assert_eq!((report.ended, report.warmed, report.failed), (Ended::Done, 30, 60));

        let load = async |_| Err(Error::new(ErrorKind::Loader, "no"));
        let report = warm(plan(1000, limits()), pending(), load).await;
        assert_eq!((report.ended, report.failed), (Ended::Failing, 50));
    }
}
