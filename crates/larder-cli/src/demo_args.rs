//! The options of `larder demo`.

use std::net::SocketAddr;
use std::num::{NonZeroU64, NonZeroUsize};
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use crate::freshness_args::parse_share;

/// Where the page is unless told otherwise.
const PAGE: &str = "127.0.0.1:9465";

#[derive(Debug, Args)]
#[command(after_long_help = "\
Two processes' caches share a second tier, and behind it lies a SQLite file whose rows change while they are read. Every \
read goes to three arms, one after the other, each with caches, a second tier (its own names in one Redis) and a loader of its own:
  larder     the learned policy, lifetimes from the objective
  lru-tuned  LRU, one lifetime for all that meets the objective: from true rates, which nobody knows
  lru-300s   LRU, the lifetime many services have
A page shows the arm `larder` while it runs; its address is printed first, with the token for its actions. `larder serve` is a page of \
services that run elsewhere.
The truth is the row's version in the file when a read begins. Traffic and changes repeat with the seed; timing does not.

Examples:
  larder demo --seconds 20 --objective 0.5%
  larder demo --trace access.log.gz --capacity 5000
  larder demo --seconds 600 --metrics 127.0.0.1:9464
  larder demo --redis redis://localhost --serve
  larder demo --json

Exit status: 0 on success, 1 on failure, 2 on bad usage.")]
pub(crate) struct DemoArgs {
    /// Whose reads to send, in order and again from its beginning: a trace or a generator. Its sets change rows too
    #[arg(long, value_name = "TRACE", default_value = "gen:zipf:alpha=0.8/keys=3_000")]
    pub(crate) trace: PathBuf,

    /// How long to run; Ctrl-C or SIGTERM ends it sooner, with its table
    #[arg(long, value_name = "N", default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..=3600))]
    pub(crate) seconds: u64,

    /// The share of reads that may be stale
    #[arg(long, value_name = "SHARE", default_value = "1%", value_parser = parse_share)]
    pub(crate) objective: f64,

    /// Entries in the memory of each process
    #[arg(long, value_name = "N", default_value = "600")]
    pub(crate) capacity: NonZeroU64,

    /// Readers; each waits for an answer before it asks again
    #[arg(long, value_name = "N", default_value = "128")]
    pub(crate) workers: NonZeroUsize,

    /// Reads a second, at most, of all readers together
    #[arg(long, value_name = "N", default_value = "20000")]
    pub(crate) rate: NonZeroU64,

    /// What the network to the origin takes, there and back
    #[arg(long, value_name = "TIME", default_value = "5ms", value_parser = humantime::parse_duration)]
    pub(crate) origin_delay: Duration,

    /// The Redis that is the second tier, as in redis://user:password@host:6379 (rediss:// in a build with the feature `tls`); without it a private redis-server, if one is on the path
    #[arg(long, value_name = "URL")]
    pub(crate) redis: Option<String>,

    /// No Redis: the second tier lives in this process, and its network takes so long, there and back [default without Redis: 1ms]
    #[arg(long, value_name = "TIME", conflicts_with = "redis", value_parser = humantime::parse_duration)]
    pub(crate) remote_delay: Option<Duration>,

    /// Runs until Ctrl-C, with its page at this address; port 0 takes a free one
    #[arg(long, value_name = "ADDRESS", num_args = 0..=1, default_missing_value = PAGE, conflicts_with_all = ["seconds", "json"])]
    pub(crate) serve: Option<SocketAddr>,

    /// The seed of traffic, changes and policies
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(crate) seed: u64,

    /// Answer Prometheus there while it runs, as in 127.0.0.1:9464
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) metrics: Option<SocketAddr>,

    /// Print one JSON object
    #[arg(long)]
    pub(crate) json: bool,
}

impl DemoArgs {
    /// Where the page is served, in this order of preference; nowhere for scripts.
    pub(crate) fn pages(&self) -> Vec<SocketAddr> {
        let usual = [9465, 0].map(|port| SocketAddr::from(([127, 0, 0, 1], port)));
        match self.serve {
            Some(address) => vec![address],
            None if self.json => Vec::new(),
            None => usual.into(),
        }
    }

    /// How long it runs; `None` until it is stopped.
    pub(crate) fn lasts(&self) -> Option<Duration> {
        self.serve.is_none().then(|| Duration::from_secs(self.seconds))
    }
}
