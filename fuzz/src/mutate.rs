//! Damage that is likely to matter: fields at the ends of what they can be, parts moved, doubled and taken out.
//!
//! Our own: mutatis (0.5) changes values of Rust types, not bytes of a format, and asks for a newer compiler; bolero drives fuzzers
//! that are installed beside it.

use std::ops::Range;

/// What a number in a text may be.
const NUMBERS: [&str; 10] = [
    "",
    "0",
    "-1",
    "1e309",
    "NaN",
    "18446744073709551615",
    "18446744073709551616",
    "9223372036854775807",
    "4294967295",
    "0.1",
];
/// What stands between things in texts.
const MARKS: [u8; 16] = *b"\0\r\n\t ,:;=\"'/%[{\xff";

/// Makes damaged copies.
pub struct Mutator {
    rng: fastrand::Rng,
}

impl Mutator {
    /// The same seed, the same damage.
    pub fn new(seed: u64) -> Self {
        Self { rng: fastrand::Rng::with_seed(seed) }
    }

    /// One of the samples, damaged in up to four places.
    pub fn damaged(&mut self, samples: &[Vec<u8>]) -> Vec<u8> {
        let mut bytes = samples[self.rng.usize(..samples.len())].clone();
        for _ in 0..self.rng.u32(1..=4) {
            self.damage(&mut bytes, samples);
        }
        bytes
    }

    fn damage(&mut self, bytes: &mut Vec<u8>, samples: &[Vec<u8>]) {
        let (kind, part) = (self.rng.u32(..12), self.range(bytes.len()));
        match kind {
            0 => bytes.truncate(part.start),
            1 => drop(bytes.drain(part)),
            2 => {
                let copy = bytes[part].to_vec();
                self.put(bytes, &copy);
            }
            3 => {
                let other = &samples[self.rng.usize(..samples.len())];
                let other = other[self.range(other.len())].to_vec();
                self.put(bytes, &other);
            }
            4 => {
                let noise: Vec<u8> = part.take(32).map(|_| self.rng.u8(..)).collect();
                self.put(bytes, &noise);
            }
            5 => {
                let mark = MARKS[self.rng.usize(..MARKS.len())];
                self.put(bytes, &[mark]);
            }
            6 => self.number(bytes),
            7 | 8 => self.field(bytes),
            _ => {
                if let Some(byte) = bytes.get_mut(part.start) {
                    *byte ^= 1 << self.rng.u32(..8);
                }
            }
        }
    }

    /// A part of so many bytes, short ones more often.
    fn range(&mut self, length: usize) -> Range<usize> {
        let start = self.rng.usize(..=length);
        let most = if self.rng.bool() { 16 } else { length };
        start..(start + self.rng.usize(..=most)).min(length)
    }

    fn put(&mut self, bytes: &mut Vec<u8>, what: &[u8]) {
        let at = self.rng.usize(..=bytes.len());
        // Replaced, or moved on.
        let end = if self.rng.bool() { (at + what.len()).min(bytes.len()) } else { at };
        bytes.splice(at..end, what.iter().copied());
    }

    /// Sets a field of 1 to 8 bytes to the end of a range, or to about the length of the whole.
    fn field(&mut self, bytes: &mut [u8]) {
        let width = 1 << self.rng.u32(..4);
        let Some(last) = bytes.len().checked_sub(width) else { return };
        let length = bytes.len() as u64;
        let extremes = [0, 1, u64::MAX, u64::MAX >> 1, 1 << 63, 1 << 31, 1 << 16, length, length + 1, length - 1];
        let extreme = extremes[self.rng.usize(..extremes.len())].to_le_bytes();
        let mut field = extreme[..width].to_vec();
        if self.rng.u32(..4) == 0 {
            field.reverse();
        }
        let at = self.rng.usize(..=last);
        bytes[at..at + width].copy_from_slice(&field);
    }

    /// Replaces a number that is written out.
    fn number(&mut self, bytes: &mut Vec<u8>) {
        let from = self.rng.usize(..=bytes.len());
        let Some(at) = bytes[from..].iter().position(u8::is_ascii_digit).map(|at| from + at) else { return };
        let end = at + bytes[at..].iter().take_while(|byte| byte.is_ascii_digit()).count();
        let number = NUMBERS[self.rng.usize(..NUMBERS.len())];
        bytes.splice(at..end, number.bytes());
    }
}
