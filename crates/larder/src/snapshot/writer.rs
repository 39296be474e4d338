//! Writes a snapshot, block by block.

use std::io::{self, Write};

use super::Kept;
use super::format::{self, BLOCK, Header, LAST};
use crate::{Error, ErrorKind};

/// Writes a snapshot into any sink; [`Snapshots::write`](super::Snapshots::write) does so into a file that is whole or not there.
#[derive(Debug)]
pub struct Writer<W: Write> {
    sink: W,
    payload: Vec<u8>,
    entries: u64,
}

impl<W: Write> Writer<W> {
    /// Begins a snapshot of keys of `schema`, taken at `taken_at`, in microseconds of Unix time. The schema is a number the caller
    /// chooses for what its keys mean: a reader refuses another.
    ///
    /// # Errors
    /// `Storage`: the sink failed.
    pub fn new(mut sink: W, schema: u64, taken_at: u64) -> Result<Self, Error> {
        sink.write_all(&Header { schema, taken_at }.to_bytes()).map_err(failed)?;
        Ok(Self { sink, payload: 0u64.to_le_bytes().to_vec(), entries: 0 })
    }

    /// Adds a key. Statistics that are no numbers are written as 0.
    ///
    /// # Errors
    /// `BadKey`: its text is longer than 65,535 bytes; it is left out. `Storage`: the sink failed.
    pub fn push(&mut self, kept: &Kept) -> Result<(), Error> {
        format::put(kept, &mut self.payload)?;
        self.entries += 1;
        if self.payload.len() < BLOCK {
            return Ok(());
        }
        self.end_block(self.entries)
    }

    /// Writes what is held back and the end; returns the sink and the number of keys.
    ///
    /// # Errors
    /// `Storage`: the sink failed.
    pub fn finish(mut self) -> Result<(W, u64), Error> {
        self.end_block(LAST)?;
        self.payload.extend_from_slice(&self.entries.to_le_bytes());
        self.end_block(LAST)?;
        self.sink.flush().map_err(failed)?;
        Ok((self.sink, self.entries))
    }

    /// Writes the block and begins the one with the number `next`.
    fn end_block(&mut self, next: u64) -> Result<(), Error> {
        let frame = format::framed(&self.payload);
        self.sink.write_all(&frame).and_then(|()| self.sink.write_all(&self.payload)).map_err(failed)?;
        self.payload.clear();
        self.payload.extend_from_slice(&next.to_le_bytes());
        Ok(())
    }
}

pub(super) fn failed(error: io::Error) -> Error {
    Error::caused(ErrorKind::Storage, format!("writing a snapshot: {error}"), error)
}
