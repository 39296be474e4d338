//! How good a policy's evictions are, to one who knows the future.
//!
//! Bélády's rule evicts what is needed last (Bélády 1966). A decision is judged by how many of the residents are needed later than
//! the one that left; residents are drawn at random, since a cache is large and a share of it is all that is asked for.

use larder_policy::eviction::Removal;
use larder_policy::{Inserted, Lookup, Miss, Op, PolicySpec, Predictor, Reuse, Rng, Shard, Verdict, Weigh};
use larder_trace::Request;
use serde::Serialize;

use crate::hash::KeyMap;
use crate::progress::{Observer, Stage};
use crate::{BATCH, CapacitySpec, Error, Source, Survey};

/// Residents drawn for each decision.
const DRAWN: usize = 32;

/// What a policy's evictions look like to one who knows the future.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Decisions {
    /// Entries that left to make room, refused newcomers included.
    pub evictions: u64,
    /// The share of them that were in the farthest quarter: fewer than a quarter of the residents drawn were needed later.
    pub farthest_quarter: f64,
    /// The share of them that was never needed again.
    pub never_needed: f64,
}

/// Replays a trace through a policy that does not know the future, and judges its evictions.
///
/// # Errors
/// The trace cannot be read, or the capacity does not fit it.
pub fn judge(
    source: &mut Source,
    policy: &PolicySpec,
    capacity: &CapacitySpec,
    weigh: Weigh,
    seed: u64,
    observer: &dyn Observer,
) -> Result<Decisions, Error> {
    source.make_repeatable()?;
    let (survey, futures) = Survey::take(&mut *source.open()?, &[None], observer)?;
    let capacity = capacity.resolve(weigh, Some(&survey))?;
    let Some(future) = futures.into_iter().next() else { return Ok(Decisions::default()) };
    let mut oracle = future.oracle();
    let mut parts = policy.build(capacity, seed);
    if policy.eviction().needs_oracle {
        parts.predictor = Some(Box::new(future.oracle()));
    }
    let mut shard: Shard<()> = Shard::new(capacity, parts);
    let mut judge = Judge::new(seed);
    let mut evicted = Vec::new();
    let mut reader = source.open()?;
    let (mut batch, mut rows) = (Vec::new(), 0);
    while reader.read(&mut batch, BATCH)? > 0 {
        rows += batch.len() as u64;
        for access in batch.drain(..).map(|request: Request| request.access()) {
            if access.op == Op::Delete {
                shard.remove(access.key);
                judge.removed(access.key.0);
                continue;
            }
            let next = oracle.predict(&access).next;
            let miss = match shard.lookup(&access) {
                Lookup::Miss(miss) => miss,
                Lookup::Hit(()) if access.op == Op::Get => {
                    judge.entered(access.key.0, next);
                    continue;
                }
                Lookup::Hit(()) => Miss { reuse: Reuse { at: 0, next }, expired: false },
            };
            let plan = shard.plan(&access, miss, None);
            let inserted = shard.insert(&access, (), &plan, &mut evicted);
            for entry in evicted.drain(..) {
                judge.left(entry.key.0, entry.why);
            }
            match inserted {
                Inserted::Stored | Inserted::Replaced(()) => judge.entered(access.key.0, next),
                Inserted::Refused((), _) => {
                    judge.removed(access.key.0);
                    // What is too heavy for the cache is no decision of the policy's.
                    if plan.verdict == Verdict::Store {
                        judge.decided(next);
                    }
                }
            }
        }
        observer.progress(Stage::Replay, rows, reader.progress());
    }
    Ok(judge.finish())
}

/// Who is resident, and when each is needed next.
struct Judge {
    residents: Vec<(u64, u64)>,
    places: KeyMap<usize>,
    rng: Rng,
    evictions: u64,
    farthest: u64,
    never: u64,
}

impl Judge {
    fn new(seed: u64) -> Self {
        let (residents, places, rng) = (Vec::new(), KeyMap::default(), Rng::new(seed));
        Self { residents, places, rng, evictions: 0, farthest: 0, never: 0 }
    }

    fn entered(&mut self, key: u64, next: u64) {
        match self.places.get(&key) {
            Some(&place) => self.residents[place].1 = next,
            None => {
                self.places.insert(key, self.residents.len());
                self.residents.push((key, next));
            }
        }
    }

    fn removed(&mut self, key: u64) -> Option<u64> {
        let place = self.places.remove(&key)?;
        let (_, next) = self.residents.swap_remove(place);
        if let Some((moved, _)) = self.residents.get(place) {
            self.places.insert(*moved, place);
        }
        Some(next)
    }

    fn left(&mut self, key: u64, why: Removal) {
        if let Some(next) = self.removed(key).filter(|_| why == Removal::Evicted) {
            self.decided(next);
        }
    }

    /// Judges the departure of one needed at `next`.
    fn decided(&mut self, next: u64) {
        self.evictions += 1;
        self.never += u64::from(next == Reuse::NEVER);
        let count = self.residents.len() as u32;
        let later = (0..DRAWN).filter(|_| {
            let place = self.rng.below(count) as usize;
            self.residents.get(place).is_some_and(|&(_, other)| other > next)
        });
        self.farthest += u64::from(later.count() < DRAWN / 4);
    }

    fn finish(self) -> Decisions {
        let share = |part: u64| if self.evictions == 0 { 0.0 } else { part as f64 / self.evictions as f64 };
        Decisions { evictions: self.evictions, farthest_quarter: share(self.farthest), never_needed: share(self.never) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(policy: &str, keys: &[u64], capacity: &str) -> Decisions {
        let requests: Vec<_> = keys.iter().map(|&key| Request { key, size: 1, ..Request::default() }).collect();
        let mut source = Source::requests("test", requests);
        let (policy, capacity) = (policy.parse().unwrap(), capacity.parse().unwrap());
        judge(&mut source, &policy, &capacity, Weigh::Objects, 1, &()).unwrap()
    }

    #[test]
    fn decisions_by_hand() {
        // FIFO of two: 3 evicts 1, which is needed before 2; then 1 evicts 2, which is needed before 3; 2 evicts 3, the farthest.
        let found = of("fifo", &[1, 2, 3, 1, 2, 3], "2");
        assert_eq!(found.evictions, 4);
        assert_eq!(found.never_needed, 0.25, "when 3 comes back, 1 leaves for good");
        assert!(found.farthest_quarter < 1.0);
        // Nothing leaves where all fit.
        assert_eq!(of("lru", &[1, 2, 1, 2], "2"), Decisions::default());
    }

    #[test]
    fn the_one_who_knows_decides_best() {
        let mut rng = Rng::new(4);
        let keys: Vec<u64> = (0..20_000).map(|_| (rng.unit() * rng.unit() * 500.0) as u64).collect();
        let [belady, lru, random] = ["belady", "lru", "random"].map(|policy| of(policy, &keys, "50").farthest_quarter);
        assert_eq!(belady, 1.0);
        assert!(lru > random && lru < belady, "{lru} {random}");
        // By chance a quarter is in the farthest quarter; a little less, as the draw counts a resident twice now and then.
        assert!((random - 0.25).abs() < 0.05, "{random}");
    }
}
