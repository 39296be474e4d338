//! What `/report` says, as far as a terminal shows it, and what changed between two looks.

use std::collections::VecDeque;

use serde::Deserialize;
use serde_json::Value;

use crate::client::Client;
use crate::failure::Failure;

/// Looks that are kept: what the sparklines show at most.
const MOST: usize = 300;

#[derive(Clone, Debug, Deserialize)]
pub(super) struct Frame {
    /// Milliseconds since the Unix epoch.
    pub(super) at: u64,
    pub(super) caches: Vec<Shown>,
}

#[derive(Clone, Debug, Deserialize)]
pub(super) struct Shown {
    pub(super) id: String,
    pub(super) report: Report,
}

#[derive(Clone, Debug, Deserialize)]
pub(super) struct Report {
    pub(super) policy: String,
    pub(super) counts: Counts,
    pub(super) entries: u64,
    pub(super) weight: u64,
    pub(super) capacity: u64,
    pub(super) freshness: Freshness,
    pub(super) control: Option<Control>,
    pub(super) remote: Option<Remote>,
    pub(super) model: Option<Model>,
    pub(super) behind: Option<Behind>,
}

#[derive(Clone, Copy, Debug, Deserialize)]
pub(super) struct Counts {
    hits: u64,
    misses: u64,
    remote_hits: u64,
    loads: u64,
    load_errors: u64,
}

#[derive(Clone, Debug, Deserialize)]
pub(super) struct Freshness {
    pub(super) objective: Option<f64>,
    /// Of the last hour.
    pub(super) recent: Option<Measured>,
    /// Keys with an objective of their own; the others' is above.
    pub(super) prefixes: Vec<Prefix>,
}

/// How stale answers about keys with a prefix may be, and are.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Prefix {
    pub(super) prefix: String,
    pub(super) objective: f64,
    pub(super) recent: Option<Measured>,
}

#[derive(Clone, Copy, Debug, Deserialize)]
pub(super) struct Measured {
    pub(super) rate: f64,
    pub(super) low: f64,
    pub(super) high: f64,
}

#[derive(Clone, Debug, Deserialize)]
pub(super) struct Control {
    pub(super) policy: String,
    pub(super) state: String,
    pub(super) treated: u64,
    pub(super) parts: u64,
    pub(super) rollbacks: u64,
    pub(super) last_breach: Option<String>,
    pub(super) gain: f64,
    pub(super) low: f64,
    pub(super) high: f64,
    pub(super) requests: u64,
    pub(super) turnovers: f64,
    /// For how many seconds the gain has been counted.
    pub(super) counted_for: Option<f64>,
    pub(super) refusals: Vec<String>,
    pub(super) arms: Option<Arms>,
    pub(super) sizes: Vec<Size>,
    pub(super) cheapest: Option<f64>,
}

/// Parts that run the policy beside others that run its control.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Arms {
    pub(super) refusals: Vec<String>,
}

#[derive(Clone, Copy, Debug, Deserialize)]
pub(super) struct Size {
    pub(super) scale: f64,
    pub(super) hit_ratio: f64,
    pub(super) cost: Option<Cost>,
}

/// What an hour costs.
#[derive(Clone, Copy, Debug, Deserialize)]
pub(super) struct Cost {
    pub(super) total: f64,
}

#[derive(Clone, Debug, Deserialize)]
pub(super) struct Remote {
    pub(super) breaker: String,
}

/// The model that ranks: its losses are shares of others'.
#[derive(Clone, Copy, Debug, Deserialize)]
pub(super) struct Model {
    pub(super) parts: u64,
    pub(super) on_duty: u64,
    pub(super) loss: Option<f64>,
    pub(super) loss_to_prior: Option<f64>,
    pub(super) calibration_error: Option<f64>,
    /// How far it is on its way to be set aside, at 1, and how often it was.
    pub(super) drift: f64,
    pub(super) drifts: u64,
}

/// The write-behind log: what is pending, and for how many seconds the oldest of it.
#[derive(Clone, Copy, Debug, Deserialize)]
pub(super) struct Behind {
    pub(super) pending: u64,
    pub(super) pending_bytes: u64,
    pub(super) oldest: Option<f64>,
}

/// What happened between two looks, a second.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Rates {
    pub(super) reads: f64,
    /// Those that failed included.
    pub(super) loads: f64,
    /// The share of them that failed; `None` where there were none.
    pub(super) failed: Option<f64>,
    /// Shares of the reads, by who answered; `None` where there were none.
    pub(super) memory: Option<f64>,
    pub(super) remote: Option<f64>,
}

impl Frame {
    pub(super) fn read(client: &Client) -> Result<Self, Failure> {
        let frame = client.get("/report", &[])?;
        Self::of(frame)
            .map_err(|error| Failure::Failed(format!("{}: a report of another version: {error}", client.origin())))
    }

    pub(super) fn of(answer: Value) -> Result<Self, serde_json::Error> {
        serde_json::from_value(answer)
    }

