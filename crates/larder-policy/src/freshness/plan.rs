//! What goes in and what comes out: requests and evidence as values, decisions as data.

use std::num::NonZeroU32;
use std::time::Duration;

use super::audit::Audit;
use super::class::MOST_CLASSES;
use crate::{KeyHash, Time};

/// A key as the engine sees it, made by [`Engine::subject`](super::Engine::subject).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Subject {
    /// Who is asked for.
    pub key: KeyHash,
    /// What the engine knows it by.
    pub handle: Handle,
    /// Its size in bytes, for the memory rent.
    pub size: u32,
}

impl Subject {
    /// Keys that change alike.
    pub fn class(&self) -> ClassId {
        self.handle.class()
    }
}

/// What the engine knows a key by, in four bytes that whoever holds the value may keep: its class, and where what is known of the key was found.
/// It is looked for there first, which spares a search; what lies there is believed only if it is the key's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Handle(NonZeroU32);

/// Bits of a handle that hold the class; the others say where.
const CLASS_BITS: u32 = 12;
const _: () = assert!(MOST_CLASSES <= 1 << CLASS_BITS);
/// A place that is not known, or too far away to be told. (One further, and a handle could be zero.)
const NOWHERE: usize = (1 << (u32::BITS - CLASS_BITS)) - 2;

impl Handle {
    #[inline]
    pub(super) fn new(class: ClassId, place: usize) -> Self {
        let place = place.min(NOWHERE) as u32;
        Self(NonZeroU32::MIN.saturating_add(u32::from(class.0) | place << CLASS_BITS))
    }

    /// Of a key that was not looked for.
    pub(super) fn of_class(class: ClassId) -> Self {
        Self::new(class, NOWHERE)
    }

    #[inline]
    pub(super) fn class(self) -> ClassId {
        ClassId(((self.0.get() - 1) & ((1 << CLASS_BITS) - 1)) as u16)
    }

    /// Where the key's record may lie.
    #[inline]
    pub(super) fn place(self) -> usize {
        ((self.0.get() - 1) >> CLASS_BITS) as usize
    }
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
    /// The value's Last-Modified: when it last changed, by whatever clock. It changed again where the next is later.
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

/// For how long a loaded value may stay, always finite, and what its key is known by from now on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lifetimes {
    /// For whoever keeps the value: with it in the [`Subject`], the key is found at once.
    pub handle: Handle,
    /// For the store: how long it is worth its memory, and never beyond the hard maximum.
    pub physical: Duration,
    /// For the envelope: how long it is fresh enough, as foreseen now; a read decides anew.
    pub logical: Duration,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_handle_keeps_class_and_place() {
        for class in [0, 1, 77, MOST_CLASSES as u16 - 1].map(ClassId) {
            for place in [0, 1, 4097, NOWHERE - 1] {
                let handle = Handle::new(class, place);
                assert_eq!((handle.class(), handle.place()), (class, place));
            }
            for far in [NOWHERE, 1 << 24, usize::MAX] {
                let handle = Handle::new(class, far);
                assert_eq!((handle.class(), handle.place()), (class, NOWHERE), "{far}");
            }
        }
        assert_eq!(size_of::<Option<Handle>>(), 4);
    }
}
