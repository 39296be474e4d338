//! The bound: reloads only what has changed, and of the versions it could skip, skips those read least.
//!
//! Serving an older value through a whole version saves one load and costs one stale read for each read of that version;
//! so the shortest runs of reads go first, which is the optimum of a knapsack whose items are worth the same. Within a
//! grace, reads soon after a version's write cost nothing.

use std::time::Duration;

use larder_policy::Time;

use super::score::{Act, Policy};
use super::workload::Workload;

/// Knows every write to come.
pub(super) struct Clairvoyant {
    /// Whether to load, by the read's number.
    is_due: Vec<bool>,
    next: usize,
}

/// A version that could be skipped.
struct Version {
    /// The number of the first read of it.
    first: usize,
    written: Time,
    /// Reads that would be stale.
    cost: u64,
    is_skippable: bool,
}

impl Clairvoyant {
    /// Spends at most a share `target` of the reads.
    pub(super) fn new(workload: &Workload, grace: Duration, target: f64) -> Self {
        let mut versions: Vec<Version> = Vec::new();
        // By key: its current version, and when and how the next one was written.
        let mut current: Vec<Option<usize>> = vec![None; workload.keys.len()];
        let mut written: Vec<Option<(Time, bool)>> = vec![None; workload.keys.len()];
        let mut is_due = Vec::with_capacity(workload.reads as usize);
        for event in &workload.events {
            let key = event.key as usize;
            if event.is_write {
                let (at, is_noticed) = written[key].unwrap_or((event.at, false));
                written[key] = Some((at, is_noticed || event.is_noticed));
                continue;
            }
            let is_first = current[key].is_none();
            if is_first || written[key].is_some() {
                let (at, is_noticed) = written[key].take().unwrap_or((event.at, false));
                current[key] = Some(versions.len());
                // Before the first version there is nothing to be served instead; what was noticed is gone.
                versions.push(Version {
                    first: is_due.len(),
                    written: at,
                    cost: 0,
                    is_skippable: !is_first && !is_noticed,
                });
                is_due.push(true);
            } else {
                is_due.push(false);
            }
            if let Some(version) = current[key].and_then(|at| versions.get_mut(at)) {
                let is_stale = grace.is_zero() || event.at.since(version.written) > grace;
                version.cost += u64::from(is_stale);
            }
        }
        versions.retain(|version| version.is_skippable);
        versions.sort_by_key(|version| (version.cost, version.first));
        let mut left = (target * workload.reads as f64) as u64;
        for version in versions {
            let Some(rest) = left.checked_sub(version.cost) else { break };
            (left, is_due[version.first]) = (rest, false);
        }
        Self { is_due, next: 0 }
    }
}

impl Policy for Clairvoyant {
    fn read(&mut self, _: u32, _: Time, is_cached: bool) -> Act {
        let is_due = self.is_due[self.next];
        self.next += 1;
        if is_cached && !is_due { Act::Serve } else { Act::Load }
    }

    fn loaded(&mut self, _: u32, _: Time, _: Option<bool>) -> Option<Duration> {
        None
    }
}
