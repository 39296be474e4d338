//! What a value travels in, so that a reader can tell whose it is, how old it is, and whether it arrived whole.
//!
//! ```text
//!  0  magic "\xA7ldr" 4 | format 1 | kind and flags 1 | codec 1 | tags 1
//!  8  fence 8   16  fingerprint of the name 8   24  schema 4   28  crc32c of all but itself 4
//! 32  as of 8   40  fresh until 8   48  kept until 8   56  load's cost 4   60  payload's length, unpacked 4
//! 64  [version 8] | [changed at 8] | tags: length 1, text | payload
//! ```
//! Integers are little-endian, times microseconds since the Unix epoch on the store's clock; `changed at` is on the origin's. Magic, format and
//! fence keep their places in every format to come, so that stores and older readers find them. Format 2 has `changed at`, format 1 has not; an
//! envelope is written in the oldest format that can say what it says, and to a reader that knows only an older one it is a miss.

use std::fmt;
use std::ops::{Range, RangeInclusive};

use bytes::{Buf, BufMut, Bytes, BytesMut};
use xxhash_rust::xxh3::xxh3_64;
use zstd::zstd_safe::zstd_sys::ZSTD_ErrorCode::ZSTD_error_dstSize_tooSmall;

use super::Name;
use crate::{Error, ErrorKind};

/// How every envelope begins.
pub const MAGIC: [u8; 4] = *b"\xA7ldr";
/// Where the fence lies, for stores that compare it themselves.
pub const FENCE: Range<usize> = 8..16;
/// The formats that this release reads; which it is follows [`MAGIC`].
pub const FORMATS: RangeInclusive<u8> = 1..=2;
/// Where these formats say of which kind it is, in the lowest two bits.
pub const KIND: usize = 5;
/// The flag beside the kind that says that these formats have the origin's version of the value, and where they have it.
pub const HAS_VERSION: u8 = 0b100;
/// See [`HAS_VERSION`].
pub const VERSION: Range<usize> = 64..72;
/// Where these formats have the time a value was loaded at or a mark was made at.
pub const AS_OF: Range<usize> = 32..40;

const CRC: Range<usize> = 28..32;
const HEADER: usize = 64;
const MAX_TAGS: usize = 64;
const KIND_BITS: u8 = 0b11;
const HAS_CHANGED_AT: u8 = 0b1000;
const RAW: u8 = 0;
const ZSTD: u8 = 1;
/// For a packed payload, whatever its size.
const LEAST_ROOM: usize = 64 << 10;
/// The most bytes an envelope has beside its payload.
pub(crate) const MOST_AROUND: usize = HEADER + 16 + MAX_TAGS * 256;
/// The fastest of zstd's ordinary levels: the tier is not an archive.
const ZSTD_LEVEL: i32 = 1;

/// Which invalidation of its key a value was loaded after. A fill that does not carry the fence now kept is refused.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Fence(pub u64);

/// What an envelope says about its key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The payload is its value.
    Value,
    /// The origin has no such value.
    Absent,
    /// It was invalidated at `as_of`, and nobody has loaded it since.
    Invalidated,
}

/// A value with all a reader needs to judge it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Envelope {
    /// What is said.
    pub kind: Kind,
    /// The value's bytes; empty for the other kinds.
    pub payload: Bytes,
    /// When the origin was asked (µs since the epoch, on the store's clock).
    pub as_of: u64,
    /// Until when it counts as fresh (µs since the epoch).
    pub fresh_until: u64,
    /// Until when it may be used at all (µs since the epoch).
    pub kept_until: u64,
    /// What the load cost, in µs of latency.
    pub cost: u32,
    /// The origin's version of the value, where it has one.
    pub version: Option<u64>,
    /// When the origin says that the value last changed (µs since the epoch, on the origin's clock).
    pub changed_at: Option<u64>,
    /// What it can be invalidated by, beside its key: at most 64 tags of at most 255 bytes.
    pub tags: Vec<Name>,
    /// Which invalidation it was loaded after.
    pub fence: Fence,
}

