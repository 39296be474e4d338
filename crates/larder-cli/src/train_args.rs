//! What `larder train` is told.

use std::num::NonZeroUsize;
use std::path::PathBuf;

use clap::{Args, ValueEnum};
use larder_sim::CapacitySpec;

use crate::args::{TraceArgs, WeighArg};

#[derive(Debug, Args)]
#[command(after_long_help = "\
A cache that learns is replayed over each trace at each size; what it learned from trains a logistic regression for each \
span ahead (FTRL-proximal). Judged are models that have not seen what they are judged on: the last part of each trace by a \
model of the first parts, and each trace by a model of the others. A model is published if it is ahead of a cold start by more \
than chance, and not behind the prior that ships with larder: on other traces by a standard error over families; where all are of \
one family, in later time by two over five seeds. --force publishes it in any case.

The folder holds model.larder, card.md, train.toml, held_out.tsv and reliability.svg. The same traces and options give the same bytes.

A trace may be what a service recorded (`larder::recorder`), a file for each day or instance, as it was written or as Parquet (in a \
build with the feature `parquet`); or the stream they are recorded to in a Redis, redis://[user:password@]host[:port][/db]/STREAM \
(`larder_redis::RecordStream`; rediss:// in a build with the feature `tls`), whose instances are merged by time. Traces whose \
names agree up to the last hyphen count as one family, and are held out together: what a service's instances recorded at the same \
time needs such names, shop-1 and shop-2, or a model is judged on what it has learned. With --holdout trace each is judged by a model \
of all others. The same file twice is refused.

Examples:
  larder train a.csv.zst b.csv.zst c.csv.zst --out models/ours
  larder train recorded/*.parquet --holdout trace --out models/ours
  larder train redis://localhost/users:traffic redis://localhost/orders:traffic --out models/ours
  larder train a.csv.zst b.csv.zst c.csv.zst --check models/ours
  larder replay d.csv.zst --policy lru,learned --model models/ours

Exit status: 0 on success, 1 on failure or where the model does not help, 2 on bad usage.")]
pub(crate) struct TrainArgs {
    #[command(flatten)]
    pub(crate) traces: TraceArgs,

    /// The model's folder, made if need be; its last component is the model's name
    #[arg(short, long, value_name = "DIR", required_unless_present = "check")]
    pub(crate) out: Option<PathBuf>,

    /// Write nothing: train again and compare with that folder, byte for byte
    #[arg(long, value_name = "DIR", conflicts_with = "out")]
    pub(crate) check: Option<PathBuf>,

    /// Sizes to learn at, apart by commas; see `larder replay --help`
    #[arg(
        short,
        long = "capacity",
        value_name = "SIZE,…",
        value_delimiter = ',',
        default_value = "0.1%,1%,5%,10%,20%"
    )]
    pub(crate) capacities: Vec<CapacitySpec>,

    /// Most examples to learn from of each trace and size
    #[arg(long, value_name = "N", default_value_t = 20_000, value_parser = clap::value_parser!(u64).range(1..=10_000_000))]
    pub(crate) examples: u64,

    /// Passes over the examples
    #[arg(long, value_name = "N", default_value_t = 6, value_parser = clap::value_parser!(u64).range(1..=1000))]
    pub(crate) epochs: u64,

    /// How sure of the model a cache is: the squared gradients each weight counts as having seen, at most 10000
    #[arg(long, value_name = "X", default_value_t = 30.0, value_parser = parse_sureness)]
    pub(crate) sureness: f32,

    /// The share of each trace that comes before its later time
    #[arg(long, value_name = "SHARE", default_value_t = 0.7, value_parser = parse_inner_share)]
    pub(crate) earlier: f64,

    /// What is held out at once to judge on other traces
    #[arg(long, value_enum, default_value_t)]
    pub(crate) holdout: HoldoutArg,

    /// Publish even what does not beat the cold start, or the prior that ships with larder: the card says so
    #[arg(long)]
    pub(crate) force: bool,

    /// What an entry weighs against the capacity
    #[arg(long, value_enum, default_value_t)]
    pub(crate) weigh: WeighArg,

    /// The seed of all that is random
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(crate) seed: u64,

    /// Threads; results do not depend on it [default: as many as the machine runs at once]
    #[arg(long, value_name = "N")]
    pub(crate) threads: Option<NonZeroUsize>,

    /// Print what the card says as one JSON object
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum HoldoutArg {
    /// All traces whose names agree up to the last hyphen
    #[default]
    Family,
    /// Each trace
    Trace,
}

fn parse_sureness(text: &str) -> Result<f32, String> {
    // A cache that is much surer learns nothing any more.
    let sureness = text.parse().ok().filter(|sureness: &f32| *sureness > 0.0 && *sureness <= 1e4);
    sureness.ok_or_else(|| "not a number above 0 and at most 10000".to_owned())
}

fn parse_inner_share(text: &str) -> Result<f64, String> {
    let share = text.parse().ok().filter(|share: &f64| *share > 0.0 && *share < 1.0);
    share.ok_or_else(|| "not a share between 0 and 1".to_owned())
}
