//! Maps over keys that are mixed once and never hashed again.

use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasherDefault, Hasher};

/// A map over [`larder_policy::KeyHash`] bits. It is for replays, where nobody chooses the keys to collide.
pub(crate) type KeyMap<V> = HashMap<u64, V, BuildHasherDefault<Mixed>>;

/// A set of [`larder_policy::KeyHash`] bits.
pub(crate) type KeySet = HashSet<u64, BuildHasherDefault<Mixed>>;

/// Passes a mixed key through.
#[derive(Default)]
pub(crate) struct Mixed(u64);

impl Hasher for Mixed {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write_u64(&mut self, key: u64) {
        self.0 = key;
    }

    /// Never called for `u64` keys; right all the same.
    fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(byte);
        }
    }
}
