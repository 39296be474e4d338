//! The page on experiments: what the statistics claim where the truth is known, repeated over seeds.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

use crate::project::Project;

/// The page.
const PAGE: &str = "docs/experiments.md";

/// A workload; `SEED` in it changes from run to run. Of a trace only the assignment and the policies' random choices do.
#[derive(Clone, Copy, Debug)]
struct Workload {
    name: &'static str,
    trace: &'static str,
    options: &'static [&'static str],
}

const fn workload(name: &'static str, trace: &'static str, options: &'static [&'static str]) -> Workload {
    Workload { name, trace, options }
}

const FIVE: &[&str] = &["--capacity", "5%"];
const ZIPF_08: Workload = workload("Zipf 0.8", "gen:zipf:alpha=0.8/keys=20000/requests=200000/seed=SEED", FIVE);
const ZIPF_10: Workload = workload("Zipf 1.0", "gen:zipf:alpha=1.0/keys=20000/requests=200000/seed=SEED", FIVE);
const ZIPF_12: Workload = workload("Zipf 1.2", "gen:zipf:alpha=1.2/keys=20000/requests=200000/seed=SEED", FIVE);
const WEB: Workload = workload("web07", "web07.csv.zst", FIVE);
const HOT: Workload = workload(
    "one key with 30 %",
    "gen:mix:requests=200000/seed=SEED/+7*zipf/alpha=0.8/keys=20000/+3*uniform/keys=1",
    FIVE,
);
const SAMPLED: Workload = workload(
    "Zipf 0.9, ghosts of half the keys",
    "gen:zipf:alpha=0.9/keys=200000/requests=400000/seed=SEED",
    &["--capacity", "10%", "--ghosts", "0.5"],
);

/// Two equal arms: policies with random choices that differ.
const EQUAL: &[(Workload, &str, u64)] = &[
    (ZIPF_08, "wtinylfu,wtinylfu", 200),
    (ZIPF_10, "wtinylfu,wtinylfu", 200),
    (ZIPF_12, "wtinylfu,wtinylfu", 200),
    (WEB, "wtinylfu,wtinylfu", 200),
    (HOT, "wtinylfu,wtinylfu", 50),
    (SAMPLED, "lru,lru", 50),
];

/// Arms that differ, by about half a point and by more.
const DIFFERENT: &[(Workload, &str, u64)] = &[
    (ZIPF_08, "clock,lru", 40),
    (ZIPF_10, "twoq:in=0.2,twoq", 40),
    (ZIPF_12, "clock,lru", 40),
    (WEB, "clock,lru", 40),
    (HOT, "clock,lru", 40),
    (SAMPLED, "clock,lru", 20),
    (ZIPF_10, "lru,fifo", 40),
    (ZIPF_12, "lru,fifo", 40),
];

const EIGHT: Workload = workload(
    "Zipf 0.9, 8 shards, ghosts of half the keys",
    "gen:zipf:alpha=0.9/keys=100000/requests=400000/seed=SEED",
    &["--capacity", "16000", "--shards", "8", "--ghosts", "0.5"],
);
const FOUR: Workload = workload(
    "Zipf 0.9, 4 shards, ghosts of a quarter",
    "gen:zipf:alpha=0.9/keys=100000/requests=400000/seed=SEED",
    &["--capacity", "16000", "--shards", "4", "--ghosts", "0.25"],
);
const ALL_KEYS: Workload = workload(
    "Zipf 0.8, 8 shards, ghosts of all keys",
    "gen:zipf:alpha=0.8/keys=20000/requests=200000/seed=SEED",
    &["--capacity", "5%", "--shards", "8", "--ghosts", "1"],
);
const WEB_HALF: Workload = workload(
    "web07, 8 shards, ghosts of half the keys",
    "web07.csv.zst",
    &["--capacity", "5%", "--shards", "8", "--ghosts", "0.5"],
);

/// A policy on all shards beside its ghosts: itself, and others.
const STANDING: &[(Workload, &str, u64)] = &[
    (EIGHT, "lru,lru", 200),
    (FOUR, "lru,lru", 200),
    (ALL_KEYS, "wtinylfu,wtinylfu", 200),
    (WEB_HALF, "lru,lru", 200),
    (EIGHT, "s3fifo,lru", 200),
    (FOUR, "s3fifo,lru", 200),
    (ALL_KEYS, "clock,wtinylfu", 200),
    (WEB_HALF, "clock,lru", 200),
];

