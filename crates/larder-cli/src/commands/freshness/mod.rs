//! `larder freshness`: what each policy of lifetimes serves stale, and what that costs the origin.

mod arms;

use std::io::{self, Write};

use larder_policy::Op;
use larder_sim::freshness::{FreshnessExperiment, FreshnessOutcome, synthetic};
use larder_sim::{FreshnessReport, LEAST_OBJECTS, Source};
use larder_trace::Carries;

use super::{command_line, lacks, print_json, tell_bad_rows, try_folder, unless_read_enough};
use crate::args::FreshnessArgs;
use crate::failure::{Failure, tell};
use crate::needs::{flows, tell_mapping};
use crate::progress::Bar;
use crate::table::{self, Style, percent};

/// A trace that begins so is made by rule.
pub(crate) const SYNTHETIC: &str = "changes:";

pub(crate) fn run(args: &FreshnessArgs) -> Result<(), Failure> {
    if !args.arms.is_empty() {
        return arms::run(args);
    }
    if args.report.is_some() {
        args.traces.require_distinct_names()?;
    }
    try_folder(args.report.as_deref())?;
    let experiment = args.experiment();
    let mut outcomes = Vec::new();
    let mut sweeps = Vec::new();
    for source in sources(args)? {
        let source = source?;
        tell_mapping(source.name(), &*source.open()?);
        let bar = Bar::new(source.name());
        let outcome = experiment.run(&source, &bar).map_err(|error| failed(error, &source))?;
        bar.clear();
        tell_bad_rows(&source);
        let printed = if args.json {
            print_json(outcome.runs.iter().map(|run| &run.record))
        } else {
            print_table(&experiment, &outcome)
        };
        unless_read_enough(printed, args.report.is_some())?;
        if args.report.is_some() {
            sweeps.push(experiment.sweep(&source, &bar)?);
            bar.clear();
            outcomes.push(outcome);
        }
    }
    if let Some(folder) = &args.report {
        let command = command_line();
        let report =
            FreshnessReport { command: &command, objective: args.objective, outcomes: &outcomes, sweeps: &sweeps };
        tell(&format!("report: {}", report.write(folder)?.display()));
    }
    Ok(())
}

/// The traces, each made when its turn comes. One that cannot be opened is told now.
fn sources(args: &FreshnessArgs) -> Result<impl Iterator<Item = Result<Source, Failure>>, Failure> {
    let traces = &args.traces.traces;
    for path in traces.iter().filter(|path| !flows(path)) {
        source(args, path)?;
    }
    Ok(traces.iter().map(|path| source(args, path)))
}

/// How a run failed. An option that does not fit is the command line's fault, but not where the trace tells of no change.
fn failed(error: larder_sim::Error, source: &Source) -> Failure {
    match Failure::from(error) {
        Failure::Usage(what) if lacks(source, |op| op != Op::Get) => Failure::Failed(what),
        failure => failure,
    }
}

fn source(args: &FreshnessArgs, path: &str) -> Result<Source, Failure> {
    let reading = &args.traces.reading;
    if path.starts_with(SYNTHETIC) && (reading.limit.is_some() || reading.columns.is_some()) {
        let what = "it is of one length and has no columns: leave out --limit and --columns";
        return Err(Failure::Usage(format!("{path}: {what}")));
    }
    let mut source = match path.strip_prefix(SYNTHETIC) {
        Some(family) => synthetic(family)?,
        None => args.traces.reading.source(path)?,
    };
    source.make_repeatable()?;
    let Carries { times, judged, .. } = source.open()?.carries();
    if !times && !judged {
        let name = source.name();
        let what = "lifetimes are measured on times, and this trace has none: name their column with --columns";
        return Err(Failure::Usage(format!("{name}: {what}")));
    }
    Ok(source)
}

fn print_table(experiment: &FreshnessExperiment, outcome: &FreshnessOutcome) -> Result<(), Failure> {
    let header = [
        "policy",
        "seed",
        "loads a read",
        "audits",
        "stale",
        "published",
        "worst window",
        "stale by (half)",
        "(99.9%)",
        "hits",
    ];
    let mut table = table::table(Style::Plain, &header, 1);
    for record in outcome.runs.iter().map(|run| &run.record) {
        let published = match (record.stale_rate_low, record.stale_rate_high, record.certifiable) {
            (Some(low), Some(high), Some(certifiable)) => {
                format!("{}–{}{}", percent(low), percent(high), if certifiable { "" } else { ", not certifiable yet" })
            }
            _ => "-".to_owned(),
        };
        table.add_row([
            record.policy.clone(),
            record.seed.to_string(),
            format!("{:.4}", record.origin_loads_per_read),
            table::count(record.audits),
            format!("{:.3}%", record.stale_rate * 100.0),
            published,
            percent(record.worst_window_stale_rate),
            span(record.stale_age_p50),
            span(record.stale_age_p999),
            percent(record.hit_ratio),
        ]);
    }
    let reads = outcome.runs.first().map_or(0, |run| run.record.reads);
    let mut out = io::stdout().lock();
    writeln!(
        out,
        "{}: {} keys, {} writes, {} reads ({}), objective {}\n{}\n",
        outcome.trace,
        table::count(outcome.keys),
        table::count(outcome.writes),
        table::count(reads),
        experiment.reads,
        percent(experiment.objective),
        table::text(&table)
    )?;
    if let Some(word) = outcome.off_objective(experiment.objective) {
        writeln!(out, "{word}\n")?;
    }
    if let (Some(spec), Some(limit)) = (&experiment.capacity, experiment.limit(outcome.keys as usize)?) {
        let raised = spec.is_share() && limit.limit == LEAST_OBJECTS;
        let why = if raised { ", the least that a share comes to" } else { "" };
        let limit = table::count(limit.limit);
        writeln!(out, "capacity {}: {limit} objects{why}; {} decides who leaves\n", spec.as_str(), experiment.evict)?;
    }
    Ok(())
}

/// Seconds in a unit that reads well.
fn span(seconds: f64) -> String {
    match seconds {
        0.0..120.0 => format!("{seconds:.1}s"),
        120.0..7200.0 => format!("{:.0}min", seconds / 60.0),
        7200.0..172_800.0 => format!("{:.1}h", seconds / 3600.0),
        _ => format!("{:.1}d", seconds / 86_400.0),
    }
}
