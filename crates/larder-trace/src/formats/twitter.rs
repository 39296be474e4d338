//! Twitter's 2020 cache traces: `timestamp,key,key size,value size,client id,operation,TTL` without a header.
//!
//! An entry's size is that of key and value together, as both take memory.

use super::{Format, likely, ops};
use crate::{
    Carries, Request,
    key::key_number,
    lines::{Bad, LineParser, Lines, Rows},
    parse,
};

pub(super) const FORMAT: Format = Format {
    name: "twitter",
    about: "Twitter cache traces: timestamp,key,key size,value size,client,operation,TTL",
    extensions: &["sort", "csv"],
    carries: Carries { costs: false, ..Carries::ALL },
    mapped: false,
    detect: |head| likely(head, |line| request(line).is_ok()),
    open: |input, options| Lines::boxed(input, options, Twitter),
    create: None,
    sample: b"0,nz:u:eeW511W3dcH3de3d15ec,22,304,3,get,0\n0,a,1,0,9,get,0\n1,with,comma,10,90,9,set,3600\n2,a,1,0,9,delete,0\n",
};

/// Fields are taken from both ends: a key may hold commas.
fn request(line: &[u8]) -> Result<Request, Bad> {
    let (time, mut rest) = parse::split(line, b',');
    let mut last = || {
        let comma = memchr::memrchr(b',', rest).ok_or_else(|| Bad::new(0, "expected seven columns"))?;
        let field = &rest[comma + 1..];
        rest = &rest[..comma];
        Ok(field)
    };
    let (ttl, op, client, value, key_size) = (last()?, last()?, last()?, last()?, last()?);
    let number = |field, wanted| parse::whole(field).ok_or_else(|| Bad::field(line, field, wanted));
    number(client, "a client's number")?;
    let size = number(key_size, "a key's size in bytes")?.saturating_add(number(value, "a value's size in bytes")?);
    Ok(Request {
        at: parse::seconds(time).ok_or_else(|| Bad::field(line, time, "a time in seconds"))?,
        key: key_number(rest),
        size: parse::cap(size),
        ttl: parse::cap(number(ttl, "a TTL in seconds")?),
        cost: 0,
        op: ops::of(op).ok_or_else(|| Bad::field(line, op, "an operation of memcached"))?,
    })
}

struct Twitter;

impl LineParser for Twitter {
    fn line(&mut self, line: &[u8], rows: &mut Rows<'_>) -> Result<(), Bad> {
        rows.push(request(line)?);
        Ok(())
    }

    fn carries(&self) -> Carries {
        FORMAT.carries
    }
}