/// Real traces, for what one would really ask.
const REAL: &[&str] = &["web07", "w106", "orm-busy", "cloudphysicsio", "lirs-multi3", "adaptsize-request"];

/// Rollouts: a poisoned policy, an equal one, a better one.
const ROLLOUTS: &[(&str, &str, u64)] = &[
    ("poisoned, about −3 points", "redis-lru,lru", 100),
    ("poisoned, about −4 points", "fifo,lru", 100),
    ("equal", "wtinylfu,wtinylfu", 1000),
    ("equal, with much to learn", "learned,learned", 1000),
    ("equal, with much to remember", "twoq,twoq", 1000),
    ("better, about +1 point", "clock,lru", 200),
    ("better, about +0.7 points", "learned,wtinylfu", 1000),
];

/// What `larder replay --arms --json` prints; only what the page needs.
#[derive(Clone, Debug, Deserialize)]
struct Record {
    requests: u64,
    effects: Vec<Effect>,
    winner: Option<String>,
    first_won: Option<u64>,
    refusals: Vec<String>,
}

#[derive(Clone, Debug, Deserialize)]
struct Effect {
    effect: f64,
    fixed: [f64; 2],
    anytime: [f64; 2],
    truth: f64,
}

/// What `--standing` adds.
#[derive(Clone, Debug, Deserialize)]
struct Standing {
    gain: f64,
    anytime: [f64; 2],
    truth: f64,
    looks: u64,
    first_missed: Option<u64>,
    refusals: Vec<String>,
}

#[derive(Clone, Debug, Deserialize)]
struct Rollout {
    slices: u64,
    events: Vec<Event>,
}

#[derive(Clone, Debug, Deserialize)]
struct Event {
    slice: u64,
    event: String,
    detail: String,
}

/// What `larder replay --json` prints of a policy with the whole cache.
#[derive(Clone, Debug, Deserialize)]
struct Cell {
    miss_ratio: f64,
}

/// Writes the page.
pub(crate) fn run(project: &Project, arguments: &[String]) -> Result<bool> {
    ensure!(arguments.len() <= 1, "experiments takes at most the path of a program");
    let program = arguments.first().map_or_else(|| project.larder(), |path| Ok(PathBuf::from(path)))?;
    let larder = Larder { program: &program, folder: &project.traces() };
    let mut page = INTRODUCTION.to_owned();
    equal(&larder, &mut page)?;
    different(&larder, &mut page)?;
    real(&larder, &mut page)?;
    standing_controls(&larder, &mut page)?;
    rollouts(&larder, &mut page)?;
    std::fs::write(project.root.join(PAGE), page).with_context(|| format!("writing {PAGE}"))?;
    println!("wrote {PAGE}");
    Ok(true)
}

/// The program, run beside the traces.
struct Larder<'a> {
    program: &'a Path,
    folder: &'a Path,
}

impl Larder<'_> {
    fn run<T: for<'de> Deserialize<'de>>(&self, arguments: &[&str]) -> Result<Vec<T>> {
        let mut command = Command::new(self.program);
        let output = command.arg("replay").args(arguments).arg("--json").current_dir(self.folder).output()?;
        ensure!(output.status.success(), "larder replay: {}", String::from_utf8_lossy(&output.stderr));
        let text = String::from_utf8(output.stdout)?;
        let records = text.lines().map(serde_json::from_str).collect::<Result<_, _>>();
        records.context("reading what larder printed")
    }

    fn repeat<T: for<'de> Deserialize<'de>>(&self, workload: Workload, arms: &[&str], seeds: u64) -> Result<Vec<T>> {
        println!("{}: {}, {seeds} seeds", workload.name, arms.join(" "));
        let mut records = Vec::new();
        for seed in 1..=seeds {
            let seed = seed.to_string();
            let trace = workload.trace.replace("SEED", &seed);
            let arguments = [&[trace.as_str(), "--seed", &seed, "--arms"][..], arms, workload.options].concat();
            records.extend(self.run::<T>(&arguments)?);
        }
        Ok(records)
    }
}

