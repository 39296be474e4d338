//! A policy's way into service, and out of it again.

use std::fmt;
use std::time::Duration;

use super::arms::{Arm, Arms};
use super::counts::ShardSlice;
use super::guardrails::{Breach, Guardrails, LEAST_ALPHA};
use super::own::OwnGain;
use super::refusal::{LEAST_SHARDS, Refusal};
use super::trial::{Report, Trial};
use super::watch::Watch;
use crate::{Error, ErrorKind, Time};

/// How often a cool-down doubles.
const MOST_DOUBLINGS: u32 = 6;

/// How an experiment is run.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// How many shards there are.
    pub shards: usize,
    /// The seed of the assignment.
    pub seed: u64,
    /// The share of the shards that is never treated.
    pub holdout: f64,
    /// The shares of the shards that are treated, one after the other.
    pub ramp: Vec<f64>,
    /// Slices before the treatment begins: what the shards are like without it.
    pub baseline: u64,
    /// Slices of each step of the ramp, after its burn-in. At the last step, and where there is no ramp, they do not count yet: a policy that learns or
    /// counts goes on settling for longer than it takes to fill a cache.
    pub step: u64,
    /// Slices after which the interval is to be narrowest.
    pub horizon: u64,
    /// The probability that a difference is claimed where there is none.
    pub alpha: f64,
    /// Whether the treatment is on from the start wherever it may be, with nothing but its ghosts to compare it with; else it is ramped up
    /// after a baseline.
    pub adopted: bool,
    /// What leads to a rollback.
    pub guardrails: Guardrails,
    /// Whether lifetimes are what is tried: then loads and staleness decide, and not hits. The share that may be stale is the guardrail's.
    pub lifetimes: bool,
    /// How long nothing is tried after a rollback. Doubles with each, up to 64 times as long, until a treatment has lasted for 64 horizons
    /// after its burn-in.
    pub cool_down: Duration,
}

impl Settings {
    /// The defaults, for a number of shards.
    pub fn new(shards: usize, seed: u64) -> Self {
        Self {
            shards,
            seed,
            holdout: 0.05,
            ramp: vec![0.05, 0.25, 0.5],
            baseline: 20,
            step: 20,
            horizon: 100,
            alpha: 0.05,
            adopted: false,
            guardrails: Guardrails::default(),
            lifetimes: false,
            cool_down: Duration::from_secs(3600),
        }
    }

    fn check(&self) -> Result<(), Error> {
        let wrong = |what: &str| Err(Error::new(ErrorKind::BadValue, format!("experiment: {what}")));
        let is_share = |share: f64| share > 0.0 && share < 1.0;
        let Guardrails { hit_ratio, origin_loads, p99, stale, alpha } = self.guardrails;
        if self.shards < if self.adopted { 1 } else { 2 } {
            return wrong("two arms take two shards");
        }
        if !(self.holdout >= 0.0 && self.holdout < 1.0) {
            return wrong("the hold-out is not a share from 0 to below 1");
        }
        if Arms::new(self.shards, self.holdout, 0).is_held() {
            return wrong(&format!(
                "a hold-out of {} keeps all {} shards: give it less, or more shards",
                self.holdout, self.shards
            ));
        }
        if self.ramp.is_empty() || !self.ramp.iter().all(|&share| is_share(share)) || !self.ramp.is_sorted() {
            return wrong("the ramp is not a list of rising shares between 0 and 1");
        }
        if ![self.alpha, alpha].into_iter().all(|alpha| alpha > 0.0 && alpha < 0.5) {
            return wrong("alpha is not between 0 and 0.5");
        }
        if alpha <= LEAST_ALPHA {
            return wrong(&format!(
                "the guardrails' alpha is {alpha}: loads and latencies could never be sure enough; give more than {LEAST_ALPHA}, and a guardrail that \
                 is not wanted a wide margin"
            ));
        }
        if ![hit_ratio, origin_loads, p99].into_iter().chain(stale).all(|margin| margin.is_finite() && margin >= 0.0) {
            return wrong("a guardrail is not a number of at least 0");
        }
        if self.lifetimes && stale.is_none() {
            return wrong("lifetimes on trial need a share of answers that may be stale");
        }
        let least = self.least_arm();
        if least < LEAST_SHARDS {
            return wrong(&format!(
                "a ramp on {} shards leaves an arm with {least}, and each needs {LEAST_SHARDS}: nothing would ever be concluded; give it more shards",
                self.shards
            ));
        }
        Ok(())
    }

