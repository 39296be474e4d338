//! What the Redis tier and the plug-in cost beside bare redis-rs, in one run against one server: the figures of `docs/redis.md`.
#![forbid(unsafe_code)]

mod page;
mod sides;

use std::path::PathBuf;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use larder_benches::server::Server;
use lexopt::prelude::*;

use sides::Sides;

const USAGE: &str = "usage: cargo run --release -p larder-benches --bin redis [-- OPTIONS]

Starts a private redis-server, sets larder's Redis tier and its plug-in beside bare redis-rs, and prints a Markdown page.

  --out FILE     write the page there too
  --rounds N     alternating runs of each measurement, of which the median counts (default 31)
  --only TEXT    times what holds this text
  --help         this text";

struct Options {
    out: Option<PathBuf>,
    rounds: usize,
    only: String,
}

/// Two sides of the same work, in the unit that the row tells.
struct Row {
    what: &'static str,
    beside: &'static str,
    unit: &'static str,
    bare: f64,
    larder: f64,
    /// The median of the rounds' ratios.
    ratio: f64,
    aim: &'static str,
}

/// What reads of larder cost the server.
struct Trips {
    what: &'static str,
    reads: u64,
    commands: u64,
    aim: &'static str,
}

fn main() -> Result<()> {
    let Some(options) = parse()? else {
        println!("{USAGE}");
        return Ok(());
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let server = Server::start(None, &[])?;
    let page = runtime.block_on(async {
        let sides = Sides::new(&server).await?;
        let (trips, rows) = (sides.trips().await?, sides.rows(options.rounds, &options.only).await?);
        Ok::<_, anyhow::Error>(page::page(&trips, &rows, options.rounds))
    })?;
    println!("{page}");
    if let Some(out) = &options.out {
        std::fs::write(out, page).with_context(|| format!("writing {}", out.display()))?;
    }
    Ok(())
}

impl Row {
    /// Runs both sides in turns, so that a busy machine slows both, and takes medians; `None` if it is not among those asked for.
    async fn measure(
        self,
        (rounds, only): (usize, &str),
        operations: usize,
        mut run: impl AsyncFnMut(bool) -> Result<()>,
    ) -> Result<Option<Self>> {
        if !self.what.contains(only) {
            return Ok(None);
        }
        eprintln!("{}", self.what);
        let mut took = [Vec::new(), Vec::new()];
        for _ in 0..rounds {
            for (side, took) in took.iter_mut().enumerate() {
                let start = Instant::now();
                run(side == 1).await?;
                took.push(start.elapsed().as_secs_f64() / operations as f64);
            }
        }
        let ratio = median(took[0].iter().zip(&took[1]).map(|(bare, larder)| larder / bare).collect());
        let scale = if self.unit == "ns" { 1e9 } else { 1e6 };
        let [bare, larder] = took.map(|took| scale * median(took));
        Ok(Some(Self { bare, larder, ratio, ..self }))
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn parse() -> Result<Option<Options>> {
    let mut options = Options { out: None, rounds: 31, only: String::new() };
    let mut parser = lexopt::Parser::from_env();
    while let Some(argument) = parser.next()? {
        match argument {
            Long("out") => options.out = Some(parser.value()?.into()),
            Long("rounds") => options.rounds = parser.value()?.parse()?,
            Long("only") => options.only = parser.value()?.string()?,
            Short('h') | Long("help") => return Ok(None),
            _ => return Err(argument.unexpected().into()),
        }
    }
    ensure!(options.rounds > 0, "--rounds must be at least 1");
    Ok(Some(options))
}
