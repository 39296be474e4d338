//! How one write lies in a segment: a header with its own checksum, the name, the value, an end mark.
//!
//! ```text
//! mark 3 | kind 1 | body bytes 4 | sequence 8 | durable 8 | name bytes 4 | body crc 4 | header crc 4 | name | value | end mark 1
//! ```
//!
//! Numbers are little-endian, checksums CRC-32C (RFC 3720, B.4) that begin with the segment's salt, so that nothing written
//! elsewhere, such as a log kept as a value, passes for a record of this segment. `durable` is the last sequence known to be
//! on the disk when the record was written: a reader tells from it whether what lies before was ever acknowledged.

/// Bytes of the header.
pub(super) const HEADER: usize = 36;
/// No log gets so far: whatever names a later sequence was not written by one.
pub(super) const LAST: u64 = u64::MAX / 2;

/// The first and the last byte are never zero: a part of a record that is all zeros was not written.
pub(super) const MARK: [u8; 3] = [0xb5, b'w', b'b'];
const END: u8 = 0x5b;

const DELETE: u8 = 0;
const VALUE: u8 = 1;

/// A record as it lies in a segment's bytes.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Record<'a> {
    pub(super) sequence: u64,
    /// The last sequence that was on the disk when this one was written.
    pub(super) durable: u64,
    pub(super) name: &'a str,
    /// None: the key was deleted.
    pub(super) value: Option<&'a [u8]>,
    /// Where the next record begins.
    pub(super) end: usize,
}

/// Why there is no record where one should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Flaw {
    /// It was begun and not finished, as a crash leaves it: the bytes end, or a whole sector of it is zero.
    Torn,
    /// It is there in full and is not what was written.
    Damaged,
}

/// Bytes of a record.
pub(super) fn length(name: usize, value: usize) -> usize {
    HEADER.saturating_add(name).saturating_add(value).saturating_add(1)
}

/// Appends a record. The caller has made sure that [`length`] fits into 32 bits.
pub(super) fn encode(into: &mut Vec<u8>, salt: u32, sequence: u64, durable: u64, name: &str, value: Option<&[u8]>) {
    let start = into.len();
    let bytes = value.unwrap_or_default();
    into.extend_from_slice(&MARK);
    into.push(if value.is_some() { VALUE } else { DELETE });
    into.extend_from_slice(&((name.len() + bytes.len() + 1) as u32).to_le_bytes());
    into.extend_from_slice(&sequence.to_le_bytes());
    into.extend_from_slice(&durable.to_le_bytes());
    into.extend_from_slice(&(name.len() as u32).to_le_bytes());
    let body = crc32c::crc32c_append(crc32c::crc32c_append(salt, name.as_bytes()), bytes);
    into.extend_from_slice(&crc32c::crc32c_append(body, &[END]).to_le_bytes());
    let header = crc32c::crc32c_append(salt, &into[start..]);
    into.extend_from_slice(&header.to_le_bytes());
    into.extend_from_slice(name.as_bytes());
    into.extend_from_slice(bytes);
    into.push(END);
}

/// What a header says, whose checksum is right.
pub(super) struct Header {
    kind: u8,
    sequence: u64,
    durable: u64,
    name_length: usize,
    /// Bytes of the body.
    pub(super) length: usize,
    /// Its checksum.
    pub(super) body: u32,
}

impl Header {
    /// The header that begins `bytes`, of which there are enough.
    pub(super) fn read(bytes: &[u8], salt: u32) -> Option<Self> {
        let header: &[u8; HEADER] = bytes.first_chunk()?;
        let number =
            |from: usize| u32::from_le_bytes([header[from], header[from + 1], header[from + 2], header[from + 3]]);
        let long = |from: usize| u64::from(number(from)) | u64::from(number(from + 4)) << 32;
        let is_whole = header.starts_with(&MARK) && crc32c::crc32c_append(salt, &header[..32]) == number(32);
        is_whole.then(|| Self {
            kind: header[3],
            sequence: long(8),
            durable: long(16),
            name_length: number(24) as usize,
            length: number(4) as usize,
            body: number(28),
        })
    }

