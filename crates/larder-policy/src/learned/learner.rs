//! The online learner by itself, for those who judge models: what it says of an example, before and after it learns.

use super::scorecard::{Scorecard, loss};
use super::{Example, Features, HORIZONS, Prior};

/// The learner that runs in a cache, without the cache.
#[derive(Clone, Debug)]
pub struct Learner(Scorecard);

impl Learner {
    /// Starts from a prior, or cold, as LRU. `rate` is how fast it learns: the parameter of `learned`.
    pub fn new(prior: Option<&Prior>, rate: f32) -> Self {
        Self(Scorecard::new(prior, rate))
    }

    /// The logit of each span of [`HORIZONS`].
    pub fn logits(&self, features: &Features) -> [f32; HORIZONS.len()] {
        self.0.logits(features).to_array()
    }

    /// Learns what became of an entry. Returns the log-loss, in nats, of what it said before.
    pub fn learn(&mut self, example: &Example) -> f32 {
        loss(self.0.learn(&example.features, usize::from(example.span), example.used), example.used)
    }

    /// The weights, place by place, as [`Features::active`] numbers them.
    pub fn weights(&self) -> impl Iterator<Item = [f32; HORIZONS.len()]> {
        self.0.weights().map(|place| place.to_array())
    }
}
