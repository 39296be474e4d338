//! The engine as a replay's policy.

use std::time::Duration;

use larder_policy::freshness::{
    Audit, Audited, ClassId, Decision, Engine, Evidence, Expert, Freshness, Loaded, Measured, Subject,
};
use larder_policy::{KeyHash, Time};

use super::score::{Act, Policy};
use super::workload::Key;

/// What loads tell the engine.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Told {
    /// Whether the value changed.
    #[default]
    Change,
    /// The value's version, which the engine compares as it does digests.
    Digest,
    /// When the value last changed.
    Time,
}

/// Every kind of it, by name.
pub const TOLD: [(&str, Told); 3] = [("change", Told::Change), ("digest", Told::Digest), ("time", Told::Time)];

/// The engine with the subjects of the keys.
pub(super) struct Learned {
    kind: Told,
    /// What the origin has of the key that is loaded next.
    told: (u64, Time),
    engine: Engine,
    subjects: Vec<Subject>,
    /// The audit the last read was drawn for.
    audit: Option<Audit>,
    /// When a lifetime is asked for a sample of the loads, in seconds: key and lifetime.
    pub(super) lifetimes: Vec<(u32, f32)>,
    loads: u64,
}

/// Every how many loads a lifetime is noted.
const NOTED: u64 = 16;

impl Learned {
    pub(super) fn new(freshness: Freshness, expert: Expert, keys: &[Key], seed: u64, kind: Told) -> Self {
        let mut engine = Engine::new(freshness, seed).with_expert(expert);
        let subjects = keys.iter().map(|key| engine.subject(key.hash, "", key.size, 0));
        // The store counts objects, and so does the rent.
        let subjects = subjects.map(|subject| Subject { size: 1, ..subject }).collect();
        Self { kind, told: (0, Time(0)), engine, subjects, audit: None, lifetimes: Vec::new(), loads: 0 }
    }

    /// The number of each key's class.
    pub(super) fn classes(keys: &[Key]) -> Vec<u32> {
        let mut known: Vec<ClassId> = Vec::new();
        let mut engine = Engine::new(Freshness::never_stale(), 0);
        let mut number = |class: ClassId| {
            let at = known.iter().position(|&other| other == class);
            at.unwrap_or_else(|| {
                known.push(class);
                known.len() - 1
            })
        };
        keys.iter().map(|key| number(engine.subject(key.hash, "", key.size, 0).class()) as u32).collect()
    }

    /// Values live by this from now on.
    pub(super) fn live_by(&mut self, freshness: &Freshness) {
        self.engine.live_by(freshness);
    }

    /// What audits found until now.
    pub(super) fn audited(&self) -> Audited {
        self.engine.audited()
    }

    /// The stale rate the engine itself publishes.
    pub(super) fn measured(&self) -> Option<Measured> {
        self.engine.measured(None)
    }
}

impl Policy for Learned {
    fn read(&mut self, key: u32, at: Time, is_cached: bool) -> Act {
        self.audit = None;
        match self.engine.read(self.subjects[key as usize], at, is_cached) {
            Decision::Serve => Act::Serve,
            Decision::ServeAndRefresh => Act::Refresh,
            Decision::Audit(audit) => {
                self.audit = Some(audit);
                Act::Audit
            }
            Decision::Load => Act::Load,
        }
    }

    fn loaded(&mut self, key: u32, at: Time, changed: Option<bool>) -> Option<Duration> {
        let (version, time) = self.told;
        let evidence = match (self.kind, changed) {
            (Told::Digest, _) => Evidence::Digest(KeyHash::mix(version).0),
            (Told::Time, _) => Evidence::ChangedAt(time),
            (Told::Change, None) => Evidence::Unknown,
            (Told::Change, Some(false)) => Evidence::Unchanged,
            (Told::Change, Some(true)) => Evidence::Changed,
        };
        let mut load = Loaded::new(at, evidence);
        load.audit = self.audit.take();
        let lifetimes = self.engine.loaded(self.subjects[key as usize], at, load);
        self.loads += 1;
        if self.loads.is_multiple_of(NOTED) {
            self.lifetimes.push((key, lifetimes.logical.as_secs_f32()));
        }
        Some(lifetimes.physical)
    }

    fn told(&mut self, version: u64, changed: Time) {
        self.told = (version, changed);
    }

    fn worth(&self, key: u32) -> Option<Duration> {
        self.engine.worth(self.subjects[key as usize])
    }

    fn noticed(&mut self, key: u32, at: Time) {
        self.engine.changed(self.subjects[key as usize], at);
    }
}
