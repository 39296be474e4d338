//! Replays of lifetimes: what a policy serves stale and what it loads, on traces that tell when values really changed.
//!
//! The truth comes from a trace's `set` rows and is kept by the scorer, outside the engine. A rule with a knob is tuned in
//! hindsight to the stale rate that the engine really served; deployed, it is tuned on the first fifth of the reads
//! and has to live with that.

mod arms;
mod baselines;
mod clairvoyant;
mod learned;
mod policies;
mod score;
mod synthetic;
mod tune;
mod workload;

use std::ops::RangeInclusive;
use std::time::{Duration, Instant};

use larder_policy::freshness::Freshness;
use larder_policy::{Capacity, PolicySpec};
use larder_trace::Progress;
use serde::Serialize;

use crate::experiment::ratio;
use crate::progress::{Observer, Stage};
use crate::{CapacitySpec, Error, Source, Survey, Weigh};

pub use arms::{LifetimeArmRecord, LifetimeArms, LifetimeArmsRecord, LoadsRecord, NamedLifetimes};
use clairvoyant::Clairvoyant;
use learned::Learned;
pub use learned::{TOLD, Told};
pub(crate) use policies::DEPLOYED;
use policies::Kind;
pub use policies::{FreshnessPolicy, POLICIES, PolicyEntry};
use score::{Score, Store};
pub use synthetic::{FAMILIES, Family, synthetic};
use tune::Setting;
pub use workload::Reads;
use workload::{Trace, Workload};

/// The share of the reads that deployed rules are tuned on.
const TUNED_ON: f64 = 0.2;

/// Reads that are laid over a trace at most: at 16 bytes each, 16 GB.
const MOST_READS: f64 = 1e9;

/// A stale rate of so many times the objective is taken to be at it.
const NEAR: RangeInclusive<f64> = 0.8..=1.25;

/// Multiples of the objective that a sweep takes.
const SWEEP: [f64; 6] = [0.1, 0.3, 1.0, 3.0, 6.0, 10.0];

/// Policies to compare on a trace under one objective.
#[derive(Clone, Debug)]
pub struct FreshnessExperiment {
    /// The share of reads that may be stale.
    pub objective: f64,
    /// A read is stale when the value has been outdated for longer than this.
    pub grace: Duration,
    /// Nothing is served when older, by any policy.
    pub max_ttl: Duration,
    /// The policies.
    pub policies: Vec<FreshnessPolicy>,
    /// Where reads come from.
    pub reads: Reads,
    /// The share of writes that the cache is told of.
    pub notices: f64,
    /// What loads tell the learned policies.
    pub told: Told,
    /// How much the store holds, in objects; everything where it is not given.
    pub capacity: Option<CapacitySpec>,
    /// Who leaves when it is full.
    pub evict: PolicySpec,
    /// What memory costs the learned policies, in loads an object and second.
    pub rent: f64,
    /// Of reads laid over, notices, audits and evictions.
    pub seeds: Vec<u64>,
}

/// What one policy did on one trace with one seed: the record scripts depend on.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct FreshnessRecord {
    /// The trace's name.
    pub trace: String,
    /// The policy's name.
    pub policy: String,
    /// The seed.
    pub seed: u64,
    /// The share of reads that may be stale.
    pub objective: f64,
    /// See [`FreshnessExperiment::grace`].
    pub grace_seconds: f64,
    /// Reads.
    pub reads: u64,
    /// Reads that were served a stale value.
    pub stale_reads: u64,
    /// `stale_reads / reads`.
    pub stale_rate: f64,
    /// The ends of the interval the engine itself publishes; none for baselines. With a grace it bounds the rate where loads tell no times of change, and
    /// is measured by the last change where they do.
    pub stale_rate_low: Option<f64>,
    /// See `stale_rate_low`.
    pub stale_rate_high: Option<f64>,
    /// Whether the engine's interval says that the objective is met, or is not; none for baselines.
    pub certifiable: Option<bool>,
    /// The greatest stale rate of 40 windows of equally many reads.
    pub worst_window_stale_rate: f64,
    /// Half of the stale answers had been outdated for at most so many seconds; 0 without any.
    pub stale_age_p50: f64,
    /// As `stale_age_p50`, for 99.9 %.
    pub stale_age_p999: f64,
    /// Loads that were not for audits.
    pub loads: u64,
    /// Hits checked at the origin.
    pub audits: u64,
    /// `(loads + audits) / reads`.
    pub origin_loads_per_read: f64,
    /// The share of reads served from the cache.
    pub hit_ratio: f64,
    /// Seconds the replay took, tuning included.
    pub seconds: f64,
}

/// A record with what a report draws.
#[derive(Clone, Debug)]
pub struct FreshnessRun {
    /// The record.
    pub record: FreshnessRecord,
    /// Reads and stale reads of 40 windows.
    pub windows: Vec<(u64, u64)>,
    /// Of learned policies: lifetimes in seconds set at a sample of the loads, each with the key's true mean seconds between
    /// changes, where it changed.
    pub lifetimes: Vec<(f32, Option<f32>)>,
}

