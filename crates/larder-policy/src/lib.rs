//! The policy kernel of larder: which entries a cache admits, evicts and expires, as pure code.
//!
//! A [`Shard`] is a whole cache policy over one set of keys. The same code runs in an embedded cache, in a replay and
//! in a shadow control, because it owns no clock, thread, random source, file or socket: time arrives inside each
//! [`Access`], decisions leave as data, and the same seed gives the same run, bit for bit.
//!
//! ```
//! use larder_policy::{Access, Capacity, KeyHash, Lookup, PolicySpec, Shard, Time};
//!
//! let spec: PolicySpec = "s3fifo".parse()?;
//! let capacity = Capacity::objects(100);
//! let mut shard: Shard<String> = Shard::new(capacity, spec.build(capacity, 1));
//! let mut evicted = Vec::new();
//!
//! let access = Access::get(KeyHash::mix(42), Time(0));
//! if let Lookup::Miss(miss) = shard.lookup(&access) {
//!     let value = "loaded from the origin".to_owned();
//!     let plan = shard.plan(&access, miss, None);
//!     shard.insert(&access, value, &plan, &mut evicted);
//! }
//! assert!(shard.lookup(&access).is_hit());
//! # Ok::<(), larder_policy::Error>(())
//! ```
#![forbid(unsafe_code)]

mod access;
pub mod admission;
mod artefact;
mod capacity;
mod dense;
mod error;
pub mod eviction;
pub mod experiment;
pub mod freshness;
mod heap;
mod index;
pub mod learned;
mod list;
mod params;
mod plan;
mod policy;
mod predict;
mod queue;
mod rng;
mod sample;
mod shard;
mod sketch;
mod slots;
#[cfg(test)]
mod testing;
pub mod ttl;
mod values;
mod wheel;

pub use access::{Access, KeyHash, Op, Time};
pub use capacity::{Capacity, Weigh};
pub use error::{Error, ErrorKind};
pub use params::{Param, Params};
pub use plan::{Plan, Refusal, Verdict};
pub use policy::{Host, Policy, PolicySpec};
pub use predict::{Predictor, Reuse};
pub use rng::Rng;
pub use sample::Sample;
pub use shard::{Claim, Evicted, Inserted, Lookup, Miss, Shard, Work};
pub use slots::Slot;

/// Compiles and runs the README's example.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
