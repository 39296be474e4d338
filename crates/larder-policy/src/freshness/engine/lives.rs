//! How long what was loaded may live, in the store and by what it is worth.

use std::time::Duration;

use super::{Engine, Goal};
use crate::freshness::plan::{Handle, Lifetimes, Subject};
use crate::freshness::rent::{ends_by, idle_worth};
use crate::freshness::rule;

impl Engine {
    /// Of what was just loaded.
    pub(super) fn lifetimes(&self, slot: usize, size: u32, group: usize) -> Lifetimes {
        let (record, group) = (&self.records[slot], &self.groups[group]);
        let freshness = &group.freshness;
        let rule = group.suspended.as_ref().unwrap_or(freshness);
        let logical = match rule.by_rule(record.unchanged()) {
            Some(ttl) => ttl,
            None if freshness.goal == Goal::NeverStale => {
                record.cached.lease.since(record.cached.loaded().unwrap_or(record.cached.lease))
            }
            None => {
                let rate = record.reads.rate();
                // The hazard depends on the age at which it is asked for: twice is near enough. (From the lifetime foreseen last once would be cheaper, but
                // load by load that runs away where the hazard falls with the age.)
                let mut age = record.changes.rate.mean().recip();
                for _ in 0..2 {
                    let hazard = self.hazard_of(record, age);
                    age = rule::lifetime(hazard.expected / age.max(1e-9), rate, group.controller.threshold())
                        .clamp(1e-3, 1e9);
                }
                Duration::try_from_secs_f64(age + freshness.grace.as_secs_f64()).unwrap_or(Duration::MAX)
            }
        };
        let logical = logical.clamp(freshness.least, freshness.most);
        let end = ends_by(freshness, logical);
        let physical = idle_worth(&record.reads, size, freshness).min(end);
        Lifetimes { handle: Handle::new(record.class, slot), physical, logical }
    }

    /// For how much longer a value just read is worth its memory: its physical lifetime, which each read renews. `None` where
    /// memory costs nothing, so that nothing needs renewing, or where nothing is cached.
    pub fn worth(&self, subject: Subject) -> Option<Duration> {
        let record = &self.records[self.place_of(subject)?];
        let freshness = &self.groups[usize::from(record.group)].freshness;
        let age = record.reads.last.since(record.cached.loaded()?);
        let end = ends_by(freshness, Duration::try_from_secs_f32(record.cached.logical).unwrap_or_default());
        let worth = idle_worth(&record.reads, subject.size, freshness).min(end.saturating_sub(age));
        (freshness.rent > 0.0).then_some(worth)
    }
}
