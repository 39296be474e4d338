//! Keyed hashing: whoever sends the keys cannot choose their hashes.

use std::hash::{BuildHasherDefault, Hasher};

use larder_policy::KeyHash;

use crate::decisions::Label;
use crate::key::Key;

/// Hashes keys with a secret of the process; AES-based and resistant to flooding as ahash describes it.
#[derive(Clone, Debug)]
pub(crate) struct KeyHasher {
    secret: ahash::RandomState,
    /// For labels, which are shown: whoever knew the hashes themselves might flood a table.
    shown: siphasher::sip::SipHasher24,
    /// Where other processes or a write-behind log name keys by their texts, these are what is hashed.
    by_text: bool,
}

impl KeyHasher {
    /// A secret of its own, or one that a test can repeat.
    pub(crate) fn new(seed: Option<u64>, by_text: bool) -> Self {
        let secret = match seed {
            Some(seed) => ahash::RandomState::with_seeds(seed, !seed, seed.rotate_left(32), 0x1a5d_e500),
            None => ahash::RandomState::new(),
        };
        let part = |name: u64| secret.hash_one(name);
        let shown = siphasher::sip::SipHasher24::new_with_keys(part(1), part(2));
        Self { secret, shown, by_text }
    }

    /// What people see in place of the key.
    pub(crate) fn label(&self, hash: KeyHash) -> Label {
        let mut hasher = self.shown;
        hasher.write_u64(hash.0);
        Label(hasher.finish())
    }

    #[inline]
    pub(crate) fn hash<Q: Key + ?Sized>(&self, key: &Q) -> KeyHash {
        if self.by_text { self.hash_text(&key.text()) } else { KeyHash(self.secret.hash_one(key)) }
    }

    /// The hash of the key with this text, where texts are hashed.
    pub(crate) fn hash_text(&self, text: &str) -> KeyHash {
        KeyHash(self.secret.hash_one(text))
    }
}

/// For tables of what is hashed already.
pub(crate) type Hashed = BuildHasherDefault<AsIs>;

#[derive(Default)]
pub(crate) struct AsIs(u64);

impl Hasher for AsIs {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        // Only `write_u64` is called for a KeyHash; anything else is mixed, so that it would still work.
        for &byte in bytes {
            self.0 = KeyHash::mix(self.0 ^ u64::from(byte)).0;
        }
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }
}