/// Why bytes are not the envelope that was asked for. Each is a miss and a counter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Mismatch {
    /// It belongs to another key: the connection mixes up answers and must not be used again.
    Fingerprint,
    /// It is no envelope of ours.
    Foreign,
    /// It is one, but not whole.
    Damaged,
    /// Its payload has another version of the user's schema.
    Schema {
        /// Which.
        found: u32,
    },
    /// A newer larder wrote it.
    Format {
        /// In which format.
        found: u8,
    },
    /// Unpacked, it would be larger than allowed.
    TooLarge,
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fingerprint => f.write_str("another key's value"),
            Self::Foreign => f.write_str("not an envelope"),
            Self::Damaged => f.write_str("a damaged envelope"),
            Self::Schema { found } => write!(f, "a value of schema {found}"),
            Self::Format { found } => write!(f, "an envelope of format {found}"),
            Self::TooLarge => f.write_str("a payload above the limit"),
        }
    }
}

impl std::error::Error for Mismatch {}

/// The largest payload that an envelope can have, in bytes.
pub(crate) const MOST_VALUE: usize = u32::MAX as usize;

/// What of a payload's form both sides agree on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Form {
    /// The version of the user's own encoding; a value of another one is a miss.
    pub schema: u32,
    /// Payloads of at least so many bytes are packed with zstd, if that makes them smaller.
    pub pack_above: usize,
    /// The largest payload in bytes, unpacked, up to 4 GiB; no more is ever allocated for one.
    pub limit: usize,
}

impl Default for Form {
    fn default() -> Self {
        Self { schema: 0, pack_above: 4 << 10, limit: 16 << 20 }
    }
}

/// The fence kept in these bytes, if they are an envelope of any format.
pub fn fence_of(bytes: &[u8]) -> Option<Fence> {
    bytes.starts_with(&MAGIC).then(|| bytes.get(FENCE).map(|b| Fence(u64_at(b, 0)))).flatten()
}

/// Whether these bytes, or the head of them, are an envelope of a [known format](FORMATS) with a value, or with word that there is none; not an
/// invalidation.
pub fn holds_value(bytes: &[u8]) -> bool {
    kind_of(bytes).is_some_and(|kind| kind != Kind::Invalidated as u8)
}

fn kind_of(bytes: &[u8]) -> Option<u8> {
    let is_ours = bytes.starts_with(&MAGIC) && bytes.get(MAGIC.len()).is_some_and(|format| FORMATS.contains(format));
    bytes.get(KIND).filter(|_| is_ours).map(|flags| flags & KIND_BITS)
}

/// The origin's version of the value in these bytes, or in the head of them, if it has one.
pub fn version_of(bytes: &[u8]) -> Option<u64> {
    let has_version = holds_value(bytes) && bytes.get(KIND).is_some_and(|flags| flags & HAS_VERSION != 0);
    bytes.get(VERSION).filter(|_| has_version).map(|version| u64_at(version, 0))
}

/// When what was kept before was invalidated, if this is a mark of that.
pub fn marked_at(bytes: &[u8]) -> Option<u64> {
    let is_mark = kind_of(bytes) == Some(Kind::Invalidated as u8);
    bytes.get(AS_OF).filter(|_| is_mark).map(|at| u64_at(at, 0))
}

/// A hash of a name that is the same in every process and release (XXH3, 64 bits).
pub fn fingerprint(name: &str) -> u64 {
    xxh3_64(name.as_bytes())
}

impl Envelope {
    /// That `name` was invalidated at `at` (µs since the epoch) and what was loaded before is not to be kept.
    pub fn invalidated(at: u64, fence: Fence) -> Self {
        Self {
            kind: Kind::Invalidated,
            payload: Bytes::new(),
            as_of: at,
            fresh_until: at,
            kept_until: u64::MAX,
            cost: 0,
            version: None,
            changed_at: None,
            tags: Vec::new(),
            fence,
        }
    }

