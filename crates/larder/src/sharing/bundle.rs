//! What is shared, as bytes, and the gate through which it comes back.
//!
//! The bytes, all little-endian: the magic `LARDERS1`; the length of the model of reuse, 4, and the model, as
//! [`Prior`] writes it; the length of the classes, 4, and the classes, as [`ClassPriors`] writes them; a CRC-32C of all before it. A
//! length of 0 is a part that nobody has.

use std::sync::Arc;

use bytes::Bytes;
use larder_policy::freshness::{ClassPriors, Freshness};
use larder_policy::learned::Prior;

use super::MOST_BYTES;
use crate::{Error, ErrorKind};

const MAGIC: &[u8; 7] = b"LARDERS";
const FORMAT: u8 = b'1';

/// What instances of a service share.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Bundle {
    /// The model of reuse.
    pub(crate) reuse: Option<Arc<Prior>>,
    /// What is known of classes of keys.
    pub(crate) classes: Option<Arc<ClassPriors>>,
}

impl Bundle {
    /// Reads what [`to_bytes`](Self::to_bytes) wrote.
    ///
    /// # Errors
    /// [`ErrorKind::BadModel`]: it is something else, too large, cut short or damaged, of another format, or one of its parts is refused.
    pub(crate) fn from_bytes(bytes: &[u8], freshness: &Freshness) -> Result<Self, Error> {
        if bytes.len() > MOST_BYTES {
            return Err(bad(format!("it has more than {MOST_BYTES} bytes")));
        }
        let Some((&format, rest)) = bytes.strip_prefix(MAGIC).and_then(<[u8]>::split_first) else {
            return Err(bad("byte 0: what is shared begins with LARDERS".into()));
        };
        if format != FORMAT {
            let what = "byte 7: another format than this larder's: give every instance the same version";
            return Err(bad(what.into()));
        }
        let (body, said) = bytes.split_last_chunk().ok_or_else(|| bad("cut short".into()))?;
        if u32::from_le_bytes(*said) != crc32c::crc32c(body) {
            return Err(bad(format!("the checksum of its {} bytes is not theirs: damaged or cut short", bytes.len())));
        }
        let rest = &rest[..rest.len().saturating_sub(said.len())];
        let (reuse, rest) = part(rest)?;
        let (classes, rest) = part(rest)?;
        if !rest.is_empty() {
            return Err(bad(format!("{} bytes too many", rest.len())));
        }
        let refused = |error: larder_policy::Error| Error::caused(ErrorKind::BadModel, error.to_string(), error);
        let reuse = reuse.map(Prior::from_bytes).transpose().map_err(refused)?;
        let classes = classes.map(|bytes| ClassPriors::from_bytes(bytes, freshness)).transpose().map_err(refused)?;
        Ok(Self { reuse: reuse.map(Arc::new), classes: classes.map(Arc::new) })
    }

    pub(crate) fn to_bytes(&self) -> Bytes {
        let parts =
            [self.reuse.as_ref().map(|part| part.to_bytes()), self.classes.as_ref().map(|part| part.to_bytes())];
        let mut bytes = MAGIC.to_vec();
        bytes.push(FORMAT);
        for part in parts {
            let part = part.unwrap_or_default();
            bytes.extend((part.len() as u32).to_le_bytes());
            bytes.extend(part);
        }
        bytes.extend(crc32c::crc32c(&bytes).to_le_bytes());
        bytes.into()
    }

    /// With what `before` has where this has nothing: a publisher hands on what it cannot improve.
    pub(crate) fn or(self, before: &Self) -> Self {
        Self {
            reuse: self.reuse.or_else(|| before.reuse.clone()),
            classes: self.classes.or_else(|| before.classes.clone()),
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.reuse.is_none() && self.classes.is_none()
    }
}

/// By what contents are told apart. No CRC of them: each part ends with its own, which cancels what is before it.
pub(super) fn fingerprint(bytes: &[u8]) -> u64 {
    xxhash_rust::xxh3::xxh3_64(bytes)
}

/// A part behind its length, and what follows it.
fn part(bytes: &[u8]) -> Result<(Option<&[u8]>, &[u8]), Error> {
    let short = || bad("a part is longer than what follows".into());
    let (length, rest) = bytes.split_first_chunk().ok_or_else(short)?;
    let (part, rest) = rest.split_at_checked(u32::from_le_bytes(*length) as usize).ok_or_else(short)?;
    Ok(((!part.is_empty()).then_some(part), rest))
}

fn bad(what: String) -> Error {
    Error::new(ErrorKind::BadModel, format!("shared model: {what}"))
}

#[cfg(test)]
mod tests {
    use larder_policy::freshness::{ClassPool, Engine, Evidence, Loaded};
    use larder_policy::{KeyHash, Time};
    use proptest::prelude::*;

