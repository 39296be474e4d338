//! Replay speed of larder's kernel beside libcachesim's, on the same requests in the same run.
#![forbid(unsafe_code)]

mod measure;
mod report;

use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use larder_benches::workload::Workload;
use larder_benches::{peer, target, traces};
use lexopt::prelude::*;

use measure::measure;

const USAGE: &str = "usage: cargo run --release -p larder-benches --bin speed [-- OPTIONS]

Replays traces with larder and with libcachesim (installed from PyPI into target/speed) and prints a Markdown page.

  --traces DIR   folder of w106.csv.zst and orm-busy.csv.zst (default: $LARDER_TRACES, else ../shared/traces)
  --out FILE     write the page there too
  --rounds N     alternating runs of each, of which the median counts (default 5)
  --help         this text";

/// Traces with objects of one size, so that both sides do the same work.
const TRACES: &[&str] = &["w106", "orm-busy"];

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
    let folder = target().join("speed");
    let python = peer::python(&folder)?;
    let mut runs = Vec::new();
    for name in TRACES {
        eprintln!("{name}: reading");
        let workload = Workload::load(&options.traces.join(format!("{name}.csv.zst")), &folder)?;
        runs.push(measure(&workload, &python, options.rounds)?);
    }
    let page = report::page(&runs, options.rounds);
    println!("{page}");
    if let Some(out) = &options.out {
        std::fs::write(out, page).with_context(|| format!("writing {}", out.display()))?;
    }
    Ok(())
}

fn parse() -> Result<Option<Options>> {
    let mut options = Options { traces: traces(), out: None, rounds: 5 };
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
