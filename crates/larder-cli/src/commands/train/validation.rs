//! Models judged on what they have not seen: later time, and other traces.

use std::collections::BTreeSet;
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use larder_model::evaluate::{Importance, Score, importance, served};
use larder_model::{Cell, Fit, Fitted, HeldOut, Ratios};
use larder_policy::learned::{Example, Prior};
use larder_policy::{PolicySpec, eviction};
use larder_sim::{CellRecord, judge};

use super::material::{self, COLD, Material};
use super::starting;
use crate::args::threads;
use crate::failure::Failure;
use crate::progress::Bar;
use crate::train_args::{HoldoutArg, TrainArgs};

/// Whose evictions are judged: the last is the one with a model.
pub(super) const DECIDERS: [&str; 3] = ["lru", "cold start", "with the prior"];

/// How often later time is replayed where one family is all there is: chance in the cache is then all that can be told.
const SEEDS: u64 = 5;

/// What was found, and the model of everything.
pub(super) struct Validation {
    pub(super) whole: Fitted,
    pub(super) other_traces: Vec<HeldOut>,
    pub(super) later_time: Vec<HeldOut>,
    pub(super) scores: Vec<(String, Score)>,
    pub(super) importance: Vec<Importance>,
    pub(super) decisions: Vec<(String, String, Vec<f64>)>,
}

impl Validation {
    /// `beside_shipped`: the prior that ships is judged too.
    pub(super) fn run(args: &TrainArgs, material: &mut Material, beside_shipped: bool) -> Result<Self, Failure> {
        let groups = groups(args.holdout, material);
        let count = groups.iter().max().map_or(0, |last| last + 1);
        // A model of everything, one of the earlier parts, and for each group one of the others.
        let mut jobs = vec![material.of(|_| true), material.earlier()];
        if count > 1 {
            jobs.extend((0..count).map(|group| material.of(|trace| groups[trace] != group)));
        }
        let mut fitted = fit_all(&material::fit(args), &jobs, threads(args.threads))?.into_iter();
        let (Some(whole), Some(earlier)) = (fitted.next(), fitted.next()) else {
            return Err(Failure::Failed("the models were not trained".into()));
        };
        let prior = |fitted: &Fitted| fitted.prior(args.sureness, String::new()).map(Arc::new);
        let of_others: Vec<Arc<Prior>> = fitted.map(|fitted| prior(&fitted)).collect::<Result<_, _>>()?;
        let of_earlier = prior(&earlier)?;

        let (scores, importance) = predictions(args, material, &earlier, &of_earlier, &groups, &of_others);
        let seeds = if of_others.is_empty() { SEEDS } else { 1 };
        let later_time = later_time(args, material, &arms(&of_earlier, beside_shipped)?, seeds)?;
        let (mut other_traces, mut decisions) = (Vec::new(), Vec::new());
        if !of_others.is_empty() {
            other_traces = on_other_traces(args, material, &groups, &of_others, beside_shipped)?;
            decisions = judged(args, material, &groups, &of_others)?;
        }
        Ok(Self { whole, other_traces, later_time, scores, importance, decisions })
    }
}

/// The number of the group each trace is held out with.
fn groups(holdout: HoldoutArg, material: &Material) -> Vec<usize> {
    let names: Vec<&str> = material.traces.iter().map(|trace| group(holdout, trace.source.name())).collect();
    let known: BTreeSet<&str> = names.iter().copied().collect();
    let number = |name: &str| known.iter().position(|known| *known == name).unwrap_or(0);
    names.into_iter().map(number).collect()
}

/// What a trace is held out with.
fn group(holdout: HoldoutArg, name: &str) -> &str {
    match holdout {
        HoldoutArg::Trace => name,
        HoldoutArg::Family => family(name),
    }
}

/// What comes before the last hyphen: traces of one origin are named alike, and are alike.
fn family(name: &str) -> &str {
    name.rsplit_once('-').map_or(name, |(family, _)| family)
}