    /// Shards of the smaller arm where a ramp ends; of as many as one likes where there is none, and nothing is concluded from arms.
    fn least_arm(&self) -> usize {
        let Some(&share) = self.ramp.last().filter(|_| !self.adopted) else { return usize::MAX };
        let mut arms = Arms::new(self.shards, self.holdout, self.seed);
        arms.treat(share);
        arms.count(Arm::Treatment).min(arms.count(Arm::Control))
    }
}

/// Where an experiment is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Nothing is treated yet: the shards are observed.
    Baseline,
    /// A step of the ramp, counted from 0.
    Ramping {
        /// Which.
        step: usize,
    },
    /// The treatment has won: all but the hold-out is treated.
    Adopted,
    /// Rolled back: nothing is treated until then.
    CoolingDown {
        /// The end of it.
        until: Time,
    },
}

/// What a treatment won by.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum Won {
    /// More hits.
    HitRatio {
        /// The effect on the hit ratio.
        effect: f64,
    },
    /// Fewer loads of the origin, while no more is stale than may be.
    OriginLoads {
        /// The share of the loads that is saved.
        saved: f64,
        /// The p-value.
        p: f64,
    },
    /// No more is stale than may be, while of the control's answers more is.
    Stale {
        /// The share that is.
        rate: f64,
        /// The control's.
        control: f64,
    },
}

impl fmt::Display for Won {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::HitRatio { effect } => write!(f, "the hit ratio is {:.2} points higher", effect * 100.0),
            Self::OriginLoads { saved, p } => {
                write!(f, "{:.1} % fewer loads of the origin (p = {p:.0e})", saved * 100.0)
            }
            Self::Stale { rate, control } => {
                write!(
                    f,
                    "{:.2} % of the answers are stale, and {:.2} % under the control",
                    rate * 100.0,
                    control * 100.0
                )
            }
        }
    }
}

/// What happened at the end of a slice, for logs and metrics.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Event {
    /// More shards are treated.
    Ramped {
        /// The share of all shards that is.
        share: f64,
    },
    /// The treatment won, and is on wherever it may be.
    Adopted {
        /// By what.
        won: Won,
    },
    /// The treatment is off everywhere.
    RolledBack {
        /// Why.
        breach: Breach,
        /// When it may be tried again.
        until: Time,
    },
    /// The cool-down is over: a new baseline under a new assignment.
    Restarted,
}

/// An experiment over the shards of a cache: told once a slice what they counted, it says which arm each belongs to.
///
/// ```text
/// Baseline ──▶ Ramping 5 % ──▶ 25 % ──▶ 50 % ──▶ Adopted
///    ▲             │            │         │         │   a guardrail is hit, or the treatment is worse
///    └─ CoolingDown ◀───────────┴─────────┴─────────┘
/// ```
///
/// The host compares [`arm`](Self::arm) with what each shard runs after each slice, and swaps the policy of those that changed sides
/// ([`Shard::swap_policy`](crate::Shard::swap_policy)), and its ghost's with it ([`Probe::begin_anew`](super::Probe::begin_anew)); the entries stay.
#[derive(Clone, Debug)]
pub struct Experiment {
    settings: Settings,
    arms: Arms,
    state: State,
    baseline: Trial,
    /// Why the baseline before this one was no use, if it was none.
    biased: Option<Refusal>,
    /// For the guardrails: harm shows at once.
    watches: [Watch; 2],
    /// Since the last change of sides and after the burn-in, for the effect.
    measured: Trial,
    /// Whether the last step has settled.
    settled: bool,
    rollbacks: u32,
    /// Rollbacks of a treatment that had not lasted.
    in_a_row: u32,
    traffic: u64,
}

