//! Loads that a write or an invalidation has overtaken.

use larder_policy::KeyHash;

use crate::atomic::{AtomicU64, Ordering};

/// Keys share fences by their hash: one that another key raised lets a load under way go unkept, never the reverse.
const FENCES: usize = 1 << 12;

/// How many writes and invalidations there were when something began. A clock's ticks would be too coarse.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Ticket(pub(crate) u64);

/// Tickets that are void, by key.
pub(crate) struct Fences {
    next: AtomicU64,
    fences: Box<[AtomicU64]>,
}

impl Fences {
    pub(crate) fn new() -> Self {
        Self::of_many(FENCES)
    }

    pub(crate) fn of_many(fences: usize) -> Self {
        Self { next: AtomicU64::new(0), fences: (0..fences).map(|_| AtomicU64::new(0)).collect() }
    }

    fn of(&self, key: KeyHash) -> &AtomicU64 {
        &self.fences[(key.0 >> 16) as usize % self.fences.len()]
    }

    /// For what begins now.
    pub(crate) fn ticket(&self) -> Ticket {
        Ticket(self.next.load(Ordering::SeqCst))
    }

    /// What the origin said about a key up to now is void.
    pub(crate) fn raise(&self, key: KeyHash) {
        let after = self.next.fetch_add(1, Ordering::SeqCst) + 1;
        self.of(key).fetch_max(after, Ordering::SeqCst);
    }

    /// Whether what the origin said to somebody who began then may be kept.
    pub(crate) fn admit(&self, key: KeyHash, ticket: Ticket) -> bool {
        ticket.0 >= self.of(key).load(Ordering::SeqCst)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_began_before_is_void_and_what_begins_after_is_not() {
        let (fences, key, other) = (Fences::new(), KeyHash::mix(1), KeyHash::mix(2));
        let before = fences.ticket();
        assert!(fences.admit(key, before));
        fences.raise(key);
        let after = fences.ticket();
        assert!(!fences.admit(key, before) && fences.admit(key, after));
        assert!(fences.admit(other, before));
        fences.raise(other);
        assert!(fences.admit(key, after));
    }
}
