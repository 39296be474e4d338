//! Other lifetimes for a while than the engine's own, as the control of an experiment has them: by a rule, or by another objective. What is known
//! of the origin is the same under each of them, and stays.

use super::group::most_stale;
use super::{Engine, Goal, Group, seconds};
use crate::Time;
use crate::freshness::{Decision, Freshness};

impl Engine {
    /// Decides while objectives are suspended: by a rule. Audits go on, and the engine learns from what is loaded.
    #[cold]
    pub(super) fn serve_by_rule(&mut self, slot: usize, now: Time) -> Decision {
        let record = &self.records[slot];
        let Some(loaded) = record.held() else { return Decision::Load };
        let group = &self.groups[usize::from(record.group)];
        let age = seconds(loaded, now);
        let ttl = group.suspended.as_ref().and_then(|rule| rule.by_rule(record.unchanged())).unwrap_or_default();
        if age >= ttl.min(group.freshness.most).as_secs_f64() {
            return Decision::Load;
        }
        if !matches!(group.freshness.goal, Goal::StaleReads(_)) || record.flips.is_marked() {
            return Decision::Serve;
        }
        let stale = self.hazard_of(record, age - group.freshness.grace.as_secs_f64()).stale();
        let group = &mut self.groups[usize::from(record.group)];
        group.audits.draw(Some(stale), self.rng.unit()).map_or(Decision::Serve, Decision::Audit)
    }

    /// From now on decides by `freshness`: a rule, which suspends objectives, or an objective.
    pub fn live_by(&mut self, freshness: &Freshness) {
        self.suspend(Some(freshness));
        if !freshness.is_rule() {
            self.keep_to(freshness);
        }
    }

    /// From now on everything lives by `rule`, a fixed lifetime or a share of the age, whatever the objectives say; or with `None`, or what is
    /// no rule, by them again. What is learned meanwhile counts, what is served does not: an objective owes nothing for what it did not decide.
    pub fn suspend(&mut self, rule: Option<&Freshness>) {
        let rule = rule.filter(|rule| rule.is_rule());
        for group in &mut self.groups {
            group.suspended = rule.cloned();
        }
        self.forgive();
    }

    /// From now on keeps to `freshness`. Keys with a prefix have the objective that `freshness` gives this prefix, or else keep theirs; prefixes
    /// that the engine was not made with are not known to it. What audits found goes on being summed up.
    pub fn keep_to(&mut self, freshness: &Freshness) {
        // Whose prefixes are at which number of group does not change.
        let prefixes = std::mem::take(&mut self.groups[0].freshness.prefixes);
        let alone = Freshness { prefixes: Vec::new(), ..freshness.clone() };
        self.groups[0].keep_to(&alone);
        for (group, (prefix, _)) in self.groups[1..].iter_mut().zip(&prefixes) {
            if let Some((_, other)) = freshness.prefixes.iter().find(|(other, _)| other == prefix) {
                group.keep_to(other);
            }
        }
        self.groups[0].freshness.prefixes = prefixes;
        self.forgive();
    }

    /// What was served until now is no longer anybody's debt.
    fn forgive(&mut self) {
        for record in &mut self.records {
            record.cached.served_stale = 0.0;
        }
    }
}

impl Group {
    fn keep_to(&mut self, freshness: &Freshness) {
        if self.freshness == *freshness {
            return;
        }
        let share = freshness.objective().unwrap_or(1.0);
        self.controller.aim(share);
        self.audits.aim(share);
        self.most_stale = most_stale(share);
        self.freshness = freshness.clone();
    }
}
