//! Replays of lifetimes on a trace whose keys change at very different rates.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::collections::HashMap;
use std::time::Duration;

use larder_policy::freshness::Freshness;
use larder_policy::{Op, Rng, Time};
use larder_sim::freshness::{
    FreshnessExperiment, FreshnessRecord, LifetimeArms, NamedLifetimes, Reads, Told, synthetic,
};
use larder_sim::{ErrorKind, Source};
use larder_trace::Request;

/// 400 keys over ten days, changing between once an hour and once a month, by a known random process.
fn source() -> Source {
    let mut rng = Rng::new(21);
    let mut rows = Vec::new();
    let row =
        |at: f64, key: u64, op: Op| Request { at: Time((at * 1e6) as u64), key, size: 1, op, ..Request::default() };
    let span = 864_000.0;
    for key in 0..400 {
        let mean = 3600.0 * 720f64.powf(rng.unit());
        rows.push(row(0.0, key, Op::Get));
        rows.push(row(span, key, Op::Get));
        let mut at = 0.0;
        loop {
            at -= mean * (1.0 - rng.unit()).ln();
            if at >= span {
                break;
            }
            rows.push(row(at, key, Op::Set));
        }
    }
    rows.sort_by_key(|row| row.at);
    Source::requests("rates", rows)
}

fn experiment(policies: &str) -> FreshnessExperiment {
    FreshnessExperiment {
        objective: 0.01,
        grace: Duration::ZERO,
        max_ttl: Duration::from_secs(1 << 40),
        policies: policies.split(',').map(|name| name.parse().unwrap()).collect(),
        reads: Reads::Zipf { alpha: 0.9, per_key: 400.0 },
        notices: 0.0,
        told: Told::default(),
        capacity: None,
        evict: "lru".parse().unwrap(),
        rent: 0.0,
        seeds: vec![1],
    }
}

fn run(experiment: &FreshnessExperiment) -> HashMap<String, FreshnessRecord> {
    let outcome = experiment.run(&source(), &()).unwrap();
    outcome.runs.into_iter().map(|run| (run.record.policy.clone(), run.record)).collect()
}

#[test]
fn the_engine_stands_between_what_is_used_today_and_what_could_be_known() {
    let records = run(&experiment("learned,static,hot-longer,known-rate,clairvoyant"));
    let loads = |policy: &str| records[policy].origin_loads_per_read;
    assert!(loads("learned") < 0.8 * loads("static"), "{} {}", loads("learned"), loads("static"));
    assert!(loads("hot-longer") > loads("static"), "the wrong sign");
    assert!(loads("clairvoyant") < loads("known-rate") && loads("known-rate") < loads("static"));
    let learned = &records["learned"];
    assert!((0.8..1.2).contains(&(learned.stale_rate / 0.01)), "{}", learned.stale_rate);
    let (low, high) = (learned.stale_rate_low.unwrap(), learned.stale_rate_high.unwrap());
    assert!((low..=high).contains(&learned.stale_rate));
    // Hindsight is held to what the engine served, and comes close.
    for policy in ["static", "hot-longer", "known-rate", "clairvoyant"] {
        let record = &records[policy];
        assert!(record.stale_rate <= learned.stale_rate && record.stale_rate > 0.9 * learned.stale_rate, "{record:?}");
        assert_eq!((record.stale_rate_low, record.audits), (None, 0));
        assert_eq!(record.reads, learned.reads);
        assert!((record.hit_ratio - (1.0 - record.loads as f64 / record.reads as f64)).abs() < 1e-12);
    }
}

#[test]
fn values_written_anew_each_minute_keep_to_their_objective() {
    let experiment = FreshnessExperiment {
        objective: 0.001,
        reads: Reads::Zipf { alpha: 0.9, per_key: 2000.0 },
        ..experiment("learned")
    };
    let outcome = experiment.run(&synthetic("minutes").unwrap(), &()).unwrap();
    let rate = outcome.runs[0].record.stale_rate;
    assert!((0.0007..0.0015).contains(&rate), "{rate}");
}

#[test]
fn the_same_seed_gives_the_same_run_and_another_another() {
    let mut one = experiment("learned");
    let key = |experiment: &FreshnessExperiment| {
        let record = run(experiment).remove("learned").unwrap();
        (record.reads, record.stale_reads, record.loads, record.audits)
    };
    assert_eq!(key(&one), key(&one));
    let first = key(&one);
    one.seeds = vec![2];
    assert_ne!(first, key(&one));
}