    /// The envelope's bytes. Fails with [`ErrorKind::Codec`] if the payload or the tags are above their limits.
    pub fn encode(&self, name: &str, form: &Form) -> Result<Bytes, Error> {
        let refuse = |what: String| Err(Error::new(ErrorKind::Codec, what));
        let length = self.payload.len();
        if length > form.limit || u32::try_from(length).is_err() {
            return refuse(format!("a value of {length} bytes is above the remote tier's {}", form.limit));
        }
        if self.tags.len() > MAX_TAGS || self.tags.iter().any(|tag| tag.len() > usize::from(u8::MAX)) {
            return refuse(format!("at most {MAX_TAGS} tags of at most 255 bytes can be kept with a value"));
        }
        let packed = (length >= form.pack_above.max(1))
            .then(|| zstd::bulk::compress(&self.payload, ZSTD_LEVEL).ok())
            .flatten()
            .filter(|packed| packed.len() < length);
        let (codec, payload) = packed.as_deref().map_or((RAW, &*self.payload), |packed| (ZSTD, packed));
        let tags: usize = self.tags.iter().map(|tag| 1 + tag.len()).sum();

        let mut out = BytesMut::with_capacity(HEADER + 16 + tags + payload.len());
        out.put_slice(&MAGIC);
        let bit = |is_there: bool, bit: u8| if is_there { bit } else { 0 };
        out.put_u8(if self.changed_at.is_some() { 2 } else { 1 });
        let has_version = bit(self.version.is_some(), HAS_VERSION);
        out.put_u8(self.kind as u8 | has_version | bit(self.changed_at.is_some(), HAS_CHANGED_AT));
        out.put_u8(codec);
        out.put_u8(self.tags.len() as u8);
        out.put_u64_le(self.fence.0);
        out.put_u64_le(fingerprint(name));
        out.put_u32_le(form.schema);
        out.put_u32_le(0);
        out.put_u64_le(self.as_of);
        out.put_u64_le(self.fresh_until);
        out.put_u64_le(self.kept_until);
        out.put_u32_le(self.cost);
        out.put_u32_le(length as u32);
        for number in [self.version, self.changed_at].into_iter().flatten() {
            out.put_u64_le(number);
        }
        for tag in &self.tags {
            out.put_u8(tag.len() as u8);
            out.put_slice(tag.as_bytes());
        }
        out.put_slice(payload);
        let crc = checksum(&out);
        out[CRC].copy_from_slice(&crc.to_le_bytes());
        Ok(out.freeze())
    }

    /// Reads what was kept under `name`. A raw payload is what is left of `bytes`; a packed one is unpacked into at most `form.limit` bytes, and takes no
    /// more memory than eight times what it has unpacked to, whatever it claims.
    pub fn decode(name: &str, form: &Form, mut bytes: Bytes) -> Result<Self, Mismatch> {
        if !bytes.starts_with(&MAGIC) {
            return Err(Mismatch::Foreign);
        }
        match bytes.get(4) {
            None => return Err(Mismatch::Damaged),
            Some(found) if FORMATS.contains(found) => {}
            Some(&found) => return Err(Mismatch::Format { found }),
        }
        if bytes.len() < HEADER || checksum(&bytes) != u32_at(&bytes, CRC.start) {
            return Err(Mismatch::Damaged);
        }
        if u64_at(&bytes, 16) != fingerprint(name) {
            return Err(Mismatch::Fingerprint);
        }
        let (flags, codec, length) = (bytes[5], bytes[6], u32_at(&bytes, 60) as usize);
        let kind = match flags & KIND_BITS {
            0 => Kind::Value,
            1 => Kind::Absent,
            2 => Kind::Invalidated,
            _ => return Err(Mismatch::Damaged),
        };
        // An invalidation counts for every schema.
        let found = u32_at(&bytes, 24);
        if found != form.schema && kind != Kind::Invalidated {
            return Err(Mismatch::Schema { found });
        }
        if length > form.limit {
            return Err(Mismatch::TooLarge);
        }
        let mut rest = HEADER;
        let mut number = |bit: u8| match flags & bit {
            0 => Ok(None),
            _ => take(&bytes, &mut rest, 8).map(|raw| Some(u64_at(raw, 0))),
        };
        let (version, changed_at) = (number(HAS_VERSION)?, number(HAS_CHANGED_AT)?);
        if usize::from(bytes[7]) > MAX_TAGS {
            return Err(Mismatch::Damaged);
        }
        let mut tags = Vec::with_capacity(usize::from(bytes[7]));
        for _ in 0..bytes[7] {
            let size = usize::from(take(&bytes, &mut rest, 1)?[0]);
            let text = std::str::from_utf8(take(&bytes, &mut rest, size)?).map_err(|_| Mismatch::Damaged)?;
            tags.push(Name::from(text));
        }
        let (as_of, fresh_until, kept_until) = (u64_at(&bytes, 32), u64_at(&bytes, 40), u64_at(&bytes, 48));
        let (cost, fence) = (u32_at(&bytes, 56), Fence(u64_at(&bytes, FENCE.start)));
        let payload = match codec {
            RAW => {
                bytes.advance(rest);
                bytes
            }
            ZSTD => unpack(&bytes[rest..], length)?.into(),
            _ => return Err(Mismatch::Damaged),
        };
        if payload.len() != length {
            return Err(Mismatch::Damaged);
        }
        Ok(Self { kind, payload, as_of, fresh_until, kept_until, cost, version, changed_at, tags, fence })
    }
}

