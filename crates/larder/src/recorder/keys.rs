//! Keys as keyed hashes: whoever reads a recording cannot tell, nor guess and check, which keys they were.

use std::hash::Hasher as _;

use siphasher::sip::SipHasher24;

use super::Key;
use crate::{Error, ErrorKind};

/// SipHash-2-4 under a secret (Aumasson, Bernstein, "SipHash: a fast short-input PRF", 2012).
pub(super) struct Keys(SipHasher24);

impl Keys {
    /// Under this secret, or one that nobody knows.
    pub(super) fn new(secret: Option<[u8; 16]>) -> Result<Self, Error> {
        let mut key = secret.unwrap_or_default();
        if secret.is_none() {
            let failed = |e: getrandom::Error| Error::new(ErrorKind::Config, format!("no random secret: {e}"));
            getrandom::fill(&mut key).map_err(failed)?;
        }
        Ok(Self(SipHasher24::new_with_key(&key)))
    }

    #[inline]
    pub(super) fn hash(&self, key: Key<'_>) -> u64 {
        let mut hasher = self.0;
        match key {
            Key::Text(text) => hasher.write(text.as_bytes()),
            Key::Number(number) => hasher.write(&number.to_le_bytes()),
        }
        hasher.finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_are_siphash_2_4() {
        // Appendix A of the paper: the key 00 01 … 0f, the text 00 01 … 0e.
        let keys = Keys::new(Some(std::array::from_fn(|byte| byte as u8))).unwrap();
        let text: String = (0..15u8).map(char::from).collect();
        assert_eq!(keys.hash(Key::Text(&text)), 0xa129_ca61_49be_45e5);
        assert_eq!(keys.hash(Key::Number(7)), keys.hash(7.into()));
    }

    #[test]
    fn secrets_nobody_gave_differ() {
        let [a, b] = [(); 2].map(|()| Keys::new(None).unwrap());
        assert_ne!(a.hash("k".into()), b.hash("k".into()));
        assert_eq!(a.hash("k".into()), a.hash("k".into()));
    }
}
