//! Experiments over traces whose truth is known: what is claimed, how near it is, and what is rolled back. The full tables are made by
//! `cargo xtask experiments`.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::path::PathBuf;

use larder_sim::{ArmsRecord, ArmsRun, ErrorKind, Lifetimes, Source, Weigh};
use larder_trace::Options;

const SHARPNESS: [&str; 3] = ["0.8", "1.0", "1.2"];

fn zipf(alpha: &str, requests: u64, seed: u64) -> Source {
    let trace = format!("gen:zipf:alpha={alpha}/keys=20000/requests={requests}/seed={seed}");
    Source::trace(trace, Options::default())
}

fn arms(treatment: &str, control: &str, seed: u64) -> ArmsRun {
    ArmsRun {
        treatment: treatment.parse().unwrap(),
        control: control.parse().unwrap(),
        capacity: "5%".parse().unwrap(),
        weigh: Weigh::Objects,
        shards: 64,
        slices: 200,
        ghosts: None,
        alpha: 0.05,
        seed,
        gets_only: false,
        lifetimes: Lifetimes::Ignored,
        details: false,
    }
}

fn error(record: &ArmsRecord) -> f64 {
    (record.effects[0].effect - record.effects[0].truth).abs()
}

#[test]
fn the_same_policy_with_the_same_choices_has_no_effect_at_all() {
    let record = arms("lru", "lru", 1).run(&mut zipf("1.0", 100_000, 1), &()).unwrap();
    let effect = &record.effects[0];
    assert_eq!((effect.effect, effect.truth, effect.bias, effect.anytime), (0.0, 0.0, 0.0, [0.0, 0.0]));
    assert_eq!((record.winner, record.first_won), (None, None));
}

#[test]
fn two_equal_arms_are_seldom_called_different() {
    // W-TinyLFU's random choices differ between the arms. Of 30 runs, 5 % are 1.5.
    let (mut once, mut ever) = (0, 0);
    for alpha in SHARPNESS {
        for seed in 1..=10 {
            let record = arms("wtinylfu", "wtinylfu", seed).run(&mut zipf(alpha, 100_000, seed), &()).unwrap();
            let [low, high] = record.effects[0].fixed;
            once += u32::from(low > 0.0 || high < 0.0);
            ever += u32::from(record.first_won.is_some());
        }
    }
    assert!(once <= 6 && ever <= 3, "{once} once, {ever} ever");
}

#[test]
fn half_a_point_is_found_in_200_000_requests_and_is_near_the_truth() {
    for (alpha, treatment, control) in
        [("1.0", "twoq:in=0.2", "twoq"), ("1.2", "clock", "lru"), ("0.8", "clock", "lru")]
    {
        for seed in 1..=2 {
            let record = arms(treatment, control, seed).run(&mut zipf(alpha, 200_000, seed), &()).unwrap();
            assert!(record.effects[0].truth > 0.004, "{record:?}");
            assert_eq!(record.winner, Some("treatment"), "{record:?}");
            assert!(error(&record) < 0.002, "{record:?}");
        }
    }
}

#[test]
fn a_key_with_30_percent_of_the_traffic_does_not_bend_the_effect() {
    let trace = "gen:mix:requests=200000/seed=3/+7*zipf/alpha=0.8/keys=20000/+3*uniform/keys=1";
    let record = arms("clock", "lru", 3).run(&mut Source::trace(trace, Options::default()), &()).unwrap();
    assert!(record.head_share > 0.3 && record.refusals.is_empty(), "{record:?}");
    assert!(error(&record) < 0.002 && record.winner == Some("treatment"), "{record:?}");
}

#[test]
fn sampled_ghosts_agree_with_the_truth() {
    let trace = "gen:zipf:alpha=0.9/keys=200000/requests=400000/seed=1";
    let run = ArmsRun { ghosts: Some(0.5), capacity: "10%".parse().unwrap(), ..arms("clock", "lru", 1) };
    let record = run.run(&mut Source::trace(trace, Options::default()), &()).unwrap();
    let effect = &record.effects[0];
    assert_eq!(record.ghost_rate, 0.5);
    assert!(effect.anytime[0] <= effect.truth && effect.truth <= effect.anytime[1], "{record:?}");
    assert!(error(&record) < 0.005, "{record:?}");
}

#[test]
fn a_real_trace() {
    let default = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/traces");
    let folder = std::env::var("LARDER_TRACES").unwrap_or_else(|_| default.to_owned());
    let path = PathBuf::from(folder).join("web07.csv.zst");
    if !path.exists() {
        assert!(std::env::var("LARDER_REQUIRE_TRACES").as_deref() != Ok("1"), "{} is missing", path.display());
        eprintln!("skipped: no traces");
        return;
    }
    let run = |treatment: &str, control: &str| {
        arms(treatment, control, 1).run(&mut Source::trace(&path, Options::default()), &()).unwrap()
    };
    let equal = run("wtinylfu", "wtinylfu");
    assert_eq!((equal.winner, equal.first_won), (None, None), "{equal:?}");
    let better = run("clock", "lru");
    assert_eq!(better.winner, Some("treatment"), "{better:?}");
    assert!(error(&better) < 0.002, "{better:?}");
}

#[test]
fn a_poisoned_policy_leaves_within_20_slices_and_an_equal_one_stays() {
    let rehearse = |treatment: &str, control: &str, slices: u64| {
        let run = ArmsRun { slices, ..arms(treatment, control, 1) };
        run.rehearse(&mut zipf("1.0", slices * 2000, 1), &()).unwrap()
    };
    // FIFO loses about 4 points to LRU.
    let record = rehearse("fifo", "lru", 60);
    let at = |event: &str| record.events.iter().find(|one| one.event == event).map(|one| one.slice);
    let (began, ended) = (at("ramped").unwrap(), at("rolled-back").unwrap());
    assert!(ended - began <= 20, "{record:?}");

    let record = rehearse("wtinylfu", "wtinylfu", 300);
    assert!(record.events.iter().all(|event| event.event == "ramped"), "{record:?}");
    assert_eq!((record.slices, record.events.len()), (300, 3));

    let record = rehearse("clock", "lru", 200);
    assert_eq!(record.events.last().map(|event| event.event), Some("adopted"), "{record:?}");
}

