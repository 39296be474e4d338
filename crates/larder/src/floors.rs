//! How new an answer about a key must be, for the stronger forms of consistency.

use std::collections::HashMap;

use larder_policy::{KeyHash, Time};

use crate::hash::Hashed;
use crate::sync::Mutex;

/// Parts, each behind a lock of its own.
const LANES: usize = 64;
/// Floors in a part's table, at least and at most: as many as fill one of 4,096 and of 16,384 places.
const LEAST: usize = 7 << 9;
const MOST: usize = 7 << 11;
/// Slices of a part's keys. A floor that is displaced counts for all of its slice: reads of them ask further than they had to, and
/// never see too old a value.
const SLICES: usize = 1024;

/// Moments before which an answer about a key is too old: of each key that had one of late, of all others by their slice.
pub(crate) struct Floors {
    lanes: Box<[Mutex<Lane>]>,
    /// Floors in a table.
    most: usize,
}

#[derive(Default)]
struct Lane {
    young: HashMap<KeyHash, Time, Hashed>,
    /// Those that filled the table before.
    old: HashMap<KeyHash, Time, Hashed>,
    /// What was displaced.
    slices: Box<[Time]>,
}

impl Floors {
    /// Of a cache with room for so many `entries`: as many floors as that, at least 229,376 and at most 917,504, and up to twice so many, of 20 to
    /// 40 bytes each.
    pub(crate) fn new(is_on: bool, entries: u64) -> Self {
        let most = usize::try_from(entries / LANES as u64).unwrap_or(MOST).clamp(LEAST, MOST);
        let lane = || Lane { slices: vec![Time(0); SLICES].into(), ..Lane::default() };
        Self { lanes: (0..if is_on { LANES } else { 0 }).map(|_| Mutex::new(lane())).collect(), most }
    }

    // The tables take the lowest bits and the highest.
    fn of(&self, hash: KeyHash) -> Option<&Mutex<Lane>> {
        self.lanes.get((hash.0 >> 16) as usize % LANES)
    }

    /// Nothing the origin said before `at` is to be seen.
    pub(crate) fn raise(&self, hash: KeyHash, at: Time) {
        if let Some(lane) = self.of(hash) {
            lane.lock().raise(hash, at, self.most);
        }
    }

    /// Whether what the origin said at `as_of` may be seen.
    pub(crate) fn admits(&self, hash: KeyHash, as_of: Time) -> bool {
        self.of(hash).is_none_or(|lane| as_of >= lane.lock().floor(hash))
    }

    /// Bytes held.
    pub(crate) fn bytes(&self) -> usize {
        self.lanes.iter().map(|lane| lane.lock().bytes()).sum()
    }
}

impl Lane {
    fn slice(hash: KeyHash) -> usize {
        (hash.0 >> 22) as usize % SLICES
    }

    /// A floor of the key's own is above whatever its slice had when it came, its own earlier ones included: what comes to the slice
    /// later is other keys'.
    fn floor(&self, hash: KeyHash) -> Time {
        let own = self.young.get(&hash).or_else(|| self.old.get(&hash));
        own.copied().unwrap_or_else(|| self.slices[Self::slice(hash)])
    }

    fn raise(&mut self, hash: KeyHash, at: Time, most: usize) {
        if at <= self.floor(hash) {
            return;
        }
        // Not by `insert`, which makes room for one more before it looks.
        if let Some(own) = self.young.get_mut(&hash) {
            *own = at;
            return;
        }
        if self.young.len() == most {
            for (hash, at) in self.old.drain() {
                let slice = &mut self.slices[Self::slice(hash)];
                *slice = at.max(*slice);
            }
            std::mem::swap(&mut self.young, &mut self.old);
        }
        self.young.insert(hash, at);
    }

    fn bytes(&self) -> usize {
        (self.young.capacity() + self.old.capacity()) * (size_of::<(KeyHash, Time)>() + 1) + size_of_val(&*self.slices)
    }
}

#[cfg(test)]
mod tests {
    use larder_policy::Rng;

    use super::*;

    #[test]
    fn a_floor_only_rises() {
        let floors = Floors::new(true, 0);
        let key = KeyHash::mix(1);
        assert!(floors.admits(key, Time(0)));
        floors.raise(key, Time(10));
        floors.raise(key, Time(5));
        assert!(floors.admits(key, Time(10)) && !floors.admits(key, Time(9)));
        let off = Floors::new(false, 0);
        off.raise(key, Time(10));
        assert!(off.admits(key, Time(0)) && off.bytes() == 0);
    }

    /// Some 200,000 keys have floors of their own, which are nothing to others.
    #[test]
    fn the_floors_of_many_keys_are_their_own() {
        let floors = Floors::new(true, 0);
        for key in 0..200_000 {
            floors.raise(KeyHash::mix(key), Time(10 + key));
        }
        assert!((0..200_000).all(|key| {
            let hash = KeyHash::mix(key);
            floors.admits(hash, Time(10 + key)) && !floors.admits(hash, Time(9 + key))
        }));
        assert!((200_000..300_000).all(|key| floors.admits(KeyHash::mix(key), Time(1))));
    }

    /// However many there are, none is forgotten, and memory is bounded.
    #[test]
    fn what_is_displaced_still_holds() {
        let floors = Floors::new(true, 0);
        let mut rng = Rng::new(1);
        let mut raised = vec![0; 1_000_000];
        for at in 1..2_000_000 {
            let key = rng.below(1_000_000) as usize;
            // Not in the order of their times, as landings come.
            let at = at + u64::from(rng.below(1000));
            floors.raise(KeyHash::mix(key as u64), Time(at));
            raised[key] = at.max(raised[key]);
        }
        let too_old = |&(key, &at): &(usize, &u64)| at > 0 && floors.admits(KeyHash::mix(key as u64), Time(at - 1));
        assert_eq!(raised.iter().enumerate().find(too_old), None);
        let bytes = floors.bytes();
        assert!(bytes < 10 << 20, "{bytes}");
        // What is newer than all that was displaced may be seen of every key.
        let new = |(key, &at): (usize, &u64)| floors.admits(KeyHash::mix(key as u64), Time(at.max(1_800_000)));
        assert!(raised.iter().enumerate().all(new));
    }
}
