//! Two policies as arms of an experiment over a trace, next to the truth: what each does when it has all shards.

use std::time::Duration;

use larder_policy::experiment::{
    Arm, Arms, Effect, Ghost, Measures, Probe, Report, ShardSlice, Trial, Weighting, ghost_rate,
};
use larder_policy::ttl::{Fixed, Given};
use larder_policy::{Access, Capacity, KeyHash, Op, Policy, PolicySpec, Weigh};
use larder_trace::Request;
use serde::Serialize;

use crate::progress::{Observer, Stage};
use crate::slices::Slices;
use crate::{BATCH, CapacitySpec, Error, Lifetimes, Source, Survey};

/// An experiment over a trace.
///
/// Each shard runs both policies for real, and a ghost of the control. The statistics see, of each shard, only the policy of its arm, as
/// they would in a service; the truth sees both.
#[derive(Clone, Debug)]
pub struct ArmsRun {
    /// The policy on trial.
    pub treatment: PolicySpec,
    /// The one it is compared with.
    pub control: PolicySpec,
    /// The size, divided among the shards.
    pub capacity: CapacitySpec,
    /// What an entry weighs.
    pub weigh: Weigh,
    /// Shards, half of them treated.
    pub shards: usize,
    /// Slices that the trace is cut into.
    pub slices: u64,
    /// The share of the keys that ghosts see; `None` takes as many as fill ghosts of 1024 objects.
    pub ghosts: Option<f64>,
    /// The probability that a difference is claimed where there is none.
    pub alpha: f64,
    /// The seed of the assignment and of the policies' random choices.
    pub seed: u64,
    /// Whether only gets count.
    pub gets_only: bool,
    /// What becomes of lifetimes.
    pub lifetimes: Lifetimes,
    /// Whether the record tells of every look and every shard.
    pub details: bool,
}

/// One experiment on one trace, for scripts. Effects are differences of hit ratios (0.01 is a percentage point).
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ArmsRecord {
    /// The trace's name.
    pub trace: String,
    /// The policy on trial.
    pub treatment: String,
    /// The one it is compared with.
    pub control: String,
    /// The size in objects or bytes.
    pub capacity: u64,
    /// The size as it was asked for.
    pub capacity_spec: String,
    /// Shards of both arms.
    pub shards: usize,
    /// Accesses counted after the burn-in, of all.
    pub requests: u64,
    /// Slices they came in.
    pub slices: u64,
    /// The share of the keys that ghosts saw.
    pub ghost_rate: f64,
    /// By requests, by bytes, by cost.
    pub effects: Vec<EffectRecord>,
    /// `treatment`, `control`, or nothing where it is open or may not be said.
    pub winner: Option<&'static str>,
    /// The slice after which there was a winner for the first time.
    pub first_won: Option<u64>,
    /// Why nothing may be concluded.
    pub refusals: Vec<String>,
    /// The share of the traffic of the hottest keys.
    pub head_share: f64,
    /// So many equal keys would tell as much as the others.
    pub effective_keys: f64,
    /// What each look at the evidence shows, one a slice; only with [`ArmsRun::details`].
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub looks: Vec<LookRecord>,
    /// What each shard counted; only with [`ArmsRun::details`].
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub by_shard: Vec<ShardRecord>,
}

/// The effect by one weighting, and the truth.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct EffectRecord {
    /// `requests`, `bytes` or `cost`.
    pub weighting: &'static str,
    /// What the experiment says.
    pub effect: f64,
    /// The interval for who looks once.
    pub fixed: [f64; 2],
    /// The interval for who looks as often as they like.
    pub anytime: [f64; 2],
    /// What the control gains over its own ghosts.
    pub bias: f64,
    /// The truth: both policies with all shards, on the same accesses.
    pub truth: f64,
    /// The treatment's hit ratio with all shards.
    pub treatment_hit_ratio: f64,
    /// The control's.
    pub control_hit_ratio: f64,
}

/// The evidence by requests after a slice, as a dashboard would show it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct LookRecord {
    /// The slice, counted from 1 after the burn-in.
    pub slice: u64,
    /// Accesses counted so far.
    pub requests: u64,
    /// What the experiment says.
    pub effect: f64,
    /// The interval for who looks once.
    pub fixed: [f64; 2],
    /// The interval for who looks as often as they like.
    pub anytime: [f64; 2],
    /// The truth so far.
    pub truth: f64,
    /// The real hit ratio of the treated shards, on their own keys.
    pub treatment_arm: f64,
    /// That of the other shards, on theirs.
    pub control_arm: f64,
    /// Why nothing might be concluded.
    pub refusals: Vec<String>,
}