fn equal(larder: &Larder<'_>, page: &mut String) -> Result<()> {
    page.push_str(
        "\n## Two equal arms\n\nHow often a difference is claimed that is not there; 5 % are meant for who looks once, and at most 5 % for who \
         looks in every slice. Refused: at the end nothing would have been said.\n\n\
         | workload | arms | runs | claimed, looked at once | claimed, looked at in every slice | refused |\n|---|---|---:|---:|---:|---:|\n",
    );
    for &(workload, arms, seeds) in EQUAL {
        let records: Vec<Record> = larder.repeat(workload, &[arms], seeds)?;
        let claimed = |of: fn(&Record) -> bool| share(&records, of);
        // Writing to a string does not fail, here and below.
        let _ = writeln!(
            page,
            "| {} | {arms} | {seeds} | {} | {} | {} |",
            workload.name,
            claimed(|record| excludes(record.effects[0].fixed, 0.0)),
            claimed(|record| record.first_won.is_some()),
            claimed(|record| !record.refusals.is_empty()),
        );
    }
    Ok(())
}

fn different(larder: &Larder<'_>, page: &mut String) -> Result<()> {
    page.push_str(
        "\n## Two different arms\n\nHow often the difference is found, and how far the effect is from the truth: both policies replayed with all \
         shards. Points are percentage points of hit ratio. Covered: how often the interval holds the truth, 95 % are meant.\n\n\
         | workload | arms | runs | truth, mean | found, looked at once | found, at any time | off by, mean | at most | covered, once | covered, at any time |\n\
         |---|---|---:|---:|---:|---:|---:|---:|---:|---:|\n",
    );
    for &(workload, arms, seeds) in DIFFERENT {
        let records: Vec<Record> = larder.repeat(workload, &[arms], seeds)?;
        let errors: Vec<f64> =
            records.iter().map(|record| (record.effects[0].effect - record.effects[0].truth).abs()).collect();
        let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len().max(1) as f64;
        let truths: Vec<f64> = records.iter().map(|record| record.effects[0].truth).collect();
        let _ = writeln!(
            page,
            "| {} | {arms} | {seeds} | {} | {} | {} | {:.2} | {:.2} | {} | {} |",
            workload.name,
            points(mean(&truths)),
            share(&records, |record| excludes(record.effects[0].fixed, 0.0)),
            share(&records, |record| record.winner.is_some()),
            mean(&errors) * 100.0,
            errors.iter().copied().fold(0.0, f64::max) * 100.0,
            share(&records, |record| !excludes(record.effects[0].fixed, record.effects[0].truth)),
            share(&records, |record| !excludes(record.effects[0].anytime, record.effects[0].truth)),
        );
    }
    Ok(())
}

fn real(larder: &Larder<'_>, page: &mut String) -> Result<()> {
    page.push_str(
        "\n## Learned against W-TinyLFU on real traces\n\nSeed 1, a tenth of the keys, at most 300,000 requests. The last column is what the two do with \
         one undivided cache from the first request on; small shards are another cache than a large one.\n\n\
         | trace | requests counted | effect | at any time | truth | says | undivided |\n|---|---:|---:|---:|---:|---|---:|\n",
    );
    for name in REAL {
        let trace = format!("{name}.csv.zst");
        let common = [trace.as_str(), "--limit", "300000", "--capacity", "10%"];
        let records: Vec<Record> = larder.run(&[&common[..], &["--arms", "learned,wtinylfu"]].concat())?;
        let cells: Vec<Cell> = larder.run(&[&common[..], &["--policy", "learned,wtinylfu"]].concat())?;
        let (Some(record), [learned, other]) = (records.first(), &cells[..]) else { continue };
        let effect = &record.effects[0];
        let says = match (&record.winner, record.refusals.is_empty()) {
            (Some(winner), _) => winner.clone(),
            (None, true) => "open".to_owned(),
            (None, false) => record.refusals.join("; "),
        };
        let _ = writeln!(
            page,
            "| {name} | {} | {} | {} to {} | {} | {says} | {} |",
            record.requests,
            points(effect.effect),
            points(effect.anytime[0]),
            points(effect.anytime[1]),
            points(effect.truth),
            points(other.miss_ratio - learned.miss_ratio),
        );
    }
    Ok(())
}

