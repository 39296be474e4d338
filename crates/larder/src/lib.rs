//! An adaptive cache: you say how much memory there is and how stale an answer may be, larder does the rest.
#![forbid(unsafe_code)]

mod error;
pub mod remote;

pub use error::{Error, ErrorKind};