/// What an experiment found on one trace.
#[derive(Clone, Debug)]
pub struct FreshnessOutcome {
    /// The trace's name.
    pub trace: String,
    /// Distinct keys.
    pub keys: u64,
    /// Writes.
    pub writes: u64,
    /// By seed, then by policy, in the order asked for.
    pub runs: Vec<FreshnessRun>,
    /// By seed, the stale rate that policies with hindsight were given: what the learned one beside them really served, and the objective
    /// without one. Empty where none of them ran.
    pub targets: Vec<f64>,
}

impl FreshnessOutcome {
    /// What is to be said where policies with hindsight were given stale rates far from the objective: they are compared at those.
    pub fn off_objective(&self, objective: f64) -> Option<String> {
        let far = self.targets.iter().filter(|&target| !NEAR.contains(&(target / objective)));
        let far: Vec<String> = far.map(|target| format!("{:.3}%", target * 100.0)).collect();
        let (rates, objective) = (far.join(", "), objective * 100.0);
        (!far.is_empty()).then(|| {
            format!(
                "Not at the objective of {objective:.2}%: those with hindsight were given the stale rate that learned really served, {rates}."
            )
        })
    }
}

impl FreshnessExperiment {
    /// Runs all policies with all seeds.
    ///
    /// # Errors
    /// The trace cannot be read or has no writes to tell the truth by, or an option does not fit.
    pub fn run(&self, source: &Source, observer: &dyn Observer) -> Result<FreshnessOutcome, Error> {
        let freshness = self.freshness()?;
        let trace = self.trace(source, observer)?;
        let total = (self.policies.len() * self.seeds.len()) as u64;
        let tell = |done: u64, events: usize| {
            observer.progress(Stage::Replay, events as u64 * done, Progress { bytes: done, total: Some(total) });
        };
        // The first policy takes a while, and so does laying reads over the trace.
        tell(0, 0);
        let mut outcome = FreshnessOutcome {
            trace: source.name().to_owned(),
            keys: trace.keys() as u64,
            writes: trace.writes() as u64,
            runs: Vec::new(),
            targets: Vec::new(),
        };
        let has_hindsight = self.policies.iter().any(|policy| policy.kind().has_hindsight());
        for &seed in &self.seeds {
            let workload = self.workload(&trace, source, seed)?;
            let capacity = self.limit(trace.keys())?;
            let store = Store { limit: capacity.map(|capacity| (capacity, &self.evict)), seed };
            let setting = Setting { workload: &workload, grace: self.grace, most: self.max_ttl, store: &store };
            // The engine first: hindsight is tuned to what it served.
            let mut target = self.objective;
            let mut order: Vec<usize> = (0..self.policies.len()).collect();
            order.sort_by_key(|&at| !matches!(self.policies[at].kind(), Kind::Hedge));
            let mut runs: Vec<Option<FreshnessRun>> = self.policies.iter().map(|_| None).collect();
            for at in order {
                let policy = &self.policies[at];
                let start = Instant::now();
                let (score, learned) = self.run_one(policy, &freshness, &setting, target, seed);
                if matches!(policy.kind(), Kind::Hedge) {
                    target = score.stale_rate();
                }
                runs[at] = Some(self.record(
                    &outcome.trace,
                    policy,
                    seed,
                    score,
                    learned.as_ref(),
                    start.elapsed(),
                    &workload,
                ));
                let done = outcome.runs.len() as u64 + runs.iter().flatten().count() as u64;
                tell(done, workload.events.len());
            }
            outcome.runs.extend(runs.into_iter().flatten());
            outcome.targets.extend(has_hindsight.then_some(target));
        }
        Ok(outcome)
    }

    /// The records of the first seed under objectives around the one asked for, for the picture of what staleness buys.
    ///
    /// # Errors
    /// As [`run`](Self::run).
    pub fn sweep(&self, source: &Source, observer: &dyn Observer) -> Result<Vec<FreshnessRecord>, Error> {
        let mut records = Vec::new();
        for objective in SWEEP.map(|factor| self.objective * factor).into_iter().filter(|&objective| objective < 1.0) {
            let seeds = self.seeds.first().copied().into_iter().collect();
            let outcome = Self { objective, seeds, ..self.clone() }.run(source, observer)?;
            records.extend(outcome.runs.into_iter().map(|run| run.record));
        }
        Ok(records)
    }

    /// A trace that tells of changes.
    fn trace(&self, source: &Source, observer: &dyn Observer) -> Result<Trace, Error> {
        let trace = Trace::read(source, observer)?;
        if trace.writes() == 0 {
            return Err(Error::option(format!(
                "{}: no row says that a value changed: lifetimes are measured on traces with sets or deletes",
                source.name()
            )));
        }
        Ok(trace)
    }