fn standing_controls(larder: &Larder<'_>, page: &mut String) -> Result<()> {
    page.push_str(
        "\n## Standing controls\n\nIn a service a policy that learns is on everywhere, and only ghosts of its control say what it gains (`--standing`). How often \
         that interval holds the truth, both policies replayed with all shards: at the end, and at every look of up to 180 at which something \
         might have been said; 95 % are meant, and in brackets is where the share lies with 95 % after so many runs (Wilson 1927). \
         Covered at every look is of the runs that had such a look: silent are those that had none. Refused: at the end nothing would have been said.\n\n\
         | workload | policy, control | runs | truth, mean | off by, mean | width, mean | covered at the end | covered at every look | silent | refused |\n\
         |---|---|---:|---:|---:|---:|---:|---:|---:|---:|\n",
    );
    for &(workload, arms, seeds) in STANDING {
        let records: Vec<Standing> = larder.repeat(workload, &[arms, "--standing"], seeds)?;
        let mean = |of: fn(&Standing) -> f64| records.iter().map(of).sum::<f64>() / records.len().max(1) as f64;
        let (spoke, silent): (Vec<_>, Vec<_>) = records.iter().partition(|record| record.looks > 0);
        let _ = writeln!(
            page,
            "| {} | {arms} | {seeds} | {} | {:.2} | {:.2} | {} | {} | {} | {} |",
            workload.name,
            points(mean(|record| record.truth)),
            mean(|record| (record.gain - record.truth).abs()) * 100.0,
            mean(|record| record.anytime[1] - record.anytime[0]) * 100.0,
            share_within(&records, |record| !excludes(record.anytime, record.truth)),
            share_within(&spoke, |record| record.first_missed.is_none()),
            silent.len(),
            share(&records, |record| !record.refusals.is_empty()),
        );
    }
    Ok(())
}

fn rollouts(larder: &Larder<'_>, page: &mut String) -> Result<()> {
    page.push_str(
        "\n## Rollouts\n\nZipf 1.0, 2000 requests a slice, 20 slices of baseline, then 5, 25 and 50 % of the shards (`--rollout`). A poisoned policy \
         must leave within 20 slices of its first treatment, an equal one must not be rolled back in 1,000, nor a better one for what it has yet to learn.\n\n\
         | treatment | arms | seed | slices | what happened |\n|---|---|---:|---:|---|\n",
    );
    for &(what, arms, slices) in ROLLOUTS {
        println!("rollout: {arms}");
        for seed in ["1", "2", "3"] {
            let trace = format!("gen:zipf:alpha=1.0/keys=20000/requests={}/seed={seed}", slices * 2000);
            let slices = slices.to_string();
            let arguments =
                [&trace, "--arms", arms, "--slices", &slices, "--seed", seed, "--capacity", "5%", "--rollout"];
            for Rollout { slices, events } in larder.run(&arguments)? {
                let told = |event: &Event| format!("{}: {} {}", event.slice, event.event, event.detail);
                let events: Vec<String> = events.iter().map(told).collect();
                let _ = writeln!(page, "| {what} | {arms} | {seed} | {slices} | {} |", events.join(", "));
            }
        }
    }
    Ok(())
}

fn excludes([low, high]: [f64; 2], value: f64) -> bool {
    low > value || high < value
}

fn share<T>(records: &[T], of: impl Fn(&T) -> bool) -> String {
    let count = records.iter().filter(|record| of(record)).count();
    format!("{:.1} %", count as f64 * 100.0 / records.len().max(1) as f64)
}

/// A share with Wilson's interval of 95 %; nothing where there are no runs.
fn share_within<T>(records: &[T], of: impl Fn(&T) -> bool) -> String {
    if records.is_empty() {
        return "–".to_owned();
    }
    let (runs, z2) = (records.len() as f64, 1.96f64.powi(2));
    let share = records.iter().filter(|record| of(record)).count() as f64 / runs;
    let middle = share + z2 / (2.0 * runs);
    let half = (z2 * (share * (1.0 - share) / runs + z2 / (4.0 * runs * runs))).sqrt();
    let [low, high] = [middle - half, middle + half].map(|end| end / (1.0 + z2 / runs) * 100.0);
    format!("{:.1} % ({low:.1} to {high:.1})", share * 100.0)
}

/// A difference of hit ratios in percentage points.
fn points(difference: f64) -> String {
    // Rounded first, so that nothing reads as -0.00.
    format!("{:+.2}", (difference * 1e4).round() / 100.0 + 0.0)
}

