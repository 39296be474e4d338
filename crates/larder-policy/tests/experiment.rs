//! Probes and what-if curves beside real shards.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::time::Duration;

use larder_policy::experiment::{
    Arms, Ghost, Measures, Prices, Probe, SizeCurve, SizePoint, Trial, WhatIf, ghost_rate,
};
use larder_policy::ttl::Given;
use larder_policy::{Access, Capacity, KeyHash, Op, Policy, PolicySpec, Rng, Time};
use proptest::prelude::*;

fn policy(name: &str, capacity: Capacity, seed: u64) -> Policy {
    let mut policy = name.parse::<PolicySpec>().unwrap().build(capacity, seed);
    policy.ttl = Some(Box::new(Given));
    policy
}

/// Zipf-like numbers below `keys`.
fn popular(rng: &mut Rng, keys: f64) -> u64 {
    (keys * rng.unit().powi(3)) as u64
}

proptest! {
    /// Sets, deletes, sizes, lifetimes: a ghost of all keys is the control itself.
    #[test]
    fn at_a_rate_of_1_the_ghost_is_the_control(
        rows in prop::collection::vec((0u64..40, 0u8..8, 1u32..6, 0u64..9), 1..600),
        name in prop::sample::select(vec!["lru", "s3fifo", "wtinylfu", "gdsf", "learned-bytes", "random"]),
    ) {
        let capacity = Capacity::bytes(40);
        let mut shard = Ghost::new(capacity, policy(name, capacity, 7));
        let mut probe = Probe::new(capacity, 1.0, false, 7, |capacity| policy(name, capacity, 7)).unwrap();
        let (mut hits, mut counted) = (0, 0);
        for (at, (key, what, size, ttl)) in (0..).zip(rows) {
            let op = match what { 0 => Op::Delete, 1 => Op::Set, _ => Op::Get };
            let access = Access { size, op, ..Access::get(KeyHash::mix(key), Time(at * 500_000)) };
            let given = (ttl > 0).then(|| Duration::from_secs(ttl));
            let hit = shard.ask(&access, given);
            probe.record(&access, hit, given);
            counted += u64::from(op != Op::Delete);
            hits += u64::from(hit && op != Op::Delete);
        }
        probe.validate();
        let slice = probe.end_slice(0, Measures::default());
        prop_assert_eq!((slice.accesses.requests, slice.hits.requests), (counted, hits));
        prop_assert_eq!(slice.tail.accesses, slice.accesses);
        prop_assert_eq!(slice.tail.hits, slice.tail.ghost_hits);
        prop_assert_eq!(slice.tail.hits, slice.hits);
    }
}

#[test]
fn a_key_with_30_percent_of_the_traffic_is_counted_in_the_head() {
    let capacity = Capacity::objects(4000);
    for rate in [1.0, 0.25] {
        let mut shard = Ghost::new(capacity, policy("lru", capacity, 1));
        let mut probe = Probe::new(capacity, rate, false, 1, |capacity| policy("lru", capacity, 1)).unwrap();
        let (mut rng, mut traffic) = (Rng::new(5), 0);
        for slice in 0..20 {
            for _ in 0..10_000 {
                let hot = rng.below(10) < 3;
                let key = if hot { 1 << 40 } else { popular(&mut rng, 50_000.0) };
                let access = Access::get(KeyHash::mix(key), Time(slice));
                let hit = shard.ask(&access, None);
                probe.record(&access, hit, None);
            }
            let counted = probe.end_slice(traffic, Measures::default());
            probe.validate();
            traffic = counted.accesses.requests;
            if slice < 3 {
                continue;
            }
            // Five standard deviations of a binomial(10000, 0.3) are 229; other keys of half a percent may be in the head too.
            let head = counted.head.accesses.requests;
            assert!(counted.head_keys >= 1 && (2771..4500).contains(&head), "{head} at {rate}");
            assert!(counted.hottest < 0.01, "{}", counted.hottest);
            let sampled = counted.tail.accesses.requests as f64 / counted.tail_accesses().requests as f64;
            assert!((sampled - rate).abs() < 0.1, "{sampled} at {rate}");
            // The control against itself.
            let gained = (counted.tail.hits.requests as f64 - counted.tail.ghost_hits.requests as f64) / rate;
            assert!(gained.abs() / 10_000.0 < 0.02, "{gained} at {rate}");
        }
        let most = if rate < 1.0 { 200_000 } else { 400_000 };
        assert!(probe.bytes() < most, "{}", probe.bytes());
    }
}

