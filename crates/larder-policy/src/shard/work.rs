//! What has come due, as plain data.

use super::Evicted;
use crate::learned::Example;

/// What a tick hands out.
#[derive(Debug)]
pub struct Work<V> {
    /// Entries whose time has passed, and those a lookup let go of.
    pub expired: Vec<Evicted<V>>,
    /// What a learned policy learned from, once [`Shard::record_examples`](super::Shard::record_examples) was called.
    pub examples: Vec<Example>,
}

impl<V> Default for Work<V> {
    fn default() -> Self {
        Self { expired: Vec::new(), examples: Vec::new() }
    }
}
