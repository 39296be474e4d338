//! A segment is a file of records whose name is the sequence of the first; its header says so too.
//!
//! ```text
//! magic 8 | version 4 | salt 4 | first sequence 8 | crc 4 | records
//! ```

use std::hash::BuildHasher;

use super::record;

/// Bytes of the header.
pub(super) const HEADER: usize = 28;

const MAGIC: &[u8; 8] = b"LARDERWB";
const VERSION: u32 = 1;

/// The file name of the segment that begins with this sequence.
pub(super) fn name(first: u64, kind: &str) -> String {
    format!("{first:020}.{kind}")
}

/// The sequence in a name that [`name`] made.
pub(super) fn first_of(name: &str, kind: &str) -> Option<u64> {
    let digits = name.strip_suffix(kind)?.strip_suffix('.')?;
    let first = (digits.len() == 20).then(|| digits.parse().ok()).flatten();
    first.filter(|first| *first <= record::LAST)
}

/// A salt that no other segment is likely to have.
pub(super) fn salt() -> u32 {
    std::hash::RandomState::new().hash_one(0u8) as u32
}

/// A segment's header.
pub(super) fn header(first: u64, salt: u32) -> Vec<u8> {
    let mut bytes = MAGIC.to_vec();
    bytes.extend_from_slice(&VERSION.to_le_bytes());
    bytes.extend_from_slice(&salt.to_le_bytes());
    bytes.extend_from_slice(&first.to_le_bytes());
    bytes.extend_from_slice(&crc32c::crc32c(&bytes).to_le_bytes());
    bytes
}

/// The salt in the header of a segment that should begin with `first`.
///
/// # Errors
/// What is wrong with the header.
pub(super) fn check(bytes: &[u8], first: u64) -> Result<u32, String> {
    let damaged = || "its header is damaged".to_owned();
    let header: &[u8; HEADER] = bytes.first_chunk().ok_or_else(damaged)?;
    let word = |from: usize| u32::from_le_bytes([header[from], header[from + 1], header[from + 2], header[from + 3]]);
    if !header.starts_with(MAGIC) || crc32c::crc32c(&header[..24]) != word(24) {
        return Err(damaged());
    }
    if word(8) != VERSION {
        return Err(format!("version {} of the format, and this larder reads version {VERSION}", word(8)));
    }
    if header[16..24] != first.to_le_bytes() {
        return Err("it has another segment's name".to_owned());
    }
    Ok(word(12))
}

/// A whole segment with these writes, which need not follow each other: what dead letters are kept in.
pub(super) fn of(writes: &[super::Write]) -> Vec<u8> {
    let salt = salt();
    let mut bytes = header(writes.first().map_or(0, |write| write.sequence), salt);
    for write in writes {
        record::encode(&mut bytes, salt, write.sequence, 0, &write.name, write.value.as_deref());
    }
    bytes
}
