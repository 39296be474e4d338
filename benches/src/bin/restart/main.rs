//! How soon a cache is as good as before after a restart, with and without warming it from a snapshot.
#![forbid(unsafe_code)]

mod drill;
mod page;

use std::path::PathBuf;

use anyhow::{Context, Result};
use larder_benches::traces;
use larder_trace::{Options, Reader, Request, open};
use lexopt::prelude::*;

use drill::Drill;

const USAGE: &str = "usage: cargo run --release -p larder-benches --bin restart [-- OPTIONS]

Replays traces, restarts the cache half way, and prints a Markdown page on how long it takes to recover.

  --traces DIR   folder of the traces (default: $LARDER_TRACES, else ../shared/traces)
  --out FILE     write the page there too
  --help         this text";

/// Of four kinds: a web shop's pages, a database cache, a virtual machine's blocks, a workstation's.
const TRACES: &[&str] = &["web07", "orm-busy", "w106", "arc-p3"];

const POLICIES: &[&str] = &["learned", "lru"];

fn main() -> Result<()> {
    let mut parser = lexopt::Parser::from_env();
    let (mut folder, mut out) = (traces(), None::<PathBuf>);
    while let Some(argument) = parser.next()? {
        match argument {
            Long("traces") => folder = parser.value()?.into(),
            Long("out") => out = Some(parser.value()?.into()),
            Short('h') | Long("help") => {
                println!("{USAGE}");
                return Ok(());
            }
            _ => return Err(argument.unexpected().into()),
        }
    }
    let mut drills = Vec::new();
    for name in TRACES {
        let requests = load(&folder.join(format!("{name}.csv.zst")))?;
        for policy in POLICIES {
            eprintln!("{name}, {policy}");
            drills.push(Drill::run(name, &policy.parse()?, &requests)?);
        }
    }
    let page = page::page(&drills);
    println!("{page}");
    if let Some(out) = &out {
        std::fs::write(out, page).with_context(|| format!("writing {}", out.display()))?;
    }
    Ok(())
}

fn load(path: &std::path::Path) -> Result<Vec<Request>> {
    let mut trace = open(path, &Options::default())
        .with_context(|| format!("opening {}: give the folder of traces with --traces", path.display()))?;
    let mut requests = Vec::new();
    while trace.read(&mut requests, 1 << 16)? > 0 {}
    Ok(requests)
}
