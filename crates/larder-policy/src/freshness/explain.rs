//! Why a value counts as fresh or not: the evidence about its key and what the rule makes of it. Nothing here changes anything.

use std::time::Duration;

use super::engine::Engine;
use super::objective::Goal;
use super::plan::Subject;
use super::record::seconds;
use crate::Time;

/// What is known of a key and of the value cached of it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Known {
    /// Looks at the origin that told whether its value had changed.
    pub looks: u16,
    /// Changes found by them or reported.
    pub changes: u16,
    /// Changes a second expected now: the posterior's mean, times what the hours, the surge and the time since the last change make of it.
    pub rate: f64,
    /// How surely: the rate is known as if so many changes had been seen (the posterior's shape).
    pub shape: f64,
    /// Reads a second.
    pub reads: f64,
    /// Whether its changes say nothing: its values alternate, and any is as good as another.
    pub is_flipping: bool,
    /// The value cached, if there is one.
    pub value: Option<KnownValue>,
}

/// What is expected of a value cached.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct KnownValue {
    /// Since it was loaded.
    pub age: Duration,
    /// For how long it was expected to be served when it was loaded.
    pub lifetime: Duration,
    /// The probability that the origin has changed since.
    pub stale: f64,
    /// What a further read of it costs the objective, for each load it saves: the [index](super::rule) it is judged by.
    pub index: f64,
    /// It is served while its index is below this.
    pub threshold: f64,
}

impl Engine {
    /// What is known of a key at `now`; `None` of one that is not remembered.
    pub fn known(&self, subject: Subject, now: Time) -> Option<Known> {
        let record = self.record(subject.key)?;
        let group = self.group(record);
        let reads = record.reads.rate();
        let value = record.held().map(|loaded| {
            let grace = group.freshness.grace.as_secs_f64();
            let age = seconds(loaded, now);
            let hazard = self.hazard_of(record, age - grace);
            KnownValue {
                age: now.since(loaded),
                lifetime: Duration::try_from_secs_f32(record.cached.logical).unwrap_or(Duration::MAX),
                stale: hazard.stale(),
                index: self.index_of(hazard, reads, grace),
                threshold: group.controller.threshold(),
            }
        });
        let changes = &record.changes;
        Some(Known {
            looks: changes.looks,
            changes: changes.seen,
            rate: changes.rate.mean() * self.multiplier(record, now),
            shape: changes.rate.alpha(),
            reads,
            is_flipping: record.flips.is_marked(),
            value: value.filter(|_| group.suspended.is_none() && matches!(group.freshness.goal, Goal::StaleReads(_))),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::KeyHash;
    use crate::freshness::{Evidence, Freshness, Loaded};

    #[test]
    fn evidence_adds_up_and_asking_changes_nothing() {
        let second = 1_000_000;
        let engine = |ask: bool| {
            let mut engine = Engine::new(Freshness::stale_reads(0.05).unwrap(), 3);
            let page = engine.subject(KeyHash::mix(9), "page:9", 100, 0);
            assert_eq!(engine.known(page, Time(second)), None);
            let mut decisions = Vec::new();
            for at in 1..400u64 {
                let now = Time(at * second);
                if ask {
                    assert!(engine.known(page, now).is_none_or(|known| known.rate > 0.0));
                }
                let decision = engine.read(page, now, true);
                decisions.push(decision);
                if !decision.is_served() {
                    engine.loaded(page, now, Loaded::new(now, Evidence::Digest(at / 50)));
                }
            }
            (engine.known(page, Time(400 * second)), decisions)
        };
        let (known, decisions) = engine(true);
        assert_eq!((known, decisions), engine(false));
        let known = known.unwrap();
        assert!(known.looks > 3 && known.changes > 0 && known.changes <= known.looks, "{known:?}");
        // It changes every 50 s and is read every second.
        assert!((0.25..4.0).contains(&(known.rate * 50.0)) && (0.5..2.0).contains(&known.reads), "{known:?}");
        let value = known.value.unwrap();
        assert!((0.0..1.0).contains(&value.stale) && value.threshold > 0.0 && value.index >= 0.0, "{value:?}");
    }
}
