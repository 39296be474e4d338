//! What memcached's `watch fetchers` (and `mutations`, `deletions`) prints: words of the form `name=value`, the key
//! percent-encoded, as `ts=1700000000.123456 gid=1 type=item_get key=foo status=hit clsid=1 cfd=20 size=300`.

use std::borrow::Cow;

use larder_policy::Op;

use super::{Format, likely};
use crate::{
    Carries, Confidence, Request,
    key::key_number,
    lines::{Bad, LineParser, Lines, Rows},
    parse,
};

pub(super) const FORMAT: Format = Format {
    name: "memcached",
    about: "memcached `watch fetchers` logs, and `mutations` and `deletions`",
    extensions: &["log"],
    carries: Carries { costs: false, ..Carries::ALL },
    mapped: false,
    detect: |head| match likely(head, |line| line == b"OK" || line.starts_with(b"ts=")) {
        Confidence::Likely if memchr::memmem::find(head, b" gid=").is_some() => Confidence::Certain,
        _ => Confidence::No,
    },
    open: |input, options| Lines::boxed(input, options, Memcached),
    create: None,
    sample: b"OK\nts=1700000000.123456 gid=1 type=item_get key=foo status=not_found clsid=0 cfd=20 size=0\n\
              ts=1700000000.2 gid=2 type=item_store key=foo status=stored cmd=set ttl=60 clsid=1 cfd=20 size=300\n\
              ts=1700000001.0 gid=3 type=item_get key=a%20b status=found clsid=1 cfd=21 size=12\n\
              ts=1700000001.5 gid=4 type=conn_new rip=192.0.2.1 rport=1 transport=tcp cfd=22\n\
              ts=1700000002.0 gid=5 type=deleted key=foo cmd=delete clsid=1 cfd=20 size=300\n",
};

struct Memcached;

impl LineParser for Memcached {
    fn line(&mut self, line: &[u8], rows: &mut Rows<'_>) -> Result<(), Bad> {
        if line == b"OK" {
            rows.pass();
            return Ok(());
        }
        let [mut ts, mut kind, mut key, mut status, mut ttl, mut size] = [&b""[..]; 6];
        for word in parse::words(line) {
            let (name, value) = parse::split(word, b'=');
            match name {
                b"ts" => ts = value,
                b"type" => kind = value,
                b"key" => key = value,
                b"status" => status = value,
                b"ttl" => ttl = value,
                b"size" => size = value,
                _ => {}
            }
        }
        let at = parse::seconds(ts).ok_or_else(|| Bad::field(line, ts, "ts= and a time in seconds"))?;
        let op = match (kind, status) {
            (b"item_get", _) => Op::Get,
            (b"item_store", b"stored") => Op::Set,
            (b"deleted", _) => Op::Delete,
            _ => {
                rows.pass();
                return Ok(());
            }
        };
        if key.is_empty() {
            return Err(Bad::new(0, "expected key="));
        }
        // A lifetime below 0 has ended.
        let op = if op == Op::Set && ttl.starts_with(b"-") { Op::Delete } else { op };
        // Absent, and 0 for what was not found: not known. A lifetime of 0 means none.
        let (size, ttl) = (parse::capped(size).unwrap_or(0).max(1), parse::capped(ttl).unwrap_or(0));
        rows.push(Request { at, key: key_number(&percent_decoded(key)), size, ttl, cost: 0, op });
        Ok(())
    }

    fn carries(&self) -> Carries {
        FORMAT.carries
    }
}

fn percent_decoded(text: &[u8]) -> Cow<'_, [u8]> {
    if memchr::memchr(b'%', text).is_none() {
        return Cow::Borrowed(text);
    }
    let (mut out, mut rest) = (Vec::with_capacity(text.len()), text);
    while let [first, tail @ ..] = rest {
        let escape = if *first == b'%' { tail.first_chunk().copied().and_then(hex) } else { None };
        out.push(escape.unwrap_or(*first));
        rest = if escape.is_some() { &tail[2..] } else { tail };
    }
    Cow::Owned(out)
}

/// The byte of two hexadecimal digits.
pub(super) fn hex([high, low]: [u8; 2]) -> Option<u8> {
    let digit = |b: u8| char::from(b).to_digit(16);
    u8::try_from(digit(high)? << 4 | digit(low)?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percent_escapes() {
        for (text, decoded) in [("a%20b", "a b"), ("%", "%"), ("%2", "%2"), ("%zz", "%zz"), ("%41%42", "AB"), ("", "")]
        {
            assert_eq!(&*percent_decoded(text.as_bytes()), decoded.as_bytes());
        }
    }
}
