//! Sizes by key, for logs in which most rows tell none: a value keeps the size it had.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use crate::{lines::Rows, parse};

/// What a row tells of its value's size, in bytes.
#[derive(Clone, Copy)]
pub(crate) enum Told {
    /// All of it.
    Whole(u64),
    /// That of a part.
    Part(u64),
    Nothing,
}

/// The last known size of each key.
#[derive(Default)]
pub(crate) struct Sizes {
    known: HashMap<u64, u32>,
    sum: u64,
}

impl Sizes {
    /// The size of a key's value by this row and those before it. Where none of the key's tells, it is a guess: the mean of the keys known so
    /// far, under which what all keys take is right on average; 1 where none is known.
    pub(crate) fn of(&mut self, key: u64, told: Told, rows: &mut Rows<'_>) -> u32 {
        let mean = self.sum.checked_div(self.known.len() as u64).map_or(1, parse::cap);
        let (size, known) = match (self.known.entry(key), told) {
            (Entry::Occupied(known), Told::Nothing) => return *known.get(),
            (Entry::Vacant(_), Told::Nothing) => {
                rows.guess();
                return mean;
            }
            (Entry::Occupied(known), Told::Whole(size)) => (parse::cap(size).max(1), known.into_mut()),
            (Entry::Occupied(known), Told::Part(size)) => (parse::cap(size).max(*known.get()), known.into_mut()),
            (Entry::Vacant(place), Told::Whole(size) | Told::Part(size)) => (parse::cap(size).max(1), place.insert(0)),
        };
        self.sum = self.sum - u64::from(*known) + u64::from(size);
        *known = size;
        size
    }

    /// Forgets a key whose value goes elsewhere, and tells its size.
    pub(crate) fn take(&mut self, key: u64) -> Told {
        let Some(size) = self.known.remove(&key) else { return Told::Nothing };
        self.sum -= u64::from(size);
        Told::Whole(u64::from(size))
    }
}
