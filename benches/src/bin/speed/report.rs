//! The page: every figure with what it was made of, losses too.

use std::fmt::Write as _;

use larder_benches::{SEED, machine};

use crate::measure::{Cell, Medians, Run, Sides};

pub(crate) fn page(runs: &[Run], rounds: usize) -> String {
    let version = runs.first().map_or("", |run| run.version.as_str());
    let facts: Vec<_> = machine::facts().into_iter().map(|fact| format!("- {fact}")).collect();
    let mut page = format!(
        "# Replay speed\n\n\
         Made by `cargo run --release -p larder-benches --bin speed -- --rounds {rounds} --out docs/speed.md`.\n\n{}\n\
         - Peer: libcachesim {version} from PyPI, a C library called once a replay\n\
         - Seed: {SEED} (larder); libcachesim's default\n\n\
         Both replay the same requests from the same oracleGeneral file, keys numbered from 1, every object of size 1, \
         one thread, turn by turn in one run; times are CPU time of that thread. Rates are medians of {rounds} rounds, \
         and a ratio is the median of the rounds' ratios. Caches are built before the clock starts. larder's policies are \
         chosen by name at run time, as users choose them.\n\n\
         *With decoding* is from the file (in the page cache) to the last decision: larder reads it in batches, \
         libcachesim from a memory map. *Without decoding*, larder replays requests in memory, and from libcachesim's \
         time a pass over the same file is taken off in which its reader decodes every record and no cache is asked. \
         A ratio above 1 means larder is faster.\n",
        facts.join("\n"),
    );
    for run in runs {
        // Writing to a string does not fail, here and below.
        let _ = write!(page, "\n{}", section(run));
    }
    page
}

fn section(run: &Run) -> String {
    let Run { trace, requests, keys, decode, .. } = run;
    let mut text = format!("## {trace}: {requests} requests, {keys} keys\n\nMillions of requests a second.\n\n");
    text += "| policy | objects | with decoding: larder | libcachesim | ratio \
             | without: larder | libcachesim | ratio | miss ratio: larder | libcachesim | bytes an object |\n";
    text += &format!("|{}\n", " --- |".repeat(11));
    for cell in &run.cells {
        let Cell { policy, share, objects, miss_ratio, bytes_per_object, .. } = cell;
        let with = rates(cell.with_decoding, *requests);
        let without = rates(cell.without_decoding, *requests);
        let Sides { ours, theirs } = miss_ratio;
        let _ = writeln!(
            text,
            "| {policy} | {objects} ({} %) | {with} | {without} | {ours:.4} | {theirs:.4} | {bytes_per_object:.0} |",
            share * 100.0
        );
    }
    let _ = writeln!(text, "\n- Geometric mean of the ratios: {}", means(&run.cells));
    let _ = writeln!(text, "- Decoding alone (rates and ratio as above): {}", rates(*decode, *requests));
    let [one, two] = run.threads;
    let _ = writeln!(
        text,
        "- All {} cells of larder from memory, by the wall clock: {one:.2} s on one thread, {two:.2} s on two, {:.2} times \
         as fast",
        run.cells.len(),
        one / two
    );
    text
}

/// Both rates and their ratio, as three cells of a table.
fn rates(seconds: Medians, requests: usize) -> String {
    let rate = |seconds: f64| requests as f64 / seconds / 1e6;
    let Medians { ours, theirs, ratio } = seconds;
    format!("{:.1} | {:.1} | {ratio:.2}", rate(ours), rate(theirs))
}

fn means(cells: &[Cell]) -> String {
    let mean = |of: fn(&Cell) -> Medians| {
        let logs: f64 = cells.iter().map(|cell| of(cell).ratio.ln()).sum();
        (logs / cells.len() as f64).exp()
    };
    let (with, without) = (mean(|cell| cell.with_decoding), mean(|cell| cell.without_decoding));
    format!("{with:.2} with decoding, {without:.2} without")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ratio_above_one_means_larder_is_faster() {
        assert_eq!(rates(Medians { ours: 0.5, theirs: 1.0, ratio: 2.0 }, 1_000_000), "2.0 | 1.0 | 2.00");
    }
}
