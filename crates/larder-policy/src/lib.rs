//! The policy kernel of larder: which entries a cache admits, evicts and expires, as pure code.
#![forbid(unsafe_code)]

mod access;

pub use access::{Access, KeyHash, Op, Time};
