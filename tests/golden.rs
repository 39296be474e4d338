//! Our miss counts against the reference implementation's, cell by cell.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::collections::BTreeMap;
use std::num::NonZero;
use std::path::Path;

use larder_policy::Op;
use larder_sim::{Experiment, Lifetimes, Source, Weigh};
use larder_tests::shared_trace;
use larder_trace::{Options, Request, open};

/// (trace, weigh, policy, capacity) to misses.
type Counts = BTreeMap<(String, String, String, u64), u64>;

#[test]
fn misses_are_those_of_the_reference() {
    let reference = counts(include_str!("golden/reference.tsv"), [0, 1, 2, 4, 6]);
    let differs = counts(include_str!("golden/differs.tsv"), [0, 1, 2, 3, 4]);
    let mut runs: BTreeMap<(&str, &str), Vec<(&str, u64)>> = BTreeMap::new();
    for (trace, weigh, policy, capacity) in reference.keys() {
        runs.entry((trace, weigh)).or_default().push((policy, *capacity));
    }
    let mut wrong = Vec::new();
    for ((trace, weigh), cells) in runs {
        let Some(path) = shared_trace(trace) else { return };
        for (policy, capacity, misses) in replay(&path, weigh, &cells) {
            let key = (trace.to_owned(), weigh.to_owned(), policy, capacity);
            let Some(&expected) = reference.get(&key) else { continue };
            match differs.get(&key) {
                Some(&ours) if ours == expected => wrong.push(format!("{key:?} no longer differs")),
                Some(&ours) if ours != misses => wrong.push(format!("{key:?}: {misses}, was {ours}")),
                None if expected != misses => wrong.push(format!("{key:?}: {misses}, reference {expected}")),
                _ => {}
            }
        }
    }
    assert!(wrong.is_empty(), "{} cells are wrong:\n{}", wrong.len(), wrong.join("\n"));
}

/// Replays the policies at the capacities of `cells` over the rows as the reference saw them: every row is a read of
/// an object whose size never changes.
fn replay(path: &Path, weigh: &str, cells: &[(&str, u64)]) -> Vec<(String, u64, u64)> {
    let mut sizes: BTreeMap<u64, u32> = BTreeMap::new();
    let requests: Vec<Request> = open(path, &Options::default())
        .unwrap()
        .into_iter()
        .map(|request| {
            let request = request.unwrap();
            let size = *sizes.entry(request.key).or_insert(request.size.max(1));
            Request { size, op: Op::Get, ..request }
        })
        .collect();
    let mut policies: Vec<&str> = cells.iter().map(|cell| cell.0).collect();
    let mut capacities: Vec<u64> = cells.iter().map(|cell| cell.1).collect();
    policies.sort_unstable();
    policies.dedup();
    capacities.sort_unstable();
    capacities.dedup();
    let experiment = Experiment {
        policies: policies.iter().map(|policy| policy.parse().unwrap()).collect(),
        capacities: capacities.iter().map(|capacity| capacity.to_string().parse().unwrap()).collect(),
        weigh: if weigh == "bytes" { Weigh::Bytes } else { Weigh::Objects },
        seed: 1,
        threads: NonZero::new(2).unwrap(),
        gets_only: false,
        lifetimes: Lifetimes::Ignored,
    };
    let outcome = experiment.run(&mut Source::requests("trace", requests), &()).unwrap();
    let record =
        |cell: &larder_sim::CellOutcome| (cell.record.policy.clone(), cell.record.capacity, cell.record.misses);
    outcome.cells.iter().map(record).collect()
}

/// Reads the columns trace, weigh, policy, capacity and misses of a table.
fn counts(table: &str, columns: [usize; 5]) -> Counts {
    let rows = table.lines().filter(|line| !line.starts_with('#')).skip(1);
    rows.map(|line| {
        let fields: Vec<&str> = line.split('\t').collect();
        let [trace, weigh, policy, capacity, misses] = columns.map(|column| fields[column]);
        let key = (trace.to_owned(), weigh.to_owned(), policy.to_owned(), capacity.parse().unwrap());
        (key, misses.parse().unwrap())
    })
    .collect()
}
