//! Objectives set aside for a while: one lifetime for all, as the control of an experiment has it.

use std::time::Duration;

use super::{Engine, Goal, seconds};
use crate::Time;
use crate::freshness::{Audit, Decision};

impl Engine {
    /// Decides while objectives are suspended: by age alone. Audits go on, and the engine learns from what is loaded.
    #[cold]
    pub(super) fn serve_by_age(&mut self, slot: usize, now: Time, ttl: Duration) -> Decision {
        let record = &self.records[slot];
        let Some(loaded) = record.cached.loaded().filter(|_| record.cached.is_held) else { return Decision::Load };
        let group = &self.groups[usize::from(record.group)];
        let age = seconds(loaded, now);
        if age >= ttl.min(group.freshness.most).as_secs_f64() {
            return Decision::Load;
        }
        if !matches!(group.freshness.goal, Goal::StaleReads(_)) || record.flips.is_marked() {
            return Decision::Serve;
        }
        let stale = self.hazard_of(record, age - group.freshness.grace.as_secs_f64()).stale();
        match group.audits.draw(stale, self.rng.unit()) {
            Some(probability) => Decision::Audit(Audit { probability, stale }),
            None => Decision::Serve,
        }
    }

    /// From now on everything lives for `ttl`, whatever the objectives say, or with `None` by them again. What is learned meanwhile counts, what
    /// is served does not: an objective owes nothing for what it did not decide.
    pub fn suspend(&mut self, ttl: Option<Duration>) {
        for group in &mut self.groups {
            group.suspended = ttl;
        }
        for record in &mut self.records {
            record.cached.served_stale = 0.0;
        }
    }
}
