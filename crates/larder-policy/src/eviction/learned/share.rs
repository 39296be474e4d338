//! What is found here goes to others, and what others found comes here.

use std::sync::Arc;

use super::Learned;
use crate::learned::{Pool, Prior, Rule};

/// Trials of the guard before it is believed that the model does well.
const TRIALS: f64 = 1000.0;

impl Learned {
    /// Adds the weights to a pool, once the guard has tried them; says so if it ranks in their stead.
    pub(super) fn add_to(&mut self, pool: &mut Pool) {
        self.note_hits();
        let Some(Some(guard)) = &self.guard else { return };
        let standing = guard.standing();
        match standing.rule {
            Rule::Lru | Rule::Frequency => pool.stepped_back(),
            Rule::Learned if self.prior.is_some() && standing.trials >= TRIALS => pool.add(&self.card),
            Rule::Learned => {}
        }
    }

    /// Takes over a prior, unless it is to start from nothing; who was scored by the old weights is scored anew.
    pub(super) fn take_over(&mut self, prior: &Arc<Prior>) {
        if self.prior.is_some() {
            self.card.adopt(prior);
            self.kept.clear();
            self.prior = Some(prior.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::learned::HORIZONS;
    use crate::learned::features::WEIGHTS;
    use crate::testing::{Cache, key};
    use crate::{Access, Capacity, Rng, Shard, Time};

    /// A cache whose keys come back the sooner the smaller they are.
    fn worked(policy: &str, reads: u32) -> Shard<u32> {
        let capacity = Capacity::objects(100);
        let spec: crate::PolicySpec = policy.parse().unwrap();
        let mut shard = Shard::new(capacity, spec.build(capacity, 1));
        let (mut rng, mut out) = (Rng::new(3), Vec::new());
        for at in 0..reads {
            let access = Access::get(crate::KeyHash::mix((500.0 * rng.unit().powi(3)) as u64), Time(u64::from(at)));
            if let crate::Lookup::Miss(miss) = shard.lookup(&access) {
                let plan = shard.plan(&access, miss, None);
                shard.insert(&access, at, &plan, &mut out);
            }
            out.clear();
        }
        shard
    }

    fn pooled(shard: &mut Shard<u32>) -> Option<Prior> {
        let mut pool = Pool::default();
        shard.pool(&mut pool);
        pool.prior("{}")
    }

    #[test]
    fn what_was_learned_travels() {
        let mut shard = worked("learned", 20_000);
        let prior = pooled(&mut shard).unwrap();
        let general = Prior::general().unwrap();
        assert_ne!(prior.version(), general.version());
        assert_eq!(Prior::from_bytes(&prior.to_bytes()).unwrap(), prior);
        // Who has learned nothing has it all.
        let mut fresh = worked("learned", 0);
        fresh.adopt(&Arc::new(prior));
        assert_eq!(pooled(&mut fresh), None, "before the guard has tried it");
        let access = Access::get(key('a'), Time(0));
        let (from, to) = (worked("learned", 0).explain(&access).unwrap(), fresh.explain(&access).unwrap());
        assert_ne!(from.logits, to.logits);
    }

    #[test]
    fn only_what_a_guard_has_tried_travels() {
        assert!(pooled(&mut worked("learned", 500)).is_none(), "too early");
        assert!(pooled(&mut worked("learned:guard=0", 20_000)).is_none(), "nobody says whether it does well");
        assert!(pooled(&mut worked("learned:prior=0", 20_000)).is_none(), "it knows no priors");
        assert!(pooled(&mut worked("lru", 20_000)).is_none(), "it learns nothing");
        let mut pool = Pool::default();
        worked("learned", 20_000).pool(&mut pool);
        pool.stepped_back();
        assert!(pool.prior("{}").is_none(), "LRU does better in a part");
    }

    #[test]
    fn a_policy_that_starts_from_nothing_stays_so() {
        let prior = Arc::new(Prior::new(&[3.0; WEIGHTS * HORIZONS.len()], 30.0, "").unwrap());
        let access = Access::get(key('a'), Time(0));
        let mut shard = worked("learned:prior=0", 0);
        let before = shard.explain(&access).unwrap().logits;
        shard.adopt(&prior);
        assert_eq!(shard.explain(&access).unwrap().logits, before);
    }

    #[test]
    fn a_prior_that_comes_while_it_runs_breaks_nothing() {
        let mut cache = Cache::objects("learned", 3);
        cache.read("abcadbeafc");
        cache.shard.adopt(&Arc::new(Prior::general().unwrap()));
        cache.read("abcadbeafc");
        cache.shard.validate();
    }
}
