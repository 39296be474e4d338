//! Replays traces through cache policies: miss ratios, miss-ratio curves, statistics and reports.
//!
//! An [`Experiment`] runs policies × capacities over a [`Source`] in one pass and yields an [`Outcome`] with a
//! [`CellRecord`] for each pair.
//!
//! ```
//! use larder_sim::{Experiment, Lifetimes, Source, Weigh};
//!
//! let experiment = Experiment {
//!     policies: vec!["lru".parse()?],
//!     capacities: vec!["10%".parse()?, "500".parse()?],
//!     weigh: Weigh::Objects,
//!     seed: 1,
//!     threads: std::num::NonZero::<usize>::MIN,
//!     gets_only: false,
//!     lifetimes: Lifetimes::Ignored,
//! };
//! let mut source = Source::trace("gen:zipf:requests=10_000/keys=1000", Default::default());
//! let outcome = experiment.run(&mut source, &())?;
//! assert_eq!(outcome.cells.len(), 2);
//! assert_eq!(outcome.cells[1].record.requests, 10_000);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
#![forbid(unsafe_code)]

mod arms;
mod capacity;
mod cell;
mod compare;
mod decisions;
mod error;
mod examples;
mod experiment;
mod feed;
pub mod freshness;
mod hash;
pub mod mrc;
mod oracle;
mod pricing;
mod progress;
mod replay;
mod report;
mod rollout;
mod series;
mod slices;
mod source;
mod standing;
pub mod stats;
mod survey;

pub use arms::{ArmsRecord, ArmsRun, EffectRecord, LookRecord, ShardRecord};
pub use capacity::{CapacitySpec, LEAST_OBJECTS};
pub use cell::{Cell, CellSetup, Lifetimes, Tally};
pub use compare::{Comparison, Metric, Summary, compare, gap_closed, reduction, summarise};
pub use decisions::{Decisions, judge};
pub use error::{Error, ErrorKind};
pub use examples::{Collecting, Examples};
pub use experiment::{CellOutcome, CellRecord, Experiment, Outcome};
pub use feed::Totals;
pub use larder_policy::{Sample, Weigh};
pub use oracle::{NextAccess, Oracle};
pub use pricing::Pricing;
pub use progress::{Observer, Stage};
pub use replay::{ReplayOptions, Replayed, replay};
pub use report::{FreshnessReport, Report, reliability};

pub use rollout::{RolloutEvent, RolloutRecord, RolloutSlice};
pub use series::Series;
pub use source::{Seen, Source};
pub use standing::StandingRecord;
pub use survey::Survey;

/// Requests decoded at a time: large enough that a cell's loop dwarfs what surrounds it.
const BATCH: usize = 1 << 14;
