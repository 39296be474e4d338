//! Traffic made to mislead the learned policy: it may lose a point of hit ratio to LRU, never more, and never panics.

use larder_policy::learned::features::{BINS, WEIGHTS};
use larder_policy::learned::{HORIZONS, Prior};
use larder_policy::{Access, Capacity, KeyHash, Lookup, Op, PolicySpec, Rng, Shard, Time};
use proptest::prelude::*;
use std::sync::Arc;

/// Misses a shard may have more than LRU, as a share of the accesses.
const POINT: f64 = 0.01;

fn shard(policy: &str, capacity: Capacity, seed: u64, prior: Option<&Arc<Prior>>) -> Shard<()> {
    let spec: PolicySpec = policy.parse().expect("a registered policy");
    let spec = prior.map_or_else(|| spec.clone(), |prior| spec.clone().with_prior(prior.clone()));
    Shard::new(capacity, spec.build(capacity, seed))
}

fn misses(shard: &mut Shard<()>, accesses: &[Access]) -> usize {
    let mut evicted = Vec::new();
    let mut misses = 0;
    for access in accesses {
        if access.op == Op::Delete {
            shard.remove(access.key);
        } else if let Lookup::Miss(miss) = shard.lookup(access) {
            misses += 1;
            let plan = shard.plan(access, miss, None);
            shard.insert(access, (), &plan, &mut evicted);
            evicted.clear();
        }
    }
    shard.validate();
    misses
}

/// Each bin of age is worth more than the younger one: what LRU throws away, this keeps.
fn anti_lru() -> Arc<Prior> {
    let mut weights = vec![0.0; WEIGHTS * HORIZONS.len()];
    for (place, weight) in weights[..BINS * HORIZONS.len()].iter_mut().enumerate() {
        *weight = 0.3 * (place / HORIZONS.len()) as f32;
    }
    Arc::new(Prior::new(&weights, 30.0, "{}").expect("weights within bounds"))
}

fn keys(keys: impl IntoIterator<Item = u64>) -> Vec<Access> {
    keys.into_iter().enumerate().map(|(at, key)| Access::get(KeyHash::mix(key), Time(at as u64))).collect()
}

/// Small numbers are frequent.
fn skewed(rng: &mut Rng, most: f64) -> u64 {
    (most * rng.unit().powi(4)) as u64
}

fn holds_its_own(name: &str, objects: u64, accesses: &[Access]) {
    let capacity = Capacity::objects(objects);
    let lru = misses(&mut shard("lru", capacity, 1, None), accesses);
    for (whose, prior) in [("shipped", None), ("anti-LRU", Some(anti_lru()))] {
        for seed in 1..=2 {
            let learned = misses(&mut shard("learned", capacity, seed, prior.as_ref()), accesses);
            let more = (learned as f64 - lru as f64) / accesses.len() as f64;
            assert!(
                more <= POINT,
                "{name}, {objects} objects, {whose} prior, seed {seed}: {learned} misses, LRU {lru}"
            );
        }
    }
}

const SIZES: [u64; 3] = [64, 200, 512];
const LENGTH: u64 = 120_000;

#[test]
fn a_scan() {
    for objects in SIZES {
        holds_its_own("scan", objects, &keys(0..LENGTH));
    }
}

#[test]
fn a_loop() {
    for objects in SIZES {
        for length in [objects / 2, objects + 1, objects * 2, objects * 5] {
            holds_its_own("loop", objects, &keys((0..LENGTH).map(|at| at % length)));
        }
    }
}

#[test]
fn a_flood_of_one_hit_wonders() {
    for objects in SIZES {
        let mut rng = Rng::new(7);
        let flood = (0..LENGTH).map(|at| match at % 10 {
            0..7 => 1_000_000 + at,
            _ => skewed(&mut rng, objects as f64),
        });
        holds_its_own("flood", objects, &keys(flood));
    }
}

/// What was hot turns cold whenever the learner has just made up its mind, and what was cold turns hot.
#[test]
fn phases_that_flip() {
    for objects in SIZES {
        for window in [objects * 4, objects * 16] {
            let mut rng = Rng::new(5);
            let flips = (0..LENGTH).map(|at| {
                let phase = at / window;
                match phase % 2 {
                    0 => skewed(&mut rng, 4.0 * objects as f64) + phase * 1_000_000,
                    _ => at % (objects * 3 / 2),
                }
            });
            holds_its_own("flip", objects, &keys(flips));
        }
    }
}

/// A key is read again at once, and often, until it is forgotten for good: all its past speaks for it.
#[test]
fn pasts_that_lie() {
    for objects in SIZES {
        let lies = (0..LENGTH).map(|at| {
            let generation = at / (objects * 8);
            let hot = objects / 2;
            match at % 3 {
                0 => 1_000_000 + generation * 10_000 + at % hot,
                1 => 2_000_000 + at % (objects * 2 / 3),
                _ => 9_000_000 + at,
            }
        });
        holds_its_own("lies", objects, &keys(lies));
    }
}

