//! What hits tell: rings of key hashes, each for a few threads, that overwrite what nobody came to take in time.

use std::sync::atomic::AtomicUsize;

use larder_policy::KeyHash;

use crate::atomic::{AtomicU64, Ordering};

/// Hits a ring remembers.
const USUAL: usize = 512;
/// More threads share rings, which costs them time and nothing else.
const MOST_RINGS: usize = 64;

/// On cache lines of its own (two, for the prefetcher's sake), so that no thread slows its neighbours.
#[repr(align(128))]
struct Ring {
    head: AtomicU64,
    /// Written by whoever takes; 0 is nothing.
    slots: Box<[AtomicU64]>,
    taken: AtomicU64,
}

/// One ring for each of as many threads as run at once, or nearly.
pub(crate) struct Rings<const SLOTS: usize = USUAL> {
    rings: Box<[Ring]>,
    lost: AtomicU64,
}

/// A hit's place in its ring.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place(pub(crate) u64);

impl Place {
    /// Now and then, on the way, something is due.
    #[inline]
    pub(crate) fn is_round(self) -> bool {
        self.0 % (USUAL as u64 / 2) == USUAL as u64 / 2 - 1
    }
}

static THREADS: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    static THREAD: usize = THREADS.fetch_add(1, Ordering::Relaxed);
}

impl Rings {
    pub(crate) fn new() -> Self {
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        Self::of_many((2 * threads).next_power_of_two().min(MOST_RINGS))
    }
}

impl<const SLOTS: usize> Rings<SLOTS> {
    /// A power of two of them.
    pub(crate) fn of_many(count: usize) -> Self {
        let ring = || Ring {
            head: AtomicU64::new(0),
            slots: (0..SLOTS).map(|_| AtomicU64::new(0)).collect(),
            taken: AtomicU64::new(0),
        };
        Self { rings: (0..count).map(|_| ring()).collect(), lost: AtomicU64::new(0) }
    }

    /// A hit.
    #[inline]
    pub(crate) fn record(&self, key: KeyHash) -> Place {
        let ring = &self.rings[THREAD.with(|thread| *thread) & (self.rings.len() - 1)];
        let at = ring.head.fetch_add(1, Ordering::Relaxed);
        ring.slots[at as usize % SLOTS].store(key.0, Ordering::Relaxed);
        Place(at)
    }

    /// Hands out what was recorded since the last time, as far as it is still there. To be called by one at a time.
    pub(crate) fn take(&self, mut each: impl FnMut(KeyHash)) {
        for ring in &self.rings {
            let (from, to) = (ring.taken.load(Ordering::Relaxed), ring.head.load(Ordering::Relaxed));
            let first = from.max(to.saturating_sub(SLOTS as u64));
            let mut lost = first - from;
            for at in first..to {
                match ring.slots[at as usize % SLOTS].swap(0, Ordering::Relaxed) {
                    // Whoever is about to write it comes too late.
                    0 => lost += 1,
                    key => each(KeyHash(key)),
                }
            }
            ring.taken.store(to, Ordering::Relaxed);
            if lost > 0 {
                self.lost.fetch_add(lost, Ordering::Relaxed);
            }
        }
    }

    /// Hits so far.
    pub(crate) fn recorded(&self) -> u64 {
        self.rings.iter().map(|ring| ring.head.load(Ordering::Relaxed)).sum()
    }

    /// Bytes held.
    pub(crate) fn bytes(&self) -> usize {
        self.rings.len() * (size_of::<Ring>() + SLOTS * size_of::<AtomicU64>())
    }

    /// Hits that nobody will hear of.
    pub(crate) fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(rings: &Rings, many: u64) {
        for key in 1..=many {
            rings.record(KeyHash(key));
        }
    }

    #[test]
    fn what_is_not_overwritten_is_handed_out_once_and_in_order() {
        let rings = Rings::new();
        record(&rings, 100);
        let mut taken = Vec::new();
        rings.take(|key| taken.push(key.0));
        rings.take(|key| taken.push(key.0));
        assert_eq!(taken, (1..=100).collect::<Vec<_>>());
        assert_eq!((rings.recorded(), rings.lost()), (100, 0));
    }

    #[test]
    fn every_loss_is_counted() {
        let rings = Rings::new();
        let many = 3 * USUAL as u64 + 7;
        record(&rings, many);
        let mut taken = Vec::new();
        rings.take(|key| taken.push(key.0));
        assert_eq!(taken, (many - USUAL as u64 + 1..=many).collect::<Vec<_>>());
        assert_eq!(rings.lost() + taken.len() as u64, rings.recorded());
    }

    #[test]
    fn threads_lose_nothing_that_is_not_counted() {
        let rings = Rings::new();
        let mut taken = 0;
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| record(&rings, 20_000));
            }
            for _ in 0..200 {
                rings.take(|_| taken += 1);
            }
        });
        rings.take(|_| taken += 1);
        assert_eq!(rings.recorded(), 80_000);
        // A hit counted as lost may still turn up, if it was only late.
        assert!(taken + rings.lost() >= 80_000 && taken <= 80_000);
    }
}
