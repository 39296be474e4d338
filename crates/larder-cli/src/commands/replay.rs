//! `larder replay`: what each policy hits and misses at each size.

use std::io::{self, IsTerminal, Write};

use larder_sim::{CellRecord, Metric, Outcome, Weigh};

use super::{arms, command_line, failed, print_json, sizes, tell_doubts, try_folder, unless_read_enough, write_report};
use crate::args::ReplayArgs;
use crate::failure::{Failure, tell};
use crate::progress::Bar;
use crate::table::{self, Style};

pub(crate) fn run(args: &ReplayArgs) -> Result<(), Failure> {
    if !args.arms.is_empty() {
        return arms::run(args);
    }
    if args.report.is_some() {
        args.traces.require_distinct_names()?;
    }
    try_folder(args.report.as_deref())?;
    let experiment = args.run.experiment(&args.policies, &args.capacities)?;
    let mut outcomes = Vec::new();
    for source in args.traces.sources(args.run.needs())? {
        let mut source = source?;
        let bar = Bar::new(source.name());
        let outcome = experiment.run(&mut source, &bar).map_err(|error| failed(error, &source))?;
        bar.clear();
        tell_doubts(&source, args.run.ttl);
        let printed = if args.json {
            print_json(outcome.cells.iter().map(|cell| &cell.record))
        } else {
            print_table(&outcome, experiment.weigh)
        };
        unless_read_enough(printed, args.report.is_some())?;
        summarise(&outcome);
        outcomes.push(outcome);
    }
    if let Some(folder) = &args.report {
        write_report(folder, &command_line(), &experiment, Metric::Requests, &outcomes)?;
    }
    Ok(())
}

fn print_table(outcome: &Outcome, weigh: Weigh) -> Result<(), Failure> {
    let header =
        ["policy", "capacity", "of", "miss ratio", "bytes missed", "hits", "misses", "evictions", "speed", "metadata"];
    let mut table = table::table(Style::Plain, &header, 1);
    for CellRecord {
        policy,
        capacity,
        capacity_spec,
        miss_ratio,
        byte_miss_ratio,
        hits,
        misses,
        evictions,
        requests_per_second,
        metadata_bytes,
        ..
    } in outcome.cells.iter().map(|cell| &cell.record)
    {
        table.add_row([
            policy.clone(),
            table::count(*capacity),
            capacity_spec.clone(),
            table::percent(*miss_ratio),
            table::percent(*byte_miss_ratio),
            table::count(*hits),
            table::count(*misses),
            table::count(*evictions),
            table::millions(*requests_per_second),
            table::bytes(*metadata_bytes),
        ]);
    }
    let mut out = io::stdout().lock();
    writeln!(out, "{}: {} requests\n{}\n", outcome.trace, table::count(outcome.requests), table::text(&table))?;
    sizes::raised(outcome, weigh).map_or(Ok(()), |raised| writeln!(out, "{raised}\n"))?;
    Ok(())
}

/// Says on a terminal how long it took with decoding; a script has no need of it.
pub(crate) fn summarise(outcome: &Outcome) {
    let seconds = outcome.elapsed.as_secs_f64();
    let cells = outcome.cells.len() as f64;
    let line = format!(
        "{}: {} rows × {} cells in {seconds:.2} s, decoding included ({})",
        outcome.trace,
        table::count(outcome.rows),
        outcome.cells.len(),
        table::millions(outcome.rows as f64 * cells / seconds),
    );
    if io::stderr().is_terminal() {
        tell(&line);
    } else {
        tracing::info!("{line}");
    }
}