/// Trains models side by side. What comes out does not depend on the threads.
fn fit_all(fit: &Fit, jobs: &[Vec<Cell<'_>>], threads: NonZeroUsize) -> Result<Vec<Fitted>, Failure> {
    let bar = Bar::new("learning");
    let (next, done) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let results: Mutex<Vec<_>> = Mutex::new(jobs.iter().map(|_| None).collect());
    let work = || {
        while let Some((number, job)) =
            Some(next.fetch_add(1, Ordering::Relaxed)).and_then(|at| Some((at, jobs.get(at)?)))
        {
            let result = fit.run(job);
            results.lock().unwrap_or_else(PoisonError::into_inner)[number] = Some(result);
            bar.step("models", done.fetch_add(1, Ordering::Relaxed) + 1, jobs.len());
        }
    };
    std::thread::scope(|scope| {
        for _ in 1..threads.get().min(jobs.len()) {
            scope.spawn(work);
        }
        work();
    });
    bar.clear();
    let results = results.into_inner().unwrap_or_else(PoisonError::into_inner);
    Ok(results.into_iter().flatten().collect::<Result<_, _>>()?)
}

/// How good predictions are: with the cells' own intercepts in later time, and as a cache that goes on learning serves them.
fn predictions(
    args: &TrainArgs,
    material: &Material,
    earlier: &Fitted,
    of_earlier: &Prior,
    groups: &[usize],
    of_others: &[Arc<Prior>],
) -> (Vec<(String, Score)>, Vec<Importance>) {
    let later: Vec<(usize, Example)> = material
        .cells
        .iter()
        .enumerate()
        .flat_map(|(number, cell)| cell.examples[cell.earlier..].iter().map(move |&example| (number, example)))
        .collect();
    let probability = |cell: usize, example: &Example| earlier.probability(cell, example);
    let offline: Score = later.iter().map(|(cell, example)| (probability(*cell, example), example.used)).collect();
    let importance = importance(&later, args.seed, probability);

    let rate = rate();
    let score = |with_prior: bool| -> Score {
        let cells = material.cells.iter().flat_map(|cell| {
            // Where no trace can be held out, the later part is what the model has not seen.
            let (prior, examples) = match of_others.get(groups[cell.trace]) {
                Some(prior) => (&**prior, &cell.examples[..]),
                None => (of_earlier, &cell.examples[cell.earlier..]),
            };
            served(with_prior.then_some(prior), rate, examples)
        });
        cells.collect()
    };
    let on = if of_others.is_empty() { "later time" } else { "traces held out" };
    let scores = vec![
        ("later time, not learning on".to_owned(), offline),
        (format!("{on}, cold start"), score(false)),
        (format!("{on}, with the prior"), score(true)),
    ];
    (scores, importance)
}

/// How fast the learner in a cache learns by default.
pub(crate) fn rate() -> f32 {
    let learned = eviction::REGISTRY.iter().find(|entry| entry.name == material::LEARNED);
    let rate = learned.and_then(|entry| entry.params.iter().find(|param| param.name == "rate"));
    rate.map_or(0.0, |param| param.default as f32)
}

/// A cache with the prior, and one with the prior that ships.
fn arms(prior: &Arc<Prior>, beside_shipped: bool) -> Result<Vec<PolicySpec>, Failure> {
    let shipped = beside_shipped.then(|| material::policy(material::LEARNED));
    [Some(starting(prior)), shipped].into_iter().flatten().collect()
}

/// Caches that start where the later time does: cold, and with what the earlier time taught.
fn later_time(
    args: &TrainArgs,
    material: &mut Material,
    arms: &[PolicySpec],
    seeds: u64,
) -> Result<Vec<HeldOut>, Failure> {
    let policies: Vec<PolicySpec> = [material::policy(COLD)?].into_iter().chain(arms.iter().cloned()).collect();
    let mut experiment = material::experiment(args, policies);
    let mut found: Vec<HeldOut> = Vec::new();
    for trace in &mut material.traces {
        let before = found.len();
        trace.source.start_at(trace.later);
        for more in 0..seeds {
            experiment.seed = args.seed.wrapping_add(more);
            let bar = Bar::new(trace.source.name());
            let outcome = experiment.run(&mut trace.source, &bar)?;
            bar.clear();
            let records: Vec<&CellRecord> = outcome.cells.iter().map(|cell| &cell.record).collect();
            let (cold, others) = records.split_at(experiment.capacities.len());
            let mut seen = BTreeSet::new();
            for (at, cold) in cold.iter().enumerate() {
                if !seen.insert(cold.capacity) || cold.evictions == 0 {
                    continue;
                }
                let ratios = ratios(cold, others.iter().skip(at).step_by(experiment.capacities.len()).copied());
                match found[before..].iter_mut().find(|cell| cell.capacity == cold.capacity) {
                    Some(cell) => cell.seeds.extend(ratios),
                    None => found.extend(ratios.map(|ratios| held_out(args, cold, ratios))),
                }
            }
        }
        trace.source.start_at(0);
    }
    Ok(found)
}

/// Each trace with a model of the others, against a cold cache.
fn on_other_traces(
    args: &TrainArgs,
    material: &mut Material,
    groups: &[usize],
    of_others: &[Arc<Prior>],
    beside_shipped: bool,
) -> Result<Vec<HeldOut>, Failure> {
    let mut found = Vec::new();
    for (number, trace) in material.traces.iter_mut().enumerate() {
        let experiment = material::experiment(args, arms(&of_others[groups[number]], beside_shipped)?);
        let bar = Bar::new(trace.source.name());
        let outcome = experiment.run(&mut trace.source, &bar)?;
        bar.clear();
        for cell in material.cells.iter().filter(|cell| cell.trace == number) {
            let records = outcome.cells.iter().map(|other| &other.record);
            let same = records.filter(|other| other.capacity_spec == cell.cold.capacity_spec);
            found.extend(ratios(&cell.cold, same).map(|ratios| held_out(args, &cell.cold, ratios)));
        }
    }
    Ok(found)
}

/// What missed cold, and with the policies of [`arms`].
fn ratios<'a>(cold: &CellRecord, mut arms: impl Iterator<Item = &'a CellRecord>) -> Option<Ratios> {
    let prior = arms.next()?.miss_ratio;
    Some(Ratios { cold: cold.miss_ratio, shipped: arms.next().map(|record| record.miss_ratio), prior })
}

