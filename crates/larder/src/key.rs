//! What may be a key, and which texts are refused.

use std::borrow::Cow;
use std::hash::Hash;
use std::sync::Arc;

use crate::{Error, ErrorKind};

/// A key of a cache. Its text names it in the remote tier, in objectives and classes ('what stands before the first `:`'),
/// and wherever the key is recorded, where it is hashed first.
///
/// `Eq`, `Clone` and the text of a key, and `Clone` of a value, run under a lock of the cache and must not call it; a drop may.
///
/// ```
/// use std::borrow::Cow;
///
/// #[derive(Clone, PartialEq, Eq, Hash)]
/// struct Seat { train: u32, number: u16 }
///
/// impl larder::Key for Seat {
///     fn text(&self) -> Cow<'_, str> {
///         format!("seat:{}/{}", self.train, self.number).into()
///     }
/// }
/// ```
pub trait Key: Hash + Eq + Send + Sync + 'static {
    /// Two keys have the same text only if they are equal.
    fn text(&self) -> Cow<'_, str>;
}

impl Key for str {
    fn text(&self) -> Cow<'_, str> {
        self.into()
    }
}

impl Key for String {
    fn text(&self) -> Cow<'_, str> {
        self.as_str().into()
    }
}

impl Key for &'static str {
    fn text(&self) -> Cow<'_, str> {
        (*self).into()
    }
}

impl Key for Arc<str> {
    fn text(&self) -> Cow<'_, str> {
        (&**self).into()
    }
}

impl Key for Box<str> {
    fn text(&self) -> Cow<'_, str> {
        (&**self).into()
    }
}

macro_rules! numbers {
    ($($number:ty)*) => { $(
        impl Key for $number {
            fn text(&self) -> Cow<'_, str> {
                self.to_string().into()
            }
        }
    )* };
}

numbers!(u8 u16 u32 u64 u128 usize i8 i16 i32 i64 i128 isize char bool);

/// The parts' texts and where the first one ends, so that no two pairs share a text.
impl<A: Key, B: Key> Key for (A, B) {
    fn text(&self) -> Cow<'_, str> {
        let (a, b) = (self.0.text(), self.1.text());
        format!("{a}:{b}:{}", a.len()).into()
    }
}

/// Which texts are accepted as keys where a key leaves the process: a remote tier, a write-behind log, a tenant's name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyRules {
    /// The greatest length in bytes, from 1 to 447: with the longest namespace before it, that is as long as a name in the remote tier can be
    /// ([`MAX_BYTES`](crate::remote::names::MAX_BYTES)).
    pub max_bytes: usize,
}

impl Default for KeyRules {
    fn default() -> Self {
        Self { max_bytes: 400 }
    }
}

impl KeyRules {
    /// Fails with [`ErrorKind::BadKey`], without repeating the key, which may be a secret.
    pub fn check(&self, text: &str) -> Result<(), Error> {
        let refuse = |what: String| Err(Error::new(ErrorKind::BadKey, what));
        if text.is_empty() {
            return refuse("a key is empty".into());
        }
        if text.len() > self.max_bytes {
            return refuse(format!("a key of {} bytes is longer than {}", text.len(), self.max_bytes));
        }
        match text.char_indices().find(|(_, letter)| letter.is_control()) {
            Some((at, letter)) => {
                refuse(format!("a key has the control character {:#04x} at byte {at}", letter as u32))
            }
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn odd_keys_are_refused_and_not_repeated() {
        let rules = KeyRules::default();
        for odd in ["", "a\0b", "secret\r\nDEL x", &"x".repeat(401), "\u{7f}", "\u{9b}x"] {
            let error = rules.check(odd).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::BadKey);
            assert!(odd.len() < 3 || !error.to_string().contains(odd), "{error}");
        }
        for good in ["a", "user:42", "größe/ü", &"x".repeat(400)] {
            rules.check(good).unwrap();
        }
    }

    proptest! {
        #[test]
        fn pairs_of_texts_do_not_collide(a in "[:0-9]{0,6}", b in "[:0-9]{0,6}", c in "[:0-9]{0,6}", d in "[:0-9]{0,6}") {
            let [one, other] = [(a, b), (c, d)];
            prop_assert_eq!(one == other, one.text() == other.text());
        }
    }
}
