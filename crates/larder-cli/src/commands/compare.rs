//! `larder compare`: the table a person reads.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Write};

use comfy_table::CellAlignment;
use larder_policy::experiment::HourlyCost;
use larder_sim::{
    CellRecord, Comparison, Experiment, Lifetimes, Outcome, Pricing, Summary, Survey, compare, summarise,
};
use serde::Serialize;

use super::{command_line, failed, print_json, sizes, tell_doubts, try_folder, unless_read_enough, write_report};
use crate::args::CompareArgs;
use crate::failure::Failure;
use crate::price_args::{CostRecord, money};
use crate::progress::Bar;
use crate::table::{self, Style};

pub(crate) fn run(args: &CompareArgs) -> Result<(), Failure> {
    args.traces.require_distinct_names()?;
    try_folder(args.report.as_deref())?;
    let experiment = args.run.experiment(&args.policies(), &args.capacities)?;
    let (mut outcomes, mut pricings) = (Vec::new(), BTreeMap::new());
    let needs = args.run.needs().metric(args.metric).prices(&args.prices, experiment.weigh);
    for source in args.traces.sources(needs)? {
        let mut source = source?;
        let bar = Bar::new(source.name());
        let outcome = experiment.run(&mut source, &bar).map_err(|error| failed(error, &source))?;
        if let Some(prices) = args.prices.prices() {
            source.make_repeatable()?;
            let survey = match outcome.survey {
                Some(survey) => survey,
                None => Survey::take(&mut *source.open()?, &[], &bar)?.0,
            };
            pricings.insert(outcome.trace.clone(), Pricing::new(prices, experiment.weigh, &survey)?);
        }
        outcomes.push(outcome);
        bar.clear();
        tell_doubts(&source, args.run.ttl);
        outcomes.last().into_iter().for_each(super::replay::summarise);
    }
    let comparisons = compare(&records(&outcomes), args.metric.into());
    let costs = costs(&outcomes, &pricings);
    let printed = if args.json {
        let cost = |of: &Comparison| costs.get(&(&*of.trace, &*of.policy, of.capacity)).copied().map(CostRecord::from);
        print_json(comparisons.iter().map(|comparison| Record { comparison, hourly_cost: cost(comparison) }))
    } else {
        let style = if args.markdown { Style::Markdown } else { Style::Plain };
        print(style, &experiment, &outcomes, &comparisons)
            .and_then(|()| print_costs(style, &outcomes, &comparisons, &costs))
    };
    unless_read_enough(printed, args.report.is_some())?;
    if let Some(folder) = &args.report {
        write_report(folder, &command_line(), &experiment, args.metric.into(), &outcomes)?;
    }
    Ok(())
}

fn records(outcomes: &[Outcome]) -> Vec<CellRecord> {
    outcomes.iter().flat_map(|outcome| &outcome.cells).map(|cell| cell.record.clone()).collect()
}

fn print(
    style: Style,
    experiment: &Experiment,
    outcomes: &[Outcome],
    comparisons: &[Comparison],
) -> Result<(), Failure> {
    let (mut out, command, seed) = (io::stdout().lock(), command_line(), experiment.seed);
    let requests = table::count(outcomes.iter().map(|outcome| outcome.requests).sum());
    let command = if style == Style::Markdown { format!("`{command}`") } else { command };
    writeln!(out, "{command}: seed {seed}, {requests} requests of {} trace(s)\n", outcomes.len())?;
    let ratio =
        |cell: &Comparison| format!("{}{}", if cell.is_best { "*" } else { "" }, table::percent(cell.miss_ratio));
    for outcome in outcomes {
        let of_trace: Vec<_> = comparisons.iter().filter(|cell| cell.trace == outcome.trace).collect();
        let heading = format!("{}: miss ratio by cache size, * the best", outcome.trace);
        writeln!(out, "{}\n{}\n", titled(style, &heading), table::text(&matrix(style, outcome, &of_trace, ratio)))?;
        for word in [sizes::raised(outcome, experiment.weigh), sizes::same(outcome)].into_iter().flatten() {
            writeln!(out, "{word}\n")?;
        }
    }
    let cells = comparisons.iter().map(|cell| (&cell.trace, &cell.capacity_spec)).collect::<BTreeSet<_>>().len();
    let heading = format!("Mean over {cells} cells, a cell being a trace at a size");
    writeln!(out, "{}\n{}\n", titled(style, &heading), table::text(&summary(style, &summarise(comparisons))))?;
    writeln!(
        out,
        "Against a reference: (reference - policy) / the larger of the two; positive misses less.\n\
         Gap closed: (LRU - policy) / (LRU - Bélády), each summed over the cells. The best is among policies that do not know the future."
    )?;
    if experiment.lifetimes != Lifetimes::Ignored && comparisons.iter().any(|cell| cell.knows_future) {
        writeln!(out, "Bélády's rule does not know what will expire: with --ttl it is no bound.")?;
    }
    Ok(())
}

