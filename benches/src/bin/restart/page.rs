//! The page: what a restart costs, with and without a snapshot.

use std::fmt::Write as _;

use larder_benches::{SEED, machine};

use crate::drill::{Drill, OLDER, Outcome, RECOVERED, REQUESTS_A_LOAD, Restart, SHARE, WINDOW};

pub(crate) fn page(drills: &[Drill]) -> String {
    let commit = machine::facts().into_iter().find(|fact| fact.starts_with("Commit")).unwrap_or_default();
    let mut page = format!(
        "# Pre-warm: what a restart costs\n\n\
         Made by `cargo run --release -p larder-benches --bin restart -- --out docs/prewarm.md`. Seed {SEED}. {commit}.\n\n\
         A cache of {} % of a trace's keys serves its first half and stops. It comes back empty, or warmed from the \
         [snapshot](../crates/larder/src/snapshot/mod.rs) it left, and serves the second half. Beside it stands the cache that \
         was not restarted: *requests until recovered* is the end of the first {WINDOW} requests with {} % of the hits it has \
         in the same {WINDOW}, so {WINDOW} is the least; *hits lost* is all it hit more until the trace ends. The learned \
         policy starts each time from the prior that ships, so what it had learned is lost in every row.\n\n\
         - *warmed*: all of it is loaded before the first request, the best last (`Plan::best_last`), so that it leaves last. *Best \
           first* is the same the other way round.\n\
         - *half*: only the better half of the cache is loaded.\n\
         - *older*: the snapshot was taken {} % of the trace before the restart, and only that was written since.\n\
         - *while serving*: traffic does not wait; a key is loaded every {REQUESTS_A_LOAD} requests.\n",
        SHARE * 100.0,
        RECOVERED * 100.0,
        OLDER * 100.0,
    );
    for drill in drills {
        // Writing to a string does not fail.
        let _ = write!(page, "\n{}", section(drill));
    }
    page
}

fn section(drill: &Drill) -> String {
    let Drill { trace, policy, objects, requests, steady, outcomes } = drill;
    let mut text = format!(
        "## {trace}, {policy}, {objects} objects\n\n\
         {requests} requests after the restart; hit ratio without it {:.1} %.\n\n\
         | restart | requests until recovered | hits lost | loaded ahead | of those, hit before they left |\n\
         | --- | ---: | ---: | ---: | ---: |\n",
        steady * 100.0
    );
    for Outcome { restart, until, lost, warmed } in outcomes {
        let until = until.map_or_else(|| "never".to_owned(), |until| until.to_string());
        let used = match warmed.warmed {
            0 => "".to_owned(),
            warmed_keys => format!("{:.1} %", warmed.hit as f64 / warmed_keys as f64 * 100.0),
        };
        let _ = writeln!(text, "| {} | {until} | {lost} | {} | {used} |", name(*restart), warmed.warmed);
    }
    text
}

fn name(restart: Restart) -> &'static str {
    match restart {
        Restart::Cold => "cold",
        Restart::Warmed => "warmed",
        Restart::BestFirst => "warmed, best first",
        Restart::Half => "warmed, half",
        Restart::Older => "warmed, older",
        Restart::Serving => "warmed while serving",
    }
}
