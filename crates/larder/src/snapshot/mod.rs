//! A file of keys and their statistics, for a warm restart: which keys were resident, how often they were read, what a load costs.
//!
//! Values are not in it: they would be outdated, and are the remote tier's or the origin's to give. [`Snapshots`] keeps three
//! generations, each written whole or not at all; [`crate::prewarm`] decides what of it is worth loading.
//!
//! # Format
//!
//! Version 1, little-endian. A header: the magic `larder\0s`, the version (u32), the schema (u64), when it was taken (u64), and the
//! CRC-32C of all that. Then blocks: the payload's length (u32), the CRC-32C of length and payload (u32), and the payload, which
//! begins with the number (u64) of its first entry. The last block has the number 2⁶⁴−1 and the count of the entries (u64); nothing
//! follows it. An entry: its name's length (u16) and the name, size and cost (u32), reads a second (f32), microseconds since the
//! last read and the moment until which it is fresh (u64), and a byte that says whether its days follow (48 f32, two u32).

mod format;
mod generations;
mod rate;
mod reader;
mod writer;

pub use generations::{Newest, Refused, Snapshots, Written};
pub use rate::Rate;
pub use reader::Reader;
pub use writer::Writer;

use crate::prewarm::Days;

/// What is kept of a key.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Kept {
    /// The key's text, at most 65,535 bytes.
    pub name: String,
    /// The value's size in bytes.
    pub size: u32,
    /// What a load costs, in microseconds; 0 where unknown.
    pub cost: u32,
    /// Reads a second when the snapshot was taken, old ones fading; see [`Rate`].
    pub reads: f32,
    /// Microseconds from the last read to the snapshot.
    pub idle: u64,
    /// Until when the value was known to be fresh, in microseconds of Unix time; 0 where nothing was known.
    pub fresh_until: u64,
    /// When in the day it is read, if that was followed.
    pub days: Option<Box<Days>>,
}
