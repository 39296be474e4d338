//! Who hears what the gauges counted, and says which segments run the policy on trial.

use std::time::Duration;

use larder_policy::experiment::{
    Arm, Breach, Event, Experiment, Interval, Refusal, Report, Settings, ShardSlice, SizeCurve, StaleShare, State,
};
use larder_policy::freshness::Freshness;
use larder_policy::{Policy, Time};

use super::lifetimes::Trial;
use super::sizes::Sizes;
use crate::report::{ArmStale, ArmsReport, ControlReport, Difference, Size};
use crate::stats::Counts;
use crate::{Error, bounds};

/// Builds the policy of a segment for an arm.
pub(crate) type MakeFor = Box<dyn Fn(usize, Arm) -> Policy + Send + Sync>;

/// What decides in a segment that changes sides.
pub(crate) struct Side {
    pub(crate) arm: Arm,
    /// The policy, and the control's for its ghost; none where both arms have the same.
    pub(crate) policies: Option<(Policy, Policy)>,
    /// What values live by, where that is tried.
    pub(crate) lifetimes: Option<Freshness>,
}

pub(crate) struct Judge {
    control: String,
    pub(crate) slice: Duration,
    experiment: Experiment,
    make: MakeFor,
    /// Whether both arms have the same policy.
    is_same: bool,
    /// What the arms' values live by, where that is tried.
    lifetimes: Option<Trial>,
    /// Whether the control keeps some segments for ever, and the policy has all others from the start.
    is_held: bool,
    /// The probability with which an interval misses.
    alpha: f64,
    /// The share of answers that may be stale, where that is a guardrail.
    most_stale: Option<f64>,
    /// What the experiment last said, until something happens: parts of it take permutations to know.
    told: Option<Report>,
    /// What each segment runs.
    runs: Vec<Arm>,
    last_breach: Option<String>,
    /// Slices that count, and when the first of them ended.
    counted: u64,
    since: Option<Time>,
    sizes: Sizes,
}

impl Judge {
    pub(crate) fn new(
        against: &str,
        slice: Duration,
        (settings, lifetimes): (Settings, Option<Trial>),
        make: MakeFor,
        is_same: bool,
        sizes: Sizes,
    ) -> Result<Self, Error> {
        bounds::waits("control", &[("slice", slice)])?;
        let (segments, is_held) = (settings.shards, settings.adopted && settings.holdout > 0.0);
        let (most_stale, alpha) = (settings.guardrails.stale, settings.alpha);
        let experiment = Experiment::new(settings)?;
        let runs = (0..segments).map(|segment| experiment.arm(segment)).collect();
        Ok(Self {
            control: against.to_owned(),
            slice,
            experiment,
            make,
            is_same,
            lifetimes,
            is_held,
            alpha,
            most_stale,
            told: None,
            runs,
            last_breach: None,
            counted: 0,
            since: None,
            sizes,
        })
    }

    /// Why a hold-out is too small to be compared with, whatever comes.
    pub(crate) fn too_small(&self) -> Option<String> {
        let is_few = |refusal: &Refusal| matches!(refusal, Refusal::FewShards { .. });
        let few = self.experiment.report().refusals.into_iter().find(is_few);
        few.filter(|_| self.is_held).map(|few| few.to_string())
    }

    /// The policy a segment begins with.
    pub(crate) fn first(&self, segment: usize) -> Policy {
        (self.make)(segment, self.runs[segment])
    }

    /// What values of a segment live by now, where that is tried.
    pub(crate) fn lifetimes(&self, segment: usize) -> Option<Freshness> {
        self.lifetimes.as_ref().map(|trial| trial.arm(self.arm(segment)).clone())
    }

    /// Accesses counted in the slice before.
    pub(crate) fn traffic(&self) -> u64 {
        self.experiment.traffic()
    }

    /// Ends a slice; what happened.
    pub(crate) fn end_slice(&mut self, now: Time, counted: &[(ShardSlice, SizeCurve)]) -> Option<Event> {
        self.told = None;
        let slices: Vec<ShardSlice> = counted.iter().map(|(slice, _)| slice.clone()).collect();
        self.sizes.note(now, counted);
        let event = self.experiment.end_slice(now, &slices);
        if let Some(Event::RolledBack { breach, .. }) = &event {
            self.last_breach = Some(breach.to_string());
        }
        let before = std::mem::replace(&mut self.counted, self.experiment.own_gain().0.counted);
        if self.counted < before.max(1) {
            self.since = None;
        }
        if self.counted > 0 {
            self.since.get_or_insert(now);
        }
        event
    }

