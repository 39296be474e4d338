//! From what a user asks (policies × capacities over a trace) to one record a cell.

use std::num::NonZeroUsize;
use std::time::{Duration, Instant};

use larder_policy::{PolicySpec, Weigh};
use serde::Serialize;

use crate::capacity::CapacitySpec;
use crate::cell::{Cell, CellSetup, Lifetimes};
use crate::examples::{Collecting, Examples, Recorder};
use crate::feed::Totals;
use crate::progress::Observer;
use crate::replay::{ReplayOptions, replay};
use crate::series::Series;
use crate::{Error, Source, Survey};

/// Policies and sizes to compare on a trace.
#[derive(Clone, Debug)]
pub struct Experiment {
    /// The policies.
    pub policies: Vec<PolicySpec>,
    /// The sizes.
    pub capacities: Vec<CapacitySpec>,
    /// What an entry weighs.
    pub weigh: Weigh,
    /// The seed of the policies' random choices.
    pub seed: u64,
    /// Threads in all; results do not depend on it.
    pub threads: NonZeroUsize,
    /// Whether only gets count in the miss ratios.
    pub gets_only: bool,
    /// What becomes of lifetimes.
    pub lifetimes: Lifetimes,
}

/// What one policy at one size did on one trace: the record scripts depend on.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct CellRecord {
    /// The trace's name.
    pub trace: String,
    /// The policy as it was asked for.
    pub policy: String,
    /// The size, in objects or bytes.
    pub capacity: u64,
    /// The size as it was asked for.
    pub capacity_spec: String,
    /// Counted accesses: gets and sets, or gets alone.
    pub requests: u64,
    /// Gets.
    pub gets: u64,
    /// Counted accesses that hit.
    pub hits: u64,
    /// Counted accesses that missed.
    pub misses: u64,
    /// `misses / requests`; 0 without requests.
    pub miss_ratio: f64,
    /// Bytes of the missed accesses by bytes of all counted ones.
    pub byte_miss_ratio: f64,
    /// Entries that left to make room.
    pub evictions: u64,
    /// Time spent in this cell's own loop, in seconds; decoding is not in it.
    pub seconds: f64,
    /// `requests / seconds`.
    pub requests_per_second: f64,
    /// Bytes of metadata held at the end.
    pub metadata_bytes: u64,
}

/// A record with its course over time.
#[derive(Clone, Debug)]
pub struct CellOutcome {
    /// The record.
    pub record: CellRecord,
    /// Misses in the windows of [`Outcome::series`].
    pub misses: Series,
    /// Training examples, of [`Experiment::collect`].
    pub examples: Examples,
}

/// What an experiment found on one trace.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The trace's name.
    pub trace: String,
    /// What the first pass counted, where one was needed.
    pub survey: Option<Survey>,
    /// Rows of the trace.
    pub rows: u64,
    /// Counted accesses.
    pub requests: u64,
    /// Counted accesses over the course of the trace.
    pub series: Series,
    /// By policy, then by capacity, in the order asked for.
    pub cells: Vec<CellOutcome>,
    /// From opening the trace to its end, decoding and the first pass included.
    pub elapsed: Duration,
    /// Rows passed over as bad.
    pub bad_rows: u64,
}

impl Experiment {
    /// Runs all policies at all sizes in one pass; a pass before it surveys the trace where shares or knowledge of
    /// the future are asked for.
    ///
    /// # Errors
    /// The trace cannot be read, or a capacity or policy does not fit it.
    pub fn run(&self, source: &mut Source, observer: &dyn Observer) -> Result<Outcome, Error> {
        self.replay(source, None, observer)
    }

    /// The same, keeping what learned policies learn from.
    ///
    /// # Errors
    /// As [`run`](Self::run).
    pub fn collect(
        &self,
        source: &mut Source,
        collecting: &Collecting,
        observer: &dyn Observer,
    ) -> Result<Outcome, Error> {
        self.replay(source, Some(collecting), observer)
    }

    fn replay(
        &self,
        source: &mut Source,
        collecting: Option<&Collecting>,
        observer: &dyn Observer,
    ) -> Result<Outcome, Error> {
        let start = Instant::now();
        let needs_future = self.policies.iter().any(|policy| policy.eviction().needs_oracle);
        let lanes = [None];
        let mut survey = None;
        let mut future = None;
        if needs_future || collecting.is_some() || self.capacities.iter().any(CapacitySpec::is_share) {
            source.make_repeatable()?;
            let asked = if needs_future { &lanes[..] } else { &[] };
            let (counts, futures) = Survey::foresee(&mut *source.open()?, asked, self.gets_only, observer)?;
            survey = Some(counts);
            future = futures.into_iter().next();
        }
        let mut cells = Vec::new();
        let mut sizes = Vec::new();
        for policy in &self.policies {
            for spec in &self.capacities {
                let capacity = spec.resolve(self.weigh, survey.as_ref())?;
                let setup = CellSetup {
                    policy,
                    capacity,
                    seed: self.seed,
                    lifetimes: self.lifetimes,
                    gets_only: self.gets_only,
                    future: future.as_ref(),
                    lane: 0,
                };
                let mut cell = Cell::new(&setup)?;
                if let Some((collecting, survey)) = collecting.zip(survey.as_ref()) {
                    cell.record(Recorder::new(collecting, survey.rows, self.seed));
                }
                cells.push(cell);
                sizes.push((policy, spec, capacity.limit));
            }
        }
        let options = ReplayOptions { threads: self.threads, gets_only: self.gets_only, lifetimes: self.lifetimes };
        let mut reader = source.open()?;
        let replayed = replay(&mut *reader, &lanes, cells, &options, observer)?;
        let totals = replayed.totals.into_iter().next().unwrap_or_default();
        let cells = sizes.into_iter().zip(replayed.cells).map(|((policy, spec, capacity), (tally, metadata_bytes))| {
            let seconds = tally.spent.as_secs_f64();
            let record = CellRecord {
                trace: source.name().to_owned(),
                policy: policy.to_string(),
                capacity,
                capacity_spec: spec.to_string(),
                requests: totals.requests,
                gets: totals.gets,
                hits: totals.requests - tally.misses,
                misses: tally.misses,
                miss_ratio: ratio(tally.misses, totals.requests),
                byte_miss_ratio: ratio(tally.missed_bytes, totals.bytes),
                evictions: tally.evictions,
                seconds,
                requests_per_second: if seconds > 0.0 { totals.requests as f64 / seconds } else { 0.0 },
                metadata_bytes,
            };
            CellOutcome { record, misses: tally.series, examples: tally.examples }
        });
        let cells = cells.collect();
        let Totals { requests, series, .. } = totals;
        Ok(Outcome {
            trace: source.name().to_owned(),
            survey,
            rows: replayed.rows,
            requests,
            series,
            cells,
            elapsed: start.elapsed(),
            bad_rows: reader.skipped().bad,
        })
    }
}

pub(crate) fn ratio(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}
