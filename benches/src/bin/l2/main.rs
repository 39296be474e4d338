//! A full Redis, steered by larder and left to itself: hit ratios at equal `maxmemory`, commands, bytes, latency, throughput.
#![forbid(unsafe_code)]

mod page;
mod replay;
mod traffic;
mod ways;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use larder_benches::{server, traces};
use lexopt::prelude::*;

use replay::{Outcome, Scene, run};
use traffic::Traffic;
use ways::Way;

const USAGE: &str = "usage: cargo run --release -p larder-benches --bin l2 [-- OPTIONS]

Starts private redis-servers, replays the beginnings of six traces against them at three sizes, steered and left to themselves, with one
client and with four, and in a cluster of three primaries, and prints a Markdown page.

  --traces DIR     folder of the traces (default: $LARDER_TRACES, else ../shared/traces)
  --out FILE       write the page there too
  --requests N     requests of each trace (default 40000)
  --runs N         runs of everything; the page has their means (default 3)
  --only NAME      this trace alone
  --help           this text";

const TRACES: &[&str] =
    &["web07", "orm-busy", "w106", "tencent-cbs-ns3300", "mooncake-conversation", "adaptsize-request"];
/// Shares of the distinct keys' bytes that fit.
const SHARES: &[f64] = &[0.05, 0.1, 0.2];
/// Servers that decide by themselves.
const NATIVE: &[Way] = &[
    Way::Lru,
    Way::Lfu { decay_time: 1, log_factor: 10 },
    Way::Lfu { decay_time: 10, log_factor: 10 },
    Way::Lfu { decay_time: 1, log_factor: 1 },
];
/// With larder.
const LARDER: &[Way] = &[Way::Steered("learned"), Way::Steered("learned:refuse=0"), Way::Retention, Way::Admission];

/// A trace at a size.
pub(crate) struct Cell {
    trace: String,
    share: f64,
    objects: f64,
    native: Vec<Outcome>,
    larder: Vec<Outcome>,
    /// The better native way and the first of larder's, by four clients.
    four: [Outcome; 2],
    /// And by one, in a cluster.
    cluster: [Outcome; 2],
}

const ONE: Scene = Scene { clients: 1, primaries: 1 };
const FOUR: Scene = Scene { clients: 4, primaries: 1 };
const CLUSTER: Scene = Scene { clients: 1, primaries: 3 };

impl Cell {
    /// Which native way missed least.
    fn better(&self) -> usize {
        let hits = |at: &usize| self.native[*at].hits;
        (0..self.native.len()).max_by(|one, two| hits(one).total_cmp(&hits(two))).unwrap_or(0)
    }
}

struct Options {
    traces: PathBuf,
    out: Option<PathBuf>,
    requests: usize,
    runs: usize,
    only: Option<String>,
}

fn main() -> Result<()> {
    let Some(options) = parse()? else {
        println!("{USAGE}");
        return Ok(());
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let clock = server::fast_clock();
    let mut cells = Vec::new();
    let wanted = |name: &&&str| options.only.as_ref().is_none_or(|only| only == **name);
    for name in TRACES.iter().filter(wanted) {
        let traffic = Traffic::load(&options.traces.join(format!("{name}.csv.zst")), options.requests)?;
        let traffic = Arc::new(traffic);
        for share in SHARES {
            let cell = runtime.block_on(measure(&traffic, *share, options.runs, clock.as_deref()))?;
            eprintln!("{}", page::line(&cell));
            cells.push(cell);
        }
    }
    ensure!(!cells.is_empty(), "--only names none of {}", TRACES.join(", "));
    let page = page::page(&cells, &options, clock.is_some());
    println!("{page}");
    if let Some(out) = &options.out {
        std::fs::write(out, page).with_context(|| format!("writing {}", out.display()))?;
    }
    Ok(())
}

async fn measure(traffic: &Arc<Traffic>, share: f64, runs: usize, clock: Option<&Path>) -> Result<Cell> {
    // Round after round, so that the machine's moods fall on all ways alike.
    let all = async |ways: &[(&Way, Scene)]| {
        let mut outcomes = vec![Vec::new(); ways.len()];
        for _ in 0..runs {
            for ((way, scene), outcomes) in ways.iter().zip(&mut outcomes) {
                let outcome = run(way, traffic, share, *scene, clock).await;
                outcomes.push(outcome.with_context(|| format!("{}: {way:?}, {scene:?}", traffic.name))?);
            }
        }
        Ok::<Vec<_>, anyhow::Error>(outcomes.iter().map(|outcomes| Outcome::mean(outcomes)).collect())
    };
    let mut native = all(&NATIVE.iter().chain(LARDER).map(|way| (way, ONE)).collect::<Vec<_>>()).await?;
    let larder = native.split_off(NATIVE.len());
    let best = native.iter().zip(NATIVE).max_by(|one, two| one.0.hits.total_cmp(&two.0.hits));
    let pair = [best.map_or(&Way::Lru, |best| best.1), &LARDER[0]];
    let mut four = all(&[FOUR, CLUSTER].map(|scene| pair.map(|way| (way, scene))).concat()).await?;
    let cluster = four.split_off(pair.len());
    let pair = |outcomes: Vec<_>| outcomes.try_into().map_err(|_| anyhow::anyhow!("two ways have two outcomes"));
    let objects = traffic.keys.len() as f64 * share;
    Ok(Cell { trace: traffic.name.clone(), share, objects, native, larder, four: pair(four)?, cluster: pair(cluster)? })
}

fn parse() -> Result<Option<Options>> {
    let mut options = Options { traces: traces(), out: None, requests: 40_000, runs: 3, only: None };
    let mut parser = lexopt::Parser::from_env();
    while let Some(argument) = parser.next()? {
        match argument {
            Long("traces") => options.traces = parser.value()?.into(),
            Long("out") => options.out = Some(parser.value()?.into()),
            Long("requests") => options.requests = parser.value()?.parse()?,
            Long("runs") => options.runs = parser.value()?.parse()?,
            Long("only") => options.only = Some(parser.value()?.parse()?),
            Short('h') | Long("help") => return Ok(None),
            _ => return Err(argument.unexpected().into()),
        }
    }
    ensure!(options.requests > 0, "--requests must be at least 1");
    ensure!(options.runs > 0, "--runs must be at least 1");
    Ok(Some(options))
}
