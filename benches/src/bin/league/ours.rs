//! larder's side: its policies on the cells of the peers' file.

use std::collections::HashMap;
use std::io::IsTerminal;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use larder_policy::{Op, PolicySpec, Weigh};
use larder_sim::{Experiment, Lifetimes, Outcome, Source};
use larder_trace::{Options, Reader, Request, open};

use crate::peers::{Cell, Ratios};
use crate::score::Contestant;

/// How larder is run.
pub(crate) struct Runs {
    pub(crate) traces: PathBuf,
    pub(crate) weigh: Weigh,
    /// Seeds 1, 2 and so on.
    pub(crate) seeds: u64,
    pub(crate) threads: NonZeroUsize,
}

impl Runs {
    /// Replays every policy on every cell: a list of contestants for each seed. Each trace is decoded once.
    pub(crate) fn replay(&self, policies: &[PolicySpec], cells: &[Cell]) -> Result<Vec<Vec<Contestant>>> {
        let contestant = |policy: &PolicySpec| Contestant { name: policy.to_string(), ratios: vec![None; cells.len()] };
        let mut seeds = vec![policies.iter().map(contestant).collect::<Vec<_>>(); self.seeds as usize];
        let names = trace_names(cells);
        for (name, number) in names.iter().zip(1..) {
            note(&format!("[{number}/{}] {name}: reading", names.len()));
            let mut source = self.load(name, cells)?;
            for (contestants, seed) in seeds.iter_mut().zip(1..) {
                note(&format!("[{number}/{}] {name}: seed {seed} of {}", names.len(), self.seeds));
                let outcome = self.experiment(policies, name, cells, seed)?.run(&mut source, &())?;
                take(&outcome, contestants, name, cells);
            }
        }
        note("");
        Ok(seeds)
    }

    /// The trace as the peers saw it.
    fn load(&self, name: &str, cells: &[Cell]) -> Result<Source> {
        let requests = read(&self.traces.join(format!("{name}.csv.zst")), self.weigh)?;
        for cell in cells.iter().filter(|cell| cell.trace == name) {
            let (ours, theirs) = (requests.len() as u64, cell.requests);
            ensure!(ours == theirs, "{name} has {ours} requests, but the peers replayed {theirs}: another trace");
        }
        Ok(Source::requests(name, requests))
    }

    /// A trace as peers would see it; none if no row of it is a read, or it is not there.
    pub(crate) fn reads(&self, name: &str) -> Result<Option<Vec<Request>>> {
        let path = self.traces.join(format!("{name}.csv.zst"));
        if !path.is_file() || !has_reads(&path)? {
            return Ok(None);
        }
        read(&path, self.weigh).map(Some)
    }

    fn experiment(&self, policies: &[PolicySpec], trace: &str, cells: &[Cell], seed: u64) -> Result<Experiment> {
        let capacities = cells.iter().filter(|cell| cell.trace == trace).map(|cell| cell.capacity.to_string());
        self.experiment_at(policies, &capacities.collect::<Vec<_>>(), seed)
    }

    /// Policies at sizes as people write them.
    pub(crate) fn experiment_at(&self, policies: &[PolicySpec], sizes: &[String], seed: u64) -> Result<Experiment> {
        Ok(Experiment {
            policies: policies.to_vec(),
            capacities: sizes.iter().map(|size| size.parse()).collect::<Result<_, _>>()?,
            weigh: self.weigh,
            seed,
            threads: self.threads,
            gets_only: false,
            lifetimes: Lifetimes::Ignored,
        })
    }
}

