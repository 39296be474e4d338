//! The rules people use today, each with one knob that trades loads for staleness.

use std::time::Duration;

use larder_policy::Time;
use larder_policy::freshness::rule::Hazard;

use super::score::{Act, Policy};
use super::workload::Workload;

/// A rule with one knob.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Rule {
    /// One lifetime for everything; the knob is its seconds.
    Static,
    /// A lifetime a class; the knob scales all of them. By key number: the class's seconds.
    ClassStatic(Vec<f64>),
    /// k × the time since the last change seen; the knob is k (Gwertzman, Seltzer 1996).
    Alex,
    /// The quantile of a Poisson process of the estimated rate: the knob is the chance of being stale at the end (Cho,
    /// Garcia-Molina 2003 for the estimator).
    Quantile,
    /// Longer by the knob's seconds after no change, half after one.
    Aimd,
    /// Longer the oftener it is read: knob · √reads.
    HotLonger,
    /// The index rule with the true rates of changes and reads; the knob is θ.
    KnownRate,
}

impl Rule {
    /// The knob's range, for a trace of so many seconds.
    pub(super) fn range(&self, span: f64) -> (f64, f64) {
        match self {
            Self::Static | Self::Aimd => (span * 1e-9, span * 2.0),
            Self::ClassStatic(_) => (1.0 / 64.0, 64.0),
            Self::Alex => (1e-6, 1e3),
            Self::Quantile => (1e-7, 0.9999),
            Self::HotLonger => (span * 1e-10, span * 2.0),
            Self::KnownRate => (1e-8, 1e4),
        }
    }
}

/// What a rule remembers of a key.
#[derive(Clone, Copy, Debug, Default)]
struct Memory {
    loaded: Time,
    /// When its value may no longer be served, in seconds after its load.
    lifetime: f64,
    /// When it last changed, as far as a load could see.
    changed: Option<Time>,
    /// Loads with something to compare, those without a change, and the seconds between them.
    looks: f64,
    unchanged: f64,
    between: f64,
    /// Reads, decayed.
    reads: f64,
    last_read: Time,
}

/// A rule at work: keys whose hash falls below the share use the further knob, so that any stale rate in between can be
/// met exactly.
pub(super) struct Baseline<'a> {
    rule: &'a Rule,
    knobs: (f64, f64),
    share: f64,
    workload: &'a Workload,
    most: f64,
    span: f64,
    memory: Vec<Memory>,
    /// Changes and seconds over all keys, for those never looked at twice.
    all: (f64, f64),
}

impl<'a> Baseline<'a> {
    pub(super) fn new(rule: &'a Rule, knobs: (f64, f64), share: f64, workload: &'a Workload, most: Duration) -> Self {
        let span = workload.span();
        let memory = vec![Memory::default(); workload.keys.len()];
        Self { rule, knobs, share, workload, most: most.as_secs_f64(), span, memory, all: (1.0, span * 0.02) }
    }

    fn knob(&self, key: u32) -> f64 {
        let hash = self.workload.keys[key as usize].hash.0;
        let unit = (hash >> 11) as f64 / (1u64 << 53) as f64;
        if unit < self.share { self.knobs.1 } else { self.knobs.0 }
    }

    fn is_fresh(&self, key: u32, at: Time) -> bool {
        let memory = &self.memory[key as usize];
        let age = at.since(memory.loaded).as_secs_f64();
        if age >= self.most {
            return false;
        }
        match self.rule {
            Rule::Static => age < self.knob(key),
            Rule::ClassStatic(lifetimes) => age < self.knob(key) * lifetimes[key as usize],
            Rule::HotLonger => age < self.knob(key) * memory.reads.sqrt(),
            Rule::KnownRate => {
                let facts = &self.workload.keys[key as usize];
                let life = facts.last.since(facts.first).as_secs_f64().max(1.0);
                let expected = age * f64::from(facts.writes) / life;
                Hazard { expected, age }.index(f64::from(facts.reads) / life, 0.0) < self.knob(key)
            }
            Rule::Alex | Rule::Quantile | Rule::Aimd => age < memory.lifetime,
        }
    }
}

impl Policy for Baseline<'_> {
    fn read(&mut self, key: u32, at: Time, is_cached: bool) -> Act {
        let memory = &mut self.memory[key as usize];
        if *self.rule == Rule::HotLonger {
            let idle = at.since(memory.last_read).as_secs_f64();
            memory.reads = memory.reads * (-idle / (0.1 * self.span)).exp() + 1.0;
            memory.last_read = at;
        }
        if is_cached && self.is_fresh(key, at) { Act::Serve } else { Act::Load }
    }

    fn loaded(&mut self, key: u32, at: Time, changed: Option<bool>) -> Option<Duration> {
        let knob = self.knob(key);
        let memory = &mut self.memory[key as usize];
        let age = at.since(memory.loaded).as_secs_f64();
        if let Some(changed) = changed {
            memory.looks += 1.0;
            memory.unchanged += f64::from(u8::from(!changed));
            memory.between += age;
            self.all.0 += f64::from(u8::from(changed));
            self.all.1 += age;
        }
        if changed != Some(false) {
            memory.changed = Some(at);
        }
        memory.lifetime = match self.rule {
            Rule::Alex => {
                let since = memory.changed.map_or(0.0, |changed| at.since(changed).as_secs_f64());
                // What has just changed must live for a moment, or nothing would ever be served.
                knob.min(1.0) * self.span * 2e-5 + knob * since
            }
            Rule::Quantile => {
                let rate = if memory.looks > 0.0 {
                    let mean = (memory.between / memory.looks).max(1e-6);
                    let rate = -((memory.unchanged + 0.5) / (memory.looks + 0.5)).ln() / mean;
                    rate.max(0.25 / (memory.between + 1.0))
                } else {
                    self.all.0 / self.all.1.max(1e-6)
                };
                -(-knob).ln_1p() / rate
            }
            Rule::Aimd => match changed {
                Some(true) => memory.lifetime / 2.0,
                _ => memory.lifetime + knob,
            },
            _ => 0.0,
        };
        memory.loaded = at;
        // What its rule will not serve again leaves the store, as with `EX`.
        let lifetime = match self.rule {
            Rule::Static => knob,
            Rule::ClassStatic(lifetimes) => knob * lifetimes[key as usize],
            Rule::Alex | Rule::Quantile | Rule::Aimd => memory.lifetime,
            // These decide at each read.
            Rule::HotLonger | Rule::KnownRate => self.most,
        };
        Duration::try_from_secs_f64(lifetime.min(self.most)).ok()
    }
}
