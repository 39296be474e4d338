//! The page on learned lifetimes: every trace that tells when values change, every family, wins and losses.

mod page;

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

use crate::project::Project;

/// The page and its picture.
const PAGE: &str = "docs/freshness.md";
const PICTURE: &str = "docs/freshness.svg";

/// Whose figures the constants were chosen on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Group {
    Seen,
    Unseen,
    Synthetic,
}

/// A trace with its reads, and how many seeds it is run with.
#[derive(Clone, Copy, Debug)]
struct Case {
    group: Group,
    trace: &'static str,
    reads: &'static str,
    seeds: u64,
}

const fn case(group: Group, trace: &'static str, reads: &'static str, seeds: u64) -> Case {
    Case { group, trace, reads, seeds }
}

/// With the trace's own reads a seed changes audits alone, and the largest cases take long: fewer seeds there.
const CASES: &[Case] = &[
    case(Group::Seen, "pge-outages-2020.csv.zst", "as-is", 1),
    case(Group::Seen, "pge-outages-2020.csv.zst", "zipf:0.9:10", 2),
    case(Group::Seen, "socrata-opendata-4w.csv.zst", "as-is", 1),
    case(Group::Seen, "socrata-opendata-4w.csv.zst", "zipf:0.9:10", 5),
    case(Group::Seen, "ca-fires.csv.zst", "as-is", 5),
    case(Group::Seen, "ca-fires.csv.zst", "zipf:0.9:100", 5),
    case(Group::Seen, "ca-fires.csv.zst", "zipf:0.9:300", 5),
    case(Group::Seen, "zeek-dns-wrccdc.csv.zst", "as-is", 5),
    case(Group::Seen, "zeek-dns-wrccdc.csv.zst", "zipf:0.9:30", 5),
    case(Group::Seen, "zeek-dns-vps72h.csv.zst", "zipf:0.9:100", 5),
    case(Group::Unseen, "ecobici-stations.csv.zst", "as-is", 5),
    case(Group::Unseen, "ecobici-stations.csv.zst", "zipf:0.9:100", 5),
    case(Group::Unseen, "ecobici-stations.csv.zst", "zipf:0.9:300", 5),
    case(Group::Unseen, "hn-domains.csv.zst", "as-is", 5),
    case(Group::Unseen, "hn-domains.csv.zst", "zipf:0.9:30", 5),
    case(Group::Unseen, "hn-domains.csv.zst", "zipf:0.9:100", 5),
    case(Group::Unseen, "web-erddap.csv.zst", "as-is", 5),
    case(Group::Unseen, "web-erddap.csv.zst", "zipf:0.9:30", 5),
    case(Group::Unseen, "web-erddap.csv.zst", "zipf:0.9:100", 5),
    case(Group::Unseen, "elwiki-edits-201510.csv.zst", "zipf:0.9:10", 5),
    case(Group::Unseen, "elwiki-edits-201510.csv.zst", "zipf:0.9:30", 1),
    case(Group::Unseen, "cloudphysicsio.csv.zst", "as-is", 5),
    case(Group::Unseen, "cloudphysicsio.csv.zst", "zipf:0.9:10", 2),
    case(Group::Synthetic, "changes:poisson", "zipf:0.9:100", 5),
    case(Group::Synthetic, "changes:bursty", "zipf:0.9:100", 5),
    case(Group::Synthetic, "changes:periodic", "zipf:0.9:100", 5),
    case(Group::Synthetic, "changes:shifts", "zipf:0.9:100", 5),
    case(Group::Synthetic, "changes:storms", "zipf:0.9:100", 5),
    case(Group::Synthetic, "changes:ageing", "zipf:0.9:100", 5),
    case(Group::Synthetic, "changes:minutes", "zipf:0.9:2000", 3),
];

/// Lifetimes beyond those of the traces, so that only freshness ends them.
const MAX_TTL: &str = "10000d";

/// The cases that are run with a grace, too.
const GRACED: &[(&str, &str)] = &[
    ("ca-fires.csv.zst", "zipf:0.9:300"),
    ("ecobici-stations.csv.zst", "as-is"),
    ("ecobici-stations.csv.zst", "zipf:0.9:300"),
    ("hn-domains.csv.zst", "zipf:0.9:100"),
    ("changes:bursty", "zipf:0.9:100"),
];

const MAIN: &str = "learned,static,class-static,alex,clairvoyant,expert-global,expert-class,expert-alex";
const FURTHER: &str = "learned,quantile,aimd,hot-longer,known-rate,static-deployed,class-static-deployed,alex-deployed";

/// What `larder freshness --json` prints; only what the page needs.
#[derive(Clone, Debug, Deserialize)]
struct Record {
    trace: String,
    policy: String,
    seed: u64,
    objective: f64,
    reads: u64,
    stale_rate: f64,
    stale_rate_low: Option<f64>,
    stale_rate_high: Option<f64>,
    certifiable: Option<bool>,
    worst_window_stale_rate: f64,
    audits: u64,
    origin_loads_per_read: f64,
    hit_ratio: f64,
}

/// What was measured on one case under one objective.
#[derive(Clone, Debug)]
struct Measured {
    case: Case,
    records: Vec<Record>,
    /// The share of stale reads if nothing were ever reloaded.
    most_stale: f64,
}

/// Everything the page shows.
#[derive(Debug, Default)]
struct Figures {
    /// At 1 %, the policies that all seeds are run with.
    main: Vec<Measured>,
    /// At 1 %, the others, with the first seed.
    further: Vec<Measured>,
    /// At 0.1 % and 5 %, with the first seed.
    objectives: Vec<Measured>,
    /// At 1 %, half of the writes noticed.
    noticed: Vec<Measured>,
    /// At 1 %, outdated values borne for a while: for how long, what loads tell, and the records.
    graced: Vec<(&'static str, &'static str, Measured)>,
    /// With stores that evict: the title of the line, and the records.
    evicting: Vec<(String, Measured)>,
}

