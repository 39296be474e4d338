//! The experts that foretell changes, and the hedge over them.
//!
//! An expert is a starting point of the regression and the freedom it has: alone, an expert may learn its one scale (the k
//! of Alex, the level of a class), the hedge all weights. A key's weights go by how many changes it has shown: without
//! any, its class and its age must speak; with many, its own rate and hours.

use std::f64::consts::LOG2_E;

use wide::f64x8;

use super::hours::Span;
use super::regression::{INPUTS, Inputs, Regression};
use super::rule::Hazard;

/// Who foretells changes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Expert {
    /// All of them, weighted by what they foretold.
    #[default]
    Hedge,
    /// The key's own posterior (the index rule).
    Index,
    /// The time since the last change: a lifetime of k × age (Alex; Cate 1992, Gwertzman and Seltzer 1996).
    Alex,
    /// The key's class: one lifetime a class.
    Class,
    /// All keys alike: one lifetime.
    Global,
}

/// ln of the seconds in an hour: inputs are in hours, so that they are near 0.
pub(super) const LOG_HOUR: f64 = 8.188_689_124_444_202;

/// Groups of keys by changes seen: 0, 1, 2–3, 4–7, 8 and more.
const STAGES: usize = 5;

/// What is known of one life of a value, from its load to some later moment.
#[derive(Clone, Copy, Debug)]
pub(super) struct Life {
    /// Seconds since the load, and when these were.
    pub(super) age: f64,
    pub(super) span: Span,
    /// α and β of the key.
    pub(super) alpha: f64,
    pub(super) beta: f64,
    /// Seconds from the last change, and from the key's first load, to the load.
    pub(super) since_change: f64,
    pub(super) since_birth: f64,
    /// Multipliers: the class's hours, the key's own, and the surge.
    pub(super) hours_of_class: f64,
    pub(super) hours_of_key: f64,
    pub(super) surge: f64,
    /// The share of changes that are noticed, none of which came within the life.
    pub(super) noticed: f64,
    /// The class's E[ln λ].
    pub(super) class_rate: f64,
    /// Reads of the key a second.
    pub(super) reads: f64,
}

/// Logarithms of what is known of a life: taken all at once, where one after the other they would be a third of what foretelling costs.
#[derive(Clone, Copy, Debug)]
pub(super) struct Logs {
    rate: f64,
    since_change: f64,
    since_birth: f64,
    age: f64,
    hours_of_class: f64,
    hours_of_key: f64,
    surge: f64,
    phase: f64,
}

impl Life {
    /// The hazard multiplier beside the key's own rate.
    pub(super) fn multiplier(&self) -> f64 {
        self.hours_of_class * self.hours_of_key.sqrt() * self.surge
    }

    #[inline]
    pub(super) fn logs(&self) -> Logs {
        let half = self.age / 2.0;
        let since_change = self.since_change + half;
        let logs = f64x8::new([
            // The mean of α·ln((β + age)/(β + noticed·age)), near enough: that no notice came speaks for a slow key.
            self.alpha / (self.beta + half * (1.0 + self.noticed)),
            since_change + 1.0,
            self.since_birth + half + 1.0,
            self.age + 1.0,
            self.hours_of_class,
            self.hours_of_key,
            self.surge,
            (since_change * self.alpha / self.beta).max(1e-6),
        ]);
        let [rate, since_change, since_birth, age, hours_of_class, hours_of_key, surge, phase] = logs.ln().to_array();
        Logs { rate, since_change, since_birth, age, hours_of_class, hours_of_key, surge, phase }
    }

    /// What the experts see of it; `by_change` and `by_phase` are what profiles say of the places where it lies in them.
    #[inline]
    pub(super) fn inputs(&self, logs: &Logs, by_change: f64, by_phase: f64) -> Inputs {
        [
            1.0,
            logs.rate + LOG_HOUR,
            logs.since_change - LOG_HOUR,
            logs.since_birth - LOG_HOUR,
            logs.age - LOG_HOUR,
            logs.hours_of_class,
            logs.hours_of_key,
            logs.surge,
            self.class_rate + LOG_HOUR,
            by_change,
            by_phase,
            self.reads.ln() + LOG_HOUR,
        ]
    }
}

impl Logs {
    /// Where the middle of the life lies in the profiles: log₂ of the seconds since the last change, and of that in units of the key's mean time
    /// between changes, shifted so that 16 is one such time.
    #[inline]
    pub(super) fn places(&self) -> (f64, f64) {
        (self.since_change * LOG2_E, self.phase * LOG2_E + 16.0)
    }
}

/// The experts with what they have learned.
#[derive(Clone, Debug)]
pub(super) struct Experts {
    expert: Expert,
    stages: [Regression; STAGES],
}

