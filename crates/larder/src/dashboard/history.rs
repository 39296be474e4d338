//! What a newcomer is told of the last minutes: for each cache the numbers that the charts over time need, in a bounded ring.

use std::collections::VecDeque;
use std::sync::Arc;

use serde::Serialize;
use serde_json::Value;

/// Ten minutes of seconds.
pub(super) const MOST: usize = 600;

/// A moment of all caches.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Moment {
    /// Milliseconds since the Unix epoch.
    pub(super) at: u64,
    pub(super) caches: Vec<Point>,
}

/// A cache at a moment. Counts are since it was built, as in a report.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Point {
    id: Arc<str>,
    hits: u64,
    misses: u64,
    remote_hits: u64,
    loads: u64,
    load_errors: u64,
    stale: u64,
    /// The stale rate of the last hour, the ends of its interval, the reads it is of, and the doubtful share of them.
    measured: Option<[f64; 5]>,
    control: Option<Gain>,
}

/// The policy beside its control at a moment.
#[derive(Clone, Debug, Serialize)]
struct Gain {
    hit_ratio: f64,
    control_hit_ratio: f64,
    gain: f64,
    low: f64,
    high: f64,
    requests: u64,
}

impl Point {
    /// Of a report, another instance's too: what it does not say counts as nothing.
    pub(super) fn new(id: Arc<str>, report: &Value) -> Self {
        let count = |name: &str| report["counts"][name].as_u64().unwrap_or_default();
        let measured = &report["freshness"]["recent"];
        let control = &report["control"];
        let share = |name: &str| control[name].as_f64().unwrap_or_default();
        // An older version does not say how many reads of the last hour there were: as many as ever.
        let all = (count("hits") + count("misses")) as f64;
        let beside = |name: &str, otherwise: f64| measured[name].as_f64().unwrap_or(otherwise);
        Self {
            id,
            hits: count("hits"),
            misses: count("misses"),
            remote_hits: count("remote_hits"),
            loads: count("loads"),
            load_errors: count("load_errors"),
            stale: count("stale"),
            measured: measured["rate"]
                .as_f64()
                .zip(measured["low"].as_f64())
                .zip(measured["high"].as_f64())
                .map(|((rate, low), high)| [rate, low, high, beside("reads", all), beside("doubtful", 0.0)]),
            control: control.is_object().then(|| Gain {
                hit_ratio: share("hit_ratio"),
                control_hit_ratio: share("control_hit_ratio"),
                gain: share("gain"),
                low: share("low"),
                high: share("high"),
                requests: control["requests"].as_u64().unwrap_or_default(),
            }),
        }
    }
}

/// The last [`MOST`] moments, numbered from the first there ever was.
#[derive(Default)]
pub(super) struct History {
    moments: VecDeque<Arc<Moment>>,
    /// The number of the moment to come.
    next: u64,
}

impl History {
    pub(super) fn push(&mut self, moment: Moment) {
        // A clock that was set back: what comes later than now has not been.
        while self.moments.back().is_some_and(|last| last.at > moment.at) {
            self.moments.pop_back();
            self.next -= 1;
        }
        if self.moments.len() == MOST {
            self.moments.pop_front();
        }
        self.moments.push_back(Arc::new(moment));
        self.next += 1;
    }

    /// At most `most` moments from number `from` on, or from the oldest kept, and the number of the one after them.
    pub(super) fn from(&self, from: u64, most: usize) -> (Vec<Arc<Moment>>, u64) {
        let oldest = self.next - self.moments.len() as u64;
        let from = from.clamp(oldest, self.next);
        let skip = (from - oldest) as usize;
        let found: Vec<_> = self.moments.iter().skip(skip).take(most).cloned().collect();
        let next = from + found.len() as u64;
        (found, next)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn after_a_clock_is_set_back_moments_go_on() {
        let mut history = History::default();
        let at = |at| Moment { at, caches: Vec::new() };
        [10, 20, 30, 15, 25].into_iter().for_each(|number| history.push(at(number)));
        let (moments, next) = history.from(0, 10);
        assert_eq!((moments.iter().map(|moment| moment.at).collect::<Vec<_>>(), next), (vec![10, 15, 25], 3));
        // Who was told of three by then goes on with what came since.
        assert!(history.from(3, 10).0.is_empty());
    }

    #[test]
    fn a_rate_comes_with_what_it_weighs() {
        let rate = serde_json::json!({"rate": 0.1, "low": 0.0, "high": 0.2, "reads": 70.0, "doubtful": 0.05});
        let older = serde_json::json!({"rate": 0.1, "low": 0.0, "high": 0.2});
        let of = |rate: Value| {
            let report = serde_json::json!({"counts": {"hits": 60, "misses": 40}, "freshness": {"recent": rate}});
            Point::new("a".into(), &report).measured
        };
        assert_eq!(of(rate), Some([0.1, 0.0, 0.2, 70.0, 0.05]));
        assert_eq!(of(older), Some([0.1, 0.0, 0.2, 100.0, 0.0]));
        assert_eq!(of(Value::Null), None);
    }

    #[test]
    fn the_oldest_leave_and_nobody_is_told_twice() {
        let mut history = History::default();
        let at = |at| Moment { at, caches: Vec::new() };
        assert_eq!(history.from(0, 10).1, 0);
        (0..MOST as u64 + 5).for_each(|number| history.push(at(number)));
        let (first, next) = history.from(0, 60);
        assert_eq!((first.len(), first[0].at, next), (60, 5, 65));
        let (last, end) = history.from(MOST as u64, 60);
        assert_eq!((last.len(), last[4].at, end), (5, MOST as u64 + 4, MOST as u64 + 5));
        assert_eq!(history.from(end, 60).0.len(), 0);
    }
}
