//! The command line, as clap reads it.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::builder::PossibleValuesParser;
use clap::{Args, Parser, Subcommand, ValueEnum};
use larder_policy::{PolicySpec, admission, eviction};
use larder_sim::{CapacitySpec, Experiment, Lifetimes, Metric, Source, Weigh};
use larder_trace::{Columns, FORMATS, Options};

pub(crate) use crate::convert_args::ConvertArgs;
pub(crate) use crate::curve_args::CurveArgs;
pub(crate) use crate::demo_args::DemoArgs;
use crate::explain_args::ExplainArgs;
use crate::failure::Failure;
pub(crate) use crate::freshness_args::FreshnessArgs;
use crate::needs::{Needs, flows};
use crate::predictions_args::PredictionsArgs;
use crate::price_args::PriceArgs;
use crate::serve_args::ServeArgs;
use crate::streams;
use crate::top_args::TopArgs;
use crate::train_args::TrainArgs;

/// Replays traces through cache policies and says which one serves them best.
///
/// Without a command it runs the demonstration: a small service with its caches, for a minute.
#[derive(Debug, Parser)]
#[command(name = "larder", version, max_term_width = 100)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run a small service: two tiers before a database that changes, beside LRU with one lifetime for all
    Demo(DemoArgs),
    /// Replay traces through policies and print what each hits and misses
    Replay(ReplayArgs),
    /// Compare policies: reductions against FIFO, LRU and the best, and the gap to Bélády closed
    Compare(CompareArgs),
    /// Draw miss-ratio curves: LRU exactly, any policy from samples of the keys
    Curve(CurveArgs),
    /// Train a model for learned policies on traces, and judge it on requests it has not seen
    Train(TrainArgs),
    /// Set what a learned policy predicts on traces against what happened
    Predictions(PredictionsArgs),
    /// Say why a learned policy keeps or evicts a key: what each feature adds, the rank, the decision
    Explain(ExplainArgs),
    /// Describe a trace: popularity, reuse, sizes, working set
    Stats(StatsArgs),
    /// Compare lifetimes under a freshness objective: stale answers, and loads of the origin
    Freshness(FreshnessArgs),
    /// Convert a trace to another format
    Convert(ConvertArgs),
    /// Serve one live page of a service's instances: those at addresses, or those that register in a Redis
    Serve(ServeArgs),
    /// Watch a running service in the terminal: what its dashboard shows
    Top(TopArgs),
    /// List the policies with their parameters and sources
    Policies,
    /// List the trace formats and the generators
    Formats,
}

impl Command {
    /// What runs where no command is given: the demonstration with its defaults.
    pub(crate) fn demo() -> Self {
        #[derive(Parser)]
        struct Alone {
            #[command(flatten)]
            options: DemoArgs,
        }
        Self::Demo(Alone::parse_from(["larder"]).options)
    }
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

    /// Run two policies as the arms of an experiment instead, the one on trial first: what a service would be told of its effect, next to
    /// the truth
    #[arg(long, value_name = "TREATMENT,CONTROL", value_delimiter = ',', conflicts_with_all = ["policies", "report"])]
    pub(crate) arms: Vec<PolicySpec>,

    /// Roll the one on trial out as a service would: step by step, with guardrails, and back again
    // What takes an experiment excludes the same as --arms does: clap waives `requires` where something is there that excludes what is required.
    #[arg(long, requires = "arms", conflicts_with_all = ["policies", "report"])]
    pub(crate) rollout: bool,

    /// Run the one on trial on all shards, with the other as ghosts alone: what a service's standing control says it gains
    #[arg(long, requires = "arms", conflicts_with_all = ["rollout", "details", "policies", "report"])]
    pub(crate) standing: bool,

