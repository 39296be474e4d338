//! Which keys to load, best first, within the budgets.
//!
//! What warming a key is worth is the chance that it is read within the horizon (of a Poisson process of its rate: 1 − e^(−rate ×
//! horizon)) times the load this saves: one, since the first read would have loaded it anyway. What it takes is the greater of its
//! shares of the two budgets, capacity and loads. Keys are taken by worth for what they take until one does not fit (the greedy
//! rule for knapsacks, Dantzig 1957, which is off by less than that one).

use std::cmp::{Ordering, Reverse};
use std::collections::{BinaryHeap, HashSet};
use std::time::Duration;

use crate::bounds::MOST_AT_ONCE;
use crate::remote::Name;
use crate::snapshot::Kept;
use crate::{Error, bounds};

/// What warming may take.
#[derive(Clone, Debug, PartialEq)]
pub struct Limits {
    /// How much may be loaded, in the unit the sizes of the candidates have: bytes, or objects of size 1.
    pub capacity: u64,
    /// Keys loaded a second, at most.
    pub loads_per_second: f64,
    /// How long it may take in all.
    pub within: Duration,
    /// How far ahead reads count: about as long as a value stays in the cache.
    pub horizon: Duration,
    /// Calls of the loader at a time, up to a million.
    pub concurrency: usize,
    /// Keys a call, at most, up to a million; never more than a second's worth.
    pub batch: usize,
}

impl Default for Limits {
    /// 256 MiB, 1,000 loads a second, 60 seconds, an hour ahead, 4 calls of 64 keys at a time.
    fn default() -> Self {
        Self {
            capacity: 256 << 20,
            loads_per_second: 1000.0,
            within: Duration::from_secs(60),
            horizon: Duration::from_secs(3600),
            concurrency: 4,
            batch: 64,
        }
    }
}

impl Limits {
    /// Loads there is time for.
    pub fn loads(&self) -> u64 {
        (self.loads_per_second * self.within.as_secs_f64()) as u64
    }

    pub(crate) fn check(&self) -> Result<(), Error> {
        bounds::check("pre-warm: loads_per_second", self.loads_per_second, f64::MIN_POSITIVE, f64::MAX)?;
        bounds::check("pre-warm: concurrency", self.concurrency, 1, MOST_AT_ONCE)?;
        bounds::check("pre-warm: batch", self.batch, 1, MOST_AT_ONCE)
    }
}

/// A key that could be warmed.
#[derive(Clone, Debug, PartialEq)]
pub struct Candidate {
    /// The key's text.
    pub name: Name,
    /// The value's size, in the unit of [`Limits::capacity`]; 0 counts as 1.
    pub size: u32,
    /// What a load costs, in microseconds; 0 counts as 1.
    pub cost: u32,
    /// Reads a second that are expected. What is no number counts as 0.
    pub reads: f32,
}

impl From<&Kept> for Candidate {
    fn from(kept: &Kept) -> Self {
        Self { name: kept.name.as_str().into(), size: kept.size, cost: kept.cost, reads: kept.reads }
    }
}

impl Candidate {
    fn weight(&self) -> u64 {
        u64::from(self.size.max(1))
    }
}

/// Takes candidates in any number and keeps the best that fit; memory is bounded by the budgets, not by what is offered.
#[derive(Debug)]
pub struct Planner {
    limits: Limits,
    /// The worst on top.
    kept: BinaryHeap<Reverse<Ranked>>,
    names: HashSet<Name>,
    /// The best that did not fit: nothing below it is in the plan, whatever it weighs.
    bar: Option<Ranked>,
    weight: u64,
    offered: u64,
}

impl Planner {
    /// An empty plan.
    ///
    /// # Errors
    /// `Config`: a limit is 0 or no number.
    pub fn new(limits: Limits) -> Result<Self, Error> {
        limits.check()?;
        Ok(Self { limits, kept: BinaryHeap::new(), names: HashSet::new(), bar: None, weight: 0, offered: 0 })
    }

