//! Weights that are no numbers, past every gate: the next decision is LRU's, and the model learns anew.

use std::sync::Arc;

use crate::learned::{Prior, Rule, Scores};
use crate::{Access, Capacity, Evicted, KeyHash, Lookup, PolicySpec, Rng, Shard, Time};

fn spec(policy: &str, weight: Option<f32>) -> PolicySpec {
    let spec: PolicySpec = policy.parse().unwrap();
    weight.map_or(spec.clone(), |weight| spec.with_prior(Arc::new(Prior::ungated(weight))))
}

/// Misses of so many accesses with sizes and costs at the ends of what they can be.
fn run(shard: &mut Shard<()>, rng: &mut Rng, accesses: u64) -> u64 {
    let (mut misses, mut out) = (0, Vec::new());
    for at in 0..accesses {
        let key = (3000.0 * rng.unit().powi(3)) as u64;
        let (size, cost) = [(1, 0), (1, u32::MAX), (0, 1), (7, 50)][(key % 4) as usize];
        let access = Access { size, cost, ..Access::get(KeyHash::mix(key), Time(at)) };
        if let Lookup::Miss(miss) = shard.lookup(&access) {
            misses += 1;
            let plan = shard.plan(&access, miss, None);
            shard.insert(&access, (), &plan, &mut out);
            out.clear();
        }
    }
    misses
}

#[test]
fn weights_that_are_no_numbers_fall_back_to_lru_within_one_decision() {
    const ACCESSES: u64 = 60_000;
    for policy in ["learned", "learned-bytes", "learned-cost", "learned:guard=0"] {
        for weight in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, f32::MAX] {
            for capacity in [Capacity::objects(300), Capacity::bytes(900)] {
                let build = |policy: &str, weight| spec(policy, weight).build(capacity, 1);
                let mut shard: Shard<()> = Shard::new(capacity, build(policy, Some(weight)));
                let mut out: Vec<Evicted<()>> = Vec::new();
                // The first eviction is the first decision.
                for key in 0.. {
                    let access = Access::get(KeyHash::mix(1 << 40 | key), Time(0));
                    let Lookup::Miss(miss) = shard.lookup(&access) else { continue };
                    let plan = shard.plan(&access, miss, None);
                    shard.insert(&access, (), &plan, &mut out);
                    if !out.is_empty() {
                        break;
                    }
                }
                // Every weight is a number again.
                shard.validate();
                let is_guarded = policy != "learned:guard=0";
                if is_guarded {
                    let standing = shard.standing().unwrap();
                    let mut scores = Scores::default();
                    shard.score(&mut scores);
                    // Where examples told so before there was a guard, the model is LRU by itself.
                    let stepped_back = standing.rule != Rule::Learned && standing.retreats == 1;
                    assert!(stepped_back || scores.drifts() == 1, "{policy} {weight} {capacity:?} {standing:?}");
                }
                let mut lru = Shard::new(capacity, build("lru", None));
                let (own, lru) =
                    (run(&mut shard, &mut Rng::new(2), ACCESSES), run(&mut lru, &mut Rng::new(2), ACCESSES));
                let counts_objects = policy == "learned" || !is_guarded;
                let more = own as f64 - lru as f64;
                assert!(
                    !counts_objects || more <= 0.01 * ACCESSES as f64,
                    "{policy} {weight}: {own} misses, LRU {lru}"
                );
                // And in the middle of a run.
                shard.swap_policy(build(policy, Some(weight)), Time(ACCESSES), &mut out);
                run(&mut shard, &mut Rng::new(3), 2_000);
                shard.validate();
            }
        }
    }
}
