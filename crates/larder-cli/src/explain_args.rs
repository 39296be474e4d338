//! The options of `larder explain`.

use std::num::NonZeroU64;

use clap::Args;
use larder_policy::PolicySpec;
use larder_sim::CapacitySpec;

use crate::args::{ReadingArgs, StartArgs, WeighArg};

#[derive(Debug, Args)]
#[command(after_long_help = "\
The trace is replayed up to that request, and the policy is asked what it would do about the key if it came next. A key that \
is absent competes as a newcomer with the candidates of the draw that comes next; of a resident it is told whether it would \
leave if room were needed. What is added up are logits: of a use within each span ahead, given none before it.

With --url a running service is asked instead, through its dashboard: about a key's text, or its hash as the dashboard shows it.

Examples:
  larder explain trace.csv.zst --key 4711
  larder explain access.log.gz --key /index.html --at 100000 --capacity 5000
  larder explain gen:zipf:requests=1e5/keys=1e4 --key 17 --json
  larder explain --url http://127.0.0.1:9465 --key user:42")]
pub(crate) struct ExplainArgs {
    /// A file (plain, gzip, zstd or xz), `-` for stdin, `gen:…` for a generator, or `redis://HOST/STREAM`; see `larder formats`
    #[arg(value_name = "TRACE", required_unless_present = "url")]
    pub(crate) trace: Option<String>,

    /// A running service instead: its dashboard's address
    #[arg(long, value_name = "URL", conflicts_with_all = ["trace", "at", "policy", "capacity", "weigh", "seed", "model", "format", "columns",
        "limit", "skip_bad"])]
    pub(crate) url: Option<String>,

    /// Which of the dashboard's caches [default: the first]
    #[arg(long, value_name = "NAME", requires = "url", conflicts_with = "trace")]
    pub(crate) cache: Option<String>,

    #[command(flatten)]
    pub(crate) reading: ReadingArgs,

    /// The key, as it stands in the trace, or its number
    #[arg(short, long, value_name = "KEY")]
    pub(crate) key: String,

    /// The request before which it is asked, counted from 1 [default: the last one of the key]
    #[arg(long, value_name = "N")]
    pub(crate) at: Option<NonZeroU64>,

    /// The policy: one that learns
    #[arg(short, long = "policy", value_name = "POLICY", default_value = "learned")]
    pub(crate) policy: PolicySpec,

    /// The size; see `larder replay --help`
    #[arg(short, long = "capacity", value_name = "SIZE", default_value = "1%")]
    pub(crate) capacity: CapacitySpec,

    /// What an entry weighs against the capacity
    #[arg(long, value_enum, default_value_t)]
    pub(crate) weigh: WeighArg,

    /// The seed of the policy's random choices
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(crate) seed: u64,

    #[command(flatten)]
    pub(crate) start: StartArgs,

    /// Print one JSON object
    #[arg(long)]
    pub(crate) json: bool,
}
