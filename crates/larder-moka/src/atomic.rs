//! Atomics of those parts that `tests/model.rs` checks with a model checker's in their place.

pub(crate) use std::sync::atomic::{AtomicU64, Ordering};
