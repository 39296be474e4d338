//! The formats: one file each, and one line in [`FORMATS`].

use crate::{Carries, Confidence, Error, ErrorKind, Input, Options, Output, Reader, Writer};

mod access_log;
mod arc;
mod cachelib;
mod jsonl;
mod keys;
mod libcachesim_csv;
mod lirs;
mod lrb;
mod mapped;
mod memcached;
mod msr;
mod native;
pub(crate) mod ops;
mod oracle_general;
#[cfg(feature = "parquet")]
mod parquet;
mod redis;
mod table;
mod twitter;

pub use native::packed;

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
    /// Whether [`Options::columns`] applies to it.
    pub mapped: bool,
    /// How sure it is of a trace that begins with these bytes.
    pub detect: fn(&[u8]) -> Confidence,
    /// Starts reading.
    pub open: OpenFn,
    /// Starts writing, where the format can be written.
    pub create: Option<CreateFn>,
    /// A small trace of our own making; the tests of every format run over it.
    pub sample: &'static [u8],
}

/// Starts reading a trace.
pub type OpenFn = fn(Input, &Options) -> Result<Box<dyn Reader>, Error>;

/// Starts writing a trace.
pub type CreateFn = fn(Output) -> Result<Box<dyn Writer>, Error>;

/// Every format, in order of preference where detection finds two as likely.
pub const FORMATS: &[Format] = &[
    native::FORMAT,
    oracle_general::FORMAT,
    cachelib::FORMAT,
    #[cfg(feature = "parquet")]
    parquet::FORMAT,
    jsonl::FORMAT,
    access_log::FORMAT,
    redis::FORMAT,
    memcached::FORMAT,
    twitter::FORMAT,
    msr::FORMAT,
    libcachesim_csv::FORMAT,
    lrb::FORMAT,
    arc::FORMAT,
    keys::FORMAT,
    lirs::FORMAT,
    table::FORMAT,
];

/// The format of that name.
pub(crate) fn named(name: &str) -> Result<&'static Format, Error> {
    FORMATS.iter().find(|f| f.name == name).ok_or_else(|| {
        let known: Vec<_> = FORMATS.iter().map(|f| f.name).collect();
        let what = format!("no format {name:?}; known are {}", known.join(", "));
        Error::new(ErrorKind::UnknownFormat, what)
    })
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
pub(crate) fn likely(head: &[u8], fits: impl FnMut(&[u8]) -> bool) -> Confidence {
    let mut lines = whole_lines(head).take(8).peekable();
    if lines.peek().is_some() && lines.all(fits) { Confidence::Likely } else { Confidence::No }
}
