//! The league: larder's policies against the peers' stored miss ratios on every trace and size.
#![forbid(unsafe_code)]

mod cost;
mod json;
mod ours;
mod page;
mod peers;
mod prior;
mod score;
mod sections;
mod unseen;

use std::fs;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, bail, ensure};
use larder_benches::{root, traces};
use larder_policy::{PolicySpec, Weigh};
use larder_sim::Metric;
use lexopt::prelude::*;

use ours::Runs;
use page::{Contents, Manifest, Part};
use peers::Cell;
use prior::COLD;
use unseen::Unseen;

const USAGE: &str = "usage: cargo run --release -p larder-benches --bin league [-- OPTIONS]

Replays larder's policies on the traces and sizes of the peers' file and prints how far they are from the peers.

  --policy NAME,...        larder's policies; the first is the one judged
                           (default: learned, learned:prior=0, learned:samples=8, s3fifo, wtinylfu, arc, lirs,
                           lru); with learned comes its row with the prior held out, of models/general/held_out.tsv, and
                           the section of traces that the prior was not trained on
  --quick                  only traces of at most 150,000 requests: a look in seconds
  --only TRACE,...         only these traces
  --sizes PERCENT,...      only these sizes, such as 1,10 (default: all of the file)
  --seeds N                seeds 1 to N (default 1); the tables show seed 1
  --bytes                  also the traces with sizes, weighed by bytes
  --bytes-policy NAME,...  larder's policies there (default: learned, learned-bytes, gdsf, lhd, s3fifo, lru)
  --cost                   also what a hit, a miss and a resident cost, and the speed beside libcachesim's ThreeLCache
                           (installed from PyPI into target/speed)
  --traces DIR             folder of traces (default: $LARDER_TRACES, else ../shared/traces)
  --peers FILE             the peers' file (default benches/peers.tsv)
  --bytes-peers FILE       that of --bytes (default benches/peers-bytes.tsv)
  --out FILE               write the whole page there, with every trace, size and peer
  --json                   print one JSON object a line instead of the measures
  --threads N              threads of a replay, 1 or 2 (default 2)
  --help                   this text

The peers' files are made by
  python3 benches/python/league_peers.py TRACES_DIR [--bytes]";

/// What is compared where the user names nothing: what ships, a cold start, and half the candidates, which make a lighter variant.
const POLICIES: &[&str] = &["learned", COLD, "learned:samples=8", "s3fifo", "wtinylfu", "arc", "lirs", "lru"];
const BYTES_POLICIES: &[&str] = &["learned", "learned-bytes", "gdsf", "lhd", "s3fifo", "lru"];

/// The most requests a trace of `--quick` may have.
const QUICK: u64 = 150_000;

struct Options {
    policies: Vec<PolicySpec>,
    bytes_policies: Vec<PolicySpec>,
    quick: bool,
    only: Vec<String>,
    sizes: Vec<f64>,
    seeds: u64,
    bytes: bool,
    cost: bool,
    traces: PathBuf,
    peers: PathBuf,
    bytes_peers: PathBuf,
    out: Option<PathBuf>,
    json: bool,
    threads: NonZeroUsize,
}

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::from(2)
        }
    }
}

fn run() -> Result<()> {
    let Some(options) = parse(lexopt::Parser::from_env())? else {
        println!("{USAGE}");
        return Ok(());
    };
    let manifest = Manifest::load(&options.traces)?;
    for name in &options.only {
        ensure!(manifest.domains.contains_key(name), "--only: there is no trace {name} in MANIFEST.tsv");
    }
    let weights: &[Weigh] = if options.bytes { &[Weigh::Objects, Weigh::Bytes] } else { &[Weigh::Objects] };
    let mut parts = Vec::new();
    for &weigh in weights {
        parts.extend(part(&options, weigh)?);
    }
    ensure!(!parts.is_empty(), "no cells are left to score: ask for more with --only, --sizes or without --quick");
    for note in parts.iter().filter_map(|part| part.note.as_ref()) {
        eprintln!("there is {note}");
    }
    let trained_on = prior::trained_on()?;
    // It stands on the page alone.
    let unseen = if options.json && options.out.is_none() { None } else { unseen(&options, &manifest, &trained_on)? };
    let costs = if options.cost { Some(cost::measure(&options.policies, &options.traces)?) } else { None };
    let contents = Contents { parts, unseen, costs, manifest, trained_on };
    if options.json {
        contents.parts.iter().for_each(json::print);
    } else {
        print!("{}", page::page(&contents, false));
    }
    if let Some(out) = &options.out {
        fs::write(out, page::page(&contents, true)).with_context(|| format!("writing {}", out.display()))?;
    }
    Ok(())
}

/// Replays what the shipped prior was not trained on, where it is among those judged.
fn unseen(options: &Options, manifest: &Manifest, trained_on: &[String]) -> Result<Option<Unseen>> {
    if !options.has(unseen::JUDGED[0]) {
        return Ok(None);
    }
    let names = manifest.domains.keys().map(String::as_str);
    let traces: Vec<&str> = names.filter(|name| trained_on.iter().all(|trained| trained != name)).collect();
    Unseen::replay(&options.runs(Weigh::Objects), &traces, |cell| options.wants(cell))
}