/// A comparison, for scripts.
#[derive(Serialize)]
struct Record<'a> {
    #[serde(flatten)]
    comparison: &'a Comparison,
    /// What an hour costs, where prices are given.
    #[serde(skip_serializing_if = "Option::is_none")]
    hourly_cost: Option<CostRecord>,
}

/// What an hour costs, by trace, policy and capacity.
type Costs<'a> = BTreeMap<(&'a str, &'a str, u64), HourlyCost>;

fn costs<'a>(outcomes: &'a [Outcome], pricings: &BTreeMap<String, Pricing>) -> Costs<'a> {
    let cells = outcomes.iter().flat_map(|outcome| &outcome.cells).map(|cell| &cell.record);
    let cost = |cell: &'a CellRecord| {
        let cost = pricings.get(&cell.trace)?.hour(cell.capacity, cell.misses as f64);
        Some(((&*cell.trace, &*cell.policy, cell.capacity), cost))
    };
    cells.filter_map(cost).collect()
}

fn print_costs(
    style: Style,
    outcomes: &[Outcome],
    comparisons: &[Comparison],
    costs: &Costs<'_>,
) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    for outcome in outcomes.iter().filter(|_| !costs.is_empty()) {
        let of_trace: Vec<_> = comparisons.iter().filter(|cell| cell.trace == outcome.trace).collect();
        let total = |cell: &Comparison| {
            costs.get(&(&*cell.trace, &*cell.policy, cell.capacity)).map_or(f64::INFINITY, |cost| cost.total())
        };
        let online = of_trace.iter().filter(|cell| !cell.knows_future).map(|cell| total(cell));
        let least = online.fold(f64::INFINITY, f64::min);
        let value = |cell: &Comparison| {
            let is_least = total(cell) <= least && !cell.knows_future;
            format!("{}{}", if is_least { "*" } else { "" }, money(total(cell)))
        };
        let heading = format!("{}: what an hour costs, memory and loads, * the cheapest", outcome.trace);
        let table = matrix(style, outcome, &of_trace, value);
        writeln!(out, "\n{}\n{}", titled(style, &heading), table::text(&table))?;
    }
    Ok(())
}

fn titled(style: Style, heading: &str) -> String {
    match style {
        Style::Plain => heading.to_owned(),
        Style::Markdown => format!("### {heading}\n"),
    }
}

fn matrix(
    style: Style,
    outcome: &Outcome,
    cells: &[&Comparison],
    value: impl Fn(&Comparison) -> String,
) -> comfy_table::Table {
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
            cell.map_or_else(String::new, |cell| value(cell))
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
            // Rounded first, so that nothing reads as -0%.
            summary.gap_closed.map_or_else(|| "-".to_owned(), |gap| format!("{}%", (gap * 100.0).round() + 0.0)),
            if summary.knows_future { "-".to_owned() } else { summary.best_in.to_string() },
            worst.map_or_else(
                || "-".to_owned(),
                |(trace, spec, loss)| format!("{} {trace} {spec}", table::signed_percent(*loss)),
            ),
        ]);
    }
    table
}
