//! What may be a key, and which texts are refused.

use std::borrow::Cow;
use std::fmt::Write;
use std::hash::Hash;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use bytes::Bytes;

use crate::{Error, ErrorKind};

/// A key of a cache. Its text names it in the remote tier, in objectives and classes ('what stands before the first `:`'),
/// and wherever the key is recorded, where it is hashed first.
///
/// Strings, numbers, bytes and addresses are keys, pairs to quadruples of keys, and `Arc` and `Box` of one; with the feature `uuid`, a `Uuid` too.
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

/// What it holds is the key.
impl<K: Key + ?Sized> Key for Arc<K> {
    fn text(&self) -> Cow<'_, str> {
        (**self).text()
    }
}

/// What it holds is the key.
impl<K: Key + ?Sized> Key for Box<K> {
    fn text(&self) -> Cow<'_, str> {
        (**self).text()
    }
}

/// In hexadecimal digits, two a byte.
impl Key for [u8] {
    fn text(&self) -> Cow<'_, str> {
        let text = String::with_capacity(2 * self.len());
        let text = self.iter().fold(text, |mut text, byte| {
            // A string takes whatever is written.
            let _ = write!(text, "{byte:02x}");
            text
        });
        text.into()
    }
}

macro_rules! bytes {
    ($($bytes:ty)*) => { $(
        /// As the slice of its bytes.
        impl Key for $bytes {
            fn text(&self) -> Cow<'_, str> {
                self[..].text()
            }
        }
    )* };
}

bytes!(Vec<u8> Bytes);

/// As the slice of its bytes.
impl<const N: usize> Key for [u8; N] {
    fn text(&self) -> Cow<'_, str> {
        self[..].text()
    }
}

macro_rules! shown {
    ($($shown:ty)*) => { $(
        impl Key for $shown {
            fn text(&self) -> Cow<'_, str> {
                self.to_string().into()
            }
        }
    )* };
}

shown!(u8 u16 u32 u64 u128 usize i8 i16 i32 i64 i128 isize char bool IpAddr Ipv4Addr Ipv6Addr);
#[cfg(feature = "uuid")]
shown!(uuid::Uuid);

/// The parts' texts and where the first one ends, so that no two pairs share a text.
impl<A: Key, B: Key> Key for (A, B) {
    fn text(&self) -> Cow<'_, str> {
        let (a, b) = (self.0.text(), self.1.text());
        format!("{a}:{b}:{}", a.len()).into()
    }
}

/// As a pair, with the lengths of all parts but the last.
impl<A: Key, B: Key, C: Key> Key for (A, B, C) {
    fn text(&self) -> Cow<'_, str> {
        let (a, b, c) = (self.0.text(), self.1.text(), self.2.text());
        format!("{a}:{b}:{c}:{}:{}", a.len(), b.len()).into()
    }
}

/// As a pair, with the lengths of all parts but the last.
impl<A: Key, B: Key, C: Key, D: Key> Key for (A, B, C, D) {
    fn text(&self) -> Cow<'_, str> {
        let (a, b, c, d) = (self.0.text(), self.1.text(), self.2.text(), self.3.text());
        format!("{a}:{b}:{c}:{d}:{}:{}:{}", a.len(), b.len(), c.len()).into()
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

    #[test]
    fn every_kind_of_key_has_its_text() {
        fn text(key: impl Key) -> String {
            key.text().into_owned()
        }
        for string in
            [text("a:b"), text("a:b".to_owned()), text(Arc::<str>::from("a:b")), text(Box::<str>::from("a:b"))]
        {
            assert_eq!(string, "a:b");
        }
        let bytes = [0_u8, 10, 255];
        for hex in [text(bytes), text(bytes.to_vec()), text(Bytes::from_owner(bytes)), text(Arc::<[u8]>::from(bytes))] {
            assert_eq!(hex, "000aff");
        }
        let address = Ipv4Addr::new(10, 0, 0, 1);
        assert_eq!((text(address), text(IpAddr::from(address))), ("10.0.0.1".into(), "10.0.0.1".into()));
        assert_eq!(text(address.to_ipv6_mapped()), "::ffff:10.0.0.1");
        assert_eq!((text(("user", 7)), text(Box::new(("user", 7)))), ("user:7:4".into(), "user:7:4".into()));
        assert_eq!(text(("user", 7, true)), "user:7:true:4:1");
        assert_eq!(text(("user", 7, 'x', 1)), "user:7:x:1:4:1:1");
        #[cfg(feature = "uuid")]
        assert_eq!(text(uuid::Uuid::from_u128(1)), "00000000-0000-0000-0000-000000000001");
    }

    proptest! {
        #[test]
        fn pairs_of_texts_do_not_collide(a in "[:0-9]{0,6}", b in "[:0-9]{0,6}", c in "[:0-9]{0,6}", d in "[:0-9]{0,6}") {
            let [one, other] = [(a, b), (c, d)];
            prop_assert_eq!(one == other, one.text() == other.text());
        }

        #[test]
        fn nor_do_those_of_three_and_four(parts in prop::array::uniform8("[:0-1]{0,3}")) {
            let [a, b, c, d, e, f, g, h] = parts;
            let [one, other] = [(a.clone(), b.clone(), c.clone()), (e.clone(), f.clone(), g.clone())];
            prop_assert_eq!(one == other, one.text() == other.text());
            let [one, other] = [(a, b, c, d), (e, f, g, h)];
            prop_assert_eq!(one == other, one.text() == other.text());
        }

        #[test]
        fn bytes_do_not_collide(one in prop::collection::vec(0..3_u8, 0..4), other in prop::collection::vec(0..3_u8, 0..4)) {
            prop_assert_eq!(one == other, one.text() == other.text());
        }
    }
}
