//! libCacheSim's oracleGeneral: records of 24 bytes, little-endian: u32 time in seconds, u64 object, u32 size, i64
//! number of the object's next request, -1 where there is none.

use std::{
    collections::HashMap,
    fs::File,
    io::{self, BufWriter, Read, Seek, SeekFrom, Write},
};

use larder_policy::{Op, Time};

use super::Format;
use crate::{Carries, Confidence, Error, ErrorKind, Input, Output, Progress, Reader, Request, Skipped, Writer};

const RECORD: usize = 24;

/// Records the writer holds at a time while it walks backwards.
const BLOCK: u64 = 1 << 16;

pub(super) const FORMAT: Format = Format {
    name: "oracle-general",
    about: "libCacheSim oracleGeneral: 24-byte records of time, object, size, next request",
    extensions: &["oracleGeneral", "bin"],
    carries: Carries { times: true, sizes: true, ..Carries::KEYS },
    mapped: false,
    detect,
    open: |input, options| {
        Ok(Box::new(OracleGeneral { input, skip_bad: options.skip_bad, skipped: Skipped::default() }))
    },
    create: Some(create),
    sample: b"\x0a\0\0\0\x2a\0\0\0\0\0\0\0\0\x02\0\0\x03\0\0\0\0\0\0\0\
              \x0b\0\0\0\x2b\0\0\0\0\0\0\0\0\x04\0\0\xff\xff\xff\xff\xff\xff\xff\xff\
              \x0d\0\0\0\x2a\0\0\0\0\0\0\0\0\x02\0\0\xff\xff\xff\xff\xff\xff\xff\xff",
};

/// There is no mark: binary records whose times do not go back and whose next requests lie ahead.
fn detect(head: &[u8]) -> Confidence {
    let mut last = 0;
    let mut records = head.chunks_exact(RECORD).zip(0i64..).peekable();
    let plausible = |(record, index): (&[u8], i64)| {
        let (request, next) = parse(record);
        let in_order = request.at.0 >= last;
        last = request.at.0;
        // Both -1 and the largest number stand for "never" in the wild.
        in_order && (next == -1 || next == i64::MAX || next > index && next < 1 << 48)
    };
    let binary = head.iter().take(RECORD * 8).any(|b| *b < b' ' && !matches!(b, b'\t' | b'\n' | b'\r'));
    if binary && records.peek().is_some() && records.all(plausible) { Confidence::Likely } else { Confidence::No }
}

#[inline]
fn parse(record: &[u8]) -> (Request, i64) {
    let word = |at: usize| u32::from_le_bytes([record[at], record[at + 1], record[at + 2], record[at + 3]]);
    let long = |at: usize| u64::from(word(at)) | u64::from(word(at + 4)) << 32;
    let at = Time(u64::from(word(0)) * 1_000_000);
    let request = Request { at, key: long(4), size: word(12), ttl: 0, cost: 0, op: Op::Get };
    (request, long(16).cast_signed())
}

struct OracleGeneral {
    input: Input,
    skip_bad: u64,
    skipped: Skipped,
}

impl Reader for OracleGeneral {
    fn read(&mut self, batch: &mut Vec<Request>, max: usize) -> Result<usize, Error> {
        let start = batch.len();
        while batch.len() - start < max {
            let records = match self.input.records(RECORD) {
                Ok(records) => records,
                Err(error) => {
                    // Only a record cut at the end can be bad.
                    self.skipped.bad(error, self.skip_bad)?;
                    self.input.consume(RECORD);
                    break;
                }
            };
            if records.is_empty() {
                break;
            }
            let room = max - (batch.len() - start);
            let taken = (records.len() / RECORD).min(room) * RECORD;
            batch.extend(records[..taken].chunks_exact(RECORD).map(|r| parse(r).0));
            self.input.consume(taken);
        }
        Ok(batch.len() - start)
    }

    fn carries(&self) -> Carries {
        FORMAT.carries
    }

    fn skipped(&self) -> Skipped {
        self.skipped.clone()
    }

    fn progress(&self) -> Progress {
        self.input.progress()
    }
}

fn create(output: Output) -> Result<Box<dyn Writer>, Error> {
    let spool = tempfile::tempfile().map_err(|e| Error::io(e, "creating a temporary file"))?;
    Ok(Box::new(Oracle { output, spool: BufWriter::with_capacity(1 << 17, spool), count: 0 }))
}

/// The next request is only known at the end: records are spooled to a temporary file, completed by one walk
/// backwards over it, and then copied. Memory grows with the distinct keys alone.
struct Oracle {
    output: Output,
    spool: BufWriter<File>,
    count: u64,
}

impl Writer for Oracle {
    fn write(&mut self, requests: &[Request]) -> Result<(), Error> {
        for r in requests.iter().filter(|r| r.op != Op::Delete) {
            let mut record = [0; RECORD];
            let Ok(seconds) = u32::try_from(r.at.0 / 1_000_000) else {
                let (number, seconds) = (self.count + 1, r.at.0 / 1_000_000);
                let what = format!("request {number} at {seconds} s: this format has 32 bits for the seconds");
                let error =
                    Error::new(ErrorKind::Unsupported, what).help("let times begin near 0, or choose another format");
                return Err(self.output.place(error));
            };
            record[..4].copy_from_slice(&seconds.to_le_bytes());
            record[4..12].copy_from_slice(&r.key.to_le_bytes());
            record[12..16].copy_from_slice(&r.size.to_le_bytes());
            self.spool.write_all(&record).map_err(|e| self.output.failed(e))?;
            self.count += 1;
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<u64, Error> {
        Ok(self.output.written())
    }

    fn finish(self: Box<Self>) -> Result<(), Error> {
        let Self { mut output, spool, count } = *self;
        let result = spool.into_inner().map_err(io::IntoInnerError::into_error);
        result
            .and_then(|mut spool| {
                link(&mut spool, count)?;
                spool.seek(SeekFrom::Start(0))?;
                io::copy(&mut spool, &mut output)
            })
            .map_err(|e| output.failed(e))?;
        output.finish()
    }
}

/// Fills in each record's next request, block by block from the end. libCacheSim counts requests from 1.
fn link(spool: &mut File, count: u64) -> io::Result<()> {
    let mut next_of = HashMap::new();
    let mut block = Vec::new();
    let mut end = count;
    while end > 0 {
        let start = end.saturating_sub(BLOCK);
        block.resize((end - start) as usize * RECORD, 0);
        spool.seek(SeekFrom::Start(start * RECORD as u64))?;
        spool.read_exact(&mut block)?;
        for (record, index) in block.chunks_exact_mut(RECORD).rev().zip((start..end).rev()) {
            let next = next_of.insert(parse(record).0.key, index + 1).map_or(-1, u64::cast_signed);
            record[16..].copy_from_slice(&next.to_le_bytes());
        }
        spool.seek(SeekFrom::Start(start * RECORD as u64))?;
        spool.write_all(&block)?;
        end = start;
    }
    Ok(())
}
