//! The work, and how it is timed.

use std::alloc::System;
use std::sync::Barrier;
use std::thread;

use anyhow::Result;
use cap::Cap;
use larder_benches::{cpu_seconds, median};
use larder_trace::{Options, Reader, open};

use crate::contenders::{Contender, Key, Store};

/// Counts bytes; the count costs every contender the same.
#[global_allocator]
static MEMORY: Cap<System> = Cap::new(System, usize::MAX);

/// Entries a store may hold.
pub(crate) const CAPACITY: u64 = 100_000;

/// What is done with each store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Work {
    /// Every read hits.
    Hit,
    /// Reads of ten times as many keys as fit; what is missing is inserted.
    Mixed,
    /// Every key is new.
    Insert,
}

impl Work {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Hit => "hit",
            Self::Mixed => "get, else insert",
            Self::Insert => "insert of new keys",
        }
    }
}

/// Keys as the work needs them, made before any clock starts.
pub(crate) struct Keys<K> {
    /// Zipf 0.99 over half the capacity.
    few: Vec<K>,
    /// Zipf 0.99 over ten times the capacity.
    many: Vec<K>,
    /// As `many`, and what a store is filled with: the same reads twice over would be a loop.
    before: Vec<K>,
}

impl<K: Key> Keys<K> {
    pub(crate) fn new(operations: usize) -> Result<Self> {
        let mut before = zipf(10 * CAPACITY, 2 * operations)?;
        let many = before.split_off(operations);
        Ok(Self { few: zipf(CAPACITY / 2, operations)?, many, before })
    }
}

fn zipf<K: Key>(keys: u64, operations: usize) -> Result<Vec<K>> {
    let trace = format!("gen:zipf:alpha=0.99/keys={keys}/requests={operations}/seed=1");
    let mut trace = open(std::path::Path::new(&trace), &Options::default())?;
    let mut requests = Vec::new();
    while trace.read(&mut requests, 1 << 16)? > 0 {}
    Ok(requests.into_iter().map(|request| K::of(request.key)).collect())
}

/// What one contender needed: processor nanoseconds an operation, and what was found.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cost {
    pub(crate) nanos: f64,
    pub(crate) hit_ratio: f64,
}

/// Times `work` on a fresh store, each of the threads doing all of the operations, from another place in the sequence on.
pub(crate) fn time<K: Key>(contender: &Contender<K>, keys: &Keys<K>, work: Work, threads: usize) -> Cost {
    let store = (contender.make)(CAPACITY);
    let store = &*store;
    match work {
        Work::Hit => (0..CAPACITY / 2 + 1).for_each(|key| store.insert(K::of(key), key)),
        // Full, and past its first evictions.
        Work::Mixed => _ = mixed(store, &keys.before),
        Work::Insert => (0..2 * CAPACITY).for_each(|key| store.insert(K::of(1 << 40 | key), key)),
    }
    store.settle();
    let fresh: Vec<Vec<K>> = (0..threads as u64)
        .map(|thread| match work {
            Work::Insert => (0..keys.many.len() as u64).map(|key| K::of((thread + 2) << 40 | key)).collect(),
            _ => Vec::new(),
        })
        .collect();
    let start = Barrier::new(threads);
    let times: Vec<(f64, usize, usize)> = thread::scope(|scope| {
        let runs = fresh.into_iter().enumerate().map(|(thread, fresh)| {
            let start = &start;
            scope.spawn(move || {
                start.wait();
                let began = cpu_seconds();
                let (found, operations) = match work {
                    Work::Hit => (reads(store, &keys.few, thread), keys.few.len()),
                    Work::Mixed => (mixed(store, &keys.many), keys.many.len()),
                    Work::Insert => {
                        let operations = fresh.len();
                        fresh.into_iter().enumerate().for_each(|(value, key)| store.insert(key, value as u64));
                        (0, operations)
                    }
                };
                (cpu_seconds() - began, found, operations)
            })
        });
        let runs: Vec<_> = runs.collect();
        runs.into_iter().map(|run| run.join().expect("the work does not panic")).collect()
    });
    let (seconds, found, operations) =
        times.into_iter().fold((0.0, 0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1, sum.2 + one.2));
    Cost { nanos: seconds * 1e9 / operations as f64, hit_ratio: found as f64 / operations as f64 }
}

fn reads<K: Key>(store: &dyn Store<K>, keys: &[K], thread: usize) -> usize {
    let (before, after) = keys.split_at(thread * keys.len() / 2 % keys.len());
    after.iter().chain(before).filter(|key| store.get(key).is_some()).count()
}

fn mixed<K: Key>(store: &dyn Store<K>, keys: &[K]) -> usize {
    let mut found = 0;
    for key in keys {
        if store.get(key).is_some() {
            found += 1;
        } else {
            store.insert(key.clone(), 1);
        }
    }
    found
}

/// Bytes a full store holds for each entry, key and value taken off.
pub(crate) fn overhead<K: Key>(contender: &Contender<K>, keys: &Keys<K>) -> f64 {
    let before = MEMORY.allocated();
    let store = (contender.make)(CAPACITY);
    mixed(&*store, &keys.before);
    store.settle();
    let held = MEMORY.allocated() - before;
    (held as f64 / CAPACITY as f64) - (size_of::<K>() + size_of::<u64>()) as f64
}

pub(crate) fn median_cost(costs: &[Cost]) -> Cost {
    let nanos = median(costs.iter().map(|cost| cost.nanos).collect());
    Cost { nanos, hit_ratio: costs[0].hit_ratio }
}
