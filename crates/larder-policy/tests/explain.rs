//! An explanation says what is then done, and changes nothing.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use larder_policy::learned::explanation::Decision;
use larder_policy::{Access, Capacity, Inserted, KeyHash, Lookup, PolicySpec, Rng, Shard, Time, Weigh};

fn shard(policy: &str, capacity: Capacity) -> Shard<()> {
    let spec: PolicySpec = policy.parse().unwrap();
    Shard::new(capacity, spec.build(capacity, 1))
}

fn accesses(seed: u64, sized: bool) -> impl Iterator<Item = Access> {
    let mut rng = Rng::new(seed);
    (0..20_000).map(move |at| {
        let key = (2000.0 * rng.unit().powi(3)) as u64;
        Access { size: if sized { 1 + (key % 50) as u32 } else { 1 }, ..Access::get(KeyHash::mix(key), Time(at)) }
    })
}

/// What an access did: nothing on a hit; else whether it was refused, and who left.
type Done = Option<(bool, Vec<KeyHash>)>;

fn serve(shard: &mut Shard<()>, access: &Access) -> Done {
    let Lookup::Miss(miss) = shard.lookup(access) else { return None };
    let plan = shard.plan(access, miss, None);
    let mut evicted = Vec::new();
    let refused = matches!(shard.insert(access, (), &plan, &mut evicted), Inserted::Refused(..));
    Some((refused, evicted.into_iter().map(|gone| gone.key).collect()))
}

/// Where the miss itself teaches nothing, what is foretold happens, key by key.
#[test]
fn what_is_foretold_is_done() {
    let (refused, replaced) = foretold("learned:rate=0/guard=0");
    assert!(refused > 100 && replaced > 100, "{refused} {replaced}");
    let (refused, replaced) = foretold("learned:rate=0/guard=0/refuse=0");
    assert!(refused == 0 && replaced > 200, "{refused} {replaced}");
}

/// Newcomers that were refused, and residents that left for others.
fn foretold(policy: &str) -> (usize, usize) {
    let mut shard = shard(policy, Capacity::objects(200));
    let (mut refused, mut replaced) = (0, 0);
    for access in accesses(7, false) {
        let told = shard.explain(&access).unwrap();
        let runner_up = told.ranked.and_then(|ranked| ranked.runner_up).and_then(|it| shard.resident_at(it.slot));
        match serve(&mut shard, &access) {
            None => assert!(matches!(told.decision, Decision::Kept | Decision::Evicted)),
            Some((true, left)) => {
                assert_eq!((told.decision, left.len()), (Decision::Refused, 0));
                refused += 1;
            }
            Some((false, left)) => {
                assert_eq!(told.decision, Decision::Admitted);
                assert_eq!(left.first().copied(), runner_up, "it takes the place of the lowest");
                replaced += left.len();
            }
        }
    }
    (refused, replaced)
}

#[test]
fn asking_changes_nothing() {
    for (policy, capacity) in [
        ("learned", Capacity::objects(200)),
        ("learned:prior=0", Capacity::objects(64)),
        ("learned-bytes", Capacity { limit: 4000, weigh: Weigh::Bytes }),
    ] {
        let (mut asked, mut unasked) = (shard(policy, capacity), shard(policy, capacity));
        for access in accesses(3, true) {
            assert!(asked.explain(&access).is_some());
            let done = serve(&mut asked, &access);
            assert!(asked.explain(&access).is_some());
            assert_eq!(done, serve(&mut unasked, &access), "{policy}");
        }
        asked.validate();
        assert_eq!(asked.metadata_bytes(), unasked.metadata_bytes());
    }
}

#[test]
fn an_explanation_is_consistent() {
    let mut shard = shard("learned", Capacity::objects(128));
    for access in accesses(5, false) {
        serve(&mut shard, &access);
        let told = shard.explain(&access).unwrap();
        assert!(told.within.is_sorted() && told.within.iter().all(|share| (0.0..=1.0).contains(share)), "{told:?}");
        assert!(told.horizons.is_sorted() && told.horizons[0] > 0.0);
        if let Some(ranked) = told.ranked {
            // Sixteen drawn, four kept and the victim that a refusal spared, the key itself.
            assert!((1..=ranked.of).contains(&ranked.rank) && ranked.of <= 16 + 4 + 1 + 1, "{ranked:?}");
            assert_eq!(ranked.runner_up.is_some(), ranked.of > 1);
            if let Some(runner_up) = ranked.runner_up {
                assert_eq!(ranked.rank == 1, told.score < runner_up.score, "{told:?}");
                assert_ne!(shard.resident_at(runner_up.slot), Some(access.key));
            }
        }
        assert_eq!(told.standing, shard.standing());
    }
    assert!(shard.resident_at(larder_policy::Slot(1000)).is_none());
}

#[test]
fn others_cannot_say() {
    let mut shard = shard("lru", Capacity::objects(8));
    let access = Access::get(KeyHash::mix(1), Time(0));
    serve(&mut shard, &access);
    assert!(shard.explain(&access).is_none());
}
