//! Keys as the engine sees them.

use super::Engine;
use crate::freshness::plan::{Decision, Subject};
use crate::{KeyHash, Time};

impl Engine {
    /// A key with its class: what stands before the first `:` or `/` of its text, its size in powers of two, and a tag of
    /// the user's.
    pub fn subject(&mut self, key: KeyHash, text: &str, size: u32, tag: u64) -> Subject {
        let prefixes = self.groups[0].freshness.prefixes.iter().enumerate();
        let fitting = prefixes.filter(|(_, (prefix, _))| text.starts_with(prefix.as_str()));
        let group = fitting.max_by_key(|(_, (prefix, _))| prefix.len()).map_or(0, |(at, _)| at as u16 + 1);
        let prefix = text.split([':', '/']).next().filter(|prefix| prefix.len() < text.len()).unwrap_or("");
        Subject { key, class: self.classes.named(group, prefix, size, tag), size }
    }

    /// The same without a tag; a key that it has heard of stays of the class it was of then, and is not asked for its text.
    #[inline]
    pub fn subject_by<T: AsRef<str>>(&mut self, key: KeyHash, size: u32, text: impl FnOnce() -> T) -> Subject {
        match self.find(key) {
            Some(slot) => Subject { key, class: self.records[slot].class, size },
            None => self.subject(key, text().as_ref(), size, 0),
        }
    }

    /// As [`read`](Self::read), of a key that it has heard of: in one search instead of two. `None` of others, of which it then knows no more.
    #[inline]
    pub fn read_known(&mut self, key: KeyHash, now: Time, is_cached: bool) -> Option<Decision> {
        self.find(key).map(|slot| self.read_at(slot, now, is_cached))
    }
}
