//! larder's embedded store beside its peers: processor time an operation and bytes an entry, in one run.
#![forbid(unsafe_code)]

mod contenders;
mod page;
mod work;

use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use lexopt::prelude::*;

use contenders::{Key, contenders};
use page::{Row, Section};
use work::{Keys, median_cost, overhead, time};

const USAGE: &str = "usage: cargo run --release -p larder-benches --bin stores [-- OPTIONS]

Times larder's embedded store and its peers on the same work in the same run, and prints a Markdown page.

  --out FILE        write the page there too
  --rounds N        alternating runs of each, of which the median counts (default 3)
  --operations N    operations a thread and run (default 500000)
  --only TEXT       contenders whose name holds this text
  --help            this text";

struct Settings {
    out: Option<PathBuf>,
    rounds: usize,
    operations: usize,
    only: String,
}

fn main() -> Result<()> {
    let Some(settings) = parse()? else {
        println!("{USAGE}");
        return Ok(());
    };
    let sections = [measure::<u64>("u64", &settings)?, measure::<String>("String of 17 bytes", &settings)?];
    let page = page::page(&sections, settings.rounds, settings.operations);
    println!("{page}");
    if let Some(out) = &settings.out {
        std::fs::write(out, page).with_context(|| format!("writing {}", out.display()))?;
    }
    Ok(())
}

fn measure<K: Key>(keys_are: &'static str, settings: &Settings) -> Result<Section> {
    eprintln!("keys: {keys_are}");
    let keys = Keys::<K>::new(settings.operations)?;
    let contenders: Vec<_> =
        contenders::<K>().into_iter().filter(|contender| contender.name.contains(&settings.only)).collect();
    let mut costs = vec![Vec::new(); contenders.len() * page::COLUMNS.len()];
    for round in 0..settings.rounds {
        for (column, &(work, threads)) in page::COLUMNS.iter().enumerate() {
            eprintln!("  round {}: {}, {threads} threads", round + 1, work.name());
            for (at, contender) in contenders.iter().enumerate() {
                costs[at * page::COLUMNS.len() + column].push(time(contender, &keys, work, threads));
            }
        }
    }
    let rows = contenders.iter().zip(costs.chunks(page::COLUMNS.len())).map(|(contender, costs)| Row {
        name: contender.name,
        is_ours: contender.is_ours,
        costs: costs.iter().map(|costs| median_cost(costs)).collect(),
        bytes: overhead(contender, &keys),
    });
    Ok(Section { keys: keys_are, rows: rows.collect() })
}

fn parse() -> Result<Option<Settings>> {
    let mut settings = Settings { out: None, rounds: 3, operations: 500_000, only: String::new() };
    let mut parser = lexopt::Parser::from_env();
    while let Some(argument) = parser.next()? {
        match argument {
            Long("out") => settings.out = Some(parser.value()?.into()),
            Long("rounds") => settings.rounds = parser.value()?.parse()?,
            Long("operations") => settings.operations = parser.value()?.parse()?,
            Long("only") => settings.only = parser.value()?.string()?,
            Short('h') | Long("help") => return Ok(None),
            _ => return Err(argument.unexpected().into()),
        }
    }
    ensure!(settings.rounds > 0 && settings.operations > 0, "--rounds and --operations must be at least 1");
    Ok(Some(settings))
}