    pub(super) fn find(&self, id: &str) -> Option<&Report> {
        self.caches.iter().find(|shown| shown.id == id).map(|shown| &shown.report)
    }
}

impl Rates {
    /// `None` where no time has passed, or the service began anew.
    fn between(then: &Counts, now: &Counts, seconds: f64) -> Option<Self> {
        let change = |of: fn(&Counts) -> u64| of(now).checked_sub(of(then)).map(|change| change as f64);
        let (hits, misses) = (change(|counts| counts.hits)?, change(|counts| counts.misses)?);
        let (remote, errors) = (change(|counts| counts.remote_hits)?, change(|counts| counts.load_errors)?);
        let (reads, loads) = (hits + misses, change(|counts| counts.loads)? + errors);
        let share = |part: f64| (reads > 0.0).then(|| part / reads);
        (seconds > 0.0).then(|| Self {
            reads: reads / seconds,
            loads: loads / seconds,
            failed: (loads > 0.0).then(|| errors / loads),
            memory: share(hits),
            remote: share(remote),
        })
    }
}

/// The last looks.
#[derive(Debug, Default)]
pub(super) struct History(VecDeque<Frame>);

impl History {
    pub(super) fn push(&mut self, frame: Frame) {
        // The service reports once a second too: the same moment may come twice.
        if self.0.back().is_some_and(|last| last.at == frame.at) {
            return;
        }
        if self.0.len() == MOST {
            self.0.pop_front();
        }
        self.0.push_back(frame);
    }

    pub(super) fn last(&self) -> Option<&Frame> {
        self.0.back()
    }

    /// A cache's rates from look to look, oldest first.
    pub(super) fn rates(&self, id: &str) -> impl Iterator<Item = Rates> {
        self.0.iter().zip(self.0.iter().skip(1)).filter_map(move |(then, now)| {
            let seconds = now.at.saturating_sub(then.at) as f64 / 1e3;
            Rates::between(&then.find(id)?.counts, &now.find(id)?.counts, seconds)
        })
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A cache after `reads` reads, four of five of them hits.
    pub(crate) fn frame(at: u64, reads: u64) -> Frame {
        let report = format!(
            r#"{{"policy": "learned", "entries": 500, "weight": 500, "capacity": 600, "counts": {{"hits": {}, "misses": {},
            "remote_hits": {}, "loads": {}, "load_errors": {}}}, "freshness": {{"objective": 0.01, "recent": {{"rate": 0.008, "low": 0.006,
            "high": 0.0098}}, "prefixes": [{{"prefix": "price:", "objective": 0.001, "recent": {{"rate": 0.02, "low": 0.015, "high": 0.026}}}},
            {{"prefix": "new:", "objective": 0.05, "recent": null}}]}}, "control": {{"policy": "wtinylfu", "state": "ramping", "treated": 16, "parts": 64, "rollbacks": 1,
            "last_breach": "the hit ratio fell", "gain": 0.041, "low": 0.032, "high": 0.05, "requests": 90000,
            "turnovers": 7.5, "counted_for": 5400.0, "refusals": ["few slices"], "arms": {{"refusals": ["few slices", "few shards"]}}, "sizes": [{{"scale": 1.0, "hit_ratio": 0.7, "cost": {{"total": 1.5}}}}, {{"scale": 2.0, "hit_ratio": 0.76,
            "cost": {{"total": 1.25}}}}], "cheapest": 2.0}},
            "remote": {{"breaker": "half-open"}}, "model": {{"parts": 4, "on_duty": 3, "loss": 0.7123, "loss_to_prior": 0.98,
            "calibration_error": 0.0125, "drift": 0.62, "drifts": 2}}, "behind": {{"pending": 1200, "pending_bytes": 20480, "oldest": 2.5}}}}"#,
            reads * 4 / 5,
            reads / 5,
            reads / 10,
            reads / 25,
            reads / 100,
        );
        let frame = format!(
            r#"{{"at": {at}, "caches": [{{"id": "demo", "report": {report}}}, {{"id": "other", "report": {report}}}]}}"#
        );
        serde_json::from_str(&frame).unwrap()
    }

    #[test]
    fn rates_are_changes_a_second() {
        let mut history = History::default();
        for (at, reads) in [(1000, 0), (1000, 0), (3000, 2000), (4000, 2000), (5000, 1000)] {
            history.push(frame(at, reads));
        }
        let rates: Vec<_> = history.rates("demo").collect();
        assert_eq!(rates.len(), 2, "one look came twice, and a service that began anew has no rate: {rates:?}");
        assert_eq!(
            (rates[0].reads, rates[0].loads, rates[0].memory, rates[0].remote),
            (1000.0, 50.0, Some(0.8), Some(0.1)),
            "of the loads one in five fails, and counts"
        );
        assert_eq!(rates[0].failed, Some(0.2));
        assert_eq!((rates[1].reads, rates[1].memory, rates[1].failed), (0.0, None, None));
        assert_eq!(history.rates("nobody").count(), 0);
    }
}
