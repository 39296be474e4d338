//! The readers of a log's files, for bytes from anywhere.

use super::recover::{Recovered, recover_bytes};
use super::{OnDamage, Write, checkpoint, identity, record, segment};

/// A segment with these writes.
pub fn segment_of(writes: &[Write]) -> Vec<u8> {
    segment::of(writes)
}

/// Reads a segment called after the sequence `first`, as the newest of a log or with another behind it.
///
/// # Panics
/// When the reader breaks a rule of its own.
pub fn segment(bytes: &[u8], first: u64) {
    let first = first.min(record::LAST);
    for following in [None, first.checked_add(1000)] {
        let strict = recover_bytes(bytes, first, following, OnDamage::Refuse);
        let lenient = recover_bytes(bytes, first, following, OnDamage::SetAside).expect("damage is set aside");
        let Recovered { writes, next, lost, .. } = &lenient;
        assert!(writes.iter().is_sorted_by(|one, other| one.sequence < other.sequence));
        assert!(writes.last().is_none_or(|last| last.sequence < *next));
        if let Some(strict) = strict {
            assert_eq!((&strict.writes, strict.next, strict.lost, *lost), (writes, *next, 0, 0));
        }
    }
}

/// The sequence in a checkpoint.
pub fn checkpoint(bytes: &[u8]) -> Option<u64> {
    checkpoint::parse(bytes)
}

/// The number in an identity.
pub fn identity(text: &str) -> Option<u64> {
    identity::parse(text)
}