    /// What is replayed of it with a seed.
    fn workload(&self, trace: &Trace, source: &Source, seed: u64) -> Result<Workload, Error> {
        if let Reads::Zipf { per_key, .. } = self.reads
            && per_key * trace.keys() as f64 > MOST_READS
        {
            let (keys, name) = (trace.keys(), source.name());
            let what = "are more reads than the 1e9 that are held in memory: take fewer a key";
            return Err(Error::option(format!("{name}: {per_key} for each of {keys} keys {what}")));
        }
        let workload = trace.workload(self.reads, self.notices, seed);
        if workload.reads == 0 {
            return Err(Error::option(format!(
                "{}: nothing is read: lay reads over it with --reads zipf:0.9:30",
                source.name()
            )));
        }
        Ok(workload)
    }

    /// How much the store holds of so many keys, where that is limited.
    ///
    /// # Errors
    /// The capacity is none of objects.
    pub fn limit(&self, keys: usize) -> Result<Option<Capacity>, Error> {
        let survey = Survey { keys: keys as u64, ..Survey::default() };
        self.capacity.as_ref().map(|spec| spec.resolve(Weigh::Objects, Some(&survey))).transpose()
    }

    fn freshness(&self) -> Result<Freshness, Error> {
        Ok(self.common(Freshness::stale_reads(self.objective)?))
    }

    /// With what all lifetimes have in common.
    fn common(&self, freshness: Freshness) -> Freshness {
        freshness.older_than(self.grace).max_ttl(self.max_ttl).rent(self.rent)
    }

    fn run_one(
        &self,
        policy: &FreshnessPolicy,
        freshness: &Freshness,
        setting: &Setting<'_>,
        target: f64,
        seed: u64,
    ) -> (Score, Option<Learned>) {
        let workload = setting.workload;
        let (events, reads) = (&workload.events[..], workload.reads);
        match policy.kind() {
            Kind::Hedge | Kind::Expert(_) => {
                let expert = match policy.kind() {
                    Kind::Expert(expert) => expert,
                    _ => Default::default(),
                };
                let mut learned = Learned::new(freshness.clone(), expert, &workload.keys, seed, self.told);
                let score = setting.run(events, reads, &mut learned);
                (score, Some(learned))
            }
            Kind::Clairvoyant => {
                let mut policy = Clairvoyant::new(workload, self.grace, self.max_ttl, target);
                // Who leaves a full store is for others to decide: that nobody does bounds them all.
                let store = Store { limit: None, ..*setting.store };
                (Setting { store: &store, ..*setting }.run(events, reads, &mut policy), None)
            }
            Kind::Rule { build, is_deployed } => {
                let (head, head_reads) = workload.head(TUNED_ON);
                let (on, on_reads, target) =
                    if is_deployed { (head, head_reads, self.objective) } else { (events, reads, target) };
                let rule = build(&|| setting.class_lifetimes(on, on_reads, &Learned::classes(&workload.keys), target));
                // Who deploys does not pick the knob that was luckiest on a few events.
                let tune = if is_deployed { Setting::nearest } else { Setting::tune };
                let knobs = tune(setting, on, on_reads, &rule, target);
                (setting.run_rule(events, reads, &rule, knobs), None)
            }
        }
    }

    #[allow(clippy::too_many_arguments, reason = "a record gathers all there is")]
    fn record(
        &self,
        trace: &str,
        policy: &FreshnessPolicy,
        seed: u64,
        mut score: Score,
        learned: Option<&Learned>,
        elapsed: Duration,
        workload: &Workload,
    ) -> FreshnessRun {
        let measured = learned.and_then(Learned::measured);
        let record = FreshnessRecord {
            trace: trace.to_owned(),
            policy: policy.to_string(),
            seed,
            objective: self.objective,
            grace_seconds: self.grace.as_secs_f64(),
            reads: score.reads,
            stale_reads: score.stale,
            stale_rate: score.stale_rate(),
            stale_rate_low: measured.map(|measured| measured.low),
            stale_rate_high: measured.map(|measured| measured.high),
            certifiable: measured.map(|measured| measured.is_certifiable),
            worst_window_stale_rate: score.worst_window(),
            stale_age_p50: score.stale_age(0.5),
            stale_age_p999: score.stale_age(0.999),
            loads: score.loads,
            audits: score.audits,
            origin_loads_per_read: score.loads_a_read(),
            hit_ratio: 1.0 - ratio(score.loads, score.reads),
            seconds: elapsed.as_secs_f64(),
        };
        let truth = |key: u32| {
            let key = &workload.keys[key as usize];
            (key.writes > 0).then(|| key.last.since(key.first).as_secs_f32() / key.writes as f32)
        };
        let lifetimes = learned.map_or_else(Vec::new, |learned| {
            learned.lifetimes.iter().map(|&(key, lifetime)| (lifetime, truth(key))).collect()
        });
        FreshnessRun { record, windows: score.windows, lifetimes }
    }
}
