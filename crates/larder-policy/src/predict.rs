//! What is foreseen about a key.

use crate::Access;

/// When a key will be read again, as a predictor sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Reuse {
    /// The sequence number of this access, counted from 0 over lookups.
    pub at: u64,
    /// The sequence number of the next access to the key, or [`Reuse::NEVER`].
    pub next: u64,
}

impl Reuse {
    /// The value of `next` when the key is not accessed again.
    pub const NEVER: u64 = u64::MAX;
    /// Nothing is foreseen; policies that need a prediction are not run without a predictor, so none reads this.
    pub const UNKNOWN: Self = Self { at: 0, next: Self::NEVER };
}

/// Foresees reuse. Called once for each lookup, in order.
pub trait Predictor: Send {
    /// The prediction for the key just accessed.
    fn predict(&mut self, access: &Access) -> Reuse;
}
