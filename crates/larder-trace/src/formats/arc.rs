//! The ARC authors' block traces: `start count ignored number`, one request for each of `count` blocks.

use super::{Format, likely};
use crate::{
    Carries, Confidence, Request,
    lines::{Bad, LineParser, Lines, Rows, Run, TICK},
    parse,
};

pub(super) const FORMAT: Format = Format {
    name: "arc",
    about: "ARC: lines of start, count, ignored, number; a request for each of count blocks",
    extensions: &["lis"],
    carries: Carries::KEYS,
    mapped: false,
    detect,
    open: |input, options| Lines::boxed(input, options, Arc),
    create: None,
    sample: b"100 3 0 0\n7 1 0 1\n100 2 0 2\n",
};

/// Requests are numbered one by one: four other numbers could as well be another format's.
fn detect(head: &[u8]) -> Confidence {
    let is_row = |line: &[u8]| fields(line).is_ok() && !line.contains(&b',');
    let mut next = None;
    let is_next = |line: &[u8]| {
        let number = fields(line).ok().map(|[.., number]| number);
        std::mem::replace(&mut next, number.and_then(|number| number.checked_add(1)))
            .is_none_or(|next| number == Some(next))
    };
    if likely(head, is_next) == Confidence::Likely {
        likely(head, is_row)
    } else {
        likely(head, is_row).min(Confidence::Maybe)
    }
}

/// The first block, how many, and the request's number.
fn fields(line: &[u8]) -> Result<[u64; 3], Bad> {
    let mut words = parse::words(line);
    let mut next = |wanted| {
        let word = words.next().unwrap_or(&line[line.len()..]);
        parse::whole(word).ok_or_else(|| Bad::field(line, word, wanted))
    };
    let (first, count) = (next("a first block")?, next("a count of blocks")?);
    next("a third number")?;
    let row = [first, count, next("the request's number")?];
    words.next().map_or(Ok(row), |more| Err(Bad::field(line, more, "four numbers only")))
}

struct Arc;

impl LineParser for Arc {
    fn line(&mut self, line: &[u8], rows: &mut Rows<'_>) -> Result<(), Bad> {
        let [key, count, _] = fields(line)?;
        let first = Request { at: rows.tick(), key, size: 1, ..Request::default() };
        rows.run(Run { first, count, key_step: 1, tick: TICK })
    }

    fn carries(&self) -> Carries {
        FORMAT.carries
    }
}
