//! Replays set against simulations plain enough to be checked by eye.
#![allow(clippy::unwrap_used)] // helpers outside #[test] functions; a failure is a failed test

use std::num::NonZeroUsize;
use std::time::Duration;

use larder_policy::{Op, Rng, Time};
use larder_sim::{CellRecord, Experiment, Lifetimes, Outcome, Source, Weigh};
use larder_trace::{Options, Request};
use proptest::prelude::*;

fn experiment(policies: &[&str], capacities: &[&str]) -> Experiment {
    Experiment {
        policies: policies.iter().map(|policy| policy.parse().unwrap()).collect(),
        capacities: capacities.iter().map(|capacity| capacity.parse().unwrap()).collect(),
        weigh: Weigh::Objects,
        seed: 1,
        threads: NonZeroUsize::MIN,
        gets_only: false,
        lifetimes: Lifetimes::Ignored,
    }
}

fn run(experiment: &Experiment, requests: &[Request]) -> Outcome {
    experiment.run(&mut Source::requests("test", requests), &()).unwrap()
}

fn request(key: u64, op: Op) -> Request {
    Request { key, op, size: 10, ..Request::default() }
}

fn gets(keys: &[u64]) -> Vec<Request> {
    keys.iter().map(|&key| request(key, Op::Get)).collect()
}

/// Hits, misses and evictions of an LRU kept in a vector, newest last.
fn plain_lru(rows: &[Request], capacity: usize, gets_only: bool) -> (u64, u64, u64) {
    let mut cache: Vec<u64> = Vec::new();
    let (mut hits, mut misses, mut evictions) = (0, 0, 0);
    for row in rows {
        let found = cache.iter().position(|&key| key == row.key);
        if let Some(at) = found {
            cache.remove(at);
        }
        if row.op == Op::Delete {
            continue;
        }
        if row.op == Op::Get || !gets_only {
            *(if found.is_some() { &mut hits } else { &mut misses }) += 1;
        }
        if cache.len() == capacity {
            cache.remove(0);
            evictions += 1;
        }
        cache.push(row.key);
    }
    (hits, misses, evictions)
}

/// The fewest misses of any choice of whom to evict, where every newcomer is admitted.
fn fewest_misses(rows: &[Request], residents: &[u64], capacity: usize, gets_only: bool) -> u64 {
    let Some((row, rest)) = rows.split_first() else { return 0 };
    let others: Vec<u64> = residents.iter().copied().filter(|&key| key != row.key).collect();
    if row.op == Op::Delete {
        return fewest_misses(rest, &others, capacity, gets_only);
    }
    let is_hit = others.len() < residents.len();
    let with = |kept: Vec<u64>| fewest_misses(rest, &[kept, vec![row.key]].concat(), capacity, gets_only);
    let evicted = |victim: usize| (0..).zip(&others).filter(|(at, _)| *at != victim).map(|(_, key)| *key).collect();
    let fewest = match others.len() < capacity {
        true => with(others),
        false => (0..others.len()).map(|victim| with(evicted(victim))).min().unwrap(),
    };
    fewest + u64::from(!is_hit && (row.op == Op::Get || !gets_only))
}

proptest! {
    #[test]
    fn belady_is_optimal_whatever_counts(rows in prop::collection::vec((0u64..5, 0u8..6), 0..16), gets_only: bool) {
        let op = |what| match what { 0 => Op::Delete, 1 | 2 => Op::Set, _ => Op::Get };
        let rows: Vec<Request> = rows.into_iter().map(|(key, what)| request(key, op(what))).collect();
        for capacity in [1, 2, 3] {
            let size = capacity.to_string();
            let outcome = run(&Experiment { gets_only, ..experiment(&["belady"], &[&size]) }, &rows);
            prop_assert_eq!(outcome.cells[0].record.misses, fewest_misses(&rows, &[], capacity, gets_only));
        }
    }

    #[test]
    fn lru_counts_as_a_plain_one(
        rows in prop::collection::vec((0u64..30, 0u8..8), 0..400),
        capacity in 1usize..30,
        gets_only: bool,
    ) {
        let op = |op| match op { 0 => Op::Delete, 1 | 2 => Op::Set, _ => Op::Get };
        let rows: Vec<_> = rows.into_iter().map(|(key, what)| request(key, op(what))).collect();
        let experiment = Experiment { gets_only, ..experiment(&["lru"], &[&capacity.to_string()]) };
        let outcome = run(&experiment, &rows);
        let record = &outcome.cells[0].record;
        let (hits, misses, evictions) = plain_lru(&rows, capacity, gets_only);
        prop_assert_eq!((record.hits, record.misses, record.evictions), (hits, misses, evictions));
        prop_assert_eq!(record.requests, hits + misses);
        prop_assert_eq!(record.gets, rows.iter().filter(|row| row.op == Op::Get).count() as u64);
        prop_assert_eq!(outcome.cells[0].misses.counts().iter().sum::<u64>(), misses);
        prop_assert_eq!(outcome.series.counts().iter().sum::<u64>(), hits + misses);
    }
}

