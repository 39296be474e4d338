//! Was it any use? Counts how many warmed keys were hit before they left.

use std::sync::atomic::{AtomicU64, Ordering};

/// Places a hash may lie in, from where it belongs: four cache lines.
const REACH: usize = 32;
const EMPTY: u64 = 0;
/// Where a hash has been; a search goes on behind it.
const GONE: u64 = 1;

/// The keys that were warmed and not yet hit: their hashes, eight bytes each at half load, without locks. A hit on any other key
/// reads a line or two and writes nothing; once all are hit or gone, it reads one counter.
#[derive(Debug)]
pub struct Warmed {
    places: Box<[AtomicU64]>,
    waiting: AtomicU64,
    warmed: AtomicU64,
    hit: AtomicU64,
    left: AtomicU64,
    untracked: AtomicU64,
}

/// What became of the warmed keys.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct Usefulness {
    /// Keys that were warmed.
    pub warmed: u64,
    /// Those that were hit before they left.
    pub hit: u64,
    /// Those that left without a hit.
    pub left: u64,
    /// Those that are resident and not yet hit.
    pub waiting: u64,
    /// Those there was no place for: nothing is known of them.
    pub untracked: u64,
}

impl Usefulness {
    /// The share that was hit, of those whose fate is known; none before the first.
    pub fn share(&self) -> Option<f64> {
        let known = self.hit + self.left;
        (known > 0).then(|| self.hit as f64 / known as f64)
    }
}

impl Warmed {
    /// With room for so many keys at a time, 16 to 32 bytes each.
    pub fn new(keys: usize) -> Self {
        let places = keys.saturating_mul(2).max(REACH).next_power_of_two();
        Self {
            places: (0..places).map(|_| AtomicU64::new(EMPTY)).collect(),
            waiting: AtomicU64::new(0),
            warmed: AtomicU64::new(0),
            hit: AtomicU64::new(0),
            left: AtomicU64::new(0),
            untracked: AtomicU64::new(0),
        }
    }

    /// A key was warmed: call it when its value has been stored. One that waits already is not counted again. The hash must be a good one.
    pub fn mark(&self, hash: u64) {
        let hash = named(hash);
        if self.waits(hash) {
            return;
        }
        self.warmed.fetch_add(1, Ordering::Relaxed);
        // Before the place is taken, so that whoever finds it there finds it counted.
        self.waiting.fetch_add(1, Ordering::Relaxed);
        for place in self.reach(hash) {
            let taken = place.fetch_update(Ordering::AcqRel, Ordering::Acquire, |held| (held <= GONE).then_some(hash));
            if taken.is_ok() {
                return;
            }
        }
        self.waiting.fetch_sub(1, Ordering::Relaxed);
        self.untracked.fetch_add(1, Ordering::Relaxed);
    }

    /// A key was hit; says whether it was warmed and this is its first hit.
    #[inline]
    pub fn hit(&self, hash: u64) -> bool {
        let was_warmed = self.waiting.load(Ordering::Relaxed) > 0 && self.take(named(hash));
        if was_warmed {
            self.hit.fetch_add(1, Ordering::Relaxed);
        }
        was_warmed
    }

    /// A key left, evicted, expired or removed; says whether it was warmed and never hit.
    #[inline]
    pub fn left(&self, hash: u64) -> bool {
        let was_warmed = self.waiting.load(Ordering::Relaxed) > 0 && self.take(named(hash));
        if was_warmed {
            self.left.fetch_add(1, Ordering::Relaxed);
        }
        was_warmed
    }

    /// What became of the warmed keys so far.
    pub fn usefulness(&self) -> Usefulness {
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Usefulness {
            warmed: count(&self.warmed),
            hit: count(&self.hit),
            left: count(&self.left),
            waiting: count(&self.waiting),
            untracked: count(&self.untracked),
        }
    }

    fn waits(&self, hash: u64) -> bool {
        let held = self.reach(hash).map(|place| place.load(Ordering::Acquire));
        held.take_while(|held| *held != EMPTY).any(|held| held == hash)
    }

    fn take(&self, hash: u64) -> bool {
        for place in self.reach(hash) {
            match place.load(Ordering::Acquire) {
                EMPTY => return false,
                held if held == hash => {
                    // One of two that hit at once is the first.
                    let first = place.compare_exchange(hash, GONE, Ordering::AcqRel, Ordering::Relaxed).is_ok();
                    if first {
                        self.waiting.fetch_sub(1, Ordering::Relaxed);
                    }
                    return first;
                }
                _ => {}
            }
        }
        false
    }

    fn reach(&self, hash: u64) -> impl Iterator<Item = &AtomicU64> {
        let mask = self.places.len() - 1;
        // The high bits: shards are chosen by low ones.
        let start = (hash >> 32) as usize;
        (0..REACH).map(move |step| &self.places[(start + step) & mask])
    }
}

/// Two hashes stand for something else.
fn named(hash: u64) -> u64 {
    if hash <= GONE { hash + 2 } else { hash }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use larder_policy::{KeyHash, Rng};

    use super::*;

    #[test]
    fn it_counts_as_a_plain_set_would() {
        let warmed = Warmed::new(500);
        let mut plain = HashSet::new();
        let (mut hit, mut left, mut marked) = (0, 0, 0);
        let mut rng = Rng::new(2);
        for _ in 0..200_000 {
            let hash = KeyHash::mix(u64::from(rng.below(2000))).0;
            match rng.below(8) {
                0 if plain.len() < 500 && !plain.contains(&hash) => {
                    warmed.mark(hash);
                    plain.insert(hash);
                    marked += 1;
                }
                1 => {
                    let expected = plain.remove(&hash);
                    assert_eq!(warmed.left(hash), expected);
                    left += u64::from(expected);
                }
                2..4 => {
                    let expected = plain.remove(&hash);
                    assert_eq!(warmed.hit(hash), expected);
                    hit += u64::from(expected);
                }
                _ => {}
            }
        }
        let waiting = plain.len() as u64;
        assert_eq!(warmed.usefulness(), Usefulness { warmed: marked, hit, left, waiting, untracked: 0 });
        assert!(hit > 10_000 && left > 5000, "{hit} {left}");
    }

    #[test]
    fn what_does_not_fit_is_told_and_odd_hashes_are_borne() {
        let warmed = Warmed::new(10);
        for hash in 0..1000 {
            warmed.mark(hash << 32);
        }
        let usefulness = warmed.usefulness();
        assert_eq!(usefulness.waiting + usefulness.untracked, 1000);
        assert_eq!(usefulness.waiting, 32);
        let odd = Warmed::new(4);
        for hash in [0, 1, u64::MAX] {
            odd.mark(hash);
            odd.mark(hash);
            assert!(odd.hit(hash) && !odd.hit(hash) && !odd.left(hash));
        }
        assert_eq!(odd.usefulness().share(), Some(1.0));
        assert_eq!(Warmed::new(0).usefulness().share(), None);
    }

    #[test]
    fn of_threads_that_hit_at_once_one_is_first() {
        let warmed = Warmed::new(4000);
        let hashes: Vec<_> = (0..4000).map(|key| KeyHash::mix(key).0).collect();
        hashes.iter().for_each(|&hash| warmed.mark(hash));
        let first: usize = std::thread::scope(|scope| {
            let count = || hashes.iter().filter(|&&hash| warmed.hit(hash)).count();
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(count)).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).sum()
        });
        let Usefulness { hit, waiting, untracked, .. } = warmed.usefulness();
        assert_eq!((first as u64, hit + untracked, waiting), (hit, 4000, 0));
    }
}
