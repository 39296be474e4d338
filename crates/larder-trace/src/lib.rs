//! Readers, writers and generators of cache traces.
//!
//! [`open()`] takes a path, `-` or `gen:…` and yields [`Request`]s in batches; [`create`] writes them. Formats lie in
//! the table [`FORMATS`], generators in [`GENERATORS`]; both are a file and a line each.
#![forbid(unsafe_code)]

mod columns;
mod dates;
mod error;
mod formats;
mod generate;
mod input;
mod key;
mod lines;
mod open;
mod options;
mod output;
mod parse;
mod reader;
mod request;
mod sizes;

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

pub use columns::{Columns, Unit};
pub use error::{Error, ErrorKind};
pub use formats::{CreateFn, FORMATS, Format, OpenFn, packed};
pub use generate::{GENERATORS, Generator, Param};
pub use input::{Input, Progress};
pub use key::key_number;
pub use open::{Confidence, Requests, Trace, open, open_input, trace_name};
pub use options::Options;
pub use output::{Output, Writer, create, written};
pub use reader::{Carries, Reader, Skipped};
pub use request::Request;
