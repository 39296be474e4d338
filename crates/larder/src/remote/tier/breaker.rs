//! The circuit breaker (Nygard, *Release It!*, 2007): after failures nobody waits for the store until a probe has come back.
//!
//! Our own, because it runs on tokio's clock, tells stale verdicts from current ones, and probes without a caller's request.

use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::Instant;

/// When to stop asking, and for how long. Times are from 1 ms to a day.
#[derive(Clone, Debug, PartialEq)]
pub struct BreakerConfig {
    /// So many failures in a row open it.
    pub in_a_row: u32,
    /// So does this share of failures, out of 1 …
    pub share: f64,
    /// … among at least so many calls …
    pub least: u32,
    /// … within about this long.
    pub window: Duration,
    /// How long it stays open at first; it doubles with each probe that fails.
    pub rest: Duration,
    /// How long at most.
    pub longest_rest: Duration,
    /// How many calls may be under way while it is half-open.
    pub trials: u32,
    /// How many of them must succeed before it closes.
    pub successes: u32,
}

impl Default for BreakerConfig {
    fn default() -> Self {
        Self {
            in_a_row: 5,
            share: 0.5,
            least: 20,
            window: Duration::from_secs(10),
            rest: Duration::from_millis(200),
            longest_rest: Duration::from_secs(2),
            trials: 4,
            successes: 3,
        }
    }
}

/// Whether calls go through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BreakerState {
    /// They do.
    Closed,
    /// None does.
    Open,
    /// A few do, to see whether the store is well again.
    HalfOpen,
}

impl BreakerState {
    /// The word for it, as reports and events have it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Open => "open",
            Self::HalfOpen => "half-open",
        }
    }
}

pub(super) struct Breaker {
    config: BreakerConfig,
    inner: Mutex<Inner>,
    /// Told whenever the state changes.
    pub(super) changed: Notify,
}

struct Inner {
    phase: Phase,
    /// How often the state has changed: a verdict on a call from before says nothing about now.
    era: u64,
    rest: Duration,
    closed_at: Instant,
    rng: fastrand::Rng,
}

enum Phase {
    Closed { streak: u32, calls: u32, failures: u32, since: Instant },
    Open { until: Instant },
    HalfOpen { running: u32, won: u32 },
}

/// Leave to make one call. Dropped without a verdict, it says nothing.
pub(super) struct Pass<'a> {
    breaker: &'a Breaker,
    era: u64,
}

impl Breaker {
    pub(super) fn new(config: BreakerConfig) -> Self {
        let inner = Inner {
            phase: Phase::closed(),
            era: 0,
            rest: config.rest,
            closed_at: Instant::now(),
            rng: fastrand::Rng::new(),
        };
        Self { config, inner: Mutex::new(inner), changed: Notify::new() }
    }

    pub(super) fn state(&self) -> BreakerState {
        self.inner.lock().phase.state()
    }

    /// Leave to make a call, unless the store is resting.
    pub(super) fn admit(&self) -> Option<Pass<'_>> {
        let mut inner = self.inner.lock();
        match &mut inner.phase {
            Phase::Closed { .. } => {}
            Phase::Open { .. } => return None,
            Phase::HalfOpen { running, .. } if *running >= self.config.trials => return None,
            Phase::HalfOpen { running, .. } => *running += 1,
        }
        Some(Pass { breaker: self, era: inner.era })
    }

    /// When to probe next; `None` while it is closed.
    pub(super) fn probe_at(&self) -> Option<Instant> {
        match self.inner.lock().phase {
            Phase::Closed { .. } => None,
            Phase::Open { until } => Some(until),
            Phase::HalfOpen { .. } => Some(Instant::now() + self.config.rest / 10),
        }
    }

    /// Goes from open to half-open; the probe that follows is the first trial.
    pub(super) fn half_open(&self) {
        let mut inner = self.inner.lock();
        if matches!(inner.phase, Phase::Open { until } if until <= Instant::now()) {
            inner.turn(Phase::HalfOpen { running: 0, won: 0 });
            tracing::debug!(breaker = BreakerState::HalfOpen.name(), "the remote tier is tried");
            self.changed.notify_waiters();
        }
    }

    fn verdict(&self, era: u64, good: Option<bool>, now: Instant) -> Option<BreakerState> {
        let mut inner = self.inner.lock();
        if inner.era != era {
            return None;
        }
        let Inner { phase, closed_at, rest, .. } = &mut *inner;
        let next = match phase {
            Phase::Closed { streak, calls, failures, since } => {
                let good = good?;
                if now - *since > self.config.window {
                    (*calls, *failures, *since) = (*calls / 2, *failures / 2, now);
                }
                *calls = calls.saturating_add(1);
                if good {
                    *streak = 0;
                } else {
                    *streak = streak.saturating_add(1);
                    *failures = failures.saturating_add(1);
                }
                let often =
                    *calls >= self.config.least && f64::from(*failures) >= self.config.share * f64::from(*calls);
                let open = *streak >= self.config.in_a_row || !good && often;
                // Who has been well for a while starts again with a short rest.
                if open && now - *closed_at > self.config.longest_rest * 2 {
                    *rest = self.config.rest;
                }
                open.then_some(Phase::Open { until: now })
            }
            Phase::HalfOpen { running, won } => {
                *running -= 1;
                *won += u32::from(good == Some(true));
                match good {
                    Some(false) => Some(Phase::Open { until: now }),
                    _ => (*won >= self.config.successes).then(Phase::closed),
                }
            }
            Phase::Open { .. } => None,
        };
        let next = next?;
        let state = next.state();
        let now = Instant::now();
        if state == BreakerState::Open {
            // Jitter, so that not all processes come back at once.
            let rest = inner.rest.mul_f64(1.0 + inner.rng.f64() / 4.0);
            inner.rest = (inner.rest * 2).min(self.config.longest_rest);
            inner.turn(Phase::Open { until: now + rest });
        } else {
            inner.closed_at = now;
            inner.turn(next);
        }
        self.changed.notify_waiters();
        Some(state)
    }
}

