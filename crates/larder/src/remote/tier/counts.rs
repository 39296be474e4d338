//! What happened, counted.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

macro_rules! counts {
    ($($(#[doc = $doc:literal])+ $field:ident,)+) => {
        /// What happened at the remote tier since it was made. Every answer, refusal and drop is in exactly one of these.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        #[non_exhaustive]
        pub struct Counts {
            $($(#[doc = $doc])+ pub $field: u64,)+
        }

        impl Counts {
            /// Names and values, for metrics.
            pub fn iter(&self) -> impl Iterator<Item = (&'static str, u64)> {
                [$((stringify!($field), self.$field)),+].into_iter()
            }
        }

        /// The same, counting.
        #[derive(Debug, Default)]
        pub(super) struct Counting {
            $(pub(super) $field: AtomicU64,)+
        }

        impl Counting {
            pub(super) fn read(&self) -> Counts {
                Counts { $($field: self.$field.load(Relaxed),)+ }
            }
        }
    };
}

counts! {
    /// Keys found and usable.
    hits,
    /// Keys of which nothing usable was kept, for any reason below or none.
    misses,
    /// Values whose time had passed.
    expired,
    /// Values that a mark of their tag or namespace outdated.
    outdated,
    /// Values that claim to be from the future.
    from_the_future,
    /// Another key's values.
    fingerprint,
    /// Values that are no envelopes.
    foreign,
    /// Envelopes that did not arrive whole.
    damaged,
    /// Values of another schema.
    schema,
    /// Envelopes of a newer format.
    format,
    /// Values above the limit.
    too_large,
    /// Calls answered.
    answered,
    /// Calls that failed.
    failed,
    /// Calls not answered within the deadline.
    timed_out,
    /// Calls that found no room among those in flight within the deadline.
    crowded_out,
    /// Calls the store refused for now, such as writes when it is out of memory.
    put_off,
    /// Calls refused at once because the breaker was open.
    refused,
    /// Second attempts.
    retries,
    /// Times the breaker opened.
    opened,
    /// Fills the store keeps.
    filled,
    /// Fills refused, for the key was invalidated after its load began.
    fenced,
    /// Fills the store did not let in: worth less than what it keeps, or too large.
    not_admitted,
    /// Fills dropped because the queue was full.
    crowded_fills,
    /// Fills dropped because the tier could not be reached.
    lost_fills,
    /// Fills that cannot be kept in an envelope.
    bad_fills,
    /// Invalidations done.
    invalidated,
    /// Invalidations that have to be done later.
    put_off_invalidations,
    /// Times the later ones were too many and became the clearing of whole namespaces.
    widened,
    /// Leases got.
    leases,
}

pub(super) fn count(counter: &AtomicU64) {
    add(counter, 1);
}

pub(super) fn add(counter: &AtomicU64, many: usize) {
    counter.fetch_add(many as u64, Relaxed);
}
