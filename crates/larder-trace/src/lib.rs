//! Readers, writers and generators of cache traces.
#![forbid(unsafe_code)]

mod request;

pub use request::Request;
