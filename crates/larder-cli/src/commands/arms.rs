//! `larder replay --arms`: two policies as arms of an experiment, next to the truth.

use std::io::{self, Write};

use larder_sim::{ArmsRecord, ArmsRun, EffectRecord, RolloutRecord, StandingRecord};

use super::{failed, print_json, tell_doubts};
use crate::args::ReplayArgs;
use crate::failure::Failure;
use crate::progress::Bar;
use crate::table::{self, Style, percent};

pub(crate) fn run(args: &ReplayArgs) -> Result<(), Failure> {
    let [treatment, control] = &args.run.cells.start.apply(&args.arms)?[..] else {
        return Err(Failure::Usage(
            "--arms takes two policies: the one on trial, and the one it is compared with".into(),
        ));
    };
    for source in args.traces.sources(args.run.needs())? {
        let mut source = source?;
        for capacity in &args.capacities {
            let run = ArmsRun {
                treatment: treatment.clone(),
                control: control.clone(),
                capacity: capacity.clone(),
                weigh: args.run.cells.weigh.into(),
                shards: args.shards,
                slices: args.slices,
                ghosts: args.ghosts,
                alpha: 0.05,
                seed: args.run.cells.seed,
                gets_only: args.run.cells.gets_only,
                lifetimes: args.run.ttl,
                details: args.details,
            };
            let bar = Bar::new(source.name());
            if args.rollout {
                let record = run.rehearse(&mut source, &bar).map_err(|error| failed(error, &source))?;
                bar.clear();
                if args.json { print_json([&record])? } else { print_rollout(&record)? }
            } else if args.standing {
                let record = run.stand(&mut source, &bar).map_err(|error| failed(error, &source))?;
                bar.clear();
                if args.json { print_json([&record])? } else { print_standing(&record)? }
            } else {
                let record = run.run(&mut source, &bar).map_err(|error| failed(error, &source))?;
                bar.clear();
                if args.json { print_json([&record])? } else { print(&record)? }
            }
        }
        tell_doubts(&source, args.run.ttl);
    }
    Ok(())
}

fn print(record: &ArmsRecord) -> Result<(), Failure> {
    let header = ["hit ratio by", "control", "treatment", "truth", "effect", "95 %, looked at once", "at any time"];
    let mut table = table::table(Style::Plain, &header, 1);
    // A trace without costs has nothing to weigh by.
    for effect in record.effects.iter().filter(|effect| effect.treatment_hit_ratio + effect.control_hit_ratio > 0.0) {
        let EffectRecord { weighting, control_hit_ratio, treatment_hit_ratio, .. } = effect;
        table.add_row([
            (*weighting).to_owned(),
            percent(*control_hit_ratio),
            percent(*treatment_hit_ratio),
            points(effect.truth),
            points(effect.effect),
            interval(effect.fixed),
            interval(effect.anytime),
        ]);
    }
    let mut out = io::stdout().lock();
    let ArmsRecord { trace, treatment, control, capacity, shards, slices, requests, .. } = record;
    writeln!(
        out,
        "{trace}: {treatment} against {control}, {} in {shards} shards; {} requests in {slices} slices after the burn-in\n{}",
        table::count(*capacity),
        table::count(*requests),
        table::text(&table)
    )?;
    match (record.refusals.is_empty(), record.winner) {
        (true, Some("treatment")) => writeln!(out, "{treatment} hits more.\n")?,
        (true, Some(_)) => writeln!(out, "{control} hits more.\n")?,
        (true, None) => writeln!(out, "Open: the interval holds 0.\n")?,
        (false, _) => writeln!(out, "No conclusion: {}.\n", record.refusals.join("; "))?,
    }
    Ok(())
}

fn print_rollout(record: &RolloutRecord) -> Result<(), Failure> {
    let mut table = table::table(Style::Plain, &["slice", "what happened", ""], 0);
    for event in &record.events {
        table.add_row([table::count(event.slice), event.event.to_owned(), event.detail.clone()]);
    }
    let RolloutRecord { trace, treatment, control, capacity, slices, hit_ratio, .. } = record;
    let (capacity, slices) = (table::count(*capacity), table::count(*slices));
    writeln!(
        io::stdout().lock(),
        "{trace}: {treatment} in place of {control}, {capacity}, {slices} slices, hit ratio {}\n{}\n",
        percent(*hit_ratio),
        table::text(&table)
    )?;
    Ok(())
}

fn print_standing(record: &StandingRecord) -> Result<(), Failure> {
    let StandingRecord { trace, treatment, control, capacity, shards, ghost_rate, slices, .. } = record;
    let mut out = io::stdout().lock();
    writeln!(
        out,
        "{trace}: {treatment} on all of {shards} shards, {}, beside ghosts of {control} that see {} of the keys; {slices} slices count\n\
         gain {}, {} at any time; truth {}",
        table::count(*capacity),
        percent(*ghost_rate),
        points(record.gain),
        interval(record.anytime),
        points(record.truth),
    )?;
    match &record.refusals[..] {
        [] => writeln!(out)?,
        refusals => writeln!(out, "No conclusion: {}.\n", refusals.join("; "))?,
    }
    Ok(())
}

/// A difference of hit ratios in percentage points.
fn points(difference: f64) -> String {
    // Rounded first, so that nothing reads as -0.00.
    format!("{:+.2}", (difference * 1e4).round() / 100.0 + 0.0)
}

fn interval([low, high]: [f64; 2]) -> String {
    format!("{} to {}", points(low), points(high))
}
