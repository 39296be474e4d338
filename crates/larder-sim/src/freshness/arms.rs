//! Two lifetimes as arms of an experiment over a trace, next to the truth: what each serves and loads when it has all shards.

use larder_policy::experiment::{Arm, Arms, Comparison, Measures, Report, ShardSlice, StaleShare, Trial, fresh_enough};
use larder_policy::freshness::{Audited, Expert, Freshness};
use larder_policy::{Capacity, KeyHash};
use larder_trace::Progress;
use serde::Serialize;

use super::FreshnessExperiment;
use super::learned::Learned;
use super::score::{Cache, Score, Store};
use super::workload::{Event, Key, Workload};
use crate::arms::{check_alpha, check_shards, part_of, shard_of};
use crate::experiment::ratio;
use crate::progress::{Observer, Stage};
use crate::slices::Slices;
use crate::{Error, Source};

/// The share of the slices before the treatment, and again of those before anything counts: lifetimes have to settle.
const BEFORE: u64 = 10;

/// What values live by, and what it is called.
#[derive(Clone, Debug, PartialEq)]
pub struct NamedLifetimes {
    /// As it was asked for.
    pub name: String,
    /// A rule or an objective; grace, hard maximum and rent are the experiment's.
    pub freshness: Freshness,
}

/// Two lifetimes as arms of an experiment over a trace, decided as in a service: by loads of the origin while both are fresh enough, and by
/// being fresh enough where the other is not.
///
/// Each shard runs both for real. The statistics see, of each shard, only the lifetimes of its arm, and of what was stale only what audits found;
/// the truth sees both arms in all shards, and every stale read.
#[derive(Clone, Debug)]
pub struct LifetimeArms {
    /// What is replayed; its policies play no part. Audits aim at its objective where the lifetimes have none.
    pub experiment: FreshnessExperiment,
    /// The lifetimes on trial.
    pub treatment: NamedLifetimes,
    /// Those they are compared with.
    pub control: NamedLifetimes,
    /// Shards, half of them treated.
    pub shards: usize,
    /// Slices of equally many reads. A tenth are the baseline, in which all live by the control's, and a tenth pass before anything counts.
    pub slices: u64,
    /// The probability that a difference is claimed where there is none.
    pub alpha: f64,
}

/// Two lifetimes on one trace with one seed, for scripts.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct LifetimeArmsRecord {
    /// The trace's name.
    pub trace: String,
    /// The lifetimes on trial.
    pub treatment: String,
    /// Those they are compared with.
    pub control: String,
    /// The seed.
    pub seed: u64,
    /// The share of stale reads that is fresh enough: 1.2 times the objective.
    pub fresh_enough: f64,
    /// A read is stale when the value has been outdated for longer than this.
    pub grace_seconds: f64,
    /// What the cache holds, in objects; `None` for everything.
    pub capacity: Option<u64>,
    /// Shards of both arms.
    pub shards: usize,
    /// Reads that count, of all.
    pub reads: u64,
    /// Slices they came in.
    pub slices: u64,
    /// What the treated shards did, and the truth of all.
    pub treatment_arm: LifetimeArmRecord,
    /// What the other shards did, and the truth of all.
    pub control_arm: LifetimeArmRecord,
    /// How the arms' loads differ; `None` without any.
    pub loads: Option<LoadsRecord>,
    /// `treatment`, `control`, or nothing where it is open or may not be said: looked at after 8, 16, 32, … slices.
    pub winner: Option<&'static str>,
    /// The slice after which that was sure.
    pub first_won: Option<u64>,
    /// What it won by.
    pub conclusion: Option<String>,
    /// Why it is open, where nothing is in the way of a conclusion.
    pub open: Option<String>,
    /// Why nothing may be concluded.
    pub refusals: Vec<String>,
}

/// What one arm did on its own shards, and would have done on all.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct LifetimeArmRecord {
    /// Reads of its shards.
    pub reads: u64,
    /// Loads of the origin a read, audits included.
    pub loads_per_read: f64,
    /// The share of stale reads, as audits found it; `None` where nothing was audited.
    pub stale_rate: Option<f64>,
    /// The ends of its interval, for who looks once.
    pub stale_within: Option<[f64; 2]>,
    /// The truth: the share of stale reads with all shards.
    pub true_stale_rate: f64,
    /// The truth: loads a read with all shards.
    pub true_loads_per_read: f64,
}

