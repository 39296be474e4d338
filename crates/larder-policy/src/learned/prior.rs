//! What a model knows before it has seen anything: weights learned offline, as bytes.
//!
//! The bytes, all little-endian: the magic `LARDERM1`; the schema's hash, 8; the length of the metadata, 4; the metadata, JSON that
//! the kernel does not read; the sureness, f32; the scale, f32; the number of weights, 4; the weights, i16 each, in units of the scale,
//! the spans of a place side by side; last a CRC-32C (RFC 3720, appendix B.4) of all before it.

use std::sync::{Arc, OnceLock};

use super::HORIZONS;
use super::features::{Features, WEIGHTS, schema};
use crate::Error;
use crate::artefact::{Reader, bad, crc32c};

const SPANS: usize = HORIZONS.len();
const MAGIC: &[u8; 8] = b"LARDERM1";
/// The largest weight that makes sense: e^20 to one.
const BOUND: f32 = 20.0;
/// The greatest sureness: what has seen so many squared gradients hardly learns any more, and would hand that on to whoever takes it over.
const SUREST: f32 = 1e5;

/// Weights learned offline.
#[derive(Clone, PartialEq)]
pub struct Prior {
    weights: Box<[i16]>,
    scale: f32,
    sureness: f32,
    metadata: String,
}

impl std::fmt::Debug for Prior {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Prior")
            .field("sureness", &self.sureness)
            .field("metadata", &self.metadata)
            .finish_non_exhaustive()
    }
}

/// The prior that `learned` starts from, trained on many kinds of traffic; `models/general/card.md` says how and what it gains.
static GENERAL: &[u8] = include_bytes!("general.larder");

impl Prior {
    /// From weights, [`WEIGHTS`] times the spans of [`HORIZONS`], a place's spans side by side. `sureness` is how many squared
    /// gradients each weight counts as having seen: high numbers make the model slow to leave the prior.
    ///
    /// # Errors
    /// The number of weights is wrong, or one is not finite or beyond ±20; or the sureness is not above 0 and at most 100,000.
    pub fn new(weights: &[f32], sureness: f32, metadata: impl Into<String>) -> Result<Self, Error> {
        if weights.len() != WEIGHTS * SPANS {
            return Err(bad(format!("{} weights, not {}", weights.len(), WEIGHTS * SPANS)));
        }
        if let Some(weight) = weights.iter().find(|weight| !weight.is_finite() || weight.abs() > BOUND) {
            return Err(bad(format!("weight {weight} is not within ±{BOUND}")));
        }
        let greatest = weights.iter().fold(1e-3f32, |most, weight| most.max(weight.abs()));
        let scale = greatest / f32::from(i16::MAX);
        let weights = weights.iter().map(|weight| (weight / scale).round() as i16).collect();
        Self { weights, scale, sureness, metadata: metadata.into() }.checked()
    }

    /// The prior that ships with larder.
    ///
    /// # Errors
    /// Never, unless the crate was built from a damaged tree.
    pub fn general() -> Result<Self, Error> {
        Self::from_bytes(GENERAL)
    }

