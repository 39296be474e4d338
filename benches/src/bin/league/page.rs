//! The page: what was run, the measures of each part, and every trace, size and peer.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use larder_benches::machine;
use larder_benches::peer::PACKAGE;
use larder_policy::Weigh;
use larder_sim::Metric;

use crate::cost::Costs;
use crate::ours::trace_names;
use crate::peers::Cell;
use crate::score::{Contestant, League};
use crate::sections;
use crate::unseen::Unseen;

/// Cells of one kind of weight, replayed.
pub(crate) struct Part {
    pub(crate) weigh: Weigh,
    pub(crate) metrics: &'static [Metric],
    pub(crate) cells: Vec<Cell>,
    /// larder's policies, by seed.
    pub(crate) seeds: Vec<Vec<Contestant>>,
    /// The first one with a prior that has not learned from the cell's family.
    pub(crate) held_out: Option<Contestant>,
    /// What is to be said of that.
    pub(crate) note: Option<String>,
}

impl Part {
    /// larder's policies with the first seed, and with the prior held out after the first.
    pub(crate) fn ours(&self) -> Vec<Contestant> {
        let mut ours = self.seeds.first().cloned().unwrap_or_default();
        if let Some(held_out) = &self.held_out {
            ours.insert(ours.len().min(1), held_out.clone());
        }
        ours
    }

    /// Everybody against everybody, by one of the miss ratios.
    pub(crate) fn league<'a>(&'a self, metric: Metric, shares: &'a [f64]) -> League<'a> {
        let references: &[&str] = match (self.weigh, metric) {
            (Weigh::Objects, _) => &["FIFO", "LRU"],
            (Weigh::Bytes, Metric::Requests) => &["LRU", "GDSF", "LHD", "ThreeLCache"],
            (Weigh::Bytes, Metric::Bytes) => &["LRU", "GDSF", "LHD", "ThreeLCache-bytes"],
        };
        // Where sizes differ, no rule that could be run is optimal.
        let optimum = if self.weigh == Weigh::Objects { Some("Belady") } else { None };
        League { cells: &self.cells, metric, references, shares, optimum }
    }

    /// The sizes of its cells, ascending.
    pub(crate) fn shares(&self) -> Vec<f64> {
        let mut shares: Vec<f64> = self.cells.iter().map(|cell| cell.share).collect();
        shares.sort_by(f64::total_cmp);
        shares.dedup();
        shares
    }
}

/// What `MANIFEST.tsv` beside the traces tells of them.
#[derive(Default)]
pub(crate) struct Manifest {
    /// The kind of place each trace comes from.
    pub(crate) domains: BTreeMap<String, String>,
    /// Those good for measuring eviction.
    eviction: Vec<String>,
}

impl Manifest {
    /// Reads `MANIFEST.tsv` in the folder of traces.
    pub(crate) fn load(folder: &Path) -> Result<Self> {
        let path = folder.join("MANIFEST.tsv");
        let reading = || format!("reading {}: give the folder of traces with --traces", path.display());
        Self::parse(&fs::read_to_string(&path).with_context(reading)?)
    }

    fn parse(text: &str) -> Result<Self> {
        let mut lines = text.lines().map(|line| line.split('\t').collect::<Vec<_>>());
        let header = lines.next().context("MANIFEST.tsv is empty")?;
        let column = |name: &str| {
            let at = header.iter().position(|field| *field == name);
            at.with_context(|| format!("MANIFEST.tsv has no column {name}"))
        };
        let (name, domain, good_for) = (column("name")?, column("domain")?, column("good_for")?);
        let mut manifest = Self::default();
        for row in lines.filter(|row| row.len() > name.max(domain).max(good_for)) {
            // What stands in brackets or after a colon tells one trace of a domain from another.
            let domain_name = row[domain].split([':', '(']).next().unwrap_or_default().trim();
            manifest.domains.insert(row[name].to_owned(), domain_name.to_owned());
            if row[good_for].split(',').any(|usage| usage == "eviction") {
                manifest.eviction.push(row[name].to_owned());
            }
        }
        Ok(manifest)
    }

    /// The trace's domain.
    pub(crate) fn domain(&self, trace: &str) -> &str {
        self.domains.get(trace).map_or("unknown", String::as_str)
    }
}

/// What the page is made of.
pub(crate) struct Contents {
    pub(crate) parts: Vec<Part>,
    pub(crate) unseen: Option<Unseen>,
    pub(crate) costs: Option<Costs>,
    pub(crate) manifest: Manifest,
    /// The traces the shipped prior was trained on.
    pub(crate) trained_on: Vec<String>,
}

/// The page; with every trace's table if it is to be `whole`.
pub(crate) fn page(contents: &Contents, whole: bool) -> String {
    let Contents { parts, unseen, costs, manifest, trained_on } = contents;
    let seeds = parts.first().map_or(0, |part| part.seeds.len());
    let facts: Vec<_> = machine::facts().into_iter().map(|fact| format!("- {fact}")).collect();
    let mut page = format!(
        "# The league\n\nMade by `{}`.\n\n{}\n- Seeds: 1 to {seeds}; the tables show seed 1\n- Peers: {PACKAGE} (PyPI), stored by \
         `python3 benches/python/league_peers.py TRACES_DIR [--bytes]`\n\n{EXPLANATION}",
        command(std::env::args().skip(1)),
        facts.join("\n"),
    );
    for part in parts {
        page += &section(part, manifest, trained_on, whole);
    }
    if let Some(unseen) = unseen {
        page += &unseen.section(whole);
    }
    if let Some(costs) = costs {
        page += &costs.section();
    }
    page
}