    /// The share of the keys that an experiment's ghosts see [default: as many as fill 1024 objects a shard]
    #[arg(long, value_name = "SHARE", requires = "arms", conflicts_with_all = ["policies", "report"], value_parser = parse_sample,
        allow_negative_numbers = true)]
    pub(crate) ghosts: Option<f64>,

    /// Shards of an experiment, half of them an arm
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = parse_shards, requires = "arms",
        conflicts_with_all = ["policies", "report"])]
    pub(crate) shards: usize,

    /// Slices of an experiment: looks at the evidence
    #[arg(long, value_name = "N", default_value_t = 200, value_parser = clap::value_parser!(u64).range(1..=1_000_000), requires = "arms",
        conflicts_with_all = ["policies", "report"])]
    pub(crate) slices: u64,

    /// Also print what every look at an experiment shows and what every shard counted, or the course of a rollout
    #[arg(long, requires_all = ["arms", "json"], conflicts_with_all = ["policies", "report"])]
    pub(crate) details: bool,

    /// Print one JSON object a line for each trace, policy and size
    #[arg(long)]
    pub(crate) json: bool,

    /// Write a report there: report.html, curves.svg, cells.csv, cells.json, series.csv
    #[arg(long, value_name = "DIR")]
    pub(crate) report: Option<PathBuf>,
}

#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  larder compare trace.csv.zst
  larder compare a.csv.zst b.csv.zst --policy lru,s3fifo,learned --capacity 1%,10% --markdown
  larder compare access.log.gz --weigh bytes --metric bytes --price-gib-hour 0.005 --price-load 4e-7")]
pub(crate) struct CompareArgs {
    #[command(flatten)]
    pub(crate) traces: TraceArgs,

    #[command(flatten)]
    pub(crate) run: RunArgs,

    /// Policies, apart by commas [default: the main ones and Bélády's]
    #[arg(short, long = "policy", value_name = "POLICY,…", value_delimiter = ',')]
    pub(crate) policies: Vec<PolicySpec>,

    /// Sizes, apart by commas; see `larder replay --help`
    #[arg(
        short,
        long = "capacity",
        value_name = "SIZE,…",
        value_delimiter = ',',
        default_value = "0.1%,1%,5%,10%,20%"
    )]
    pub(crate) capacities: Vec<CapacitySpec>,

    /// Which miss ratio is compared
    #[arg(long, value_enum, default_value_t)]
    pub(crate) metric: MetricArg,

    #[command(flatten)]
    pub(crate) prices: PriceArgs,

    /// Print Markdown tables, for documents
    #[arg(long, conflicts_with = "json")]
    pub(crate) markdown: bool,

    /// Print one JSON object a line for each trace, policy and size
    #[arg(long)]
    pub(crate) json: bool,

    /// Write a report there: report.html, curves.svg, cells.csv, cells.json, series.csv
    #[arg(long, value_name = "DIR")]
    pub(crate) report: Option<PathBuf>,
}

impl CompareArgs {
    /// The policies asked for, or those worth comparing.
    pub(crate) fn policies(&self) -> Vec<PolicySpec> {
        if self.policies.is_empty() { main_policies(self.run.cells.weigh) } else { self.policies.clone() }
    }
}

#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  larder stats access.log.gz
  larder stats table.csv --columns key=url,size=bytes,time=ts:ms
  larder stats trace.csv.zst --json")]
pub(crate) struct StatsArgs {
    #[command(flatten)]
    pub(crate) traces: TraceArgs,

    /// Print one JSON object a line for each trace
    #[arg(long)]
    pub(crate) json: bool,
}

/// Which traces, and how to read them.
#[derive(Debug, Args)]
pub(crate) struct TraceArgs {
    /// Files (plain, gzip, zstd or xz), `-` for stdin, `gen:…` for a generator, or `redis://HOST/STREAM` for what services recorded; see
    /// `larder formats`. Rows are taken in their order, which is to be that of time
    #[arg(value_name = "TRACE", required = true)]
    pub(crate) traces: Vec<String>,

    #[command(flatten)]
    pub(crate) reading: ReadingArgs,
}

