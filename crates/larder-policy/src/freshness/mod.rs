//! Learned lifetimes: say how stale you can afford to be, not seconds.
//!
//! [`Freshness`] is the objective, [`Engine`] keeps to it: it learns how each key changes from what every reload shows for
//! free (did the value differ?), from version timestamps and write notices where there are any, and from audits, a small
//! share of hits that is checked at the origin, so that the stale rate it reports is [`Measured`].
//!
//! ```
//! use larder_policy::freshness::{Decision, Engine, Evidence, Freshness, Loaded};
//! use larder_policy::{KeyHash, Time};
//!
//! let mut engine = Engine::new(Freshness::stale_reads(0.01)?, 1);
//! let page = engine.subject(KeyHash::mix(7), "page:7", 2048, 0);
//! let now = Time(1_000_000);
//! assert_eq!(engine.read(page, now, false), Decision::Load);
//! let lifetimes = engine.loaded(page, now, Loaded::new(now, Evidence::Digest(0x5eed)));
//! assert!(lifetimes.logical <= lifetimes.physical);
//! assert!(engine.read(page, now, true).is_served());
//! # Ok::<(), larder_policy::Error>(())
//! ```
//!
//! One file an idea: the [posterior](Posterior) of a key's rate, the prior of its class, the [index rule](rule), the surge,
//! the hours of the day, the experts and their hedge, the checkpoint between two looks at them, the controller, what steers several
//! engines together, audits, flips, notices, memory rent,
//! what instances tell each other of classes.

mod audit;
mod checkpoint;
mod class;
mod controller;
mod engine;
mod evidence;
mod experts;
mod explain;
mod flips;
mod hours;
mod notices;
mod objective;
mod plan;
mod posterior;
mod prior;
mod profile;
mod record;
mod regression;
mod rent;
pub mod rule;
mod shared;
mod special;
mod steering;
mod surge;

pub use audit::{Audit, Audited, Measured};
pub use engine::Engine;
pub use experts::Expert;
pub use explain::{Known, KnownValue};
pub use objective::Freshness;
pub use plan::{ClassId, Decision, Evidence, Handle, Lifetimes, Loaded, Subject};
pub use posterior::Posterior;
pub use shared::{ClassPool, ClassPriors};
pub use steering::Steering;
