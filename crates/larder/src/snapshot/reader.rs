//! Reads a snapshot: all of it is checked before the first key is handed out.

use std::io::{self, Read, Seek, SeekFrom};

use super::Kept;
use super::format::{self, Fields, Header, LAST, damaged};
use crate::{Error, ErrorKind};

/// Yields a snapshot's keys, one block in memory at a time.
#[derive(Debug)]
pub struct Reader<R> {
    pass: Pass<R>,
    taken_at: u64,
    entries: u64,
}

impl<R: Read + Seek> Reader<R> {
    /// Checks the whole snapshot, then goes back to its start. Give a source with a buffer.
    ///
    /// # Errors
    /// `Codec`: it is damaged, truncated, of another schema, or of a version to come; the message says which. `Storage`: it cannot
    /// be read.
    pub fn new(mut source: R, schema: u64) -> Result<Self, Error> {
        let mut check = Pass::new(&mut source, schema)?;
        let mut entries = 0;
        while check.next()?.is_some() {
            entries += 1;
        }
        let taken_at = check.header.taken_at;
        source.seek(SeekFrom::Start(0)).map_err(unread)?;
        Ok(Self { pass: Pass::new(source, schema)?, taken_at, entries })
    }

    /// When it was taken, in microseconds of Unix time.
    pub fn taken_at(&self) -> u64 {
        self.taken_at
    }

    /// How many keys it holds.
    pub fn entries(&self) -> u64 {
        self.entries
    }
}

/// After an error, which only a file that changes meanwhile can cause, the iterator ends.
impl<R: Read> Iterator for Reader<R> {
    type Item = Result<Kept, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        let next = self.pass.next().transpose();
        if matches!(next, Some(Err(_))) {
            self.pass.ended = true;
        }
        next
    }
}

/// One pass over the blocks.
#[derive(Debug)]
struct Pass<R> {
    source: R,
    header: Header,
    payload: Vec<u8>,
    /// Where in the payload the next entry begins.
    at: usize,
    entries: u64,
    ended: bool,
}

impl<R: Read> Pass<R> {
    fn new(mut source: R, schema: u64) -> Result<Self, Error> {
        let header = Header::read(&mut source, schema)?;
        Ok(Self { source, header, payload: Vec::new(), at: 0, entries: 0, ended: false })
    }

    fn next(&mut self) -> Result<Option<Kept>, Error> {
        while self.at == self.payload.len() {
            if self.ended {
                return Ok(None);
            }
            self.next_block()?;
        }
        let mut fields = Fields(&self.payload[self.at..]);
        let kept = fields.kept()?;
        self.at = self.payload.len() - fields.0.len();
        self.entries += 1;
        Ok(Some(kept))
    }

    fn next_block(&mut self) -> Result<(), Error> {
        format::read_block(&mut self.source, &mut self.payload)?;
        let mut fields = Fields(&self.payload);
        let number = fields.u64()?;
        self.at = self.payload.len() - fields.0.len();
        if number == LAST {
            self.ended = fields.u64()? == self.entries && fields.is_empty();
            self.at = self.payload.len();
            let followed = self.source.read(&mut [0]).map_err(unread)? > 0;
            return if self.ended && !followed { Ok(()) } else { Err(damaged()) };
        }
        if number == self.entries { Ok(()) } else { Err(damaged()) }
    }
}

fn unread(error: io::Error) -> Error {
    Error::caused(ErrorKind::Storage, format!("it cannot be read: {error}"), error)
}