/// Unpacks what says that it unpacks to so many bytes. Few pack to less than a 64th: for the others room is made once more.
fn unpack(packed: &[u8], length: usize) -> Result<Vec<u8>, Mismatch> {
    let mut room = length.min(packed.len().saturating_mul(64).max(LEAST_ROOM));
    loop {
        let mut out = Vec::new();
        out.try_reserve_exact(room).map_err(|_| Mismatch::TooLarge)?;
        match zstd::zstd_safe::decompress(&mut out, packed) {
            Ok(_) => return Ok(out),
            Err(code) if room < length && zstd::zstd_safe::is_error_kind(code, ZSTD_error_dstSize_tooSmall) => {
                room = length.min(room.saturating_mul(8));
            }
            Err(_) => return Err(Mismatch::Damaged),
        }
    }
}

/// Of everything but the checksum itself; `bytes` are a header at least.
fn checksum(bytes: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&bytes[..CRC.start]), &bytes[CRC.end..])
}

/// The next `size` bytes.
fn take<'a>(bytes: &'a [u8], at: &mut usize, size: usize) -> Result<&'a [u8], Mismatch> {
    let piece = bytes.get(*at..*at + size).ok_or(Mismatch::Damaged)?;
    *at += size;
    Ok(piece)
}

/// The integer at `at`; the caller has checked that it is there.
fn u64_at(bytes: &[u8], at: usize) -> u64 {
    let mut raw = [0; 8];
    raw.copy_from_slice(&bytes[at..at + 8]);
    u64::from_le_bytes(raw)
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    let mut raw = [0; 4];
    raw.copy_from_slice(&bytes[at..at + 4]);
    u32::from_le_bytes(raw)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const FORM: Form = Form { schema: 7, pack_above: 64, limit: 1 << 16 };

    fn value(payload: &[u8]) -> Envelope {
        Envelope {
            kind: Kind::Value,
            payload: Bytes::copy_from_slice(payload),
            as_of: 1_000,
            fresh_until: 2_000,
            kept_until: 3_000,
            cost: 17,
            version: Some(5),
            changed_at: None,
            tags: vec!["vip".into(), "".into()],
            fence: Fence(99),
        }
    }

    fn any_envelope() -> impl Strategy<Value = Envelope> {
        let payload = prop_oneof![
            proptest::collection::vec(any::<u8>(), 0..300),
            (any::<u8>(), 0..2_000_usize).prop_map(|(byte, times)| vec![byte; times]),
        ];
        let times = (any::<u64>(), any::<u64>(), any::<u64>(), any::<u32>(), any::<u64>());
        let tags = proptest::collection::vec("[a-zé]{0,20}", 0..5);
        let numbers = (any::<Option<u64>>(), any::<Option<u64>>());
        let kind = prop_oneof![Just(Kind::Value), Just(Kind::Absent), Just(Kind::Invalidated)];
        (kind, payload, times, numbers, tags).prop_map(|(kind, payload, times, (version, changed_at), tags)| {
            let (as_of, fresh_until, kept_until, cost, fence) = times;
            let tags = tags.into_iter().map(Name::from).collect();
            let (payload, fence) = (payload.into(), Fence(fence));
            Envelope { kind, payload, as_of, fresh_until, kept_until, cost, version, changed_at, tags, fence }
        })
    }

    proptest! {
        #[test]
        fn what_is_encoded_is_decoded(envelope in any_envelope(), name in ".{0,40}") {
            let bytes = envelope.encode(&name, &FORM).unwrap();
            prop_assert_eq!(fence_of(&bytes), Some(envelope.fence));
            prop_assert_eq!(Envelope::decode(&name, &FORM, bytes.clone()), Ok(envelope));
        }

        #[test]
        fn garbage_is_never_a_value(noise in proptest::collection::vec(any::<u8>(), 0..200), head in any::<bool>()) {
            let bytes = if head { [&MAGIC[..], &[*FORMATS.end()], &noise].concat() } else { noise };
            prop_assert!(Envelope::decode("a", &FORM, bytes.into()).is_err());
        }

        #[test]
        fn one_changed_byte_is_noticed(envelope in any_envelope(), at in any::<prop::sample::Index>(), flip in 1..=255_u8) {
            let mut bytes = envelope.encode("a", &FORM).unwrap().to_vec();
            let at = at.index(bytes.len());
            bytes[at] ^= flip;
            prop_assert!(Envelope::decode("a", &FORM, bytes.into()).is_err());
        }

        #[test]
        fn a_part_is_noticed(envelope in any_envelope(), at in any::<prop::sample::Index>()) {
            let bytes = envelope.encode("a", &FORM).unwrap();
            let part = bytes.slice(..at.index(bytes.len()));
            prop_assert!(Envelope::decode("a", &FORM, part).is_err());
        }

        // Whoever forges a checksum still cannot make us panic or allocate.
        #[test]
        fn a_forged_header_is_harmless(envelope in any_envelope(), changes in proptest::collection::vec((4..80_usize, any::<u8>()), 1..8)) {
            let mut bytes = envelope.encode("a", &FORM).unwrap().to_vec();
            for (at, to) in changes {
                if at < bytes.len() {
                    bytes[at] = to;
                }
            }
            let crc = checksum(&bytes);
            bytes[CRC].copy_from_slice(&crc.to_le_bytes());
            if let Ok(read) = Envelope::decode("a", &FORM, bytes.into()) {
                prop_assert!(read.payload.len() <= FORM.limit);
            }
        }
    }

    #[test]
    fn an_invalidation_holds_no_value_and_nor_do_strangers() {
        let kept = value(b"x").encode("users:1", &FORM).unwrap();
        assert!(holds_value(&kept) && holds_value(&kept[..=KIND]));
        let mark = Envelope::invalidated(1, Fence(1)).encode("users:1", &FORM).unwrap();
        assert!(![&mark[..], &kept[..KIND], &MAGIC, b"", b"another's"].into_iter().any(holds_value));
    }

    #[test]
    fn each_mismatch_is_told_apart() {
        let bytes = value(b"x").encode("a", &FORM).unwrap();
        assert_eq!(Envelope::decode("b", &FORM, bytes.clone()), Err(Mismatch::Fingerprint));
        assert_eq!(
            Envelope::decode("a", &Form { schema: 8, ..FORM }, bytes.clone()),
            Err(Mismatch::Schema { found: 7 })
        );
        assert_eq!(Envelope::decode("a", &FORM, Bytes::from_static(b"{\"json\":1}")), Err(Mismatch::Foreign));
        assert_eq!(Envelope::decode("a", &FORM, bytes.slice(..50)), Err(Mismatch::Damaged));
        let mut future = bytes.to_vec();
        future[4] = 3;
        assert_eq!(Envelope::decode("a", &FORM, future.into()), Err(Mismatch::Format { found: 3 }));
    }

    /// What releases have written: it is read for as long as its format is, and written so for whoever cannot read another.
    #[test]
    fn samples_of_each_format_are_read_and_written_again() {
        let samples: [(&[u8], Envelope); 3] = [
            (include_bytes!("samples/1-value"), value(b"Ann")),
            (include_bytes!("samples/1-mark"), Envelope::invalidated(5, Fence(1))),
            (include_bytes!("samples/2-value"), Envelope { changed_at: Some(900), ..value(b"Ann") }),
        ];
        for (bytes, envelope) in samples {
            let bytes = Bytes::from_static(bytes);
            assert_eq!(envelope.encode("users:1", &FORM).unwrap(), bytes);
            assert_eq!(Envelope::decode("users:1", &FORM, bytes.clone()), Ok(envelope));
        }
    }

    #[test]
    fn an_invalidation_counts_for_every_schema() {
        let mark = Envelope::invalidated(5, Fence(1));
        let bytes = mark.encode("a", &FORM).unwrap();
        assert_eq!(Envelope::decode("a", &Form { schema: 8, ..FORM }, bytes.clone()), Ok(mark));
    }

    #[test]
    fn a_raw_payload_is_not_copied_and_a_large_one_is_packed() {
        let bytes = value(b"small").encode("a", &FORM).unwrap();
        let read = Envelope::decode("a", &FORM, bytes.clone()).unwrap();
        assert!(bytes.as_ptr_range().contains(&read.payload.as_ptr()));
        let large = value(&[b'z'; 10_000]).encode("a", &FORM).unwrap();
        assert!(large.len() < 200, "{}", large.len());
    }

    #[test]
    fn a_bomb_is_refused_before_it_is_unpacked() {
        let bytes = value(&vec![0; FORM.limit]).encode("a", &FORM).unwrap();
        let strict = Form { limit: FORM.limit - 1, ..FORM };
        assert_eq!(Envelope::decode("a", &strict, bytes.clone()), Err(Mismatch::TooLarge));
        // A header that claims less than the frame unpacks to.
        let mut forged = bytes.to_vec();
        forged[60..64].copy_from_slice(&10_u32.to_le_bytes());
        let crc = checksum(&forged);
        forged[CRC].copy_from_slice(&crc.to_le_bytes());
        assert_eq!(Envelope::decode("a", &FORM, forged.into()), Err(Mismatch::Damaged));
    }

    #[test]
    fn what_packs_to_almost_nothing_is_unpacked() {
        for length in [LEAST_ROOM - 1, LEAST_ROOM, LEAST_ROOM + 1, 9 * LEAST_ROOM, 16 << 20] {
            let form = Form { limit: length, ..FORM };
            let bytes = value(&vec![7; length]).encode("a", &form).unwrap();
            assert!(bytes.len() * 64 < length);
            assert_eq!(Envelope::decode("a", &form, bytes.clone()).unwrap().payload.len(), length);
        }
    }

    #[test]
    fn what_cannot_be_kept_is_refused() {
        assert_eq!(value(&vec![0; FORM.limit + 1]).encode("a", &FORM).unwrap_err().kind(), ErrorKind::Codec);
        let mut many = value(b"x");
        many.tags = vec!["t".into(); MAX_TAGS + 1];
        assert_eq!(many.encode("a", &FORM).unwrap_err().kind(), ErrorKind::Codec);
        many.tags = vec!["t".repeat(256).into()];
        assert_eq!(many.encode("a", &FORM).unwrap_err().kind(), ErrorKind::Codec);
    }

    #[test]
    fn the_fingerprint_is_the_same_in_every_release() {
        assert_eq!(fingerprint(""), 0x2d06_8005_38d3_94c2);
    }
}