impl Experiment {
    /// Begins with the baseline.
    ///
    /// # Errors
    /// Settings out of range.
    pub fn new(settings: Settings) -> Result<Self, Error> {
        settings.check()?;
        let arms = Arms::new(settings.shards, settings.holdout, settings.seed);
        let trial = || Trial::new(arms.clone(), false);
        let (baseline, watches, measured) = (trial(), watches(&settings, &arms), trial());
        let state = State::Baseline;
        let mut experiment = Self {
            settings,
            arms,
            state,
            baseline,
            biased: None,
            watches,
            measured,
            settled: false,
            rollbacks: 0,
            in_a_row: 0,
            traffic: 0,
        };
        experiment.begin();
        Ok(experiment)
    }

    /// The arm a shard belongs to now.
    pub fn arm(&self, shard: usize) -> Arm {
        self.arms.arm(shard)
    }

    /// Where it is.
    pub fn state(&self) -> State {
        self.state
    }

    /// Accesses counted in the last slice, of all shards: for [`Probe::end_slice`](super::Probe::end_slice).
    pub fn traffic(&self) -> u64 {
        self.traffic
    }

    /// How often the treatment was rolled back.
    pub fn rollbacks(&self) -> u32 {
        self.rollbacks
    }

    /// What is known under the present assignment, after its burn-in.
    pub fn report(&self) -> Report {
        let mut report = self.measured.report(self.settings.alpha, self.settings.horizon, self.past());
        report.refusals.extend(self.biased);
        report
    }

    /// What the treated shards gain over their own ghosts since the last change of sides: what there is to know where all are treated. With
    /// it, why that says nothing yet.
    pub fn own_gain(&self) -> (OwnGain, Vec<Refusal>) {
        let (gain, mut refusals) = self.measured.own_gain(self.settings.alpha, self.settings.horizon);
        refusals.extend(self.biased);
        (gain, refusals)
    }

    /// How many shards an arm has now.
    pub fn count(&self, arm: Arm) -> usize {
        self.arms.count(arm)
    }

    /// Ends a slice: takes what each shard counted, by shard, and says what changes.
    pub fn end_slice(&mut self, now: Time, slice: &[ShardSlice]) -> Option<Event> {
        self.traffic = slice.iter().map(|slice| slice.accesses.requests).sum();
        match self.state {
            State::Baseline => {
                self.baseline.push(slice);
                self.end_baseline()
            }
            State::CoolingDown { until } => (now >= until).then(|| {
                self.restart();
                Event::Restarted
            }),
            State::Ramping { .. } | State::Adopted => {
                let was_warm = self.measured.is_warm();
                self.measured.push(slice);
                if !was_warm && self.measured.is_warm() {
                    // What it lost while it settled is not held against it.
                    self.watch_anew(|_| true);
                }
                self.watch(now, slice).or_else(|| self.judge(now))
            }
        }
    }

    /// Takes the treatment off everywhere, now. Where it is off already, the cool-down ends when it would have.
    pub fn roll_back(&mut self, now: Time, breach: Breach) -> Event {
        if let State::CoolingDown { until } = self.state {
            return Event::RolledBack { breach, until };
        }
        let factor = 1 << self.in_a_row.min(MOST_DOUBLINGS);
        let until = now.plus(self.settings.cool_down.saturating_mul(factor));
        self.rollbacks += 1;
        self.in_a_row += 1;
        // What was measured is the verdict, not what is so now: nothing is treated.
        self.treat(0.0);
        self.state = State::CoolingDown { until };
        Event::RolledBack { breach, until }
    }

    /// Ends a cool-down early.
    pub fn resume(&mut self) {
        if matches!(self.state, State::CoolingDown { .. }) {
            self.restart();
        }
    }

    fn past(&self) -> Option<&Trial> {
        (self.baseline.counted() > 0).then_some(&self.baseline)
    }

    fn end_baseline(&mut self) -> Option<Event> {
        if self.baseline.counted() < self.settings.baseline {
            return None;
        }
        // Ghosts that do not stand for the control would judge the treatment wrongly.
        let Settings { alpha, horizon, .. } = self.settings;
        self.biased = self.baseline.biased(alpha, horizon);
        if self.biased.is_some() {
            self.baseline = Trial::new(self.arms.clone(), false);
            return None;
        }
        Some(self.ramp(0))
    }

