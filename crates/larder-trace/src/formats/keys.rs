//! Plain keys, one a line, as Caffeine's simulator and many dumps have them.

use std::io::Write as _;

use larder_policy::Op;

use super::{Format, likely};
use crate::{
    Carries, Confidence, Request,
    key::key_number,
    lines::{Bad, LineParser, Lines, Rows},
    output::LineWriter,
};

pub(super) const FORMAT: Format = Format {
    name: "keys",
    about: "plain keys, one a line",
    extensions: &["keys", "txt", "trace"],
    carries: Carries::KEYS,
    mapped: false,
    detect: |head| likely(head, plain).min(Confidence::Maybe),
    open: |input, options| Lines::boxed(input, options, Keys),
    create: Some(|output| {
        LineWriter::boxed(output, "", |r, out| {
            if r.op != Op::Delete {
                // Writing to a vector does not fail.
                let _ = writeln!(out, "{}", r.key);
            }
        })
    }),
    sample: b"17\n/index.html\n18446744073709551615\n17\n",
};

/// Text without anything that columns are made of, so that a table nobody knows is not taken for keys.
fn plain(line: &[u8]) -> bool {
    std::str::from_utf8(line).is_ok() && !line.iter().any(|b| b.is_ascii_control() || b" ,;|{}\"".contains(b))
}

struct Keys;

impl LineParser for Keys {
    #[inline]
    fn line(&mut self, line: &[u8], rows: &mut Rows<'_>) -> Result<(), Bad> {
        rows.push(Request { at: rows.tick(), key: key_number(line), size: 1, ..Request::default() });
        Ok(())
    }

    fn carries(&self) -> Carries {
        FORMAT.carries
    }
}
