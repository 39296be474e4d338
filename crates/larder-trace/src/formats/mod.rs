//! The formats: one file each, and one line in [`FORMATS`].

use larder_policy::Op;

use crate::{Carries, Confidence, Error, ErrorKind, Input, Options, Output, Reader, Writer};

mod native;
mod oracle_general;

/// What the crate knows about a format.
#[derive(Debug)]
pub struct Format {
    /// The name `--format` takes.
    pub name: &'static str,
    /// One line for people.
    pub about: &'static str,
    /// File endings it goes by, without those of compressions.
    pub extensions: &'static [&'static str],
    /// The most its traces carry.
    pub carries: Carries,
    /// How sure it is of a trace that begins with these bytes.
    pub detect: fn(&[u8]) -> Confidence,
    /// Starts reading.
    pub open: fn(Input, &Options) -> Result<Box<dyn Reader>, Error>,
    /// Starts writing, where the format can be written.
    pub create: Option<fn(Output) -> Result<Box<dyn Writer>, Error>>,
    /// A small trace of our own making; the tests of every format run over it.
    pub sample: &'static [u8],
}

/// Every format, in order of preference where detection finds two as likely.
pub const FORMATS: &[Format] = &[native::FORMAT, oracle_general::FORMAT];

/// The format of that name.
pub(crate) fn named(name: &str) -> Result<&'static Format, Error> {
    FORMATS.iter().find(|f| f.name == name).ok_or_else(|| {
        let known: Vec<_> = FORMATS.iter().map(|f| f.name).collect();
        let what = format!("no format {name:?}; known are {}", known.join(", "));
        Error::new(ErrorKind::UnknownFormat, what)
    })
}

/// The operation's name in our own formats.
pub(crate) fn op_name(op: Op) -> &'static str {
    match op {
        Op::Get => "get",
        Op::Set => "set",
        Op::Delete => "delete",
    }
}

/// The whole lines of a head, without blank ones and without a last one that may be cut.
pub(crate) fn whole_lines(head: &[u8]) -> impl Iterator<Item = &[u8]> {
    let whole = match memchr::memrchr(b'\n', head) {
        Some(end) => &head[..end],
        None => head,
    };
    whole.split(|b| *b == b'\n').map(|l| l.strip_suffix(b"\r").unwrap_or(l)).filter(|l| !l.is_empty())
}

/// `Likely` where the first few lines, and at least one, all satisfy `fits`.
pub(crate) fn likely(head: &[u8], fits: impl Fn(&[u8]) -> bool) -> Confidence {
    let mut lines = whole_lines(head).take(8).peekable();
    if lines.peek().is_some() && lines.all(fits) { Confidence::Likely } else { Confidence::No }
}
