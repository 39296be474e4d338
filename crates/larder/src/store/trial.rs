//! The policy on trial beside its control, over all segments.

use std::time::Duration;

use larder_policy::experiment::Event as Turn;
use larder_policy::{KeyHash, Time};

use super::Store;
use crate::key::Key;
use crate::proof::judge::Judge;
use crate::report::ControlReport;
use crate::stats::Counts;

impl<K, V> Store<K, V>
where
    K: Key + Clone,
    V: Clone,
{
    /// Ends a slice of the experiment, if there is one: what happened.
    pub(crate) fn end_slice(&self) -> Option<Turn> {
        let mut judge = self.judge.as_ref()?.lock();
        let (now, traffic) = (self.clock.now(), judge.traffic());
        let counted: Vec<_> = self.lock_all().filter_map(|mut segment| segment.end_slice(traffic)).collect();
        let event = judge.end_slice(now, &counted);
        self.change_sides(&mut judge, now);
        event
    }

    /// Takes the policy on trial off everywhere; `None` where there is no control to take over.
    pub(crate) fn roll_back(&self) -> Option<Turn> {
        let mut judge = self.judge.as_ref()?.lock();
        let now = self.clock.now();
        let event = judge.roll_back(now);
        self.change_sides(&mut judge, now);
        Some(event)
    }

    /// Ends a cool-down; whether there was an experiment to resume.
    pub(crate) fn resume(&self) -> bool {
        let Some(judge) = &self.judge else { return false };
        let mut judge = judge.lock();
        judge.resume();
        self.change_sides(&mut judge, self.clock.now());
        true
    }

    /// How often the experiment is looked at, if there is one.
    pub(crate) fn slice(&self) -> Option<Duration> {
        self.judge.as_ref().map(|judge| judge.lock().slice)
    }

    fn change_sides(&self, judge: &mut Judge, now: Time) {
        for (segment, side) in judge.changes() {
            self.change(&self.segments[segment], |segment| segment.change_sides(side, now));
        }
    }

    /// The control's policy, and whether it decides about this key; `None` where there is none.
    pub(crate) fn control_of(&self, hash: KeyHash) -> Option<(String, bool)> {
        let judge = self.judge.as_ref()?.lock();
        Some((judge.control().to_owned(), judge.runs_control(self.place(hash))))
    }

    /// The policy beside its control.
    pub(crate) fn control(&self) -> Option<ControlReport> {
        let mut judge = self.judge.as_ref()?.lock();
        let counts = self.lock_all().fold(Counts::default(), |mut sum, segment| {
            sum += segment.turns.control(segment.counts);
            sum
        });
        Some(judge.report(self.clock.now(), counts))
    }
}
