//! Who leaves first: candidates are drawn, given a worth by the rule in force, and the lowest kept for the next eviction.

use super::draw::draw_all;
use super::gain::Gain;
use super::params::MOST_KEPT;
use super::{Learned, Rule};
use crate::Slot;
use crate::learned::features::Features;
use crate::slots::NIL;

/// Caches of accesses for which what a candidate was found worth is taken to hold.
const LASTS: f32 = 1.0 / 64.0;

/// A resident that may be evicted.
#[derive(Clone, Copy, Debug)]
pub(super) struct Candidate {
    pub(super) features: Features,
    pub(super) slot: Slot,
    /// When it was scored, and what it was worth then, by which rule, and when it had been used last.
    at: u32,
    pub(super) worth: f32,
    rule: Rule,
    last: u32,
}

impl Candidate {
    pub(super) fn new(slot: Slot) -> Self {
        Self { features: Features::default(), slot, at: 0, worth: 0.0, rule: Rule::Learned, last: 0 }
    }
}

impl Learned {
    /// The resident worth least among those drawn and those kept.
    pub(super) fn least(&mut self) -> Option<Candidate> {
        let rule = self.rule();
        let mut drawn = std::mem::take(&mut self.drawn);
        let mut kept = std::mem::take(&mut self.kept);
        self.doubt(&mut kept, &mut drawn, self.now, rule);
        self.kept = kept;
        draw_all(&self.residents, self.listed.as_ref(), &mut self.rng, self.samples, &mut drawn);
        if !self.score(&mut drawn, self.now, rule) {
            self.step_back();
            self.score(&mut drawn, self.now, if self.is_even() { Rule::Lru } else { Rule::Frequency });
        }
        // One of those drawn afresh, which come last: what was kept is no fair sample. Low ones more often than others: the model has
        // to be right about those that may leave, and one that fits all residents is not.
        if self.watching()
            && let Some(at) = (0..self.focus)
                .filter_map(|_| drawn.len().checked_sub(1 + self.rng.below(self.samples) as usize))
                .min_by(|&one, &other| drawn[one].worth.total_cmp(&drawn[other].worth))
        {
            self.watch(drawn[at].slot, drawn[at].features);
        }
        // Of one that was kept, what was found then counts.
        let mut known = [Slot(NIL); MOST_KEPT + 1];
        known.iter_mut().zip(&self.kept).for_each(|(known, kept)| *known = kept.slot);
        for candidate in &drawn {
            self.keep(candidate, &known);
        }
        drawn.clear();
        self.drawn = drawn;
        (!self.kept.is_empty()).then(|| self.kept.remove(0))
    }

    /// Lets go of those of `kept` that left or were used since they were scored; those scored too long ago, or by
    /// another rule, are to be scored anew, in `drawn`.
    pub(super) fn doubt(&self, kept: &mut Vec<Candidate>, drawn: &mut Vec<Candidate>, now: u32, rule: Rule) {
        kept.retain(|candidate| {
            let resident = &self.residents[candidate.slot];
            if !resident.is_present() || resident.history.last != candidate.last {
                return false;
            }
            let lasts = rule == Rule::Learned && (now.wrapping_sub(candidate.at) as f32) < LASTS * self.scaled;
            if !lasts || candidate.rule != rule {
                drawn.push(Candidate::new(candidate.slot));
                return false;
            }
            true
        });
    }

    /// Its weight has changed: if it is now worth little it is to leave before others do for its sake.
    pub(super) fn reconsider(&mut self, slot: Slot) {
        self.kept.retain(|kept| kept.slot != slot);
        let mut candidate = [Candidate::new(slot)];
        if self.score(&mut candidate, self.now, self.rule()) {
            self.keep(&candidate[0], &[]);
        }
    }

