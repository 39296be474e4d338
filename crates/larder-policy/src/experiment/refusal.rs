//! Why an experiment says nothing.

use std::fmt;

use super::arms::Arm;

/// Shards an arm needs. With Student's quantiles two equal arms of 8 are called different no more often than two of 32, be their shards as unequal
/// and their gains as skewed as they may; below that, unequal ones are.
pub(crate) const LEAST_SHARDS: usize = 8;
/// Turnovers of the treatment's capacity that are burn-in.
pub(crate) const BURN_IN: f64 = 2.0;
/// Slices, after merging.
pub(crate) const LEAST_SLICES: usize = 10;
/// Effective keys.
pub(crate) const LEAST_KEYS: f64 = 200.0;
/// The share of all traffic of a key that is not in the head.
pub(crate) const DOMINANT: f64 = 0.01;
/// The p-value of the arms' shares of traffic.
pub(crate) const MISMATCH: f64 = 1e-4;
/// Lag-1 autocorrelation after merging.
pub(crate) const CORRELATED: f64 = 0.3;
/// The control's gain over its own ghosts, in hit ratio.
pub(crate) const BIASED: f64 = 0.001;

/// What makes a conclusion unsound.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum Refusal {
    /// An arm has fewer than 8 shards.
    FewShards {
        /// Which.
        arm: Arm,
        /// How many it has.
        shards: usize,
    },
    /// The treatment has not turned its capacity over twice.
    BurningIn {
        /// How often it has.
        turnovers: f64,
    },
    /// Fewer than 10 slices are left after merging.
    FewSlices {
        /// How many are.
        slices: usize,
    },
    /// The sampled keys outside the head tell as little as fewer than 200 equally popular ones would.
    FewKeys {
        /// How many would tell as much.
        effective: f64,
    },
    /// A key has more than 1 % of all traffic and is not counted in the head.
    DominantKey {
        /// Its share.
        share: f64,
    },
    /// The arms' shares of traffic are not what they were before the treatment: requests get lost, or are counted twice.
    Mismatch {
        /// The probability of such a change by chance.
        p: f64,
    },
    /// Slices follow from one another even when merged: lag-1 autocorrelation above 0.3.
    Autocorrelated {
        /// How strongly.
        lag1: f64,
    },
    /// The control surely gains more than 0.1 points over, or loses them to, its own ghosts: they do not stand for it.
    Biased {
        /// The gain, in hit ratio.
        gain: f64,
    },
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::FewShards { arm, shards } => {
                let arm = if arm == Arm::Treatment { "treatment" } else { "control" };
                write!(f, "the {arm} arm has {shards} shards, and needs {LEAST_SHARDS}")
            }
            Self::BurningIn { turnovers } => {
                write!(
                    f,
                    "burn-in: the treatment has turned its capacity over {turnovers:.1} times, and needs {BURN_IN}"
                )
            }
            Self::FewSlices { slices } => write!(f, "{slices} independent slices, and {LEAST_SLICES} are needed"),
            Self::FewKeys { effective } => {
                write!(f, "the traffic tells as little as {effective:.0} equal keys, and {LEAST_KEYS} are needed")
            }
            Self::DominantKey { share } => write!(f, "one key has {:.1} % of the traffic", share * 100.0),
            Self::Mismatch { p } => write!(f, "the arms' shares of the traffic have changed (p = {p:.0e})"),
            Self::Autocorrelated { lag1 } => write!(f, "slices follow from one another (lag-1 {lag1:.2})"),
            Self::Biased { gain } => {
                write!(f, "the control's ghosts are off by {:+.2} points: they do not stand for it", gain * 100.0)
            }
        }
    }
}
