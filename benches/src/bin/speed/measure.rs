//! The measurements: each side in turn, round by round, so that a machine's mood falls on both.

use std::hint::black_box;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use larder_benches::peer::Peer;
use larder_benches::workload::Workload;
use larder_benches::{Replay, cpu_seconds, median};
use larder_policy::PolicySpec;
use larder_trace::{Options, Reader, open};

/// A policy's name here, and libcachesim's.
const POLICIES: &[(&str, &str)] =
    &[("lru", "LRU"), ("sieve", "Sieve"), ("s3fifo", "S3FIFO"), ("arc", "ARC"), ("wtinylfu", "WTinyLFU")];

/// Cache sizes, as shares of the distinct keys.
const SHARES: &[f64] = &[0.01, 0.1];

/// Requests decoded at a time.
const BATCH: usize = 4096;

/// All measurements of one trace; times are in seconds of one thread's CPU time.
pub(crate) struct Run {
    pub(crate) trace: String,
    pub(crate) requests: usize,
    pub(crate) keys: usize,
    pub(crate) version: String,
    pub(crate) cells: Vec<Cell>,
    /// Decoding alone.
    pub(crate) decode: Medians,
    /// All cells of larder, decoded once, on one thread and on two; by the clock on the wall.
    pub(crate) threads: [f64; 2],
}

/// One policy at one size.
pub(crate) struct Cell {
    pub(crate) policy: &'static str,
    pub(crate) share: f64,
    pub(crate) objects: u64,
    /// From the binary file to the last decision.
    pub(crate) with_decoding: Medians,
    /// Decisions alone: ours measured from memory, theirs by taking a decoding pass of the same round off.
    pub(crate) without_decoding: Medians,
    pub(crate) miss_ratio: Sides,
    /// Ours; libcachesim does not tell.
    pub(crate) bytes_per_object: f64,
}

#[derive(Clone, Copy)]
pub(crate) struct Sides {
    pub(crate) ours: f64,
    pub(crate) theirs: f64,
}

/// Each the median of all rounds. The ratio is that of the rounds' ratios, theirs over ours: what slows a machine down for a while
/// slows both sides of a round.
#[derive(Clone, Copy)]
pub(crate) struct Medians {
    pub(crate) ours: f64,
    pub(crate) theirs: f64,
    pub(crate) ratio: f64,
}

pub(crate) fn measure(workload: &Workload, python: &Path, rounds: usize) -> Result<Run> {
    let mut peer = Peer::start(python, workload)?;
    let specs = specs(workload)?;
    // The first pass brings the file into memory for both.
    let mut passes = Vec::new();
    for _ in 0..=rounds {
        passes.push(Sides { ours: decode(workload)?, theirs: peer.decode()? });
    }
    let decode = medians(&passes[1..]);
    let mut cells = Vec::new();
    for spec in &specs {
        eprintln!("{}: {} of {} objects", workload.name, spec.policy, spec.objects);
        cells.push(cell(workload, spec, &mut peer, rounds)?);
    }
    let mut threads = [0.0; 2];
    for (seconds, count) in threads.iter_mut().zip(1..) {
        *seconds = median((0..rounds).map(|_| replay_all(workload, &specs, count)).collect());
    }
    let Workload { name, requests, keys, .. } = workload;
    let version = peer.version.clone();
    Ok(Run { trace: name.clone(), requests: requests.len(), keys: *keys, version, cells, decode, threads })
}

struct Spec {
    policy: &'static str,
    theirs: &'static str,
    share: f64,
    objects: u64,
    parsed: PolicySpec,
}

fn specs(workload: &Workload) -> Result<Vec<Spec>> {
    let mut specs = Vec::new();
    for &(policy, theirs) in POLICIES {
        for &share in SHARES {
            specs.push(Spec { policy, theirs, share, objects: workload.objects(share), parsed: policy.parse()? });
        }
    }
    Ok(specs)
}

fn cell(workload: &Workload, spec: &Spec, peer: &mut Peer, rounds: usize) -> Result<Cell> {
    let (mut with, mut without) = (Vec::new(), Vec::new());
    let mut last = None;
    for _ in 0..rounds {
        let (replay, seconds) = from_file(workload, spec)?;
        let (theirs, their_ratio) = peer.replay(spec.theirs, spec.objects)?;
        with.push(Sides { ours: seconds, theirs });
        let (in_memory, seconds) = from_memory(workload, spec);
        without.push(Sides { ours: seconds, theirs: theirs - peer.decode()? });
        ensure!(
            in_memory.misses == replay.misses,
            "{}: a replay from memory differs from one of the file",
            spec.policy
        );
        last = Some((replay, their_ratio));
    }
    let (replay, theirs) = last.context("no rounds")?;
    Ok(Cell {
        policy: spec.policy,
        share: spec.share,
        objects: spec.objects,
        with_decoding: medians(&with),
        without_decoding: medians(&without),
        miss_ratio: Sides { ours: replay.miss_ratio(), theirs },
        bytes_per_object: replay.bytes_per_object(),
    })
}

/// Replays straight from the binary file; the cache is built before the clock starts, as on the other side.
fn from_file(workload: &Workload, spec: &Spec) -> Result<(Replay, f64)> {
    let mut replay = Replay::new(&spec.parsed, spec.objects);
    let seconds = each_batch(workload, |batch| replay.run(batch))?;
    Ok((replay, seconds))
}

fn decode(workload: &Workload) -> Result<f64> {
    each_batch(workload, |batch| {
        black_box(batch);
    })
}

fn each_batch(workload: &Workload, mut f: impl FnMut(&[larder_trace::Request])) -> Result<f64> {
    let options = Options { format: Some("oracle-general".to_owned()), ..Options::default() };
    let mut batch = Vec::with_capacity(BATCH);
    let start = cpu_seconds();
    let mut trace = open(&workload.binary, &options)?;
    while trace.read(&mut batch, BATCH)? > 0 {
        f(&batch);
        batch.clear();
    }
    Ok(cpu_seconds() - start)
}

fn from_memory(workload: &Workload, spec: &Spec) -> (Replay, f64) {
    let mut replay = Replay::new(&spec.parsed, spec.objects);
    let start = cpu_seconds();
    replay.run(&workload.requests);
    (replay, cpu_seconds() - start)
}

/// Every cell once, each on whichever of `threads` threads is free.
fn replay_all(workload: &Workload, specs: &[Spec], threads: usize) -> f64 {
    let next = AtomicUsize::new(0);
    let work = || {
        while let Some(spec) = specs.get(next.fetch_add(1, Ordering::Relaxed)) {
            black_box(from_memory(workload, spec).0.misses);
        }
    };
    let start = Instant::now();
    std::thread::scope(|scope| {
        (0..threads).for_each(|_| {
            scope.spawn(work);
        });
    });
    start.elapsed().as_secs_f64()
}

fn medians(rounds: &[Sides]) -> Medians {
    let of = |what: fn(&Sides) -> f64| median(rounds.iter().map(what).collect());
    Medians {
        ours: of(|round| round.ours),
        theirs: of(|round| round.theirs),
        ratio: of(|round| round.theirs / round.ours),
    }
}