    /// Keeps a candidate that is not `known` if it is one of the lowest: as many as stay, and one that does not.
    #[inline]
    fn keep(&mut self, candidate: &Candidate, known: &[Slot]) {
        let is_full = self.kept.len() > self.keep;
        // Most are told by this alone.
        if is_full && self.kept.last().is_some_and(|last| last.worth <= candidate.worth)
            || known.contains(&candidate.slot)
            || self.kept.iter().any(|kept| kept.slot == candidate.slot)
        {
            return;
        }
        self.kept.truncate(self.keep);
        let at = self.kept.partition_point(|kept| kept.worth <= candidate.worth);
        self.kept.insert(at, *candidate);
    }

    /// Features and worth of candidates; whether each worth is finite. In stages over all of them, so that the processor works on several
    /// at a time.
    pub(super) fn score(&self, drawn: &mut [Candidate], now: u32, rule: Rule) -> bool {
        for candidate in &mut *drawn {
            let history = &self.residents[candidate.slot].history;
            candidate.features = history.features(now, &self.scale);
            (candidate.at, candidate.rule, candidate.last) = (now, rule, history.last);
        }
        match rule {
            Rule::Learned => {
                let measure = self.measure;
                for candidate in &mut *drawn {
                    candidate.worth = self.card.worth(&candidate.features, measure);
                }
                let mut is_finite = true;
                for candidate in drawn {
                    candidate.worth *= self.residents[candidate.slot].gain.get();
                    is_finite &= candidate.worth.is_finite();
                }
                is_finite
            }
            Rule::Lru => {
                for candidate in drawn {
                    candidate.worth = -(now.wrapping_sub(candidate.last) as f32);
                }
                true
            }
            Rule::Frequency => {
                for candidate in drawn {
                    candidate.worth = candidate.features.uses_of_late() * self.residents[candidate.slot].gain.get();
                }
                true
            }
        }
    }

    /// What a newcomer is worth beside residents, by the rule in force; `None` if that admits everybody.
    pub(super) fn newcomer_worth(&self, features: &Features, gain: Gain) -> Option<f32> {
        match self.rule() {
            Rule::Learned => Some(self.card.worth(features, self.measure) * gain.get()),
            Rule::Frequency => Some(features.uses_of_late() * gain.get()),
            Rule::Lru => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::{Access, Capacity, Evicted, KeyHash, Lookup, PolicySpec, Rng, Shard, Time};

    /// Misses, and what they cost, of Zipf-like traffic to keys of any size and cost: each spread over three orders of magnitude.
    fn missed(policy: &str, capacity: Capacity) -> [f64; 2] {
        let policy: PolicySpec = policy.parse().unwrap();
        let mut shard: Shard<()> = Shard::new(capacity, policy.build(capacity, 1));
        let (mut rng, mut out) = (Rng::new(7), Vec::<Evicted<()>>::new());
        let spread = |bits: u64| 10f64.powf(3.0 * (bits % 1000) as f64 / 1000.0) as u32;
        let mut sums = [0.0; 2];
        for at in 0..60_000 {
            let key = KeyHash::mix((8.0 * (1.0 - rng.unit()).powf(-1.2)).min(1e6) as u64);
            let access = Access { size: spread(key.0 >> 20), cost: spread(key.0 >> 40), ..Access::get(key, Time(at)) };
            if let Lookup::Miss(miss) = shard.lookup(&access) {
                sums = [sums[0] + 1.0, sums[1] + f64::from(access.cost)];
                let plan = shard.plan(&access, miss, None);
                shard.insert(&access, (), &plan, &mut out);
                out.clear();
            }
        }
        shard.validate();
        sums
    }

    #[test]
    fn where_sizes_differ_it_misses_no_more_than_gdsf() {
        for limit in [2_000, 20_000] {
            let [own, other] = ["learned", "gdsf"].map(|policy| missed(policy, Capacity::bytes(limit))[0]);
            assert!(own <= other, "{limit} bytes: {own} misses, GDSF {other}");
        }
    }

    #[test]
    fn where_costs_differ_it_misses_more_and_pays_less() {
        for capacity in [Capacity::objects(100), Capacity::bytes(20_000)] {
            let [own, other] = ["learned-cost", "learned"].map(|policy| missed(policy, capacity));
            assert!(own[0] > other[0] && own[1] < 0.9 * other[1], "{capacity:?}: {own:?}, {other:?}");
        }
    }
}
