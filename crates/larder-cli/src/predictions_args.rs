//! The options of `larder predictions`.

use std::num::NonZeroUsize;

use clap::Args;
use larder_sim::CapacitySpec;

use crate::args::{StartArgs, TraceArgs, WeighArg};

#[derive(Debug, Args)]
#[command(after_long_help = "\
A cold cache is replayed over the trace, and what it learns from is kept: examples of keys that it watched, and whether each was \
used within the span ahead. On the same examples, in their order, three caches are judged before they learn from each:
  cold       starts knowing nothing, and learns as it goes
  fixed      has the model, and learns nothing
  served     has the model and learns on, as a cache in service does

A calibrated one says 30 % of what happens in 30 of 100 cases. JSON has that by the probability said, by span, and by bin of each \
feature; times are in caches of accesses (2 is twice as many accesses as the cache holds objects).

Examples:
  larder predictions trace.csv.zst
  larder predictions trace.csv.zst --capacity 1%,10% --model models/ours --json")]
pub(crate) struct PredictionsArgs {
    #[command(flatten)]
    pub(crate) traces: TraceArgs,

    /// Sizes, apart by commas; see `larder replay --help`
    #[arg(short, long = "capacity", value_name = "SIZE,…", value_delimiter = ',', default_value = "1%")]
    pub(crate) capacities: Vec<CapacitySpec>,

    /// Most examples to judge of each trace and size; of more, a uniform sample
    #[arg(long, value_name = "N", default_value_t = 100_000, value_parser = clap::value_parser!(u64).range(1..=10_000_000))]
    pub(crate) examples: u64,

    /// What an entry weighs against the capacity
    #[arg(long, value_enum, default_value_t)]
    pub(crate) weigh: WeighArg,

    /// The seed of the policy's random choices, and of samples
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(crate) seed: u64,

    /// Threads; results do not depend on it [default: as many as the machine runs at once]
    #[arg(long, value_name = "N")]
    pub(crate) threads: Option<NonZeroUsize>,

    #[command(flatten)]
    pub(crate) start: StartArgs,

    /// Print one JSON object a line for each trace, size and start
    #[arg(long)]
    pub(crate) json: bool,
}
