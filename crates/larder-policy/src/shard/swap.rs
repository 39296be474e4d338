//! Another policy for the same entries: how an arm changes sides and a rollback costs no value.

use super::{Evicted, Inserted, Shard};
use crate::eviction::{Eviction, Removal};
use crate::{Access, Plan, Policy, Reuse, Time, Verdict};

impl<V, E: Eviction + ?Sized> Shard<V, E> {
    /// From now on `policy` decides. The entries stay, with their expiry; the new policy meets them in the order in which the old one
    /// would have evicted them, so that what was worth most is what came last, and then once more, so that a policy that filters one-hit
    /// wonders does not take them for such. What the old policy remembered beside that is lost, and admission is not asked again. Takes time in
    /// proportion to the number of entries.
    pub fn swap_policy(&mut self, mut policy: Policy<E>, now: Time, evicted: &mut Vec<Evicted<V>>) {
        evicted.append(&mut self.departed);
        // It may have been built before the capacity changed.
        let (limit, objects) = (self.capacity.limit, self.capacity.most_objects());
        policy.eviction.on_resize(limit, objects);
        let mut admission = policy.admission.take();
        if let Some(admission) = &mut admission {
            admission.on_resize(limit, objects);
        }
        let mut fresh = Self { end_of: self.end_of, ..Self::new(self.capacity, policy) };
        let mut met = Vec::with_capacity(self.len());
        // Without residents, a policy may name anybody.
        while !self.is_empty()
            && let Some(slot) = self.policy.eviction.victim(None)
        {
            let ttl = self.wheel.expiry(slot).map(|expiry| expiry.since(now));
            let Some(entry) = self.take(slot, Removal::Evicted) else { break };
            let access = Access { size: entry.weight, ..Access::get(entry.key, now) };
            let plan = Plan { verdict: Verdict::Store, ttl, reuse: Reuse::UNKNOWN };
            met.push(access);
            // There is room for all of them; a policy that refuses even so lets the value go.
            if let Inserted::Refused(value, _) = fresh.insert(&access, entry.value, &plan, evicted) {
                evicted.push(Evicted { key: entry.key, value, weight: entry.weight, why: Removal::Evicted });
            }
        }
        fresh.policy.admission = admission;
        for access in met {
            fresh.lookup(&access);
        }
        evicted.append(&mut fresh.departed);
        *self = fresh;
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::testing::{Cache, key};
    use crate::{Capacity, PolicySpec, eviction};

    fn policy(name: &str) -> Policy {
        name.parse::<PolicySpec>().unwrap().build(Capacity::objects(3), 1)
    }

    #[test]
    fn entries_stay_in_their_order() {
        let mut cache = Cache::objects("lru", 3);
        cache.read("abca");
        let mut evicted = Vec::new();
        cache.shard.swap_policy(policy("fifo"), Time(cache.now), &mut evicted);
        assert!(evicted.is_empty());
        assert_eq!(cache.residents(), "abc");
        // LRU's order was b, c, a: FIFO now lets them leave so.
        assert_eq!(cache.read("def"), "bca");
    }

    #[test]
    fn lifetimes_go_on() {
        let mut cache = Cache::objects("lru", 3);
        cache.read("ab");
        let access = Access::get(key('c'), Time(cache.now));
        let plan = Plan { verdict: Verdict::Store, ttl: Some(Duration::from_secs(10)), reuse: Reuse::UNKNOWN };
        cache.shard.insert(&access, 'c', &plan, &mut Vec::new());
        cache.shard.swap_policy(policy("s3fifo"), Time(cache.now), &mut Vec::new());
        assert!(cache.shard.lookup(&Access::get(key('c'), Time(cache.now).plus(Duration::from_secs(9)))).is_hit());
        assert!(!cache.shard.lookup(&Access::get(key('c'), Time(cache.now).plus(Duration::from_secs(10)))).is_hit());
        cache.shard.validate();
    }

    #[test]
    fn every_policy_takes_over_from_every_other() {
        let online = || eviction::REGISTRY.iter().filter(|entry| !entry.needs_oracle).map(|entry| entry.name);
        let gated = online().chain(["lru+adaptsize", "s3fifo+tinylfu"]);
        for from in gated.clone() {
            let mut cache = Cache::objects(from, 3);
            for to in gated.clone() {
                cache.read("abcadbeafcabdd");
                let before = cache.residents();
                cache.shard.swap_policy(policy(to), Time(cache.now), &mut Vec::new());
                cache.shard.validate();
                assert_eq!(cache.residents(), before, "{from} to {to}");
                cache.shard.swap_policy(policy(from), Time(cache.now), &mut Vec::new());
            }
        }
    }
}
