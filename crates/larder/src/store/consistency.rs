//! What an answer is measured against that does not come from memory.

use larder_policy::{KeyHash, Time};

use super::{SAME, Standing, Store};
use crate::key::Key;
use crate::stats::Counts;

impl<K, V> Store<K, V>
where
    K: Key + Clone,
    V: Clone,
{
    /// Whether `as_of` is later than what memory knows about the key, or is of the very value that memory doubts.
    pub(crate) fn is_newer(&self, hash: KeyHash, as_of: Time, is_it: impl Fn(&K) -> bool) -> bool {
        let segment = self.segment(hash);
        segment.kernel.peek(hash).filter(|entry| is_it(&entry.key)).is_none_or(|entry| {
            let is_doubtful = self.standing(entry) == Standing::Doubtful;
            entry.as_of < if is_doubtful { as_of.plus(SAME) } else { as_of }
        })
    }

    /// A write of this process to the key with this text was refused.
    pub(crate) fn refuse_text(&self, text: &str) {
        self.floors.raise(self.hasher.hash_text(text), self.clock.now());
        self.forget_text(text, |counts| counts.removals += 1);
    }

    /// Somebody says that the key with this text has changed; `count` says who. No floor: nothing that this process wrote or read is newer
    /// than what it was told of, and those of a whole fleet's writes would be too many to remember.
    pub(crate) fn forget_text(&self, text: &str, count: impl FnOnce(&mut Counts)) {
        let hash = self.hasher.hash_text(text);
        let mut segment = self.segment(hash);
        count(&mut segment.counts);
        let entry = segment.forget(hash, self.clock.now(), |own| own.text() == text);
        drop(segment);
        if let Some(entry) = &entry {
            self.tell_removed(entry);
        }
    }
}
