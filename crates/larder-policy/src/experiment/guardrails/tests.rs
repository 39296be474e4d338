//! The guardrail on the hit ratio on made-up counts: how often it errs, and how soon it finds.

use super::super::arms::Arms;
use super::super::counts::{ShardSlice, Trials, Weighed};
use super::super::own::Groups;
use super::*;
use crate::Rng;

const REQUESTS: f64 = 1e5;

/// About normal, with mean 0 and variance 1.
fn noise(rng: &mut Rng) -> f64 {
    (0..12).map(|_| rng.unit()).sum::<f64>() - 6.0
}

/// A slice of a shard whose hit ratio is that of its ghost and `gain` more.
fn slice(gain: f64, rate: f64) -> ShardSlice {
    let weighed = |requests: f64| Weighed { requests: requests.round() as u64, ..Weighed::default() };
    let [accesses, ghost_hits] = [1.0, 0.5].map(|share| weighed(REQUESTS * rate * share));
    let hits = weighed(REQUESTS * rate * (0.5 + gain));
    let mut groups = Groups::default();
    groups.count_many(accesses.requests, hits.requests as i64 - ghost_hits.requests as i64);
    let tail = Trials { accesses, hits, ghost_hits };
    let turnovers = 0.5;
    ShardSlice { accesses: weighed(REQUESTS), tail, rate, turnovers, groups, ..ShardSlice::default() }
}

/// The first alarm within so many slices about a single treated shard that gains `gain(slice)`, beside one that gains nothing.
fn first_alarm(slices: u64, mut gain: impl FnMut(u64) -> f64) -> Option<u64> {
    let mut arms = Arms::new(2, 0.0, 1);
    arms.treat(0.5);
    let mut trial = Trial::new(arms.clone(), false);
    (1..=slices).find(|&at| {
        let gain = gain(at);
        let shards = [0, 1].map(|shard| slice(if arms.arm(shard) == Arm::Treatment { gain } else { 0.0 }, 1.0));
        trial.push(&shards);
        Guardrails::default().breach(&trial, LEAST_SLICES, None, false).is_some()
    })
}

/// Gains about a mean that follow from one another.
fn chained(rng: &mut Rng, mean: f64, lag1: f64) -> impl FnMut(u64) -> f64 {
    let mut state = noise(rng);
    move |_| {
        state = lag1 * state + (1.0 - lag1 * lag1).sqrt() * noise(rng);
        mean + 0.01 * state
    }
}

#[test]
fn slices_that_follow_from_one_another_raise_no_alarm() {
    let (mut rng, runs) = (Rng::new(3), 600);
    // Just on the margin, where an alarm is false in one watch of a hundred.
    let alarms = (0..runs).filter(|_| first_alarm(100, chained(&mut rng, -0.005, 0.5)).is_some()).count();
    // Of 2 %, 12; two standard deviations above it are 18.
    assert!(alarms <= 18, "{alarms} of {runs}");
}

#[test]
fn large_harm_is_found_at_once() {
    let mut rng = Rng::new(4);
    // Within so many slices most of it has come.
    let mut median = |mean: f64, lag1: f64, within: f64| {
        let harm = |rng: &mut Rng| {
            let mut noise = chained(rng, 0.0, lag1);
            first_alarm(100, |at| noise(at) + mean * (1.0 - (-(at as f64) / within).exp()))
        };
        let mut found: Vec<u64> = (0..100).map(|_| harm(&mut rng).unwrap_or(100)).collect();
        found.sort_unstable();
        found[50]
    };
    assert_eq!(median(-0.1, 0.0, 0.01), LEAST_SLICES);
    assert_eq!(median(-0.1, 0.5, 0.01), LEAST_SLICES);
    assert!(median(-0.03, 0.0, 0.01) <= 10 && median(-0.03, 0.5, 0.01) <= 16);
    assert!(median(-0.1, 0.0, 5.0) <= 18 && median(-0.03, 0.0, 5.0) <= 24);
}

#[test]
fn ghosts_that_are_off_by_their_sample_are_no_harm() {
    // Within the margin, at a rate at which each shard's ghost is off by half a point.
    let alarms = |treated: f64, gain: f64| {
        let runs = 0..100;
        let alarmed = runs.filter(|&seed| {
            let (mut rng, mut arms) = (Rng::new(seed), Arms::new(64, 0.0, seed));
            arms.treat(treated);
            let off: Vec<f64> = (0..64).map(|_| 0.005 * noise(&mut rng)).collect();
            let mut trial = Trial::new(arms.clone(), false);
            for _ in 0..40 {
                let shards = off.iter().enumerate().map(|(shard, off)| {
                    let own = if arms.arm(shard) == Arm::Treatment { gain } else { 0.0 };
                    slice(own + off + 0.001 * noise(&mut rng), 0.066)
                });
                trial.push(&shards.collect::<Vec<_>>());
            }
            trial.own_gain_at_most(0.01, 40) < -0.005
        });
        alarmed.count()
    };
    // Of 1 %, one in a hundred; three standard deviations above it are four.
    for treated in [0.05, 0.25] {
        let false_ones = alarms(treated, -0.003);
        assert!(false_ones <= 4, "{false_ones} of 100 at {treated}");
        // And what harms much is found by three shards.
        assert!(alarms(treated, -0.03) >= 99);
    }
}
