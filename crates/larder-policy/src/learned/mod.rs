//! Predicting reuse: what a key's past says about its next access, learned while the cache runs.
//!
//! The model is a survival model in discrete time (Cox 1972, in its logistic form), a scorecard over binned features: for
//! each of four spans ahead, one logit says how likely an entry that was not read before the span is read within it. It
//! starts from a [`Prior`] learned offline, and goes on learning from what the cache itself sees.
//!
//! * `history`: what is kept of a key's past, 28 bytes a resident;
//! * [`features`]: the past as sixteen small numbers, and the schema they follow;
//! * `scorecard`: the weights, the score and the online learner, which [`Learner`] hands out by itself;
//! * `labels`: examples that wait for their outcome;
//! * `memory`: the past of evicted keys, 8 bytes each;
//! * [`prior`]: weights learned offline, as bytes.

pub mod features;
pub(crate) mod history;
pub(crate) mod labels;
mod learner;
pub(crate) mod memory;
pub mod prior;
pub(crate) mod scorecard;

pub use features::{Example, Features};
pub use learner::Learner;
pub use prior::Prior;

/// How far ahead the model looks, in units of the time in which as many entries are evicted as fit: the i-th logit is
/// about the span from the i-1st (0 for the first) to the i-th.
pub const HORIZONS: [f32; 4] = [0.25, 0.5, 1.0, 2.0];

/// Weights of the four probabilities of reuse in an entry's worth: near reuse counts in all of them.
pub(crate) const MIX: [f32; 4] = [0.25, 0.25, 0.25, 0.1];

/// `e^x`, to a relative error of 2e-4, for `x` clamped to ±40 (Schraudolph 1999, with a cubic between powers of two): the same
/// bits on every machine, which the standard library's does not promise.
#[inline]
pub(crate) fn exp(x: f32) -> f32 {
    let x = x.clamp(-40.0, 40.0) * std::f32::consts::LOG2_E;
    let floor = x.floor();
    let part = x - floor;
    let power = f32::from_bits((((floor as i32) + 127) << 23) as u32);
    power * (1.0 + part * (0.695_976 + part * (0.224_494 + part * 0.079_53)))
}

/// The logistic function.
#[inline]
pub(crate) fn logistic(x: f32) -> f32 {
    1.0 / (1.0 + exp(-x))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn exp_is_close(x in -40.0f32..40.0) {
            let truth = f64::from(x).exp();
            prop_assert!((f64::from(exp(x)) / truth - 1.0).abs() < 2.5e-4, "{} {}", exp(x), truth);
        }

        #[test]
        fn logistic_is_a_probability(x in any::<f32>()) {
            let p = logistic(x);
            prop_assert!(x.is_nan() || (0.0..=1.0).contains(&p));
        }
    }
}
