//! Predicting reuse: what a key's past says about its next access, learned while the cache runs.
//!
//! The model is a survival model in discrete time (Cox 1972, in its logistic form), a scorecard over binned features: for
//! each of four spans ahead, one logit says how likely an entry that was not read before the span is read within it. It
//! starts from a [`Prior`] learned offline, and goes on learning from what the cache itself sees.
//!
//! * `history`: what is kept of a key's past, 18 bytes a resident;
//! * [`features`]: the past as sixteen small numbers, and the schema they follow;
//! * `scorecard`: the weights, the score and the online learner, which [`Learner`] hands out by itself;
//! * `labels`: examples that wait for their outcome;
//! * `guard`: a small LRU or GDSF beside the cache, to tell when the model fails;
//! * `memory`: the past of evicted keys, six bytes each;
//! * [`explanation`]: why a key stays or leaves;
//! * `prequential`: how good what the model says is, while it runs;
//! * `drift`: whether that is less than nothing;
//! * [`prior`]: weights learned offline, as bytes;
//! * `pool`: what several learners have found, as one prior.

pub(crate) mod drift;
pub mod explanation;
pub mod features;
pub(crate) mod guard;
pub(crate) mod history;
pub(crate) mod labels;
mod lanes;
mod learner;
pub(crate) mod memory;
mod pool;
pub(crate) mod prequential;
pub mod prior;
pub(crate) mod scorecard;

pub use explanation::Explanation;
pub use features::{Example, Features};
pub use guard::{Rule, Standing};
pub use learner::Learner;
pub use pool::Pool;
pub use prequential::Scores;
pub use prior::Prior;

/// How far ahead the model looks, in units of the time in which as many entries are evicted as fit: the i-th logit is
/// about the span from the i-1st (0 for the first) to the i-th.
pub const HORIZONS: [f32; 4] = [0.25, 0.5, 1.0, 2.0];

/// Weights of the four probabilities of reuse in an entry's worth: near reuse counts in all of them.
pub(crate) const MIX: [f32; 4] = [0.25, 0.25, 0.25, 0.1];
