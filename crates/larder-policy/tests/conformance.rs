//! What every registered policy must hold, found through the registries: a new policy is tested by being listed.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::collections::BTreeMap;
use std::time::Duration;

use larder_policy::ttl::Given;
use larder_policy::{
    Access, Capacity, Evicted, Inserted, KeyHash, Lookup, Op, Policy, PolicySpec, Predictor, Reuse, Rng, Shard, Time,
    Weigh, Work, admission, eviction,
};
use proptest::prelude::*;

/// One step of a run.
#[derive(Clone, Debug)]
enum Step {
    Read { key: u8, size: u32, ttl: Option<u32> },
    Write { key: u8, size: u32 },
    Delete { key: u8 },
    Wait { micros: u32 },
    Resize { limit: u64 },
}

/// Reads the future from the steps themselves.
struct Oracle {
    next: Vec<u64>,
    at: usize,
}

impl Oracle {
    fn new(steps: &[Step]) -> Self {
        let keys: Vec<u8> = steps
            .iter()
            .filter_map(|step| match step {
                Step::Read { key, .. } | Step::Write { key, .. } => Some(*key),
                _ => None,
            })
            .collect();
        let next = |at: usize| keys[at + 1..].iter().position(|&key| key == keys[at]).map(|gap| (at + 1 + gap) as u64);
        Self { next: (0..keys.len()).map(|at| next(at).unwrap_or(Reuse::NEVER)).collect(), at: 0 }
    }
}

impl Predictor for Oracle {
    fn predict(&mut self, _: &Access) -> Reuse {
        self.at += 1;
        Reuse { at: self.at as u64 - 1, next: self.next[self.at - 1] }
    }
}

/// Every eviction policy alone, and every admission policy before LRU and before one with ghosts.
fn specs() -> Vec<PolicySpec> {
    let alone = eviction::REGISTRY.iter().map(|entry| entry.name.to_owned());
    let gated = admission::REGISTRY
        .iter()
        .flat_map(|entry| ["lru", "s3fifo", "arc", "lirs"].map(|eviction| format!("{eviction}+{}", entry.name)));
    let eager = ["lfu:decay=1", "wtinylfu:window=0.5", "lru+adaptsize:interval=100", "clock:bits=3"].map(str::to_owned);
    alone.chain(gated).chain(eager).map(|text| text.parse().unwrap()).collect()
}

fn build(spec: &PolicySpec, capacity: Capacity, seed: u64, steps: &[Step]) -> Policy {
    let mut policy = spec.build(capacity, seed);
    policy.ttl = Some(Box::new(Given));
    if spec.eviction().needs_oracle {
        policy.predictor = Some(Box::new(Oracle::new(steps)));
    }
    policy
}

/// What a run leaves behind, to compare two runs.
#[derive(Debug, Default, PartialEq)]
struct Log {
    hits: Vec<bool>,
    left: Vec<(KeyHash, u64)>,
}

