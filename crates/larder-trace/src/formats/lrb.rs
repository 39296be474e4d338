//! LRB's and webcachesim's traces: `time id size`, apart by blanks; further columns are features nobody needs here.

use std::io::Write as _;

use larder_policy::{Op, Time};

use super::{Format, likely};
use crate::{
    Carries, Confidence, Request,
    lines::{Bad, LineParser, Lines, Rows},
    output::LineWriter,
    parse,
};

pub(super) const FORMAT: Format = Format {
    name: "lrb",
    about: "LRB and webcachesim: lines of time, id, size",
    extensions: &["tr", "lrb"],
    carries: Carries { times: true, sizes: true, ..Carries::KEYS },
    mapped: false,
    detect,
    open: |input, options| Lines::boxed(input, options, Lrb),
    create: Some(|output| {
        LineWriter::boxed(output, "", |r, out| {
            if r.op != Op::Delete {
                // Writing to a vector does not fail.
                let _ = writeln!(out, "{} {} {}", r.at.0 / 1_000_000, r.key, r.size);
            }
        })
    }),
    sample: b"0 17 512\n1 18 4096\n1 17 512\n",
};

/// With features behind, a line could as well be of another format; one feature looks like ARC's, whose blocks come in no order of time.
fn detect(head: &[u8]) -> Confidence {
    let most = if head.contains(&b',') { Confidence::No } else { Confidence::Likely };
    let three = |line: &[u8]| request(line).is_ok() && parse::words(line).count() == 3;
    let mut last = Time::default();
    let more = |line: &[u8]| request(line).is_ok_and(|row| std::mem::replace(&mut last, row.at) <= row.at);
    likely(head, three).max(likely(head, more).min(Confidence::Maybe)).min(most)
}

fn request(line: &[u8]) -> Result<Request, Bad> {
    let mut words = parse::words(line);
    let mut next = || words.next().unwrap_or(&line[line.len()..]);
    let (time, id, size) = (next(), next(), next());
    Ok(Request {
        at: parse::seconds(time).ok_or_else(|| Bad::field(line, time, "a time in seconds"))?,
        key: parse::whole(id).ok_or_else(|| Bad::field(line, id, "an object's number"))?,
        size: parse::capped(size).ok_or_else(|| Bad::field(line, size, "a size in whole bytes"))?,
        ..Request::default()
    })
}

struct Lrb;

impl LineParser for Lrb {
    fn line(&mut self, line: &[u8], rows: &mut Rows<'_>) -> Result<(), Bad> {
        rows.push(request(line)?);
        Ok(())
    }

    fn carries(&self) -> Carries {
        FORMAT.carries
    }
}