/// By what share the treatment loads more (0.1: a tenth), each shard beside its own baseline.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct LoadsRecord {
    /// The change.
    pub change: f64,
    /// Its interval, for who looks once; `None` where an arm has too few shards for one.
    pub within: Option<[f64; 2]>,
    /// The p-value of a permutation test that the treatment does not load more.
    pub p_more: f64,
    /// The same that it does not load less.
    pub p_less: f64,
    /// The truth: with all shards.
    pub truth: f64,
}

impl LifetimeArms {
    /// Runs the experiment with each seed.
    ///
    /// # Errors
    /// As [`FreshnessExperiment::run`], and fewer than two shards, or fewer reads than slices.
    pub fn run(&self, source: &Source, observer: &dyn Observer) -> Result<Vec<LifetimeArmsRecord>, Error> {
        if self.shards < 2 {
            return Err(Error::option("two arms take two shards"));
        }
        check_alpha(self.alpha)?;
        let trace = self.experiment.trace(source, observer)?;
        let record = |&seed: &u64| {
            let workload = self.experiment.workload(&trace, source, seed)?;
            if workload.reads < self.slices {
                let (reads, slices) = (workload.reads, self.slices);
                return Err(Error::option(format!("{reads} reads do not make {slices} slices: take fewer --slices")));
            }
            let capacity = self.experiment.limit(workload.keys.len())?;
            let mut hall = Hall::new(self, &workload, capacity, seed)?;
            for (at, event) in workload.events.iter().enumerate() {
                hall.answer(event);
                if at % crate::BATCH == 0 {
                    let progress = Progress { bytes: at as u64, total: Some(workload.events.len() as u64) };
                    observer.progress(Stage::Replay, at as u64, progress);
                }
            }
            Ok(hall.finish(source.name(), capacity, seed))
        };
        self.experiment.seeds.iter().map(record).collect()
    }

    /// The share of stale reads up to which lifetimes are fresh enough: by the treatment's objective, or the control's, or the experiment's.
    fn fresh_enough(&self) -> f64 {
        let objective = |arm: &NamedLifetimes| arm.freshness.objective();
        let own = objective(&self.treatment).or_else(|| objective(&self.control));
        fresh_enough(own.unwrap_or(self.experiment.objective))
    }

    /// An arm's lifetimes, with what all have in common.
    fn lifetimes(&self, arm: Arm) -> Freshness {
        let NamedLifetimes { freshness, .. } = match arm {
            Arm::Treatment => &self.treatment,
            Arm::Control => &self.control,
        };
        self.experiment.common(freshness.clone())
    }
}

/// A shard under one arm's lifetimes, with its own engine.
struct Lane {
    cache: Cache,
    policy: Learned,
    score: Score,
    /// Reads, loads and audits' findings at the end of the last slice.
    before: (u64, u64, Audited),
}

impl Lane {
    fn origin_loads(&self) -> u64 {
        self.score.loads + self.score.audits
    }

    fn end_slice(&mut self) -> ShardSlice {
        let now = (self.score.reads, self.origin_loads(), self.policy.audited());
        let (reads, loads, audited) = std::mem::replace(&mut self.before, now);
        let mut slice = ShardSlice::default();
        slice.accesses.requests = now.0 - reads;
        slice.measures = Measures { origin_loads: now.1 - loads, audited: now.2 - audited, ..Measures::default() };
        slice
    }

    /// Counts from now on.
    fn begin(&mut self) {
        self.score = Score::default();
        (self.before.0, self.before.1) = (0, 0);
    }
}

/// A shard under both arms' lifetimes.
struct Pair {
    keys: Vec<Key>,
    treatment: Lane,
    control: Lane,
}

impl Pair {
    fn lane(&mut self, arm: Arm) -> &mut Lane {
        match arm {
            Arm::Treatment => &mut self.treatment,
            Arm::Control => &mut self.control,
        }
    }
}

/// All shards, and the trial that watches them.
struct Hall<'a> {
    run: &'a LifetimeArms,
    pairs: Vec<Pair>,
    /// By key: its shard, and its number there.
    places: Vec<(u32, u32)>,
    arms: Arms,
    baseline: Trial,
    trial: Trial,
    cut: Slices,
    slices: u64,
    /// Slices of the baseline, and those before anything counts.
    before: [u64; 2],
    /// What was concluded, after which slice.
    concluded: Option<(u64, &'static str, String)>,
}

