//! Values that grow, end or are removed, and entries that become few: what the learned policy and its guard have to notice.

use std::time::Duration;

use larder_policy::{
    Access, Capacity, Claim, Evicted, KeyHash, Lookup, Op, Plan, PolicySpec, Reuse, Rng, Shard, Time, Verdict,
};

struct Cache {
    shard: Shard<()>,
    out: Vec<Evicted<()>>,
}

impl Cache {
    fn new(policy: &str, capacity: Capacity) -> Self {
        let spec: PolicySpec = policy.parse().expect("a registered policy");
        Self { shard: Shard::new(capacity, spec.build(capacity, 1)), out: Vec::new() }
    }

    /// A read or a write that stores what it misses; whether it missed.
    fn access(&mut self, access: Access, ttl: Option<Duration>) -> bool {
        self.out.clear();
        let found = self.shard.lookup(&access);
        let missed = if let Lookup::Miss(miss) = found { Some(miss) } else { None };
        if let Some(miss) = missed {
            let plan = self.shard.plan(&access, miss, ttl);
            // The policy in force gives no lifetimes.
            self.shard.insert(&access, (), &larder_policy::Plan { ttl, ..plan }, &mut self.out);
        } else if access.op == Op::Set {
            let miss = larder_policy::Miss { reuse: larder_policy::Reuse::UNKNOWN, expired: false };
            let plan = self.shard.plan(&access, miss, ttl);
            self.shard.insert(&access, (), &larder_policy::Plan { ttl, ..plan }, &mut self.out);
        }
        missed.is_some()
    }
}

fn read(key: u64, size: u32, at: u64) -> Access {
    Access { size, ..Access::get(KeyHash::mix(key), Time(at)) }
}

/// Small numbers are frequent.
fn skewed(rng: &mut Rng, most: f64) -> u64 {
    (most * rng.unit().powi(4)) as u64
}

/// Whose small cache kept the first weights would hold many times as much as the cache, and seem far better.
#[test]
fn values_that_grow_do_not_drive_the_model_away() {
    let misses = |policy: &str| {
        let mut cache = Cache::new(policy, Capacity::bytes(1_000_000));
        let (mut rng, mut writes) = (Rng::new(7), vec![0u32; 4000]);
        let misses = (0..150_000).filter(|&at| {
            let key = skewed(&mut rng, 4000.0);
            let op = if rng.below(10) < 3 { Op::Set } else { Op::Get };
            let writes = &mut writes[key as usize];
            *writes += u32::from(op == Op::Set);
            cache.access(Access { op, ..read(key, 100 << (*writes).min(7), at) }, None)
        });
        let misses = misses.count();
        cache.shard.validate();
        (misses, cache.shard.standing().map_or(0, |standing| standing.retreats))
    };
    let ((guarded, retreats), (unguarded, _)) = (misses("learned"), misses("learned:guard=0"));
    assert!(retreats == 0 && guarded <= unguarded + unguarded / 50, "{guarded} misses, {unguarded} without a guard");
}

#[test]
fn what_grew_leaves_before_many_small_ones_do() {
    let mut cache = Cache::new("learned", Capacity::bytes(2000));
    // Until evictions go on.
    (0..20_000).for_each(|at| _ = cache.access(read(at % 2100, 1, at), None));
    let key = (0..2100).find(|&key| cache.shard.peek(KeyHash::mix(key)).is_some()).expect("a resident");
    cache.access(Access { op: Op::Set, ..read(key, 1500, 20_000) }, None);
    assert!(cache.out.len() < 100, "{} left", cache.out.len());
    assert!(cache.shard.peek(KeyHash::mix(key)).is_none());
    cache.shard.validate();
}

/// The guard's cache is made for many, and a hundredth of that hold few.
#[test]
fn after_many_small_entries_few_large_ones_are_judged_by_a_guard_of_their_own() {
    let misses = |policy: &str| {
        let mut cache = Cache::new(policy, Capacity::bytes(100_000));
        (0..200_000).for_each(|at| _ = cache.access(read((1 << 40) | at, 1, at), None));
        let mut rng = Rng::new(7);
        let misses = (0..150_000).filter(|at| cache.access(read(skewed(&mut rng, 2000.0), 500, 200_000 + at), None));
        let misses = misses.count();
        cache.shard.validate();
        (misses, cache.shard.standing().map(|standing| standing.trials))
    };
    let ((guarded, trials), (unguarded, _)) = (misses("learned"), misses("learned:guard=0"));
    assert!(guarded <= unguarded + unguarded / 50, "{guarded} misses, {unguarded} without a guard");
    // Of 2000 keys it hears of them all.
    assert!(trials.is_some_and(|trials| trials > 5000.0), "{trials:?}");
}

