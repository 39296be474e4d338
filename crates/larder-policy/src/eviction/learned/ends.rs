//! What ends: a use that comes after could not have hit.

use super::{Learned, Resident};
use crate::learned::guard::Seen;
use crate::{Access, Slot, Time};

impl Learned {
    /// A key's value is no more: no small cache would hit on it either, and whoever kept it kept it for nothing.
    pub(super) fn end(&mut self, hash: u32) {
        if let Some(Some(guard)) = &mut self.guard {
            guard.remove(hash);
        }
        self.labels.end(hash);
    }

    /// The resident leaves before its value ends.
    pub(super) fn cut_short(&mut self, slot: Slot, expiry: Time) {
        self.note_hits();
        let Resident { history, hash, .. } = self.residents[slot];
        if history.is_watched() {
            self.labels.end_at(hash, expiry);
        }
        if let Some(Some(guard)) = &mut self.guard {
            guard.renew(hash, expiry);
        }
    }

    /// The resident's value had ended when it was asked for: as if it had left then, and now arrived again.
    pub(super) fn outdated(&mut self, slot: Slot, access: &Access) {
        self.note_hits();
        (self.now, self.at) = (self.now.wrapping_add(1), access.at);
        let weight = if self.objects.is_some() { 1 } else { access.size.max(1) };
        let Resident { hash, gain, mut history } = self.residents[slot];
        self.end(hash);
        if let Some(Some(guard)) = &mut self.guard {
            // Its new end comes with the new value.
            guard.miss(Seen { hash, weight, gain: gain.times(weight), at: self.at }, None);
        }
        self.learn();
        let context = self.context.note(Some(self.now.wrapping_sub(history.last)), true);
        history.touch(self.now, &self.scale, context);
        history.store();
        history.set_watched(false);
        history.hits = 0;
        self.residents[slot].history = history;
    }
}