impl Inner {
    fn turn(&mut self, phase: Phase) {
        self.phase = phase;
        self.era += 1;
    }
}

impl Phase {
    fn closed() -> Self {
        Self::Closed { streak: 0, calls: 0, failures: 0, since: Instant::now() }
    }

    fn state(&self) -> BreakerState {
        match self {
            Self::Closed { .. } => BreakerState::Closed,
            Self::Open { .. } => BreakerState::Open,
            Self::HalfOpen { .. } => BreakerState::HalfOpen,
        }
    }
}

impl Pass<'_> {
    /// The call that began at `began` went well, or not. What the breaker turned to, if that changed it.
    pub(super) fn verdict(self, good: bool, began: Instant) -> Option<BreakerState> {
        let turned = self.breaker.verdict(self.era, Some(good), began);
        std::mem::forget(self);
        turned
    }
}

impl Drop for Pass<'_> {
    fn drop(&mut self) {
        self.breaker.verdict(self.era, None, Instant::now());
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    fn fail(breaker: &Breaker, times: u32) {
        for _ in 0..times {
            breaker.admit().unwrap().verdict(false, Instant::now());
        }
    }

    #[tokio::test(start_paused = true)]
    async fn failures_in_a_row_open_it_and_trials_close_it() {
        let breaker = Breaker::new(BreakerConfig::default());
        fail(&breaker, 4);
        breaker.admit().unwrap().verdict(true, Instant::now());
        fail(&breaker, 4);
        assert_eq!(breaker.state(), BreakerState::Closed);
        fail(&breaker, 1);
        assert_eq!(breaker.state(), BreakerState::Open);
        assert!(breaker.admit().is_none());
        breaker.half_open();
        assert_eq!(breaker.state(), BreakerState::Open, "not before its rest is over");
        advance(Duration::from_millis(251)).await;
        breaker.half_open();
        let trials: Vec<_> = std::iter::from_fn(|| breaker.admit()).collect();
        assert_eq!(trials.len(), 4);
        for trial in trials.into_iter().take(3) {
            assert_eq!(breaker.state(), BreakerState::HalfOpen);
            trial.verdict(true, Instant::now());
        }
        assert_eq!(breaker.state(), BreakerState::Closed);
    }

    #[tokio::test(start_paused = true)]
    async fn many_failures_open_it_even_if_some_calls_go_well() {
        let breaker = Breaker::new(BreakerConfig::default());
        for i in 0.. {
            let Some(pass) = breaker.admit() else { break };
            pass.verdict(i % 2 == 0, Instant::now());
            assert!(i < 20);
        }
        assert_eq!(breaker.state(), BreakerState::Open);
    }

    #[tokio::test(start_paused = true)]
    async fn it_rests_longer_each_time_and_forgets_that_once_it_was_well() {
        let breaker = Breaker::new(BreakerConfig::default());
        let rest = |breaker: &Breaker| breaker.probe_at().unwrap() - Instant::now();
        fail(&breaker, 5);
        let mut last = rest(&breaker);
        for _ in 0..10 {
            advance(rest(&breaker)).await;
            breaker.half_open();
            fail(&breaker, 1);
            assert!(rest(&breaker) >= last.mul_f64(1.0 / 1.25));
            last = rest(&breaker);
        }
        assert!(last >= Duration::from_secs(2) && last <= Duration::from_millis(2500));
        advance(last).await;
        breaker.half_open();
        for _ in 0..3 {
            breaker.admit().unwrap().verdict(true, Instant::now());
        }
        advance(Duration::from_secs(11)).await;
        fail(&breaker, 5);
        assert!(rest(&breaker) <= Duration::from_millis(250));
    }

    #[tokio::test(start_paused = true)]
    async fn a_late_or_missing_verdict_changes_nothing() {
        let breaker = Breaker::new(BreakerConfig::default());
        let late: Vec<_> = (0..8).map(|_| breaker.admit().unwrap()).collect();
        fail(&breaker, 5);
        advance(Duration::from_secs(1)).await;
        breaker.half_open();
        for pass in late {
            pass.verdict(false, Instant::now());
        }
        assert_eq!(breaker.state(), BreakerState::HalfOpen);
        for _ in 0..100 {
            drop(breaker.admit().unwrap());
        }
        assert_eq!(breaker.state(), BreakerState::HalfOpen);
    }
}
