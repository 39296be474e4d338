//! Access logs of nginx and Apache, common or combined:
//! `host ident user [10/Oct/2000:13:55:36 -0700] "GET /path HTTP/1.1" 200 2326 "referrer" "agent"`.
//!
//! GET and HEAD read the path with its query; PUT, POST and PATCH set it; DELETE deletes it. Other methods, and
//! responses other than 2xx and 3xx unless asked for, are passed over.
//!
//! A size is that of a GET's answer. 304 and HEAD answer without the value, and what is answered to a PUT is not the value: theirs is what is known
//! by earlier rows.

use larder_policy::Op;

use super::{Format, likely};
use crate::{
    Carries, Confidence, Request, dates,
    key::text,
    lines::{Bad, LineParser, Lines, Rows},
    parse,
    sizes::{Sizes, Told},
};

pub(super) const FORMAT: Format = Format {
    name: "access-log",
    about: "nginx and Apache access logs, common and combined",
    extensions: &["log"],
    carries: Carries { times: true, sizes: true, ops: true, ..Carries::KEYS },
    mapped: false,
    detect: |head| match likely(head, |line| split(line).is_ok()) {
        // Nothing else has a date in brackets before a quoted request.
        Confidence::Likely => Confidence::Certain,
        other => other,
    },
    open: |input, options| {
        Lines::boxed(input, options, AccessLog { all: options.all_statuses, sizes: Sizes::default() })
    },
    create: None,
    sample: b"192.0.2.1 - - [10/Oct/2000:13:55:36 -0700] \"GET /a.png?v=1 HTTP/1.1\" 200 2326 \"-\" \"curl/8\"\n\
              192.0.2.1 - ann [10/Oct/2000:13:55:37 -0700] \"PUT /b HTTP/1.1\" 204 0\n\
              192.0.2.9 - - [10/Oct/2000:13:55:38 -0700] \"GET /gone HTTP/1.1\" 404 10 \"-\" \"-\"\n\
              192.0.2.1 - - [10/Oct/2000:13:55:39 -0700] \"HEAD /a.png?v=1 HTTP/1.1\" 304 - \"-\" \"say \\\"hi\\\"\"\n\
              192.0.2.1 - - [10/Oct/2000:13:55:40 -0700] \"DELETE /b HTTP/1.1\" 204 0 \"-\" \"-\"\n",
};

/// A line's parts.
struct Parts<'a> {
    date: &'a [u8],
    /// Method, target, version.
    request: &'a [u8],
    status: &'a [u8],
    bytes: &'a [u8],
}

fn split(line: &[u8]) -> Result<Parts<'_>, Bad> {
    let short = |wanted| Bad::new(0, format!("expected {wanted}"));
    let open = memchr::memchr(b'[', line).ok_or_else(|| short("a date in brackets"))?;
    let (date, rest) = parse::split(&line[open + 1..], b']');
    let rest = rest.trim_ascii_start().strip_prefix(b"\"").ok_or_else(|| short("a quoted request after the date"))?;
    let end = closing_quote(rest).ok_or_else(|| short("a quote that ends the request"))?;
    let mut words = parse::words(&rest[end + 1..]);
    let status = words.next().ok_or_else(|| short("a status"))?;
    let bytes = words.next().ok_or_else(|| short("a number of bytes"))?;
    if status.len() != 3 || parse::whole(status).is_none() {
        return Err(Bad::field(line, status, "a status of three digits"));
    }
    Ok(Parts { date, request: &rest[..end], status, bytes })
}

fn closing_quote(text: &[u8]) -> Option<usize> {
    let mut escaped = false;
    text.iter().position(|b| {
        let closes = *b == b'"' && !escaped;
        escaped = *b == b'\\' && !escaped;
        closes
    })
}

struct AccessLog {
    /// Failed responses as well.
    all: bool,
    sizes: Sizes,
}

impl LineParser for AccessLog {
    fn line(&mut self, line: &[u8], rows: &mut Rows<'_>) -> Result<(), Bad> {
        let Parts { date, request, status, bytes } = split(line)?;
        let at =
            dates::access_log(date).ok_or_else(|| Bad::field(line, date, "a date like 10/Oct/2000:13:55:36 -0700"))?;
        let size = match bytes {
            b"-" => 0,
            _ => parse::capped(bytes).ok_or_else(|| Bad::field(line, bytes, "a number of bytes"))?,
        };
        let (method, target) = parse::split(request, b' ');
        let op = match method {
            b"GET" | b"HEAD" => Op::Get,
            b"PUT" | b"POST" | b"PATCH" => Op::Set,
            b"DELETE" => Op::Delete,
            _ => {
                // Scanners send anything at all; it is logged, but no request for a resource.
                rows.pass();
                return Ok(());
            }
        };
        let good = matches!(status[0], b'2' | b'3');
        let path = parse::split(target, b' ').0;
        if path.is_empty() || !(good || self.all) {
            rows.pass();
            return Ok(());
        }
        let key = text(path);
        let told = match (method, status) {
            (b"GET", b"206") => Told::Part(size.into()),
            (b"GET", b"304") => Told::Nothing,
            (b"GET", _) => Told::Whole(size.into()),
            _ => Told::Nothing,
        };
        let size = match op {
            Op::Delete => 1,
            // What failed is not the value.
            _ if !good => size.max(1),
            _ => self.sizes.of(key, told, rows),
        };
        rows.push(Request { at, key, size, ttl: 0, cost: 0, op });
        Ok(())
    }

    fn carries(&self) -> Carries {
        FORMAT.carries
    }
}
