//! A cache whose keys and values are letters, for the policies' hand-computed examples.

use crate::{Access, Capacity, Evicted, Inserted, KeyHash, Lookup, PolicySpec, Predictor, Reuse, Shard, Time};

/// A shard that stores what misses; each read comes a second after the last, and capitals are of size 5.
pub(crate) struct Cache {
    pub(crate) shard: Shard<char>,
    pub(crate) now: u64,
}

/// Knows the reads to come.
struct Future {
    keys: Vec<KeyHash>,
    at: usize,
}

impl Predictor for Future {
    fn predict(&mut self, access: &Access) -> Reuse {
        self.at += 1;
        let gap = self.keys[self.at..].iter().position(|&key| key == access.key);
        Reuse { at: self.at as u64 - 1, next: gap.map_or(Reuse::NEVER, |gap| (self.at + gap) as u64) }
    }
}

pub(crate) fn key(letter: char) -> KeyHash {
    KeyHash::mix(u64::from(letter))
}

impl Cache {
    pub(crate) fn new(policy: &str, capacity: Capacity, seed: u64) -> Self {
        let spec: PolicySpec = policy.parse().unwrap();
        Self { shard: Shard::new(capacity, spec.build(capacity, seed)), now: 0 }
    }

    pub(crate) fn objects(policy: &str, limit: u64) -> Self {
        Self::new(policy, Capacity::objects(limit), 1)
    }

    pub(crate) fn bytes(policy: &str, limit: u64) -> Self {
        Self::new(policy, Capacity::bytes(limit), 1)
    }

    /// What an oracle makes of `reads`, which are all there will be.
    pub(crate) fn run_with_future(policy: &str, capacity: Capacity, reads: &str) -> String {
        let mut policy = policy.parse::<PolicySpec>().unwrap().build(capacity, 1);
        policy.predictor = Some(Box::new(Future { keys: reads.chars().map(key).collect(), at: 0 }));
        Self { shard: Shard::new(capacity, policy), now: 0 }.read(reads)
    }

    /// Reads letters in order; returns who left, and after a `!` who was refused.
    pub(crate) fn read(&mut self, letters: &str) -> String {
        letters.chars().map(|letter| self.read_sized(letter, if letter.is_uppercase() { 5 } else { 1 })).collect()
    }

    pub(crate) fn read_sized(&mut self, letter: char, size: u32) -> String {
        self.now += 1_000_000;
        let access = Access { size, ..Access::get(key(letter), Time(self.now)) };
        let mut evicted: Vec<Evicted<char>> = Vec::new();
        let mut refused = None;
        if let Lookup::Miss(miss) = self.shard.lookup(&access) {
            let plan = self.shard.plan(&access, miss, None);
            if let Inserted::Refused(letter, _) = self.shard.insert(&access, letter, &plan, &mut evicted) {
                refused = Some(['!', letter]);
            }
        }
        self.shard.validate();
        evicted.iter().map(|gone| gone.value).chain(refused.into_iter().flatten()).collect()
    }

    /// Capitals first.
    pub(crate) fn residents(&self) -> String {
        ('A'..='z').filter(|&letter| self.shard.peek(key(letter)).is_some()).collect()
    }
}