impl<'a> Hall<'a> {
    fn new(run: &'a LifetimeArms, workload: &Workload, capacity: Option<Capacity>, seed: u64) -> Result<Self, Error> {
        if let Some(whole) = capacity {
            check_shards(whole, run.shards)?;
        }
        let mut keys: Vec<Vec<Key>> = vec![Vec::new(); run.shards];
        let place = |key: &Key| {
            let shard = shard_of(key.hash, run.shards, seed);
            keys[shard].push(*key);
            (shard as u32, keys[shard].len() as u32 - 1)
        };
        let places = workload.keys.iter().map(place).collect();
        let audited = run.experiment.freshness()?;
        let pair = |(shard, keys): (usize, Vec<Key>)| {
            let seed = KeyHash::mix(seed.wrapping_add((shard as u64) << 32)).0;
            let lane = || {
                let limit = capacity.map(|whole| (part_of(whole, run.shards, shard), &run.experiment.evict));
                let cache = Cache::new(keys.len(), run.experiment.grace, &Store { limit, seed });
                let mut policy = Learned::new(audited.clone(), Expert::default(), &keys, seed, run.experiment.told);
                policy.live_by(&run.lifetimes(Arm::Control));
                Lane { cache, policy, score: Score::default(), before: Default::default() }
            };
            let (treatment, control) = (lane(), lane());
            Pair { keys, treatment, control }
        };
        let mut arms = Arms::new(run.shards, 0.0, seed);
        arms.treat(0.5);
        let tenth = (run.slices / BEFORE).max(1);
        Ok(Self {
            run,
            pairs: keys.into_iter().enumerate().map(pair).collect(),
            places,
            baseline: Trial::new(arms.clone(), false),
            trial: Trial::new(arms.clone(), false),
            arms,
            cut: Slices::new(workload.reads, run.slices),
            slices: 0,
            before: [tenth, 2 * tenth],
            concluded: None,
        })
    }

    fn answer(&mut self, event: &Event) {
        let (shard, key) = self.places[event.key as usize];
        let Pair { keys, treatment, control } = &mut self.pairs[shard as usize];
        let event = Event { key, ..*event };
        for Lane { cache, policy, score, .. } in [treatment, control] {
            cache.answer(&event, &keys[key as usize], policy, score);
        }
        if !event.is_write && self.cut.end() {
            self.end_slice();
        }
    }

    fn end_slice(&mut self) {
        self.slices += 1;
        let [baseline, settled] = self.before;
        let slice: Vec<ShardSlice> = (0..)
            .zip(&mut self.pairs)
            .map(|(at, pair)| {
                let arm = self.arms.arm(at);
                let [treatment, control] = [Arm::Treatment, Arm::Control].map(|arm| pair.lane(arm).end_slice());
                if arm == Arm::Treatment { treatment } else { control }
            })
            .collect();
        if self.slices <= baseline {
            self.baseline.push(&slice);
        } else if self.slices > settled {
            self.trial.push(&slice);
            self.look();
        }
        if self.slices == baseline {
            let lifetimes = self.run.lifetimes(Arm::Treatment);
            self.pairs.iter_mut().for_each(|pair| pair.treatment.policy.live_by(&lifetimes));
        }
        if self.slices == settled {
            self.pairs.iter_mut().flat_map(|pair| [&mut pair.treatment, &mut pair.control]).for_each(Lane::begin);
        }
    }

    /// Looked at in every slice, as a service does; the first conclusion stands.
    fn look(&mut self) {
        if self.concluded.is_some() {
            return;
        }
        let found = self.trial.better_lifetimes(Some(&self.baseline), self.run.fresh_enough(), self.run.alpha);
        self.concluded = found.map(|found| match found {
            Ok(won) => (self.trial.counted(), "treatment", won.to_string()),
            Err(breach) => (self.trial.counted(), "control", breach.to_string()),
        });
    }

