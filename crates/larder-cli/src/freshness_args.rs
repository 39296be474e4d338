//! The options of `larder freshness`.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use larder_policy::PolicySpec;
use larder_policy::freshness::Freshness;
use larder_sim::freshness::{FreshnessExperiment, FreshnessPolicy, NamedLifetimes, Reads, TOLD, Told};
use larder_sim::{CapacitySpec, Weigh};

use crate::args::{TraceArgs, parse_shards};
use crate::commands::freshness::SYNTHETIC;

#[derive(Debug, Args)]
#[command(after_long_help = "\
The truth is a trace's set rows: a value is stale from the moment a set follows its load. Policies with a knob are tuned in \
hindsight to the stale rate that `learned` really served (to the objective where it is not among them); with `-deployed` \
after its name a rule is tuned on the first fifth of the reads.

Policies:
  learned       the engine: learns from loads and audits alone
  static        one lifetime for everything
  class-static  one lifetime a size band
  alex          k × the time since the last change
  quantile      equal chance of being stale at the end
  aimd          longer after no change, half after one
  hot-longer    the oftener read, the longer
  known-rate    the true mean rates of each key
  clairvoyant   knows every write to come: the bound
  expert-index, expert-alex, expert-class, expert-global
                the engine with one expert instead of the hedge over all

With --arms, two lifetimes are the arms of an experiment, with the statistics of a cache that has lifetimes on trial: loads decide while both \
are fresh enough, up to 1.2 times the objective. What audits found of each arm stands next to the truth, all stale reads with all shards.
Lifetimes: objective:SHARE, ttl:TIME, age:SHARE (of the time a value has gone unchanged), age:SHARE:TIME (at least so long).

In place of a trace, changes:FAMILY makes one by rule: poisson, bursty, periodic, shifts, storms, ageing, minutes.

Examples:
  larder freshness feed.csv.zst --objective 1% --reads zipf:0.9:30
  larder freshness feed.csv.zst --objective 0.1% --grace 30s --policy learned,static-deployed
  larder freshness feed.csv.zst --notices 0.5 --capacity 10% --evict s3fifo --seed 1,2,3
  larder freshness feed.csv.zst --reads zipf:0.9:300 --arms objective:1%,ttl:5m
  larder freshness feed.csv.zst --objective 1% --arms age:20%:1m,ttl:5m --json

Exit status: 0 on success, 1 on failure, 2 on bad usage.")]
pub(crate) struct FreshnessArgs {
    #[command(flatten)]
    pub(crate) traces: TraceArgs,

    /// The share of reads that may be stale
    #[arg(long, value_name = "SHARE", default_value = "1%", value_parser = parse_share)]
    pub(crate) objective: f64,

    /// A read counts as stale when the value has been outdated for longer than this
    #[arg(long, value_name = "TIME", default_value = "0s", value_parser = humantime::parse_duration)]
    pub(crate) grace: Duration,

    /// No policy serves a value older than this
    #[arg(long, value_name = "TIME", default_value = "1d", value_parser = humantime::parse_duration)]
    pub(crate) max_ttl: Duration,

    /// Policies, apart by commas
    #[arg(
        short,
        long = "policy",
        value_name = "POLICY,…",
        value_delimiter = ',',
        default_value = "learned,static,class-static,alex,quantile,aimd,hot-longer,known-rate,clairvoyant"
    )]
    pub(crate) policies: Vec<FreshnessPolicy>,

    /// Run two lifetimes as the arms of an experiment instead, those on trial first: what a service would be told of them, next to the truth
    #[arg(long, value_name = "TREATMENT,CONTROL", value_delimiter = ',', value_parser = parse_lifetimes,
        conflicts_with_all = ["policies", "report"])]
    pub(crate) arms: Vec<NamedLifetimes>,

    /// Shards of an experiment, half of them an arm
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = parse_shards, requires = "arms",
        conflicts_with_all = ["policies", "report"])]
    pub(crate) shards: usize,

    /// Slices of an experiment, of equally many reads: looks at the evidence
    #[arg(long, value_name = "N", default_value_t = 200, value_parser = clap::value_parser!(u64).range(1..=1_000_000), requires = "arms",
        conflicts_with_all = ["policies", "report"])]
    pub(crate) slices: u64,

    /// The trace's own reads (as-is), or Poisson reads over each key's life, Zipf over the keys: zipf:ALPHA:READS_PER_KEY
    /// [default: as-is; over changes:FAMILY, which has none to speak of, zipf:0.9:30]
    #[arg(long, value_name = "READS")]
    pub(crate) reads: Option<Reads>,

    /// The share of writes that the cache is told of, from 0 to 1
    #[arg(long, value_name = "SHARE", default_value = "0", value_parser = parse_part)]
    pub(crate) notices: f64,

    /// What a load tells the engine: whether the value changed (change), a version to compare (digest), or when it last changed (time)
    #[arg(long, value_name = "KIND", default_value = "change", value_parser = parse_told)]
    pub(crate) evidence: Told,

    /// How much the cache holds: a share of the distinct keys, or a number [default: everything without limit]
    #[arg(long, value_name = "SIZE", value_parser = parse_objects)]
    pub(crate) capacity: Option<CapacitySpec>,

    /// Who leaves when it is full; see `larder policies`
    #[arg(long, value_name = "POLICY", default_value = "lru", value_parser = parse_evict, requires = "capacity")]
    pub(crate) evict: PolicySpec,

    /// What holding an object for a day costs, in loads: entries that will not be read again leave
    #[arg(long, value_name = "LOADS", default_value_t = 0.0, value_parser = parse_rent, allow_negative_numbers = true, requires = "capacity")]
    pub(crate) rent: f64,

    /// Seeds of all random choices, apart by commas; each makes a run
    #[arg(long = "seed", value_name = "N,…", value_delimiter = ',', default_value = "1")]
    pub(crate) seeds: Vec<u64>,

    /// Print one JSON object a line for each trace, policy and seed; with --arms, for each trace and seed
    #[arg(long)]
    pub(crate) json: bool,

    /// Write a report there: freshness.html, freshness.json, sweep.json (other objectives), windows.csv, lifetimes.csv, pareto.svg
    #[arg(long, value_name = "DIR")]
    pub(crate) report: Option<PathBuf>,
}

