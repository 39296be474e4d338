//! Our own CSV: `time,key,size,op,ttl` with a header, and optionally a sixth column `cost`.
//!
//! Time in seconds with up to six decimals, key a number or text (text is hashed), size in bytes, op `get`, `set` or
//! `delete`, ttl in seconds or empty, cost in microseconds or empty. Others write the same table: their fields may be quoted, as in any CSV,
//! and their operations have other words, as `GET`.

use std::io::Write as _;

use larder_policy::{Op, Time};

use super::{Format, ops, table::Cells, whole_lines};
use crate::{
    Carries, Confidence, Error, ErrorKind, Input, Options, Output, Reader, Request, Writer,
    key::key_number,
    lines::{Bad, LineParser, Lines, Rows, TICK},
    output::{LEVEL, LineWriter},
    parse,
};

const HEADER: &[u8] = b"time,key,size,op,ttl";

/// Bytes that hold the rows by which [`judge`] goes.
const HEAD: usize = 1 << 13;

pub(super) const FORMAT: Format = Format {
    name: "larder",
    about: "larder's own CSV: time,key,size,op,ttl[,cost] with a header",
    extensions: &["csv"],
    carries: Carries::ALL,
    mapped: false,
    detect: |head| if head.starts_with(HEADER) { Confidence::Certain } else { Confidence::No },
    open,
    create: Some(create),
    sample: b"time,key,size,op,ttl,cost\n0,17,1,get,,\n0.25,18446744073709551615,512,set,60,\n\
              1.000001,/index.html,4096,get,,1500\n2,17,1,delete,,\n",
};

fn open(mut input: Input, options: &Options) -> Result<Box<dyn Reader>, Error> {
    let header = input.line()?.unwrap_or(HEADER);
    let has_cost = header == b"time,key,size,op,ttl,cost";
    if header != HEADER && !has_cost {
        let found = String::from_utf8_lossy(&header[..header.len().min(60)]).into_owned();
        let what = format!("expected the header time,key,size,op,ttl or time,key,size,op,ttl,cost, found {found:?}");
        let error =
            Error::new(ErrorKind::BadRow, what).help("read other tables as format csv with their columns mapped");
        return Err(input.place(error.line(1).byte(0)));
    }
    let (times, sizes) = judge(input.head(HEAD)?);
    let carries = Carries { times, sizes, costs: has_cost, judged: true, ..Carries::ALL };
    Lines::boxed(input, options, Native { has_cost, carries, cells: Cells::default() })
}

/// The columns are always there, so whether times and sizes are real shows in the first rows alone: times that rise by
/// a second from row to row, from 0 or 1 on, are their index, and sizes that are all 1 are not known. Times of a poller
/// rise so too, but no clock starts there.
fn judge(head: &[u8]) -> (bool, bool) {
    let fields = |line| -> Option<(Time, u32)> {
        let (at, rest) = time(line).ok()?;
        Some((at, size(line, key(rest).1).ok()?.0))
    };
    let rows: Vec<_> = whole_lines(head).take(100).map_while(fields).collect();
    let starts = rows.first().is_some_and(|(at, _)| at.0 == 0 || at.0 == TICK);
    let indexed = starts && rows.windows(2).all(|w| w[1].0.0.checked_sub(w[0].0.0) == Some(TICK));
    (rows.len() < 2 || !indexed, rows.is_empty() || rows.iter().any(|(_, size)| *size != 1))
}

struct Native {
    has_cost: bool,
    carries: Carries,
    /// Of a line with quotes.
    cells: Cells,
}

impl LineParser for Native {
    #[inline]
    fn line(&mut self, line: &[u8], rows: &mut Rows<'_>) -> Result<(), Bad> {
        match self.plain(line) {
            Err(_) if memchr::memchr(b'"', line).is_some() => rows.push(self.quoted(line)?),
            request => rows.push(request?),
        }
        Ok(())
    }

    fn carries(&self) -> Carries {
        self.carries
    }
}

impl Native {
    /// Fields in the order of the columns, none of them quoted.
    #[inline]
    fn plain(&self, line: &[u8]) -> Result<Request, Bad> {
        let (at, rest) = time(line)?;
        if rest.first() == Some(&b'"') {
            return Err(Bad::field(line, rest, "a key without quotes"));
        }
        let (key, rest) = key(rest);
        let (size, rest) = size(line, rest)?;
        let (op, rest) = op(line, rest)?;
        let (ttl, cost) = if rest.is_empty() && !self.has_cost { (0, 0) } else { self.tail(line, rest)? };
        Ok(Request { at, key, size, ttl, cost, op })
    }

