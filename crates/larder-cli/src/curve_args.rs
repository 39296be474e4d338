//! The options of `larder curve`.

use clap::Args;
use larder_policy::PolicySpec;

use crate::args::{CellArgs, TraceArgs, parse_sample};
use crate::price_args::PriceArgs;

#[derive(Debug, Args)]
#[command(after_long_help = "\
A sampled curve replays a share of the keys, picked by hash, through caches smaller by the same factor (miniature \
simulation with SHARDS). Each point is simulated on several samples; ± is the standard error of their mean. Where LRU \
is among the policies, its sampled curve is also set against the exact one, and the mean absolute difference is printed.

Examples:
  larder curve trace.csv.zst
  larder curve trace.csv.zst --policy lru,s3fifo,arc --sample 0.01 --samples 8
  larder curve gen:zipf:keys=1e6/requests=1e7 --json
  larder curve access.log --weigh bytes --price-gib-hour 0.005 --price-load 4e-7")]
pub(crate) struct CurveArgs {
    #[command(flatten)]
    pub(crate) traces: TraceArgs,

    /// Policies drawn beside LRU's exact curve, apart by commas
    #[arg(short, long = "policy", value_name = "POLICY,…", value_delimiter = ',', default_value = "lru,s3fifo")]
    pub(crate) policies: Vec<PolicySpec>,

    /// Sizes, spread evenly on a logarithmic scale from 64 objects to the whole trace
    #[arg(long, value_name = "N", default_value_t = 16, value_parser = clap::value_parser!(u64).range(2..=1000))]
    pub(crate) points: u64,

    /// The share of the keys in a sample, up to 1 for all [default: about 8192 keys]
    #[arg(long, value_name = "SHARE", value_parser = parse_sample, allow_negative_numbers = true)]
    pub(crate) sample: Option<f64>,

    /// Samples to draw
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u64).range(1..=64))]
    pub(crate) samples: u64,

    #[command(flatten)]
    pub(crate) cells: CellArgs,

    #[command(flatten)]
    pub(crate) prices: PriceArgs,

    /// Print one JSON object a line for each curve
    #[arg(long)]
    pub(crate) json: bool,
}