impl Experts {
    pub(super) fn new(expert: Expert) -> Self {
        // What is fixed has no variance. In the order of `Life::inputs`.
        let (weights, variances): (Inputs, Inputs) = match expert {
            Expert::Hedge => (
                [-LOG_HOUR, 0.8, 0.0, 0.0, 0.0, 1.0, 0.5, 0.7, 0.2, 1.0, 1.0, 0.0],
                [1.0, 0.1, 0.1, 0.05, 0.3, 0.1, 0.1, 0.05, 0.1, 0.02, 0.02, 0.03],
            ),
            Expert::Index => ([-LOG_HOUR, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0], only_bias()),
            Expert::Alex => ([-LOG_HOUR, 0.0, -1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0], only_bias()),
            Expert::Class => ([-LOG_HOUR, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0], only_bias()),
            Expert::Global => ([-LOG_HOUR, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0], only_bias()),
        };
        let regression = Regression::new(weights, variances);
        Self { expert, stages: std::array::from_fn(|_| regression.clone()) }
    }

    /// The changes expected within a life of `age` seconds.
    #[inline]
    pub(super) fn hazard(&self, seen: u16, inputs: &Inputs, age: f64) -> Hazard {
        Hazard { expected: self.stages[self.stage(seen)].expected(inputs, age), age }
    }

    /// What to compare with the threshold: the index, or for a plain lifetime the chance of being stale.
    #[inline]
    pub(super) fn index(&self, hazard: Hazard, rate: f64, grace: f64) -> f64 {
        match self.expert {
            Expert::Hedge | Expert::Index => hazard.index(rate, grace),
            Expert::Alex | Expert::Class | Expert::Global => hazard.stale(),
        }
    }

    /// Learns whether something changed within a life.
    pub(super) fn observe(&mut self, seen: u16, inputs: &Inputs, age: f64, changed: bool) {
        let stage = self.stage(seen);
        self.stages[stage].observe(inputs, age, changed);
    }

    /// Says from now on what `others` say, who learn from more.
    pub(super) fn follow(&mut self, others: &Self) {
        for (own, other) in self.stages.iter_mut().zip(&others.stages) {
            own.follow(other);
        }
    }

    /// A plain lifetime has one scale for all keys.
    #[inline]
    fn stage(&self, seen: u16) -> usize {
        match (self.expert, seen) {
            (Expert::Hedge, 0..=1) => seen as usize,
            (Expert::Hedge, 2..=3) => 2,
            (Expert::Hedge, 4..=7) => 3,
            (Expert::Hedge, _) => 4,
            _ => 0,
        }
    }
}

fn only_bias() -> Inputs {
    let mut variances = [0.0; INPUTS];
    variances[0] = 1.0;
    variances
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Rng;

    fn life(age: f64, since_change: f64, rate: f64) -> Life {
        Life {
            age,
            span: Span::new(0.0, age),
            alpha: 4.0,
            beta: 4.0 / rate,
            since_change,
            since_birth: since_change * 3.0,
            hours_of_class: 1.0,
            hours_of_key: 1.0,
            surge: 1.0,
            noticed: 0.0,
            class_rate: -LOG_HOUR,
            reads: 1.0 / 60.0,
        }
    }

    /// Mean logarithmic loss of an expert on lives whose true hazard is `truth`, after as many to learn from.
    fn loss(expert: Expert, truth: fn(f64, f64) -> f64) -> f64 {
        let mut experts = Experts::new(expert);
        let mut rng = Rng::new(17);
        let (mut sum, count) = (0.0, 20_000);
        for at in 0..2 * count {
            let since_change = 60.0 * (rng.unit() * 6.0).exp();
            let rate = (rng.unit() * 4.0 - 2.0).exp() / 3600.0;
            let age = 20.0 + rng.unit() * 300.0;
            let life = life(age, since_change, rate);
            let inputs = life.inputs(&life.logs(), 0.0, 0.0);
            let changed = rng.unit() < 1.0 - (-age * truth(since_change + age / 2.0, rate)).exp();
            if at >= count {
                let stale = experts.hazard(9, &inputs, age).stale().clamp(1e-9, 1.0 - 1e-9);
                sum -= if changed { stale.ln() } else { (1.0 - stale).ln() };
            }
            experts.observe(9, &inputs, age, changed);
        }
        sum / f64::from(count)
    }

    #[test]
    fn the_hedge_loses_little_to_whoever_is_right() {
        type Truth = fn(f64, f64) -> f64;
        let truths: [(Expert, Truth); 3] = [
            (Expert::Index, |_, rate| rate),
            (Expert::Alex, |since_change, _| 0.3 / (since_change + 1.0)),
            (Expert::Global, |_, _| 1.0 / 3600.0),
        ];
        for (right, truth) in truths {
            let best = loss(right, truth);
            let hedge = loss(Expert::Hedge, truth);
            assert!(hedge < best * 1.01, "{right:?}: {hedge} beside {best}");
            for other in [Expert::Index, Expert::Alex, Expert::Global].into_iter().filter(|&other| other != right) {
                assert!(hedge < loss(other, truth), "{right:?} {other:?}");
            }
        }
    }
}