/// What measures the section on stores that evict alone, which takes a minute and not an hour.
const EVICTING: &str = "evicting";

/// Writes the page and its picture, or the one section named.
pub(crate) fn run(project: &Project, arguments: &[String]) -> Result<bool> {
    let is_one_section = arguments == [EVICTING];
    ensure!(arguments.is_empty() || is_one_section, "freshness takes no arguments but '{EVICTING}'");
    let root = &project.root;
    let folder = project.traces();
    let program = project.larder()?;
    let larder = Larder { program: &program, folder: &folder };
    if is_one_section {
        let figures = Figures { evicting: measure_evicting(&larder)?, ..Figures::default() };
        let written = std::fs::read_to_string(root.join(PAGE)).with_context(|| format!("reading {PAGE}"))?;
        std::fs::write(root.join(PAGE), page::with_evicting(&written, &figures))?;
        println!("wrote the last section of {PAGE}");
        return Ok(true);
    }
    let figures = measure(&larder)?;
    std::fs::write(root.join(PAGE), page::page(&figures)).with_context(|| format!("writing {PAGE}"))?;
    println!("wrote {PAGE}");
    let report = project.metadata.target_directory.as_std_path().join("freshness");
    larder.run(
        &[
            "pge-outages-2020.csv.zst",
            "--reads",
            "zipf:0.9:10",
            "--policy",
            "learned,static,alex,hot-longer,clairvoyant",
            "--report",
        ],
        &[&report.display().to_string()],
    )?;
    std::fs::copy(report.join("pareto.svg"), root.join(PICTURE))?;
    println!("wrote {PICTURE}");
    Ok(true)
}

fn measure(larder: &Larder<'_>) -> Result<Figures> {
    let mut figures = Figures::default();
    for &case in CASES {
        println!("{} {}", case.trace, case.reads);
        let seeds: Vec<String> = (1..=case.seeds).map(|seed| seed.to_string()).collect();
        let of = |policies: &str, more: &[&str]| larder.measure(case, policies, more);
        // Given an objective that nothing reaches, one lifetime is tuned to be the longest.
        let longest = of("static", &["--objective", "99.99%"])?;
        let most_stale = longest.records.first().map_or(1.0, |record| record.stale_rate);
        figures.main.push(Measured { most_stale, ..of(MAIN, &["--seed", &seeds.join(",")])? });
        figures.further.push(of(FURTHER, &[])?);
        for objective in ["0.1%", "5%"] {
            let measured = of("learned,static,alex", &["--objective", objective])?;
            figures.objectives.push(Measured { most_stale, ..measured });
        }
        if case.reads != "as-is" {
            let measured = of("learned,static", &["--notices", "0.5"])?;
            figures.noticed.push(Measured { most_stale, ..measured });
        }
    }
    for &case in CASES.iter().filter(|case| GRACED.contains(&(case.trace, case.reads))) {
        let seeds: Vec<String> = (1..=case.seeds).map(|seed| seed.to_string()).collect();
        let seeds = seeds.join(",");
        for (grace, evidence) in [("10m", "digest"), ("10m", "time"), ("1h", "digest"), ("1h", "time")] {
            let more = ["--grace", grace, "--evidence", evidence, "--seed", &seeds];
            figures.graced.push((grace, evidence, larder.measure(case, "learned", &more)?));
        }
    }
    figures.evicting = measure_evicting(larder)?;
    Ok(figures)
}

fn measure_evicting(larder: &Larder<'_>) -> Result<Vec<(String, Measured)>> {
    let mut evicting = Vec::new();
    for (trace, reads) in [
        ("socrata-opendata-4w.csv.zst", "zipf:0.9:10"),
        ("hn-domains.csv.zst", "zipf:0.9:100"),
        ("elwiki-edits-201510.csv.zst", "zipf:0.9:10"),
    ] {
        let case = case(Group::Seen, trace, reads, 1);
        for capacity in ["2%", "10%"] {
            for (evict, rent, policies) in [
                ("lru", "0", "static,learned"),
                ("learned", "0", "static,learned"),
                ("lru", "0.02", "learned"),
                ("learned", "0.02", "learned"),
            ] {
                let more = ["--capacity", capacity, "--evict", evict, "--rent", rent];
                let rent = if rent == "0" { "" } else { ", rent" };
                let title = format!("{capacity}, {evict}{rent}");
                evicting.push((title, larder.measure(case, policies, &more)?));
            }
        }
    }
    Ok(evicting)
}

/// The program, run beside the traces, so that what the page quotes holds names and no paths.
struct Larder<'a> {
    program: &'a Path,
    folder: &'a Path,
}

impl Larder<'_> {
    fn measure(&self, case: Case, policies: &str, more: &[&str]) -> Result<Measured> {
        let output = self.run(&[case.trace, "--reads", case.reads, "--policy", policies, "--json"], more)?;
        let records = output.lines().map(serde_json::from_str).collect::<Result<_, _>>();
        Ok(Measured { case, most_stale: 1.0, records: records.context("reading what larder printed")? })
    }

    fn run(&self, arguments: &[&str], more: &[&str]) -> Result<String> {
        let mut command = Command::new(self.program);
        command.arg("freshness").args(arguments).args(more).args(["--max-ttl", MAX_TTL]);
        let output = command.current_dir(self.folder).output()?;
        ensure!(output.status.success(), "larder freshness: {}", String::from_utf8_lossy(&output.stderr));
        Ok(String::from_utf8(output.stdout)?)
    }
}
