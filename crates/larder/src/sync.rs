//! What threads share state by, for those parts that `tests/model.rs` checks with a model checker's in their place.

pub(crate) use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

pub(crate) use parking_lot::Mutex;
