//! An adaptive cache: you say how much memory there is and how stale an answer may be, larder does the rest.
//!
//! [`Cache`] is memory with learned eviction and learned lifetimes, and behind it, where there are any, a remote tier that
//! processes share ([`remote`]) and a [`Loader`] for what nobody has.
//!
//! What memory holds can be looked at without a read ([`Cache::peek`], [`Cache::contains`], [`Cache::iter`], [`Cache::keys`]), invalidated by a
//! predicate ([`Cache::remove_if`]) and loaded anew at once ([`Cache::refresh`]); who leaves is told ([`Builder::on_removal`]).
#![forbid(unsafe_code)]

pub mod behind;
mod blind;
mod blocking;
pub mod bounds;
mod builder;
mod bulk;
mod cache;
mod clock;
pub mod codec;
mod config;
#[cfg(feature = "dashboard")]
mod dashboard;
mod decisions;
mod entry;
mod error;
pub mod explain;
mod fetched;
mod flight;
mod floors;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
mod hash;
mod inspect;
mod key;
mod limits;
mod listener;
mod load;
mod loader;
#[cfg(feature = "metrics")]
pub mod metrics;
pub mod prewarm;
mod prices;
mod proof;
mod recent;
pub mod recorder;
mod refresh;
pub mod registry;
pub mod remote;
pub mod report;
mod rules;
mod runtime;
mod segment;
mod shared;
pub mod sharing;
pub mod snapshot;
mod stats;
mod store;
mod sync;
mod tags;
mod tally;
pub mod telemetry;
mod tenants;
mod upkeep;
mod warm;
mod writes;

pub use blocking::Blocking;
pub use builder::Builder;
pub use cache::Cache;
pub use clock::Clock;
pub use config::Config;
#[cfg(feature = "dashboard")]
pub use dashboard::{Dashboard, DashboardConfig, Discovery};
pub use decisions::{Decided, Label};
pub use error::{Error, ErrorKind};
pub use fetched::{Fetched, Found, Options, Tier};
pub use key::{Key, KeyRules};
pub use larder_policy::freshness::Freshness;
pub use larder_policy::{Capacity, Time};
pub use limits::LoadLimit;
pub use listener::RemovalCause;
pub use loader::{BoxError, Loader};
pub use prices::Prices;
pub use proof::{Control, ExperimentSettings, Guardrails};
pub use registry::Registry;
pub use report::Report;
pub use rules::{Consistency, Refresh, Rules};
pub use sharing::{ModelStore, Sharing};
pub use stats::{Counts, StaleRate, Stats};
pub use tenants::Tenants;
