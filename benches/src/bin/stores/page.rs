//! The page: every figure with what it was made of, losses too.

use std::fmt::Write as _;

use larder_benches::machine;

use crate::work::{CAPACITY, Cost, Work};

/// What is timed, and on how many threads.
pub(crate) const COLUMNS: [(Work, usize); 6] =
    [(Work::Hit, 1), (Work::Hit, 2), (Work::Mixed, 1), (Work::Mixed, 2), (Work::Insert, 1), (Work::Insert, 2)];

pub(crate) struct Section {
    pub(crate) keys: &'static str,
    pub(crate) rows: Vec<Row>,
}

pub(crate) struct Row {
    pub(crate) name: &'static str,
    pub(crate) is_ours: bool,
    pub(crate) costs: Vec<Cost>,
    pub(crate) bytes: f64,
}

pub(crate) fn page(sections: &[Section], rounds: usize, operations: usize) -> String {
    let facts: Vec<_> = machine::facts().into_iter().map(|fact| format!("- {fact}")).collect();
    let mut page = format!(
        "# The embedded store beside its peers\n\n\
         Made by `cargo run --release -p larder-benches --bin stores -- --out docs/stores.md`.\n\n{}\n\n\
         {CAPACITY} entries of `u64`, {operations} operations a thread, every contender in turn, the median of {rounds} runs. \
         Nanoseconds of processor time an operation, summed over the threads, so that waiting for a lock by spinning counts \
         and sleeping does not; the allocator counts bytes, which costs all the same. *Hit*: Zipf 0.99 over half the capacity, \
         all resident. *Get, else insert*: Zipf 0.99 over ten times the capacity, on a store that as many reads before it filled. *Insert*: new keys into a \
         full store. *Bytes*: what a full store has allocated, for each entry, key and value taken off (a `String`'s text, \
         17 bytes and what the allocator adds, is in it). *Control*: as a cache is by default, with ghosts of a control beside it; \
         the other rows are without.\n",
        facts.join("\n")
    );
    for section in sections {
        // Writing to a string does not fail, here and below.
        let _ = write!(page, "\n## Keys: {}\n\n{}", section.keys, table(section));
    }
    page
}

fn table(section: &Section) -> String {
    let mut text = String::from("| store |");
    for (work, threads) in COLUMNS {
        let _ = write!(text, " {}, {threads} thread{} |", work.name(), if threads == 1 { "" } else { "s" });
    }
    let _ = write!(text, " hit ratio | bytes an entry |\n|---|{}\n", "--:|".repeat(COLUMNS.len() + 2));
    for row in &section.rows {
        let _ = write!(text, "| {} |", row.name);
        for cost in &row.costs {
            let _ = write!(text, " {:.0} |", cost.nanos);
        }
        // That of one thread on mixed work.
        let _ = writeln!(text, " {:.4} | {:.0} |", row.costs[2].hit_ratio, row.bytes);
    }
    let find = |name: &str| section.rows.iter().find(|row| row.name == name);
    text.push('\n');
    for ours in section.rows.iter().filter(|row| row.is_ours) {
        for peer in ["quick_cache", "moka"].into_iter().filter_map(find) {
            let ratios: Vec<_> =
                ours.costs.iter().zip(&peer.costs).map(|(a, b)| format!("{:.2}", a.nanos / b.nanos)).collect();
            let _ = writeln!(text, "- {} over {}: {}", ours.name, peer.name, ratios.join(", "));
        }
    }
    text
}