/// Replays the objects of equal weight, or those weighed by their bytes; none where no cells are wanted.
fn part(options: &Options, weigh: Weigh) -> Result<Option<Part>> {
    let (file, policies, metrics): (&Path, _, &[Metric]) = match weigh {
        Weigh::Objects => (&options.peers, &options.policies, &[Metric::Requests]),
        Weigh::Bytes => (&options.bytes_peers, &options.bytes_policies, &[Metric::Requests, Metric::Bytes]),
    };
    let mut cells = peers::load(file)?;
    cells.retain(|cell| options.wants(cell));
    if cells.is_empty() {
        return Ok(None);
    }
    let seeds = options.runs(weigh).replay(policies, &cells)?;
    let (held_out, note) = match weigh {
        Weigh::Objects if options.has(unseen::JUDGED[0]) => {
            let cold = seeds.first().and_then(|ours| ours.iter().find(|contestant| contestant.name == COLD));
            prior::held_out(&cells, cold)
        }
        _ => (None, None),
    };
    Ok(Some(Part { weigh, metrics, cells, seeds, held_out, note }))
}

impl Options {
    fn runs(&self, weigh: Weigh) -> Runs {
        Runs { traces: self.traces.clone(), weigh, seeds: self.seeds, threads: self.threads }
    }

    /// Whether a policy is among those of objects of equal size.
    fn has(&self, name: &str) -> bool {
        self.policies.iter().any(|policy| policy.as_str() == name)
    }

    fn wants(&self, cell: &Cell) -> bool {
        let near = |percent: &f64| (percent / 100.0 - cell.share).abs() < 1e-9;
        (self.only.is_empty() || self.only.contains(&cell.trace))
            && (self.sizes.is_empty() || self.sizes.iter().any(near))
            && (!self.quick || cell.requests <= QUICK)
    }
}

fn parse(mut parser: lexopt::Parser) -> Result<Option<Options>> {
    let mut options = Options {
        policies: all(POLICIES)?,
        bytes_policies: all(BYTES_POLICIES)?,
        quick: false,
        only: Vec::new(),
        sizes: Vec::new(),
        seeds: 1,
        bytes: false,
        cost: false,
        traces: traces(),
        peers: root().join("benches/peers.tsv"),
        bytes_peers: root().join("benches/peers-bytes.tsv"),
        out: None,
        json: false,
        threads: NonZeroUsize::MIN.saturating_add(1),
    };
    while let Some(argument) = parser.next()? {
        match argument {
            Long("policy") => options.policies = list(&parser.value()?.string()?, named)?,
            Long("bytes-policy") => options.bytes_policies = list(&parser.value()?.string()?, named)?,
            Long("quick") => options.quick = true,
            Long("only") => options.only = list(&parser.value()?.string()?, |name| Ok(name.to_owned()))?,
            Long("sizes") => options.sizes = list(&parser.value()?.string()?, percent)?,
            Long("seeds") => options.seeds = parser.value()?.parse()?,
            Long("bytes") => options.bytes = true,
            Long("cost") => options.cost = true,
            Long("traces") => options.traces = parser.value()?.into(),
            Long("peers") => options.peers = parser.value()?.into(),
            Long("bytes-peers") => options.bytes_peers = parser.value()?.into(),
            Long("out") => options.out = Some(parser.value()?.into()),
            Long("json") => options.json = true,
            Long("threads") => options.threads = parser.value()?.parse()?,
            Short('h') | Long("help") => return Ok(None),
            _ => return Err(argument.unexpected().into()),
        }
    }
    ensure!((1..=100).contains(&options.seeds), "--seeds must be 1 to 100");
    ensure!(options.threads.get() <= 2, "--threads must be 1 or 2");
    Ok(Some(options))
}

fn list<T>(text: &str, parse: impl Fn(&str) -> Result<T>) -> Result<Vec<T>> {
    text.split(',').map(str::trim).filter(|item| !item.is_empty()).map(parse).collect()
}

fn named(name: &str) -> Result<PolicySpec> {
    let policy: PolicySpec = name.parse()?;
    if policy.eviction().needs_oracle {
        bail!("policy {name} knows the future: the peers' Belady is the bound");
    }
    Ok(policy)
}

fn percent(text: &str) -> Result<f64> {
    let number = text.trim_end_matches('%').trim();
    number.parse().with_context(|| format!("--sizes: '{text}' is not a number of percent"))
}

fn all(names: &[&str]) -> Result<Vec<PolicySpec>> {
    names.iter().map(|name| named(name)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(arguments: &[&str]) -> Result<Options> {
        parse(lexopt::Parser::from_args(arguments)).map(Option::unwrap)
    }

    #[test]
    fn the_default_policies_are_there() {
        let options = options(&[]).unwrap();
        let names = |policies: &[PolicySpec]| policies.iter().map(PolicySpec::to_string).collect::<Vec<_>>();
        assert_eq!(names(&options.policies), POLICIES);
        assert_eq!(names(&options.bytes_policies), BYTES_POLICIES);
    }

    #[test]
    fn unknown_names_are_refused() {
        for (arguments, says) in [
            (["--policy", "lru,lro"], "there is no policy 'lro'"),
            (["--policy", "belady"], "knows the future"),
            (["--sizes", "1,x"], "'x' is not a number of percent"),
            (["--seeds", "0"], "--seeds must be"),
            (["--threads", "3"], "--threads must be"),
            (["--bogus", ""], "bogus"),
        ] {
            let error = options(&arguments).err().unwrap().to_string();
            assert!(error.contains(says), "{error}");
        }
    }

    #[test]
    fn cells_are_chosen_by_trace_size_and_length() {
        let cell = Cell { trace: "a".to_owned(), share: 0.001, requests: 200_000, ..Cell::default() };
        let wants = |arguments: &[&str]| options(arguments).unwrap().wants(&cell);
        assert!(wants(&[]) && wants(&["--only", "b,a"]) && wants(&["--sizes", "0.1%,20"]));
        assert!(!wants(&["--only", "b"]) && !wants(&["--sizes", "1"]) && !wants(&["--quick"]));
    }
}
