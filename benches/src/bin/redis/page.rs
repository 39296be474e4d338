//! The page: every figure with what it was made of, losses too.

use std::fmt::Write as _;

use larder_benches::machine;

use crate::{Row, Trips};

pub(crate) fn page(trips: &[Trips], rows: &[Row], rounds: usize) -> String {
    let facts: Vec<_> = machine::facts().into_iter().map(|fact| format!("- {fact}")).collect();
    let mut page = format!(
        "# What the Redis tier and the plug-in cost\n\n\
         Made by `cargo run --release -p larder-benches --bin redis -- --out docs/redis.md`.\n\n{}\n\
         - One private `redis-server` on the same machine, reached over the loopback interface; values of 200 bytes\n\n\
         ## Round trips\n\nCommands that the server carried out, for each read of a cache with both tiers.\n\n\
         | read | reads | commands | commands a read | aim |\n|---|--:|--:|--:|--:|\n",
        facts.join("\n")
    );
    for Trips { what, reads, commands, aim } in trips {
        // Writing to a string does not fail, here and below.
        let _ = writeln!(page, "| {what} | {reads} | {commands} | {:.3} | {aim} |", *commands as f64 / *reads as f64);
    }
    let _ = write!(
        page,
        "\nWhat must be loaded is asked for, and then written by a script, whose own commands count too: two round trips. Now and then the store \
         looks after its connections.\n\n\
         ## Time\n\n*Bare* is a `MultiplexedConnection` of redis-rs that fetches the same bytes and does nothing with them; larder checks and \
         decodes them, and keeps its promises. Each figure is the median of {rounds} runs that take turns, *ratio* the median of their ratios.\n\n\
         | what | beside | bare | larder | more | ratio | aim |\n|---|---|--:|--:|--:|--:|--:|\n"
    );
    for Row { what, beside, unit, bare, larder, ratio, aim } in rows {
        let digits = if *unit == "ns" { 0 } else { 2 };
        let _ = writeln!(
            page,
            "| {what} | {beside} | {bare:.digits$} {unit} | {larder:.digits$} {unit} | {:+.digits$} {unit} | {ratio:.2} | {aim} |",
            larder - bare
        );
    }
    page + "\nA ratio of 1.11 is nine tenths of the throughput.\n"
}