#[test]
fn what_a_policy_has_yet_to_learn_is_not_held_against_it() {
    let rehearse = |treatment: &str, control: &str, (alpha, keys, capacity): (&str, u64, &str), seed: u64| {
        let run = ArmsRun { slices: 150, capacity: capacity.parse().unwrap(), ..arms(treatment, control, seed) };
        let trace = format!("gen:zipf:alpha={alpha}/keys={keys}/requests=300000/seed={seed}");
        let record = run.rehearse(&mut Source::trace(trace, Options::default()), &()).unwrap();
        record.events.into_iter().map(|event| event.event).collect::<Vec<_>>()
    };
    for seed in [1, 2] {
        // What remembers whom it let go forgets them where it begins.
        assert_eq!(rehearse("sieve", "sieve", ("1.0", 20_000, "10%"), seed), ["ramped"; 3]);
        let better = rehearse("learned", "wtinylfu", ("0.9", 100_000, "5%"), seed);
        assert_eq!(better, ["ramped", "ramped", "ramped", "adopted"]);
    }
}

#[test]
fn details_tell_how_the_record_came_about() {
    let run = ArmsRun { details: true, ..arms("clock", "lru", 1) };
    let mut record = run.run(&mut zipf("1.0", 100_000, 1), &()).unwrap();
    let effect = &record.effects[0];
    let last = record.looks.last().unwrap();
    assert_eq!(record.looks.len() as u64, record.slices);
    assert_eq!((last.requests, last.effect, last.anytime), (record.requests, effect.effect, effect.anytime));
    assert!((last.truth - effect.truth).abs() < 1e-12, "{last:?}");
    let won = record.looks.iter().find(|look| look.refusals.is_empty() && look.anytime[0] > 0.0);
    assert_eq!(won.map(|look| look.slice), record.first_won);

    assert_eq!(record.by_shard.iter().map(|shard| shard.requests).sum::<u64>(), record.requests);
    let of = |arm: &str| record.by_shard.iter().filter(|shard| shard.arm == arm).collect::<Vec<_>>();
    let hit_ratio = |arm: &str| {
        let sum = |of_shard: fn(&larder_sim::ShardRecord) -> u64| of(arm).into_iter().map(of_shard).sum::<u64>();
        sum(|shard| shard.hits) as f64 / sum(|shard| shard.requests) as f64
    };
    assert_eq!((of("treatment").len(), of("control").len()), (32, 32));
    assert!((hit_ratio("treatment") - last.treatment_arm).abs() < 1e-12);
    assert!((hit_ratio("control") - last.control_arm).abs() < 1e-12);
    // Every ghost runs the control's own policy: only treated shards gain.
    assert!(of("control").iter().all(|shard| shard.gain == 0.0));
    assert!(of("treatment").iter().all(|shard| shard.gain != 0.0));

    // Without details the same is found, and told in short.
    (record.looks, record.by_shard) = (Vec::new(), Vec::new());
    assert_eq!(arms("clock", "lru", 1).run(&mut zipf("1.0", 100_000, 1), &()).unwrap(), record);
}

#[test]
fn a_rollout_has_a_course() {
    let run = ArmsRun { slices: 60, details: true, ..arms("fifo", "lru", 1) };
    let record = run.rehearse(&mut zipf("1.0", 120_000, 1), &()).unwrap();
    let at = |event: &str| record.events.iter().find(|one| one.event == event).unwrap().slice;
    let (began, ended) = (at("ramped"), at("rolled-back"));
    assert_eq!(record.course.len(), 60);
    for slice in &record.course {
        let is_treated = began < slice.slice && slice.slice <= ended;
        assert_eq!((slice.treated > 0.0, slice.gain.is_some()), (is_treated, is_treated), "{slice:?}");
    }
    let mean = record.course.iter().map(|slice| slice.hit_ratio).sum::<f64>() / 60.0;
    assert!((mean - record.hit_ratio).abs() < 1e-9, "{mean}");
    let gains: Vec<f64> = record.course.iter().filter_map(|slice| slice.gain).collect();
    assert!(gains.iter().sum::<f64>() < 0.0, "{gains:?}");
}

#[test]
fn too_little_is_refused_with_the_reason() {
    let record = ArmsRun { shards: 8, ..arms("clock", "lru", 1) }.run(&mut zipf("1.0", 20_000, 1), &()).unwrap();
    assert_eq!(record.winner, None);
    assert!(record.refusals.iter().any(|reason| reason.contains("4 shards")), "{:?}", record.refusals);
    let record = arms("clock", "lru", 1).run(&mut zipf("1.0", 1000, 1), &()).unwrap();
    assert!(record.refusals.iter().any(|reason| reason.contains("equal keys")), "{:?}", record.refusals);
    let oracle = arms("belady", "lru", 1).run(&mut zipf("1.0", 1000, 1), &()).unwrap_err();
    assert_eq!(oracle.kind(), ErrorKind::BadOption);
    for alpha in [0.0, 0.5, 1.0, -0.1, f64::NAN] {
        let error = ArmsRun { alpha, ..arms("clock", "lru", 1) }.run(&mut zipf("1.0", 1000, 1), &()).unwrap_err();
        assert!(error.to_string().contains("below 0.5"), "{error}");
    }
}
