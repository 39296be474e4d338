//! The page: what a restart costs, with and without a snapshot.

use std::fmt::Write as _;

use larder_benches::{SEED, machine};

use crate::drill::{Drill, OLDER, Outcome, RECOVERED, REQUESTS_A_LOAD, Restart, SHARE, SOON, WINDOW};

pub(crate) fn page(drills: &[Drill]) -> String {
    let commit = machine::facts().into_iter().find(|fact| fact.starts_with("Commit")).unwrap_or_default();
    let mut page = format!(
        "# Pre-warm: what a restart costs\n\n\
         Made by `cargo run --release -p larder-benches --bin restart -- --out docs/prewarm.md`. Seed {SEED}. {commit}.\n\n\
         A cache of {} % of a trace's keys serves its first half and stops. It comes back empty, or warmed from the snapshot of \
         keys and rates it left (`larder::snapshot`, `larder::prewarm`), and serves the second half. Beside it stands the cache \
         that was not restarted. *Recovered* is the end of the first {WINDOW} requests with {} % of the hits that one has in the \
         same {WINDOW}, so {WINDOW} is the least. *Hits lost* is how many more it had: soon, which is {SOON} requests for each \
         object, and until the trace ends.\n\n\
         - *warmed*: all of it is loaded before the first request, the best last (`Plan::best_last`), so that it leaves last. \
           *Best first* is the same the other way round.\n\
         - *half*: only the better half of the cache is loaded.\n\
         - *older*: the snapshot was taken {} % of the trace before the restart.\n\
         - *while serving*: traffic does not wait; a key is loaded every {REQUESTS_A_LOAD} requests, best first.\n\n\
         {}\n",
        SHARE * 100.0,
        RECOVERED * 100.0,
        OLDER * 100.0,
        summary(drills),
    );
    for drill in drills {
        // Writing to a string does not fail.
        let _ = write!(page, "\n{}", section(drill));
    }
    page
}

/// Wins and losses, counted.
fn summary(drills: &[Drill]) -> String {
    let all = drills.len();
    let count = |better: &dyn Fn(&Outcome, &Outcome) -> bool, restart| {
        let of = |drill: &Drill, restart| drill.outcomes.iter().position(|outcome| outcome.restart == restart);
        let wins = drills.iter().filter(|drill| match (of(drill, restart), of(drill, Restart::Cold)) {
            (Some(warm), Some(cold)) => better(&drill.outcomes[warm], &drill.outcomes[cold]),
            _ => false,
        });
        wins.count()
    };
    let sooner = |warm: &Outcome, cold: &Outcome| warm.until.unwrap_or(usize::MAX) < cold.until.unwrap_or(usize::MAX);
    let fewer_soon = |warm: &Outcome, cold: &Outcome| warm.lost_soon < cold.lost_soon;
    let fewer = |warm: &Outcome, cold: &Outcome| warm.lost < cold.lost;
    let line = |restart| {
        format!(
            "{} recovers sooner than cold in {} of {all} cases, loses fewer hits soon in {}, and in all in {}",
            name(restart),
            count(&sooner, restart),
            count(&fewer_soon, restart),
            count(&fewer, restart)
        )
    };
    format!(
        "Of the restarts, {}; {}. A snapshot holds keys, not what the learned policy has learned: it starts from the prior \
         that ships in every row, which was trained on these traces. Where a warmed cache loses more in all than a cold one, the cause is not known.",
        line(Restart::Warmed),
        line(Restart::Serving)
    )
}

fn section(drill: &Drill) -> String {
    let Drill { trace, policy, objects, requests, steady, outcomes } = drill;
    let mut text = format!(
        "## {trace}, {policy}, {objects} objects\n\n\
         {requests} requests after the restart; hit ratio without it {:.1} %.\n\n\
         | restart | requests until recovered | hits lost soon | in all | loaded ahead | of those, hit before they left |\n\
         | --- | ---: | ---: | ---: | ---: | ---: |\n",
        steady * 100.0
    );
    for Outcome { restart, until, lost_soon, lost, warmed } in outcomes {
        let until = until.map_or_else(|| "never".to_owned(), |until| until.to_string());
        let used = match warmed.warmed {
            0 => "".to_owned(),
            warmed_keys => format!("{:.1} %", warmed.hit as f64 / warmed_keys as f64 * 100.0),
        };
        let _ = writeln!(text, "| {} | {until} | {lost_soon} | {lost} | {} | {used} |", name(*restart), warmed.warmed);
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
