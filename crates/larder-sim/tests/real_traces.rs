//! Real traces: what must hold of any policy on any traffic. They lie in `LARDER_TRACES`.
#![allow(clippy::unwrap_used)] // helpers outside #[test] functions; a failure is a failed test

use std::num::NonZeroUsize;
use std::path::PathBuf;

use larder_policy::eviction::REGISTRY;
use larder_sim::mrc::CurveRun;
use larder_sim::{Experiment, Lifetimes, Source, Weigh};
use larder_trace::Options;

/// Requests of each trace: enough to fill every cache, few enough for a test.
const LIMIT: u64 = 300_000;

/// The path of a trace; none, with a word to say so, where traces are missing and nobody insists on them.
fn trace(name: &str) -> Option<PathBuf> {
    let default = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/traces");
    let folder = std::env::var("LARDER_TRACES").unwrap_or_else(|_| default.to_owned());
    let path = PathBuf::from(folder).join(format!("{name}.csv.zst"));
    if path.exists() {
        return Some(path);
    }
    assert!(std::env::var("LARDER_REQUIRE_TRACES").as_deref() != Ok("1"), "{} is missing", path.display());
    eprintln!("skipped: no traces");
    None
}

fn source(path: PathBuf) -> Source {
    Source::trace(path, Options { limit: Some(LIMIT), ..Options::default() })
}

fn experiment(policies: &[&str], capacities: &[String], weigh: Weigh) -> Experiment {
    Experiment {
        policies: policies.iter().map(|policy| policy.parse().unwrap()).collect(),
        capacities: capacities.iter().map(|capacity| capacity.parse().unwrap()).collect(),
        weigh,
        seed: 1,
        threads: NonZeroUsize::new(2).unwrap(),
        gets_only: false,
        lifetimes: Lifetimes::Ignored,
    }
}

#[test]
fn no_policy_beats_the_bound_and_all_count_alike() {
    for name in ["web07", "cloudphysicsio", "zeek-dns-wrccdc", "lirs-loop", "elwiki-edits-201510"] {
        let Some(path) = trace(name) else { return };
        let policies: Vec<&str> = REGISTRY.iter().map(|entry| entry.name).collect();
        let capacities = ["1".to_owned(), "3".to_owned(), "1%".to_owned(), "10%".to_owned()];
        let outcome = experiment(&policies, &capacities, Weigh::Objects).run(&mut source(path), &()).unwrap();
        let bound: Vec<u64> = ["1", "3", "1%", "10%"]
            .map(|spec| {
                let cells = outcome.cells.iter().map(|cell| &cell.record);
                cells
                    .filter(|cell| cell.capacity_spec == spec && cell.policy.starts_with("belady"))
                    .map(|c| c.misses)
                    .min()
                    .unwrap()
            })
            .to_vec();
        for (at, cell) in outcome.cells.iter().enumerate() {
            let record = &cell.record;
            assert!(
                record.misses >= bound[at % 4],
                "{} beats the bound on {name} at {}",
                record.policy,
                record.capacity_spec
            );
            assert_eq!(record.hits + record.misses, record.requests);
            assert!(record.evictions <= record.misses, "{} on {name}", record.policy);
            assert_eq!(record.requests, outcome.requests);
        }
    }
}

#[test]
fn the_exact_curve_is_what_replays_of_lru_find() {
    for name in ["web07", "cloudphysicsio", "orm-busy", "addr-gcc"] {
        let Some(path) = trace(name) else { return };
        let run = CurveRun {
            policies: Vec::new(),
            points: 8,
            weigh: Weigh::Objects,
            rate: None,
            samples: 1,
            seed: 1,
            threads: NonZeroUsize::MIN,
            gets_only: false,
        };
        let (_, curves) = run.run(&mut source(path.clone()), &()).unwrap();
        let capacities: Vec<String> = curves[0].points.iter().map(|point| point.capacity.to_string()).collect();
        let outcome = experiment(&["lru"], &capacities, Weigh::Objects).run(&mut source(path), &()).unwrap();
        let replayed: Vec<f64> = outcome.cells.iter().map(|cell| cell.record.miss_ratio).collect();
        let drawn: Vec<f64> = curves[0].points.iter().map(|point| point.miss_ratio).collect();
        assert_eq!(replayed, drawn, "{name}");
    }
}

#[test]
fn byte_capacities_hold_on_traces_with_sizes() {
    for name in ["adaptsize-request", "tencent-cbs-ns1326"] {
        let Some(path) = trace(name) else { return };
        let policies: Vec<&str> = REGISTRY.iter().map(|entry| entry.name).collect();
        let capacities = ["1%".to_owned(), "64MiB".to_owned(), "100%".to_owned()];
        let outcome = experiment(&policies, &capacities, Weigh::Bytes).run(&mut source(path), &()).unwrap();
        let survey = outcome.survey.unwrap();
        for cells in outcome.cells.chunks(3) {
            let [small, _, whole] = cells else { panic!("three sizes") };
            assert!(small.record.misses >= survey.keys, "each key misses once at least");
            assert!(whole.record.misses <= small.record.misses, "{} on {name}", small.record.policy);
        }
    }
}