/// What a shard counted after the burn-in, by requests.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ShardRecord {
    /// Its number.
    pub shard: usize,
    /// `treatment` or `control`.
    pub arm: &'static str,
    /// Accesses.
    pub requests: u64,
    /// Those that hit.
    pub hits: u64,
    /// Its hits minus those of its ghost of the control, an access.
    pub gain: f64,
}

/// A store shard: both policies for real, and the probe beside that of its arm.
struct Pair {
    treatment: Ghost,
    control: Ghost,
    probe: Probe,
    treatment_hits: [f64; 3],
    control_hits: [f64; 3],
    accesses: [f64; 3],
}

impl ArmsRun {
    /// Runs the experiment: a pass to survey the trace, and one to replay it.
    ///
    /// # Errors
    /// The trace cannot be read, a capacity does not fit it, or a policy must know the future.
    pub fn run(&self, source: &mut Source, observer: &dyn Observer) -> Result<ArmsRecord, Error> {
        if self.shards < 2 {
            return Err(Error::option("two arms take two shards"));
        }
        let (survey, whole) = self.survey(source, observer)?;
        let mut hall = Hall::new(self, whole, &survey)?;
        let mut reader = source.open()?;
        let mut batch: Vec<Request> = Vec::with_capacity(BATCH);
        let mut rows = 0;
        loop {
            batch.clear();
            let read = reader.read(&mut batch, BATCH)?;
            if read == 0 {
                break;
            }
            batch.iter().for_each(|request| hall.answer(request));
            rows += read as u64;
            observer.progress(Stage::Replay, rows, reader.progress());
        }
        Ok(hall.finish(source.name(), whole))
    }

    /// Rejects what cannot be an arm, and finds the size of a shard.
    pub(crate) fn survey(&self, source: &mut Source, observer: &dyn Observer) -> Result<(Survey, Capacity), Error> {
        if let Some(oracle) = [&self.treatment, &self.control].into_iter().find(|spec| spec.eviction().needs_oracle) {
            return Err(Error::option(format!("policy {oracle} must know the future: it cannot be an arm")));
        }
        check_alpha(self.alpha)?;
        source.make_repeatable()?;
        let (survey, _) = Survey::take(&mut *source.open()?, &[], observer)?;
        let whole = self.capacity.resolve(self.weigh, Some(&survey))?;
        check_shards(whole, self.shards)?;
        Ok((survey, whole))
    }

    /// The share of the keys ghosts see.
    pub(crate) fn ghost_rate(&self, whole: Capacity, survey: &Survey) -> f64 {
        let objects = match self.weigh {
            Weigh::Objects => whole.limit as f64,
            Weigh::Bytes => whole.limit as f64 / survey.mean_size().max(1.0),
        };
        self.ghosts.unwrap_or_else(|| ghost_rate(objects / self.shards as f64))
    }

    /// A shard's part of the capacity; the rest goes to the first shards, one unit each.
    pub(crate) fn part(&self, whole: Capacity, shard: usize) -> Capacity {
        part_of(whole, self.shards, shard)
    }

    /// The policy of an arm in a shard; the ghosts' is the control's own, with the same random choices.
    pub(crate) fn policy(&self, arm: Arm, shard: usize, capacity: Capacity) -> Policy {
        let seed = KeyHash::mix(self.seed.wrapping_add((shard as u64) << 32)).0;
        let mut policy = match arm {
            Arm::Treatment => self.treatment.build(capacity, !seed),
            Arm::Control => self.control.build(capacity, seed),
        };
        policy.ttl = match self.lifetimes {
            Lifetimes::Ignored => None,
            Lifetimes::Given => Some(Box::new(Given)),
            Lifetimes::Fixed(span) => Some(Box::new(Fixed(span))),
        };
        policy
    }

    /// The probe beside a shard.
    pub(crate) fn probe(&self, shard: usize, part: Capacity, rate: f64) -> Result<Probe, Error> {
        let seed = KeyHash::mix(self.seed ^ 0x0067_686f_7374).0;
        Ok(Probe::new(part, rate, self.gets_only, seed, |capacity| self.policy(Arm::Control, shard, capacity))?)
    }

    /// Whose shard a key is: keyed by the seed, as in a service by its secret.
    #[inline]
    pub(crate) fn shard_of(&self, key: KeyHash) -> usize {
        shard_of(key, self.shards, self.seed)
    }
}