    #[cold]
    fn quoted(&mut self, line: &[u8]) -> Result<Request, Bad> {
        self.cells.split(line, b',')?;
        let (found, columns) = (self.cells.len(), 5 + usize::from(self.has_cost));
        if found != columns {
            return Err(Bad::new(0, format!("expected {columns} columns, found {found}")));
        }
        let cell = |at| self.cells.get(line, at);
        let bad = |at, wanted| Bad::field(line, cell(at), wanted);
        let optional = |at, wanted| match cell(at) {
            b"" => Ok(0),
            number => parse::capped(number).ok_or_else(|| bad(at, wanted)),
        };
        Ok(Request {
            at: parse::seconds(cell(0)).ok_or_else(|| bad(0, TIME))?,
            key: key_number(cell(1)),
            size: parse::capped(cell(2)).ok_or_else(|| bad(2, SIZE))?,
            op: ops::of(cell(3)).ok_or_else(|| bad(3, "get, set or delete"))?,
            ttl: optional(4, TTL)?,
            // None beyond the last.
            cost: optional(5, COST)?,
        })
    }

    fn tail(&self, line: &[u8], rest: &[u8]) -> Result<(u32, u32), Bad> {
        let optional = |field: &[u8], wanted| {
            if field.is_empty() { Ok(0) } else { parse::capped(field).ok_or_else(|| Bad::field(line, field, wanted)) }
        };
        let (ttl, cost) = match memchr::memchr(b',', rest) {
            Some(comma) if self.has_cost => (&rest[..comma], &rest[comma + 1..]),
            None if !self.has_cost => (rest, &rest[..0]),
            _ => return Err(Bad::new(0, format!("expected {} columns", 5 + usize::from(self.has_cost)))),
        };
        Ok((optional(ttl, TTL)?, optional(cost, COST)?))
    }
}

const TIME: &str = "a time in seconds";
const SIZE: &str = "a size in whole bytes";
const TTL: &str = "a ttl in whole seconds";
const COST: &str = "a cost in whole microseconds";

// Each function takes its field and the comma after it off the front.

#[inline]
fn time(line: &[u8]) -> Result<(Time, &[u8]), Bad> {
    match parse::leading_seconds(line) {
        Some((at, end)) if line.get(end) == Some(&b',') => Ok((at, &line[end + 1..])),
        _ => Err(Bad::field(line, parse::split(line, b',').0, TIME)),
    }
}

#[inline]
fn key(rest: &[u8]) -> (u64, &[u8]) {
    match parse::digits(rest) {
        Some((number, end)) if rest.get(end) == Some(&b',') && (rest[0] != b'0' || end == 1) => {
            (number, &rest[end + 1..])
        }
        _ => {
            let (key, rest) = parse::split(rest, b',');
            (key_number(key), rest)
        }
    }
}

#[inline]
fn size<'a>(line: &[u8], rest: &'a [u8]) -> Result<(u32, &'a [u8]), Bad> {
    match parse::digits(rest) {
        Some((size, end)) if rest.get(end) == Some(&b',') => Ok((parse::cap(size), &rest[end + 1..])),
        _ => Err(Bad::field(line, parse::split(rest, b',').0, SIZE)),
    }
}

#[inline]
fn op<'a>(line: &[u8], rest: &'a [u8]) -> Result<(Op, &'a [u8]), Bad> {
    match rest {
        [b'g', b'e', b't', b',', rest @ ..] => Ok((Op::Get, rest)),
        [b's', b'e', b't', b',', rest @ ..] => Ok((Op::Set, rest)),
        [b'd', b'e', b'l', b'e', b't', b'e', b',', rest @ ..] => Ok((Op::Delete, rest)),
        _ => {
            let (word, after) = parse::split(rest, b',');
            let op = ops::of(word).filter(|_| word.len() < rest.len());
            Ok((op.ok_or_else(|| Bad::field(line, word, "get, set or delete and a column after it"))?, after))
        }
    }
}

/// The cost column is always there: whether any row has one is not known before the last.
const WRITTEN: &str = "time,key,size,op,ttl,cost\n";

fn create(output: Output) -> Result<Box<dyn Writer>, Error> {
    LineWriter::boxed(output, WRITTEN, row)
}

/// `requests` as a trace of its own in larder's CSV, compressed with zstd: what a file `.csv.zst` of them holds.
///
/// # Errors
/// The compressor failed, which takes a lack of memory.
pub fn packed(requests: &[Request]) -> Result<Vec<u8>, Error> {
    let mut lines = WRITTEN.as_bytes().to_vec();
    requests.iter().for_each(|request| row(request, &mut lines));
    zstd::bulk::compress(&lines, LEVEL).map_err(|e| Error::io(e, "compressing"))
}

fn row(r: &Request, out: &mut Vec<u8>) {
    write_time(r.at, out);
    // Writing to a vector does not fail.
    let _ = write!(out, ",{},{},{},", r.key, r.size, ops::name(r.op));
    write_unless_zero(r.ttl, out);
    out.push(b',');
    write_unless_zero(r.cost, out);
    out.push(b'\n');
}

/// Seconds, with six decimals where they are not all zero.
pub(super) fn write_time(at: Time, out: &mut Vec<u8>) {
    let (seconds, micros) = (at.0 / 1_000_000, at.0 % 1_000_000);
    // Writing to a vector does not fail.
    let _ = match micros {
        0 => write!(out, "{seconds}"),
        _ => write!(out, "{seconds}.{micros:06}"),
    };
}

fn write_unless_zero(value: u32, out: &mut Vec<u8>) {
    if value > 0 {
        // Writing to a vector does not fail.
        let _ = write!(out, "{value}");
    }
}
