//! Decisions as data: made by the kernel, carried out by whoever holds the stores.

use std::time::Duration;

use crate::Reuse;

/// What to do with a value that was just loaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Whether to keep it.
    pub verdict: Verdict,
    /// For how long; `None` is without limit.
    pub ttl: Option<Duration>,
    /// What is foreseen about its key.
    pub reuse: Reuse,
}

/// Whether to keep a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Store it, if admission agrees.
    Store,
    /// Pass it on without storing it.
    Refuse(Refusal),
}

/// Why a value was not stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// It alone weighs more than the capacity.
    TooHeavy,
    /// The admission policy refused it.
    NotAdmitted,
    /// The eviction policy holds every resident worth more.
    Outranked,
}
