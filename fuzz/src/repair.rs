//! Checksums put right after damage, by the formats as they are documented.

use bytes::Buf;

/// The CRC-32C of all but the last four bytes goes there.
pub(crate) fn at_end(bytes: &mut [u8]) {
    if let Some((body, sum)) = bytes.split_last_chunk_mut::<4>() {
        *sum = crc32c::crc32c(body).to_le_bytes();
    }
}

/// A snapshot: the header's, and each block's over its length and payload.
pub(crate) fn snapshot(bytes: &mut [u8]) {
    const HEADER: usize = 32;
    let Some((header, mut rest)) = bytes.split_at_mut_checked(HEADER) else { return };
    at_end(header);
    while let Some((frame, body)) = rest.split_first_chunk_mut::<8>() {
        let length = (&frame[..4]).get_u32_le() as usize;
        let Some((payload, next)) = body.split_at_mut_checked(length) else { return };
        let sum = crc32c::crc32c_append(crc32c::crc32c(&frame[..4]), payload);
        frame[4..].copy_from_slice(&sum.to_le_bytes());
        rest = next;
    }
}

/// A segment of a write-behind log: the header's, and of each record those of the body and of its own header.
pub(crate) fn segment(bytes: &mut [u8]) {
    const HEADER: usize = 28;
    const RECORD: usize = 36;
    let Some((header, mut rest)) = bytes.split_at_mut_checked(HEADER) else { return };
    at_end(header);
    let salt = (&header[12..]).get_u32_le();
    while let Some((head, body)) = rest.split_at_mut_checked(RECORD) {
        let length = (&head[4..]).get_u32_le() as usize;
        let left = body.len();
        let (body, next) = body.split_at_mut(length.min(left));
        head[28..32].copy_from_slice(&crc32c::crc32c_append(salt, body).to_le_bytes());
        let sum = crc32c::crc32c_append(salt, &head[..32]);
        head[32..].copy_from_slice(&sum.to_le_bytes());
        rest = next;
    }
}

/// What instances share: each part's, and the whole's.
pub(crate) fn bundle(bytes: &mut [u8]) {
    let mut rest = bytes.get_mut(8..).unwrap_or_default();
    while let Some((length, body)) = rest.split_first_chunk_mut::<4>() {
        let Some((part, next)) = body.split_at_mut_checked(u32::from_le_bytes(*length) as usize) else { break };
        at_end(part);
        rest = next;
    }
    at_end(bytes);
}

/// An envelope: whose it is, and the checksum of all but itself.
pub(crate) fn envelope(bytes: &mut [u8], fingerprint: u64) {
    if bytes.len() < 64 {
        return;
    }
    bytes[16..24].copy_from_slice(&fingerprint.to_le_bytes());
    let sum = crc32c::crc32c_append(crc32c::crc32c(&bytes[..28]), &bytes[32..]);
    bytes[28..32].copy_from_slice(&sum.to_le_bytes());
}
