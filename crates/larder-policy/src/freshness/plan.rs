//! What goes in and what comes out: requests and evidence as values, decisions as data.

use std::time::Duration;

use super::audit::Audit;
use crate::{KeyHash, Time};

/// A key as the engine sees it, made by [`Engine::subject`](super::Engine::subject).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Subject {
    /// Who is asked for.
    pub key: KeyHash,
    /// Keys that change alike.
    pub class: ClassId,
    /// Its size in bytes, for the memory rent.
    pub size: u32,
}

/// The number of a class.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ClassId(pub(super) u16);

/// What to do with a read.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Decision {
    /// Serve what is cached.
    Serve,
    /// Serve what is cached, and load anew in the background.
    ServeAndRefresh,
    /// Serve what is cached, load anew, and say with [`Loaded::audit`] what the origin said.
    Audit(Audit),
    /// Load before serving.
    Load,
}

impl Decision {
    /// Whether the cached value is served.
    pub fn is_served(self) -> bool {
        self != Self::Load
    }
}

/// What a load found, beside the value that was cached before.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Evidence {
    /// Nothing to compare with.
    Unknown,
    /// The same value, version or ETag (a 304).
    Unchanged,
    /// Another value.
    Changed,
    /// The value's version or Last-Modified: when it last changed.
    ChangedAt(Time),
    /// A digest of the value, or its version; the engine compares.
    Digest(u64),
    /// Both: the digest or version says whether the value changed, the time says when it last did.
    DigestAt(u64, Time),
}

/// A finished load.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Loaded {
    /// When it began: a notice that came later makes the loaded value doubtful.
    pub began: Time,
    /// What it found.
    pub evidence: Evidence,
    /// The audit it was for.
    pub audit: Option<Audit>,
    /// For how long the origin promises to announce a change.
    pub lease: Option<Duration>,
}

impl Loaded {
    /// A load that began at `began` and found `evidence`.
    pub fn new(began: Time, evidence: Evidence) -> Self {
        Self { began, evidence, audit: None, lease: None }
    }

    /// It was for `audit`.
    #[must_use]
    pub fn audit(self, audit: Audit) -> Self {
        Self { audit: Some(audit), ..self }
    }

    /// The origin will announce any change within `lease`.
    #[must_use]
    pub fn lease(self, lease: Duration) -> Self {
        Self { lease: Some(lease), ..self }
    }
}

/// For how long a loaded value may stay. Always finite.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lifetimes {
    /// For the store: how long it is worth its memory, and never beyond the hard maximum.
    pub physical: Duration,
    /// For the envelope: how long it is fresh enough, as foreseen now; a read decides anew.
    pub logical: Duration,
}
