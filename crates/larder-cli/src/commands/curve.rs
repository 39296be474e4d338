//! `larder curve`: how the miss ratio falls with the size.

use std::io::{self, Write};

use larder_policy::experiment::HourlyCost;
use larder_sim::Pricing;
use larder_sim::mrc::{Curve, CurveRun, Point};
use serde::Serialize;

use super::{command_line, print_json};
use crate::args::{CurveArgs, threads};
use crate::failure::Failure;
use crate::price_args::{CostRecord, money};
use crate::progress::Bar;
use crate::table::{self, Style};

pub(crate) fn run(args: &CurveArgs) -> Result<(), Failure> {
    let run = CurveRun {
        policies: args.cells.start.apply(&args.policies)?,
        points: args.points as usize,
        weigh: args.cells.weigh.into(),
        rate: args.sample,
        samples: args.samples as usize,
        seed: args.cells.seed,
        threads: threads(args.cells.threads),
        gets_only: args.cells.gets_only,
    };
    for source in args.traces.sources() {
        let mut source = source?;
        let bar = Bar::new(source.name());
        let (survey, curves) = run.run(&mut source, &bar)?;
        bar.clear();
        let pricing = args.prices.prices().map(|prices| Pricing::new(prices, run.weigh, &survey)).transpose()?;
        let costs = pricing.map(|pricing| costs(&pricing, &curves));
        if args.json {
            let costs =
                |at: usize| costs.as_ref().map(|costs| costs[at].iter().copied().map(CostRecord::from).collect());
            print_json(curves.iter().enumerate().map(|(at, curve)| Record { curve, hourly_costs: costs(at) }))?;
            continue;
        }
        let mut out = io::stdout().lock();
        let (requests, keys) = (table::count(survey.requests), table::count(survey.keys));
        writeln!(
            out,
            "{}: seed {}, {requests} requests, {keys} keys of {}\n",
            command_line(),
            run.seed,
            source.name()
        )?;
        print(&mut out, &curves)?;
        if let Some(costs) = costs {
            print_costs(&mut out, &curves, &costs)?;
        }
    }
    Ok(())
}

/// A curve, for scripts.
#[derive(Serialize)]
struct Record<'a> {
    #[serde(flatten)]
    curve: &'a Curve,
    /// What an hour costs at each point, where prices are given.
    #[serde(skip_serializing_if = "Option::is_none")]
    hourly_costs: Option<Vec<CostRecord>>,
}

/// What an hour costs, by curve and point.
fn costs(pricing: &Pricing, curves: &[Curve]) -> Vec<Vec<HourlyCost>> {
    let hour = |curve: &Curve, point: &Point| pricing.hour(point.capacity, point.miss_ratio * curve.requests as f64);
    curves.iter().map(|curve| curve.points.iter().map(|point| hour(curve, point)).collect()).collect()
}

fn print_costs(out: &mut impl Write, curves: &[Curve], costs: &[Vec<HourlyCost>]) -> Result<(), Failure> {
    let header: Vec<&str> = ["capacity"].into_iter().chain(curves.iter().map(|curve| curve.policy.as_str())).collect();
    let mut table = table::table(Style::Plain, &header, 0);
    let cheapest: Vec<usize> = costs.iter().map(|costs| cheapest(costs)).collect();
    for (at, point) in curves.first().into_iter().flat_map(|curve| &curve.points).enumerate() {
        let value = |(costs, cheapest): (&Vec<HourlyCost>, &usize)| {
            let mark = if at == *cheapest { "*" } else { "" };
            costs.get(at).map_or_else(String::new, |cost| format!("{mark}{}", money(cost.total())))
        };
        table.add_row([table::count(point.capacity)].into_iter().chain(costs.iter().zip(&cheapest).map(value)));
    }
    writeln!(out, "What an hour costs, memory and loads, * the cheapest size\n{}\n", table::text(&table))?;
    Ok(())
}

fn cheapest(costs: &[HourlyCost]) -> usize {
    let all = costs.iter().map(|cost| cost.total()).enumerate();
    all.min_by(|(_, one), (_, other)| one.total_cmp(other)).map_or(0, |(at, _)| at)
}

fn print(out: &mut impl Write, curves: &[Curve]) -> Result<(), Failure> {
    let name = |curve: &Curve| match curve.exact {
        true => format!("{}, exact", curve.policy),
        false => format!("{}, sampled", curve.policy),
    };
    let names: Vec<String> = curves.iter().map(name).collect();
    let header: Vec<&str> = ["capacity"].into_iter().chain(names.iter().map(String::as_str)).collect();
    let mut table = table::table(Style::Plain, &header, 0);
    // The first curve has every size, as all have.
    for (at, point) in curves.first().into_iter().flat_map(|curve| &curve.points).enumerate() {
        let value = |curve: &Curve| match curve.points.get(at) {
            Some(point) => match point.standard_error {
                Some(error) => format!("{} ±{:.2}", table::percent(point.miss_ratio), error * 100.0),
                None => table::percent(point.miss_ratio),
            },
            None => String::new(),
        };
        table.add_row([table::count(point.capacity)].into_iter().chain(curves.iter().map(value)));
    }
    writeln!(out, "{}\n", table::text(&table))?;
    let sampled = || curves.iter().flat_map(|curve| &curve.points).filter(|point| point.rate < 1.0);
    if let Some(least) = sampled().map(|point| point.rate).min_by(f64::total_cmp) {
        let most = sampled().map(|point| point.rate).fold(least, f64::max);
        let share = match least == most {
            true => table::percent(least),
            false => format!("{} (small sizes up to {})", table::percent(least), table::percent(most)),
        };
        let samples = sampled().map(|point| point.samples).max().unwrap_or(1);
        writeln!(out, "Sampled: {share} of the keys, {samples} times; ± is the standard error of the mean.")?;
    }
    for curve in curves {
        if let Some(error) = curve.mean_absolute_error {
            let points = format!("{:.2}", error * 100.0);
            writeln!(
                out,
                "Measured: sampled {} is {points} percentage points off its exact curve on average.",
                curve.policy
            )?;
        }
    }
    writeln!(out)?;
    Ok(())
}