/// Keys that agree in the bits the policy keeps (16 to 47 of the hash) share their past: four keys each, or all of them, once such that
/// the guard samples them and once such that it does not. A guard that is left blind does not let the model rank.
#[test]
fn hashes_that_collide() {
    for objects in SIZES.into_iter().chain([2048]) {
        for (keys, kept) in [(4, None), (u64::MAX, Some(0)), (u64::MAX, Some(0xffff_ffff))] {
            let mut rng = Rng::new(3);
            let accesses: Vec<_> = (0..LENGTH)
                .map(|at| {
                    let key = skewed(&mut rng, 4.0 * objects as f64);
                    let kept = kept.unwrap_or(KeyHash::mix(key / keys).0 & 0xffff_ffff);
                    Access::get(KeyHash(key << 48 | kept << 16 | key & 0xffff), Time(at))
                })
                .collect();
            holds_its_own("collisions", objects, &accesses);
        }
    }
}

/// The high bits of what the policy keeps choose the bucket that remembers a key.
#[test]
fn keys_that_share_a_bucket() {
    for objects in SIZES {
        let mut rng = Rng::new(3);
        let hash = |key| KeyHash(KeyHash::mix(key).0 & !(0xffff << 32));
        let accesses: Vec<_> =
            (0..LENGTH).map(|at| Access::get(hash(skewed(&mut rng, 4.0 * objects as f64)), Time(at))).collect();
        holds_its_own("one bucket", objects, &accesses);
    }
}

/// The last make half of the worths 0 and half 1, by chance, which no model trained on anything does.
#[test]
fn weights_as_large_as_can_be() {
    let noise = |place: usize| if KeyHash::mix(place as u64).0 & 1 == 0 { 20.0 } else { -20.0 };
    let weights: [&dyn Fn(usize) -> f32; 3] = [&|_| 20.0, &|_| -20.0, &noise];
    for weight in weights {
        let weights: Vec<f32> = (0..WEIGHTS).flat_map(|place| [weight(place); HORIZONS.len()]).collect();
        for sureness in [1e-3, 30.0] {
            let prior = Arc::new(Prior::new(&weights, sureness, "{}").unwrap());
            for (objects, seed) in SIZES.into_iter().zip(1..) {
                let mut rng = Rng::new(seed);
                let mut stream = |flood: f64| {
                    let key =
                        |at| if rng.unit() < flood { 1_000_000 + at } else { skewed(&mut rng, 4.0 * objects as f64) };
                    keys((0..LENGTH / 3).map(key).collect::<Vec<_>>())
                };
                for accesses in [stream(0.0), stream(0.7)] {
                    let capacity = Capacity::objects(objects);
                    let lru = misses(&mut shard("lru", capacity, 1, None), &accesses);
                    let learned = misses(&mut shard("learned", capacity, seed, Some(&prior)), &accesses);
                    let more = (learned as f64 - lru as f64) / accesses.len() as f64;
                    assert!(more <= POINT, "{}, {sureness}, {objects} objects: {learned} misses, LRU {lru}", weight(0));
                }
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Any sizes, costs, times and operations, weighed by objects or by bytes, for any objective.
    #[test]
    fn nothing_panics(
        steps in prop::collection::vec((0u64..40, any::<u32>(), any::<u32>(), any::<u64>(), 0u8..8), 1..2000),
        limit in 0u64..(1 << 34),
        which in 0usize..3,
        bytes in any::<bool>(),
    ) {
        let policy = ["learned", "learned-bytes", "learned-cost"][which];
        let capacity = if bytes { Capacity::bytes(limit) } else { Capacity::objects(limit % 30) };
        let mut shard = shard(policy, capacity, 1, None);
        let accesses: Vec<_> = steps
            .into_iter()
            .map(|(key, size, cost, at, op)| {
                let op = match op { 0 => Op::Delete, 1 => Op::Set, _ => Op::Get };
                Access { key: KeyHash::mix(key), at: Time(at), size, cost, op }
            })
            .collect();
        prop_assert!(misses(&mut shard, &accesses) <= accesses.len());
    }

    /// Without lifetimes, time decides nothing: a clock that stands still, jumps or goes back gives the same run.
    #[test]
    fn the_clock_decides_nothing(seed in any::<u64>(), jumps in prop::collection::vec(any::<u64>(), 1..50)) {
        let mut rng = Rng::new(seed);
        let steady = keys((0..3000).map(|_| skewed(&mut rng, 300.0)));
        let with_clock = |clock: &dyn Fn(usize) -> u64| {
            let accesses = steady.iter().enumerate().map(|(at, &access)| Access { at: Time(clock(at)), ..access });
            misses(&mut shard("learned", Capacity::objects(64), seed, None), &accesses.collect::<Vec<_>>())
        };
        let expected = with_clock(&|at| at as u64);
        prop_assert_eq!(expected, with_clock(&|_| 7));
        prop_assert_eq!(expected, with_clock(&|at| jumps[at % jumps.len()]));
    }
}
