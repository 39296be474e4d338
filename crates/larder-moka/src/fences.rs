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
    /// As of each fence, of all of them.
    begun: AtomicU64,
    over: AtomicU64,
    fences: Box<[Fence]>,
}

struct Fence {
    /// Earlier tickets are void.
    raised: AtomicU64,
    /// Values on their way into moka so far, and those of them that are there, or out again.
    begun: AtomicU64,
    over: AtomicU64,
    /// Changes so far, and those of them that have taken out of moka what was there.
    changing: AtomicU64,
    changed: AtomicU64,
}

/// A change under way: what it makes void may be in moka still.
pub(crate) struct Change<'a>(&'a Fence);

impl Drop for Change<'_> {
    fn drop(&mut self) {
        self.0.changed.fetch_add(1, Ordering::SeqCst);
    }
}

/// What there was before moka was asked for what it has.
#[derive(Clone, Copy)]
pub(crate) struct Before {
    changed: u64,
    pub(crate) ticket: Ticket,
}

/// A value on its way into moka, until it has been taken out again if a change overtook it: so long it can be seen there though it is void.
pub(crate) struct Landing<'a>(&'a Fences, &'a Fence);

impl Drop for Landing<'_> {
    fn drop(&mut self) {
        self.1.over.fetch_add(1, Ordering::SeqCst);
        self.0.over.fetch_add(1, Ordering::SeqCst);
    }
}

/// A reader's look into moka, which he is about to take, and what had landed by then.
#[derive(Clone, Copy)]
pub(crate) enum Look {
    /// At all keys: it costs least, and is enough while nothing lands.
    Glance { over: u64 },
    /// At those of one fence.
    Close { over: u64 },
}

/// What a look has seen.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Seen {
    Good,
    /// A change that was over before the look has overtaken it, and it is about to be taken out again.
    Void,
    /// It takes a closer look to tell.
    Unsure,
}

impl Fences {
    pub(crate) fn new() -> Self {
        Self::of_many(FENCES)
    }

    pub(crate) fn of_many(fences: usize) -> Self {
        let zero = || AtomicU64::new(0);
        let fence = |_| Fence { raised: zero(), begun: zero(), over: zero(), changing: zero(), changed: zero() };
        Self { next: zero(), begun: zero(), over: zero(), fences: (0..fences).map(fence).collect() }
    }

    fn of(&self, key: KeyHash) -> &Fence {
        &self.fences[(key.0 >> 16) as usize % self.fences.len()]
    }

    /// For what begins now.
    pub(crate) fn ticket(&self) -> Ticket {
        Ticket(self.next.load(Ordering::SeqCst))
    }

    /// What the origin said about a key up to now is void.
    pub(crate) fn raise(&self, key: KeyHash) {
        let after = self.next.fetch_add(1, Ordering::SeqCst) + 1;
        self.of(key).raised.fetch_max(after, Ordering::SeqCst);
    }

    /// Whether what the origin said to somebody who began then may be kept.
    pub(crate) fn admit(&self, key: KeyHash, ticket: Ticket) -> bool {
        ticket.0 >= self.of(key).raised.load(Ordering::SeqCst)
    }

    /// A change begins, which is to raise the fence, and to be held until it has done its part in moka.
    pub(crate) fn change(&self, key: KeyHash) -> Change<'_> {
        let fence = self.of(key);
        fence.changing.fetch_add(1, Ordering::SeqCst);
        Change(fence)
    }

    /// Moka is about to be asked for what it has.
    pub(crate) fn before(&self, key: KeyHash) -> Before {
        let changed = self.of(key).changed.load(Ordering::SeqCst);
        Before { changed, ticket: self.ticket() }
    }

    /// Whether what moka then had may be put back there.
    pub(crate) fn stands(&self, key: KeyHash, before: Before) -> bool {
        self.of(key).changing.load(Ordering::SeqCst) == before.changed && self.admit(key, before.ticket)
    }

    /// A value is about to be put into moka, if it may be.
    pub(crate) fn landing(&self, key: KeyHash) -> Landing<'_> {
        let fence = self.of(key);
        self.begun.fetch_add(1, Ordering::SeqCst);
        fence.begun.fetch_add(1, Ordering::SeqCst);
        Landing(self, fence)
    }

    /// A reader is about to look into moka.
    #[inline]
    pub(crate) fn glance(&self) -> Look {
        Look::Glance { over: self.over.load(Ordering::SeqCst) }
    }

    /// A reader is about to look again, as he was unsure.
    pub(crate) fn look(&self, key: KeyHash) -> Look {
        Look::Close { over: self.of(key).over.load(Ordering::SeqCst) }
    }

    /// What he saw there. What had landed before he looked closely is good: keys share fences.
    #[inline]
    pub(crate) fn judge(&self, look: Look, key: KeyHash, ticket: Ticket) -> Seen {
        match look {
            Look::Glance { over } if self.begun.load(Ordering::SeqCst) == over => Seen::Good,
            Look::Close { over } if self.of(key).begun.load(Ordering::SeqCst) == over => Seen::Good,
            _ if self.admit(key, ticket) => Seen::Good,
            Look::Glance { .. } => Seen::Unsure,
            Look::Close { .. } => Seen::Void,
        }
    }
}
