//! The command line, as clap reads it.

use std::fmt::Write as _;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use clap::builder::PossibleValuesParser;
use clap::{Args, Parser, Subcommand, ValueEnum};
use larder_policy::{PolicySpec, admission, eviction};
use larder_sim::{CapacitySpec, Experiment, Lifetimes, Source, Weigh};
use larder_trace::{Columns, FORMATS, Options};

/// Replays traces through cache policies and says which one serves them best.
///
/// Without a command it runs a demonstration on a synthetic workload.
#[derive(Debug, Parser)]
#[command(name = "larder", version, max_term_width = 120)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Replay traces through policies and print what each hits and misses
    Replay(ReplayArgs),
    /// List the policies with their parameters and sources
    Policies,
    /// List the trace formats and the generators
    Formats,
}

#[derive(Debug, Args)]
#[command(after_long_help = replay_help())]
pub(crate) struct ReplayArgs {
    #[command(flatten)]
    pub(crate) traces: TraceArgs,

    #[command(flatten)]
    pub(crate) run: RunArgs,

    /// Policies, apart by commas
    #[arg(short, long = "policy", value_name = "POLICY,…", value_delimiter = ',', default_value = "lru,s3fifo")]
    pub(crate) policies: Vec<PolicySpec>,

    /// Sizes, apart by commas: a share of the trace's distinct keys or bytes (1%), a number of either (5000), or a
    /// size (64MiB). A share is at least 64 objects
    #[arg(short, long = "capacity", value_name = "SIZE,…", value_delimiter = ',', default_value = "0.1%,1%,10%")]
    pub(crate) capacities: Vec<CapacitySpec>,

    /// Print one JSON object a line for each trace, policy and size
    #[arg(long)]
    pub(crate) json: bool,

    /// Write a report there: report.html, cells.csv, cells.json, series.csv
    #[arg(long, value_name = "DIR")]
    pub(crate) report: Option<PathBuf>,
}

/// Which traces, and how to read them.
#[derive(Debug, Args)]
pub(crate) struct TraceArgs {
    /// Files (plain, gzip, zstd or xz), `-` for stdin, or `gen:…` for a generator; see `larder formats`
    #[arg(value_name = "TRACE", required = true)]
    pub(crate) traces: Vec<String>,

    /// The format; by default it is seen by the content
    #[arg(long, value_parser = PossibleValuesParser::new(FORMATS.iter().map(|format| format.name)), hide_possible_values = true)]
    pub(crate) format: Option<String>,

    /// Which columns hold what, for tables and JSON lines: key=url,size=bytes,time=ts:ms
    #[arg(long, value_name = "FIELD=COLUMN,…", value_parser = parse_columns)]
    pub(crate) columns: Option<Columns>,

    /// Requests to read of each trace at most
    #[arg(long, value_name = "N")]
    pub(crate) limit: Option<u64>,

    /// Bad rows to pass over before giving up
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) skip_bad: u64,
}

impl TraceArgs {
    pub(crate) fn options(&self) -> Options {
        Options {
            format: self.format.clone(),
            columns: self.columns.clone().unwrap_or_default(),
            skip_bad: self.skip_bad,
            limit: self.limit,
            ..Options::default()
        }
    }

    pub(crate) fn sources(&self) -> impl Iterator<Item = Source> {
        self.traces.iter().map(|path| Source::trace(path, self.options()))
    }
}

/// How to replay.
#[derive(Debug, Args)]
pub(crate) struct RunArgs {
    /// What an entry weighs against the capacity
    #[arg(long, value_enum, default_value_t)]
    pub(crate) weigh: WeighArg,

    /// The seed of the policies' random choices
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(crate) seed: u64,

    /// Threads; results do not depend on it [default: as many as the machine runs at once]
    #[arg(long, value_name = "N")]
    pub(crate) threads: Option<NonZeroUsize>,

    /// Count only gets in the miss ratios; sets still take effect
    #[arg(long)]
    pub(crate) gets_only: bool,

    /// Whether entries expire: none, given (as the trace says), or all after the same time, such as 60s or 2h
    #[arg(long, value_name = "none|given|TIME", default_value = "none", value_parser = parse_ttl)]
    pub(crate) ttl: Lifetimes,
}

impl RunArgs {
    pub(crate) fn threads(&self) -> NonZeroUsize {
        self.threads.or_else(|| std::thread::available_parallelism().ok()).unwrap_or(NonZeroUsize::MIN)
    }

    pub(crate) fn experiment(&self, policies: &[PolicySpec], capacities: &[CapacitySpec]) -> Experiment {
        Experiment {
            policies: policies.to_vec(),
            capacities: capacities.to_vec(),
            weigh: self.weigh.into(),
            seed: self.seed,
            threads: self.threads(),
            gets_only: self.gets_only,
            lifetimes: self.ttl,
        }
    }
}

#[derive(Clone, Copy, Debug, Default, ValueEnum)]
pub(crate) enum WeighArg {
    /// Each entry weighs 1
    #[default]
    Objects,
    /// Each entry weighs its size
    Bytes,
}

impl From<WeighArg> for Weigh {
    fn from(weigh: WeighArg) -> Self {
        match weigh {
            WeighArg::Objects => Self::Objects,
            WeighArg::Bytes => Self::Bytes,
        }
    }
}

fn parse_columns(text: &str) -> Result<Columns, larder_trace::Error> {
    Columns::parse(text)
}

fn parse_ttl(text: &str) -> Result<Lifetimes, String> {
    match text {
        "none" => Ok(Lifetimes::Ignored),
        "given" => Ok(Lifetimes::Given),
        span => match humantime::parse_duration(span) {
            Ok(span) if span > Duration::ZERO => Ok(Lifetimes::Fixed(span)),
            Ok(_) => Err("nothing can live for no time".into()),
            Err(error) => Err(format!("{error}; give none, given, or a time such as 60s")),
        },
    }
}

fn replay_help() -> String {
    let mut help = String::from(
        "Examples:
  larder replay access.log.gz --policy lru,s3fifo,wtinylfu --capacity 1%,10%
  larder replay cdn.csv.zst --weigh bytes --capacity 64MiB,5% --policy gdsf,lhd --json
  larder replay gen:zipf:alpha=0.9/keys=100000 --policy lru+tinylfu,belady --report report
  zcat trace.csv.gz | larder replay - --capacity 5000 --json

Policies (EVICTION[:NAME=VALUE/…][+ADMISSION[:NAME=VALUE/…]]; `larder policies` has their parameters):\n",
    );
    let width = eviction::REGISTRY.iter().map(|entry| entry.name.len()).max().unwrap_or(0);
    for entry in eviction::REGISTRY {
        // Writing to a string cannot fail.
        let _ = writeln!(help, "  {:width$}  {}", entry.name, entry.about);
    }
    for entry in admission::REGISTRY {
        let _ = writeln!(help, "  {:width$}  {}", format!("+{}", entry.name), entry.about);
    }
    help.push_str("\nExit status: 0 on success, 1 on failure, 2 on bad usage.");
    help
}
