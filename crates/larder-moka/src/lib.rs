//! Learned lifetimes, admission, renewal and pre-warming for a moka cache you already have.
//!
//! [`Plugin`] decides, [`future::Cache`] and [`sync::Cache`] carry it out on a `moka::future::Cache` or a `moka::sync::Cache`.
//! moka goes on to hold the values, to load each key once, and to choose who leaves; see [`Capabilities`] for what larder can do
//! there and what it cannot.
#![forbid(unsafe_code)]

mod atomic;
mod core;
mod directory;
mod expiry;
mod fences;
pub mod future;
mod held;
mod load;
mod looks;
mod outcome;
mod plugin;
mod rings;
mod stats;
pub mod sync;

pub use expiry::Expiry;
pub use held::Held;
pub use larder::{Clock, Error, ErrorKind, Fetched, Found, Freshness, Key, Options, Refresh};
pub use plugin::{Builder, Plugin};
pub use stats::{Capabilities, Prewarmed, Stats};

/// moka's TinyLFU refuses a newcomer that was asked for no more often than who would leave: each value that comes ahead of traffic
/// is asked for so many times before it is offered.
const PHANTOM_GETS: usize = 8;
/// moka hears of so many gets before it drops some: it is made to listen after each such number of keys.
const WARM_BATCH: usize = 16;
/// What was refused all the same, for those who would leave are asked for as often, is offered again: moka counts no further than 15.
const WARM_TRIES: usize = 3;

/// Compiles and runs the README's examples.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