impl FreshnessArgs {
    /// The reads asked for, or those that suit the traces.
    fn reads(&self) -> Reads {
        let made = self.traces.traces.iter().all(|trace| trace.starts_with(SYNTHETIC));
        self.reads.unwrap_or(if made { Reads::Zipf { alpha: 0.9, per_key: 30.0 } } else { Reads::AsIs })
    }

    pub(crate) fn experiment(&self) -> FreshnessExperiment {
        FreshnessExperiment {
            objective: self.objective,
            grace: self.grace,
            max_ttl: self.max_ttl,
            policies: self.policies.clone(),
            reads: self.reads(),
            notices: self.notices,
            told: self.evidence,
            capacity: self.capacity.clone(),
            evict: self.evict.clone(),
            rent: self.rent / 86_400.0,
            seeds: self.seeds.clone(),
        }
    }
}

/// Lifetimes of an arm.
fn parse_lifetimes(text: &str) -> Result<NamedLifetimes, String> {
    let time = |text: &str| humantime::parse_duration(text).map_err(|error| format!("'{text}': {error}"));
    let age = |share: &str| Freshness::share_of_age(parse_share(share)?).map_err(|error| error.to_string());
    let freshness = match text.split_once(':') {
        Some(("objective", share)) => Freshness::stale_reads(parse_share(share)?).map_err(|error| error.to_string())?,
        Some(("ttl", span)) => Freshness::fixed_ttl(time(span)?),
        Some(("age", rule)) => match rule.split_once(':') {
            Some((share, least)) => age(share)?.min_ttl(time(least)?),
            None => age(rule)?,
        },
        _ => {
            return Err(
                "give objective:SHARE, ttl:TIME, age:SHARE or age:SHARE:TIME, such as objective:1%,ttl:5m".into()
            );
        }
    };
    Ok(NamedLifetimes { name: text.to_owned(), freshness })
}

/// A share above 0 and below 1, as `1%` or `0.01`.
pub(crate) fn parse_share(text: &str) -> Result<f64, String> {
    let share = share(text).filter(|share| *share > 0.0 && *share < 1.0);
    share.ok_or_else(|| "give a share such as 1% or 0.01, above 0 and below 1".into())
}

/// A share from 0 to 1, as `50%` or `0.5`.
fn parse_part(text: &str) -> Result<f64, String> {
    share(text)
        .filter(|share| (0.0..=1.0).contains(share))
        .ok_or_else(|| "give a share such as 50% or 0.5, from 0 to 1".into())
}

fn share(text: &str) -> Option<f64> {
    let (number, scale) = match text.strip_suffix('%') {
        Some(number) => (number, 0.01),
        None => (text, 1.0),
    };
    number.trim().parse::<f64>().ok().map(|number| number * scale)
}

/// What a load tells.
fn parse_told(text: &str) -> Result<Told, String> {
    let known = TOLD.into_iter().find(|(name, _)| *name == text);
    known.map(|(_, told)| told).ok_or_else(|| format!("give {}", TOLD.map(|(name, _)| name).join(", ")))
}

/// A size of a cache that counts objects.
fn parse_objects(text: &str) -> Result<CapacitySpec, String> {
    let size: CapacitySpec = text.parse().map_err(|error: larder_sim::Error| error.to_string())?;
    let fits = size.is_share() || size.resolve(Weigh::Objects, None).is_ok();
    if fits {
        Ok(size)
    } else {
        Err("lifetimes are compared in caches of objects: give a share (10%) or a number of them (5000)".into())
    }
}

/// Who decides without a future, which nobody has beside lifetimes.
fn parse_evict(text: &str) -> Result<PolicySpec, String> {
    let spec: PolicySpec = text.parse().map_err(|error: larder_policy::Error| error.to_string())?;
    if spec.eviction().needs_oracle {
        return Err(format!("{text} must know the future: only `larder replay` and `larder compare` run it"));
    }
    Ok(spec)
}

/// A price in loads.
fn parse_rent(text: &str) -> Result<f64, String> {
    let rent = text.parse().ok().filter(|rent: &f64| rent.is_finite() && *rent >= 0.0);
    rent.ok_or_else(|| "give a number of loads of at least 0, such as 0.5".into())
}