#[test]
fn notices_and_a_grace_save_loads() {
    let plain = experiment("learned");
    let loads = |experiment: &FreshnessExperiment| run(experiment)["learned"].origin_loads_per_read;
    let noticed = loads(&FreshnessExperiment { notices: 0.9, ..plain.clone() });
    let graced = loads(&FreshnessExperiment { grace: Duration::from_secs(1800), ..plain.clone() });
    let plain = loads(&plain);
    assert!(noticed < plain && graced < plain, "{noticed} {graced} {plain}");
}

#[test]
fn a_small_store_evicts_beside_freshness() {
    let whole = experiment("learned,static");
    let small = FreshnessExperiment { capacity: Some("10%".parse().unwrap()), ..whole.clone() };
    let (whole, small) = (run(&whole), run(&small));
    for policy in ["learned", "static"] {
        assert!(small[policy].hit_ratio < whole[policy].hit_ratio, "{policy}");
    }
}

#[test]
fn the_bound_holds_with_a_grace_a_greatest_age_and_a_small_store() {
    let plain = experiment("learned,static,known-rate,clairvoyant");
    for experiment in [
        FreshnessExperiment { grace: Duration::from_secs(1800), ..plain.clone() },
        FreshnessExperiment { max_ttl: Duration::from_secs(20_000), ..plain.clone() },
        FreshnessExperiment { capacity: Some("10%".parse().unwrap()), ..plain.clone() },
        FreshnessExperiment { notices: 0.5, ..plain.clone() },
    ] {
        let records = run(&experiment);
        let bound = &records["clairvoyant"];
        assert!(bound.stale_rate <= records["learned"].stale_rate, "{records:#?}");
        assert!(records.values().all(|record| record.loads + record.audits >= bound.loads), "{records:#?}");
    }
}

/// Where nothing but writes tells of a key it lives to the end; one that is written once never changes.
#[test]
fn known_rates_are_known_of_a_trace_without_reads() {
    let mut rng = Rng::new(3);
    let mut rows = Vec::new();
    let row =
        |at: f64, key: u64| Request { at: Time((at * 1e6) as u64), key, size: 1, op: Op::Set, ..Request::default() };
    for key in 0..400 {
        rows.push(row(rng.unit(), key));
        let changes = if key % 2 == 0 { 0 } else { 40 };
        (0..changes).for_each(|_| rows.push(row(864_000.0 * rng.unit(), key)));
    }
    rows.push(row(864_000.0, 400));
    rows.sort_by_key(|row| row.at);
    let reads = Reads::Zipf { alpha: 0.5, per_key: 100.0 };
    let outcome = FreshnessExperiment { reads, ..experiment("known-rate,static,clairvoyant") }
        .run(&Source::requests("writes", rows), &())
        .unwrap();
    let [known, fixed, bound] = [0, 1, 2].map(|at| outcome.runs[at].record.origin_loads_per_read);
    assert!(known < 0.7 * fixed && bound < known, "{known} {fixed} {bound}");
}

#[test]
fn what_cannot_be_measured_is_refused() {
    let reads = vec![Request::default(); 10];
    let error = experiment("learned").run(&Source::requests("reads", reads), &()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::BadOption);
    assert!(error.to_string().contains("sets"), "{error}");
    let writes = vec![Request { op: Op::Set, ..Request::default() }; 10];
    let as_is = FreshnessExperiment { reads: Reads::AsIs, ..experiment("learned") };
    let error = as_is.run(&Source::requests("writes", writes), &()).unwrap_err();
    assert!(error.to_string().contains("--reads"), "{error}");
}

#[test]
fn deployed_rules_are_tuned_on_the_past() {
    let records = run(&experiment("static,static-deployed"));
    assert!(records["static-deployed"].stale_rate != records["static"].stale_rate);
    assert!((records["static"].stale_rate / 0.01) > 0.9);
}

#[test]
fn hindsight_finds_the_lifetime_that_loads_least_on_small_traces_too() {
    const KEYS: u32 = 20;
    for seed in 1..=6 {
        let mut rng = Rng::new(seed);
        let rows: Vec<Request> = (0..700)
            .map(|at| {
                let op = if rng.unit() < 0.15 { Op::Set } else { Op::Get };
                Request { at: Time(at * 1_000_000), key: u64::from(rng.below(KEYS)), size: 1, op, ..Request::default() }
            })
            .collect();
        // Loads and stale reads where everything lives so many seconds.
        let naive = |lifetime: u64| {
            let mut cached: Vec<Option<(u64, bool)>> = vec![None; KEYS as usize];
            let (mut loads, mut stale) = (0, 0);
            for row in &rows {
                let (at, held) = (row.at.0 / 1_000_000, &mut cached[row.key as usize]);
                match (row.op, *held) {
                    (Op::Get, Some((loaded, outdated))) if at - loaded < lifetime => stale += u64::from(outdated),
                    (Op::Get, _) => {
                        loads += 1;
                        *held = Some((at, false));
                    }
                    _ => *held = held.map(|(loaded, _)| (loaded, true)),
                }
            }
            (loads, stale)
        };
        let small = FreshnessExperiment { objective: 0.1, reads: Reads::AsIs, ..experiment("static") };
        let outcome = small.run(&Source::requests("small", rows.clone()), &()).unwrap();
        let record = &outcome.runs[0].record;
        let allowed = (0.1 * record.reads as f64) as u64;
        let best = (1..700).map(naive).filter(|(_, stale)| *stale <= allowed).map(|(loads, _)| loads).min().unwrap();
        assert!(record.stale_reads <= allowed, "{record:?}");
        assert!(record.loads as f64 <= 1.03 * best as f64, "seed {seed}: {} loads, {best} in a grid", record.loads);
    }
}

