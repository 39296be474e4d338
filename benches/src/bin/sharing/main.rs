//! Four processes and a Redis: three instances of a service share what they learn from their parts of a trace; a fourth comes fresh, with
//! what they shared or without.
#![forbid(unsafe_code)]

mod page;
mod worker;

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, ensure};
use larder_benches::server::Server;
use larder_benches::{SEED, traces};
use lexopt::prelude::*;

use worker::{Outcome, Task};

const USAGE: &str = "usage: cargo run -p larder-benches --bin sharing [-- OPTIONS]

Starts a private redis-server and, for each trace, three instances of a service in processes of their own, then a fresh one with what they
shared and one without; prints a Markdown page.

  --traces DIR     folder of the traces (default: $LARDER_TRACES, else ../shared/traces)
  --out FILE       write the page there too
  --requests N     requests of each trace, at most (default 600000)
  --only NAME      this trace alone
  --help           this text";

const TRACES: &[&str] =
    &["web07", "orm-busy", "w106", "tencent-cbs-ns3300", "cloudphysicsio", "arc-p3", "zeek-dns-vps72h", "citibike"];
/// Fresh instances of each kind, each with a seed of its own.
const FRESH: u64 = 5;
pub(crate) const INSTANCES: u64 = 3;

/// What came of a trace.
pub(crate) struct Run {
    trace: String,
    capacity: u64,
    /// The three, alone and with what they shared.
    alone: Vec<Outcome>,
    shared: Vec<Outcome>,
    /// The fresh ones, without and with what was shared.
    general: Vec<Outcome>,
    informed: Vec<Outcome>,
}

struct Options {
    traces: PathBuf,
    out: Option<PathBuf>,
    requests: usize,
    only: Option<String>,
}

fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    if arguments.next().as_deref() == Some("worker") {
        let task = arguments.next().context("a worker needs its task")?;
        return worker::work(&serde_json::from_str(&task)?);
    }
    let Some(options) = parse()? else {
        println!("{USAGE}");
        return Ok(());
    };
    let server = Server::start(None, &[])?;
    let mut runs = Vec::new();
    for name in TRACES.iter().filter(|name| options.only.as_ref().is_none_or(|only| only == **name)) {
        let run = measure(name, &options, &server.url()).with_context(|| (*name).to_owned())?;
        eprintln!("{}", page::line(&run));
        runs.push(run);
    }
    ensure!(!runs.is_empty(), "--only names none of {}", TRACES.join(", "));
    let page = page::page(&runs, options.requests);
    println!("{page}");
    if let Some(out) = &options.out {
        std::fs::write(out, page).with_context(|| format!("writing {}", out.display()))?;
    }
    Ok(())
}

fn measure(name: &str, options: &Options, redis: &str) -> Result<Run> {
    let path = options.traces.join(format!("{name}.csv.zst"));
    let capacity = worker::capacity(&path, options.requests)?;
    let task = |part: Option<u64>, redis: Option<&str>, seed| Task {
        path: path.clone(),
        requests: options.requests,
        capacity,
        part,
        redis: redis.map(str::to_owned),
        namespace: name.to_owned(),
        seed,
    };
    let three = |redis| {
        let tasks: Vec<_> = (0..INSTANCES).map(|part| task(Some(part), redis, SEED + part)).collect();
        all(&tasks)
    };
    let (alone, shared) = (three(None)?, three(Some(redis))?);
    let fresh = |redis| -> Result<Vec<Outcome>> {
        let outcomes = (0..FRESH).map(|seed| all(&[task(None, redis, SEED + 100 + seed)]));
        Ok(outcomes.collect::<Result<Vec<_>>>()?.concat())
    };
    let (general, informed) = (fresh(None)?, fresh(Some(redis))?);
    Ok(Run { trace: name.to_owned(), capacity, alone, shared, general, informed })
}

/// Each task in a process of its own, all at once.
fn all(tasks: &[Task]) -> Result<Vec<Outcome>> {
    let start = |task: &Task| -> Result<Child> {
        let mut command = Command::new(std::env::current_exe()?);
        Ok(command.arg("worker").arg(serde_json::to_string(task)?).stdout(Stdio::piped()).spawn()?)
    };
    let running = tasks.iter().map(start).collect::<Result<Vec<_>>>()?;
    let outcomes = running.into_iter().map(|child| {
        let output = child.wait_with_output()?;
        ensure!(output.status.success(), "an instance failed");
        Ok(serde_json::from_slice(&output.stdout)?)
    });
    // All are waited for, whatever becomes of one.
    outcomes.collect::<Vec<_>>().into_iter().collect()
}

fn parse() -> Result<Option<Options>> {
    let mut options = Options { traces: traces(), out: None, requests: 600_000, only: None };
    let mut parser = lexopt::Parser::from_env();
    while let Some(argument) = parser.next()? {
        match argument {
            Long("traces") => options.traces = parser.value()?.into(),
            Long("out") => options.out = Some(parser.value()?.into()),
            Long("requests") => options.requests = parser.value()?.parse()?,
            Long("only") => options.only = Some(parser.value()?.parse()?),
            Short('h') | Long("help") => return Ok(None),
            _ => return Err(argument.unexpected().into()),
        }
    }
    ensure!(options.requests >= 1000, "--requests must be at least 1000");
    Ok(Some(options))
}