    use super::*;

    fn objective() -> Freshness {
        Freshness::stale_reads(0.01).unwrap()
    }

    fn classes() -> ClassPriors {
        let mut engine = Engine::new(objective(), 1);
        for load in 1..20 {
            let page = engine.subject(KeyHash::mix(1), "page:1", 100, 0);
            let now = Time(load * 1_000_000);
            engine.read(page, now, true);
            engine.loaded(page, now, Loaded::new(now, Evidence::Digest(load)));
        }
        let mut pool = ClassPool::default();
        engine.pool(&mut pool);
        pool.priors().unwrap()
    }

    fn some() -> Bundle {
        Bundle { reuse: Some(Arc::new(Prior::general().unwrap())), classes: Some(Arc::new(classes())) }
    }

    #[test]
    fn what_is_written_is_read() {
        let empty = Bundle::default();
        assert!(empty.is_empty());
        let [reuse, classes] = [Bundle { classes: None, ..some() }, Bundle { reuse: None, ..some() }];
        for bundle in [&some(), &empty, &reuse, &classes] {
            assert_eq!(Bundle::from_bytes(&bundle.to_bytes(), &objective()).unwrap(), *bundle);
        }
        assert_eq!(reuse.or(&classes), some());
    }

    #[test]
    fn models_of_one_length_are_told_apart() {
        let prior = |weight: f32| {
            let weights: Vec<f32> = Prior::general().unwrap().weights().flatten().map(|_| weight).collect();
            let reuse = Some(Arc::new(Prior::new(&weights, 30.0, "{}").unwrap()));
            fingerprint(&Bundle { reuse, classes: None }.to_bytes())
        };
        assert_ne!(prior(1.0), prior(2.0));
    }

    #[test]
    fn each_refusal_says_why() {
        let why = |bytes: &[u8]| {
            let error = Bundle::from_bytes(bytes, &objective()).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::BadModel);
            error.to_string()
        };
        let whole = some().to_bytes();
        let mut future = whole.to_vec();
        future[7] = b'2';
        assert!(why(&future).contains("same version"));
        assert!(why(b"something else").contains("LARDERS"));
        assert!(why(&vec![0; MOST_BYTES + 1]).contains("more than"));
        assert!(why(&whole[..whole.len() / 2]).contains("cut short"));
        // Of a schema that is not this one's, its own checksums in order.
        let mut other = Prior::general().unwrap().to_bytes();
        other[8] ^= 1;
        let end = other.len() - 4;
        let sum = crc32c::crc32c(&other[..end]);
        other[end..].copy_from_slice(&sum.to_le_bytes());
        let mut framed = [&MAGIC[..], &[FORMAT]].concat();
        framed.extend((other.len() as u32).to_le_bytes());
        framed.extend(&other);
        framed.extend(0u32.to_le_bytes());
        framed.extend(crc32c::crc32c(&framed).to_le_bytes());
        assert!(why(&framed).contains("train it again"));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]

        #[test]
        fn every_damage_and_every_cut_is_refused(at in any::<usize>(), flip in 1u8..) {
            let bytes = some().to_bytes();
            let at = at % bytes.len();
            prop_assert!(Bundle::from_bytes(&bytes[..at], &objective()).is_err());
            let mut bytes = bytes.to_vec();
            bytes[at] ^= flip;
            prop_assert!(Bundle::from_bytes(&bytes, &objective()).is_err(), "byte {at} ^ {flip}");
        }
    }
}
