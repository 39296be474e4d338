//! `larder curve`: how the miss ratio falls with the size.

use std::io::{self, Write};

use larder_policy::experiment::HourlyCost;
use larder_sim::mrc::{Curve, CurveRun, Point};
use larder_sim::{LEAST_OBJECTS, Lifetimes, Pricing, Survey, Weigh};
use serde::Serialize;

use super::{command_line, failed, print_json, tell_doubts};
use crate::args::{CurveArgs, threads};
use crate::failure::Failure;
use crate::needs::Needs;
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
    let needs = Needs::from(args.cells.weigh).prices(&args.prices, run.weigh);
    for source in args.traces.sources(needs)? {
        let mut source = source?;
        let bar = Bar::new(source.name());
        let (survey, mut curves) = run.run(&mut source, &bar).map_err(|error| failed(error, &source))?;
        bar.clear();
        tell_doubts(&source, Lifetimes::Ignored);
        leave_out_untold(&run, &survey, &mut curves)?;
        let pricing = args.prices.prices().map(|prices| Pricing::new(prices, run.weigh, &survey)).transpose()?;
        let costs = pricing.map(|pricing| costs(&pricing, &curves));
        if args.json {
            let costs =
                |at: usize| costs.as_ref().map(|costs| costs[at].iter().copied().map(CostRecord::from).collect());
            print_json(curves.iter().enumerate().map(|(at, curve)| Record { curve, hourly_costs: costs(at) }))?;
            continue;
        }
        let mut out = io::stdout().lock();
        let (requests, keys) =
            (table::count(curves.first().map_or(survey.requests, |curve| curve.requests)), table::count(survey.keys));
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

/// Takes away what a sample that was asked for says nothing of: sizes of which its share is no object, and, where it has few keys, all.
fn leave_out_untold(run: &CurveRun, survey: &Survey, curves: &mut [Curve]) -> Result<(), Failure> {
    let Some(rate) = run.rate.filter(|rate| *rate < 1.0 && survey.keys > 0) else { return Ok(()) };
    let least = LEAST_OBJECTS as f64 / survey.keys as f64;
    if rate < least {
        let more = match (least * 1e4).ceil() / 1e4 {
            share if share < 1.0 => format!("take at least {share}, or leave --sample out"),
            _ => "leave --sample out".to_owned(),
        };
        return Err(Failure::Usage(format!(
            "--sample {rate} of the {} keys of {} are too few to tell anything: {more}",
            table::count(survey.keys),
            curves.first().map_or("the trace", |curve| &curve.trace),
        )));
    }
    let unit = if run.weigh == Weigh::Objects { 1.0 } else { survey.mean_size().max(1.0) };
    let Some((exact, sampled)) = curves.split_first_mut() else { return Ok(()) };
    for curve in sampled.iter_mut().filter(|curve| !curve.exact) {
        // From half an object on it is rounded to one; less cannot be simulated.
        curve.points.retain(|point| point.capacity as f64 / unit * point.rate >= 0.5);
        if curve.mean_absolute_error.is_some() {
            let off = |point: &Point| Some((point.miss_ratio - at(exact, point.capacity)?.miss_ratio).abs());
            let differences: Vec<f64> = curve.points.iter().filter_map(off).collect();
            curve.mean_absolute_error = Some(differences.iter().sum::<f64>() / differences.len().max(1) as f64);
        }
    }
    Ok(())
}

/// All sizes: the exact curve comes first, and has each.
fn sizes(curves: &[Curve]) -> impl Iterator<Item = u64> {
    curves.first().into_iter().flat_map(|curve| &curve.points).map(|point| point.capacity)
}

/// The point at a size.
fn at(curve: &Curve, capacity: u64) -> Option<&Point> {
    curve.points.iter().find(|point| point.capacity == capacity)
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
    for capacity in sizes(curves) {
        let value = |((curve, costs), cheapest): ((&Curve, &Vec<HourlyCost>), &usize)| {
            let at = curve.points.iter().position(|point| point.capacity == capacity);
            let mark = if at == Some(*cheapest) { "*" } else { "" };
            at.map_or_else(|| "-".to_owned(), |at| format!("{mark}{}", money(costs[at].total())))
        };
        table.add_row([table::count(capacity)].into_iter().chain(curves.iter().zip(costs).zip(&cheapest).map(value)));
    }
    writeln!(out, "What an hour costs, memory and loads, * the cheapest size\n{}\n", table::text(&table))?;
    Ok(())
}

fn cheapest(costs: &[HourlyCost]) -> usize {
    let all = costs.iter().map(|cost| cost.total()).enumerate();
    all.min_by(|(_, one), (_, other)| one.total_cmp(other)).map_or(0, |(at, _)| at)
}

fn print(out: &mut impl Write, curves: &[Curve]) -> Result<(), Failure> {
    // By bytes LRU is replayed beside its stack distances, which take a part of an object to fit.
    let how = |curve: &Curve| match (curve.exact, curve.mean_absolute_error) {
        (true, None) => "exact",
        (true, Some(_)) => "replayed",
        (false, _) => "sampled",
    };
    let name = |curve: &Curve| format!("{}, {}", curve.policy, how(curve));
    let names: Vec<String> = curves.iter().map(name).collect();
    let header: Vec<&str> = ["capacity"].into_iter().chain(names.iter().map(String::as_str)).collect();
    let mut table = table::table(Style::Plain, &header, 0);
    for capacity in sizes(curves) {
        let value = |curve: &Curve| match at(curve, capacity) {
            Some(Point { miss_ratio, standard_error: Some(error), .. }) => {
                format!("{} ±{:.2}", table::percent(*miss_ratio), error * 100.0)
            }
            Some(point) => table::percent(point.miss_ratio),
            None => "-".to_owned(),
        };
        table.add_row([table::count(capacity)].into_iter().chain(curves.iter().map(value)));
    }
    writeln!(out, "{}\n", table::text(&table))?;
    if sizes(curves).any(|capacity| curves.iter().any(|curve| at(curve, capacity).is_none())) {
        writeln!(out, "-: the sample is too small to tell of so small a cache; --sample takes a larger one.")?;
    }
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
            let (how, policy) = (how(curve), &curve.policy);
            writeln!(out, "Measured: {how} {policy} is {points} percentage points off its exact curve on average.")?;
        }
    }
    writeln!(out)?;
    Ok(())
}
