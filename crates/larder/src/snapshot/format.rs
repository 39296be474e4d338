//! Bytes: the header, a block, an entry. Whatever bytes come in, an error goes out.

use std::io::{self, Read};

use super::Kept;
use crate::prewarm::Days;
use crate::{Error, ErrorKind};

/// The newest version, which is the one written.
pub(super) const VERSION: u32 = 1;

const MAGIC: [u8; 8] = *b"larder\0s";
/// Magic, version, schema, moment, checksum.
pub(super) const HEADER: usize = 8 + 4 + 8 + 8 + 4;
/// Blocks are filled to about this, so that a reader needs no more memory.
pub(super) const BLOCK: usize = 1 << 16;
/// A block that was filled to just below and then got the longest entry.
const LONGEST_BLOCK: usize = BLOCK + LONGEST_ENTRY;
const LONGEST_ENTRY: usize = 2 + (u16::MAX as usize) + 4 + 4 + 4 + 8 + 8 + 1 + DAYS;
const DAYS: usize = 48 * 4 + 4 + 4;
/// The number of the last block.
pub(super) const LAST: u64 = u64::MAX;

/// What a header says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) schema: u64,
    pub(super) taken_at: u64,
}

impl Header {
    pub(super) fn to_bytes(self) -> [u8; HEADER] {
        let mut bytes = [0; HEADER];
        bytes[..8].copy_from_slice(&MAGIC);
        bytes[8..12].copy_from_slice(&VERSION.to_le_bytes());
        bytes[12..20].copy_from_slice(&self.schema.to_le_bytes());
        bytes[20..28].copy_from_slice(&self.taken_at.to_le_bytes());
        let checksum = crc32c::crc32c(&bytes[..28]);
        bytes[28..].copy_from_slice(&checksum.to_le_bytes());
        bytes
    }

    /// Reads it, and refuses what is not of this schema or of a version to come.
    pub(super) fn read(source: &mut impl Read, schema: u64) -> Result<Self, Error> {
        let mut bytes = [0; HEADER];
        // What every version begins with comes first: a later header may be shorter.
        fill(source, &mut bytes[..12])?;
        if bytes[..8] != MAGIC {
            return Err(refused("it is no snapshot"));
        }
        let version = Fields(&bytes[8..12]).u32()?;
        if version > VERSION {
            let what = format!(
                "it is of format {version}, made by a newer larder; this one reads up to {VERSION}: upgrade, or let it go"
            );
            return Err(refused(what));
        }
        fill(source, &mut bytes[12..])?;
        let mut fields = Fields(&bytes[12..]);
        let header = Self { schema: fields.u64()?, taken_at: fields.u64()? };
        if version == 0 || fields.u32()? != crc32c::crc32c(&bytes[..28]) {
            return Err(refused("its header is damaged"));
        }
        if header.schema != schema {
            let what = format!(
                "its keys are of schema {:#x}, those of this cache of {schema:#x}: they mean something else",
                header.schema
            );
            return Err(refused(what));
        }
        Ok(header)
    }
}

/// A block with its length and checksum.
pub(super) fn framed(payload: &[u8]) -> [u8; 8] {
    // Writers keep blocks far below 4 GiB.
    let length = (payload.len() as u32).to_le_bytes();
    let checksum = crc32c::crc32c_append(crc32c::crc32c(&length), payload);
    let mut frame = [0; 8];
    frame[..4].copy_from_slice(&length);
    frame[4..].copy_from_slice(&checksum.to_le_bytes());
    frame
}

/// Reads the next block's payload.
pub(super) fn read_block(source: &mut impl Read, payload: &mut Vec<u8>) -> Result<(), Error> {
    let mut frame = [0; 8];
    fill(source, &mut frame)?;
    let mut fields = Fields(&frame);
    let (length, checksum) = (fields.u32()? as usize, fields.u32()?);
    // Before anything of that size is asked for.
    if length > LONGEST_BLOCK {
        return Err(damaged());
    }
    payload.resize(length, 0);
    fill(source, payload)?;
    let found = crc32c::crc32c_append(crc32c::crc32c(&frame[..4]), payload);
    if found == checksum { Ok(()) } else { Err(damaged()) }
}

