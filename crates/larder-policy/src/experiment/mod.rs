//! Experiments inside a cache: whether a policy helps, with how much certainty, and the way back when it does not.
//!
//! A hit is a property of the key, not of the request, and the keys of an arm share one capacity; tests that treat requests as
//! independent call two equal arms different nearly always. What is valid here is the *ghost pair*: beside each shard runs a ghost,
//! a [`Shard<()>`](crate::Shard) of the control policy over a hashed sample of the shard's own keys, and what counts is the shard's real
//! hits minus its ghost's on the same accesses.
//!
//! * [`Probe`] stands beside one shard, under the shard's lock: counters, and the ghost for sampled keys.
//! * [`Experiment`] is told once a slice what the probes counted. It says which arm a shard belongs to, ramps the treatment up, rolls it
//!   back when a guardrail is hit, and reports the effect or the reason why there is nothing to report.
//! * [`WhatIf`] estimates the hit ratio at other sizes from the same kind of ghosts.
//!
//! Like all of the kernel it owns no clock: a slice ends when the host says so.

mod arms;
mod counts;
mod effect;
mod ghost;
mod guardrails;
mod head;
mod latencies;
mod lifetimes;
mod normal;
mod own;
mod permutation;
mod probe;
mod refusal;
mod rollout;
mod sequence;
mod trial;
mod watch;
mod what_if;

pub use arms::{Arm, Arms};
pub use counts::{Measures, ShardSlice, Trials, Weighed, Weighting};
pub use effect::{Effect, Interval};
pub use ghost::Ghost;
pub use guardrails::{Breach, Guardrails};
pub use latencies::Latencies;
pub use lifetimes::fresh_enough;
pub use own::OwnGain;
pub use permutation::Comparison;
pub use probe::{Probe, ghost_rate};
pub use refusal::Refusal;
pub use rollout::{Event, Experiment, Settings, State, Won};
pub use sequence::Settled;
pub use trial::{Report, StaleShare, Trial};
pub use what_if::{HourlyCost, Prices, SizeCurve, SizePoint, WhatIf};