    /// Reads a prior.
    ///
    /// # Errors
    /// It is not one, is cut short or damaged, was made for other features, or holds what no model may hold. The message says
    /// which, and at which byte.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, Error> {
        let mut reader = Reader::new(bytes);
        if reader.take(8)? != MAGIC {
            return Err(bad("byte 0: not a larder model, whose first bytes are LARDERM1".into()));
        }
        let made_for = u64::from_le_bytes(reader.array()?);
        let length = u32::from_le_bytes(reader.array()?);
        let metadata = reader.take(length as usize)?;
        let sureness = f32::from_le_bytes(reader.array()?);
        let scale = f32::from_le_bytes(reader.array()?);
        let count = u32::from_le_bytes(reader.array()?);
        let weights = reader.take(count as usize * 2)?;
        reader.checksum()?;
        if made_for != schema() {
            let message =
                format!("byte 8: made for features {made_for:016x}, but these are {:016x}: train it again", schema());
            return Err(bad(message));
        }
        if count as usize != WEIGHTS * SPANS {
            return Err(bad(format!("{count} weights, not {}", WEIGHTS * SPANS)));
        }
        let metadata =
            std::str::from_utf8(metadata).map_err(|_| bad("byte 20: the metadata is not UTF-8".into()))?.to_owned();
        let weights = weights.chunks_exact(2).map(|pair| i16::from_le_bytes([pair[0], pair[1]])).collect();
        Self { weights, scale, sureness, metadata }.checked()
    }

    /// The same for whoever begins with it in this process.
    pub(crate) fn shared_general() -> Option<Arc<Self>> {
        static SHARED: OnceLock<Option<Arc<Prior>>> = OnceLock::new();
        // A damaged built-in prior is caught by its test.
        SHARED.get_or_init(|| Self::general().ok().map(Arc::new)).clone()
    }

    /// The logit it has for one span.
    pub(crate) fn logit(&self, features: &Features, span: usize) -> f32 {
        let weight = |place: usize| f32::from(self.weights[place * SPANS + span]) * self.scale;
        let mut sum = weight(WEIGHTS - 1);
        features.for_each_active(|place| sum += weight(place));
        sum
    }

    /// The bytes that [`from_bytes`](Self::from_bytes) reads.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = self.body();
        bytes.extend(crc32c(&bytes).to_le_bytes());
        bytes
    }

    /// The checksum of its bytes, by which models are told apart.
    pub fn version(&self) -> u32 {
        crc32c(&self.body())
    }

    fn body(&self) -> Vec<u8> {
        let mut bytes = MAGIC.to_vec();
        bytes.extend(schema().to_le_bytes());
        bytes.extend((self.metadata.len() as u32).to_le_bytes());
        bytes.extend(self.metadata.as_bytes());
        bytes.extend(self.sureness.to_le_bytes());
        bytes.extend(self.scale.to_le_bytes());
        bytes.extend((self.weights.len() as u32).to_le_bytes());
        bytes.extend(self.weights.iter().flat_map(|weight| weight.to_le_bytes()));
        bytes
    }

    /// What its maker wrote about it, in JSON.
    pub fn metadata(&self) -> &str {
        &self.metadata
    }

    /// The weights, place by place.
    pub fn weights(&self) -> impl Iterator<Item = [f32; SPANS]> {
        self.weights.chunks_exact(SPANS).map(|place| std::array::from_fn(|span| f32::from(place[span]) * self.scale))
    }

    /// How many squared gradients each weight counts as having seen.
    pub fn sureness(&self) -> f32 {
        self.sureness
    }

    /// Past the gate: every weight is `weight`.
    #[cfg(test)]
    pub(crate) fn ungated(weight: f32) -> Self {
        Self { weights: vec![1; WEIGHTS * SPANS].into(), scale: weight, sureness: 30.0, metadata: String::new() }
    }

    fn checked(self) -> Result<Self, Error> {
        if !(self.sureness > 0.0 && self.sureness <= SUREST) {
            return Err(bad(format!("the sureness is {}, not above 0 and at most {SUREST}", self.sureness)));
        }
        if !(self.scale.is_finite() && self.scale > 0.0 && self.scale * f32::from(i16::MAX) <= BOUND * 1.001) {
            return Err(bad(format!("the scale is {}, but no weight may be beyond ±{BOUND}", self.scale)));
        }
        Ok(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn some() -> Prior {
        let weights: Vec<f32> = (0..WEIGHTS * SPANS).map(|at| (at % 97) as f32 / 10.0 - 4.0).collect();
        Prior::new(&weights, 30.0, r#"{"made":"here"}"#).unwrap()
    }

    #[test]
    fn what_is_written_is_read() {
        let prior = some();
        assert_eq!(Prior::from_bytes(&prior.to_bytes()).unwrap(), prior);
        let third = prior.weights().nth(3).unwrap();
        assert!((third[1] - (13.0 / 10.0 - 4.0)).abs() < 1e-3, "{third:?}");
    }

    #[test]
    fn the_shipped_prior_is_whole() {
        let prior = Prior::general().unwrap();
        assert!(prior.weights().flatten().any(|weight| weight != 0.0));
        assert!(prior.metadata().starts_with('{'));
    }

    #[test]
    fn nonsense_is_refused() {
        assert!(Prior::new(&[0.0; 3], 1.0, "").is_err());
        let mut weights = vec![0.0; WEIGHTS * SPANS];
        for sureness in [f32::NAN, 0.0, -1.0, 1e6, f32::INFINITY] {
            assert!(Prior::new(&weights, sureness, "").is_err(), "{sureness}");
        }
        weights[5] = f32::NAN;
        assert!(Prior::new(&weights, 1.0, "").is_err());
        weights[5] = 21.0;
        assert!(Prior::new(&weights, 1.0, "").unwrap_err().to_string().contains("21"));
    }

    #[test]
    fn every_damage_is_refused() {
        let mut bytes = some().to_bytes();
        for at in 0..bytes.len() {
            for flip in [1 << (at % 8), 0xff] {
                bytes[at] ^= flip;
                assert!(Prior::from_bytes(&bytes).is_err(), "byte {at} ^ {flip}");
                bytes[at] ^= flip;
            }
        }
        assert_eq!(Prior::from_bytes(&bytes).unwrap(), some());
    }

    #[test]
    fn every_cut_is_refused() {
        let bytes = some().to_bytes();
        for keep in 0..bytes.len() {
            assert!(Prior::from_bytes(&bytes[..keep]).is_err(), "{keep} bytes");
        }
    }

    proptest! {
        #[test]
        fn garbage_is_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            prop_assert!(Prior::from_bytes(&bytes).is_err());
        }
    }
}
