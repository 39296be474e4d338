//! From a source's key to its 64-bit number.

use std::hash::Hasher;

use siphasher::sip::SipHasher24;
use xxhash_rust::xxh3::{xxh3_64, xxh3_128};

use crate::parse;

/// A key as its number: a plain decimal number stays what it is, everything else is hashed with XXH3.
///
/// Numbers with leading zeros are text, so that `7` and `07` stay apart.
#[inline]
pub fn key_number(key: &[u8]) -> u64 {
    match key {
        [b'0', _, ..] | [] => xxh3_64(key),
        _ => parse::whole(key).unwrap_or_else(|| xxh3_64(key)),
    }
}

/// The number of text that stays text even where it looks like a number.
pub(crate) fn text(key: &[u8]) -> u64 {
    xxh3_64(key)
}

/// Hides keys behind SipHash-2-4: without the secret nobody can tell which key a number stands for.
#[derive(Clone)]
pub(crate) struct Hiding(SipHasher24);

impl Hiding {
    pub(crate) fn new(secret: &str) -> Self {
        Self(SipHasher24::new_with_key(&xxh3_128(secret.as_bytes()).to_le_bytes()))
    }

    pub(crate) fn hide(&self, key: u64) -> u64 {
        let mut hasher = self.0;
        hasher.write(&key.to_le_bytes());
        hasher.finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_stay_and_text_is_hashed() {
        assert_eq!(key_number(b"0"), 0);
        assert_eq!(key_number(b"18446744073709551615"), u64::MAX);
        assert_ne!(key_number(b"07"), 7);
        assert_ne!(key_number(b"18446744073709551616"), 0);
        // The published test value of XXH3 for empty input with seed 0.
        assert_eq!(key_number(b""), 0x2d06_8005_38d3_94c2);
    }

    #[test]
    fn secrets_give_unlike_numbers() {
        let (a, b) = (Hiding::new("a"), Hiding::new("b"));
        assert_eq!(a.hide(7), a.hide(7));
        assert_ne!(a.hide(7), b.hide(7));
        assert_ne!(a.hide(7), a.hide(8));
    }
}
