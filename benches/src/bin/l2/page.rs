//! The page: every figure with what it was made of, losses too.

use std::fmt::Write as _;

use larder_benches::{SEED, machine, median};

use crate::replay::Outcome;
use crate::{Cell, NATIVE, Options, Way};
use larder_benches::server::SPEED;

/// Larder's ways, as the tables call them.
const NAMES: [&str; 4] = ["steered", "steered, all let in", "retention as TTL", "admission alone"];

/// Fewer misses than `native`, in % of its misses; where there are more, of one's own, so that gains and losses weigh the same.
fn fewer(own: &Outcome, native: &Outcome) -> f64 {
    let (own, native) = (1.0 - own.hits, 1.0 - native.hits);
    100.0 * (native - own) / native.max(own).max(f64::MIN_POSITIVE)
}

fn gains(cell: &Cell) -> Vec<f64> {
    let native = &cell.native[cell.better()];
    cell.larder.iter().map(|own| fewer(own, native)).collect()
}

fn of_pair([native, own]: &[Outcome; 2]) -> f64 {
    fewer(own, native)
}

fn with_four(cell: &Cell) -> f64 {
    of_pair(&cell.four)
}

/// A cell in a line, to see how it goes.
pub(crate) fn line(cell: &Cell) -> String {
    let native: Vec<_> = cell.native.iter().map(|native| format!("{:.2}", 100.0 * native.hits)).collect();
    let gains: Vec<_> = gains(cell).iter().map(|gain| format!("{gain:+.2}")).collect();
    let (four, cluster, rate) = (with_four(cell), of_pair(&cell.cluster), cell.larder[0].rate);
    let Cell { trace, share, .. } = cell;
    let evicted = [&cell.larder[0], &cell.four[1]].map(|outcome| format!("{:.3}", outcome.evicted));
    format!(
        "{trace} {share}: native {native:?}, larder {gains:?}, four {four:+.2}, cluster {cluster:+.2}, {rate:.0}/s, evicted {evicted:?}"
    )
}

pub(crate) fn page(cells: &[Cell], Options { requests, runs, .. }: &Options, fast: bool) -> String {
    let facts: Vec<_> = machine::facts().into_iter().map(|fact| format!("- {fact}")).collect();
    let clock = if fast {
        format!(
            "the servers' clocks run {SPEED} times as fast as the wall's, so that ages and decay tell something in a short run"
        )
    } else {
        "the servers' clocks run as the wall's, which is a handicap for them: a run takes seconds, and they count in seconds".to_owned()
    };
    let lfu = NATIVE.iter().filter_map(|way| match way {
        Way::Lfu { decay_time, log_factor } => Some(format!("{decay_time}/{log_factor}")),
        _ => None,
    });
    let lfu = lfu.collect::<Vec<_>>().join(", ");
    let spreads: Vec<_> = cells
        .iter()
        .flat_map(|cell| [&cell.native[..], &cell.larder, &cell.four, &cell.cluster].concat())
        .map(|outcome| 100.0 * outcome.spread)
        .collect();
    let spread = spreads.iter().sum::<f64>() / spreads.len() as f64;
    let widest = spreads.into_iter().fold(0.0, f64::max);
    let mut page = format!(
        "# A full Redis, steered and left to itself\n\n\
         Made by `cargo run --release -p larder-benches --bin l2 -- --out docs/l2.md`.\n\n{}\n\
         - Seed: {SEED}; four requests are under way at any time, so the last digits vary from run to run\n\
         - The first {requests} requests of each trace, every one a read that fills on a miss; values of the trace's size within 64 and 4096 \
         bytes, 2048 where it tells none\n\
         - `maxmemory`: what the server uses when empty, and the given share of what all values of the run take\n\
         - {clock}\n\
         - `allkeys-lfu` is the best of decay time/log factor {lfu} in each row; *native* is the better of that and `allkeys-lru`\n\
         - Each figure is the mean of {runs} runs; the hits of a row's best and worst run are {spread:.1} points apart in the mean, \
         {widest:.1} at most\n\n",
        facts.join("\n"),
    );
    page += &section_hits(cells);
    page += &section_clients(cells);
    page += &section_cluster(cells);
    page += &section_cost(cells);
    page += "\n";
    page += verdict(cells).trim_end();
    page.push('\n');
    page
}

fn section_hits(cells: &[Cell]) -> String {
    let mut text = String::from(
        "## One client\n\nHits in %, then misses spared in % of the better native way's.\n\n\
         | trace | fits | lru | lfu | steered | all let in | TTL | admission | steered | all let in | TTL | admission |\n\
         |---|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|\n",
    );
    for cell in cells {
        let percent = |outcome: &Outcome| format!("{:.1}", 100.0 * outcome.hits);
        let lfu =
            cell.native[1..].iter().max_by(|one, two| one.hits.total_cmp(&two.hits)).map_or(String::new(), percent);
        let hits: Vec<_> = cell.larder.iter().map(percent).collect();
        let gains: Vec<_> = gains(cell).iter().map(|gain| format!("{gain:+.1}")).collect();
        // Writing to a string does not fail, here and below.
        let _ = writeln!(
            text,
            "| {} | {:.0} ({:.0} %) | {} | {lfu} | {} | {} |",
            cell.trace,
            cell.objects,
            100.0 * cell.share,
            percent(&cell.native[0]),
            hits.join(" | "),
            gains.join(" | "),
        );
    }
    text.push('\n');
    let gains: Vec<_> = cells.iter().map(gains).collect();
    for (at, name) in NAMES.iter().enumerate() {
        let _ = writeln!(text, "- {name}: {}", summary(gains.iter().map(|gains| gains[at])));
    }
    let retreats = cells.iter().filter(|cell| cell.larder[0].retreats > 0.0).count();
    let _ = writeln!(
        text,
        "- The guard had the server left alone for a while, in one run at least, in {retreats} of {} rows\n",
        cells.len()
    );
    text
}