    /// Loads a read and the share of stale reads under an arm's lifetimes with all shards.
    fn truth(&self, of: fn(&Pair) -> &Lane) -> (f64, f64) {
        let sum = |count: fn(&Lane) -> u64| self.pairs.iter().map(|pair| count(of(pair))).sum::<u64>();
        let reads = sum(|lane| lane.score.reads);
        (ratio(sum(Lane::origin_loads), reads), ratio(sum(|lane| lane.score.stale), reads))
    }

    fn arm(&self, arm: Arm, stale: Option<StaleShare>) -> LifetimeArmRecord {
        let of: fn(&Pair) -> &Lane = match arm {
            Arm::Treatment => |pair| &pair.treatment,
            Arm::Control => |pair| &pair.control,
        };
        let own = || (0..).zip(&self.pairs).filter(|(shard, _)| self.arms.arm(*shard) == arm).map(|(_, pair)| of(pair));
        let reads = own().map(|lane| lane.score.reads).sum();
        let (true_loads_per_read, true_stale_rate) = self.truth(of);
        LifetimeArmRecord {
            reads,
            loads_per_read: ratio(own().map(Lane::origin_loads).sum(), reads),
            stale_rate: stale.map(|stale| stale.rate),
            stale_within: stale.map(|stale| [stale.interval.low, stale.interval.high]),
            true_stale_rate,
            true_loads_per_read,
        }
    }

    fn finish(self, trace: &str, capacity: Option<Capacity>, seed: u64) -> LifetimeArmsRecord {
        let LifetimeArms { experiment, treatment, control, shards, alpha, .. } = self.run;
        let report = self.trial.report(*alpha, self.run.slices / 2, Some(&self.baseline));
        let arms = [(Arm::Treatment, report.stale), (Arm::Control, report.control_stale)];
        let [treatment_arm, control_arm] = arms.map(|(arm, stale)| self.arm(arm, stale));
        let truth = treatment_arm.true_loads_per_read / control_arm.true_loads_per_read - 1.0;
        let loads = report.origin_loads.as_ref().and_then(|loads| LoadsRecord::of(loads, *alpha, truth));
        let refusals = self.trial.refuse_arms(Some(&self.baseline));
        let open = || self.open(&report, loads);
        LifetimeArmsRecord {
            trace: trace.to_owned(),
            treatment: treatment.name.clone(),
            control: control.name.clone(),
            seed,
            fresh_enough: self.run.fresh_enough(),
            grace_seconds: experiment.grace.as_secs_f64(),
            capacity: capacity.map(|capacity| capacity.limit),
            shards: *shards,
            reads: report.requests,
            slices: report.slices,
            treatment_arm,
            control_arm,
            loads,
            open: (self.concluded.is_none() && refusals.is_empty()).then(open),
            refusals: refusals.iter().map(ToString::to_string).collect(),
            first_won: self.concluded.as_ref().map(|concluded| concluded.0),
            winner: self.concluded.as_ref().map(|concluded| concluded.1),
            conclusion: self.concluded.map(|concluded| concluded.2),
        }
    }

    /// Why no conclusion was reached, as who looks once at the end sees it.
    fn open(&self, report: &Report, loads: Option<LoadsRecord>) -> String {
        let most = self.run.fresh_enough();
        let percent = |share: f64| format!("{:.2} %", share * 100.0);
        let up_to = |stale: Option<StaleShare>| stale.map_or(1.0, |stale| stale.interval.high);
        let (ours, control) = (up_to(report.stale), up_to(report.control_stale));
        if ours > most {
            return format!(
                "up to {} of the treatment's answers may be stale, and {} may be",
                percent(ours),
                percent(most)
            );
        }
        match loads {
            Some(loads) if loads.within.is_some_and(|[low, _]| low > 0.0) && control > most => {
                let control = percent(control);
                format!(
                    "the treatment loads more, and up to {control} of the control's answers may be stale, so it is no measure"
                )
            }
            Some(loads) if loads.within.is_none_or(|[low, high]| low <= 0.0 && high >= 0.0) => {
                "loads differ by no more than chance".into()
            }
            _ => "not yet sure enough for who looks again and again".into(),
        }
    }
}

impl LoadsRecord {
    fn of(loads: &Comparison, alpha: f64, truth: f64) -> Option<Self> {
        let within = loads.change_within(alpha).map(|within| [within.low, within.high]);
        let Comparison { p_more, p_less, .. } = *loads;
        Some(Self { change: loads.change()?, within, p_more, p_less, truth })
    }
}
