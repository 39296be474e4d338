//! `larder curve`: how the miss ratio falls with the size.

use std::io::{self, Write};

use larder_sim::mrc::{Curve, CurveRun};

use super::{command_line, print_json};
use crate::args::{CurveArgs, threads};
use crate::failure::Failure;
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
        if args.json {
            print_json(&curves)?;
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
    }
    Ok(())
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