/// A level beyond these has no interval.
pub(crate) fn check_alpha(alpha: f64) -> Result<(), Error> {
    match alpha > 0.0 && alpha < 0.5 {
        true => Ok(()),
        false => {
            Err(Error::option(format!("alpha is {alpha}: give a probability above 0 and below 0.5, such as 0.05")))
        }
    }
}

/// A shard holds 1 at least: more of them than fit would together hold more than was asked for.
pub(crate) fn check_shards(whole: Capacity, shards: usize) -> Result<(), Error> {
    let limit = whole.limit;
    if limit >= shards as u64 {
        return Ok(());
    }
    Err(Error::option(format!(
        "a capacity of {limit} cannot be divided among {shards} shards, which hold 1 each at least: choose a larger one, or fewer shards"
    )))
}

/// See [`ArmsRun::part`].
pub(crate) fn part_of(whole: Capacity, shards: usize, shard: usize) -> Capacity {
    let (shards, shard) = (shards as u64, shard as u64);
    Capacity { limit: whole.limit / shards + u64::from(shard < whole.limit % shards), ..whole }
}

/// See [`ArmsRun::shard_of`].
#[inline]
pub(crate) fn shard_of(key: KeyHash, shards: usize, seed: u64) -> usize {
    let hash = KeyHash::mix(key.0 ^ KeyHash::mix(seed ^ 0x0073_6861_7264).0).0;
    ((u128::from(hash) * shards as u128) >> 64) as usize
}

/// All shards, and the trial that watches them.
struct Hall<'a> {
    run: &'a ArmsRun,
    pairs: Vec<Pair>,
    arms: Arms,
    trial: Trial,
    rate: f64,
    slices: Slices,
    traffic: u64,
    first_won: Option<u64>,
    looks: Vec<LookRecord>,
    by_shard: Vec<Tally>,
}

/// What a shard counted by requests.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Tally {
    pub(crate) requests: u64,
    pub(crate) hits: u64,
    /// Hits minus the ghost's.
    pub(crate) gained: f64,
}

impl<'a> Hall<'a> {
    fn new(run: &'a ArmsRun, whole: Capacity, survey: &Survey) -> Result<Self, Error> {
        let rate = run.ghost_rate(whole, survey);
        let pair = |shard: usize| -> Result<Pair, Error> {
            let part = run.part(whole, shard);
            Ok(Pair {
                treatment: Ghost::new(part, run.policy(Arm::Treatment, shard, part)),
                control: Ghost::new(part, run.policy(Arm::Control, shard, part)),
                probe: run.probe(shard, part, rate)?,
                treatment_hits: [0.0; 3],
                control_hits: [0.0; 3],
                accesses: [0.0; 3],
            })
        };
        let mut arms = Arms::new(run.shards, 0.0, run.seed);
        arms.treat(0.5);
        Ok(Self {
            run,
            pairs: (0..run.shards).map(pair).collect::<Result<_, _>>()?,
            trial: Trial::new(arms.clone(), true),
            arms,
            rate,
            slices: Slices::new(survey.rows, run.slices),
            traffic: 0,
            first_won: None,
            looks: Vec::new(),
            by_shard: vec![Tally::default(); run.shards],
        })
    }

    fn answer(&mut self, request: &Request) {
        let access = request.access();
        let shard = self.run.shard_of(access.key);
        let given = (request.ttl > 0).then(|| Duration::from_secs(u64::from(request.ttl)));
        let counts = match access.op {
            Op::Get => self.trial.is_warm(),
            Op::Set => self.trial.is_warm() && !self.run.gets_only,
            Op::Delete => false,
        };
        self.pairs[shard].answer(&access, given, self.arms.arm(shard), counts);
        if self.slices.end() {
            self.end_slice();
        }
    }

    fn end_slice(&mut self) {
        let traffic = self.traffic;
        let slice: Vec<ShardSlice> =
            self.pairs.iter_mut().map(|pair| pair.probe.end_slice(traffic, Measures::default())).collect();
        self.traffic = slice.iter().map(|slice| slice.accesses.requests).sum();
        let counted = self.trial.counted();
        self.trial.push(&slice);
        if self.trial.counted() == counted {
            return;
        }
        self.by_shard.iter_mut().zip(&slice).for_each(|(tally, slice)| tally.add(slice));
        // Looked at in every slice, as a dashboard is.
        if self.run.details || self.first_won.is_none() {
            let report = self.report();
            if self.first_won.is_none() && report.better().is_some() {
                self.first_won = Some(report.slices);
            }
            if self.run.details {
                self.looks.push(self.look(&report));
            }
        }
    }

