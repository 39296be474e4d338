//! libCacheSim's CSV as its own tools print it: `time, object, size`, and perhaps the next request's number.

use std::io::Write as _;

use larder_policy::Op;

use super::{Format, likely};
use crate::{
    Carries, Confidence, Request,
    lines::{Bad, LineParser, Lines, Rows},
    output::LineWriter,
    parse,
};

const MARK: &[u8] = b"# time, object, size";

pub(super) const FORMAT: Format = Format {
    name: "libcachesim-csv",
    about: "libCacheSim CSV: time, object, size[, next request]",
    extensions: &["csv"],
    carries: Carries { times: true, sizes: true, ..Carries::KEYS },
    mapped: false,
    detect: |head| match head.starts_with(MARK) {
        true => Confidence::Certain,
        false => likely(head, |line| request(line).is_ok()),
    },
    open: |input, options| Lines::boxed(input, options, LibCacheSim),
    create: Some(|output| {
        LineWriter::boxed(output, "# time, object, size\n", |r, out| {
            if r.op != Op::Delete {
                // Writing to a vector does not fail.
                let _ = writeln!(out, "{}, {}, {}", r.at.0 / 1_000_000, r.key, r.size);
            }
        })
    }),
    sample: b"# time, object, size, next_access_vtime\n0, 17, 512, 2\n1, 18, 4096, -1\n1, 17, 512, -1\n",
};

fn request(line: &[u8]) -> Result<Request, Bad> {
    let mut fields = line.split(|b| *b == b',').map(<[u8]>::trim_ascii);
    let mut next = || fields.next().unwrap_or(&line[line.len()..]);
    let (time, object, size) = (next(), next(), next());
    let request = Request {
        at: parse::seconds(time).ok_or_else(|| Bad::field(line, time, "a time in seconds"))?,
        key: parse::whole(object).ok_or_else(|| Bad::field(line, object, "an object's number"))?,
        size: parse::capped(size).ok_or_else(|| Bad::field(line, size, "a size in whole bytes"))?,
        ..Request::default()
    };
    if let Some(next) = fields.next() {
        let number = next.strip_prefix(b"-").unwrap_or(next);
        parse::whole(number).ok_or_else(|| Bad::field(line, next, "the next request's number"))?;
    }
    fields.next().map_or(Ok(request), |more| Err(Bad::field(line, more, "four columns at most")))
}

struct LibCacheSim;

impl LineParser for LibCacheSim {
    fn line(&mut self, line: &[u8], rows: &mut Rows<'_>) -> Result<(), Bad> {
        if line.starts_with(b"#") {
            rows.pass();
        } else {
            rows.push(request(line)?);
        }
        Ok(())
    }

    fn carries(&self) -> Carries {
        FORMAT.carries
    }
}