    /// Considers a key. One that is in the plan already is not taken twice; what was said of it first counts.
    pub fn offer(&mut self, candidate: Candidate) {
        self.offered += 1;
        let weight = candidate.weight();
        let ranked = Ranked { worth: self.worth(&candidate), candidate };
        let hopeless = ranked.worth <= 0.0 || weight > self.limits.capacity;
        if hopeless
            || self.bar.as_ref().is_some_and(|bar| ranked <= *bar)
            || self.names.contains(&ranked.candidate.name)
        {
            return;
        }
        self.weight += weight;
        self.names.insert(ranked.candidate.name.clone());
        self.kept.push(Reverse(ranked));
        // Whoever goes now would go whatever else is offered: with those before it the budget is exceeded already.
        while self.weight > self.limits.capacity || self.kept.len() as u64 > self.limits.loads() {
            let Some(Reverse(worst)) = self.kept.pop() else { break };
            self.weight -= worst.candidate.weight();
            self.names.remove(&worst.candidate.name);
            self.bar = Some(worst);
        }
    }

    /// The plan.
    pub fn plan(self) -> Plan {
        let Self { limits, kept, weight, offered, .. } = self;
        // In the order of `Reverse`, so the best is first.
        let keys = kept.into_sorted_vec().into_iter().map(|Reverse(ranked)| ranked.candidate).collect();
        Plan { keys, weight, offered, limits }
    }

    fn worth(&self, candidate: &Candidate) -> f64 {
        let reads = match candidate.reads {
            reads if reads > 0.0 => f64::from(reads.min(f32::MAX)),
            _ => 0.0,
        };
        let chance = -(-reads * self.limits.horizon.as_secs_f64()).exp_m1();
        let share = candidate.weight() as f64 / self.limits.capacity.max(1) as f64;
        chance * f64::from(candidate.cost.max(1)) / share.max(1.0 / self.limits.loads().max(1) as f64)
    }
}

/// What to load.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// In the order they are to be loaded: best first.
    pub keys: Vec<Candidate>,
    /// What they weigh together.
    pub weight: u64,
    /// How many were considered.
    pub offered: u64,
    pub(super) limits: Limits,
}

impl Plan {
    /// The same plan, the best loaded last: for a cache that serves nobody yet, since what came last leaves last. A cache
    /// that serves already needs the best first, and so does a plan that may be cut short.
    #[must_use]
    pub fn best_last(mut self) -> Self {
        self.keys.reverse();
        self
    }
}

#[derive(Debug)]
struct Ranked {
    worth: f64,
    candidate: Candidate,
}

/// By worth; hot keys are alike in their chance, so by rate then, and by name, so that a plan does not depend on the order of offers.
impl Ord for Ranked {
    fn cmp(&self, other: &Self) -> Ordering {
        let [a, b] = [&self.candidate, &other.candidate];
        self.worth.total_cmp(&other.worth).then(a.reads.total_cmp(&b.reads)).then_with(|| b.name.cmp(&a.name))
    }
}

impl PartialOrd for Ranked {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Ranked {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Ranked {}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::ErrorKind;

    fn candidate() -> impl Strategy<Value = Candidate> {
        let reads = prop_oneof![9 => 0.0f32..2.0, 1 => Just(f32::NAN), 1 => Just(1e30)];
        (0u32..400, 0u32..200, 0u32..5000, reads).prop_map(|(name, size, cost, reads)| Candidate {
            name: format!("k{name}").into(),
            size,
            cost,
            reads,
        })
    }