const EXPLANATION: &str = "\
A cell is a trace at a size; sizes are shares of the trace's distinct keys (or bytes), at least 64 objects, and equal \
capacities count once. Every row of a trace counts as an access. A reduction is (reference − m) / the larger of the \
two, in %: positive misses less. *Best* is the peer that misses least in that cell, chosen with hindsight among those \
that do not know the future. *Gap closed* is (LRU − m) / (LRU − Belady), the mean over cells in which LRU and Belady \
are more than a point apart, where all objects weigh the same. Wins, ties and losses are against the best peer, a tie being equal to a millionth.

The prior that ships with `learned` was trained on traces of this page, whole ([its card](../models/general/card.md)): the row `learned` is \
what a cache does out of the box, and no test of the prior. `learned, prior held out` starts each trace from a prior that has learned from no \
trace of its family; `learned:prior=0` starts from none. What the prior does on traces that played no part in its making stands under \
*Never trained on*.
";

/// The command without what differs from machine to machine.
fn command(arguments: impl Iterator<Item = String>) -> String {
    let mut shown = "cargo run --release -p larder-benches --bin league".to_owned();
    let mut arguments = arguments.peekable();
    if arguments.peek().is_some() {
        shown += " --";
    }
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--traces" => drop(arguments.next()),
            text if text.starts_with("--traces=") => {}
            // Writing to a string does not fail, here and below.
            text => drop(write!(shown, " {text}")),
        }
    }
    shown
}

fn section(part: &Part, manifest: &Manifest, trained_on: &[String], whole: bool) -> String {
    let title = match part.weigh {
        Weigh::Objects => "Objects of equal size",
        Weigh::Bytes => "Objects weighed by their bytes",
    };
    let (shares, traces) = (part.shares(), trace_names(&part.cells));
    let (count, ours) = (part.cells.len(), part.ours());
    let trained = traces.iter().filter(|trace| trained_on.iter().any(|name| name == *trace)).count();
    let mut text = format!(
        "\n## {title}\n\n{count} cells of {} traces, {trained} of which the shipped prior was trained on.\n",
        traces.len()
    );
    if let Some(note) = &part.note {
        text += &format!("\nThere is {note}.\n");
    }
    for &metric in part.metrics {
        let league = part.league(metric, &shares);
        let ratio = match metric {
            Metric::Requests => "object miss ratio",
            Metric::Bytes => "byte miss ratio",
        };
        text += &format!("\n### Measures, {ratio}\n\n{}", sections::measures(&league, &ours));
        text += &format!("\n### By size, against the best peer, {ratio}\n\n{}", sections::by_size(&league, &ours));
        text += &format!("\n### By domain, against the best peer, {ratio}\n\n");
        text += &sections::by_domain(&league, &ours, |trace| manifest.domain(trace));
        if part.seeds.len() > 1 {
            text += &format!("\n### Seeds, {ratio}\n\n{}", sections::seeds(&league, &part.seeds));
        }
        if let Some(judged) = ours.first() {
            text += &format!("\n### Where `{}` loses most, {ratio}\n\n", judged.name);
            text += &sections::losses(&league, judged);
        }
    }
    if part.weigh == Weigh::Objects {
        let missing = manifest.eviction.iter().filter(|name| !traces.contains(&name.as_str()));
        let missing: Vec<&str> = missing.map(String::as_str).collect();
        if !missing.is_empty() {
            text += &format!("\nTraces good for eviction that are not scored here: {}.\n", missing.join(", "));
        }
    }
    let league = part.league(Metric::Requests, &shares);
    text += &sections::untrained(&league);
    text += &sections::failures(&league);
    if whole {
        for &metric in part.metrics {
            text += &sections::traces(&part.league(metric, &shares), &ours, metric, &traces);
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_names_no_folder_of_this_machine() {
        let shown = |arguments: &[&str]| command(arguments.iter().map(|argument| (*argument).to_owned()));
        assert_eq!(shown(&[]), "cargo run --release -p larder-benches --bin league");
        let ends = |arguments: &[&str], end: &str| assert!(shown(arguments).ends_with(end), "{}", shown(arguments));
        ends(&["--traces", "/somewhere", "--seeds", "3"], "league -- --seeds 3");
        ends(&["--quick", "--traces=/somewhere"], "league -- --quick");
    }

    #[test]
    fn a_manifest_tells_domains_and_uses() {
        let text = "name\tdomain\tgood_for\na\tweb (July)\teviction,ttl\nb\tfeed: reads\tttl\n";
        let manifest = Manifest::parse(text).unwrap();
        assert_eq!([manifest.domain("a"), manifest.domain("b"), manifest.domain("c")], ["web", "feed", "unknown"]);
        assert_eq!(manifest.eviction, ["a"]);
        assert!(Manifest::parse("name\n").is_err());
    }
}
