//! Beside a store that asks nobody whether to serve: it does, until the lifetime is over that a value was kept for. Several processes may keep values
//! there, for lifetimes of their own choice.

use super::group::Answer;
use super::{Engine, seconds, serve, starts};
use crate::Time;
use crate::freshness::audit::Audit;
use crate::freshness::plan::{Decision, Subject};

impl Engine {
    /// A store that asks nobody has served what it has under a key. It may be drawn for an audit, whoever kept it and however old it is: what is
    /// measured is what was served.
    ///
    /// `is_own` says whether that is the value last [loaded](Self::loaded), and lives no longer than was said then. Of any other nothing is
    /// foreseen; the objective charges it as it does the others.
    #[inline]
    pub fn served(&mut self, subject: Subject, now: Time, is_own: bool) -> Option<Audit> {
        let slot = self.slot(subject, now);
        match self.read_at(slot, now, is_own) {
            Decision::Audit(audit) => Some(audit),
            Decision::Serve | Decision::ServeAndRefresh => None,
            Decision::Load => self.served_anyway(slot, now),
        }
    }

    /// A read that it would not have served.
    fn served_anyway(&mut self, slot: usize, now: Time) -> Option<Audit> {
        let record = &self.records[slot];
        let group = &self.groups[usize::from(record.group)];
        let freshness = &group.freshness;
        let is_steered = group.suspended.is_none();
        let held = record.held().filter(|_| is_steered);
        // It is no part of an objective, or was taken back.
        let is_start = starts(freshness, self.looks);
        if record.flips.is_marked() || freshness.objective().is_none() || (held.is_some() && is_start) {
            return None;
        }
        let grace = freshness.grace.as_secs_f64();
        let stale = held.map(|loaded| self.hazard_of(record, seconds(loaded, now) - grace).stale());
        let group = &mut self.groups[usize::from(self.records[slot].group)];
        let Some(stale) = stale else {
            if is_steered && !is_start {
                group.controller.passed();
            }
            return group.audits.draw(None, self.rng.unit());
        };
        match serve(&mut self.records[slot], group, &mut self.rng, stale) {
            Decision::Audit(audit) => Some(audit),
            _ => None,
        }
    }

    /// What was served and drawn for `audit` had changed by the time the origin was asked, or not, as whoever served it can tell; it need not be the
    /// value last loaded here. To be said before the [load](Self::loaded), which is then for no audit.
    pub fn answered(&mut self, subject: Subject, asked: Time, audit: Audit, changed: bool) {
        let slot = self.slot(subject, asked);
        let record = &self.records[slot];
        let group = usize::from(record.group);
        if record.flips.is_marked() {
            self.groups[group].audits.forgone(audit);
            return;
        }
        let held = record.cached.loaded();
        let foreseen = held.map_or(1.0, |loaded| self.hazard_of(record, seconds(loaded, asked)).stale());
        self.groups[group].found(audit, Answer { changed, foreseen, age: f64::INFINITY, outdated: None });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::KeyHash;
    use crate::freshness::{Evidence, Freshness, Loaded};

    fn engine(freshness: Freshness) -> (Engine, Subject) {
        let mut engine = Engine::new(freshness, 1);
        let subject = engine.subject(KeyHash(7), "", 1, 0);
        (engine, subject)
    }

    fn objective() -> Freshness {
        Freshness::stale_reads(0.01).unwrap()
    }

    /// Audits drawn of a million reads.
    fn audits(engine: &mut Engine, subject: Subject, is_own: bool) -> Vec<Audit> {
        (0..1_000_000).filter_map(|at| engine.served(subject, Time(1_000_000_000 + at), is_own)).collect()
    }

    #[test]
    fn what_it_would_not_serve_is_audited_all_the_same() {
        let (mut engine, subject) = engine(objective());
        // It has changed each second so far, and is a quarter of an hour old.
        for second in 1..100u64 {
            let now = Time(second * 1_000_000);
            engine.read(subject, now, false);
            engine.loaded(subject, now, Loaded::new(now, Evidence::Digest(second)));
        }
        assert_eq!(engine.read(subject, Time(999_000_000), true), Decision::Load);
        let own = audits(&mut engine, subject, true);
        assert!(!own.is_empty() && own.iter().all(|audit| audit.stale.is_some_and(|stale| stale > 0.9)));
        let others = audits(&mut engine, subject, false);
        assert!(!others.is_empty() && others.iter().all(|audit| audit.stale.is_none()));
        // What is found of others says nothing of the forecast.
        let charged = engine.groups[0].charge(0.5);
        others.into_iter().for_each(|audit| engine.answered(subject, Time(2_000_000_000), audit, true));
        assert_eq!(engine.groups[0].charge(0.5), charged);
        assert!(engine.measured(None).unwrap().rate > 0.1);
    }

    #[test]
    fn without_an_objective_nothing_is_audited() {
        let (mut engine, subject) = engine(Freshness::fixed_ttl(std::time::Duration::from_secs(1)));
        assert!(audits(&mut engine, subject, false).is_empty());
    }
}