/// Half of the reads go round a loop that takes longer than its values live.
#[test]
fn what_ends_before_it_is_read_again_is_not_kept() {
    let misses = |policy: &str, lives: bool| {
        let mut cache = Cache::new(policy, Capacity::objects(1000));
        let mut rng = Rng::new(7);
        let reads = (0..200_000u64).filter(|&at| {
            let (key, ttl) = match at % 2 {
                0 => (skewed(&mut rng, 10_000.0), None),
                _ => ((1 << 40) | (at / 2 % 1000), Some(Duration::from_micros(1800))),
            };
            cache.access(read(key, 1, at), ttl.filter(|_| !lives))
        });
        reads.count()
    };
    let (learned, lru, s3fifo) = (misses("learned", false), misses("lru", false), misses("s3fifo", false));
    assert!(learned < lru && learned <= s3fifo, "{learned} misses, LRU {lru}, S3-FIFO {s3fifo}");
    assert!(misses("learned", true) < learned, "and what does not end is");
}

/// As above, but what has ended stays for a while, to stand in where the origin fails: the policy is to hear of the ends all the same.
#[test]
fn what_stands_in_after_its_end_is_not_kept_for_that() {
    type Value = (KeyHash, Time);
    let misses = |policy: &str, spare: Duration| {
        let spec: PolicySpec = policy.parse().expect("a registered policy");
        let capacity = Capacity::objects(1000);
        let mut shard = Shard::<Value>::new(capacity, spec.build(capacity, 1)).ending_by(|&(_, end)| end);
        let (mut rng, mut out) = (Rng::new(7), Vec::new());
        let misses = (0..200_000u64).filter(|&at| {
            let (key, ttl) = match at % 2 {
                0 => (skewed(&mut rng, 10_000.0), Duration::from_secs(3600)),
                _ => ((1 << 40) | (at / 2 % 1000), Duration::from_micros(1800)),
            };
            let access = read(key, 1, at);
            let claim = |&(key, end): &Value| match (key == access.key, access.at < end) {
                (false, _) => Claim::Other,
                (true, true) => Claim::Alive,
                (true, false) => Claim::Ended,
            };
            let ended = match shard.lookup_by(&access, claim) {
                Lookup::Hit(&(_, end)) if access.at < end => return false,
                Lookup::Hit(_) => true,
                Lookup::Miss(_) => false,
            };
            if ended {
                shard.outdate(&access);
            }
            let plan = Plan { verdict: Verdict::Store, ttl: Some(ttl + spare), reuse: Reuse::UNKNOWN };
            shard.insert(&access, (access.key, access.at.plus(ttl)), &plan, &mut out);
            out.clear();
            true
        });
        let misses = misses.count();
        shard.validate();
        misses
    };
    let hour = Duration::from_secs(3600);
    let (known, spared) = (misses("learned", Duration::ZERO), misses("learned", hour));
    let (lru, s3fifo) = (misses("lru", hour), misses("s3fifo", hour));
    assert!(spared <= known + known / 50, "{spared} misses, {known} where nothing stands in");
    assert!(spared < lru && spared <= s3fifo, "{spared} misses, LRU {lru}, S3-FIFO {s3fifo}");
}

/// A quarter of the keys that come once is removed, read again and removed again.
#[test]
fn what_is_removed_before_it_is_read_again_is_not_kept() {
    let misses = |policy: &str| {
        let mut cache = Cache::new(policy, Capacity::objects(700));
        let mut rng = Rng::new(7);
        let (mut missed, mut later) = (0, std::collections::VecDeque::<(u64, u64, bool)>::new());
        for at in 0..300_000u64 {
            while later.front().is_some_and(|&(when, ..)| when <= at) {
                let Some((_, key, is_read)) = later.pop_front() else { break };
                if is_read {
                    missed += usize::from(cache.access(read(key, 1, at), None));
                }
                cache.shard.remove(KeyHash::mix(key));
                if !is_read {
                    later.push_back((at + 300, key, true));
                }
            }
            let once = rng.below(2) == 0;
            let key = if once { (1 << 40) | at } else { skewed(&mut rng, 20_000.0) };
            missed += usize::from(cache.access(read(key, 1, at), None));
            if once && rng.below(4) == 0 {
                later.push_back((at + 300, key, false));
            }
        }
        missed
    };
    let (learned, s3fifo) = (misses("learned"), misses("s3fifo"));
    assert!(learned <= s3fifo, "{learned} misses, S3-FIFO {s3fifo}");
}