const INTRODUCTION: &str = "\
<!-- Made by `cargo xtask experiments` from generators and the traces in LARDER_TRACES. -->

# Experiments: see that it helps, and take it back when it does not

A hit is a property of the key, not of the request: the next request for a hot key hits whatever the policy. And the keys of an arm share one
capacity. Statistics that count requests as if they were independent call two equal arms different in nearly every run. larder compares by
*ghost pairs*: beside each shard runs a ghost of the control policy, without values, on the same accesses, and what counts is the shard's hits minus
its ghost's. In a service its loads take as long as the shard's. What all arms suffer alike, a key that is hot, an hour that is busy, falls out.

| question | how it is answered |
|---|---|
| how large is the effect? | τ = ΣD/Σn over an arm's shards, D real hits minus ghost hits; the treatment's τ minus the control's |
| how sure is that, looked at once? | shards were assigned at random: Var τ = m/(m−1)·Σ(D−τn)²/(Σn)² |
| … and looked at all the time? | an asymptotic confidence sequence over slices, merged until they no longer follow from one another (arXiv 2103.06476); never narrower than shards allow |
| and a key with a third of the traffic? | the hottest keys, half a percent of all traffic each, are counted apart, each of them; their misses count by key, since a miss there is an eviction, however hot the key |
| what of latency, loads, staleness? | permutation tests over shards, each beside its own past; loads as a sum, so that a shard counts for what it loads; staleness by audits of hits, with the wider of their interval and of how much shards differ |
| and of lifetimes? | `Control::ttl`: the control's values live so long; `Control::freshness`: they live by a share of their age, or by another objective, for which each part of the memory steers by itself. The cache's own lifetimes win by fewer loads while both are fresh enough, or by being fresh enough where the control is not |
| and where no part runs the control? | what all shards hit more than their own ghosts; beside how much slices differ stands how much another sample of the keys might say else, by groups of keys or by shards, whichever differ more |
| when is nothing said? | an arm below 8 shards, less than two turnovers of the capacity, fewer than 200 effective keys, a dominant key that is not in the head, a change in the arms' shares of traffic, slices that stay correlated, ghosts that are surely off by more than 0.1 points |
| what ends a treatment? | hit ratio surely 0.5 points lower, loads 2 % or p99 5 % higher, of lifetimes on trial answers staler than 1.2 times the objective, each at α = 0.01; or somebody's word. Where ghosts see a sample of the keys, surely is beyond what another sample might say else; of fewer than 20 slices, hardly anything being known of how they follow from one another, at a fifth of α. A quiet slice counts for nothing |

`larder replay TRACE --arms learned,wtinylfu` runs the same code on a trace, next to the truth; `--rollout` rehearses the whole way into service and
back, `--standing` the control beside a policy that is on everywhere; `--details` tells of every look and every shard, and [a
notebook](notebooks/04-reading-an-experiment.md) draws all that.
`larder freshness TRACE --arms objective:1%,ttl:5m` does the same for two lifetimes: loads and what audits found of each arm, next to all stale reads of
two full replays.
The arms of a replay are 64 shards; each half sees only its own policy, the truth sees both policies in all.

At a rate of 1 the ghost *is* the control: same policy, same seed, same accesses. Two arms with the same deterministic policy then differ by exactly
nothing; the tables below take policies with random choices, seeded differently in each arm, or ghosts of half the keys.

Where it falls short: where traffic comes in bursts, slices stay correlated, and the interval that may be looked at any time is wide or nothing is said
(`cloudphysicsio`, `lirs-multi3` below), though the one for a single look is right about the sign. Ghosts of a few hundred objects are off by a tenth of a
point or more, and are refused where that is sure. A few treated shards see few requests: at 5 % of the shards a loss of three points takes a thousand treated
requests to be sure of. And a policy that counts or learns loses what it remembers when it is swapped in: its
ghost of the control begins anew with it, and until it has turned its memory over twice guardrails let it lose 5 points, and cause a fifth more loads, than after.
Few parts tell little of what another sample of the keys would say: the interval of a standing control of four parts whose ghosts see a quarter of the
keys is more than a point wide. Permutations of few shards are never sure: one treated of 16 can double its loads and stay. A policy that is on everywhere
has no other arm, so that its loads and times stand beside nothing and its hit ratio alone ends it. And nothing is kept over a restart: what was rolled
back is tried again.
";
