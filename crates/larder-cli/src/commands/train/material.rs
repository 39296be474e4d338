//! What a model is trained on: the examples of a cold cache that watches all alike, from one replay of each trace.

use std::path::Path;

use larder_model::{Cell, Fit, TraceRecord, file_hash};
use larder_policy::learned::Example;
use larder_policy::{Op, PolicySpec};
use larder_sim::{CapacitySpec, CellRecord, Collecting, Experiment, Lifetimes, Source};

use crate::args::threads;
use crate::commands::{failed, lacks, sizes, tell_doubts};
use crate::failure::{Failure, tell};
use crate::progress::Bar;
use crate::streams;
use crate::train_args::TrainArgs;

/// The policy a model is for.
pub(super) const LEARNED: &str = "learned";

/// The same without a model.
pub(super) const COLD: &str = "learned:prior=0";

/// Brings the examples: of a cold cache, so that what is learned depends on no model there was before, and of all candidates alike, so
/// that shares of them are those of residents and newcomers.
pub(crate) const FAIR: &str = "learned:prior=0/focus=1";

/// A trace, and what is known of it.
pub(super) struct Trace {
    pub(super) source: Source,
    pub(super) record: TraceRecord,
    /// The first row of its later time.
    pub(super) later: u64,
}

/// A trace at a size, replayed by cold caches.
pub(super) struct Replayed {
    /// The number of its trace.
    pub(super) trace: usize,
    pub(super) cold: CellRecord,
    pub(super) examples: Vec<Example>,
    /// How many of them are of the earlier part.
    pub(super) earlier: usize,
}

/// Everything that is learned from.
pub(super) struct Material {
    pub(super) traces: Vec<Trace>,
    /// Cells in which something was evicted, each size of a trace once.
    pub(super) cells: Vec<Replayed>,
}

impl Material {
    /// Replays each trace at each size.
    pub(super) fn collect(args: &TrainArgs) -> Result<Self, Failure> {
        let experiment = experiment(args, vec![policy(FAIR)?, policy(COLD)?]);
        // Half of a cell's examples are of each part of the trace, as near as that can be.
        let collecting = Collecting { most: (args.examples as usize).div_ceil(2), earlier: args.earlier };
        let (mut traces, mut cells) = (Vec::new(), Vec::<Replayed>::new());
        for (path, source) in args.traces.traces.iter().zip(args.traces.sources(args.weigh.into())?) {
            let mut source = source?;
            let bar = Bar::new(source.name());
            let sha256 = source.file().map(file_hash).transpose()?;
            refuse_twice(&traces, &source, sha256.as_deref())?;
            let outcome = match experiment.collect(&mut source, &collecting, &bar) {
                Ok(outcome) => outcome,
                Err(_) if lacks(&source, |op| op != Op::Delete) => {
                    bar.clear();
                    tracing::warn!(trace = source.name(), "passed over: no row of it is one that a cache could keep");
                    continue;
                }
                Err(error) => return Err(failed(error, &source)),
            };
            bar.clear();
            tell_doubts(&source, Lifetimes::Ignored);
            if let Some(raised) = sizes::raised(&outcome, experiment.weigh) {
                tell(&format!("{}: {raised}", source.name()));
            }
            let before = cells.len();
            let mut fair = outcome.cells;
            let cold = fair.split_off(experiment.capacities.len());
            for (cell, cold) in fair.into_iter().zip(cold) {
                let known = cells[before..].iter().any(|known| known.cold.capacity == cell.record.capacity);
                let earlier = cell.examples.earlier.len();
                let mut examples = cell.examples.earlier;
                examples.extend(cell.examples.later);
                if !known && cell.record.evictions > 0 && !examples.is_empty() {
                    cells.push(Replayed { trace: traces.len(), cold: cold.record, examples, earlier });
                }
            }
            if cells.len() == before {
                tracing::warn!(
                    trace = source.name(),
                    "passed over: nothing had to leave at any size, so that there is nothing to learn"
                );
                continue;
            }
            let examples = cells[before..].iter().map(|cell| cell.examples.len() as u64).sum();
            let record = TraceRecord { name: file_name(path), sha256, rows: outcome.rows, examples };
            traces.push(Trace { source, record, later: (outcome.rows as f64 * args.earlier) as u64 });
        }
        Ok(Self { traces, cells })
    }

    pub(super) fn examples(&self) -> u64 {
        self.traces.iter().map(|trace| trace.record.examples).sum()
    }

    /// The cells of some traces, for the learner.
    pub(super) fn of(&self, wanted: impl Fn(usize) -> bool) -> Vec<Cell<'_>> {
        let cells = self.cells.iter().filter(|cell| wanted(cell.trace));
        cells.map(|cell| Cell { trace: &cell.cold.trace, examples: &cell.examples }).collect()
    }

    /// All cells; of each the earlier part, for the learner.
    pub(super) fn earlier(&self) -> Vec<Cell<'_>> {
        let cells = self.cells.iter();
        cells.map(|cell| Cell { trace: &cell.cold.trace, examples: &cell.examples[..cell.earlier] }).collect()
    }
}

/// The same requests under two names would be held out of a model that has learned them.
fn refuse_twice(traces: &[Trace], source: &Source, sha256: Option<&str>) -> Result<(), Failure> {
    let Some(twin) = traces.iter().find(|trace| sha256.is_some() && trace.record.sha256.as_deref() == sha256) else {
        return Ok(());
    };
    let (one, other) = (twin.source.name(), source.name());
    Err(Failure::Usage(format!("{one} and {other} are the same file, byte for byte: name it once")))
}

/// The policies at all sizes.
pub(super) fn experiment(args: &TrainArgs, policies: Vec<PolicySpec>) -> Experiment {
    let capacities: Vec<CapacitySpec> = args.capacities.clone();
    Experiment {
        policies,
        capacities,
        weigh: args.weigh.into(),
        seed: args.seed,
        threads: threads(args.threads),
        gets_only: false,
        lifetimes: Lifetimes::Ignored,
    }
}

/// How to learn.
pub(super) fn fit(args: &TrainArgs) -> Fit {
    Fit { epochs: args.epochs as usize, seed: args.seed, ..Fit::default() }
}

pub(crate) fn policy(text: &str) -> Result<PolicySpec, Failure> {
    text.parse().map_err(|error| larder_sim::Error::from(error).into())
}

/// The name of a trace's file, where a stream is without the login, or a generator's description.
pub(super) fn file_name(path: &str) -> String {
    if streams::is_stream(path) {
        return streams::without_login(path);
    }
    let name = Path::new(path).file_name().filter(|_| !path.starts_with("gen:"));
    name.map_or_else(|| path.to_owned(), |name| name.to_string_lossy().into_owned())
}
