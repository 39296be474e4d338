//! What stands beside a segment, under its lock.

use std::time::Duration;

use larder_policy::experiment::{Latencies, Measures, Probe, ShardSlice, SizeCurve, WhatIf};
use larder_policy::freshness::Audited;
use larder_policy::{Access, Capacity, Error, KeyHash, Op, Policy, Time};

use crate::entry::Entry;
use crate::stats::Counts;

/// Objects of all ghosts of the control together, at least: with few segments each has more.
const OBJECTS: f64 = 8192.0;
/// Of a segment's ghost, at least.
const LEAST: f64 = 1024.0;
/// Ghosts of other sizes see a smaller share of the keys.
const SIZES: f64 = 0.25;

pub(crate) struct Gauge {
    probe: Probe,
    sizes: WhatIf,
    /// Of this slice.
    latencies: Latencies,
    before: (Counts, Audited),
}

impl Gauge {
    /// Beside one of `segments` of a capacity. `control` builds the control policy.
    pub(crate) fn new(
        capacity: Capacity,
        segments: usize,
        seed: u64,
        control: impl Fn(Capacity) -> Policy,
    ) -> Result<Self, Error> {
        let rate = rate(capacity, segments);
        let probe = Probe::new(capacity, rate, true, seed, &control)?;
        let sizes = WhatIf::new(capacity, (rate * SIZES).max(f64::MIN_POSITIVE), seed ^ 1, control)?;
        Ok(Self { probe, sizes, latencies: Latencies::default(), before: Default::default() })
    }

    /// A resident that is fresh, or of which the freshness engine has yet to decide: who is kept is judged, not for how long.
    #[inline]
    pub(crate) fn hit<K, V>(&mut self, access: &Access, entry: &Entry<K, V>) {
        let given = match entry.fixed_end() {
            Some(end) if end <= access.at => return self.miss(access),
            end => end.map(|end| end.since(entry.as_of)),
        };
        let access = Access { size: entry.size, cost: entry.cost, ..*access };
        self.probe.hit(&access, given);
        self.sizes.record(&access, given);
    }

    #[cold]
    pub(crate) fn miss(&mut self, access: &Access) {
        self.probe.miss(access);
        self.sizes.miss(access);
    }

    /// What a resident says is void: so is what the ghosts hold of the key.
    #[cold]
    pub(crate) fn voided(&mut self, access: &Access) -> &mut Self {
        self.remove(access.key, access.at);
        self
    }

    /// The service wrote a resident.
    pub(crate) fn write(&mut self, access: &Access) {
        self.probe.record(access, true, None);
    }

    /// A value on its way in, and when it ends, if that is fixed.
    pub(crate) fn keep(&mut self, access: &Access, end: Option<Time>) {
        let given = end.map(|end| end.since(access.at));
        self.probe.fill(access, given);
        self.sizes.fill(access, given);
    }

    pub(crate) fn remove(&mut self, key: KeyHash, at: Time) {
        let access = Access { op: Op::Delete, ..Access::get(key, at) };
        self.probe.record(&access, false, None);
        self.sizes.record(&access, None);
    }

    /// The segment changes sides; `control` is the control's policy, which knows nothing yet.
    pub(crate) fn begin_anew(&mut self, control: Policy, now: Time) {
        self.probe.begin_anew(control, now);
    }

    pub(crate) fn clear(&mut self) {
        self.probe.clear();
        self.sizes.clear();
    }

    pub(crate) fn resize(&mut self, limit: u64) {
        self.probe.resize(limit);
        self.sizes.resize(limit);
    }

    /// A timed read is answered, by whichever tier.
    #[cold]
    pub(crate) fn took(&mut self, took: Duration) {
        self.latencies.add(took);
    }

    /// What was counted since the last call. `traffic` is what all segments counted in the slice before; `counts` and `audited` are sums since
    /// the start.
    pub(crate) fn end_slice(&mut self, traffic: u64, counts: Counts, audited: Audited) -> (ShardSlice, SizeCurve) {
        let (counted, found) = std::mem::replace(&mut self.before, (counts, audited));
        let loads = |counts: &Counts| counts.loads + counts.load_errors;
        let measures = Measures {
            origin_loads: loads(&counts) - loads(&counted),
            audited: audited - found,
            latencies: std::mem::take(&mut self.latencies),
        };
        (self.probe.end_slice(traffic, measures), self.sizes.take())
    }

    pub(crate) fn bytes(&self) -> usize {
        self.probe.bytes() + self.sizes.bytes()
    }

    pub(crate) fn validate(&self) {
        self.probe.validate();
    }
}

/// The share of a segment's keys that its ghost sees.
fn rate(capacity: Capacity, segments: usize) -> f64 {
    let objects = match capacity.most_objects() {
        Some(objects) => objects as f64,
        // Entries of a kilobyte, for want of anything better.
        None => capacity.limit as f64 / 1024.0,
    };
    ((OBJECTS / segments as f64).max(LEAST) / objects.max(1.0)).min(1.0)
}
