//! `larder freshness --arms`: two lifetimes as arms of an experiment, next to the truth.

use std::io::{self, Write};

use larder_sim::freshness::{LifetimeArmRecord, LifetimeArms, LifetimeArmsRecord};

use super::{failed, sources};
use crate::args::FreshnessArgs;
use crate::commands::{print_json, tell_bad_rows};
use crate::failure::Failure;
use crate::needs::tell_mapping;
use crate::progress::Bar;
use crate::table::{self, Style};

pub(crate) fn run(args: &FreshnessArgs) -> Result<(), Failure> {
    let [treatment, control] = &args.arms[..] else {
        return Err(Failure::Usage(
            "--arms takes two lifetimes: those on trial, and those they are compared with".into(),
        ));
    };
    let run = LifetimeArms {
        experiment: args.experiment(),
        treatment: treatment.clone(),
        control: control.clone(),
        shards: args.shards,
        slices: args.slices,
        alpha: 0.05,
    };
    for source in sources(args)? {
        let source = source?;
        tell_mapping(source.name(), &*source.open()?);
        let bar = Bar::new(source.name());
        let records = run.run(&source, &bar).map_err(|error| failed(error, &source))?;
        bar.clear();
        tell_bad_rows(&source);
        if args.json { print_json(&records)? } else { records.iter().try_for_each(print)? }
    }
    Ok(())
}

fn print(record: &LifetimeArmsRecord) -> Result<(), Failure> {
    let LifetimeArmsRecord { trace, treatment, control, seed, shards, slices, reads, .. } = record;
    let mut table =
        table::table(Style::Plain, &["", "reads", "loads a read", "truth", "stale, 95 %", "stale", "truth"], 1);
    for (name, arm) in [(control, &record.control_arm), (treatment, &record.treatment_arm)] {
        let LifetimeArmRecord { loads_per_read, true_loads_per_read, true_stale_rate, .. } = arm;
        table.add_row([
            name.clone(),
            table::count(arm.reads),
            format!("{loads_per_read:.4}"),
            format!("{true_loads_per_read:.4}"),
            arm.stale_within.map_or("-".to_owned(), |[low, high]| format!("{} to {}", percent(low), percent(high))),
            arm.stale_rate.map_or("not audited".to_owned(), percent),
            percent(*true_stale_rate),
        ]);
    }
    let mut out = io::stdout().lock();
    writeln!(
        out,
        "{trace}: {treatment} against {control} in {shards} shards, seed {seed}; {} reads in {slices} slices count; fresh enough up to {}\n{}",
        table::count(*reads),
        percent(record.fresh_enough),
        table::text(&table)
    )?;
    if let Some(loads) = record.loads {
        let within = |[low, high]: [f64; 2]| format!(", {} to {} looked at once", change(low), change(high));
        writeln!(
            out,
            "loads {}{} (p = {:.0e}); truth {}",
            change(loads.change),
            loads.within.map_or_else(String::new, within),
            (2.0 * loads.p_more.min(loads.p_less)).min(1.0),
            change(loads.truth)
        )?;
    }
    match (&record.conclusion, &record.open) {
        (Some(conclusion), _) if record.winner == Some("treatment") => {
            writeln!(out, "{treatment} is better: {conclusion}.\n")
        }
        (Some(conclusion), _) => writeln!(out, "{control} is better: with {treatment}, {conclusion}.\n"),
        (None, Some(open)) => writeln!(out, "Open: {open}.\n"),
        (None, None) => writeln!(out, "No conclusion: {}.\n", record.refusals.join("; ")),
    }?;
    Ok(())
}

fn percent(share: f64) -> String {
    format!("{:.2}%", share * 100.0)
}

/// A relative change in percent.
fn change(by: f64) -> String {
    format!("{:+.1}%", by * 100.0)
}