#[test]
fn by_weight_nothing_is_told_where_weights_are_not_known() {
    let is_weighed = |at_a_miss: bool| {
        let capacity = Capacity::objects(100);
        let mut probe = Probe::new(capacity, 1.0, false, 1, |capacity| policy("lru", capacity, 1)).unwrap();
        for at in 0..200 {
            let access = Access { size: 10, ..Access::get(KeyHash::mix(at % 50), Time(at)) };
            if at >= 50 || at_a_miss {
                probe.record(&access, at >= 50, None);
            } else {
                probe.miss(&Access { size: 1, ..access });
                probe.fill(&access, None);
            }
        }
        let mut trial = Trial::new(Arms::new(1, 0.0, 1), false);
        trial.push(&[probe.end_slice(0, Measures::default())]);
        let report = trial.report(0.05, 10, None);
        assert_eq!(report.effect.control, 0.75);
        report.weighed.is_some()
    };
    assert!(is_weighed(true) && !is_weighed(false));
}

#[test]
fn what_if_curves_tell_what_other_sizes_would_hit() {
    let (shards, capacity) = (4u64, Capacity::objects(2000));
    let mut beside: Vec<WhatIf> = (0..shards)
        .map(|_| {
            WhatIf::new(capacity, ghost_rate(capacity.limit as f64), 3, |capacity| policy("lru", capacity, 1)).unwrap()
        })
        .collect();
    let scales = [0.25, 0.5, 1.0, 2.0, 4.0];
    let mut exact: Vec<(Ghost, u64)> = scales
        .iter()
        .map(|scale| {
            let whole = Capacity::objects((capacity.limit as f64 * scale) as u64 * shards);
            (Ghost::new(whole, policy("lru", whole, 1)), 0)
        })
        .collect();
    let (mut rng, requests) = (Rng::new(2), 400_000);
    for _ in 0..requests {
        let access = Access::get(KeyHash::mix(popular(&mut rng, 60_000.0)), Time(0));
        beside[(KeyHash::mix(access.key.0).0 % shards) as usize].record(&access, None);
        exact.iter_mut().for_each(|(ghost, hits)| *hits += u64::from(ghost.ask(&access, None)));
    }
    let mut curve = SizeCurve::default();
    beside.iter_mut().for_each(|shard| curve.add_shard(&shard.take()));
    assert_eq!(curve.accesses(), requests);
    for (scale, (_, hits)) in scales.iter().zip(&exact) {
        let (told, real) = (curve.hit_ratio_at(*scale).unwrap(), *hits as f64 / requests as f64);
        assert!((told - real).abs() < 0.02, "{told} for {real} at {scale}");
    }
    // Back from a hit ratio to its size, and between the sizes looked at.
    let scale = curve.scale_for(curve.hit_ratio_at(2.0).unwrap()).unwrap();
    assert!((scale - 2.0).abs() < 1e-6, "{scale}");
    let between = curve.hit_ratio_at(3.0).unwrap();
    assert!(curve.hit_ratio_at(2.0).unwrap() < between && between < curve.hit_ratio_at(4.0).unwrap());
    assert!((curve.scale_for(between).unwrap() - 3.0).abs() < 1e-6);
    assert_eq!((curve.hit_ratio_at(9.0), curve.scale_for(1.0)), (None, None));
    // Loads follow the misses; at the size there is they are what they are.
    let loads = curve.loads_by_size(900.0);
    let (here, twice) = (loads[2], loads[3]);
    assert_eq!((here.0.scale, here.1, twice.0.scale), (1.0, 900.0, 2.0));
    let expected = 900.0 * (1.0 - twice.0.hit_ratio) / (1.0 - here.0.hit_ratio);
    assert!((twice.1 - expected).abs() < 1e-9 && twice.1 < 900.0, "{twice:?}");
    // Dear memory asks for little of it, dear loads for much.
    let cheapest = |prices: Prices| {
        let cost = |(point, loads): &(SizePoint, f64)| prices.hour(1e9 * point.scale, *loads).total();
        loads.iter().min_by(|one, other| cost(one).total_cmp(&cost(other))).unwrap().0.scale
    };
    assert_eq!(cheapest(Prices { gib_hour: 1000.0, load: 1e-6 }), 0.25);
    assert_eq!(cheapest(Prices { gib_hour: 0.001, load: 0.01 }), 8.0);
    // What comes later counts for itself.
    assert_eq!(beside[0].take().accesses(), 0);
}

#[test]
fn what_an_hour_costs() {
    let prices = Prices { gib_hour: 0.25, load: 0.001 }.checked().unwrap();
    // 2 GiB at a quarter each, and 500 loads at a thousandth.
    let cost = prices.hour(2.0 * (1u64 << 30) as f64, 500.0);
    assert_eq!((cost.memory, cost.loads, cost.total()), (0.5, 0.5, 1.0));
    assert!(prices.is_given() && !Prices::default().is_given());
    for price in [-1.0, f64::NAN, f64::INFINITY] {
        for wrong in [Prices { gib_hour: price, load: 0.0 }, Prices { gib_hour: 0.0, load: price }] {
            let error = wrong.checked().unwrap_err().to_string();
            assert!(error.contains("at least 0") && error.contains(&price.to_string()), "{error}");
        }
    }
}
