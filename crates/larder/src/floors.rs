//! How new an answer about a key must be, for the stronger forms of consistency.

use std::sync::atomic::{AtomicU64, Ordering};

use larder_policy::{KeyHash, Time};

/// Keys share floors by their hash: a floor that another key raised makes a read ask further than it had to, never see too old
/// a value.
const FLOORS: usize = 1 << 16;

/// Moments before which an answer about a key is too old.
pub(crate) struct Floors(Box<[AtomicU64]>);

impl Floors {
    pub(crate) fn new(is_on: bool) -> Self {
        Self((0..if is_on { FLOORS } else { 0 }).map(|_| AtomicU64::new(0)).collect())
    }

    fn of(&self, hash: KeyHash) -> Option<&AtomicU64> {
        self.0.get((hash.0 >> 16) as usize % FLOORS)
    }

    /// Nothing the origin said before `at` is to be seen.
    pub(crate) fn raise(&self, hash: KeyHash, at: Time) {
        if let Some(floor) = self.of(hash) {
            floor.fetch_max(at.0, Ordering::Relaxed);
        }
    }

    /// Whether what the origin said at `as_of` may be seen.
    pub(crate) fn admits(&self, hash: KeyHash, as_of: Time) -> bool {
        self.of(hash).is_none_or(|floor| as_of.0 >= floor.load(Ordering::Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_floor_only_rises() {
        let floors = Floors::new(true);
        let key = KeyHash::mix(1);
        assert!(floors.admits(key, Time(0)));
        floors.raise(key, Time(10));
        floors.raise(key, Time(5));
        assert!(floors.admits(key, Time(10)) && !floors.admits(key, Time(9)));
        let off = Floors::new(false);
        off.raise(key, Time(10));
        assert!(off.admits(key, Time(0)));
    }
}