fn has_reads(path: &Path) -> Result<bool> {
    let mut trace = open(path, &Options::default())?;
    let mut requests = Vec::new();
    while trace.read(&mut requests, 1 << 16)? > 0 {
        if requests.drain(..).any(|request| request.op == Op::Get) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Reads a trace as the peers saw it: every row is an access, and an object's size never changes; where objects weigh
/// the same, no size is told at all.
fn read(path: &Path, weigh: Weigh) -> Result<Vec<Request>> {
    let mut trace = open(path, &Options::default())
        .with_context(|| format!("opening {}: give the folder of traces with --traces", path.display()))?;
    let mut requests = Vec::new();
    while trace.read(&mut requests, 1 << 16)? > 0 {}
    let mut sizes: HashMap<u64, u32> = HashMap::new();
    for request in &mut requests {
        request.op = Op::Get;
        request.size = match weigh {
            Weigh::Objects => 1,
            Weigh::Bytes => *sizes.entry(request.key).or_insert(request.size.max(1)),
        };
    }
    Ok(requests)
}

/// Notes what came out beside the cells it belongs to.
pub(crate) fn take(outcome: &Outcome, contestants: &mut [Contestant], trace: &str, cells: &[Cell]) {
    for cell in outcome.cells.iter().map(|cell| &cell.record) {
        let at = cells.iter().position(|other| other.trace == trace && other.capacity == cell.capacity);
        let contestant = contestants.iter_mut().find(|contestant| contestant.name == cell.policy);
        if let Some((at, contestant)) = at.zip(contestant) {
            contestant.ratios[at] = Some(Ratios { requests: cell.miss_ratio, bytes: cell.byte_miss_ratio });
        }
    }
}

/// The traces in the order of the cells.
pub(crate) fn trace_names(cells: &[Cell]) -> Vec<&str> {
    let mut names: Vec<&str> = Vec::new();
    for cell in cells {
        if !names.contains(&cell.trace.as_str()) {
            names.push(&cell.trace);
        }
    }
    names
}

/// A line on a terminal that the next one overwrites.
pub(crate) fn note(text: &str) {
    if std::io::stderr().is_terminal() {
        eprint!("\r\x1b[K{text}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A trace of seven rows, two keys of which differ in size when seen again, as a file.
    fn folder() -> PathBuf {
        let folder = tempfile::tempdir().unwrap().keep();
        let mut writer = larder_trace::create(folder.join("small.csv.zst"), None).unwrap();
        let rows = [(1, 10, Op::Get), (2, 20, Op::Set), (1, 99, Op::Set), (3, 30, Op::Get), (2, 5, Op::Get)];
        let rows = rows.map(|(key, size, op)| Request { key, size, op, ..Request::default() });
        writer.write(&rows).unwrap();
        writer.finish().unwrap();
        folder
    }

    fn cell(capacity: u64, requests: u64) -> Cell {
        Cell { trace: "small".to_owned(), capacity, requests, ..Cell::default() }
    }

    #[test]
    fn a_trace_without_reads_is_none() {
        let traces = folder();
        let runs = Runs { traces: traces.clone(), weigh: Weigh::Objects, seeds: 1, threads: NonZeroUsize::MIN };
        assert_eq!(runs.reads("small").unwrap().map(|requests| requests.len()), Some(5));
        assert!(runs.reads("none").unwrap().is_none());
        let mut writer = larder_trace::create(traces.join("sets.csv.zst"), None).unwrap();
        writer.write(&[Request { key: 1, size: 1, op: Op::Set, ..Request::default() }]).unwrap();
        writer.finish().unwrap();
        assert!(runs.reads("sets").unwrap().is_none());
    }

    #[test]
    fn policies_are_replayed_on_the_cells_as_the_peers_saw_them() {
        let traces = folder();
        let mut runs = Runs { traces, weigh: Weigh::Objects, seeds: 2, threads: NonZeroUsize::MIN };
        let policies = ["lru".parse().unwrap(), "fifo".parse().unwrap()];
        let seeds = runs.replay(&policies, &[cell(2, 5), cell(3, 5)]).unwrap();
        assert_eq!(seeds.len(), 2);
        // Two slots: 1 hits, then 2 has left before it comes again under LRU alone.
        let ratios = |contestant: &Contestant| contestant.ratios.iter().map(|cell| cell.unwrap().requests).collect();
        let [lru, fifo] = [0, 1].map(|at| -> Vec<f64> { ratios(&seeds[1][at]) });
        assert_eq!((lru, fifo), (vec![0.8, 0.6], vec![0.6, 0.6]));

        runs.weigh = Weigh::Bytes;
        let seeds = runs.replay(&policies[..1], &[cell(60, 5)]).unwrap();
        let ratios = seeds[0][0].ratios[0].unwrap();
        assert_eq!(ratios.requests, 0.6);
        assert!((ratios.bytes - 60.0 / 90.0).abs() < 1e-12);

        let error = runs.replay(&policies, &[cell(2, 7)]).unwrap_err().to_string();
        assert!(error.contains("has 5 requests, but the peers replayed 7"), "{error}");
    }
}