#[test]
fn rates_far_from_the_objective_are_told_where_others_are_held_to_them() {
    let of = |policies: &str, max_ttl| {
        let objective = 0.05;
        let experiment = FreshnessExperiment { objective, max_ttl, ..experiment(policies) };
        experiment.run(&source(), &()).unwrap().off_objective(objective)
    };
    let (minute, ever) = (Duration::from_secs(60), Duration::from_secs(1 << 40));
    let told = of("learned,static", minute).unwrap();
    assert!(told.contains("Not at the objective of 5.00%") && told.contains("really served, 0."), "{told}");
    assert_eq!(of("learned,static", ever), None);
    assert_eq!(of("learned,static-deployed", minute), None);
}

#[test]
fn a_sweep_takes_each_objective_once_and_the_one_asked_for() {
    let experiment = FreshnessExperiment { objective: 0.6, ..experiment("static") };
    let records = experiment.sweep(&source(), &()).unwrap();
    let objectives: Vec<String> = records.iter().map(|record| format!("{:.2}", record.objective)).collect();
    assert_eq!(objectives, ["0.06", "0.18", "0.60"]);
}

fn arms(treatment: Freshness, control: Freshness) -> LifetimeArms {
    let named = |name: &str, freshness| NamedLifetimes { name: name.into(), freshness };
    LifetimeArms {
        experiment: FreshnessExperiment {
            reads: Reads::Zipf { alpha: 0.5, per_key: 3000.0 },
            objective: 0.1,
            ..experiment("learned")
        },
        treatment: named("treatment", treatment),
        control: named("control", control),
        shards: 64,
        slices: 160,
        alpha: 0.05,
    }
}

#[test]
fn lifetimes_as_arms_are_told_apart_as_the_truth_has_them() {
    let objective = |share| Freshness::stale_reads(share).unwrap();
    let ttl = |seconds| Freshness::fixed_ttl(Duration::from_secs(seconds));
    // Fresh both, with fewer loads and with more; the same twice; too stale to be judged by loads.
    for (treatment, control, winner) in [
        (objective(0.1), ttl(100), Some("treatment")),
        (ttl(100), ttl(1000), Some("control")),
        (objective(0.1), objective(0.1), None),
        (ttl(100_000), objective(0.1), None),
    ] {
        let record = arms(treatment, control).run(&source(), &()).unwrap().remove(0);
        assert_eq!((record.winner, record.slices), (winner, 128), "{record:#?}");
        assert_eq!(winner.is_some(), record.conclusion.is_some() && record.open.is_none(), "{record:#?}");
        assert!(record.refusals.is_empty(), "{record:#?}");
        // A tenth is little beside what a chance of 5 % in 100 means: the interval is one of 95 %.
        let loads = record.loads.unwrap();
        let [low, high] = loads.within.unwrap();
        assert!(low - 0.1 < loads.truth && loads.truth < high + 0.1, "{record:#?}");
        for arm in [record.treatment_arm, record.control_arm] {
            let [low, high] = arm.stale_within.unwrap();
            assert!(0.8 * low < arm.true_stale_rate && arm.true_stale_rate < 1.2 * high, "{record:#?}");
        }
    }
    // Beside an objective a rule is held to that one.
    let beside = LifetimeArms { shards: 2, slices: 8, ..arms(ttl(100), objective(0.05)) };
    let record = beside.run(&source(), &()).unwrap().remove(0);
    assert!((record.fresh_enough - 0.06).abs() < 1e-12, "{record:#?}");
    let few = LifetimeArms { shards: 8, ..arms(objective(0.1), ttl(100)) }.run(&source(), &()).unwrap().remove(0);
    assert!(few.winner.is_none() && few.refusals[0].contains("4 shards, and needs 8"), "{few:#?}");
}
