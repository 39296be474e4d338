//! The LIRS authors' traces: block numbers, one a line; a line `*` ends a part.

use super::{Format, likely, whole_lines};
use crate::{
    Carries, Confidence, Request,
    lines::{Bad, LineParser, Lines, Rows},
    parse,
};

pub(super) const FORMAT: Format = Format {
    name: "lirs",
    about: "LIRS: block numbers, one a line, `*` between parts",
    extensions: &["trc"],
    carries: Carries::KEYS,
    mapped: false,
    detect: |head| match likely(head, |l| l == b"*" || parse::whole(l.trim_ascii()).is_some()) {
        // Without a mark these are plain keys like any others.
        Confidence::Likely if whole_lines(head).all(|l| l != b"*") => Confidence::Maybe,
        confidence => confidence,
    },
    open: |input, options| Lines::boxed(input, options, Lirs),
    create: None,
    sample: b"1\n2\n3\n*\n1\n2\n*\n",
};

struct Lirs;

impl LineParser for Lirs {
    fn line(&mut self, line: &[u8], rows: &mut Rows<'_>) -> Result<(), Bad> {
        let number = line.trim_ascii();
        if number == b"*" {
            rows.pass();
            return Ok(());
        }
        let key = parse::whole(number).ok_or_else(|| Bad::field(line, number, "a block number or *"))?;
        rows.push(Request { at: rows.tick(), key, size: 1, ..Request::default() });
        Ok(())
    }

    fn carries(&self) -> Carries {
        FORMAT.carries
    }
}