#[test]
fn results_do_not_depend_on_threads() {
    let timeless = |outcome: &Outcome| -> Vec<CellRecord> {
        let strip = |record: CellRecord| CellRecord { seconds: 0.0, requests_per_second: 0.0, ..record };
        outcome.cells.iter().map(|cell| strip(cell.record.clone())).collect()
    };
    let trace = "gen:zipf:requests=200_000/keys=20_000/reads=0.9/seed=5";
    let run = |threads| {
        let mut experiment = experiment(&["lru", "s3fifo", "random", "belady"], &["1%", "10%", "300"]);
        experiment.threads = NonZeroUsize::new(threads).unwrap();
        experiment.run(&mut Source::trace(trace, Options::default()), &()).unwrap()
    };
    let one = run(1);
    for threads in [2, 4, 16] {
        let many = run(threads);
        assert_eq!(timeless(&one), timeless(&many), "{threads} threads");
        let series = |outcome: &Outcome| outcome.cells.iter().map(|cell| cell.misses.clone()).collect::<Vec<_>>();
        assert_eq!(series(&one), series(&many), "{threads} threads");
    }
}

#[test]
fn a_broken_trace_ends_every_thread() {
    let file = tempfile::Builder::new().suffix(".csv").tempfile().unwrap();
    let rows: String = (0..100_000).map(|row| format!("{row},{},1,get,\n", row % 1000)).collect();
    std::fs::write(file.path(), format!("time,key,size,op,ttl\n{rows}what is this\n")).unwrap();
    for threads in [1, 4] {
        let mut experiment = experiment(&["lru", "fifo"], &["100"]);
        experiment.threads = NonZeroUsize::new(threads).unwrap();
        let error = experiment.run(&mut Source::trace(file.path(), Options::default()), &()).unwrap_err();
        assert_eq!(error.kind(), larder_sim::ErrorKind::Trace);
        assert!(error.to_string().contains("100002"), "{error}");
    }
}

#[test]
fn belady_is_a_bound_and_deletes_are_foreseen() {
    let mut rng = Rng::new(11);
    let rows: Vec<_> = (0..30_000)
        .map(|_| {
            let unit = rng.unit();
            let op = match rng.below(20) {
                0 => Op::Delete,
                1 => Op::Set,
                _ => Op::Get,
            };
            request((unit * unit * 2000.0) as u64, op)
        })
        .collect();
    let outcome = run(&experiment(&["belady", "lru", "fifo", "s3fifo", "arc", "lirs"], &["64", "200", "800"]), &rows);
    let (bound, others) = outcome.cells.split_at(3);
    for (at, other) in others.iter().enumerate() {
        let (bound, other) = (&bound[at % 3].record, &other.record);
        assert!(bound.misses <= other.misses, "{} beats belady at {}", other.policy, other.capacity);
    }

    // Key 2 is deleted before it is asked for again: to keep 1 is right although 2 comes first.
    let mut rows = gets(&[1, 2, 3]);
    rows.extend([request(2, Op::Delete), request(2, Op::Get), request(1, Op::Get)]);
    let outcome = run(&experiment(&["belady"], &["2"]), &rows);
    assert_eq!(outcome.cells[0].record.hits, 1);
}

#[test]
fn shares_are_of_the_distinct_keys_or_bytes() {
    let rows: Vec<_> = (0..20_000u64).map(|key| request(key % 10_000, Op::Get)).collect();
    let outcome = run(&experiment(&["lru"], &["1%", "0.1%", "100%"]), &rows);
    let capacities = |outcome: &Outcome| outcome.cells.iter().map(|cell| cell.record.capacity).collect::<Vec<_>>();
    assert_eq!(capacities(&outcome), [100, 64, 10_000]);
    assert_eq!(outcome.cells[2].record.misses, 10_000);
    let bytes = Experiment { weigh: Weigh::Bytes, ..experiment(&["lru"], &["1%", "0.1%", "5kB"]) };
    assert_eq!(capacities(&run(&bytes, &rows)), [1000, 640, 5000]);
}

#[test]
fn bytes_missed_are_those_of_missed_accesses() {
    let sized = |key, size| Request { size, ..request(key, Op::Get) };
    let rows = [sized(1, 100), sized(2, 10), sized(1, 100), sized(3, 1000), sized(2, 10)];
    let experiment = Experiment { weigh: Weigh::Bytes, ..experiment(&["lru"], &["200B"]) };
    let record = &run(&experiment, &rows).cells[0].record;
    // 3 does not fit and so evicts nobody.
    assert_eq!((record.hits, record.misses, record.evictions), (2, 3, 0));
    assert_eq!(record.byte_miss_ratio, 1110.0 / 1220.0);
}

#[test]
fn lifetimes_count_where_asked_for() {
    let at = |seconds: u64, ttl| Request { at: Time(seconds * 1_000_000), ttl, ..request(1, Op::Get) };
    let rows = [at(0, 10), at(5, 10), at(15, 0), at(1000, 0)];
    let hits = |lifetimes| run(&Experiment { lifetimes, ..experiment(&["lru"], &["10"]) }, &rows).cells[0].record.hits;
    assert_eq!(hits(Lifetimes::Ignored), 3);
    // Stored at 0 until 10; stored anew at 15 without an end.
    assert_eq!(hits(Lifetimes::Given), 2);
    assert_eq!(hits(Lifetimes::Fixed(Duration::from_secs(100))), 2);
}

#[test]
fn an_empty_trace_has_no_ratios_but_ends_well() {
    let outcome = run(&experiment(&["lru", "belady"], &["10"]), &[]);
    assert!(outcome.cells.iter().all(|cell| cell.record.requests == 0 && cell.record.miss_ratio == 0.0));
}
