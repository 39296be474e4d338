//! Redis as larder's second tier: fast when it is well, harmless when it is not.
//!
//! ```no_run
//! use std::sync::Arc;
//! use larder::remote::{Tier, TierConfig};
//! use larder_redis::{RedisConfig, RedisStore};
//!
//! # fn main() -> Result<(), larder::Error> {
//! # let runtime = tokio::runtime::Runtime::new().unwrap();
//! let config = RedisConfig::single("redis://localhost")?;
//! // Returns at once, whether there is a server or not.
//! let store = RedisStore::new(config, runtime.handle())?;
//! let tier = Tier::new(Arc::new(store), TierConfig::default(), runtime.handle())?;
//! # Ok(()) }
//! ```
//!
//! No caller waits for a connection: one is made in the background, watched, and replaced when it breaks, falls silent, or mixes up
//! answers. Put the store behind a [`Tier`](larder::remote::Tier), which adds the deadline, the breaker, and the queues.
//!
//! For code that talks to Redis itself there is [`Learned`], which wraps its connection and chooses lifetimes.
#![forbid(unsafe_code)]

mod calls;
mod clock;
mod config;
mod connect;
mod errors;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
mod info;
mod learned;
mod link;
mod listen;
#[cfg(feature = "metrics")]
pub mod metrics;
mod models;
mod recording;
mod registry;
mod scripts;
mod steer;
mod store;
mod stream;

#[cfg(feature = "metrics")]
pub use config::Publish;
pub use config::{Credentials, Login, RedisConfig, Target};
pub use info::ServerInfo;
pub use larder::Freshness;
pub use learned::{Given, Learned, LearnedConfig, LearnedState};
pub use link::LinkState;
pub use recording::{RecordReader, RecordStream};
pub use steer::{Steering, SteeringState};
pub use store::RedisStore;
pub use stream::{StreamOptions, StreamSink};

/// Compiles the README's examples.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
