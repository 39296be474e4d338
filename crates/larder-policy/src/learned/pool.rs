//! What several learners have found, as one prior.
//!
//! Learners that began alike are averaged weight by weight, each counted as sure as it is; where all began from the same weights that is
//! about what one learner would have found who had seen it all (McMahan et al., "Communication-efficient learning of deep networks
//! from decentralized data", AISTATS 2017).

use super::features::WEIGHTS;
use super::scorecard::Scorecard;
use super::{HORIZONS, Prior};

const SPANS: usize = HORIZONS.len();
/// No weight of a prior is greater.
const MOST: f64 = 20.0;

/// Adds up learners.
#[derive(Clone, Debug, Default)]
pub struct Pool {
    /// Of each place, the weights times how sure they are, and that.
    sums: Vec<([f64; SPANS], f64)>,
    learners: usize,
    start: f32,
    stepped_back: usize,
}

impl Pool {
    /// Adds a learner.
    pub(crate) fn add(&mut self, card: &Scorecard) {
        self.learners += 1;
        self.start = self.start.max(card.start());
        self.sums.resize(WEIGHTS, Default::default());
        for ((sums, total), (weights, sureness)) in self.sums.iter_mut().zip(card.places()) {
            let sureness = f64::from(sureness);
            sums.iter_mut().zip(weights).for_each(|(sum, weight)| *sum += sureness * f64::from(weight));
            *total += sureness;
        }
    }

    /// A learner's guard lets LRU rank.
    pub(crate) fn stepped_back(&mut self) {
        self.stepped_back += 1;
    }

    /// How many learners there are.
    pub fn learners(&self) -> usize {
        self.learners
    }

    /// Whether no guard lets LRU rank in a learner's stead.
    pub fn is_well(&self) -> bool {
        self.stepped_back == 0
    }

    /// The mean as a prior, as sure as the ones they started from. `None` where there is no learner, where the guard of one lets LRU rank,
    /// or where a weight is not finite: such a model is not to be handed on.
    pub fn prior(&self, metadata: &str) -> Option<Prior> {
        if self.learners == 0 || !self.is_well() {
            return None;
        }
        let means = self.sums.iter().flat_map(|(sums, total)| sums.map(|sum| (sum / total).clamp(-MOST, MOST) as f32));
        Prior::new(&means.collect::<Vec<_>>(), self.start, metadata).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn card(weight: f32, sureness: f32) -> Scorecard {
        Scorecard::new(Some(&Prior::new(&[weight; WEIGHTS * SPANS], sureness, "").unwrap()), 0.02)
    }

    fn weight(prior: &Prior) -> f32 {
        prior.weights().next().unwrap()[0]
    }

    #[test]
    fn the_surer_counts_more() {
        let mut pool = Pool::default();
        assert!(pool.prior("").is_none());
        pool.add(&card(1.0, 30.0));
        assert!((weight(&pool.prior("").unwrap()) - 1.0).abs() < 1e-3);
        pool.add(&card(2.0, 90.0));
        let prior = pool.prior("{\"by\":\"two\"}").unwrap();
        assert!((weight(&prior) - 1.75).abs() < 1e-3 && pool.learners() == 2);
        assert_eq!((prior.metadata(), prior.sureness()), ("{\"by\":\"two\"}", 90.0));
    }
}