    /// All of it sorted, then the front that fits.
    fn naive(candidates: &[Candidate], limits: &Limits) -> Vec<Name> {
        let loads = (limits.loads_per_second * limits.within.as_secs_f64()).floor();
        let worth = |c: &Candidate| {
            let chance = 1.0 - (-f64::from(c.reads) * limits.horizon.as_secs_f64()).exp();
            let share = (f64::from(c.size.max(1)) / limits.capacity as f64).max(1.0 / loads);
            chance * f64::from(c.cost.max(1)) / share
        };
        let mut sorted: Vec<_> =
            candidates.iter().filter(|c| c.reads > 0.0 && u64::from(c.size.max(1)) <= limits.capacity).collect();
        sorted
            .sort_by(|a, b| worth(b).total_cmp(&worth(a)).then(b.reads.total_cmp(&a.reads)).then(a.name.cmp(&b.name)));
        let (mut used, mut chosen) = (0, Vec::new());
        for c in sorted {
            used += u64::from(c.size.max(1));
            if used > limits.capacity || chosen.len() as f64 >= loads {
                break;
            }
            chosen.push(c.name.clone());
        }
        chosen
    }

    proptest! {
        #[test]
        fn a_plan_is_the_front_of_the_ranking_that_fits(
            candidates in prop::collection::vec(candidate(), 0..120),
            capacity in 1u64..4000,
            loads in 1u32..60,
        ) {
            // One horizon in which rates differ, and exact arithmetic for the count of loads.
            let limits = Limits {
                capacity,
                loads_per_second: f64::from(loads),
                within: Duration::from_secs(1),
                horizon: Duration::from_secs(1),
                ..Limits::default()
            };
            let mut distinct = candidates.clone();
            distinct.sort_by(|a, b| a.name.cmp(&b.name));
            distinct.dedup_by(|a, b| a.name == b.name);
            let plan_of = |order: &[Candidate]| {
                let mut planner = Planner::new(limits.clone()).unwrap();
                order.iter().cloned().for_each(|candidate| planner.offer(candidate));
                planner.plan()
            };
            let plan = plan_of(&distinct);
            let names: Vec<_> = plan.keys.iter().map(|key| key.name.clone()).collect();
            prop_assert_eq!(&names, &naive(&distinct, &limits));
            prop_assert_eq!(plan.weight, plan.keys.iter().map(Candidate::weight).sum::<u64>());
            distinct.reverse();
            prop_assert_eq!(plan_of(&distinct), plan);

            // Offered twice over, nothing is taken twice, and the budgets hold.
            let doubled = plan_of(&[candidates.clone(), candidates].concat());
            let unique: HashSet<_> = doubled.keys.iter().map(|key| &key.name).collect();
            prop_assert_eq!(unique.len(), doubled.keys.len());
            prop_assert!(doubled.weight <= capacity && doubled.keys.len() as u64 <= u64::from(loads));
        }
    }

    #[test]
    fn the_scarcer_budget_sets_the_price() {
        let key = |name: &str, size, reads| Candidate { name: name.into(), size, cost: 100, reads };
        let first = |capacity, loads_per_second| {
            let within = Duration::from_secs(1);
            let mut planner = Planner::new(Limits { capacity, loads_per_second, within, ..Limits::default() }).unwrap();
            planner.offer(key("large-hot", 100, 1e-3));
            planner.offer(key("small-cold", 10, 3e-4));
            planner.plan().keys[0].name.clone()
        };
        // Room is scarce: bytes count. Loads are scarce: bytes do not.
        assert_eq!(&*first(1000, 1000.0), "small-cold");
        assert_eq!(&*first(1_000_000, 2.0), "large-hot");
    }

    #[test]
    fn limits_that_make_no_sense_are_refused() {
        for limits in [
            Limits { loads_per_second: f64::NAN, ..Limits::default() },
            Limits { loads_per_second: 0.0, ..Limits::default() },
            Limits { concurrency: 0, ..Limits::default() },
            Limits { batch: 0, ..Limits::default() },
        ] {
            assert_eq!(Planner::new(limits).unwrap_err().kind(), ErrorKind::Config);
        }
        let endless = Limits { within: Duration::MAX, capacity: u64::MAX, ..Limits::default() };
        assert!(endless.loads() > 1 << 60);
    }
}
