//! What larder's plug-in brings to moka, and what it costs: hit ratios, loads at equal staleness, nanoseconds a hit.
#![forbid(unsafe_code)]

mod fresh;
mod hits;
mod page;
mod ratios;
mod traffic;

use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use larder_benches::traces;
use lexopt::prelude::*;

use traffic::Traffic;

const USAGE: &str = "usage: cargo run --release -p larder-benches --bin moka [-- OPTIONS]

Replays four traces against moka, moka with larder, and larder's own store, measures a hit, and prints a Markdown page.

  --traces DIR   folder of the traces (default: $LARDER_TRACES, else ../shared/traces)
  --out FILE     write the page there too
  --rounds N     alternating runs of each hit measurement, of which the median counts (default 15)
  --help         this text";

/// Two traces of requests alone, and two that tell when the origin's values changed.
const TRACES: &[&str] = &["web07", "tencent-cbs-ns3300", "hn-domains", "ca-fires"];

struct Options {
    traces: PathBuf,
    out: Option<PathBuf>,
    rounds: usize,
}

fn main() -> Result<()> {
    let Some(options) = parse()? else {
        println!("{USAGE}");
        return Ok(());
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (mut ratios, mut fresh) = (Vec::new(), Vec::new());
    for name in TRACES {
        eprintln!("{name}");
        let traffic = Traffic::load(&options.traces.join(format!("{name}.csv.zst")))?;
        for share in ratios::SHARES {
            ratios.push(runtime.block_on(ratios::measure(&traffic, *share))?);
        }
        if traffic.has_changes() {
            fresh.push(runtime.block_on(fresh::measure(&traffic))?);
        }
    }
    eprintln!("hits");
    let hits = hits::measure(options.rounds)?;
    let page = page::page(&ratios, &fresh, &hits, options.rounds);
    println!("{page}");
    if let Some(out) = &options.out {
        std::fs::write(out, page).with_context(|| format!("writing {}", out.display()))?;
    }
    Ok(())
}

fn parse() -> Result<Option<Options>> {
    let mut options = Options { traces: traces(), out: None, rounds: 15 };
    let mut parser = lexopt::Parser::from_env();
    while let Some(argument) = parser.next()? {
        match argument {
            Long("traces") => options.traces = parser.value()?.into(),
            Long("out") => options.out = Some(parser.value()?.into()),
            Long("rounds") => options.rounds = parser.value()?.parse()?,
            Short('h') | Long("help") => return Ok(None),
            _ => return Err(argument.unexpected().into()),
        }
    }
    ensure!(options.rounds > 0, "--rounds must be at least 1");
    Ok(Some(options))
}