impl TraceArgs {
    /// For commands that set traces side by side.
    ///
    /// # Errors
    /// Two traces have the same name, and nobody could tell them apart.
    pub(crate) fn require_distinct_names(&self) -> Result<(), Failure> {
        let mut seen = BTreeSet::new();
        let mut names = self.traces.iter().map(|trace| match streams::is_stream(trace) {
            true => streams::name(trace).to_owned(),
            false => Source::trace(trace, Options::default()).name().to_owned(),
        });
        match names.find(|name| !seen.insert(name.clone())) {
            None => Ok(()),
            Some(twice) => Err(Failure::Usage(format!("two traces are named {twice}: rename one"))),
        }
    }

    /// The traces; each is fetched, where it has to be, when its turn comes.
    ///
    /// # Errors
    /// One that can be tried beforehand cannot be opened, or lacks what the command needs: told now, not after the others have been replayed.
    pub(crate) fn sources(&self, needs: Needs) -> Result<impl Iterator<Item = Result<Source, Failure>>, Failure> {
        for trace in self.traces.iter().filter(|trace| !flows(trace)) {
            needs.check(&self.reading.source(trace)?)?;
        }
        Ok(self.traces.iter().map(move |trace| {
            let mut source = self.reading.source(trace)?;
            if flows(trace) {
                needs.check_flowing(&mut source)?;
            }
            Ok(source)
        }))
    }
}

/// How to read a trace.
#[derive(Debug, Args)]
pub(crate) struct ReadingArgs {
    /// The format; by default it is seen by the content
    #[arg(long, value_parser = PossibleValuesParser::new(FORMATS.iter().map(|format| format.name)), hide_possible_values = true)]
    pub(crate) format: Option<String>,

    /// Which columns hold what, for tables and JSON lines: key=url,size=bytes,time=ts:ms
    ///
    /// Fields are time, key, size, op, ttl (in seconds) and cost (of a load, in microseconds); of a table also header=yes|no and
    /// delimiter=comma|tab|space or a character. A column is named by its header, by its number as #2, or by a path of JSON fields as
    /// request.uri; what is not mapped is looked for under its usual names. Numbers of time are in seconds unless a unit follows: s, ms, us
    /// or ns.
    #[arg(long, value_name = "FIELD=COLUMN,…", value_parser = parse_columns)]
    pub(crate) columns: Option<Columns>,

    /// Requests to read of each trace at most
    #[arg(long, value_name = "N")]
    pub(crate) limit: Option<u64>,

    /// Bad rows to pass over before giving up
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) skip_bad: u64,
}

impl ReadingArgs {
    /// The trace that is called so.
    ///
    /// # Errors
    /// It is a stream, and cannot be fetched. Nothing else is opened yet.
    pub(crate) fn source(&self, trace: &str) -> Result<Source, Failure> {
        if !streams::is_stream(trace) {
            return Ok(Source::trace(trace, self.options()));
        }
        // Whatever format is named, this is larder's own.
        let options = Options { format: None, columns: Columns::default(), ..self.options() };
        Ok(Source::spooled(streams::name(trace), streams::fetch(trace)?, options))
    }

    pub(crate) fn options(&self) -> Options {
        Options {
            format: self.format.clone(),
            columns: self.columns.clone().unwrap_or_default(),
            skip_bad: self.skip_bad,
            limit: self.limit,
            ..Options::default()
        }
    }
}

/// What every cell of a run has in common.
#[derive(Debug, Args)]
pub(crate) struct CellArgs {
    /// What an entry weighs against the capacity
    #[arg(long, value_enum, default_value_t)]
    pub(crate) weigh: WeighArg,

    /// The seed of the policies' random choices, and of samples
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(crate) seed: u64,

    /// Threads, and one more to decode while keys are counted; results do not depend on it [default: as many as the machine runs at once]
    #[arg(long, value_name = "N")]
    pub(crate) threads: Option<NonZeroUsize>,

    /// Count only gets in the miss ratios; sets still take effect
    #[arg(long)]
    pub(crate) gets_only: bool,

    #[command(flatten)]
    pub(crate) start: StartArgs,
}

/// What learned policies know beforehand.
#[derive(Debug, Args)]
pub(crate) struct StartArgs {
    /// What learned policies start from: a model's folder or file, made by `larder train` [default: the model that ships with larder]
    #[arg(long, value_name = "MODEL")]
    pub(crate) model: Option<PathBuf>,
}

