//! What the policy would do about a key, and why. Nothing here changes anything: a draw takes its numbers from a copy of the
//! policy's, so that it is the draw that comes next.

use super::draw::draw_all;
use super::{Candidate, Gain, Learned, Rule, short};
use crate::Slot;
use crate::eviction::Arrival;
use crate::learned::explanation::{Decision, Explanation, Opinion, Ranked, RunnerUp};
use crate::learned::history::History;

impl Learned {
    pub(super) fn explanation(&self, access: &Arrival, resident: Option<Slot>, room: bool) -> Explanation {
        let now = self.now.wrapping_add(1);
        let (history, gain) = match resident {
            Some(slot) => (self.residents[slot].history, self.residents[slot].gain),
            None => (self.newcomer(access, now), Gain::new(self.objective, access.access, access.weight)),
        };
        let gain = gain.get();
        let features = history.features(now, &self.scale);
        let opinion = Opinion::new(&self.card, &features, &self.scale, self.measure);
        let rule = self.rule();
        let score = match rule {
            Rule::Learned => opinion.worth * gain,
            Rule::Frequency => features.uses_of_late() * gain,
            Rule::Lru => -(now.wrapping_sub(history.last) as f32),
        };
        let ranked = (resident.is_some() || !room).then(|| self.ranked(score, resident, now, rule));
        let lowest = ranked.is_some_and(|ranked| ranked.rank == 1 && ranked.of > 1);
        let decision = match resident {
            Some(_) if lowest => Decision::Evicted,
            Some(_) => Decision::Kept,
            // LRU admits everybody, and so does who is told to.
            None if lowest && self.refuses && rule != Rule::Lru => Decision::Refused,
            None => Decision::Admitted,
        };
        let Opinion { contributions, logits, within, worth } = opinion;
        let horizons = self.pace.horizons(self.fitting());
        let standing = self.guard.as_ref().and_then(Option::as_ref).map(|guard| guard.standing());
        Explanation { decision, rule, standing, horizons, contributions, logits, within, worth, gain, score, ranked }
    }

    /// The past of a key that would arrive now.
    fn newcomer(&self, access: &Arrival, now: u32) -> History {
        let hash = short(access.access.key);
        // Who was refused last is remembered at the next arrival.
        let refused = self.arriving.as_ref().filter(|_| self.ghosts > 0.0);
        let memory = self.memory.foretell(hash, refused.map(|refused| (refused.hash, &refused.history)), now);
        let gap = memory.map(|past| now.wrapping_sub(past.last));
        let context = { self.context }.note(gap, true);
        match memory {
            Some(mut past) => {
                past.touch(now, &self.scale, context);
                past.store();
                past
            }
            None => History::first(now, context),
        }
    }

    fn ranked(&self, score: f32, resident: Option<Slot>, now: u32, rule: Rule) -> Ranked {
        let (mut kept, mut drawn) = (self.kept.clone(), Vec::new());
        self.doubt(&mut kept, &mut drawn, now, rule);
        let mut rng = self.rng.clone();
        draw_all(&self.residents, self.listed.as_ref(), &mut rng, self.samples, &mut drawn);
        self.score(&mut drawn, now, rule);
        kept.append(&mut drawn);
        let mut others: Vec<Candidate> = Vec::new();
        for candidate in kept {
            if Some(candidate.slot) != resident && others.iter().all(|other| other.slot != candidate.slot) {
                others.push(candidate);
            }
        }
        let lower = others.iter().filter(|other| other.worth <= score).count();
        let runner_up = others.iter().min_by(|one, other| one.worth.total_cmp(&other.worth));
        let runner_up = runner_up.map(|&Candidate { slot, worth, .. }| RunnerUp { slot, score: worth });
        Ranked { rank: lower + 1, of: others.len() + 1, runner_up }
    }
}
