//! What runs without a command: a workload made up on the spot, the main policies, and a report.

use std::io::{self, Write};
use std::path::Path;

use larder_sim::{CapacitySpec, Experiment, Lifetimes, Source, Weigh, compare};
use larder_trace::Options;

use super::{compare as table, write_report};
use crate::args::{WeighArg, main_policies, threads};
use crate::failure::Failure;
use crate::progress::Bar;
use crate::table::Style;

const SEED: u64 = 42;

/// Steady popularity, popularity that moves on, a loop that LRU cannot hold, and keys that never come back.
const WORKLOAD: &str = "gen:mix:requests=1_200_000/seed=42\
    /+6*zipf/alpha=0.9/keys=200_000/+2*phase/alpha=0.9/keys=50_000/every=60_000/shift=0.5/+1*loop/keys=20_000/+1*scan";

const CAPACITIES: [&str; 5] = ["0.1%", "0.5%", "1%", "5%", "10%"];

const REPORT: &str = "larder-report";

pub(crate) fn run() -> Result<(), Failure> {
    let capacities = CAPACITIES.iter().map(|size| size.parse::<CapacitySpec>()).collect::<Result<_, _>>()?;
    let experiment = Experiment {
        policies: main_policies(WeighArg::Objects),
        capacities,
        weigh: Weigh::Objects,
        seed: SEED,
        threads: threads(None),
        gets_only: false,
        lifetimes: Lifetimes::Ignored,
    };
    let mut source = Source::trace(WORKLOAD, Options::default());
    eprintln!("A demonstration on a synthetic workload: Zipf, moving popularity, a loop and a scan, mixed.\n");
    let bar = Bar::new("mix");
    let mut outcome = experiment.run(&mut source, &bar)?;
    bar.clear();
    let names: Vec<&str> = experiment.policies.iter().map(|policy| policy.as_str()).collect();
    let (policies, sizes) = (names.join(","), CAPACITIES.join(","));
    let command = format!("larder compare '{WORKLOAD}' --seed {SEED} --policy {policies} --capacity {sizes}");
    // The description is in the command; the tables want a name.
    outcome.trace = "synthetic mix".to_owned();
    outcome.cells.iter_mut().for_each(|cell| cell.record.trace.clone_from(&outcome.trace));
    let outcomes = [outcome];
    let comparisons = compare(&table::records(&outcomes), larder_sim::Metric::Requests);
    table::print(Style::Plain, &command, SEED, &outcomes, &comparisons)?;
    write_report(Path::new(REPORT), &command, &experiment, &outcomes)?;
    let mut out = io::stdout().lock();
    writeln!(
        out,
        "\nNext:\n  open {REPORT}/report.html\n  larder replay access.log --policy lru,s3fifo --capacity 1%,10%   \
         your own trace\n  larder policies                                                   what there is to try\n  \
         larder --help"
    )?;
    Ok(())
}
