//! CacheLib's kvcache traces: CSV with a header that names `key,op,size,op_count,key_size` and perhaps more, in any
//! order. A row stands for `op_count` requests; an entry's size is that of key and value together.

use larder_policy::{Op, Time};

use super::{Format, ops};
use crate::{
    Carries, Confidence, Error, ErrorKind, Input, Options, Reader, Request,
    key::key_number,
    lines::{Bad, LineParser, Lines, Rows, Run, TICK},
    parse,
};

pub(super) const FORMAT: Format = Format {
    name: "cachelib",
    about: "CacheLib kvcache CSV: key,op,size,op_count,key_size[,ttl] by its header",
    extensions: &["csv"],
    carries: Carries { costs: false, ..Carries::ALL },
    mapped: false,
    detect: |head| match Header::parse(parse::split(head, b'\n').0) {
        Some(header) if header.op_count.is_some() => Confidence::Certain,
        _ => Confidence::No,
    },
    open,
    create: None,
    sample: b"key,op,size,op_count,key_size,ttl\n1668601171,GET,82,2,40,0\n1668601172,SET,100,1,30,3600\nabc,DELETE,0,1,3,0\n",
};

/// Where the columns are.
struct Header {
    key: usize,
    op: usize,
    size: usize,
    op_count: Option<usize>,
    key_size: Option<usize>,
    ttl: Option<usize>,
    time: Option<usize>,
    columns: usize,
}

impl Header {
    fn parse(line: &[u8]) -> Option<Self> {
        let names: Vec<_> = line.split(|b| *b == b',').map(<[u8]>::trim_ascii).collect();
        let find = |name: &[u8]| names.iter().position(|n| *n == name);
        Some(Self {
            key: find(b"key")?,
            op: find(b"op")?,
            size: find(b"size")?,
            op_count: find(b"op_count"),
            key_size: find(b"key_size"),
            ttl: find(b"ttl"),
            time: find(b"op_time"),
            columns: names.len(),
        })
    }
}

fn open(mut input: Input, options: &Options) -> Result<Box<dyn Reader>, Error> {
    let line = input.line()?.unwrap_or(b"key,op,size,op_count,key_size");
    let Some(header) = Header::parse(line) else {
        let error = Error::new(ErrorKind::BadRow, "expected a header with the columns key, op and size");
        return Err(input.place(error.line(1).byte(0)));
    };
    Lines::boxed(input, options, CacheLib { header, ends: Vec::new() })
}

struct CacheLib {
    header: Header,
    /// Where the columns of the line at hand end.
    ends: Vec<usize>,
}

impl LineParser for CacheLib {
    fn line(&mut self, line: &[u8], rows: &mut Rows<'_>) -> Result<(), Bad> {
        let Self { header, ends } = self;
        ends.clear();
        ends.extend(memchr::memchr_iter(b',', line).chain([line.len()]));
        if ends.len() != header.columns {
            return Err(Bad::new(0, format!("expected {} columns, found {}", header.columns, ends.len())));
        }
        let field = |i: usize| &line[if i == 0 { 0 } else { ends[i - 1] + 1 }..ends[i]];
        let number = |column: Option<usize>, neutral, wanted| match column.map(field) {
            None | Some(b"") => Ok(neutral),
            // A lifetime of -1 means none.
            Some(negative) if negative.starts_with(b"-") && parse::whole(&negative[1..]).is_some() => Ok(neutral),
            Some(field) => parse::whole(field).ok_or_else(|| Bad::field(line, field, wanted)),
        };
        let (key, op) = (field(header.key), field(header.op));
        let value = number(Some(header.size), 0, "a size in bytes")?;
        let size = value.saturating_add(number(header.key_size, 0, "a key's size in bytes")?);
        let (at, tick) = match header.time {
            Some(_) => {
                let seconds = number(header.time, 0, "a time in seconds")?;
                (Time(seconds.checked_mul(1_000_000).ok_or_else(|| Bad::new(0, "expected a smaller op_time"))?), 0)
            }
            None => (rows.tick(), TICK),
        };
        let first = Request {
            at,
            key: key_number(key),
            size: parse::cap(size).max(1),
            ttl: parse::cap(number(header.ttl, 0, "a ttl in seconds")?),
            cost: 0,
            op: ops::of(op).unwrap_or(Op::Get),
        };
        if ops::of(op).is_none() {
            return Err(Bad::field(line, op, "GET, SET or DELETE"));
        }
        rows.run(Run { first, count: number(header.op_count, 1, "a count of operations")?, key_step: 0, tick })
    }

    fn carries(&self) -> Carries {
        Carries { times: self.header.time.is_some(), ttls: self.header.ttl.is_some(), ..FORMAT.carries }
    }
}