/// Appends an entry.
pub(super) fn put(kept: &Kept, out: &mut Vec<u8>) -> Result<(), Error> {
    let Ok(length) = u16::try_from(kept.name.len()) else {
        let what = format!("a key of {} bytes; a snapshot holds keys of up to {}", kept.name.len(), u16::MAX);
        return Err(Error::new(ErrorKind::BadKey, what));
    };
    out.extend_from_slice(&length.to_le_bytes());
    out.extend_from_slice(kept.name.as_bytes());
    out.extend_from_slice(&kept.size.to_le_bytes());
    out.extend_from_slice(&kept.cost.to_le_bytes());
    out.extend_from_slice(&sound(kept.reads).to_le_bytes());
    out.extend_from_slice(&kept.idle.to_le_bytes());
    out.extend_from_slice(&kept.fresh_until.to_le_bytes());
    out.push(u8::from(kept.days.is_some()));
    if let Some(days) = &kept.days {
        days.reads().iter().flatten().for_each(|reads| out.extend_from_slice(&sound(*reads).to_le_bytes()));
        out.extend_from_slice(&days.first_day().to_le_bytes());
        out.extend_from_slice(&days.last_day().to_le_bytes());
    }
    Ok(())
}

/// One spoilt statistic must not cost the whole snapshot.
fn sound(reads: f32) -> f32 {
    if reads.is_finite() { reads.max(0.0) } else { 0.0 }
}

/// Fields from the front of a slice.
pub(super) struct Fields<'a>(pub(super) &'a [u8]);

impl<'a> Fields<'a> {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn kept(&mut self) -> Result<Kept, Error> {
        let length = u16::from_le_bytes(self.array()?);
        let name = std::str::from_utf8(self.take(usize::from(length))?).map_err(|_| damaged())?.to_owned();
        Ok(Kept {
            name,
            size: self.u32()?,
            cost: self.u32()?,
            reads: self.reads()?,
            idle: self.u64()?,
            fresh_until: self.u64()?,
            days: match self.take(1)? {
                [0] => None,
                [1] => Some(Box::new(self.days()?)),
                _ => return Err(damaged()),
            },
        })
    }

    fn days(&mut self) -> Result<Days, Error> {
        let mut reads = [[0.0; 24]; 2];
        for hour in reads.iter_mut().flatten() {
            *hour = self.reads()?;
        }
        Days::from_parts(reads, self.u32()?, self.u32()?).ok_or_else(damaged)
    }

    fn reads(&mut self) -> Result<f32, Error> {
        let reads = f32::from_le_bytes(self.array()?);
        if reads.is_finite() && reads >= 0.0 { Ok(reads) } else { Err(damaged()) }
    }

    pub(super) fn u32(&mut self) -> Result<u32, Error> {
        self.array().map(u32::from_le_bytes)
    }

    pub(super) fn u64(&mut self) -> Result<u64, Error> {
        self.array().map(u64::from_le_bytes)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Error> {
        let (front, rest) = self.0.split_first_chunk().ok_or_else(damaged)?;
        self.0 = rest;
        Ok(*front)
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8], Error> {
        let (front, rest) = self.0.split_at_checked(length).ok_or_else(damaged)?;
        self.0 = rest;
        Ok(front)
    }
}

fn fill(source: &mut impl Read, bytes: &mut [u8]) -> Result<(), Error> {
    source.read_exact(bytes).map_err(|error| match error.kind() {
        io::ErrorKind::UnexpectedEof => refused("it is truncated"),
        _ => Error::caused(ErrorKind::Storage, format!("it cannot be read: {error}"), error),
    })
}

pub(super) fn damaged() -> Error {
    refused("it is damaged")
}

fn refused(what: impl Into<String>) -> Error {
    Error::new(ErrorKind::Codec, what)
}
