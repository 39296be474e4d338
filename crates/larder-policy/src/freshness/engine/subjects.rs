//! Keys as the engine sees them.

use super::Engine;
use crate::KeyHash;
use crate::freshness::plan::Subject;

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

    /// The same of a key that it has heard of, which stays of the class it was of then.
    #[inline]
    pub fn subject_of(&self, key: KeyHash, size: u32) -> Option<Subject> {
        self.find(key).map(|slot| Subject { key, class: self.records[slot].class, size })
    }
}