/// Runs the steps against a map that knows each key's current value, weight and expiry.
fn run(spec: &PolicySpec, capacity: Capacity, seed: u64, steps: &[Step]) -> Log {
    let mut shard: Shard<u64> = Shard::new(capacity, build(spec, capacity, seed, steps));
    let mut model: BTreeMap<KeyHash, (u64, u32, Option<Time>)> = BTreeMap::new();
    let (mut log, mut now) = (Log::default(), Time(1));
    for (version, step) in steps.iter().enumerate() {
        let version = version as u64;
        let mut left: Vec<Evicted<u64>> = Vec::new();
        match *step {
            Step::Read { key, size, ttl } => {
                let access = Access { size, ..Access::get(KeyHash::mix(u64::from(key)), now) };
                let ttl = ttl.map(|micros| Duration::from_micros(u64::from(micros)));
                read(&mut shard, &mut model, &access, ttl, version, &mut log, &mut left);
            }
            Step::Write { key, size } => {
                let access = Access { size, op: Op::Set, ..Access::get(KeyHash::mix(u64::from(key)), now) };
                write(&mut shard, &mut model, &access, version, &mut left);
            }
            Step::Delete { key } => {
                let key = KeyHash::mix(u64::from(key));
                let removed = shard.remove(key);
                assert_eq!(removed, model.remove(&key).map(|(value, ..)| value), "{spec}: remove");
                assert_eq!(shard.peek(key), None, "{spec}: removed keys are gone");
            }
            Step::Wait { micros } => {
                now = now.plus(Duration::from_micros(u64::from(micros)));
                let mut work = Work::default();
                shard.tick(now, &mut work);
                left.append(&mut work.expired);
            }
            Step::Resize { limit } => shard.resize(limit, &mut left),
        }
        for gone in left {
            let known = model.remove(&gone.key).unwrap_or_else(|| panic!("{spec}: a stranger left: {gone:?}"));
            assert_eq!((gone.value, gone.weight), (known.0, known.1), "{spec}");
            log.left.push((gone.key, gone.value));
        }
        shard.validate();
        assert!(shard.used() <= shard.capacity().limit, "{spec}: over capacity");
        for (key, (value, ..)) in &model {
            // Entries that left during a lookup are handed out later, so the model may be ahead by those.
            assert!(shard.peek(*key).is_none_or(|resident| resident == value), "{spec}: wrong value");
        }
        assert!(shard.len() <= model.len(), "{spec}: more residents than were stored");
    }
    log
}

fn read(
    shard: &mut Shard<u64>,
    model: &mut BTreeMap<KeyHash, (u64, u32, Option<Time>)>,
    access: &Access,
    ttl: Option<Duration>,
    version: u64,
    log: &mut Log,
    left: &mut Vec<Evicted<u64>>,
) {
    let miss = match shard.lookup(access) {
        Lookup::Hit(value) => {
            let known = model[&access.key];
            assert_eq!(*value, known.0, "a hit returns the latest value");
            assert!(known.2.is_none_or(|expiry| expiry > access.at), "expired values are not served");
            log.hits.push(true);
            return;
        }
        Lookup::Miss(miss) => miss,
    };
    log.hits.push(false);
    let plan = shard.plan(access, miss, ttl);
    match shard.insert(access, version, &plan, left) {
        Inserted::Stored => {}
        Inserted::Replaced(_) => panic!("a key that missed was resident"),
        Inserted::Refused(value, _) => return assert_eq!(value, version, "a refused value comes back"),
    }
    // What left before the new value entered belongs to the model's old entry.
    for gone in left.extract_if(.., |gone| gone.key == access.key) {
        assert_eq!(model.remove(&gone.key).map(|known| known.0), Some(gone.value));
    }
    let weight = shard.capacity().weigh.weight(access);
    model.insert(access.key, (version, weight, ttl.map(|ttl| access.at.plus(ttl))));
}

fn write(
    shard: &mut Shard<u64>,
    model: &mut BTreeMap<KeyHash, (u64, u32, Option<Time>)>,
    access: &Access,
    version: u64,
    left: &mut Vec<Evicted<u64>>,
) {
    let (miss, hit) = match shard.lookup(access) {
        Lookup::Hit(_) => (larder_policy::Miss { reuse: Reuse::UNKNOWN, expired: false }, true),
        Lookup::Miss(miss) => (miss, false),
    };
    let plan = shard.plan(access, miss, None);
    let outcome = shard.insert(access, version, &plan, left);
    // An old value of the key that expired or was let go during the lookup leaves now.
    for gone in left.extract_if(.., |gone| gone.key == access.key && gone.value != version) {
        assert_eq!(model.remove(&gone.key).map(|known| known.0), Some(gone.value));
    }
    let weight = shard.capacity().weigh.weight(access);
    match outcome {
        Inserted::Refused(value, _) => {
            assert_eq!(value, version);
            assert_eq!(shard.peek(access.key), None, "no outdated value stays behind a refused write");
        }
        Inserted::Stored => assert!(!hit && model.insert(access.key, (version, weight, None)).is_none()),
        Inserted::Replaced(old) => {
            assert!(hit);
            assert_eq!(model.insert(access.key, (version, weight, None)).map(|known| known.0), Some(old));
        }
    }
}