    fn look(&self, report: &Report) -> LookRecord {
        let effect = &report.effect;
        let [treatment, control] = self.truth(0);
        LookRecord {
            slice: report.slices,
            requests: report.requests,
            effect: effect.estimate,
            fixed: [effect.fixed.low, effect.fixed.high],
            anytime: [effect.anytime.low, effect.anytime.high],
            truth: treatment - control,
            treatment_arm: effect.treatment,
            control_arm: effect.control,
            refusals: report.refusals.iter().map(ToString::to_string).collect(),
        }
    }

    /// The hit ratios of treatment and control with all shards, by one weighting.
    fn truth(&self, at: usize) -> [f64; 2] {
        let sum = |of: fn(&Pair) -> &[f64; 3]| self.pairs.iter().map(|pair| of(pair)[at]).sum::<f64>();
        let accesses = sum(|pair| &pair.accesses).max(1.0);
        [sum(|pair| &pair.treatment_hits) / accesses, sum(|pair| &pair.control_hits) / accesses]
    }

    fn shard(&self, (shard, tally): (usize, &Tally)) -> ShardRecord {
        let arm = match self.arms.arm(shard) {
            Arm::Treatment => "treatment",
            Arm::Control => "control",
        };
        ShardRecord { shard, arm, requests: tally.requests, hits: tally.hits, gain: tally.gain().unwrap_or(0.0) }
    }

    fn report(&self) -> Report {
        self.trial.report(self.run.alpha, self.run.slices / 2, None)
    }

    fn finish(self, trace: &str, whole: Capacity) -> ArmsRecord {
        let report = self.report();
        let effect = |(at, effect): (usize, &Effect)| {
            let [treatment_hit_ratio, control_hit_ratio] = self.truth(at);
            EffectRecord {
                weighting: ["requests", "bytes", "cost"][at],
                effect: effect.estimate,
                fixed: [effect.fixed.low, effect.fixed.high],
                anytime: [effect.anytime.low, effect.anytime.high],
                bias: effect.bias,
                truth: treatment_hit_ratio - control_hit_ratio,
                treatment_hit_ratio,
                control_hit_ratio,
            }
        };
        let effects = std::iter::once(&report.effect).chain(report.weighed.iter().flatten());
        ArmsRecord {
            trace: trace.to_owned(),
            treatment: self.run.treatment.to_string(),
            control: self.run.control.to_string(),
            capacity: whole.limit,
            capacity_spec: self.run.capacity.to_string(),
            shards: self.run.shards,
            requests: report.requests,
            slices: report.slices,
            ghost_rate: self.rate,
            effects: effects.enumerate().map(effect).collect(),
            winner: report.better().map(|better| if better { "treatment" } else { "control" }),
            first_won: self.first_won,
            refusals: report.refusals.iter().map(ToString::to_string).collect(),
            head_share: report.head_share,
            effective_keys: report.effective_keys,
            by_shard: match self.run.details {
                true => self.by_shard.iter().enumerate().map(|shard| self.shard(shard)).collect(),
                false => Vec::new(),
            },
            looks: self.looks,
        }
    }
}

impl Tally {
    pub(crate) fn add(&mut self, slice: &ShardSlice) {
        self.requests += slice.accesses.requests;
        self.hits += slice.hits.requests;
        // Of the keys outside the head only a share is tried.
        self.gained += slice.head.gain(Weighting::Requests) + slice.tail.gain(Weighting::Requests) / slice.rate;
    }

    /// Hits gained an access, where there were any.
    pub(crate) fn gain(&self) -> Option<f64> {
        (self.requests > 0).then(|| self.gained / self.requests as f64)
    }
}

impl Pair {
    fn answer(&mut self, access: &Access, given: Option<Duration>, arm: Arm, counts: bool) {
        let treatment = self.treatment.ask(access, given);
        let control = self.control.ask(access, given);
        self.probe.record(access, if arm == Arm::Treatment { treatment } else { control }, given);
        if counts {
            let weights = [1.0, f64::from(access.size), f64::from(access.cost)];
            for (at, weight) in weights.into_iter().enumerate() {
                self.accesses[at] += weight;
                self.treatment_hits[at] += if treatment { weight } else { 0.0 };
                self.control_hits[at] += if control { weight } else { 0.0 };
            }
        }
    }
}
