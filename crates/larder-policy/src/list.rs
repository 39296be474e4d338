//! Doubly linked lists of slots; several lists share one array of links.

use crate::slots::{NIL, Slot, SlotVec};

/// A slot's neighbours in whichever list it is on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Link {
    newer: u32,
    older: u32,
}

/// The link of a slot that is on no list yet; keeps the links dense where slots are not listed in their order.
pub(crate) const UNLINKED: Link = Link { newer: NIL, older: NIL };

/// The links of all lists of one policy.
pub(crate) type Links = SlotVec<Link>;

/// A queue from the newest (front) to the oldest (back).
#[derive(Clone, Copy, Debug)]
pub(crate) struct List {
    front: u32,
    back: u32,
    len: u32,
}

impl Default for List {
    fn default() -> Self {
        Self { front: NIL, back: NIL, len: 0 }
    }
}

impl List {
    #[inline]
    pub(crate) fn push_front(&mut self, links: &mut Links, slot: Slot) {
        links.put(slot, Link { newer: NIL, older: self.front });
        if self.front == NIL {
            self.back = slot.0;
        } else {
            links[Slot(self.front)].newer = slot.0;
        }
        self.front = slot.0;
        self.len += 1;
    }

    /// Takes out `slot`, which must be on this list.
    #[inline]
    pub(crate) fn remove(&mut self, links: &mut Links, slot: Slot) {
        let Link { newer, older } = links[slot];
        if newer == NIL {
            self.front = older;
        } else {
            links[Slot(newer)].older = older;
        }
        if older == NIL {
            self.back = newer;
        } else {
            links[Slot(older)].newer = newer;
        }
        self.len -= 1;
    }

    /// Moves `slot`, which must be on this list, to the front.
    #[inline]
    pub(crate) fn move_to_front(&mut self, links: &mut Links, slot: Slot) {
        if self.front == slot.0 {
            return;
        }
        // There is a newer one, and the list is not empty without `slot`.
        let Link { newer, older } = std::mem::replace(&mut links[slot], Link { newer: NIL, older: self.front });
        links[Slot(newer)].older = older;
        if older == NIL {
            self.back = newer;
        } else {
            links[Slot(older)].newer = newer;
        }
        links[Slot(self.front)].newer = slot.0;
        self.front = slot.0;
    }

    #[inline]
    pub(crate) fn front(&self) -> Option<Slot> {
        some(self.front)
    }

    #[inline]
    pub(crate) fn back(&self) -> Option<Slot> {
        some(self.back)
    }

    /// The next newer slot.
    #[inline]
    pub(crate) fn newer(links: &Links, slot: Slot) -> Option<Slot> {
        some(links[slot].newer)
    }

    #[inline]
    pub(crate) fn len(&self) -> usize {
        self.len as usize
    }

    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.front == NIL
    }

    /// From the newest to the oldest.
    pub(crate) fn iter<'a>(&self, links: &'a Links) -> impl Iterator<Item = Slot> + 'a {
        std::iter::successors(self.front(), move |&slot| some(links[slot].older))
    }

    /// Asserts that both directions agree and that the length is right.
    pub(crate) fn validate(&self, links: &Links) {
        let mut newer = NIL;
        let mut seen = 0;
        for slot in self.iter(links) {
            assert_eq!(links[slot].newer, newer, "{slot:?} does not point back");
            newer = slot.0;
            seen += 1;
            assert!(seen <= self.len, "a list of {} goes on", self.len);
        }
        assert_eq!(self.back, newer, "the list ends elsewhere");
        assert_eq!(self.len, seen, "the list counts wrong");
    }
}

#[inline]
fn some(slot: u32) -> Option<Slot> {
    if slot == NIL { None } else { Some(Slot(slot)) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn agrees_with_a_vector(steps in prop::collection::vec((0u32..12, 0u8..4), 1..200)) {
            let (mut links, mut list, mut model) = (Links::new(None), List::default(), Vec::new());
            // Links are dense: fill the slots once.
            for slot in 0..12 {
                list.push_front(&mut links, Slot(slot));
                model.insert(0, Slot(slot));
            }
            for (slot, step) in steps {
                let slot = Slot(slot);
                let at = model.iter().position(|&other| other == slot);
                match (step, at) {
                    (0, None) => { list.push_front(&mut links, slot); model.insert(0, slot); }
                    (2, Some(at)) => { list.remove(&mut links, slot); model.remove(at); }
                    (3, Some(at)) => { list.move_to_front(&mut links, slot); model.remove(at); model.insert(0, slot); }
                    _ => {}
                }
                list.validate(&links);
                prop_assert_eq!(list.iter(&links).collect::<Vec<_>>(), model.clone());
                prop_assert_eq!((list.front(), list.back()), (model.first().copied(), model.last().copied()));
                prop_assert_eq!(list.is_empty(), model.is_empty());
            }
        }
    }
}