    /// Lets the guardrails look at a slice.
    fn watch(&mut self, now: Time, slice: &[ShardSlice]) -> Option<Event> {
        let guardrails = self.settings.guardrails;
        let guardrails = if self.measured.is_warm() { guardrails } else { guardrails.settling() };
        let past = (self.baseline.counted() > 0).then_some(&self.baseline);
        let breach = self.watches.iter_mut().find_map(|watch| watch.look(slice, past, &guardrails));
        if let Some(breach) = breach {
            return Some(self.roll_back(now, breach));
        }
        let [_, lasting] = &self.watches;
        if lasting.is_over() {
            self.in_a_row = 0;
        }
        self.watch_anew(Watch::is_over);
        None
    }

    /// Begins anew the watches of which that is asked.
    fn watch_anew(&mut self, which: impl Fn(&Watch) -> bool) {
        for watch in self.watches.iter_mut().filter(|watch| which(watch)) {
            watch.begin(Trial::new(self.arms.clone(), false), &self.baseline, &self.settings.guardrails);
        }
    }

    fn judge(&mut self, now: Time) -> Option<Event> {
        match self.state {
            State::Ramping { step } if step + 1 < self.settings.ramp.len() => {
                (self.measured.counted() >= self.settings.step).then(|| self.ramp(step + 1))
            }
            State::Ramping { .. } if !self.settled => {
                self.settle();
                None
            }
            State::Ramping { .. } => match self.verdict()? {
                Ok(won) => {
                    self.treat(1.0 - self.settings.holdout);
                    self.state = State::Adopted;
                    Some(Event::Adopted { won })
                }
                Err(breach) => Some(self.roll_back(now, breach)),
            },
            _ => {
                if self.settings.adopted && !self.settled {
                    self.settle();
                }
                None
            }
        }
    }

    /// Which arm is better, once that is sure.
    fn verdict(&self) -> Option<Result<Won, Breach>> {
        let Settings { alpha, horizon, lifetimes, guardrails, .. } = self.settings;
        if lifetimes {
            return self.measured.better_lifetimes(self.past(), guardrails.stale?, alpha);
        }
        let report = self.measured.findings(alpha, horizon, self.past());
        let effect = report.effect.estimate;
        Some(if report.better()? { Ok(Won::HitRatio { effect }) } else { Err(Breach::Worse { effect }) })
    }

    /// Once enough slices have passed, those that count begin.
    fn settle(&mut self) {
        if self.measured.counted() >= self.settings.step {
            self.measured = self.measured.afresh();
            self.settled = true;
        }
    }

    fn ramp(&mut self, step: usize) -> Event {
        let share = self.settings.ramp[step];
        self.treat(share);
        self.state = State::Ramping { step };
        Event::Ramped { share }
    }

    fn treat(&mut self, share: f64) {
        self.arms.treat(share);
        self.watch_anew(|_| true);
        // Lifetimes do not have to turn the memory over to show.
        self.measured = Trial::new(self.arms.clone(), !self.settings.lifetimes);
        self.settled = false;
    }

    /// Never within a test: under a new assignment everything is counted anew.
    fn restart(&mut self) {
        let seed = self.settings.seed.wrapping_add(u64::from(self.rollbacks));
        self.arms = Arms::new(self.settings.shards, self.settings.holdout, seed);
        let trial = || Trial::new(self.arms.clone(), false);
        (self.baseline, self.measured) = (trial(), trial());
        self.watches = watches(&self.settings, &self.arms);
        self.state = State::Baseline;
        self.begin();
    }

    fn begin(&mut self) {
        if self.settings.adopted {
            self.treat(1.0 - self.settings.holdout);
            self.state = State::Adopted;
        }
    }
}

/// New ones, which know nothing of the control.
fn watches(settings: &Settings, arms: &Arms) -> [Watch; 2] {
    let trial = || Trial::new(arms.clone(), false);
    [Watch::short(settings.horizon, trial()), Watch::lasting(settings.horizon, trial())]
}

#[cfg(test)]
mod tests;
