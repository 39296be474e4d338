//! `larder compare`: the table a person reads.

use std::collections::BTreeSet;
use std::io::{self, Write};

use comfy_table::CellAlignment;
use larder_sim::{CellRecord, Comparison, Outcome, Summary, compare, summarise};

use super::{command_line, print_json, write_report};
use crate::args::CompareArgs;
use crate::failure::Failure;
use crate::progress::Bar;
use crate::table::{self, Style};

pub(crate) fn run(args: &CompareArgs) -> Result<(), Failure> {
    args.traces.require_distinct_names()?;
    let experiment = args.run.experiment(&args.policies(), &args.capacities)?;
    let mut outcomes = Vec::new();
    for source in args.traces.sources() {
        let mut source = source?;
        let bar = Bar::new(source.name());
        outcomes.push(experiment.run(&mut source, &bar)?);
        bar.clear();
        outcomes.last().into_iter().for_each(super::replay::summarise);
    }
    let comparisons = compare(&records(&outcomes), args.metric.into());
    if args.json {
        print_json(&comparisons)?;
    } else {
        let style = if args.markdown { Style::Markdown } else { Style::Plain };
        print(style, &command_line(), args.run.cells.seed, &outcomes, &comparisons)?;
    }
    if let Some(folder) = &args.report {
        write_report(folder, &command_line(), &experiment, &outcomes)?;
    }
    Ok(())
}

pub(crate) fn records(outcomes: &[Outcome]) -> Vec<CellRecord> {
    outcomes.iter().flat_map(|outcome| &outcome.cells).map(|cell| cell.record.clone()).collect()
}

pub(crate) fn print(
    style: Style,
    command: &str,
    seed: u64,
    outcomes: &[Outcome],
    comparisons: &[Comparison],
) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    let requests = table::count(outcomes.iter().map(|outcome| outcome.requests).sum());
    let command = if style == Style::Markdown { format!("`{command}`") } else { command.to_owned() };
    writeln!(out, "{command}: seed {seed}, {requests} requests of {} trace(s)\n", outcomes.len())?;
    for outcome in outcomes {
        let of_trace: Vec<_> = comparisons.iter().filter(|cell| cell.trace == outcome.trace).collect();
        let heading = format!("{}: miss ratio by cache size, * the best", outcome.trace);
        writeln!(out, "{}\n{}\n", titled(style, &heading), table::text(&matrix(style, outcome, &of_trace)))?;
    }
    let cells = comparisons.iter().map(|cell| (&cell.trace, &cell.capacity_spec)).collect::<BTreeSet<_>>().len();
    let heading = format!("Mean over {cells} cells, a cell being a trace at a size");
    writeln!(out, "{}\n{}\n", titled(style, &heading), table::text(&summary(style, &summarise(comparisons))))?;
    writeln!(
        out,
        "Against a reference: (reference - policy) / the larger of the two; positive misses less.\n\
         Gap closed: (LRU - policy) / (LRU - Bélády). The best is among policies that do not know the future."
    )?;
    Ok(())
}

fn titled(style: Style, heading: &str) -> String {
    match style {
        Style::Plain => heading.to_owned(),
        Style::Markdown => format!("### {heading}\n"),
    }
}

fn matrix(style: Style, outcome: &Outcome, cells: &[&Comparison]) -> comfy_table::Table {
    let mut specs: Vec<&str> = Vec::new();
    let mut policies: Vec<&str> = Vec::new();
    for cell in cells {
        if !specs.contains(&cell.capacity_spec.as_str()) {
            specs.push(&cell.capacity_spec);
        }
        if !policies.contains(&cell.policy.as_str()) {
            policies.push(&cell.policy);
        }
    }
    let capacity = |spec: &str| {
        let record = outcome.cells.iter().map(|cell| &cell.record).find(|record| record.capacity_spec == spec);
        record.map_or_else(String::new, |record| table::count(record.capacity))
    };
    let header: Vec<String> = specs
        .iter()
        .map(|spec| if spec.ends_with('%') { format!("{spec} = {}", capacity(spec)) } else { (*spec).to_owned() })
        .collect();
    let header: Vec<&str> = ["policy"].into_iter().chain(header.iter().map(String::as_str)).collect();
    let mut table = table::table(style, &header, 1);
    for policy in policies {
        let value = |spec: &&str| {
            let cell = cells.iter().find(|cell| cell.policy == policy && cell.capacity_spec == **spec);
            cell.map_or_else(String::new, |cell| {
                format!("{}{}", if cell.is_best { "*" } else { "" }, table::percent(cell.miss_ratio))
            })
        };
        table.add_row([policy.to_owned()].into_iter().chain(specs.iter().map(value)));
    }
    table
}

fn summary(style: Style, summaries: &[Summary]) -> comfy_table::Table {
    let header =
        ["policy", "miss ratio", "vs FIFO", "vs LRU", "vs best", "gap closed", "best in", "worst cell vs best"];
    let mut table = table::table(style, &header, 1);
    table.column_mut(header.len() - 1).into_iter().for_each(|column| column.set_cell_alignment(CellAlignment::Left));
    let signed = |value: Option<f64>| value.map_or_else(|| "-".to_owned(), table::signed_percent);
    for summary in summaries {
        let worst = summary.worst.as_ref().filter(|_| !summary.knows_future);
        table.add_row([
            summary.policy.clone(),
            table::percent(summary.miss_ratio),
            signed(summary.against_fifo),
            signed(summary.against_lru),
            signed(summary.against_best),
            summary.gap_closed.map_or_else(|| "-".to_owned(), |gap| format!("{:.0}%", gap * 100.0)),
            if summary.knows_future { "-".to_owned() } else { summary.best_in.to_string() },
            worst.map_or_else(
                || "-".to_owned(),
                |(trace, spec, loss)| format!("{} {trace} {spec}", table::signed_percent(*loss)),
            ),
        ]);
    }
    table
}