fn section_clients(cells: &[Cell]) -> String {
    let kept = 100.0 * mean_of(cells, with_four) / mean_of(cells, |cell| gains(cell)[0]);
    format!(
        "## Four clients\n\nEach request goes to one of four clients at random, each with a directory of its own; they tell each other what \
         they see. *Native* is the way that was better with one client.\n\n{}- Of the gain with one client, {kept:.0} % is left\n\n",
        pairs(cells, |cell| &cell.four)
    )
}

fn section_cluster(cells: &[Cell]) -> String {
    format!(
        "## A cluster\n\nThree primaries with a third of the memory each, one client, which steers each by itself. *Native* is the way that \
         was better on one server.\n\n{}\n",
        pairs(cells, |cell| &cell.cluster)
    )
}

/// Rows of two ways, and what they say together.
fn pairs(cells: &[Cell], of: impl Fn(&Cell) -> &[Outcome; 2]) -> String {
    let mut text = String::from(
        "| trace | fits | native, hits % | steered, hits % | misses spared, % | with one client and server |\n\
         |---|---:|---:|---:|---:|---:|\n",
    );
    for cell in cells {
        let [native, own] = of(cell);
        let _ = writeln!(
            text,
            "| {} | {:.0} % | {:.1} | {:.1} | {:+.1} | {:+.1} |",
            cell.trace,
            100.0 * cell.share,
            100.0 * native.hits,
            100.0 * own.hits,
            of_pair(of(cell)),
            gains(cell)[0],
        );
    }
    let _ = writeln!(text, "\n- Steered: {}", summary(cells.iter().map(|cell| of_pair(of(cell)))));
    text
}

/// What the rows say about the default.
fn verdict(cells: &[Cell]) -> String {
    let one: Vec<_> = cells.iter().map(|cell| gains(cell)[0]).collect();
    let (mean, worst) = (one.iter().sum::<f64>() / one.len() as f64, one.iter().copied().fold(f64::INFINITY, f64::min));
    let met = |is: bool| if is { "met" } else { "missed" };
    format!(
        "## Off unless asked for\n\nThe aims were 4 % fewer misses in the mean ({}), no row worse than -1 % ({}), and 90 % of the gain with \
         four clients ({}). Steering is an option that is off: a Redis whose own LRU already suits the traffic may lose a little.\n\n",
        met(mean >= 4.0),
        met(worst >= -1.0),
        met(mean_of(cells, with_four) >= 0.9 * mean),
    )
}

fn mean_of(cells: &[Cell], gain: impl Fn(&Cell) -> f64) -> f64 {
    cells.iter().map(gain).sum::<f64>() / cells.len() as f64
}

fn section_cost(cells: &[Cell]) -> String {
    let mut text = String::from(
        "## What it costs\n\nThe median row of each column. Commands as the server counts them, those within scripts too; bytes over the \
         wire, both ways; *evicted* by the server itself, a request. Latency of a read, and requests a second, with four callers on a \
         machine they share with the servers.\n\n\
         | way | clients | commands a request | bytes a request | evicted | read, median µs | 99 % µs | requests/s |\n\
         |---|---:|---:|---:|---:|---:|---:|---:|\n",
    );
    let mut row = |name: &str, clients: usize, of: &dyn Fn(&Cell) -> &Outcome| {
        let middle = |value: fn(&Outcome) -> f64| median(cells.iter().map(|cell| value(of(cell))).collect());
        let _ = writeln!(
            text,
            "| {name} | {clients} | {:.2} | {:.0} | {:.3} | {:.0} | {:.0} | {:.0} |",
            middle(|outcome| outcome.commands),
            middle(|outcome| outcome.bytes),
            middle(|outcome| outcome.evicted),
            middle(|outcome| outcome.median),
            middle(|outcome| outcome.p99),
            middle(|outcome| outcome.rate),
        );
    };
    row("native", 1, &|cell| &cell.native[cell.better()]);
    for (at, name) in NAMES.iter().enumerate() {
        row(name, 1, &|cell| &cell.larder[at]);
    }
    row("native", 4, &|cell| &cell.four[0]);
    row(NAMES[0], 4, &|cell| &cell.four[1]);
    row("native, a cluster", 1, &|cell| &cell.cluster[0]);
    row("steered, a cluster", 1, &|cell| &cell.cluster[1]);
    text
}

fn summary(gains: impl Iterator<Item = f64>) -> String {
    let gains: Vec<_> = gains.collect();
    let mean = gains.iter().sum::<f64>() / gains.len() as f64;
    let worst = gains.iter().copied().fold(f64::INFINITY, f64::min);
    let (wins, losses) =
        (gains.iter().filter(|gain| **gain > 0.0).count(), gains.iter().filter(|gain| **gain < -1.0).count());
    format!(
        "{mean:+.1} % in the mean, {worst:+.1} % in the worst row; better in {wins} of {}, worse by more than 1 % in {losses}",
        gains.len()
    )
}
