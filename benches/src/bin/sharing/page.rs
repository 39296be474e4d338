//! The page: every figure with what it was made of, losses too.

use std::fmt::Write as _;

use larder_benches::SEED;

use crate::worker::{BEFORE, FIRST, Outcome, SHARE};
use crate::{FRESH, INSTANCES, Run};

fn mean(outcomes: &[Outcome], of: impl Fn(&Outcome) -> f64) -> f64 {
    100.0 * outcomes.iter().map(of).sum::<f64>() / outcomes.len() as f64
}

/// Without, with, and the mean and the extremes of what that gains, seed by seed, in points.
fn compared(run: &Run, of: impl Fn(&Outcome) -> f64 + Copy) -> (f64, f64, String) {
    let gains: Vec<f64> =
        run.general.iter().zip(&run.informed).map(|(without, with)| 100.0 * (of(with) - of(without))).collect();
    let (least, most) =
        gains.iter().fold((f64::MAX, f64::MIN), |(least, most), gain| (least.min(*gain), most.max(*gain)));
    let gain = gains.iter().sum::<f64>() / gains.len() as f64;
    let gain = match run.informed.iter().any(|outcome| outcome.adopted > 0) {
        true => format!("{gain:+.2} ({least:+.2} to {most:+.2})"),
        false => "nothing was shared".to_owned(),
    };
    (mean(&run.general, of), mean(&run.informed, of), gain)
}

/// A trace in a line, to see how it goes.
pub(crate) fn line(run: &Run) -> String {
    let first = compared(run, |outcome| outcome.first[0]).2;
    format!("{}: first {first}, all {}", run.trace, compared(run, |outcome| outcome.hit_ratio).2)
}

pub(crate) fn page(runs: &[Run], requests: usize) -> String {
    let mut page = format!(
        "# What instances share, and what a fresh one gains by it\n\n\
         Made by `cargo run -p larder-benches --bin sharing -- --out docs/sharing.md`.\n\n\
         - Seeds: {SEED} on for the {INSTANCES} instances, {} on for the {FRESH} fresh ones of each kind. When a model is published and taken \
         over depends on the processes' timing, so the last digits vary from run to run\n\
         - The first {requests} requests of each trace. The first {:.0} % are served by {INSTANCES} instances, each a process that gets every \
         request with the same chance, as behind a load balancer; then the fresh instance gets its third of the rest\n\
         - An instance holds {:.0} % of the distinct keys; one segment, `learned`, values that never end\n\
         - One Redis; one instance at a time publishes, a tenth of a second after the other, and the others take it over\n\n",
        SEED + 100,
        100.0 * BEFORE,
        100.0 * SHARE,
    );
    page.push_str("## A fresh instance\n\nHit ratio in %, from an empty memory: with the prior that ships, which was itself trained on most of these traces, and with what the others shared. The gain in points is the mean over the seeds, with its extremes. Where a guard preferred LRU nothing was shared.\n\n");
    let columns: Vec<_> =
        FIRST.iter().map(|first| format!("first {first} × entries")).chain(["all".to_owned()]).collect();
    let heads: Vec<_> = columns.iter().map(|column| format!("{column}: without | with | gain")).collect();
    let _ = writeln!(page, "| trace | entries | reads | {} |", heads.join(" | "));
    let _ = writeln!(page, "|---|--:|--:|{}", "--:|--:|--:|".repeat(columns.len()));
    for run in runs {
        let mut row = format!("| {} | {} | {} |", run.trace, run.capacity, run.general[0].reads);
        for at in 0..=FIRST.len() {
            let of = |outcome: &Outcome| outcome.first.get(at).copied().unwrap_or(outcome.hit_ratio);
            let (without, with, gain) = compared(run, of);
            let _ = write!(row, " {without:.2} | {with:.2} | {gain} |");
        }
        let _ = writeln!(page, "{row}");
    }
    page.push_str("\nWhat an instance gains comes late: until its memory has filled and turned over, the model decides little, and the prior that ships is a good one. Three instances that \
         began alike on equal parts of one traffic gain little from each other while they run.\n\n## The instances that share\n\nHit ratio in % over all their requests, the mean of the three: each by itself, and sharing.\n\n");
    page.push_str("| trace | by itself | sharing | gain | published | taken over |\n|---|--:|--:|--:|--:|--:|\n");
    for Run { trace, alone, shared, .. } in runs {
        let (own, with) = (mean(alone, |outcome| outcome.hit_ratio), mean(shared, |outcome| outcome.hit_ratio));
        let sum = |of: fn(&Outcome) -> u64| shared.iter().map(of).sum::<u64>();
        let (published, adopted) = (sum(|outcome| outcome.published), sum(|outcome| outcome.adopted));
        let _ = writeln!(page, "| {trace} | {own:.2} | {with:.2} | {:+.2} | {published} | {adopted} |", with - own);
    }
    page
}
