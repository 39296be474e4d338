//! The page: every figure with what it was made of, losses too.

use std::fmt::Write as _;

use larder_benches::{SEED, machine};

use crate::fresh::{Fresh, OBJECTIVE, Outcome};
use crate::hits::Hits;
use crate::ratios::Ratios;

pub(crate) fn page(ratios: &[Ratios], fresh: &[Fresh], hits: &[Hits], rounds: usize) -> String {
    let facts: Vec<_> = machine::facts().into_iter().map(|fact| format!("- {fact}")).collect();
    let facts = facts.join("\n");
    let mut page = format!(
        "# moka, moka with larder, and larder's own store\n\n\
         Made by `cargo run --release -p larder-benches --bin moka -- --out docs/moka.md`.\n\n{facts}\n- Seed: {SEED} (larder); \
         moka hashes with a secret of its own, so its figures vary in the last digit\n\n"
    );
    page += &section_ratios(ratios);
    page += &section_fresh(fresh);
    page += &section_hits(hits, rounds);
    page
}

fn section_ratios(ratios: &[Ratios]) -> String {
    let mut text = String::from(
        "## Hit ratio\n\nEvery read of the trace, in order, on one thread; nothing is ever too old. *Admission* is larder's `learned` \
         policy asked whether a loaded value is to be kept at all; moka goes on to choose who leaves. moka evicts in batches, and holds more \
         than it was asked to until then: here it is made to after each load (`run_pending_tasks`), so that all hold as much. Shares are of \
         the distinct keys; no cache has fewer than 16 objects.\n\n\
         | trace | objects | moka, TinyLFU | with admission | moka, LRU | with admission | larder's own store |\n\
         |---|---|---|---|---|---|---|\n",
    );
    for Ratios { trace, objects, share, tiny_lfu, lru, larder } in ratios {
        let percent = |ratio: &f64| format!("{:.2} %", 100.0 * ratio);
        // Writing to a string does not fail, here and below.
        let _ = writeln!(
            text,
            "| {trace} | {objects} ({:.1} %) | {} | {} | {} | {} | {} |",
            100.0 * share,
            percent(&tiny_lfu[0]),
            percent(&tiny_lfu[1]),
            percent(&lru[0]),
            percent(&lru[1]),
            percent(larder)
        );
    }
    let gain = |of: fn(&Ratios) -> (f64, f64)| {
        let gains: Vec<f64> = ratios.iter().map(of).map(|(base, own)| 100.0 * (own - base)).collect();
        let (mean, worst) =
            (gains.iter().sum::<f64>() / gains.len() as f64, gains.iter().copied().fold(f64::INFINITY, f64::min));
        format!("{mean:+.2} points in the mean, {worst:+.2} in the worst row")
    };
    let _ = write!(
        text,
        "\n- Admission before moka's TinyLFU: {}\n- Admission before moka's LRU: {}\n- moka's LRU with admission beside moka's TinyLFU \
         alone: {}\n- larder's own store beside moka's TinyLFU: {}\n\n",
        gain(|row| (row.tiny_lfu[0], row.tiny_lfu[1])),
        gain(|row| (row.lru[0], row.lru[1])),
        gain(|row| (row.tiny_lfu[0], row.lru[1])),
        gain(|row| (row.tiny_lfu[0], row.larder)),
    );
    text
}

fn section_fresh(fresh: &[Fresh]) -> String {
    let mut text = format!(
        "## Loads at equal staleness\n\nOn the traces that tell when the origin's values changed. Every key fits, and no cache is told of a \
         change: lifetimes alone decide. larder is asked for at most {} % of stale reads. moka alone has the one lifetime, found by \
         halving in hindsight, that serves no more stale reads than the plug-in did; where the clock is the trace's, it is larder's \
         that decides, for moka's cannot be set.\n\n\
         | trace | reads | | loads | stale reads | measured by audits |\n|---|---|---|---|---|---|\n",
        100.0 * OBJECTIVE
    );
    for Fresh { trace, plugin, larder, moka: (ttl, alone) } in fresh {
        let first = format!("moka, one lifetime of {:.0} s", ttl.as_secs_f64());
        for (name, outcome) in [(first.as_str(), alone), ("moka with larder", plugin), ("larder's own store", larder)] {
            let Outcome { reads, loads, measured, .. } = outcome;
            let measured = measured.map_or("–".into(), |rate| {
                let [rate, low, high] = [rate.rate, rate.low, rate.high].map(|share| 100.0 * share);
                format!("{rate:.2} % [{low:.2}, {high:.2}]")
            });
            let stale = 100.0 * outcome.rate();
            let _ = writeln!(text, "| {trace} | {reads} | {name} | {loads} | {stale:.2} % | {measured} |");
        }
    }
    text += "\n";
    for Fresh { trace, plugin, moka: (_, alone), .. } in fresh {
        let saved = 100.0 * (1.0 - plugin.loads as f64 / alone.loads as f64);
        let kept = if plugin.rate() <= OBJECTIVE { "kept to" } else { "missed" };
        let _ = writeln!(text, "- {trace}: the plug-in spares {saved:.1} % of moka's loads; the objective was {kept}");
    }
    text + "\n"
}

fn section_hits(hits: &[Hits], rounds: usize) -> String {
    let mut text = format!(
        "## A hit\n\n`moka::sync::Cache`, 100,000 residents of `u64`, Zipf-distributed reads that all hit, one thread; CPU time of that \
         thread, the sides in turn, medians of {rounds} rounds. The machine is shared: the ratios, each of one round to moka alone in \
         the same round, say more than the nanoseconds.\n\n| | ns a hit | ratio | to |\n|---|---|---|---|\n"
    );
    for Hits { name, nanoseconds, beside: (base, ratio) } in hits {
        let _ = writeln!(text, "| {name} | {nanoseconds:.0} | {ratio:.2} | {base} |");
    }
    text
}