    /// The record with this body, whose checksum is right, that ends at `end`.
    pub(super) fn with<'a>(&self, body: &'a [u8], end: usize) -> Option<Record<'a>> {
        let (name, value) = body.split_last().and_then(|(_, body)| body.split_at_checked(self.name_length))?;
        let name = std::str::from_utf8(name).ok()?;
        let value = match self.kind {
            VALUE => Some(value),
            DELETE if value.is_empty() => None,
            _ => return None,
        };
        let Self { sequence, durable, .. } = *self;
        (sequence <= LAST).then_some(Record { sequence, durable, name, value, end })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::scan::{SECTOR, Scan};
    use super::*;

    fn decode(bytes: &[u8], at: usize, salt: u32) -> Result<Option<Record<'_>>, Flaw> {
        Scan::new(bytes, salt).decode(at)
    }

    fn find(bytes: &[u8], from: usize, salt: u32) -> Option<(usize, Record<'_>)> {
        Scan::new(bytes, salt).find(from)
    }

    fn encoded(salt: u32, value: Option<&[u8]>) -> Vec<u8> {
        let mut bytes = Vec::new();
        encode(&mut bytes, salt, 7, 5, "user:1", value);
        bytes
    }

    #[test]
    fn what_is_written_is_read() {
        for value in [None, Some(&b""[..]), Some(&[0; 2000][..])] {
            let bytes = encoded(9, value);
            assert_eq!(bytes.len(), length(6, value.map_or(0, <[u8]>::len)));
            let record = decode(&bytes, 0, 9).unwrap().unwrap();
            assert_eq!(record, Record { sequence: 7, durable: 5, name: "user:1", value, end: bytes.len() });
            assert_eq!(decode(&bytes, record.end, 9), Ok(None));
        }
    }

    #[test]
    fn every_flipped_bit_is_damage_and_every_cut_is_a_tear() {
        let bytes = encoded(9, Some(b"a value"));
        for at in 0..bytes.len() {
            assert_eq!(decode(&bytes[..at], 0, 9), if at == 0 { Ok(None) } else { Err(Flaw::Torn) });
            for bit in 0..8 {
                let mut flipped = bytes.clone();
                flipped[at] ^= 1 << bit;
                assert_eq!(decode(&flipped, 0, 9), Err(Flaw::Damaged), "byte {at} bit {bit}");
            }
        }
    }

    #[test]
    fn a_sector_that_was_never_written_is_a_tear() {
        let bytes = encoded(9, Some(&[1; 3000]));
        for sector in 0..bytes.len() / SECTOR {
            let mut torn = bytes.clone();
            torn[sector * SECTOR..(sector + 1) * SECTOR].fill(0);
            assert_eq!(decode(&torn, 0, 9), Err(Flaw::Torn));
        }
    }

    #[test]
    fn a_record_of_another_segment_is_none() {
        assert_eq!(decode(&encoded(9, Some(b"v")), 0, 10), Err(Flaw::Damaged));
        assert_eq!(find(&encoded(9, Some(b"v")), 0, 10), None);
    }

    proptest! {
        #[test]
        fn any_bytes_are_decoded_without_a_panic(bytes: Vec<u8>, at in 0usize..300, salt: u32) {
            if let Ok(Some(record)) = decode(&bytes, at, salt) {
                prop_assert!(record.end <= bytes.len());
            }
            find(&bytes, at, salt);
        }

        /// Random bytes hardly ever pass the header's checksum: here it is right, and what it protects is not.
        #[test]
        fn any_header_with_a_right_checksum_is_decoded_without_a_panic(
            mut header in prop::array::uniform32(any::<u8>()),
            body: Vec<u8>,
            right_length: bool,
            right_body: bool,
        ) {
            header[..3].copy_from_slice(&MARK);
            if right_length {
                header[4..8].copy_from_slice(&(body.len() as u32).to_le_bytes());
            }
            if right_body {
                header[28..].copy_from_slice(&crc32c::crc32c_append(3, &body).to_le_bytes());
            }
            let mut bytes = header.to_vec();
            bytes.extend(crc32c::crc32c_append(3, &header).to_le_bytes());
            bytes.extend(&body);
            if let Ok(Some(record)) = decode(&bytes, 0, 3) {
                prop_assert!(record.end <= bytes.len());
            }
        }

        #[test]
        fn a_record_is_found_behind_garbage(garbage: Vec<u8>, value: Vec<u8>) {
            let mut bytes = garbage.clone();
            encode(&mut bytes, 3, 8, 2, "k", Some(&value));
            let (at, record) = find(&bytes, 0, 3).unwrap();
            prop_assert_eq!((at, record.sequence, record.value), (garbage.len(), 8, Some(&value[..])));
        }
    }
}
