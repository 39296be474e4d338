//! Looks for records at any place of a segment's bytes. Where they are damaged, what claims to be a record may overlap others: to sum up
//! each would take the square of the time, so that sums are taken from those of the whole.

use std::cell::OnceCell;

use super::record::{Flaw, HEADER, Header, MARK, Record};

/// What a disk writes whole or not at all.
pub(super) const SECTOR: usize = 512;
/// Bytes between two sums that are kept; shorter bodies are summed by themselves.
const STEP: usize = 4096;

pub(super) struct Scan<'a> {
    bytes: &'a [u8],
    salt: u32,
    /// CRC-32C of all bytes before each multiple of `STEP`.
    sums: OnceCell<Vec<u32>>,
    /// For each sector the next one that is all zeros, itself included, and one beyond for none.
    zeros: OnceCell<Vec<usize>>,
}

impl<'a> Scan<'a> {
    pub(super) fn new(bytes: &'a [u8], salt: u32) -> Self {
        Self { bytes, salt, sums: OnceCell::new(), zeros: OnceCell::new() }
    }

    /// The record that begins at `at`; none at the end of the bytes.
    ///
    /// # Errors
    /// There are bytes, and they are no record.
    pub(super) fn decode(&self, at: usize) -> Result<Option<Record<'a>>, Flaw> {
        let rest = self.bytes.get(at..).unwrap_or_default();
        if rest.is_empty() {
            return Ok(None);
        }
        if rest.len() < HEADER {
            return Err(Flaw::Torn);
        }
        let Some(header) = Header::read(rest, self.salt) else {
            return Err(self.flaw(at, at + HEADER));
        };
        let (start, end) = (at + HEADER, (at + HEADER).saturating_add(header.length));
        let Some(body) = self.bytes.get(start..end) else {
            return Err(Flaw::Torn);
        };
        if self.sum(start, end) != header.body {
            return Err(self.flaw(at, end));
        }
        header.with(body, end).map(Some).ok_or(Flaw::Damaged)
    }

    /// The first whole record at or behind `from`, with where it begins.
    pub(super) fn find(&self, from: usize) -> Option<(usize, Record<'a>)> {
        let last = self.bytes.len().checked_sub(HEADER)?;
        (from..=last).filter(|&at| self.bytes[at..].starts_with(&MARK)).find_map(|at| {
            let header = Header::read(&self.bytes[at..], self.salt)?;
            let (start, end) = (at + HEADER, (at + HEADER).checked_add(header.length)?);
            let body = self.bytes.get(start..end).filter(|_| self.sum(start, end) == header.body)?;
            Some((at, header.with(body, end)?))
        })
    }

    /// The salted checksum of a part of the bytes.
    fn sum(&self, start: usize, end: usize) -> u32 {
        if end - start <= STEP {
            return crc32c::crc32c_append(self.salt, &self.bytes[start..end]);
        }
        // A sum of two parts is that of the first, moved on by the length of the second, with that of the second added (xor): so what the
        // bytes before `start` have left in the sum up to `end` is taken out by adding it once more, with the salt in its place.
        crc32c::crc32c_combine(self.salt ^ self.sum_to(start), self.sum_to(end), end - start)
    }

    /// Without the salt, of all bytes before `end`.
    fn sum_to(&self, end: usize) -> u32 {
        let sums = self.sums.get_or_init(|| {
            let mut sum = 0;
            let next = |step: &[u8]| {
                let before = sum;
                sum = crc32c::crc32c_append(sum, step);
                before
            };
            // One beyond the last whole step.
            self.bytes.chunks(STEP).chain([&[][..]]).map(next).collect()
        });
        crc32c::crc32c_append(sums[end / STEP], &self.bytes[end / STEP * STEP..end])
    }

    /// What is wrong with the bytes from `at`, of which those before `end` should be a record's. A disk that lost power has
    /// written some sectors of them and not others; the others are zero, for the file was never as long before.
    fn flaw(&self, at: usize, end: usize) -> Flaw {
        let (end, first) = (end.min(self.bytes.len()), at / SECTOR + 1);
        let is_zero = |bytes: &[u8]| bytes.iter().all(|&byte| byte == 0);
        let zeros = self.zeros.get_or_init(|| {
            let sectors = self.bytes.len().div_ceil(SECTOR);
            let mut zeros = vec![sectors; sectors + 2];
            for (sector, bytes) in self.bytes.chunks(SECTOR).enumerate().rev() {
                zeros[sector] = if is_zero(bytes) { sector } else { zeros[sector + 1] };
            }
            zeros
        });
        let begins_with_zeros = is_zero(&self.bytes[at..(first * SECTOR).min(self.bytes.len())]);
        if begins_with_zeros || zeros[first] * SECTOR < end { Flaw::Torn } else { Flaw::Damaged }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::record::encode;
    use super::*;

    proptest! {
        #[test]
        fn a_sum_of_a_part_is_that_of_its_bytes(bytes in prop::collection::vec(any::<u8>(), STEP..4 * STEP), salt: u32, a: u16, b: u16) {
            let scan = Scan::new(&bytes, salt);
            let [a, b] = [a, b].map(|at| usize::from(at) % (bytes.len() + 1));
            let (start, end) = (a.min(b), a.max(b));
            prop_assert_eq!(scan.sum(start, end), crc32c::crc32c_append(salt, &bytes[start..end]));
            prop_assert_eq!(scan.sum_to(end), crc32c::crc32c(&bytes[..end]));
        }

        #[test]
        fn a_sector_of_zeros_is_found_wherever_it_lies(sectors in prop::collection::vec(any::<bool>(), 1..20), cut in 0..SECTOR, at: u16, length: u16) {
            let mut bytes: Vec<u8> = sectors.iter().flat_map(|&zero| [u8::from(!zero); SECTOR]).collect();
            bytes.truncate(bytes.len() - cut);
            let at = usize::from(at) % bytes.len();
            let end = at + 1 + usize::from(length);
            // Each piece of a sector between the two.
            let (mut from, mut expected) = (at, Flaw::Damaged);
            while from < end.min(bytes.len()) {
                let to = ((from / SECTOR + 1) * SECTOR).min(bytes.len());
                if bytes[from..to].iter().all(|&byte| byte == 0) {
                    expected = Flaw::Torn;
                }
                from = to;
            }
            prop_assert_eq!(Scan::new(&bytes, 0).flaw(at, end), expected);
        }
    }

    /// Headers without end that all claim what follows: to sum up each would be to read 240 GB.
    #[test]
    fn bodies_that_overlap_take_no_more_time_than_others() {
        const SIZE: usize = 4 << 20;
        const SALT: u32 = 3;
        let mut whole = Vec::new();
        encode(&mut whole, SALT, 9, 0, "k", Some(b"v"));
        let mut bytes = Vec::with_capacity(SIZE + whole.len());
        while bytes.len() < SIZE {
            let mut header = whole[..HEADER].to_vec();
            let claimed = SIZE.saturating_sub(bytes.len() + HEADER) as u32;
            header[4..8].copy_from_slice(&claimed.to_le_bytes());
            let sum = crc32c::crc32c_append(SALT, &header[..32]);
            header[32..].copy_from_slice(&sum.to_le_bytes());
            bytes.extend_from_slice(&header);
        }
        let begins = bytes.len();
        bytes.extend_from_slice(&whole);
        let scan = Scan::new(&bytes, SALT);
        assert_eq!(scan.find(1).map(|(at, record)| (at, record.sequence)), Some((begins, 9)));
        for at in (0..begins).step_by(HEADER * 7) {
            assert!(scan.decode(at).is_err());
        }
    }
}
