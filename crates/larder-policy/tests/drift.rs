//! A model that has lost touch with the traffic is found out and begins anew; one that has not is left alone.

use larder_policy::learned::features::{BINS, WEIGHTS};
use larder_policy::learned::{HORIZONS, Prior, Scores};
use larder_policy::{Access, Capacity, KeyHash, Lookup, PolicySpec, Rng, Shard, Time};
use std::sync::Arc;

/// Misses, and what the model said of itself by the end.
fn run(policy: &str, objects: u64, prior: Option<&Arc<Prior>>, keys: impl Iterator<Item = u64>) -> (u64, Scores) {
    let capacity = Capacity::objects(objects);
    let spec: PolicySpec = policy.parse().expect("a registered policy");
    let spec = prior.map_or_else(|| spec.clone(), |prior| spec.clone().with_prior(prior.clone()));
    let mut shard: Shard<()> = Shard::new(capacity, spec.build(capacity, 1));
    let (mut misses, mut evicted) = (0, Vec::new());
    for key in keys {
        let access = Access::get(KeyHash::mix(key), Time(0));
        if let Lookup::Miss(miss) = shard.lookup(&access) {
            misses += 1;
            let plan = shard.plan(&access, miss, None);
            shard.insert(&access, (), &plan, &mut evicted);
            evicted.clear();
        }
    }
    shard.validate();
    let mut scores = Scores::default();
    shard.score(&mut scores);
    (misses, scores)
}

/// Small numbers are frequent.
fn skewed(rng: &mut Rng, most: u64) -> u64 {
    (most as f64 * rng.unit().powi(4)) as u64
}

/// By age alone, `step` more or less for each bin, and so sure of it that it learns next to nothing.
fn stubborn(step: f32) -> Arc<Prior> {
    let mut weights = vec![0.0; WEIGHTS * HORIZONS.len()];
    for (place, weight) in weights[..BINS * HORIZONS.len()].iter_mut().enumerate() {
        *weight = step * (place / HORIZONS.len()) as f32;
    }
    Arc::new(Prior::new(&weights, 1e5, "{}").expect("weights within bounds"))
}

#[test]
fn a_model_of_other_traffic_is_set_aside() {
    for step in [0.3, -0.3] {
        for seed in 1..=3 {
            for objects in [64, 500] {
                let traffic = || {
                    let mut rng = Rng::new(seed);
                    (0..100_000).map(move |_| skewed(&mut rng, 4 * objects))
                };
                let (misses, scores) = run("learned", objects, Some(&stubborn(step)), traffic());
                let (cold, unmoved) = run("learned:prior=0", objects, None, traffic());
                assert_eq!((scores.drifts(), unmoved.drifts()), (1, 0), "{step} {seed} {objects}");
                assert!(misses as f64 <= 1.05 * cold as f64, "{step} {seed} {objects}: {misses} misses, cold {cold}");
            }
        }
    }
}

/// While nothing is ever used again, each example lowers the weights a little more, for as long as it lasts: not so far that the model could not
/// learn again, nor so that it would have to begin anew.
#[test]
fn traffic_that_changes_its_kind_is_learned() {
    const HALF: u64 = 300_000;
    for seed in 1..=3 {
        for policy in ["learned", "learned:prior=0"] {
            let traffic = |scanned: u64| {
                let mut rng = Rng::new(seed);
                (0..2 * HALF).map(move |at| if at < scanned { 1_000_000 + at } else { skewed(&mut rng, 8000) })
            };
            let (_, before) = run(policy, 2000, None, traffic(HALF).take(HALF as usize));
            let (misses, after) = run(policy, 2000, None, traffic(HALF));
            assert_eq!(
                (before.drifts(), after.drifts()),
                (0, 0),
                "{policy} {seed}: a scan is foretold, and what comes then"
            );
            // It has learned the new traffic as if there had been no scan.
            let (alone, _) = run(policy, 2000, None, traffic(0).take(HALF as usize));
            let misses = misses - HALF;
            assert!(misses as f64 <= 1.02 * alone as f64, "{policy} {seed}: {misses} misses, alone {alone}");
        }
    }
}

#[test]
fn traffic_that_stays_the_same_is_no_drift() {
    for seed in 1..=5 {
        for objects in [64, 500] {
            for policy in ["learned", "learned:prior=0", "learned:focus=1"] {
                let (mut random, mut skew) = (Rng::new(seed), Rng::new(seed));
                let kinds: [(&str, &mut dyn FnMut(u64) -> u64); 4] = [
                    ("random", &mut |_| u64::from(random.below(4 * objects as u32))),
                    ("skewed", &mut |_| skewed(&mut skew, 4 * objects)),
                    ("a loop", &mut |at| at % (3 * objects / 2)),
                    ("a scan", &mut |at| at),
                ];
                for (kind, key) in kinds {
                    let (_, scores) = run(policy, objects, None, (0..80_000).map(key));
                    assert!(scores.examples() > 512, "{kind}: {} examples", scores.examples());
                    assert!(
                        scores.drifts() == 0 && scores.drift() < 0.75,
                        "{kind}, {policy}, {objects} objects, seed {seed}: {} {}",
                        scores.drifts(),
                        scores.drift()
                    );
                }
            }
        }
    }
}
