//! What must not get worse while a policy is on trial.

use std::fmt;

use super::arms::Arm;
use super::permutation::LEAST_P;
use super::trial::{Measured, Tally, Trial};

/// Slices before the first look: fewer do not tell how much slices differ.
pub(crate) const LEAST_SLICES: u64 = 8;
/// A level of which the first look's part is as small as the smallest p-value: nothing would ever be below.
pub(crate) const LEAST_ALPHA: f64 = 2.0 * LEAST_P;

/// How much more of the hit ratio may be lost, and by how much more loads may rise, while a treatment that has only just begun settles.
const SETTLING: (f64, f64) = (0.05, 0.2);

/// How much worse a treatment may be. Until it has turned its capacity over twice it may lose 5 points more of the hit ratio, and cause a fifth more loads:
/// it has yet to learn what the policy before it knew. Each is tested one-sided.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Guardrails {
    /// The hit ratio may lose this much (0.005: half a percentage point).
    pub hit_ratio: f64,
    /// Loads of the origin may rise by this share.
    pub origin_loads: f64,
    /// The 99th percentile of the latency may rise by this share.
    pub p99: f64,
    /// The share of answers that may be stale, where there is an objective.
    pub stale: Option<f64>,
    /// The probability that a guardrail is hit although the treatment is no better than its margin, from 0.0002 to 0.5: in each watch anew. Watches
    /// begin with every change of sides; one lasts for a [`horizon`](super::Settings::horizon), and one, which finds smaller harm that goes on, for 64.
    ///
    /// So false alarms have a rate: of each guardrail about one in horizon/alpha slices (10 000 by default) of a treatment just on its margin, and
    /// far fewer of one well within. A long life will see some; each costs a cool-down. Were the level spent once over
    /// a whole life, it would fall with time, and the guardrails would fall asleep: with α/(k(k+1)) in the k-th watch, no rise of loads or latencies,
    /// however large, would be found from the seventh on, as no p-value is below 0.0001. Who watches for a change without an end bounds the rate for
    /// that reason (Lorden, "Procedures for reacting to a change in distribution", 1971).
    pub alpha: f64,
}

impl Default for Guardrails {
    fn default() -> Self {
        Self { hit_ratio: 0.005, origin_loads: 0.02, p99: 0.05, stale: None, alpha: 0.01 }
    }
}

/// Why a treatment was rolled back.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum Breach {
    /// The hit ratio is surely lower than the guardrail allows.
    HitRatio {
        /// What the treated shards gain is at most this.
        at_most: f64,
    },
    /// So are loads of the origin higher.
    OriginLoads {
        /// The p-value.
        p: f64,
    },
    /// So is the latency.
    Latency {
        /// The p-value.
        p: f64,
    },
    /// So is the share of stale answers.
    Stale {
        /// The share is at least this.
        at_least: f64,
    },
    /// The trial concluded that the treatment is worse, if within the guardrails.
    Worse {
        /// The effect on the hit ratio.
        effect: f64,
    },
    /// Somebody asked for it.
    Asked,
}

impl fmt::Display for Breach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::HitRatio { at_most } => write!(f, "the hit ratio fell by at least {:.2} points", -at_most * 100.0),
            Self::OriginLoads { p } => write!(f, "loads of the origin rose (p = {p:.0e})"),
            Self::Latency { p } => write!(f, "the latency rose (p = {p:.0e})"),
            Self::Stale { at_least } => write!(f, "at least {:.2} % of the answers were stale", at_least * 100.0),
            Self::Worse { effect } => write!(f, "the hit ratio was {:.2} points lower", -effect * 100.0),
            Self::Asked => f.write_str("somebody asked for it"),
        }
    }
}

impl Guardrails {
    /// For a treatment that has only just begun.
    pub(crate) fn settling(self) -> Self {
        let (hit_ratio, origin_loads) = SETTLING;
        Self { hit_ratio: self.hit_ratio + hit_ratio, origin_loads: self.origin_loads + origin_loads, ..self }
    }

    /// The guardrail that was hit, if any. To be asked after each slice: the hit ratio's interval holds at all times, and is narrowest after twice
    /// `first` slices; the others are looked at after `first`, a power of two from 8 on, twice, four times as many slices. What is fresher than a
    /// control that is too stale may cost loads; where this watch does not say yet whether that is so, what was `excused` before it counts.
    pub(crate) fn breach(&self, trial: &Trial, first: u64, before: Option<&Trial>, excused: bool) -> Option<Breach> {
        if trial.counted() < first {
            return None;
        }
        let at_most = trial.own_gain_at_most(self.alpha, first.saturating_mul(2));
        if at_most < -self.hit_ratio {
            return Some(Breach::HitRatio { at_most });
        }
        if !trial.counted().is_power_of_two() {
            return None;
        }
        let alpha = spent(self.alpha, first, trial.counted());
        let surely = |margin, measured: Measured| {
            trial.compare_by(before, margin, measured).map(|comparison| comparison.p_more).filter(|&p| p < alpha)
        };
        let is_excused = self.excuses(trial, first).unwrap_or(excused);
        if !is_excused && let Some(p) = surely(self.origin_loads, Tally::loads) {
            return Some(Breach::OriginLoads { p });
        }
        if let Some(p) = surely(self.p99, Tally::p99) {
            return Some(Breach::Latency { p });
        }
        let at_least = trial.stale_share(Arm::Treatment, alpha)?.interval.low;
        self.stale.filter(|&most| at_least > most).map(|_| Breach::Stale { at_least })
    }

    /// Whether the control is surely staler than may be, or surely not; `None` where audits do not tell.
    pub(crate) fn excuses(&self, trial: &Trial, first: u64) -> Option<bool> {
        let most = self.stale?;
        let control = trial.stale_share(Arm::Control, spent(self.alpha, first, trial.counted()))?.interval;
        if control.low > most {
            return Some(true);
        }
        (control.high < most).then_some(false)
    }
}

/// What a look after so many slices, the first of them, twice, four times as many, may spend of a level: α/(k(k+1)) at the k-th, which sums up to α.
pub(crate) fn spent(alpha: f64, first: u64, slices: u64) -> f64 {
    let look = f64::from((slices.max(first).ilog2() - first.ilog2()) + 1);
    alpha / (look * (look + 1.0))
}

#[cfg(test)]
mod tests;
