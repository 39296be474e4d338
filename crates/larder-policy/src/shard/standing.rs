//! How a learned policy does.

use super::Shard;
use crate::eviction::Eviction;
use crate::learned::{Scores, Standing};

impl<V, E: Eviction + ?Sized> Shard<V, E> {
    /// How a learned policy stands beside the classical rule its guard runs: which of the two ranks, and what each misses.
    pub fn standing(&mut self) -> Option<Standing> {
        self.policy.eviction.standing()
    }

    /// Adds how good what a learned policy's model said lately was to what is known of others.
    pub fn score(&self, scores: &mut Scores) {
        self.policy.eviction.score(scores);
    }
}
