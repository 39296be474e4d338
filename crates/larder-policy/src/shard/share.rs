//! What a learned policy found goes to other shards, and what theirs found comes here.

use std::sync::Arc;

use super::Shard;
use crate::eviction::Eviction;
use crate::learned::{Pool, Prior};

impl<V, E: Eviction + ?Sized> Shard<V, E> {
    /// Adds what the policy has learned to what others have, if it is one that learns and its guard has seen enough of it.
    pub fn pool(&mut self, pool: &mut Pool) {
        self.policy.eviction.pool(pool);
    }

    /// A prior that came while the shard runs: a policy that learns takes it over as far as it has not learned better.
    pub fn adopt(&mut self, prior: &Arc<Prior>) {
        self.policy.eviction.adopt(prior);
    }
}