fn step(most_size: u32) -> impl Strategy<Value = Step> {
    let key = 0u8..48;
    prop_oneof![
        12 => (key.clone(), 0..most_size, prop::option::weighted(0.2, 0u32..4_000_000))
            .prop_map(|(key, size, ttl)| Step::Read { key, size, ttl }),
        2 => (key.clone(), 0..most_size).prop_map(|(key, size)| Step::Write { key, size }),
        1 => key.prop_map(|key| Step::Delete { key }),
        1 => (0u32..3_000_000).prop_map(|micros| Step::Wait { micros }),
        1 => prop_oneof![1 => Just(0u64), 4 => 1u64..40].prop_map(|limit| Step::Resize { limit }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn objects(steps in prop::collection::vec(step(2), 1..400), limit in 1u64..40, seed: u64) {
        for spec in specs() {
            run(&spec, Capacity::objects(limit), seed, &steps);
        }
    }

    #[test]
    fn bytes(steps in prop::collection::vec(step(12), 1..400), limit in 1u64..40, seed: u64) {
        for spec in specs() {
            run(&spec, Capacity::bytes(limit), seed, &steps);
        }
    }

    #[test]
    fn same_seed_same_run(steps in prop::collection::vec(step(6), 1..300), limit in 1u64..40, seed: u64) {
        for spec in specs() {
            let runs = [0, 1].map(|_| run(&spec, Capacity::bytes(limit), seed, &steps));
            prop_assert_eq!(&runs[0], &runs[1], "{}", spec);
        }
    }
}

/// A skewed run of reads, long enough for every policy's slow paths.
fn skewed(requests: usize) -> Vec<Step> {
    let mut rng = Rng::new(11);
    let key = |rng: &mut Rng| (rng.unit().powi(3) * 256.0) as u8;
    (0..requests).map(|_| Step::Read { key: key(&mut rng), size: 1 + rng.below(9), ttl: None }).collect()
}

#[test]
fn capacity_one_works() {
    let steps = skewed(2000);
    for spec in specs() {
        for weigh in [Weigh::Objects, Weigh::Bytes] {
            run(&spec, Capacity { limit: 1, weigh }, 1, &steps);
        }
    }
}

#[test]
fn no_limit_works() {
    let steps = skewed(2000);
    for spec in specs() {
        for weigh in [Weigh::Objects, Weigh::Bytes] {
            run(&spec, Capacity { limit: u64::MAX, weigh }, 1, &steps);
            run(&spec, Capacity { limit: 0, weigh }, 1, &steps);
        }
    }
}

#[test]
fn the_greatest_weights_add_up() {
    let mut rng = Rng::new(7);
    let sizes = [0, 1, u32::MAX / 2, u32::MAX];
    let mut read = || {
        let (key, size) = (rng.below(40) as u8, sizes[rng.below(4) as usize]);
        if rng.below(4) == 0 { Step::Write { key, size } } else { Step::Read { key, size, ttl: None } }
    };
    let mut steps: Vec<Step> = (0..2000).map(|_| read()).collect();
    for (at, limit) in [(500, 0), (1000, u64::MAX), (1500, u64::from(u32::MAX))] {
        steps[at] = Step::Resize { limit };
    }
    for spec in specs() {
        for limit in [u64::from(u32::MAX) - 1, 3 * u64::from(u32::MAX), u64::MAX] {
            run(&spec, Capacity::bytes(limit), 1, &steps);
        }
    }
}

#[test]
fn time_may_leap_and_go_back() {
    let mut rng = Rng::new(9);
    for spec in specs().iter().filter(|spec| !spec.eviction().needs_oracle) {
        let capacity = Capacity::objects(20);
        let mut policy = spec.build(capacity, 1);
        policy.ttl = Some(Box::new(Given));
        let mut shard: Shard<u64> = Shard::new(capacity, policy);
        let (mut evicted, mut work) = (Vec::new(), Work::default());
        for _ in 0..3000 {
            let at = [Time(0), Time(u64::MAX), Time(rng.bits()), Time(1 << 40)][rng.below(4) as usize];
            let access = Access::get(KeyHash::mix(u64::from(rng.below(60))), at);
            let ttl = [None, Some(Duration::ZERO), Some(Duration::MAX), Some(Duration::from_micros(rng.bits()))];
            if let Lookup::Miss(miss) = shard.lookup(&access) {
                let plan = shard.plan(&access, miss, ttl[rng.below(4) as usize]);
                shard.insert(&access, access.key.0, &plan, &mut evicted);
            }
            if rng.below(16) == 0 {
                shard.tick(at, &mut work);
            }
            shard.validate();
        }
    }
}

/// Every key has the same hash but for the bits that tell them apart.
#[test]
fn colliding_hashes_only_cost_time() {
    let mut rng = Rng::new(5);
    for spec in specs().iter().filter(|spec| !spec.eviction().needs_oracle) {
        let capacity = Capacity::objects(20);
        let mut shard: Shard<u64> = Shard::new(capacity, spec.build(capacity, 1));
        let mut evicted = Vec::new();
        for at in 0..3000 {
            let key = KeyHash(0x5555_0000_0000_0000 | u64::from(rng.below(60)) << 40);
            let access = Access::get(key, Time(at));
            if let Lookup::Miss(miss) = shard.lookup(&access) {
                let plan = shard.plan(&access, miss, None);
                shard.insert(&access, key.0, &plan, &mut evicted);
            }
            assert!(shard.peek(key).is_none_or(|value| *value == key.0), "{spec}");
            shard.validate();
        }
    }
}

#[test]
fn an_unfilled_cache_misses_each_key_once() {
    let steps = skewed(5000);
    let distinct = steps.iter().map(|step| if let Step::Read { key, .. } = step { *key } else { 0 });
    let distinct = distinct.collect::<std::collections::BTreeSet<_>>().len();
    for spec in specs().iter().filter(|spec| !spec.as_str().contains("adaptsize")) {
        let log = run(spec, Capacity::objects(300), 1, &steps);
        assert_eq!(log.hits.iter().filter(|hit| !**hit).count(), distinct, "{spec}");
        assert_eq!(log.left, [], "{spec}");
    }
}

#[test]
fn belady_is_best() {
    let steps = skewed(20_000);
    let misses = |name: &str| {
        let log = run(&name.parse().unwrap(), Capacity::objects(40), 1, &steps);
        log.hits.iter().filter(|hit| !**hit).count()
    };
    let best = misses("belady-bypass");
    for entry in eviction::REGISTRY {
        assert!(misses(entry.name) >= best, "{} beats the optimum", entry.name);
    }
    assert!(misses("belady") < misses("lru"));
}

#[test]
fn bad_specifications_say_what_to_do() {
    let message = |text: &str| text.parse::<PolicySpec>().unwrap_err().to_string();
    assert!(message("lruu").starts_with("there is no policy 'lruu'; there are: fifo, lru,"));
    assert!(message("lru+never").contains("there are: always, tinylfu"));
    assert_eq!(message("lru:k=2"), "policy lru has no parameter 'k'; it has none");
    assert_eq!(message("s3fifo:small=2"), "policy s3fifo: small=2 is not a number from 0 to 1");
    assert_eq!(message("s3fifo:small=NaN"), "policy s3fifo: small=NaN is not a number from 0 to 1");
    assert_eq!(message("s3fifo:small"), "policy s3fifo: 'small' is not of the form NAME=VALUE");
}