    /// Takes the policy off everywhere, until `resume` or the end of the cool-down.
    pub(crate) fn roll_back(&mut self, now: Time) -> Event {
        self.told = None;
        self.last_breach = Some(Breach::Asked.to_string());
        self.experiment.roll_back(now, Breach::Asked)
    }

    /// Ends a cool-down early.
    pub(crate) fn resume(&mut self) {
        self.told = None;
        self.experiment.resume();
    }

    /// Segments that change sides, with what decides in each from now on.
    pub(crate) fn changes(&mut self) -> Vec<(usize, Side)> {
        let mut changes = Vec::new();
        for segment in 0..self.runs.len() {
            let arm = self.experiment.arm(segment);
            if std::mem::replace(&mut self.runs[segment], arm) != arm {
                let policies = (!self.is_same).then(|| ((self.make)(segment, arm), (self.make)(segment, Arm::Control)));
                changes.push((segment, Side { arm, policies, lifetimes: self.lifetimes(segment) }));
            }
        }
        changes
    }

    /// The control's policy.
    pub(crate) fn control(&self) -> &str {
        &self.control
    }

    /// Who decides in a segment.
    pub(crate) fn arm(&self, segment: usize) -> Arm {
        self.runs[segment]
    }

    pub(crate) fn runs_control(&self, segment: usize) -> bool {
        self.arm(segment) == Arm::Control
    }

    /// `counts` is what segments counted while the control decided there.
    pub(crate) fn report(&mut self, now: Time, counts: Counts) -> ControlReport {
        let (gain, refusals) = self.experiment.own_gain();
        let experiment = &self.experiment;
        let report = self.told.get_or_insert_with(|| experiment.report()).clone();
        let (state, resumes_in) = match self.experiment.state() {
            State::Baseline => ("baseline", None),
            State::Ramping { .. } => ("ramping", None),
            State::Adopted => ("adopted", None),
            State::CoolingDown { until } => ("cooling-down", Some(until.since(now).as_secs_f64())),
        };
        let treated = self.experiment.count(Arm::Treatment);
        let sizes = self.sizes.points();
        let other = self.lifetimes.as_ref().map(|trial| &trial.control);
        let most = self.most_stale;
        let stale = |StaleShare { rate, interval: Interval { low, high } }: StaleShare| {
            let is_certifiable = most.is_some_and(|most| high <= most || low > most);
            ArmStale { rate, low, high, is_certifiable }
        };
        let words = |refusals: Vec<Refusal>| refusals.iter().map(ToString::to_string).collect();
        let (effect, alpha) = (report.effect, self.alpha);
        let arms = (treated > 0 && treated < self.runs.len()).then(|| ArmsReport {
            hit_ratio: effect.treatment,
            control_hit_ratio: effect.control,
            effect: effect.estimate,
            low: effect.anytime.low.max(-1.0),
            high: effect.anytime.high.min(1.0),
            origin_loads: report.origin_loads.as_ref().and_then(|loads| Difference::of(loads, alpha)),
            p99: report.p99.as_ref().and_then(|p99| Difference::of(p99, alpha)),
            stale: report.stale.map(stale),
            control_stale: report.control_stale.map(stale),
            refusals: words(report.refusals),
        });
        ControlReport {
            policy: self.control.clone(),
            ttl: other.and_then(Freshness::fixed).map(|ttl| ttl.as_secs_f64()),
            age_share: other.and_then(Freshness::age_share),
            objective: other.and_then(Freshness::objective),
            state,
            resumes_in,
            treated,
            parts: self.runs.len(),
            counts,
            rollbacks: self.experiment.rollbacks(),
            last_breach: self.last_breach.clone(),
            hit_ratio: gain.hit_ratio,
            control_hit_ratio: gain.control(),
            gain: gain.estimate,
            low: gain.anytime.low.max(-1.0),
            high: gain.anytime.high.min(1.0),
            counted_for: self.since.filter(|_| gain.counted > 0).map(|since| now.since(since).as_secs_f64()),
            slices: report.slices,
            requests: report.requests,
            turnovers: report.turnovers,
            effective_keys: report.effective_keys,
            refusals: words(refusals),
            arms,
            cheapest: Size::cheapest(&sizes),
            sizes,
        }
    }
}

/// Says what happened, for logs.
pub(crate) fn tell(cache: &str, turn: &Event) {
    match turn {
        Event::Ramped { share } => tracing::info!(cache, share, "the policy is tried on more of the memory"),
        Event::Adopted { won } => tracing::info!(cache, %won, "the policy has won, and is on wherever it may be"),
        Event::RolledBack { breach, .. } => {
            tracing::warn!(cache, %breach, "the policy is rolled back: its control decides")
        }
        Event::Restarted => tracing::info!(cache, "the cool-down is over: the policy is tried again"),
    }
}