fn held_out(args: &TrainArgs, cold: &CellRecord, ratios: Ratios) -> HeldOut {
    HeldOut {
        trace: cold.trace.clone(),
        family: group(args.holdout, &cold.trace).to_owned(),
        size: cold.capacity_spec.clone(),
        capacity: cold.capacity,
        requests: cold.requests,
        seeds: vec![ratios],
    }
}

/// Evictions on each trace, at the middle one of the sizes, set against the future.
fn judged(
    args: &TrainArgs,
    material: &mut Material,
    groups: &[usize],
    of_others: &[Arc<Prior>],
) -> Result<Vec<(String, String, Vec<f64>)>, Failure> {
    let size = &args.capacities[args.capacities.len() / 2];
    let mut found = Vec::new();
    for (number, trace) in material.traces.iter_mut().enumerate() {
        let policies = [material::policy(DECIDERS[0])?, material::policy(COLD)?, starting(&of_others[groups[number]])?];
        let bar = Bar::new(trace.source.name());
        let mut shares = Vec::new();
        for policy in &policies {
            let decisions = judge(&mut trace.source, policy, size, args.weigh.into(), args.seed, &bar)?;
            shares.push(decisions.farthest_quarter);
        }
        bar.clear();
        found.push((trace.source.name().to_owned(), size.to_string(), shares));
    }
    Ok(found)
}
