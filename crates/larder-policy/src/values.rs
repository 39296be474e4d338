//! The residents' values, apart from the slots: a ghost has a slot and no value. Where there are ghosts, values are
//! packed, so that a ghost takes no room here; where there are none, a value lies at its slot, and a hit need not look for it.

use crate::slots::{NIL, Slot, push_within};

/// Where a value lies; what has no size lies nowhere and takes no memory.
#[derive(Clone, Debug)]
pub(crate) struct Values<V> {
    items: Vec<Option<V>>,
    /// Whether each lies at its slot.
    by_slot: bool,
    /// Places to be used again, where they are not the slots'.
    free: Vec<u32>,
    /// Values without size, which are all alike: a vector of them only counts.
    alike: Vec<V>,
    limit: usize,
}

impl<V> Values<V> {
    const ALIKE: bool = size_of::<V>() == 0;

    /// `by_slot` serves only where there are hardly any ghosts: each would take the room of a value.
    pub(crate) fn new(limit: Option<usize>, by_slot: bool) -> Self {
        let limit = limit.unwrap_or(usize::MAX);
        Self { items: Vec::new(), by_slot: by_slot && !Self::ALIKE, free: Vec::new(), alike: Vec::new(), limit }
    }

    /// Whether each value's place is its slot.
    #[inline(always)]
    pub(crate) fn is_by_slot(&self) -> bool {
        self.by_slot
    }

    /// Stores the value of `slot`; returns its place.
    #[inline(always)]
    pub(crate) fn put(&mut self, slot: Slot, value: V) -> u32 {
        if Self::ALIKE {
            self.alike.push(value);
            return 0;
        }
        let free = if self.by_slot { Some(slot.0) } else { self.free.pop() };
        if let Some(place) = free
            && let Some(item) = self.items.get_mut(place as usize)
        {
            *item = Some(value);
            return place;
        }
        // By slot, slots come in their order the first time.
        push_within(&mut self.items, Some(value), self.limit);
        self.items.len() as u32 - 1
    }

    /// The value at `place`; none at `NIL`.
    #[inline(always)]
    pub(crate) fn at(&self, place: u32) -> Option<&V> {
        if Self::ALIKE {
            return self.alike.last().filter(|_| place != NIL);
        }
        self.items.get(place as usize)?.as_ref()
    }

    /// As [`at`](Self::at), to change it.
    pub(crate) fn at_mut(&mut self, place: u32) -> Option<&mut V> {
        if Self::ALIKE {
            return self.alike.last_mut().filter(|_| place != NIL);
        }
        self.items.get_mut(place as usize)?.as_mut()
    }

    /// Puts `value` in the place of another, which it returns.
    pub(crate) fn replace(&mut self, place: u32, value: V) -> Option<V> {
        if Self::ALIKE { Some(value) } else { self.items.get_mut(place as usize)?.replace(value) }
    }

    /// Takes out the value at `place`, if there is one.
    #[inline(always)]
    pub(crate) fn take(&mut self, place: u32) -> Option<V> {
        if Self::ALIKE {
            return if place == NIL { None } else { self.alike.pop() };
        }
        let value = self.items.get_mut(place as usize)?.take()?;
        if !self.by_slot {
            self.free.push(place);
        }
        Some(value)
    }

    pub(crate) fn set_limit(&mut self, limit: Option<usize>) {
        self.limit = limit.unwrap_or(usize::MAX);
    }

    /// Bytes allocated beside the values themselves.
    pub(crate) fn bytes_beside(&self) -> usize {
        let spare = size_of::<Option<V>>() - size_of::<V>();
        if Self::ALIKE { 0 } else { self.items.capacity() * spare + self.free.capacity() * size_of::<u32>() }
    }

    /// How many there are, counted anew.
    ///
    /// # Panics
    /// When a place is neither free nor held.
    pub(crate) fn count(&self) -> usize {
        let held = self.items.iter().flatten().count();
        assert!(self.by_slot || held + self.free.len() == self.items.len(), "values leak");
        held + self.alike.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_used_again() {
        let mut values = Values::new(None, false);
        let [a, b] = [(7, 'a'), (9, 'b')].map(|(slot, value)| values.put(Slot(slot), value));
        assert_eq!((values.at(a), values.at(b), values.count()), (Some(&'a'), Some(&'b'), 2));
        assert_eq!((values.replace(b, 'B'), values.take(a), values.take(a)), (Some('b'), Some('a'), None));
        assert_eq!((values.put(Slot(9), 'c'), values.at(b), values.count()), (a, Some(&'B'), 2));
        *values.at_mut(b).unwrap() = 'd';
        assert_eq!(values.at_mut(NIL), None);
        assert_eq!(values.at(b), Some(&'d'));
    }

    #[test]
    fn where_there_are_no_ghosts_a_value_lies_at_its_slot() {
        let mut values = Values::new(Some(2), true);
        let places = [0, 1].map(|slot| values.put(Slot(slot), slot));
        assert_eq!((places, values.take(0), values.at(0), values.count()), ([0, 1], Some(0), None, 1));
        assert_eq!((values.put(Slot(0), 7), values.at(0), values.count()), (0, Some(&7), 2));
    }

    #[test]
    fn what_has_no_size_takes_no_memory() {
        let mut values = Values::new(None, true);
        let places = [(), ()].map(|value| values.put(Slot(3), value));
        assert_eq!((values.count(), values.bytes_beside()), (2, 0));
        assert_eq!(places.map(|place| values.take(place)), [Some(()); 2]);
        assert_eq!((values.take(0), values.at(0)), (None, None));
        values.put(Slot(0), ());
        assert_eq!((values.take(NIL), values.at(NIL), values.count()), (None, None, 1));
    }
}