impl StartArgs {
    /// The policies; learned ones start from the model asked for.
    ///
    /// # Errors
    /// The model cannot be read, or none of the policies has a use for it.
    pub(crate) fn apply(&self, policies: &[PolicySpec]) -> Result<Vec<PolicySpec>, Failure> {
        let Some(model) = &self.model else { return Ok(policies.to_vec()) };
        if !policies.iter().any(|policy| policy.eviction().learns) {
            let names: Vec<_> = policies.iter().map(PolicySpec::as_str).collect();
            let what = "--model is for policies that learn; add one, such as learned, to";
            return Err(Failure::Usage(format!("{what} --policy {}", names.join(","))));
        }
        let prior = Arc::new(larder_model::folder::load(model)?);
        Ok(policies.iter().map(|policy| policy.clone().with_prior(prior.clone())).collect())
    }
}

/// How to replay.
#[derive(Debug, Args)]
pub(crate) struct RunArgs {
    #[command(flatten)]
    pub(crate) cells: CellArgs,

    /// Whether entries expire: none, given (as the trace says), or all after the same time, such as 60s or 2h
    #[arg(long, value_name = "none|given|TIME", default_value = "none", value_parser = parse_ttl)]
    pub(crate) ttl: Lifetimes,
}

impl RunArgs {
    /// What its options take of the traces.
    pub(crate) fn needs(&self) -> Needs {
        Needs::from(self.cells.weigh).ttl(self.ttl)
    }

    pub(crate) fn experiment(
        &self,
        policies: &[PolicySpec],
        capacities: &[CapacitySpec],
    ) -> Result<Experiment, Failure> {
        Ok(Experiment {
            policies: self.cells.start.apply(policies)?,
            capacities: capacities.to_vec(),
            weigh: self.cells.weigh.into(),
            seed: self.cells.seed,
            threads: threads(self.cells.threads),
            gets_only: self.cells.gets_only,
            lifetimes: self.ttl,
        })
    }
}

pub(crate) fn threads(asked: Option<NonZeroUsize>) -> NonZeroUsize {
    asked.or_else(|| std::thread::available_parallelism().ok()).unwrap_or(NonZeroUsize::MIN)
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

#[derive(Clone, Copy, Debug, Default, ValueEnum)]
pub(crate) enum MetricArg {
    /// The share of requests that miss
    #[default]
    Requests,
    /// The share of bytes that miss
    Bytes,
}

impl From<MetricArg> for Metric {
    fn from(metric: MetricArg) -> Self {
        match metric {
            MetricArg::Requests => Self::Requests,
            MetricArg::Bytes => Self::Bytes,
        }
    }
}

/// Every registered policy but those that only stand for a product or for chance, and the bound on all of them.
pub(crate) fn main_policies(weigh: WeighArg) -> Vec<PolicySpec> {
    let beside = |name: &str| name == "random" || name.starts_with("redis-");
    let online = eviction::REGISTRY.iter().filter(|entry| !entry.needs_oracle && !beside(entry.name));
    let bound = match weigh {
        WeighArg::Objects => "belady",
        WeighArg::Bytes => "belady-size",
    };
    // A registered name always parses.
    online.map(|entry| entry.name).chain([bound]).filter_map(|name| name.parse().ok()).collect()
}

/// A share of the keys that may be all of them.
pub(crate) fn parse_sample(text: &str) -> Result<f64, String> {
    let share = text.parse().ok().filter(|share: &f64| *share > 0.0 && *share <= 1.0);
    share.ok_or_else(|| "not a share of the keys above 0 and at most 1, such as 0.1".to_owned())
}

pub(crate) fn parse_shards(text: &str) -> Result<usize, String> {
    let shards = text.parse().ok().filter(|shards| (1..=65_536).contains(shards));
    shards.ok_or_else(|| "not a number from 1 to 65536".to_owned())
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
  larder replay trace.csv.zst --arms learned,wtinylfu --capacity 5%

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
